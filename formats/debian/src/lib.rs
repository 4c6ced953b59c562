//! Debian's own formats: deb822, versions, relations, .deb archives.

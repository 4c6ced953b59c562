//! Root trees: unpack, dpkg database, sandbox, configure, provision.

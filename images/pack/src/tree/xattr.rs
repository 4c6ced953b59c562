//! Extended attributes, and which of them an image keeps.

use std::io;
use std::path::Path;

use super::Attributes;
use crate::Error;

/// What marks an opaque directory for a lower layer (kernel, `Documentation/filesystems/overlayfs.rst`).
pub(crate) const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// Reads attributes with buffers that are kept from file to file.
pub(super) struct Reader {
    which: Attributes,
    names: Vec<u8>,
    value: Vec<u8>,
}

/// `XATTR_LIST_MAX` and `XATTR_SIZE_MAX`: Linux gives no more.
const LIMIT: usize = 65536;

/// An attribute's name and value.
pub(super) type Attribute = (Vec<u8>, Vec<u8>);

/// What becomes of an attribute.
enum Fate {
    Keep,
    Drop,
    /// Keep under the name that root's overlayfs reads.
    Rename(&'static [u8]),
    Refuse,
}

impl Reader {
    pub(super) fn new(which: Attributes) -> Self {
        Self { which, names: vec![0; LIMIT], value: vec![0; LIMIT] }
    }

    /// The attributes to keep of what lies at `path` (not of what it links to), sorted by name.
    pub(super) fn read(&mut self, path: &Path) -> Result<Vec<Attribute>, Error> {
        let failed = |source: rustix::io::Errno| Error::ReadXattr {
            path: path.to_owned(),
            source: io::Error::from(source),
        };
        let length = match rustix::fs::llistxattr(path, &mut self.names[..]) {
            Ok(length) => length,
            // A filesystem without attributes has none to lose.
            Err(rustix::io::Errno::NOTSUP) => 0,
            Err(errno) => return Err(failed(errno)),
        };
        let mut kept = Vec::new();
        for name in self.names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let as_name = match self.fate(name) {
                Fate::Keep => name,
                Fate::Rename(other) => other,
                Fate::Drop => continue,
                Fate::Refuse => {
                    let attribute = String::from_utf8_lossy(name).into_owned();
                    return Err(Error::OverlayAttribute { path: path.to_owned(), attribute });
                }
            };
            let length = rustix::fs::lgetxattr(path, name, &mut self.value[..]).map_err(failed)?;
            kept.push((as_name.to_vec(), self.value[..length].to_vec()));
        }
        kept.sort_unstable();
        kept.dedup_by(|a, b| a.0 == b.0);
        Ok(kept)
    }

    fn fate(&self, name: &[u8]) -> Fate {
        let upper = self.which == Attributes::Upper;
        // `user.overlay.` is how overlayfs writes them in a user namespace (mount option userxattr).
        let overlay = name.strip_prefix(b"trusted.overlay.".as_slice());
        if let Some(rest) = overlay.or_else(|| name.strip_prefix(b"user.overlay.".as_slice())) {
            return match rest {
                b"opaque" if upper => Fate::Rename(OPAQUE),
                // They point into a lower layer by path: renamed directories, files without their data.
                b"redirect" | b"metacopy" if upper => Fate::Refuse,
                // File handles and counters of the mount in which the tree was made.
                _ => Fate::Drop,
            };
        }
        if name.starts_with(b"user.") || name == b"security.capability" {
            Fate::Keep
        } else {
            // Labels of the building machine's policy (SELinux, IMA, SMACK), and what squashfs cannot hold (ACLs).
            Fate::Drop
        }
    }
}

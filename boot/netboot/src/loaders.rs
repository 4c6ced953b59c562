//! The network boot programs that are served.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use fs_err as fs;

use crate::error::Error;

/// No loader is larger; firmware would not take it.
const MAX_SIZE: u64 = 32 << 20;

/// Loaders by the name under which TFTP and HTTP serve them. They are held in memory: a few hundred kilobytes each, and
/// no request can then reach a file system.
#[derive(Debug, Clone, Default)]
pub struct Loaders(BTreeMap<String, Arc<[u8]>>);

impl Loaders {
    /// Where Debian's `ipxe` package puts them.
    pub const DEBIAN: &str = "/usr/lib/ipxe";

    /// The loaders in `folder`: files that end in `.efi`, `.kpxe`, `.kkpxe` or `.pxe`. None if there is no such folder.
    ///
    /// # Errors
    /// [`Error::Loaders`], [`Error::LargeLoader`].
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let mut loaders = Self::default();
        let entries = match fs::read_dir(folder.as_ref()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(loaders),
            Err(source) => return Err(Error::Loaders { source }),
        };
        for entry in entries {
            let path = entry.map_err(|source| Error::Loaders { source })?.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            let name = path.file_name().and_then(|name| name.to_str());
            let (Some("efi" | "kpxe" | "kkpxe" | "pxe"), Some(name)) = (extension, name) else {
                continue;
            };
            // Debian's are partly links; a broken one is as good as none.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if !metadata.is_file() {
                continue;
            }
            let size = metadata.len();
            if size > MAX_SIZE {
                return Err(Error::LargeLoader { path, size, max: MAX_SIZE });
            }
            // An empty file would be a machine that hangs (RackHD issue 32).
            let bytes = fs::read(&path).map_err(|source| Error::Loaders { source })?;
            if !bytes.is_empty() {
                loaders.insert(name, bytes);
            }
        }
        Ok(loaders)
    }

    /// Serves `bytes` as `name`, whatever had that name before.
    pub fn insert(&mut self, name: impl Into<String>, bytes: impl Into<Arc<[u8]>>) {
        self.0.insert(name.into(), bytes.into());
    }

    /// The loader that a client means by `name`. Slashes before it are forgiven: some ROMs add one. Everything else has
    /// to be exact.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<[u8]>> {
        self.0.get(name.trim_start_matches('/')).cloned()
    }

    /// All names: what [`Site::loaders`](crate::Site::loaders) is to be.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        self.0.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loaders_are_taken_and_only_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &str| fs::write(folder.path().join(name), bytes).unwrap();
        write("undionly.kpxe", "bios");
        write("empty.efi", "");
        write("notes.txt", "secret");
        std::os::unix::fs::symlink("undionly.kpxe", folder.path().join("link.efi")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("broken.efi")).unwrap();
        fs::create_dir(folder.path().join("folder.efi")).unwrap();
        let loaders = Loaders::from_dir(folder.path()).unwrap();
        assert_eq!(loaders.names(), ["link.efi", "undionly.kpxe"].map(String::from).into());
        assert_eq!(loaders.get("/undionly.kpxe").as_deref(), Some(&b"bios"[..]));
        for name in ["", "/", "notes.txt", "../undionly.kpxe", "UNDIONLY.KPXE", "undionly.kpxe\0"] {
            assert!(loaders.get(name).is_none(), "{name:?}");
        }
        assert!(Loaders::from_dir(folder.path().join("none")).unwrap().names().is_empty());
    }
}

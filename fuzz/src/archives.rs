//! Package files.

use std::cell::OnceCell;
use std::io::{Read, sink};
use std::path::{Path, PathBuf};

use overboot_debian::deb::Deb;
use overboot_debian::deb822;
use overboot_rootfs::{Package, extract, remove_tree};
use tempfile::TempDir;

use crate::seeds::{ar, tarball};

/// How much of a package's files is read: a few bytes may unpack to gigabytes, which is allowed, and slow.
const ENOUGH: u64 = 1 << 20;

/// A package file, as an archive gives it.
pub fn deb(bytes: &[u8]) {
    let Ok(deb) = Deb::new(bytes) else { return };
    if let Ok(files) = deb.control()
        && let Ok(text) = files.control()
    {
        let _ = deb822::single(text);
    }
    let Ok(data) = deb.data() else { return };
    let mut archive = tar::Archive::new(data.take(ENOUGH));
    let Ok(entries) = archive.entries() else { return };
    for entry in entries {
        let Ok(mut entry) = entry else { return };
        let _ = std::io::copy(&mut entry, &mut sink());
    }
}

/// The tar stream of a package that is unpacked by us, as root: nothing but its folder may change.
///
/// # Panics
/// Something outside of the folder did.
pub fn unpack(bytes: &[u8]) {
    thread_local!(static PLACE: OnceCell<Place> = const { OnceCell::new() });
    let _ = PLACE.with(|place| place.get_or_init(Place::new).unpack(bytes));
}

/// A folder with a neighbour that nobody may touch.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        // In memory, where there is such a place: thousands of trees a second.
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let place = Self { folder: TempDir::new_in(base).expect("a folder for the fuzzer") };
        fs_err::create_dir(place.path("beside")).expect("a neighbour");
        fs_err::write(place.path("beside/file"), "untouched").expect("a neighbour's file");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// How many files and folders there were afterwards, besides two links; or why it was refused.
    fn unpack(&self, bytes: &[u8]) -> Result<usize, overboot_rootfs::Error> {
        let control = tarball(&[("./control", b"Package: p\nVersion: 1\nArchitecture: all\n")]);
        let package = self.path("package");
        fs_err::write(&package, ar(&control, bytes)).expect("the package is written");
        let root = self.path("root");
        fs_err::create_dir(&root).expect("an empty folder");
        // A link that is there already is the way by which such streams get out.
        std::os::unix::fs::symlink("../beside", root.join("out")).expect("a link to the neighbour");
        std::os::unix::fs::symlink(self.path("beside"), root.join("far")).expect("another");
        let package = Package {
            name: "p".to_owned(),
            version: "1".to_owned(),
            architecture: "all".to_owned(),
            path: package,
        };
        let done = extract(&package, &root).map(|()| entries(&root) - 2);
        remove_tree(&root).expect("what was unpacked can be removed");
        self.check();
        done
    }

    fn check(&self) {
        let names = |folder: &Path| -> Vec<String> {
            let entries = fs_err::read_dir(folder).expect("the folder is there");
            let names = entries.map(|entry| entry.expect("an entry").file_name());
            let mut names: Vec<String> =
                names.map(|name| name.to_string_lossy().into_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(names(self.folder.path()), ["beside", "package"], "beside the root");
        assert_eq!(names(&self.path("beside")), ["file"], "in the neighbour");
        let text = fs_err::read_to_string(self.path("beside/file")).expect("the file is there");
        assert_eq!(text, "untouched");
    }
}

fn entries(folder: &Path) -> usize {
    let inside = fs_err::read_dir(folder).expect("the folder is there");
    let below = inside.map(|entry| {
        let path = entry.expect("an entry").path();
        1 + if path.is_dir() && !path.is_symlink() { entries(&path) } else { 0 }
    });
    below.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use overboot_testkit::require;

    #[test]
    fn what_is_right_is_unpacked() {
        if require::root() {
            let [whole, behind_a_link] = [true, false].map(crate::seeds::tree);
            assert_eq!(Place::new().unpack(&whole).unwrap(), 6);
            // What would be a folder outside is none in the tree, where the link makes way for one.
            assert_eq!(Place::new().unpack(&behind_a_link).unwrap(), 7);
        }
    }
}

//! The files by which modprobe and udev find modules, made one where several layers have modules of the running kernel.
//!
//! Each layer has depmod's files about what is in it, and hides with them those of the layers below. As with
//! [`super::databases`], layers are read without following links, and only so much of them.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use overboot_kmod::Layers;
use overboot_kmod::layers::FILES;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::databases::{open, open_folder, read_bytes, replace};
use crate::Error;

/// Where layers have their modules.
const FOLDER: &str = "usr/lib/modules";

/// Writes into `root` the index of the modules that `layers`, from the lowest, have for the kernel `release`; nothing where it is
/// right already. Also sees to it that they are found in a root whose `/lib` is none of `/usr`'s.
///
/// # Errors
/// A layer's files are not depmod's, or cannot be read; the root cannot be written.
pub fn merge(layers: &[PathBuf], root: &Path, release: &str) -> Result<(), Error> {
    let folder = Path::new(FOLDER).join(release);
    let root = open_folder(root)?;
    let mut indexes = Layers::default();
    let mut with_modules = Vec::new();
    for layer in layers {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let inside = match open(&open_folder(layer)?, &folder, flags, ResolveFlags::BENEATH) {
            Ok(inside) => inside,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            Err(errno) => return Err(Error::system(format!("open {}", layer.display()))(errno)),
        };
        let mut lists = HashMap::new();
        for name in FILES {
            let list = read(&inside, name).map_err(|source| {
                let what = format!("read {}", layer.join(&folder).join(name).display());
                Error::System { what, source }
            })?;
            lists.insert(name, list);
        }
        if lists[FILES[0]].is_empty() {
            continue;
        }
        with_modules.push(inside);
        indexes
            .add(|name| lists.remove(name).unwrap_or_default())
            .map_err(|source| Error::ModuleIndex { path: layer.join(&folder), source })?;
    }
    if with_modules.len() > 1 {
        let wrong = |source| Error::ModuleIndex { path: folder.clone(), source };
        let index = indexes.index(|layer, path| {
            // An overlay's list has the modules of the base that it was made on; of them the base that is there knows better.
            // Behind a link it is the layer's as well, which the root shows.
            let own = with_modules.get(layer).is_some_and(|inside| {
                let found = kind(inside, Path::new(path));
                matches!(found, Ok(Some(_)) | Err(Errno::LOOP | Errno::XDEV))
            });
            own && open(&root, &folder.join(path), OFlags::PATH, ResolveFlags::IN_ROOT).is_ok()
        });
        let index = index.map_err(wrong)?;
        let files = index.files().map_err(wrong)?;
        for (name, content) in files.into_iter().chain([("modules.order", index.order().into())]) {
            replace(&root, &folder.join(name), &content, 0o644, Some((0, 0)))?;
        }
    }
    if !with_modules.is_empty() {
        link(&root, release)?;
    }
    Ok(())
}

/// One of a layer's lists; nothing where it has none, which is not the same as one that cannot be read.
fn read(inside: &OwnedFd, name: &str) -> io::Result<Vec<u8>> {
    let name = Path::new(name);
    if kind(inside, name)?.is_none() {
        return Ok(Vec::new());
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    read_bytes(open(inside, name, flags, ResolveFlags::BENEATH)?)
}

/// What stands at a path of a layer; nothing where it takes away what is beneath.
fn kind(inside: &OwnedFd, path: &Path) -> rustix::io::Result<Option<FileType>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    let stat = match open(inside, path, flags, ResolveFlags::BENEATH) {
        Ok(found) => rustix::fs::fstat(found)?,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let kind = FileType::from_raw_mode(stat.st_mode);
    let whiteout = kind == FileType::CharacterDevice && stat.st_rdev == 0;
    Ok((!whiteout).then_some(kind))
}

/// Modules of a kernel lie in `/lib/modules/RELEASE`, which modprobe of a system without merged `/usr` takes by its word.
fn link(root: &OwnedFd, release: &str) -> Result<(), Error> {
    let there = |path: &Path| open(root, path, OFlags::PATH, ResolveFlags::IN_ROOT).is_ok();
    if !there(Path::new("lib")) || there(&Path::new("lib/modules").join(release)) {
        return Ok(());
    }
    let said = |errno| Error::system(format!("make /lib/modules/{release}"))(errno);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let lib = open(root, Path::new("lib"), flags, ResolveFlags::IN_ROOT).map_err(said)?;
    match rustix::fs::mkdirat(&lib, "modules", Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(said(errno)),
    }
    let modules =
        open(root, Path::new("lib/modules"), flags, ResolveFlags::IN_ROOT).map_err(said)?;
    let target = Path::new("../..").join(FOLDER).join(release);
    rustix::fs::symlinkat(&target, &modules, release).map_err(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layer with that module, which needs the others.
    fn layer(folder: &Path, name: &str, modules: &str) -> PathBuf {
        let layer = folder.join(name);
        let own = layer.join(FOLDER).join("6.1");
        std::fs::create_dir_all(&own).unwrap();
        std::fs::write(own.join("modules.dep"), modules).unwrap();
        for path in modules.lines().filter_map(|line| line.split(':').next()) {
            std::fs::write(own.join(path), "").unwrap();
        }
        layer
    }

    /// All layers as one tree, the later ones over the earlier.
    fn united(folder: &Path, layers: &[PathBuf]) -> PathBuf {
        let root = folder.join("root");
        let own = root.join(FOLDER).join("6.1");
        std::fs::create_dir_all(&own).unwrap();
        for layer in layers {
            for entry in std::fs::read_dir(layer.join(FOLDER).join("6.1")).unwrap() {
                let entry = entry.unwrap();
                std::fs::copy(entry.path(), own.join(entry.file_name())).unwrap();
            }
        }
        root
    }

    #[test]
    fn modules_of_all_layers_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let layers = [
            layer(folder.path(), "modules", "a.ko: b.ko\nb.ko:\n"),
            layer(folder.path(), "one", "c.ko: b.ko\nb.ko:\n"),
            layer(folder.path(), "two", "d.ko:\ngone.ko:\n"),
        ];
        let root = united(folder.path(), &layers);
        let own = root.join(FOLDER).join("6.1");
        std::fs::remove_file(own.join("gone.ko")).unwrap();
        merge(&layers, &root, "6.1").unwrap();
        let dep = std::fs::read_to_string(own.join("modules.dep")).unwrap();
        assert_eq!(dep, "a.ko: b.ko\nb.ko:\nc.ko: b.ko\nd.ko:\n");
        assert!(own.join("modules.dep.bin").exists());
        assert!(!root.join("lib").exists());
    }

    #[test]
    fn one_layers_index_stays_as_it_is_and_another_kernels_is_not_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let layers = [layer(folder.path(), "modules", "a.ko:\n"), folder.path().join("base")];
        std::fs::create_dir(&layers[1]).unwrap();
        let root = united(folder.path(), &layers[..1]);
        let own = root.join(FOLDER).join("6.1");
        // A system without merged /usr.
        std::fs::create_dir(root.join("lib")).unwrap();
        for release in ["6.1", "6.2"] {
            merge(&layers, &root, release).unwrap();
        }
        assert!(!own.join("modules.dep.bin").exists());
        let found = root.join("lib/modules/6.1/a.ko");
        assert!(found.exists() && !root.join("lib/modules/6.2").exists());
    }

    #[test]
    fn a_list_that_cannot_be_read_is_told_and_not_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        let layers = [layer(folder.path(), "modules", "a.ko:\n"), layer(folder.path(), "bad", "")];
        let root = united(folder.path(), &layers);
        for name in ["modules.dep", "modules.alias"] {
            let list = layers[1].join(FOLDER).join("6.1").join(name);
            let _absent = std::fs::remove_file(&list);
            merge(&layers, &root, "6.1").unwrap();
            // Whoever runs this may read any file; so it is one that is none.
            std::fs::create_dir(&list).unwrap();
            let said = crate::error::chain(&merge(&layers, &root, "6.1").unwrap_err());
            assert!(said.contains(&format!("bad/{FOLDER}/6.1/{name}: it is no")), "{said}");
            std::fs::remove_dir(&list).unwrap();
        }
    }

    /// Each layer says what its own modules are, and a module that one took away again is the lower one's.
    #[test]
    fn what_a_layer_lists_and_does_not_have_is_another_ones() {
        let folder = tempfile::tempdir().unwrap();
        let layers = [
            layer(folder.path(), "base", "a.ko: new.ko\nnew.ko:\nb.ko:\n"),
            layer(folder.path(), "made-on-an-older-base", "a.ko:\nc.ko:\nb.ko.xz:\n"),
            layer(folder.path(), "top", "d.ko:\n"),
        ];
        std::fs::remove_file(layers[1].join(FOLDER).join("6.1/a.ko")).unwrap();
        let root = united(folder.path(), &layers);
        let own = root.join(FOLDER).join("6.1");
        // The third layer takes it away.
        std::fs::remove_file(own.join("b.ko.xz")).unwrap();
        merge(&layers, &root, "6.1").unwrap();
        let dep = std::fs::read_to_string(own.join("modules.dep")).unwrap();
        assert_eq!(dep, "a.ko: new.ko\nb.ko:\nc.ko:\nd.ko:\nnew.ko:\n");
    }

    #[test]
    fn a_layer_that_is_not_depmods_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let layers = [layer(folder.path(), "modules", "a.ko:\n"), layer(folder.path(), "bad", "")];
        std::fs::write(layers[1].join(FOLDER).join("6.1/modules.dep"), "nonsense\n").unwrap();
        let root = united(folder.path(), &layers);
        let said = crate::error::chain(&merge(&layers, &root, "6.1").unwrap_err());
        assert!(said.contains("bad") && said.contains("modules.dep line 1"), "{said}");
    }
}

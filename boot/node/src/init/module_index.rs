//! The files by which modprobe and udev find modules, made one where several layers have modules of the running kernel.
//!
//! Each layer has depmod's files about what is in it, and hides with them those of the layers below. As with
//! [`super::databases`], layers are read without following links, and only so much of them.

use std::path::{Path, PathBuf};

use overboot_kmod::Layers;
use overboot_kmod::layers::FILES;
use rustix::fs::{Mode, OFlags, ResolveFlags};
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
    let mut with_modules = 0;
    for layer in layers {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let inside = match open(&open_folder(layer)?, &folder, flags, ResolveFlags::BENEATH) {
            Ok(inside) => inside,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            Err(errno) => return Err(Error::system(format!("open {}", layer.display()))(errno)),
        };
        let read = |name: &str| {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK;
            let file = open(&inside, Path::new(name), flags, ResolveFlags::BENEATH).ok();
            file.and_then(|file| read_bytes(file).ok()).unwrap_or_default()
        };
        if read(FILES[0]).is_empty() {
            continue;
        }
        with_modules += 1;
        indexes
            .add(read)
            .map_err(|source| Error::ModuleIndex { path: layer.join(&folder), source })?;
    }
    if with_modules > 1 {
        let wrong = |source| Error::ModuleIndex { path: folder.clone(), source };
        let index = indexes.index(|path| {
            open(&root, &folder.join(path), OFlags::PATH, ResolveFlags::IN_ROOT).is_ok()
        });
        let index = index.map_err(wrong)?;
        let files = index.files().map_err(wrong)?;
        for (name, content) in files.into_iter().chain([("modules.order", index.order().into())]) {
            replace(&root, &folder.join(name), &content, 0o644, Some((0, 0)))?;
        }
    }
    if with_modules > 0 {
        link(&root, release)?;
    }
    Ok(())
}

/// Modules of a kernel lie in `/lib/modules/RELEASE`, which modprobe of a system without merged `/usr` takes by its word.
fn link(root: &std::os::fd::OwnedFd, release: &str) -> Result<(), Error> {
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
    fn a_layer_that_is_not_depmods_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let layers = [layer(folder.path(), "modules", "a.ko:\n"), layer(folder.path(), "bad", "")];
        std::fs::write(layers[1].join(FOLDER).join("6.1/modules.dep"), "nonsense\n").unwrap();
        let root = united(folder.path(), &layers);
        let said = crate::error::chain(&merge(&layers, &root, "6.1").unwrap_err());
        assert!(said.contains("bad") && said.contains("modules.dep line 1"), "{said}");
    }
}

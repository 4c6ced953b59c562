//! What the layers of a root say about the databases that they share (dpkg's, the users), carried out on the root.
//!
//! Layers without a signature are anybody's: they are read below their own folder without following links, no more than
//! [`LARGEST`] bytes of them, and written is only what is known to be such a database.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use overboot_merge::{Changes, FOLDER, Form, apply};
use rustix::fs::{CWD, Dir, Mode, OFlags, ResolveFlags, XattrFlags};
use rustix::io::Errno;

use crate::{Error, error};

/// The most that is read of a layer's changes, or of a database.
const LARGEST: u64 = 64 << 20;

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merged {
    /// How many databases were written anew.
    pub databases: usize,
    /// Does a layer bring libraries that the loader's cache does not know yet?
    pub libraries: bool,
    /// What could not be done, in sentences. A root without it is still one that can be worked in.
    pub trouble: Vec<String>,
}

/// Makes of an unpacked layer what it was before it was written as an archive that anybody can unpack: its files get the
/// extended attributes (capabilities) that the archive could not carry, and the databases of which it notes the change, and
/// which the archive has whole for those who cannot read the note, are taken out.
///
/// # Errors
/// What the layer says cannot be read.
pub fn take_back(layer: &Path) -> Result<(), Error> {
    for changes in read(layer)? {
        let folder = open_folder(layer)?;
        for path in changes.databases.keys().map(Path::new) {
            let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { continue };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            if let Ok(above) = open(&folder, above, flags, ResolveFlags::BENEATH) {
                let _not_there = rustix::fs::unlinkat(&above, name, rustix::fs::AtFlags::empty());
            }
        }
        for (path, attributes) in &changes.attributes {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK;
            let file = open(&folder, Path::new(path), flags, ResolveFlags::BENEATH)
                .map_err(Error::system(format!("open {path} of {}", layer.display())))?;
            for (name, value) in attributes {
                let allowed = name == "security.capability" || name.starts_with("user.");
                if let (true, Some(value)) = (allowed, unhex(value)) {
                    rustix::fs::fsetxattr(&file, name.as_str(), &value, XattrFlags::empty())
                        .map_err(Error::system(format!("restore {name} of {path}")))?;
                }
            }
        }
    }
    Ok(())
}

/// Carries out on `root` what `layers`, from the lowest, say.
///
/// # Errors
/// The root cannot be opened.
pub fn merge(layers: &[PathBuf], root: &Path) -> Result<Merged, Error> {
    let mut merged = Merged::default();
    let mut deltas: BTreeMap<String, Vec<overboot_merge::Delta>> = BTreeMap::new();
    for layer in layers {
        match read(layer) {
            Ok(all) => {
                for changes in all {
                    merged.libraries |= changes.libraries;
                    for (path, delta) in changes.databases {
                        deltas.entry(path).or_default().push(delta);
                    }
                }
            }
            Err(error) => merged.trouble.push(error::chain(&error)),
        }
    }
    let root = open_folder(root)?;
    for (path, deltas) in deltas {
        let Some(form) = Form::of(&path) else { continue };
        let write = || -> io::Result<()> {
            let before = match open(&root, Path::new(&path), OFlags::RDONLY, ResolveFlags::IN_ROOT)
            {
                Ok(file) => read_text(file)?,
                Err(Errno::NOENT) => String::new(),
                Err(errno) => return Err(errno.into()),
            };
            let after = deltas.iter().fold(before, |text, delta| apply(form, &text, delta));
            let mode = if Form::is_secret(&path) { 0o600 } else { 0o644 };
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
            let mode = Mode::from_raw_mode(mode);
            let file =
                rustix::fs::openat2(&root, path.as_str(), flags, mode, ResolveFlags::IN_ROOT)?;
            std::fs::File::from(file).write_all(after.as_bytes())
        };
        match write() {
            Ok(()) => merged.databases += 1,
            Err(source) => merged.trouble.push(format!("cannot merge /{path}: {source}")),
        }
    }
    Ok(merged)
}

/// All that a layer says; nothing for one that is no overlay of ours.
fn read(layer: &Path) -> Result<Vec<Changes>, Error> {
    let said = |what: &str| Error::system(format!("read {what} of the layer {}", layer.display()));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let folder = match open(&open_folder(layer)?, Path::new(FOLDER), flags, ResolveFlags::BENEATH) {
        Ok(folder) => folder,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Vec::new()),
        Err(errno) => return Err(said(FOLDER)(errno)),
    };
    let mut names = Vec::new();
    for entry in Dir::read_from(&folder).map_err(said(FOLDER))? {
        let name = entry.map_err(said(FOLDER))?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".json") {
            names.push(name);
        }
    }
    names.sort_unstable();
    names
        .iter()
        .map(|name| {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK;
            let file =
                open(&folder, Path::new(name), flags, ResolveFlags::BENEATH).map_err(said(name))?;
            let text = read_text(file)?;
            Changes::parse(text.as_bytes()).map_err(|error| Error::Format {
                layer: layer.display().to_string(),
                reason: error::chain(&error),
            })
        })
        .collect()
}

fn read_text(file: OwnedFd) -> io::Result<String> {
    let mut file = std::fs::File::from(file);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    (&mut file).take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn open_folder(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
        .map_err(Error::system(format!("open {}", path.display())))
}

/// Opens `path` beneath `folder`: without following links, or as if `folder` were `/`.
fn open(
    folder: &OwnedFd,
    path: &Path,
    flags: OFlags,
    how: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let how = if how == ResolveFlags::BENEATH { how | ResolveFlags::NO_SYMLINKS } else { how };
    rustix::fs::openat2(folder, path, flags | OFlags::CLOEXEC, Mode::empty(), how)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use overboot_merge::{Delta, changes_path};

    use super::*;

    fn layer(folder: &Path, name: &str, changes: &Changes) -> PathBuf {
        let layer = folder.join(name);
        let path = layer.join(changes_path(name));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, changes.to_bytes()).unwrap();
        layer
    }

    fn adding(path: &str, name: &str, record: &str) -> Changes {
        let put = [(name.to_owned(), record.to_owned())].into();
        let databases = [(path.to_owned(), Delta { put, ..Delta::default() })].into();
        Changes { databases, ..Changes::none() }
    }

    #[test]
    fn layers_add_up_and_modes_stay() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::write(root.join("etc/shadow"), "root:*:::::::\n").unwrap();
        std::fs::set_permissions(root.join("etc/shadow"), PermissionsExt::from_mode(0o640))
            .unwrap();
        let mut one = adding("etc/shadow", "a", "a:!:::::::");
        one.libraries = true;
        let layers = [
            folder.path().join("base"),
            layer(folder.path(), "one", &one),
            layer(folder.path(), "two", &adding("etc/shadow", "b", "b:!:::::::")),
        ];
        std::fs::create_dir(&layers[0]).unwrap();
        let merged = merge(&layers, &root).unwrap();
        assert_eq!(merged, Merged { databases: 1, libraries: true, trouble: Vec::new() });
        let text = std::fs::read_to_string(root.join("etc/shadow")).unwrap();
        assert_eq!(text, "root:*:::::::\na:!:::::::\nb:!:::::::\n");
        let mode = std::fs::metadata(root.join("etc/shadow")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
    }

    #[test]
    fn a_layer_cannot_write_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(&root).unwrap();
        // The root's own link must not lead out of it, and a link in a layer is not followed.
        std::os::unix::fs::symlink("/etc", root.join("etc")).unwrap();
        let other = folder.path().join("secret.json");
        std::fs::write(&other, Changes::none().to_bytes()).unwrap();
        let linked = folder.path().join("linked");
        std::fs::create_dir_all(linked.join("usr/lib/overboot")).unwrap();
        std::os::unix::fs::symlink(folder.path(), linked.join(FOLDER)).unwrap();
        let layers = [layer(folder.path(), "one", &adding("etc/shells", "/x", "/x")), linked];
        let merged = merge(&layers, &root).unwrap();
        assert_eq!(merged.databases, 0);
        assert!(merged.trouble[0].contains("etc/shells"), "{:?}", merged.trouble);
        assert!(!std::fs::read_to_string("/etc/shells").unwrap_or_default().contains("/x\n"));
    }

    #[test]
    fn attributes_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut changes = adding("etc/shells", "/x", "/x");
        let attributes = [("user.note".to_owned(), "0a0b".to_owned())].into();
        changes.attributes.insert("usr/bin/x".to_owned(), attributes);
        let layer = layer(folder.path(), "one", &changes);
        std::fs::create_dir_all(layer.join("usr/bin")).unwrap();
        std::fs::write(layer.join("usr/bin/x"), "").unwrap();
        std::fs::create_dir_all(layer.join("etc")).unwrap();
        std::fs::write(layer.join("etc/shells"), "whole").unwrap();
        take_back(&layer).unwrap();
        assert!(!layer.join("etc/shells").exists());
        let mut value = [0; 8];
        let length =
            rustix::fs::getxattr(layer.join("usr/bin/x"), "user.note", &mut value).unwrap();
        assert_eq!(&value[..length], [0x0a, 0x0b]);
    }
}

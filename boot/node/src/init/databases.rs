//! What the layers of a root say about the databases that they share (dpkg's, the users), carried out on the root.
//!
//! Layers without a signature are anybody's: they are read below their own folder without following links, no more than
//! [`LARGEST`] bytes of them, and written is only what is known to be such a database.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use overboot_merge::{ALTERNATIVES, Alternative, Changes, Delta, FOLDER, Form, apply};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, XattrFlags, openat, renameat, statat,
    unlinkat,
};
use rustix::io::Errno;

use super::alternatives;
use crate::{Error, error};

/// The most that is read of a layer's changes, or of a database.
const LARGEST: u64 = 64 << 20;

/// How overlayfs marks a folder that hides all of its name beneath.
const OPAQUE: &str = "trusted.overlay.opaque";

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
/// extended attributes (capabilities) that the archive could not carry, folders that hide all beneath them are marked instead of
/// having a whiteout for each name, and the databases of which it notes the change, and which the archive has whole for those
/// who cannot read the note, are taken out.
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
                let _not_there = unlinkat(&above, name, AtFlags::empty());
            }
        }
        for (path, attributes) in &changes.attributes {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK;
            let file = open(&folder, Path::new(path), flags, ResolveFlags::BENEATH)
                .map_err(Error::system(format!("open {path} of {}", layer.display())))?;
            for (name, value) in attributes {
                let opaque = name == OPAQUE;
                let allowed = opaque || name == "security.capability" || name.starts_with("user.");
                let failed = || Error::system(format!("restore {name} of {path}"));
                if let (true, Some(value)) = (allowed, unhex(value)) {
                    rustix::fs::fsetxattr(&file, name.as_str(), &value, XattrFlags::empty())
                        .map_err(failed())?;
                }
                if opaque {
                    reveal(&file).map_err(failed())?;
                }
            }
        }
    }
    Ok(())
}

/// Removes the whiteouts in a folder and those in it: nothing is left for them to hide, and where no layer beneath has the folder,
/// overlayfs would show them.
fn reveal(folder: &OwnedFd) -> Result<(), Errno> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if [c".", c".."].contains(&name) {
            continue;
        }
        let found = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::CharacterDevice if found.st_rdev == 0 => {
                unlinkat(folder, name, AtFlags::empty())?;
            }
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                let path = Path::new(OsStr::from_bytes(name.to_bytes()));
                reveal(&open(folder, path, flags, ResolveFlags::BENEATH)?)?;
            }
            _ => {}
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
    // What each says, where it is one that says something: others may be bases.
    let mut said: Vec<(&PathBuf, Option<BTreeMap<String, Delta>>)> = Vec::new();
    for layer in layers {
        match read(layer) {
            Ok(all) => {
                for changes in &all {
                    merged.libraries |= changes.libraries;
                    let unknown = changes.unknown.iter();
                    merged.trouble.extend(unknown.map(|path| {
                        let layer = layer.file_name().unwrap_or_default().display();
                        format!(
                            "{layer} changed /{path}, which this initrd does not know how to merge"
                        )
                    }));
                }
                if all.is_empty() {
                    said.push((layer, None));
                }
                said.extend(all.into_iter().map(|changes| (layer, Some(changes.databases))));
            }
            Err(error) => merged.trouble.push(error::chain(&error)),
        }
    }
    let root = open_folder(root)?;
    let paths: BTreeSet<&String> =
        said.iter().filter_map(|(_, deltas)| deltas.as_ref()).flat_map(BTreeMap::keys).collect();
    for path in paths {
        let Some(form) = Form::of(path) else { continue };
        let write = || -> io::Result<()> {
            let database = Path::new(path);
            let flags = OFlags::RDONLY | OFlags::NONBLOCK;
            let (before, was) = match open(&root, database, flags, ResolveFlags::IN_ROOT) {
                Ok(file) => {
                    let was = rustix::fs::fstat(&file)?;
                    (read_text(file)?, Some(was))
                }
                Err(Errno::NOENT) => (String::new(), None),
                Err(errno) => return Err(errno.into()),
            };
            let layers: Vec<(&PathBuf, Option<&Delta>)> = said
                .iter()
                .filter_map(|(layer, deltas)| match deltas {
                    None => Some((*layer, None)),
                    Some(deltas) => deltas.get(path).map(|delta| (*layer, Some(delta))),
                })
                .collect();
            let deltas = layers.iter().filter_map(|(_, delta)| *delta);
            let after = deltas.fold(before, |text, delta| apply(form, &text, delta));
            if let (Form::Alternatives, Some(name)) = (form, path.strip_prefix(ALTERNATIVES)) {
                alternatives::link(&root, name, &Alternative::parse(&after), &layers)?;
                if after.is_empty() {
                    return remove(&root, database);
                }
            }
            let mode = was.map_or(if Form::is_secret(path) { 0o600 } else { 0o644 }, |was| {
                was.st_mode & 0o7777
            });
            let owner = was.map(|was| (was.st_uid, was.st_gid));
            replace(&root, database, after.as_bytes(), mode, owner)
        };
        match write() {
            Ok(()) => merged.databases += 1,
            Err(source) => merged.trouble.push(format!("cannot merge /{path}: {source}")),
        }
    }
    Ok(merged)
}

fn remove(root: &OwnedFd, path: &Path) -> io::Result<()> {
    let (above, name) = (path.parent().unwrap_or(path), path.file_name().unwrap_or_default());
    let folder = open(root, above, OFlags::RDONLY | OFlags::DIRECTORY, ResolveFlags::IN_ROOT)?;
    match unlinkat(&folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Writes `path` of `root` aside and renames: where there is no room for the new one, the old one stays.
pub(super) fn replace(
    root: &OwnedFd,
    path: &Path,
    bytes: &[u8],
    mode: u32,
    owner: Option<(u32, u32)>,
) -> io::Result<()> {
    const ASIDE: &str = ".overboot-merged";
    let (above, name) = (path.parent().unwrap_or(path), path.file_name().unwrap_or_default());
    let folder = open(root, above, OFlags::RDONLY | OFlags::DIRECTORY, ResolveFlags::IN_ROOT)?;
    let _absent = unlinkat(&folder, ASIDE, AtFlags::empty());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut file = std::fs::File::from(openat(&folder, ASIDE, flags, Mode::from_raw_mode(0o600))?);
    let mut write = || -> io::Result<()> {
        file.write_all(bytes)?;
        if let Some((user, group)) = owner {
            std::os::unix::fs::fchown(&file, Some(user), Some(group))?;
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        Ok(renameat(&folder, ASIDE, &folder, name)?)
    };
    let written = write();
    if written.is_err() {
        let _absent = unlinkat(&folder, ASIDE, AtFlags::empty());
    }
    written
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
    Ok(String::from_utf8_lossy(&read_bytes(file)?).into_owned())
}

/// The content of a file of a layer, if it is a regular one and not too large.
pub(super) fn read_bytes(file: OwnedFd) -> io::Result<Vec<u8>> {
    let mut file = std::fs::File::from(file);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    (&mut file).take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

pub(super) fn open_folder(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty())
        .map_err(Error::system(format!("open {}", path.display())))
}

/// Opens `path` beneath `folder`: without following links, or as if `folder` were `/`.
pub(super) fn open(
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
    use overboot_merge::changes_path;

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
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::write(root.join("etc/shadow"), "root:*:::::::\n").unwrap();
        let shadow = root.join("etc/shadow");
        // Of another group, where whoever runs this may do so.
        let _mine = std::os::unix::fs::chown(&shadow, None, Some(42));
        std::fs::set_permissions(&shadow, PermissionsExt::from_mode(0o640)).unwrap();
        let mut old = std::fs::File::open(&shadow).unwrap();
        let owner = |metadata: std::fs::Metadata| (metadata.uid(), metadata.gid());
        let owned = owner(old.metadata().unwrap());
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
        let text = std::fs::read_to_string(&shadow).unwrap();
        assert_eq!(text, "root:*:::::::\na:!:::::::\nb:!:::::::\n");
        let now = std::fs::metadata(&shadow).unwrap();
        assert_eq!((now.permissions().mode() & 0o7777, owner(now)), (0o640, owned));
        // The old one was whole until the new one was.
        let mut text = String::new();
        old.read_to_string(&mut text).unwrap();
        assert_eq!(text, "root:*:::::::\n");
        assert_eq!(std::fs::read_dir(root.join("etc")).unwrap().count(), 1);
    }

    #[test]
    fn a_layer_cannot_write_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(&root).unwrap();
        // The root's own link must not lead out of it.
        std::os::unix::fs::symlink("/etc", root.join("etc")).unwrap();
        let one = layer(folder.path(), "one", &adding("etc/shells", "/x", "/x"));
        let merged = merge(&[one], &root).unwrap();
        assert_eq!(merged.databases, 0);
        assert!(merged.trouble[0].contains("etc/shells"), "{:?}", merged.trouble);
        assert!(!std::fs::read_to_string("/etc/shells").unwrap_or_default().contains("/x\n"));
    }

    #[test]
    fn of_a_later_layer_all_is_done_but_what_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("etc")).unwrap();
        let mut changes = adding("etc/shells", "/x", "/x");
        changes.databases.insert("etc/later".to_owned(), changes.databases["etc/shells"].clone());
        let one = layer(folder.path(), "one", &changes);
        std::fs::create_dir_all(one.join("etc")).unwrap();
        for name in ["shells", "later"] {
            std::fs::write(one.join("etc").join(name), "whole").unwrap();
        }
        // What cannot be merged is there as it was where the layer was made, if that says so.
        take_back(&one).unwrap();
        assert!(!one.join("etc/shells").exists() && one.join("etc/later").exists());
        let merged = merge(&[one], &root).unwrap();
        assert_eq!(merged.databases, 1);
        let trouble = "one changed /etc/later, which this initrd does not know how to merge";
        assert_eq!(merged.trouble, [trouble]);
        assert_eq!(std::fs::read_to_string(root.join("etc/shells")).unwrap(), "/x\n");
        assert!(!root.join("etc/later").exists());
    }

    #[test]
    fn a_link_in_a_layer_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::write(root.join("etc/shells"), "/bin/sh\n").unwrap();
        // What a layer would be believed to say is outside of it.
        let said = layer(folder.path(), "said", &adding("etc/shells", "/x", "/x"));
        let [to_folder, to_file] = ["to-folder", "to-file"].map(|name| folder.path().join(name));
        std::fs::create_dir_all(to_folder.join(FOLDER).parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(said.join(FOLDER), to_folder.join(FOLDER)).unwrap();
        std::fs::create_dir_all(to_file.join(FOLDER)).unwrap();
        let link = to_file.join(FOLDER).join("a.json");
        std::os::unix::fs::symlink(said.join(changes_path("said")), link).unwrap();
        let merged = merge(&[to_folder, to_file], &root).unwrap();
        assert_eq!(merged.databases, 0, "{merged:?}");
        assert_eq!(std::fs::read_to_string(root.join("etc/shells")).unwrap(), "/bin/sh\n");
        // Without the links it would be.
        assert_eq!(merge(&[said], &root).unwrap().databases, 1);
    }

    #[test]
    fn a_folder_that_hides_what_is_beneath_is_marked_so() {
        // Whiteouts are device nodes.
        if !overboot_testkit::require::root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut changes = Changes::none();
        let attributes = [(OPAQUE.to_owned(), "79".to_owned())].into();
        changes.attributes.insert("opt/new".to_owned(), attributes);
        let layer = layer(folder.path(), "one", &changes);
        for path in ["opt/new/deep", "opt/old"] {
            std::fs::create_dir_all(layer.join(path)).unwrap();
            let whiteout = layer.join(path).join("gone");
            let mode = Mode::from_raw_mode(0);
            rustix::fs::mknodat(CWD, whiteout, FileType::CharacterDevice, mode, 0).unwrap();
            std::fs::write(layer.join(path).join("file"), "x").unwrap();
        }
        take_back(&layer).unwrap();
        let mut value = [0; 8];
        let length = rustix::fs::getxattr(layer.join("opt/new"), OPAQUE, &mut value).unwrap();
        assert_eq!(&value[..length], b"y");
        let names = |path: &str| std::fs::read_dir(layer.join(path)).unwrap().count();
        assert_eq!((names("opt/new/deep"), names("opt/old")), (1, 2));
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

//! The layers of a container image into a tree (OCI image specification 1.1, "Image Layer Filesystem Changeset").
//!
//! Each layer is read twice. First for what it takes away: a whiteout is about the layers below its own alone, wherever in the
//! archive it stands. Then for what it brings.
//!
//! What a system in RAM does not take from an image: device nodes, since the kernel makes them (and one of them is overlayfs' own
//! whiteout); and extended attributes that change how the tree is mounted or judged (`trusted.*`, `security.*` but for
//! capabilities).

mod alternatives;
mod logins;
mod merge;
mod owners;
mod tar;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags, Timespec, Timestamps, XattrFlags};

use self::tar::{Entry, Kind, Reader};
use crate::Log;
use crate::error::Error;
use crate::root::{self, Attributes, Parents, Place, Root, remove_tree};

/// What an image may be made of at most: far above any, far below the end of a disk or of patience.
const MOST_ENTRIES: u64 = 4_000_000;
const MOST_BYTES: u64 = 64 << 30;

/// The name of whiteouts, and of the one that hides a whole folder.
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What aufs, docker's first file system, kept for itself.
const RESERVED: &[u8] = b".wh..wh.";

/// Puts an image into `root`: its `layers`, lowest first, which are tar archives, plain or compressed with gzip or zstd.
///
/// Into a tree that has something in it already the image goes as a whole: what it takes away again of its own layers is nothing
/// to the tree. It is put together in `scratch` for that, which must not be there, and is not there afterwards. Databases that
/// both have are united ([`overboot_merge::Form`]): packages are then the image's where both have one, users and groups the tree's,
/// and the image's files belong to those of the same names.
///
/// Nobody comes in with what an image brought: its passwords are locked, the keys in its homes left out.
///
/// # Errors
/// A layer that cannot be read, or that holds what no layer may hold; then the tree is unfinished.
pub fn apply(root: &Root, layers: &[PathBuf], scratch: &Path, log: Log<'_>) -> Result<(), Error> {
    if root.names("")?.is_empty() {
        unpack(root, layers, log)?;
        return logins::close(root, root, log);
    }
    let applied = Root::create(scratch).and_then(|image| {
        unpack(&image, layers, log)?;
        logins::close(&image, root, log)?;
        merge::merge(&image, root, log)
    });
    remove_tree(scratch)?;
    applied
}

/// The content of the file at `path` in an image, without unpacking it; nothing where there is none. Links are not followed.
///
/// # Errors
/// As [`apply`].
pub fn read(layers: &[PathBuf], path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let mut budget = Budget::new();
    // From the uppermost: what it says of the path is what counts.
    for layer in layers.iter().rev() {
        let (mut brought, mut taken_away) = (None, false);
        each(layer, &mut budget, |entry, content| {
            match meaning(entry)? {
                Meaning::Brings(found) if found == path => {
                    let mut bytes = Vec::new();
                    if entry.kind == Kind::File {
                        if entry.size > root::LARGEST {
                            return Err(Trouble::Why("is larger than such files are"));
                        }
                        content.read_to_end(&mut bytes)?;
                    }
                    brought = Some((entry.kind == Kind::File).then_some(bytes));
                }
                Meaning::Brings(found) if entry.kind != Kind::Folder => {
                    // Something that is no folder stands in the way.
                    taken_away |= path.starts_with(&found);
                }
                Meaning::Removes(folder, name) => taken_away |= path.starts_with(folder.join(name)),
                Meaning::Empties(folder) => taken_away |= path.starts_with(&folder),
                Meaning::Brings(_) | Meaning::Nothing => {}
            }
            Ok(())
        })?;
        match brought {
            Some(content) => return Ok(content),
            None if taken_away => return Ok(None),
            None => {}
        }
    }
    Ok(None)
}

/// Puts layer upon layer.
fn unpack(root: &Root, layers: &[PathBuf], log: Log<'_>) -> Result<(), Error> {
    let mut budget = Budget::new();
    for (at, layer) in layers.iter().enumerate() {
        // The second reading meets the same again, and is no reason to take less.
        let mut again = budget;
        each(layer, &mut budget, |entry, _| take_away(root, entry))?;
        let mut writer = Writer {
            root,
            parents: Parents::default(),
            met: BTreeMap::new(),
            brought: BTreeMap::new(),
            looked_at: HashSet::new(),
            devices: 0,
            xattrs: 0,
        };
        each(layer, &mut again, |entry, content| writer.put(entry, content))?;
        let (devices, xattrs) = (writer.devices, writer.xattrs);
        writer.finish()?;
        if devices + xattrs > 0 {
            log(&format!(
                "layer {} of {}: {devices} device nodes and {xattrs} extended attributes left out",
                at + 1,
                layers.len()
            ));
        }
    }
    Ok(())
}

/// What is left of what an image may be made of.
#[derive(Debug, Clone, Copy)]
struct Budget {
    entries: u64,
    bytes: u64,
}

impl Budget {
    fn new() -> Self {
        Self { entries: MOST_ENTRIES, bytes: MOST_BYTES }
    }

    fn spend(&mut self, entries: u64, bytes: u64) -> Result<(), Trouble> {
        let left = self.entries.checked_sub(entries).zip(self.bytes.checked_sub(bytes));
        (self.entries, self.bytes) = left.ok_or(Trouble::Why("is more than an image may hold"))?;
        Ok(())
    }
}

/// Why one entry was not unpacked; the caller knows its name.
enum Trouble {
    Why(&'static str),
    Io(io::Error),
    Error(Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rustix::io::Errno> for Trouble {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(error.into())
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Runs `work` on each entry of a layer, if the budget allows for it.
fn each(
    layer: &Path,
    budget: &mut Budget,
    mut work: impl FnMut(&Entry, &mut dyn Read) -> Result<(), Trouble>,
) -> Result<(), Error> {
    let wrong = |trouble: Trouble, path: &[u8]| {
        let why = match trouble {
            Trouble::Why(why) => why.to_owned(),
            Trouble::Io(error) => format!("cannot be unpacked: {error}"),
            Trouble::Error(error) => return error,
        };
        let path = String::from_utf8_lossy(path).into_owned();
        Error::Layer { layer: layer.to_owned(), path, why }
    };
    let content = decompress(layer).map_err(Error::io("read", layer))?;
    let mut reader = Reader::new(content, budget);
    // For an error between two entries: what was before it.
    let mut last = Vec::new();
    while let Some(entry) = reader.next().map_err(|trouble| wrong(trouble, &last))? {
        let done = reader.spend(&entry).and_then(|()| work(&entry, &mut reader));
        done.map_err(|trouble| wrong(trouble, &entry.path))?;
        last = entry.path;
    }
    Ok(())
}

/// By its first bytes: media types have been known to be wrong.
fn decompress(layer: &Path) -> io::Result<Box<dyn Read>> {
    let mut file = BufReader::with_capacity(256 << 10, File::open(layer)?);
    let magic = io::BufRead::fill_buf(&mut file)?;
    if magic.starts_with(&[0x1f, 0x8b]) {
        Ok(Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(file))))
    } else if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Ok(Box::new(BufReader::new(zstd::Decoder::with_buffer(file)?)))
    } else {
        Ok(Box::new(file))
    }
}

/// What an entry is about.
enum Meaning<'a> {
    Brings(PathBuf),
    Removes(PathBuf, &'a OsStr),
    Empties(PathBuf),
    Nothing,
}

fn meaning(entry: &Entry) -> Result<Meaning<'_>, Trouble> {
    let path = inside(&entry.path)?;
    let Some(name) = path.file_name() else { return Ok(Meaning::Brings(path)) };
    let parent = path.parent().unwrap_or(Path::new(""));
    for part in parent {
        if part.as_bytes().starts_with(RESERVED) {
            return Ok(Meaning::Nothing);
        }
        if part.as_bytes().starts_with(WHITEOUT) {
            return Err(Trouble::Why("lies in a whiteout, which is no folder"));
        }
    }
    let name = name.as_bytes();
    if name == OPAQUE {
        return Ok(Meaning::Empties(parent.to_owned()));
    }
    if name.starts_with(RESERVED) {
        return Ok(Meaning::Nothing);
    }
    if !name.starts_with(WHITEOUT) {
        return Ok(Meaning::Brings(path));
    }
    // The last part of the entry's own path, which outlives `path`.
    let own = entry.path.trim_ascii_end();
    let own = own.strip_suffix(b"/").unwrap_or(own);
    let own = own.rsplit(|b| *b == b'/').next().unwrap_or_default();
    match own.strip_prefix(WHITEOUT) {
        Some(b"" | b"." | b"..") | None => Err(Trouble::Why("is a whiteout of nothing")),
        Some(hidden) => Ok(Meaning::Removes(parent.to_owned(), OsStr::from_bytes(hidden))),
    }
}

/// The path within the tree; empty for the tree itself.
fn inside(raw: &[u8]) -> Result<PathBuf, Trouble> {
    let mut path = PathBuf::new();
    for part in raw.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(Trouble::Why("leads out of the tree")),
            part if part.contains(&0) => return Err(Trouble::Why("has a zero in its name")),
            part => path.push(OsStr::from_bytes(part)),
        }
    }
    Ok(path)
}

/// First reading: removes what a whiteout hides. It names the true path: through a link nothing is removed.
fn take_away(root: &Root, entry: &Entry) -> Result<(), Trouble> {
    let (parent, hidden) = match meaning(entry)? {
        Meaning::Removes(parent, name) => (parent, Some(name)),
        Meaning::Empties(folder) => (folder, None),
        Meaning::Brings(_) | Meaning::Nothing => return Ok(()),
    };
    let Some(folder) = root.folder_without_links(&parent) else { return Ok(()) };
    let before = rustix::fs::fstat(&folder)?;
    match hidden {
        Some(name) => root::remove_all(&folder, name)?,
        None => {
            for name in root::names(&folder)? {
                root::remove_all(&folder, &name)?;
            }
        }
    }
    // A folder is as old as its layer says, and not as its unpacking.
    set_time(&folder, before.st_mtime)
}

fn set_time(folder: &OwnedFd, mtime: i64) -> Result<(), Trouble> {
    let time = Timespec { tv_sec: mtime, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::futimens(folder, &times)?)
}

/// Second reading: writes what one layer brings.
struct Writer<'a> {
    root: &'a Root,
    parents: Parents,
    /// The times of folders, set again in the end, since whatever is put into a folder makes it younger. Of those that were
    /// there before, each by itself, however many paths lead to it;
    met: BTreeMap<(u64, u64), (PathBuf, i64)>,
    /// of those that nobody brings, which have none, and of those that the layer brings.
    brought: BTreeMap<PathBuf, i64>,
    /// All paths that were looked at for that.
    looked_at: HashSet<PathBuf>,
    devices: u64,
    xattrs: u64,
}

impl Writer<'_> {
    fn put(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), Trouble> {
        let Meaning::Brings(path) = meaning(entry)? else { return Ok(()) };
        if path.as_os_str().is_empty() {
            return self.tree_itself(entry);
        }
        self.meet(&path);
        let place = self.parents.place(self.root, &path)?;
        let there = root::look(&place)?;
        let folder = there
            .is_some_and(|there| FileType::from_raw_mode(there.st_mode) == FileType::Directory);
        match entry.kind {
            Kind::Folder => {
                if !folder {
                    self.make_room(&path, &place)?;
                    root::make_folder(&place)?;
                }
                self.brought.insert(path.clone(), entry.mtime);
            }
            Kind::HardLink => return self.hard_link(entry, &path, &place),
            Kind::File => {
                self.make_room(&path, &place)?;
                let mut file = root::create(&place)?;
                io::copy(content, &mut file)?;
            }
            Kind::Symlink => {
                self.make_room(&path, &place)?;
                if entry.link.is_empty() || entry.link.contains(&0) {
                    return Err(Trouble::Why("is a link to nowhere"));
                }
                root::symlink(&place, &entry.link)?;
            }
            Kind::Fifo => {
                self.make_room(&path, &place)?;
                root::node(&place, FileType::Fifo, 0, 0)?;
            }
            Kind::Device => {
                self.make_room(&path, &place)?;
                self.devices += 1;
                return Ok(());
            }
        }
        root::set_attributes(&place, entry.kind == Kind::Symlink, attributes(entry))?;
        self.set_xattrs(entry, &place)
    }

    /// An archive may say how the top of the tree is to be.
    fn tree_itself(&mut self, entry: &Entry) -> Result<(), Trouble> {
        if entry.kind != Kind::Folder {
            return Err(Trouble::Why("is the tree itself, and no folder"));
        }
        let top = std::rc::Rc::new(self.root.open_folder(Path::new(""))?);
        let place = (top, OsStr::new("."));
        root::set_attributes(&place, false, attributes(entry))?;
        self.brought.insert(PathBuf::new(), entry.mtime);
        self.set_xattrs(entry, &place)
    }

    fn hard_link(&mut self, entry: &Entry, path: &Path, place: &Place<'_>) -> Result<(), Trouble> {
        const NOWHERE: Trouble = Trouble::Why("is a hard link to a file that is not there");
        let target = inside(&entry.link)?;
        let parent = target.parent().ok_or(NOWHERE)?;
        if !self.root.is_folder(parent) {
            return Err(NOWHERE);
        }
        let existing = self.parents.place(self.root, &target)?;
        let file = root::look(&existing)?.ok_or(NOWHERE)?;
        if FileType::from_raw_mode(file.st_mode) == FileType::Directory {
            return Err(Trouble::Why("is a hard link to a folder"));
        }
        let there = root::look(place)?;
        if there.is_some_and(|there| (there.st_dev, there.st_ino) == (file.st_dev, file.st_ino)) {
            return Ok(());
        }
        self.make_room(path, place)?;
        Ok(root::hard_link(&existing, place)?)
    }

    /// Removes what stands at a place, and what was known of it.
    fn make_room(&mut self, path: &Path, place: &Place<'_>) -> Result<(), Trouble> {
        let Some(there) = root::look(place)? else { return Ok(()) };
        root::remove_all(&place.0, place.1)?;
        if matches!(FileType::from_raw_mode(there.st_mode), FileType::Directory | FileType::Symlink)
        {
            // Paths that led through it lead elsewhere now.
            self.parents = Parents::default();
            self.met.retain(|_, (other, _)| !other.starts_with(path));
            self.brought.retain(|other, _| !other.starts_with(path));
            self.looked_at.retain(|other| !other.starts_with(path));
        }
        Ok(())
    }

    /// Notes the times of the folders above a path, before anything changes in them.
    fn meet(&mut self, path: &Path) {
        for folder in path.ancestors().skip(1) {
            if !self.looked_at.insert(folder.to_owned()) {
                return;
            }
            let open = self.root.open_folder(folder).ok();
            match open.and_then(|open| rustix::fs::fstat(open).ok()) {
                Some(there) => {
                    let identity = (there.st_dev, there.st_ino);
                    self.met.entry(identity).or_insert((folder.to_owned(), there.st_mtime));
                }
                None => {
                    self.brought.entry(folder.to_owned()).or_insert(0);
                }
            }
        }
    }

    fn set_xattrs(&mut self, entry: &Entry, place: &Place<'_>) -> Result<(), Trouble> {
        let mut taken = entry.xattrs.iter().filter(|(name, _)| is_taken(name)).peekable();
        self.xattrs += entry.xattrs.iter().filter(|(name, _)| !is_taken(name)).count() as u64;
        if taken.peek().is_none() {
            return Ok(());
        }
        if !matches!(entry.kind, Kind::File | Kind::Folder) {
            self.xattrs += taken.count() as u64;
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&*place.0, place.1, flags, rustix::fs::Mode::empty())?;
        for (name, value) in taken {
            rustix::fs::fsetxattr(&file, OsStr::from_bytes(name), value, XattrFlags::empty())?;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Error> {
        let met = self.met.values().map(|(folder, mtime)| (folder, mtime));
        for (folder, mtime) in met.chain(&self.brought) {
            let Ok(open) = self.root.open_folder(folder) else { continue };
            set_time(&open, *mtime).map_err(|trouble| match trouble {
                Trouble::Error(error) => error,
                Trouble::Io(error) => Error::io("date", self.root.path().join(folder))(error),
                Trouble::Why(why) => Error::io("date", folder)(io::Error::other(why)),
            })?;
        }
        Ok(())
    }
}

fn attributes(entry: &Entry) -> Attributes {
    Attributes { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime }
}

/// Is an extended attribute one that a tree takes from an image? Never those of overlayfs, which would have a say in what is seen.
fn is_taken(name: &[u8]) -> bool {
    name == b"security.capability"
        || name.starts_with(b"system.posix_acl_")
        || name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")
}

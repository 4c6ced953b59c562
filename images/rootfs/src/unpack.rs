//! Packages into a tree, as `dpkg --unpack` would (dpkg's `archives.c`), but decompressed in parallel.
//!
//! Threads decompress ahead, each into a bounded queue; one thread writes, package after package in the given order, so that
//! the result does not depend on how many threads there are. Conffiles are put beside their place as `NAME.dpkg-new`, where
//! dpkg looks for them when it configures the package.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use overboot_debian::deb::{ControlFiles, Deb};
use overboot_debian::deb822;
use overboot_debian::relation::Relations;
use rustix::fs::FileType;

use crate::accounts::Accounts;
use crate::dpkg::{diversions::Diversions, info, status, triggers::Triggers};
use crate::error::Error;
use crate::filters::Filters;
use crate::install::Package;
use crate::root::{self, Attributes, Parents, Root};

/// How much of a package is decompressed ahead of its writing: 64 chunks of 256 KiB.
const CHUNK: usize = 256 << 10;
const QUEUE: usize = 64;

/// Unpacks `packages` into `root` and records them as unpacked.
pub(crate) fn unpack(
    root: &Root,
    packages: &[&Package],
    filters: &Filters,
    threads: usize,
) -> Result<(), Error> {
    let mut writer = Writer::new(root, filters)?;
    let mut stanzas = String::new();
    let (senders, receivers): (Vec<_>, Vec<_>) =
        packages.iter().map(|_| sync_channel(QUEUE)).unzip();
    let senders: Vec<_> = senders.into_iter().map(|s| std::sync::Mutex::new(Some(s))).collect();
    let next = AtomicUsize::new(0);
    let threads = threads.clamp(1, packages.len().max(1));
    let (senders, next) = (&senders, &next);
    std::thread::scope(|scope| {
        // A place for each package that is decompressed and not yet written: what waits in memory is bounded by them. When the
        // writer gives up, its end is gone, and so are the threads.
        let (places, written) = sync_channel(threads + 1);
        for _ in 0..threads {
            let places = places.clone();
            scope.spawn(move || {
                while places.send(()).is_ok() {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(package) = packages.get(at) else { return };
                    let sender = senders[at].lock().ok().and_then(|mut sender| sender.take());
                    if let Some(sender) = sender {
                        decompress(package, &sender);
                    }
                }
            });
        }
        for (package, receiver) in packages.iter().zip(receivers) {
            stanzas.push_str(&writer.package(package, receiver)?);
            // Its place is free again.
            let _ = written.recv();
        }
        Ok(())
    })?;
    writer.finish(&stanzas)
}

/// Puts the files of one package into `folder`, and nothing else: no database, no scripts. For packages of which only files
/// are wanted, such as a kernel's.
///
/// # Errors
/// A package that cannot be read, or that holds what no package may hold.
pub fn extract(package: &Package, folder: &Path) -> Result<(), Error> {
    let root = Root::open(folder)?;
    let filters = Filters::default();
    let mut writer = Writer::new(&root, &filters)?;
    let (sender, receiver) = sync_channel(QUEUE);
    std::thread::scope(|scope| {
        scope.spawn(move || decompress(package, &sender));
        // The control files come first.
        match receiver.recv() {
            Ok(Piece::Failed(error)) => return Err(error),
            Ok(Piece::Control(_) | Piece::Data(_)) | Err(_) => {}
        }
        writer.data(&package.name, receiver, &HashSet::new()).map(drop)
    })
}

/// What the decompressing thread hands over: the control files first, then the data, then nothing.
enum Piece {
    Control(Box<ControlFiles>),
    Data(Vec<u8>),
    Failed(Error),
}

/// Sends a package's contents; stops without a word when nobody listens any more.
fn decompress(package: &Package, sender: &SyncSender<Piece>) {
    let broken = |source| Error::Package { package: package.name.clone(), source };
    let run = || -> Result<(), Error> {
        let bytes = fs_err::read(&package.path).map_err(Error::io("read", &package.path))?;
        let deb = Deb::new(&bytes).map_err(broken)?;
        let control = deb.control().map_err(broken)?;
        if sender.send(Piece::Control(Box::new(control))).is_err() {
            return Ok(());
        }
        let mut data = deb.data().map_err(broken)?;
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            let read = (&mut data).take(CHUNK as u64).read_to_end(&mut chunk);
            read.map_err(Error::io("unpack", &package.path))?;
            if chunk.is_empty() || sender.send(Piece::Data(chunk)).is_err() {
                return Ok(());
            }
        }
    };
    if let Err(error) = run() {
        let _ = sender.send(Piece::Failed(error));
    }
}

/// The queue as a reader. An error of the other side is kept, since a reader can only give an [`io::Error`].
struct Pieces {
    receiver: Receiver<Piece>,
    chunk: io::Cursor<Vec<u8>>,
    failed: Option<Error>,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.chunk.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.receiver.recv() {
                Ok(Piece::Data(chunk)) => self.chunk = io::Cursor::new(chunk),
                Ok(Piece::Failed(error)) => {
                    self.failed = Some(error);
                    return Err(io::Error::other("the package cannot be decompressed"));
                }
                Ok(Piece::Control(_)) | Err(_) => return Ok(0),
            }
        }
    }
}

/// The one who writes.
struct Writer<'a> {
    root: &'a Root,
    filters: &'a Filters,
    accounts: Accounts,
    diversions: Diversions,
    triggers: Triggers,
    parents: Parents,
    /// Who brought which file (not folder), by path with a leading `/`.
    owners: HashMap<String, String>,
    /// What the packages here say they replace.
    replaces: HashMap<String, Relations>,
    /// The lists of those that were unpacked now, by stem; a file that another package takes over is struck off.
    lists: BTreeMap<String, Vec<String>>,
    stems: HashMap<String, String>,
}

impl<'a> Writer<'a> {
    fn new(root: &'a Root, filters: &'a Filters) -> Result<Self, Error> {
        let mut writer = Self {
            root,
            filters,
            accounts: Accounts::of(root)?,
            diversions: Diversions::of(root)?,
            triggers: Triggers::of(root)?,
            parents: Parents::default(),
            owners: HashMap::new(),
            replaces: HashMap::new(),
            lists: BTreeMap::new(),
            stems: HashMap::new(),
        };
        for package in status::installed(root)? {
            for path in info::read_list(root, &package.stem)? {
                writer.owners.insert(path, package.name.clone());
            }
            writer.replaces.insert(package.name.clone(), relations(&package.replaces));
            writer.stems.insert(package.name, package.stem);
        }
        Ok(writer)
    }

    /// Unpacks one package; returns its stanza for `status`.
    fn package(&mut self, package: &Package, receiver: Receiver<Piece>) -> Result<String, Error> {
        let name = &package.name;
        let control = match receiver.recv() {
            Ok(Piece::Control(control)) => *control,
            Ok(Piece::Failed(error)) => return Err(error),
            Ok(Piece::Data(_)) | Err(_) => {
                let why = "nothing came of it".to_owned();
                return Err(Error::Entry { package: name.clone(), path: String::new(), why });
            }
        };
        let broken = |source| Error::Package { package: name.clone(), source };
        let text = control.control().map_err(broken)?;
        let wrong =
            |why: String| Error::Entry { package: name.clone(), path: "control".into(), why };
        let stanza = deb822::single(text).map_err(|error| wrong(error.to_string()))?;
        // What is inside must be what the index promised: names and versions end up in file names and in `status`.
        for (field, wanted) in [("Package", &package.name), ("Version", &package.version)] {
            if stanza.get(field) != Some(wanted) {
                let found = stanza.get(field).unwrap_or("nothing");
                return Err(wrong(format!("says {field}: {found}, and {wanted} was expected")));
            }
        }
        let stem = info::stem(&stanza);
        self.stems.insert(name.clone(), stem.clone());
        self.replaces.insert(name.clone(), relations(stanza.get("Replaces").unwrap_or_default()));
        let conffile_text = String::from_utf8_lossy(control.get("conffiles").unwrap_or_default());
        // deb-conffiles(5): what is to be removed on upgrade is not among the package's files.
        let conffiles: HashSet<&str> = conffile_text.lines().map(str::trim).collect();

        let list = self.data(name, receiver, &conffiles)?;

        info::write_control(self.root, &stem, &control, self.filters)?;
        self.lists.insert(stem.clone(), list);
        if let Some(triggers) = control.get("triggers") {
            self.triggers.declare(&stem, &String::from_utf8_lossy(triggers))?;
        }
        Ok(status::unpacked(&stanza, &conffile_text))
    }

    /// Unpacks a package's data; returns the paths in it.
    fn data(
        &mut self,
        package: &str,
        receiver: Receiver<Piece>,
        conffiles: &HashSet<&str>,
    ) -> Result<Vec<String>, Error> {
        let pieces = Pieces { receiver, chunk: io::Cursor::default(), failed: None };
        let mut archive = tar::Archive::new(pieces);
        let mut list = Vec::new();
        let unpacked = self.entries(package, &mut archive, conffiles, &mut list);
        // The tar reader knows only that reading failed; the other side knows why.
        match archive.into_inner().failed {
            Some(error) => Err(error),
            None => unpacked.map(|()| list),
        }
    }

    fn entries(
        &mut self,
        package: &str,
        archive: &mut tar::Archive<Pieces>,
        conffiles: &HashSet<&str>,
        list: &mut Vec<String>,
    ) -> Result<(), Error> {
        let broken = |source| Error::Io { what: "unpack", path: package.into(), source };
        for entry in archive.entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            let raw = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let wrong = |why: &str| Error::Entry {
                package: package.into(),
                path: raw.clone(),
                why: why.into(),
            };
            let path = absolute(&raw).ok_or_else(|| wrong("is not a path inside of the root"))?;
            if path == "/" {
                list.push("/.".to_owned());
                continue;
            }
            let kind = entry.header().entry_type();
            // dpkg would list what it leaves out. A database that tells of files that are not there makes `dpkg --verify`
            // useless on a node, so ours lists what there is.
            if self.filters.skips(&path, kind.is_dir() || kind.is_symlink()) {
                continue;
            }
            list.push(path.clone());
            self.entry(package, &path, &mut entry, conffiles.contains(path.as_str()))
                .map_err(|error| error.or(&wrong))?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        package: &str,
        path: &str,
        entry: &mut tar::Entry<'_, Pieces>,
        conffile: bool,
    ) -> Result<(), Trouble> {
        let header = entry.header();
        let kind = header.entry_type();
        let (uid, gid) = (header.uid()?, header.gid()?);
        let number =
            |id: u64| u32::try_from(id).map_err(|_| Trouble::Why("has an owner beyond 32 bits"));
        let attributes = Attributes {
            mode: header.mode()? & 0o7777,
            uid: self.accounts.user(header.username().ok().flatten(), number(uid)?),
            gid: self.accounts.group(header.groupname().ok().flatten(), number(gid)?),
            mtime: i64::try_from(header.mtime()?).unwrap_or(i64::MAX),
        };
        let target = self.diversions.target(path, package).to_owned();
        let target = if conffile { format!("{target}.dpkg-new") } else { target };
        let relative = Path::new(target.trim_start_matches('/'));

        // A folder, or a link to one, stays as it is: dpkg never puts a link in a folder's place, nor a folder in a link's.
        if (kind.is_dir() || kind.is_symlink()) && self.root.is_folder(relative) {
            return Ok(());
        }
        if !kind.is_dir() && !self.take(package, path)? {
            return Ok(());
        }
        let place = self.parents.place(self.root, relative)?;
        root::remove(&place)?;
        match kind {
            tar::EntryType::Directory => root::make_folder(&place)?,
            tar::EntryType::Symlink => {
                let target = entry.link_name_bytes().ok_or(Trouble::Why("is a link to nowhere"))?;
                root::symlink(&place, &target)?;
            }
            tar::EntryType::Link => {
                let target = entry.link_name_bytes().ok_or(Trouble::Why("is a link to nowhere"))?;
                let target = absolute(&String::from_utf8_lossy(&target))
                    .ok_or(Trouble::Why("is a link out of the root"))?;
                let target = self.diversions.target(&target, package).to_owned();
                let existing =
                    self.parents.place(self.root, Path::new(target.trim_start_matches('/')))?;
                root::hard_link(&existing, &place)?;
                self.triggers.touch(path);
                // Owner, mode and time are the other name's.
                return Ok(());
            }
            tar::EntryType::Char | tar::EntryType::Block | tar::EntryType::Fifo => {
                let (major, minor) =
                    (entry.header().device_major()?, entry.header().device_minor()?);
                let node = match kind {
                    tar::EntryType::Char => FileType::CharacterDevice,
                    tar::EntryType::Block => FileType::BlockDevice,
                    _ => FileType::Fifo,
                };
                root::node(&place, node, major.unwrap_or(0), minor.unwrap_or(0))?;
            }
            tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
                let mut file = root::create(&place)?;
                io::copy(entry, &mut file)?;
            }
            _ => return Err(Trouble::Why("is of a kind that packages do not have")),
        }
        root::set_attributes(&place, kind.is_symlink(), attributes)?;
        self.triggers.touch(path);
        Ok(())
    }

    /// May `package` put its file at `path`? Debian Policy 7.6.1: only when it replaces whoever has it; when that one
    /// replaces `package`, its file stays.
    fn take(&mut self, package: &str, path: &str) -> Result<bool, Error> {
        let owner = self.owners.get(path).filter(|owner| *owner != package).cloned();
        // A diversion may have made room.
        let owner = owner.filter(|owner| {
            self.diversions.target(path, owner) == self.diversions.target(path, package)
        });
        let Some(owner) = owner else {
            self.owners.insert(path.to_owned(), package.to_owned());
            return Ok(true);
        };
        let replaces = |who: &str, whom: &str| {
            let relations = self.replaces.get(who);
            relations.is_some_and(|all| all.0.iter().flat_map(|one| &one.0).any(|r| r.name == whom))
        };
        if replaces(package, &owner) {
            if let Some(stem) = self.stems.get(&owner).cloned() {
                if !self.lists.contains_key(&stem) {
                    let list = info::read_list(self.root, &stem)?;
                    self.lists.insert(stem.clone(), list);
                }
                self.lists.entry(stem).or_default().retain(|line| line != path);
            }
            self.owners.insert(path.to_owned(), package.to_owned());
            return Ok(true);
        }
        if replaces(&owner, package) {
            return Ok(false);
        }
        Err(Error::Conflict { path: path.to_owned(), owner, package: package.to_owned() })
    }

    fn finish(self, stanzas: &str) -> Result<(), Error> {
        for (stem, list) in &self.lists {
            info::write_list(self.root, stem, list)?;
        }
        self.triggers.save(self.root)?;
        status::append(self.root, stanzas)
    }
}

/// Why one entry was not unpacked; the caller knows its name.
enum Trouble {
    Why(&'static str),
    Io(io::Error),
    Error(Error),
}

impl Trouble {
    fn or(self, wrong: &dyn Fn(&str) -> Error) -> Error {
        match self {
            Self::Why(why) => wrong(why),
            Self::Io(error) => wrong(&format!("cannot be written: {error}")),
            Self::Error(error) => error,
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

fn relations(text: &str) -> Relations {
    text.parse().unwrap_or_default()
}

/// The path from the root, with a leading `/`; `None` when it would lead out.
fn absolute(raw: &str) -> Option<String> {
    let mut path = String::new();
    for part in raw.split('/') {
        match part {
            "" | "." => {}
            ".." => return None,
            part if part.contains(['\0', '\n']) => return None,
            part => {
                path.push('/');
                path.push_str(part);
            }
        }
    }
    Some(if path.is_empty() { "/".to_owned() } else { path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(absolute("./").as_deref(), Some("/"));
        assert_eq!(absolute("./usr//bin/").as_deref(), Some("/usr/bin"));
        assert_eq!(absolute("/etc/passwd").as_deref(), Some("/etc/passwd"));
        assert_eq!(absolute("./a/../../b"), None);
        assert_eq!(absolute("a\nb"), None);
    }
}

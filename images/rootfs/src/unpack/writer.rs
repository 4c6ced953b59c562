//! The one who writes: what a package's archive holds, to where dpkg would put it (dpkg's `archives.c`, `tarobject`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

use overboot_debian::deb822;
use overboot_debian::relation::Relations;
use overboot_debian::version::Version;
use rustix::fs::FileType;

use super::filler::{Empty, Filler, LARGE};
use super::{Piece, Pieces};
use crate::accounts::Accounts;
use crate::dpkg::diversions::Diversions;
use crate::dpkg::overrides::Overrides;
use crate::dpkg::triggers::Triggers;
use crate::dpkg::{info, status};
use crate::error::Error;
use crate::filters::Filters;
use crate::install::Package;
use crate::root::{self, Attributes, Parents, Place, Root};
use crate::rootless;

/// What stands at the top of a tree as links into `usr` (file-hierarchy(7), merged `/usr`). Suites from Debian 13 on bring the
/// links in a package; the packages of older ones still bring files for folders of these names, and whoever makes a tree has to
/// make the links before.
const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Writes package after package, and keeps the database.
pub(super) struct Writer<'a> {
    root: &'a Root,
    filters: &'a Filters,
    accounts: Accounts,
    diversions: Diversions,
    overrides: Overrides,
    triggers: Triggers,
    parents: Parents,
    /// Who brought which file (not folder), by path with a leading `/`.
    owners: HashMap<String, String>,
    /// What the packages here say they replace.
    replaces: HashMap<String, Relations>,
    versions: HashMap<String, Version>,
    /// The lists of those that were unpacked now, by stem; a file that another package takes over is struck off.
    lists: BTreeMap<String, Vec<String>>,
    stems: HashMap<String, String>,
    filler: Filler,
}

impl<'a> Writer<'a> {
    pub(super) fn new(root: &'a Root, filters: &'a Filters, filler: Filler) -> Result<Self, Error> {
        let accounts = Accounts::of(root)?;
        let mut writer = Self {
            root,
            filters,
            overrides: Overrides::of(root, &accounts)?,
            accounts,
            diversions: Diversions::of(root)?,
            triggers: Triggers::of(root)?,
            parents: Parents::default(),
            owners: HashMap::new(),
            replaces: HashMap::new(),
            versions: HashMap::new(),
            lists: BTreeMap::new(),
            stems: HashMap::new(),
            filler,
        };
        for package in status::installed(root)? {
            for path in info::read_list(root, &package.stem)? {
                writer.owners.insert(path, package.name.clone());
            }
            writer.says(&package.name, &package.version, &package.replaces);
            writer.stems.insert(package.name, package.stem);
        }
        Ok(writer)
    }

    /// Notes what a package says of itself that decides about files of others.
    fn says(&mut self, name: &str, version: &str, replaces: &str) {
        self.replaces.insert(name.to_owned(), replaces.parse().unwrap_or_default());
        if let Ok(version) = version.parse() {
            self.versions.insert(name.to_owned(), version);
        }
    }

    /// Unpacks one package; returns its stanza for `status`.
    pub(super) fn package(
        &mut self,
        package: &Package,
        receiver: Receiver<Piece>,
    ) -> Result<String, Error> {
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
        self.says(name, &package.version, stanza.get("Replaces").unwrap_or_default());
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
    pub(super) fn data(
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
        // As in dpkg, symbolic links come after all else, so that nothing of a package goes through its own links.
        let mut links = Vec::new();
        for entry in archive.entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            let raw = entry.path_bytes().into_owned();
            let root = self.root;
            let wrong = |error: Trouble| error.of(package, &String::from_utf8_lossy(&raw), root);
            let item = self.item(&entry, &raw).map_err(wrong)?;
            if item.path == "/" {
                list.push("/.".to_owned());
                continue;
            }
            let kind = item.kind;
            // dpkg would list what it leaves out. A database that tells of files that are not there makes `dpkg --verify`
            // useless on a node, so ours lists what there is.
            if self.filters.skips(&item.path, kind.is_dir() || kind.is_symlink()) {
                continue;
            }
            if kind.is_symlink() {
                links.push(item);
            } else if self.put(package, &item, &mut entry, conffiles).map_err(wrong)? {
                list.push(item.path);
            }
        }
        for item in links {
            let put = self.put(package, &item, &mut io::empty(), conffiles);
            if put.map_err(|error| error.of(package, &item.path, self.root))? {
                list.push(item.path);
            }
        }
        Ok(())
    }

    /// What an entry's header says.
    fn item(&self, entry: &tar::Entry<'_, Pieces>, raw: &[u8]) -> Result<Item, Trouble> {
        let header = entry.header();
        let kind = header.entry_type();
        let path = absolute(raw).ok_or(Trouble::Why("is not a path inside of the root"))?;
        let link = if matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link) {
            entry.link_name_bytes().ok_or(Trouble::Why("is a link to nowhere"))?.into_owned()
        } else {
            Vec::new()
        };
        let device = if matches!(kind, tar::EntryType::Char | tar::EntryType::Block) {
            (header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0))
        } else {
            (0, 0)
        };
        let (attributes, size) = (self.attributes(&path, header)?, entry.size());
        Ok(Item { path, kind, link, device, size, attributes })
    }

    /// Puts one entry where it goes; `false` when the package does without it, since another's stays in its place.
    fn put(
        &mut self,
        package: &str,
        item: &Item,
        content: &mut dyn Read,
        conffiles: &HashSet<&str>,
    ) -> Result<bool, Trouble> {
        let Item { path, kind, link, device: (major, minor), attributes, .. } = item;
        let target = self.place_of(package, path, conffiles);
        if self.stays(*kind, &target, link) {
            return Ok(true);
        }
        if !kind.is_dir() && !self.take(package, path)? {
            return Ok(false);
        }
        let place = self.parents.place(self.root, &target)?;
        root::remove(&place)?;
        let mut later = false;
        match kind {
            tar::EntryType::Directory => {
                if let Some(name) = MERGED.iter().find(|name| target == Path::new(name)) {
                    self.merge(name, &place, attributes.mtime)?;
                    return Ok(true);
                }
                root::make_folder(&place)?;
            }
            tar::EntryType::Symlink => root::symlink(&place, link)?,
            tar::EntryType::Link => {
                let existing = absolute(link).ok_or(Trouble::Why("is a link out of the root"))?;
                let existing = self.place_of(package, &existing, conffiles);
                let existing = self.parents.place(self.root, &existing)?;
                // The link's looks are the file's from now on.
                self.filler.wait();
                root::hard_link(&existing, &place)?;
            }
            tar::EntryType::Char | tar::EntryType::Block => {
                let block = *kind == tar::EntryType::Block;
                let kind = if block { FileType::BlockDevice } else { FileType::CharacterDevice };
                root::node(&place, kind, *major, *minor).map_err(|error| match error.kind() {
                    io::ErrorKind::PermissionDenied if rootless::in_user_namespace() => {
                        Trouble::Why("is a device node, which only root of the machine can make")
                    }
                    _ => error.into(),
                })?;
            }
            tar::EntryType::Fifo => root::node(&place, FileType::Fifo, 0, 0)?,
            tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
                let mut file = root::create(&place)?;
                let mut bytes = Vec::with_capacity(item.size.min(LARGE) as usize);
                while (&mut *content).take(LARGE).read_to_end(&mut bytes)? as u64 == LARGE {
                    file.write_all(&bytes)?;
                    bytes.clear();
                }
                self.filler.later(Empty {
                    file,
                    content: bytes,
                    attributes: *attributes,
                    package: package.to_owned(),
                    path: path.clone(),
                })?;
                later = true;
            }
            _ => return Err(Trouble::Why("is of a kind that packages do not have")),
        }
        if !later {
            root::set_attributes(&place, kind.is_symlink(), *attributes)?;
        }
        self.triggers.touch(self.diversions.target(path, package));
        Ok(true)
    }

    /// Owner, mode and time of an entry: the package's, unless the tree's administrator has said otherwise.
    fn attributes(&self, path: &str, header: &tar::Header) -> Result<Attributes, Trouble> {
        let number =
            |id: u64| u32::try_from(id).map_err(|_| Trouble::Why("has an owner beyond 32 bits"));
        let mut attributes = Attributes {
            mode: header.mode()? & 0o7777,
            uid: self.accounts.user(header.username().ok().flatten(), number(header.uid()?)?),
            gid: self.accounts.group(header.groupname().ok().flatten(), number(header.gid()?)?),
            mtime: i64::try_from(header.mtime()?).unwrap_or(i64::MAX),
        };
        self.overrides.apply(path, &mut attributes);
        Ok(attributes)
    }

    /// Where a package's file goes, relative to the root: elsewhere when it is diverted, beside its place when dpkg has to
    /// decide about it.
    fn place_of(&self, package: &str, path: &str, conffiles: &HashSet<&str>) -> PathBuf {
        let target = self.diversions.target(path, package).trim_start_matches('/');
        if conffiles.contains(path) { format!("{target}.dpkg-new").into() } else { target.into() }
    }

    /// Does what is there stay as it is? A folder or a link to one does where the package has a folder; a folder does where it
    /// has a link; a link does where it leads to the same folder.
    fn stays(&self, kind: tar::EntryType, target: &Path, link: &[u8]) -> bool {
        match kind {
            tar::EntryType::Directory => self.root.is_folder(target),
            tar::EntryType::Symlink => match self.root.kind(target) {
                Some(FileType::Directory) => true,
                Some(FileType::Symlink) => self.root.leads_to(target, link),
                _ => false,
            },
            _ => false,
        }
    }

    /// Makes a link into `usr` in place of a folder at the top.
    fn merge(&self, name: &str, place: &Place<'_>, mtime: i64) -> Result<(), Trouble> {
        let usr = format!("usr/{name}");
        self.root.make_folder(&usr)?;
        root::symlink(place, usr.as_bytes())?;
        Ok(root::set_attributes(place, true, Attributes { mode: 0o777, uid: 0, gid: 0, mtime })?)
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
            let version = self.versions.get(whom);
            self.replaces.get(who).is_some_and(|all| {
                let mut each = all.0.iter().flat_map(|one| &one.0);
                each.any(|relation| relation.name == whom && relation.admits(version))
            })
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

    pub(super) fn finish(self, stanzas: &str) -> Result<(), Error> {
        for (stem, list) in &self.lists {
            info::write_list(self.root, stem, list)?;
        }
        self.triggers.save(self.root)?;
        status::append(self.root, stanzas)
    }
}

/// An entry of a package's archive.
struct Item {
    /// From the root, with a leading `/`.
    path: String,
    kind: tar::EntryType,
    /// Where a link leads.
    link: Vec<u8>,
    /// Major and minor number of a device node.
    device: (u32, u32),
    /// In bytes, as the archive says.
    size: u64,
    attributes: Attributes,
}

/// Why one entry was not unpacked; the caller knows its name.
pub(super) enum Trouble {
    Why(&'static str),
    Io(io::Error),
    Error(Error),
}

impl Trouble {
    /// The error of the entry at `path` of `package`.
    pub(super) fn of(self, package: &str, path: &str, root: &Root) -> Error {
        let why = match self {
            Self::Why(why) => why.to_owned(),
            // It is not the package's fault.
            Self::Io(source)
                if matches!(
                    source.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                ) =>
            {
                let path = root.path().join(path.trim_start_matches(['.', '/']));
                return Error::Io { what: "unpack", path, source };
            }
            Self::Io(error) => format!("cannot be written: {error}"),
            // A folder on its way is none: which package wants it there is what helps.
            Self::Error(Error::Io { path, source, .. })
                if source.kind() == io::ErrorKind::AlreadyExists =>
            {
                format!("cannot be written: {} leads nowhere in the tree", path.display())
            }
            Self::Error(error) => return error,
        };
        Error::Entry { package: package.to_owned(), path: path.to_owned(), why }
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

/// The path from the root, with a leading `/`; `None` when it would lead out, or cannot stand in dpkg's database, which is
/// UTF-8 (Debian Policy 10.10) and has one path a line.
pub(super) fn absolute(raw: &[u8]) -> Option<String> {
    let raw = std::str::from_utf8(raw).ok()?;
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
        assert_eq!(absolute(b"./").as_deref(), Some("/"));
        assert_eq!(absolute(b"./usr//bin/").as_deref(), Some("/usr/bin"));
        assert_eq!(absolute(b"/etc/passwd").as_deref(), Some("/etc/passwd"));
        assert_eq!(absolute(b"./a/../../b"), None);
        assert_eq!(absolute(b"a\nb"), None);
        assert_eq!(absolute(b"caf\xe9"), None);
    }
}

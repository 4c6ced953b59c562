//! A tree as lines, one for each entry, in which everything stands that has to be the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use overboot_digest::Digest;

/// Files of lines whose order tells only in which order packages were configured: apt and we both go by dependencies, which
/// leave that open.
const UNORDERED: &[&str] =
    &["etc/group", "etc/gshadow", "etc/passwd", "etc/shadow", "var/lib/dpkg/triggers/File"];

/// Where deb-systemd-helper and systemctl put links to units: the one writes `/lib/…`, the other `/usr/lib/…`, and which of
/// them came last is again the order of configuring.
const UNIT_LINKS: &str = "etc/systemd/";

/// Entries by path: type and mode, owner by number and name, device, hard links, attributes, contents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing(pub BTreeMap<String, String>);

impl Listing {
    /// That of a tree.
    pub fn of(root: &Path) -> Self {
        let mut reader = Reader {
            root: root.to_owned(),
            users: names(root, "etc/passwd"),
            groups: names(root, "etc/group"),
            linked: HashMap::new(),
            found: BTreeMap::new(),
        };
        reader.folder(root);
        Self(reader.found)
    }

    /// A line each.
    pub fn to_text(&self) -> String {
        self.0.iter().map(|(path, entry)| format!("{path}\t{entry}\n")).collect()
    }

    /// What [`Self::to_text`] wrote.
    pub fn from_text(text: &str) -> Option<Self> {
        let line = |line: &str| {
            let (path, entry) = line.split_once('\t')?;
            Some((path.to_owned(), entry.to_owned()))
        };
        text.lines().map(line).collect::<Option<_>>().map(Self)
    }
}

struct Reader {
    root: PathBuf,
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
    /// The first name of each file with several, by inode.
    linked: HashMap<u64, String>,
    found: BTreeMap<String, String>,
}

impl Reader {
    fn folder(&mut self, folder: &Path) {
        let mut inside: Vec<PathBuf> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        inside.sort();
        for path in inside {
            let metadata = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(&self.root).unwrap().as_os_str().as_bytes();
            let name = name.escape_ascii().to_string();
            let kind = metadata.file_type();
            let who = |names: &HashMap<u32, String>, id: u32| match names.get(&id) {
                Some(name) => format!("{id}({name})"),
                None => id.to_string(),
            };
            let mut entry = format!(
                "{:o} {}:{}",
                metadata.mode(),
                who(&self.users, metadata.uid()),
                who(&self.groups, metadata.gid())
            );
            if kind.is_char_device() || kind.is_block_device() {
                write!(entry, " device {:x}", metadata.rdev()).unwrap();
            }
            if !kind.is_dir() && metadata.nlink() > 1 {
                let first = self.linked.entry(metadata.ino()).or_insert_with(|| name.clone());
                write!(entry, " one of {} with {first}", metadata.nlink()).unwrap();
            }
            for (attribute, value) in attributes(&path) {
                write!(entry, " {attribute}={}", value.escape_ascii()).unwrap();
            }
            if kind.is_symlink() {
                write!(entry, " -> {}", link(&name, &path)).unwrap();
            } else if kind.is_file() {
                let mut bytes = fs::read(&path).unwrap();
                if UNORDERED.contains(&&*name) {
                    let text = String::from_utf8(bytes).unwrap();
                    bytes = text
                        .lines()
                        .collect::<BTreeSet<_>>()
                        .into_iter()
                        .collect::<String>()
                        .into();
                }
                write!(entry, " {} {}", bytes.len(), Digest::of(bytes)).unwrap();
            }
            self.found.insert(name, entry);
            if kind.is_dir() {
                self.folder(&path);
            }
        }
    }
}

/// Who has which number in the tree; of several, the first.
fn names(root: &Path, file: &str) -> HashMap<u32, String> {
    let text = fs::read_to_string(root.join(file)).unwrap_or_default();
    let mut names = HashMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(Ok(id))) = (fields.next(), fields.nth(1).map(str::parse)) {
            names.entry(id).or_insert_with(|| name.to_owned());
        }
    }
    names
}

/// Where a link leads.
fn link(name: &str, path: &Path) -> String {
    let target = fs::read_link(path).unwrap();
    let target = match target.strip_prefix("/lib/systemd") {
        Ok(unit) if name.starts_with(UNIT_LINKS) => Path::new("/usr/lib/systemd").join(unit),
        _ => target,
    };
    target.as_os_str().as_bytes().escape_ascii().to_string()
}

/// Extended attributes: capabilities above all.
fn attributes(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap_or(0);
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 4096];
        let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value).unwrap();
        value.truncate(length);
        (String::from_utf8_lossy(name).into_owned(), value)
    };
    names.map(value).collect()
}

#[test]
fn a_listing_tells_what_is_not_the_same() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let tree = |change: &dyn Fn(&Path)| {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        fs::create_dir_all(at.join("etc")).unwrap();
        fs::write(at.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        fs::write(at.join("a"), "a").unwrap();
        fs::hard_link(at.join("a"), at.join("b")).unwrap();
        fs::write(at.join("c"), "a").unwrap();
        fs::write(at.join("d"), "a").unwrap();
        fs::hard_link(at.join("c"), at.join("e")).unwrap();
        symlink("a", at.join("l")).unwrap();
        change(at);
        Listing::of(at)
    };
    let plain = tree(&|_| {});
    assert_eq!(Listing::from_text(&plain.to_text()), Some(plain.clone()));
    assert_eq!(plain, tree(&|_| {}));
    let mode =
        |at: &Path| fs::set_permissions(at.join("d"), fs::Permissions::from_mode(0o4755)).unwrap();
    let contents = |at: &Path| fs::write(at.join("d"), "b").unwrap();
    let groups = |at: &Path| {
        fs::remove_file(at.join("b")).unwrap();
        fs::hard_link(at.join("c"), at.join("b")).unwrap();
    };
    let target = |at: &Path| {
        fs::remove_file(at.join("l")).unwrap();
        symlink("b", at.join("l")).unwrap();
    };
    let more = |at: &Path| fs::create_dir(at.join("f")).unwrap();
    let owner =
        |at: &Path| fs::write(at.join("etc/passwd"), "toor:x:0:0:root:/root:/bin/sh\n").unwrap();
    let attribute = |at: &Path| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(at.join("d"), "user.x", b"y", flags).unwrap();
    };
    for change in [&mode as &dyn Fn(&Path), &contents, &groups, &target, &more, &owner, &attribute]
    {
        assert_ne!(plain, tree(change));
    }
}

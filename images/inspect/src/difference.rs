//! What was added, removed and changed from one image to another.

use std::collections::{BTreeMap, BTreeSet};

use overboot_digest::Digest;
use overboot_record::{Contents, File, Kind, Package};
use serde::Serialize;

use crate::{Error, Image};

/// What differs between two images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// What both are.
    pub target: String,
    /// The digests of the images themselves; nothing where there is none on that side.
    pub images: [Option<Digest>; 2],
    /// Their sizes as they are stored and sent.
    pub packed: [u64; 2],
    /// The sizes of the files in them.
    pub unpacked: [u64; 2],
    /// Packages that are not the same, by name.
    pub packages: Vec<PackageChange>,
    /// Files that are not the same, by path.
    pub files: Vec<FileChange>,
}

/// A package that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageChange {
    /// Its name.
    pub name: String,
    /// Its versions; nothing where it is not there.
    pub versions: [Option<String>; 2],
    /// What its files in the images take.
    pub sizes: [u64; 2],
}

/// A file that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Where it is.
    pub path: String,
    /// Whose it is: the later one's package, if there is one.
    pub package: Option<String>,
    /// What has happened to it: added, removed, or one or more of the others.
    pub changes: BTreeSet<Change>,
    /// Its sizes.
    pub sizes: [u64; 2],
    /// What it is, in a word or two, where that says more than its size: `-> target`, `0755`, `1:5`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

/// What has happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is something else: a link now, say.
    Kind,
    /// Its content is another one, or its target.
    Content,
    /// Its permissions are others.
    Mode,
    /// Its user or group is another one.
    Owner,
    /// Its extended attributes are others: its capabilities.
    Attributes,
    /// It belongs to another package.
    Package,
}

impl Difference {
    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.images[0] == self.images[1] && self.packages.is_empty() && self.files.is_empty()
    }
}

/// What differs from `a` to `b`: of two boot sets, for each of their parts that is not the same.
///
/// # Errors
/// [`Error::Kinds`]; it is not known what is in one of them.
pub fn compare(a: &Image, b: &Image) -> Result<Vec<Difference>, Error> {
    match (a.set()?, b.set()?) {
        (None, None) => Ok(vec![images(Some(a), Some(b))?]),
        (Some(_), Some(_)) => {
            let (before, after) = (a.parts()?, b.parts()?);
            let of = |parts: &[Image]| -> BTreeMap<String, Image> {
                parts.iter().map(|part| (part.target().to_owned(), part.clone())).collect()
            };
            let (before, after) = (of(&before), of(&after));
            let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            let differences =
                names.into_iter().map(|name| images(before.get(name), after.get(name)));
            let differences = differences.collect::<Result<Vec<_>, Error>>()?;
            Ok(differences.into_iter().filter(|difference| !difference.is_empty()).collect())
        }
        _ => Err(Error::Kinds { a: a.target().to_owned(), b: b.target().to_owned() }),
    }
}

fn images(a: Option<&Image>, b: Option<&Image>) -> Result<Difference, Error> {
    let nothing = Contents::default();
    let contents = |image: Option<&Image>| match image {
        Some(image) => image.contents().cloned(),
        None => Ok(nothing.clone()),
    };
    let (before, after) = (contents(a)?, contents(b)?);
    let both = [a, b];
    Ok(Difference {
        target: b.or(a).map(|image| image.target().to_owned()).unwrap_or_default(),
        images: both.map(|image| image.map(|image| image.artifact.layer().digest)),
        packed: both.map(|image| image.map_or(0, Image::packed)),
        unpacked: [&before, &after].map(|contents| contents.files.iter().map(File::size).sum()),
        packages: packages(&before, &after),
        files: files(&before, &after),
    })
}

fn packages(before: &Contents, after: &Contents) -> Vec<PackageChange> {
    let sizes = |contents: &Contents| {
        let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
        for file in &contents.files {
            if let Some(package) = &file.package {
                *sizes.entry(package.clone()).or_default() += file.size();
            }
        }
        sizes
    };
    let size = [sizes(before), sizes(after)];
    let both = [before, after];
    let names: BTreeSet<&String> =
        both.iter().flat_map(|c| &c.packages).map(|package| &package.name).collect();
    names
        .into_iter()
        .filter_map(|name| {
            let found: [Option<&Package>; 2] = both.map(|contents| contents.package(name));
            let same = |a: &Package, b: &Package| {
                a.version == b.version && a.architecture == b.architecture && a.deb == b.deb
            };
            if let [Some(a), Some(b)] = found
                && same(a, b)
            {
                return None;
            }
            Some(PackageChange {
                name: name.clone(),
                versions: found.map(|package| package.map(|package| package.version.clone())),
                sizes: [0, 1].map(|side: usize| size[side].get(name).copied().unwrap_or(0)),
            })
        })
        .collect()
}

fn files(before: &Contents, after: &Contents) -> Vec<FileChange> {
    let by_path = |contents: &Contents| -> BTreeMap<String, File> {
        contents.files.iter().map(|file| (file.path.clone(), file.clone())).collect()
    };
    let (before, mut after) = (by_path(before), by_path(after));
    let mut changed = Vec::new();
    for (path, old) in before {
        match after.remove(&path) {
            None => changed.push(change(&old, &old, [Change::Removed].into())),
            Some(new) => {
                let changes = changes(&old, &new);
                if !changes.is_empty() {
                    changed.push(change(&old, &new, changes));
                }
            }
        }
    }
    changed.extend(after.values().map(|new| change(new, new, [Change::Added].into())));
    changed.sort_by(|a, b| a.path.cmp(&b.path));
    changed
}

fn changes(old: &File, new: &File) -> BTreeSet<Change> {
    let mut changes = BTreeSet::new();
    let mut note = |differs: bool, change: Change| {
        if differs {
            changes.insert(change);
        }
    };
    let kind = std::mem::discriminant(&old.kind) != std::mem::discriminant(&new.kind);
    note(kind, Change::Kind);
    note(!kind && old.kind != new.kind, Change::Content);
    note(old.mode != new.mode, Change::Mode);
    note((old.uid, old.gid) != (new.uid, new.gid), Change::Owner);
    note(old.xattrs != new.xattrs, Change::Attributes);
    note(old.package != new.package, Change::Package);
    changes
}

fn change(old: &File, new: &File, changes: BTreeSet<Change>) -> FileChange {
    let has = |change| changes.contains(&change);
    let mut details = Vec::new();
    let mut tell = |from: String, to: String| {
        details.push(if from == to { to } else { format!("{from} -> {to}") });
    };
    if has(Change::Kind) {
        tell(word(&old.kind).to_owned(), word(&new.kind).to_owned());
    }
    if let (Kind::Symlink(from), Kind::Symlink(to)) = (&old.kind, &new.kind) {
        tell(format!("link to {from}"), format!("link to {to}"));
    }
    if has(Change::Mode) {
        tell(format!("{:04o}", old.mode), format!("{:04o}", new.mode));
    }
    if has(Change::Owner) {
        tell(format!("{}:{}", old.uid, old.gid), format!("{}:{}", new.uid, new.gid));
    }
    if has(Change::Package) {
        let of = |file: &File| file.package.clone().unwrap_or_else(|| "no package".to_owned());
        tell(of(old), of(new));
    }
    let sizes = [
        if has(Change::Added) { 0 } else { old.size() },
        if has(Change::Removed) { 0 } else { new.size() },
    ];
    let package = new.package.clone().or_else(|| old.package.clone());
    FileChange { path: format!("/{}", new.path), package, changes, sizes, details }
}

fn word(kind: &Kind) -> &'static str {
    match kind {
        Kind::File { .. } => "file",
        Kind::Folder => "folder",
        Kind::Symlink(_) => "link",
        Kind::HardLink(_) => "hard link",
        Kind::CharDevice(..) | Kind::BlockDevice(..) => "device",
        Kind::Fifo => "pipe",
        Kind::Socket => "socket",
        Kind::Whiteout => "whiteout",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str) -> File {
        let kind = Kind::File { size: content.len() as u64, sha256: Digest::of(content) };
        File {
            path: path.to_owned(),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            package: Some("p".to_owned()),
            xattrs: BTreeMap::new(),
        }
    }

    fn contents(version: &str, files: Vec<File>) -> Contents {
        let package = Package { name: "p".into(), version: version.into(), ..Package::default() };
        Contents { packages: vec![package], files, ..Contents::default() }
    }

    #[test]
    fn each_kind_of_change_is_told() {
        let before = contents(
            "1",
            vec![
                file("content", "1"),
                file("gone", "22"),
                file("kind", "3"),
                file("mode", "4"),
                file("same", "5"),
            ],
        );
        let mut mode = file("mode", "4");
        (mode.mode, mode.gid) = (0o4755, 7);
        let mut kind = file("kind", "");
        (kind.kind, kind.package) = (Kind::Symlink("same".into()), None);
        let after = contents(
            "2",
            vec![file("content", "11"), kind, mode, file("new", "666"), file("same", "5")],
        );
        let told: Vec<(String, Vec<Change>, [u64; 2], String)> = files(&before, &after)
            .into_iter()
            .map(|f| (f.path, f.changes.into_iter().collect(), f.sizes, f.details.join(", ")))
            .collect();
        let of = |path: &str| told.iter().find(|told| told.0 == path).cloned().unwrap();
        assert_eq!(told.len(), 5);
        assert_eq!(of("/content").1, [Change::Content]);
        assert_eq!((of("/gone").1, of("/gone").2), (vec![Change::Removed], [2, 0]));
        assert_eq!((of("/new").1, of("/new").2), (vec![Change::Added], [0, 3]));
        assert_eq!(of("/mode").1, [Change::Mode, Change::Owner]);
        assert_eq!(of("/mode").3, "0644 -> 4755, 0:0 -> 0:7");
        assert_eq!(of("/kind").1, [Change::Kind, Change::Package]);
        let packages = packages(&before, &after);
        assert_eq!(packages[0].versions, [Some("1".to_owned()), Some("2".to_owned())]);
        assert_eq!(packages[0].sizes, [6, 7]);
    }
}

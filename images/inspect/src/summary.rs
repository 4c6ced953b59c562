//! What an image is, in figures.

use std::collections::{BTreeMap, BTreeSet};

use overboot_digest::Digest;
use overboot_record::{Contents, Kind, Package};
use serde::Serialize;

use crate::{Error, Image, time};

/// How many of the largest files and folders are named.
const LARGEST: usize = 15;

/// What an image is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Its name.
    pub target: String,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The digest of the image itself.
    pub image: Digest,
    /// Where it was pulled from; `None`: it was made here.
    pub origin: Option<String>,
    /// How it is packed: the end of its media type.
    pub format: String,
    /// Its size as it is stored and sent.
    pub packed: u64,
    /// The size of the files in it; of a boot set, of all files in its parts.
    pub unpacked: u64,
    /// How many names are in it.
    pub entries: u64,
    /// No file in it is younger.
    pub epoch: String,
    /// Such as the kernel's version.
    pub facts: BTreeMap<String, String>,
    /// What it was made from, besides packages.
    pub inputs: BTreeMap<String, String>,
    /// The images of a boot set.
    pub parts: Vec<Part>,
    /// Its packages, the largest first.
    pub packages: Vec<PackageSize>,
    /// Bytes in files that no package brought.
    pub unowned: u64,
    /// The largest files.
    pub files: Vec<FileSize>,
    /// The folders with most in them, none inside another one of them that has hardly more.
    pub folders: Vec<TopFolder>,
    /// What an overlay stands on.
    pub beneath: Option<Standing>,
    /// Packages beneath that an overlay removes.
    pub removed: Vec<String>,
    /// Paths beneath that an overlay removes.
    pub whiteouts: Vec<String>,
    /// What an overlay changes in the databases that layers share.
    pub databases: Vec<DatabaseChange>,
}

/// An image of a boot set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Its name.
    pub target: String,
    /// The digest of the image itself.
    pub image: Digest,
    /// Its size as it is stored and sent.
    pub packed: u64,
    /// The size of the files in it.
    pub unpacked: u64,
}

/// A package and what it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageSize {
    /// Its name.
    pub name: String,
    /// Its version; empty for one that is of the base beneath.
    pub version: String,
    /// Its architecture.
    pub architecture: String,
    /// Its section of the archive.
    pub section: String,
    /// How many of its files are in the image.
    pub files: u64,
    /// Their size in bytes.
    pub size: u64,
}

/// A file and its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileSize {
    /// Where it is.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Whose it is.
    pub package: Option<String>,
}

/// A folder and what all in it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TopFolder {
    /// Where it is.
    pub path: String,
    /// How many files are in it, at any depth.
    pub files: u64,
    /// Their size in bytes.
    pub size: u64,
}

/// What an overlay stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The image that it was built on.
    pub target: String,
    /// Is what has that name in the store still what it was built on? `None` where the store has none of that name.
    pub same: Option<bool>,
}

/// What an overlay changes in one database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DatabaseChange {
    /// The database.
    pub path: String,
    /// Records that are new, or other ones.
    pub put: Vec<String>,
    /// Records that go.
    pub gone: Vec<String>,
}

impl Summary {
    /// Of an image.
    ///
    /// # Errors
    /// [`Error::Unlisted`], or something of it is not there.
    pub fn of(image: &Image) -> Result<Self, Error> {
        let record = image.record.as_ref();
        let layer = image.artifact.layer();
        let mut inputs = record.map(|record| record.inputs.clone()).unwrap_or_default();
        // Packages are told with their sizes, and the epoch is a date.
        inputs.retain(|name, _| !name.starts_with("package ") && name != "epoch");
        let mut summary = Self {
            target: image.target().to_owned(),
            digest: image.artifact.descriptor.digest,
            image: layer.digest,
            origin: image.artifact.origin.clone(),
            format: layer.media_type.rsplit(".v1.").next().unwrap_or_default().to_owned(),
            packed: image.packed(),
            unpacked: record.map_or(0, |record| record.unpacked),
            entries: record.map_or(0, |record| record.entries),
            epoch: time::iso(record.map_or(0, overboot_record::Record::epoch)),
            facts: record.map(|record| record.facts.clone()).unwrap_or_default(),
            inputs,
            parts: Vec::new(),
            packages: Vec::new(),
            unowned: 0,
            files: Vec::new(),
            folders: Vec::new(),
            beneath: None,
            removed: Vec::new(),
            whiteouts: Vec::new(),
            databases: Vec::new(),
        };
        if image.set()?.is_some() {
            summary.add_parts(&image.parts()?)?;
        } else {
            let contents = image.contents()?;
            summary.add_contents(&[("", contents)]);
            summary.add_overlay(image, contents)?;
        }
        Ok(summary)
    }

    fn add_parts(&mut self, parts: &[Image]) -> Result<(), Error> {
        let unpacked = |part: &Image| part.record.as_ref().map_or(0, |record| record.unpacked);
        self.parts = parts
            .iter()
            .map(|part| Part {
                target: part.target().to_owned(),
                image: part.artifact.layer().digest,
                packed: part.packed(),
                unpacked: unpacked(part),
            })
            .collect();
        self.packed = parts.iter().map(Image::packed).sum();
        self.unpacked = parts.iter().map(unpacked).sum();
        let entries = parts.iter().filter_map(|part| part.record.as_ref());
        self.entries = entries.map(|record| record.entries).sum();
        let contents: Result<Vec<_>, Error> =
            parts.iter().map(|part| Ok((part.target(), part.contents()?))).collect();
        self.add_contents(&contents?);
        Ok(())
    }

    fn add_contents(&mut self, parts: &[(&str, &Contents)]) {
        let mut packages: BTreeMap<&str, (Option<&Package>, u64, u64)> = BTreeMap::new();
        let mut folders: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for (part, contents) in parts {
            for package in &contents.packages {
                packages.entry(&package.name).or_default().0 = Some(package);
            }
            for file in contents.files.iter().filter(|file| matches!(file.kind, Kind::File { .. }))
            {
                let size = file.size();
                match &file.package {
                    Some(package) => {
                        let known = packages.entry(package).or_default();
                        (known.1, known.2) = (known.1 + 1, known.2 + size);
                    }
                    None => self.unowned += size,
                }
                let path = shown(part, &file.path);
                for (at, _) in path.match_indices('/').skip(1) {
                    let folder = folders.entry(path[..at].to_owned()).or_default();
                    *folder = (folder.0 + 1, folder.1 + size);
                }
                self.files.push(FileSize { path, size, package: file.package.clone() });
            }
            self.removed.extend(contents.removed.iter().cloned());
        }
        self.packages = packages
            .into_iter()
            .map(|(name, (package, files, size))| {
                let of = |field: fn(&Package) -> &String| {
                    package.map(field).cloned().unwrap_or_default()
                };
                PackageSize {
                    name: name.to_owned(),
                    version: of(|package| &package.version),
                    architecture: of(|package| &package.architecture),
                    section: of(|package| &package.section),
                    files,
                    size,
                }
            })
            .collect();
        self.packages.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.name.cmp(&b.name)));
        self.files.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
        self.files.truncate(LARGEST);
        self.folders = largest_folders(folders);
    }

    fn add_overlay(&mut self, image: &Image, contents: &Contents) -> Result<(), Error> {
        if let Some(beneath) = &contents.beneath {
            let there = image.store.get(&beneath.target)?;
            let there = there.map(|there| {
                let layer = there.manifest.layers.iter();
                let kept = layer.filter(|layer| layer.media_type == overboot_record::CONTENTS);
                kept.map(|layer| layer.digest).any(|digest| digest == beneath.contents)
            });
            self.beneath = Some(Standing { target: beneath.target.clone(), same: there });
        }
        let whiteouts = contents.files.iter().filter(|file| file.kind == Kind::Whiteout);
        self.whiteouts = whiteouts.map(|file| format!("/{}", file.path)).collect();
        let databases = image.changes()?.map(|changes| changes.databases).unwrap_or_default();
        let change = |(path, delta): (String, overboot_merge::Delta)| DatabaseChange {
            path: format!("/{path}"),
            put: delta.put.into_keys().collect(),
            gone: delta.gone.into_iter().collect(),
        };
        self.databases = databases.into_iter().map(change).collect();
        Ok(())
    }
}

/// `/usr/bin/x`; in a boot set `base/base:/usr/bin/x`.
fn shown(part: &str, path: &str) -> String {
    if part.is_empty() { format!("/{path}") } else { format!("{part}:/{path}") }
}

/// The largest ones. A folder that is nearly all of the one above it says more than that one does.
fn largest_folders(folders: BTreeMap<String, (u64, u64)>) -> Vec<TopFolder> {
    let mut dull: BTreeSet<&str> = BTreeSet::new();
    for (path, (_, size)) in &folders {
        if let Some((above, _)) = path.rsplit_once('/')
            && let Some((_, whole)) = folders.get(above)
            && size.saturating_mul(10) >= whole.saturating_mul(9)
        {
            dull.insert(above);
        }
    }
    let kept = folders.iter().filter(|(path, _)| !dull.contains(path.as_str()));
    let mut kept: Vec<TopFolder> = kept
        .map(|(path, (files, size))| TopFolder { path: path.clone(), files: *files, size: *size })
        .collect();
    kept.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
    kept.truncate(LARGEST);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_hold_one_folder_are_not_named_beside_it() {
        let folders = [
            ("/usr".to_owned(), (3, 100)),
            ("/usr/lib".to_owned(), (2, 95)),
            ("/usr/lib/a".to_owned(), (1, 50)),
            ("/usr/lib/b".to_owned(), (1, 45)),
        ];
        let named: Vec<String> =
            largest_folders(folders.into()).into_iter().map(|folder| folder.path).collect();
        assert_eq!(named, ["/usr/lib", "/usr/lib/a", "/usr/lib/b"]);
    }
}

//! What is known of a base and of an overlay: found out from their entries, written down as JSON.

mod collect;

use std::collections::{BTreeMap, BTreeSet};

use overboot_debian::deb822;
use overboot_digest::Digest;
use overboot_merge::{Changes, changes_path};
use overboot_squashfs::Entry;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::content::Content;
use crate::elf::{Library, Program};
use crate::judge::speaks_against;
use crate::look::Look;
use crate::packages::{self, Package, Packages};
use crate::reason::Reason;
use crate::view::View;
use collect::Collected;

/// The one format that there is.
const FORMAT: u32 = 1;

/// Why facts cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody has looked into a file.
    #[error("what /{path} of the image says is not known")]
    Unread {
        /// Which one.
        path: String,
    },
    /// What the overlay says of databases is not to be understood.
    #[error(transparent)]
    Changes(#[from] overboot_merge::Error),
    /// Facts that were written down are not to be understood.
    #[error("the facts for the overlay contract cannot be read")]
    Json(#[from] serde_json::Error),
    /// Facts that a later program wrote.
    #[error("the facts for the overlay contract are in format {0}, and only {FORMAT} is known")]
    Format(u32),
}

/// What is known of a base.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The format of this.
    pub format: u32,
    /// All that is in it.
    pub files: BTreeMap<String, Look>,
    /// Its libraries.
    pub libraries: BTreeMap<String, Library>,
    /// Where `ld.so.conf` has the loader look.
    pub library_folders: BTreeSet<String>,
    /// Its packages.
    pub packages: Packages,
    /// Its users' numbers.
    pub users: BTreeMap<String, u32>,
    /// Its groups' numbers.
    pub groups: BTreeMap<String, u32>,
}

/// Which base an overlay was built on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltOn {
    /// Its name: `base/base`.
    pub target: String,
    /// Its image.
    pub image: Digest,
}

/// What an overlay has at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// What it is.
    pub look: Look,
    /// What the base had there, which it stands before; a folder on the way to other things is the base's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Look>,
}

/// What is known of an overlay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// The format of this.
    pub format: u32,
    /// What it is called.
    pub name: String,
    /// What it was built on.
    pub base: BuiltOn,
    /// All that is in it.
    pub files: BTreeMap<String, Placed>,
    /// What it takes away.
    pub deleted: BTreeSet<String>,
    /// Paths beneath which nothing of the base shows: deleted, replaced as a whole, or folders that now are something else.
    pub walls: BTreeSet<String>,
    /// What of the base it was built on lies behind them.
    pub behind: BTreeSet<String>,
    /// Its libraries.
    pub libraries: BTreeMap<String, Library>,
    /// What its programs and libraries need.
    pub programs: BTreeMap<String, Program>,
    /// What runs its scripts.
    pub scripts: BTreeMap<String, String>,
    /// As [`Base::library_folders`].
    pub library_folders: BTreeSet<String>,
    /// The packages that it brings or changes.
    pub packages: Packages,
    /// The packages of the base that it takes away, with the version that they had.
    pub removed: BTreeMap<String, String>,
    /// The numbers of users that it brings or changes.
    pub users: BTreeMap<String, u32>,
    /// The numbers of groups that it brings or changes.
    pub groups: BTreeMap<String, u32>,
    /// The names of users whose numbers the recipe gives.
    pub fixed: BTreeSet<String>,
    /// What did not hold on the base that it was built on either.
    pub known: BTreeSet<Reason>,
}

impl Base {
    /// The facts of the base with these entries, sorted by path, each file with what its content says.
    ///
    /// # Errors
    /// [`Error::Unread`].
    pub fn of(entries: Vec<(Entry, Option<Content>)>) -> Result<Self, Error> {
        let found = Collected::of(entries)?;
        let text = |path: &str| found.texts.get(path).map(String::as_str).unwrap_or_default();
        Ok(Self {
            format: FORMAT,
            packages: packages::of_status(text("var/lib/dpkg/status")),
            users: numbers(text("etc/passwd").lines()),
            groups: numbers(text("etc/group").lines()),
            library_folders: found.library_folders(),
            libraries: libraries(&found),
            files: found.looks,
        })
    }

    /// As [`Overlay::parse`].
    ///
    /// # Errors
    /// [`Error::Json`], [`Error::Format`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        parse(bytes)
    }

    /// The text of the facts; the same for the same facts.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl Overlay {
    /// The facts of the overlay `name` with these entries, sorted by path, each file with what its content says, which was made on
    /// top of `base`. `fixed`: users whose numbers the recipe gives.
    ///
    /// # Errors
    /// [`Error::Unread`], or [`Error::Changes`] for what it says of itself.
    pub fn of(
        name: &str,
        built_on: BuiltOn,
        fixed: BTreeSet<String>,
        entries: Vec<(Entry, Option<Content>)>,
        base: &Base,
    ) -> Result<Self, Error> {
        let found = Collected::of(entries)?;
        let changes = match found.texts.get(&changes_path(name)) {
            Some(text) => Changes::parse(text.as_bytes())?,
            None => Changes::none(),
        };
        let placed = |(path, look): (&String, &Look)| {
            let was = base.files.get(path).cloned();
            (path.clone(), Placed { look: look.clone(), was })
        };
        let mut overlay = Self {
            format: FORMAT,
            name: name.to_owned(),
            base: built_on,
            files: found.looks.iter().map(placed).collect(),
            deleted: found
                .deleted
                .iter()
                .filter(|p| base.files.contains_key(*p))
                .cloned()
                .collect(),
            walls: BTreeSet::new(),
            behind: BTreeSet::new(),
            library_folders: found.library_folders(),
            libraries: libraries(&found),
            programs: BTreeMap::new(),
            scripts: found.scripts.clone(),
            packages: Packages::new(),
            removed: BTreeMap::new(),
            users: added(&changes, "etc/passwd"),
            groups: added(&changes, "etc/group"),
            fixed,
            known: BTreeSet::new(),
        };
        overlay.wall_off(&found.opaque, base);
        overlay.note_packages(&changes, base);
        overlay.note_programs(&found, base);
        overlay.known = speaks_against(&overlay, base);
        Ok(overlay)
    }

    /// Reads what [`Overlay::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Json`], [`Error::Format`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        parse(bytes)
    }

    /// The text of the facts; the same for the same facts.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn wall_off(&mut self, opaque: &BTreeSet<String>, base: &Base) {
        let replaced = self.files.iter().filter(|(_, placed)| {
            !placed.look.is_folder() && placed.was.as_ref().is_some_and(Look::is_folder)
        });
        self.walls = replaced.map(|(path, _)| path.clone()).collect();
        self.walls.extend(opaque.iter().chain(&self.deleted).cloned());
        let behind = self.walls.iter().flat_map(|wall| beneath(&base.files, wall));
        let behind = behind.filter(|path| !self.files.contains_key(*path)).cloned();
        self.behind = behind.collect();
    }

    fn note_packages(&mut self, changes: &Changes, base: &Base) {
        let Some(delta) = changes.databases.get("var/lib/dpkg/status") else { return };
        let mut gone: BTreeSet<&String> = delta.gone.iter().collect();
        for (key, stanza) in &delta.put {
            let stanza = deb822::single(stanza).ok();
            match stanza.and_then(|stanza| Package::of(&stanza)) {
                Some(package) => {
                    self.packages.insert(package.key(), package);
                }
                None => {
                    gone.insert(key);
                }
            }
        }
        let removed = gone
            .into_iter()
            .filter_map(|key| Some((key.clone(), base.packages.get(key)?.version.clone())));
        self.removed = removed.collect();
    }

    /// Needs the view on its own base: whose symbols without versions are meant is seen only there.
    fn note_programs(&mut self, found: &Collected, base: &Base) {
        let mut programs = BTreeMap::new();
        let view = View { base, overlay: self };
        for (path, elf) in &found.elves {
            let mut program = elf.program.clone();
            for name in &elf.program.libraries {
                let library = view.library(name, program.machine, path, &program.folders);
                let Some(library) = library else { continue };
                let theirs: BTreeSet<String> =
                    elf.symbols.intersection(&library.symbols).cloned().collect();
                if !theirs.is_empty() {
                    program.symbols.insert(name.clone(), theirs);
                }
            }
            programs.insert(path.clone(), program);
        }
        self.programs = programs;
    }
}

/// What lies beneath a folder, not itself.
pub(crate) fn beneath<'a>(
    files: &'a BTreeMap<String, Look>,
    folder: &str,
) -> impl Iterator<Item = &'a String> {
    let (from, prefix) = (format!("{folder}/"), format!("{folder}/"));
    files.range(from..).map(|(path, _)| path).take_while(move |path| path.starts_with(&prefix))
}

fn libraries(found: &Collected) -> BTreeMap<String, Library> {
    let libraries = found.elves.iter();
    libraries.filter_map(|(path, elf)| Some((path.clone(), elf.library.clone()?))).collect()
}

/// The numbers of users or groups that an overlay brings or changes.
fn added(changes: &Changes, path: &str) -> BTreeMap<String, u32> {
    let delta = changes.databases.get(path);
    numbers(delta.into_iter().flat_map(|delta| delta.put.values()).map(String::as_str))
}

/// Names and numbers of passwd(5) and group(5).
fn numbers<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, u32> {
    let number = |line: &str| {
        let mut fields = line.split(':');
        Some((fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?))
    };
    lines.filter_map(number).collect()
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let head: Head = serde_json::from_slice(bytes)?;
    if head.format != FORMAT {
        return Err(Error::Format(head.format));
    }
    Ok(serde_json::from_slice(bytes)?)
}

#[cfg(test)]
pub(crate) mod tests;

//! All packages that the chosen suites offer, as their signed indexes describe them.
//!
//! Source: Debian repository format, "Packages" indices; Debian Policy 5.3 and 7.

mod package;

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use overboot_debian::version::Version;
use overboot_debian::{deb822, relation, version};
use overboot_digest::Digest;

use crate::pins::{Pin, Pins};
use crate::{Index, Source, workers};
pub use package::{MultiArch, Package, Priority, RelationField};

/// What is not worth a thread of its own.
const SMALLEST_PIECE: usize = 1 << 18;

/// Where an index came from, and how much its packages are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The archive and suite.
    pub source: Source,
    /// The priority of its packages that no pin names, as in `apt_preferences(5)`: the candidate of a name is its newest
    /// version of the highest priority. 500 is usual, 100 is for backports, below 0 is never taken.
    pub priority: i32,
}

impl Origin {
    /// The priority of a suite without the marks `NotAutomatic` and `ButAutomaticUpgrades`.
    pub const USUAL: i32 = 500;
    /// The priority of a suite that is `NotAutomatic` with `ButAutomaticUpgrades`: backports.
    pub const BACKPORTS: i32 = 100;
    /// The priority of a suite that is `NotAutomatic`: experimental.
    pub const NOT_AUTOMATIC: i32 = 1;
}

/// Why an index is not a list of packages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the package index of suite \"{suite}\", in or after the stanza of line {line}{}",
    of(package)
)]
pub struct IndexError {
    /// The suite whose index it is.
    pub suite: String,
    /// The line on which the last stanza that could be read starts, counted from 1.
    pub line: usize,
    /// The package, where its name could be read.
    pub package: Option<String>,
    /// What is wrong.
    #[source]
    pub source: IndexFault,
}

fn of(package: &Option<String>) -> String {
    package.as_ref().map_or_else(String::new, |name| format!(" (package {name})"))
}

/// What can be wrong with a stanza of an index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexFault {
    /// The text is not made of stanzas.
    #[error("it is not a control file")]
    Stanza(#[from] deb822::Error),
    /// A field that every package has is missing.
    #[error("the field {0} is missing")]
    Missing(&'static str),
    /// A field has a value that it may not have.
    #[error("the field {field} has the value \"{value}\"")]
    Value {
        /// The field's name.
        field: &'static str,
        /// Its value, shortened.
        value: String,
    },
    /// The version is not one.
    #[error("the version cannot be read")]
    Version(#[from] version::ParseVersionError),
    /// The names that the package provides cannot be read.
    #[error("the field Provides cannot be read")]
    Provides(#[from] relation::Error),
    /// An index may not have more packages than are counted.
    #[error("more packages than can be handled (four thousand million)")]
    TooMany,
}

/// The packages of all chosen suites for one architecture, found by name and by what they provide.
#[derive(Debug)]
pub struct Universe {
    architecture: String,
    packages: Vec<Package>,
    by_name: HashMap<String, Named>,
    /// Real packages by the virtual names they provide.
    by_provided: HashMap<String, Vec<u32>>,
    pins: Pins,
}

/// All packages of one name.
#[derive(Debug, Default)]
struct Named {
    /// In the order in which they were added.
    all: Vec<u32>,
    /// The same by what makes them one, as soon as there are two: most names have one.
    by_file: BTreeMap<File, u32>,
}

/// What makes packages of one name one: the same file, as the same version.
#[derive(Debug, Clone)]
struct File {
    sha256: Digest,
    version: Version,
}

impl File {
    fn of(package: &Package) -> Self {
        Self { sha256: package.sha256, version: package.version.clone() }
    }
}

impl Ord for File {
    fn cmp(&self, other: &Self) -> Ordering {
        #[cfg(test)]
        tests::COMPARED.set(tests::COMPARED.get() + 1);
        self.sha256.cmp(&other.sha256).then_with(|| self.version.cmp(&other.version))
    }
}

impl PartialOrd for File {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for File {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for File {}

impl Universe {
    /// A universe without packages, for `architecture` in Debian's words (`amd64`).
    #[must_use]
    pub fn new(architecture: &str) -> Self {
        Self {
            architecture: architecture.to_owned(),
            packages: Vec::new(),
            by_name: HashMap::new(),
            by_provided: HashMap::new(),
            pins: Pins::default(),
        }
    }

    /// What a verified index lists, with the priorities that its suites give themselves.
    ///
    /// # Errors
    /// As [`Universe::add`].
    pub fn of(index: &Index, architecture: &str) -> Result<Self, IndexError> {
        Self::pinned(index, architecture, Vec::new())
    }

    /// The same, with other priorities where `pins` say so.
    ///
    /// # Errors
    /// As [`Universe::add`].
    pub fn pinned(index: &Index, architecture: &str, pins: Vec<Pin>) -> Result<Self, IndexError> {
        let mut universe = Self { pins: Pins::new(pins), ..Self::new(architecture) };
        for suite in &index.suites {
            let priority = match (suite.release.not_automatic, suite.release.but_automatic_upgrades)
            {
                (true, true) => Origin::BACKPORTS,
                (true, false) => Origin::NOT_AUTOMATIC,
                (false, _) => Origin::USUAL,
            };
            let priority = universe.pins.of_source(&suite.source).unwrap_or(priority);
            for list in &suite.lists {
                let origin = Origin { source: suite.source.clone(), priority };
                universe.take(&list.text, origin, Kind::Pinned)?;
            }
        }
        Ok(universe)
    }

    /// Takes in a `Packages` list, to which pins do not apply; returns how many packages were new.
    ///
    /// Packages of other architectures are left out. Where two suites list the very same file, the one
    /// that was added first keeps it, unless it is to be taken from the later one, which has the higher priority.
    ///
    /// # Errors
    /// A stanza that is malformed or lacks what every package has. The universe then lacks the packages
    /// from there on, and is not to be used.
    pub fn add(&mut self, text: &str, origin: Origin) -> Result<usize, IndexError> {
        self.take(text, origin, Kind::Listed)
    }

    /// Takes in the stanza of a package file that no index lists: for those requests alone that name it in their
    /// [`files`](crate::Request::files).
    ///
    /// # Errors
    /// As [`Universe::add`].
    pub fn add_file(&mut self, stanza: &str, source: Source) -> Result<usize, IndexError> {
        self.take(stanza, Origin { source, priority: -1 }, Kind::File)
    }

    fn take(&mut self, text: &str, origin: Origin, kind: Kind) -> Result<usize, IndexError> {
        let origin = Arc::new(origin);
        let before = self.packages.len();
        let jobs = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let pieces = pieces(text, jobs);
        let all = workers::run(jobs, &pieces, |piece| read(piece, &origin, &self.architecture));
        let all = match all {
            Ok(all) => all,
            // Lines are counted from the beginning of the list.
            Err(_) => vec![read(text, &origin, &self.architecture)?],
        };
        for one in all.into_iter().flatten() {
            self.insert(one, kind).map_err(|source| IndexError {
                suite: origin.source.suite.clone(),
                line: 1,
                package: None,
                source,
            })?;
        }
        Ok(self.packages.len() - before)
    }

    fn insert(&mut self, read: Read, kind: Kind) -> Result<(), IndexFault> {
        let Read { mut package, provides } = read;
        let pinned = kind == Kind::Pinned;
        package.is_listed = kind != Kind::File;
        let index = u32::try_from(self.packages.len()).map_err(|_| IndexFault::TooMany)?;
        let mut key = None;
        if let Some(named) = self.by_name.get_mut(&package.name) {
            if let ([first], true) = (&named.all[..], named.by_file.is_empty()) {
                let there = &self.packages[*first as usize];
                named.by_file.insert(File::of(there), *first);
            }
            let this = File::of(&package);
            if let Some(&same) = named.by_file.get(&this) {
                let same = &mut self.packages[same as usize];
                if pinned {
                    same.pin = self.pins.first(same.pin, &package);
                }
                same.merge(package);
                return Ok(());
            }
            key = Some(this);
        }
        if pinned {
            package.pin = self.pins.first(None, &package);
        }
        for name in provides {
            let providers = self.by_provided.entry(name).or_default();
            if providers.last() != Some(&index) {
                providers.push(index);
            }
        }
        let named = self.by_name.entry(package.name.clone()).or_default();
        named.all.push(index);
        named.by_file.extend(key.map(|key| (key, index)));
        self.packages.push(package);
        Ok(())
    }

    /// The architecture, in Debian's words.
    #[must_use]
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// All packages, in the order in which they were added.
    #[must_use]
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// All versions of a package, in the order in which they were added.
    pub fn versions(&self, name: &str) -> impl Iterator<Item = &Package> {
        let indexes = self.by_name.get(name).map(|named| &named.all[..]).unwrap_or_default();
        indexes.iter().map(|&index| &self.packages[index as usize])
    }

    /// The version of a package that is installed unless another one is asked for: the newest of those
    /// with the highest pin priority, and of equals the first that was added.
    #[must_use]
    pub fn candidate(&self, name: &str) -> Option<&Package> {
        best(self.versions(name))
    }

    /// The same of those versions that the main archive lists: by this one it says whether every system has the package.
    #[must_use]
    pub fn main_candidate(&self, name: &str) -> Option<&Package> {
        best(self.versions(name).filter(|package| package.in_main))
    }

    /// The names in pins, by the pin's number and their own in it, for which there is no package in a version that the pin is
    /// about.
    #[must_use]
    pub fn idle_pins(&self) -> Vec<(usize, usize)> {
        self.pins.idle()
    }

    /// The packages, in any version, that provide a name.
    pub fn providers(&self, name: &str) -> impl Iterator<Item = &Package> {
        let indexes = self.by_provided.get(name).map(Vec::as_slice).unwrap_or_default();
        indexes.iter().map(|&index| &self.packages[index as usize])
    }

    /// The names of all real packages, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}

/// What a list of packages is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An index, to which pins apply.
    Pinned,
    /// An index.
    Listed,
    /// What is known of package files.
    File,
}

/// A package, and the names that it provides.
struct Read {
    package: Package,
    provides: Vec<String>,
}

/// The packages of (a piece of) a list, without those of other architectures.
fn read(text: &str, origin: &Arc<Origin>, architecture: &str) -> Result<Vec<Read>, IndexError> {
    let fault = |line, package: Option<&str>, source| IndexError {
        suite: origin.source.suite.clone(),
        line,
        package: package.map(str::to_owned),
        source,
    };
    let provided = |package: &Package| -> Result<Vec<String>, IndexFault> {
        let provides = package.relations(RelationField::Provides)?;
        Ok(provides.0.into_iter().flat_map(|dependency| dependency.0).map(|one| one.name).collect())
    };
    let (mut all, mut line) = (Vec::new(), 1);
    for stanza in deb822::stanzas(text) {
        let stanza = stanza.map_err(|error| fault(line, None, error.into()))?;
        line = stanza.line();
        let theirs = stanza.get("Architecture").unwrap_or_default();
        if theirs != architecture && theirs != "all" {
            continue;
        }
        let one = Package::from_stanza(&stanza, origin).and_then(|package| {
            let provides = provided(&package)?;
            Ok(Read { package, provides })
        });
        all.push(one.map_err(|error| fault(line, stanza.get("Package"), error))?);
    }
    Ok(all)
}

/// The text, cut between stanzas into about `count` pieces; a short one in fewer.
fn pieces(text: &str, count: NonZeroUsize) -> Vec<&str> {
    let size = (text.len() / count).max(SMALLEST_PIECE);
    let mut pieces = Vec::new();
    let mut rest = text;
    while rest.len() > size {
        let from = rest.ceil_char_boundary(size);
        // An empty line is nothing but the end of a stanza.
        let Some(end) = rest[from..].find("\n\n") else { break };
        let (piece, after) = rest.split_at(from + end + 2);
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

/// The newest of the highest priority, of equals the first; none that is never taken.
fn best<'a>(packages: impl Iterator<Item = &'a Package>) -> Option<&'a Package> {
    packages
        .filter(|package| package.pin_priority() > 0)
        .reduce(|best, next| if next.preference() > best.preference() { next } else { best })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// How often files have been compared.
        pub(super) static COMPARED: Cell<u64> = const { Cell::new(0) };
    }

    fn stanza(name: &str, version: &str, more: &str) -> String {
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\nFilename: pool/{name}.deb\n\
             Size: 10\nSHA256: {:064x}\n{more}\n",
            version.len()
        )
    }

    fn origin(suite: &str, priority: i32) -> Origin {
        Origin { source: Source::new("http://example.org/debian", suite, "main"), priority }
    }

    #[test]
    fn the_newest_of_the_highest_priority_is_the_candidate() {
        let mut universe = Universe::new("amd64");
        let add = |universe: &mut Universe, text: &str, suite, priority| {
            universe.add(text, origin(suite, priority)).unwrap()
        };
        assert_eq!(add(&mut universe, &stanza("a", "1", ""), "trixie", 500), 1);
        assert_eq!(add(&mut universe, &stanza("a", "1+deb13u1", ""), "trixie-security", 500), 1);
        assert_eq!(universe.candidate("a").unwrap().version.as_str(), "1+deb13u1");
        add(&mut universe, &stanza("a", "2~bpo13", ""), "trixie-backports", Origin::BACKPORTS);
        assert_eq!(universe.candidate("a").unwrap().version.as_str(), "1+deb13u1");
        add(&mut universe, &stanza("a", "0.123", ""), "pinned", 1001);
        assert_eq!(universe.candidate("a").unwrap().version.as_str(), "0.123");
        add(&mut universe, &stanza("b", "1", ""), "never", -1);
        assert!(universe.candidate("b").is_none());
        assert_eq!(universe.versions("a").count(), 4);
    }

    #[test]
    fn the_same_file_in_two_suites_is_one_package() {
        let mut universe = Universe::new("amd64");
        let text = stanza("a", "1", "Provides: x (= 3), y, x\n");
        assert_eq!(universe.add(&text, origin("trixie", 100)), Ok(1));
        assert_eq!(universe.add(&text, origin("trixie-updates", 500)), Ok(0));
        assert_eq!(universe.candidate("a").unwrap().origin.source.suite, "trixie-updates");
        assert_eq!(universe.providers("x").count(), 1);
        assert_eq!(universe.providers("a").count(), 0);
    }

    #[test]
    fn a_file_is_fetched_where_its_origin_has_it() {
        let mut universe = Universe::new("amd64");
        let main = stanza("a", "1", "Essential: yes\nPriority: required\n");
        let other = stanza("a", "1", "").replace("pool/", "other/").replace("Size: 10", "Size: 11");
        let source = Source::new("http://example.com/other", "stable", "main").of_archive("other");
        for text in [&main, &other] {
            let priority = if text == &main { 500 } else { 990 };
            let source = if text == &main { origin("trixie", 0).source } else { source.clone() };
            universe.add(text, Origin { source, priority }).unwrap();
        }
        let package = universe.candidate("a").unwrap();
        assert_eq!(package.url(), "http://example.com/other/other/a.deb");
        assert_eq!(package.size, 11);
        // What every system must have, the main archive says, whoever else has the file.
        assert!(package.essential && package.in_main);
        assert_eq!(universe.packages().len(), 1);
        // Also where it is read later.
        let mut universe = Universe::new("amd64");
        universe.add(&other, Origin { source, priority: 990 }).unwrap();
        assert!(universe.main_candidate("a").is_none());
        universe.add(&main, origin("trixie", 500)).unwrap();
        let package = universe.main_candidate("a").unwrap();
        assert!(package.essential && package.priority == Priority::Required);
        assert_eq!(package.url(), "http://example.com/other/other/a.deb");
    }

    #[test]
    fn one_name_may_have_many_stanzas() {
        const STANZAS: u64 = 4096;
        let one = |number| {
            format!(
                "Package: p\nVersion: 1.{number}\nArchitecture: all\nFilename: f\nSize: 1\n\
                 SHA256: {:064x}\n\n",
                // In no order.
                number * 2053 % STANZAS
            )
        };
        let text: String = (0..STANZAS).map(one).collect();
        COMPARED.set(0);
        let mut universe = Universe::new("amd64");
        // Each a second time: the very same files.
        assert_eq!(universe.add(&text, origin("trixie", 500)), Ok(4096));
        assert_eq!(universe.add(&text, origin("trixie-updates", 500)), Ok(0));
        // Each is looked for among the others, and not by looking at all of them: at 2048 on average.
        let each = COMPARED.get() / (2 * STANZAS);
        assert!((4..100).contains(&each), "{each} comparisons for each stanza");
    }

    #[test]
    fn other_architectures_are_left_out() {
        let text = stanza("a", "1", "").replace("amd64", "arm64");
        let text = text + &stanza("b", "1", "").replace("amd64", "all");
        let mut universe = Universe::new("amd64");
        assert_eq!(universe.add(&text, origin("trixie", 500)), Ok(1));
        assert_eq!(universe.names().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_list_is_read_in_pieces_that_are_the_list() {
        let text: String =
            (0..9000).map(|number| stanza(&format!("p{number}"), "1", "X: ä\n")).collect();
        let count = NonZeroUsize::new(4).unwrap();
        let cut = pieces(&text, count);
        assert!(cut.len() >= 4 && cut.concat() == text);
        assert!(cut.iter().all(|piece| piece.starts_with("Package: ")), "cut elsewhere");
        assert_eq!(pieces("", count), [""]);
        let mut universe = Universe::new("amd64");
        assert_eq!(universe.add(&text, origin("trixie", 500)), Ok(9000));
        let names = universe.packages().iter().map(|package| package.name.clone());
        assert!(names.eq((0..9000).map(|number| format!("p{number}"))), "in another order");
        // Where something is wrong is counted in the list, not in the piece.
        let bad = text.replace("Package: p8000\nVersion: 1", "Package: p8000\nVersion: ");
        let error = Universe::new("amd64").add(&bad, origin("trixie", 500)).unwrap_err();
        let line = text[..text.find("Package: p8000\n").unwrap()].matches('\n').count() + 1;
        assert_eq!((error.line, error.package.as_deref()), (line, Some("p8000")));
    }

    #[test]
    fn faults_name_suite_line_and_package() {
        let good = stanza("a", "1", "");
        for (text, want) in [
            ("nonsense\n".to_owned(), "it is not a control file"),
            (stanza("b", "", ""), "the version cannot be read"),
            (good.replace("SHA256", "MD5sum"), "the field SHA256 is missing"),
            (good.replace("Size: 10", "Size: -1"), "the field Size has the value \"-1\""),
            (good.replace("pool/", "../"), "the field Filename has the value \"../a.deb\""),
            (stanza("b", "1", "Provides: ,|\n"), "the field Provides cannot be read"),
            (
                stanza("b", "1", "Multi-Arch: maybe\n"),
                "the field Multi-Arch has the value \"maybe\"",
            ),
        ] {
            let mut universe = Universe::new("amd64");
            let error = universe.add(&(good.clone() + &text), origin("trixie", 500)).unwrap_err();
            assert_eq!(error.source.to_string(), want, "{text}");
            assert!(error.to_string().contains("\"trixie\", in or after"), "{error}");
        }
    }
}

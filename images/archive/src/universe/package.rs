//! One package of an index.

use std::str::FromStr;
use std::sync::Arc;

use overboot_debian::deb822::Stanza;
use overboot_debian::relation::{self, Relations};
use overboot_debian::version::Version;
use overboot_digest::Digest;

use super::{IndexFault, Origin};

/// A package as its index describes it.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// `all`, or the architecture of the universe.
    pub architecture: String,
    /// The `.deb` file's place beneath the archive's root; never absolute, never with `..`.
    pub filename: String,
    /// The `.deb` file's size in bytes.
    pub size: u64,
    /// The `.deb` file's digest.
    pub sha256: Digest,
    /// The space that its files take, in KiB, as its maintainer estimates (Policy 5.6.20).
    pub installed_size: u64,
    /// Whether every system must have it (Policy 3.8).
    pub essential: bool,
    /// How usual it is to have it (Policy 2.5).
    pub priority: Priority,
    /// What it may do for packages of other architectures.
    pub multi_arch: MultiArch,
    /// The section, such as `admin` or `contrib/net`; empty where there is none.
    pub section: String,
    /// The name and, where it differs, the version of its source package; empty where both are its own.
    pub source: String,
    /// The index that lists it; of several, the one from which it is taken.
    pub origin: Arc<Origin>,
    /// Whether an index of the main archive lists it.
    pub in_main: bool,
    /// Whether an index lists it; otherwise it is a file of its own, for whoever names it.
    pub(crate) is_listed: bool,
    /// The pin that names it: its number and its priority.
    pub(crate) pin: Option<(usize, i32)>,
    /// The relation fields, unread, by [`RelationField`].
    relations: [Box<str>; RelationField::ALL.len()],
}

/// How usual it is to have a package (Policy 2.5); the smaller, the more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Needed for dpkg to work.
    Required,
    /// What one expects to find on any Unix.
    Important,
    /// A small character-mode system.
    Standard,
    /// The rest.
    Optional,
    /// Deprecated: as optional.
    Extra,
}

/// `Multi-Arch` (`deb-control(5)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MultiArch {
    /// Nothing special.
    No,
    /// Can be installed for several architectures at once.
    Same,
    /// Satisfies dependencies of other architectures.
    Foreign,
    /// Satisfies dependencies on its name with `:any`.
    Allowed,
}

/// The fields that relate a binary package to others (Policy 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelationField {
    /// Must be configured before this one is unpacked.
    PreDepends,
    /// Must be configured before this one is.
    Depends,
    /// Installed with it unless there is a reason not to.
    Recommends,
    /// May not be unpacked beside it.
    Conflicts,
    /// May not be configured beside it.
    Breaks,
    /// Names it can stand for.
    Provides,
    /// May have its files overwritten by it.
    Replaces,
}

impl RelationField {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::PreDepends,
        Self::Depends,
        Self::Recommends,
        Self::Conflicts,
        Self::Breaks,
        Self::Provides,
        Self::Replaces,
    ];

    /// The field's name in a control file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreDepends => "Pre-Depends",
            Self::Depends => "Depends",
            Self::Recommends => "Recommends",
            Self::Conflicts => "Conflicts",
            Self::Breaks => "Breaks",
            Self::Provides => "Provides",
            Self::Replaces => "Replaces",
        }
    }
}

impl Package {
    /// Reads a stanza of a `Packages` index.
    pub(super) fn from_stanza(
        stanza: &Stanza<'_>,
        origin: &Arc<Origin>,
    ) -> Result<Self, IndexFault> {
        let field = |name| stanza.get(name).filter(|value| !value.is_empty());
        let needed = |name| field(name).ok_or(IndexFault::Missing(name));
        let name = needed("Package")?;
        if !relation::is_package_name(name) {
            return Err(value("Package", name));
        }
        let filename = needed("Filename")?.trim_start_matches("./");
        if filename.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(value("Filename", filename));
        }
        let installed_size = field("Installed-Size").unwrap_or("0");
        let installed_size = read("Installed-Size", installed_size)?;
        Ok(Self {
            name: name.to_owned(),
            version: stanza.get("Version").ok_or(IndexFault::Missing("Version"))?.parse()?,
            architecture: needed("Architecture")?.to_owned(),
            filename: filename.to_owned(),
            size: read("Size", needed("Size")?)?,
            sha256: read("SHA256", needed("SHA256")?)?,
            installed_size,
            essential: field("Essential") == Some("yes"),
            priority: Priority::of(field("Priority")),
            multi_arch: MultiArch::of(field("Multi-Arch"))?,
            section: field("Section").unwrap_or_default().to_owned(),
            source: field("Source").unwrap_or_default().to_owned(),
            origin: Arc::clone(origin),
            in_main: origin.source.is_main(),
            is_listed: true,
            pin: None,
            relations: RelationField::ALL
                .map(|relation| field(relation.as_str()).unwrap_or_default().into()),
        })
    }

    /// Takes in what another index says of the same file.
    pub(super) fn merge(&mut self, other: Self) {
        self.is_listed |= other.is_listed;
        if other.in_main && !self.in_main {
            // What every system must have is for its own archive to say.
            (self.in_main, self.essential, self.priority) = (true, other.essential, other.priority);
        }
        if other.origin.priority > self.origin.priority {
            // Each archive has it at a place of its own.
            (self.origin, self.filename, self.size) = (other.origin, other.filename, other.size);
        }
    }

    /// Where the `.deb` file can be fetched.
    #[must_use]
    pub fn url(&self) -> String {
        self.origin.source.url(&self.filename)
    }

    /// A relation field as it is written; empty where there is none.
    #[must_use]
    pub fn field(&self, field: RelationField) -> &str {
        &self.relations[field as usize]
    }

    /// A relation field, read.
    ///
    /// # Errors
    /// A value that is not a list of relations.
    pub fn relations(&self, field: RelationField) -> Result<Relations, relation::Error> {
        self.field(field).parse()
    }

    /// Its priority: that of the pin which names it, otherwise that of its origin. Below 0 it is never taken.
    #[must_use]
    pub fn pin_priority(&self) -> i32 {
        self.pin.map_or(self.origin.priority, |(_, priority)| priority)
    }

    /// What makes one version of a name preferred to another: the greater, the more.
    pub(super) fn preference(&self) -> (i32, &Version) {
        (self.pin_priority(), &self.version)
    }
}

fn value(field: &'static str, value: &str) -> IndexFault {
    IndexFault::Value { field, value: value.chars().take(100).collect() }
}

fn read<T: FromStr>(field: &'static str, text: &str) -> Result<T, IndexFault> {
    text.parse().map_err(|_| value(field, text))
}

impl Priority {
    fn of(text: Option<&str>) -> Self {
        match text {
            Some("required") => Self::Required,
            Some("important") => Self::Important,
            Some("standard") => Self::Standard,
            Some("extra") => Self::Extra,
            // Policy 2.5 has no other; archives of third parties often leave it out.
            _ => Self::Optional,
        }
    }
}

impl MultiArch {
    fn of(text: Option<&str>) -> Result<Self, IndexFault> {
        match text {
            None | Some("no") => Ok(Self::No),
            Some("same") => Ok(Self::Same),
            Some("foreign") => Ok(Self::Foreign),
            Some("allowed") => Ok(Self::Allowed),
            Some(other) => Err(value("Multi-Arch", other)),
        }
    }
}

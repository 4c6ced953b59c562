//! Where packages come from, checked: the main archive, those of others, and which version is taken.

use std::path::PathBuf;

use serde::Serialize;

use crate::place::Placed;

/// Where packages come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Archive {
    /// The suite's codename, such as `trixie`.
    pub suite: Placed<String>,
    /// Further suites of the same archive, such as `trixie-backports`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_suites: Vec<Placed<String>>,
    /// The mirror; `None` takes the host's own apt source, or the distribution's.
    #[serde(skip)]
    pub mirror: Option<Placed<String>>,
    /// Archive components, such as `main`.
    pub components: Vec<Placed<String>>,
    /// Debian's name of the architecture: `amd64`.
    pub architecture: Placed<String>,
    /// Also take `SUITE-updates`.
    pub updates: bool,
    /// Also take `SUITE-security`.
    pub security: bool,
    /// Public keys that sign the archive; `None` takes the ones that ship.
    pub keyring: Option<Placed<PathBuf>>,
    /// An HTTP proxy, such as an apt-cacher-ng: `http://host:3142`.
    #[serde(skip)]
    pub proxy: Option<Placed<String>>,
    /// Whose suite it is.
    #[serde(skip)]
    pub distribution: Distribution,
    /// Archives of others, sorted by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<ExtraArchive>,
    /// Which of several versions is taken; the first that fits a package decides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<Pin>,
}

impl Archive {
    /// The suites of the main archive, in the order in which they are preferred among equals. Those that come along stand where
    /// the one does that they belong to.
    #[must_use]
    pub fn suites(&self) -> Vec<Placed<String>> {
        let mut suites = vec![self.suite.clone()];
        if self.has_updates() {
            suites.push(self.suite.clone().map(|suite| format!("{suite}-updates")));
        }
        if self.has_security() {
            suites.push(self.suite.clone().map(|_| self.security_suite()));
        }
        suites.extend_from_slice(&self.extra_suites);
        suites
    }

    /// The suite of security updates.
    #[must_use]
    pub fn security_suite(&self) -> String {
        format!("{}-security", self.suite)
    }

    /// Are there updates, and are they taken?
    #[must_use]
    pub fn has_updates(&self) -> bool {
        self.updates && !self.moves()
    }

    /// Is there a security suite, and is it taken?
    #[must_use]
    pub fn has_security(&self) -> bool {
        self.security && !self.moves()
    }

    /// Debian's unstable has neither updates nor a security suite.
    fn moves(&self) -> bool {
        matches!(self.suite.as_str(), "sid" | "unstable" | "experimental")
    }
}

/// An archive besides the main one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExtraArchive {
    /// What the recipe calls it.
    pub name: Placed<String>,
    /// Where it is.
    #[serde(skip)]
    pub mirror: Placed<String>,
    /// Its suites; one that ends with `/` is a folder that has its index beside its packages.
    pub suites: Vec<Placed<String>>,
    /// Its components; none where its suites are such folders.
    pub components: Vec<Placed<String>>,
    /// Public keys that sign it, and nothing else.
    pub keyring: Placed<PathBuf>,
    /// Does the image's own apt know it?
    #[serde(skip)]
    pub in_image: bool,
}

/// Which version of some packages is taken: a record of apt_preferences(5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pin {
    /// Names, with `*` and `?`; `*` alone is all packages that no other pin names.
    pub packages: Vec<Placed<String>>,
    /// Which of their versions.
    pub which: PinnedVersions,
    /// The higher one is taken; never 0, and what is below is never taken.
    pub priority: i16,
}

/// Which versions a pin is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PinnedVersions {
    /// All of them.
    All,
    /// Those in a suite of the main archive.
    Suite(String),
    /// Those in the extra archive of that name.
    Archive(String),
    /// This one; with `*` at its end, those that begin so.
    Version(String),
}

/// Who made a suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// Debian, and whoever is laid out like it.
    Debian,
    /// Ubuntu.
    Ubuntu,
}

impl Distribution {
    /// Ubuntu's suites are known by their names, or by a mirror that ends as all of Ubuntu's do.
    pub(crate) fn of(suite: &str, mirror: Option<&str>) -> Self {
        const UBUNTU: [&str; 10] = [
            "xenial", "bionic", "focal", "jammy", "noble", "oracular", "plucky", "questing",
            "resolute", "devel",
        ];
        let release = suite.split('-').next().unwrap_or_default();
        let folder = mirror.and_then(|mirror| mirror.rsplit('/').next()).unwrap_or_default();
        if UBUNTU.contains(&release) || matches!(folder, "ubuntu" | "ubuntu-ports") {
            Self::Ubuntu
        } else {
            Self::Debian
        }
    }

    /// As `/etc/os-release` has it in `ID`.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Ubuntu => "ubuntu",
        }
    }

    /// What is free and looked after: what people expect to find.
    pub(crate) fn components(self) -> impl Iterator<Item = &'static str> {
        let components: &[_] = match self {
            Self::Debian => &["main"],
            Self::Ubuntu => &["main", "universe"],
        };
        components.iter().copied()
    }

    /// The package that depends on its current kernel.
    pub(crate) fn kernel(self, architecture: &str) -> String {
        match self {
            Self::Debian => format!("linux-image-{architecture}"),
            Self::Ubuntu => "linux-image-generic".to_owned(),
        }
    }
}

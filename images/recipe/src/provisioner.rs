//! The steps by which an image is provisioned, checked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use overboot_digest::Digest;
use overboot_oci::Reference;
use schemars::JsonSchema;
use serde::Serialize;

use crate::place::Placed;

/// One step of provisioning. Paths are relative to the project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provisioner {
    /// Packages and what they depend on.
    Packages {
        /// `name` or `name=version`.
        names: Vec<Placed<String>>,
        /// What must not come along.
        exclude: Vec<Placed<String>>,
    },
    /// Package files, and what they depend on.
    Debs {
        /// Which ones.
        debs: Vec<Placed<Deb>>,
        /// What must not come along.
        exclude: Vec<Placed<String>>,
    },
    /// Inputs that are not shipped: the path in the root by the name of the slot.
    Slots(BTreeMap<String, Placed<PathBuf>>),
    /// A tree of files that is laid over the root; everything in it belongs to root.
    Files(Placed<PathBuf>),
    /// A script that runs inside the root.
    Script(Script),
    /// A script that runs on the building machine, with the root's path as its argument.
    HostScript(Script),
    /// A container image that is laid over the root. The path of a layout is relative to the project.
    Container(Placed<Reference>),
    /// Modules of the kernel, with what they need.
    Modules {
        /// Paths below `kernel/` (or module names), with `*` and `**`.
        include: Vec<Placed<String>>,
        /// The folder, relative to the root, that gets copies of them; `None`: they lie where modprobe finds them.
        to: Option<Placed<PathBuf>>,
    },
    /// Users to make.
    Users(Vec<User>),
    /// Units of systemd.
    Systemd(Systemd),
    /// A role or playbook of Ansible's.
    Ansible(Ansible),
}

impl Provisioner {
    /// The files and folders of the project that it reads.
    #[must_use]
    pub fn sources(&self) -> Vec<&Placed<PathBuf>> {
        match self {
            Self::Files(path) => vec![path],
            Self::Script(script) | Self::HostScript(script) => vec![&script.path],
            Self::Ansible(ansible) => ansible.reads.iter().collect(),
            Self::Packages { .. }
            | Self::Debs { .. }
            | Self::Slots(_)
            | Self::Container(_)
            | Self::Modules { .. }
            | Self::Users(_)
            | Self::Systemd(_) => Vec::new(),
        }
    }

    /// May it use the network?
    #[must_use]
    pub fn network(&self) -> bool {
        match self {
            Self::Script(script) => script.network,
            Self::Ansible(ansible) => ansible.network,
            _ => false,
        }
    }

    /// Does the same recipe and lock make the same of it at any time? Who knows what a network or a building machine has.
    #[must_use]
    pub fn repeats(&self) -> bool {
        !self.network() && !matches!(self, Self::HostScript(_))
    }
}

impl Provisioner {
    /// Does it install packages?
    #[must_use]
    pub fn installs(&self) -> bool {
        matches!(self, Self::Packages { .. } | Self::Debs { .. })
    }

    /// The slots that it takes something from.
    pub fn slots(&self) -> Vec<&str> {
        match self {
            Self::Slots(slots) => slots.keys().map(String::as_str).collect(),
            Self::Debs { debs, .. } => debs
                .iter()
                .filter_map(|deb| match &**deb {
                    Deb::Slot(name) => Some(name.as_str()),
                    Deb::File(_) | Deb::Url { .. } => None,
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// A package file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deb {
    /// In the project.
    File(PathBuf),
    /// Anywhere else.
    Url {
        /// Where.
        url: String,
        /// Its digest.
        sha256: Digest,
    },
    /// In the slot of that name.
    Slot(String),
}

/// A script and its environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Script {
    /// The script.
    pub path: Placed<PathBuf>,
    /// Variables that it gets besides the usual ones.
    pub env: BTreeMap<String, String>,
    /// May it use the building machine's network?
    pub network: bool,
    /// The seconds after which it is ended. What it makes does not depend on them.
    #[serde(skip)]
    pub timeout: u32,
}

/// A role or playbook of Ansible's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ansible {
    /// Which one.
    pub play: Play,
    /// Files of variables; the later one's hold.
    pub vars: Vec<Placed<PathBuf>>,
    /// Variables, stronger than all others.
    pub extra_vars: BTreeMap<String, serde_json::Value>,
    /// Everything of the project that it sees: files and folders.
    pub reads: Vec<Placed<PathBuf>>,
    /// May it use the building machine's network?
    pub network: bool,
    /// The seconds after which it is ended. What it makes does not depend on them.
    #[serde(skip)]
    pub timeout: u32,
}

/// What Ansible runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Play {
    /// The folder of a role.
    Role(Placed<PathBuf>),
    /// A playbook.
    Playbook(Placed<PathBuf>),
}

impl Play {
    /// Where it is in the project.
    #[must_use]
    pub fn path(&self) -> &Placed<PathBuf> {
        match self {
            Self::Role(path) | Self::Playbook(path) => path,
        }
    }
}

/// What is done about units, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Systemd {
    /// Started at boot.
    pub enable: Vec<Placed<String>>,
    /// Not started at boot.
    pub disable: Vec<Placed<String>>,
    /// Never started.
    pub mask: Vec<Placed<String>>,
    /// The target that is booted into.
    pub default: Option<Placed<String>>,
}

/// A user of the image. None gets a password: see *Login* in the architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Login name.
    pub name: Placed<String>,
    /// Its number; the next free one where there is none.
    pub uid: Option<Placed<u32>>,
    /// A system user (uid below 1000).
    pub system: bool,
    /// Login shell.
    pub shell: Placed<String>,
    /// Further groups.
    pub groups: Vec<Placed<String>>,
    /// May it become root?
    pub sudo: Option<Sudo>,
}

/// How a user becomes root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sudo {
    /// Any command, without a password.
    Nopasswd,
}

//! The recipe as it is written: serde's view of `overboot.toml`, before anything is checked.
//!
//! Every table refuses keys that it does not know. Values that a later check may complain about are [`Spanned`], so that
//! the complaint can point at them.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) project: Project,
    pub(crate) archive: Archive,
    #[serde(default)]
    pub(crate) kernel: Option<Kernel>,
    #[serde(default)]
    pub(crate) modules: BTreeMap<Spanned<String>, Modules>,
    #[serde(default)]
    pub(crate) initrd: BTreeMap<Spanned<String>, Initrd>,
    #[serde(default)]
    pub(crate) base: BTreeMap<Spanned<String>, Base>,
    #[serde(default)]
    pub(crate) overlay: BTreeMap<Spanned<String>, Overlay>,
    #[serde(default)]
    pub(crate) serve: Serve,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Project {
    pub(crate) name: Spanned<String>,
    #[serde(default)]
    pub(crate) trust: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Archive {
    pub(crate) suite: Spanned<String>,
    pub(crate) mirror: Option<Spanned<String>>,
    pub(crate) components: Option<Vec<Spanned<String>>>,
    pub(crate) architecture: Option<Spanned<String>>,
    pub(crate) updates: Option<bool>,
    pub(crate) security: Option<bool>,
    pub(crate) keyring: Option<Spanned<String>>,
    pub(crate) proxy: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kernel {
    pub(crate) package: Option<Spanned<String>>,
    pub(crate) cmdline: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Modules {
    pub(crate) include: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Initrd {
    pub(crate) modules: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Base {
    pub(crate) variant: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) path_exclude: Vec<Spanned<String>>,
    #[serde(default)]
    pub(crate) path_include: Vec<Spanned<String>>,
    pub(crate) compression: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) provision: Vec<Spanned<Provisioner>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Overlay {
    pub(crate) base: Spanned<String>,
    #[serde(default)]
    pub(crate) path_exclude: Vec<Spanned<String>>,
    #[serde(default)]
    pub(crate) path_include: Vec<Spanned<String>>,
    pub(crate) compression: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) provision: Vec<Spanned<Provisioner>>,
}

/// One step: exactly one of its keys is given, which [`crate::check`] sees to. (An enum would tell less when it is wrong.)
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Provisioner {
    pub(crate) packages: Option<Vec<Spanned<String>>>,
    pub(crate) files: Option<Spanned<String>>,
    pub(crate) script: Option<Spanned<String>>,
    pub(crate) users: Option<Vec<User>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct User {
    pub(crate) name: Spanned<String>,
    #[serde(default)]
    pub(crate) system: bool,
    pub(crate) shell: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) groups: Vec<Spanned<String>>,
    pub(crate) sudo: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Serve {
    pub(crate) http: Option<Spanned<String>>,
    pub(crate) advertise: Option<Spanned<String>>,
    pub(crate) interface: Option<String>,
    pub(crate) dhcp: Option<Spanned<String>>,
    pub(crate) range: Option<Spanned<String>>,
    pub(crate) router: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) dns: Vec<Spanned<String>>,
    pub(crate) discovery: Option<String>,
}

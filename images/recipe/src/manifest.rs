//! The recipe as it is written: serde's view of `overboot.toml`, before anything is checked.
//!
//! Every table refuses keys that it does not know. Values that a later check may complain about are [`Spanned`], so that
//! the complaint can point at them. The comments here are the descriptions in the JSON Schema, which editors show.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::provisioner::Sudo;
use crate::recipe::{Compression, Variant};

/// What an overboot project builds, and how it is served.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// Who the images belong to.
    pub(crate) project: Project,
    /// Where packages come from.
    pub(crate) archive: Archive,
    /// The kernel that boots every image, the distribution's own.
    #[serde(default)]
    pub(crate) kernel: Option<Kernel>,
    /// Values that strings below take in as `${name}`. `${arch}` is the architecture.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Var>")]
    pub(crate) vars: Vars,
    /// Inputs that their vendors do not let anybody ship: whoever builds puts them into the project.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Slot>")]
    pub(crate) slot: BTreeMap<Spanned<String>, Slot>,
    /// Layers of kernel modules. Boot sets take `default`, or the only one.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Modules>")]
    pub(crate) modules: BTreeMap<Spanned<String>, Modules>,
    /// First stages. Boot sets take `default`, or the only one.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Initrd>")]
    pub(crate) initrd: BTreeMap<Spanned<String>, Initrd>,
    /// Firmware that some network cards need first. Boot sets take `default`, or the only one.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Firmware>")]
    pub(crate) firmware: BTreeMap<Spanned<String>, Firmware>,
    /// Base filesystems.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Base>")]
    pub(crate) base: BTreeMap<Spanned<String>, Base>,
    /// Overlays: what their steps change on top of a base.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Overlay>")]
    pub(crate) overlay: BTreeMap<Spanned<String>, Overlay>,
    /// Boot sets with several overlays. Each base, and each overlay by itself, has one without being named here.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Set>")]
    pub(crate) set: BTreeMap<Spanned<String>, Set>,
    /// What `overboot serve` does when its flags do not say otherwise.
    #[serde(default)]
    pub(crate) serve: Serve,
}

/// Debian's name of an architecture.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "only for the schema: the check has its own words for what is none")]
enum Architecture {
    /// Intel's and AMD's, 64 bits.
    Amd64,
    /// ARM's, 64 bits.
    Arm64,
}

/// The second line of a minisign `.pub` file.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only for the schema")]
struct Key(#[schemars(regex(pattern = "^RW[A-Za-z0-9+/]{54}$"))] String);

/// An address, in which variables may stand.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only for the schema")]
struct Url(
    #[schemars(regex(pattern = r"^(https?://[^\s/?#@:][^\s/?#@]*([/?#]\S*)?|.*\$\{.*)$"))]
    String,
);

/// An address of a proxy.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only for the schema")]
struct Proxy(
    #[schemars(regex(pattern = r"^(http://[^\s/?#@:][^\s/?#@]*/*|.*\$\{.*)$"))]
    String,
);

/// 64 hexadecimal digits.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only for the schema")]
struct Sha256(#[schemars(regex(pattern = r"^([0-9a-f]{64}|.*\$\{.*)$"))] String);

/// Values by name.
pub(crate) type Vars = BTreeMap<Spanned<String>, Spanned<Var>>;

/// A value: one text, or one for each architecture.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub(crate) enum Var {
    /// The same for all.
    Text(String),
    /// By Debian's name of the architecture, such as `amd64`.
    ByArchitecture(#[schemars(with = "BTreeMap<String, String>")] ByArchitecture),
}

type ByArchitecture = BTreeMap<Spanned<String>, Spanned<String>>;

// What serde derives for an untagged enum loses the places of what is in it, and says of a wrong value only that it fits nothing.
impl<'de> Deserialize<'de> for Var {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Var;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, or a table of them by architecture")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Var, E> {
                Ok(Var::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Var, A::Error> {
                let texts = ByArchitecture::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Var::ByArchitecture(texts))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// Who the images belong to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Project {
    /// A name for people.
    #[schemars(with = "String")]
    pub(crate) name: Spanned<String>,
    /// Public keys (minisign) whose boot sets a node accepts.
    #[schemars(with = "Option<Vec<Key>>")]
    pub(crate) trust: Option<Spanned<Vec<Spanned<String>>>>,
}

/// Where packages come from.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Archive {
    /// The suite's codename, such as `trixie` or Ubuntu's `noble`.
    #[schemars(with = "String")]
    pub(crate) suite: Spanned<String>,
    /// Further suites of the same archive, such as `trixie-backports`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) extra_suites: Vec<Spanned<String>>,
    /// The mirror; without it this machine's own apt source, or the distribution's.
    #[schemars(with = "Option<Url>")]
    pub(crate) mirror: Option<Spanned<String>>,
    /// When left out, Debian's `main`, Ubuntu's `main` and `universe`.
    #[schemars(with = "Option<Vec<String>>")]
    pub(crate) components: Option<Spanned<Vec<Spanned<String>>>>,
    /// Debian's name of the architecture: `amd64` or `arm64`.
    #[schemars(with = "Option<Architecture>", extend("default" = "amd64"))]
    pub(crate) architecture: Option<Spanned<String>>,
    /// Also take `SUITE-updates` (yes, when left out).
    #[schemars(extend("default" = true))]
    pub(crate) updates: Option<bool>,
    /// Also take `SUITE-security` (yes, when left out).
    #[schemars(extend("default" = true))]
    pub(crate) security: Option<bool>,
    /// A file with the public keys that sign the archive; without it those that ship.
    #[schemars(with = "Option<String>")]
    pub(crate) keyring: Option<Spanned<String>>,
    /// An HTTP proxy, such as an apt-cacher-ng: `http://host:3142`.
    #[schemars(with = "Option<Proxy>")]
    pub(crate) proxy: Option<Spanned<String>>,
    /// Archives of others, each with the keys that sign it and nothing else.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, ExtraArchive>")]
    pub(crate) extra: BTreeMap<Spanned<String>, ExtraArchive>,
    /// Which of several versions is taken, as apt_preferences(5) has it: the first pin that fits a package decides.
    #[serde(default)]
    #[schemars(with = "Vec<Pin>")]
    pub(crate) pin: Vec<Spanned<Pin>>,
}

/// An archive besides the main one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ExtraArchive {
    /// Where it is: what `dists/` is beneath.
    #[schemars(with = "Url")]
    pub(crate) mirror: Option<Spanned<String>>,
    /// Its suites; `./` where it has no `dists/`.
    #[schemars(with = "Vec<String>")]
    pub(crate) suites: Option<Vec<Spanned<String>>>,
    /// `main` alone, when left out.
    #[schemars(with = "Option<Vec<String>>")]
    pub(crate) components: Option<Spanned<Vec<Spanned<String>>>>,
    /// A file of the project with the public keys that sign it. They sign no other archive, and no other keys sign it.
    #[schemars(with = "String")]
    pub(crate) keyring: Option<Spanned<String>>,
    /// Whether the image's own apt knows it (yes, when left out).
    #[schemars(extend("default" = true))]
    pub(crate) in_image: Option<bool>,
    /// The architectures on which it is used; all, when left out.
    #[schemars(with = "Option<Vec<Architecture>>")]
    pub(crate) architectures: Option<Spanned<Vec<Spanned<String>>>>,
}

/// Which version of some packages is taken.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pin {
    /// Names, with `*` and `?`; `["*"]` is all packages that no other pin names.
    #[schemars(with = "Vec<String>")]
    pub(crate) packages: Option<Vec<Spanned<String>>>,
    /// Those from there: a suite of the main archive, or the name of an extra one.
    #[schemars(with = "Option<String>")]
    pub(crate) from: Option<Spanned<String>>,
    /// Those of that version, or that begin so: `6.12.*`.
    #[schemars(with = "Option<String>")]
    pub(crate) version: Option<Spanned<String>>,
    /// The higher one is taken: 500 is usual, 100 that of backports; what is below 0 is never taken.
    #[schemars(with = "i16", extend("not" = { "const": 0 }))]
    pub(crate) priority: Option<Spanned<i64>>,
}

/// The kernel that boots every image, the distribution's own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kernel {
    /// The package, or the meta-package that depends on it; when left out, `linux-image-amd64`, for Ubuntu `linux-image-generic`.
    #[schemars(with = "Option<String>")]
    pub(crate) package: Option<Spanned<String>>,
    /// Further words for the kernel's command line.
    #[schemars(with = "Option<String>")]
    pub(crate) cmdline: Option<Spanned<String>>,
}

/// A file that is not shipped.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slot {
    /// Where it is looked for, relative to the project.
    #[schemars(with = "String")]
    pub(crate) file: Spanned<String>,
    /// Its SHA-256; any file is taken, when left out.
    #[schemars(with = "Option<Sha256>")]
    pub(crate) sha256: Option<Spanned<String>>,
    /// Where to get it, and what to do with it: shown when it is missing.
    pub(crate) from: String,
}

/// A layer of kernel modules.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Modules {
    /// Another layer, whose modules come first.
    #[schemars(with = "Option<String>")]
    pub(crate) extends: Option<Spanned<String>>,
    /// Names, or paths below the kernel's modules with `*` and `**`.
    #[schemars(with = "Vec<String>")]
    pub(crate) include: Vec<Spanned<String>>,
}

/// A first stage: the node program, and the modules that it needs to reach the network.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Initrd {
    /// Another one, whose modules come first.
    #[schemars(with = "Option<String>")]
    pub(crate) extends: Option<Spanned<String>>,
    /// Names, or paths below the kernel's modules with `*` and `**`.
    #[schemars(with = "Vec<String>")]
    pub(crate) modules: Vec<Spanned<String>>,
}

/// What network cards must be given before they reach the network: a second initrd, for machines with such a card.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Firmware {
    /// Another one, whose packages and modules come first.
    #[schemars(with = "Option<String>")]
    pub(crate) extends: Option<Spanned<String>>,
    /// The packages that have it.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) packages: Vec<Spanned<String>>,
    /// The drivers that do not work without: names, or paths below the kernel's modules with `*` and `**`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) modules: Vec<Spanned<String>>,
}

/// A base filesystem.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Base {
    /// Another base: its steps and patterns come first, its other values hold where none stand here.
    #[schemars(with = "Option<String>")]
    pub(crate) extends: Option<Spanned<String>>,
    /// What it starts from: `minbase` (the default), `standard`, or `none`: what its steps bring, such as a container image.
    #[schemars(with = "Option<Variant>", extend("default" = "minbase"))]
    pub(crate) variant: Option<Spanned<String>>,
    /// dpkg's path-exclude: patterns of files that packages may not bring.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) path_exclude: Vec<Spanned<String>>,
    /// dpkg's path-include: exceptions to that.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) path_include: Vec<Spanned<String>>,
    /// How it is packed: `zstd` (the default), `xz`, `gzip` or `lz4`.
    #[schemars(with = "Option<Compression>", extend("default" = "zstd"))]
    pub(crate) compression: Option<Spanned<String>>,
    /// Values for this image alone.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Var>")]
    pub(crate) vars: Vars,
    /// What is done to it, in order.
    #[serde(default)]
    #[schemars(with = "Vec<Provisioner>")]
    pub(crate) provision: Vec<Spanned<Provisioner>>,
}

/// An overlay.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Overlay {
    /// Another overlay: its steps and patterns come first, its other values hold where none stand here.
    #[schemars(with = "Option<String>")]
    pub(crate) extends: Option<Spanned<String>>,
    /// The base it stands on.
    #[schemars(with = "Option<String>")]
    pub(crate) base: Option<Spanned<String>>,
    /// dpkg's path-exclude, after the base's.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) path_exclude: Vec<Spanned<String>>,
    /// dpkg's path-include, after the base's.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) path_include: Vec<Spanned<String>>,
    /// How it is packed: `zstd` (the default), `xz`, `gzip` or `lz4`.
    #[schemars(with = "Option<Compression>", extend("default" = "zstd"))]
    pub(crate) compression: Option<Spanned<String>>,
    /// Values for this image alone.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Var>")]
    pub(crate) vars: Vars,
    /// What is done on top of the base, in order.
    #[serde(default)]
    #[schemars(with = "Vec<Provisioner>")]
    pub(crate) provision: Vec<Spanned<Provisioner>>,
}

/// A boot set of one base and several overlays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Set {
    /// The base; where left out, that of its overlays.
    #[schemars(with = "Option<String>")]
    pub(crate) base: Option<Spanned<String>>,
    /// Its overlays, from the lowest: of two that bring the same file, the later one's is seen.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) overlays: Vec<Spanned<String>>,
}

/// One step: exactly one of its kinds, and what belongs to that.
// An enum would tell less when it is wrong; `crate::check` sees to it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Provisioner {
    /// Packages and what they depend on: `name` or `name=version`.
    #[schemars(with = "Option<Vec<String>>")]
    pub(crate) packages: Option<Spanned<Vec<Spanned<String>>>>,
    /// With `packages` or `debs`: what must not come along.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) exclude: Vec<Spanned<String>>,
    /// Package files, with what they depend on.
    #[schemars(with = "Option<Vec<Deb>>")]
    pub(crate) debs: Option<Spanned<Vec<Spanned<Deb>>>>,
    /// Inputs that are not shipped, by their names in `[slot.NAME]`: each becomes a program at that path.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub(crate) slots: Option<Spanned<BTreeMap<Spanned<String>, Spanned<String>>>>,
    /// A folder of the project that is laid over the root; everything in it belongs to root.
    #[schemars(with = "Option<String>")]
    pub(crate) files: Option<Spanned<String>>,
    /// A script of the project that runs inside the root.
    #[schemars(with = "Option<String>")]
    pub(crate) script: Option<Spanned<String>>,
    /// A script of the project that runs on the building machine, as whoever builds, with the root's path as its argument.
    #[schemars(with = "Option<String>")]
    pub(crate) host_script: Option<Spanned<String>>,
    /// A role or playbook of Ansible's, which the `ansible` of the building machine runs in the root.
    pub(crate) ansible: Option<Ansible>,
    /// With `script` or `ansible`: it may use the building machine's network. What it fetches there is in no lock, so that the
    /// image is another one when that has changed.
    #[schemars(with = "Option<bool>", extend("default" = false))]
    pub(crate) network: Option<Spanned<bool>>,
    /// With `script`, `host-script` or `ansible`: the seconds after which it is ended, and the build with it; 3600, when left out.
    #[schemars(with = "Option<u32>", range(min = 1, max = 604_800), extend("default" = 3600))]
    pub(crate) timeout: Option<Spanned<i64>>,
    /// With `script` or `host-script`: variables of its environment.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(crate) env: BTreeMap<Spanned<String>, Spanned<String>>,
    /// A container image that is laid over the root: `registry.example.com/team/tool:1`, or `oci:FOLDER:NAME` for one of an image
    /// layout in the project.
    #[schemars(with = "Option<String>")]
    pub(crate) container: Option<Spanned<String>>,
    /// Modules of the kernel, with what they need: names, or paths below the kernel's modules with `*` and `**`.
    #[schemars(with = "Option<Vec<String>>")]
    pub(crate) modules: Option<Spanned<Vec<Spanned<String>>>>,
    /// With `modules`: the folder that gets copies of them; where left out, they lie where modprobe finds them.
    #[schemars(with = "Option<String>")]
    pub(crate) to: Option<Spanned<String>>,
    /// Users to make.
    #[schemars(with = "Option<Vec<User>>")]
    pub(crate) users: Option<Spanned<Vec<User>>>,
    /// Units of systemd.
    pub(crate) systemd: Option<Systemd>,
    /// The architectures on which this step is taken; all, when left out.
    #[schemars(with = "Option<Vec<Architecture>>")]
    pub(crate) architectures: Option<Spanned<Vec<Spanned<String>>>>,
}

/// A package file: one of `file`, `url` and `slot`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deb {
    /// In the project.
    #[schemars(with = "Option<String>")]
    pub(crate) file: Option<Spanned<String>>,
    /// Somewhere else, with `sha256`.
    #[schemars(with = "Option<Url>")]
    pub(crate) url: Option<Spanned<String>>,
    /// Its SHA-256.
    #[schemars(with = "Option<Sha256>")]
    pub(crate) sha256: Option<Spanned<String>>,
    /// One that is not shipped: see `[slot.NAME]`.
    #[schemars(with = "Option<String>")]
    pub(crate) slot: Option<Spanned<String>>,
}

/// A role or a playbook: one of `role` and `playbook`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Ansible {
    /// The folder of a role, such as `roles/overlay/raid`.
    #[schemars(with = "Option<String>")]
    pub(crate) role: Option<Spanned<String>>,
    /// A playbook whose plays are for `hosts: all`.
    #[schemars(with = "Option<String>")]
    pub(crate) playbook: Option<Spanned<String>>,
    /// Files of variables, such as `vars/raid.yml`; of two that set the same one, the later one's holds.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) vars: Vec<Spanned<String>>,
    /// Variables, stronger than all others.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub(crate) extra_vars: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
    /// Further files and folders of the project that it reads, such as roles that it depends on.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) reads: Vec<Spanned<String>>,
}

/// What is done about units, in this order.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Systemd {
    /// Started at boot.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) enable: Vec<Spanned<String>>,
    /// Not started at boot.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) disable: Vec<Spanned<String>>,
    /// Never started.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) mask: Vec<Spanned<String>>,
    /// The target that is booted into.
    #[schemars(with = "Option<String>")]
    pub(crate) default: Option<Spanned<String>>,
}

/// A user of the image. None gets a password: `Graph.BootstrapUbuntu` opens a login.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct User {
    /// Login name.
    #[schemars(with = "String")]
    pub(crate) name: Spanned<String>,
    /// Its number; the next free one, when left out.
    #[schemars(with = "Option<u32>", range(min = 1, max = 65533))]
    pub(crate) uid: Option<Spanned<i64>>,
    /// A system user: its number is below 1000.
    #[serde(default)]
    pub(crate) system: bool,
    /// `/bin/bash`, when left out.
    #[schemars(with = "Option<String>", extend("default" = "/bin/bash", "pattern" = "^/"))]
    pub(crate) shell: Option<Spanned<String>>,
    /// Further groups, which must exist.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) groups: Vec<Spanned<String>>,
    /// How it becomes root: `nopasswd`, any command without a password.
    #[schemars(with = "Option<Sudo>")]
    pub(crate) sudo: Option<Spanned<String>>,
}

/// What `overboot serve` does.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Serve {
    /// Where HTTP listens: `address:port`.
    #[schemars(with = "Option<String>", extend("default" = "0.0.0.0:9090"))]
    pub(crate) http: Option<Spanned<String>>,
    /// The `host:port` that nodes are told.
    #[schemars(with = "Option<String>")]
    pub(crate) advertise: Option<Spanned<String>>,
    /// The interface that DHCP and TFTP serve.
    #[schemars(with = "Option<String>")]
    pub(crate) interface: Option<Spanned<String>>,
    /// `off` (the default), `proxy` beside the site's DHCP server, or `server`.
    #[schemars(with = "Option<String>", extend("enum" = ["off", "proxy", "server"], "default" = "off"))]
    pub(crate) dhcp: Option<Spanned<String>>,
    /// With `dhcp = "server"`: `first-last/prefix`.
    #[schemars(with = "Option<String>", extend("pattern" = "^[0-9.]+-[0-9.]+/[0-9]+$"))]
    pub(crate) range: Option<Spanned<String>>,
    /// The default router that our DHCP server names.
    #[schemars(with = "Option<String>")]
    pub(crate) router: Option<Spanned<String>>,
    /// The name servers that our DHCP server names.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) dns: Vec<Spanned<String>>,
    /// The graph that new machines get: `Graph.Discovery`, when left out.
    #[schemars(with = "Option<String>", extend("default" = "Graph.Discovery"))]
    pub(crate) discovery: Option<Spanned<String>>,
}

//! The steps of an image.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use overboot_oci::Reference;
use toml::Spanned;

use super::Check;
use super::archive::ARCHITECTURES;
use crate::diagnostic::Diagnostic;
use crate::manifest;
use crate::near::near;
use crate::place::Placed;
use crate::provisioner::{Deb, Provisioner, Script, Sudo, Systemd, User};
use crate::recipe::Slot;

/// The seconds that a step has which gives none: more than any driver takes to compile.
const TIMEOUT: u32 = 3600;

/// Those that it may give: up to a week.
const SECONDS: std::ops::RangeInclusive<u32> = 1..=604_800;

/// The numbers that a user may have.
const UIDS: std::ops::RangeInclusive<u32> = 1..=65533;

impl Check<'_> {
    /// An image's steps that are taken on this architecture.
    pub(super) fn provision<'m>(
        &mut self,
        steps: impl Iterator<Item = &'m Spanned<manifest::Provisioner>>,
        slots: &BTreeMap<String, Slot>,
    ) -> Vec<Provisioner> {
        let arch = self.arch();
        let mut taken = Vec::new();
        let mut users = Vec::new();
        for step in steps {
            let only: Option<Vec<&str>> = step.as_ref().architectures.as_ref().map(|all| {
                let all = self.filled("architectures", all).iter();
                all.map(|one| self.choice("architecture", one, &ARCHITECTURES)).collect()
            });
            // What is left out here may be wrong elsewhere: that is for whoever builds there to hear.
            if only.is_none_or(|only| only.contains(&arch.as_str())) {
                taken.extend(self.provisioner(step, slots, &mut users));
            }
        }
        taken
    }

    fn provisioner(
        &mut self,
        step: &Spanned<manifest::Provisioner>,
        slots: &BTreeMap<String, Slot>,
        known: &mut Vec<User>,
    ) -> Option<Provisioner> {
        let given = step.as_ref();
        let mut kinds = Vec::new();
        let (mut excludes, mut takes_env) = (false, false);
        let (mut takes_to, mut networks, mut runs) = (false, false, false);
        if let Some(packages) = &given.packages {
            let packages = self.filled("packages", packages).iter();
            let names = packages.map(|one| self.package(one)).collect();
            kinds.push(Provisioner::Packages { names, exclude: self.excluded(given) });
            excludes = true;
        }
        if let Some(debs) = &given.debs {
            let debs = self.filled("debs", debs).iter();
            let debs = debs.filter_map(|deb| self.deb(deb, slots)).collect();
            kinds.push(Provisioner::Debs { debs, exclude: self.excluded(given) });
            excludes = true;
        }
        if let Some(taken) = &given.slots {
            let taken = self.filled("slots", taken);
            kinds.push(Provisioner::Slots(self.slot_files(taken, slots)));
        }
        if let Some(files) = &given.files {
            kinds.push(Provisioner::Files(self.file(files, true)));
        }
        if let Some(script) = &given.script {
            kinds.push(Provisioner::Script(self.script(script, given)));
            (takes_env, networks, runs) = (true, true, true);
        }
        if let Some(script) = &given.host_script {
            let checked = self.script(script, given);
            self.may_be_executed(script, &checked.path);
            kinds.push(Provisioner::HostScript(checked));
            (takes_env, runs) = (true, true);
        }
        if let Some(container) = &given.container {
            kinds.push(Provisioner::Container(self.container(container)?));
        }
        if let Some(modules) = &given.modules {
            let to = given.to.as_ref().and_then(|to| self.in_image(to, "/opt/drivers"));
            let modules = self.filled("modules", modules);
            let include = self.patterns(&[modules]);
            kinds.push(Provisioner::Modules { include, to });
            takes_to = true;
        }
        if let Some(users) = &given.users {
            let users = self.filled("users", users).iter();
            kinds.push(Provisioner::Users(users.map(|user| self.user(user, known)).collect()));
        }
        if let Some(systemd) = &given.systemd {
            kinds.push(Provisioner::Systemd(self.systemd(systemd)));
        }
        if let Some(ansible) = &given.ansible {
            let means = (network(given), self.timeout(given));
            kinds.push(Provisioner::Ansible(self.ansible(ansible, means, step.span())?));
            (networks, runs) = (true, true);
        }
        if kinds.len() != 1 {
            self.wrong(
                step.span(),
                format!("a provisioning step does one thing, and this one names {}", kinds.len()),
                "write one of `packages`, `debs`, `slots`, `files`, `script`, `host-script`, `container`, `modules`, `ansible`, `users` or `systemd` in each [[….provision]]",
            );
            return None;
        }
        if let (false, Some(one)) = (excludes, given.exclude.first()) {
            let message = "nothing can be excluded from this step".to_owned();
            self.wrong(one.span(), message, "write `exclude` with `packages` or `debs`");
        }
        if let (false, Some(name)) = (takes_env, given.env.keys().next()) {
            let message = "this step runs nothing that has an environment".to_owned();
            self.wrong(name.span(), message, "write `env` with `script` or `host-script`");
        }
        if let (false, Some(to)) = (takes_to, &given.to) {
            let message = "this step copies nothing to a folder".to_owned();
            self.wrong(to.span(), message, "write `to` with `modules`");
        }
        if let (false, Some(network)) = (networks, &given.network) {
            let message = "this step has no use for the network".to_owned();
            self.wrong(network.span(), message, "write `network` with `script` or `ansible`");
        }
        if let (false, Some(timeout)) = (runs, &given.timeout) {
            let message = "this step runs nothing that could go on for ever".to_owned();
            let help = "write `timeout` with `script`, `host-script` or `ansible`";
            self.wrong(timeout.span(), message, help);
        }
        kinds.pop()
    }

    /// `name` or `name=version` (Debian Policy 5.6.1 and 5.6.12).
    pub(super) fn package(&mut self, given: &Spanned<String>) -> Placed<String> {
        let text = self.text(given);
        let split = text.split_once('=');
        let (name, version) = split.map_or((text.as_str(), None), |(n, v)| (n, Some(v)));
        let fine = name.len() >= 2
            && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c))
            && version.is_none_or(|version| {
                version.starts_with(|c: char| c.is_ascii_digit())
                    && version.chars().all(|c| c.is_ascii_alphanumeric() || ".+-~:".contains(c))
            });
        if !fine {
            self.wrong(
                given.span(),
                format!("\"{text}\" is not the name of a package"),
                "write \"name\", or \"name=version\" for one version of it",
            );
        }
        text
    }

    fn excluded(&mut self, given: &manifest::Provisioner) -> Vec<Placed<String>> {
        given.exclude.iter().map(|one| self.package(one)).collect()
    }

    fn deb(
        &mut self,
        given: &Spanned<manifest::Deb>,
        slots: &BTreeMap<String, Slot>,
    ) -> Option<Placed<Deb>> {
        let deb = given.as_ref();
        match (&deb.file, &deb.url, &deb.slot) {
            (Some(file), None, None) if deb.sha256.is_none() => {
                Some(self.file(file, false).map(Deb::File))
            }
            (None, Some(url), None) => {
                let checked = self.url("package file", url);
                let Some(sha256) = &deb.sha256 else {
                    let message = "a package file from elsewhere needs its digest".to_owned();
                    self.wrong(url.span(), message, "write sha256 = \"…\" beside it");
                    return None;
                };
                let sha256 = self.digest(sha256)?.value;
                Some(checked.map(|url| Deb::Url { url, sha256 }))
            }
            (None, None, Some(slot)) if deb.sha256.is_none() => {
                self.known_slot(slot, slots);
                Some(self.said(slot).map(Deb::Slot))
            }
            _ => {
                self.wrong(
                    given.span(),
                    "a package file is in the project, elsewhere, or in a slot".to_owned(),
                    "write { file = \"…\" }, { url = \"…\", sha256 = \"…\" } or { slot = \"…\" }",
                );
                None
            }
        }
    }

    fn known_slot(&mut self, slot: &Spanned<String>, slots: &BTreeMap<String, Slot>) {
        if !slots.contains_key(slot.as_ref()) {
            let help = match near(slot.as_ref(), slots.keys().map(String::as_str)).first() {
                Some(name) => format!("write \"{name}\""),
                None => format!("write [slot.{}], with file and from", slot.as_ref()),
            };
            self.wrong(slot.span(), format!("there is no slot \"{}\"", slot.as_ref()), help);
        }
    }

    /// Slots that no step takes anything from.
    pub(super) fn unused_slots(&self, manifest: &manifest::Manifest) -> Vec<Diagnostic> {
        let bases = manifest.base.values().flat_map(|base| &base.provision);
        let overlays = manifest.overlay.values().flat_map(|overlay| &overlay.provision);
        let mut used = BTreeSet::new();
        for step in bases.chain(overlays).map(Spanned::get_ref) {
            used.extend(step.slots.iter().flat_map(|slots| slots.get_ref().keys()));
            let debs = step.debs.iter().flat_map(Spanned::get_ref);
            used.extend(debs.filter_map(|deb| deb.get_ref().slot.as_ref()));
        }
        let unused = manifest.slot.keys().filter(|name| !used.contains(name));
        let warning = |name: &Spanned<String>| {
            let message = format!("no step takes anything from the slot \"{}\"", name.get_ref());
            let help = format!(
                "write slots = {{ {} = \"/path\" }} in a step, or leave it out",
                name.get_ref()
            );
            Diagnostic::at(self.path, self.text, Some(name.span()), message).help(help)
        };
        unused.map(warning).collect()
    }

    fn slot_files(
        &mut self,
        taken: &BTreeMap<Spanned<String>, Spanned<String>>,
        slots: &BTreeMap<String, Slot>,
    ) -> BTreeMap<String, Placed<PathBuf>> {
        let mut files = BTreeMap::new();
        for (slot, to) in taken {
            self.known_slot(slot, slots);
            let Some(path) = self.in_image(to, "/opt/vendor/tool") else { continue };
            if let Some((other, _)) = files.iter().find(|(_, there)| **there == path) {
                let message = format!("the slot \"{other}\" goes to the same path");
                self.wrong(to.span(), message, "give each a path of its own");
            }
            files.insert(slot.as_ref().clone(), path);
        }
        files
    }

    /// A path in the image, then relative to its root.
    fn in_image(&mut self, given: &Spanned<String>, example: &str) -> Option<Placed<PathBuf>> {
        let text = self.text(given);
        let path = text.strip_prefix('/').map(Path::new).filter(|path| {
            !path.as_os_str().is_empty()
                && path.components().all(|part| matches!(part, Component::Normal(_)))
        });
        if path.is_none() {
            let message = format!("\"{text}\" is not a path in the image");
            self.wrong(given.span(), message, format!("write it from the root: \"{example}\""));
        }
        let path = path.map(Path::to_owned)?;
        Some(text.map(|_| path))
    }

    /// A container image in a registry, or in a layout of the project.
    fn container(&mut self, given: &Spanned<String>) -> Option<Placed<Reference>> {
        let text = self.text(given);
        match text.parse::<Reference>() {
            Ok(reference) => {
                if let Reference::Layout { path, .. } = &reference {
                    self.there(given, path, true);
                }
                Some(text.map(|_| reference))
            }
            Err(overboot_oci::Error { text, reason }) => {
                self.wrong(
                    given.span(),
                    format!("\"{text}\" is no container image: {reason}"),
                    "write \"registry.example.com/team/tool:1\", or \"oci:FOLDER:NAME\" for one of an image layout in the project",
                );
                None
            }
        }
    }

    fn script(&mut self, path: &Spanned<String>, given: &manifest::Provisioner) -> Script {
        let mut env = BTreeMap::new();
        for (name, value) in &given.env {
            env.insert(self.variable_name(name), self.text(value).value);
        }
        let timeout = self.timeout(given);
        Script { path: self.file(path, false), env, network: network(given), timeout }
    }

    /// A script of this machine's is started as it is, while one that runs inside is copied there.
    fn may_be_executed(&mut self, given: &Spanned<String>, path: &Path) {
        let full = self.folder.join(path);
        let plain = full
            .metadata()
            .is_ok_and(|there| there.is_file() && there.permissions().mode() & 0o111 == 0);
        if plain {
            let message = format!("\"{}\" may not be executed", path.display());
            self.wrong(given.span(), message, format!("run chmod +x {}", full.display()));
        }
    }

    /// The seconds that a step has.
    fn timeout(&mut self, given: &manifest::Provisioner) -> u32 {
        let Some(written) = &given.timeout else { return TIMEOUT };
        let seconds =
            u32::try_from(*written.as_ref()).ok().filter(|seconds| SECONDS.contains(seconds));
        if seconds.is_none() {
            let message = format!("{} is no time for a step", written.as_ref());
            let help = format!("write seconds, from {} to {}", SECONDS.start(), SECONDS.end());
            self.wrong(written.span(), message, help);
        }
        seconds.unwrap_or(TIMEOUT)
    }

    /// A user, who is none of those that the image's steps have made before, and then is one of them.
    fn user(&mut self, user: &manifest::User, known: &mut Vec<User>) -> User {
        let made = self.user_alone(user);
        if known.iter().any(|other| other.name == made.name) {
            let message = format!("this image has a user \"{}\" already", made.name);
            self.wrong(user.name.span(), message, "leave it out, or give it another name");
        }
        if let (Some(given), Some(uid)) = (&user.uid, &made.uid) {
            let same = |other: &&User| other.uid.as_ref() == Some(uid) && other.name != made.name;
            if let Some(other) = known.iter().find(same) {
                let message = format!("{uid} is the number of the user \"{}\" already", other.name);
                self.wrong(given.span(), message, "write another one");
            } else if made.system && **uid >= 1000 {
                let message = format!("{uid} is not a number for a system user");
                let help = "write one below 1000, or leave out `system` (Debian Policy 9.2.2)";
                self.wrong(given.span(), message, help);
            }
        }
        known.push(made.clone());
        made
    }

    fn user_alone(&mut self, user: &manifest::User) -> User {
        let shell = user.shell.as_ref().map_or("/bin/bash".to_owned().into(), |shell| {
            if !shell.as_ref().starts_with('/') {
                let message = format!("\"{}\" is not a login shell", shell.as_ref());
                self.wrong(shell.span(), message, "write its full path, such as \"/bin/bash\"");
            }
            self.said(shell)
        });
        let uid = user.uid.as_ref().and_then(|given| {
            let number = u32::try_from(*given.as_ref()).ok().filter(|uid| UIDS.contains(uid));
            if number.is_none() {
                let message = format!("{} is not a number for a user", given.as_ref());
                self.wrong(
                    given.span(),
                    message,
                    "write one from 1 to 65533 (Debian Policy 9.2.2)",
                );
            }
            number.map(|value| self.said(given).map(|_| value))
        });
        User {
            name: self.account("a user", &user.name),
            uid,
            system: user.system,
            shell,
            groups: user.groups.iter().map(|group| self.account("a group", group)).collect(),
            sudo: user
                .sudo
                .as_ref()
                .map(|given| self.choice("sudo", given, &[("nopasswd", Sudo::Nopasswd)])),
        }
    }

    fn systemd(&mut self, given: &manifest::Systemd) -> Systemd {
        Systemd {
            enable: self.units(&given.enable),
            disable: self.units(&given.disable),
            mask: self.units(&given.mask),
            default: given
                .default
                .as_ref()
                .and_then(|one| self.units(std::slice::from_ref(one)).pop()),
        }
    }

    /// Names of units with their kind (systemd.unit(5)).
    fn units(&mut self, given: &[Spanned<String>]) -> Vec<Placed<String>> {
        const KINDS: [&str; 11] = [
            "service",
            "socket",
            "device",
            "mount",
            "automount",
            "swap",
            "target",
            "path",
            "timer",
            "slice",
            "scope",
        ];
        let units = self.texts(given);
        for (unit, given) in units.iter().zip(given) {
            let kind = unit.rsplit_once('.').map(|(_, kind)| kind);
            let fine = unit.chars().all(|c| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c))
                && !unit.starts_with(['-', '.']);
            if !fine || kind.is_none_or(|kind| !KINDS.contains(&kind)) {
                let message = format!("\"{unit}\" is not the name of a unit");
                self.wrong(
                    given.span(),
                    message,
                    "write it with its kind, such as \"ssh.service\"",
                );
            }
        }
        units
    }
}

fn network(given: &manifest::Provisioner) -> bool {
    given.network.as_ref().is_some_and(|network| *network.as_ref())
}

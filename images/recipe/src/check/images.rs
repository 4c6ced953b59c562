//! Bases, overlays, initrds, layers of modules: what each inherits; and the boot sets made of them.

use std::collections::BTreeMap;

use overboot_bootset::BootSet;
use toml::Spanned;

use super::Check;
use crate::manifest::{self, Manifest, Vars};
use crate::near::near;
use crate::place::Placed;
use crate::provisioner::Provisioner;
use crate::recipe::{Base, Compression, Firmware, Initrd, Modules, Overlay, Set, Slot, Variant};

/// All images of a recipe.
pub(super) struct Images {
    pub(super) modules: BTreeMap<String, Modules>,
    pub(super) initrds: BTreeMap<String, Initrd>,
    pub(super) firmware: BTreeMap<String, Firmware>,
    pub(super) bases: BTreeMap<String, Base>,
    pub(super) overlays: BTreeMap<String, Overlay>,
    pub(super) sets: BTreeMap<String, Set>,
}

/// A table of images of one kind.
type Table<T> = BTreeMap<Spanned<String>, T>;

impl Check<'_> {
    pub(super) fn images(
        &mut self,
        manifest: &Manifest,
        architecture: &str,
        slots: &BTreeMap<String, Slot>,
    ) -> Images {
        let mut modules = BTreeMap::new();
        for name in manifest.modules.keys() {
            let line = self.line(name, &manifest.modules, "modules", |one| one.extends.as_ref());
            let include = self.patterns(&line.iter().map(|one| &one.include).collect::<Vec<_>>());
            modules.insert(self.name("a module layer", name).value, Modules { include });
        }
        let mut initrds = BTreeMap::new();
        for name in manifest.initrd.keys() {
            let line = self.line(name, &manifest.initrd, "initrd", |one| one.extends.as_ref());
            let modules = self.patterns(&line.iter().map(|one| &one.modules).collect::<Vec<_>>());
            initrds.insert(self.name("an initrd", name).value, Initrd { modules });
        }
        let mut firmware = BTreeMap::new();
        for name in manifest.firmware.keys() {
            let line = self.line(name, &manifest.firmware, "firmware", |one| one.extends.as_ref());
            let packages = line.iter().flat_map(|one| &one.packages);
            let packages: Vec<_> = packages.map(|one| self.package(one)).collect();
            let modules = self.patterns(&line.iter().map(|one| &one.modules).collect::<Vec<_>>());
            if packages.is_empty() || modules.is_empty() {
                self.wrong(
                    name.span(),
                    format!("firmware \"{}\" names no packages, or no modules", name.as_ref()),
                    "write packages = [\"firmware-bnx2\"], which have it, and modules = [\"bnx2\"], which ask for it",
                );
            }
            firmware.insert(self.name("firmware", name).value, Firmware { packages, modules });
        }
        let mut bases = BTreeMap::new();
        for name in manifest.base.keys() {
            let line = self.line(name, &manifest.base, "base", |one| one.extends.as_ref());
            let base = self.within(line.iter().map(|one| &one.vars), architecture, |check| {
                check.base(name, &line, slots)
            });
            bases.insert(self.name("a base", name).value, base);
        }
        let mut overlays = BTreeMap::new();
        for name in manifest.overlay.keys() {
            let line = self.line(name, &manifest.overlay, "overlay", |one| one.extends.as_ref());
            let overlay = self.within(line.iter().map(|one| &one.vars), architecture, |check| {
                check.overlay(name, &line, &bases, slots)
            });
            overlays.insert(self.name("an overlay", name).value, overlay);
        }
        let initrd = self.one_for_boot_sets("initrd", manifest.initrd.keys());
        let for_cards = self.one_for_boot_sets("firmware", manifest.firmware.keys());
        let layer = self.one_for_boot_sets("modules", manifest.modules.keys());
        let mut sets = BTreeMap::new();
        let set = |base: &str, overlays: Vec<Placed<String>>| Set {
            initrd: initrd.clone(),
            firmware: for_cards.clone(),
            modules: layer.clone(),
            base: base.to_owned(),
            overlays,
        };
        for name in bases.keys() {
            sets.insert(name.clone(), set(name, Vec::new()));
        }
        for name in manifest.overlay.keys().filter(|name| bases.contains_key(name.as_ref())) {
            self.wrong(
                name.span(),
                format!("the overlay \"{0}\" has the name of a base", name.as_ref()),
                "give it a name of its own: a boot set is named after its overlay, or after its base",
            );
        }
        for (name, overlay) in &overlays {
            let only = Placed { value: name.clone(), place: overlay.place };
            sets.insert(name.clone(), set(&overlay.base, vec![only]));
        }
        for (name, given) in &manifest.set {
            let (base, on_top) = self.stack(name, given, &bases, &overlays);
            sets.insert(self.name("a boot set", name).value, set(&base, on_top));
        }
        Images { modules, initrds, firmware, bases, overlays, sets }
    }

    /// An image's line of descent, the oldest first and itself last.
    fn line<'m, T>(
        &mut self,
        name: &Spanned<String>,
        table: &'m Table<T>,
        kind: &str,
        extends: impl Fn(&T) -> Option<&Spanned<String>>,
    ) -> Vec<&'m T> {
        let mut line = Vec::new();
        let mut seen = vec![name.as_ref().as_str()];
        let mut next = table.get(name);
        while let Some(image) = next {
            line.push(image);
            let Some(parent) = extends(image) else { break };
            let known = table.get_key_value(parent);
            if seen.contains(&parent.as_ref().as_str()) {
                self.wrong(
                    parent.span(),
                    format!("{kind}/{} extends itself", seen[0]),
                    "leave `extends` out of one of them",
                );
                break;
            }
            match known {
                Some((parent, _)) => seen.push(parent.as_ref()),
                None => {
                    let names = table.keys().map(|name| name.as_ref().as_str());
                    let help = match near(parent.as_ref(), names).first() {
                        Some(name) => format!("write \"{name}\""),
                        None => format!("write it as [{kind}.{}]", parent.as_ref()),
                    };
                    let message = format!("there is no {kind} \"{}\"", parent.as_ref());
                    self.wrong(parent.span(), message, help);
                }
            }
            next = known.map(|(_, image)| image);
        }
        line.reverse();
        line
    }

    /// Checks something where these variables hold too.
    fn within<'m, T>(
        &mut self,
        vars: impl Iterator<Item = &'m Vars>,
        architecture: &str,
        check: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let before = self.vars.clone();
        for vars in vars {
            self.define(vars, architecture);
        }
        let checked = check(self);
        self.vars = before;
        checked
    }

    /// A boot set takes one initrd and one layer of modules: the only one, or the one named `default`.
    fn one_for_boot_sets<'n>(
        &mut self,
        table: &str,
        mut names: impl ExactSizeIterator<Item = &'n Spanned<String>> + Clone,
    ) -> Option<String> {
        let default = names.clone().find(|name| name.as_ref() == "default");
        let several = names.len() > 1;
        let first = names.next();
        if let (None, true, Some(first)) = (default, several, first) {
            self.wrong(
                first.span(),
                format!("there are several [{table}.NAME], and none of them is the default"),
                format!("name the one that boot sets take [{table}.default]"),
            );
        }
        default.or(first).map(|name| name.as_ref().clone())
    }

    fn base(
        &mut self,
        name: &Spanned<String>,
        line: &[&manifest::Base],
        slots: &BTreeMap<String, Slot>,
    ) -> Base {
        let variants = [
            ("minbase", Variant::Minbase),
            ("standard", Variant::Standard),
            ("none", Variant::None),
        ];
        let given = line.iter().rev().find_map(|one| one.variant.as_ref());
        let variant =
            given.map_or(Variant::Minbase, |given| self.choice("variant", given, &variants));
        let provision = self.provision(line.iter().flat_map(|one| &one.provision), slots);
        if let (
            Some(given),
            Variant::None,
            Some(Provisioner::Packages { .. } | Provisioner::Debs { .. }),
        ) = (given, variant, provision.first())
        {
            self.wrong(
                given.span(),
                "there is nothing that could install packages".to_owned(),
                "begin with a step that brings a system (`container`), or write variant = \"minbase\"",
            );
        }
        Base {
            variant,
            path_exclude: line.iter().flat_map(|one| self.globs(&one.path_exclude)).collect(),
            path_include: line.iter().flat_map(|one| self.globs(&one.path_include)).collect(),
            compression: self
                .compression(line.iter().rev().find_map(|one| one.compression.as_ref())),
            provision,
            place: self.place(name.span()),
        }
    }

    fn overlay(
        &mut self,
        name: &Spanned<String>,
        line: &[&manifest::Overlay],
        bases: &BTreeMap<String, Base>,
        slots: &BTreeMap<String, Slot>,
    ) -> Overlay {
        let base = match line.iter().rev().find_map(|one| one.base.as_ref()) {
            Some(base) => self.known_base(base, bases),
            None => {
                let message = format!("overlay \"{}\" names no base", name.as_ref());
                self.wrong(name.span(), message, "write base = \"NAME\": what it stands on");
                String::new().into()
            }
        };
        Overlay {
            base,
            path_exclude: line.iter().flat_map(|one| self.globs(&one.path_exclude)).collect(),
            path_include: line.iter().flat_map(|one| self.globs(&one.path_include)).collect(),
            compression: self
                .compression(line.iter().rev().find_map(|one| one.compression.as_ref())),
            provision: self.provision(line.iter().flat_map(|one| &one.provision), slots),
            place: self.place(name.span()),
        }
    }

    fn known_base(
        &mut self,
        given: &Spanned<String>,
        bases: &BTreeMap<String, Base>,
    ) -> Placed<String> {
        let base = self.said(given);
        if !bases.contains_key(base.as_str()) {
            let help = match near(&base, bases.keys().map(String::as_str)).first() {
                Some(name) => format!("write \"{name}\""),
                None => format!("write it as [base.{base}], or name one of: {}", {
                    bases.keys().cloned().collect::<Vec<_>>().join(", ")
                }),
            };
            self.wrong(given.span(), format!("there is no base \"{base}\""), help);
        }
        base
    }

    /// The base of a boot set, and its overlays.
    fn stack(
        &mut self,
        name: &Spanned<String>,
        given: &manifest::Set,
        bases: &BTreeMap<String, Base>,
        overlays: &BTreeMap<String, Overlay>,
    ) -> (String, Vec<Placed<String>>) {
        let mut base = given.base.as_ref().map(|base| self.known_base(base, bases).value);
        if bases.contains_key(name.as_ref()) || overlays.contains_key(name.as_ref()) {
            self.wrong(
                name.span(),
                format!("the boot set \"{}\" has the name of a base or an overlay", name.as_ref()),
                "give it a name of its own: each base and overlay has a boot set of its name already",
            );
        }
        let mut on_top: Vec<Placed<String>> = Vec::new();
        for one in &given.overlays {
            let Some(overlay) = overlays.get(one.as_ref()) else {
                let help = match near(one.as_ref(), overlays.keys().map(String::as_str)).first() {
                    Some(name) => format!("write \"{name}\""),
                    None => format!("write it as [overlay.{}]", one.as_ref()),
                };
                self.wrong(one.span(), format!("there is no overlay \"{}\"", one.as_ref()), help);
                continue;
            };
            let below = base.get_or_insert_with(|| overlay.base.value.clone());
            if *below != *overlay.base {
                let message =
                    format!("overlay \"{}\" stands on \"{}\"", one.as_ref(), overlay.base);
                self.wrong(
                    one.span(),
                    message,
                    format!("all of a set stand on one base, here \"{below}\""),
                );
            }
            let said = self.said(one);
            if on_top.contains(&said) {
                let message = format!("overlay \"{}\" is named twice", one.as_ref());
                self.wrong(one.span(), message, "leave one of them out");
            }
            on_top.push(said);
        }
        // Besides them, the base and the layer of modules.
        let most = BootSet::MAX_LAYERS - 2;
        if let Some(one) = given.overlays.get(most) {
            self.wrong(
                one.span(),
                format!("the boot set \"{}\" has {} overlays", name.as_ref(), given.overlays.len()),
                format!("write at most {most}: a node takes no more layers"),
            );
        }
        let base = base.unwrap_or_else(|| {
            let message =
                format!("the boot set \"{}\" has neither base nor overlays", name.as_ref());
            self.wrong(name.span(), message, "write overlays = [\"NAME\", …]");
            String::new()
        });
        (base, on_top)
    }

    /// Patterns of modules, of several tables that add up.
    pub(super) fn patterns(&mut self, given: &[&Vec<Spanned<String>>]) -> Vec<Placed<String>> {
        let pattern = |check: &mut Self, one: &Spanned<String>| {
            let text = check.text(one);
            if !is_pattern(text.strip_prefix('!').unwrap_or(&text)) {
                check.wrong(
                    one.span(),
                    format!("\"{text}\" names no module"),
                    "write a module's name (`loop`) or a path below the kernel's modules (`kernel/drivers/net/**`)",
                );
            }
            text
        };
        let given = || given.iter().copied().flatten();
        let patterns: Vec<_> = given().map(|one| pattern(self, one)).collect();
        if let (Some(first), true) =
            (given().next(), patterns.iter().all(|one| one.starts_with('!')))
        {
            self.wrong(
                first.span(),
                "there is nothing that these patterns could take away from".to_owned(),
                "write what is wanted before them, without \"!\"",
            );
        }
        patterns
    }

    fn globs(&mut self, given: &[Spanned<String>]) -> Vec<String> {
        let glob = |check: &mut Self, one: &Spanned<String>| {
            let text = check.text(one);
            if !text.starts_with('/') || text.contains('\n') {
                check.wrong(
                    one.span(),
                    format!("\"{text}\" can match no path of a package"),
                    "write it from the root, as dpkg's path-exclude wants it: \"/usr/share/doc/*\"",
                );
            }
            text.value
        };
        given.iter().map(|one| glob(self, one)).collect()
    }

    fn compression(&mut self, given: Option<&Spanned<String>>) -> Compression {
        let words = [
            ("zstd", Compression::Zstd),
            ("xz", Compression::Xz),
            ("gzip", Compression::Gzip),
            ("lz4", Compression::Lz4),
        ];
        given.map_or(Compression::Zstd, |given| self.choice("compression", given, &words))
    }
}

/// A module's name, or a path with `*`, which never leads up (see `select` of the crate that packs them).
fn is_pattern(text: &str) -> bool {
    if !text.contains('/') {
        return !text.is_empty() && !text.contains(['*', '?']);
    }
    let path = text.strip_suffix('/').unwrap_or(text);
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

//! The steps of a build, and why each must run. Pure: it reads nothing but what it is given.

mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use overboot_digest::Digest;
use overboot_recipe::{Lock, Placed, Provisioner, Recipe, Script};
use overboot_record::Record;

use crate::error::Error;
use crate::inputs::{Inputs, differences};
use crate::lock::LOADERS;
use crate::transactions::{Transaction, starts_from_packages, transactions};
use crate::{ansible, apt};

pub use target::Target;

/// The code that makes images, digested by the build script: another maker may make another image from the same inputs.
pub(crate) const MAKER: &str = env!("OVERBOOT_MAKER");

/// What a plan is made from, besides the recipe and the lock.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// The node program.
    pub node: Option<Digest>,
    /// The contents of the files and folders that images take from the project, by their paths in the recipe.
    pub sources: BTreeMap<String, Digest>,
    /// The public half of the key that signs boot sets; none when there is no private key here.
    pub signer: Option<String>,
    /// What the store has.
    pub have: BTreeMap<Target, Record>,
    /// What is in the bases that the store has: the digests of their lists of contents.
    pub contents: BTreeMap<Target, Digest>,
    /// Bases that may become other ones when they are made again, since their steps use what is not in the lock, and whose trees,
    /// which those in the store were packed from, are gone.
    pub gone: BTreeSet<Target>,
    /// The versions of this machine's Ansible, where there is one and the recipe has steps for it.
    pub ansible: Option<String>,
    /// What the store names, but cannot be used, and why.
    pub unusable: BTreeMap<Target, String>,
    /// Overlays that hold on their base as the store has it now, though they were built on another state of it: they stay.
    pub kept: BTreeSet<Target>,
    /// Bases and overlays that cannot be made here, and why: inputs that are not shipped are missing.
    pub missing: BTreeMap<Target, String>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it makes.
    pub target: Target,
    /// The digest of everything that it reads.
    pub key: Digest,
    /// Why it must run; nothing when what there is was made from the same.
    pub why: Vec<String>,
    /// Is it an overlay that differs from what would be built only by the state of its base?
    pub only_base_changed: bool,
    /// Does it stay as it is all the same, since it holds on that base?
    pub kept: bool,
    /// The steps, by their place in the plan, whose results it reads.
    pub after: Vec<usize>,
    pub(crate) inputs: Inputs,
}

impl Step {
    /// Must it run?
    #[must_use]
    pub fn runs(&self) -> bool {
        !self.why.is_empty()
    }

    /// Everything that it reads, by name.
    #[must_use]
    pub fn inputs(&self) -> &BTreeMap<String, String> {
        self.inputs.map()
    }
}

/// The steps of a build, each after those whose results it reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// Boot sets that will not be signed and so not be made, and why.
    pub left_out: Vec<String>,
    /// What else is to be known of the steps that must run.
    pub notes: Vec<String>,
}

impl Plan {
    /// Is there nothing to do?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.steps.iter().any(Step::runs)
    }

    /// The bases that must be built.
    pub(crate) fn new_bases(&self) -> Vec<Target> {
        let bases = self.steps.iter().filter(|step| step.runs());
        let bases = bases.map(|step| step.target.clone());
        bases.filter(|target| matches!(target, Target::Base(_))).collect()
    }

    /// The overlays that must be built only because of their base, which is there.
    pub(crate) fn on_new_bases(&self) -> Vec<Target> {
        let there = |step: &Step| step.after.iter().all(|base| !self.steps[*base].runs());
        let found = self.steps.iter().filter(|step| step.only_base_changed && there(step));
        found.map(|step| step.target.clone()).collect()
    }

    fn place(&self, target: &Target) -> Option<usize> {
        self.steps.iter().position(|step| step.target == *target)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            let target = step.target.to_string();
            if step.kept {
                writeln!(f, "  {target:<24} valid on the new base: not built again")?;
            } else if step.why.is_empty() {
                writeln!(f, "  {target:<24} unchanged")?;
            }
            for (at, why) in step.why.iter().enumerate() {
                let target = if at == 0 { target.as_str() } else { "" };
                writeln!(f, "  {target:<24} {} {why}", if at == 0 { "build:" } else { "      " })?;
            }
        }
        for line in self.left_out.iter().chain(&self.notes) {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}

/// The key of the tree of a base or an overlay when these are carried out of its steps. After the last one it is packed, in one way
/// or another.
pub(crate) fn tree_key(
    recipe: &Recipe,
    lock: &Lock,
    given: &Given,
    target: &Target,
    steps: &[Provisioner],
) -> Digest {
    Planner::new(recipe, lock, given).tree_inputs(target, steps).key()
}

/// The steps of a base or an overlay; none of anything else.
pub(crate) fn steps_of<'r>(recipe: &'r Recipe, target: &Target) -> &'r [Provisioner] {
    let steps = match target {
        Target::Base(name) => recipe.bases.get(name).map(|base| &base.provision),
        Target::Overlay(name) => recipe.overlays.get(name).map(|overlay| &overlay.provision),
        _ => None,
    };
    steps.map_or(&[], Vec::as_slice)
}

/// Everything the recipe can build.
#[must_use]
pub fn targets(recipe: &Recipe) -> Vec<Target> {
    let mut all = vec![Target::Kernel];
    all.extend(recipe.modules.keys().cloned().map(Target::Modules));
    all.extend(recipe.initrds.keys().cloned().map(Target::Initrd));
    all.extend(recipe.firmware.keys().cloned().map(Target::Firmware));
    all.extend(recipe.bases.keys().cloned().map(Target::Base));
    all.extend(recipe.overlays.keys().cloned().map(Target::Overlay));
    all.push(Target::Ipxe);
    all.extend(recipe.sets.keys().cloned().map(Target::Set));
    all
}

/// Says so if the recipe does not describe `target`.
///
/// # Errors
/// It does not; near names are suggested.
pub fn known(recipe: &Recipe, target: &Target) -> Result<(), Error> {
    let all = targets(recipe);
    if all.contains(target) {
        return Ok(());
    }
    let names: Vec<String> = all.iter().map(ToString::to_string).collect();
    let near =
        overboot_recipe::near(&target.to_string(), names.iter().map(String::as_str)).join(", ");
    let help = if near.is_empty() {
        format!("it has: {}", names.join(", "))
    } else {
        format!("did you mean {near}?")
    };
    Err(Error::told(format!("the recipe has no {target}"), help))
}

/// The steps to `wanted` (nothing: everything), in an order in which they can be carried out.
///
/// # Errors
/// A target that the recipe does not describe.
pub fn plan(recipe: &Recipe, lock: &Lock, given: &Given, wanted: &[Target]) -> Result<Plan, Error> {
    for target in wanted {
        known(recipe, target)?;
    }
    let all = targets(recipe);
    let mut planner = Planner::new(recipe, lock, given);
    loop {
        for target in if wanted.is_empty() { &all } else { wanted } {
            planner.add(target);
        }
        let again = planner.bases_that_are_gone();
        if again.is_empty() {
            break;
        }
        // Whatever is built on them or made with them is to be seen anew.
        planner.again.extend(again);
        planner.plan = Plan::default();
    }
    match planner.plan.left_out.first() {
        // Asked for by name, it is not merely left out.
        Some(line) if !wanted.is_empty() => {
            Err(Error::told(line.clone(), "put what is missing in its place, and build again"))
        }
        _ => Ok(planner.plan),
    }
}

struct Planner<'a> {
    recipe: &'a Recipe,
    lock: &'a Lock,
    given: &'a Given,
    plan: Plan,
    /// Bases that must be made again, and the overlay that needs each.
    again: BTreeMap<Target, Target>,
}

impl<'a> Planner<'a> {
    fn new(recipe: &'a Recipe, lock: &'a Lock, given: &'a Given) -> Self {
        Self { recipe, lock, given, plan: Plan::default(), again: BTreeMap::new() }
    }
}

impl Planner<'_> {
    /// The bases that would be made again under an overlay while the store keeps another one, each with such an overlay.
    fn bases_that_are_gone(&self) -> BTreeMap<Target, Target> {
        let running = self.plan.steps.iter().filter(|step| step.runs());
        let on = |step: &Step| -> Vec<(Target, Target)> {
            let Target::Overlay(_) = step.target else { return Vec::new() };
            let bases = step.after.iter().map(|place| &self.plan.steps[*place]);
            let gone = bases.filter(|b| !b.runs() && self.given.gone.contains(&b.target));
            gone.map(|base| (base.target.clone(), step.target.clone())).collect()
        };
        running.flat_map(on).collect()
    }

    /// Why an overlay that is made from what it was made from stands on another base all the same.
    fn on_another(&self, record: &Record, base: &Step) -> Vec<String> {
        let now = self.given.contents.get(&base.target);
        let another = record.beneath.is_some_and(|was| now.is_some_and(|now| *now != was));
        let target = &base.target;
        if base.runs() && self.given.gone.contains(target) {
            vec![format!("{target} is made anew")]
        } else if !base.runs() && another {
            vec![format!("{target} is not the one that it was built on")]
        } else {
            Vec::new()
        }
    }

    /// Adds the step to `target`, and before it those it needs; returns its place.
    fn add(&mut self, target: &Target) -> Option<usize> {
        if let Some(place) = self.plan.place(target) {
            return Some(place);
        }
        if let Some(why) = self.given.missing.get(target) {
            self.leave_out(&target.to_string(), why);
            return None;
        }
        let (inputs, after) = match target {
            Target::Kernel => (self.kernel(), Vec::new()),
            Target::Ipxe => (self.packages(LOADERS), Vec::new()),
            Target::Modules(name) => {
                let mut inputs = self.kernel();
                inputs
                    .set_list("patterns", &Placed::values(&self.recipe.modules.get(name)?.include));
                (inputs, Vec::new())
            }
            Target::Initrd(name) => {
                let mut inputs = self.kernel();
                inputs
                    .set_list("patterns", &Placed::values(&self.recipe.initrds.get(name)?.modules));
                inputs.set(
                    "node program",
                    self.given.node.map(|n| n.to_string()).unwrap_or_default(),
                );
                inputs.set_list("trusted keys", &self.recipe.project.trust);
                (inputs, Vec::new())
            }
            Target::Firmware(name) => {
                let firmware = self.recipe.firmware.get(name)?;
                let mut inputs = self.packages(&target.to_string());
                // Which files are asked for, and by which cards, the drivers say.
                for package in self.lock.steps("kernel").concat().concat() {
                    let from = format!("modules of {}", package.name);
                    inputs.set(from, format!("{} {}", package.version, package.sha256));
                }
                inputs.set_list("patterns", &Placed::values(&firmware.modules));
                (inputs, Vec::new())
            }
            Target::Base(name) => {
                let mut inputs = self.tree_inputs(target, steps_of(self.recipe, target));
                inputs.set("compression", word(&self.recipe.bases.get(name)?.compression));
                (inputs, Vec::new())
            }
            Target::Overlay(name) => {
                let overlay = self.recipe.overlays.get(name)?;
                let base = self.add(&Target::Base(overlay.base.value.clone()))?;
                let mut inputs = self.tree_inputs(target, steps_of(self.recipe, target));
                inputs.set("compression", word(&overlay.compression));
                (inputs, vec![base])
            }
            Target::Set(name) => self.set(name)?,
        };
        let mut key = inputs.key();
        let have = self.given.have.get(target);
        let another = match (target, have, after.first()) {
            (Target::Overlay(_), Some(record), Some(base)) if record.key == key => {
                self.on_another(record, &self.plan.steps[*base])
            }
            _ => Vec::new(),
        };
        let record = have.filter(|record| record.key != key);
        let only_base_changed = !another.is_empty()
            || record.is_some_and(|r| only_base_differs(target, &r.inputs, &inputs));
        let kept = only_base_changed && self.given.kept.contains(target);
        let why = match self.given.have.get(target) {
            None => {
                let unusable = self.given.unusable.get(target).cloned();
                vec![unusable.unwrap_or_else(|| "not built yet".to_owned())]
            }
            // What is built with it is told from what is built with one that was made for this base.
            Some(record) if kept => {
                key = record.key;
                Vec::new()
            }
            Some(record) if record.key != key => differences(&record.inputs, inputs.map()),
            // A set names its parts by digest: a part that was lost and is made again may be another one.
            Some(_) if matches!(target, Target::Set(_)) => self.remade(&after),
            Some(_) => match self.again.get(target) {
                Some(overlay) => vec![format!(
                    "{overlay} is built on it, its tree is gone, and made again it may be another one"
                )],
                None => another,
            },
        };
        if !why.is_empty() && steps_of(self.recipe, target).iter().any(Provisioner::network) {
            self.plan.notes.push(format!(
                "{target} uses the network: what it fetches there is not in the lock, and the image is another one when that has changed"
            ));
        }
        let target = target.clone();
        self.plan.steps.push(Step { target, key, why, only_base_changed, kept, after, inputs });
        Some(self.plan.steps.len() - 1)
    }

    fn remade(&self, parts: &[usize]) -> Vec<String> {
        let parts = parts.iter().map(|place| &self.plan.steps[*place]);
        parts
            .filter(|part| part.runs())
            .map(|part| format!("{} is made anew", part.target))
            .collect()
    }

    fn kernel(&self) -> Inputs {
        self.packages("kernel")
    }

    fn packages(&self, target: &str) -> Inputs {
        let mut inputs = Inputs::default();
        inputs.set("maker", MAKER);
        inputs.set("epoch", self.lock.epoch_of(target));
        for package in self.lock.steps(target).concat().concat() {
            inputs.set(
                format!("package {}", package.name),
                format!("{} {}", package.version, package.sha256),
            );
        }
        inputs
    }

    /// What the tree of a base or overlay is made from, by these steps.
    fn tree_inputs(&self, target: &Target, steps: &[Provisioner]) -> Inputs {
        let mut inputs = self.packages(&target.to_string());
        match target {
            Target::Base(name) => {
                if let Some(base) = self.recipe.bases.get(name) {
                    inputs.set("variant", word(&base.variant));
                    inputs.set_digest("path filters", &(&base.path_exclude, &base.path_include));
                    // A base that starts from nothing has the sources that its steps bring.
                    if base.variant.has_packages() {
                        inputs.set_digest("stages", &self.lock.stages_of(&target.to_string()));
                        self.apt(&mut inputs);
                    }
                }
            }
            Target::Overlay(name) => {
                if let Some(overlay) = self.recipe.overlays.get(name) {
                    let base = Target::Base(overlay.base.value.clone());
                    let below = self.tree_inputs(&base, steps_of(self.recipe, &base));
                    inputs.set(base.to_string(), below.key());
                    inputs.set_digest(
                        "path filters",
                        &(&overlay.path_exclude, &overlay.path_include),
                    );
                }
            }
            _ => {}
        }
        if ansible::is_used(steps) {
            inputs.set_digest("python", &self.packages(ansible::PYTHON).map());
            // Where there is none, nothing speaks against what was made with one.
            let recorded = || self.given.have.get(target)?.inputs.get("ansible").cloned();
            let version = self.given.ansible.clone().or_else(recorded);
            inputs.set("ansible", version.unwrap_or_default());
        }
        // The order of packages is an input too: it is the order of unpacking.
        inputs.set_digest(
            "package order",
            &self.lock.images.get(&target.to_string()).map(|i| &i.steps),
        );
        let starts = starts_from_packages(self.recipe, target);
        for (at, step) in transactions(steps, starts).0.iter().enumerate() {
            let at = at + 1;
            match step {
                Transaction::Packages(_) => inputs.set(format!("step {at}"), "packages"),
                Transaction::Files(path) => {
                    inputs.set(format!("step {at} files {}", path.display()), self.source(path))
                }
                Transaction::Slots(slots) => {
                    for (name, to) in *slots {
                        let file = self.recipe.slots.get(name).map(|slot| self.source(&slot.file));
                        let step = format!("step {at} slot {name} at /{}", to.display());
                        inputs.set(step, file.unwrap_or_default());
                    }
                }
                Transaction::Script(script) => self.script(&mut inputs, at, "script", script),
                Transaction::HostScript(script) => {
                    self.script(&mut inputs, at, "host-script", script)
                }
                Transaction::Container(image) => {
                    let manifest = self.lock.manifest(image);
                    let manifest = manifest.map(|manifest| manifest.to_string());
                    inputs
                        .set(format!("step {at} container {image}"), manifest.unwrap_or_default());
                }
                Transaction::Modules(include, to) => {
                    let to = to.map(|to| format!(" to /{}", to.display())).unwrap_or_default();
                    inputs.set_list(format!("step {at} modules{to}"), &Placed::values(include));
                    for package in self.lock.steps("kernel").concat().concat() {
                        let from = format!("step {at} modules of {}", package.name);
                        inputs.set(from, format!("{} {}", package.version, package.sha256));
                    }
                }
                Transaction::Users(users) => inputs.set_digest(format!("step {at} users"), users),
                Transaction::Systemd(units) => {
                    inputs.set_digest(format!("step {at} systemd"), units)
                }
                Transaction::Ansible(ansible) => {
                    let path = ansible.play.path().display();
                    for read in &ansible.reads {
                        let name = format!("step {at} ansible {path} reads {}", read.display());
                        inputs.set(name, self.source(read));
                    }
                    inputs.set_digest(format!("step {at} ansible {path}"), ansible);
                }
            }
        }
        inputs
    }

    fn script(&self, inputs: &mut Inputs, at: usize, kind: &str, script: &Script) {
        inputs
            .set(format!("step {at} {kind} {}", script.path.display()), self.source(&script.path));
        for (name, value) in &script.env {
            // A variable may be called as the script is.
            inputs.set(format!("step {at} {kind} with {name}"), value);
        }
        if script.network {
            inputs.set(format!("step {at} {kind} {} network", script.path.display()), "yes");
        }
    }

    /// What the image's own apt is told.
    fn apt(&self, inputs: &mut Inputs) {
        inputs.set("apt sources", Digest::of(apt::apt_sources(self.recipe)));
        for (keys, _) in apt::image_keys(self.recipe) {
            inputs.set(format!("archive keys {}", keys.display()), self.source(keys));
        }
        let preferences = apt::apt_preferences(self.recipe, self.lock);
        if !preferences.is_empty() {
            inputs.set("apt preferences", Digest::of(preferences));
        }
    }

    fn source(&self, path: &std::path::Path) -> String {
        let digest = self.given.sources.get(&path.display().to_string());
        digest.map(ToString::to_string).unwrap_or_default()
    }

    /// A boot set: its parts and whoever signs it.
    fn set(&mut self, name: &str) -> Option<(Inputs, Vec<usize>)> {
        let set = self.recipe.sets.get(name)?;
        let Some(initrd) = set.initrd.clone() else {
            self.leave_out(&format!("set/{name}"), "the recipe has no [initrd.NAME]");
            return None;
        };
        let mut parts = vec![Target::Kernel, Target::Initrd(initrd)];
        parts.extend(set.firmware.clone().map(Target::Firmware));
        parts.extend(set.modules.clone().map(Target::Modules));
        parts.push(Target::Base(set.base.clone()));
        parts.extend(Placed::values(&set.overlays).into_iter().map(Target::Overlay));
        let Some(signer) = self.given.signer.clone() else {
            let why = "there is no private key here to sign it with (see `overboot init`)";
            self.leave_out(&format!("set/{name}"), why);
            return None;
        };
        let mut inputs = Inputs::default();
        inputs.set("maker", MAKER);
        inputs.set("command line", &self.recipe.kernel.cmdline);
        inputs.set("signer", signer);
        // Which of two overlays is above is no matter of their names.
        inputs.set_list("overlays", &Placed::values(&set.overlays));
        let mut after = Vec::new();
        for part in parts {
            let Some(place) = self.add(&part) else {
                self.leave_out(&format!("set/{name}"), &format!("{part} is left out"));
                return None;
            };
            inputs.set(part.to_string(), self.plan.steps[place].key);
            after.push(place);
        }
        Some((inputs, after))
    }

    fn leave_out(&mut self, target: &str, why: &str) {
        let line = format!("{target} is left out: {why}");
        if !self.plan.left_out.contains(&line) {
            self.plan.left_out.push(line);
        }
    }
}

/// Is an overlay made from what it was made from, but for its base? With a new base comes a new lock and with that a new time,
/// which is only the highest that its files may have.
fn only_base_differs(target: &Target, before: &BTreeMap<String, String>, now: &Inputs) -> bool {
    let own = |inputs: &BTreeMap<String, String>| -> BTreeMap<String, String> {
        let theirs = |name: &str| name == "epoch" || name.starts_with("base/");
        inputs
            .iter()
            .filter(|(name, _)| !theirs(name))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect()
    };
    matches!(target, Target::Overlay(_)) && own(before) == own(now.map())
}

fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod reasons;
#[cfg(test)]
mod tests;

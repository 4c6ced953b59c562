//! How each kind of target is made.
//!
//! - [`kernel`]: kernel, modules, initrd, boot loaders: from a package's files alone; [`firmware`]: what cards need besides.
//! - [`tree`]: the root trees that images are packed from; [`whole`]: whether one is all there.
//! - [`provision`]: the recipe's steps on them; [`ansible`]: roles and playbooks.
//! - [`image`]: a tree into a base or an overlay.
//! - [`set`]: the signed boot set.
//! - [`artifact`]: an image and its record into the store.
//! - [`contents`]: what is in it.

mod ansible;
mod artifact;
mod contents;
mod firmware;
mod image;
mod kernel;
mod needs;
mod provision;
mod set;
mod tree;
mod whole;

use overboot_recipe::{Provisioner, Recipe};

use crate::ansible::{PYTHON, is_used};
use crate::error::Error;
use crate::execute::Context;
use crate::lock::LOADERS;
use crate::plan::{Step, Target, steps_of};

pub(crate) use artifact::{contents_digest, record, why_unusable};
pub(crate) use tree::{discard as discard_tree, is_packed, sweep as sweep_trees};
pub(crate) use whole::Settling;

/// Makes what the step is for; returns its size.
pub(crate) fn run(context: &Context<'_>, step: &Step) -> Result<u64, Error> {
    match &step.target {
        Target::Kernel => kernel::kernel(context, step),
        Target::Ipxe => kernel::loaders(context, step),
        Target::Modules(name) => kernel::modules(context, step, name),
        Target::Initrd(name) => kernel::initrd(context, step, name),
        Target::Firmware(name) => firmware::firmware(context, step, name),
        Target::Base(name) => image::base(context, step, name),
        Target::Overlay(name) => image::overlay(context, step, name),
        Target::Set(name) => set::set(context, step, name),
    }
}

/// The images of the lock whose packages a step reads: those of a base not where its tree is there.
pub(crate) fn reads(context: &Context<'_>, target: &Target) -> Vec<String> {
    match target {
        Target::Kernel | Target::Modules(_) | Target::Initrd(_) => vec!["kernel".to_owned()],
        Target::Firmware(_) => vec!["kernel".to_owned(), target.to_string()],
        Target::Ipxe => vec![LOADERS.to_owned()],
        Target::Base(_) | Target::Overlay(_) => {
            let carried_out = provisions(context, target);
            // Also where a base's tree is there, since what is in it tells whose the modules are.
            let mut steps = carried_out.iter().map(|(_, steps)| *steps);
            let modules = steps.any(has_modules) || has_modules(steps_of(context.recipe, target));
            let mut images: Vec<String> =
                carried_out.iter().map(|(image, _)| image.to_string()).collect();
            images.extend(modules.then(|| "kernel".to_owned()));
            let python = carried_out.iter().any(|(_, steps)| is_used(steps));
            images.extend((python && !ansible::has_python(context)).then(|| PYTHON.to_owned()));
            images
        }
        Target::Set(_) => Vec::new(),
    }
}

fn has_modules(steps: &[Provisioner]) -> bool {
    steps.iter().any(|step| matches!(step, Provisioner::Modules { .. }))
}

/// The bases and overlays whose steps are carried out for a target: those of a base not where its tree is there.
pub(crate) fn provisions<'c>(
    context: &Context<'c>,
    target: &Target,
) -> Vec<(Target, &'c [Provisioner])> {
    let recipe: &'c Recipe = context.recipe;
    let below =
        |name: &str| (!tree::has_base(context, name)).then(|| Target::Base(name.to_owned()));
    let carried_out: Vec<Target> = match target {
        Target::Base(name) => below(name).into_iter().collect(),
        Target::Overlay(name) => {
            let overlay = recipe.overlays.get(name);
            let base = overlay.and_then(|overlay| below(&overlay.base));
            base.into_iter().chain([target.clone()]).collect()
        }
        _ => Vec::new(),
    };
    carried_out.into_iter().map(|target| (target.clone(), steps_of(recipe, &target))).collect()
}

//! How each kind of target is made.
//!
//! - [`kernel`]: kernel, modules, initrd, boot loaders: from a package's files alone.
//! - [`tree`]: the root trees that images are packed from.
//! - [`image`]: a tree into a base or an overlay.
//! - [`set`]: the signed boot set.
//! - [`artifact`]: an image and its record into the store.
//! - [`contents`]: what is in it.

mod artifact;
mod contents;
mod image;
mod kernel;
mod set;
mod tree;

use crate::error::Error;
use crate::execute::Context;
use crate::lock::LOADERS;
use crate::plan::{Step, Target};

pub(crate) use artifact::{record, why_unusable};
pub(crate) use tree::sweep as sweep_trees;

/// Makes what the step is for; returns its size.
pub(crate) fn run(context: &Context<'_>, step: &Step) -> Result<u64, Error> {
    match &step.target {
        Target::Kernel => kernel::kernel(context, step),
        Target::Ipxe => kernel::loaders(context, step),
        Target::Modules(name) => kernel::modules(context, step, name),
        Target::Initrd(name) => kernel::initrd(context, step, name),
        Target::Base(name) => image::base(context, step, name),
        Target::Overlay(name) => image::overlay(context, step, name),
        Target::Set(name) => set::set(context, step, name),
    }
}

/// The images of the lock whose packages a step reads: those of a base not where its tree is there.
pub(crate) fn reads(context: &Context<'_>, target: &Target) -> Vec<String> {
    let base = |name: &str| (!tree::has_base(context, name)).then(|| format!("base/{name}"));
    match target {
        Target::Kernel | Target::Modules(_) | Target::Initrd(_) => vec!["kernel".to_owned()],
        Target::Ipxe => vec![LOADERS.to_owned()],
        Target::Base(name) => base(name).into_iter().collect(),
        Target::Overlay(name) => {
            let below = context.recipe.overlays.get(name).and_then(|overlay| base(&overlay.base));
            below.into_iter().chain([target.to_string()]).collect()
        }
        Target::Set(_) => Vec::new(),
    }
}

//! `overboot pull`: images from an OCI registry into the store.

use std::process::ExitCode;

use anyhow::Result;
use overboot_bootset::PublicKey;
use overboot_build::Target;
use overboot_registry::{Access, Address, Event, Pull, Repository};

use super::project;
use super::registry::{RegistryArgs, repository};
use crate::Global;
use crate::printer::Printer;

/// Pull images from an OCI registry into the store
///
/// A boot set brings all that it names. It is accepted when a key of the recipe (`trust`) has signed it; a registry or mirror need not
/// be trusted. What was pulled can be served, tried and exported; `overboot build` makes images of its own.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where from; with a PREFIX, of tags that begin with it
    #[arg(value_name = "REGISTRY/REPOSITORY[:PREFIX]", value_parser = repository)]
    repository: Address,
    /// What to pull; otherwise all boot sets
    targets: Vec<Target>,
    /// Take also images that nobody has signed: those that no boot set brings
    #[arg(long)]
    unsigned: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(crate) fn run(global: &Global, args: &Args, printer: &Printer) -> Result<ExitCode> {
    let (project, recipe) = project::open(global)?;
    let keys: Result<Vec<_>, _> =
        recipe.project.trust.iter().map(|key| PublicKey::parse(key)).collect();
    let keys = keys?;
    let options = args.registry.online(global)?;
    let repository = Repository::open(&args.repository, Access::Pull, &options)?;
    // What was fetched has no name until all of it is there: nobody may collect it meanwhile.
    let _occupied = project.occupy()?;
    let store = project.store()?;
    let pull = Pull {
        repository: &repository,
        store: &store,
        prefix: args.repository.tag.as_deref(),
        keys: &keys,
        unsigned: args.unsigned,
        tell: &|event| {
            printer.transfer(&event);
            if let Event::Pulled { target, digest, .. } = event {
                printer.result(format!("{target:<24} {digest}"));
            }
        },
    };
    let targets: Vec<_> = args.targets.iter().map(ToString::to_string).collect();
    overboot_registry::pull(&pull, &targets)?;
    Ok(ExitCode::SUCCESS)
}

//! `overboot push`: images of the store into an OCI registry.

use std::process::ExitCode;

use anyhow::Result;
use overboot_build::Target;
use overboot_registry::{Access, Address, Event, Push, Repository};

use super::project;
use super::registry::{RegistryArgs, repository};
use crate::Global;
use crate::printer::Printer;

/// Push images of the store to an OCI registry
///
/// base/base gets the tag base-base. A boot set brings all that it names along under its one tag, so that any tool can mirror it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to push; otherwise all that is in the store
    targets: Vec<Target>,
    /// Where to; with a PREFIX, tags begin with it: v1-base-base
    #[arg(value_name = "REGISTRY/REPOSITORY[:PREFIX]", required = true, value_parser = repository)]
    repository: Address,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(crate) fn run(global: &Global, args: &Args, printer: &Printer) -> Result<ExitCode> {
    let (project, _) = project::open(global)?;
    let store = project::store(&project)?;
    let options = args.registry.online(global)?;
    let name = args.repository.name();
    let repository = Repository::open(&args.repository, Access::Push, &options)?;
    let push = Push {
        store: &store,
        repository: &repository,
        prefix: args.repository.tag.as_deref(),
        tell: &|event| {
            printer.transfer(&event);
            if let Event::Pushed { tag, digest, .. } = event {
                printer.result(format!("{name}:{tag}  {digest}"));
            }
        },
    };
    let targets: Vec<_> = args.targets.iter().map(ToString::to_string).collect();
    overboot_registry::push(&push, &targets)?;
    Ok(ExitCode::SUCCESS)
}

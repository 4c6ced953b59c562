//! `overboot publish` and `overboot rollback`: which boot sets nodes get.

use std::process::ExitCode;

use anyhow::Result;
use overboot_store::{Generation, Store};

use super::project;
use crate::Global;
use crate::printer::Printer;
use crate::told::told;

/// Have nodes boot what was built last: a new generation of boot sets
///
/// Until a set is published for the first time, nodes get it as soon as it is built. From then on they get what was published, and
/// what is built waits. `overboot rollback` goes back to an earlier generation.
#[derive(Debug, clap::Args)]
pub(crate) struct PublishArgs {
    /// The boot sets; otherwise all that the store has
    #[arg(value_name = "SET")]
    sets: Vec<String>,
    /// Only list what was published
    #[arg(long, conflicts_with = "sets")]
    list: bool,
}

/// Have nodes boot an earlier generation of a boot set again
#[derive(Debug, clap::Args)]
pub(crate) struct RollbackArgs {
    /// The boot set; may be left out where only one was published
    #[arg(value_name = "SET")]
    set: Option<String>,
    /// The generation; otherwise the one whose number comes before what is served
    #[arg(long, value_name = "NUMBER")]
    to: Option<u64>,
}

pub(crate) fn publish(global: &Global, args: &PublishArgs, printer: &Printer) -> Result<ExitCode> {
    let (project, recipe) = project::open(global)?;
    let store = project::store(&project)?;
    if args.list {
        for generation in store.generations()? {
            tell(&store, &generation, printer)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut sets: Vec<String> = args.sets.iter().map(|set| plain(set)).collect();
    if sets.is_empty() {
        let built = store.targets()?;
        sets = built.iter().filter_map(|t| t.strip_prefix("set/")).map(str::to_owned).collect();
    }
    if sets.is_empty() {
        return Err(told("there is no boot set yet", "run `overboot build`"));
    }
    // The project is kept: what is read here must not be built anew or collected meanwhile.
    let _occupied = project.occupy()?;
    for generation in overboot_build::publish(&store, &recipe, &sets)? {
        tell(&store, &generation, printer)?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn rollback(
    global: &Global,
    args: &RollbackArgs,
    printer: &Printer,
) -> Result<ExitCode> {
    let (project, _) = project::open(global)?;
    let store = project::store(&project)?;
    let mut known: Vec<String> = store.generations()?.into_iter().map(|one| one.set).collect();
    known.dedup();
    let set = match (&args.set, known.as_slice()) {
        (Some(set), _) => plain(set),
        (None, [only]) => only.clone(),
        (None, []) => {
            return Err(told("nothing was published yet", "publish with `overboot publish`"));
        }
        (None, all) => {
            let message = format!("which boot set? Published are: {}", all.join(", "));
            return Err(told(message, format!("name one: `overboot rollback {}`", all[0])));
        }
    };
    // Nobody collects meanwhile what is about to be served.
    let _occupied = project.occupy()?;
    let generation = store.roll_back(&set, args.to)?;
    tell(&store, &generation, printer)?;
    Ok(ExitCode::SUCCESS)
}

/// `set/discovery` is the set `discovery`.
fn plain(set: &str) -> String {
    set.strip_prefix("set/").unwrap_or(set).to_owned()
}

fn tell(store: &Store, generation: &Generation, printer: &Printer) -> Result<()> {
    let Generation { set, number, served } = generation;
    let Some(artifact) = store.get(&generation.target())? else { return Ok(()) };
    let digest = artifact.layer().digest;
    printer.json(&serde_json::json!({
        "event": "generation", "set": set, "number": number, "served": served, "digest": digest,
    }));
    let served = if *served { "served" } else { "" };
    printer.result(format!("{set:<24} generation {number:<4} {:<14} {served}", digest.short()));
    Ok(())
}

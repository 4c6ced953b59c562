//! `overboot publish` and `overboot rollback`: which boot sets nodes get.

use std::process::ExitCode;

use anyhow::Result;
use overboot_recipe::Recipe;
use overboot_store::{Generation, Store};

use super::project;
use crate::Global;
use crate::printer::Printer;
use crate::told::told;

/// Have nodes boot what was built last: a new generation of boot sets
///
/// Until a set is published for the first time, nodes get it as soon as it is built. From then on they get what was published, and
/// what is built waits. `overboot rollback` goes back to an earlier generation; what was rolled back is not published again unless
/// its set is named.
#[derive(Debug, clap::Args)]
pub(crate) struct PublishArgs {
    /// The boot sets; otherwise all that the store has
    #[arg(value_name = "SET")]
    sets: Vec<String>,
    /// Only list what was published
    #[arg(long, conflicts_with = "sets")]
    list: bool,
    /// Take all generations of these sets away; with the next `overboot gc` goes what they are made of
    ///
    /// Nodes get such a set no more; one that the recipe still has they get as it is built, as before it was published. Where that
    /// is what was rolled back, it is refused.
    #[arg(long, requires = "sets")]
    retire: bool,
}

/// Have nodes boot an earlier generation of a boot set again
///
/// What is gone back from is bad from then on: a later rollback does not lead to it, unless it is named by --to.
#[derive(Debug, clap::Args)]
pub(crate) struct RollbackArgs {
    /// The boot set; may be left out where only one was published
    #[arg(value_name = "SET")]
    set: Option<String>,
    /// The generation; otherwise the last one published before what is served, and not rolled back from itself
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
    // What is read here must not be built anew or collected meanwhile.
    let _occupied = project.occupy()?;
    let named: Vec<String> = args.sets.iter().map(|set| plain(set)).collect();
    if args.retire {
        return retire(&store, &recipe, &named, printer);
    }
    let sets = if named.is_empty() { all(&store, printer)? } else { named };
    for generation in overboot_build::publish(&store, &recipe, &sets)? {
        tell(&store, &generation, printer)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// All sets that were built, but for those of which that is what was rolled back.
fn all(store: &Store, printer: &Printer) -> Result<Vec<String>> {
    let built = store.targets()?;
    let built: Vec<&str> = built.iter().filter_map(|target| target.strip_prefix("set/")).collect();
    if built.is_empty() {
        return Err(told("there is no boot set yet", "run `overboot build`"));
    }
    let mut sets = Vec::new();
    for set in built {
        match store.rolled_back(set)? {
            Some(Generation { number, .. }) => printer.note(format!(
                "What is built of {set} is generation {number}, which was rolled back: it is not published. `overboot publish {set}` publishes it all the same."
            )),
            None => sets.push(set.to_owned()),
        }
    }
    Ok(sets)
}

fn retire(store: &Store, recipe: &Recipe, sets: &[String], printer: &Printer) -> Result<ExitCode> {
    // All of them, before the first is taken away.
    for set in sets.iter().filter(|set| recipe.sets.contains_key(*set)) {
        if let Some(Generation { number, .. }) = store.rolled_back(set)? {
            return Err(told(
                format!(
                    "{set} is not retired: nodes would get it as it is built, and that is generation {number}, which was rolled back"
                ),
                "build another first, or take it out of the recipe",
            ));
        }
    }
    for set in sets {
        let wanted = recipe.sets.contains_key(set);
        let count = store.retire(set, !wanted)?.len();
        printer.json(&serde_json::json!({
            "event": "retired", "set": set, "generations": count, "built": wanted,
        }));
        let then = if wanted { "nodes get it as it is built" } else { "nodes get it no more" };
        printer.result(format!("{set:<24} retired, {count} generations; {then}"));
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
    let Generation { set, number, served, bad } = generation;
    let Some(artifact) = store.get(&generation.target())? else { return Ok(()) };
    let digest = artifact.layer().digest;
    printer.json(&serde_json::json!({
        "event": "generation", "set": set, "number": number, "served": served, "bad": bad,
        "digest": digest,
    }));
    let state = match (served, bad) {
        (true, _) => "served",
        (false, true) => "rolled back",
        (false, false) => "",
    };
    printer.result(format!("{set:<24} generation {number:<4} {:<14} {state}", digest.short()));
    Ok(())
}

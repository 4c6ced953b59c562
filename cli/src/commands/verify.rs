//! `overboot verify`: is everything in the store what it says it is, and what the recipe makes?

use std::process::ExitCode;

use anyhow::Result;
use overboot_build::{Goal, Target, execute};
use overboot_inspect::{Equality, Image, Reference, Which, equality};
use overboot_recipe::Lock;

use super::{diff, project};
use crate::Global;
use crate::printer::Printer;
use crate::told::told;

/// How many files are named where an image came out otherwise.
const SOME: usize = 20;

/// Check all digests and signatures; move aside what is damaged
///
/// What was moved into store/damaged is made again by the next `overboot build`, as far as recipe and lock still mean it. An earlier
/// generation is not made again: one that lost something is told, and no rollback leads to it where machines would miss that.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these, as with inspect: set/discovery@3 is generation 3 with all that it names. Otherwise all that is in the store
    #[arg(value_name = "REF")]
    references: Vec<Reference>,
    /// Build it anew, apart from all that was built before, and compare bit for bit
    #[arg(long)]
    rebuild: bool,
}

impl Args {
    pub(crate) fn makes_trees(&self) -> bool {
        self.rebuild
    }
}

pub(crate) fn run(global: &Global, args: &Args, printer: &Printer) -> Result<ExitCode> {
    match (args.rebuild, args.references.as_slice()) {
        (true, references) => rebuild(global, references, printer),
        (false, []) => whole(global, printer),
        (false, references) => some(global, references, printer),
    }
}

/// Reads what these are made of.
fn some(global: &Global, references: &[Reference], printer: &Printer) -> Result<ExitCode> {
    let (project, recipe) = project::open(global)?;
    let store = project::store(&project)?;
    let mut problems = Vec::new();
    for reference in references {
        let image = Image::open(&store, reference)?;
        let found = overboot_build::verify::one(&store, &recipe, &image.artifact);
        problems.extend(found.into_iter().map(|problem| format!("{reference}: {problem}")));
    }
    let said: Vec<_> = problems.iter().map(|one| serde_json::json!({"problem": one})).collect();
    printer.json(&serde_json::json!({
        "event": "verified", "artifacts": references.len(), "problems": said,
    }));
    for problem in &problems {
        printer.result(problem);
    }
    if problems.is_empty() {
        printer.result(format!("{} artifacts, all as they should be.", references.len()));
        return Ok(ExitCode::SUCCESS);
    }
    printer.result("  help: `overboot verify` moves aside what is damaged");
    Ok(ExitCode::FAILURE)
}

fn whole(global: &Global, printer: &Printer) -> Result<ExitCode> {
    let (project, recipe) = project::open(global)?;
    let store = project::store(&project)?;
    let verified = overboot_build::verify(&project, &recipe, &store)?;
    let problems: Vec<_> = verified
        .findings
        .iter()
        .map(|found| serde_json::json!({"problem": found.problem, "movedTo": found.moved_to}))
        .collect();
    printer.json(&serde_json::json!({
        "event": "verified", "artifacts": verified.artifacts, "problems": problems,
    }));
    for found in &verified.findings {
        printer.result(&found.problem);
        if let Some(aside) = &found.moved_to {
            printer.result(format!("  moved to {}", aside.display()));
        }
    }
    if verified.findings.is_empty() {
        printer.result(format!("{} artifacts, all as they should be.", verified.artifacts));
        return Ok(ExitCode::SUCCESS);
    }
    printer
        .result("  help: `overboot build` makes anew what is missing, but for earlier generations");
    Ok(ExitCode::FAILURE)
}

fn rebuild(global: &Global, references: &[Reference], printer: &Printer) -> Result<ExitCode> {
    let (project, recipe) = project::open(global)?;
    let store = project::store(&project)?;
    let mut targets = Vec::new();
    for reference in references {
        if reference.which != Which::Newest {
            return Err(told(
                format!("{reference} cannot be made again: recipe and lock say what is newest"),
                format!("write {}, with the recipe and lock of that time", reference.target),
            ));
        }
        targets.push(reference.target.parse::<Target>().map_err(anyhow::Error::msg)?);
    }
    if targets.is_empty() {
        let there = store.targets()?;
        let known = overboot_build::plan::targets(&recipe);
        targets = known.into_iter().filter(|target| there.contains(&target.to_string())).collect();
    }
    let reference = |target: &Target| Reference::newest(&target.to_string());
    // Before anything is built: what is asked for must be there.
    for target in &targets {
        overboot_build::plan::known(&recipe, target)?;
        Image::open(&store, &reference(target))?;
    }
    let lock = match Lock::load(project.folder())? {
        Some(lock) if overboot_build::lock::is_current(&project, &recipe, &lock)? => Some(lock),
        _ => None,
    };
    let Some(lock) = lock else {
        return Err(told(
            "overboot.lock is not what the recipe asks for, so there is nothing to compare with",
            "put back the recipe and the lock that the images were made from, or run `overboot build`",
        ));
    };
    let apart = project.apart()?;
    let goal = Goal { targets: &targets, ..Goal::default() };
    let tell_of = |event| printer.build(event);
    let occupied = apart.project().occupy()?;
    let made = execute(&occupied, &recipe, &lock, project::NODE, goal, &tell_of)?;
    let anew = project::store(apart.project())?;
    let mut found = Vec::new();
    for (target, _) in &made.built {
        if store.get(&target.to_string())?.is_none() {
            continue;
        }
        let [was, is] = [&store, &anew].map(|store| Image::open(store, &reference(target)));
        found.push(equality(&was?, &is?)?);
    }
    found.sort_by(|a, b| a.target.cmp(&b.target));
    for equality in &found {
        tell(equality, printer);
    }
    let same = found.iter().all(|equality| equality.same);
    printer.json(&serde_json::json!({"event": "rebuilt", "same": same, "images": found}));
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(equality: &Equality, printer: &Printer) {
    let verdict = if equality.same { "the same, bit for bit" } else { "NOT the same" };
    printer.result(format!("{:<24} {verdict}", equality.target));
    for why in &equality.why {
        printer.result(format!("  {why}"));
    }
    for difference in equality.differences.iter().filter(|difference| !difference.is_empty()) {
        diff::show(difference, SOME, printer);
    }
}

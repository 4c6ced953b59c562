//! `overboot init`: a commented project that builds as it is.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use overboot_build::signing::{self, Signer};
use overboot_recipe::{Recipe, project};

use super::aside;
use crate::Global;
use crate::printer::Printer;
use crate::told::told;

/// Write a new project: a recipe that builds as it is, and its keys
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder, which is made where it is missing; otherwise this one
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Another image that ships: base-full, secure-erase, raid, dell-raid, intel-flash, quanta-flash, or all
    #[arg(long, value_name = "IMAGE", value_parser = extra)]
    with: Vec<Extras>,
}

/// What one `--with` asks for.
type Extras = Vec<&'static project::Extra>;

fn extra(name: &str) -> Result<Extras, String> {
    let found: Extras =
        project::EXTRAS.iter().filter(|extra| name == "all" || extra.name == name).collect();
    let names = || project::EXTRAS.iter().map(|extra| extra.name).collect::<Vec<_>>().join(", ");
    if found.is_empty() { Err(format!("it is one of {}, all", names())) } else { Ok(found) }
}

pub(crate) fn run(global: &Global, args: &Args, printer: &Printer) -> Result<ExitCode> {
    // As with `git -C`: the one folder is seen from the other.
    let folder = match (&global.project, &args.folder) {
        (Some(project), Some(folder)) => project.join(folder),
        (Some(folder), None) | (None, Some(folder)) => folder.clone(),
        (None, None) => PathBuf::from("."),
    };
    if folder.join(Recipe::FILE).exists() {
        return Err(told(
            format!("{} is there already: this is a project", folder.join(Recipe::FILE).display()),
            "name another folder, or edit what is there",
        ));
    }
    fs_err::create_dir_all(&folder)?;
    let name = name(&folder)?;
    let key = signing::path(&folder);
    let before = Signer::load(&key)?;
    let mut extras: Extras = args.with.concat();
    let mut seen = std::collections::BTreeSet::new();
    extras.retain(|extra| seen.insert(extra.name));
    let contents = |file: &project::ProjectFile, key: &str| {
        let text = file.contents.replace("@NAME@", &name).replace("@KEY@", key);
        let more = extras.iter().map(|extra| extra.recipe).filter(|_| file.path == Recipe::FILE);
        more.fold(text, |text, more| text + more)
    };
    // The recipe comes last.
    let files: Vec<&project::ProjectFile> =
        extras.iter().flat_map(|extra| extra.files).chain(project::FILES).collect();
    // Files of somebody else are not written over. Those of an `init` that was interrupted are the same.
    for file in &files {
        let path = folder.join(file.path);
        let ours = contents(file, "");
        if path.exists() && fs_err::read(&path)? != ours.as_bytes() {
            return Err(told(
                format!("{} is there already", path.display()),
                "name another folder, or move that file out of the way",
            ));
        }
    }
    let signer = match before {
        Some(signer) => signer,
        None => Signer::create(&key)?,
    };
    for file in &files {
        let path = folder.join(file.path);
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent)?;
        }
        // One that is there is the same, see above.
        if !path.exists() {
            aside::create(&path, file.mode, contents(file, &signer.public()).as_bytes())?;
        }
    }
    printer.json(&serde_json::json!({
        "event": "initialised", "project": folder, "name": name, "key": signer.public(),
    }));
    let enter = match args.folder.as_ref().or(global.project.as_ref()) {
        Some(_) => format!("  cd {}\n", folder.display()),
        None => String::new(),
    };
    printer.result(format!(
        "{} is a project now. Its recipe is overboot.toml.\nIts private key, {}, stays with you.\n\n{enter}  overboot build\n  overboot try discovery",
        if folder == Path::new(".") { "This folder".into() } else { folder.to_string_lossy() },
        key.strip_prefix(&folder).unwrap_or(&key).display(),
    ));
    Ok(ExitCode::SUCCESS)
}

/// The folder's name, as far as it can be the name of a project.
fn name(folder: &Path) -> Result<String> {
    let full = fs_err::canonicalize(folder).context("find the new project")?;
    let name =
        full.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .take(64)
        .collect();
    let name = name.trim_matches('-');
    Ok(if name.is_empty() { "images".to_owned() } else { name.to_owned() })
}

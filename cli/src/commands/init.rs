//! `overboot init`: a commented project that builds as it is.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use overboot_build::signing::{self, Signer};
use overboot_recipe::{Recipe, project};

use crate::printer::Printer;

/// Write a commented project: a recipe that builds as it is, and the keys that sign what it boots.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder, which is made where it is missing.
    #[arg(default_value = ".")]
    folder: PathBuf,
}

pub(crate) fn run(args: &Args, printer: &Printer) -> Result<ExitCode> {
    let folder = &args.folder;
    if folder.join(Recipe::FILE).exists() {
        bail!(
            "{} is there already\n  help: name another folder, or edit what is there",
            folder.join(Recipe::FILE).display()
        );
    }
    fs_err::create_dir_all(folder)?;
    let name = name(folder)?;
    let key = signing::path(folder);
    let signer = match Signer::load(&key)? {
        Some(signer) => signer,
        None => Signer::create(&key)?,
    };
    for file in project::FILES {
        let path = folder.join(file.path);
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent)?;
        }
        let contents = file.contents.replace("@NAME@", &name).replace("@KEY@", &signer.public());
        let aside = path.with_extension("new");
        fs_err::write(&aside, contents)?;
        fs_err::set_permissions(&aside, std::fs::Permissions::from_mode(file.mode))?;
        fs_err::rename(&aside, &path)?;
    }
    printer.json(&serde_json::json!({"project": folder, "name": name, "key": signer.public()}));
    printer.result(format!(
        "{} is a project now. Its recipe is overboot.toml; its private key, {}, stays with you.\n\n  cd {}\n  overboot build\n  overboot try discovery",
        folder.display(),
        key.display(),
        folder.display()
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

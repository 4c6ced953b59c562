//! `overboot export`: an artifact as a plain file, for any boot server.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use overboot_build::Target;
use overboot_recipe::Recipe;
use overboot_store::{Artifact, Store};

use super::{aside, project};
use crate::Global;
use crate::printer::{Printer, size};
use crate::told::told;

/// Write an artifact of the store as a plain file, for any boot server
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// kernel, modules/NAME, initrd/NAME, firmware/NAME, base/NAME, overlay/NAME or set/NAME; ipxe gives a folder of loaders.
    target: Target,
    /// The file; otherwise one named after the target, in this folder. An overlay whose file ends in `.cpio.gz` is written in
    /// on-imagebuilder's form.
    file: Option<PathBuf>,
}

pub(crate) fn run(global: &Global, args: &Args, printer: &Printer) -> Result<ExitCode> {
    let target = args.target.clone();
    let (project, recipe) = project::open(global)?;
    let store = project::store(&project)?;
    let Some(artifact) = store.get(&target.to_string())? else {
        overboot_build::plan::known(&recipe, &target)?;
        return Err(told(
            format!("{target} is not in the store"),
            format!("run `overboot build {target}`"),
        ));
    };
    let file = args.file.clone().unwrap_or_else(|| PathBuf::from(default_name(&target)));
    if target == Target::Ipxe {
        return loaders(&store, &artifact, &file, printer);
    }
    if let Target::Overlay(name) = &target
        && file.to_string_lossy().ends_with(".cpio.gz")
    {
        return cpio_gz(&store, &recipe, name, &file, printer);
    }
    write(&store, &artifact, 0, &file, printer)?;
    if matches!(target, Target::Set(_)) {
        let mut signature = file.into_os_string();
        signature.push(".minisig");
        write(&store, &artifact, 1, Path::new(&signature), printer)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The names that on-imagebuilder and boot servers are used to.
fn default_name(target: &Target) -> String {
    match target {
        Target::Kernel => "vmlinuz".to_owned(),
        Target::Ipxe => "ipxe".to_owned(),
        Target::Modules(name) => format!("{name}.modules.squashfs"),
        Target::Initrd(name) if name == "default" => "initrd.img".to_owned(),
        Target::Initrd(name) => format!("{name}.initrd.img"),
        Target::Firmware(name) if name == "default" => "firmware.img".to_owned(),
        Target::Firmware(name) => format!("{name}.firmware.img"),
        Target::Base(name) => format!("{name}.squashfs"),
        Target::Overlay(name) => format!("{name}.overlay.squashfs"),
        Target::Set(name) => format!("{name}.json"),
    }
}

fn loaders(
    store: &Store,
    artifact: &Artifact,
    folder: &Path,
    printer: &Printer,
) -> Result<ExitCode> {
    fs_err::create_dir_all(folder)?;
    for (at, layer) in artifact.manifest.layers.iter().enumerate() {
        // What has no name is what is kept of them.
        let Some(name) = layer.annotations.get("org.opencontainers.image.title") else { continue };
        anyhow::ensure!(!name.contains('/'), "a loader's name has a slash: {name}");
        write(store, artifact, at, &folder.join(name), printer)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn cpio_gz(
    store: &Store,
    recipe: &Recipe,
    name: &str,
    file: &Path,
    printer: &Printer,
) -> Result<ExitCode> {
    let mut lost = Vec::new();
    let bytes = aside::write(file, |out| {
        lost = overboot_build::export::overlay_cpio_gz(store, recipe, name, &mut *out)?;
        Ok(())
    })?;
    if !lost.is_empty() {
        let lost = lost.join(", ");
        printer.note(format!(
            "cpio has no capabilities: only overboot's own init gives {lost} theirs back."
        ));
    }
    printer.json(&serde_json::json!({"event": "exported", "file": file, "size": bytes, "lost_capabilities": lost}));
    printer.result(format!("{}  {}", file.display(), size(bytes)));
    Ok(ExitCode::SUCCESS)
}

fn write(
    store: &Store,
    artifact: &Artifact,
    layer: usize,
    file: &Path,
    printer: &Printer,
) -> Result<()> {
    let layer = artifact.manifest.layers.get(layer).context("the artifact lacks a part")?;
    // What is told of the file is what is in it.
    aside::write(file, |out| {
        Ok(store.copy_blob(&artifact.target, layer.descriptor(), file, out)?)
    })?;
    printer.json(&serde_json::json!({"event": "exported", "file": file, "size": layer.size, "digest": layer.digest}));
    printer.result(format!("{}  {}  {}", file.display(), size(layer.size), layer.digest));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use overboot_store::{ArtifactManifest, Layer};

    #[test]
    fn what_is_damaged_is_not_exported() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(folder.path().join("store")).unwrap();
        let layer = Layer::new("x/y", store.put_bytes(b"content").unwrap());
        let artifact = store.publish("base/base", &ArtifactManifest::new("x/z", layer)).unwrap();
        let printer = Printer::new(false);
        let file = folder.path().join("base.squashfs");
        write(&store, &artifact, 0, &file, &printer).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"content");

        std::fs::write(store.blob_path(&artifact.layer().digest), b"cOntent").unwrap();
        let error = write(&store, &artifact, 0, &file, &printer).unwrap_err();
        assert!(error.to_string().starts_with("base/base needs "), "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), b"content", "what was there stays");
        let files = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, 2, "nothing else is left");
    }
}

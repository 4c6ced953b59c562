//! `info/`: a package's control files and its list of paths.

use overboot_debian::deb::ControlFiles;
use overboot_debian::deb822::Stanza;

use super::FOLDER;
use crate::error::Error;
use crate::filters::Filters;
use crate::root::Root;

/// The name that a package's files in `info/` begin with: with the architecture where several may be installed together.
pub(crate) fn stem(control: &Stanza<'_>) -> String {
    let name = control.get("Package").unwrap_or_default();
    match (control.get("Multi-Arch"), control.get("Architecture")) {
        (Some("same"), Some(architecture)) => format!("{name}:{architecture}"),
        _ => name.to_owned(),
    }
}

/// Writes the control files, all but `control` itself, whose fields are in `status`.
pub(crate) fn write_control(
    root: &Root,
    stem: &str,
    control: &ControlFiles,
    filters: &Filters,
) -> Result<(), Error> {
    for (name, file) in control.0.iter().filter(|(name, _)| *name != "control") {
        let path = format!("{FOLDER}/info/{stem}.{name}");
        if name == "md5sums" && !filters.is_empty() {
            // What is left out of the tree is left out of the sums: see `unpack`.
            root.write(path, file.mode, kept_sums(&file.bytes, filters).as_bytes())?;
        } else {
            root.write(path, file.mode, &file.bytes)?;
        }
    }
    Ok(())
}

/// The lines (deb-md5sums(5): sum, two spaces, path without a leading `/`) of the files that are not left out.
fn kept_sums(bytes: &[u8], filters: &Filters) -> String {
    let text = String::from_utf8_lossy(bytes);
    let kept = |line: &&str| {
        line.split_once("  ").is_none_or(|(_, path)| !filters.skips(&format!("/{path}"), false))
    };
    text.lines().filter(kept).map(|line| format!("{line}\n")).collect()
}

/// Writes the list of paths, each with a leading `/`; `/.` is the root.
pub(crate) fn write_list(root: &Root, stem: &str, paths: &[String]) -> Result<(), Error> {
    let mut text = paths.join("\n");
    text.push('\n');
    root.write(format!("{FOLDER}/info/{stem}.list"), 0o644, text.as_bytes())
}

/// The paths of a package in the tree.
pub(crate) fn read_list(root: &Root, stem: &str) -> Result<Vec<String>, Error> {
    let text = root.read_text(format!("{FOLDER}/info/{stem}.list"))?.unwrap_or_default();
    Ok(text.lines().map(str::to_owned).collect())
}

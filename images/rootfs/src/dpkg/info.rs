//! `info/`: a package's control files and its list of paths.

use overboot_debian::deb::ControlFiles;
use overboot_debian::deb822::Stanza;

use super::FOLDER;
use crate::error::Error;
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
pub(crate) fn write_control(root: &Root, stem: &str, control: &ControlFiles) -> Result<(), Error> {
    for (name, file) in control.0.iter().filter(|(name, _)| *name != "control") {
        root.write(format!("{FOLDER}/info/{stem}.{name}"), file.mode, &file.bytes)?;
    }
    Ok(())
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

//! `status`: one stanza a package.

use std::fmt::Write as _;

use overboot_debian::deb822::{self, Stanza};

use super::FOLDER;
use crate::error::Error;
use crate::root::Root;

/// The hash that dpkg notes for a conffile that was never installed before (`NEWCONFFILEFLAG`).
const NEW_CONFFILE: &str = "newconffile";

/// The stanza of a package that has just been unpacked: its own control fields, the state, and its conffiles.
pub(crate) fn unpacked(control: &Stanza<'_>, conffiles: &str) -> String {
    let mut text = String::new();
    for (at, (name, value)) in control.fields().enumerate() {
        // The value of a field that goes on in further lines stands behind the colon as it was.
        let gap = if value.starts_with('\n') { "" } else { " " };
        let _ = writeln!(text, "{name}:{gap}{}", value.trim_end());
        if at == 0 {
            text.push_str("Status: install ok unpacked\n");
        }
    }
    let mut conffiles = conffiles.lines().filter(|line| !line.trim().is_empty()).peekable();
    if conffiles.peek().is_some() {
        text.push_str("Conffiles:\n");
        for line in conffiles {
            // deb-conffiles(5): a flag may stand before the path; `status` has it behind the hash.
            let _ = match line.trim().rsplit_once(' ') {
                Some((flag, path)) => writeln!(text, " {path} {NEW_CONFFILE} {flag}"),
                None => writeln!(text, " {} {NEW_CONFFILE}", line.trim()),
            };
        }
    }
    text.push('\n');
    text
}

/// Adds stanzas to the tree's `status`.
pub(crate) fn append(root: &Root, stanzas: &str) -> Result<(), Error> {
    let path = format!("{FOLDER}/status");
    let mut text = root.read_text(&path)?.unwrap_or_default();
    if !text.is_empty() && !text.ends_with("\n\n") {
        text.push('\n');
    }
    text.push_str(stanzas);
    root.write(path, 0o644, text.as_bytes())
}

/// A package that the tree's `status` knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Installed {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) status: String,
    pub(crate) replaces: String,
    /// The stem of its files in `info/`.
    pub(crate) stem: String,
}

/// Everybody in the tree's `status`.
pub(crate) fn installed(root: &Root) -> Result<Vec<Installed>, Error> {
    let path = format!("{FOLDER}/status");
    let text = root.read_text(&path)?.unwrap_or_default();
    let damaged = |why: String| Error::Database { path: path.clone(), why };
    let mut found = Vec::new();
    for stanza in deb822::stanzas(&text) {
        let stanza = stanza.map_err(|error| damaged(error.to_string()))?;
        let name =
            stanza.get("Package").ok_or_else(|| damaged("a stanza without Package".into()))?;
        found.push(Installed {
            name: name.to_owned(),
            version: stanza.get("Version").unwrap_or_default().to_owned(),
            status: stanza.get("Status").unwrap_or_default().to_owned(),
            replaces: stanza.get("Replaces").unwrap_or_default().to_owned(),
            stem: super::info::stem(&stanza),
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unpacked_stanza_is_what_dpkg_writes() {
        let text = "Package: a\nVersion: 1\nArchitecture: amd64\nDescription: short\n long\n";
        let stanza = deb822::single(text).unwrap();
        assert_eq!(
            unpacked(&stanza, "/etc/a\nremove-on-upgrade /etc/b\n"),
            "Package: a\nStatus: install ok unpacked\nVersion: 1\nArchitecture: amd64\nDescription: short\n long\n\
             Conffiles:\n /etc/a newconffile\n /etc/b newconffile remove-on-upgrade\n\n"
        );
    }
}

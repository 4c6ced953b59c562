//! All that an overlay says about what is beneath and beside it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::delta::Delta;
use crate::form::Form;

/// Where overlays keep what they say, each in a file of its own name: none hides another's.
pub const FOLDER: &str = "usr/lib/overboot/overlays";

/// The path of what the overlay `name` says, from the root.
#[must_use]
pub fn changes_path(name: &str) -> String {
    format!("{FOLDER}/{name}.json")
}

/// Is that the path of what some overlay says?
#[must_use]
pub fn is_changes(path: &str) -> bool {
    path.strip_prefix(FOLDER).is_some_and(|rest| rest.starts_with('/'))
}

/// Why a text is not what an overlay says.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not the JSON that is expected.
    #[error("what the overlay changed cannot be read")]
    Json(#[from] serde_json::Error),
    /// It was written for a later program.
    #[error("what the overlay changed is written in format {0}, and only {known} is known", known = Changes::FORMAT)]
    Format(u32),
}

/// What an overlay changed that cannot be said in files of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// [`Changes::FORMAT`].
    pub format: u32,
    /// The databases by their paths from the root, without a leading `/`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub databases: BTreeMap<String, Delta>,
    /// Does the overlay bring libraries, so that the loader's cache has to be made anew (ldconfig(8))?
    #[serde(default)]
    pub libraries: bool,
    /// Extended attributes by path and name, in hexadecimal, overlayfs's mark of opaque folders among them: for a form of the
    /// overlay that cannot carry them (cpio).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, BTreeMap<String, String>>,
    /// What else was said to have changed: files that are not [`Form::of`] a database, since whoever applies this writes there. A
    /// later program may know them; without them the rest is as good as it is.
    #[serde(skip)]
    pub unknown: BTreeSet<String>,
}

impl Changes {
    /// The one format that there is.
    pub const FORMAT: u32 = 1;

    /// Nothing changed.
    #[must_use]
    pub fn none() -> Self {
        Self {
            format: Self::FORMAT,
            databases: BTreeMap::new(),
            libraries: false,
            attributes: BTreeMap::new(),
            unknown: BTreeSet::new(),
        }
    }

    /// The text of the file; the same for the same changes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, numbers and maps with strings for keys always become JSON.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads what [`Changes::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut changes: Self = serde_json::from_slice(bytes)?;
        if changes.format != Self::FORMAT {
            return Err(Error::Format(changes.format));
        }
        let unknown = changes.databases.extract_if(.., |path, _| Form::of(path).is_none());
        changes.unknown = unknown.map(|(path, _)| path).collect();
        Ok(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut changes = Changes::none();
        let put = [("lldpd amd64".to_owned(), "Package: lldpd".to_owned())].into();
        changes.databases.insert("var/lib/dpkg/status".into(), Delta { put, ..Delta::default() });
        assert_eq!(Changes::parse(&changes.to_bytes()).unwrap(), changes);
    }

    #[test]
    fn what_no_database_is_known_for_is_put_aside_and_the_rest_stays() {
        for path in ["etc/../root/x", "usr/bin/sh", "etc/later"] {
            let text = format!(r#"{{"format":1,"databases":{{"{path}":{{}},"etc/shells":{{}}}}}}"#);
            let changes = Changes::parse(text.as_bytes()).unwrap();
            assert_eq!(changes.databases.into_keys().collect::<Vec<_>>(), ["etc/shells"]);
            assert_eq!(changes.unknown.into_iter().collect::<Vec<_>>(), [path]);
        }
    }

    #[test]
    fn what_is_written_otherwise_is_refused() {
        for text in [r#"{"format":2}"#, r#"{"format":1,"more":1}"#, ""] {
            assert!(Changes::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}

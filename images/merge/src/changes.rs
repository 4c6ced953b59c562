//! All that an overlay says about what is beneath and beside it.

use std::collections::BTreeMap;

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

/// Why a text is not what an overlay says.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not the JSON that is expected.
    #[error("what the overlay changed cannot be read")]
    Json(#[from] serde_json::Error),
    /// It was written for a later program.
    #[error("what the overlay changed is written in format {0}, and only {known} is known", known = Changes::FORMAT)]
    Format(u32),
    /// It would change a file that is no database.
    #[error("the overlay would change {0}, which is no database that layers share")]
    Path(String),
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
    /// [`Error`]: in particular for a path that is not [`Form::of`] a database, since whoever applies this writes there.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let changes: Self = serde_json::from_slice(bytes)?;
        if changes.format != Self::FORMAT {
            return Err(Error::Format(changes.format));
        }
        match changes.databases.keys().find(|path| Form::of(path).is_none()) {
            Some(path) => Err(Error::Path(path.clone())),
            None => Ok(changes),
        }
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
    fn nothing_but_databases_is_written() {
        for text in [
            r#"{"format":1,"databases":{"etc/../root/x":{}}}"#,
            r#"{"format":1,"databases":{"usr/bin/sh":{}}}"#,
            r#"{"format":2}"#,
            r#"{"format":1,"more":1}"#,
            "",
        ] {
            assert!(Changes::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}

//! `diversions`: where the files of other packages go (dpkg-divert(1)).

use std::collections::HashMap;

use super::FOLDER;
use crate::error::Error;
use crate::root::Root;

/// The tree's diversions: three lines each, the path, where it goes, and whose files are not diverted (`:` for nobody's).
#[derive(Debug, Default)]
pub(crate) struct Diversions(HashMap<String, (String, String)>);

impl Diversions {
    pub(crate) fn of(root: &Root) -> Result<Self, Error> {
        let path = format!("{FOLDER}/diversions");
        let text = root.read_text(&path)?.unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        if !lines.len().is_multiple_of(3) {
            let why = format!("{} lines, which is no multiple of three", lines.len());
            return Err(Error::Database { path, why });
        }
        let triple =
            |lines: &[&str]| (lines[0].to_owned(), (lines[1].to_owned(), lines[2].to_owned()));
        Ok(Self(lines.chunks_exact(3).map(triple).collect()))
    }

    /// Where the file at `path` (with a leading `/`) of `package` goes.
    pub(crate) fn target<'a>(&'a self, path: &'a str, package: &str) -> &'a str {
        match self.0.get(path) {
            Some((to, owner)) if owner != package => to,
            _ => path,
        }
    }
}

//! `statoverride`: what an administrator, or a package's script, has said of a path's owner and mode (dpkg-statoverride(1)).

use std::collections::HashMap;

use super::FOLDER;
use crate::accounts::Accounts;
use crate::error::Error;
use crate::root::{Attributes, Root};

/// The tree's overrides by path, with a leading `/`.
#[derive(Debug, Default)]
pub(crate) struct Overrides(HashMap<String, Override>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Override {
    uid: u32,
    gid: u32,
    mode: u32,
}

impl Overrides {
    /// Those of `root`; a line has user, group, mode and path, and names that the tree's `accounts` must know.
    pub(crate) fn of(root: &Root, accounts: &Accounts) -> Result<Self, Error> {
        let path = format!("{FOLDER}/statoverride");
        let text = root.read_text(&path)?.unwrap_or_default();
        let parsed = text.lines().filter(|line| !line.is_empty()).map(|line| {
            parse(line, accounts).ok_or_else(|| Error::Database {
                path: path.clone(),
                why: format!("{line:?} is not a known user, a known group, a mode and a path"),
            })
        });
        Ok(Self(parsed.collect::<Result<_, _>>()?))
    }

    /// Puts what was said of `path` in place of what the package has.
    pub(crate) fn apply(&self, path: &str, attributes: &mut Attributes) {
        if let Some(Override { uid, gid, mode }) = self.0.get(path) {
            *attributes = Attributes { uid: *uid, gid: *gid, mode: *mode, ..*attributes };
        }
    }
}

fn parse(line: &str, accounts: &Accounts) -> Option<(String, Override)> {
    let mut fields = line.splitn(4, ' ');
    let (user, group, mode, path) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    // `#` stands before what is a number already.
    let id = |text: &str, known: Option<u32>| match text.strip_prefix('#') {
        Some(number) => number.parse().ok(),
        None => known,
    };
    let uid = id(user, accounts.known_user(user))?;
    let gid = id(group, accounts.known_group(group))?;
    let mode = u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o7777)?;
    Some((path.to_owned(), Override { uid, gid, mode }))
}

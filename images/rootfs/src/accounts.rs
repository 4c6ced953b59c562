//! The tree's users and groups: a package names a file's owner, and the tree says which number that is.

use std::collections::HashMap;

use crate::error::Error;
use crate::root::Root;

/// Names to numbers, from the tree's `/etc/passwd` and `/etc/group` (passwd(5), group(5)).
#[derive(Debug, Default)]
pub struct Accounts {
    users: HashMap<String, u32>,
    groups: HashMap<String, u32>,
}

impl Accounts {
    /// Those of `root`; none where it has no such files yet.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn of(root: &Root) -> Result<Self, Error> {
        let read = |path: &str| -> Result<HashMap<String, u32>, Error> {
            Ok(root.read_text(path)?.as_deref().map(numbers).unwrap_or_default())
        };
        Ok(Self { users: read("etc/passwd")?, groups: read("etc/group")? })
    }

    /// dpkg's rule: the name's number in the tree where the name is known there, else the number in the archive.
    pub(crate) fn user(&self, name: Option<&str>, number: u32) -> u32 {
        name.and_then(|name| self.known_user(name)).unwrap_or(number)
    }

    /// As [`Accounts::user`].
    pub(crate) fn group(&self, name: Option<&str>, number: u32) -> u32 {
        name.and_then(|name| self.known_group(name)).unwrap_or(number)
    }

    /// The number of a user that the tree knows.
    #[must_use]
    pub fn known_user(&self, name: &str) -> Option<u32> {
        self.users.get(name).copied()
    }

    /// The number of a group that the tree knows.
    #[must_use]
    pub fn known_group(&self, name: &str) -> Option<u32> {
        self.groups.get(name).copied()
    }

    /// The name of the user with that number; the first of them, where there are several.
    #[must_use]
    pub fn user_of(&self, number: u32) -> Option<&str> {
        let same = self.users.iter().filter(|(_, known)| **known == number);
        same.map(|(name, _)| name.as_str()).min()
    }

    /// The names of all groups, sorted.
    #[must_use]
    pub fn groups(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.groups.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}

fn numbers(text: &str) -> HashMap<String, u32> {
    let number = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some((name, fields.nth(1)?.parse().ok()?))
    };
    text.lines().filter_map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_name_wins_over_the_number() {
        let accounts =
            Accounts { users: numbers("root:x:0:0::/:\nman:x:6:12::/:\n#\n"), groups: numbers("") };
        assert_eq!(accounts.user(Some("man"), 13), 6);
        assert_eq!(accounts.user(Some("nobody"), 13), 13);
        assert_eq!(accounts.group(None, 5), 5);
    }
}

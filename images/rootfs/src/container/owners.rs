//! Whose an image's files are in a tree that has users already.
//!
//! By name, as tar and rsync have it: a file of the image's `www-data` is the tree's `www-data`'s, whichever number that is. Who is
//! new to the tree keeps the number, unless it is somebody else's there, and gets a free one then. The number 0 is always 0, and a
//! number without a name stays as it is, since nobody knows whose it is.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::Log;
use crate::error::Error;
use crate::root::Root;

/// The numbers of users and groups, the image's to the tree's.
#[derive(Debug, Default)]
pub(super) struct Owners {
    users: HashMap<u32, u32>,
    groups: HashMap<u32, u32>,
}

/// What Debian gives to what packages bring, and to people (Debian Policy 9.2.2).
const SYSTEM: std::ops::RangeInclusive<u32> = 100..=999;
const PEOPLE: std::ops::RangeInclusive<u32> = 1000..=59_999;

impl Owners {
    /// Compares the users of both.
    pub(super) fn of(image: &Root, tree: &Root, log: Log<'_>) -> Result<Self, Error> {
        let numbers = |path: &str, what: &str| -> Result<HashMap<u32, u32>, Error> {
            let read = |root: &Root| root.read_text(path).map(Option::unwrap_or_default);
            matched(&read(image)?, &read(tree)?, &|name, old, new| {
                log(&format!("the image's {what} {name} gets the number {new}: {old} is taken"));
            })
            .map_err(|name| Error::Image {
                path: path.to_owned(),
                why: format!("has no number left for the image's {what} {name}"),
            })
        };
        Ok(Self { users: numbers("etc/passwd", "user")?, groups: numbers("etc/group", "group")? })
    }

    pub(super) fn user(&self, number: u32) -> u32 {
        self.users.get(&number).copied().unwrap_or(number)
    }

    pub(super) fn group(&self, number: u32) -> u32 {
        self.groups.get(&number).copied().unwrap_or(number)
    }

    /// The text of one of the image's databases with the tree's numbers; of others, as it is.
    pub(super) fn renumbered(&self, path: &str, text: String) -> String {
        let own: fn(&Self, u32) -> u32 = match path {
            "etc/passwd" => Self::user,
            "etc/group" => Self::group,
            _ => return text,
        };
        let line = |line: &str| {
            let mut fields: Vec<String> = line.split(':').map(str::to_owned).collect();
            let number = |field: &mut String, to: &dyn Fn(u32) -> u32| {
                if let Ok(number) = field.parse() {
                    *field = to(number).to_string();
                }
            };
            if let Some(field) = fields.get_mut(2) {
                number(field, &|of| own(self, of));
            }
            if let (Some(field), "etc/passwd") = (fields.get_mut(3), path) {
                number(field, &|of| self.group(of));
            }
            fields.join(":") + "\n"
        };
        text.lines().map(line).collect()
    }

    /// The value of an extended attribute with the tree's numbers, where it has any: access control lists, as the kernel gives
    /// them (linux/posix_acl_xattr.h: a version, then tag, rights and number of each entry).
    pub(super) fn of_attribute(&self, name: &[u8], mut value: Vec<u8>) -> Vec<u8> {
        const VERSION: [u8; 4] = 2_u32.to_le_bytes();
        const USER: [u8; 2] = 2_u16.to_le_bytes();
        const GROUP: [u8; 2] = 8_u16.to_le_bytes();
        if !name.starts_with(b"system.posix_acl_") || !value.starts_with(&VERSION) {
            return value;
        }
        for entry in value[VERSION.len()..].chunks_exact_mut(8) {
            let (tag, number) = entry.split_at_mut(4);
            let Ok(old) = <[u8; 4]>::try_from(&*number) else { continue };
            let new = match [tag[0], tag[1]] {
                USER => self.user(u32::from_le_bytes(old)),
                GROUP => self.group(u32::from_le_bytes(old)),
                _ => continue,
            };
            number.copy_from_slice(&new.to_le_bytes());
        }
        value
    }
}

/// The tree's number for each of the image's, and `told` of each that is a new one; or the name for which there is none.
fn matched(
    image: &str,
    tree: &str,
    told: &dyn Fn(&str, u32, u32),
) -> Result<HashMap<u32, u32>, String> {
    let (image, tree) = (accounts(image), accounts(tree));
    let names: HashMap<&str, u32> = tree.iter().rev().copied().collect();
    let theirs: HashSet<u32> = tree.iter().map(|(_, number)| *number).collect();
    let mut taken: BTreeSet<u32> = tree.iter().chain(&image).map(|(_, number)| *number).collect();
    let mut matched = HashMap::from([(0, 0)]);
    for (name, number) in image {
        // Of several names for one number the first is its name (getpwuid(3)).
        if matched.contains_key(&number) {
            continue;
        }
        let own = match names.get(name) {
            Some(own) => *own,
            None if !theirs.contains(&number) => number,
            None => {
                let free = |number: &u32| !taken.contains(number);
                // Downwards, as systemd-sysusers does: packages that come later count upwards.
                let new = if number < *PEOPLE.start() {
                    SYSTEM.rev().find(free)
                } else {
                    PEOPLE.clone().find(free)
                };
                let new = new.ok_or_else(|| name.to_owned())?;
                taken.insert(new);
                told(name, number, new);
                new
            }
        };
        matched.insert(number, own);
    }
    Ok(matched)
}

/// Names and numbers, as passwd(5) and group(5) have them.
fn accounts(text: &str) -> Vec<(&str, u32)> {
    let account = |line: &'_ str| -> Option<(usize, u32)> {
        let name = line.find(':')?;
        Some((name, line.split(':').nth(2)?.parse().ok()?))
    };
    text.lines()
        .filter_map(|line| account(line).map(|(name, number)| (&line[..name], number)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_trees_number_and_a_taken_number_makes_way() {
        let tree =
            "root:x:0:\nsudo:x:27:\nmessages:x:101:\nlast:x:999:\nalice:x:1000:\ntoor:x:0:\n";
        let image = "root:x:0:\nvideo:x:27:\nweb:x:101:\nalso:x:101:\nsudo:x:9:\nnew:x:300:\napp:x:1000:\nfield:x\n";
        let said = std::cell::RefCell::new(Vec::new());
        let matched = matched(image, tree, &|name, old, new| {
            said.borrow_mut().push(format!("{name} {old} {new}"));
        });
        let matched: std::collections::BTreeMap<u32, u32> = matched.unwrap().into_iter().collect();
        let wanted = [(0, 0), (9, 27), (27, 998), (101, 997), (300, 300), (1000, 1001)];
        assert_eq!(matched.into_iter().collect::<Vec<_>>(), wanted);
        assert_eq!(said.into_inner(), ["video 27 998", "web 101 997", "app 1000 1001"]);
    }

    #[test]
    fn nobody_becomes_root_and_root_stays() {
        let matched =
            matched("web:x:0:\nx:x:5:\n", "web:x:33:\nroot:x:0:\nx:x:6:\n", &|_, _, _| {});
        assert_eq!(matched.unwrap(), HashMap::from([(0, 0), (5, 6)]));
    }

    #[test]
    fn where_no_number_is_left_the_name_is_told() {
        let full: String = (1..=999).map(|number| format!("u{number}:x:{number}:\n")).collect();
        assert_eq!(matched("web:x:7:\n", &full, &|_, _, _| {}), Err("web".to_owned()));
    }

    #[test]
    fn databases_and_access_control_lists_have_the_trees_numbers() {
        let owners =
            Owners { users: HashMap::from([(101, 997)]), groups: HashMap::from([(9, 27)]) };
        let passwd = "web:x:101:9::/:\nodd\nx:y:z:w:\n".to_owned();
        assert_eq!(owners.renumbered("etc/passwd", passwd), "web:x:997:27::/:\nodd\nx:y:z:w:\n");
        assert_eq!(owners.renumbered("etc/group", "web:x:9:101\n".to_owned()), "web:x:27:101\n");
        assert_eq!(owners.renumbered("etc/shadow", "a:b:9:9\n".to_owned()), "a:b:9:9\n");
        let entry = |tag: u8, id: u8| [tag, 0, 7, 0, id, 0, 0, 0];
        let list = [&[2, 0, 0, 0][..], &entry(1, 101), &entry(2, 101), &entry(8, 9)].concat();
        let got = owners.of_attribute(b"system.posix_acl_access", list.clone());
        let number = 997_u32.to_le_bytes();
        let user = [2, 0, 7, 0, number[0], number[1], 0, 0];
        assert_eq!(got, [&[2, 0, 0, 0][..], &entry(1, 101), &user, &entry(8, 27)].concat());
        assert_eq!(owners.of_attribute(b"user.list", list.clone()), list);
    }
}

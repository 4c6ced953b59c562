//! The tree: entries checked, sorted, with hard links resolved and inode numbers given.

use std::cmp::Ordering;

use crate::entry::{Entry, Kind};
use crate::error::{Error, printable};
use crate::format::{NAME_MAX, SYMLINK_MAX};

/// A checked tree. Nodes are in the order of their paths, by component: a directory comes before what
/// is in it and right before it.
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    /// Inodes, which have the numbers 1 to this.
    pub(crate) inodes: u32,
}

/// One name.
pub(crate) struct Node {
    pub(crate) entry: Entry,
    /// Index of the directory that it is in; the root's own is 0.
    pub(crate) parent: usize,
    /// What is in it, in the order of names.
    pub(crate) children: Vec<usize>,
    /// Index of the node that it is another name of, or its own.
    pub(crate) target: usize,
    /// Its inode's number; a hard link has its target's.
    pub(crate) number: u32,
    /// How many names the inode has; for a directory, 2 and its subdirectories.
    pub(crate) links: u32,
}

impl Node {
    /// The last component of the path.
    pub(crate) fn name(&self) -> &[u8] {
        let path = &self.entry.path;
        path.iter().rposition(|byte| *byte == b'/').map_or(&path[..], |at| &path[at + 1..])
    }

    pub(crate) fn is_directory(&self) -> bool {
        matches!(self.entry.kind, Kind::Directory)
    }

    /// The path, for messages.
    pub(crate) fn path(&self) -> String {
        printable(&self.entry.path)
    }
}

/// The order of paths by component: `a`, `a/b`, `a.b` (as bytes `a.b` would come before `a/b`).
fn compare(left: &[u8], right: &[u8]) -> Ordering {
    let mut pairs = left.iter().zip(right);
    pairs.find(|(left, right)| left != right).map_or_else(
        || left.len().cmp(&right.len()),
        |(left, right)| {
            let key = |byte: u8| if byte == b'/' { 0 } else { byte };
            key(*left).cmp(&key(*right))
        },
    )
}

impl Tree {
    pub(crate) fn new(mut entries: Vec<Entry>) -> Result<Self, Error> {
        entries.sort_by(|left, right| compare(&left.path, &right.path));
        let mut nodes: Vec<Node> = Vec::with_capacity(entries.len());
        // The directories from the root down to the last one seen.
        let mut open: Vec<usize> = Vec::new();
        for (index, entry) in entries.into_iter().enumerate() {
            check(&entry)?;
            if index == 0 {
                if !entry.path.is_empty() || !matches!(entry.kind, Kind::Directory) {
                    return Err(Error::NoRoot);
                }
            } else {
                if nodes[index - 1].entry.path == entry.path {
                    return Err(Error::DuplicatePath { path: printable(&entry.path) });
                }
                let directory = entry.path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                let directory = &entry.path[..directory];
                while open.last().is_some_and(|last| nodes[*last].entry.path != directory) {
                    open.pop();
                }
            }
            let Some(&parent) = open.last().or((index == 0).then_some(&0)) else {
                return Err(Error::NoParent { path: printable(&entry.path) });
            };
            let is_directory = matches!(entry.kind, Kind::Directory);
            if index > 0 {
                nodes[parent].children.push(index);
                nodes[parent].links += u32::from(is_directory);
            }
            if is_directory {
                open.push(index);
            }
            nodes.push(Node {
                entry,
                parent,
                children: Vec::new(),
                target: index,
                number: 0,
                links: 1 + u32::from(is_directory),
            });
        }
        if nodes.is_empty() {
            return Err(Error::NoRoot);
        }
        let mut tree = Self { nodes, inodes: 0 };
        tree.resolve_links()?;
        tree.number()?;
        Ok(tree)
    }

    fn resolve_links(&mut self) -> Result<(), Error> {
        for index in 0..self.nodes.len() {
            let Kind::HardLink(target) = &self.nodes[index].entry.kind else { continue };
            let fail = |reason| Error::HardLink {
                path: self.nodes[index].path(),
                target: printable(target),
                reason,
            };
            let found = self
                .nodes
                .binary_search_by(|node| compare(&node.entry.path, target))
                .map_err(|_| fail("nothing has that path"))?;
            match self.nodes[found].entry.kind {
                Kind::Directory => return Err(fail("it is a directory")),
                Kind::HardLink(_) => return Err(fail("it is a hard link itself")),
                _ => {}
            }
            self.nodes[index].target = found;
            self.nodes[found].links += 1;
        }
        Ok(())
    }

    /// Numbers the inodes directory by directory, so that those in one directory follow each other:
    /// directory entries store the difference to the first one in 16 bits.
    fn number(&mut self) -> Result<(), Error> {
        let too_many = Error::TooMany { what: "inodes", limit: u64::from(u32::MAX - 1) };
        if u32::try_from(self.nodes.len()).is_ok_and(|count| count < u32::MAX) {
            self.nodes[0].number = 1;
            self.inodes = 1;
        } else {
            return Err(too_many);
        }
        for directory in 0..self.nodes.len() {
            for at in 0..self.nodes[directory].children.len() {
                let target = self.nodes[self.nodes[directory].children[at]].target;
                if self.nodes[target].number == 0 {
                    self.inodes += 1;
                    self.nodes[target].number = self.inodes;
                }
            }
        }
        for index in 0..self.nodes.len() {
            self.nodes[index].number = self.nodes[self.nodes[index].target].number;
        }
        Ok(())
    }
}

/// What can be said of an entry by itself.
fn check(entry: &Entry) -> Result<(), Error> {
    let path = || printable(&entry.path);
    let invalid = |reason| Err(Error::InvalidPath { path: path(), reason });
    if !entry.path.is_empty() {
        for name in entry.path.split(|byte| *byte == b'/') {
            match name {
                b"" => return invalid("it begins or ends with / or has an empty component"),
                b"." | b".." => return invalid("it has . or .. as a component"),
                _ if name.contains(&0) => return invalid("it has a NUL byte in it"),
                _ if name.len() > NAME_MAX => {
                    return invalid("a component of it is longer than 255 bytes");
                }
                _ => {}
            }
        }
    }
    match &entry.kind {
        Kind::Symlink(target) if target.is_empty() || target.len() > SYMLINK_MAX => {
            Err(Error::SymlinkTarget { path: path(), length: target.len() })
        }
        Kind::CharDevice(major, minor) | Kind::BlockDevice(major, minor)
            if *major > 0xfff || *minor > 0xf_ffff =>
        {
            Err(Error::Device { path: path(), major: *major, minor: *minor })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: Kind) -> Entry {
        Entry { path: path.into(), mode: 0, uid: 0, gid: 0, mtime: 0, xattrs: vec![], kind }
    }

    fn failure(entries: Vec<Entry>) -> String {
        Tree::new(entries).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn order_is_by_component_and_siblings_have_consecutive_numbers() {
        let tree = Tree::new(vec![
            entry("a.b", Kind::Fifo),
            entry("a/b", Kind::Fifo),
            entry("a/a", Kind::Directory),
            entry("a/a/x", Kind::HardLink(b"a.b".into())),
            entry("", Kind::Directory),
            entry("a", Kind::Directory),
        ])
        .unwrap();
        let list: Vec<_> =
            tree.nodes.iter().map(|node| (node.path(), node.number, node.links)).collect();
        let want = [("", 1, 3), ("a", 2, 3), ("a/a", 4, 2), ("a/a/x", 3, 1), ("a/b", 5, 1)];
        for ((path, number, links), want) in list.iter().zip(want) {
            assert_eq!((path.as_str(), *number, *links), want);
        }
        assert_eq!((list[5].1, list[5].2, tree.inodes), (3, 2, 5));
    }

    #[test]
    fn trees_that_cannot_be_are_refused() {
        let root = || entry("", Kind::Directory);
        assert!(failure(vec![]).contains("no root"));
        assert!(failure(vec![entry("", Kind::Fifo)]).contains("no root"));
        assert!(failure(vec![root(), entry("a/b", Kind::Fifo)]).contains("\"a/b\""));
        let under_file = vec![root(), entry("a", Kind::Fifo), entry("a/b", Kind::Fifo)];
        assert!(failure(under_file).contains("not a directory"));
        assert!(failure(vec![root(), root()]).contains("given twice"));
        for bad in ["/a", "a/", "a//b", ".", "a/..", "a\0", &"n".repeat(256)] {
            assert!(failure(vec![root(), entry(bad, Kind::Fifo)]).contains("cannot be"), "{bad}");
        }
        for target in ["", "nowhere", "b"] {
            let kind = Kind::HardLink(target.into());
            let tree = vec![root(), entry("a", kind.clone()), entry("b", kind)];
            assert!(failure(tree).contains("hard link"), "{target}");
        }
        assert!(failure(vec![root(), entry("d", Kind::CharDevice(4096, 0))]).contains("4096:0"));
        assert!(failure(vec![root(), entry("s", Kind::Symlink(vec![]))]).contains("0 bytes"));
    }
}

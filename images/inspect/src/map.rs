//! Where the bytes are, as a tree: by package or by folder, small things together.

use std::collections::BTreeMap;

use overboot_record::{Contents, Kind};

/// What takes less than this part of the whole is told together with others that do.
const SMALLEST: u64 = 3_000;

/// What is as good as all of a folder stands in its place, and what else is there beside it: in parts of a hundred.
const AS_GOOD_AS_ALL: u64 = 90;

/// A place in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// An image, a package, or a path in it.
    pub(crate) path: String,
    pub(crate) size: u64,
    /// How many files are in it.
    pub(crate) files: u64,
    /// The largest first.
    pub(crate) children: Vec<Node>,
}

/// What a tree divides first by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Package,
    Folder,
}

/// The tree of images by their names; a single one needs none.
pub(crate) fn tree(parts: &[(&str, &Contents)], by: By) -> Node {
    let mut root = Growing::default();
    for (part, contents) in parts {
        for file in contents.files.iter().filter(|file| matches!(file.kind, Kind::File { .. })) {
            let package = match by {
                By::Package => Some(file.package.as_deref().unwrap_or("no package")),
                By::Folder => None,
            };
            let part = Some(*part).filter(|part| !part.is_empty());
            let names = part.into_iter().chain(package).chain(file.path.split('/'));
            root.add(names, file.size());
        }
    }
    let least = root.size / SMALLEST;
    // Images and packages come before folders.
    let several = parts.iter().any(|(part, _)| !part.is_empty());
    root.grown(String::new(), "", least, usize::from(several) + usize::from(by == By::Package))
}

#[derive(Default)]
struct Growing<'a> {
    size: u64,
    files: u64,
    children: BTreeMap<&'a str, Growing<'a>>,
}

impl<'a> Growing<'a> {
    fn add(&mut self, names: impl Iterator<Item = &'a str>, size: u64) {
        let mut at = self;
        (at.size, at.files) = (at.size + size, at.files + 1);
        for name in names {
            at = at.children.entry(name).or_default();
            (at.size, at.files) = (at.size + size, at.files + 1);
        }
    }

    /// The node at `path`, with `names` levels of images and packages below it before there are folders, whose paths begin
    /// with `prefix`.
    fn grown(self, path: String, prefix: &str, least: u64, names: usize) -> Node {
        let Self { size, files, children } = self;
        let mut small = Node { path: String::new(), size: 0, files: 0, children: Vec::new() };
        let mut large = Vec::new();
        for (name, child) in children {
            if child.size < least || child.size == 0 {
                (small.size, small.files) = (small.size + child.size, small.files + child.files);
            } else if names > 0 {
                large.push(child.grown(name.to_owned(), "", least, names - 1));
            } else {
                let path = format!("{prefix}{name}");
                let below = format!("{path}/");
                large.push(child.grown(path, &below, least, 0));
            }
        }
        let as_good_as_all =
            |child: &Node| !child.children.is_empty() && child.size * 100 >= size * AS_GOOD_AS_ALL;
        while names == 0
            && let Some(at) = large.iter().position(as_good_as_all)
        {
            let all = large.swap_remove(at);
            large.extend(all.children);
        }
        // A folder with one file is on the way to that.
        if !prefix.is_empty() && small.files == 0 && large.len() == 1 {
            return large.remove(0);
        }
        if small.size > 0 && !large.is_empty() {
            small.path = match small.files {
                1 => "1 small file".to_owned(),
                files => format!("{files} small files"),
            };
            large.push(small);
        }
        large.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
        Node { path, size, files, children: large }
    }
}

#[cfg(test)]
mod tests {
    use overboot_digest::Digest;
    use overboot_record::File;

    use super::*;

    fn file(path: &str, size: u64, package: Option<&str>) -> File {
        File {
            path: path.to_owned(),
            kind: Kind::File { size, sha256: Digest::of("") },
            mode: 0,
            uid: 0,
            gid: 0,
            package: package.map(str::to_owned),
            xattrs: BTreeMap::new(),
        }
    }

    #[test]
    fn small_things_are_together_and_ways_are_short() {
        let files = vec![
            file("etc/x", 90_000, None),
            file("usr/lib/a/one", 500_000, Some("a")),
            file("usr/lib/a/tiny", 1, Some("a")),
            file("usr/lib/a/tinier", 1, Some("a")),
            file("usr/lib/b/deep/only", 200_000, Some("b")),
        ];
        let contents = Contents { files, ..Contents::default() };
        let names = |node: &Node| -> Vec<String> {
            node.children.iter().map(|child| format!("{} {}", child.path, child.size)).collect()
        };
        let root = tree(&[("", &contents)], By::Folder);
        assert_eq!((root.size, root.files), (790_002, 5));
        assert_eq!(names(&root), ["usr 700002", "etc/x 90000"]);
        assert_eq!(names(&root.children[0]), ["usr/lib/a 500002", "usr/lib/b/deep/only 200000"]);
        let a = &root.children[0].children[0];
        assert_eq!(names(a), ["usr/lib/a/one 500000", "2 small files 2"]);
        let root = tree(&[("", &contents)], By::Package);
        assert_eq!(names(&root), ["a 500002", "b 200000", "no package 90000"]);
        assert_eq!(names(&root.children[0]), ["usr/lib/a/one 500000", "2 small files 2"]);
        assert_eq!(names(&root.children[1]), ["usr/lib/b/deep/only 200000"]);
        let root = tree(&[("base/x", &contents), ("kernel", &contents)], By::Package);
        assert_eq!(names(&root), ["base/x 790002", "kernel 790002"]);
        assert_eq!(names(&root.children[0]), ["a 500002", "b 200000", "no package 90000"]);
    }

    #[test]
    fn what_is_as_good_as_all_stands_for_it() {
        let files = vec![
            file("etc/x", 10_000, None),
            file("usr/a", 300_000, None),
            file("usr/b", 200_000, None),
        ];
        let contents = Contents { files, ..Contents::default() };
        let root = tree(&[("", &contents)], By::Folder);
        let paths: Vec<&str> = root.children.iter().map(|child| child.path.as_str()).collect();
        assert_eq!(paths, ["usr/a", "usr/b", "etc/x"]);
    }
}

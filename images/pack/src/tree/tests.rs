use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn build(root: &Path) {
    fs_err::create_dir_all(root.join("etc/d")).unwrap();
    fs_err::create_dir_all(root.join("var/cache/apt/archives")).unwrap();
    fs_err::write(root.join("etc/z"), "zz").unwrap();
    fs_err::hard_link(root.join("etc/z"), root.join("etc/d/a")).unwrap();
    fs_err::hard_link(root.join("etc/z"), root.join("etc/zz")).unwrap();
    fs_err::write(root.join("var/cache/apt/archives/x.deb"), "deb").unwrap();
    fs_err::write(root.join("etc-file"), "1").unwrap();
    symlink("../etc/z", root.join("etc/link")).unwrap();
    fs_err::set_permissions(root.join("etc/z"), PermissionsExt::from_mode(0o4755)).unwrap();
}

fn paths(tree: &Tree) -> Vec<String> {
    tree.entries.iter().map(|entry| String::from_utf8_lossy(&entry.path).into_owned()).collect()
}

#[test]
fn a_tree_is_listed_with_its_links() {
    let root = tempfile::tempdir().unwrap();
    build(root.path());
    let options = ScanOptions {
        latest_mtime: 1000,
        exclude: Glob::all(["var/cache/apt/*"]).unwrap(),
        ..ScanOptions::default()
    };
    let tree = scan(root.path(), &options).unwrap();
    assert_eq!(
        paths(&tree),
        [
            "",
            "etc",
            "etc-file",
            "etc/d",
            "etc/d/a",
            "etc/link",
            "etc/z",
            "etc/zz",
            "var",
            "var/cache",
            "var/cache/apt"
        ]
    );
    assert!(tree.entries.iter().all(|entry| entry.mtime <= 1000));
    assert!(matches!(&tree.entries[4].kind, Kind::File(source) if source.size() == 2));
    assert_eq!(tree.entries[4].mode, 0o4755);
    assert!(matches!(&tree.entries[5].kind, Kind::Symlink(target) if target == b"../etc/z"));
    assert!(matches!(&tree.entries[6].kind, Kind::HardLink(first) if first == b"etc/d/a"));
    assert!(matches!(&tree.entries[7].kind, Kind::HardLink(first) if first == b"etc/d/a"));
    let facts =
        Facts { files: 2, hard_links: 2, directories: 6, symlinks: 1, specials: 0, bytes: 3 };
    assert_eq!(tree.facts, facts);
    assert_eq!(facts.names(), 11);
}

#[test]
fn the_place_and_the_time_do_not_matter() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    build(one.path());
    build(two.path());
    fs_err::write(two.path().join("etc-file"), "1").unwrap();
    let options = ScanOptions { latest_mtime: 7, owner: Owner::Root, ..ScanOptions::default() };
    let list = |root: &Path| format!("{:?}", scan(root, &options).unwrap().entries);
    assert_eq!(list(one.path()), list(two.path()));
}

#[test]
fn what_is_not_there_is_named() {
    let error = scan(Path::new("/nonexistent/tree"), &ScanOptions::default()).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/tree"), "{error}");
}

#[test]
fn below_is_by_directories_and_not_by_letters() {
    assert!(
        is_at_or_below(b"a/b", b"a") && is_at_or_below(b"a", b"a") && is_at_or_below(b"a", b"")
    );
    assert!(!is_at_or_below(b"ab", b"a") && !is_at_or_below(b"a", b"a/b"));
}

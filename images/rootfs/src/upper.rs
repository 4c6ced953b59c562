//! From what is in an overlayfs's upper tree to what an overlay is: what changed, and no more.
//!
//! Provisioning copies far more into the upper tree than it changes: a file that was only opened for writing, every folder
//! on the way, dpkg's whole database for one package. What did not change is taken out again; databases that other layers
//! write as well are taken out and what changed in them is noted ([`overboot_merge`]), so that the node can carry it out on
//! whatever base is beneath.

use std::path::{Path, PathBuf};

use overboot_merge::{
    ALTERNATIVES, Alternative, Changes, DATABASES, Form, LINKS, TRIGGERS, changes_path, difference,
};
use rustix::fs::FileType;

use crate::error::Error;
use crate::root::{OPAQUE, Root};

/// Caches that are made anew on the node, or by the next who needs them: in an overlay they would be those of the base that
/// it was built on, and hide those of the base beneath it.
const CACHES: [&str; 4] = [
    "etc/ld.so.cache",
    "var/lib/dpkg/available",
    "var/lib/dpkg/triggers/Unincorp",
    "var/lib/systemd/catalog/database",
];

/// Leaves in the tree `upper`, which lies on `lower`, what the overlay `name` changed, and notes in it what it changed of the
/// databases. Returns that note.
///
/// # Errors
/// Something cannot be read, written or removed.
pub fn distill(lower: &Root, upper: &Root, name: &str) -> Result<Changes, Error> {
    let mut changes = Changes::none();
    for (path, form) in databases(upper)? {
        if upper.kind(Path::new(&path)) != Some(FileType::RegularFile) {
            continue;
        }
        let mut before = lower.read_text(&path)?.unwrap_or_default();
        let mut after = upper.read_text(&path)?.unwrap_or_default();
        if let (Form::Alternatives, Some(name)) = (form, path.strip_prefix(ALTERNATIVES)) {
            before = Alternative::with_chosen(&before, chosen(&[lower], name)?.as_deref());
            after = Alternative::with_chosen(&after, chosen(&[upper, lower], name)?.as_deref());
        }
        let delta = difference(form, &before, &after);
        upper.remove(&path)?;
        if !delta.is_empty() {
            changes.databases.insert(path, delta);
        }
    }
    for path in CACHES {
        if upper.kind(Path::new(path)) == Some(FileType::RegularFile) {
            upper.remove(path)?;
        }
    }
    changes.libraries = prune(lower, upper, Path::new(""))?;
    if changes != Changes::none() {
        upper.write(changes_path(name), 0o644, &changes.to_bytes())?;
    }
    Ok(changes)
}

/// Where the link of an alternative leads in trees of which the first lies on the others.
pub(crate) fn chosen(trees: &[&Root], name: &str) -> Result<Option<String>, Error> {
    let path = Path::new(LINKS).join(name);
    for tree in trees {
        if let Some(there) = tree.look(&path)? {
            return Ok(String::from_utf8(there.target).ok().filter(|target| !target.is_empty()));
        }
    }
    Ok(None)
}

fn databases(upper: &Root) -> Result<Vec<(String, Form)>, Error> {
    let mut found: Vec<(String, Form)> =
        DATABASES.iter().map(|(path, form)| ((*path).to_owned(), *form)).collect();
    for folder in [TRIGGERS, ALTERNATIVES] {
        for name in upper.names(folder)? {
            let path = format!("{folder}{}", name.to_string_lossy());
            if let Some(form) = Form::of(&path) {
                found.push((path, form));
            }
        }
    }
    Ok(found)
}

/// Removes from the folder `folder` of `upper` what is in `lower` just so. Are there libraries among what stays?
fn prune(lower: &Root, upper: &Root, folder: &Path) -> Result<bool, Error> {
    let mut libraries = false;
    for name in upper.names(folder)? {
        let path: PathBuf = folder.join(&name);
        let Some(now) = upper.look(&path)? else { continue };
        libraries |= is_library(&path, now.kind);
        let opaque = now.xattrs.contains_key(OPAQUE);
        if now.kind == FileType::Directory && !opaque {
            libraries |= prune(lower, upper, &path)?;
            if !upper.names(&path)?.is_empty() {
                continue;
            }
        }
        // A file with several names is the overlay's own: overlayfs would have parted them when it copied one up.
        if opaque || now.names > 1 || lower.look(&path)?.as_ref() != Some(&now) {
            continue;
        }
        if now.kind != FileType::RegularFile || upper.same_content(&path, lower, &path)? {
            upper.remove(&path)?;
        }
    }
    Ok(libraries)
}

/// Does ld.so(8) find its libraries otherwise with this file than without it?
fn is_library(path: &Path, kind: FileType) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let linked =
        matches!(kind, FileType::RegularFile | FileType::Symlink | FileType::CharacterDevice);
    linked
        && (name.ends_with(".so") || name.contains(".so.") || path.starts_with("etc/ld.so.conf.d"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;
    use crate::layered;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn paths(folder: &Path, top: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if std::fs::symlink_metadata(&path).unwrap().is_dir() {
                paths(&path, top, found);
            } else {
                found.push(path.strip_prefix(top).unwrap().display().to_string());
            }
        }
    }

    #[test]
    fn an_overlay_holds_what_changed() {
        if !overboot_testkit::require::root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let lower = folder.path().join("lower");
        let status = "Package: a\nArchitecture: all\n\n";
        write(&lower, "var/lib/dpkg/status", status);
        write(&lower, "etc/same", "same");
        write(&lower, "etc/mode", "mode");
        write(&lower, "etc/gone", "gone");
        write(&lower, "etc/folder/inside", "x");
        write(&lower, "etc/deep/er/same", "same");
        write(&lower, "etc/ld.so.cache", "old");
        // Somebody chooses, by name, what was the best one; the link is the same.
        let editor = format!("{ALTERNATIVES}editor");
        write(&lower, &editor, "auto\n/usr/bin/editor\n\n/bin/ed\n1\n\n");
        std::fs::create_dir(lower.join("etc/alternatives")).unwrap();
        std::os::unix::fs::symlink("/bin/ed", lower.join("etc/alternatives/editor")).unwrap();
        let [upper, work, merged] =
            ["upper", "work", "merged"].map(|name| folder.path().join(name));
        layered::on_top(&lower, &upper, &work, &merged, |root| -> Result<(), Error> {
            let at = |path: &str| root.path().join(path);
            write(
                root.path(),
                "var/lib/dpkg/status",
                &format!("{status}Package: b\nArchitecture: all\n\n"),
            );
            let chosen = "manual\n/usr/bin/editor\n\n/bin/ed\n1\n/bin/vi\n2\n\n";
            write(root.path(), &editor, chosen);
            for same in ["etc/same", "etc/deep/er/same"] {
                write(root.path(), same, "other");
                write(root.path(), same, "same");
            }
            std::fs::set_permissions(at("etc/mode"), PermissionsExt::from_mode(0o600)).unwrap();
            std::fs::remove_file(at("etc/gone")).unwrap();
            std::fs::remove_dir_all(at("etc/folder")).unwrap();
            write(root.path(), "etc/folder/new", "new");
            write(root.path(), "usr/lib/libx.so.1", "library");
            write(root.path(), "etc/ld.so.cache", "new");
            Ok(())
        })
        .unwrap();
        let (lower, root) = (Root::open(&lower).unwrap(), Root::open(&upper).unwrap());
        let changes = distill(&lower, &root, "test").unwrap();
        let mut found = Vec::new();
        paths(&upper, &upper, &mut found);
        found.sort();
        let note = changes_path("test");
        let wanted = ["etc/folder/new", "etc/gone", "etc/mode", "usr/lib/libx.so.1", &note];
        assert_eq!(found, wanted);
        assert!(changes.libraries);
        let delta = &changes.databases["var/lib/dpkg/status"];
        assert_eq!(delta.put.keys().collect::<Vec<_>>(), ["b all"]);
        let delta = &changes.databases[&editor];
        assert_eq!(delta.put.keys().collect::<Vec<_>>(), ["/bin/vi", "mode"]);
        assert_eq!(Alternative::chosen_by(delta), Some("/bin/ed"));
        let whiteout = std::fs::symlink_metadata(upper.join("etc/gone")).unwrap();
        assert_eq!(whiteout.rdev(), 0);
        assert!(root.look(Path::new("etc/folder")).unwrap().unwrap().xattrs.contains_key(OPAQUE));
        assert!(!upper.join("etc/deep").exists() && !upper.join("var").exists());
        assert_eq!(Changes::parse(&root.read(note).unwrap()).unwrap(), changes);
    }
}

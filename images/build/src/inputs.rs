//! What a step reads, by name: the digest of it is the step's key, and what differs is why a step must run.
//!
//! Never a time stamp and never the host: the same recipe has the same keys everywhere.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use overboot_digest::{Digest, Hasher};
use serde::Serialize;

use crate::error::Error;

/// Named inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Inputs(BTreeMap<String, String>);

impl Inputs {
    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl ToString) {
        self.0.insert(name.into(), value.to_string());
    }

    /// Several values, told apart whatever is in them.
    pub(crate) fn set_list(&mut self, name: impl Into<String>, values: &[String]) {
        self.set(name, serde_json::to_string(values).unwrap_or_default());
    }

    /// A value that is too long to be read by people: its digest stands for it.
    pub(crate) fn set_digest(&mut self, name: impl Into<String>, value: &impl Serialize) {
        self.set(name, Digest::of(serde_json::to_vec(value).unwrap_or_default()));
    }

    pub(crate) fn key(&self) -> Digest {
        Digest::of(serde_json::to_vec(&self.0).unwrap_or_default())
    }

    pub(crate) fn map(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

/// In words, what differs between what was read before and what would be read now.
pub(crate) fn differences(
    before: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut why = Vec::new();
    for (name, value) in now {
        match before.get(name) {
            None => why.push(format!("{name} is new")),
            Some(old) if old != value => {
                why.push(format!("{name} changed: {}", change(old, value)))
            }
            Some(_) => {}
        }
    }
    why.extend(
        before.keys().filter(|name| !now.contains_key(*name)).map(|name| format!("{name} is gone")),
    );
    why
}

fn change(old: &str, new: &str) -> String {
    let list = |text: &str| serde_json::from_str::<Vec<String>>(text).ok();
    let Some((was, is)) = list(old).zip(list(new)) else {
        return format!("{} -> {}", shown(old), shown(new));
    };
    let gone = was.iter().filter(|entry| !is.contains(entry)).map(|entry| format!("-{entry}"));
    let come = is.iter().filter(|entry| !was.contains(entry)).map(|entry| format!("+{entry}"));
    let changes: Vec<String> = gone.chain(come).collect();
    if changes.is_empty() { "another order".to_owned() } else { changes.join(", ") }
}

fn shown(value: &str) -> String {
    value.parse::<Digest>().map_or_else(|_| value.to_owned(), |digest| digest.short())
}

/// The digest of what provisioning takes from a file or folder of the project.
pub(crate) fn source(path: &Path) -> Result<Digest, Error> {
    let metadata = fs_err::metadata(path).map_err(Error::io("read", path))?;
    if metadata.is_dir() { folder(path) } else { file(path) }
}

/// The digest of a file's contents.
fn file(path: &Path) -> Result<Digest, Error> {
    // What is no file may have no end, or wait for a writer.
    let metadata = fs_err::metadata(path).map_err(Error::io("read", path))?;
    if !metadata.is_file() {
        return Err(Error::told(
            format!("{} is neither a file, a folder nor a symbolic link", path.display()),
            "only those can be put into an image: take it out of the project",
        ));
    }
    let open = fs_err::File::open(path).and_then(Digest::of_reader);
    Ok(open.map_err(Error::io("read", path))?.0)
}

/// The digest of a folder: names, kinds, whether a file may be executed, contents. What provisioning takes from it, no more.
fn folder(path: &Path) -> Result<Digest, Error> {
    let mut hasher = Hasher::new();
    hash_folder(path, &mut hasher)?;
    Ok(hasher.finish())
}

fn hash_folder(path: &Path, hasher: &mut Hasher) -> Result<(), Error> {
    let mut names: Vec<_> = fs_err::read_dir(path)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect())
        .map_err(Error::io("read", path))?;
    names.sort_unstable();
    for name in names {
        let entry = path.join(&name);
        let metadata = fs_err::symlink_metadata(&entry).map_err(Error::io("read", &entry))?;
        hasher.update(name.as_bytes());
        if metadata.is_dir() {
            hasher.update([0, b'd']);
            hash_folder(&entry, hasher)?;
            hasher.update([0, b'.']);
        } else if metadata.is_symlink() {
            let target = fs_err::read_link(&entry).map_err(Error::io("read", &entry))?;
            hasher.update([0, b'l']);
            hasher.update(target.as_os_str().as_bytes());
            hasher.update([0]);
        } else {
            let executable = metadata.permissions().mode() & 0o111 != 0;
            hasher.update([0, if executable { b'x' } else { b'f' }]);
            hasher.update(file(&entry)?.as_bytes());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_in_words() {
        let lists = [r#"["a","b"]"#, r#"["c","a"]"#, r#"["b","a"]"#];
        let before: BTreeMap<_, _> =
            [("epoch", "1"), ("gone", "x"), ("list", lists[0]), ("order", lists[0])]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into();
        let now: BTreeMap<_, _> =
            [("epoch", "2"), ("list", lists[1]), ("new", "x"), ("order", lists[2])]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into();
        assert_eq!(
            differences(&before, &now),
            [
                "epoch changed: 1 -> 2",
                "list changed: -b, +c",
                "new is new",
                "order changed: another order",
                "gone is gone"
            ]
        );
    }

    #[test]
    fn a_folder_is_what_provisioning_takes_from_it() {
        let one = tempfile::tempdir().unwrap();
        let two = tempfile::tempdir().unwrap();
        for folder in [one.path(), two.path()] {
            std::fs::create_dir(folder.join("etc")).unwrap();
            std::fs::write(folder.join("etc/a"), "a").unwrap();
        }
        std::fs::set_permissions(two.path().join("etc/a"), std::fs::Permissions::from_mode(0o600))
            .unwrap();
        assert_eq!(folder(one.path()).unwrap(), folder(two.path()).unwrap());
        std::fs::set_permissions(two.path().join("etc/a"), std::fs::Permissions::from_mode(0o700))
            .unwrap();
        assert_ne!(folder(one.path()).unwrap(), folder(two.path()).unwrap());
    }
}

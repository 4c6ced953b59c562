//! What one machine may not share with another, and what only the build left behind.
//!
//! An image is booted by a thousand machines at once: whatever names one of them is made at boot, and none of it may come
//! with the image. Logs and caches tell of the build, not of the system.

use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::error::Error;
use crate::root::Root;

/// Files that identify a machine, relative to the root. `*` in the last part stands for anything.
pub const IDENTITY: &[&str] = &[
    "var/lib/dbus/machine-id",
    "etc/ssh/ssh_host_*_key",
    "etc/ssh/ssh_host_*_key.pub",
    "etc/ssl/certs/ssl-cert-snakeoil.pem",
    "etc/ssl/private/ssl-cert-snakeoil.key",
    "etc/bind/rndc.key",
    "etc/chrony/chrony.keys",
    "etc/munge/munge.key",
    "var/lib/NetworkManager/secret_key",
    "var/lib/NetworkManager/NetworkManager-intern.conf",
    "etc/nvme/hostid",
    "etc/nvme/hostnqn",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "etc/resolv.conf",
    "etc/hostname",
    "etc/mailname",
    "etc/iscsi/initiatorname.iscsi",
    "etc/mdadm/mdadm.conf",
    // Who takes part and when, by lot; without them nobody does.
    "etc/popularity-contest.conf",
    "etc/cron.d/popularity-contest",
    "root/.rnd",
];

/// Where the certificate that `ssl-cert` makes is, among all others, and its name there.
const CERTIFICATES: &str = "etc/ssl/certs";
const SNAKEOIL: &str = "ssl-cert-snakeoil.pem";

/// What the build leaves behind: logs, caches, backups, locks. Not `triggers/Unincorp`, though it is empty: where dpkg does
/// not find it, it takes the tree for one from before there were triggers, and runs them all.
pub const LEFTOVERS: &[&str] = &[
    "var/cache/debconf/*-old",
    "var/cache/ldconfig/*",
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/triggers/Lock",
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "etc/subuid-",
    "etc/subgid-",
    "etc/.pwd.lock",
    "tmp/*",
    "run/*",
    "dev/*",
    // What a container's files tell whoever asks whether this is one: here it is none.
    ".dockerenv",
];

/// Folders whose files are emptied of meaning by a build: the files go, the folders stay, since packages own them and
/// `dpkg --verify` would miss them.
const EMPTIED: &[&str] = &["var/log", "var/cache/apt", "var/cache/man", "var/lib/apt/lists"];

/// Removes both from the tree.
///
/// # Errors
/// Something cannot be removed.
pub fn remove(root: &Root) -> Result<(), Error> {
    for path in named_by_hash(root)? {
        root.remove(path)?;
    }
    for pattern in IDENTITY.iter().chain(LEFTOVERS) {
        for path in matches(root, pattern)? {
            root.remove(path)?;
        }
    }
    for folder in EMPTIED {
        remove_files(root, Path::new(folder))?;
    }
    // systemd's machine-id(5): an empty file is filled at boot, a missing one makes it a "first boot" with all its services.
    if root.read_text("etc/machine-id")?.is_some_and(|id| !id.is_empty()) {
        root.write("etc/machine-id", 0o444, b"")?;
    }
    Ok(())
}

/// What of [`IDENTITY`] is in the tree: nothing, once [`remove`] has run.
///
/// # Errors
/// A folder cannot be listed.
pub fn find(root: &Root) -> Result<Vec<PathBuf>, Error> {
    let mut found = named_by_hash(root)?;
    for pattern in IDENTITY {
        found.extend(matches(root, pattern)?);
    }
    if root.read_text("etc/machine-id")?.is_some_and(|id| !id.trim().is_empty()) {
        found.push("etc/machine-id".into());
    }
    Ok(found)
}

/// The links to the certificate of the machine that OpenSSL finds it by: they are named after whom it was made out to, which is
/// the host name of the build.
fn named_by_hash(root: &Root) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for name in root.names(CERTIFICATES)? {
        let path = Path::new(CERTIFICATES).join(name);
        let look = root.look(&path)?;
        if look.is_some_and(|look| look.target == SNAKEOIL.as_bytes()) {
            found.push(path);
        }
    }
    Ok(found)
}

fn matches(root: &Root, pattern: &str) -> Result<Vec<PathBuf>, Error> {
    let (folder, last) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let names = root.names(folder)?;
    let fits = |name: &&std::ffi::OsString| {
        let name = name.to_string_lossy();
        match last.split_once('*') {
            Some((head, tail)) => {
                name.len() >= head.len() + tail.len()
                    && name.starts_with(head)
                    && name.ends_with(tail)
            }
            None => name == last,
        }
    };
    Ok(names.iter().filter(fits).map(|name| Path::new(folder).join(name)).collect())
}

fn remove_files(root: &Root, folder: &Path) -> Result<(), Error> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for name in root.names(&folder)? {
            let path = folder.join(name);
            if root.kind(&path) == Some(FileType::Directory) {
                folders.push(path);
            } else {
                root.remove(path)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_certificate_goes_with_the_name_that_it_is_found_by() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::create(folder.path()).unwrap();
        root.write("etc/ssl/certs/ssl-cert-snakeoil.pem", 0o644, b"x").unwrap();
        root.write("etc/ssl/certs/others.pem", 0o644, b"x").unwrap();
        let certificates = folder.path().join(CERTIFICATES);
        symlink(SNAKEOIL, certificates.join("ce275665.0")).unwrap();
        symlink("others.pem", certificates.join("62742064.0")).unwrap();
        assert_eq!(find(&root).unwrap().len(), 2);
        remove(&root).unwrap();
        assert_eq!(find(&root).unwrap(), Vec::<PathBuf>::new());
        assert_eq!(root.names(CERTIFICATES).unwrap(), ["62742064.0", "others.pem"]);
    }
}

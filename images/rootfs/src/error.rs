//! What can go wrong with a tree.

use std::io;
use std::path::{Path, PathBuf};

use crate::configure;

/// A disk with less has none left, in bytes: whoever failed on it may have taken the last piece away again.
const ENOUGH: u64 = 1 << 20;

/// Why a tree could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder of the tree, or of ours, could not be read or written.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried: a verb.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A package is not what a package is.
    #[error("package {package} cannot be read")]
    Package {
        /// Which one.
        package: String,
        /// What is wrong with it.
        #[source]
        source: overboot_debian::deb::Error,
    },
    /// A package's data holds what no package may hold.
    #[error("package {package}: {path:?} {why}")]
    Entry {
        /// Which package.
        package: String,
        /// The path, as the package has it.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A layer of a container image holds what no layer may hold.
    #[error("layer {}: {path:?} {why}", layer.display())]
    Layer {
        /// The file.
        layer: PathBuf,
        /// The path, as the layer has it.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A container image cannot be laid over a tree that has something in it.
    #[error(
        "the container image does not go over what is there: /{path} {why}\n  help: take it as the first step of a base with variant = \"none\", or change /{path} in a step before"
    )]
    Image {
        /// Where they meet.
        path: String,
        /// Why they cannot.
        why: String,
    },
    /// Two packages bring the same file, and neither says that it replaces the other's.
    #[error(
        "packages {owner} and {package} both bring {path}, and neither declares Replaces\n  help: leave one of them out"
    )]
    Conflict {
        /// The file.
        path: String,
        /// Who brought it first.
        owner: String,
        /// Who brings it too.
        package: String,
    },
    /// dpkg's database in the tree is not what dpkg writes.
    #[error("dpkg's database in the tree is damaged: {path}: {why}")]
    Database {
        /// Which file of it.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A link in what Ansible reads is to something that it does not read.
    #[error(
        "{} leads out of what the step reads, to {}\n  help: put what it leads to in its place, or into the project and into `reads`, with a link from the one to the other",
        link.display(), target.display()
    )]
    LeadsOut {
        /// The link, in the project.
        link: PathBuf,
        /// What it says.
        target: PathBuf,
    },
    /// A folder cannot hold the tree of another system.
    #[error(
        "{} cannot hold the tree of another system: no {what}\n  help: a project builds on ext4, XFS or btrfs, and on no network's file system; put it there",
        folder.display()
    )]
    Unfit {
        /// The folder.
        folder: PathBuf,
        /// What cannot be made in it.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// overlayfs is refused.
    #[error(
        "cannot mount overlayfs on {}\n  help: whoever is not root needs Linux 5.12 or newer for it, and a file system with extended attributes; inside of a container it may be forbidden",
        merged.display()
    )]
    Overlay {
        /// Where it was to be.
        merged: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The sandbox could not be set up.
    #[error(
        "cannot start {program} in the sandbox\n  help: a sandbox needs namespaces and a /proc that nothing hides, which a container may forbid; a script needs a `#!` line whose program is in the image"
    )]
    Sandbox {
        /// What was to be run.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A script of the building machine's could not be started there.
    #[error(
        "cannot start {program} on this machine\n  help: it needs namespaces, which a container may forbid, and a `#!` line whose program is on this machine"
    )]
    HostScript {
        /// What was to be run.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Something that ran inside the tree failed.
    #[error("{what} ended with {status}; its last lines were:\n{}{help}", indent(.tail))]
    Failed {
        /// What ran.
        what: String,
        /// `exit status 1`, `signal 9`.
        status: String,
        /// The end of what it printed.
        tail: String,
        /// What to do, where that is known.
        help: &'static str,
    },
    /// Something that ran inside the tree failed since it could not write any more.
    #[error(
        "{what} ended with {status}: no space was left {place}; its last lines were:\n{}\n  help: {help}",
        indent(.tail)
    )]
    NoSpace {
        /// What ran.
        what: String,
        /// `exit status 1`, `signal 9`.
        status: String,
        /// Where there was none.
        place: String,
        /// The end of what it printed.
        tail: String,
        /// What to do.
        help: &'static str,
    },
    /// Something took longer than it may.
    #[error(
        "{what} did not end within {limit} s and was ended; its last lines were:\n{}\n  help: `timeout = SECONDS` gives a step of scripts or of Ansible's other seconds; what packages run has an hour",
        indent(.tail)
    )]
    Overtime {
        /// What ran.
        what: String,
        /// The seconds that it had.
        limit: u32,
        /// The end of what it printed.
        tail: String,
    },
    /// A task of Ansible's failed.
    #[error("{place}: the task \"{task}\" failed:\n{}{help}", indent(.message))]
    Task {
        /// Where it is written.
        place: String,
        /// Its name.
        task: String,
        /// What it said.
        message: String,
        /// What to do, where that is known.
        help: &'static str,
    },
    /// Ansible ended well, and did nothing in the tree.
    #[error(
        "{} did nothing in the image\n  help: its plays must be for it: `hosts: all`", .0.display()
    )]
    NotReached(PathBuf),
    /// Ansible is needed, and cannot be run.
    #[error("{why}\n  help: install Debian's package: apt-get install ansible")]
    NoAnsible {
        /// Why not.
        why: String,
    },
    /// dpkg was content, and yet packages are not installed.
    #[error("after configuring, these packages are not fully installed: {}", .0.join(", "))]
    Unconfigured(Vec<String>),
}

impl Error {
    /// The packages that it is about, as far as it can be told: of two, first the one that came later.
    #[must_use]
    pub fn packages(&self) -> Vec<&str> {
        match self {
            Self::Package { package, .. } | Self::Entry { package, .. } => vec![package],
            Self::Conflict { owner, package, .. } => vec![package, owner],
            Self::Failed { what, tail, .. } | Self::NoSpace { what, tail, .. } => {
                // `dpkg: error processing package NAME (--configure):`, with `:ARCHITECTURE` where there may be several of it.
                let named = tail.lines().filter_map(|line| {
                    line.strip_prefix("dpkg: error processing package ")?.split([' ', ':']).next()
                });
                what.strip_prefix(configure::PREINST).into_iter().chain(named).collect()
            }
            Self::Unconfigured(packages) => {
                packages.iter().filter_map(|package| package.split(' ').next()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Told as what it is, where something that ran in the tree at `root` failed since it could not write.
    pub(crate) fn on_disk_of(self, root: &Path) -> Self {
        let Self::Failed { what, status, tail, help } = self else { return self };
        let full = rustix::fs::statvfs(root).is_ok_and(|disk| {
            disk.f_bavail.saturating_mul(disk.f_frsize) < ENOUGH
                || disk.f_files > 0 && disk.f_favail < 16
        });
        // errno(3), as the C library says it where nobody has asked for another language; not everybody says it.
        let mut said = ["No space left on device", "Disk quota exceeded"].iter();
        if !full && !said.any(|said| tail.contains(said)) {
            return Self::Failed { what, status, tail, help };
        }
        let (place, help) = if full {
            (format!("on the disk of {}", root.display()), "free some space there and run it again")
        } else {
            // What it had there went with it.
            (
                "for it".to_owned(),
                "it may have half of the machine's memory in /tmp, and in its image what the disk has: have it need less, or give it more",
            )
        };
        Self::NoSpace { what, status, place, tail, help }
    }

    /// With what to do about something that failed, where that is not said already.
    pub(crate) fn or_help(mut self, remedy: &'static str) -> Self {
        if let Self::Failed { help, .. } = &mut self
            && help.is_empty()
        {
            *help = remedy;
        }
        self
    }

    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

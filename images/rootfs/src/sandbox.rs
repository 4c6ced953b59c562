//! Where everything that a package or a user brought is run: in the tree, seeing neither the host's files, devices, processes
//! nor network.
//!
//! Namespaces for mounts, processes, host name, IPC and network (namespaces(7)); a `/dev` with six nodes that no hardware
//! is behind; `/run` and `/tmp` in memory; what `/proc` offers to change, read-only; only the capabilities that packages need.
//! All of it ends with the process that asked for it, however that ends, and what a program leaves running ends with the program.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::run::{self, Output};
use crate::sys::{Confinement, Make, Mount, Parent, Scene, confine};

/// A sandbox in a tree. It can be written down, for another process of ours to enter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sandbox {
    root: PathBuf,
    files: Vec<(String, Vec<u8>)>,
    folders: Vec<(String, PathBuf)>,
    scratch: Option<PathBuf>,
    network: bool,
    environment: Vec<(String, String)>,
    limit: u32,
}

/// How long a program has that nobody gave other seconds: a package's script, say, which would hold up the build for ever.
const AN_HOUR: u32 = 3600;

/// Where programs are looked for inside.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a program inside gets as its environment, whatever the host's is.
const ENVIRONMENT: [(&str, &str); 7] = [
    ("PATH", PATH),
    ("HOME", "/root"),
    ("LC_ALL", "C.UTF-8"),
    ("TERM", "dumb"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
    ("container", "overboot"),
];

/// What root inside may do, and no more (linux/capability.h): `CHOWN`, `DAC_OVERRIDE`, `FOWNER`, `FSETID`, `KILL`, `SETGID`,
/// `SETUID`, `SETPCAP`, `SYS_CHROOT`, `AUDIT_WRITE`, `SETFCAP`: what packages need, as containers have long shown. No devices
/// are made, nothing is mounted, and no file is opened but by its path.
const ALLOWED: [libc::c_ulong; 11] = [0, 1, 3, 4, 5, 6, 7, 8, 18, 29, 31];

/// And in a network of its own, where nobody else is: `NET_BIND_SERVICE`, `NET_RAW`. In the host's it would answer in the place of
/// its services, and read and forge what others say.
const ALLOWED_ALONE: [libc::c_ulong; 2] = [10, 13];

/// Files of `/proc` that reach the host's kernel: read-only.
const READ_ONLY: [&str; 5] = ["sys", "sysrq-trigger", "irq", "bus", "fs"];

/// The machine's own nodes, which nobody inside can change: an ordinary user's namespace may make none.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

impl Sandbox {
    /// A sandbox whose root is `root`; `epoch` is what programs that ask for the time of the build are told
    /// (`SOURCE_DATE_EPOCH`, in seconds since 1970).
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, epoch: u64) -> Self {
        let environment = vec![("SOURCE_DATE_EPOCH".to_owned(), epoch.to_string())];
        Self {
            root: root.into(),
            files: Vec::new(),
            folders: Vec::new(),
            scratch: None,
            network: false,
            environment,
            limit: AN_HOUR,
        }
    }

    /// Puts a file that may be executed inside, as `/run/NAME`.
    #[must_use]
    pub fn with_file(mut self, name: &str, contents: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.to_owned(), contents.into()));
        self
    }

    /// Shows a folder of the host inside, as `/run/NAME`; nothing in it can be changed.
    #[must_use]
    pub fn with_folder(mut self, name: &str, folder: impl Into<PathBuf>) -> Self {
        self.folders.push((name.to_owned(), folder.into()));
        self
    }

    /// Has what is in `/tmp` stay in a folder of the host, for the next one who enters.
    #[must_use]
    pub fn with_scratch(mut self, folder: impl Into<PathBuf>) -> Self {
        self.scratch = Some(folder.into());
        self
    }

    /// Leaves the programs inside the host's network.
    #[must_use]
    pub fn with_network(mut self, network: bool) -> Self {
        self.network = network;
        self
    }

    /// Sets a variable for the programs inside.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Ends the programs inside after that many seconds; without this, after an hour.
    #[must_use]
    pub fn with_limit(mut self, seconds: u32) -> Self {
        self.limit = seconds;
        self
    }

    /// Runs a program to its end; what it prints goes to `log`, line by line.
    ///
    /// # Errors
    /// It cannot be started, or ends otherwise than with 0.
    pub fn run(
        &self,
        what: &str,
        program: &str,
        arguments: &[&str],
        log: crate::Log<'_>,
    ) -> Result<Output, Error> {
        let mut command = self.command(OsStr::new(program), Parent::Us);
        command.args(arguments);
        run::to_the_end(command, what, self.limit, log)
            .map_err(|error| error.on_disk_of(&self.root))
    }

    /// Becomes a program in the sandbox, with the standard input and output that this process has. Returns only when it cannot.
    #[must_use]
    pub fn become_program(&self, program: &OsStr, arguments: &[OsString]) -> Error {
        let source = self.command(program, Parent::Ours).args(arguments).exec();
        Error::Sandbox { program: program.to_string_lossy().into_owned(), source }
    }

    fn command(&self, program: &OsStr, parent: Parent) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(ENVIRONMENT);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        confine(&mut command, self.confinement(), parent);
        command
    }

    fn confinement(&self) -> Confinement {
        let root = &self.root;
        let inside = |path: &str| text(root.join(path));
        let mut mounts = vec![
            // pivot_root(2) wants a mount point. A device node that a package brings is a file like any other.
            bind(text(root), text(root), 0),
            remount(text(root), libc::MS_NODEV),
            memory(inside("dev"), libc::MS_NOSUID, "mode=755,size=1m"),
        ];
        let inert = libc::MS_NOSUID | libc::MS_NODEV;
        mounts.push(memory(inside("run"), inert, "mode=755,size=10%"));
        match &self.scratch {
            None => mounts.push(memory(inside("tmp"), inert, "mode=1777")),
            Some(folder) => {
                mounts.push(bind(text(folder), inside("tmp"), 0));
                mounts.push(remount(inside("tmp"), inert));
            }
        }
        let device = |name: &str| inside(&format!("dev/{name}"));
        let mut makes: Vec<Make> = DEVICES
            .iter()
            .map(|name| Make::File { path: device(name), contents: Vec::new() })
            .collect();
        makes.extend(LINKS.iter().map(|(name, target)| Make::Link {
            path: inside(&format!("dev/{name}")),
            target: text(target),
        }));
        for folder in ["dev/pts", "dev/shm", "run/lock"] {
            makes.push(Make::Folder { path: inside(folder) });
        }
        for (name, contents) in &self.files {
            let path = inside(&format!("run/{name}"));
            makes.push(Make::File { path, contents: contents.clone() });
        }
        let mut last = vec![Mount {
            source: text("devpts"),
            target: inside("dev/pts"),
            kind: text("devpts"),
            flags: libc::MS_NOSUID | libc::MS_NOEXEC,
            data: text("newinstance,ptmxmode=0666,mode=620"),
            optional: true,
        }];
        for name in DEVICES {
            last.push(bind(text(Path::new("/dev").join(name)), device(name), 0));
            last.push(remount(device(name), libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NOEXEC));
        }
        for (name, folder) in &self.folders {
            let path = inside(&format!("run/{name}"));
            makes.push(Make::Folder { path: path.clone() });
            last.push(bind(text(folder), path.clone(), 0));
            last.push(remount(path, inert | libc::MS_RDONLY));
        }
        let own_network = if self.network { 0 } else { libc::CLONE_NEWNET };
        Confinement {
            root: text(root),
            namespaces: libc::CLONE_NEWNS
                | libc::CLONE_NEWPID
                | libc::CLONE_NEWUTS
                | libc::CLONE_NEWIPC
                | own_network,
            host_name: text("localhost"),
            scene: Scene { mounts, makes, last },
            proc: Mount {
                source: text("proc"),
                target: inside("proc"),
                kind: text("proc"),
                flags: libc::MS_NOSUID | libc::MS_NOEXEC | libc::MS_NODEV,
                data: text(""),
                optional: false,
            },
            read_only: READ_ONLY
                .iter()
                .flat_map(|name| read_only(&inside(&format!("proc/{name}"))))
                .collect(),
            allowed: if self.network {
                ALLOWED.to_vec()
            } else {
                [ALLOWED.as_slice(), &ALLOWED_ALONE].concat()
            },
            limit: self.limit,
        }
    }
}

pub(crate) fn bind(source: CString, target: CString, flags: libc::c_ulong) -> Mount {
    let flags = libc::MS_BIND | flags;
    Mount { source, target, kind: text(""), flags, data: text(""), optional: false }
}

pub(crate) fn remount(target: CString, flags: libc::c_ulong) -> Mount {
    let flags = libc::MS_REMOUNT | libc::MS_BIND | flags;
    Mount { source: text("none"), target, kind: text(""), flags, data: text(""), optional: false }
}

/// A file or folder that is mounted on itself, read-only. A kernel that lacks it does no harm with it.
fn read_only(path: &CString) -> [Mount; 2] {
    let bound = Mount { optional: true, ..bind(path.clone(), path.clone(), 0) };
    [bound, Mount { optional: true, ..remount(path.clone(), libc::MS_RDONLY) }]
}

pub(crate) fn memory(target: CString, flags: libc::c_ulong, data: &str) -> Mount {
    let (source, kind) = (text("tmpfs"), text("tmpfs"));
    Mount { source, target, kind, flags, data: text(data), optional: false }
}

/// A path for the kernel. None of ours holds a NUL, which no path can.
pub(crate) fn text(path: impl AsRef<Path>) -> CString {
    let bytes: Vec<u8> = AsRef::<OsStr>::as_ref(path.as_ref()).as_bytes().to_vec();
    CString::new(bytes).unwrap_or_default()
}

//! The system calls that rustix does not offer: namespaces and a fork between fork and exec.
//!
//! The only unsafe code of this crate, with that of [`first`], the first process of a namespace, and [`unsynced`]. Everything here runs in a child that
//! has just been forked and may therefore only do what is safe in a signal handler: system calls on data that was made ready before.
#![allow(
    unsafe_code,
    reason = "fork, unshare and prctl have no safe wrapper; each block says why it is sound"
)]

mod first;
mod loopback;
mod unsynced;

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

pub(crate) use first::TIME_IS_UP;

/// A mount to make in the new namespace: made ready beforehand, since a forked child may not allocate.
#[derive(Debug)]
pub(crate) struct Mount {
    pub(crate) source: CString,
    pub(crate) target: CString,
    pub(crate) kind: CString,
    pub(crate) flags: libc::c_ulong,
    pub(crate) data: CString,
    /// A mount that a machine may forbid without harm.
    pub(crate) optional: bool,
}

/// A file or link to make in the new namespace.
#[derive(Debug)]
pub(crate) enum Make {
    Link {
        path: CString,
        target: CString,
    },
    Folder {
        path: CString,
    },
    /// A file that may be executed.
    File {
        path: CString,
        contents: Vec<u8>,
    },
}

/// What is mounted and made in a new namespace for mounts, each list in its order.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) mounts: Vec<Mount>,
    /// After `mounts`.
    pub(crate) makes: Vec<Make>,
    /// After `makes`.
    pub(crate) last: Vec<Mount>,
}

/// What the child does before it becomes the program.
#[derive(Debug)]
pub(crate) struct Confinement {
    pub(crate) root: CString,
    pub(crate) namespaces: libc::c_int,
    pub(crate) host_name: CString,
    /// Set before the new process namespace is entered.
    pub(crate) scene: Scene,
    /// Made by the first process of the new process namespace.
    pub(crate) proc: Mount,
    /// Made after `proc`.
    pub(crate) read_only: Vec<Mount>,
    /// The only capabilities that anything inside may ever have (capabilities(7)).
    pub(crate) allowed: Vec<libc::c_ulong>,
    /// The seconds after which everything inside is ended.
    pub(crate) limit: u32,
}

/// A program of the host's and all that it starts, which ends with it.
#[derive(Debug)]
pub(crate) struct Gathering {
    /// Does it have the host's network?
    pub(crate) network: bool,
    /// The seconds after which all of it is ended.
    pub(crate) limit: u32,
    /// What it sees otherwise than the host does.
    pub(crate) view: Option<View>,
}

/// What a program of the host's sees otherwise than the host does.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) scene: Scene,
    /// The folder that it is in: one that was entered before would lead back to what the mounts cover.
    pub(crate) folder: CString,
}

/// Who waits for a program.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Parent {
    /// This process, which starts it.
    Us,
    /// The one that started this process, which becomes the program.
    Ours,
}

/// Makes `command` run confined.
pub(crate) fn confine(command: &mut Command, confinement: Confinement, parent: Parent) {
    let parent = parent.number();
    // SAFETY: the closure only makes system calls on memory that it owns since before the fork; it neither allocates nor locks.
    unsafe {
        command.pre_exec(move || confinement.enter(parent));
    }
}

/// Makes `command` run in a namespace for processes: whatever it leaves running ends with it, and it ends with the thread that waits
/// for it. What it mounts, nobody else sees.
pub(crate) fn gather(command: &mut Command, gathering: Gathering) {
    let parent = Parent::Us.number();
    // SAFETY: the closure only makes system calls on memory that it owns since before the fork; it neither allocates nor locks.
    unsafe {
        command.pre_exec(move || gathering.enter(parent));
    }
}

/// Gives this process, which may have one thread only, a user namespace of its own, in which it is nobody until somebody writes who
/// it is (user_namespaces(7)).
pub(crate) fn own_user_namespace() -> io::Result<()> {
    // SAFETY: unshare takes a number and touches no memory.
    check(unsafe { libc::unshare(libc::CLONE_NEWUSER) })
}

/// Gives the calling thread, and the threads it starts, a mount namespace of its own, whose mounts nobody else sees and which
/// vanish with the last of those threads and their children.
pub(crate) fn own_mount_namespace() -> io::Result<()> {
    // SAFETY: unshare takes a number and touches no memory.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    mount(c"none", c"/", c"", libc::MS_REC | libc::MS_PRIVATE, c"")
}

impl Parent {
    fn number(self) -> Option<libc::pid_t> {
        match self {
            Self::Us => std::process::id().try_into().ok(),
            // That one may be gone before it can be asked for, and nobody knows what its number was.
            Self::Ours => None,
        }
    }
}

impl Gathering {
    fn enter(&self, parent: Option<libc::pid_t>) -> io::Result<()> {
        first::die_with(parent)?;
        let network = if self.network { 0 } else { libc::CLONE_NEWNET };
        // SAFETY: these take numbers and touch no memory.
        unsafe {
            libc::umask(0o022);
            check(libc::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWPID | network))?;
        }
        mount(c"none", c"/", c"", libc::MS_REC | libc::MS_PRIVATE, c"")?;
        if let Some(view) = &self.view {
            view.enter()?;
        }
        first::become_first()?;
        let flags = libc::MS_NOSUID | libc::MS_NOEXEC | libc::MS_NODEV;
        mount(c"proc", c"/proc", c"proc", flags, c"")?;
        first::go_on_as_program(self.limit)?;
        close_files();
        Ok(())
    }
}

impl Scene {
    fn set(&self) -> io::Result<()> {
        for one in &self.mounts {
            one.make()?;
        }
        for one in &self.makes {
            one.make()?;
        }
        for one in &self.last {
            one.make()?;
        }
        Ok(())
    }
}

impl View {
    fn enter(&self) -> io::Result<()> {
        self.scene.set()?;
        // SAFETY: the pointer is a string that lives on.
        check(unsafe { libc::chdir(self.folder.as_ptr()) })
    }
}

impl Confinement {
    fn enter(&self, parent: Option<libc::pid_t>) -> io::Result<()> {
        first::die_with(parent)?;
        first::have_less();
        // SAFETY: these take numbers and touch no memory.
        unsafe {
            libc::setsid();
            libc::umask(0o022);
            check(libc::unshare(self.namespaces))?;
        }
        mount(c"none", c"/", c"", libc::MS_REC | libc::MS_PRIVATE, c"")?;
        self.scene.set()?;
        let name = self.host_name.as_bytes();
        // SAFETY: the pointer and the length describe `name`, which lives on.
        check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) })?;
        if self.namespaces & libc::CLONE_NEWNET != 0 {
            loopback::switch_on()?;
        }
        first::become_first()?;
        self.proc.make()?;
        for one in &self.read_only {
            one.make()?;
        }
        // SAFETY: every pointer is a string that lives on; pivot_root has no wrapper in libc.
        unsafe {
            check(libc::chdir(self.root.as_ptr()))?;
            let dot = c".".as_ptr();
            if libc::syscall(libc::SYS_pivot_root, dot, dot) != 0 {
                return Err(io::Error::last_os_error());
            }
            check(libc::umount2(dot, libc::MNT_DETACH))?;
            check(libc::chdir(c"/".as_ptr()))?;
        }
        first::go_on_as_program(self.limit)?;
        unsynced::wait_for_no_disk()?;
        // SAFETY: these take numbers, and no pointer to no groups.
        unsafe {
            // The groups of whoever builds are nobody's business inside. A machine may forbid to leave them.
            libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>());
            libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
            for capability in (0..=63).filter(|number| !self.allowed.contains(number)) {
                let dropped = check(libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0));
                // A kernel says so when it does not know a capability; then nobody can have it.
                if let Err(error) = dropped
                    && error.raw_os_error() != Some(libc::EINVAL)
                {
                    return Err(error);
                }
            }
        }
        close_files();
        Ok(())
    }
}

impl Mount {
    fn make(&self) -> io::Result<()> {
        let with = |flags| mount(&self.source, &self.target, &self.kind, flags, &self.data);
        let made = with(self.flags).or_else(|error| {
            // In a user namespace, what the machine's own mounts forbid stays forbidden in copies of them (mount_namespaces(7)).
            let refused = error.raw_os_error() == Some(libc::EPERM);
            if refused && self.flags & libc::MS_REMOUNT != 0 {
                with(self.flags | forbidden(&self.target)?)
            } else {
                Err(error)
            }
        });
        match made {
            Err(_) if self.optional => Ok(()),
            made => made,
        }
    }
}

impl Make {
    fn make(&self) -> io::Result<()> {
        // SAFETY: every pointer is a string that lives on.
        unsafe {
            match self {
                Self::Link { path, target } => check(libc::symlink(target.as_ptr(), path.as_ptr())),
                Self::Folder { path } => check(libc::mkdir(path.as_ptr(), 0o755)),
                Self::File { path, contents } => {
                    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY;
                    let file = libc::open(path.as_ptr(), flags, 0o755);
                    check(file)?;
                    let mut rest = contents.as_slice();
                    while !rest.is_empty() {
                        match libc::write(file, rest.as_ptr().cast(), rest.len()) {
                            -1 => return Err(io::Error::last_os_error()),
                            written => rest = rest.get(written.cast_unsigned()..).unwrap_or(&[]),
                        }
                    }
                    check(libc::close(file))
                }
            }
        }
    }
}

fn mount(
    source: &CStr,
    target: &CStr,
    kind: &CStr,
    flags: libc::c_ulong,
    data: &CStr,
) -> io::Result<()> {
    // SAFETY: every pointer is a string that lives on; an empty `data` is the same as none.
    check(unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast())
    })
}

/// What the mount at a path forbids, as flags of mount(2); statvfs(3) has the same numbers for these.
fn forbidden(path: &CStr) -> io::Result<libc::c_ulong> {
    let all = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    Ok(rustix::fs::statvfs(path)?.f_flag.bits() & all)
}

/// Whatever we were started with, open files of the host are none of the program's business.
fn close_files() {
    let close = libc::CLOSE_RANGE_CLOEXEC as libc::c_uint;
    // SAFETY: takes numbers; the files are closed when the program begins.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, close) };
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

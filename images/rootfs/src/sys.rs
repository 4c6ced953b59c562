//! The system calls that rustix does not offer: namespaces and a fork between fork and exec.
//!
//! The only unsafe code of this crate. Everything here runs in a child that has just been forked and may therefore only do
//! what is safe in a signal handler: system calls on data that was made ready before.
#![allow(
    unsafe_code,
    reason = "fork, unshare and prctl have no safe wrapper; each block says why it is sound"
)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

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
    Device {
        path: CString,
        device: libc::dev_t,
    },
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

/// What the child does before it becomes the program.
#[derive(Debug)]
pub(crate) struct Confinement {
    pub(crate) root: CString,
    pub(crate) namespaces: libc::c_int,
    pub(crate) host_name: CString,
    /// In order, before the new process namespace is entered.
    pub(crate) mounts: Vec<Mount>,
    pub(crate) makes: Vec<Make>,
    /// In order, after `makes`.
    pub(crate) last: Vec<Mount>,
    /// Made by the first process of the new process namespace.
    pub(crate) proc: Mount,
    /// Made after `proc`.
    pub(crate) read_only: Vec<Mount>,
    /// The only capabilities that anything inside may ever have (capabilities(7)).
    pub(crate) allowed: &'static [libc::c_ulong],
}

/// Makes `command` run confined.
pub(crate) fn confine(command: &mut Command, confinement: Confinement) {
    // SAFETY: the closure only makes system calls on memory that it owns since before the fork; it neither allocates nor locks.
    unsafe {
        command.pre_exec(move || confinement.enter());
    }
}

/// Makes `command` the first process of a namespace for processes: whatever it leaves running ends with it, and it ends with the
/// thread that waits for it. Without `network` there is none.
pub(crate) fn gather(command: &mut Command, network: bool) {
    let namespaces = libc::CLONE_NEWNS | libc::CLONE_NEWPID;
    let namespaces = if network { namespaces } else { namespaces | libc::CLONE_NEWNET };
    // SAFETY: the closure only makes system calls on constants; it neither allocates nor locks.
    unsafe {
        command.pre_exec(move || {
            die_with_parent()?;
            libc::umask(0o022);
            check(libc::unshare(namespaces))?;
            mount(c"none", c"/", c"", libc::MS_REC | libc::MS_PRIVATE, c"")?;
            first_process()?;
            let flags = libc::MS_NOSUID | libc::MS_NOEXEC | libc::MS_NODEV;
            mount(c"proc", c"/proc", c"proc", flags, c"")
        });
    }
}

/// Gives the calling thread, and the threads it starts, a mount namespace of its own, whose mounts nobody else sees and which
/// vanish with the last of those threads and their children.
pub(crate) fn own_mount_namespace() -> io::Result<()> {
    // SAFETY: unshare takes a number and touches no memory.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    mount(c"none", c"/", c"", libc::MS_REC | libc::MS_PRIVATE, c"")
}

impl Confinement {
    fn enter(&self) -> io::Result<()> {
        die_with_parent()?;
        // SAFETY: these take numbers and touch no memory.
        unsafe {
            libc::setsid();
            libc::umask(0o022);
            check(libc::unshare(self.namespaces))?;
        }
        mount(c"none", c"/", c"", libc::MS_REC | libc::MS_PRIVATE, c"")?;
        for one in &self.mounts {
            one.make()?;
        }
        for one in &self.makes {
            one.make()?;
        }
        for one in &self.last {
            one.make()?;
        }
        let name = self.host_name.as_bytes();
        // SAFETY: the pointer and the length describe `name`, which lives on.
        check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) })?;
        first_process()?;
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
            // Whatever we were started with, open files of the host are none of the program's business.
            let close = libc::CLOSE_RANGE_CLOEXEC as libc::c_uint;
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, close);
        }
        Ok(())
    }
}

impl Mount {
    fn make(&self) -> io::Result<()> {
        match mount(&self.source, &self.target, &self.kind, self.flags, &self.data) {
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
                Self::Device { path, device } => {
                    check(libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o666, *device))?;
                    // mknod takes the umask away.
                    check(libc::chmod(path.as_ptr(), 0o666))
                }
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

/// When whoever started us dies, so do we: nothing of a sandbox outlives a build that was killed.
fn die_with_parent() -> io::Result<()> {
    // SAFETY: takes numbers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) })
}

/// Goes on as the first process of the namespace for processes that was unshared: it begins with the next child.
fn first_process() -> io::Result<()> {
    // SAFETY: the child goes on with system calls alone, as the caller does.
    match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {}
        child => wait_and_exit(child),
    }
    die_with_parent()
}

/// Waits for the sandbox's first process and ends as it ended.
fn wait_and_exit(child: libc::pid_t) -> ! {
    // SAFETY: closes what would keep the caller waiting for us to become the program; waits; leaves without running
    // anything of the copied process.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
        let mut status = 0;
        while libc::waitpid(child, &raw mut status, 0) == -1 {
            if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                libc::_exit(125);
            }
        }
        if libc::WIFEXITED(status) {
            libc::_exit(libc::WEXITSTATUS(status));
        }
        libc::_exit(128 + libc::WTERMSIG(status));
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

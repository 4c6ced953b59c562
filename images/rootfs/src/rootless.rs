//! An ordinary user as root of a user namespace (user_namespaces(7)): owner of all the users that a tree's files belong to.
//!
//! Inside, number 0 is the user, and 1 to 65535 are the numbers that the machine lends the user in `/etc/subuid` and
//! `/etc/subgid`; newuidmap(1) and newgidmap(1) see to that. Everything else of this crate then does what it does as root, with the same
//! bytes as the result. What is different in there, each thing has where it is done: overlayfs notes in `user.*` instead of `trusted.*`
//! attributes ([`layered`](crate::layered)), mounts keep what the machine's forbid ([`sys`](crate::sys)), no device nodes can be made.

mod ranges;
mod refusal;

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{FileType, XattrFlags};

pub use refusal::Refusal;

use crate::error::Error;
use crate::root::{self, Attributes, OPAQUE, Parents, Root, remove_tree};
use crate::sys;
use ranges::Range;

/// How many users a tree has: Debian numbers them below 65536 (Debian Policy 9.2), and so does nearly everybody.
const USERS: u32 = 1 << 16;

/// Makes this process root of a user namespace and a mount namespace of its own, where it is not root already. It must not have
/// started a thread.
///
/// # Errors
/// The machine forbids it, or lacks what it takes. Half-way into the namespace this process can do nothing but end.
pub fn become_root() -> Result<(), Refusal> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let user = User::new();
    let ours = std::process::id();
    let kinds = [("newuidmap", "/etc/subuid", user.uid), ("newgidmap", "/etc/subgid", user.gid)];
    let mut mappers = Vec::new();
    for (program, file, own) in kinds {
        let program = installed(program).ok_or(Refusal::NoProgram { program })?;
        let lent = ranges::of(&user, Path::new(file))?;
        mappers.push(Mapper::start(program, ours, own, &lent)?);
    }
    sys::own_user_namespace().map_err(|source| Refusal::of_namespaces(source, &proc_file))?;
    for mapper in mappers {
        mapper.map()?;
    }
    sys::own_mount_namespace().map_err(|source| Refusal::of_mounts(source, &proc_file))
}

/// Under which numbers the machine knows the users and groups of a tree that is made here: what one user lent is another's, or nobody's,
/// for whoever has other numbers.
#[must_use]
pub fn numbers() -> String {
    let maps = ["uid_map", "gid_map"].map(|map| {
        let lines = std::fs::read_to_string(Path::new("/proc/self").join(map)).unwrap_or_default();
        lines.split_whitespace().collect::<Vec<_>>().join(" ")
    });
    maps.join(", ")
}

/// Is this another user namespace than the machine's own? There, root has not all that root has.
pub(crate) fn in_user_namespace() -> bool {
    // (The machine's own maps every number to itself.)
    numbers() != "0 0 4294967295, 0 0 4294967295"
}

/// The attribute by which overlayfs marks an opaque folder here.
pub(crate) fn opaque() -> &'static [u8] {
    if in_user_namespace() { b"user.overlay.opaque" } else { OPAQUE }
}

/// Why nobody of that number can own anything.
pub(crate) fn no_such_user(uid: u32, gid: u32) -> io::Error {
    io::Error::other(format!(
        "nothing can belong to user {uid} and group {gid} here: without root there are those below {USERS}"
    ))
}

/// Can trees be made in a folder, with all that belongs to them?
///
/// # Errors
/// [`Error::Unfit`] says what cannot be made there.
pub fn fit(folder: &Path) -> Result<(), Error> {
    let tried = folder.join("fit");
    let unfit = |what| move |source| Error::Unfit { folder: folder.to_owned(), what, source };
    let root = Root::create(&tried)?;
    let mut parents = Parents::default();
    let place = parents.place(&root, Path::new("file"))?;
    let theirs = Attributes { mode: 0o4755, uid: 1, gid: 1, mtime: 0 };
    root::create(&place)
        .and_then(|_| root::set_attributes(&place, false, theirs))
        .map_err(unfit("files of other users"))?;
    let name = OsStr::from_bytes(opaque());
    rustix::fs::setxattr(&tried, name, b"y", XattrFlags::empty())
        .map_err(|source| unfit("extended attributes")(source.into()))?;
    let place = parents.place(&root, Path::new("whiteout"))?;
    root::node(&place, FileType::CharacterDevice, 0, 0).map_err(unfit("whiteouts"))?;
    remove_tree(&tried)
}

/// Who builds.
#[derive(Debug)]
struct User {
    uid: u32,
    gid: u32,
    /// The number again, where nobody knows a name.
    name: String,
}

impl User {
    fn new() -> Self {
        let uid = rustix::process::getuid().as_raw();
        // Users may be known elsewhere than in /etc/passwd.
        let said = Command::new("id").args(["-u", "-n"]).stderr(Stdio::null()).output();
        let name = said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
        let name = name.ok().filter(|name| !name.is_empty()).unwrap_or_else(|| uid.to_string());
        Self { uid, gid: rustix::process::getgid().as_raw(), name }
    }
}

/// One who says who this process is inside, once there is an inside: it cannot do so itself, nor start anybody who could then.
struct Mapper {
    program: &'static str,
    child: Child,
}

impl Mapper {
    fn start(
        program: (&'static str, PathBuf),
        process: u32,
        own: u32,
        lent: &[Range],
    ) -> Result<Self, Refusal> {
        let (program, path) = program;
        let mut next = 1;
        let mut numbers = vec![0, own, 1];
        for range in lent {
            numbers.extend([next, range.first, range.count]);
            next += range.count;
        }
        let mut command = Command::new("/bin/sh");
        // It waits for a word, and ends where there comes none.
        command.args(["-c", "read -r word && exec \"$@\"", "sh"]).arg(path);
        command.arg(process.to_string()).args(numbers.iter().map(u32::to_string));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|source| Refusal::Unstarted { program, source })?;
        Ok(Self { program, child })
    }

    fn map(self) -> Result<(), Refusal> {
        let Self { program, mut child } = self;
        let mut said = String::new();
        let mut wait = || -> io::Result<bool> {
            if let Some(mut word) = child.stdin.take() {
                word.write_all(b"go\n")?;
            }
            if let Some(mut pipe) = child.stderr.take() {
                pipe.read_to_string(&mut said)?;
            }
            Ok(child.wait()?.success())
        };
        match wait() {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::Unmapped { program, said: said.trim().to_owned() }),
            Err(source) => Err(Refusal::Unstarted { program, source }),
        }
    }
}

/// A program of this machine's, with its path.
fn installed(name: &'static str) -> Option<(&'static str, PathBuf)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/bin", "/bin"].map(PathBuf::from);
    let mut found = std::env::split_paths(&path).chain(usual).map(|folder| folder.join(name));
    found.find(|program| program.is_file()).map(|path| (name, path))
}

/// What a file of `/proc/sys` says; nothing, where the machine has none of that name.
fn proc_file(name: &str) -> Option<String> {
    let text = std::fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?;
    Some(text.trim().to_owned())
}

//! What a recipe does to a tree besides installing packages.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::error::Error;
use crate::network::Network;
use crate::root::{self, Attributes, Parents, Root};
use crate::sandbox::{PATH, Sandbox};
use crate::sys::{self, Gathering};
use crate::{Log, configure, run};

/// Lays the host's folder `source` over the tree. Everything in it becomes root's; folders and whatever may be executed get
/// mode 0755, other files 0644, whatever the host's umask made of them: what a version control system keeps, and no more.
///
/// # Errors
/// Something cannot be read or written, or is neither a file, a folder nor a symbolic link.
pub fn files(root: &Root, source: &Path, epoch: u64) -> Result<(), Error> {
    lay(root, source, Path::new(""), epoch, &mut Parents::default())
}

/// Puts the host's file or folder `source` at `at`, as [`files`] does with what is in a folder.
///
/// # Errors
/// As [`files`].
pub(crate) fn copy(root: &Root, source: &Path, at: &Path, epoch: u64) -> Result<(), Error> {
    let metadata = fs_err::metadata(source).map_err(Error::io("read", source))?;
    if metadata.is_dir() {
        root.make_folder(at)?;
        lay(root, source, at, epoch, &mut Parents::default())
    } else {
        entry(root, source, at, &metadata, epoch, &mut Parents::default())
    }
}

fn lay(
    root: &Root,
    source: &Path,
    at: &Path,
    epoch: u64,
    parents: &mut Parents,
) -> Result<(), Error> {
    let mut names: Vec<_> = fs_err::read_dir(source)
        .and_then(|entries| entries.map(|e| e.map(|e| e.file_name())).collect())
        .map_err(Error::io("read", source))?;
    names.sort_unstable();
    for name in names {
        let (from, to) = (source.join(&name), at.join(&name));
        let metadata = fs_err::symlink_metadata(&from).map_err(Error::io("read", &from))?;
        if metadata.is_dir() {
            // A folder that is there keeps its mode and owner.
            root.make_folder(&to)?;
            lay(root, &from, &to, epoch, parents)?;
        } else {
            entry(root, &from, &to, &metadata, epoch, parents)?;
        }
    }
    Ok(())
}

fn entry(
    root: &Root,
    from: &Path,
    to: &Path,
    metadata: &Metadata,
    epoch: u64,
    parents: &mut Parents,
) -> Result<(), Error> {
    let kind = metadata.file_type();
    let place = parents.place(root, to)?;
    let write = || -> std::io::Result<()> {
        root::remove(&place)?;
        let executable = metadata.permissions().mode() & 0o111 != 0;
        let mode = if executable { 0o755 } else { 0o644 };
        if kind.is_symlink() {
            let target = fs_err::read_link(from)?;
            root::symlink(&place, target.as_os_str().as_bytes())?;
        } else if kind.is_file() {
            let mut file = root::create(&place)?;
            std::io::copy(&mut fs_err::File::open(from)?, &mut file)?;
        } else {
            return Err(std::io::Error::other("it is neither a file, a folder nor a link"));
        }
        let mtime = i64::try_from(epoch).unwrap_or(0);
        root::set_attributes(&place, kind.is_symlink(), Attributes { mode, uid: 0, gid: 0, mtime })
    };
    write().map_err(Error::io("lay over the tree", from))
}

/// Puts the host's file `source` at `to`, as a program of root's.
///
/// # Errors
/// It cannot be read or written.
pub fn program(root: &Root, source: &Path, to: &Path, epoch: u64) -> Result<(), Error> {
    let mut content = fs_err::File::open(source).map_err(Error::io("read", source))?;
    put(root, to, 0o755, &mut content, epoch)
}

/// Puts `content` at `to`, as a file of root's.
///
/// # Errors
/// It cannot be read or written.
pub fn put(
    root: &Root,
    to: &Path,
    mode: u32,
    content: &mut dyn std::io::Read,
    epoch: u64,
) -> Result<(), Error> {
    let mut parents = Parents::default();
    let place = parents.place(root, to)?;
    let mtime = i64::try_from(epoch).unwrap_or(0);
    let mut write = || -> std::io::Result<()> {
        root::remove(&place)?;
        std::io::copy(content, &mut root::create(&place)?)?;
        root::set_attributes(&place, false, Attributes { mode, uid: 0, gid: 0, mtime })
    };
    write().map_err(Error::io("write", root.path().join(to)))
}

/// Runs the host's file `script` inside the tree, by its own `#!` line, whatever its mode on this host, with the variables
/// `env` besides the sandbox's, in this network, for at most `limit` seconds.
///
/// # Errors
/// It cannot be read or run, or ends otherwise than with 0.
pub fn script(
    root: &Root,
    script: &Path,
    env: &BTreeMap<String, String>,
    network: Network<'_>,
    limit: u32,
    epoch: u64,
    log: Log<'_>,
) -> Result<(), Error> {
    let contents = fs_err::read(script).map_err(Error::io("read", script))?;
    let sandbox =
        Sandbox::new(root.path(), epoch).with_file("provision", contents).with_limit(limit);
    let sandbox = network.around(sandbox);
    let sandbox =
        env.iter().fold(sandbox, |sandbox, (name, value)| sandbox.with_variable(name, value));
    let run = || sandbox.run(&script.display().to_string(), "/run/provision", &[], log).map(drop);
    if !network.is_host() {
        return run();
    }
    network.during(root, || configure::without_starting_services(root, run))
}

/// Runs the host's file `script` on the host, in its own folder, with the tree's path as its argument and in `ROOT`: for what
/// the tree's own programs cannot do. It may do anything that whoever builds may, for at most `limit` seconds; what it mounts
/// and what it leaves running ends with it.
///
/// # Errors
/// It cannot be run, or ends otherwise than with 0.
pub fn host_script(
    root: &Root,
    script: &Path,
    env: &BTreeMap<String, String>,
    limit: u32,
    epoch: u64,
    log: Log<'_>,
) -> Result<(), Error> {
    // Nothing of it outlives it, or us: it would write into a tree that is somebody else's by then.
    let mut command = Command::new(script);
    sys::gather(&mut command, Gathering { network: true, limit, view: None });
    command.arg(root.path()).env("ROOT", root.path()).envs(env);
    command.env("SOURCE_DATE_EPOCH", epoch.to_string());
    if let Some(folder) = script.parent() {
        command.current_dir(folder);
    }
    let ran = run::to_the_end(command, &script.display().to_string(), limit, log);
    ran.map(drop).map_err(|error| match error {
        Error::Sandbox { program, source } => Error::HostScript { program, source },
        error => error,
    })
}

/// Has the tree a program of that name where programs are looked for?
#[must_use]
pub fn has_program(root: &Root, name: &str) -> bool {
    let mut folders = PATH.split(':').map(|folder| Path::new(folder.trim_start_matches('/')));
    folders.any(|folder| root.exists(folder.join(name)))
}

/// The names of the files that units of systemd are in, and of their other names (systemd.unit(5), *Unit File Load Path*).
///
/// # Errors
/// A folder cannot be read.
pub fn units(root: &Root) -> Result<BTreeSet<String>, Error> {
    let folders = ["etc", "usr/local/lib", "usr/lib", "lib"];
    let mut units = BTreeSet::new();
    for folder in folders {
        let names = root.names(format!("{folder}/systemd/system"))?;
        units.extend(names.into_iter().filter_map(|name| name.into_string().ok()));
    }
    // For these systemd makes units of its own (systemd-sysv-generator(8)), and `systemctl enable` turns to update-rc.d(8).
    let scripts = root.names("etc/init.d")?.into_iter().filter_map(|name| name.into_string().ok());
    units.extend(scripts.map(|name| format!("{name}.service")));
    Ok(units)
}

/// What is done about a unit of systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// It is started at boot.
    Enable,
    /// It is not started at boot.
    Disable,
    /// It is never started.
    Mask,
    /// It is the target that is booted into.
    SetDefault,
}

/// Switches a unit on or off, by the tree's own systemctl(1).
///
/// # Errors
/// There is no such unit, or no systemd.
pub fn systemd(root: &Root, verb: Verb, unit: &str, epoch: u64, log: Log<'_>) -> Result<(), Error> {
    let verb = match verb {
        Verb::Enable => "enable",
        Verb::Disable => "disable",
        Verb::Mask => "mask",
        Verb::SetDefault => "set-default",
    };
    // There is no systemd running inside that could be told of it.
    let sandbox = Sandbox::new(root.path(), epoch).with_variable("SYSTEMD_OFFLINE", "1");
    let ran = sandbox.run(&format!("systemctl {verb} {unit}"), "systemctl", &[verb, unit], log);
    ran.map(drop).map_err(|error| {
        error.or_help("\n  help: take a unit that this can be done with, or leave it out")
    })
}

/// A user to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User<'a> {
    /// Login name.
    pub name: &'a str,
    /// Its number; the next free one where there is none.
    pub uid: Option<u32>,
    /// Uid below 1000.
    pub system: bool,
    /// Login shell.
    pub shell: &'a str,
    /// Further groups, which must exist.
    pub groups: &'a [String],
    /// May become root without a password.
    pub sudo: bool,
}

/// Makes a user with a home, without a password that opens anything.
///
/// # Errors
/// useradd(8) refuses, or the sudoers file cannot be written.
pub fn user(root: &Root, user: &User<'_>, epoch: u64, log: Log<'_>) -> Result<(), Error> {
    let groups = user.groups.join(",");
    let mut arguments = vec!["--create-home", "--user-group", "--shell", user.shell];
    if user.system {
        arguments.push("--system");
    }
    if !groups.is_empty() {
        arguments.extend(["--groups", &groups]);
    }
    let uid = user.uid.map(|uid| uid.to_string());
    if let Some(uid) = &uid {
        arguments.extend(["--uid", uid]);
    }
    arguments.push(user.name);
    let what = format!("useradd {}", user.name);
    let ran = Sandbox::new(root.path(), epoch).run(&what, "useradd", &arguments, log);
    ran.map_err(|error| {
        error.or_help("\n  help: write what useradd(8) takes, or make the user in a script")
    })?;
    if user.sudo {
        let rule = format!("{} ALL=(ALL) NOPASSWD: ALL\n", user.name);
        // sudoers(5): files with a dot in their name are not read.
        let name = user.name.replace('.', "_");
        root.write(format!("etc/sudoers.d/{name}"), 0o440, rule.as_bytes())?;
    }
    Ok(())
}

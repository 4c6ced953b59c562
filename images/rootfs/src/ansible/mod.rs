//! Roles and playbooks of Ansible's, through its chroot connection.
//!
//! Ansible itself runs on the host, in a namespace for processes of its own and without a network. All that it does to the tree
//! it does from inside the sandbox: where its connection would start chroot(8) it is given a program that enters ours. Of the
//! project it sees a copy of what the step reads, and nothing else ([`sight`]). Its modules are Python, and no image has to have one:
//! [`python`] brings it for as long as Ansible runs.

mod python;
mod sight;
mod told;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::error::Error;
use crate::network::Network;
use crate::root::Root;
use crate::sandbox::Sandbox;
use crate::sys::Gathering;
use crate::{Log, configure, run, sys};

pub use python::prepare as prepare_python;

/// Its plugin that runs modules in a tree.
const CONNECTION: &str = "community.general.chroot";

/// What the tree is called in Ansible's inventory.
const HOST: &str = "image";

/// Where the sandbox has the Python that was brought, below `/run`.
const PYTHON: &str = "overboot-python";

/// What Ansible is to do.
#[derive(Debug, Clone, Copy)]
pub struct Play<'a> {
    /// The folder that all paths are relative to.
    pub project: &'a Path,
    /// A role's folder, or a playbook.
    pub path: &'a Path,
    /// Is it a role?
    pub role: bool,
    /// Files of variables.
    pub vars: &'a [PathBuf],
    /// Variables that are stronger than all others.
    pub extra_vars: &'a BTreeMap<String, Value>,
    /// Everything that it may read.
    pub reads: &'a [PathBuf],
    /// The network that it has.
    pub network: Network<'a>,
    /// The seconds after which it is ended.
    pub limit: u32,
}

/// What it is done with.
#[derive(Debug, Clone, Copy)]
pub struct Means<'a> {
    /// The Python for its modules, made by [`prepare_python`].
    pub python: &'a Path,
    /// A folder that is not there yet, and that nobody needs afterwards.
    pub scratch: &'a Path,
    /// A program and its first arguments. Called with the file of a [`Sandbox`] in JSON, a path, a program and its arguments, it
    /// runs that program in the sandbox ([`Sandbox::become_program`]).
    pub enter: &'a [OsString],
}

/// Is there an Ansible on this machine that can do this?
///
/// # Errors
/// There is none, or one without its chroot connection.
pub fn ready() -> Result<(), Error> {
    // One that does not know the plugin says so, and calls that a success.
    let said = asked("ansible-doc", &["--type", "connection", CONNECTION])?;
    if said.contains("chroot_exe") {
        return Ok(());
    }
    let why = format!("the Ansible of this machine has no connection \"{CONNECTION}\"");
    Err(Error::NoAnsible { why })
}

/// The versions of this machine's Ansible: of its core, and of the collections that come with it, whose modules do the work.
///
/// # Errors
/// There is none, or it does not say.
pub fn version() -> Result<String, Error> {
    let said = asked("ansible-playbook", &["--version"])?;
    let core = said.lines().next().and_then(|line| line.split_once('[')?.1.split_once(']'));
    let Some((core, _)) = core else {
        let why = "the Ansible of this machine does not say which version it is".to_owned();
        return Err(Error::NoAnsible { why });
    };
    let line = |name: &str| said.lines().find_map(|line| line.trim().strip_prefix(name));
    let collections = line("ansible python module location = ").and_then(|core| {
        let beside = Path::new(core).with_file_name("ansible_collections/ansible_release.py");
        let text = fs_err::read_to_string(beside).ok()?;
        Some(text.lines().find_map(|line| line.strip_prefix("ansible_version = "))?.to_owned())
    });
    let collections =
        collections.map(|version| format!(", ansible {}", version.trim_matches('\'')));
    Ok(format!("{core}{}", collections.unwrap_or_default()))
}

/// What a program of Ansible's prints, with nothing of its user's or its machine's own settings.
fn asked(name: &str, arguments: &[&str]) -> Result<String, Error> {
    let program = installed(name)?;
    let mut command = Command::new(&program);
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.args(arguments).current_dir("/").env_clear();
    command.env("PATH", path).env("HOME", "/").env("LC_ALL", "C.UTF-8");
    command.env("ANSIBLE_LOCAL_TEMP", std::env::temp_dir());
    let output = command.output().map_err(Error::io("run", &program))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where a program of Ansible's is.
fn installed(name: &str) -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join(name));
    let found = found.find(|program| program.is_file());
    let missing = || Error::NoAnsible { why: format!("this machine has no Ansible: no {name}") };
    std::path::absolute(found.ok_or_else(missing)?).map_err(Error::io("find", name))
}

/// Runs a role or a playbook on the tree.
///
/// # Errors
/// A task fails, no task is for the tree, Ansible cannot be run, or something that it reads cannot.
pub fn ansible(
    root: &Root,
    play: &Play<'_>,
    means: &Means<'_>,
    epoch: u64,
    log: Log<'_>,
) -> Result<(), Error> {
    let place = Place::make(root, play, means, epoch)?;
    let program = installed("ansible-playbook")?;
    let really = fs_err::canonicalize(&program).map_err(Error::io("find", &program))?;
    if program.starts_with(play.project) || really.starts_with(play.project) {
        let why = format!("{} is in the project, of which Ansible sees nothing", program.display());
        return Err(Error::NoAnsible { why });
    }
    let mut command = place.command(&program, play, epoch)?;
    let network = play.network;
    let enters = means.enter.first().map(Path::new);
    let shown: Vec<&Path> =
        [root.path(), means.python, place.folder.as_path()].into_iter().chain(enters).collect();
    let view = sight::only(play.project, &shown, &place.aside()?, &place.project)?;
    let gathering = Gathering { network: network.is_host(), limit: play.limit, view: Some(view) };
    sys::gather(&mut command, gathering);
    if let Some((name, value)) = network.variables() {
        command.env(name, value);
    }
    // The project's copy is named as the project is.
    let shown = |line: &str| line.replace(&format!("{}/", place.project.display()), "");
    let what = format!("ansible {}", play.path.display());
    let ran = network.during(root, || {
        configure::without_starting_services(root, || {
            Ok(run::to_the_end(command, &what, play.limit, &|line| {
                log(&shown(line));
            }))
        })
    })?;
    let told = told::read(&place.told());
    match ran {
        Ok(_) if told.reached => Ok(()),
        Ok(_) => Err(Error::NotReached(play.path.to_owned())),
        Err(Error::Failed { what, status, tail, .. }) => Err(match told.failed {
            Some(failed) => failed.error(&place.project, network.is_host()),
            None => {
                let help = told::remedy("", &tail, network.is_host());
                Error::Failed { what, status, tail: shown(&tail), help }
            }
        }),
        Err(error) => Err(error),
    }
}

/// The files that Ansible is run with.
struct Place {
    folder: PathBuf,
    /// The copy of what it reads of the project.
    project: PathBuf,
}

impl Place {
    fn make(root: &Root, play: &Play<'_>, means: &Means<'_>, epoch: u64) -> Result<Self, Error> {
        let place = Self { folder: means.scratch.into(), project: means.scratch.join("project") };
        sight::copy(play.project, play.reads, &place.project, epoch)?;
        let temporary = place.folder.join("tmp");
        for (folder, mode) in [(&temporary, 0o1777), (&place.folder.join("home"), 0o700)] {
            let make = || {
                fs_err::create_dir_all(folder)?;
                fs_err::set_permissions(folder, PermissionsExt::from_mode(mode))
            };
            make().map_err(Error::io("make", folder))?;
        }
        let sandbox = Sandbox::new(root.path(), epoch)
            .with_limit(play.limit)
            .with_folder(PYTHON, means.python)
            .with_scratch(temporary)
            .with_variable("PYTHONDONTWRITEBYTECODE", "1")
            // There is no systemd running inside that could be asked.
            .with_variable("SYSTEMD_OFFLINE", "1");
        let sandbox = serde_json::to_value(play.network.around(sandbox)).unwrap_or_default();
        place.write("sandbox.json", 0o600, &sandbox.to_string())?;
        let enter = place.path("sandbox.json");
        let words = means.enter.iter().map(OsString::as_os_str).chain([enter.as_os_str()]);
        let words = words.map(quoted).collect::<Result<Vec<_>, _>>()?.join(" ");
        place.write("enter", 0o755, &format!("#!/bin/sh\nexec {words} \"$@\"\n"))?;
        place.write("inventory.json", 0o600, &place.inventory(root).to_string())?;
        place.write("extra-vars.json", 0o600, &json!(play.extra_vars).to_string())?;
        place.write("ansible.cfg", 0o600, "[defaults]\n")?;
        place.write("callbacks/overboot_told.py", 0o600, include_str!("told.py"))?;
        place.write("actions/gather_facts.py", 0o600, include_str!("facts.py"))?;
        if play.role {
            place.write("role.yml", 0o600, &place.play_of_role(play).to_string())?;
        }
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// An empty folder, beside all others.
    fn aside(&self) -> Result<PathBuf, Error> {
        let aside = self.path("aside");
        fs_err::create_dir_all(&aside).map_err(Error::io("make", &aside))?;
        Ok(aside)
    }

    fn told(&self) -> PathBuf {
        self.path("told.json")
    }

    fn write(&self, name: &str, mode: u32, text: &str) -> Result<(), Error> {
        let path = self.path(name);
        let write = || {
            if let Some(folder) = path.parent() {
                fs_err::create_dir_all(folder)?;
            }
            fs_err::write(&path, text)?;
            fs_err::set_permissions(&path, PermissionsExt::from_mode(mode))
        };
        write().map_err(Error::io("write", &path))
    }

    /// The tree, as the only host there is.
    fn inventory(&self, root: &Root) -> Value {
        json!({ "all": { "hosts": { HOST: {
            "ansible_connection": CONNECTION,
            "ansible_host": root.path(),
            "ansible_chroot_exe": self.path("enter"),
            "ansible_user": "root",
            "ansible_python_interpreter": format!("/run/{PYTHON}/usr/bin/python3"),
        } } } })
    }

    /// A role by itself, with its variables as strong as a play's.
    fn play_of_role(&self, play: &Play<'_>) -> Value {
        let vars: Vec<PathBuf> = play.vars.iter().map(|path| self.project.join(path)).collect();
        json!([{
            "name": play.path,
            "hosts": HOST,
            "gather_facts": true,
            "vars_files": vars,
            // Found in the first of `ANSIBLE_ROLES_PATH`.
            "roles": [{ "role": play.path.file_name().unwrap_or_default().to_string_lossy() }],
        }])
    }

    /// `ansible-playbook`, with nothing of its user's or its machine's own settings.
    fn command(&self, program: &Path, play: &Play<'_>, epoch: u64) -> Result<Command, Error> {
        let mut command = Command::new(program);
        command.arg("--inventory").arg(self.path("inventory.json"));
        if play.role {
            command.arg(self.path("role.yml"));
        } else {
            for path in play.vars {
                command.arg("--extra-vars").arg(file(&self.project.join(path)));
            }
            command.arg(self.project.join(play.path));
        }
        command.arg("--extra-vars").arg(file(&self.path("extra-vars.json")));
        let beside = self.project.join(play.path).parent().map(Path::to_owned);
        let roles = [beside, Some(self.project.join("roles")), Some(self.project.clone())];
        let roles: Vec<PathBuf> = roles.into_iter().flatten().collect();
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().current_dir(&self.project);
        command.env("PATH", path).env("HOME", self.path("home")).env("LC_ALL", "C.UTF-8");
        command.env("SOURCE_DATE_EPOCH", epoch.to_string()).env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("ANSIBLE_CONFIG", self.path("ansible.cfg"));
        command.env("ANSIBLE_HOME", self.path("home"));
        command.env("ANSIBLE_LOCAL_TEMP", self.path("home/tmp")).env("ANSIBLE_REMOTE_TEMP", "/tmp");
        command.env("ANSIBLE_ROLES_PATH", joined(&roles)?);
        command.env("ANSIBLE_COLLECTIONS_PATH", self.project.join("collections"));
        command.env("ANSIBLE_ACTION_PLUGINS", self.path("actions"));
        command.env("ANSIBLE_CALLBACK_PLUGINS", self.path("callbacks"));
        command.env("ANSIBLE_CALLBACKS_ENABLED", "overboot_told");
        command.env("OVERBOOT_TOLD", self.told()).env("OVERBOOT_HOST", HOST);
        command.envs([
            ("ANSIBLE_STDOUT_CALLBACK", "default"),
            ("ANSIBLE_NOCOLOR", "1"),
            ("ANSIBLE_NOCOWS", "1"),
            ("ANSIBLE_RETRY_FILES_ENABLED", "0"),
            ("ANSIBLE_DEPRECATION_WARNINGS", "0"),
            ("ANSIBLE_LOCALHOST_WARNING", "0"),
            ("ANSIBLE_PIPELINING", "1"),
            ("ANSIBLE_FORKS", "1"),
        ]);
        Ok(command)
    }
}

/// A word of a shell's command line, whatever is in it.
fn quoted(word: &OsStr) -> Result<String, Error> {
    let source = || std::io::Error::other("its name is not UTF-8");
    let text = word.to_str().ok_or_else(|| Error::io("name", PathBuf::from(word))(source()))?;
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}

/// A file of variables, as an argument.
fn file(path: &Path) -> OsString {
    OsString::from_iter([OsStr::new("@"), path.as_os_str()])
}

/// Folders as a search path.
fn joined(folders: &[PathBuf]) -> Result<OsString, Error> {
    std::env::join_paths(folders).map_err(|_| {
        let colon = folders.iter().find(|folder| folder.as_os_str().as_bytes().contains(&b':'));
        let source = std::io::Error::other("Ansible takes no path with a colon in it");
        Error::io("use the folder", colon.cloned().unwrap_or_default())(source)
    })
}

//! An ordinary user of this machine, of whom only what is started as that user knows.
//!
//! Whatever runs as the user has a mount namespace of its own (mount_namespaces(7)), in which `/etc` has the user and the numbers that
//! the machine lends, and `/mnt` is a folder of the test's: nothing of the machine is changed, and no folder above the test's needs
//! to be open to the user.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::program::run;
use crate::require;

/// Her name.
pub const NAME: &str = "alice";

/// Her number, and that of her group.
pub const NUMBER: u32 = 4711;

/// A user, and what the machine lends her.
#[derive(Debug)]
pub struct User {
    etc: tempfile::TempDir,
}

/// Can there be a user here who builds?
#[must_use]
pub fn possible() -> bool {
    require::root() && require::programs(&["unshare", "mount", "setpriv", "newuidmap", "newgidmap"])
}

impl User {
    /// One who is lent what Debian's useradd(8) lends.
    #[must_use]
    pub fn new() -> Self {
        Self::lent(&format!("{NAME}:500000:65536\n"))
    }

    /// One for whom `/etc/subuid` and `/etc/subgid` have these lines.
    ///
    /// # Panics
    ///
    /// When her files cannot be written.
    #[must_use]
    pub fn lent(lines: &str) -> Self {
        let etc = tempfile::tempdir().unwrap();
        let users = format!("{NAME}:x:{NUMBER}:{NUMBER}::/mnt:/bin/sh\n");
        for (file, more) in [
            ("passwd", users.as_str()),
            ("group", &format!("{NAME}:x:{NUMBER}:\n")),
            ("subuid", ""),
            ("subgid", ""),
        ] {
            let sub = file.starts_with("sub");
            let before = if sub { lines.to_owned() } else { machine(file) };
            fs::write(etc.path().join(file), before + more).unwrap();
        }
        run(Command::new("chmod").args(["-R", "a+rX"]).arg(etc.path()));
        Self { etc }
    }

    /// `program` as her, for whom `home` is `/mnt`. Before, root does what the shell script `before` says, in what she sees.
    #[must_use]
    pub fn command(&self, home: &Path, before: &str, program: impl AsRef<OsStr>) -> Command {
        let script = format!(
            "mount -t overlay -o \"lowerdir=$1:/etc\" overlay /etc\nmount --bind \"$2\" /mnt\nshift 2\n{before}\n\
             exec setpriv --reuid {NUMBER} --regid {NUMBER} --clear-groups -- \"$@\""
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-ec", &script, "sh"]);
        command.arg(self.etc.path()).arg(home).arg(program);
        command.current_dir("/").env("HOME", "/mnt").env("USER", NAME);
        command
    }

    /// Gives her a folder with all that is in it.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub fn give(&self, folder: &Path) {
        run(Command::new("chown").arg("-R").arg(format!("{NUMBER}:{NUMBER}")).arg(folder));
    }
}

impl Default for User {
    fn default() -> Self {
        Self::new()
    }
}

fn machine(file: &str) -> String {
    fs::read_to_string(Path::new("/etc").join(file)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn she_is_known_to_her_programs_alone() {
        if !possible() {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let user = User::new();
        user.give(home.path());
        let script =
            "id -un; id -G; cat /etc/subuid; echo hers > /mnt/file; cat /etc/shadow || echo no";
        let said = run(user.command(home.path(), "", "sh").args(["-c", script]));
        assert_eq!(said, "alice\n4711\nalice:500000:65536\nno\n");
        assert_eq!(fs::read_to_string(home.path().join("file")).unwrap(), "hers\n");
        assert!(!machine("passwd").contains(NAME));
    }
}

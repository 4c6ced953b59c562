//! Why a machine does not let an ordinary user build, each cause with its remedy.

use std::io;
use std::path::PathBuf;

/// Why an ordinary user cannot become root of a namespace.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// What says who is who in a namespace is missing.
    #[error("building without root needs {program}, which this machine does not have")]
    NoProgram {
        /// Its name.
        program: &'static str,
    },
    /// No user numbers, or not enough.
    #[error(
        "building without root needs 65535 numbers for the users of a tree, and {} lends {user} {}",
        file.display(), numbers(*count)
    )]
    TooFew {
        /// The user.
        user: String,
        /// The file that says who may have which.
        file: PathBuf,
        /// How many it says.
        count: u32,
        /// The first one that is free.
        free: u32,
    },
    /// The machine lets nobody but root make user namespaces.
    #[error("this machine lets only root make user namespaces: {what}")]
    Forbidden {
        /// By what.
        what: &'static str,
        /// What to do.
        help: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// newuidmap or newgidmap did not do it.
    #[error("{program} refused to set up a user namespace: {said}")]
    Unmapped {
        /// Which of them.
        program: &'static str,
        /// What it said.
        said: String,
    },
    /// newuidmap or newgidmap could not be run.
    #[error("cannot run {program}")]
    Unstarted {
        /// Which of them.
        program: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// For all that only the machine's administrator can do.
const ROOT: &str = "or build with sudo";

impl Refusal {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let help = match self {
            Self::NoProgram { .. } => {
                format!("install Debian's package: apt-get install uidmap; {ROOT}")
            }
            Self::TooFew { user, file, free, .. } => {
                format!("write a line into {}: {user}:{free}:65536; {ROOT}", file.display())
            }
            Self::Forbidden { help, .. } => format!("{help}; {ROOT}"),
            Self::Unmapped { program, .. } | Self::Unstarted { program, .. } => format!(
                "see whether {program} belongs to root and is set-uid, as Debian's package uidmap has it, and that nothing here forbids that (containers may: no-new-privileges); {ROOT}"
            ),
        };
        Some(help)
    }

    /// Why there is no namespace. `setting` gives what a file below `/proc/sys` says.
    pub(super) fn of_namespaces(
        source: io::Error,
        setting: &dyn Fn(&str) -> Option<String>,
    ) -> Self {
        let is = |name: &str, value: &str| setting(name).as_deref() == Some(value);
        let (what, help) = if is("user/max_user_namespaces", "0") {
            (
                "user.max_user_namespaces is 0",
                "have it allow some: sysctl user.max_user_namespaces=10000, and a file in /etc/sysctl.d to keep that",
            )
        } else if is("kernel/unprivileged_userns_clone", "0") {
            (
                "kernel.unprivileged_userns_clone is 0",
                "allow it: sysctl kernel.unprivileged_userns_clone=1, and a file in /etc/sysctl.d to keep that",
            )
        } else if let Some(apparmor) = apparmor(setting) {
            apparmor
        } else if source.raw_os_error() == Some(libc::ENOSPC) {
            (
                "there are as many as user.max_user_namespaces allows",
                "allow more of them by sysctl, or end what holds them",
            )
        } else {
            (
                "the kernel refused one",
                "outside of a container or a chroot it may be allowed; a container may allow it by its seccomp profile",
            )
        };
        Self::Forbidden { what, help, source }
    }

    /// Why there are no mounts in a namespace that there is.
    pub(super) fn of_mounts(source: io::Error, setting: &dyn Fn(&str) -> Option<String>) -> Self {
        let (what, help) = apparmor(setting).unwrap_or((
            "nothing can be mounted in the one that there is",
            "see which security module forbids it (dmesg tells)",
        ));
        Self::Forbidden { what, help, source }
    }
}

/// Ubuntu's, from 23.10 on: a namespace can be made, and is worth nothing.
fn apparmor(setting: &dyn Fn(&str) -> Option<String>) -> Option<(&'static str, &'static str)> {
    (setting("kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1")).then_some((
        "AppArmor takes all rights from theirs (kernel.apparmor_restrict_unprivileged_userns is 1)",
        "allow it for overboot, in /etc/apparmor.d/overboot: `abi <abi/4.0>, include <tunables/global> profile overboot /usr/local/bin/overboot flags=(unconfined) { userns, }` with the path that it has here, then `apparmor_parser -r /etc/apparmor.d/overboot`",
    ))
}

fn numbers(count: u32) -> String {
    match count {
        0 => "no numbers".to_owned(),
        count => format!("{count} numbers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_sentence() {
        let refused = || io::Error::from_raw_os_error(libc::EPERM);
        let full = || io::Error::from_raw_os_error(libc::ENOSPC);
        for (name, value, source, word) in [
            ("user/max_user_namespaces", "0", full(), "user.max_user_namespaces is 0"),
            ("user/max_user_namespaces", "5", full(), "as many as user.max_user_namespaces"),
            ("kernel/unprivileged_userns_clone", "0", refused(), "userns_clone is 0"),
            ("kernel/apparmor_restrict_unprivileged_userns", "1", refused(), "AppArmor"),
            ("kernel/apparmor_restrict_unprivileged_userns", "0", refused(), "the kernel refused"),
        ] {
            let setting = |asked: &str| (asked == name).then(|| value.to_owned());
            let refusal = Refusal::of_namespaces(source, &setting);
            assert!(refusal.to_string().contains(word), "{name}: {refusal}");
            assert!(refusal.hint().unwrap().ends_with("or build with sudo"), "{refusal:?}");
        }
        // Where namespaces are made and are worth nothing.
        let ubuntu = |asked: &str| {
            (asked == "kernel/apparmor_restrict_unprivileged_userns").then(|| "1".to_owned())
        };
        let refusal = Refusal::of_mounts(refused(), &ubuntu);
        assert!(refusal.to_string().contains("AppArmor"), "{refusal}");
        assert!(refusal.hint().unwrap().contains("/etc/apparmor.d/overboot"), "{refusal:?}");
        assert!(Refusal::of_mounts(refused(), &|_| None).to_string().contains("mounted"));
    }
}

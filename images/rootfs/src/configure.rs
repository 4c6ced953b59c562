//! Maintainer scripts, by the tree's own programs in the sandbox.

use std::path::Path;

use overboot_debian::deb;
use rustix::fs::FileType;

use crate::Log;
use crate::dpkg::{FOLDER, status};
use crate::error::Error;
use crate::install::Package;
use crate::root::Root;
use crate::sandbox::Sandbox;

/// Where dpkg puts the control files of a package that it is about to unpack; debconf looks for templates there.
const TEMPORARY: &str = "var/lib/dpkg/tmp.ci";

/// How it is said which package's preinst script runs; its name follows.
pub(crate) const PREINST: &str = "the preinst script of ";

/// What to do when a package's own script fails.
const FAILED: &str = "\n  help: leave the package out, or put there before what its script misses: with a step before this one";

/// What stands in a tree only while something is done in it, if nothing else is there.
#[derive(Clone, Copy)]
struct StandIn {
    path: &'static str,
    mode: u32,
    /// Says whose it is. An image may have another one that does the same, and that one stays; a copy of ours that was put back
    /// meanwhile is ours.
    content: &'static [u8],
}

/// A policy that no service is started (`invoke-rc.d`'s policy-rc.d interface: 101, "action forbidden").
const POLICY: StandIn = StandIn {
    path: "usr/sbin/policy-rc.d",
    mode: 0o755,
    content: b"#!/bin/sh\n# Of overboot, for as long as it builds this image: no service is started.\nexit 101\n",
};

/// openssh-server makes host keys when it is configured, where there are none. No image may hold any, and one of RSA takes up to a second,
/// longer than all else that the package does.
const RSA_KEY: StandIn = StandIn {
    path: "etc/ssh/ssh_host_rsa_key",
    mode: 0o600,
    content: b"Of overboot, so that no key is made that would only be removed.\n",
};

/// Runs the preinst scripts of packages that have one (Debian Policy 6.5: `preinst install`).
pub(crate) fn preinst(
    root: &Root,
    sandbox: &Sandbox,
    packages: &[&Package],
    log: Log<'_>,
) -> Result<(), Error> {
    for package in packages {
        let broken = |source| Error::Package { package: package.name.clone(), source };
        let head = fs_err::File::open(&package.path).and_then(|mut file| deb::head(&mut file));
        let head = head.map_err(Error::io("read", &package.path))?;
        let control = deb::control(&head).map_err(broken)?;
        if control.get("preinst").is_none() {
            continue;
        }
        root.remove(TEMPORARY)?;
        for (name, file) in &control.0 {
            root.write(format!("{TEMPORARY}/{name}"), file.mode, &file.bytes)?;
        }
        let script = format!("/{TEMPORARY}/preinst");
        let what = format!("{PREINST}{}", package.name);
        // dpkg(1), *Internal environment*.
        let ran = sandbox
            .clone()
            .with_variable("DPKG_MAINTSCRIPT_PACKAGE", &package.name)
            .with_variable("DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT", "1")
            .with_variable("DPKG_MAINTSCRIPT_ARCH", &package.architecture)
            .with_variable("DPKG_MAINTSCRIPT_NAME", "preinst")
            .with_variable("DPKG_ADMINDIR", format!("/{FOLDER}"))
            .with_variable("DPKG_ROOT", "")
            .run(&what, &script, &["install"], log);
        root.remove(TEMPORARY)?;
        ran.map_err(|error| error.or_help(FAILED))?;
    }
    Ok(())
}

/// Has dpkg configure `packages` and whatever else is unpacked, and run the triggers that are due.
pub(crate) fn configure(
    root: &Root,
    sandbox: &Sandbox,
    packages: &[&Package],
    log: Log<'_>,
) -> Result<(), Error> {
    // The tree is not used before it is whole, so nothing has to be on the disk now.
    let arguments = [
        "--force-unsafe-io",
        // Nobody can be asked: what an earlier step put in a conffile's place stays.
        "--force-confdef",
        "--force-confold",
        "--configure",
        "-a",
    ];
    let makes_keys = packages.iter().any(|package| package.name == "openssh-server")
        && root.kind(Path::new("etc/ssh")) == Some(FileType::Directory);
    let stand_ins = if makes_keys { &[POLICY, RSA_KEY][..] } else { &[POLICY] };
    with(stand_ins, root, || {
        let ran = sandbox.run("dpkg --configure", "dpkg", &arguments, log);
        ran.map(drop).map_err(|error| error.or_help(FAILED))
    })
}

/// Does something in the tree that may install packages, whose services are not started then.
pub(crate) fn without_starting_services<T>(
    root: &Root,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    with(&[POLICY], root, work)
}

fn with<T>(
    stand_ins: &[StandIn],
    root: &Root,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    for StandIn { path, mode, content } in stand_ins {
        if root.kind(Path::new(path)).is_none() {
            root.write(path, *mode, content)?;
        }
    }
    // A tree in which this failed is not used.
    let done = work()?;
    for StandIn { path, content, .. } in stand_ins {
        // What was put in its place meanwhile is somebody else's.
        if root.kind(Path::new(path)) == Some(FileType::RegularFile) && root.read(path)? == *content
        {
            root.remove(path)?;
        }
    }
    Ok(done)
}

/// Is everybody installed?
pub(crate) fn check(root: &Root) -> Result<(), Error> {
    let rest: Vec<String> = status::installed(root)?
        .into_iter()
        .filter(|package| !package.status.ends_with(" installed"))
        .map(|package| format!("{} ({})", package.name, package.status))
        .collect();
    if rest.is_empty() { Ok(()) } else { Err(Error::Unconfigured(rest)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_is_not_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::create(folder.path()).unwrap();
        let others = b"#!/bin/sh\nexit 101\n";
        let during = |work: &dyn Fn()| {
            without_starting_services(&root, || {
                work();
                Ok(())
            })
            .unwrap();
        };
        // It comes while something is done, in the place of ours, or was there before.
        during(&|| {
            assert_eq!(root.read(POLICY.path).unwrap(), POLICY.content);
            root.write(POLICY.path, 0o755, others).unwrap();
        });
        assert_eq!(root.read(POLICY.path).unwrap(), others);
        during(&|| assert_eq!(root.read(POLICY.path).unwrap(), others));
        assert_eq!(root.read(POLICY.path).unwrap(), others);
        root.remove(POLICY.path).unwrap();
        // Ours goes, though it was put aside and back.
        during(&|| {
            let ours = root.read(POLICY.path).unwrap();
            root.remove(POLICY.path).unwrap();
            root.write(POLICY.path, 0o755, &ours).unwrap();
        });
        assert!(!root.exists(POLICY.path));
    }
}

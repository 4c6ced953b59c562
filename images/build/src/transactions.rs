//! The steps of provisioning as they are carried out: neighbouring lists of packages are one transaction, as they would be for
//! apt, so that packages see each other while they are configured.

use std::collections::BTreeMap;
use std::path::PathBuf;

use overboot_oci::Reference;
use overboot_recipe::{Ansible, Deb, Placed, Provisioner, Recipe, Script, Systemd, User};
use serde::Serialize;

use crate::plan::Target;

/// What is done in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transaction<'a> {
    /// Packages are installed: the names are in the lock's step of this number.
    Packages(usize),
    /// Inputs that are not shipped are put where they belong.
    Slots(&'a BTreeMap<String, Placed<PathBuf>>),
    /// A tree of files is laid over the root.
    Files(&'a Placed<PathBuf>),
    /// A script runs inside.
    Script(&'a Script),
    /// A script runs outside.
    HostScript(&'a Script),
    /// A container image is laid over the root.
    Container(&'a Placed<Reference>),
    /// Modules of the kernel that match these patterns are put where modprobe finds them, or into a folder.
    Modules(&'a [Placed<String>], Option<&'a Placed<PathBuf>>),
    /// Users are made.
    Users(&'a [User]),
    /// Units are switched on and off.
    Systemd(&'a Systemd),
    /// A role or playbook of Ansible's is run.
    Ansible(&'a Ansible),
}

/// Does an image start from a set of packages?
pub(crate) fn starts_from_packages(recipe: &Recipe, target: &Target) -> bool {
    let Target::Base(name) = target else { return false };
    recipe.bases.get(name).is_some_and(|base| base.variant.has_packages())
}

/// What a package transaction asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Packages {
    /// `name` or `name=version`.
    pub(crate) names: Vec<Placed<String>>,
    /// Package files.
    pub(crate) debs: Vec<Placed<Deb>>,
    /// What must not come along.
    pub(crate) exclude: Vec<Placed<String>>,
}

/// The transactions of an image, and what each of its package transactions asks for. `variant`: the image starts from a set of
/// packages, so that there is a transaction even when none is named.
pub(crate) fn transactions(
    provision: &[Provisioner],
    variant: bool,
) -> (Vec<Transaction<'_>>, Vec<Packages>) {
    let mut found = Vec::new();
    let mut wanted: Vec<Packages> = Vec::new();
    if variant {
        found.push(Transaction::Packages(0));
        wanted.push(Packages::default());
    }
    for step in provision {
        let (names, debs, exclude): (&[_], &[_], &[_]) = match step {
            Provisioner::Packages { names, exclude } => (names, &[], exclude),
            Provisioner::Debs { debs, exclude } => (&[], debs, exclude),
            Provisioner::Slots(slots) => {
                found.push(Transaction::Slots(slots));
                continue;
            }
            Provisioner::Files(path) => {
                found.push(Transaction::Files(path));
                continue;
            }
            Provisioner::Script(script) => {
                found.push(Transaction::Script(script));
                continue;
            }
            Provisioner::HostScript(script) => {
                found.push(Transaction::HostScript(script));
                continue;
            }
            Provisioner::Container(reference) => {
                found.push(Transaction::Container(reference));
                continue;
            }
            Provisioner::Modules { include, to } => {
                found.push(Transaction::Modules(include, to.as_ref()));
                continue;
            }
            Provisioner::Users(users) => {
                found.push(Transaction::Users(users));
                continue;
            }
            Provisioner::Systemd(units) => {
                found.push(Transaction::Systemd(units));
                continue;
            }
            Provisioner::Ansible(ansible) => {
                found.push(Transaction::Ansible(ansible));
                continue;
            }
        };
        if !matches!(found.last(), Some(Transaction::Packages(_))) {
            found.push(Transaction::Packages(wanted.len()));
            wanted.push(Packages::default());
        }
        if let Some(last) = wanted.last_mut() {
            last.names.extend_from_slice(names);
            last.debs.extend_from_slice(debs);
            last.exclude.extend_from_slice(exclude);
        }
    }
    (found, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_packages_are_one_transaction() {
        let packages = |name: &str| Provisioner::Packages {
            names: vec![name.to_owned().into()],
            exclude: vec![format!("no-{name}").into()],
        };
        let script = Script {
            path: PathBuf::from("s").into(),
            env: BTreeMap::new(),
            network: false,
            timeout: 1,
        };
        let provision = [packages("a"), packages("b"), Provisioner::Script(script), packages("c")];
        let (found, wanted) = transactions(&provision, true);
        assert!(matches!(
            found[..],
            [Transaction::Packages(0), Transaction::Script(_), Transaction::Packages(1)]
        ));
        assert_eq!(wanted[0].names, ["a", "b"]);
        assert_eq!(wanted[0].exclude, ["no-a", "no-b"]);
        assert_eq!(wanted[1].names, ["c"]);
        assert_eq!(transactions(&[], true).1, [Packages::default()]);
        assert!(transactions(&[], false).0.is_empty());
    }
}

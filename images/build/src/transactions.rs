//! The steps of provisioning as they are carried out: neighbouring lists of packages are one transaction, as they would be for
//! apt, so that packages see each other while they are configured.

use std::path::Path;

use overboot_recipe::{Provisioner, User};

/// What is done in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transaction<'a> {
    /// Packages are installed: the names are in the lock's step of this number.
    Packages(usize),
    /// A tree of files is laid over the root.
    Files(&'a Path),
    /// A script runs.
    Script(&'a Path),
    /// Users are made.
    Users(&'a [User]),
}

/// The transactions of an image, and what each of its package transactions asks for. `variant`: the image starts from a set of
/// packages, so that there is a transaction even when none is named.
pub(crate) fn transactions(
    provision: &[Provisioner],
    variant: bool,
) -> (Vec<Transaction<'_>>, Vec<Vec<String>>) {
    let mut found = Vec::new();
    let mut wanted: Vec<Vec<String>> = Vec::new();
    if variant {
        found.push(Transaction::Packages(0));
        wanted.push(Vec::new());
    }
    for step in provision {
        match step {
            Provisioner::Packages(names) => {
                if !matches!(found.last(), Some(Transaction::Packages(_))) {
                    found.push(Transaction::Packages(wanted.len()));
                    wanted.push(Vec::new());
                }
                if let Some(last) = wanted.last_mut() {
                    last.extend(names.iter().cloned());
                }
            }
            Provisioner::Files(path) => found.push(Transaction::Files(path)),
            Provisioner::Script(path) => found.push(Transaction::Script(path)),
            Provisioner::Users(users) => found.push(Transaction::Users(users)),
        }
    }
    (found, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_packages_are_one_transaction() {
        let packages = |name: &str| Provisioner::Packages(vec![name.to_owned()]);
        let provision =
            [packages("a"), packages("b"), Provisioner::Script("s".into()), packages("c")];
        let (found, wanted) = transactions(&provision, true);
        assert!(matches!(
            found[..],
            [Transaction::Packages(0), Transaction::Script(_), Transaction::Packages(1)]
        ));
        assert_eq!(wanted, [vec!["a", "b"], vec!["c"]]);
        assert_eq!(transactions(&[], true).1, [Vec::<String>::new()]);
        assert!(transactions(&[], false).0.is_empty());
    }
}

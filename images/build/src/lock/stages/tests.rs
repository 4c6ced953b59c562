//! Bases whose packages move, locked again and again.

use overboot_archive::{Source, Universe};
use overboot_digest::Digest;
use overboot_recipe::{LockedImage, LockedPackage, LockedStage, Whence};

use super::*;

/// Name and dependencies.
const PACKAGES: [(&str, &str); 9] = [
    ("account", "tls, adduser | base"),
    ("client", "lib"),
    ("lamp", "base"),
    ("lib", "base"),
    ("mail", "transport"),
    ("old", "lib (<< 1) | saw"),
    ("saw", ""),
    ("tls", ""),
    ("transport-b", "lamp"),
];

/// All of them, those that `moved` in another version, in the order in which a resolver may have them.
fn universe(moved: &[&str]) -> Universe {
    let mut universe = Universe::new("amd64");
    for (name, depends) in PACKAGES {
        let version = if moved.contains(&name) { "2" } else { "1" };
        let provides = if name == "transport-b" { "Provides: transport\n" } else { "" };
        let stanza = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\nFilename: {name}\nSize: 1\n\
             SHA256: {}\nDepends: {depends}\n{provides}",
            Digest::of(format!("{name} {version}")).hex()
        );
        let stanza = stanza.replace("Depends: \n", "");
        universe.add_file(&stanza, Source::new("", "trixie", "")).unwrap();
    }
    universe
}

/// The base after these have moved, and its lock.
fn locked(moved: &[&str], before: Option<&Lock>) -> (Vec<String>, Lock) {
    let universe = universe(moved);
    let packages: Vec<&Package> = universe.packages().iter().collect();
    let stages = in_stages(&[], &packages, before.map(|lock| (lock, "base/base")));
    let locked = |package: &Package| LockedPackage {
        name: package.name.clone(),
        version: package.version.to_string(),
        architecture: "amd64".into(),
        whence: Whence::File { file: "file".into() },
        size: 1,
        installed: 0,
        sha256: package.sha256,
    };
    let keys = |batch: &Vec<&Package>| batch.iter().map(|package| locked(package).key()).collect();
    let mut shown = Vec::new();
    let bounds = [&[0], &*stages.ends, &[stages.batches.len()]].concat();
    for bounds in bounds.windows(2).skip(1) {
        let names = stages.batches[bounds[0]..bounds[1]].concat();
        let names: Vec<&str> = names.iter().map(|package| package.name.as_str()).collect();
        shown.push(names.join(" "));
    }
    let image = LockedImage {
        epoch: None,
        wanted: None,
        steps: vec![stages.batches.iter().map(keys).collect()],
        stages: stages.ends.iter().map(|&batches| LockedStage { batches, epoch: 1 }).collect(),
    };
    let lock = Lock {
        version: 1,
        wanted: Digest::of(""),
        sources: None,
        epoch: 1,
        archives: Vec::new(),
        earlier: Vec::new(),
        images: [("base/base".to_owned(), image)].into(),
        containers: Vec::new(),
        packages: packages.iter().map(|package| locked(package)).collect(),
    };
    (shown, lock)
}

#[test]
fn what_moves_comes_last_with_those_that_need_it() {
    let (all, first) = locked(&[], None);
    assert_eq!(all, ["tls account lib client lamp transport-b mail old saw"]);
    let moved = |moved: &[&str]| locked(moved, Some(&first)).0;
    assert_eq!(moved(&["client"]), ["tls account lib lamp transport-b mail old saw", "client"]);
    // Its version is the one that another would need, and the saw is there instead: either way it is there before.
    assert_eq!(moved(&["lib"]), ["tls account lamp transport-b mail saw", "lib client old"]);
    assert_eq!(moved(&["saw"]), ["tls account lib client lamp transport-b mail", "old saw"]);
    // Over a name that is provided.
    assert_eq!(moved(&["lamp"]), ["tls account lib client old saw", "lamp transport-b mail"]);
    // What makes an account stays where it is, and what that needs.
    assert_eq!(moved(&["account", "tls"]), all);
    assert_eq!(moved(&["tls", "saw"]), moved(&["saw"]));
}

#[test]
fn what_has_moved_stays_last_until_that_is_most_of_them() {
    let (_, first) = locked(&[], None);
    let (_, second) = locked(&["client"], Some(&first));
    let (shown, third) = locked(&["client", "saw"], Some(&second));
    assert_eq!(shown, ["tls account lib lamp transport-b mail", "client old saw"]);
    // Back to what it was is a move like any other.
    let (shown, _) = locked(&["client"], Some(&third));
    assert_eq!(shown, ["tls account lib lamp transport-b mail", "client old saw"]);
    let (shown, _) = locked(&["client", "saw", "lamp"], Some(&third));
    assert_eq!(shown, ["tls account lib client old saw", "lamp transport-b mail"]);
}

#[test]
fn a_lock_whose_packages_stay_keeps_their_order() {
    let (all, first) = locked(&[], None);
    for chosen in 0..1 << PACKAGES.len() {
        let names = PACKAGES.iter().map(|(name, _)| *name).enumerate();
        let moved: Vec<&str> =
            names.filter(|(at, _)| chosen >> at & 1 == 1).map(|(_, name)| name).collect();
        let (shown, once) = locked(&moved, Some(&first));
        let (again, twice) = locked(&moved, Some(&once));
        assert_eq!(shown, again, "{moved:?}");
        assert_eq!(once.images, twice.images);
        // All of them, each once, those of one stage as they were.
        let mut sorted: Vec<&str> = shown.iter().flat_map(|stage| stage.split(' ')).collect();
        let place = |name: &&str| all[0].split(' ').position(|known| known == *name);
        for stage in &shown {
            assert!(stage.split(' ').map(|name| place(&name)).is_sorted(), "{shown:?}");
        }
        sorted.sort_unstable();
        assert_eq!(sorted, PACKAGES.map(|(name, _)| name));
    }
}

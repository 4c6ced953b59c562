//! Our set of packages is apt's, name by name and version by version.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use overboot_archive::resolve::batches;
use overboot_archive::universe::RelationField;
use overboot_archive::{
    FetchOptions, Fetcher, Index, Installed, Package, Policy, Request, Source, Universe, Variant,
    keyrings, mirror, resolve,
};

use crate::apt::{self, Apt, Set};

/// The packages of the recipe that ships.
const BASE: &str =
    "openssh-server ipmitool curl vim-tiny less ca-certificates sudo systemd udev systemd-sysv";
const DISCOVERY: &str =
    "dmidecode lshw lsscsi pciutils ethtool smartmontools lldpd hdparm nvme-cli";
/// What `mmdebstrap --variant=minbase` selects, in apt's own words.
const MINBASE: [&str; 3] = ["?essential", "?priority(required)", "apt"];

fn trixie() -> Vec<Source> {
    let debian = mirror::host_mirror("debian")
        .or_else(|| mirror::fallback_mirror("debian").map(str::to_owned))
        .unwrap();
    let security = mirror::host_security_mirror("debian")
        .or_else(|| mirror::security_sibling(&debian))
        .unwrap();
    vec![
        Source::new(&debian, "trixie", "main"),
        Source::new(&debian, "trixie-updates", "main"),
        Source::new(&security, "trixie-security", "main"),
    ]
}

fn universe(cache: &Path, sources: &[Source]) -> (Universe, Index) {
    let fetcher = Fetcher::new(FetchOptions::default()).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let keyring = keyrings::builtin("trixie").unwrap();
    let policy = Policy { check_valid_until: true };
    let index = Index::update(&fetcher, sources, &keyring, "amd64", cache, now, policy).unwrap();
    let start = Instant::now();
    let universe = Universe::of(&index, "amd64").unwrap();
    println!("{} packages, read in {:?}", universe.packages().len(), start.elapsed());
    (universe, index)
}

fn request(variant: Variant, install: &str) -> Request {
    let install = install.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    Request { variant, install, ..Request::default() }
}

fn set(packages: &[&Package]) -> Set {
    packages.iter().map(|p| (p.name.clone(), p.version.to_string())).collect()
}

fn compare(what: &str, ours: &Set, theirs: &Set) {
    let only = |a: &Set, b: &Set| {
        let only = a.iter().filter(|(name, version)| b.get(*name) != Some(version));
        only.map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>()
    };
    let (ours_only, theirs_only) = (only(ours, theirs), only(theirs, ours));
    assert!(
        ours_only.is_empty() && theirs_only.is_empty(),
        "{what}: only we: {ours_only:?}; only apt: {theirs_only:?}"
    );
}

#[test]
fn the_set_is_that_of_apt() {
    if !apt::is_here() {
        return;
    }
    // Kept for the next time: fetching and unpacking the indexes twice takes longer than all the rest.
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("resolve");
    let sources = trixie();
    let (universe, index) = universe(&dir.join("cache"), &sources);
    let apt = Apt::new(&dir.join("apt"), &sources);

    let both = |what: &str, request: &Request, words: &[&str]| {
        let start = Instant::now();
        let ours = resolve(&universe, request).unwrap_or_else(|error| panic!("{what}: {error}"));
        let our_time = start.elapsed();
        let start = Instant::now();
        let theirs = apt.install(request.recommends, words);
        println!("{what}: {} packages, {our_time:?}; apt-get {:?}", ours.len(), start.elapsed());
        compare(what, &set(&ours), &theirs);
        set(&ours)
    };

    // From nothing.
    both("minbase", &request(Variant::Minbase, ""), &MINBASE);
    let words: Vec<&str> = MINBASE.into_iter().chain(BASE.split(' ')).collect();
    let base = both("base", &request(Variant::Minbase, BASE), &words);
    let everything = format!("{BASE} {DISCOVERY} linux-image-amd64");
    let words: Vec<&str> = MINBASE.into_iter().chain(everything.split(' ')).collect();
    both("all at once", &request(Variant::Minbase, &everything), &words);
    let important = ["?essential", "?priority(required)", "?priority(important)", "apt"];
    both("important", &request(Variant::Important, ""), &important);
    for install in [
        "linux-image-amd64",
        "docker.io mdadm python3 ansible nginx postgresql",
        "exim4 mailutils apache2 libapache2-mod-php mariadb-server",
        "libreoffice default-jdk emacs gimp",
    ] {
        let words: Vec<&str> = install.split(' ').collect();
        both(install, &request(Variant::Custom, install), &words);
    }

    for install in ["openssh-server systemd", "linux-image-amd64 nginx", DISCOVERY] {
        let words: Vec<&str> = install.split(' ').collect();
        let request = Request { recommends: true, ..request(Variant::Custom, install) };
        both(&format!("{install} with recommendations"), &request, &words);
    }
    batches_are_closed(&resolve(&universe, &request(Variant::Minbase, &everything)).unwrap());

    // On top of the base.
    apt.set_status(&status(&index, &base));
    let installed: Vec<_> = base
        .iter()
        .map(|(name, version)| Installed { name: name.clone(), version: version.parse().unwrap() })
        .collect();
    for install in [
        DISCOVERY,
        "linux-image-amd64",
        "sg3-utils hdparm coreutils scrub lsscsi lshw gdisk",
        "initramfs-tools apt-utils",
        "nginx postgresql",
    ] {
        let request = Request { base: installed.clone(), ..request(Variant::Minbase, install) };
        let words: Vec<&str> = install.split(' ').collect();
        let new = both(install, &request, &words);
        assert!(new.keys().all(|name| !base.contains_key(name)));
    }
}

/// Each batch can be configured as a whole, and what it pre-depends on is configured before.
fn batches_are_closed(packages: &[&Package]) {
    let batches = batches(packages);
    println!("batches of {:?} packages", batches.iter().map(Vec::len).collect::<Vec<_>>());
    let mut numbers: Vec<_> = batches.concat();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..packages.len()).collect::<Vec<_>>(), "each package once");
    let mut there: BTreeSet<String> = BTreeSet::new();
    let needs = |package: &Package, field, there: &BTreeSet<String>| {
        for dependency in package.relations(field).unwrap().0 {
            assert!(
                dependency.0.iter().any(|relation| there.contains(&relation.name)),
                "{} comes before {dependency}",
                package.name
            );
        }
    };
    for batch in batches {
        let before = there.clone();
        for &number in &batch {
            there.insert(packages[number].name.clone());
            let provided = packages[number].relations(RelationField::Provides).unwrap();
            there.extend(provided.0.into_iter().flat_map(|d| d.0).map(|relation| relation.name));
        }
        for number in batch {
            needs(packages[number], RelationField::PreDepends, &before);
            needs(packages[number], RelationField::Depends, &there);
        }
    }
}

/// A dpkg status file that has these packages installed.
fn status(index: &Index, installed: &Set) -> String {
    let mut status = String::new();
    for (_, list) in index.lists() {
        for stanza in overboot_debian::deb822::stanzas(&list.text).map(Result::unwrap) {
            let (name, version) = (stanza.get("Package"), stanza.get("Version"));
            let wanted = name.and_then(|name| installed.get(name)).map(String::as_str);
            if wanted.is_none() || version != wanted {
                continue;
            }
            let name = name.unwrap();
            if status.contains(&format!("Package: {name}\n")) {
                continue;
            }
            status.push_str(&format!("Package: {name}\nStatus: install ok installed\n"));
            let relations = RelationField::ALL.map(RelationField::as_str);
            for (field, value) in stanza.fields() {
                let kept = ["Version", "Architecture", "Maintainer", "Essential", "Priority"];
                let kept = kept.contains(&field) || field == "Multi-Arch";
                if kept || relations.contains(&field) {
                    status.push_str(&format!("{field}: {value}\n"));
                }
            }
            status.push_str("Description: x\n\n");
        }
    }
    status
}

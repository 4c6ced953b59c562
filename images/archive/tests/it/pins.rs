//! Which version a pin chooses, and with which priority: apt's own opinion, for preferences of every kind, drawn at random.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use overboot_archive::pins::{Pin, Which};
use overboot_archive::resolve::find;
use overboot_archive::{Fetcher, Index, Keyring, Policy, Source, Universe};
use overboot_testkit::archive::{Archive, Deb, Server, SigningKey, Tree, now, under};
use overboot_testkit::require;

use crate::apt::{Apt, Opinion};
use crate::fetch::options;

const NAMES: [&str; 5] = ["alpha", "alpha-doc", "beta", "delta", "gamma"];

/// Four suites of three archives with the same packages in many versions, some of them the same, some only by name.
fn archives(key: &SigningKey) -> (Tree, [(&'static str, &'static str); 5]) {
    let deb = |name: &str, version: &str| Deb::new(name, version);
    let other = |name: &str, version: &str| Deb::new(name, version).field("Depends", "delta");
    let backports = Archive::new("trixie-backports")
        .suite("stable-backports")
        .release_field("NotAutomatic", "yes")
        .release_field("ButAutomaticUpgrades", "yes");
    let rc = Archive::new("rc").suite("experimental").release_field("NotAutomatic", "yes");
    let mut tree = Tree::new();
    let main = Archive::new("trixie")
        .suite("stable")
        .package(deb("alpha", "1.0"))
        .package(deb("alpha-doc", "1.0"))
        .package(deb("beta", "1:2.0-1"))
        .package(deb("gamma", "3"));
    let backports = backports
        .package(deb("alpha", "1.0"))
        .package(deb("alpha", "2.0~bpo13+1"))
        .package(deb("beta", "1:2.0-1"))
        .package(deb("delta", "1.5"));
    let rc = rc.package(deb("alpha", "3.0~rc1")).package(deb("gamma", "4~rc1"));
    // Somebody else's, who builds the same versions anew.
    let others = Archive::new("stable")
        .origin("Other, Inc.")
        .package(other("alpha", "1.0"))
        .package(other("beta", "1:2.0-1+other"))
        .package(other("delta", "1.5"))
        .package(other("gamma", "3"));
    let flat = Archive::new("").origin("Flat").flat().package(other("alpha-doc", "1.0.1"));
    tree.extend(under("debian", main.build(key)));
    tree.extend(under("debian", backports.build(key)));
    tree.extend(under("debian", rc.build(key)));
    tree.extend(under("other", others.build(key)));
    tree.extend(under("flat", flat.build(key)));
    let suites = [
        ("debian", "trixie"),
        ("debian", "trixie-backports"),
        ("debian", "rc"),
        ("other", "stable"),
        ("flat", "./"),
    ];
    (tree, suites)
}

/// Pins, drawn at random.
struct Draw(u64);

impl Draw {
    fn of<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        // Xorshift (Marsaglia 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        &from[usize::try_from(self.0 >> 33).unwrap() % from.len()]
    }

    fn pin(&mut self, sources: &[Source]) -> Pin {
        let patterns =
            ["*", "alpha", "alpha*", "beta gamma", "?eta delta", "*a", "*-doc alpha", "nothing"];
        let packages: Vec<_> = self.of(&patterns).split(' ').map(str::to_owned).collect();
        let general = packages == ["*"];
        let version = ["1.0", "1:2.0*", "1*", "2.0~*", "3", "9*"];
        let which = match self.of(&[0, 1, 1, 1, 2]) {
            0 => Which::All,
            2 if !general => Which::Version((*self.of(&version)).to_owned()),
            _ => Which::From(vec![self.of(sources).clone()]),
        };
        let priority = *self.of(&[-10, -1, 1, 50, 99, 100, 101, 499, 500, 501, 990, 1001]);
        Pin { packages, which, priority }
    }
}

/// A pin as apt writes it. Suites are told apart by what their Release files say.
fn record(pin: &Pin, index: &Index) -> String {
    let which = match &pin.which {
        Which::All => "release *".to_owned(),
        Which::Version(version) => format!("version {version}"),
        Which::From(sources) => {
            let suite = index.suites.iter().find(|suite| suite.source == sources[0]).unwrap();
            format!("release {}", suite.release.described())
        }
    };
    format!("Package: {}\nPin: {which}\nPin-Priority: {}\n", pin.packages.join(" "), pin.priority)
}

#[test]
fn candidates_and_priorities_are_those_of_apt() {
    if !require::programs(&["apt-get", "apt-cache"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::generate();
    let keyring = dir.path().join("keys.asc");
    fs_err::write(&keyring, key.armored_certificate()).unwrap();
    let (tree, suites) = archives(&key);
    let server = Server::start(tree);
    let source = |(folder, suite): (&str, &str)| {
        let components = if suite == "./" { "" } else { "main" };
        Source::new(&format!("{}/{folder}", server.uri()), suite, components)
    };
    let sources = suites.map(source);
    let apt = Apt::trusting(&keyring, &dir.path().join("apt"), &sources);
    let fetcher = Fetcher::new(options()).unwrap();
    let keys = Keyring::from_bytes(&key.certificate()).unwrap();
    let policy = Policy { check_valid_until: true };
    let cache = dir.path().join("cache");
    let index = Index::update(&fetcher, &sources, &keys, "amd64", &cache, now(), policy).unwrap();

    let (mut chosen, mut unlike) = (0, 0);
    for case in 0..60 {
        let mut draw = Draw(0x9e37_79b9_7f4a_7c15 ^ (case + 1));
        let many = *draw.of(&[0, 1, 2, 3, 4]);
        // The first ones of a sequence are much alike.
        for _ in 0..20 {
            let _ = draw.of(&[()]);
        }
        let pins: Vec<Pin> = (0..many).map(|_| draw.pin(&sources)).collect();
        let mut preferences = String::new();
        for pin in &pins {
            writeln!(preferences, "{}", record(pin, &index)).unwrap();
        }
        apt.set_preferences(&preferences);
        let universe = Universe::pinned(&index, "amd64", pins).unwrap();
        let theirs = apt.opinions(&NAMES);
        for name in NAMES {
            let candidate = universe.candidate(name);
            let mut versions: Vec<_> = universe.versions(name).collect();
            versions.sort_by(|a, b| b.version.cmp(&a.version));
            let ours = Opinion {
                candidate: candidate.map(|package| package.version.to_string()),
                versions: versions
                    .iter()
                    .map(|package| (package.version.to_string(), package.pin_priority()))
                    .collect(),
            };
            assert_eq!(ours, theirs[name], "{name}, case {case}:\n{preferences}");
            if let Some(candidate) = candidate {
                // Of the same version in two archives, the same one.
                assert_eq!(candidate.sha256.hex(), apt.file(name), "{name}:\n{preferences}");
                chosen += 1;
                unlike += usize::from(candidate.origin.source != sources[0]);
            }
        }
        // A version that is named comes whatever pins say of it, and from where apt takes it.
        let named: BTreeSet<_> =
            universe.packages().iter().map(|p| format!("{}={}", p.name, p.version)).collect();
        let ours: BTreeSet<_> =
            named.iter().map(|word| find(&universe, word).unwrap().sha256.hex()).collect();
        let words: Vec<&str> = named.iter().map(String::as_str).collect();
        assert_eq!(ours, apt.files(&words).into_iter().collect(), "case {case}:\n{preferences}");
    }
    // Not all of one kind.
    assert!(chosen > 100 && unlike > 30, "{chosen} chosen, {unlike} from elsewhere");
}

#[test]
fn a_pin_that_nothing_fits_is_known() {
    let key = SigningKey::generate();
    let (tree, suites) = archives(&key);
    let server = Server::start(tree);
    let dir = tempfile::tempdir().unwrap();
    let fetcher = Fetcher::new(options()).unwrap();
    let keys = Keyring::from_bytes(&key.certificate()).unwrap();
    let sources: Vec<_> = suites[..2]
        .iter()
        .map(|(folder, suite)| Source::new(&format!("{}/{folder}", server.uri()), suite, "main"))
        .collect();
    let policy = Policy { check_valid_until: true };
    let index =
        Index::update(&fetcher, &sources, &keys, "amd64", dir.path(), now(), policy).unwrap();
    let pin = |names: &[&str], which: Which| Pin {
        packages: names.iter().map(|name| (*name).to_owned()).collect(),
        which,
        priority: 990,
    };
    let backports = || Which::From(vec![sources[1].clone()]);
    let pins = vec![
        pin(&["alpha", "gamma"], backports()),
        // In both, and the first suite is read first.
        pin(&["beta"], backports()),
        pin(&["*"], backports()),
        pin(&["alpha", "beta*", "zeta*"], Which::Version("1*".to_owned())),
    ];
    let universe = Universe::pinned(&index, "amd64", pins).unwrap();
    assert_eq!(universe.idle_pins(), [(0, 1), (3, 2)]);
}

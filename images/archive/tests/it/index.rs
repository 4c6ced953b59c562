//! An archive's indexes, from the network to verified stanzas, with a mirror that may be anybody's.

use std::path::PathBuf;

use overboot_archive::trust::TrustError;
use overboot_archive::{Error, FetchOptions, Fetcher, Index, Keyring, Policy, Source};
use overboot_testkit::archive::{Archive, Deb, Fault, Server, SigningKey, Tree, now, under};

use crate::fetch::options;

const LIST: &str = "dists/trixie/main/binary-amd64/Packages.xz";

struct Bed {
    dir: tempfile::TempDir,
    key: SigningKey,
    server: Server,
}

impl Bed {
    fn new(archive: impl FnOnce(Archive) -> Archive) -> Self {
        let key = SigningKey::generate();
        let hello = Deb::new("hello", "1.0").file("usr/bin/hello", 0o755, b"x");
        let archive = archive(Archive::new("trixie").suite("stable").package(hello));
        let server = Server::start(archive.build(&key));
        Self { dir: tempfile::tempdir().unwrap(), key, server }
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    fn update(&self) -> Result<Index, Error> {
        self.update_of("trixie", "main", "amd64", true, false)
    }

    fn offline(&self) -> Result<Index, Error> {
        self.update_of("trixie", "main", "amd64", true, true)
    }

    fn update_of(
        &self,
        suite: &str,
        components: &str,
        architecture: &str,
        check_valid_until: bool,
        offline: bool,
    ) -> Result<Index, Error> {
        let fetcher = Fetcher::new(FetchOptions { offline, ..options() }).unwrap();
        let keyring = Keyring::from_bytes(&self.key.certificate()).unwrap();
        let sources = [Source::new(&self.server.uri(), suite, components)];
        let policy = Policy { check_valid_until };
        Index::update(&fetcher, &sources, &keyring, architecture, &self.cache(), now(), policy)
    }

    fn targets(&self) -> Vec<String> {
        self.server.take_requests().into_iter().map(|request| request.target).collect()
    }
}

#[test]
fn an_unchanged_archive_costs_one_request() {
    let bed = Bed::new(|archive| archive);
    let index = bed.update().unwrap();
    let suite = &index.suites[0];
    assert!(suite.lists[0].text.starts_with("Package: hello\n"));
    assert_eq!(suite.signers[0].certificate, bed.key.fingerprint());
    assert_eq!(
        (suite.release.suite.as_str(), suite.release.codename.as_str()),
        ("stable", "trixie")
    );
    let targets = bed.targets();
    assert_eq!(targets.len(), 2);
    assert!(
        targets[1].starts_with("/dists/trixie/main/binary-amd64/by-hash/SHA256/"),
        "{targets:?}"
    );
    let again = bed.update().unwrap();
    assert_eq!(again.suites[0].lists[0].text, suite.lists[0].text);
    assert_eq!(bed.targets(), ["/dists/trixie/InRelease"]);
    // And what is cached is enough without the network, also when it has become old.
    assert_eq!(bed.offline().unwrap().lists().count(), 1);
    assert_eq!(bed.targets(), [""; 0]);
}

#[test]
fn the_list_of_a_folder_is_fetched_by_hash_too() {
    for suite in ["./", "deb/"] {
        let bed = Bed::new(|archive| archive);
        let flat = Archive::new("").flat().package(Deb::new("hello", "1.0")).build(&bed.key);
        bed.server.replace(if suite == "./" { flat } else { under("deb", flat) });
        bed.update_of(suite, "", "amd64", true, false).unwrap();
        let root = suite.trim_start_matches('.');
        let targets = bed.targets();
        assert_eq!(targets.len(), 2, "{targets:?}");
        assert!(targets[1].contains(&format!("{root}by-hash/SHA256/")), "{targets:?}");
        assert!(!targets[1].contains("//"), "{targets:?}");
    }
}

#[test]
fn a_new_list_replaces_the_old_one_in_the_cache() {
    let bed = Bed::new(|archive| archive);
    bed.update().unwrap();
    let newer = Archive::new("trixie").package(Deb::new("hello", "2.0"));
    bed.server.replace(newer.build(&bed.key));
    let index = bed.update().unwrap();
    assert!(index.suites[0].lists[0].text.contains("Version: 2.0"));
    assert_eq!(fs_err::read_dir(bed.cache().join("lists")).unwrap().count(), 1);
}

#[test]
fn several_sources_and_components_keep_their_order() {
    let bed = Bed::new(|archive| {
        archive
            .package_in("contrib", Deb::new("wifi", "3"))
            .package_in("non-free-firmware", Deb::new("firmware", "4"))
    });
    let index =
        bed.update_of("trixie", "non-free-firmware main contrib", "amd64", true, false).unwrap();
    let names: Vec<_> = index.lists().map(|(_, list)| list.component.as_str()).collect();
    assert_eq!(names, ["non-free-firmware", "main", "contrib"]);
}

#[test]
fn suites_with_the_same_list_do_not_get_in_each_others_way() {
    let bed = Bed::new(|archive| archive);
    let fetcher = Fetcher::new(options()).unwrap();
    let keyring = Keyring::from_bytes(&bed.key.certificate()).unwrap();
    // Updates and security updates often have nothing: one list, fetched side by side.
    let sources = vec![Source::new(&bed.server.uri(), "trixie", "main"); 8];
    let policy = Policy { check_valid_until: true };
    for round in 0..20 {
        let cache = bed.dir.path().join(round.to_string());
        let index = Index::update(&fetcher, &sources, &keyring, "amd64", &cache, now(), policy);
        assert_eq!(index.unwrap().suites.len(), 8);
        let names = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = names.filter(|name| name.to_string_lossy().contains("new")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn packages_of_architecture_all_are_found_where_they_are_apart() {
    let key = SigningKey::generate();
    let mut tree = Tree::new();
    // As archives do that keep `binary-all` apart: both indexes in one Release file.
    for architecture in ["all", "amd64"] {
        let deb = Deb::new(&format!("for-{architecture}"), "1").for_architecture(architecture);
        let part = Archive::new("trixie").architecture(architecture).without_by_hash().package(deb);
        tree.extend(part.build(&key));
    }
    let lists: String = ["all", "amd64"]
        .map(|architecture| {
            let path = format!("main/binary-{architecture}/Packages");
            let bytes = &tree[&format!("dists/trixie/{path}")];
            format!(" {} {} {path}\n", overboot_digest::Digest::of(bytes).hex(), bytes.len())
        })
        .concat();
    let date = overboot_testkit::archive::date(now());
    let release = format!(
        "Codename: trixie\nDate: {date}\nArchitectures: all amd64\nComponents: main\nSHA256:\n{lists}"
    );
    tree.insert("dists/trixie/InRelease".to_owned(), key.clearsign(&release, now()).into_bytes());
    let bed = Bed { dir: tempfile::tempdir().unwrap(), key, server: Server::start(tree) };
    let text: String = bed.update().unwrap().lists().map(|(_, list)| list.text.clone()).collect();
    assert!(text.contains("Package: for-all") && text.contains("Package: for-amd64"), "{text}");
}

#[test]
fn a_suite_that_is_not_there_is_answered_with_those_that_are() {
    let bed = Bed::new(|archive| archive);
    let error = bed.update_of("trixei", "main", "amd64", true, false).unwrap_err();
    let uri = bed.server.uri();
    let expected = format!("suite \"trixei\" does not exist at {uri}; suites there: trixie");
    assert_eq!(error.to_string(), expected);
    let listing = r#"<a href="bookworm/"></a><a href="trixie/"></a><a href="trixie-updates/"></a>"#;
    bed.server.replace(Tree::from([("dists/".to_owned(), listing.as_bytes().to_vec())]));
    let error = bed.update_of("trixei", "main", "amd64", true, false).unwrap_err();
    assert!(error.to_string().ends_with("trixie, trixie-updates, bookworm"), "{error}");
    bed.server.replace(Tree::new());
    let error = bed.update().unwrap_err();
    assert!(matches!(&error, Error::SuiteNotFound { known, .. } if known.is_empty()), "{error}");
    assert!(error.hint().unwrap().contains("dists/SUITE/InRelease"));
}

#[test]
fn a_component_or_architecture_that_is_not_there_is_named_with_those_that_are() {
    let bed = Bed::new(|archive| archive);
    let error = |component, architecture| {
        bed.update_of("trixie", component, architecture, true, false).unwrap_err()
    };
    let uri = bed.server.uri();
    for (component, architecture, said) in [
        ("mian", "amd64", "no component \"mian\"; it has main"),
        ("mian", "arm64", "no component \"mian\"; it has main"),
        ("main", "arm64", "nothing for the architecture \"arm64\"; it has amd64"),
    ] {
        let error = error(component, architecture);
        let expected = format!("suite \"trixie\" at {uri} has {said}");
        assert_eq!(error.to_string(), expected);
        assert!(error.hint().is_some());
    }
    assert!(matches!(error("main", "arm64"), Error::NoArchitecture { .. }));
}

#[test]
fn an_older_release_than_the_one_seen_is_a_replay() {
    let old = Archive::new("trixie").dated(now() - 1800, Some(now() + 86_400));
    let bed = Bed::new(|archive| archive);
    bed.update().unwrap();
    bed.server.replace(old.build(&bed.key));
    let error = bed.update().unwrap_err();
    assert!(matches!(error, Error::Replayed { .. }), "{error}");
    assert!(error.to_string().contains("older than the one seen before"), "{error}");
    assert!(error.hint().unwrap().contains(&bed.cache().display().to_string()));
    // The refused one has not become the memory.
    assert!(matches!(bed.update(), Err(Error::Replayed { .. })));
    assert!(bed.offline().unwrap().suites[0].lists[0].text.contains("hello"));
}

#[test]
fn dates_are_held_against_the_clock() {
    // The key is an hour old, and what it signs is not older.
    let made = now() - 1800;
    let bed = Bed::new(|archive| archive.dated(made, Some(now() - 60)));
    let error = bed.update().unwrap_err();
    assert!(matches!(error, Error::Expired { .. }), "{error}");
    assert!(error.hint().unwrap().contains("clock"));
    assert!(bed.update_of("trixie", "main", "amd64", false, false).is_ok());
    assert!(bed.offline().is_ok());
}

#[test]
fn a_release_of_another_suite_is_refused_although_it_is_signed() {
    let bed = Bed::new(|archive| archive);
    let mut tree = Archive::new("bookworm").build(&bed.key);
    let release = tree.remove("dists/bookworm/InRelease").unwrap();
    tree.insert("dists/trixie/InRelease".to_owned(), release);
    bed.server.replace(tree);
    let error = bed.update().unwrap_err();
    assert!(matches!(error, Error::OtherSuite { .. }), "{error}");
    assert!(error.to_string().contains("bookworm") && error.to_string().contains("trixie"));
}

#[test]
fn who_is_not_trusted_is_named() {
    let bed = Bed::new(|archive| archive);
    let stranger = SigningKey::generate();
    bed.server.replace(Archive::new("trixie").build(&stranger));
    let error = bed.update().unwrap_err();
    let Error::Untrusted { source: source @ TrustError::UnknownKeys { .. }, .. } = &error else {
        panic!("{error:?}");
    };
    let text = source.to_string();
    assert!(text.contains(&stranger.fingerprint()) && text.contains(&bed.key.fingerprint()));
    assert!(error.hint().unwrap().contains("keyring"));

    let mut tree = Archive::new("trixie").build(&bed.key);
    let release = tree.get_mut("dists/trixie/InRelease").unwrap();
    let changed =
        String::from_utf8(release.clone()).unwrap().replace("Origin: Test", "Origin: Evil");
    *release = changed.into_bytes();
    bed.server.replace(tree);
    let error = bed.update().unwrap_err();
    assert!(
        matches!(error, Error::Untrusted { source: TrustError::Changed { .. }, .. }),
        "{error:?}"
    );

    let login = b"<html>Please log in".to_vec();
    bed.server.replace(Tree::from([("dists/trixie/InRelease".to_owned(), login)]));
    let error = bed.update().unwrap_err();
    let not_signed = TrustError::NotClearsigned { reason: String::new() };
    let Error::Untrusted { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(std::mem::discriminant(source), std::mem::discriminant(&not_signed), "{source}");
    assert!(!bed.cache().join("lists").read_dir().unwrap().any(|_| true));
}

#[test]
fn a_list_that_is_not_the_promised_one_is_refused() {
    for fault in [Fault::Corrupt, Fault::Longer] {
        let bed = Bed::new(Archive::without_by_hash);
        // Once may be an update of the mirror in between, and is tried again; twice is not.
        bed.server.fail(LIST, 1, &fault);
        bed.update().unwrap();
        let bed = Bed::new(Archive::without_by_hash);
        bed.server.fail(LIST, 2, &fault);
        let error = bed.update().unwrap_err();
        let right = matches!(
            (&fault, &error),
            (Fault::Corrupt, Error::WrongDigest { .. }) | (_, Error::WrongSize { .. })
        );
        assert!(right, "{error}");
        assert!(error.to_string().contains(LIST));
    }
}

#[test]
fn a_mirror_that_promises_by_hash_and_has_none_still_serves() {
    let bed = Bed::new(|archive| archive);
    let mut tree = Archive::new("trixie").package(Deb::new("hello", "1")).build(&bed.key);
    tree.retain(|path, _| !path.contains("by-hash"));
    bed.server.replace(tree);
    assert_eq!(bed.update().unwrap().lists().count(), 1);
}

#[test]
fn what_is_cached_is_not_believed_either() {
    let bed = Bed::new(|archive| archive);
    bed.update().unwrap();
    let list = fs_err::read_dir(bed.cache().join("lists")).unwrap().next().unwrap().unwrap().path();
    let damaged = fs_err::read_to_string(&list).unwrap().replace("hello", "jello");
    fs_err::write(&list, damaged).unwrap();
    let error = bed.offline().unwrap_err();
    assert!(matches!(error, Error::Offline { .. }), "{error}");
    assert!(bed.update().unwrap().suites[0].lists[0].text.contains("hello"));
    let release = fs_err::read_dir(bed.cache())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().ends_with(".InRelease"))
        .unwrap();
    fs_err::write(&release, [0xff; 9]).unwrap();
    assert!(matches!(bed.offline(), Err(Error::Untrusted { .. })));
    assert!(bed.update().is_ok());
}

#[test]
fn without_network_and_cache_it_says_what_is_missing() {
    let bed = Bed::new(|archive| archive);
    let error = bed.offline().unwrap_err();
    assert!(
        error.to_string().starts_with("the index of \"trixie\" at http://127.0.0.1"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("--offline"));
    assert_eq!(bed.targets(), [""; 0]);
}

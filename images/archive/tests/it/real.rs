//! The real archive, through the mirror of this host's own apt sources.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};

use overboot_archive::mirror::{host_mirror, host_security_mirror};
use overboot_archive::{
    FetchEvent, FetchOptions, Fetcher, Index, PackageStore, Policy, Source, Universe, Wanted,
    keyrings,
};
use overboot_testkit::archive::now;
use overboot_testkit::require;

#[test]
fn trixie_is_verified_listed_and_fetched() {
    let (Some(mirror), Some(security)) = (host_mirror("debian"), host_security_mirror("debian"))
    else {
        let _ = require::met(false, "needs a Debian mirror in this host's apt sources");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let fetcher = Fetcher::new(FetchOptions::default()).unwrap();
    let keyring = keyrings::builtin("trixie").unwrap();
    let sources = [
        Source::new(&mirror, "trixie", "main"),
        Source::new(&mirror, "trixie-updates", "main"),
        Source::new(&security, "trixie-security", "main"),
    ];
    let policy = Policy { check_valid_until: true };
    let update = || Index::update(&fetcher, &sources, &keyring, "amd64", dir.path(), now(), policy);
    let index = update().unwrap();
    assert!(index.suites.iter().all(|suite| suite.release.origin == "Debian"));
    // The release key signs a stable suite besides the archive's own keys.
    assert!(index.suites[0].signers.len() >= 2, "{:?}", index.suites[0].signers);
    let universe = Universe::of(&index, "amd64").unwrap();
    assert!(universe.packages().len() > 50_000, "{}", universe.packages().len());
    let hello = universe.candidate("hello").unwrap();
    assert_eq!(update().unwrap().lists().count(), 3);

    let wanted = [Wanted {
        name: "hello".to_owned(),
        version: hello.version.to_string(),
        architecture: "amd64".to_owned(),
        sha256: hello.sha256,
        size: hello.size,
        urls: vec![sources[0].url(&hello.filename)],
    }];
    let store = PackageStore::open(dir.path().join("packages")).unwrap();
    let bytes = AtomicU64::new(0);
    let progress = |event: FetchEvent<'_>| {
        if let FetchEvent::Progress(_, there) = event {
            bytes.store(there, Ordering::Relaxed);
        }
    };
    store.fetch_all(&fetcher, &wanted, NonZeroUsize::MIN, &progress).unwrap();
    assert_eq!(bytes.into_inner(), hello.size);
    let deb = fs_err::read(store.path(&hello.sha256)).unwrap();
    assert!(deb.starts_with(b"!<arch>\n"));
}

#[test]
fn a_misspelt_suite_is_answered_with_the_real_ones() {
    let Some(mirror) = host_mirror("debian") else {
        let _ = require::met(false, "needs a Debian mirror in this host's apt sources");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let fetcher = Fetcher::new(FetchOptions::default()).unwrap();
    let keyring = keyrings::builtin("trixie").unwrap();
    let sources = [Source::new(&mirror, "trixi", "main")];
    let policy = Policy { check_valid_until: true };
    let error = Index::update(&fetcher, &sources, &keyring, "amd64", dir.path(), now(), policy);
    let text = error.unwrap_err().to_string();
    assert!(text.contains("trixie") && text.contains("bookworm"), "{text}");
}

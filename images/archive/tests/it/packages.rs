//! The package store.

use std::io::Read;
use std::num::NonZeroUsize;
use std::sync::Mutex;

use overboot_archive::packages::FetchSummary;
use overboot_archive::{Error, FetchEvent, FetchOptions, Fetcher, PackageStore, Wanted};
use overboot_debian::deb;
use overboot_digest::Digest;
use overboot_testkit::archive::{Deb, Fault, Server, Tree};

use crate::fetch::options;

const JOBS: NonZeroUsize = NonZeroUsize::new(8).unwrap();

struct Bed {
    dir: tempfile::TempDir,
    server: Server,
    wanted: Vec<Wanted>,
}

impl Bed {
    fn new(count: usize) -> Self {
        let mut tree = Tree::new();
        for number in 0..count {
            tree.insert(format!("pool/p{number}.deb"), vec![number as u8; 1000 + number]);
        }
        Self::of(tree)
    }

    fn of(tree: Tree) -> Self {
        let contents = tree.clone();
        let server = Server::start(tree);
        let wanted = contents.iter().map(|(path, bytes)| Wanted {
            name: path.trim_start_matches("pool/").trim_end_matches(".deb").to_owned(),
            version: "1.0".to_owned(),
            architecture: "amd64".to_owned(),
            sha256: Digest::of(bytes),
            size: bytes.len() as u64,
            urls: vec![format!("{}/{path}", server.uri())],
        });
        let wanted = wanted.collect();
        Self { dir: tempfile::tempdir().unwrap(), server, wanted }
    }

    fn store(&self) -> PackageStore {
        PackageStore::open(self.dir.path().join("packages")).unwrap()
    }

    fn fetch(&self, offline: bool) -> Result<FetchSummary, Error> {
        let fetcher = Fetcher::new(FetchOptions { offline, ..options() }).unwrap();
        self.store().fetch_all(&fetcher, &self.wanted, JOBS, &|_| ())
    }
}

#[test]
fn all_are_fetched_once_and_then_used() {
    let bed = Bed::new(40);
    let events = Mutex::new((0, 0, 0));
    let fetcher = Fetcher::new(options()).unwrap();
    let progress = |event: FetchEvent<'_>| {
        let mut events = events.lock().unwrap();
        match event {
            FetchEvent::Started(_) => events.0 += 1,
            FetchEvent::Finished(_) => events.1 += 1,
            FetchEvent::Present(_) => events.2 += 1,
            FetchEvent::Progress(wanted, bytes) => assert!(bytes <= wanted.size),
        }
    };
    let twice = [&bed.wanted[..], &bed.wanted[..3]].concat();
    let summary = bed.store().fetch_all(&fetcher, &twice, JOBS, &progress).unwrap();
    let bytes = bed.wanted.iter().map(|wanted| wanted.size).sum();
    assert_eq!(summary, FetchSummary { present: 0, fetched: 40, fetched_bytes: bytes });
    assert_eq!(*events.lock().unwrap(), (40, 40, 0));
    for wanted in &bed.wanted {
        let path = bed.store().path(&wanted.sha256);
        assert!(bed.store().contains(wanted));
        assert_eq!(Digest::of(fs_err::read(&path).unwrap()), wanted.sha256);
        assert!(path.ends_with(format!("sha256/{}.deb", wanted.sha256.hex())));
    }
    let _ = bed.server.take_requests();
    for offline in [false, true] {
        assert_eq!(bed.fetch(offline).unwrap().present, 40);
    }
    assert_eq!(bed.server.take_requests(), []);
}

#[test]
fn a_damaged_package_is_fetched_again() {
    let bed = Bed::new(3);
    bed.fetch(false).unwrap();
    let path = bed.store().path(&bed.wanted[1].sha256);
    let mut bytes = fs_err::read(&path).unwrap();
    bytes[0] ^= 1;
    fs_err::write(&path, &bytes).unwrap();
    let summary = bed.fetch(false).unwrap();
    assert_eq!((summary.present, summary.fetched), (2, 1));
    fs_err::write(&path, &bytes).unwrap();
    let error = bed.fetch(true).unwrap_err();
    assert!(error.to_string().starts_with("package p1 1.0 (amd64) is not in the cache"), "{error}");
}

#[test]
fn what_cannot_be_had_is_named_and_the_rest_stays() {
    let bed = Bed::new(5);
    bed.server.fail("pool/p0.deb", 9, &Fault::Corrupt);
    let error = bed.fetch(false).unwrap_err();
    assert_eq!(error.to_string(), "cannot get package p0 1.0 (amd64)");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("is not what the signed index promises"), "{source}");
    assert!(error.hint().is_some());
    // The smallest is begun last.
    assert!(bed.wanted[1..].iter().all(|wanted| bed.store().contains(wanted)));
    assert!(!bed.store().contains(&bed.wanted[0]));
}

#[test]
fn offline_names_what_is_missing_before_it_begins() {
    let bed = Bed::new(3);
    let error = bed.fetch(true).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("package p2 1.0 (amd64) (and 2 others) is not in the cache at"),
        "{text}"
    );
    assert!(error.hint().unwrap().contains("without --offline"));
    assert_eq!(bed.server.take_requests(), []);
}

#[test]
fn what_xz_made_is_decompressed_once() {
    let package = |name: &str| Deb::new(name, "1.0").file("usr/share/text", 0o644, b"text");
    let mut tree = Tree::new();
    tree.insert("pool/p0.deb".to_owned(), package("p0").build());
    tree.insert("pool/p1.deb".to_owned(), package("p1").zstd().build());
    tree.insert("pool/p2.deb".to_owned(), b"no package at all".to_vec());
    let bed = Bed::of(tree);
    bed.fetch(false).unwrap();
    let (store, [heavy, fast, broken]) = (bed.store(), &bed.wanted[..]) else { panic!() };

    // Only of it there is a light one, with the same content; who trusts none gets what was fetched.
    let light = store.to_unpack(&heavy.sha256);
    assert_eq!(light.parent().unwrap(), store.light_folder());
    for other in [fast, broken] {
        assert_eq!(store.to_unpack(&other.sha256), store.path(&other.sha256));
    }
    let fetched = store.clone().as_fetched();
    assert_eq!(fetched.to_unpack(&heavy.sha256), store.path(&heavy.sha256));
    let (before, after) =
        (fs_err::read(store.path(&heavy.sha256)).unwrap(), fs_err::read(&light).unwrap());
    let [before, after] = [&before, &after].map(|bytes| {
        let deb = deb::Deb::new(bytes).unwrap();
        assert_eq!(deb::control(bytes).unwrap(), deb.control().unwrap());
        let mut data = Vec::new();
        deb.data().unwrap().read_to_end(&mut data).unwrap();
        (deb.control().unwrap(), data)
    });
    assert_eq!(before, after);

    // Damaged, cut off or empty it is made again.
    let whole = fs_err::read(&light).unwrap();
    for at in [0, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        for bytes in [&damaged[..], &whole[..at]] {
            fs_err::write(&light, bytes).unwrap();
            assert_eq!(bed.fetch(true).unwrap().present, 3);
            assert!(fs_err::read(&light).unwrap() == whole, "{at}");
        }
    }
    // It is used instead of what was fetched, as long as that is there.
    fs_err::write(store.path(&heavy.sha256), vec![0; heavy.size as usize]).unwrap();
    assert_eq!(bed.fetch(true).unwrap().present, 3);
    let fetcher = Fetcher::new(FetchOptions { offline: true, ..options() }).unwrap();
    let error = fetched.fetch_all(&fetcher, &bed.wanted, JOBS, &|_| ()).unwrap_err();
    assert!(error.to_string().starts_with("package p0 1.0"), "{error}");
    bed.fetch(true).unwrap_err();
}

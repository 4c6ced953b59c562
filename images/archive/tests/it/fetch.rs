//! Fetching, with every fault that a network has.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use overboot_archive::fetch::Download;
use overboot_archive::{Error, FetchOptions, Fetcher};
use overboot_digest::Digest;
use overboot_testkit::archive::{Fault, Server, Tree};

const SIZE: usize = 300_000;

fn content() -> Vec<u8> {
    (0..SIZE).map(|at| (at * 7 + at / 251) as u8).collect()
}

pub(crate) fn options() -> FetchOptions {
    FetchOptions {
        back_off: Duration::from_millis(1),
        stall: Duration::from_secs(10),
        ..FetchOptions::default()
    }
}

struct Bed {
    dir: tempfile::TempDir,
    server: Server,
    fetcher: Fetcher,
}

impl Bed {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            server: Server::start(Tree::from([("file".to_owned(), content())])),
            fetcher: Fetcher::new(options()).unwrap(),
        }
    }

    fn to(&self) -> PathBuf {
        self.dir.path().join("file")
    }

    fn partial(&self) -> PathBuf {
        self.dir.path().join("file.partial")
    }

    fn url(&self) -> String {
        format!("{}/file", self.server.uri())
    }

    fn download(&self) -> Result<(), Error> {
        self.download_from(&[self.url()])
    }

    fn download_from(&self, urls: &[String]) -> Result<(), Error> {
        let sha256 = Digest::of(content());
        let download = Download { urls, size: SIZE as u64, sha256, to: &self.to() };
        self.fetcher.download(&download, &|_| ())
    }

    /// Where each request began.
    fn offsets(&self) -> Vec<Option<usize>> {
        self.server.take_requests().into_iter().map(|request| request.from).collect()
    }

    fn assert_whole(&self) {
        assert_eq!(fs_err::read(self.to()).unwrap(), content());
        assert!(!self.partial().exists());
    }
}

#[test]
fn a_file_arrives_whole_once_and_tells_of_its_progress() {
    let bed = Bed::new();
    let told = RefCell::new(Vec::new());
    let sha256 = Digest::of(content());
    let urls = [bed.url()];
    let download = Download { urls: &urls, size: SIZE as u64, sha256, to: &bed.to() };
    bed.fetcher.download(&download, &|bytes| told.borrow_mut().push(bytes)).unwrap();
    bed.assert_whole();
    let told = told.into_inner();
    assert!(told.is_sorted() && told.last() == Some(&(SIZE as u64)));
    bed.download().unwrap();
    assert_eq!(bed.offsets(), [None]);
}

#[test]
fn a_broken_transfer_goes_on_where_it_broke() {
    let bed = Bed::new();
    bed.server.fail("file", 2, &Fault::Truncate(100_000));
    bed.download().unwrap();
    bed.assert_whole();
    assert_eq!(bed.offsets(), [None, Some(100_000), Some(200_000)]);
}

#[test]
fn what_an_earlier_run_left_is_used() {
    let bed = Bed::new();
    bed.server.fail("file", 4, &Fault::Truncate(50_000));
    let error = bed.download().unwrap_err();
    assert!(matches!(error, Error::Interrupted { attempts: 4, .. }), "{error}");
    assert!(error.hint().unwrap().contains("resumed"));
    assert!(!bed.to().exists());
    let _ = bed.server.take_requests();
    bed.download().unwrap();
    bed.assert_whole();
    assert_eq!(bed.offsets(), [Some(200_000)]);
}

#[test]
fn a_leftover_of_another_file_costs_one_more_request() {
    for leftover in [vec![9; 1000], vec![9; SIZE], vec![9; SIZE + 1]] {
        let bed = Bed::new();
        fs_err::write(bed.partial(), &leftover).unwrap();
        bed.download().unwrap();
        bed.assert_whole();
    }
}

#[test]
fn a_server_without_range_or_with_a_wrong_one_does_no_harm() {
    for fault in [Fault::IgnoreRange, Fault::WrongRange, Fault::Status(416)] {
        let bed = Bed::new();
        fs_err::write(bed.partial(), &content()[..1000]).unwrap();
        bed.server.fail("file", 1, &fault);
        bed.download().unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        bed.assert_whole();
    }
}

#[test]
fn other_content_is_never_kept() {
    let bed = Bed::new();
    bed.server.fail("file", 1, &Fault::Corrupt);
    let error = bed.download().unwrap_err();
    assert!(matches!(error, Error::WrongDigest { .. }), "{error}");
    assert!(error.to_string().contains(&bed.url()) && error.hint().is_some());
    bed.server.fail("file", 1, &Fault::Longer);
    let error = bed.download().unwrap_err();
    let longer = SIZE as u64 + 8;
    assert!(matches!(error, Error::WrongSize { found, .. } if found == longer), "{error}");
    assert!(!bed.to().exists());
    assert_eq!(fs_err::metadata(bed.partial()).unwrap().len(), 0);
    bed.download().unwrap();
    bed.assert_whole();
}

#[test]
fn the_next_address_is_tried_and_what_passes_is_waited_for() {
    let bed = Bed::new();
    let gone = format!("{}/gone", bed.server.uri());
    bed.server.fail("file", 1, &Fault::Status(503));
    bed.server.fail("file", 1, &Fault::Status(429));
    bed.download_from(&[gone.clone(), bed.url()]).unwrap();
    bed.assert_whole();
    fs_err::remove_file(bed.to()).unwrap();
    let error = bed.download_from(std::slice::from_ref(&gone)).unwrap_err();
    assert!(matches!(&error, Error::NotFound { url } if *url == gone), "{error}");
    assert!(bed.download_from(&[]).is_err());
    bed.server.fail("file", 1, &Fault::Status(403));
    let error = bed.download().unwrap_err();
    assert!(matches!(error, Error::Status { status: 403, .. }), "{error}");
}

#[test]
fn redirects_are_followed_but_not_for_ever_and_not_anywhere() {
    let bed = Bed::new();
    bed.server.fail("a", 1, &Fault::Redirect("/b".to_owned()));
    bed.server.fail("b", 1, &Fault::Redirect(bed.url()));
    bed.download_from(&[format!("{}/a", bed.server.uri())]).unwrap();
    bed.assert_whole();
    bed.server.fail("loop", 100, &Fault::Redirect("/loop".to_owned()));
    let error = bed.fetcher.get(&format!("{}/loop", bed.server.uri()), 10).unwrap_err();
    assert!(error.to_string().contains("redirects too often"), "{error}");
    for away in ["file:///etc/passwd", "ftp://x/", "//x/", ""] {
        bed.server.fail("away", 1, &Fault::Redirect(away.to_owned()));
        let error = bed.fetcher.get(&format!("{}/away", bed.server.uri()), 10).unwrap_err();
        assert!(matches!(error, Error::Address { .. }), "{away}: {error}");
    }
}

#[test]
fn a_whole_file_is_bounded() {
    let bed = Bed::new();
    assert_eq!(bed.fetcher.get(&bed.url(), SIZE as u64).unwrap(), content());
    let error = bed.fetcher.get(&bed.url(), SIZE as u64 - 1).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    bed.server.fail("file", 4, &Fault::Truncate(10));
    let error = bed.fetcher.get(&bed.url(), SIZE as u64).unwrap_err();
    assert!(matches!(error, Error::Interrupted { .. }), "{error}");
}

#[test]
fn what_is_wrong_with_the_network_is_told_apart() {
    let fetcher = Fetcher::new(options()).unwrap();
    let error = fetcher.get("http://no-such-host.invalid/x", 10).unwrap_err();
    assert!(
        matches!(&error, Error::Unresolved { host, .. } if host == "no-such-host.invalid"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("no-such-host.invalid"));

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = fetcher.get(&format!("http://{nobody}/x"), 10).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");

    for bad in ["", "x", "ftp://host/x", "http://", "/etc/passwd"] {
        let error = fetcher.get(bad, 10).unwrap_err();
        assert!(matches!(error, Error::Address { .. }), "{bad}: {error}");
    }
}

#[test]
fn a_silent_server_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stall = Duration::from_millis(50);
    let fetcher = Fetcher::new(FetchOptions { stall, attempts: 2, ..options() }).unwrap();
    let url = format!("http://{}/x", silent.local_addr().unwrap());
    let error = fetcher.get(&url, 10).unwrap_err();
    assert!(matches!(error, Error::Interrupted { attempts: 2, .. }), "{error}");
}

#[test]
fn a_transfer_that_stands_still_is_begun_anew_where_it_stood() {
    let bed = Bed::new();
    let stall = Duration::from_millis(200);
    let fetcher = Fetcher::new(FetchOptions { stall, ..options() }).unwrap();
    bed.server.fail("file", 1, &Fault::Stall(100_000));
    let bed = Bed { fetcher, ..bed };
    bed.download().unwrap();
    bed.assert_whole();
    assert_eq!(bed.offsets(), [None, Some(100_000)]);
}

#[test]
fn a_proxy_is_asked_for_the_whole_address() {
    // The test's server answers as a proxy too; the archive's host does not exist.
    let bed = Bed::new();
    let proxy = Some(bed.server.uri());
    let fetcher = Fetcher::new(FetchOptions { proxy, ..options() }).unwrap();
    for _ in 0..2 {
        // The second time over the same connection.
        let bytes = fetcher.get("http://archive.invalid/file", SIZE as u64).unwrap();
        assert_eq!(bytes, content());
    }
    let targets: Vec<_> =
        bed.server.take_requests().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["http://archive.invalid/file"; 2]);

    for bad in
        ["https://127.0.0.1:1", "socks5://127.0.0.1:1", "http://user:secret@127.0.0.1:1", "::"]
    {
        let proxy = Some(bad.to_owned());
        let error = Fetcher::new(FetchOptions { proxy, ..options() }).unwrap_err();
        assert!(matches!(error, Error::Proxy { .. }), "{bad}: {error}");
        let text = format!("{error} {error:?}");
        assert!(text.contains("cannot use the proxy ") && !text.contains("secret"), "{text}");
        assert!(error.hint().unwrap().contains("http://HOST:PORT"));
    }
    let proxy = Some("http://no-such-proxy.invalid:3142".to_owned());
    let fetcher = Fetcher::new(FetchOptions { proxy, ..options() }).unwrap();
    let error = fetcher.get("http://archive.invalid/file", 10).unwrap_err();
    assert!(error.to_string().contains("the proxy no-such-proxy.invalid:3142"), "{error}");
}

#[test]
fn two_that_want_the_same_file_fetch_it_once() {
    let bed = Bed::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| bed.download().unwrap());
        }
    });
    bed.assert_whole();
    assert_eq!(bed.offsets(), [None]);
}

#[test]
fn a_full_disk_is_told_as_such() {
    if !overboot_testkit::require::root() {
        return;
    }
    let bed = Bed::new();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(bed.dir.path())
        .status();
    if !overboot_testkit::require::met(
        mounted.is_ok_and(|status| status.success()),
        "needs to mount a tmpfs",
    ) {
        return;
    }
    let error = bed.download().unwrap_err();
    let unmounted = std::process::Command::new("umount").arg(bed.dir.path()).status().unwrap();
    assert!(unmounted.success());
    assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("Free some space"));
}

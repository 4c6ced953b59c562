//! What nodes fetch.

use overboot_digest::Digest;

use crate::support::{BLOB, TestServer};

fn blob_path() -> String {
    format!("/boot/blobs/sha256/{}", Digest::of(BLOB).hex())
}

#[test]
fn blobs_are_served_whole_in_parts_and_by_head() {
    let server = TestServer::start();
    let whole = server.get(&blob_path());
    assert_eq!((whole.status, whole.body.as_slice()), (200, BLOB));
    assert!(whole.headers["cache-control"].to_str().unwrap().contains("immutable"));
    let etag = whole.headers["etag"].to_str().unwrap().to_owned();

    let part = server.send("GET", &blob_path(), &[("range", "bytes=4-9"), ("if-range", &etag)], "");
    assert_eq!((part.status, part.body.as_slice()), (206, &BLOB[4..10]));
    assert_eq!(part.headers["content-range"], format!("bytes 4-9/{}", BLOB.len()));

    let head = server.send("HEAD", &blob_path(), &[], "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.headers["content-length"], BLOB.len().to_string());

    let beyond = server.send("GET", &blob_path(), &[("range", "bytes=1000-")], "");
    assert_eq!(beyond.status, 416);
    let known = server.send("GET", &blob_path(), &[("if-none-match", &etag)], "");
    assert_eq!((known.status, known.body.len()), (304, 0));
}

#[test]
fn sets_are_served_with_their_signature_and_revalidated() {
    let server = TestServer::start();
    let set = server.get("/boot/sets/discovery.json");
    assert_eq!(set.headers["cache-control"], "no-cache");
    assert_eq!(set.expect(200)["name"], "discovery");
    let signature = server.get("/boot/sets/discovery.json.minisig");
    assert!(signature.text().starts_with("untrusted comment"));
    assert_eq!(server.get("/boot/sets/other.json").status, 404);
    for none in ["xyz".to_owned(), Digest::of(b"absent").hex(), Digest::of(BLOB).hex()] {
        let absent = server.get(&format!("/boot/sets/discovery.json?manifest={none}"));
        assert_eq!(absent.status, 404, "{none}");
    }
    assert_eq!(server.get("/boot/sets/..%2f..%2fetc.json").status, 404);
}

#[test]
fn a_machine_goes_on_with_the_set_that_it_began_with() {
    let server = TestServer::start();
    let store = server.store();
    let publish = || store.publish_sets(&["discovery".to_owned()]).unwrap();
    let served = || server.get("/boot/sets/discovery.json").expect(200)["cmdline"].clone();
    publish();
    let began = store.served("discovery").unwrap().unwrap();
    let old = served();
    let path = format!("/boot/sets/discovery.json?manifest={}", began.descriptor.digest.hex());

    let mut set = server.get("/boot/sets/discovery.json").expect(200);
    set["cmdline"] = "newer".into();
    let layer = store.put_bytes(set.to_string().as_bytes()).unwrap();
    let mut manifest = began.manifest.clone();
    manifest.layers[0] = overboot_store::Layer::new(&manifest.layers[0].media_type, layer);
    let signature = store.put_bytes(b"untrusted comment: of the newer one\n").unwrap();
    manifest.layers[1] = overboot_store::Layer::new(&manifest.layers[1].media_type, signature);
    store.publish("set/discovery", &manifest).unwrap();
    assert_eq!(served(), old, "what was built is not served before it is published");
    publish();
    assert_eq!(served(), "newer");
    assert_eq!(server.get(&path).expect(200)["cmdline"], old);
    let signature = |path: &str| server.get(&path.replace(".json", ".json.minisig")).text();
    assert!(signature(&path).contains("a signature"), "{}", signature(&path));
    assert!(signature("/boot/sets/discovery.json").contains("of the newer one"));
    store.roll_back("discovery", None).unwrap();
    assert_eq!(served(), old);
}

#[test]
fn what_is_not_there_is_a_404_with_a_document() {
    let server = TestServer::start();
    let absent = format!("/boot/blobs/sha256/{}", Digest::of(b"absent").hex());
    for path in [&absent, "/boot/blobs/sha256/xyz", "/boot/loaders/x.efi", "/common/x", "/nothing"]
    {
        assert_eq!(server.get(path).expect(404)["status"], "404", "{path}");
    }
    let wrong = server.send("DELETE", "/boot/sets/discovery.json", &[], "").expect(405);
    assert_eq!(wrong["status"], "405");
}

#[test]
fn loaders_and_common_files_are_served_from_their_folders() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("undionly.kpxe"), b"loader").unwrap();
    std::fs::write(dir.path().join("vmlinuz-3.16"), b"kernel").unwrap();
    let server = TestServer::with(|config| {
        config.loaders = Some(dir.path().to_owned());
        config.common = Some(dir.path().to_owned());
    });
    assert_eq!(server.get("/boot/loaders/undionly.kpxe").body, b"loader");
    let head = server.send("HEAD", "/boot/loaders/undionly.kpxe", &[], "");
    assert_eq!(head.headers["content-length"], "6");
    assert_eq!(server.get("/boot/loaders/vmlinuz-3.16").status, 404);
    assert_eq!(server.get("/common/vmlinuz-3.16").body, b"kernel");
    assert_eq!(server.get("/common/..%2fsecret").status, 404);
}

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    let server = TestServer::start();
    let page = server.get("/");
    assert_eq!(page.status, 200);
    assert!(
        page.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'")
    );
    let text = page.text();
    assert!(
        text.contains("/api/overboot/v1/fleet")
            && !text.contains("http://")
            && !text.contains("https://")
    );
    // Names come from machines that nobody vouches for: they are text, by every way that the page has.
    for markup in
        ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "srcdoc", "eval("]
    {
        assert!(!text.contains(markup), "{markup}");
    }
    assert!(server.get("/api/overboot/v1/fleet").expect(200).as_array().unwrap().is_empty());
    assert!(server.dir().join("state/fleet.sqlite").exists());
}

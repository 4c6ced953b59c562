//! Documents that another program wrote, or an attacker.

use std::collections::HashSet;
use std::fs;
use std::time::SystemTime;

use overboot_store::{Error, Store};

use crate::{manifest, new};

#[test]
fn another_directory_is_not_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.txt"), b"precious").unwrap();
    let error = Store::open_or_create(dir.path()).unwrap_err();
    assert!(error.to_string().contains("thesis.txt"), "{error}");
    assert!(error.hint().is_some());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert!(matches!(Store::open(dir.path()), Err(Error::NotAStore { .. })));
    assert!(matches!(Store::open("/nonexistent"), Err(Error::NotAStore { .. })));
    fs::write(dir.path().join("oci-layout"), br#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(Store::open(dir.path()).unwrap_err().to_string().contains("2.0.0"));
}

#[test]
fn a_document_that_is_none_is_refused_with_its_path() {
    let (_dir, store) = new();
    let index = store.dir().join("index.json");
    let digest = format!("sha256:{}", "0".repeat(64));
    for bad in [
        "",
        "[]",
        r#"{"schemaVersion":1,"manifests":[]}"#,
        r#"{"schemaVersion":2}"#,
        r#"{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"sha256:../../etc/passwd","size":1}]}"#,
        &format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"x","digest":"{digest}","size":-1}}]}}"#
        ),
        &"[".repeat(100_000),
        &" ".repeat((4 << 20) + 1),
    ] {
        fs::write(&index, bad).unwrap();
        let gone = ["a".to_owned()];
        for result in [
            store.list().map(|_| ()),
            store.collect(&gone, &HashSet::new(), SystemTime::now()).map(|_| ()),
            store.publish_sets(&[]).map(|_| ()),
            store.verify().map(|_| ()),
        ] {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Document { .. }), "{error}");
            assert!(error.to_string().contains("index.json"));
        }
    }
}

#[test]
fn a_manifest_of_another_kind_is_refused() {
    let (_dir, store) = new();
    for bad in [
        r#"{"schemaVersion":2,"layers":[]}"#,
        r#"{"schemaVersion":2,"config":{"mediaType":"x","digest":"sha256:00","size":0},"layers":[]}"#,
        "null",
    ] {
        let blob = store.put_bytes(bad.as_bytes()).unwrap();
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json",
            "digest":"{}","size":{},"annotations":{{"org.opencontainers.image.ref.name":"a"}}}}]}}"#,
            blob.digest, blob.size
        );
        fs::write(store.dir().join("index.json"), index).unwrap();
        assert!(matches!(store.get("a"), Err(Error::Manifest { .. })), "{bad}");
        assert_eq!(store.verify().unwrap().len(), 1);
    }
}

#[test]
fn what_other_tools_put_there_stays() {
    let (_dir, store) = new();
    let foreign = store.put_bytes(br#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
    let index = format!(
        r#"{{"schemaVersion":2,"annotations":{{"who":"another"}},"manifests":[{{"mediaType":"application/vnd.oci.image.index.v1+json",
        "digest":"{}","size":{},"platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#,
        foreign.digest, foreign.size
    );
    fs::write(store.dir().join("index.json"), index).unwrap();
    store.publish("a", &manifest(&store, b"x")).unwrap();
    let index = fs::read_to_string(store.dir().join("index.json")).unwrap();
    assert!(index.contains(r#""who":"another""#) && index.contains(r#""os":"linux""#), "{index}");
    assert_eq!(store.list().unwrap().len(), 1);
    assert_eq!(store.verify().unwrap(), []);
    store.collect(&[], &HashSet::new(), SystemTime::now()).unwrap();
    assert!(store.has_blob(foreign));
}

//! The store as its users see it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failed test may panic, and a skip is printed"
)]

mod crash;
mod generations;
mod hostile;
mod oracle;

use std::collections::HashSet;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::thread;
use std::time::SystemTime;

use overboot_digest::Digest;
use overboot_store::{ArtifactManifest, Error, Layer, Store};
use tempfile::TempDir;

const TYPE: &str = "application/vnd.example.image.v1";

fn new() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(dir.path().join("store")).unwrap();
    (dir, store)
}

fn manifest(store: &Store, content: &[u8]) -> ArtifactManifest {
    let layer = Layer::new(TYPE, store.put_bytes(content).unwrap());
    let record = store.put_bytes(br#"{"made":"by a test"}"#).unwrap();
    ArtifactManifest::new(TYPE, layer).with_record("application/vnd.example.record.v1+json", record)
}

fn read(dir: &Path, name: &str) -> serde_json::Value {
    serde_json::from_slice(&fs::read(dir.join(name)).unwrap()).unwrap()
}

#[test]
fn what_is_published_is_found_and_what_replaces_it_too() {
    let (_dir, store) = new();
    assert_eq!(store.get("base/base").unwrap(), None);
    let first = manifest(&store, b"first").annotated("org.example.kernel", "6.12");
    let published = store.publish("base/base", &first).unwrap();
    let found = store.get("base/base").unwrap().unwrap();
    assert_eq!(found, published);
    assert_eq!(found.manifest, first);
    assert_eq!(fs::read(store.blob_path(&found.layer().digest)).unwrap(), b"first");
    assert_eq!(found.record().unwrap().size, 20);

    store.publish("base/base", &manifest(&store, b"second")).unwrap();
    store.publish("a", &manifest(&store, b"first")).unwrap();
    let names: Vec<_> = store.list().unwrap().into_iter().map(|found| found.target).collect();
    assert_eq!(names, ["a", "base/base"]);
    assert_eq!(store.get("base/base").unwrap().unwrap().layer().digest, Digest::of("second"));
    assert_eq!(store.verify().unwrap(), []);

    let other = Store::open(store.dir()).unwrap();
    let gone = ["a".to_owned(), "never there".to_owned()];
    assert_eq!(other.collect(&gone, &HashSet::new(), SystemTime::now()).unwrap().len(), 3);
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn the_documents_are_those_of_the_specification() {
    let (_dir, store) = new();
    let layer = Layer::new(TYPE, store.put_bytes(b"x").unwrap());
    store.publish("set/default", &ArtifactManifest::new(TYPE, layer)).unwrap();
    assert_eq!(read(store.dir(), "oci-layout"), serde_json::json!({"imageLayoutVersion": "1.0.0"}));
    let index = read(store.dir(), "index.json");
    let entry = &index["manifests"][0];
    assert_eq!(index["schemaVersion"], 2);
    assert_eq!(entry["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(entry["annotations"]["org.opencontainers.image.ref.name"], "set/default");
    let digest = entry["digest"].as_str().unwrap();
    let manifest =
        read(store.dir(), &format!("blobs/sha256/{}", digest.strip_prefix("sha256:").unwrap()));
    // As in "guidance for artifacts" of the specification.
    let expected = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": TYPE,
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "size": 2
        },
        "layers": [{
            "mediaType": TYPE,
            "digest": Digest::of("x"),
            "size": 1
        }]
    });
    assert_eq!(manifest, expected);
}

#[test]
fn the_same_content_gives_the_same_store() {
    let stores = [new(), new()];
    for (at, (_dir, store)) in stores.iter().enumerate() {
        let mut targets = ["b", "a/x", "c"];
        targets.rotate_left(at);
        for target in targets {
            store.publish(target, &manifest(store, target.as_bytes())).unwrap();
        }
    }
    let [one, two] = stores.map(|(_dir, store)| fs::read(store.dir().join("index.json")).unwrap());
    assert_eq!(one, two);
}

#[test]
fn a_writer_may_go_back() {
    let (_dir, store) = new();
    let mut writer = store.blob_writer().unwrap();
    writer.write_all(&[0; 8]).unwrap();
    writer.write_all(b"content").unwrap();
    writer.seek(SeekFrom::Start(0)).unwrap();
    writer.write_all(b"superblk").unwrap();
    let end = writer.seek(SeekFrom::End(0)).unwrap();
    writer.write_all(b"!").unwrap();
    let blob = writer.commit().unwrap();
    assert_eq!((blob.size, end), (16, 15));
    assert_eq!(blob.digest, Digest::of("superblkcontent!"));
    assert_eq!(fs::read(store.blob_path(&blob.digest)).unwrap(), b"superblkcontent!");

    // A hole at the end of what was hashed, or one before it.
    let mut writer = store.blob_writer().unwrap();
    writer.write_all(b"a").unwrap();
    writer.seek(SeekFrom::Start(3)).unwrap();
    writer.write_all(b"b").unwrap();
    assert_eq!(writer.commit().unwrap().digest, Digest::of(b"a\0\0b"));
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn many_publish_at_once_and_nothing_is_lost() {
    let (_dir, store) = new();
    thread::scope(|scope| {
        for thread in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..5 {
                    let target = format!("t{thread}/r{round}");
                    store.publish(&target, &manifest(store, target.as_bytes())).unwrap();
                }
            });
        }
    });
    assert_eq!(store.list().unwrap().len(), 40);
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn what_is_incomplete_is_not_published() {
    let (_dir, store) = new();
    let mut missing = manifest(&store, b"x");
    missing.layers[0].digest = Digest::of("not there");
    let error = store.publish("a", &missing).unwrap_err();
    assert!(matches!(error, Error::Blob { state: "missing", .. }), "{error}");
    let mut shorter = manifest(&store, b"x");
    shorter.layers[0].size = 7;
    let error = store.publish("a", &shorter).unwrap_err();
    assert!(matches!(error, Error::Blob { state: "of another size", .. }), "{error}");
    assert!(error.hint().is_some());
    assert!(matches!(store.publish("../a", &manifest(&store, b"x")), Err(Error::Target { .. })));
    let empty = ArtifactManifest { layers: vec![], ..manifest(&store, b"x") };
    assert!(store.publish("a", &empty).is_err());
    assert_eq!(store.list().unwrap(), []);
}

#[test]
fn content_that_nobody_needs_is_collected() {
    let (_dir, store) = new();
    store.publish("a", &manifest(&store, b"old")).unwrap();
    store.publish("a", &manifest(&store, b"new")).unwrap();
    let kept = store.put_bytes(b"a layer that a boot set names").unwrap();
    let stray = store.put_bytes(b"never named").unwrap();
    let keep = HashSet::from([kept.digest]);
    let garbage = store.garbage(&[], &keep).unwrap();
    assert!(garbage.contains(&(store.blob_path(&stray.digest), stray.size)));
    assert_eq!(garbage.len(), 3, "the old layer, the old manifest, and what was never published");
    assert_eq!(store.collect(&[], &keep, SystemTime::now()).unwrap(), garbage);
    assert!(store.has_blob(kept) && !store.has_blob(stray));
    assert_eq!(store.verify().unwrap(), []);
    assert_eq!(store.get("a").unwrap().unwrap().layer().digest, Digest::of("new"));
}

#[test]
fn what_another_tool_has_put_there_is_kept() {
    let (_dir, store) = new();
    let layer = store.put_bytes(b"a layer of an image for two architectures").unwrap();
    let config = store.put_bytes(b"{}{}").unwrap();
    let put =
        |document: serde_json::Value| store.put_bytes(document.to_string().as_bytes()).unwrap();
    let inner = put(serde_json::json!({"schemaVersion": 2, "config": config, "layers": [layer]}));
    let outer = put(serde_json::json!({"schemaVersion": 2, "manifests": [inner]}));
    let mut index = read(store.dir(), "index.json");
    let mut entry = serde_json::to_value(outer).unwrap();
    entry["mediaType"] = "application/vnd.oci.image.index.v1+json".into();
    index["manifests"].as_array_mut().unwrap().push(entry);
    fs::write(store.dir().join("index.json"), index.to_string()).unwrap();
    let stray = store.put_bytes(b"stray").unwrap();
    let collected = store.collect(&[], &HashSet::new(), SystemTime::now()).unwrap();
    assert_eq!(collected, [(store.blob_path(&stray.digest), stray.size)]);
    assert!([layer, config, inner, outer].into_iter().all(|blob| store.has_blob(blob)));
}

//! What interrupted programs leave, and what a damaged disk does.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::time::SystemTime;

use overboot_digest::Digest;
use overboot_store::{Artifact, Descriptor, Error, Problem, Store};

use crate::{manifest, new};

#[test]
fn an_abandoned_writer_leaves_nothing() {
    let (_dir, store) = new();
    let mut writer = store.blob_writer().unwrap();
    writer.write_all(b"half").unwrap();
    drop(writer);
    assert_eq!(fs::read_dir(store.dir().join("blobs/sha256")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(store.dir().join(".overboot-tmp")).unwrap().count(), 0);
}

#[test]
fn leftovers_are_swept_and_running_writers_are_not() {
    let (_dir, store) = new();
    let mut writer = store.blob_writer().unwrap();
    writer.write_all(b"still being written").unwrap();
    let leftover = store.dir().join(".overboot-tmp/999999-0");
    fs::write(&leftover, b"its writer was killed").unwrap();
    fs::write(store.dir().join("index.json.new"), b"half an ind").unwrap();

    let again = Store::open_or_create(store.dir()).unwrap();
    assert!(!leftover.exists());
    let blob = writer.commit().unwrap();
    assert!(again.has_blob(blob));
    again.publish("a", &manifest(&again, b"x")).unwrap();
    assert_eq!(again.verify().unwrap(), []);
}

#[test]
fn an_interrupted_creation_is_completed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
    fs::write(dir.path().join("index.json.new"), b"{").unwrap();
    fs::write(dir.path().join(".overboot-index.lock"), b"").unwrap();
    let store = Store::open_or_create(dir.path()).unwrap();
    assert_eq!(store.list().unwrap(), []);
}

#[test]
fn damage_is_found_told_once_and_healed_by_storing_again() {
    let (_dir, store) = new();
    let artifact = store.publish("a", &manifest(&store, b"content")).unwrap();
    store.publish("b", &manifest(&store, b"of b")).unwrap();
    let path = store.blob_path(&artifact.layer().digest);
    fs::write(&path, b"cOntent").unwrap();
    fs::remove_file(store.blob_path(&Digest::of("of b"))).unwrap();
    let stray = store.dir().join("blobs/sha256/zzz");
    fs::write(&stray, b"").unwrap();

    let problems = store.verify().unwrap();
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 3, "{texts:?}");
    let needed_by = vec!["a".to_owned()];
    let damaged = Problem::Damaged { path: path.clone(), found: Digest::of("cOntent"), needed_by };
    assert_eq!(problems[0], damaged);
    assert_eq!(problems[1], Problem::Stray { path: stray });
    assert!(texts[2].starts_with("b is incomplete") && texts[2].ends_with("missing"), "{texts:?}");

    let state = |artifact: &Artifact| match store
        .check_blob(&artifact.target, artifact.layer().descriptor())
    {
        Err(Error::Blob { state, .. }) => Some(state),
        other => other.map(|()| None).unwrap(),
    };
    let b = store.get("b").unwrap().unwrap();
    assert_eq!((state(&artifact), state(&b)), (Some("damaged"), Some("missing")));
    // What is damaged can be put out of the way; then it is missing.
    let aside = store.set_aside(&problems[0]).unwrap().unwrap();
    assert_eq!(fs::read(&aside).unwrap(), b"cOntent");
    assert!(aside.starts_with(store.dir().join("damaged")) && !path.exists());
    assert!(store.verify().unwrap()[1].to_string().starts_with("a is incomplete"));
    assert_eq!(store.set_aside(&problems[2]).unwrap(), None, "that is no file");

    store.put_bytes(b"content").unwrap();
    store.put_bytes(b"of b").unwrap();
    // Healed in between, it stays where it is.
    assert_eq!(store.set_aside(&problems[0]).unwrap(), None);
    assert_eq!(state(&artifact), None);
    assert_eq!(store.verify().unwrap().len(), 1);
    store.set_aside(&problems[1]).unwrap();
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn a_blob_that_the_disk_does_not_give_is_told_and_the_others_are_looked_at() {
    let (_dir, store) = new();
    let artifact = store.publish("a", &manifest(&store, b"content")).unwrap();
    let path = store.blob_path(&artifact.layer().digest);
    fs::remove_file(&path).unwrap();
    // Reading it at its beginning is an I/O error, for everybody.
    std::os::unix::fs::symlink("/proc/self/mem", &path).unwrap();
    let stray = store.dir().join("blobs/sha256/zzz");
    fs::create_dir(&stray).unwrap();

    let problems = store.verify().unwrap();
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 2, "{texts:?}");
    assert!(
        matches!(&problems[0], Problem::Unreadable { path: of, .. } if *of == path)
            && texts[0].ends_with("needed by a"),
        "{texts:?}"
    );
    for problem in &problems {
        store.set_aside(problem).unwrap().unwrap();
    }
    // And again, though all these names are there already.
    fs::create_dir(&stray).unwrap();
    fs::write(store.dir().join("damaged/zzz/x"), b"").unwrap();
    let aside = store.set_aside(&problems[1]).unwrap().unwrap();
    assert_eq!(aside, store.dir().join("damaged/zzz.1"));
    store.put_bytes(b"content").unwrap();
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn a_manifest_that_grew_is_that_artifacts_trouble_alone() {
    let (_dir, store) = new();
    let artifact = store.publish("a", &manifest(&store, b"content")).unwrap();
    let path = store.blob_path(&artifact.descriptor.digest);
    fs::write(&path, vec![b' '; (4 << 20) + 1]).unwrap();
    let error = store.get("a").unwrap_err();
    assert!(matches!(&error, Error::Manifest { target, .. } if target == "a"), "{error}");
}

#[test]
fn a_damaged_manifest_is_never_believed() {
    let (_dir, store) = new();
    let artifact = store.publish("a", &manifest(&store, b"content")).unwrap();
    let path = store.blob_path(&artifact.descriptor.digest);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"size\":7", "\"size\":8")).unwrap();
    let error = store.get("a").unwrap_err();
    assert!(matches!(error, Error::Blob { state: "damaged", .. }), "{error}");
    // Told once, though the artifact is not whole without it.
    assert_eq!(store.verify().unwrap().len(), 1);
    // And nothing is collected while it is not known what is needed.
    assert!(store.collect(&[], &HashSet::new(), SystemTime::now()).is_err());
    assert!(store.blob_path(&artifact.layer().digest).exists());
}

#[test]
fn what_was_left_of_a_blob_is_gone_on_with_and_not_for_ever() {
    let (_dir, store) = new();
    let digest = Digest::of("content");
    let partial = store.dir().join(format!(".overboot-tmp/{}.partial", digest.hex()));
    let mut writer = store.blob_resumed(&digest).unwrap();
    writer.write_all(b"cont").unwrap();
    // While somebody is at it, another gets a file of his own.
    let other = store.blob_resumed(&digest).unwrap();
    assert_eq!(other.written().1, 0);
    drop((writer, other));
    assert!(!store.has_blob(Descriptor { digest, size: 7 }));

    let store = Store::open_or_create(store.dir()).unwrap();
    let mut writer = store.blob_resumed(&digest).unwrap();
    assert_eq!((writer.written().1, writer.written().0.finish()), (4, Digest::of("cont")));
    writer.write_all(b"ent").unwrap();
    assert_eq!(writer.commit().unwrap().digest, digest);
    assert!(!partial.exists());

    // Nothing is left of nothing, nor of what was taken back.
    let mut writer = store.blob_resumed(&digest).unwrap();
    writer.write_all(b"x").unwrap();
    writer.clear().unwrap();
    drop(writer);
    assert!(!partial.exists());
    fs::write(&partial, b"old").unwrap();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(25 * 3600);
    fs::File::options().write(true).open(&partial).unwrap().set_modified(long_ago).unwrap();
    Store::open_or_create(store.dir()).unwrap();
    assert!(!partial.exists());
}

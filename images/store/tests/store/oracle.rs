//! skopeo, which every registry's users have, reads what we write.

use std::process::Command;

use overboot_store::{Layer, layout};

use crate::{TYPE, manifest, new};

fn skopeo(arguments: &[&str]) -> Option<Vec<u8>> {
    let output = match Command::new("skopeo").args(arguments).output() {
        Ok(output) => output,
        Err(error) => {
            let reason = format!(
                "skipped: skopeo cannot be run ({error}); install it: apt-get install skopeo"
            );
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{reason}");
            eprintln!("{reason}");
            return None;
        }
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "skopeo {arguments:?}: {errors}");
    Some(output.stdout)
}

#[test]
fn skopeo_reads_and_copies_an_artifact() {
    let (dir, store) = new();
    let extra = Layer::new("text/plain", store.put_bytes(b"signature").unwrap());
    let published = store
        .publish("set/default", &manifest(&store, b"{\"format\":1}").with_layer(extra))
        .unwrap();
    store.publish("base/base", &manifest(&store, &vec![7; 1 << 20])).unwrap();
    let image = format!("oci:{}:set/default", store.dir().display());
    let Some(raw) = skopeo(&["inspect", "--raw", &image]) else { return };
    assert_eq!(raw, std::fs::read(store.blob_path(&published.descriptor.digest)).unwrap());
    assert!(String::from_utf8(raw).unwrap().contains(TYPE));

    let copy = dir.path().join("copy");
    let to = format!("dir:{}", copy.display());
    skopeo(&["--insecure-policy", "copy", "--preserve-digests", &image, &to]);
    for layer in &published.manifest.layers {
        let copied = std::fs::read(copy.join(layer.digest.hex())).unwrap();
        assert_eq!(copied, std::fs::read(store.blob_path(&layer.digest)).unwrap());
    }
}

/// Whatever a target is called, skopeo takes it as a reference: a slash is allowed there (OCI image specification, `ref.name`), and a
/// layout's path ends at the first colon.
#[test]
fn skopeo_finds_every_kind_of_target() {
    let (_dir, store) = new();
    let targets = ["kernel", "base/base", "overlay/dell-raid", "set/a.b_c-d", "initrd/0"];
    for target in targets {
        store.publish(target, &manifest(&store, target.as_bytes())).unwrap();
    }
    for target in targets {
        let published = store.get(target).unwrap().unwrap();
        let image = format!("oci:{}:{target}", store.dir().display());
        let Some(raw) = skopeo(&["inspect", "--raw", &image]) else { return };
        assert_eq!(overboot_digest::Digest::of(raw), published.descriptor.digest, "{target}");
    }
}

/// skopeo writes into a layout by itself: what it brings is found by us, and what was there stays.
#[test]
fn skopeo_copies_into_a_store() {
    let ((_one, from), (_two, to)) = (new(), new());
    let published = from.publish("base/base", &manifest(&from, &vec![7; 1 << 20])).unwrap();
    to.publish("kernel", &manifest(&to, b"a kernel")).unwrap();
    let image =
        |store: &overboot_store::Store, name: &str| format!("oci:{}:{name}", store.dir().display());
    let words = ["--insecure-policy", "copy", "--preserve-digests"];
    let copy = |source: &str, target: &str| skopeo(&[&words[..], &[source, target]].concat());
    if copy(&image(&from, "base/base"), &image(&to, "base/base")).is_none() {
        return;
    }
    let copied = to.get("base/base").unwrap().unwrap();
    assert_eq!(copied.descriptor, published.descriptor);
    assert_eq!(copied.manifest, published.manifest);
    assert_eq!(to.verify().unwrap(), []);
    let names = || {
        let mut names = to.targets().unwrap();
        names.sort();
        names
    };
    assert_eq!(names(), ["base/base", "kernel"]);
    // And again, in the place of what is there.
    let newer = from.publish("base/base", &manifest(&from, b"newer")).unwrap();
    copy(&image(&from, "base/base"), &image(&to, "base/base"));
    assert_eq!(to.get("base/base").unwrap().unwrap().descriptor, newer.descriptor);
    to.publish("kernel", &manifest(&to, b"a newer kernel")).unwrap();
    assert_eq!(names(), ["base/base", "kernel"]);
}

#[test]
fn what_comes_from_elsewhere_keeps_its_digest_and_says_where_it_was() {
    let ((_one, from), (_two, to)) = (new(), new());
    let published = from.publish("base/base", &manifest(&from, b"x")).unwrap();
    let bytes = std::fs::read(from.blob_path(&published.descriptor.digest)).unwrap();
    // Written by another: other blanks, a key that we do not know.
    let text = String::from_utf8(bytes).unwrap().replacen('{', "{ \"unknown\": 1,", 1);
    let adopt = |text: &str| to.adopt("base/base", text.as_bytes(), "registry.example.com/lab");
    let error = adopt(&text).unwrap_err();
    assert!(matches!(error, overboot_store::Error::Blob { state: "missing", .. }), "{error}");
    assert_eq!(to.targets().unwrap(), [""; 0]);
    manifest(&to, b"x");
    let adopted = adopt(&text).unwrap();
    assert_eq!(adopted.descriptor.digest, overboot_digest::Digest::of(&text));
    assert_eq!(to.get("base/base").unwrap().unwrap(), adopted);
    assert_eq!(adopted.origin.as_deref(), Some("registry.example.com/lab"));
    assert!(!adopted.made_here);
    assert!(matches!(adopt("{}"), Err(overboot_store::Error::Manifest { .. })));
    // What is made here in its place is from here.
    to.publish("base/base", &manifest(&to, b"y")).unwrap();
    let ours = to.get("base/base").unwrap().unwrap();
    assert_eq!((ours.origin, ours.made_here), (None, true));
    assert_eq!(to.verify().unwrap(), []);

    // What has lost its name has lost with it where it is from.
    let lost = to.get_digest("base/base", &adopted.descriptor.digest).unwrap().unwrap();
    assert_eq!((lost.origin, lost.made_here), (None, false));
    // A part is from where the whole is, whatever its layer says.
    let whole = |name: &str| {
        let layer = Layer::new(layout::PART, adopted.descriptor)
            .annotated(layout::TARGET, "base/base")
            .annotated(layout::REF_NAME, "base/base");
        let whole = manifest(&to, name.as_bytes()).with_layer(layer);
        let ours = to.publish(&format!("set/{name}"), &whole).unwrap();
        let bytes = std::fs::read(to.blob_path(&ours.descriptor.digest)).unwrap();
        let theirs = || to.adopt(&format!("set/{name}"), &bytes, "registry.example.com/lab");
        [ours, theirs().unwrap()]
    };
    let parts = whole("a").map(|whole| to.parts(&whole).unwrap().remove(0));
    assert_eq!(parts.each_ref().map(|part| part.made_here), [true, false]);
    assert_eq!(parts[1].origin.as_deref(), Some("registry.example.com/lab"));
}

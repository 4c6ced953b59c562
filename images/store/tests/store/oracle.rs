//! skopeo, which every registry's users have, reads what we write.

use std::process::Command;

use overboot_store::Layer;

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

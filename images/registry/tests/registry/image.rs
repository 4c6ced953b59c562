//! Container images from layouts and registries, as skopeo puts them there.

use std::fs;
use std::path::Path;
use std::process::Command;

use overboot_digest::Digest;
use overboot_registry::image::{self, Image, Platform, Reference, Source};
use overboot_registry::{Error, Options};
use overboot_testkit::container::{Layer, Packing, layout};
use overboot_testkit::program::run;
use overboot_testkit::registry::Registry;
use overboot_testkit::require;

use crate::{bytes, options};

fn layers() -> [(Layer, Packing); 3] {
    let large = bytes(9 << 20, 1);
    [
        (Layer::new().folder("etc", 0o755).file("etc/large", 0o644, &large), Packing::Gzip),
        (Layer::new().whiteout("etc", "large").file("etc/small", 0o644, b"small"), Packing::Zstd),
        (Layer::new().file("top", 0o644, b"top"), Packing::Plain),
    ]
}

struct Asked {
    reference: Reference,
    platform: Platform,
    options: Options,
}

impl Asked {
    fn new(reference: &str) -> Self {
        Self {
            reference: reference.parse().unwrap(),
            platform: "linux/amd64".parse().unwrap(),
            options: options(),
        }
    }

    fn source(&self) -> Source<'_> {
        let Self { reference, platform, options } = self;
        Source { reference, platform, options, tell: &|_| {} }
    }

    fn resolve(&self) -> Result<Digest, Error> {
        image::resolve(&self.source())
    }

    fn fetch(&self, manifest: Digest, cache: &Path, offline: bool) -> Result<Image, Error> {
        image::fetch(&self.source(), manifest, cache, offline)
    }
}

/// Is the image whole, and made of these layers?
fn assert_is(image: &Image, layers: &[(Layer, Packing)]) {
    assert_eq!(image.layers.len(), layers.len());
    for (file, (layer, packing)) in image.layers.iter().zip(layers) {
        let content = fs::read(&file.path).unwrap();
        assert_eq!((Digest::of(&content), content.len() as u64), (file.digest, file.size));
        assert!(content == layer.packed(*packing));
    }
}

#[test]
fn a_layouts_image_becomes_files() {
    let folder = tempfile::tempdir().unwrap();
    let (images, cache) = (folder.path().join("images"), folder.path().join("cache"));
    let manifest = layout(&images, "it", "amd64", &layers());
    let only = Asked::new(&format!("oci:{}", images.display()));
    assert_eq!(only.resolve().unwrap(), manifest);
    let image = only.fetch(manifest, &cache, true).unwrap();
    assert_is(&image, &layers());
    assert_eq!(image.manifest, manifest);

    let other = layout(&images, "other", "arm64", &layers()[..1]);
    assert!(only.resolve().unwrap_err().to_string().contains("it, other"));
    let named = |name: &str| Asked::new(&format!("oci:{}:{name}", images.display()));
    assert_eq!(named("it").resolve().unwrap(), manifest);
    assert_eq!(named(&format!("it@{manifest}")).resolve().unwrap(), manifest);
    assert!(matches!(named(&format!("it@{other}")).resolve(), Err(Error::NotFound { .. })));
    assert!(matches!(named("nobody").resolve(), Err(Error::NotFound { .. })));
    let error = named("other").resolve().unwrap_err();
    assert!(
        error.to_string().ends_with("has no image for linux/amd64; it has: linux/arm64"),
        "{error}"
    );
    assert!(matches!(named("other").fetch(other, &cache, false), Err(Error::Platform { .. })));

    // What is damaged in the layout has no name in the cache.
    let layer = &image.layers[0];
    let empty = folder.path().join("empty");
    let blob = images.join("blobs/sha256").join(layer.digest.hex());
    let mut content = fs::read(&blob).unwrap();
    content[1000] ^= 1;
    fs::write(&blob, &content).unwrap();
    let error = only_it(&images).fetch(manifest, &empty, false).unwrap_err();
    assert!(matches!(error, Error::WrongDigest { .. }), "{error:?}");
    assert!(!empty.join("sha256").join(layer.digest.hex()).exists());
    // But the cache that has it does not look there.
    assert_is(&only_it(&images).fetch(manifest, &cache, false).unwrap(), &layers());
}

fn only_it(images: &Path) -> Asked {
    Asked::new(&format!("oci:{}:it", images.display()))
}

#[test]
fn an_index_is_asked_for_the_platform() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    let wanted = layout(&images, "a", "amd64", &layers());
    layout(&images, "b", "arm64", &layers()[..1]);
    // As builders write it: one name for an index of several.
    let text = fs::read_to_string(images.join("index.json")).unwrap();
    let text = text.replace(
        "{\"schemaVersion\":2,",
        "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",",
    );
    let digest = Digest::of(&text);
    fs::write(images.join("blobs/sha256").join(digest.hex()), &text).unwrap();
    let entry = serde_json::json!({
        "mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest, "size": text.len(),
        "annotations": {"org.opencontainers.image.ref.name": "both"},
    });
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [entry]});
    fs::write(images.join("index.json"), index.to_string()).unwrap();
    let mut asked = Asked::new(&format!("oci:{}:both", images.display()));
    assert_eq!(asked.resolve().unwrap(), wanted);
    asked.platform = "linux/riscv64".parse().unwrap();
    let error = asked.resolve().unwrap_err();
    assert!(error.to_string().ends_with("it has: linux/amd64, linux/arm64"), "{error}");
}

#[test]
fn a_registrys_image_becomes_the_same_files() {
    if !require::programs(&["docker-registry", "skopeo"]) {
        return;
    }
    let (folder, registry) = (tempfile::tempdir().unwrap(), Registry::start_open());
    let (images, cache) = (folder.path().join("images"), folder.path().join("cache"));
    let gzip = layers().map(|(layer, _)| (layer, Packing::Gzip));
    let manifest = layout(&images, "it", "amd64", &gzip);
    let copy = |name: &str, words: &[&str]| {
        run(Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--dest-tls-verify=false"])
            .args(words)
            .arg(format!("oci:{}:it", images.display()))
            .arg(format!("docker://{}/{name}:1", registry.host())));
        Asked::new(&format!("docker://{}/{name}:1", registry.host()))
    };
    let asked = copy("oci", &["--preserve-digests"]);
    assert_eq!(asked.resolve().unwrap(), manifest);
    let error = asked.fetch(manifest, &cache, true).unwrap_err();
    assert!(matches!(error, Error::Offline { .. }), "{error:?}");
    let image = asked.fetch(manifest, &cache, false).unwrap();
    assert_is(&image, &gzip);
    // As Docker has it.
    let docker = copy("docker", &["--format", "v2s2"]);
    let converted = docker.resolve().unwrap();
    assert_ne!(converted, manifest);
    assert_is(&docker.fetch(converted, &folder.path().join("docker"), false).unwrap(), &gzip);

    // Where an earlier attempt has ended, this one goes on; what is damaged is fetched anew.
    let large = &image.layers[0];
    let content = fs::read(&large.path).unwrap();
    let partial = large.path.with_extension("partial");
    for half in [content[..5 << 20].to_vec(), vec![7; 5 << 20], vec![7; 20 << 20]] {
        fs::remove_file(&large.path).unwrap();
        fs::write(&partial, half).unwrap();
        assert_is(&asked.fetch(manifest, &cache, false).unwrap(), &gzip);
        assert!(!partial.exists());
    }
    fs::write(&large.path, b"damaged").unwrap();
    assert_is(&asked.fetch(manifest, &cache, false).unwrap(), &gzip);

    // With a full cache the registry is not needed.
    let port = registry.port();
    drop(registry);
    assert_is(&asked.fetch(manifest, &cache, true).unwrap(), &gzip);
    assert_is(&asked.fetch(manifest, &cache, false).unwrap(), &gzip);
    assert!(matches!(asked.resolve(), Err(Error::Unreachable { .. })), "port {port}");
}

#[test]
fn what_is_no_image_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    let manifest = layout(&images, "it", "amd64", &layers());
    let path = images.join("blobs/sha256").join(manifest.hex());
    let text = fs::read_to_string(path).unwrap();
    let with = |from: &str, to: &str| {
        let text = text.replace(from, to);
        let digest = Digest::of(&text);
        fs::write(images.join("blobs/sha256").join(digest.hex()), &text).unwrap();
        let cache = folder.path().join("cache");
        only_it(&images).fetch(digest, &cache, false).unwrap_err().to_string()
    };
    let error = with("layer.v1.tar+gzip", "layer.nondistributable.v1.tar+gzip");
    assert!(error.contains("of a kind that cannot be unpacked"), "{error}");
    let error = with("\"layers\":[", "\"layers\":7,\"was\":[");
    assert!(error.contains("cannot be read"), "{error}");
    let error = with("oci.image.manifest", "oci.image.index");
    assert!(error.contains("missing field `manifests`"), "{error}");
}

//! Push and pull as their users see them.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod cut;
mod fake;
mod hostile;
mod image;
mod real;

use std::time::Duration;

use minisign::KeyPair;
use overboot_bootset::{Blob, BootSet, Layer as SetLayer, LayerFormat, PublicKey};
use overboot_registry::{
    Access, Address, Error, Event, Options, Pull, Push, Repository, pull, push,
};
use overboot_store::{Artifact, ArtifactManifest, Descriptor, Layer, Store, layout};
use tempfile::TempDir;

/// A store in a folder of its own.
struct Shelf {
    _folder: TempDir,
    store: Store,
}

impl Shelf {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(folder.path().join("store")).unwrap();
        Self { _folder: folder, store }
    }

    /// With a set called `lab` and all that it names.
    fn with_set(key: &KeyPair) -> Self {
        let shelf = Self::new();
        shelf.set("lab", key, &bytes(20 << 20, 3));
        shelf
    }

    fn artifact(&self, target: &str, contents: &[&[u8]]) -> Descriptor {
        let kind = target.split('/').next().unwrap();
        let media_type = format!("application/vnd.overboot.{kind}.v1");
        let stored: Vec<_> =
            contents.iter().map(|content| self.store.put_bytes(content).unwrap()).collect();
        let mut layers = stored.iter().map(|blob| Layer::new(&media_type, *blob));
        let record = self.store.put_bytes(format!("{{\"target\":{target:?}}}").as_bytes()).unwrap();
        let manifest = ArtifactManifest::new(&media_type, layers.next().unwrap())
            .with_record("application/vnd.overboot.record.v1+json", record)
            .annotated(layout::TARGET, target);
        let manifest = layers.fold(manifest, ArtifactManifest::with_layer);
        self.store.publish(target, &manifest).unwrap();
        stored[0]
    }

    fn set(&self, name: &str, key: &KeyPair, base: &[u8]) {
        let layer = |name: &str, content: &[u8]| {
            SetLayer::of_reader(name, LayerFormat::Squashfs, content).unwrap()
        };
        let (modules, overlay) = (bytes(5000, 1), bytes(70_000, 2));
        let kernel = self.artifact("kernel", &[b"a kernel"]);
        let initrd = self.artifact("initrd/default", &[b"an initrd"]);
        self.artifact("modules/default", &[&modules]);
        self.artifact("base/base", &[base]);
        self.artifact(&format!("overlay/{name}"), &[&overlay]);
        let set = BootSet {
            format: BootSet::FORMAT,
            name: name.to_owned(),
            kernel: Blob { digest: kernel.digest, size: kernel.size },
            initrd: vec![Blob { digest: initrd.digest, size: initrd.size }],
            firmware: None,
            modules: Some(layer("default", &modules)),
            base: layer("base", base),
            overlays: vec![layer(name, &overlay)],
            cmdline: String::new(),
            ram_min: 0,
        };
        let json = set.to_bytes().unwrap();
        let signature =
            minisign::sign(Some(&key.pk), &key.sk, &json[..], None, None).unwrap().into_string();
        self.artifact(&format!("set/{name}"), &[&json, signature.as_bytes()]);
    }

    fn artifact_of(&self, target: &str) -> Artifact {
        self.store.get(target).unwrap().unwrap()
    }

    /// What pulling gives the store: nothing wrong, and these names.
    fn targets(&self) -> Vec<String> {
        assert_eq!(self.store.verify().unwrap(), []);
        self.store.targets().unwrap()
    }
}

/// So many bytes that do not repeat within a block.
fn bytes(count: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    };
    (0..count.div_ceil(4)).flat_map(|_| next()).take(count).collect()
}

fn key() -> KeyPair {
    KeyPair::generate_unencrypted_keypair().unwrap()
}

fn public(key: &KeyPair) -> PublicKey {
    PublicKey::parse(&key.pk.to_base64()).unwrap()
}

/// Quick to give up.
fn options() -> Options {
    Options {
        back_off: Duration::from_millis(1),
        stall: Duration::from_secs(20),
        ..Options::default()
    }
}

/// What a test says of where and how.
struct Remote {
    address: Address,
    options: Options,
}

impl Remote {
    fn push(&self, from: &Shelf, targets: &[&str]) -> Result<Vec<Event>, Error> {
        let events = std::sync::Mutex::new(Vec::new());
        let repository = Repository::open(&self.address, Access::Push, &self.options)?;
        let to = Push {
            store: &from.store,
            repository: &repository,
            prefix: self.address.tag.as_deref(),
            tell: &|event| events.lock().unwrap().push(event),
        };
        push(&to, &owned(targets))?;
        Ok(events.into_inner().unwrap())
    }

    fn pull(&self, to: &Shelf, targets: &[&str], keys: &[PublicKey]) -> Result<Vec<Event>, Error> {
        self.pull_as(to, targets, keys, false)
    }

    fn pull_as(
        &self,
        to: &Shelf,
        targets: &[&str],
        keys: &[PublicKey],
        unsigned: bool,
    ) -> Result<Vec<Event>, Error> {
        let events = std::sync::Mutex::new(Vec::new());
        let repository = Repository::open(&self.address, Access::Pull, &self.options)?;
        let from = Pull {
            repository: &repository,
            store: &to.store,
            prefix: self.address.tag.as_deref(),
            keys,
            unsigned,
            tell: &|event| events.lock().unwrap().push(event),
        };
        pull(&from, &owned(targets))?;
        Ok(events.into_inner().unwrap())
    }
}

fn owned(targets: &[&str]) -> Vec<String> {
    targets.iter().map(|target| (*target).to_owned()).collect()
}

/// How many bytes an event says were to be moved, in all.
fn moved(events: &[Event]) -> u64 {
    let bytes = events.iter().map(|event| match event {
        Event::Transferring { bytes, .. } => *bytes,
        _ => 0,
    });
    bytes.sum()
}

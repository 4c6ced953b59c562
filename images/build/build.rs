//! What makes images is an input of every image: a change in any of these sources gives every step another key.

use std::path::Path;

use overboot_digest::Hasher;

/// Folders, from the workspace's root, whose code decides what is in an image.
const MAKERS: [&str; 10] = [
    "formats/cpio",
    "formats/debian",
    "formats/kmod",
    "formats/squashfs",
    "images/bootset",
    "images/contract",
    "images/merge",
    "images/pack",
    "images/record",
    "images/rootfs",
];

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let workspace = Path::new(&here).join("../..");
    let mut hasher = Hasher::new();
    for folder in MAKERS.iter().map(|maker| workspace.join(maker).join("src")) {
        println!("cargo::rerun-if-changed={}", folder.display());
        hash(&folder, &mut hasher);
    }
    let own = ["src/ansible.rs", "src/containers.rs", "src/steps", "src/transactions.rs"];
    for path in own.map(|path| Path::new(&here).join(path)) {
        println!("cargo::rerun-if-changed={}", path.display());
        hash(&path, &mut hasher);
    }
    println!("cargo::rustc-env=OVERBOOT_MAKER={}", hasher.finish().short());
}

fn hash(path: &Path, hasher: &mut Hasher) {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            hasher.update(path.file_name().unwrap_or_default().as_encoded_bytes());
            hash(&path, hasher);
        }
    } else {
        hasher.update(std::fs::read(path).unwrap_or_default());
    }
}

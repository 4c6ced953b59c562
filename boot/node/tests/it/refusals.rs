//! Boots that must fail: each with a sentence of its own, on the console and to the server, and then a reboot.

use overboot_bootset::BootSet;
use overboot_wire::{Stage, path};

use crate::material::{Material, material};
use crate::server::{PATIENCE, Server};

/// Boots `set` with its base as `base`, signed unless `forge`; expects to fail in `stage` with `sentence`.
fn refused(
    material: &Material,
    set: &BootSet,
    base: Vec<u8>,
    forge: bool,
    stage: Stage,
    sentence: &str,
) {
    let server = Server::start(true);
    let mut bytes = set.to_bytes().unwrap();
    server.file(&format!("{}.minisig", path::set("test")), material.sign(&bytes));
    if forge {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    }
    server.file(&path::set("test"), bytes);
    let blobs = [base, material.overlay_image.clone(), material.overlay_archive.clone()];
    for (layer, content) in set.layers().zip(blobs) {
        server.file(&path::blob(&layer.digest.hex()), content);
    }
    let port = server.port;
    let machine = material.start(&format!(
        "API_CB=10.0.2.2:{port} overboot.set=http://10.0.2.2:{port}/boot/sets/test.json"
    ));
    // The line after it: then the line itself is whole.
    machine.console().wait_for("rebooting in 1 s", PATIENCE).unwrap();
    let line = machine.console().wait_for("FAILED in stage", PATIENCE).unwrap();
    assert!(
        line.contains(&format!("FAILED in stage {stage}: ")) && line.contains(sentence),
        "{line}"
    );
    assert!(machine.wait(PATIENCE).is_some(), "it reboots");
    let reports = server.reports();
    let last = reports.last().unwrap();
    assert_eq!(last.stage, stage);
    assert!(last.error.as_deref().unwrap().contains(sentence), "{last:?}");
}

#[test]
fn a_set_that_was_changed() {
    let Some(material) = material() else { return };
    let base = material.base.clone();
    refused(material, &material.set(), base, true, Stage::Set, "changed after it was signed");
}

#[test]
fn a_set_of_another_name_though_signed() {
    let Some(material) = material() else { return };
    let set = BootSet { name: "other".to_owned(), ..material.set() };
    let sentence = "is the boot set \"other\": signed, but not the one that was asked for";
    refused(material, &set, material.base.clone(), false, Stage::Set, sentence);
}

#[test]
fn a_chunk_that_is_wrong() {
    let Some(material) = material() else { return };
    let mut base = material.base.clone();
    base[4_500_000] ^= 1;
    refused(material, &material.set(), base, false, Stage::Download, "chunk 1 of layer base");
}

#[test]
fn too_little_memory() {
    let Some(material) = material() else { return };
    let set = BootSet { ram_min: 4 << 30, ..material.set() };
    let sentence = "MiB of memory; boot set test needs 4096 MiB";
    refused(material, &set, material.base.clone(), false, Stage::Set, sentence);
}

#[test]
fn a_server_that_is_not_there() {
    let Some(material) = material() else { return };
    let server = Server::start(true);
    let closed = overboot_testkit::ports::tcp();
    let machine = material.start(&format!(
        "API_CB=10.0.2.2:{} overboot.set=http://10.0.2.2:{closed}/boot/sets/test.json",
        server.port
    ));
    // The line after it: then the line itself is whole.
    machine.console().wait_for("rebooting in 1 s", PATIENCE).unwrap();
    let line = machine.console().wait_for("FAILED in stage", PATIENCE).unwrap();
    assert!(line.contains(&format!("stage set: cannot connect to 10.0.2.2:{closed}")), "{line}");
    machine.console().wait_for("what to do: check that the server runs", PATIENCE).unwrap();
    assert!(machine.wait(PATIENCE).is_some());
    let reports = server.reports();
    let said = reports.last().unwrap().error.as_deref().unwrap();
    assert!(said.contains("what to do: check that the server runs"), "{said}");
}

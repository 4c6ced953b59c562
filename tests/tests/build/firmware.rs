//! What network cards need before there is a network: an image of its own, which boot sets name with the cards.

use std::fs;

use overboot_testkit::archive::{Archive, Deb, now};
use overboot_testkit::{images, require};

use crate::project::Project;
use crate::refusals::assert_said;
use crate::small::{self, Small};

/// The small archive, and a package with firmware.
fn archive(version: &str, minutes: u64) -> Archive {
    let file = "usr/lib/firmware/acme/nic.fw";
    let deb = Deb::new("firmware-acme", version).file(file, 0o644, version.as_bytes());
    let deb = deb.file("usr/lib/firmware/acme/other.fw", 0o644, b"of no driver");
    small::archive().dated(now() - 60 * minutes, None).package(deb)
}

fn firmware(small: &Small, table: &str) {
    let recipe = small::recipe(&small.project.key(), &small.server.uri());
    small.project.write_recipe(&format!("{recipe}\n[firmware.cards]\n{table}\n"));
}

/// What the boot set of the base says of it.
fn part(project: &Project) -> serde_json::Value {
    let digest = &project.artifacts()["set/base"][0].0;
    let set = fs::read(project.blob(digest)).unwrap();
    let set: serde_json::Value = serde_json::from_slice(&set).unwrap();
    set["firmware"].clone()
}

#[test]
fn firmware_is_an_image_of_its_own_that_boot_sets_name_with_its_cards() {
    if !small::possible() {
        return;
    }
    let small = Small::with(archive("1", 30));
    let project = &small.project;
    project.succeed(&["build"]);
    let images = project.images();
    assert_eq!(part(project), serde_json::Value::Null);

    firmware(&small, "packages = [\"firmware-acme\"]\nmodules = [\"acme\"]");
    project.succeed(&["build"]);
    let first = part(project);
    assert_eq!(first["cards"], serde_json::json!(["aced:*"]));
    let artifacts = project.artifacts();
    let (digest, size) = &artifacts["firmware/cards"][0];
    assert_eq!((first["digest"].as_str(), first["size"].as_u64()), (Some(&**digest), Some(*size)));
    let shown = project.succeed(&["inspect", "firmware/cards"]);
    assert!(shown.contains("/usr/lib/firmware/acme/nic.fw  (firmware-acme)"), "{shown}");
    assert!(!shown.contains("other.fw"), "{shown}");
    let shown = project.succeed(&["inspect", "set/base"]);
    assert!(shown.contains("part         firmware/cards"), "{shown}");
    let file = project.folder.join("firmware.img");
    project.succeed(&["export", "firmware/cards", file.to_str().unwrap()]);
    assert_eq!(fs::read(file).unwrap(), fs::read(project.blob(digest)).unwrap());
    project.succeed(&["verify", "set/base"]);

    // It moves by itself: what every machine gets is what it was.
    small.server.replace(archive("2", 1).build(&small.key));
    project.succeed(&["lock", "--update", "firmware-acme"]);
    let plan = project.succeed(&["plan"]);
    assert_said(
        &plan,
        &[
            "firmware/cards           build: ",
            "package firmware-acme changed: 1 ",
            "initrd/default           unchanged",
        ],
    );
    project.succeed(&["build"]);
    assert_ne!(part(project)["digest"], first["digest"]);
    for same in ["initrd/default", "kernel", "base/base"] {
        assert_eq!(project.images()[same], images[same], "{same}");
    }
    assert_said(&project.succeed(&["build"]), &["Nothing to do"]);
}

#[test]
fn firmware_that_is_of_no_use_is_told_with_its_place() {
    if !small::possible() {
        return;
    }
    let small = Small::with(archive("1", 30));
    let fails = |table: &str, words: &[&str]| {
        firmware(&small, table);
        assert_said(&small.project.fail(&["build"]), words);
    };
    fails(
        "packages = [\"hammer\"]\nmodules = [\"acme\"]",
        &[
            "none of these packages has what a driver of a PCI card asks for",
            "take [firmware.cards] out",
        ],
    );
    fails(
        "packages = [\"firmware-acme\"]\nmodules = [\"acmee\"]",
        &["no module of the kernel", "matches acmee"],
    );
    fails("packages = [\"firmware-acme\"]", &["names no packages, or no modules"]);
    fails("packages = [\"firmware-acne\"]\nmodules = [\"acme\"]", &["firmware-acne"]);
}

#[test]
fn the_recipe_that_ships_knows_the_cards_that_need_firmware_and_no_others() {
    if !require::root() {
        return;
    }
    let project = Project::at(images::project(), images::cache());
    let part = part(&project);
    let cards = part["cards"].as_array().unwrap();
    // bna, bnx2, bnx2x, cxgb3, e100, liquidio, netxen, nfp, qede, tehuti, typhoon: a card of each.
    for card in [
        "1657:0014",
        "14e4:164c",
        "14e4:168e",
        "1425:0030",
        "8086:1209",
        "177d:9702",
        "4040:0001",
        "19ee:4000",
        "1077:1634",
        "1fc9:3014",
        "10b7:9902",
    ] {
        assert!(cards.iter().any(|known| known == card), "{card}: {cards:?}");
    }
    // tg3, e1000, igb, ixgbe, ice, r8169, mlx5, virtio: the usual ones.
    for card in [
        "14e4:1657",
        "8086:100e",
        "8086:1533",
        "8086:1528",
        "8086:1592",
        "10ec:8168",
        "15b3:1017",
        "1af4:1000",
    ] {
        assert!(!cards.iter().any(|known| known == card), "{card}: {cards:?}");
    }
}

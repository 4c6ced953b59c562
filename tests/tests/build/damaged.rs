//! A store that lost something, or whose disk lies: `verify` says so and puts it out of the way, and the next build makes it
//! again.

use std::collections::BTreeMap;
use std::fs;

use crate::project::{Project, failed};
use crate::small::{self, Small};

type Images = BTreeMap<String, (String, u64)>;

/// Changes one byte in the middle of a file.
fn flip(path: &std::path::Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// What a manifest names as its config: the record.
fn record(project: &Project, target: &str) -> String {
    let manifest = fs::read(project.blob(&project.manifest(target))).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    manifest["config"]["digest"].as_str().unwrap().to_owned()
}

/// `verify` fails and says these words; the next build makes all of it again, and then all is well.
#[track_caller]
fn assert_healed(project: &Project, images: &Images, words: &[&str], remade: &[&str]) {
    assert_found(project, words);
    let plan = project.succeed(&["plan"]);
    project.succeed(&["build"]);
    for target in small::TARGETS {
        let line = plan.lines().find(|line| line.trim_start().starts_with(target)).unwrap();
        assert_eq!(line.contains("build:"), remade.contains(&target), "{plan}");
    }
    project.succeed(&["verify"]);
    assert_eq!(project.images(), *images);
    assert!(project.succeed(&["build"]).contains("Nothing to do"));
    project.assert_clean();
}

#[track_caller]
fn assert_found(project: &Project, words: &[&str]) {
    let verify = project.run(&["verify"]);
    assert_eq!(verify.status.code(), Some(1));
    let said = String::from_utf8(verify.stdout).unwrap();
    for word in words {
        assert!(said.contains(word), "\"{word}\" is not said:\n{said}");
    }
}

#[test]
fn what_is_damaged_or_lost_is_found_and_made_again() {
    if !small::possible() {
        return;
    }
    let small = Small::new();
    let project = &small.project;
    project.succeed(&["build"]);
    let images = project.images();

    // A disk that lies: the size is right, the content is not.
    let (image, _) = &images["base/base"];
    flip(&project.blob(image));
    let words = ["is damaged", "needed by base/base", "moved to", "`overboot build`"];
    assert_healed(project, &images, &words, &["base/base", "set/base", "set/tools"]);
    let aside = project.folder.join("store/damaged").join(image.strip_prefix("sha256:").unwrap());
    assert!(aside.is_file(), "what is there can be looked at");

    let (kernel, _) = &images["kernel"];
    fs::remove_file(project.blob(kernel)).unwrap();
    let words = ["kernel is incomplete", kernel, "is missing"];
    assert_healed(project, &images, &words, &["kernel", "set/base", "set/tools"]);

    // A manifest, which the index names: lost, then damaged, then half of it.
    let lost = project.manifest("overlay/tools");
    fs::remove_file(project.blob(&lost)).unwrap();
    let words = ["overlay/tools is incomplete", &lost, "is missing"];
    assert_healed(project, &images, &words, &["overlay/tools", "set/tools"]);
    flip(&project.blob(&lost));
    let words = ["is damaged", "needed by overlay/tools", "moved to"];
    assert_healed(project, &images, &words, &["overlay/tools", "set/tools"]);
    fs::write(project.blob(&project.manifest("set/base")), "{").unwrap();
    assert_healed(project, &images, &["is damaged", "needed by set/base"], &["set/base"]);

    // A record, without which nobody knows what the image was made from.
    flip(&project.blob(&record(project, "initrd/default")));
    let words = ["is damaged", "needed by initrd/default"];
    assert_healed(project, &images, &words, &["initrd/default", "set/base", "set/tools"]);

    // Also where nobody has asked `verify`, as far as a look can tell.
    fs::write(project.blob(image), "").unwrap();
    assert!(project.succeed(&["plan"]).contains("is not whole"));
    project.succeed(&["build"]);
    project.succeed(&["verify"]);
}

#[test]
fn a_store_without_its_index_is_no_store_any_more() {
    if !small::possible() {
        return;
    }
    let small = Small::new();
    let project = &small.project;
    project.succeed(&["build", "ipxe"]);
    let index = project.folder.join("store/index.json");
    fs::write(&index, "{").unwrap();
    for command in [["build", "ipxe"].as_slice(), &["verify"], &["plan"], &["export", "ipxe"]] {
        let said = failed(&project.run(command));
        assert!(said.contains("index.json") && said.contains("help: Remove the store"), "{said}");
    }
    // Which is what to do then.
    fs::remove_dir_all(project.folder.join("store")).unwrap();
    project.succeed(&["build", "ipxe"]);
    project.succeed(&["verify"]);
}

#[test]
fn what_is_left_of_a_tree_is_not_taken_for_it() {
    if !small::possible() {
        return;
    }
    let small = Small::new();
    let project = &small.project;
    project.succeed(&["build"]);
    let images = project.images();
    // `rm -rf .overboot`, interrupted.
    let lost = project.tree("base-base").join("usr/bin/greet");
    fs::remove_file(&lost).unwrap();
    // The overlay is made anew, on the tree of the base.
    let index = fs::read_to_string(project.folder.join("store/index.json")).unwrap();
    let mut index: serde_json::Value = serde_json::from_str(&index).unwrap();
    let name = "org.opencontainers.image.ref.name";
    index["manifests"]
        .as_array_mut()
        .unwrap()
        .retain(|e| e["annotations"][name] != "overlay/tools");
    fs::write(project.folder.join("store/index.json"), index.to_string()).unwrap();
    project.succeed(&["build"]);
    assert_eq!(project.images(), images);
    assert!(lost.exists());
}

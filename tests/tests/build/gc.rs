//! Generations, and space: what is served or locked stays, what nobody needs goes.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use overboot_testkit::registry::Registry;
use overboot_testkit::require;

use crate::project::Project;
use crate::small::{self, Small};

/// The blobs of the store, by name.
fn blobs(project: &Project) -> BTreeSet<String> {
    let folder = project.folder.join("store/blobs/sha256");
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

/// Builds the set of the overlay with `words` in it.
fn build(project: &Project, words: &str) {
    fs::write(project.folder.join("overlays/tools.sh"), format!("echo {words} > /etc/tools\n"))
        .unwrap();
    project.succeed(&["build"]);
}

#[test]
fn what_generations_name_stays_and_the_rest_goes() {
    if !small::possible() {
        return;
    }
    let small = Small::new();
    let project = &small.project;
    for words in ["one", "two", "three"] {
        build(project, words);
        let said = project.succeed(&["publish", "tools"]);
        assert!(said.contains("served"), "{said}");
    }
    build(project, "four");
    let all = blobs(project);
    let said = project.succeed(&["publish", "--list"]);
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(said.lines().nth(2).unwrap().ends_with("served"), "{said}");
    let said = project.succeed(&["rollback"]);
    assert!(said.contains("generation 2"), "{said}");

    // Of the newest generation, the served one and what is built last, all stays: they boot.
    let dry = project.succeed(&["gc", "--grace", "0", "--keep", "1", "--dry-run"]);
    assert!(dry.contains("generation/tools/1"), "{dry}");
    assert_eq!(blobs(project), all, "a dry run removes nothing");
    let said = project.succeed(&["gc", "--grace", "0", "--keep", "1"]);
    assert_eq!(said.replace("are free", "would be free"), dry);
    let left = blobs(project);
    assert!(left.is_subset(&all) && left.len() < all.len());
    project.succeed(&["verify"]);
    for generation in [3, 2] {
        let to = generation.to_string();
        project.succeed(&["rollback", "tools", "--to", &to]);
        let set = project.images()[&format!("generation/tools/{generation}")].0.clone();
        let set = fs::read(project.blob(&set)).unwrap();
        let set: serde_json::Value = serde_json::from_slice(&set).unwrap();
        let layers =
            ["overlays", "initrd"].into_iter().flat_map(|list| set[list].as_array().unwrap());
        for part in layers.chain([&set["kernel"], &set["base"], &set["modules"]]) {
            let blob = project.blob(part["digest"].as_str().unwrap());
            let size = fs::metadata(&blob).unwrap().len();
            assert_eq!(part["size"], size, "generation {generation}: {}", blob.display());
        }
    }
    assert!(project.succeed(&["build"]).contains("Nothing to do"));
    assert!(project.succeed(&["gc", "--grace", "0", "--keep", "1"]).contains("Nothing to remove"));

    // What is published must be whole.
    let overlay = project.images()["overlay/tools"].0.clone();
    fs::write(project.blob(&overlay), "not that").unwrap();
    let said = project.fail(&["publish", "tools"]);
    assert!(said.contains(&overlay), "{said}");
    assert_eq!(project.succeed(&["publish", "--list"]).lines().count(), 2);
}

#[test]
fn what_recipe_and_lock_have_no_more_goes() {
    if !small::possible() {
        return;
    }
    let small = Small::new();
    let project = Project::at(&small.project.folder, small.project.folder.join(".overboot/cache"));
    // Without a cache elsewhere the packages are the project's own.
    let own = |words: &[&str]| {
        let mut command = Command::new(overboot_testkit::overboot());
        command.arg("-C").arg(&project.folder).args(words).env_remove("OVERBOOT_CACHE");
        crate::project::succeeded(&command.output().unwrap())
    };
    own(&["build"]);
    let packages = || fs::read_dir(project.cache.join("packages/sha256")).unwrap().count();
    let before = (packages(), blobs(&project));
    assert!(own(&["gc"]).contains("Nothing to remove"), "all of it is needed");
    assert_eq!((packages(), blobs(&project)), before);

    let recipe = fs::read_to_string(project.folder.join("overboot.toml")).unwrap();
    project.write_recipe(recipe.split("[overlay.tools]").next().unwrap());
    own(&["build"]);
    let said = own(&["gc", "--grace", "0"]);
    assert!(said.contains("overlay/tools") && said.contains("set/tools"), "{said}");
    assert_eq!(packages(), before.0 - 1, "the overlay's own package: {said}");
    assert!(!project.images().contains_key("overlay/tools"));
    own(&["verify"]);
    assert!(own(&["build"]).contains("Nothing to do"));
    own(&["--offline", "verify", "--rebuild"]);

    // In a cache that others may share, what was used lately stays.
    project.write_recipe(&recipe);
    own(&["build"]);
    project.write_recipe(recipe.split("[overlay.tools]").next().unwrap());
    own(&["build"]);
    let now = packages();
    project.succeed(&["gc"]);
    assert_eq!(packages(), now);
    project.succeed(&["gc", "--days", "0"]);
    assert_eq!(packages(), now - 1);
}

/// A machine has the digest of a set's manifest from its script: all that leads on from there is there for a while.
#[test]
fn what_machines_may_be_booting_stays_for_a_while() {
    if !small::possible() {
        return;
    }
    let small = Small::new();
    let project = &small.project;
    build(project, "one");
    // What a machine reads of a set, one after the other.
    let chain = |manifest: &str| -> Vec<String> {
        let manifest = manifest.to_owned();
        let read = |digest: &str| -> serde_json::Value {
            serde_json::from_slice(&fs::read(project.blob(digest)).unwrap()).unwrap()
        };
        let layers = read(&manifest)["layers"].as_array().unwrap().clone();
        let digest = |part: &serde_json::Value| part["digest"].as_str().unwrap().to_owned();
        let set = read(&digest(&layers[0]));
        let lists =
            ["overlays", "initrd"].into_iter().flat_map(|list| set[list].as_array().unwrap());
        let parts = lists.chain([&set["kernel"], &set["base"], &set["modules"]]).map(digest);
        parts.chain(layers[..2].iter().map(digest)).chain([manifest]).collect()
    };
    let is_there = |chain: &[String]| chain.iter().all(|digest| project.blob(digest).exists());
    let [first, second] = ["two", "three"].map(|words| {
        let chain = chain(&project.manifest("set/tools"));
        build(project, words);
        chain
    });
    project.succeed(&["gc", "--keep", "0"]);
    assert!(is_there(&first) && is_there(&second), "replaced within the last day");
    let dry = project.succeed(&["gc", "--keep", "0", "--grace", "0", "--dry-run"]);
    assert!(is_there(&first) && dry.contains("would be free"), "{dry}");
    project.succeed(&["gc", "--keep", "0", "--grace", "0"]);
    assert!(!is_there(&first) && !is_there(&second), "nobody waits for it");

    // What is taken away with its last name is still being booted; so is what was served until now.
    project.succeed(&["publish", "tools"]);
    let served = chain(&project.manifest("published/tools"));
    project.succeed(&["publish", "tools", "--retire"]);
    let recipe = fs::read_to_string(project.folder.join("overboot.toml")).unwrap();
    project.write_recipe(recipe.split("[overlay.tools]").next().unwrap());
    project.succeed(&["build"]);
    let said = project.succeed(&["gc"]);
    assert!(said.contains("set/tools") && is_there(&served), "{said}");
    let said = project.succeed(&["gc"]);
    assert!(said.contains("Nothing to remove") && is_there(&served), "{said}");
    project.succeed(&["verify"]);
    project.succeed(&["gc", "--grace", "0"]);
    assert!(!is_there(&served));
    project.succeed(&["verify"]);
}

/// With its generations would go the mark of what was bad, and what is built is just that.
#[test]
fn what_was_rolled_back_does_not_come_back_by_retiring() {
    if !small::possible() {
        return;
    }
    let small = Small::new();
    let project = &small.project;
    for words in ["one", "two"] {
        build(project, words);
        project.succeed(&["publish"]);
    }
    project.succeed(&["rollback", "tools"]);
    let published = || ["published/base", "published/tools"].map(|name| project.manifest(name));
    let before = published();
    let said = project.fail(&["publish", "--retire", "base", "tools"]);
    for word in ["tools is not retired", "generation 2, which was rolled back", "build another"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(published(), before, "neither of them");
    assert_eq!(project.succeed(&["publish", "--list"]).lines().count(), 3);

    // What was mended may be served, and a number that was given is not given again.
    build(project, "three");
    project.succeed(&["publish", "--retire", "tools"]);
    assert!(!project.images().contains_key("published/tools"));
    let said = project.succeed(&["publish", "tools"]);
    assert!(said.contains("generation 3"), "{said}");

    // What the recipe has no more goes, whatever is built of it.
    build(project, "four");
    project.succeed(&["publish"]);
    project.succeed(&["rollback", "tools"]);
    let recipe = fs::read_to_string(project.folder.join("overboot.toml")).unwrap();
    project.write_recipe(recipe.split("[overlay.tools]").next().unwrap());
    project.succeed(&["publish", "--retire", "tools"]);
    assert!(!project.images().contains_key("set/tools"));
}

/// What a generation is made of stays known: its parts have lost their names long since.
#[test]
fn generations_can_be_looked_at() {
    if !small::possible() {
        return;
    }
    let small = Small::new();
    let project = &small.project;
    for words in ["one", "two"] {
        build(project, words);
        project.succeed(&["publish"]);
    }
    build(project, "three");
    project.succeed(&["gc", "--grace", "0"]);
    let inspected = |words: &[&str]| -> serde_json::Value {
        let said = project.succeed(&[&["--json", "inspect"], words].concat());
        serde_json::from_str(said.lines().last().unwrap()).unwrap()
    };
    let overlays = ["overlay/tools@1", "overlay/tools@tools/2", "overlay/tools"]
        .map(|reference| inspected(&[reference, "--files"]));
    for (overlay, bytes) in overlays.iter().zip([4, 4, 6]) {
        let mut files = overlay["listing"].as_array().unwrap().iter();
        let file = files.find(|file| file["path"] == "etc/tools").unwrap();
        assert_eq!(
            (&overlay["target"], &file["kind"]["file"]["size"]),
            (&"overlay/tools".into(), &bytes.into())
        );
        assert_eq!(overlay["packages"][0]["name"], "hammer");
    }
    assert_ne!(overlays[0]["digest"], overlays[1]["digest"]);
    assert_eq!(inspected(&["set/tools@1"])["parts"].as_array().unwrap().len(), 5);
    let said = project.succeed(&["diff", "set/tools@1", "set/tools"]);
    assert!(said.contains("overlay/tools") && said.contains("/etc/tools"), "{said}");
    let said = project.succeed(&["sbom", "set/tools@2"]);
    assert!(said.contains("hammer"), "{said}");
    project.succeed(&["verify", "set/tools@1", "base/base@2"]);
    assert!(project.fail(&["inspect", "set/tools@3"]).contains("set/tools@3 is not in the store"));
    let said = project.fail(&["verify", "--rebuild", "set/tools@1"]);
    assert!(said.contains("cannot be made again"), "{said}");

    // What only a generation needs is not made again by any build: it is told, and nothing leads to it.
    let lost = overlays[0]["image"].as_str().unwrap();
    fs::write(project.blob(lost), "not that").unwrap();
    let said = project.run(&["verify", "set/tools@1"]);
    assert_eq!(said.status.code(), Some(1));
    let said = String::from_utf8(project.run(&["verify"]).stdout).unwrap();
    for word in ["is damaged", "needed by generation/tools/1", "but for earlier generations"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    project.succeed(&["build"]);
    let said = String::from_utf8(project.run(&["verify"]).stdout).unwrap();
    assert!(said.contains("generation/tools/1 is incomplete") && said.contains(lost), "{said}");
    let said = project.fail(&["rollback", "tools"]);
    assert!(said.contains("generation/tools/1 needs") && said.contains("missing"), "{said}");
    assert!(project.succeed(&["publish", "--list"]).lines().any(|line| {
        line.starts_with("tools") && line.contains("generation 2") && line.ends_with("served")
    }));
    // Another way out: it is taken away.
    project.succeed(&["publish", "tools"]);
    project.succeed(&["gc", "--keep", "0"]);
    project.succeed(&["verify"]);
}

/// What was pulled is of no recipe here, and was never published: it stays all the same, with all that it names.
#[test]
fn what_was_pulled_stays_without_any_generation() {
    if !(small::possible() && require::program("docker-registry")) {
        return;
    }
    let (small, registry) = (Small::new(), Registry::start_open());
    let project = &small.project;
    project.succeed(&["build"]);
    let place = format!("{}/small", registry.host());
    project.succeed(&["push", "set/tools", &place]);
    let recipe = fs::read_to_string(project.folder.join("overboot.toml")).unwrap();
    project.write_recipe(recipe.split("[overlay.tools]").next().unwrap());
    fs::remove_dir_all(project.folder.join("store")).unwrap();
    project.succeed(&["pull", &place]);
    let (images, all) = (project.images(), blobs(project));
    assert!(images.contains_key("overlay/tools"));
    let nothing = ["gc", "--keep", "0", "--grace", "0"];
    assert!(project.succeed(&nothing).contains("Nothing to remove"));
    assert_eq!((project.images(), blobs(project)), (images, all));

    // Its parts may lose their names to what is built here.
    project.write_recipe(&recipe.replace("\"greeter\"", "\"system\""));
    project.succeed(&["build", "base/base"]);
    project.succeed(&nothing);
    project.succeed(&["verify"]);
    project.succeed(&["verify", "set/tools"]);
    let said = project.succeed(&["inspect", "set/tools"]);
    assert!(said.contains("greeter"), "{said}");
    project.succeed(&["publish", "tools"]);
}

/// Nobody makes a set again that the recipe has no more: what is lost of it must not stop what is collected.
#[test]
fn what_is_damaged_and_goes_is_collected() {
    if !small::possible() {
        return;
    }
    let small = Small::new();
    let project = &small.project;
    let recipe = fs::read_to_string(project.folder.join("overboot.toml")).unwrap();
    let without = recipe.split("[overlay.tools]").next().unwrap().to_owned();
    let read = |digest: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(project.blob(digest)).unwrap()).unwrap()
    };
    let digest = |part: &serde_json::Value| part["digest"].as_str().unwrap().to_owned();
    // The set's own manifest, what is signed, the manifest of a part: and whether it still boots.
    for (lost, boots) in [(0, false), (1, false), (2, true)] {
        project.write_recipe(&recipe);
        build(project, &format!("number {lost}"));
        let manifest = project.manifest("set/tools");
        let layers = read(&manifest)["layers"].as_array().unwrap().clone();
        let set = read(&digest(&layers[0]));
        let overlay = project.blob(&digest(&set["overlays"][0]));
        let is_part = |layer: &&serde_json::Value| {
            layer["mediaType"] == "application/vnd.overboot.part.v1+json"
                && layer.to_string().contains("overlay/tools")
        };
        let part = layers.iter().find(is_part).expect("the overlay's manifest");
        project.write_recipe(&without);
        project.succeed(&["build"]);
        let path = project.blob(&[manifest, digest(&layers[0]), digest(part)][lost]);
        let whole = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        // What only cannot be read is not lost: here, since the link leads to itself.
        std::os::unix::fs::symlink(&path, &path).unwrap();
        project.fail(&["gc"]);
        fs::remove_file(&path).unwrap();
        fs::write(&path, &whole).unwrap();
        assert!(overlay.exists(), "{lost}");
        fs::remove_file(&path).unwrap();
        let said = project.succeed(&["gc"]);
        assert!(said.contains("set/tools") && said.contains("overlay/tools"), "{lost}: {said}");
        assert_eq!(overlay.exists(), boots, "{lost}: {said}");
        // Without its name, too.
        assert!(project.succeed(&["gc"]).contains("Nothing to remove"), "{lost}");
        assert_eq!(overlay.exists(), boots, "{lost}");
        project.succeed(&["gc", "--grace", "0"]);
        assert!(!overlay.exists(), "{lost}");
        project.succeed(&["verify"]);
    }
}

//! Generations, and space: what is served or locked stays, what nobody needs goes.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

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

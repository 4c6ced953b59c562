//! The lock: what is pinned stays, what moves is shown first, and nothing is built from what is not in it.

use std::fs;

use overboot_digest::Digest;
use overboot_testkit::archive::{Archive, Deb, now, under};

use crate::refusals::assert_said;
use crate::small::{self, Small};

/// Packages of an hour ago.
fn before() -> Archive {
    small::archive()
        .dated(now() - 1800, None)
        .package(deb("nail", "1.0", ""))
        .package(deb("library", "1.0", ""))
        .package(deb("user", "1.0", "library (>= 1.0)"))
}

/// The same archive today: it lists none of the older versions any more.
fn after() -> Archive {
    let own = small::archive().dated(now() - 60, None);
    let own = own.package(deb("nail", "1.1", "").file("usr/share/more", 0o644, &[0; 2 << 20]));
    own.package(deb("library", "2.0", "")).package(deb("user", "2.0", "library (>= 2.0)"))
}

fn deb(name: &str, version: &str, depends: &str) -> Deb {
    let deb = Deb::new(name, version).file(&format!("usr/share/{name}"), 0o644, version.as_bytes());
    if depends.is_empty() { deb } else { deb.field("Depends", depends) }
}

const OVERLAY: &str = "\n[overlay.nails]\nbase = \"base\"\n[[overlay.nails.provision]]\npackages = [\"nail\", \"user\"]\n\
    [overlay.plain]\nbase = \"base\"\n[[overlay.plain.provision]]\nscript = \"overlays/tools.sh\"\n";

fn locked(small: &Small) -> toml::Table {
    let text = fs::read_to_string(small.project.folder.join("overboot.lock")).unwrap();
    text.parse().unwrap()
}

/// The versions of an image's packages in the lock.
fn versions(small: &Small, image: &str) -> Vec<String> {
    let lock = locked(small);
    let steps = lock["image"][image]["steps"].as_array().unwrap().iter();
    let keys = steps.flat_map(|s| s.as_array().unwrap()).flat_map(|b| b.as_array().unwrap());
    let mut keys: Vec<_> = keys.map(|key| key.as_str().unwrap().to_owned()).collect();
    keys.sort();
    keys
}

fn package<'l>(lock: &'l toml::Table, name: &str) -> &'l toml::Value {
    let mut all = lock["package"].as_array().unwrap().iter();
    all.find(|package| package["name"].as_str() == Some(name)).unwrap()
}

fn write(small: &Small, more: &str) {
    let recipe = small::recipe(&small.project.key(), &small.server.uri());
    small.project.write_recipe(&(recipe + more));
}

#[test]
fn what_is_named_moves_with_what_it_needs_and_is_shown_before() {
    if !small::possible() {
        return;
    }
    let small = Small::with(before());
    let project = &small.project;
    write(&small, OVERLAY);
    project.succeed(&["build"]);
    let old = locked(&small);
    let images = project.images();
    small.server.replace(after().build(&small.key));

    // A plan writes nothing, says what moves, and tells a timer so.
    let visible = project.visible();
    let plan = ["lock", "--update", "user", "--plan"];
    let said = project.succeed(&plan);
    assert_eq!(project.visible(), visible);
    for words in
        ["overlay/nails", "update     user ", "1.0 -> 2.0", "library", "Nothing was written"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("nail  "), "{said}");
    assert!(said.contains("To fetch: 2 packages, "), "{said}");
    assert!(said.contains("To build: overlay/nails, set/nails."), "{said}");
    let status = |words: &[&str]| project.run(words).status.code();
    assert_eq!(status(&[&plan[..], &["--exit-code"]].concat()), Some(3));
    assert_eq!(status(&["lock", "--plan", "--exit-code"]), Some(0));
    assert_eq!(status(&["lock", "--update", "--exit-code"]), Some(2), "that is no plan");
    // For programs, with the sizes and the estimate of memory.
    let all = project.succeed(&["--json", "lock", "--update", "--plan"]);
    let all: serde_json::Value = serde_json::from_str(all.lines().last().unwrap()).unwrap();
    assert_eq!((&all["event"], &all["changed"]), (&"planned".into(), &true.into()));
    let nails = &all["change"]["images"][0];
    assert_eq!(nails["target"], "overlay/nails");
    let nail = nails["packages"].as_array().unwrap().iter().find(|p| p["name"] == "nail").unwrap();
    assert_eq!((&nail["from"], &nail["to"]), (&"1.0".into(), &"1.1".into()));
    assert_eq!(nail["installed"], 2 << 20);
    let sets = all["change"]["sets"].as_array().unwrap();
    let memory = |name: &str| sets.iter().find(|set| set["set"] == name).unwrap().clone();
    let layers = images["base/base"].1 + images["modules/default"].1;
    assert_eq!(memory("base")["before"], layers);
    assert_eq!(memory("base")["after"], layers);
    let nails = memory("nails");
    assert_eq!(nails["before"], layers + images["overlay/nails"].1);
    assert!(nails["after"].as_u64() > nails["before"].as_u64(), "{nails}");
    assert_eq!(project.visible(), visible);

    // Then it is so. What is not named stays, though no list has it any more, and the lock knows which state had it.
    project.succeed(&["lock", "--update", "user"]);
    assert_eq!(versions(&small, "overlay/nails"), ["library=2.0", "nail=1.0", "user=2.0"]);
    let lock = locked(&small);
    let snapshot =
        |lock: &toml::Table, list: &str| lock[list][0]["snapshot"].as_str().unwrap().to_owned();
    assert_eq!(package(&lock, "nail")["snapshot"].as_str().unwrap(), snapshot(&old, "archive"));
    assert_eq!(lock["earlier"], old["archive"]);
    assert_ne!(snapshot(&lock, "archive"), snapshot(&old, "archive"));
    assert!(package(&lock, "user").get("snapshot").is_none());
    // Images of other packages are the same to the byte, and nothing of them is done again.
    let built = project.succeed(&["build"]);
    assert!(built.contains("Built 2 of "), "{built}");
    let now = project.images();
    for target in ["base/base", "kernel", "modules/default", "initrd/default", "overlay/tools"] {
        assert_eq!(now[target], images[target], "{target}");
    }
    assert_ne!(now["overlay/nails"], images["overlay/nails"]);

    // What nobody has cannot be named; and all at once moves everything.
    let said = project.fail(&["lock", "--update", "nial"]);
    assert_said(&said, &["overboot.lock has no nial that could move", "help: did you mean nail?"]);
    project.succeed(&["lock", "--update"]);
    assert_eq!(versions(&small, "overlay/nails"), ["library=2.0", "nail=1.1", "user=2.0"]);
    assert!(locked(&small).get("earlier").is_none());
}

#[test]
fn what_is_new_in_the_recipe_moves_nothing_else() {
    if !small::possible() {
        return;
    }
    let small = Small::with(before());
    let project = &small.project;
    write(&small, &OVERLAY.replace("\"nail\", \"user\"", "\"nail\""));
    project.succeed(&["build"]);
    small.server.replace(after().build(&small.key));
    write(&small, OVERLAY);
    // Where nobody may change the lock, the build says what is wrong with it; and changes nothing.
    let visible = project.visible();
    for command in ["build", "plan"] {
        let said = project.fail(&[command, "--locked"]);
        let why =
            "overboot.lock is not what the recipe asks for: overlay/nails asks for something else";
        assert_said(&said, &[why, "help: run `overboot lock`"]);
    }
    assert_eq!(project.visible(), visible);
    project.succeed(&["build"]);
    assert_eq!(versions(&small, "overlay/nails"), ["library=2.0", "nail=1.0", "user=2.0"]);
    project.succeed(&["build", "--locked"]);

    // From other archives, or with other pins, all is chosen anew.
    let pin = "\n[[archive.pin]]\npackages = [\"greeter\"]\nversion = \"1*\"\npriority = 990\n";
    write(&small, &[OVERLAY, pin].concat());
    let said = project.fail(&["build", "--locked"]);
    assert_said(&said, &["[archive] of the recipe is another one"]);
    project.succeed(&["lock"]);
    assert_eq!(versions(&small, "overlay/nails"), ["library=2.0", "nail=1.1", "user=2.0"]);

    // Without a lock there is nothing to build from, where none may be made.
    fs::remove_file(project.folder.join("overboot.lock")).unwrap();
    assert_said(&project.fail(&["build", "--locked"]), &["there is no overboot.lock", "help: "]);
    assert!(!project.folder.join("overboot.lock").exists());
}

#[test]
fn what_the_mirror_has_no_more_is_told_with_the_state_that_had_it() {
    if !small::possible() {
        return;
    }
    let small = Small::with(before());
    let project = &small.project;
    write(&small, OVERLAY);
    project.succeed(&["lock"]);
    let old = locked(&small);
    let snapshot = old["archive"][0]["snapshot"].as_str().unwrap();
    small.server.replace(after().build(&small.key));
    let said = project.fail(&["build", "overlay/nails"]);
    let pinned = "overboot.lock pins ";
    let had = "and the mirror has it no more (http://";
    let state = format!("trixie had it in the state {snapshot}");
    assert_said(&said, &["overboot.toml:7:10: ", pinned, had, &state, "help: ", "lock --update"]);

    // An archive of that state serves as well, wherever it is: the lock names no mirror.
    let mut tree = after().build(&small.key);
    tree.extend(under("then", before().build(&small.key)));
    small.server.replace(tree);
    let recipe = small::recipe(&project.key(), &format!("{}/then", small.server.uri()));
    project.write_recipe(&(recipe + OVERLAY));
    project.succeed(&["build", "--locked"]);
    assert_eq!(versions(&small, "overlay/nails"), ["library=1.0", "nail=1.0", "user=1.0"]);

    // What is gone and is not here either moves, and that is said. What is spoiled is not here, though it was unpacked before.
    write(&small, OVERLAY);
    let nail = package(&old, "nail")["sha256"].as_str().unwrap().to_owned();
    let hex = nail.strip_prefix("sha256:").unwrap();
    let [fetched, light] =
        ["sha256", "light"].map(|kind| project.cache.join(format!("packages/{kind}/{hex}.deb")));
    assert!(light.exists());
    let length = fs::metadata(&fetched).unwrap().len();
    fs::write(&fetched, vec![0; usize::try_from(length).unwrap()]).unwrap();
    let made = project.run(&["lock", "--update", "user"]);
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(said.contains("nail 1.0 can be had no more"), "{said}");
    assert_eq!(versions(&small, "overlay/nails"), ["library=2.0", "nail=1.1", "user=2.0"]);
}

#[test]
fn nothing_is_built_from_what_is_not_in_the_lock() {
    if !small::possible() {
        return;
    }
    let small = Small::with(before());
    let project = &small.project;
    write(&small, OVERLAY);
    project.succeed(&["lock"]);
    let path = project.folder.join("overboot.lock");
    let good = fs::read_to_string(&path).unwrap();
    let lock = locked(&small);
    let nail = package(&lock, "nail")["sha256"].as_str().unwrap().to_owned();
    assert!(lock["archive"][0]["inrelease"].as_str().is_some_and(|d| d.starts_with("sha256:")));

    // Another digest for a package: what the mirror has is not that.
    let other = Digest::of("other").to_string();
    fs::write(&path, good.replace(&nail, &other)).unwrap();
    let said = project.fail(&["build", "overlay/nails"]);
    assert_said(&said, &["cannot get package nail 1.0 (amd64)", &other]);

    // Another file under that digest: it is that of `user`.
    let user = package(&lock, "user")["sha256"].as_str().unwrap().to_owned();
    let sizes =
        |name: &str| format!("size = {}", package(&lock, name)["size"].as_integer().unwrap());
    let swapped = good.replace(&nail, &user).replace(&sizes("nail"), &sizes("user"));
    fs::write(&path, swapped).unwrap();
    let said = project.fail(&["build", "overlay/nails"]);
    assert!(said.contains("nail"), "{said}");
    assert!(!project.images().contains_key("overlay/nails"));

    // A package of an image that is not among the packages.
    fs::write(&path, good.replacen("nail=1.0", "nail=6.6", 1)).unwrap();
    let said = project.fail(&["build", "overlay/nails"]);
    assert_said(&said, &["names nail=6.6, which is not among the packages", "help: "]);

    // A package file in the store that is not what its name says is thrown away, and fetched again.
    fs::write(&path, &good).unwrap();
    project.succeed(&["build", "base/base"]);
    let hex = nail.strip_prefix("sha256:").unwrap();
    let file = project.cache.join(format!("packages/sha256/{hex}.deb"));
    fs::write(&file, "tampered").unwrap();
    let _ = small.server.take_requests();
    project.succeed(&["build", "overlay/nails"]);
    let requests = small.server.take_requests();
    assert!(requests.iter().any(|request| request.target.ends_with("nail_1.0_amd64.deb")));
    assert_eq!(Digest::of(fs::read(&file).unwrap()).to_string(), nail);
}

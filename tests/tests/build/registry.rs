//! `push` and `pull` between two projects, by way of a real registry with TLS and a login.

use std::fs;
use std::io::Write;
use std::process::{Output, Stdio};

use overboot_testkit::registry::{PASSWORD, Registry, USERNAME};
use overboot_testkit::require;

use crate::project::{Project, failed, succeeded};
use crate::small::{self, Small};

/// Runs a command that asks for the password.
pub fn with(password: &str, project: &Project, words: &[&str]) -> Output {
    let mut command = project.overboot(words);
    command.args(["--username", USERNAME, "--password-stdin"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without having read it.
    let _ = writeln!(child.stdin.take().unwrap(), "{password}");
    child.wait_with_output().unwrap()
}

#[test]
fn what_one_project_pushes_another_pulls_checks_and_makes_anew() {
    if !(small::possible() && require::program("docker-registry")) {
        return;
    }
    let small = Small::new();
    let (here, registry) = (&small.project, Registry::start());
    here.succeed(&["build"]);
    let ca = registry.ca().display().to_string();
    let place = format!("{}/team/small:v1", registry.host());

    let pushed = succeeded(&with(PASSWORD, here, &["push", &place, "--ca", &ca]));
    for tag in ["v1-base-base", "v1-kernel", "v1-set-tools"] {
        assert!(pushed.contains(&format!("team/small:{tag}  sha256:")), "{pushed}");
    }

    // Somebody who has the recipe and not the private key.
    let folder = crate::project::folder();
    let there = Project::at(&folder.path().join("there"), here.cache.clone());
    fs::create_dir(&there.folder).unwrap();
    for name in ["overboot.toml", "overboot.lock", "archive.asc"] {
        fs::copy(here.folder.join(name), there.folder.join(name)).unwrap();
    }
    fs::create_dir(there.folder.join("overlays")).unwrap();
    fs::copy(here.folder.join("overlays/tools.sh"), there.folder.join("overlays/tools.sh"))
        .unwrap();

    let said = failed(&with("wrong", &there, &["pull", &place, "--ca", &ca]));
    assert!(said.contains("does not let the user pusher pull from team/small"), "{said}");
    assert!(said.contains("help: ") && !said.contains("wrong"), "{said}");
    let said = failed(&with(PASSWORD, &there, &["pull", &place]));
    assert!(said.contains("is not trusted") && said.contains("--ca FILE"), "{said}");
    let said = there.fail(&["pull", &place, "--ca", &ca]);
    assert!(said.contains("anybody without a login"), "{said}");
    assert!(!there.folder.join("store/index.json").exists() || there.images().is_empty());

    succeeded(&with(PASSWORD, &there, &["pull", &place, "set/tools", "--ca", &ca]));
    let (ours, theirs) = (here.images(), there.images());
    assert_eq!(theirs.len(), 6, "the set and what it names: {theirs:?}");
    for (target, image) in &theirs {
        assert_eq!(ours.get(target), Some(image), "{target}");
    }
    there.succeed(&["verify"]);
    succeeded(&with(PASSWORD, &there, &["pull", &place, "--ca", &ca, "--unsigned"]));
    assert_eq!(there.images(), ours);

    // Nobody has signed how the images were made: a build makes its own, which are the same.
    let plan = there.succeed(&["plan"]);
    assert!(plan.contains("was pulled from") && !plan.contains("unchanged"), "{plan}");
    there.succeed(&["build", "base/base", "overlay/tools"]);
    let plan = there.succeed(&["plan", "base/base"]);
    assert!(plan.contains("unchanged"), "{plan}");
    assert_eq!(there.images(), ours);

    // Another key's recipe does not take it.
    let key = Project::init(folder.path().join("other"), here.cache.clone()).key();
    there.write_recipe(&small::recipe(&key, &small.server.uri()));
    let said = failed(&with(PASSWORD, &there, &["pull", &place, "--ca", &ca]));
    assert!(said.contains("is not accepted"), "{said}");
}

#[test]
fn a_changed_blob_has_no_name_here() {
    if !(small::possible() && require::program("docker-registry")) {
        return;
    }
    let (small, registry) = (Small::new(), Registry::start_open());
    let project = &small.project;
    project.succeed(&["build"]);
    let place = format!("{}/small", registry.host());
    project.succeed(&["push", "set/tools", &place]);
    let (base, _) = &project.images()["base/base"];
    let file = registry.blob(base.strip_prefix("sha256:").unwrap());
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();

    fs::remove_dir_all(project.folder.join("store")).unwrap();
    let said = project.fail(&["pull", &place]);
    assert!(
        said.contains("has other content than its digest says") && said.contains(base),
        "{said}"
    );
    assert!(project.images().is_empty());
    assert!(!project.blob(base).exists());
}

//! What cannot be done is said in words: what, where, why, and what to do; and nothing under a final name has changed.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

use overboot_testkit::archive::{Deb, Fault, SigningKey};
use overboot_testkit::{overboot, ports};

use crate::project::{self, Project};
use crate::small::{self, Small};

const GREETER: &str = "pool/main/g/greeter/greeter_1.0_amd64.deb";

/// A project with its boot loaders built and locked: quick, and enough to see that nothing changes.
fn built() -> Small {
    with_loaders(Small::new())
}

fn with_loaders(small: Small) -> Small {
    small.project.succeed(&["build", "ipxe"]);
    small
}

/// Words that must be said.
#[track_caller]
pub fn assert_said(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "\"{word}\" is not said:\n{said}");
    }
}

/// With its recipe changed so, `build` fails, says these words, and changes nothing; and with the old recipe it goes on.
#[track_caller]
fn assert_refused(small: &Small, from: &str, to: &str, words: &[&str]) {
    let project = &small.project;
    let path = project.folder.join("overboot.toml");
    let recipe = fs::read_to_string(&path).unwrap();
    assert!(recipe.contains(from));
    project.write_recipe(&recipe.replacen(from, to, 1));
    assert_fails(project, &["build"], words);
    project.write_recipe(&recipe);
    assert!(project.succeed(&["build", "ipxe"]).contains("Nothing to do"));
}

/// The command fails, says these words, and changes nothing.
#[track_caller]
pub fn assert_fails(project: &Project, command: &[&str], words: &[&str]) {
    let before = project.visible();
    assert!(before.len() > 3);
    assert_said(&project.fail(command), words);
    assert_eq!(project.visible(), before);
    project.assert_let_go();
}

#[test]
fn an_unknown_key() {
    if !small::possible() {
        return;
    }
    let words = ["overboot.toml:25:1", "packges = [", "help: write `packages`"];
    assert_refused(&built(), "packages = [\"greeter\"]", "packges = [\"greeter\"]", &words);
}

#[test]
fn a_bad_suite() {
    if !small::possible() {
        return;
    }
    let small = built();
    let uri = small.server.uri();
    let words =
        ["suite \"trixy\" does not exist at ", &uri, "suites there: trixie", "help: Take one"];
    assert_refused(&small, "suite = \"trixie\"", "suite = \"trixy\"", &words);
    // Without a keyring of its own the recipe trusts only those whose keys ship.
    let (from, to) = ("keyring = \"archive.asc\"\n", "");
    let recipe = fs::read_to_string(small.project.folder.join("overboot.toml")).unwrap();
    small.project.write_recipe(&recipe.replace("\"trixie\"", "\"trixy\"").replace(from, to));
    let words = ["no keys ship for the suite \"trixy\"", "help: is it spelled right?"];
    assert_fails(&small.project, &["build"], &words);
}

#[test]
fn what_a_suite_does_not_have() {
    if !small::possible() {
        return;
    }
    let small = built();
    let recipe = fs::read_to_string(small.project.folder.join("overboot.toml")).unwrap();
    for (key, words) in [
        (
            "architecture = \"arm64\"",
            [":9:16: suite ", " nothing for the architecture \"arm64\"; it has amd64"],
        ),
        ("components = [\"mian\"]", [":9:15: suite ", " has no component \"mian\"; it has main"]),
    ] {
        let more = format!("{key}\nupdates = false");
        small.project.write_recipe(&recipe.replacen("updates = false", &more, 1));
        assert_fails(
            &small.project,
            &["lock", "--update"],
            &[&words[..], &["help: Take one"]].concat(),
        );
    }
}

#[test]
fn a_package_that_does_not_exist() {
    if !small::possible() {
        return;
    }
    let words = [
        "overboot.toml:25:13: base/base: there is no package \"greter\"",
        "help: Did you mean greeter?",
    ];
    assert_refused(&built(), "\"greeter\"", "\"greter\"", &words);
}

#[test]
fn an_exclusion_of_nothing() {
    if !small::possible() {
        return;
    }
    let small = Small::new();
    let path = small.project.folder.join("overboot.toml");
    let recipe = fs::read_to_string(&path).unwrap();
    let exclude = "packages = [\"greeter\"]\nexclude = [\"hammer\", \"hamer\", \"zzzzz\"]";
    small.project.write_recipe(&recipe.replacen("packages = [\"greeter\"]", exclude, 1));
    let output = small.project.run(&["lock"]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    let words = [
        "overboot.toml:26:22: there is no package \"hamer\" that could be excluded; did you mean hammer?",
        "overboot.toml:26:31: there is no package \"zzzzz\" that could be excluded\n",
    ];
    assert_said(&said, &words);
    assert!(!said.contains("\"hammer\""), "{said}");
}

#[test]
fn packages_that_cannot_be_together() {
    if !small::possible() {
        return;
    }
    let grump = Deb::new("grump", "3.0").field("Conflicts", "greeter");
    let tame = Deb::new("circus", "1.0").field("Depends", "grump");
    let small = with_loaders(Small::with(small::archive().package(grump).package(tame)));
    let words = [
        "overboot.toml:25:13: base/base: these packages cannot be together:",
        "circus",
        "grump",
        "greeter",
        "help: Leave out one of the packages",
    ];
    assert_refused(&small, "\"greeter\"", "\"greeter\", \"circus\"", &words);
}

#[test]
fn a_bad_signature() {
    if !small::possible() {
        return;
    }
    let small = built();
    let changed = small::archive().release_field("Changelogs", "no").build(&small.key);
    let in_release = "dists/trixie/InRelease";

    let stranger = small::archive().build(&SigningKey::generate());
    small.server.replace(stranger);
    let words = [in_release, " is not to be trusted", "because: ", "help: "];
    assert_fails(&small.project, &["lock", "--update"], &words);

    let mut touched = changed.clone();
    let text = String::from_utf8(touched[in_release].clone()).unwrap();
    touched.insert(in_release.to_owned(), text.replace("Changelogs: no", "Changelogs: on").into());
    small.server.replace(touched);
    let words = [in_release, " is not to be trusted", "Do not use this mirror"];
    assert_fails(&small.project, &["lock", "--update"], &words);

    // The archive as it was signed is taken.
    small.server.replace(changed);
    small.project.succeed(&["lock", "--update"]);
}

#[test]
fn a_package_with_another_hash() {
    if !small::possible() {
        return;
    }
    let small = built();
    small.server.fail(GREETER, 20, &Fault::Corrupt);
    let words = [
        "cannot get package greeter 1.0 (amd64)",
        GREETER,
        "is not what the signed index promises",
        "help: The mirror is just being updated",
    ];
    assert_fails(&small.project, &["build"], &words);
    // It is not kept either: as soon as the mirror has the right one again, the build goes on.
    let goes_on = || small.project.run(&["build", "base/base"]).status.success();
    assert!((0..20).any(|_| goes_on()));
}

#[test]
fn no_network() {
    if !small::possible() {
        return;
    }
    let small = built();
    let nobody = format!("127.0.0.1:{}", ports::tcp());
    let mirror = small.server.uri();
    let recipe = fs::read_to_string(small.project.folder.join("overboot.toml")).unwrap();
    let words = ["no connection to 127.0.0.1", "refused", "help: Check the network", "--offline"];
    small.project.write_recipe(&recipe.replace(&mirror, &format!("http://{nobody}")));
    assert_fails(&small.project, &["lock", "--update"], &words);
    assert_fails(&small.project, &["build"], &words);
    small.project.write_recipe(&recipe.replace(&mirror, "http://mirror.invalid/debian"));
    let words = ["\"mirror.invalid\" cannot be resolved", "help: Check that this host is online"];
    assert_fails(&small.project, &["lock", "--update"], &words);

    small.project.write_recipe(&recipe);
    let words = ["is not in the cache at", "(offline)", "help: Run once without --offline"];
    assert_fails(&small.project, &["--offline", "build"], &words);
    // With a full store of packages a build needs no network.
    small.project.succeed(&["build"]);
    fs::remove_dir_all(small.project.folder.join("store")).unwrap();
    let _ = small.server.take_requests();
    small.project.succeed(&["--offline", "build"]);
    assert_eq!(small.server.take_requests(), []);
}

/// Wherever the mirror falls silent: between the signed file and the lists, in the middle of a list, of a package.
#[test]
fn a_lost_network() {
    if !small::possible() {
        return;
    }
    let small = built();
    let tree = small::archive().package(Deb::new("newer", "1")).build(&small.key);
    let mut lists = tree.keys().filter(|path| path.contains("by-hash") && path.contains("main"));
    // Either form of the list may be asked for.
    let (one, other) = (lists.next().unwrap().clone(), lists.next().unwrap().clone());
    small.server.replace(tree);
    let broken = ["the transfer broke off, tried 4 times", "because: ", "help: Run it again"];
    let lost = |command: &[&str], paths: &[&str], faults: [Fault; 4], at: &str| {
        for (path, fault) in
            paths.iter().flat_map(|path| faults.iter().map(move |fault| (path, fault)))
        {
            small.server.fail(path, 1, fault);
        }
        let url = format!("{}/{at}", small.server.uri());
        let words = [&broken[..], &[&*url]].concat();
        assert_fails(&small.project, command, &words);
    };
    let cut = |bytes| [(); 4].map(|()| Fault::Truncate(bytes));
    let update: &[&str] = &["lock", "--update"];
    lost(update, &["dists/trixie/InRelease"], cut(100), "dists/trixie/InRelease");
    lost(update, &[&one, &other], cut(0), "dists/trixie/main/binary-amd64/by-hash/");
    small.project.succeed(update);
    // In the middle of a package: each attempt, and the next run, goes on where the one before broke off.
    let _ = small.server.take_requests();
    lost(&["build", "base/base"], &[GREETER], cut(1000), GREETER);
    small.project.succeed(&["build", "base/base"]);
    let asked = small.server.take_requests().into_iter();
    let asked: Vec<_> = asked.filter(|request| request.target.ends_with(GREETER)).collect();
    let from: Vec<_> = asked.iter().map(|request| request.from).collect();
    assert_eq!(from, [None, Some(1000), Some(2000), Some(3000), Some(4000)]);
}

#[test]
fn a_port_in_use() {
    if !small::possible() {
        return;
    }
    let small = built();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let words = [&*address, "cannot listen for HTTP on", "help: another program has this port"];
    assert_fails(&small.project, &["serve", "--http", &address], &words);
}

#[test]
fn wrong_usage() {
    if !small::possible() {
        return;
    }
    let small = built();
    let used = small.project.run(&["build", "--frobnicate"]);
    assert_eq!(used.status.code(), Some(2));
    let words = ["base/nothing", "help: "];
    assert_fails(&small.project, &["build", "base/nothing"], &words);
    let words = ["no overboot.toml in", "help: `overboot init` writes one"];
    let nowhere = Command::new(overboot()).arg("build").current_dir("/proc").output().unwrap();
    assert_said(&project::failed(&nowhere), &words);
}

#[test]
fn init_writes_over_nothing() {
    let folder = project::folder();
    let init = |words: &[&str]| {
        let mut init = Command::new(overboot());
        init.args(words).current_dir(folder.path()).output().unwrap()
    };
    project::succeeded(&init(&["-C", "one", "init"]));
    assert!(folder.path().join("one/overboot.toml").is_file());
    project::succeeded(&init(&["-C", "one", "init", "two"]));
    assert!(folder.path().join("one/two/keys/boot-set.key").is_file());

    let key = fs::read(folder.path().join("one/keys/boot-set.key")).unwrap();
    let words = ["one/overboot.toml is there already", "help: name another folder"];
    assert_said(&project::failed(&init(&["init", "one"])), &words);
    assert_eq!(fs::read(folder.path().join("one/keys/boot-set.key")).unwrap(), key);

    // A folder that is somebody else's, in part.
    fs::create_dir(folder.path().join("mine")).unwrap();
    fs::write(folder.path().join("mine/.gitignore"), "mine\n").unwrap();
    let words = ["mine/.gitignore is there already", "help: "];
    assert_said(&project::failed(&init(&["init", "mine"])), &words);
    assert_eq!(project::names(&folder.path().join("mine")).len(), 1);
}

/// Two that lock at once would each build by a lock of its own.
#[test]
fn while_somebody_else_builds_nothing_is_locked() {
    if !small::possible() {
        return;
    }
    let small = Small::new();
    let project = &small.project;
    project.succeed(&["lock"]);
    let path = project.folder.join("overboot.lock");
    let lock = fs::read(&path).unwrap();
    let somebody = fs::File::create(project.folder.join(".overboot/lock")).unwrap();
    somebody.lock().unwrap();
    let busy = "another build of this project is running";
    assert!(project.succeed(&["plan"]).contains("build:"), "whoever only looks may");
    assert!(project.fail(&["lock", "--update"]).contains(busy));

    let recipe = fs::read_to_string(project.folder.join("overboot.toml")).unwrap();
    project.write_recipe(&recipe.replace("\"greeter\"", "\"greeter\", \"hammer\""));
    for command in ["lock", "plan", "build"] {
        let said = project.fail(&[command]);
        assert!(said.contains(busy), "{command}: {said}");
    }
    assert_eq!(fs::read(&path).unwrap(), lock);
    drop(somebody);
    project.succeed(&["plan"]);
    assert_ne!(fs::read(&path).unwrap(), lock);
}

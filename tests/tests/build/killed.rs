//! Killed at any moment (SIGKILL: no destructor runs), nothing is lost; the next run finishes, and nothing is left behind.
//!
//! - [`moment`]: random moments, by the clock and by system calls; [`yard`]: what must hold after each

mod moment;
mod yard;

use std::fs;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use self::yard::{Images, Yard};
use crate::project::Project;
use crate::provisioners;
use crate::small;

/// How many commands are killed in each case below before they end: together more than 200.
const KILLS: u32 = 41;

#[test]
fn killed_when_there_is_nothing_yet() {
    let words = &["build"];
    let Some((mut yard, images)) = yard("nothing") else { return };
    let course = yard.course(words, |yard| yard.start_over(false, false));
    while let Some(round) = yard.next_round(KILLS) {
        yard.start_over(round % 4 != 0, round % 3 == 0);
        yard.kill(words, &course, |_| false);
        // And once more in what the first one left behind.
        if round % 4 == 0 {
            yard.kill(words, &course, |_| false);
        }
        yard.goes_on(words, Some(&images));
    }
}

#[test]
fn killed_while_it_changes_what_is_there() {
    let words = &["build"];
    let Some((mut yard, _)) = yard("changes") else { return };
    yard.run(&["publish"]);
    let mut images = Vec::new();
    let mut which = 0;
    let course = yard.course(words, |yard| {
        images.push(yard.small.project.images());
        which = 1 - which;
        edit(yard, SCRIPTS[which]);
    });
    assert!(images.len() == 2 && images[0] != images[1]);
    while let Some(round) = yard.next_round(KILLS) {
        let which = usize::from(round % 2 == 0);
        edit(&yard, SCRIPTS[which]);
        yard.kill(words, &course, is_published);
        yard.goes_on(words, Some(&images[which]));
    }
}

#[test]
fn killed_while_it_locks_anew() {
    let words = &["lock", "--update"];
    let Some((mut yard, first)) = yard("locks") else { return };
    let path = yard.small.project.folder.join("overboot.lock");
    let date = overboot_testkit::archive::now() - 30;
    let mut archives = ["good morning", "good night"].map(|greeting| {
        let tree = yard::archive(date, greeting).build(&yard.small.key);
        (tree, Vec::new(), Images::new())
    });
    for (tree, lock, images) in &mut archives {
        yard.small.server.replace(tree.clone());
        yard.run(words);
        *images = yard.run(&["build"]);
        *lock = fs::read(&path).unwrap();
    }
    assert!(archives[0].2 != first && archives[0].2 != archives[1].2);
    let mut which = 0;
    let course = yard.course(words, |yard| {
        yard.small.server.replace(archives[which].0.clone());
        which = 1 - which;
    });
    while let Some(round) = yard.next_round(KILLS) {
        let (tree, lock, images) = &archives[usize::from(round % 2 == 1)];
        yard.small.server.replace(tree.clone());
        let before = fs::read(&path).unwrap();
        yard.kill(words, &course, |_| true);
        let now = fs::read(&path).unwrap();
        assert!(now == before || now == *lock, "a lock is the old one or the new one");
        yard.goes_on(words, None);
        assert!(fs::read(&path).unwrap() == *lock, "it is the lock that it always is");
        if round % 4 == 0 {
            yard.goes_on(&["build"], Some(images));
        }
    }
}

#[test]
fn killed_while_it_publishes() {
    let words = &["publish", "tools", "all"];
    let Some((mut yard, _)) = yard("publishes") else { return };
    let mut count = 0;
    let mut build_another = |yard: &mut Yard| {
        count += 1;
        edit(yard, &format!("echo {count} > /etc/tools\n"));
        yard.run(&["build", "set/tools", "set/all"])
    };
    let course = yard.course(words, |yard| {
        build_another(yard);
    });
    while yard.next_round(KILLS).is_some() {
        let images = build_another(&mut yard);
        yard.kill(words, &course, |name| !name.starts_with("published/"));
        yard.goes_on(words, None);
        let published = yard.small.project.images();
        for set in ["tools", "all"] {
            let [built, served] = [format!("set/{set}"), format!("published/{set}")];
            assert_eq!(published[&served], images[&built], "what was built last is served");
        }
        yard.goes_on(&["verify"], None);
    }
}

#[test]
fn killed_while_it_tidies_up() {
    let words = &["gc", "--keep", "1", "--grace", "0", "--days", "0"];
    let Some((mut yard, _)) = yard("tidies") else { return };
    let mut count = 0;
    let mut make_waste = |yard: &mut Yard| {
        for _ in 0..2 {
            count += 1;
            edit(yard, &format!("echo {count} > /etc/tools\n"));
            yard.run(&["build", "set/tools"]);
            yard.run(&["publish", "tools"]);
        }
    };
    let course = yard.course(words, &mut make_waste);
    while yard.next_round(KILLS).is_some() {
        make_waste(&mut yard);
        let images = yard.small.project.images();
        yard.kill(words, &course, |name| !name.starts_with("generation/"));
        yard.goes_on(words, None);
        yard.goes_on(&["verify"], None);
        let kept = yard.small.project.images();
        assert!(kept.iter().all(|(name, image)| images.get(name) == Some(image)), "{kept:?}");
        assert!(kept.contains_key("published/tools") && kept.contains_key("set/all"));
    }
}

/// What makes the one overlay.
const SCRIPTS: [&str; 2] = ["echo made > /etc/tools\n", "echo other > /etc/tools\n"];

fn edit(yard: &Yard, script: &str) {
    fs::write(yard.small.project.folder.join("overlays/tools.sh"), script).unwrap();
}

/// Is it the name of what was published?
fn is_published(name: &str) -> bool {
    name.starts_with("generation/") || name.starts_with("published/")
}

/// A project in which everything was built, and its images.
fn yard(case: &str) -> Option<(Yard, Images)> {
    if !yard::possible() {
        return None;
    }
    let mut yard = Yard::new(case);
    let images = yard.run(&["build"]);
    assert!(small::TARGETS.iter().all(|target| images.contains_key(*target)), "{images:?}");
    yard.small.project.assert_clean();
    Some((yard, images))
}

#[test]
fn a_host_script_ends_with_the_build() {
    if !small::possible() {
        return;
    }
    let small = provisioners::with(
        r#"
[base.hosted]
[[base.hosted.provision]]
packages = ["greeter"]
[[base.hosted.provision]]
host-script = "outside.sh"
"#,
    );
    let project = &small.project;
    // Whatever it starts, by whatever way, writes into the tree; its folder is the tree, which shows whether it is there.
    let script = "#!/bin/sh\nproject=$PWD\ncd \"$ROOT\"\n[ ! -e \"$project/slow\" ] || {\n\
                  (while :; do echo x >> etc/left; done) &\n\
                  setsid -f sh -c 'while :; do echo x >> etc/left; done' > /dev/null 2>&1 < /dev/null\n\
                  until [ -s etc/left ]; do :; done\necho > \"$project/begun\"\nwait\n}\necho made > etc/hosted\n";
    provisioners::put(&small, "outside.sh", 0o755, script.as_bytes());
    let (slow, begun) = (project.folder.join("slow"), project.folder.join("begun"));
    project.succeed(&["build", "base/hosted"]);
    let images = project.images();
    for within_what_was_left in [false, true] {
        start_over(project);
        fs::write(&slow, "").unwrap();
        let mut build = project.overboot(["build", "base/hosted"]);
        let build = build.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        assert!(kill_when(build, || begun.exists()), "it waits for its end");
        fs::remove_file(&begun).unwrap();
        if !within_what_was_left {
            project.assert_let_go();
        }
        fs::remove_file(&slow).unwrap();
        project.succeed(&["build", "base/hosted"]);
        assert_eq!(project.images(), images);
        project.assert_clean();
    }
}

/// Nothing is built, and nothing is fetched; the lock stays.
fn start_over(project: &Project) {
    for folder in [&project.folder.join("store"), &project.folder.join(".overboot"), &project.cache]
    {
        if folder.exists() {
            fs::remove_dir_all(folder).unwrap();
        }
    }
}

/// Kills it when the time has come. Had it not ended before?
fn kill_when(mut build: Child, mut now: impl FnMut() -> bool) -> bool {
    while !now() {
        if let Some(status) = build.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    build.kill().unwrap();
    !build.wait().unwrap().success()
}

//! Killed at any moment (SIGKILL: no destructor runs), the next build finishes, and nothing is left behind.

use std::fs;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::project::Project;
use crate::provisioners;
use crate::small::{self, Small};

/// Moments of one build, spread evenly.
const MOMENTS: u32 = 10;

#[test]
fn killed_at_any_moment_the_next_build_finishes() {
    if !small::possible() {
        return;
    }
    let small = Small::new();
    let project = &small.project;
    project.succeed(&["lock"]);
    let begun = Instant::now();
    project.succeed(&["build"]);
    let whole = begun.elapsed();
    let images = project.images();
    assert_eq!(images.keys().map(String::as_str).collect::<Vec<_>>(), small::TARGETS);
    project.assert_clean();

    let mut killed = 0;
    for moment in 0..MOMENTS {
        start_over(project);
        let within = whole * (2 * moment + 1) / (2 * MOMENTS);
        killed += u32::from(kill_after(project, within));
        project.assert_let_go();
        // And once more in what the first one left behind.
        if moment % 2 == 1 {
            kill_after(project, within / 2);
        }
        project.succeed(&["build"]);
        project.succeed(&["verify"]);
        assert_eq!(project.images(), images, "killed after {within:?} of {whole:?}");
        project.assert_clean();
    }
    // The clock of a busy machine may let the last ones through.
    assert!(killed >= MOMENTS / 2, "{killed} of {MOMENTS} builds were killed before their end");
}

#[test]
fn killed_while_it_changes_what_is_there_everything_stays_usable() {
    if !small::possible() {
        return;
    }
    let small = Small::new();
    let project = &small.project;
    let begun = Instant::now();
    project.succeed(&["build"]);
    let whole = begun.elapsed();
    let script = project.folder.join("overlays/tools.sh");
    for moment in 0..4 {
        fs::write(&script, format!("echo {moment} > /etc/tools\n")).unwrap();
        kill_after(project, whole * (2 * moment + 1) / 16);
        // What can be seen is whole at any time, not only after the next build.
        project.succeed(&["verify"]);
    }
    project.succeed(&["build"]);
    project.succeed(&["verify"]);
    project.assert_clean();
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

/// Starts a build and kills it after a while. Had it not ended before?
fn kill_after(project: &Project, within: Duration) -> bool {
    let mut build = project.overboot(["build"]);
    let build = build.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    kill_when(build, || begun.elapsed() >= within)
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

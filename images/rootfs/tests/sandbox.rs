//! What a hostile script can reach from the sandbox: nothing of the host.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use overboot_rootfs::{Root, Sandbox};

/// A tree with the host's own shell in it, so that scripts can run; `None` where this machine cannot make one.
fn tree() -> Option<tempfile::TempDir> {
    if !overboot_testkit::require::root() {
        return None;
    }
    let tree = tempfile::tempdir().unwrap();
    let root = Root::create(tree.path()).unwrap();
    for folder in ["dev", "proc", "sys", "run", "tmp", "usr/bin", "root"] {
        root.make_folder(folder).unwrap();
    }
    for link in ["bin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{link}"), tree.path().join(link)).unwrap();
    }
    for program in ["sh", "mknod", "mount", "cat", "ls", "sync"] {
        let from = Path::new("/usr/bin").join(program);
        copy(&from, tree.path());
        let linked = std::process::Command::new("ldd").arg(&from).output().unwrap();
        let linked = String::from_utf8_lossy(&linked.stdout).into_owned();
        for word in linked.split_whitespace().filter(|word| word.starts_with('/')) {
            copy(Path::new(word), tree.path());
        }
    }
    Some(tree)
}

fn copy(from: &Path, tree: &Path) {
    let inside = from.strip_prefix("/").unwrap();
    let inside =
        if inside.starts_with("usr") { inside.into() } else { Path::new("usr").join(inside) };
    let to = tree.join(inside);
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    if !to.exists() {
        std::fs::copy(from.canonicalize().unwrap(), &to).unwrap();
    }
}

fn run(tree: &Path, script: &str) -> Result<String, String> {
    let ran = Sandbox::new(tree, 0).run("a script", "/bin/sh", &["-c", script], &|_| {});
    ran.map(|output| output.0).map_err(|error| error.to_string())
}

#[test]
fn a_script_runs_and_sees_only_the_tree() {
    let Some(tree) = tree() else { return };
    let said =
        run(tree.path(), "echo $SOURCE_DATE_EPOCH; ls /; cat /proc/1/comm; ls /proc/self/fd")
            .unwrap();
    assert!(said.starts_with("0\nbin\ndev\n"), "{said}");
    assert!(said.contains("\ninit\n"), "process 1 is ours: {said}");
    assert!(!said.contains("\n10\n"), "no open file of the host: {said}");
}

#[test]
fn nobody_inside_waits_for_the_disk() {
    let Some(tree) = tree() else { return };
    // The kernel would say that this is nothing to synchronise (fsync(2), EINVAL).
    let outside = std::process::Command::new("sync").arg("/dev/null").status().unwrap();
    assert!(!outside.success());
    run(tree.path(), "sync /dev/null").unwrap();
}

#[test]
fn the_network_is_the_sandbox_itself() {
    let Some(tree) = tree() else { return };
    let said = run(tree.path(), "cat /proc/net/fib_trie").unwrap();
    assert!(said.contains("127.0.0.1"), "the loopback interface is up: {said}");
    let said = run(tree.path(), "cat /proc/net/dev").unwrap();
    let interfaces: Vec<&str> =
        said.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    assert_eq!(interfaces, ["lo"], "and there is no other: {said}");
}

#[test]
fn what_reaches_beyond_the_tree_is_refused() {
    let Some(tree) = tree() else { return };
    for script in [
        "mknod /disk b 8 0",
        "mount -t tmpfs none /tmp",
        "mount -t proc none /root",
        "echo /bin/sh > /proc/sys/kernel/core_pattern",
        "echo h > /proc/sysrq-trigger",
        "cat /proc/kcore > /dev/null && echo x > /proc/sys/kernel/hostname",
    ] {
        let refused = run(tree.path(), &format!("{script} || exit 7"));
        assert!(refused.as_ref().is_err_and(|said| said.contains('7')), "{script}: {refused:?}");
    }
    // And no device node that a package may have brought opens anything.
    run(tree.path(), "echo fine > /dev/null").unwrap();
}

#[test]
fn the_first_process_is_ours_and_nobody_inside_reaches_it() {
    let Some(tree) = tree() else { return };
    // It has a copy of the builder's memory and environment.
    for script in ["cat /proc/1/environ", "cat /proc/1/maps", "ls /proc/1/cwd/", "ls /proc/1/root/"]
    {
        let refused = run(tree.path(), &format!("{script} || exit 7"));
        assert!(refused.as_ref().is_err_and(|said| said.contains('7')), "{script}: {refused:?}");
    }
    let said = run(tree.path(), "kill -9 1; kill -15 1; echo still here").unwrap();
    assert!(said.contains("still here"), "{said}");
    // What lost its parent is taken in, and nobody waits for it but the first process.
    let sandbox = Sandbox::new(tree.path(), 0).with_limit(60);
    let orphan = "(sh -c 'echo $$ > /tmp/number' &); until [ -s /tmp/number ]; do :; done; \
                  read number < /tmp/number; while [ -e /proc/$number ]; do :; done";
    sandbox.run("a script", "/bin/sh", &["-c", orphan], &|_| {}).unwrap();
}

#[test]
fn what_a_script_leaves_running_ends_with_it() {
    let Some(tree) = tree() else { return };
    let left = "(while :; do echo x >> /root/left; done) > /dev/null 2>&1 < /dev/null & \
                until [ -s /root/left ]; do :; done; exit 4";
    let said = run(tree.path(), left).unwrap_err();
    assert!(said.contains("exit status: 4"), "how the script ended is told: {said}");
    let length = || std::fs::metadata(tree.path().join("root/left")).unwrap().len();
    let before = length();
    // Anything that ran would have had a hundred turns.
    run(tree.path(), "i=0; while [ $i -lt 100 ]; do i=$((i + 1)); cat /dev/null; done").unwrap();
    assert_eq!(length(), before);
}

#[test]
fn a_script_that_does_not_end_is_ended() {
    let Some(tree) = tree() else { return };
    let sandbox = Sandbox::new(tree.path(), 0).with_limit(1);
    let run = |script: &str| {
        let ran = sandbox.run("a script", "/bin/sh", &["-c", script], &|_| {});
        ran.map(|output| output.0).map_err(|error| error.to_string())
    };
    for script in [
        "echo begun; while :; do :; done",
        "trap '' TERM INT ALRM; (while :; do :; done) & while :; do :; done",
    ] {
        let said = run(script).unwrap_err();
        assert!(said.contains("did not end within 1 s") && said.contains("timeout"), "{said}");
    }
    // The number by which that is told is anybody's.
    let patient = Sandbox::new(tree.path(), 0).with_limit(600);
    let ran = patient.run("a script", "/bin/sh", &["-c", "exit 124"], &|_| {});
    assert!(ran.unwrap_err().to_string().contains("exit status: 124"));
}

#[test]
fn in_the_hosts_network_nobody_speaks_for_the_host() {
    let Some(tree) = tree() else { return };
    let capabilities = |network: bool| {
        let sandbox = Sandbox::new(tree.path(), 0).with_network(network);
        let said = sandbox.run("cat", "/bin/cat", &["/proc/self/status"], &|_| {}).unwrap().0;
        let line = said.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap().to_owned();
        u64::from_str_radix(&line, 16).unwrap()
    };
    // Of linux/capability.h: NET_BIND_SERVICE, NET_ADMIN, NET_RAW.
    let of_the_network = 1 << 10 | 1 << 12 | 1 << 13;
    assert_eq!(capabilities(true) & of_the_network, 0);
    assert_eq!(capabilities(false) & of_the_network, 1 << 10 | 1 << 13);
    assert_eq!(capabilities(true) | 1 << 10 | 1 << 13, capabilities(false));
}

#[test]
fn a_failing_script_shows_its_last_lines() {
    let Some(tree) = tree() else { return };
    let said = run(tree.path(), "echo the cause; exit 3").unwrap_err();
    assert!(said.contains("the cause") && said.contains("exit status: 3"), "{said}");
}

#[test]
fn the_root_of_a_tree_is_as_roots_are() {
    let Some(tree) = tree() else { return };
    let metadata = std::fs::metadata(tree.path()).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&metadata) & 0o7777, 0o755);
}

#[test]
fn a_sandbox_that_was_written_down_is_the_same() {
    let Some(tree) = tree() else { return };
    let shown = tempfile::tempdir().unwrap();
    std::fs::write(shown.path().join("file"), "shown\n").unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::new(tree.path(), 0)
        .with_folder("shown", shown.path())
        .with_scratch(scratch.path())
        .with_variable("WORD", "said");
    let text = serde_json::to_string(&sandbox).unwrap();
    let sandbox: Sandbox = serde_json::from_str(&text).unwrap();
    let run = |script: &str| {
        let ran = sandbox.run("a script", "/bin/sh", &["-c", script], &|_| {});
        ran.map(|output| output.0).map_err(|error| error.to_string())
    };
    assert_eq!(
        run("cat /run/shown/file; echo $WORD | cat; echo x > /tmp/kept").unwrap(),
        "shown\nsaid\n"
    );
    assert_eq!(run("cat /tmp/kept").unwrap(), "x\n", "what is in /tmp stays for the next one");
    assert!(run("echo x > /run/shown/file").is_err(), "nothing of the host is changed");
    assert_eq!(std::fs::read_dir(tree.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_network_is_there_when_it_is_asked_for() {
    let Some(tree) = tree() else { return };
    let same = |network: bool| {
        let sandbox = Sandbox::new(tree.path(), 0).with_network(network);
        let said = sandbox.run("ls", "/bin/ls", &["-l", "/proc/self/ns/net"], &|_| {}).unwrap().0;
        let ours = std::fs::read_link("/proc/self/ns/net").unwrap();
        said.contains(ours.to_str().unwrap())
    };
    assert!(same(true) && !same(false));
}

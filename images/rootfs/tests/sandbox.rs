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
    for program in ["sh", "mknod", "mount", "cat", "ls", "setsid", "sync"] {
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

#[test]
fn what_begins_another_life_ends_too() {
    let Some(tree) = tree() else { return };
    // Twice forked, in a session of its own, without input and output, and deaf to signals.
    let daemon = "(setsid sh -c '(trap \"\" HUP TERM INT; exec < /dev/null > /dev/null 2>&1; \
                  while :; do echo x >> /root/left; done) &' &); until [ -s /root/left ]; do :; done";
    run(tree.path(), daemon).unwrap();
    let length = || std::fs::metadata(tree.path().join("root/left")).unwrap().len();
    let before = length();
    // Anything that ran would have had a hundred turns.
    run(tree.path(), "i=0; while [ $i -lt 100 ]; do i=$((i + 1)); cat /dev/null; done").unwrap();
    assert_eq!(length(), before);
}

#[test]
fn nobody_ends_those_outside_nor_hides_from_us() {
    let Some(tree) = tree() else { return };
    // All that it can see, as root; and without anything to be told by.
    let said = run(tree.path(), "kill -9 -1 2> /dev/null; echo still here").unwrap();
    assert!(said.contains("still here"), "{said}");
    let mute = Sandbox::new(tree.path(), 0).with_limit(1);
    let mute = mute.run(
        "a script",
        "/bin/sh",
        &["-c", "exec < /dev/null > /dev/null 2>&1; while :; do :; done"],
        &|_| {},
    );
    assert!(mute.unwrap_err().to_string().contains("did not end within 1 s"));
}

#[test]
fn processes_without_end_are_ended() {
    let Some(tree) = tree() else { return };
    let sandbox = Sandbox::new(tree.path(), 0).with_limit(600);
    let bomb = "bomb() { bomb | bomb & }; bomb; while :; do cat /dev/null; done";
    let begun = std::time::Instant::now();
    let ended = sandbox.run("a script", "/bin/sh", &["-c", bomb], &|_| {}).unwrap_err();
    let said = ended.to_string();
    assert!(said.contains("more than 4096 processes were running at once"), "{said}");
    assert!(begun.elapsed().as_secs() < 120, "{:?}", begun.elapsed());
}

#[test]
fn words_without_end_fill_no_memory() {
    let Some(tree) = tree() else { return };
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().to_owned();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let before = resident();
    let sandbox = Sandbox::new(tree.path(), 0).with_limit(2);
    // With line ends and without.
    for script in ["while :; do echo a line of words; done", "cat /dev/zero"] {
        let said = sandbox.run("a script", "/bin/sh", &["-c", script], &|_| {}).unwrap_err();
        assert!(said.to_string().contains("did not end within 2 s"));
    }
    assert!(resident() < before + (64 << 10), "{before} kB and then {} kB", resident());
}

#[test]
fn what_the_host_knows_is_not_told() {
    let Some(tree) = tree() else { return };
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "secret").unwrap();
    let path = secret.path().display();
    for script in [
        // By its path, through the first process, and up from the top.
        format!("cat {path}"),
        format!("cat /proc/1/root{path}"),
        format!("cat /proc/1/cwd{path}"),
        format!("cat /../../../..{path}"),
        "cat /proc/1/fd/2".to_owned(),
        "ls /sys/kernel".to_owned(),
        "cat /proc/kcore".to_owned(),
        "cat /proc/kmsg".to_owned(),
        "cat /dev/mem".to_owned(),
        "cat /dev/kmsg".to_owned(),
    ] {
        let refused = run(tree.path(), &format!("{script} > /tmp/read || exit 7"));
        assert!(refused.as_ref().is_err_and(|said| said.contains('7')), "{script}: {refused:?}");
    }
    // CARGO_MANIFEST_DIR stands in the environment of this test.
    let said = run(tree.path(), "set; cat /proc/self/environ").unwrap();
    assert!(said.contains("container=") && !said.contains("CARGO"), "{said}");
    let score = run(tree.path(), "cat /proc/self/oom_score_adj").unwrap();
    assert_eq!(score.trim(), "500", "the first to go when memory runs out");
}

/// What no program inside may do, with numbers of x86-64 (arch/x86/entry/syscalls/syscall_64.tbl).
const CALLS: &str = r#"
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def refused(what, number, *arguments):
    ctypes.set_errno(0)
    done = libc.syscall(number, *arguments) != -1
    # Not permitted, denied, or not known to this kernel.
    if done or ctypes.get_errno() not in (1, 13, 38):
        print("NOT REFUSED:", what, os.strerror(ctypes.get_errno()))
refused("ptrace the first process", 101, 16, 1, 0, 0)
refused("mount", 165, b"none", b"/tmp", b"tmpfs", 0, None)
refused("umount", 166, b"/proc", 2)
refused("pivot_root", 155, b"/", b"/tmp")
refused("unshare mounts", 272, 0x00020000)
refused("unshare processes", 272, 0x20000000)
refused("setns", 308, os.open("/proc/self/ns/mnt", 0), 0)
refused("init_module", 175, b"", 0, b"")
refused("finit_module", 313, 0, b"", 0)
refused("delete_module", 176, b"loop", 0)
refused("kexec_load", 246, 0, 0, None, 0)
refused("reboot", 169, 0xfee1dead, 672274793, 0x89abcdef, None)
refused("settimeofday", 164, (ctypes.c_long * 2)(1, 0), None)
refused("clock_settime", 227, 0, (ctypes.c_long * 2)(1, 0))
refused("swapon", 167, b"/root/x", 0)
refused("acct", 163, b"/root/x")
refused("iopl", 172, 3)
refused("sethostname", 170, b"x", 1)
refused("a block device", 133, b"/root/disk", 0o060600, 0x800)
refused("a file by its handle", 304, os.open("/", 0), b"\x08\0\0\0\1\0\0\0" + b"\0" * 8, 0)
# As the one who may do everything in a namespace of its own, neither.
if libc.syscall(272, 0x10020000) != -1:
    for what in (b"/proc/sys", b"/proc/sysrq-trigger"):
        if libc.mount(None, what, None, 0x1020, None) == 0:
            print("NOT REFUSED: to change what is read-only in /proc")
        if libc.umount2(what, 2) == 0:
            print("NOT REFUSED: to take away what is over /proc")
    if libc.mount(b"proc", b"/tmp", b"proc", 0, None) == 0:
        print("NOT REFUSED: another /proc")
print("all tried")
"#;

/// The system calls themselves, by the host's Python: no tool stands between that could be what refuses.
#[test]
fn the_kernel_refuses_what_leads_out() {
    let Some(tree) = tree() else { return };
    if !(cfg!(target_arch = "x86_64") && overboot_testkit::require::program("python3")) {
        return;
    }
    let sandbox = Sandbox::new(tree.path(), 0)
        .with_folder("usr", "/usr")
        .with_file("calls.py", CALLS)
        .with_variable("PYTHONHOME", "/run/usr")
        .with_variable("LD_LIBRARY_PATH", "/run/usr/lib/x86_64-linux-gnu");
    let said = sandbox.run("calls", "/run/usr/bin/python3", &["/run/calls.py"], &|_| {});
    let said = said.unwrap().0;
    assert!(said.contains("all tried") && !said.contains("NOT REFUSED"), "{said}");
}

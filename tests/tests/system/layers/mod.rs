//! A base, two overlays that were made on it without knowing of each other, and modules: what a machine has of them, looked
//! at from inside. In the native form over the path that real machines take, and in the form that on-imagebuilder had, by
//! `BASEFS=` and `OVERLAYFS=`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use overboot_testkit::archive::{Server, Tree};
use overboot_testkit::program::run;
use overboot_testkit::vm::{Boot, MachineConfig, Network, Nic, QEMU, TestMachine, accel};
use overboot_testkit::{images, overboot, require};

use crate::machine::{Machine, WITHIN};

/// What is looked at: a name for it, how, and what must be seen.
const LOOKS: &[(&str, &str, &str)] = &[
    (
        "packages of all layers are listed together",
        "dpkg-query -W -f '${Package} ${db:Status-Status}\n' bash bc jq libonig5 systemd",
        "bash installed\nbc installed\njq installed\nlibonig5 installed\nsystemd installed",
    ),
    ("dpkg -l does, too", "dpkg -l bash bc jq | grep -c ^ii", "3"),
    (
        "files belong to packages of all layers",
        "dpkg -S /usr/bin/bash /usr/bin/bc /usr/bin/jq",
        "bash: /usr/bin/bash\nbc: /usr/bin/bc\njq: /usr/bin/jq",
    ),
    ("dpkg finds nothing half done", "dpkg --audit", ""),
    (
        "packages are as they were shipped",
        "dpkg --verify bc jq libjq1 libonig5 attr libcap2-bin",
        "",
    ),
    ("apt finds no dependency missing", "apt-get -qq check && echo whole", "whole"),
    (
        "what else dpkg wrote down adds up",
        "dpkg-divert --list '/opt/*'; dpkg-statoverride --list '/opt/*'",
        "local diversion of /opt/wagon/one to /opt/wagon/one.distrib\n\
         local diversion of /opt/cart/one to /opt/cart/one.distrib\n\
         daemon root 750 /opt/wagon\ngames root 750 /opt/cart",
    ),
    (
        "users of all layers",
        "getent passwd root monorail lower upper | cut -d : -f 1; id -u lower upper",
        "root\nmonorail\nlower\nupper\n2001\n2002",
    ),
    ("members of a group add up", "getent group adm", "adm:x:4:lower,upper"),
    ("groups of a user", "id -nG lower; id -nG upper", "lower adm\nupper adm"),
    ("nobody has a password", "getent shadow lower upper | cut -d : -f 1,2", "lower:!\nupper:!"),
    ("homes belong to their users", "stat -c %U /home/lower /home/upper", "lower\nupper"),
    (
        "what was deleted is gone",
        "for gone in /etc/issue.net /usr/share/doc/sed /etc/issue; do ls -d $gone 2>/dev/null; done",
        "",
    ),
    (
        "a folder that took another one's place shows nothing of it",
        "ls /usr/share/doc/gzip /usr/share/doc/grep",
        "/usr/share/doc/grep:\nupper\n\n/usr/share/doc/gzip:\nlower",
    ),
    (
        "a link became a file",
        "stat -c %F /etc/os-release; cat /etc/os-release",
        "regular file\nNAME=lower",
    ),
    (
        "a link of one overlay is a folder of the next",
        "stat -c %F /opt/current; ls -A /opt/current",
        "directory\nupper",
    ),
    (
        "two names of one file",
        "test /usr/local/bin/wagon -ef /usr/local/bin/wain && stat -c %h /usr/local/bin/wain",
        "2",
    ),
    (
        "a capability, and that it counts",
        "getcap /usr/local/bin/give; touch /run/given; \
         setpriv --reuid lower --regid lower --clear-groups /usr/local/bin/give daemon /run/given; \
         stat -c %U /run/given",
        "/usr/local/bin/give cap_chown=ep\ndaemon",
    ),
    (
        "an extended attribute",
        "getfattr --absolute-names --only-values -n user.note /opt/wagon/libwagon.so.1",
        "lower",
    ),
    (
        "a sparse file",
        "stat -c %s /opt/sparse; test $(stat -c %b /opt/sparse) -le 2048 && tail -c 4 /opt/sparse",
        "134217732\nend",
    ),
    ("programs find the libraries of their overlays", "wagon && cart && echo ran", "ran"),
    ("programs of packages run", "jq -n 6*7; echo 6*7 | bc", "42\n42"),
    (
        "the cache of the loader knows the libraries of all layers",
        "ldconfig -p | grep -o -e 'libwagon.so.1 ' -e 'libcart.so.1 ' -e 'libonig.so.5 ' -e 'libsystemd.so.0 ' | sort",
        "libcart.so.1 \nlibonig.so.5 \nlibsystemd.so.0 \nlibwagon.so.1",
    ),
    ("no layer brought the cache", "ls /run/overboot/lower/*/etc/ld.so.cache | wc -l", "1"),
];

/// What only a machine with a layer of modules has.
const MODULES: (&str, &str, &str) = (
    "modules of the modules layer are loaded",
    "modprobe 8021q && grep -c ^8021q /proc/modules; modinfo -n xfs | grep -o kernel/fs/xfs/xfs.ko",
    "1\nkernel/fs/xfs/xfs.ko",
);

/// The overlays; what they do besides is in their scripts.
const OVERLAYS: &str = r#"
[overlay.lower]
base = "base"
[[overlay.lower.provision]]
users = [{ name = "lower", uid = 2001, groups = ["adm"] }]
[[overlay.lower.provision]]
packages = ["bc", "attr", "libcap2-bin"]
[[overlay.lower.provision]]
files = "overlays/lower"
[[overlay.lower.provision]]
script = "overlays/lower.sh"

[overlay.upper]
base = "base"
[[overlay.upper.provision]]
users = [{ name = "upper", uid = 2002, groups = ["adm"] }]
[[overlay.upper.provision]]
packages = ["jq"]
[[overlay.upper.provision]]
files = "overlays/upper"
[[overlay.upper.provision]]
script = "overlays/upper.sh"

[set.stack]
overlays = ["lower", "upper"]
"#;

/// Between what was seen at one look and at the next.
const MARK: &str = "### ";

#[test]
fn two_overlays_and_modules_make_one_system_with_their_base() {
    if !(require::root() && require::programs(&["cc", "cp", "curl", QEMU])) {
        return;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let project = project(folder.path());
    native(&project);
    as_on_imagebuilder_had_it(&project, folder.path());
}

/// From a signed set, over the boot server; looked at by a command through the API.
fn native(project: &Path) {
    let machine = Machine::start(project, &["stack", "--run", "sh /opt/look modules"]);
    let lookups = machine.curl(&format!("lookups?q={}", machine.mac), &[]);
    let node = lookups[0]["node"].as_str().unwrap();
    let catalog = machine.curl(&format!("nodes/{node}/catalogs/try"), &[]);
    let seen = catalog["data"]["data"].as_str().unwrap_or_else(|| panic!("{catalog:#}"));
    compare(seen, LOOKS.iter().chain([&MODULES]));
}

/// The same overlays as `NAME.overlay.cpio.gz`; looked at by the machine's first program.
fn as_on_imagebuilder_had_it(project: &Path, folder: &Path) {
    let (kernel, initrd) =
        (export(project, folder, "kernel"), export(project, folder, "initrd/default"));
    let mut files = Tree::new();
    for (target, name) in [
        ("base/base", "base.squashfs.img"),
        ("overlay/lower", "lower.overlay.cpio.gz"),
        ("overlay/upper", "upper.overlay.cpio.gz"),
    ] {
        let file = folder.join(name);
        run(command(project, &["export", target]).arg(&file));
        files.insert(name.to_owned(), fs::read(file).unwrap());
    }
    let server = Server::start(files);
    let at = server.uri().replace("127.0.0.1", "10.0.2.2");
    let cmdline = format!(
        "console=ttyS0,115200n8 loglevel=1 panic=1 init=/opt/look BASEFS={at}/base.squashfs.img \
         OVERLAYFS={at}/lower.overlay.cpio.gz,{at}/upper.overlay.cpio.gz"
    );
    let mut config =
        MachineConfig::new(Boot::Kernel { kernel: kernel.clone(), initrd: Some(initrd), cmdline });
    config.accel = accel(&kernel);
    config.cpus = config.accel.processors();
    let network = Network::User { bootfile: None, forwards: Vec::new() };
    config.nics.push(Nic { mac: "52:54:00:12:34:56".to_owned(), network });
    let machine = TestMachine::start(&config);
    machine.console().wait_for(&format!("{MARK}end"), WITHIN).unwrap();
    compare(&machine.console().text(), LOOKS.iter());
}

/// All that was seen is what must be seen; what is not, is told at once.
#[track_caller]
fn compare<'a>(seen: &str, looks: impl Iterator<Item = &'a (&'a str, &'a str, &'a str)>) {
    let mut wrong = Vec::new();
    for (name, _, wanted) in looks {
        let begin = format!("{MARK}{name}\n");
        let plain = seen.replace('\r', "");
        let found = plain.split_once(&begin).and_then(|(_, rest)| rest.split_once(MARK));
        match found.map(|(found, _)| found.trim()) {
            Some(found) if found == *wanted => {}
            Some(found) => wrong.push(format!("{name}: not\n{wanted}\nbut\n{found}")),
            None => wrong.push(format!("{name}: it was not looked at")),
        }
    }
    assert!(wrong.is_empty(), "{}\n\nall that was seen:\n{seen}", wrong.join("\n\n"));
}

/// The shared project with two overlays more, built.
fn project(folder: &Path) -> PathBuf {
    let project = folder.join("project");
    let shared = images::project();
    let lock = images::exclusive();
    // With the base's tree, so that it is not made again.
    run(Command::new("cp").arg("-a").arg(shared).arg(&project));
    drop(lock);
    let recipe = fs::read_to_string(project.join("overboot.toml")).unwrap();
    fs::write(project.join("overboot.toml"), recipe + OVERLAYS).unwrap();
    let put = |path: &str, mode: u32, contents: &[u8]| {
        let path = project.join("overlays").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    put("lower.sh", 0o755, include_bytes!("lower.sh"));
    put("upper.sh", 0o755, include_bytes!("upper.sh"));
    put("lower/opt/look", 0o755, look().as_bytes());
    for (overlay, name) in [("lower", "wagon"), ("upper", "cart")] {
        let (library, program) = compile(&folder.join(name), name);
        put(&format!("{overlay}/opt/{name}/lib{name}.so.1"), 0o644, &library);
        put(&format!("{overlay}/usr/local/bin/{name}"), 0o755, &program);
        // Not where the loader looks by itself, so that only its cache can know.
        let conf = format!("{overlay}/etc/ld.so.conf.d/{name}.conf");
        put(&conf, 0o644, format!("/opt/{name}\n").as_bytes());
    }
    run(&mut command(&project, &["build", "set/stack"]));
    project
}

/// The script that looks at everything.
fn look() -> String {
    let show = |(name, how, _): &(&str, &str, &str)| {
        format!("echo \"{MARK}{name}\"\n{{ {how}\n}} 2>&1\necho\n")
    };
    let looks: String = LOOKS.iter().map(show).collect();
    // As the first program of a machine it must not end.
    format!(
        "#!/bin/sh\nexport PATH=/usr/local/bin:/usr/sbin:/usr/bin\n{looks}\
         if [ \"$1\" = modules ]; then\n{}fi\necho '{MARK}end'\n[ $$ != 1 ] || exec sleep infinity\n",
        show(&MODULES)
    )
}

/// A library, and a program that needs it to run.
fn compile(folder: &Path, name: &str) -> (Vec<u8>, Vec<u8>) {
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("library.c"), format!("int {name}(void) {{ return 0; }}\n")).unwrap();
    let main = format!("int {name}(void);\nint main(void) {{ return {name}(); }}\n");
    fs::write(folder.join("main.c"), main).unwrap();
    let library = format!("lib{name}.so.1");
    run(Command::new("cc").current_dir(folder).args([
        "-shared",
        "-fPIC",
        "-o",
        &library,
        &format!("-Wl,-soname,{library}"),
        "library.c",
    ]));
    run(Command::new("cc").current_dir(folder).args(["-o", "program", "main.c", &library]));
    (fs::read(folder.join(library)).unwrap(), fs::read(folder.join("program")).unwrap())
}

fn export(project: &Path, folder: &Path, target: &str) -> PathBuf {
    let file = folder.join(target.replace('/', "-"));
    run(command(project, &["export", target]).arg(&file));
    file
}

fn command(project: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(overboot());
    command.arg("-C").arg(project).arg("--cache").arg(images::cache()).args(words);
    command
}

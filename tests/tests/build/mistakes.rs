//! What only the archive, the files of the project or a build can find wrong with a recipe is told with its place in it, too.
//! What the recipe's own check finds is in that crate's tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use overboot_testkit::archive::{Archive, Deb};
use overboot_testkit::ports;
use overboot_testkit::program::run;

use crate::refusals::assert_said;
use crate::small::{self, Small};

/// A mistake: a piece of [`small::recipe`], what stands in its place, with `«` before what is wrong; what is done; what is said.
type Row = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const LOCK: &[&str] = &["lock", "--update"];
const PACKAGES: &str = "packages = [\"greeter\"]";
const END: &str = "script = \"overlays/tools.sh\"\n";

const ROWS: &[Row] = &[
    // Archives.
    (
        "suite = \"trixie\"",
        "suite = «'trixy' # not \"trixy\"",
        LOCK,
        &["does not exist at", "help: Take one"],
    ),
    (
        "\"trixie\"",
        "\"trixie\"\nextra-suites = [«\"trixie-x\"]",
        LOCK,
        &["\"trixie-x\" does not exist"],
    ),
    (
        "\"trixie\"",
        "\"trixie\"\ncomponents = [\"main\", «'contrib']",
        LOCK,
        &["component \"contrib\"", "help: "],
    ),
    (
        "\"trixie\"",
        "\"trixie\"\narchitecture = «'arm64'",
        LOCK,
        &["architecture \"arm64\"", "help: "],
    ),
    (
        "security = false",
        "proxy = «'http://@NOBODY@'\nsecurity = false",
        LOCK,
        &["the proxy @NOBODY@", "help: "],
    ),
    ("mirror = \"", "mirror = «\"", &["plan", "--security"], &[]),
    ("\"archive.asc\"", "«'none.asc'", LOCK, &["none.asc holds no archive keys", "help: "]),
    // Packages: not the first place that has the word.
    (
        PACKAGES,
        "# \"greter\"\npackages = [«'greter']",
        LOCK,
        &["no package \"greter\"", "help: Did you mean"],
    ),
    (
        PACKAGES,
        "packages = [«\"${who}\"]\n[vars]\nwho = \"greter\"",
        LOCK,
        &["(the variable is set at 27:7) ", "no package \"greter\""],
    ),
    (
        PACKAGES,
        "packages = [\"greeter\", «\"greeter=9\"]",
        LOCK,
        &["no version of the package", "help: "],
    ),
    (
        PACKAGES,
        "packages = [\"greeter\"]\nexclude = [«\"greeter\"]",
        LOCK,
        &["is asked for and excluded", "help: "],
    ),
    (
        PACKAGES,
        "packages = [«\"greeter\", \"circus\"]",
        LOCK,
        &["cannot be together", "help: Leave out"],
    ),
    (
        "\"linux-image-small\"",
        "«\"linux-image-smal\"",
        LOCK,
        &["kernel: there is no package", "help: "],
    ),
    (
        "\"linux-image-small\"",
        "«\"greeter\"",
        &["build", "kernel"],
        &["want one kernel", "help: name a kernel's package"],
    ),
    (
        "\"linux-image-small\"",
        "«\"greeter\"",
        &["build", "modules/default"],
        &["want one kernel", "help: "],
    ),
    // Files of the project.
    (END, "files = «'odd'\n", &["plan"], &["odd/pipe is neither a file", "help: "]),
    (
        END,
        "script = \"overlays/tools.sh\"\n[[overlay.tools.provision]]\ndebs = [{ file = «'bad.deb' }]",
        LOCK,
        &["bad.deb is no package", "help: "],
    ),
    (
        END,
        "debs = [{ slot = \"bad\" }]\n[slot.bad]\nfile = \"bad.deb\"\nfrom = \"here\"\nsha256 = «'@DIGEST@'",
        LOCK,
        &["is not the file that the recipe means", "help: get the one"],
    ),
    (
        END,
        "debs = [{ url = «\"http://@NOBODY@/x.deb\", sha256 = '@DIGEST@' }]\n",
        LOCK,
        &["cannot fetch http://@NOBODY@/x.deb", "help: correct `url`"],
    ),
    (END, "container = «'oci:odd:x'\n", LOCK, &["odd", "help: "]),
    (
        END,
        "ansible = { playbook = «'play.yml' }\n",
        LOCK,
        &["python: there is no package \"python3\"", "help: "],
    ),
    // The key that signs.
    ("trust = ", "trust = «", &["plan", "--trust"], &[]),
    (
        END,
        "script = \"overlays/tools.sh\"\n[[overlay.tools.provision]]\ndebs = [{ file = «'odd.deb' }]",
        LOCK,
        &["odd.deb is no package: the version cannot be read", "help: give a Debian package file"],
    ),
    // Packages that cannot be installed.
    (
        PACKAGES,
        "packages = [\"greeter\", \"left\", «\"right\"]",
        &["build", "base/base"],
        &["both bring", "both-hands", "help: leave one of them out"],
    ),
    (
        END,
        "packages = [\"left\"]\n[[overlay.tools.provision]]\ndebs = [{ file = «'right.deb' }]",
        &["build", "overlay/tools"],
        &["both bring", "both-hands", "help: leave one of them out"],
    ),
    (
        PACKAGES,
        "packages = [\"greeter\", «\"sulky\"]",
        &["build", "base/base"],
        &["dpkg --configure ended with", "help: leave the package out"],
    ),
    (
        PACKAGES,
        "packages = [«\"moody\"]",
        &["build", "base/base"],
        &["dpkg --configure ended with", "help: leave the package out"],
    ),
    // What a step starts on this machine.
    (END, "host-script = «'odd.sh'\n", &["build", "overlay/tools"], &["on this machine", "help: "]),
    // Modules.
    (
        END,
        "modules = [\"loop\"]\nto = «'/etc/greeted'",
        &["build", "overlay/tools"],
        &["/etc/greeted of the image is no folder", "help: write a folder"],
    ),
    (
        "\"kernel/**\"",
        "«'kernel/none/**', \"no-such\"",
        &["build", "modules/default"],
        &["no module of the kernel", "no-such", "help: write names"],
    ),
    (
        "\"kernel/drivers/net/**\"",
        "«\"no-such\"",
        &["build", "initrd/default"],
        &["no module of the kernel", "help: write names"],
    ),
    // What only takes away is no comfort.
    (
        "\"kernel/drivers/net/**\"",
        "«\"no-such\", \"!kernel/**\"",
        &["build", "initrd/default"],
        &["no module of the kernel", "matches no-such\n", "help: write names"],
    ),
    // What is served.
    (
        END,
        "script = \"overlays/tools.sh\"\n[serve]\ninterface = «'none0'",
        &["serve"],
        &["there is no interface none0", "help: "],
    ),
    (
        END,
        "script = \"overlays/tools.sh\"\n[serve]\ndhcp = «'proxy'",
        &["serve"],
        &["DHCP needs an interface", "help: "],
    ),
    (
        END,
        "script = \"overlays/tools.sh\"\n[serve]\nhttp = «'192.0.2.1:9090'",
        &["serve"],
        &["cannot listen for HTTP", "help: "],
    ),
];

#[test]
fn what_is_found_later_has_its_place_too() {
    if !small::possible() {
        return;
    }
    let circus = Deb::new("circus", "1.0").field("Conflicts", "greeter");
    let both = "usr/bin/both-hands";
    let left = Deb::new("left", "1.0").file(both, 0o755, b"left");
    let right = Deb::new("right", "1.0").field("Depends", "left").file(both, 0o755, b"right");
    let sulky = Deb::new("sulky", "1.0").control_file("postinst", 0o755, b"#!/bin/sh\nexit 1\n");
    // Nobody names the one that fails.
    let moody = Deb::new("moody", "1.0").field("Depends", "sulky");
    let odd = Deb::new("odd", "not a version");
    let extra = [circus, left, right.clone(), sulky, moody];
    let small = Small::with(extra.into_iter().fold(small::archive(), Archive::package));
    let project = &small.project;
    for (name, content) in
        [("none.asc", "these are no keys"), ("bad.deb", "no package"), ("play.yml", "[]\n")]
    {
        fs::write(project.folder.join(name), content).unwrap();
    }
    for (name, deb) in [("right.deb", right), ("odd.deb", odd)] {
        fs::write(project.folder.join(name), deb.build()).unwrap();
    }
    let script = project.folder.join("odd.sh");
    fs::write(&script, "#!/no/such/program\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(project.folder.join("odd")).unwrap();
    run(Command::new("mkfifo").arg(project.folder.join("odd/pipe")));
    let path = project.folder.join("overboot.toml");
    let recipe = fs::read_to_string(&path).unwrap();
    project.succeed(&["build", "ipxe"]);

    let nobody = format!("127.0.0.1:{}", ports::tcp());
    let digest = overboot_digest::Digest::of("other").hex();
    let filled = |text: &str| text.replace("@NOBODY@", &nobody).replace("@DIGEST@", &digest);
    let other = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    let mut wrong = Vec::new();
    for (from, to, command, words) in ROWS {
        assert!(recipe.contains(from), "{from}");
        let mut text = filled(&recipe.replacen(from, to, 1));
        let (mut command, mut words) = (command.to_vec(), words.to_vec());
        if command.contains(&"--security") {
            text = text.replace("security = false", "security = true");
            (command, words) = (LOCK.to_vec(), vec!["no security archive is known", "help: "]);
        } else if command.contains(&"--trust") {
            text = text.replace(&project.key(), other);
            (command, words) = (vec!["plan"], vec!["does not trust the key", "help: add it"]);
        }
        let at = text.find('«').unwrap();
        let line = text[..at].matches('\n').count() + 1;
        let column = at - text[..at].rfind('\n').map_or(0, |end| end + 1) + 1;
        project.write_recipe(&text.replace('«', ""));
        let said = project.fail(&command);
        let place = format!("overboot.toml:{line}:{column}: ");
        let mut words: Vec<String> = words.iter().map(|word| filled(word)).collect();
        words.push(place);
        let unsaid: Vec<_> = words.iter().filter(|word| !said.contains(*word)).collect();
        if !unsaid.is_empty() {
            wrong.push(format!("{to}: {unsaid:?} is not said:\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn users_that_meet_in_a_stack_are_told_where_it_is_named() {
    if !small::possible() {
        return;
    }
    let small = Small::new();
    let project = &small.project;
    let mut recipe = fs::read_to_string(project.folder.join("overboot.toml")).unwrap();
    for name in ["one", "two"] {
        let script = format!("echo {name}:x:150:150::/:/bin/sh >> /etc/passwd\n");
        fs::write(project.folder.join(format!("{name}.sh")), script).unwrap();
        recipe += &format!(
            "[overlay.{name}]\nbase = \"base\"\n[[overlay.{name}.provision]]\nscript = \"{name}.sh\"\n"
        );
    }
    recipe += "[slot.idle]\nfile = \"idle\"\nfrom = \"nowhere\"\n[set.both]\noverlays = [\"one\", 'two']\n";
    project.write_recipe(&recipe);
    let line = recipe.lines().count();
    let said = project.fail(&["build", "set/both"]);
    let place = format!("overboot.toml:{line}:20: ");
    let clash =
        "overlay/one has the user one as number 150, and overlay/two has two as 150".to_owned();
    assert_said(&said, &[&(place + &clash), "help: give it a number of its own in overlay/two"]);
    // Hardly meant, and told before.
    let warning =
        format!("overboot.toml:{}:7: no step takes anything from the slot \"idle\"", line - 4);
    assert_said(&said, &["warning: ", &warning]);
}

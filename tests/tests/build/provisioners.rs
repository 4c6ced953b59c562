//! Every kind of step that a recipe may have, on real input; and what images inherit, leave out and stand on.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use overboot_digest::Digest;
use overboot_testkit::archive::Deb;
use overboot_testkit::program::run;
use overboot_testkit::require;

use crate::refusals::assert_said;
use crate::small::{self, Small};

/// A package that needs another one of the archive.
fn chisel() -> Deb {
    Deb::new("chisel", "3.1").field("Depends", "hammer").file(
        "usr/bin/chisel",
        0o755,
        b"#!/bin/sh\n",
    )
}

/// A project with more in its recipe.
pub fn with(more: &str) -> Small {
    let small = Small::new();
    let recipe = small::recipe(&small.project.key(), &small.server.uri());
    small.project.write_recipe(&(recipe + more));
    small
}

/// A file of the project, with that mode.
pub fn put(small: &Small, path: &str, mode: u32, contents: &[u8]) {
    let path = small.project.folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, contents).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The text of a file in an image of the store, as squashfs-tools read it.
pub fn text(small: &Small, target: &str, path: &str) -> String {
    let (digest, _) = &small.project.images()[target];
    run(Command::new("unsquashfs").arg("-cat").arg(small.project.blob(digest)).arg(path))
}

/// The paths in an image of the store.
pub fn paths(small: &Small, target: &str) -> Vec<String> {
    let (digest, _) = &small.project.images()[target];
    let listed =
        run(Command::new("unsquashfs").args(["-d", "", "-l"]).arg(small.project.blob(digest)));
    listed.lines().map(|line| line.trim_start_matches('/').to_owned()).collect()
}

fn possible() -> bool {
    small::possible() && require::programs(&["unsquashfs", "cpio"])
}

#[test]
fn package_files_come_with_what_they_need() {
    if !possible() {
        return;
    }
    let small = with(
        r#"
[overlay.local]
base = "base"
[[overlay.local.provision]]
debs = [{ file = "vendor/chisel.deb" }]

[overlay.elsewhere]
base = "base"
[[overlay.elsewhere.provision]]
debs = [{ url = "@URL@", sha256 = "@SHA@" }]
exclude = ["ipxe"]
"#,
    );
    put(&small, "vendor/chisel.deb", 0o644, &chisel().build());
    let path = small.project.folder.join("overboot.toml");
    let recipe = fs::read_to_string(&path).unwrap();
    let url = format!("{}/pool/main/h/hammer/hammer_2.0_amd64.deb", small.server.uri());
    let sha256 = Digest::of(small::hammer().build()).hex();
    small.project.write_recipe(&recipe.replace("@URL@", &url).replace("@SHA@", &sha256));

    small.project.succeed(&["build", "overlay/local", "overlay/elsewhere"]);
    let local = paths(&small, "overlay/local");
    for file in ["usr/bin/chisel", "usr/bin/hammer", "var/lib/dpkg/info/chisel.list"] {
        assert!(local.contains(&file.to_owned()), "{file}: {local:?}");
    }
    assert!(paths(&small, "overlay/elsewhere").contains(&"usr/bin/hammer".to_owned()));
    // No copy of dpkg's database is dragged along: what changed in it is noted.
    assert!(!local.contains(&"var/lib/dpkg/status".to_owned()));
    let note = text(&small, "overlay/local", "usr/lib/overboot/overlays/local.json");
    let note: serde_json::Value = serde_json::from_str(&note).unwrap();
    let put_in = note["databases"]["var/lib/dpkg/status"]["put"].as_object().unwrap();
    let mut packages: Vec<&String> = put_in.keys().collect();
    packages.sort();
    assert_eq!(packages, ["chisel amd64", "hammer amd64"]);

    // In on-imagebuilder's form, whoever unpacks it over the base has them whole: its start-up script knows no notes.
    let archive = small.project.folder.join("local.overlay.cpio.gz");
    small.project.succeed(&["export", "overlay/local", archive.to_str().unwrap()]);
    let unpack =
        format!("gzip -dc {} | cpio -i --quiet --to-stdout var/lib/dpkg/status", archive.display());
    let status = run(Command::new("sh").args(["-ec", &unpack]));
    for package in ["system", "greeter", "hammer", "chisel"] {
        assert!(status.contains(&format!("Package: {package}\n")), "{package}: {status}");
    }

    // Another file is another lock; and one that is changed behind the lock's back is not built in.
    put(&small, "vendor/chisel.deb", 0o644, &chisel().file("etc/chisel", 0o644, b"").build());
    assert!(small.project.succeed(&["plan", "overlay/local"]).contains("package chisel changed"));

    let wrong = Digest::of("other").hex();
    small.project.write_recipe(&recipe.replace("@URL@", &url).replace("@SHA@", &wrong));
    let said = small.project.fail(&["build", "overlay/elsewhere"]);
    assert!(said.contains(&sha256) && said.contains("hammer_2.0_amd64.deb"), "{said}");
    assert!(said.contains("overboot.toml:"), "{said}");
}

/// What a version means in one image is not for the files of another to say.
#[test]
fn a_package_file_is_for_the_image_that_names_it() {
    if !possible() {
        return;
    }
    let small = with(
        r#"
[overlay.by-file]
base = "base"
[[overlay.by-file.provision]]
debs = [{ file = "vendor/hammer.deb" }]

[overlay.by-version]
base = "base"
[[overlay.by-version.provision]]
packages = ["hammer=2.0"]
"#,
    );
    let other = small::hammer().file("etc/hammer", 0o644, b"of another make");
    put(&small, "vendor/hammer.deb", 0o644, &other.build());
    small.project.succeed(&["build", "overlay/by-file", "overlay/by-version"]);
    let has_other = |target: &str| paths(&small, target).contains(&"etc/hammer".to_owned());
    assert!(has_other("overlay/by-file") && !has_other("overlay/by-version"));

    // Where the archive has no such version, there is none.
    let path = small.project.folder.join("overboot.toml");
    let recipe = fs::read_to_string(&path).unwrap();
    put(&small, "vendor/hammer.deb", 0o644, &chisel().build());
    small.project.write_recipe(&recipe.replace("hammer=2.0", "chisel=3.1"));
    let said = small.project.fail(&["lock", "--update"]);
    assert!(said.contains("overlay/by-version: there is no package \"chisel\""), "{said}");
}

#[test]
fn an_empty_slot_leaves_out_its_overlay_and_the_rest_builds() {
    if !possible() {
        return;
    }
    let small = with(
        r#"
[slot.chisel]
file = "vendor/chisel.deb"
from = "Ask the makers of chisels for version 3.1."

[overlay.carving]
base = "base"
[[overlay.carving.provision]]
debs = [{ slot = "chisel" }]

[set.workshop]
overlays = ["tools", "carving"]
"#,
    );
    let built = small.project.run(&["build"]);
    assert!(built.status.success());
    let said = String::from_utf8_lossy(&built.stderr);
    for word in ["overlay/carving is left out", "vendor/chisel.deb is missing", "Ask the makers"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let targets: Vec<String> = small.project.images().into_keys().collect();
    assert_eq!(targets, small::TARGETS);
    let said = small.project.fail(&["build", "overlay/carving"]);
    assert!(said.contains("Ask the makers"), "{said}");

    put(&small, "vendor/chisel.deb", 0o644, &chisel().build());
    small.project.succeed(&["build"]);
    let images = small.project.images();
    assert!(images.contains_key("overlay/carving") && images.contains_key("set/carving"));
    let set = fs::read(small.project.blob(&images["set/workshop"].0)).unwrap();
    let set: serde_json::Value = serde_json::from_slice(&set).unwrap();
    let names: Vec<&str> = set["overlays"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["tools", "carving"]);

    put(&small, "vendor/chisel.deb", 0o644, b"!<arch>\nno package");
    let said = small.project.fail(&["build"]);
    assert!(said.contains("vendor/chisel.deb is no package"), "{said}");
    assert!(said.contains("overboot.toml:"), "{said}");
}

#[test]
fn a_step_that_fails_is_told_with_its_place() {
    if !small::possible() {
        return;
    }
    let small = with("");
    put(&small, "fails.sh", 0o755, b"#!/bin/sh\nexit 3\n");
    let recipe = fs::read_to_string(small.project.folder.join("overboot.toml")).unwrap();
    for (step, column) in [("script = \"fails.sh\"", 10), ("host-script = \"fails.sh\"", 15)] {
        small.project.write_recipe(&format!(
            "{recipe}\n[overlay.failing]\nbase = \"base\"\n[[overlay.failing.provision]]\n{step}\n"
        ));
        let line = recipe.lines().count() + 5;
        let said = small.project.fail(&["build", "overlay/failing"]);
        let place = format!("overboot.toml:{line}:{column}: ");
        assert!(said.contains(&place), "{step}: {place}\n{said}");
    }
}

#[test]
fn what_a_step_needs_of_the_image_is_told_with_its_place() {
    if !(small::possible() && require::programs(&["systemctl", "useradd"])) {
        return;
    }
    let tools = units()
        .file("etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\nsmith:x:150:150::/:/bin/sh\n")
        .file("etc/group", 0o644, b"root:x:0:\nsmith:x:150:\nsudo:x:27:\nanvil:x:28:\n");
    let tools = with_programs(tools, &["systemctl", "useradd"]);
    let small = Small::with(small::archive().package(tools));
    let path = small.project.folder.join("overboot.toml");
    let recipe = fs::read_to_string(path).unwrap();
    let bare = format!("{recipe}[base.bare]\nvariant = \"minbase\"\n");
    let recipe = recipe.replacen("[\"greeter\"]", "[\"greeter\", \"tools\"]", 1);
    let rows: [(&str, &str, &[&str]); 11] = [
        (
            &recipe,
            "users = [{ name = \"a\", groups = [\"root\", «\"suod\"] }]",
            &["no group \"suod\"", "help: make it in a step before, or write one of: sudo\n"],
        ),
        (
            &recipe,
            "users = [{ name = \"a\", groups = [«\"nonesuch\"] }]",
            &["no group \"nonesuch\"", "or write one of: anvil, root, smith, sudo\n"],
        ),
        (
            &recipe,
            "users = [{ name = \"a\", uid = «150 }]",
            &["150 is the number of the user \"smith\"", "help: write another one"],
        ),
        (
            &recipe,
            "users = [{ name = «\"smith\" }]",
            &["a user \"smith\" already", "help: leave it out"],
        ),
        (
            &recipe,
            "users = [{ name = «\"sudo\" }]",
            &["has a group \"sudo\"", "help: give the user another name"],
        ),
        (
            &recipe,
            "systemd = { enable = [«\"hamer.service\"] }",
            &["no unit \"hamer.service\"", "or write one of: hammer.service\n"],
        ),
        (
            &recipe,
            "systemd = { disable = [«\"absent.socket\"] }",
            &["no unit \"absent.socket\"", "help: install what brings it"],
        ),
        (
            &recipe,
            "systemd = { default = «\"absent.target\" }",
            &["no unit \"absent.target\"", "help: install what brings it"],
        ),
        // It has no template of that name.
        (
            &recipe,
            "systemd = { enable = [«\"hammer@x.service\"] }",
            &["no unit \"hammer@x.service\"", "help: "],
        ),
        (&bare, "users = [{ name = «\"a\" }]", &["no useradd", "help: install the package passwd"]),
        (
            &bare,
            "systemd = { enable = [«\"a.service\"] }",
            &["no systemctl", "help: install the package systemd"],
        ),
    ];
    for (recipe, step, words) in rows {
        let base = if recipe.contains("base.bare") { "bare" } else { "base" };
        let text = format!(
            "{recipe}\n[overlay.wanting]\nbase = \"{base}\"\n[[overlay.wanting.provision]]\n{step}\n"
        );
        small.project.write_recipe(&text.replace('«', ""));
        let column = step.find('«').unwrap() + 1;
        let place = format!("overboot.toml:{}:{column}: ", text.lines().count());
        let said = small.project.fail(&["build", "overlay/wanting"]);
        assert_said(&said, &[words, &[place.as_str()]].concat());
    }
    // The same tree takes what is right.
    small.project.write_recipe(&format!(
        "{recipe}\n[overlay.wanting]\nbase = \"base\"\n[[overlay.wanting.provision]]\n\
         users = [{{ name = \"a\", uid = 151, shell = \"/bin/sh\", groups = [\"sudo\"] }}]\n\
         [[overlay.wanting.provision]]\nsystemd = {{ enable = [\"hammer.service\"], mask = [\"nail.service\"] }}\n"
    ));
    let built = small.project.run(&["build", "overlay/wanting"]);
    let said = String::from_utf8_lossy(&built.stderr).into_owned();
    assert!(built.status.success(), "{said}");
    assert_said(&said, &["warning: ", "no unit \"nail.service\" that could be masked"]);
}

#[test]
fn scripts_have_an_environment_inside_and_outside() {
    if !possible() {
        return;
    }
    let small = with(
        r#"
[vars]
greeting = "hello"
machine = { amd64 = "this one", arm64 = "another" }

[slot.nail]
file = "vendor/nail"
from = "From the smith."

[overlay.scripted]
base = "base"
vars = { greeting = "good day" }
[[overlay.scripted.provision]]
script = "inside.sh"
env = { GREETING = "${greeting}", MACHINE = "${machine} ($$5)" }
[[overlay.scripted.provision]]
host-script = "outside.sh"
env = { GREETING = "${greeting}" }
[[overlay.scripted.provision]]
slots = { nail = "/opt/bin/nail" }
[[overlay.scripted.provision]]
script = "never.sh"
architectures = ["arm64"]

[overlay.child]
extends = "scripted"
vars = { greeting = "hi" }
[[overlay.child.provision]]
files = "more"
"#,
    );
    put(&small, "inside.sh", 0o644, b"#!/bin/sh\necho \"$GREETING $MACHINE\" > /etc/inside\n");
    put(&small, "outside.sh", 0o755, b"#!/bin/sh\necho \"$GREETING $1\" > \"$ROOT/etc/outside\"\n");
    put(&small, "more/etc/more", 0o600, b"more");
    put(&small, "vendor/nail", 0o600, b"nail");
    small.project.succeed(&["build", "overlay/scripted", "overlay/child"]);
    assert_eq!(text(&small, "overlay/scripted", "etc/inside"), "good day this one ($5)\n");
    let outside = text(&small, "overlay/scripted", "etc/outside");
    assert!(outside.starts_with("good day /") && outside.contains("merged"), "{outside}");
    assert_eq!(text(&small, "overlay/child", "etc/inside"), "hi this one ($5)\n");
    assert_eq!(text(&small, "overlay/child", "etc/more"), "more");
    assert_eq!(text(&small, "overlay/child", "opt/bin/nail"), "nail");
    // What a script prints, and an environment, are inputs: another greeting, another image.
    let path = small.project.folder.join("overboot.toml");
    let recipe = fs::read_to_string(&path).unwrap();
    small.project.write_recipe(&recipe.replace("\"hi\"", "\"hey\""));
    let plan = small.project.succeed(&["plan", "overlay/scripted", "overlay/child"]);
    assert!(plan.contains("GREETING changed: hi -> hey"), "{plan}");
    assert!(plan.contains("overlay/scripted         unchanged"), "{plan}");
}

/// A package with units.
fn units() -> Deb {
    Deb::new("tools", "1.0")
        .file(
            "usr/lib/systemd/system/hammer.service",
            0o644,
            b"[Service]\nExecStart=/usr/bin/hammer\n[Install]\nWantedBy=multi-user.target\n",
        )
        .file("usr/lib/systemd/system/multi-user.target", 0o644, b"[Unit]\nDescription=x\n")
}

/// A package with this machine's own programs, and the libraries that the essential package has not.
fn with_programs(deb: Deb, names: &[&str]) -> Deb {
    let mut files: BTreeMap<_, _> = names.iter().copied().flat_map(small::program).collect();
    for (path, _) in ["sh", "dpkg"].into_iter().flat_map(small::program) {
        files.remove(&path);
    }
    files.iter().fold(deb, |deb, (path, bytes)| deb.file(path, 0o755, bytes))
}

#[test]
fn units_are_enabled_and_masked() {
    if !(possible() && require::programs(&["systemctl"])) {
        return;
    }
    let small = with(
        r#"
[overlay.units]
base = "base"
[[overlay.units.provision]]
debs = [{ file = "systemctl.deb" }]
[[overlay.units.provision]]
systemd = { enable = ["hammer.service"], mask = ["nail.service"], default = "multi-user.target" }
"#,
    );
    put(&small, "systemctl.deb", 0o644, &with_programs(units(), &["systemctl"]).build());
    small.project.succeed(&["build", "overlay/units"]);
    let paths = paths(&small, "overlay/units");
    for path in [
        "etc/systemd/system/multi-user.target.wants/hammer.service",
        "etc/systemd/system/nail.service",
        "etc/systemd/system/default.target",
    ] {
        assert!(paths.contains(&path.to_owned()), "{path}: {paths:?}");
    }
}

#[test]
fn another_architecture_is_locked_and_planned_and_not_built() {
    if !possible() {
        return;
    }
    let small = with("");
    let path = small.project.folder.join("overboot.toml");
    let recipe = fs::read_to_string(&path).unwrap();
    let suite = "suite = \"trixie\"";
    small
        .project
        .write_recipe(&recipe.replace(suite, &format!("{suite}\narchitecture = \"arm64\"")));
    let said = small.project.fail(&["lock"]);
    // The small archive has no such packages, and that is what is said; the recipe itself is taken.
    assert!(said.contains("arm64"), "{said}");
    assert!(!Path::new(&small.project.folder.join("overboot.lock")).exists());
}

#[test]
fn overlays_stand_on_the_base_that_is_there() {
    if !possible() {
        return;
    }
    let small = with(
        r#"
[base.drawn]
[[base.drawn.provision]]
packages = ["greeter"]
[[base.drawn.provision]]
host-script = "draw.sh"

[overlay.seen]
base = "drawn"
[[overlay.seen.provision]]
script = "see.sh"

[overlay.other]
base = "drawn"
[[overlay.other.provision]]
script = "see.sh"
"#,
    );
    // Never the same twice.
    let draw = b"#!/bin/sh\ncp /proc/sys/kernel/random/uuid \"$ROOT/etc/drawn\"\n";
    put(&small, "draw.sh", 0o755, draw);
    let see = "#!/bin/sh\nread drawn < /etc/drawn\necho $drawn > /etc/seen\n";
    put(&small, "see.sh", 0o644, see.as_bytes());
    let project = &small.project;
    let targets = ["base/drawn", "overlay/seen", "overlay/other"];
    let all = |command: &str| project.succeed(&[&[command], targets.as_slice()].concat());
    let agree = || {
        let drawn = text(&small, "base/drawn", "etc/drawn");
        for overlay in &targets[1..] {
            assert_eq!(text(&small, overlay, "etc/seen"), drawn, "{overlay}");
        }
        assert!(!all("plan").contains("build:"), "{}", all("plan"));
        drawn
    };
    all("build");
    let first = agree();
    // Nobody needs the tree.
    let trees = project.folder.join(".overboot/trees");
    fs::remove_dir_all(&trees).unwrap();
    all("build");
    assert_eq!(agree(), first);

    // An overlay needs it.
    let recipe = fs::read_to_string(project.folder.join("overboot.toml")).unwrap();
    put(&small, "see2.sh", 0o644, see.as_bytes());
    project.write_recipe(&recipe.replacen("see.sh", "see2.sh", 1));
    let planned = all("plan");
    for line in [
        "base/drawn               build: overlay/seen is built on it, its tree is gone",
        "overlay/other            build: base/drawn is made anew",
    ] {
        assert!(planned.contains(line), "{line}: {planned}");
    }
    project.succeed(&["build", "overlay/seen"]);
    // The other one was not asked for, and is told from one that stands on this base.
    let planned = all("plan");
    let why = "overlay/other            build: base/drawn is not the one that it was built on";
    assert!(planned.contains(why), "{planned}");
    all("build");
    assert_ne!(agree(), first);
    all("build");
    project.assert_clean();
}

#[test]
fn a_step_has_its_time() {
    if !possible() {
        return;
    }
    let small = with(
        r#"
[overlay.endless]
base = "base"
[[overlay.endless.provision]]
script = "endless.sh"
timeout = 5

[overlay.outside]
base = "base"
[[overlay.outside.provision]]
host-script = "endless.sh"
timeout = 5
"#,
    );
    let endless = b"#!/bin/sh\ntrap '' TERM INT\n(while :; do :; done) &\necho it began\nwait\n";
    put(&small, "endless.sh", 0o755, endless);
    for overlay in ["overlay/endless", "overlay/outside"] {
        let said = small.project.fail(&["build", overlay]);
        for word in ["overboot.toml:", "did not end within 5 s", "it began", "timeout = SECONDS"] {
            assert!(said.contains(word), "{word}: {said}");
        }
        small.project.assert_clean();
    }
    // It is no input: nothing is made otherwise in more time.
    put(&small, "endless.sh", 0o755, b"#!/bin/sh\n");
    small.project.succeed(&["build", "overlay/endless"]);
    let path = small.project.folder.join("overboot.toml");
    let recipe = fs::read_to_string(&path).unwrap();
    small.project.write_recipe(&recipe.replace("timeout = 5\n", "timeout = 90\n"));
    assert!(!small.project.succeed(&["plan", "overlay/endless"]).contains("build:"));
}

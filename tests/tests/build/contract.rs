//! The overlay contract: what `check` says of an overlay when its base changes, and that what it calls valid boots.

use std::fs;
use std::path::Path;
use std::process::Command;

use overboot_digest::Digest;
use overboot_testkit::archive::{Archive, Deb, Server, SigningKey};
use overboot_testkit::program::run;
use overboot_testkit::vm::QEMU;
use overboot_testkit::{images, require};
use serde_json::Value;

use crate::project::{Project, folder, succeeded};
use crate::small::{self, Small};

const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Can these tests be run here?
fn possible() -> bool {
    small::possible() && require::programs(&["cc", "unlink"])
}

/// A library whose one function has a version.
fn library(soname: &str, version: &str) -> Vec<u8> {
    let folder = folder();
    fs::write(folder.path().join("anvil.c"), "int anvil(void) { return 7; }\n").unwrap();
    fs::write(folder.path().join("versions"), format!("{version} {{ anvil; }};\n")).unwrap();
    run(Command::new("cc")
        .args(["-shared", "-nostdlib", "-fPIC", "-Wl,--version-script=versions", "-o", soname])
        .args([&format!("-Wl,-soname,{soname}"), "anvil.c"])
        .current_dir(folder.path()));
    fs::read(folder.path().join(soname)).unwrap()
}

/// A program that is linked with that library.
fn program(library: &[u8]) -> Vec<u8> {
    let folder = folder();
    fs::write(folder.path().join("libanvil.so.1"), library).unwrap();
    let source = "int anvil(void);\nvoid _start(void) { anvil(); }\n";
    fs::write(folder.path().join("strike.c"), source).unwrap();
    run(Command::new("cc")
        .args(["-nostdlib", "-o", "strike", "strike.c", "libanvil.so.1"])
        .current_dir(folder.path()));
    fs::read(folder.path().join("strike")).unwrap()
}

/// A base with a forge, whose packages each state of the archive has otherwise.
struct Forge {
    small: Small,
    library: Vec<u8>,
}

impl Forge {
    /// With the base and the overlay built.
    fn new() -> Self {
        let library = library("libanvil.so.1", "ANVIL_1");
        let this = Self { small: Small::with(small::archive()), library };
        let project = &this.small.project;
        let text = fs::read_to_string(project.folder.join("overboot.toml")).unwrap();
        let text = text.replace("[\"greeter\"]", "[\"greeter\", \"forge\"]");
        project
            .write_recipe(&(text + "\n[[overlay.tools.provision]]\nfiles = \"overlays/strike\"\n"));
        let place = project.folder.join("overlays/strike/usr/bin");
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("strike"), program(&this.library)).unwrap();
        run(Command::new("chmod").arg("0755").arg(place.join("strike")));
        let script = "echo mine > /etc/forge\nunlink /usr/share/forge/old\n\
            echo 'smith:x:101:101::/:/bin/sh' >> /etc/passwd\necho made > /etc/tools\n";
        fs::write(project.folder.join("overlays/tools.sh"), script).unwrap();
        this.becomes(|archive| archive.package(this.forge("1.0")).package(this.anvil("1.0")));
        project.succeed(&["build", "overlay/tools"]);
        this
    }

    fn forge(&self, version: &str) -> Deb {
        Deb::new("forge", version)
            .field("Depends", "libanvil1")
            .file("etc/forge", 0o644, b"coal\n")
            .file("usr/share/forge/old", 0o644, b"old\n")
            .file("usr/share/forge/new", 0o644, version.as_bytes())
    }

    fn anvil(&self, version: &str) -> Deb {
        let path = format!("{LIBRARIES}/libanvil.so.1");
        Deb::new("libanvil1", version).file(&path, 0o644, &self.library)
    }

    /// The archive has other packages from now on; lock and base follow.
    fn becomes(&self, packages: impl FnOnce(Archive) -> Archive) {
        let archive = packages(small::archive().package(unlink()));
        self.small.server.replace(archive.build(&self.small.key));
        self.small.project.succeed(&["lock", "--update"]);
        self.small.project.succeed(&["build", "base/base"]);
    }

    /// The verdict of `check`, and each reason in words.
    fn check(&self, words: &[&str]) -> (String, Vec<String>) {
        check(&self.small.project, words)
    }
}

fn check(project: &Project, words: &[&str]) -> (String, Vec<String>) {
    let output = project.run(&[&["--json", "check"], words].concat());
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut checked = lines.filter(|event| event["event"] == "checked");
    let event = checked.next().unwrap_or_else(|| panic!("{printed}"));
    assert_eq!(checked.next(), None, "one overlay");
    let verdict = event["verdict"].as_str().unwrap().to_owned();
    assert_eq!(output.status.code(), Some(i32::from(verdict != "valid")), "{printed}");
    let reasons = event["reasons"].as_array().unwrap();
    (verdict, reasons.iter().map(|reason| reason["text"].as_str().unwrap().to_owned()).collect())
}

fn of(verdict: &str, reasons: &[&str]) -> (String, Vec<String>) {
    (verdict.to_owned(), reasons.iter().map(|reason| (*reason).to_owned()).collect())
}

/// What the overlay's script needs, and the small system has not.
fn unlink() -> Deb {
    let there: Vec<String> =
        ["sh", "dpkg"].into_iter().flat_map(small::program).map(|(path, _)| path).collect();
    let files = small::program("unlink").into_iter().filter(|(path, _)| !there.contains(path));
    let deb = Deb::new("unlink", "1").field("Essential", "yes").field("Priority", "required");
    files.fold(deb, |deb, (path, bytes)| deb.file(&path, 0o755, &bytes))
}

#[test]
fn what_changes_in_a_base_has_the_verdict_that_it_deserves() {
    if !possible() {
        return;
    }
    let forge = Forge::new();
    let anvil = || forge.anvil("1.0");
    assert_eq!(forge.check(&[]), of("valid", &[]), "on its own base");

    // An update of a package that the overlay has nothing to do with.
    let greeter = Deb::new("greeter", "1.1").field("Depends", "system").file(
        "usr/bin/greet",
        0o755,
        b"#!/bin/sh\necho safely\n",
    );
    forge.becomes(|archive| archive.package(forge.forge("1.0")).package(anvil()).package(greeter));
    assert_eq!(forge.check(&[]), of("valid", &[]));

    // A file that the overlay stands before, and one that it takes away.
    let changed = Deb::new("forge", "1.1")
        .field("Depends", "libanvil1")
        .file("etc/forge", 0o644, b"charcoal\n")
        .file("usr/share/forge/renamed", 0o644, b"old\n");
    forge.becomes(|archive| archive.package(changed).package(anvil()));
    let reasons = [
        "/etc/forge: it stands before another content than it was made for",
        "/usr/share/forge/old: it takes away what is not in this base",
    ];
    assert_eq!(forge.check(&[]), of("rebuild", &reasons));

    // The number of the overlay's user: it was the next free one, so the next build may give it another.
    let postinst = b"#!/bin/sh\necho 'forger:x:101:101::/:/bin/sh' >> /etc/passwd\n";
    let user = forge.forge("1.2").control_file("postinst", 0o755, postinst);
    forge.becomes(|archive| archive.package(user).package(anvil()));
    let reasons = ["its user smith has the number 101, which is forger's in this base"];
    assert_eq!(forge.check(&[]), of("rebuild", &reasons));

    // The library without the version that the program needs, and the library gone.
    let path = format!("{LIBRARIES}/libanvil.so.1");
    let newer = library("libanvil.so.1", "ANVIL_2");
    let newer = Deb::new("libanvil1", "2.0").file(&path, 0o644, &newer);
    forge.becomes(|archive| archive.package(forge.forge("1.0")).package(newer));
    let reasons = ["/usr/bin/strike: libanvil.so.1 has no ANVIL_1 for it"];
    assert_eq!(forge.check(&[]), of("conflict", &reasons));
    let without = Deb::new("forge", "2.0").file("etc/forge", 0o644, b"coal\n").file(
        "usr/share/forge/old",
        0o644,
        b"old\n",
    );
    forge.becomes(|archive| archive.package(without));
    let reasons = ["/usr/bin/strike: libanvil.so.1 is not there for it"];
    assert_eq!(forge.check(&[]), of("conflict", &reasons));
    // Words for people, once for all files alike.
    let said = forge.small.project.run(&["check"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("overlay/tools            conflict on base/base\n"), "{said}");
}

#[test]
fn another_store_may_have_the_base() {
    if !possible() {
        return;
    }
    let forge = Forge::new();
    let here = &forge.small.project;
    let there = Project::at(&here.folder.join("other"), here.cache.clone());
    fs::create_dir(&there.folder).unwrap();
    fs::copy(here.folder.join("archive.asc"), there.folder.join("archive.asc")).unwrap();
    let recipe = fs::read_to_string(here.folder.join("overboot.toml")).unwrap();
    there.write_recipe(recipe.split("[overlay.tools]").next().unwrap());
    // With the overlay in the recipe there would be no lock.
    let grim =
        Deb::new("greeter", "3.0").field("Depends", "system").field("Breaks", "hammer (<< 3)");
    let archive = small::archive().package(unlink()).package(grim);
    let archive = archive.package(forge.forge("1.0")).package(forge.anvil("1.0"));
    forge.small.server.replace(archive.build(&forge.small.key));
    there.succeed(&["build", "base/base"]);
    let folder = there.folder.display().to_string();
    let reasons = ["greeter cannot be with hammer (<< 3), and hammer is there"];
    for words in [&["--store", &*folder][..], &["--base", "base/base", "--store", &folder]] {
        assert_eq!(forge.check(words), of("conflict", &reasons), "{words:?}");
    }
    let (image, _) = &here.images()["base/base"];
    for base in ["base/base", &format!("base/base@{image}")] {
        assert_eq!(forge.check(&["--base", base]), of("valid", &[]), "{base}");
    }
    for nowhere in ["base/nothing", "overlay/tools"] {
        let said = here.fail(&["check", "--base", nowhere]);
        assert!(said.contains(nowhere) && said.contains("help: "), "{said}");
    }
}

/// Facts are signed by nobody: what was pulled, or may have been, is read from the image that the set names.
#[test]
fn facts_of_what_was_pulled_are_not_believed() {
    if !possible() {
        return;
    }
    let forge = Forge::new();
    let project = &forge.small.project;
    project.succeed(&["build", "set/tools"]);
    let read = |digest: &str| -> Value {
        serde_json::from_slice(&fs::read(project.blob(digest)).unwrap()).unwrap()
    };
    let write = |document: &Value| {
        let text = document.to_string();
        let digest = Digest::of(&text).to_string();
        fs::write(project.blob(&digest), &text).unwrap();
        (digest, text.len())
    };
    let (base, set) = (project.manifest("base/base"), project.manifest("set/tools"));
    // A base without the library, on which the overlay is in conflict.
    let without = Deb::new("forge", "2.0").file("etc/forge", 0o644, b"coal\n");
    forge.becomes(|archive| archive.package(without));
    let (verdict, _) = forge.check(&[]);
    assert_eq!(verdict, "conflict");

    // Its facts beside the image of the other.
    let facts = |manifest: &Value| {
        let layers = manifest["layers"].as_array().unwrap();
        let contract = "application/vnd.overboot.contract.v1.json+zstd";
        layers.iter().position(|layer| layer["mediaType"] == contract).unwrap()
    };
    let (mut changed, now) = (read(&base), read(&project.manifest("base/base")));
    let place = facts(&changed);
    changed["layers"][place] = now["layers"][facts(&now)].clone();
    let (changed, size) = write(&changed);
    let unnamed = format!("base/base@{changed}");
    assert_eq!(
        forge.check(&["--base", &unnamed]),
        of("valid", &[]),
        "nobody knows where it is from"
    );

    let mut whole = read(&set);
    let mut parts = whole["layers"].as_array_mut().unwrap().iter_mut();
    let part = parts.find(|layer| layer["digest"] == base.as_str()).unwrap();
    (part["digest"], part["size"]) = (changed.into(), size.into());
    let (whole, size) = write(&whole);
    let named = |origin: Option<&str>| {
        let path = project.folder.join("store/index.json");
        let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let mut entry = serde_json::json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": whole, "size": size,
            "annotations": {"org.opencontainers.image.ref.name": "generation/tools/1"},
        });
        if let Some(origin) = origin {
            entry["annotations"]["vnd.overboot.origin"] = origin.into();
        }
        let entries = index["manifests"].as_array_mut().unwrap();
        entries.retain(|one| {
            one["annotations"]["org.opencontainers.image.ref.name"] != "generation/tools/1"
        });
        entries.push(entry);
        fs::write(path, index.to_string()).unwrap();
    };
    named(Some("registry.example.com/lab"));
    assert_eq!(
        forge.check(&["--base", "base/base@1"]),
        of("valid", &[]),
        "of a set that was pulled"
    );
    named(None);
    let (verdict, _) = forge.check(&["--base", "base/base@1"]);
    assert_eq!(verdict, "conflict", "of a set that was made here they are believed");
}

#[test]
fn a_valid_overlay_stays_when_that_is_asked_for() {
    if !possible() {
        return;
    }
    let forge = Forge::new();
    let project = &forge.small.project;
    project.succeed(&["build", "set/tools"]);
    let first = project.images();
    let greeter = Deb::new("greeter", "1.1").field("Depends", "system");
    let archive = small::archive().package(unlink()).package(greeter);
    let archive = archive.package(forge.forge("1.0")).package(forge.anvil("1.0"));
    forge.small.server.replace(archive.build(&forge.small.key));
    project.succeed(&["lock", "--update"]);
    let said = project.run(&["check"]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("recipe and lock mean another by now"), "{said}");

    let built = project.succeed(&["build", "set/tools", "--keep-overlays"]);
    assert!(built.contains("Built "), "{built}");
    let kept = project.images();
    assert_ne!(kept["base/base"], first["base/base"]);
    assert_eq!(kept["overlay/tools"], first["overlay/tools"]);
    let set = fs::read_to_string(project.blob(&kept["set/tools"].0)).unwrap();
    for part in ["base/base", "overlay/tools"] {
        assert!(set.contains(&kept[part].0), "{part} is not in {set}");
    }
    let said = project.succeed(&["plan", "--keep-overlays"]);
    assert!(said.contains("overlay/tools            valid on the new base"), "{said}");
    assert!(project.succeed(&["build", "set/tools", "--keep-overlays"]).contains("Nothing to do"));

    // Without being asked, a build gives what it gives from nothing: the same bytes from the same recipe and lock.
    project.succeed(&["build", "set/tools"]);
    let again = project.images();
    let store = project.folder.join("store");
    fs::remove_dir_all(&store).unwrap();
    fs::remove_dir_all(project.folder.join(".overboot")).unwrap();
    project.succeed(&["build", "set/tools"]);
    assert_eq!(project.images(), again);
}

/// Updates of packages that a base from the real archive has: the same files under a higher version. What the archive itself has of
/// them moves into its release every few weeks.
fn updates(project: &Project) -> Archive {
    let mut archive = Archive::new("fixes");
    for package in locked(&project.folder) {
        let field = |name: &str| package[name].as_str().unwrap();
        if !["libc6", "libssl3t64", "curl", "sudo"].contains(&field("name")) {
            continue;
        }
        let folder = folder();
        let digest = field("sha256").trim_start_matches("sha256:");
        let deb = project.cache.join(format!("packages/sha256/{digest}.deb"));
        let (tree, new) = (folder.path().join("tree"), folder.path().join("new.deb"));
        run(Command::new("dpkg-deb").arg("-R").arg(deb).arg(&tree));
        let control = fs::read_to_string(tree.join("DEBIAN/control")).unwrap();
        let version = format!("\nVersion: {}", field("version"));
        assert!(control.contains(&version), "{control}");
        let control = control.replace(&version, &format!("{version}+deb13u99"));
        fs::write(tree.join("DEBIAN/control"), &control).unwrap();
        run(Command::new("dpkg-deb").args(["-Zzstd", "-z1", "-b"]).arg(&tree).arg(&new));
        archive = archive.package_file(&control, fs::read(new).unwrap());
    }
    archive
}

/// A base from the real archive as it was before its security updates, one with them and more, and a machine that boots the new base
/// with the overlay that was made on the old one.
#[test]
fn what_is_called_valid_after_security_updates_boots() {
    if !(require::root() && require::programs(&[QEMU, "dpkg-deb"])) {
        return;
    }
    let folder = folder();
    let project = Project::init(folder.path().join("project"), images::cache());
    let recipe = fs::read_to_string(project.folder.join("overboot.toml")).unwrap();
    let head = recipe.split("[overlay.discovery]").next().unwrap();
    let overlay = "[overlay.tools]\nbase = \"base\"\n[[overlay.tools.provision]]\npackages = [\"bc\"]\n\
        [[overlay.tools.provision]]\nscript = \"overlays/tools.sh\"\n";
    let old = format!("{head}{overlay}").replacen(
        "suite = \"trixie\"\n",
        "suite = \"trixie\"\nupdates = false\nsecurity = false\n",
        1,
    );
    let script = "#!/bin/sh\nset -e\nuseradd --system smith\necho '#!/bin/sh\necho 6*7 | bc' > /usr/bin/answer\n\
        chmod 755 /usr/bin/answer\n";
    fs::write(project.folder.join("overlays/tools.sh"), script).unwrap();
    project.write_recipe(&old);
    project.succeed(&["build", "overlay/tools"]);
    let first = project.images();
    let before = locked(&project.folder);

    let key = SigningKey::generate();
    let server = Server::start(updates(&project).build(&key));
    fs::write(project.folder.join("keys/fixes.asc"), key.armored_certificate()).unwrap();
    let fixes = format!(
        "[archive.extra.fixes]\nmirror = \"{}\"\nsuites = [\"fixes\"]\nkeyring = \"keys/fixes.asc\"\n\
        in-image = false\n",
        server.uri()
    );
    let new = old.replacen("updates = false\nsecurity = false\n", "", 1);
    project.write_recipe(&format!("{new}{fixes}"));
    project.succeed(&["lock", "--update"]);
    project.succeed(&["build", "base/base"]);
    let updated = locked(&project.folder);
    let updated = updated.iter().filter(|package| !before.contains(package)).count();
    eprintln!("{updated} packages were updated");
    assert!(updated >= 4, "what was updated is in the lock");
    assert_eq!(check(&project, &[]), of("valid", &[]));
    succeeded(&project.run(&["build", "--keep-overlays", "set/tools"]));
    let second = project.images();
    assert_ne!(second["base/base"], first["base/base"]);
    assert_eq!(second["overlay/tools"], first["overlay/tools"]);
    let command = "test \"$(answer)\" = 42 && id smith && dpkg --audit && dpkg-query -W bc libc6";
    project.succeed(&["try", "tools", "--no-console", "--run", command]);
}

/// All packages in the lock.
fn locked(project: &Path) -> Vec<toml::Value> {
    let lock: toml::Table =
        fs::read_to_string(project.join("overboot.lock")).unwrap().parse().unwrap();
    lock["package"].as_array().unwrap().clone()
}

//! Packages from several archives, each signed by its own keys and nobody else's; and which version is taken.

use std::fs;

use overboot_testkit::archive::{Archive, Deb, SigningKey, Tree, now, under};
use overboot_testkit::require;

use crate::provisioners::{paths, put, text};
use crate::refusals::assert_said;
use crate::small::{self, Small};

/// Somebody else's package, which needs one of the main archive.
fn chisel() -> Deb {
    Deb::new("chisel", "3.1").field("Depends", "hammer").file("usr/bin/chisel", 0o755, b"x")
}

/// Somebody else's archive.
fn elsewhere() -> Archive {
    Archive::new("stable").origin("Elsewhere").package(chisel())
}

const RECIPE: &str = r#"
[overlay.chisel]
base = "base"
[[overlay.chisel.provision]]
packages = ["chisel"]

[archive.extra.elsewhere]
mirror = "@URI@/elsewhere"
suites = ["stable"]
keyring = "keys/elsewhere.asc"
"#;

/// The small Debian, and in a folder of the same server somebody else's archive.
struct Two {
    small: Small,
    key: SigningKey,
}

impl Two {
    fn new() -> Self {
        let key = SigningKey::generate();
        let small = Small::new();
        let two = Self { small, key };
        two.serve(small::archive().build(&two.small.key), elsewhere().build(&two.key));
        put(&two.small, "keys/elsewhere.asc", 0o644, two.key.armored_certificate().as_bytes());
        two.write(RECIPE);
        two
    }

    fn serve(&self, mut main: Tree, elsewhere: Tree) {
        main.extend(under("elsewhere", elsewhere));
        self.small.server.replace(main);
    }

    /// The recipe of the small Debian, and more.
    fn write(&self, more: &str) {
        let uri = self.small.server.uri();
        let recipe = small::recipe(&self.small.project.key(), &uri);
        self.small.project.write_recipe(&(recipe + &more.replace("@URI@", &uri)));
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.small.project.folder.join("overboot.lock")).unwrap()
    }

    /// What is said of a recipe with this change.
    fn refused(&self, from: &str, to: &str) -> String {
        assert!(RECIPE.contains(from));
        self.write(&RECIPE.replace(from, to));
        let said = self.small.project.fail(&["lock", "--update"]);
        self.write(RECIPE);
        said
    }
}

fn possible() -> bool {
    small::possible() && require::program("unsquashfs")
}

#[test]
fn packages_come_from_where_they_are() {
    if !possible() {
        return;
    }
    let two = Two::new();
    let (small, project) = (&two.small, &two.small.project);
    project.succeed(&["build", "overlay/chisel"]);
    let files = paths(small, "overlay/chisel");
    for file in ["usr/bin/chisel", "usr/bin/hammer"] {
        assert!(files.contains(&file.to_owned()), "{file}: {files:?}");
    }
    let requests = small.server.take_requests();
    let fetched = |path: &str| requests.iter().any(|request| request.target == path);
    assert!(fetched("/elsewhere/pool/main/c/chisel/chisel_3.1_amd64.deb"), "{requests:?}");
    // The lock says whose package it is, and names no mirror.
    let lock = two.lock();
    assert!(lock.contains("archive = \"elsewhere\"\nsuite = \"stable\"\npath = \"pool/main/c/"));
    assert!(!lock.contains("127.0.0.1"), "{lock}");

    // apt in the image knows it, and takes its own keys for it.
    let sources = text(small, "base/base", "etc/apt/sources.list.d/overboot.sources");
    let uri = small.server.uri();
    let stanza = format!(
        "Types: deb\nURIs: {uri}/elsewhere\nSuites: stable\nComponents: main\n\
         Signed-By: /etc/apt/keyrings/overboot-elsewhere.asc\nArchitectures: amd64\n"
    );
    assert!(sources.ends_with(&format!("overboot.asc\n\n{stanza}")), "{sources}");
    let keys = text(small, "base/base", "etc/apt/keyrings/overboot-elsewhere.asc");
    assert_eq!(keys, two.key.armored_certificate());

    // Lists of software do not take it for the distribution's.
    let sbom = project.succeed(&["sbom", "overlay/chisel"]);
    for words in
        ["pkg:deb/chisel@3.1", "suite stable of the archive elsewhere", "pkg:deb/debian/hammer@2.0"]
    {
        assert!(sbom.contains(words), "{words}: {sbom}");
    }

    // On another mirror it is the same archive: its packages and their lock stay.
    let mut tree = small::archive().build(&small.key);
    tree.extend(under("moved", elsewhere().build(&two.key)));
    small.server.replace(tree);
    two.write(&RECIPE.replace("/elsewhere\"", "/moved\"\nin-image = false"));
    assert!(project.succeed(&["lock"]).contains("up to date"));
    fs::remove_dir_all(project.cache.join("packages")).unwrap();
    project.succeed(&["build", "overlay/chisel"]);
    let sources = text(small, "base/base", "etc/apt/sources.list.d/overboot.sources");
    assert_eq!(sources.matches("Types: deb").count(), 1, "{sources}");
    assert!(!paths(small, "base/base").iter().any(|path| path.contains("overboot-elsewhere")));
}

#[test]
fn the_same_version_of_two_archives_is_two_packages() {
    if !possible() {
        return;
    }
    let two = Two::new();
    let theirs = Deb::new("hammer", "2.0").file("usr/bin/hammer", 0o755, b"theirs");
    // Another one calls itself essential; no base has it for that.
    let pushy = Deb::new("pushy", "1").field("Essential", "yes").field("Priority", "required");
    let archive = elsewhere().package(theirs).package(pushy);
    two.serve(small::archive().build(&two.small.key), archive.build(&two.key));
    // With a pin it is theirs; with the version it is the first that is listed, whatever the pin says: as with apt.
    let more = "\n[[archive.pin]]\npackages = [\"hammer\"]\nfrom = \"elsewhere\"\npriority = 990\n\
                [overlay.plain]\nbase = \"base\"\n[[overlay.plain.provision]]\npackages = [\"hammer=2.0\"]\n";
    two.write(&[RECIPE, more].concat());
    two.small.project.succeed(&["build", "overlay/chisel", "overlay/plain"]);
    let hammer = |overlay: &str| text(&two.small, overlay, "usr/bin/hammer");
    assert_eq!(hammer("overlay/chisel"), "theirs");
    assert!(hammer("overlay/plain").contains("bang"));
    assert!(!two.lock().contains("pushy"), "{}", two.lock());
}

#[test]
fn a_folder_without_suites_is_an_archive_too() {
    if !possible() {
        return;
    }
    let two = Two::new();
    let flat = Archive::new("").origin("Flat").flat().package(chisel());
    two.serve(small::archive().build(&two.small.key), flat.build(&two.key));
    two.write(&RECIPE.replace("\"stable\"", "\"./\""));
    two.small.project.succeed(&["build", "overlay/chisel"]);
    assert!(paths(&two.small, "overlay/chisel").contains(&"usr/bin/chisel".to_owned()));
    let sources = text(&two.small, "base/base", "etc/apt/sources.list.d/overboot.sources");
    assert!(sources.contains("Suites: ./\nSigned-By: "), "{sources}");
}

#[test]
fn nobody_signs_for_another() {
    if !possible() {
        return;
    }
    let two = Two::new();
    let (small, project) = (&two.small, &two.small.project);
    let main = || small::archive().build(&small.key);
    let fails = |words: &[&str]| assert_said(&project.fail(&["lock", "--update"]), words);
    let untrusted = "elsewhere/dists/stable/InRelease is not to be trusted";

    // The main archive's keys are no keys for this one, nor the other way round.
    two.serve(main(), elsewhere().build(&small.key));
    let place = "overboot.toml:44:11: http://";
    fails(&[place, untrusted, &small.key.fingerprint(), &two.key.fingerprint(), "help: "]);
    two.serve(small::archive().build(&two.key), elsewhere().build(&two.key));
    fails(&["overboot.toml:8:11: http://", "dists/trixie/InRelease is not to be trusted"]);

    // Changed after it was signed; expired; signed by a key that has expired.
    let mut changed = elsewhere().build(&two.key);
    let release = changed.get_mut("dists/stable/InRelease").unwrap();
    *release = String::from_utf8_lossy(release).replace("Label: Elsewhere", "Label: Here").into();
    two.serve(main(), changed);
    fails(&[place, untrusted, "it was changed after it was signed"]);
    let old = elsewhere().dated(now() - 1800, Some(now() - 60));
    two.serve(main(), old.build(&two.key));
    fails(&["overboot.toml:42:10: http://", "has expired", "help: Check this host's clock"]);
    assert!(!project.folder.join("overboot.lock").exists());

    two.serve(main(), elsewhere().build(&two.key));
    project.succeed(&["lock"]);
}

#[test]
fn what_is_wrong_with_an_archive_is_told_with_its_place() {
    if !possible() {
        return;
    }
    let two = Two::new();
    let said = two.refused("\"stable\"", "\"stabel\"");
    assert_said(&said, &["overboot.toml:43:11: suite \"stabel\" does not exist at http://"]);
    let said = two.refused("/elsewhere\"", "/nowhere\"");
    assert_said(&said, &["overboot.toml:43:11: suite \"stable\" does not exist at", "help: Check"]);
    let said = two.refused("keys/elsewhere.asc", "keys/elsewhere.gpg");
    assert_said(&said, &["overboot.toml:44:11: there is no file \"keys/elsewhere.gpg\"", "help: "]);

    let certificate = two.key.armored_certificate();
    put(&two.small, "keys/elsewhere.gpg", 0o644, certificate.as_bytes());
    let said = two.refused("keys/elsewhere.asc", "keys/elsewhere.gpg");
    assert_said(&said, &["overboot.toml:44:11: ", "armored", "help: rename it to elsewhere.asc"]);
    put(&two.small, "keys/none.asc", 0o644, b"these are no keys");
    let said = two.refused("keys/elsewhere.asc", "keys/none.asc");
    assert_said(&said, &["overboot.toml:44:11: ", "holds no archive keys", "help: "]);
}

/// The small Debian with newer packages in its backports.
fn with_backports() -> Small {
    let key = SigningKey::generate();
    let backports = Archive::new("trixie-backports")
        .origin("Debian Backports")
        .suite("stable-backports")
        .release_field("NotAutomatic", "yes")
        .release_field("ButAutomaticUpgrades", "yes")
        .package(Deb::new("hammer", "3.0~bpo13+1").file("usr/bin/hammer", 0o755, b"new"))
        .package(Deb::new("nail", "0.1").file("usr/bin/nail", 0o755, b"nail"));
    let mut tree = small::archive().build(&key);
    tree.extend(backports.build(&key));
    let small = Small::of(tree, key);
    write_backports(&small, "");
    small
}

fn write_backports(small: &Small, more: &str) {
    let recipe = small::recipe(&small.project.key(), &small.server.uri());
    let suites = "security = false\nextra-suites = [\"trixie-backports\"]";
    small.project.write_recipe(&(recipe.replace("security = false", suites) + more));
}

#[test]
fn backports_wait_to_be_asked() {
    if !possible() {
        return;
    }
    let small = with_backports();
    let project = &small.project;
    let version = || {
        project.succeed(&["lock"]);
        let lock = fs::read_to_string(project.folder.join("overboot.lock")).unwrap();
        let lock: toml::Table = lock.parse().unwrap();
        let keys = lock["image"]["overlay/tools"]["steps"][0][0].as_array().unwrap();
        keys.iter().map(|key| key.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(version(), ["hammer=2.0"]);
    let pin =
        "\n[[archive.pin]]\npackages = [\"ham*\"]\nfrom = \"trixie-backports\"\npriority = 990\n";
    write_backports(&small, pin);
    assert_eq!(version(), ["hammer=3.0~bpo13+1"]);
    project.succeed(&["build", "overlay/tools"]);
    assert_eq!(text(&small, "overlay/tools", "usr/bin/hammer"), "new");
    // apt in the image prefers the same.
    let preferences = text(&small, "base/base", "etc/apt/preferences.d/overboot.pref");
    assert_eq!(
        preferences,
        "Package: ham*\nPin: release o=Debian Backports,l=Debian Backports,a=stable-backports,n=trixie-backports\n\
         Pin-Priority: 990\n"
    );
    let sources = text(&small, "base/base", "etc/apt/sources.list.d/overboot.sources");
    assert!(sources.contains("Suites: trixie trixie-backports\n"), "{sources}");

    // One by one, without a pin; a version, or its beginning.
    write_backports(&small, "");
    let recipe = fs::read_to_string(project.folder.join("overboot.toml")).unwrap();
    project.write_recipe(&recipe.replace("\"hammer\"", "\"hammer=3.0~bpo13+1\", \"nail\""));
    assert_eq!(version(), ["hammer=3.0~bpo13+1", "nail=0.1"]);
    let pin = "\n[[archive.pin]]\npackages = [\"hammer\"]\nversion = \"3.*\"\npriority = 990\n";
    write_backports(&small, pin);
    assert_eq!(version(), ["hammer=3.0~bpo13+1"]);

    let never = "\n[[archive.pin]]\npackages = [\"hammer\", \"snapd\"]\npriority = -1\n";
    write_backports(&small, never);
    let words = ["overboot.toml:32:13: overlay/tools: no version", "2.0 (trixie, never taken)"];
    assert_said(&project.fail(&["lock"]), &words);
    let nothing = "\n[[archive.pin]]\npackages = [\"greeter\"]\nfrom = \"trixie-backports\"\npriority = 990\n";
    write_backports(&small, nothing);
    let words = [
        "overboot.toml:38:13: this pin for \"greeter\" is about nothing: trixie-backports has no such package",
        "there is 1.0 (trixie)",
        "help: correct the name",
    ];
    assert_said(&project.fail(&["lock"]), &words);
}

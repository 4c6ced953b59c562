//! What images are, what differs between two, and what is in them for those who keep lists of software.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use overboot_testkit::archive::{Archive, Deb};
use overboot_testkit::program::run;
use overboot_testkit::{images, require};
use serde_json::Value;

use crate::project::Project;
use crate::small::{self, Small};

/// What a command prints for programs: one object.
#[track_caller]
fn json(project: &Project, words: &[&str]) -> Value {
    let printed = project.succeed(&[&["--json"], words].concat());
    serde_json::from_str(printed.lines().last().unwrap()).unwrap()
}

/// Every path of an image and the package that it belongs to.
pub fn owners(project: &Project, target: &str) -> BTreeMap<String, Option<String>> {
    let inspected = json(project, &["inspect", target, "--files"]);
    let listing = inspected["listing"].as_array().unwrap().iter();
    let owner = |file: &Value| file["package"].as_str().map(str::to_owned);
    listing.map(|file| (format!("/{}", file["path"].as_str().unwrap()), owner(file))).collect()
}

#[test]
fn what_is_in_each_image_is_told() {
    if !small::possible() {
        return;
    }
    let small = Small::new();
    let project = &small.project;
    project.succeed(&["build"]);

    let base = owners(project, "base/base");
    assert_eq!(base["/usr/bin/greet"].as_deref(), Some("greeter"));
    assert_eq!(base["/etc/greeted"], None, "made by a script");
    let overlay = owners(project, "overlay/tools");
    assert_eq!(overlay["/usr/bin/hammer"].as_deref(), Some("hammer"));
    assert_eq!(overlay["/etc/tools"], None);
    let modules = owners(project, "modules/default");
    let module = "/usr/lib/modules/6.1.2-small/kernel/drivers/net/acme.ko";
    assert_eq!(modules[module].as_deref(), Some("linux-image-small"));
    assert_eq!(modules["/usr/lib/modules/6.1.2-small/modules.dep"], None);
    let initrd = owners(project, "initrd/default");
    assert_eq!(initrd[module].as_deref(), Some("linux-image-small"));
    assert_eq!(initrd["/init"], None);
    for (target, path) in
        [("kernel", "/boot/vmlinuz-6.1.2-small"), ("ipxe", "/usr/lib/ipxe/ipxe.efi")]
    {
        assert!(owners(project, target)[path].is_some(), "{target}");
    }

    let inspected = json(project, &["inspect", "overlay/tools"]);
    assert_eq!(inspected["beneath"]["target"], "base/base");
    assert_eq!(inspected["beneath"]["same"], true);
    assert_eq!(inspected["packages"][0]["name"], "hammer");
    let status = inspected["databases"].as_array().unwrap().iter();
    let status =
        status.into_iter().find(|change| change["path"] == "/var/lib/dpkg/status").unwrap();
    assert_eq!(status["put"][0], "hammer amd64");
    let set = json(project, &["inspect", "set/tools"]);
    assert_eq!(set["parts"].as_array().unwrap().len(), 5);

    let said = project.succeed(&["inspect", "base/base"]);
    assert!(said.contains("greeter 1.0") && said.contains("/usr/share/greeter/noise"), "{said}");
    let said = project.fail(&["inspect", "base/bass"]);
    assert!(said.contains("base/bass is not in the store") && said.contains("base/base"), "{said}");
    page_stands_alone(project);
}

/// The page loads nothing, and no name in it becomes markup.
fn page_stands_alone(project: &Project) {
    let file = project.folder.join("page.html");
    for target in ["base/base", "overlay/tools", "set/tools", "kernel"] {
        project.succeed(&["inspect", target, "--html", file.to_str().unwrap()]);
        let page = fs::read_to_string(&file).unwrap();
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
        for loads in [" src=", " href=", "url(", "@import", "http://", "https://"] {
            assert!(!page.contains(loads), "{loads} in the page of {target}");
        }
        assert_eq!(page.matches("<script>").count(), 1);
        assert_eq!(page.matches("<div").count(), page.matches("</div>").count());
    }
}

/// The small Debian with another greeter in it.
fn newer() -> Archive {
    let greeter = Deb::new("greeter", "1.1")
        .field("Depends", "system")
        .file("usr/bin/greet", 0o755, b"#!/bin/sh\necho good morning\n")
        .file("usr/share/greeter/words", 0o600, b"good morning");
    small::archive().package(greeter)
}

#[test]
fn what_differs_between_two_images_is_told() {
    if !small::possible() {
        return;
    }
    let small = Small::new();
    let project = &small.project;
    project.succeed(&["build", "overlay/tools"]);
    let old = json(project, &["inspect", "base/base"]);
    let old_reference = format!("base/base@{}", old["digest"].as_str().unwrap());
    let kept = project.folder.join("kept");
    run(Command::new("cp").arg("-a").arg(project.folder.join("store")).arg(&kept));

    small.server.replace(newer().build(&small.key));
    project.succeed(&["lock", "--update"]);
    project.succeed(&["build", "base/base"]);
    let compared = json(project, &["diff", &old_reference, "base/base"]);
    let difference = &compared["differences"][0];
    let packages = difference["packages"].as_array().unwrap();
    assert_eq!(packages.len(), 1);
    assert_eq!(packages[0]["versions"], serde_json::json!(["1.0", "1.1"]));
    let changes = |path: &str| {
        let files = difference["files"].as_array().unwrap();
        files.iter().find(|file| file["path"] == path).map(|file| file["changes"].clone())
    };
    assert_eq!(changes("/usr/bin/greet").unwrap(), serde_json::json!(["content"]));
    assert_eq!(changes("/usr/share/greeter/noise").unwrap(), serde_json::json!(["removed"]));
    assert_eq!(changes("/usr/share/greeter/words").unwrap(), serde_json::json!(["added"]));
    assert_eq!(changes("/etc/greeted").unwrap(), serde_json::json!(["removed"]));
    assert_eq!(changes("/usr/bin/sh"), None);
    let said = project.succeed(&["diff", &old_reference, "base/base"]);
    assert!(said.contains("* greeter") && said.contains("1.0 -> 1.1"), "{said}");

    // The same from two stores, where no project is needed.
    let stores = [kept.to_str().unwrap(), project.folder.to_str().unwrap()];
    let from_two =
        json(project, &["diff", "base/base", "--store", stores[0], "--store", stores[1]]);
    assert_eq!(from_two, compared);
    assert!(project.succeed(&["diff", "base/base", "base/base"]).contains("They are the same"));
    let overlay = json(project, &["inspect", "overlay/tools"]);
    assert_eq!(overlay["beneath"]["same"], false, "the base has moved");
    let wrong = old_reference.replace("base/base@", "overlay/tools@");
    assert!(project.fail(&["inspect", &wrong]).contains("is the digest of base/base"));
}

#[test]
fn what_is_built_anew_is_compared_to_the_bit() {
    if !small::possible() {
        return;
    }
    let small = Small::new();
    let project = &small.project;
    project.succeed(&["build"]);
    let before = project.visible();
    let said = project.succeed(&["--offline", "verify", "--rebuild"]);
    assert_eq!(said.matches("the same, bit for bit").count(), small::TARGETS.len(), "{said}");
    assert_eq!(project.visible(), before, "the store has changed");
    assert!(!project.folder.join(".overboot/apart").exists());
    project.assert_clean();

    // A script that does not do the same each time.
    let script = "read -r uuid < /proc/sys/kernel/random/uuid; echo $uuid > /etc/tools\n";
    fs::write(project.folder.join("overlays/tools.sh"), script).unwrap();
    project.succeed(&["build", "overlay/tools"]);
    let rebuilt = project.run(&["--offline", "verify", "--rebuild", "overlay/tools"]);
    let said = String::from_utf8(rebuilt.stdout).unwrap();
    assert_eq!(rebuilt.status.code(), Some(1));
    assert!(said.contains("* /etc/tools  content"), "{said}");
    let base = said.lines().find(|line| line.starts_with("base/base")).unwrap();
    assert!(base.contains("the same"), "{said}");
    project.assert_clean();
}

#[test]
fn a_public_validator_accepts_our_spdx() {
    // PyPI's spdx-tools: what the SPDX project itself checks documents with.
    if !(small::possible() && require::program("pyspdxtools")) {
        return;
    }
    let small = Small::new();
    let project = &small.project;
    project.succeed(&["build"]);
    let file = project.folder.join("sbom.spdx.json");
    for target in small::TARGETS {
        for files in [&[][..], &["--files"]] {
            let words = [&["sbom", target], files].concat();
            let document = project.succeed(&words);
            assert_eq!(document, project.succeed(&words), "the same each time");
            fs::write(&file, &document).unwrap();
            run(Command::new("pyspdxtools").arg("--infile").arg(&file));
            dangles_nowhere(&serde_json::from_str(&document).unwrap());
        }
    }
    let document = json(project, &["sbom", "set/tools"]);
    let packages = document["packages"].as_array().unwrap().iter();
    let purls: BTreeSet<&str> =
        packages.filter_map(|p| p["externalRefs"][0]["referenceLocator"].as_str()).collect();
    assert!(purls.contains("pkg:deb/debian/hammer@2.0?arch=amd64&distro=trixie"), "{purls:?}");
    assert_eq!(purls.len(), 4, "system, greeter, hammer, kernel: {purls:?}");
    // The validator does refuse.
    let broken = document.to_string().replace("CC0-1.0", "none");
    fs::write(&file, broken).unwrap();
    let refused = Command::new("pyspdxtools").arg("--infile").arg(&file).output().unwrap();
    assert!(!refused.status.success());
}

/// Every relationship is between things that are there.
fn dangles_nowhere(document: &Value) {
    let of = |list: &str| document[list].as_array().cloned().unwrap_or_default();
    let elements = of("packages").into_iter().chain(of("files"));
    let mut known: BTreeSet<String> =
        elements.map(|element| element["SPDXID"].as_str().unwrap().to_owned()).collect();
    known.insert("SPDXRef-DOCUMENT".to_owned());
    for relationship in of("relationships") {
        for end in ["spdxElementId", "relatedSpdxElement"] {
            assert!(known.contains(relationship[end].as_str().unwrap()), "{relationship}");
        }
    }
}

/// Of a real base, dpkg says the same.
#[test]
fn files_belong_to_whom_dpkg_says() {
    if !(require::root() && require::program("dpkg-query")) {
        return;
    }
    let project = Project::at(images::project(), images::cache());
    let tree = project.tree("base-base");
    let listed = owners(&project, "base/base");
    let owned: Vec<(&String, &String)> =
        listed.iter().filter_map(|(path, owner)| Some((path, owner.as_ref()?))).collect();
    assert!(owned.len() > 2_000, "{}", owned.len());
    let told = search(&tree, owned.iter().map(|(path, _)| path.as_str()));
    for (path, owner) in owned {
        let said = told.get(path).unwrap_or_else(|| panic!("dpkg knows nobody for {path}"));
        assert!(said.contains(owner), "{path}: {owner} here, {said:?} for dpkg");
    }
    // And nobody's are those that dpkg gives to nobody. A folder may be anybody's.
    let folders: BTreeSet<String> = listed
        .keys()
        .filter(|path| tree.join(path.trim_start_matches('/')).is_dir())
        .cloned()
        .collect();
    let nobodys = listed.iter().filter(|(path, owner)| owner.is_none() && !folders.contains(*path));
    let told = search(&tree, nobodys.map(|(path, _)| path.as_str()));
    assert_eq!(told, BTreeMap::new());
}

/// What `dpkg -S` says of paths in a tree: names of packages.
fn search<'p>(tree: &Path, paths: impl Iterator<Item = &'p str>) -> BTreeMap<String, String> {
    let mut told = BTreeMap::new();
    let paths: Vec<&str> = paths.collect();
    for some in paths.chunks(500) {
        let mut query = Command::new("dpkg-query");
        query.arg("--admindir").arg(tree.join("var/lib/dpkg")).arg("--search").args(some);
        // It fails where there is one that is nobody's.
        let output = query.env("LC_ALL", "C").output().unwrap();
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            // `diversion by dash from: /bin/sh` says where a file is; the line with its owner comes beside it.
            if let Some((packages, path)) = line.rsplit_once(": ")
                && !line.starts_with("diversion by")
            {
                told.insert(path.to_owned(), packages.to_owned());
            }
        }
    }
    told
}

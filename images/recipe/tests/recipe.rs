//! What a recipe may say, and what is said about one that is wrong.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use overboot_recipe::{
    Lock, LockedContainer, LockedImage, LockedPackage, LockedStage, Provisioner, Recipe, ServeDhcp,
    Whence, project,
};
use overboot_testkit::require;

/// A project folder as `overboot init` makes it, with `change` applied to the recipe's text.
fn load(change: impl Fn(String) -> String) -> Result<Recipe, String> {
    let folder = tempfile::tempdir().unwrap();
    for file in project::FILES {
        let path = folder.path().join(file.path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let text = file.contents.replace("@NAME@", "my-images").replace("@KEY@", key);
        std::fs::write(path, text).unwrap();
    }
    let path = folder.path().join(Recipe::FILE);
    let text = change(std::fs::read_to_string(&path).unwrap());
    std::fs::write(&path, text).unwrap();
    Recipe::load(folder.path())
        .map_err(|error| error.to_string().replace(&folder.path().display().to_string(), "PROJECT"))
}

fn refused(from: &str, to: &str) -> String {
    load(|text| {
        assert!(text.contains(from), "the shipped recipe no longer holds {from:?}");
        text.replacen(from, to, 1)
    })
    .unwrap_err()
}

#[test]
fn the_shipped_recipe_is_right() {
    let recipe = load(|text| text).unwrap();
    assert_eq!(recipe.archive.suite, "trixie");
    assert_eq!(recipe.overlays["discovery"].base, "base");
    assert!(
        matches!(&recipe.bases["base"].provision[1], Provisioner::Users(users) if users[0].name == "monorail")
    );
    assert_eq!(recipe.serve.dhcp.value, ServeDhcp::Off);
}

#[test]
fn the_shipped_schema_is_the_programs() {
    let shipped = project::FILES.iter().find(|file| file.path == "overboot.schema.json").unwrap();
    assert!(
        shipped.contents == overboot_recipe::schema(),
        "overboot schema > recipes/project/overboot.schema.json"
    );
}

/// A validator that is not ours takes the shipped recipe by the shipped schema, and refuses one with a wrong key or word;
/// and whoever writes one is told what each key is.
#[test]
fn the_schema_fits_the_recipe() {
    if !require::program("python3") {
        return;
    }
    let python = |script: &str| {
        let mut python = std::process::Command::new("python3");
        python.args(["-c", script]);
        python
    };
    let there = python("import tomllib, jsonschema").output().unwrap().status.success();
    if !require::met(there, "needs Python with tomllib and jsonschema") {
        return;
    }
    let script = r#"
import json, sys, tomllib, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
text = open(sys.argv[2]).read().replace("@KEY@", sys.argv[3])
jsonschema.validate(tomllib.loads(text), schema)
for wrong, instead in [("variant", "varaint"), ('"minbase"', '"minbsae"'), (sys.argv[3], "RW"), ('"nopasswd"', '"yes"')]:
    assert wrong in text
    try:
        jsonschema.validate(tomllib.loads(text.replace(wrong, instead, 1)), schema)
    except jsonschema.ValidationError as error:
        assert instead.strip('"') in str(error)
    else:
        sys.exit(instead + " was taken")

def properties(schema):
    for value in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else []:
        yield from properties(value)
    if isinstance(schema, dict) and isinstance(schema.get("properties"), dict):
        yield from schema["properties"].items()

mute = [name for name, key in properties(schema) if not key.get("description")]
assert not mute, mute
"#;
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/project");
    let ran = python(script)
        .arg(shipped.join("overboot.schema.json"))
        .arg(shipped.join("overboot.toml"))
        .arg("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn everything_that_ships_is_right_together() {
    let folder = tempfile::tempdir().unwrap();
    let extra = project::EXTRAS.iter().flat_map(|extra| extra.files);
    for file in project::FILES.iter().chain(extra) {
        let path = folder.path().join(file.path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        std::fs::write(path, file.contents.replace("@NAME@", "all").replace("@KEY@", key)).unwrap();
    }
    let path = folder.path().join(Recipe::FILE);
    let extras: String = project::EXTRAS.iter().map(|extra| extra.recipe).collect();
    std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + &extras).unwrap();
    let recipe = Recipe::load(folder.path()).unwrap();
    let overlays: Vec<&str> = recipe.overlays.keys().map(String::as_str).collect();
    let wanted = ["dell-raid", "discovery", "intel-flash", "quanta-flash", "raid", "secure-erase"];
    assert_eq!(overlays, wanted);
    assert_eq!(recipe.bases["base-full"].provision, recipe.bases["base"].provision);
    assert_eq!(recipe.overlays["raid"].slots().collect::<Vec<_>>(), ["storcli"]);
    assert_eq!(
        recipe.overlays["raid"].provision.len(),
        recipe.overlays["discovery"].provision.len() + 1
    );
}

#[test]
fn every_shipped_file_is_written_by_init() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/project");
    let mut found = Vec::new();
    let mut folders = vec![shipped.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(&shipped).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut listed: Vec<_> = project::FILES.iter().map(|file| file.path.to_owned()).collect();
    found.sort();
    listed.sort();
    assert_eq!(found, listed);
}

#[test]
fn an_unknown_key_names_its_line_and_the_near_key() {
    insta::assert_snapshot!(refused("variant = ", "varaint = "));
}

#[test]
fn an_unknown_key_far_from_all_lists_them() {
    insta::assert_snapshot!(refused("suite = \"trixie\"", "suite = \"trixie\"\nfrobnicate = 1"));
}

#[test]
fn what_boot_sets_take_must_be_clear() {
    insta::assert_snapshot!(refused(
        "[initrd.default]",
        "[initrd.other]\nmodules = [\"loop\"]\n[initrd.small]"
    ));
    insta::assert_snapshot!(
        load(|text| text.replace("overlay.discovery", "overlay.base")).unwrap_err()
    );
}

#[test]
fn a_command_line_is_one_line_of_words() {
    insta::assert_snapshot!(refused("[kernel]", "[kernel]\ncmdline = \"quiet\\nsplash\""));
}

#[test]
fn accounts_are_named_as_useradd_takes_them() {
    insta::assert_snapshot!(refused("name = \"monorail\"", "name = \"9monorail\""));
    load(|text| text.replace("name = \"monorail\"", "name = \"mono.rail\"")).unwrap();
}

#[test]
fn an_unknown_base_is_pointed_at() {
    insta::assert_snapshot!(refused("base = \"base\"", "base = \"bse\""));
}

#[test]
fn a_missing_script_is_pointed_at() {
    insta::assert_snapshot!(refused("overlays/discovery.sh", "overlays/none.sh"));
}

#[test]
fn a_path_out_of_the_project_is_refused() {
    insta::assert_snapshot!(refused("files = \"provision/base\"", "files = \"../../etc\""));
}

/// What is said of a recipe with these archives and pins; there are keys of one.
fn archives(more: &str) -> Result<Recipe, String> {
    load(|text| text.replacen("[kernel]", &format!("{more}\n[kernel]"), 1))
}

#[test]
fn extra_archives_and_pins_are_read() {
    let more = r#"
extra-suites = ["trixie-backports"]
[archive.extra.tools]
mirror = "https://tools.example/${arch}/"
suites = ["trixie/tools/8.0"]
components = ["main", "non-free/tools"]
keyring = "provision/base/etc/hosts"
[archive.extra.arms]
mirror = "https://arms.example/deb"
suites = ["./"]
keyring = "provision/base/etc/hosts"
architectures = ["arm64"]
[[archive.pin]]
packages = ["tool-*"]
from = "tools"
priority = 990
[[archive.pin]]
packages = ["gun"]
from = "arms"
priority = -1
"#;
    let archive = archives(more).unwrap().archive;
    let suites = ["trixie", "trixie-updates", "trixie-security", "trixie-backports"];
    assert_eq!(archive.suites(), suites);
    let [tools] = &archive.extra[..] else { panic!("{archive:?}") };
    assert_eq!((tools.mirror.as_str(), tools.in_image), ("https://tools.example/amd64", true));
    // What is said of an archive that is not used on this architecture is not used either.
    assert_eq!(archive.pins.len(), 1);
    assert_eq!(
        (archive.pins[0].priority, &*archive.pins[0].packages),
        (990, &["tool-*".to_owned().into()][..])
    );
}

#[test]
fn mistakes_in_archives_and_pins_are_pointed_at() {
    let more = r#"
extra-suites = ["trixie-updates"]
[archive.extra.trixie-security]
mirror = "https://tools.example/deb"
suites = ["trixie"]
[archive.extra.tools]
mirror = "ftp://tools.example/deb"
suites = ["stable", "../etc"]
components = ["no good"]
keyring = "keys/none.asc"
[archive.extra.flat]
mirror = "https://tools.example/flat"
suites = ["./"]
components = ["main"]
keyring = "provision/base/etc/hosts"
[archive.extra.twin]
mirror = "https://tools.example/flat"
suites = ["./", "stable"]
keyring = "provision/base/etc/hosts"
[[archive.pin]]
packages = ["nginx"]
from = "trixie-backport"
priority = 0
[[archive.pin]]
packages = ["*", "nginx (>= 1)"]
from = "tools"
version = "v1"
priority = 40000
[[archive.pin]]
"#;
    insta::assert_snapshot!(archives(more).unwrap_err());
}

#[test]
fn a_proxy_has_no_tls_and_no_address_a_login() {
    assert!(archives("\nproxy = \"http://cache.example:3142\"\n").is_ok());
    let said = archives("\nproxy = \"https://cache.example:3142\"\n").unwrap_err();
    assert!(said.contains(":9: a proxy that is spoken to by https:// cannot be used"), "{said}");
    assert!(said.contains("help: write it as http://host:3142"), "{said}");
    for key in ["proxy", "mirror"] {
        for (written, shown) in [
            ("\"http://me:secret@cache.example\"", "http://*********@cache.example\""),
            ("\"http://me:sec/ret@cache.example\" # $", "http://**********@cache.example\""),
            ("http://me:secret@cache.example", "http://*********@cache.example"),
            ("\"ftp://me:secret@cache.example\"", "ftp://*********@cache.example\""),
        ] {
            let written = archives(&format!("\n{key} = {written}\nextra-suites = []\n"));
            let said = written.err().unwrap_or_default();
            assert!(
                said.contains(shown) && !said.contains("ret@") && !said.contains("me:"),
                "{key}: {said}"
            );
        }
    }
}

#[test]
fn a_package_that_can_be_none_is_refused() {
    insta::assert_snapshot!(refused("\"udev\"", "\"udev (>= 1)\""));
}

#[test]
fn a_step_does_one_thing() {
    insta::assert_snapshot!(refused(
        "files = \"provision/base\"",
        "files = \"provision/base\"\nscript = \"provision/base.sh\""
    ));
}

/// A project with one step, and these files.
fn step(step: &str, files: &[&str]) -> Result<Recipe, String> {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let text = format!(
        "[project]\nname = \"x\"\n[archive]\nsuite = \"trixie\"\n[base.base]\n[[base.base.provision]]\n{step}\n"
    );
    std::fs::write(folder.path().join(Recipe::FILE), text).unwrap();
    Recipe::load(folder.path())
        .map_err(|error| error.to_string().replace(&folder.path().display().to_string(), "PROJECT"))
}

#[test]
fn what_ansible_reads_is_what_the_step_names() {
    let reads = |text: &str, files: &[&str]| {
        let recipe = step(text, files).unwrap();
        let sources = recipe.sources().map(|path| path.to_str().unwrap().to_owned());
        sources.collect::<Vec<_>>()
    };
    let role =
        ["roles/overlay/raid/tasks/main.yml", "vars/raid.yml", "roles/common/tasks/main.yml"];
    let text = r#"ansible = { role = "roles/overlay/raid", vars = ["vars/raid.yml"], reads = ["roles/common"] }"#;
    assert_eq!(reads(text, &role), ["roles/common", "roles/overlay/raid", "vars/raid.yml"]);
    let beside = ["site.yml", "roles/x/tasks/main.yml", "templates/x", "keys/boot-set.key"];
    let text = r#"ansible = { playbook = "site.yml", extra-vars = { arch = "${arch}", list = [1, true] } }"#;
    assert_eq!(reads(text, &beside), ["roles", "site.yml", "templates"]);
    let recipe = step(text, &beside).unwrap();
    let Provisioner::Ansible(ansible) = &recipe.bases["base"].provision[0] else { panic!() };
    let variables = serde_json::to_string(&ansible.extra_vars).unwrap();
    assert_eq!(variables, r#"{"arch":"amd64","list":[1,true]}"#);
    let text = r#"ansible = { playbook = "plays/site.yml", vars = ["plays/vars.yml"] }"#;
    assert_eq!(reads(text, &["plays/site.yml", "plays/vars.yml"]), ["plays"]);
}

#[test]
fn a_role_that_is_none_is_pointed_at() {
    let files = ["roles/raid/tasks/main.yml", "roles/empty/tasks/other.yml", "x.sh"];
    let said = |text: &str| step(text, &files).unwrap_err();
    insta::assert_snapshot!(said(r#"ansible = { role = "roles/empty" }"#));
    insta::assert_snapshot!(said(r#"ansible = { role = "roles/raid/tasks/main.yml" }"#));
    insta::assert_snapshot!(said(r#"ansible = { role = "roles/raid", playbook = "x.yml" }"#));
    insta::assert_snapshot!(said(r#"ansible = { role = "roles/raid", vars = ["vars/raid.yml"] }"#));
    insta::assert_snapshot!(said("host-script = \"x.sh\"\nnetwork = true"));
}

#[test]
fn a_step_that_runs_something_may_have_a_time() {
    let said = |text: &str| step(text, &["x.sh"]).unwrap_err();
    insta::assert_snapshot!(said("packages = [\"x1\"]\ntimeout = 60"));
    insta::assert_snapshot!(said("script = \"x.sh\"\ntimeout = 0"));
    for (text, seconds) in [("", 3600), ("timeout = 60", 60)] {
        let recipe = step(&format!("script = \"x.sh\"\n{text}"), &["x.sh"]).unwrap();
        let Provisioner::Script(script) = &recipe.bases["base"].provision[0] else { panic!() };
        assert_eq!(script.timeout, seconds);
    }
}

#[test]
fn container_images_are_named_so_that_they_can_be_found() {
    let files = "files = \"provision/base\"";
    insta::assert_snapshot!(refused(files, "container = \"debian\""));
    insta::assert_snapshot!(refused(files, "container = \"oci:vendor/none:tool\""));
    insta::assert_snapshot!(refused(files, "container = \"oci:/srv/images\""));
    insta::assert_snapshot!(refused("variant = \"minbase\"", "variant = \"none\""));
    let digest = overboot_digest::Digest::of("x");
    for (written, meant) in [
        ("oci:overlays", "oci:overlays"),
        ("oci:overlays:base/base", "oci:overlays:base/base"),
        ("docker://registry.example.com/tool:${arch}", "registry.example.com/tool:amd64"),
        (&format!("localhost:5000/a/b@{digest}"), &format!("localhost:5000/a/b@{digest}")),
    ] {
        let recipe =
            load(|text| text.replace(files, &format!("container = \"{written}\""))).unwrap();
        let found: Vec<String> = recipe.containers().map(ToString::to_string).collect();
        assert_eq!(found, [meant]);
    }
}

#[test]
fn modules_have_patterns_and_a_place() {
    let files = "files = \"provision/base\"";
    insta::assert_snapshot!(refused(files, "modules = [\"/lib/modules\"]"));
    insta::assert_snapshot!(refused(files, "modules = [\"loop\"]\nto = \"opt/drivers\""));
    insta::assert_snapshot!(refused(files, "files = \"provision/base\"\nto = \"/opt\""));
    let recipe = load(|text| {
        text.replace(files, "modules = [\"kernel/drivers/char/ipmi/**\"]\nto = \"/opt/drivers\"")
    });
    let steps = &recipe.unwrap().bases["base"].provision;
    let modules = steps.iter().find_map(|step| match step {
        Provisioner::Modules { include, to } => Some((include.clone(), to.clone())),
        _ => None,
    });
    let include = vec!["kernel/drivers/char/ipmi/**".to_owned().into()];
    let to = std::path::PathBuf::from("opt/drivers");
    assert_eq!(modules, Some((include, Some(to.into()))));
}

#[test]
fn all_mistakes_are_told_at_once() {
    let said = load(|text| {
        text.replace("\"udev\"", "\"UDEV\"").replace("shell = \"/bin/bash\"", "shell = \"bash\"")
    })
    .unwrap_err();
    assert_eq!(said.matches("help:").count(), 2, "{said}");
}

#[test]
fn a_broken_file_is_pointed_at() {
    insta::assert_snapshot!(refused("suite = \"trixie\"", "suite = trixie"));
}

#[test]
fn a_range_is_read_or_refused() {
    assert!(matches!(
        ServeDhcp::parse_range("10.0.0.100-10.0.0.200/24"),
        Some(ServeDhcp::Server { prefix: 24, .. })
    ));
    for bad in [
        "",
        "10.0.0.1",
        "10.0.0.9-10.0.0.1/24",
        "10.0.0.1-10.0.1.9/24",
        "a-b/24",
        "10.0.0.1-10.0.0.9/33",
    ] {
        assert_eq!(ServeDhcp::parse_range(bad), None, "{bad}");
    }
}

#[test]
fn a_lock_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Lock::load(folder.path()).unwrap(), None);
    let package = LockedPackage {
        name: "dash".into(),
        version: "0.5.12-12".into(),
        architecture: "amd64".into(),
        whence: Whence::Archive {
            archive: None,
            suite: "trixie".into(),
            path: "pool/main/d/dash/dash_0.5.12-12_amd64.deb".into(),
            snapshot: None,
        },
        size: 97_000,
        installed: 191_488,
        sha256: overboot_digest::Digest::of("dash"),
    };
    let stage = LockedStage { batches: 1, epoch: 1 };
    let lock = Lock {
        version: 1,
        wanted: overboot_digest::Digest::of("wanted"),
        sources: None,
        epoch: 1_789_000_000,
        archives: Vec::new(),
        earlier: Vec::new(),
        containers: vec![LockedContainer {
            image: "oci:vendor/tool".into(),
            manifest: overboot_digest::Digest::of("manifest"),
        }],
        images: [("base/base".to_owned(), {
            let steps = vec![vec![vec![package.key()]]];
            LockedImage { epoch: Some(2), wanted: None, steps, stages: vec![stage] }
        })]
        .into(),
        packages: vec![package.clone()],
    };
    lock.save(folder.path()).unwrap();
    assert_eq!(Lock::load(folder.path()).unwrap().as_ref(), Some(&lock));
    assert_eq!(lock.steps("base/base"), [[[&package]]]);
    assert_eq!((lock.epoch_of("base/base"), lock.epoch_of("kernel")), (2, 1_789_000_000));
    assert_eq!((lock.stages_of("base/base"), lock.stages_of("kernel")), (&[stage][..], &[][..]));
    let manifest = overboot_digest::Digest::of("manifest");
    assert_eq!(lock.manifest(&"oci:vendor/tool".parse().unwrap()), Some(manifest));
    assert_eq!(lock.manifest(&"oci:vendor/other".parse().unwrap()), None);

    let path = folder.path().join(Lock::FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"dash=0.5.12-12\"", "\"dash=1\"")).unwrap();
    let said = Lock::load(folder.path()).unwrap_err().to_string();
    assert!(said.contains("image base/base names dash=1") && said.contains("--update"), "{said}");
    for batches in ["0", "2"] {
        let stage = format!("batches = {batches}\n");
        std::fs::write(&path, text.replace("batches = 1\n", &stage)).unwrap();
        let said = Lock::load(folder.path()).unwrap_err().to_string();
        let why = format!("stages of image base/base end after batches [{batches}] of 1");
        assert!(said.contains(&why), "{said}");
    }
}

//! For every kind of input: when it changes, the plan names it, for those steps that read it and no others.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

const RECIPE: &str = r#"
[project]
name = "x"
trust = ["@KEY@"]

[archive]
suite = "trixie"
mirror = "http://m/debian"

[archive.extra.tools]
mirror = "http://t/deb"
suites = ["stable"]
keyring = "tools.gpg"

[[archive.pin]]
packages = ["hammer"]
version = "1*"
priority = 990

[kernel]
package = "linux-image-amd64"
cmdline = "quiet"

[vars]
level = "one"

[slot.tool]
file = "vendor/tool"
from = "its vendor"

[initrd.default]
modules = ["loop"]

[modules.default]
include = ["nvme"]

[base.base]
path-exclude = ["/usr/share/doc/*"]
[[base.base.provision]]
packages = ["greeter"]
[[base.base.provision]]
files = "provision"
[[base.base.provision]]
users = [{ name = "one", system = true }]

[overlay.tools]
base = "base"
[[overlay.tools.provision]]
packages = ["hammer"]
[[overlay.tools.provision]]
script = "x.sh"
env = { LEVEL = "${level}" }
[[overlay.tools.provision]]
host-script = "host.sh"
[[overlay.tools.provision]]
systemd = { mask = ["a.service"] }
[[overlay.tools.provision]]
modules = ["ipmi_si"]
[[overlay.tools.provision]]
container = "registry.example.com/tool:1"
[[overlay.tools.provision]]
slots = { tool = "/opt/tool" }

[overlay.play]
base = "base"
[[overlay.play.provision]]
ansible = { role = "role", extra-vars = { level = 1 } }

[set.both]
base = "base"
overlays = ["tools", "play"]
"#;

const KEYS: [&str; 2] = [
    "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3",
    "RWRvdmVyYm9vdHmlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3",
];

/// What a plan is made from.
struct All {
    recipe: String,
    lock: String,
    given: Given,
}

impl All {
    fn new() -> Self {
        let image = |target: &str, package: &str| {
            format!("[image.\"{target}\"]\nsteps = [[[\"{package}=1\"]]]\n")
        };
        let packages = ["greeter", "hammer", "linux-image", "ipxe", "python3"];
        let targets = ["base/base", "overlay/tools", "kernel", "ipxe", "python"];
        let images: String = targets.iter().zip(packages).map(|(t, p)| image(t, p)).collect();
        let packages: String = packages
            .iter()
            .map(|name| {
                format!(
                    "[[package]]\nname = \"{name}\"\nversion = \"1\"\narchitecture = \"amd64\"\n\
                     suite = \"trixie\"\npath = \"{name}\"\nsize = 1\nsha256 = \"{}\"\n",
                    Digest::of(name)
                )
            })
            .collect();
        let lock = format!(
            "version = 1\nwanted = \"{}\"\nepoch = 1\n[[archive]]\nsuite = \"trixie\"\nrelease = \"n=trixie\"\n\
             date = 1\nlists = []\n{images}[image.\"overlay/play\"]\nsteps = []\n[[container]]\n\
             image = \"registry.example.com/tool:1\"\nmanifest = \"{}\"\n{packages}",
            Digest::of("wanted"),
            Digest::of("manifest"),
        );
        let paths = ["tools.gpg", "provision", "x.sh", "host.sh", "role", "vendor/tool"];
        let sources = paths.map(|path| (path.to_owned(), Digest::of(path))).into();
        let given = Given {
            node: Some(Digest::of("node")),
            signer: Some("key".to_owned()),
            ansible: Some("core 2.19".to_owned()),
            sources,
            ..Given::default()
        };
        Self { recipe: RECIPE.replace("@KEY@", KEYS[0]), lock, given }
    }

    fn plan(&self, folder: &Path) -> Plan {
        let recipe = Recipe::parse(&self.recipe, &folder.join("overboot.toml")).unwrap();
        let lock = Lock::parse(&self.lock, Path::new("overboot.lock")).unwrap();
        plan(&recipe, &lock, &self.given, &[]).unwrap()
    }

    fn recipe(&mut self, from: &str, to: &str) {
        assert!(self.recipe.contains(from), "{from}");
        self.recipe = self.recipe.replace(from, to);
    }

    /// Another file of that package, as the same version.
    fn package(&mut self, name: &str) {
        let (from, to) = (Digest::of(name).to_string(), Digest::of("other").to_string());
        assert!(self.lock.contains(&from));
        self.lock = self.lock.replace(&from, &to);
    }

    fn source(&mut self, path: &str) {
        assert!(self.given.sources.contains_key(path));
        self.given.sources.insert(path.to_owned(), Digest::of("changed"));
    }
}

type Case = (&'static str, fn(&mut All), &'static [&'static str]);

/// What changes, and which steps then run because of what. Boot sets run because of their parts.
const CASES: &[Case] = &[
    ("nothing", |_| {}, &[]),
    (
        "a package of the base",
        |all| all.package("greeter"),
        &[
            "base/base: package greeter changed",
            "overlay/play: base/base changed",
            "overlay/tools: base/base changed",
        ],
    ),
    (
        "a package of an overlay",
        |all| all.package("hammer"),
        &["overlay/tools: package hammer changed"],
    ),
    (
        "the kernel",
        |all| all.package("linux-image"),
        &[
            "initrd/default: package linux-image changed",
            "kernel: package linux-image changed",
            "modules/default: package linux-image changed",
            "overlay/tools: step 5 modules of linux-image changed",
        ],
    ),
    ("the loaders", |all| all.package("ipxe"), &["ipxe: package ipxe changed"]),
    ("the python of ansible", |all| all.package("python3"), &["overlay/play: python changed"]),
    (
        "a version",
        |all| {
            all.lock = all
                .lock
                .replace("hammer=1", "hammer=2")
                .replace("name = \"hammer\"\nversion = \"1\"", "name = \"hammer\"\nversion = \"2\"")
        },
        &["overlay/tools: package hammer changed: 1 "],
    ),
    (
        "the order of packages",
        |all| {
            all.lock =
                all.lock.replace("steps = [[[\"hammer=1\"]]]", "steps = [[[\"hammer=1\"], []]]")
        },
        &["overlay/tools: package order changed"],
    ),
    (
        "the time of all images",
        |all| all.lock = all.lock.replace("epoch = 1", "epoch = 2"),
        &[
            "base/base: epoch changed: 1 -> 2",
            "initrd/default: epoch changed",
            "ipxe: epoch changed",
            "kernel: epoch changed",
            "modules/default: epoch changed",
            "overlay/play: base/base changed",
            "overlay/tools: base/base changed",
        ],
    ),
    (
        "the time of one image",
        |all| {
            all.lock = all
                .lock
                .replace("[image.\"overlay/tools\"]\n", "[image.\"overlay/tools\"]\nepoch = 2\n")
        },
        &["overlay/tools: epoch changed: 1 -> 2"],
    ),
    (
        "a file of the project",
        |all| all.source("provision"),
        &[
            "base/base: step 2 files provision changed",
            "overlay/play: base/base changed",
            "overlay/tools: base/base changed",
        ],
    ),
    ("a script", |all| all.source("x.sh"), &["overlay/tools: step 2 script x.sh changed"]),
    (
        "a variable",
        |all| all.recipe("level = \"one\"", "level = \"two\""),
        &["overlay/tools: step 2 script with LEVEL changed: one -> two"],
    ),
    (
        "the network",
        |all| {
            all.recipe(
                "[[overlay.tools.provision]]\nhost-script",
                "network = true\n[[overlay.tools.provision]]\nhost-script",
            )
        },
        &["overlay/tools: step 2 script x.sh network is new"],
    ),
    (
        "a script outside",
        |all| all.source("host.sh"),
        &["overlay/tools: step 3 host-script host.sh changed"],
    ),
    (
        "users",
        |all| all.recipe("system = true", "system = false"),
        &[
            "base/base: step 3 users changed",
            "overlay/play: base/base changed",
            "overlay/tools: base/base changed",
        ],
    ),
    (
        "units",
        |all| all.recipe("a.service", "b.service"),
        &["overlay/tools: step 4 systemd changed"],
    ),
    (
        "modules of an overlay",
        |all| all.recipe("ipmi_si", "ipmi_devintf"),
        &["overlay/tools: step 5 modules changed: -ipmi_si, +ipmi_devintf"],
    ),
    (
        "a container image",
        |all| {
            all.lock = all
                .lock
                .replace(&Digest::of("manifest").to_string(), &Digest::of("other").to_string())
        },
        &["overlay/tools: step 6 container registry.example.com/tool:1 changed"],
    ),
    (
        "what is in a slot",
        |all| all.source("vendor/tool"),
        &["overlay/tools: step 7 slot tool at /opt/tool changed"],
    ),
    ("a role", |all| all.source("role"), &["overlay/play: step 1 ansible role reads role changed"]),
    (
        "variables of a role",
        |all| all.recipe("level = 1 ", "level = 2 "),
        &["overlay/play: step 1 ansible role changed"],
    ),
    (
        "Ansible",
        |all| all.given.ansible = Some("core 3".to_owned()),
        &["overlay/play: ansible changed: core 2.19 -> core 3"],
    ),
    (
        "compression",
        |all| all.recipe("[base.base]\n", "[base.base]\ncompression = \"xz\"\n"),
        &["base/base: compression changed: zstd -> xz"],
    ),
    (
        "compression of an overlay",
        |all| all.recipe("[overlay.play]\n", "[overlay.play]\ncompression = \"xz\"\n"),
        &["overlay/play: compression changed: zstd -> xz"],
    ),
    (
        "the variant",
        |all| all.recipe("[base.base]\n", "[base.base]\nvariant = \"standard\"\n"),
        &[
            "base/base: variant changed: minbase -> standard",
            "overlay/play: base/base changed",
            "overlay/tools: base/base changed",
        ],
    ),
    (
        "path filters",
        |all| all.recipe("doc/*", "man/*"),
        &[
            "base/base: path filters changed",
            "overlay/play: base/base changed",
            "overlay/tools: base/base changed",
        ],
    ),
    (
        "patterns of the initrd",
        |all| all.recipe("\"loop\"", "\"loop\", \"e1000\""),
        &["initrd/default: patterns changed: +e1000"],
    ),
    (
        "patterns of modules",
        |all| all.recipe("\"nvme\"", "\"xfs\""),
        &["modules/default: patterns changed: -nvme, +xfs"],
    ),
    (
        "the node program",
        |all| all.given.node = Some(Digest::of("newer")),
        &["initrd/default: node program changed"],
    ),
    ("trusted keys", |all| all.recipe(KEYS[0], KEYS[1]), &["initrd/default: trusted keys changed"]),
    (
        "a mirror",
        |all| all.recipe("http://m/", "http://n/"),
        &[
            "base/base: apt sources changed",
            "overlay/play: base/base changed",
            "overlay/tools: base/base changed",
        ],
    ),
    (
        "keys of an archive",
        |all| all.source("tools.gpg"),
        &[
            "base/base: archive keys tools.gpg changed",
            "overlay/play: base/base changed",
            "overlay/tools: base/base changed",
        ],
    ),
    (
        "a pin",
        |all| all.recipe("priority = 990", "priority = 991"),
        &[
            "base/base: apt preferences changed",
            "overlay/play: base/base changed",
            "overlay/tools: base/base changed",
        ],
    ),
    (
        "the maker",
        |all| {
            all.given.have.values_mut().for_each(|record| {
                record.inputs.insert("maker".to_owned(), "an older one".to_owned());
                record.key = Digest::of("older");
            })
        },
        &[
            "base/base: maker changed: an older one",
            "initrd/default: maker",
            "ipxe: maker",
            "kernel: maker",
            "modules/default: maker",
            "overlay/play: maker",
            "overlay/tools: maker",
        ],
    ),
    (
        "an image that was lost",
        |all| drop(all.given.have.remove(&Target::Kernel)),
        &["kernel: not built yet"],
    ),
];

/// The same, of boot sets alone.
const OF_SETS: &[Case] = &[
    (
        "the command line",
        |all| all.recipe("quiet", "debug"),
        &["set/both: command line changed: quiet -> debug"],
    ),
    (
        "whoever signs",
        |all| all.given.signer = Some("other".to_owned()),
        &["set/both: signer changed: key -> other"],
    ),
    (
        "the order of overlays",
        |all| all.recipe("[\"tools\", \"play\"]", "[\"play\", \"tools\"]"),
        &["set/both: overlays changed: another order"],
    ),
    (
        "the initrd",
        |all| all.given.node = Some(Digest::of("newer")),
        &["set/both: initrd/default changed"],
    ),
    ("an overlay", |all| all.package("hammer"), &["set/both: overlay/tools changed"]),
];

#[test]
fn a_plan_names_the_input_that_makes_a_step_run() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["tools.gpg", "x.sh", "host.sh"] {
        let path = folder.path().join(file);
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for path in ["provision", "role/tasks"] {
        fs::create_dir_all(folder.path().join(path)).unwrap();
    }
    fs::write(folder.path().join("role/tasks/main.yml"), "").unwrap();
    let mut built = All::new();
    for step in built.plan(folder.path()).steps {
        let record = Record {
            target: step.target.to_string(),
            key: step.key,
            inputs: step.inputs().clone(),
            packages: Vec::new(),
            entries: 0,
            unpacked: 0,
            beneath: None,
            facts: BTreeMap::new(),
        };
        built.given.have.insert(step.target, record);
    }
    let cases = CASES.iter().map(|case| (false, case));
    for (of_sets, (name, change, wanted)) in cases.chain(OF_SETS.iter().map(|case| (true, case))) {
        let mut all = All {
            recipe: built.recipe.clone(),
            lock: built.lock.clone(),
            given: built.given.clone(),
        };
        change(&mut all);
        let plan = all.plan(folder.path());
        let counts = |step: &&Step| match &step.target {
            Target::Set(name) => of_sets && name == "both",
            _ => !of_sets,
        };
        let running = plan.steps.iter().filter(|step| step.runs()).filter(counts);
        let mut found: Vec<String> =
            running.map(|step| format!("{}: {}", step.target, step.why.join("; "))).collect();
        found.sort();
        let fits = found.len() == wanted.len()
            && found.iter().zip(*wanted).all(|(found, wanted)| found.starts_with(wanted));
        assert!(fits, "{name}:\n{}\nwanted:\n{}", found.join("\n"), wanted.join("\n"));
    }
}

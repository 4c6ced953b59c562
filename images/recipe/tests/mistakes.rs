//! Every mistake that a recipe can hold is told with its place, what is wrong, and what to write.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use overboot_recipe::{Diagnostic, Error, Recipe};

/// A mistake: what the recipe says after [`HEAD`], with `«` before what is wrong; words of the message; words of the remedy.
type Row = (&'static str, &'static str, &'static str);

/// What comes before it, unless that has a `[project]` of its own.
const HEAD: &str = "[project]\nname = \"x\"\n[archive]\nsuite = \"trixie\"\n";

/// Files that are there.
const FILES: [&str; 6] = [
    "keys/some.asc",
    "x.sh",
    "tree/etc/motd",
    "site.yml",
    "roles/raid/tasks/main.yml",
    "roles/empty/tasks/other.yml",
];

/// What is no recipe at all.
const FORM: &[Row] = &[
    ("components = [\"main\"\n«[base.base]", "missing comma", "write `,`"),
    ("mirror = «http://m/debian", "a text stands in quotes", "write \"http://m/debian\""),
    ("mirror = 'http://m/debian«", "invalid literal string", "write `'`"),
    ("mirror = \"\\«d\"", "a backslash begins a character", "write \\\\ for a backslash"),
    ("«suite = \"sid\"", "suite is there already", "write it once"),
    ("[base.base]\n[base.«base]", "is there already", "[[…]]"),
    ("updates = «yes", "this is no value", "write true or false"),
    ("architecture = «amd64", "a text stands in quotes", "write \"amd64\""),
    (
        "[base.b]\n[[base.b.provision]]\nscript = \"x.sh\"\ntimeout = «60s",
        "this is no value",
        "write a number",
    ),
    (
        "[base.b]\n[[base.b.provision]]\nansible = { playbook = \"site.yml\", extra-vars = { x = «yes } }",
        "a text stands in quotes",
        "write \"yes\", or true or false, without quotes, or a number",
    ),
    ("updates = «\"yes\"", "here is a text, and true or false is wanted", "write true or false"),
    ("mirror = «3", "here is a number, and a text is wanted", "write \"3\""),
    ("components = «\"main\"", "here is a text, and a list is wanted", "write [\"main\"]"),
    ("components = [«3]", "here is a number, and a text is wanted", "write \"3\""),
    ("«miror = \"http://m\"", "there is no key `miror`", "write `mirror`"),
    ("«frobnicate = 1", "there is no key `frobnicate`", "the keys of this table are: suite, "),
    ("[«bases.x]", "there is no key `bases`", "write `base`"),
    ("«[project]\n[archive]\nsuite = \"trixie\"", "`name` is missing", "write name = \"…\""),
    ("[project]\nname = \"x\"\n«[archive]\n", "`suite` is missing", "write suite = \"trixie\""),
    ("«[project]\nname = \"x\"\n", "`archive` is missing", "write [archive]"),
    ("«[slot.x]\nfile = \"x\"", "`from` is missing", "where to get it"),
    ("«[initrd.x]", "`modules` is missing", "write modules = ["),
    ("[base.b]\n«[base.b.provision]\nscript = \"x.sh\"", "a list of tables is wanted", "[[…]]"),
    ("«[[base.b]]", "here is a list, and one table is wanted", "one bracket"),
    (
        "base = «3\n[project]\nname = \"x\"\n[archive]\nsuite = \"sid\"",
        "here is a number, and a table is wanted",
        "write { key = … }",
    ),
    ("[vars]\nx = «3", "here is a number", "write a string, or a table of them by architecture"),
    ("[vars]\nx = { amd64 = «3 }", "here is a number, and a text is wanted", "write \"3\""),
];

/// Project, archives, kernel, slots, variables.
const ARCHIVES: &[Row] = &[
    (
        "[project]\nname = «\"X y\"\n[archive]\nsuite = \"trixie\"",
        "the name of a project",
        "lower-case",
    ),
    (
        "[project]\nname = \"x\"\ntrust = [«\"RW\"]\n[archive]\nsuite = \"trixie\"",
        "is not a minisign public key",
        "second line of the .pub file",
    ),
    ("[project]\nname = \"x\"\n[archive]\nsuite = «\"a b\"", "the name of a suite", "lower-case"),
    ("architecture = «\"amd46\"", "architecture cannot be \"amd46\"", "write \"amd64\""),
    ("architecture = «\"riscv64\"", "architecture cannot be", "write one of: amd64, arm64"),
    ("mirror = «'ftp://m/debian'", "is not an http:// or https:// URL", "http://host/path"),
    ("proxy = «'https://cache:3142'", "spoken to by https:// cannot", "http://host:3142"),
    ("proxy = «'http://me:it@cache:3142'", "the proxy holds a login", "http://host/path"),
    ("mirror = «'http://me:it@m/debian'", "the mirror holds a login", "http://host/path"),
    ("mirror = «'http:///debian'", "is not an http:// or https:// URL", "http://host/path"),
    ("mirror = «'http://:80/debian'", "is not an http:// or https:// URL", "http://host/path"),
    (
        "mirror = «'http://${login}@m/debian'\n[vars]\nlogin = \"me:it\"",
        "the mirror holds a login",
        "http://host/path",
    ),
    ("mirror = «\"http://m/\\u0000\"", "no text can hold the character NUL", "leave \\u0000 out"),
    ("components = «[]", "`components` names nothing", "leave it out"),
    ("components = [\"main\", «\"main\"]", "\"main\" is named twice", "leave one of them out"),
    ("proxy = «\"cache:3142\"", "proxy \"cache:3142\" is not", "http://host/path"),
    ("components = [\"main\", «\"non free\"]", "the name of a component", "lower-case"),
    ("keyring = «'keys/none.asc'", "there is no file \"keys/none.asc\"", "make "),
    ("keyring = «\"/etc/keys.asc\"", "leads out of the project", "write a path below"),
    ("extra-suites = [«\"trixie\"]", "is taken already", "leave it out here"),
    ("[kernel]\npackage = «\"Linux\"", "is not the name of a package", "write \"name\""),
    ("[kernel]\ncmdline = «\"a\\nb\"", "kernel's command line", "printable ASCII"),
    ("[slot.«Tool]\nfile = \"x\"\nfrom = \"x\"", "the name of a slot", "lower-case"),
    ("[slot.x]\nfile = «\"../x\"\nfrom = \"x\"", "leads out of the project", "write a path below"),
    (
        "[slot.x]\nfile = \"x\"\nsha256 = «\"12\"\nfrom = \"x\"",
        "is not a SHA-256",
        "64 hexadecimal",
    ),
    ("[vars]\n«\"a b\" = \"x\"", "cannot be the name of a variable", "write letters"),
    ("[vars]\n«arch = \"x\"", "cannot be the name of a variable", "taken"),
    ("[vars]\nx = { «amd46 = \"x\" }", "architecture cannot be \"amd46\"", "write \"amd64\""),
    ("[vars]\nx = «\"http://m/${arch}\"", "takes in no variable", "write the text itself"),
    ("[vars]\nx = { amd64 = \"a\", arm64 = «\"${y}\" }", "takes in no variable", "the text itself"),
    ("mirror = «\"http://m/$x\"", "a dollar sign begins a variable", "write ${name}, or $$"),
    ("mirror = «\"http://m/${arhc}\"", "there is no variable \"arhc\"", "write ${arch}"),
    ("mirror = «\"http://m/${where}\"", "there is no variable \"where\"", "set it in [vars]"),
    // Not the first one in the file, nor one in a comment.
    (
        "# \"ftp://m\"\nmirror = \"http://m\" # ftp://m\nproxy = «'ftp://m'",
        "proxy \"ftp://m\"",
        "http://",
    ),
    (
        "[archive.extra.«trixie-updates]\nmirror = \"http://m\"\nsuites = [\"a\"]\nkeyring = \"keys/some.asc\"",
        "is a suite of the main archive, too",
        "give the archive another name",
    ),
    (
        "[archive.extra.«x]\nsuites = [\"a\"]\nkeyring = \"keys/some.asc\"",
        "has no `mirror`",
        "write mirror = ",
    ),
    (
        "[archive.extra.«x]\nmirror = \"http://m\"\nsuites = []\nkeyring = \"keys/some.asc\"",
        "has no `suites`",
        "write suites = ",
    ),
    ("[archive.extra.«x]\nmirror = \"http://m\"\nsuites = [\"a\"]", "has no `keyring`", "x.asc"),
    (
        "mirror = \"http://m\"\n[archive.extra.«x]\nmirror = \"http://m\"\nsuites = [\"trixie\"]\nkeyring = \"keys/some.asc\"",
        "is where the main archive is",
        "write each suite once",
    ),
    (
        "[archive.extra.x]\nmirror = \"http://m\"\nsuites = [\"./\"]\ncomponents = [«\"a\"]\nkeyring = \"keys/some.asc\"",
        "has no components",
        "leave `components` out",
    ),
    (
        "[archive.extra.x]\nmirror = \"http://m\"\nsuites = [«\"../a\"]\nkeyring = \"keys/some.asc\"",
        "is not the name of a suite",
        "apt's sources",
    ),
    (
        "[archive.extra.x]\nmirror = \"http://m\"\nsuites = [\"./\", «\"a\"]\nkeyring = \"keys/some.asc\"",
        "is in `dists/`",
        "write two archives",
    ),
    (
        "[archive.extra.x]\nmirror = \"http://m\"\nsuites = [\"a\"]\ncomponents = [«\"b c\"]\nkeyring = \"keys/some.asc\"",
        "is not the name of a component",
        "apt's sources",
    ),
    (
        "[archive.extra.x]\nmirror = \"http://m\"\nsuites = [\"a\"]\nkeyring = \"keys/some.asc\"\narchitectures = [«\"i386\"]",
        "architecture cannot be \"i386\"",
        "write one of",
    ),
    (
        "[archive.extra.x]\nmirror = \"http://m\"\nsuites = [\"a\"]\nkeyring = \"keys/some.asc\"\narchitectures = «[]",
        "`architectures` names nothing",
        "leave it out",
    ),
    (
        "[archive.extra.x]\nmirror = «\"http://me@m\"\nsuites = [\"a\"]\nkeyring = \"keys/some.asc\"",
        "the mirror holds a login",
        "http://host/path",
    ),
    (
        "[archive.extra.x]\nmirror = \"http://m\"\nsuites = [\"a\"]\nkeyring = \"keys/some.asc\"\ncomponents = «[]",
        "`components` names nothing",
        "leave it out",
    ),
    (
        "[archive.extra.x]\nmirror = \"http://m\"\nsuites = [\"a\", «\"a\"]\nkeyring = \"keys/some.asc\"",
        "\"a\" is named twice",
        "leave one of them out",
    ),
    (
        "[archive.extra.x]\nmirror = \"http://m\"\nsuites = [\"a\"]\ncomponents = [\"b\", «\"b\"]\nkeyring = \"keys/some.asc\"",
        "\"b\" is named twice",
        "leave one of them out",
    ),
    ("«[[archive.pin]]\npriority = 1", "has no `packages`", "write packages = "),
    (
        "[[archive.pin]]\npackages = [«\"A\"]\npriority = 1",
        "is not the name of a package",
        "with *",
    ),
    ("[[archive.pin]]\npackages = [\"a\", «\"*\"]\npriority = 1", "is all packages", "leave out"),
    ("«[[archive.pin]]\npackages = [\"a\"]", "has no `priority`", "write priority = 990"),
    ("[[archive.pin]]\npackages = [\"a\"]\npriority = «0", "is no priority", "from 1 to 32767"),
    (
        "[[archive.pin]]\npackages = [\"a\"]\nfrom = «\"sid\"\npriority = 1",
        "no packages are taken from \"sid\"",
        "write one of: trixie",
    ),
    (
        "[[archive.pin]]\npackages = [\"a\"]\nversion = «\"v1\"\npriority = 1",
        "\"v1\" is not a version",
        "\"6.12.*\"",
    ),
    (
        "[[archive.pin]]\npackages = [\"*\"]\nversion = «\"1\"\npriority = 1",
        "no version is one of all packages",
        "name the packages",
    ),
    (
        "[[archive.pin]]\npackages = [\"a\"]\nfrom = \"trixie\"\nversion = «\"1\"\npriority = 1",
        "about an archive or about a version",
        "leave out",
    ),
];

/// Images, and boot sets of them.
const IMAGES: &[Row] = &[
    ("[base.«B]", "the name of a base", "lower-case"),
    ("[base.a]\nextends = «\"a\"", "extends itself", "leave `extends` out"),
    ("[base.base]\n[base.a]\nextends = «\"bse\"", "there is no base \"bse\"", "write \"base\""),
    ("[base.a]\nvariant = «\"mini\"", "variant cannot be \"mini\"", "write one of: minbase"),
    ("[base.a]\ncompression = «\"zst\"", "compression cannot be \"zst\"", "write \"zstd\""),
    ("[base.a]\npath-exclude = [«\"usr/*\"]", "can match no path", "write it from the root"),
    (
        "[base.a]\nvariant = «\"none\"\n[[base.a.provision]]\npackages = [\"vim\"]",
        "nothing that could install packages",
        "begin with a step that brings a system",
    ),
    ("[base.a]\n[overlay.«a]\nbase = \"a\"", "has the name of a base", "a name of its own"),
    ("[overlay.«o]", "names no base", "write base = "),
    ("[base.full]\n[overlay.o]\nbase = «\"ful\"", "there is no base \"ful\"", "write \"full\""),
    (
        "# base = \"gone\"\n[base.b]\n[overlay.o]\nbase = «'gone'",
        "there is no base \"gone\"",
        "name one of: b",
    ),
    (
        "[initrd.«a]\nmodules = []\n[initrd.b]\nmodules = []",
        "none of them is the default",
        "[initrd.default]",
    ),
    ("[modules.a]\ninclude = [«\"/lib\"]", "names no module", "write a module's name"),
    ("[modules.a]\ninclude = [«\"net*\"]", "names no module", "write a module's name"),
    ("[initrd.a]\nmodules = [«\"!loop\", \"!x\"]", "could take away from", "without \"!\""),
    (
        "[modules.a]\ninclude = []\n[modules.default]\nextends = \"a\"\ninclude = [«\"!loop\"]",
        "could take away from",
        "without \"!\"",
    ),
    (
        "[initrd.a]\nmodules = [\"loop\", «\"kernel/../x\"]",
        "names no module",
        "write a module's name",
    ),
    (
        "[firmware.«a]\nmodules = [\"bnx2\"]",
        "names no packages, or no modules",
        "write packages = ",
    ),
    (
        "[firmware.a]\npackages = [«\"a b\"]\nmodules = [\"bnx2\"]",
        "is not the name of a package",
        "write \"name\"",
    ),
    (
        "[firmware.«a]\npackages = [\"vim\"]\nmodules = [\"bnx2\"]\n[firmware.b]\nextends = \"a\"",
        "none of them is the default",
        "[firmware.default]",
    ),
    (
        "[base.b]\n[set.«b]\nbase = \"b\"",
        "has the name of a base or an overlay",
        "a name of its own",
    ),
    (
        "[base.b]\n[set.s]\noverlays = [«\"o\"]\nbase = \"b\"",
        "there is no overlay \"o\"",
        "[overlay.o]",
    ),
    ("[set.«s]", "has neither base nor overlays", "write overlays = "),
    (
        "[base.b]\n[base.c]\n[overlay.o]\nbase = \"b\"\n[set.s]\nbase = \"c\"\noverlays = [«\"o\"]",
        "overlay \"o\" stands on \"b\"",
        "here \"c\"",
    ),
    (
        "[base.b]\n[overlay.o]\nbase = \"b\"\n[set.s]\noverlays = [\"o\", «\"o\"]",
        "overlay \"o\" is named twice",
        "leave one of them out",
    ),
    // Inherited, it is where it was written, and told once.
    (
        "[base.b]\n[[base.b.provision]]\npackages = [«\"UDEV\"]\n[base.c]\nextends = \"b\"",
        "\"UDEV\" is not the name of a package",
        "write \"name\"",
    ),
    // By a variable, it is where that is used; where it is set is said.
    (
        "[vars]\nsome = \"UDEV\"\n[base.b]\n[[base.b.provision]]\npackages = [\"udev\", «'${some}']",
        "(the variable is set at 6:8) \"UDEV\" is not the name of a package",
        "write \"name\"",
    ),
    (
        "[vars]\nsome = \"udev\"\n[base.b]\n[[base.b.provision]]\npackages = [«\"${some}\"]\n[base.c]\nextends = \"b\"\nvars = { some = { amd64 = \"A B\" } }",
        "(the variable is set at 12:27) \"A B\" is not the name of a package",
        "write \"name\"",
    ),
];

/// Steps of a base; `[base.b]` and the header are before them.
const STEPS: &[Row] = &[
    (
        "architectures = [«\"x86\"]\nscript = \"x.sh\"",
        "architecture cannot be \"x86\"",
        "write one of",
    ),
    ("architectures = «[]\nscript = \"x.sh\"", "`architectures` names nothing", "leave it out"),
    ("packages = «[]", "`packages` names nothing", "leave it out"),
    ("debs = «[]", "`debs` names nothing", "leave it out"),
    ("slots = «{}", "`slots` names nothing", "leave it out"),
    ("users = «[]", "`users` names nothing", "leave it out"),
    ("modules = «[]", "`modules` names nothing", "leave it out"),
    ("modules = [«\"!loop\"]", "could take away from", "without \"!\""),
    ("packages = [«\"a b\"]", "is not the name of a package", "write \"name\""),
    ("packages = [\"vim\"]\nexclude = [«\"N\"]", "is not the name of a package", "write \"name\""),
    ("debs = [{ file = «\"none.deb\" }]", "there is no file \"none.deb\"", "make "),
    (
        "debs = [«{ file = \"x.sh\", slot = \"x\" }]",
        "in the project, elsewhere, or in a slot",
        "{ file = ",
    ),
    (
        "debs = [{ url = «\"ftp://x\", sha256 = \"@SHA@\" }]",
        "the package file \"ftp://x\" is not",
        "http://",
    ),
    (
        "debs = [{ url = «\"https://me:it@x/y.deb\", sha256 = \"@SHA@\" }]",
        "the package file holds a login",
        "http://host/path",
    ),
    ("debs = [{ url = «\"http://x/y.deb\" }]", "needs its digest", "write sha256 = "),
    ("debs = [{ url = \"http://x/y.deb\", sha256 = «\"1\" }]", "is not a SHA-256", "sha256sum"),
    ("debs = [{ slot = «\"tool\" }]", "there is no slot \"tool\"", "write [slot.tool]"),
    ("slots = { «tool = \"/opt/tool\" }", "there is no slot \"tool\"", "write [slot.tool]"),
    (
        "slots = { a = \"/opt/x\", b = «\"/opt//x\" }\n[slot.a]\nfile = \"a\"\nfrom = \"a\"\n[slot.b]\nfile = \"b\"\nfrom = \"b\"",
        "the slot \"a\" goes to the same path",
        "a path of its own",
    ),
    (
        "slots = { a = «\"/opt/\\u0000\" }\n[slot.a]\nfile = \"a\"\nfrom = \"a\"",
        "no text can hold the character NUL",
        "leave \\u0000 out",
    ),
    ("files = «\"trees\"", "there is no folder \"trees\"", "make "),
    ("script = «'y.sh' # not \"y.sh\"", "there is no file \"y.sh\"", "make "),
    (
        "script = \"x.sh\"\nenv = { «1x = \"\" }",
        "cannot be the name of a variable",
        "no digit first",
    ),
    ("host-script = «'x.sh'", "\"x.sh\" may not be executed", "chmod +x "),
    ("script = \"x.sh\"\nenv = { A = «\"a\\u0000b\" }", "the character NUL", "leave \\u0000 out"),
    ("modules = [\"loop\"]\nto = «\"/o\\u0000\"", "the character NUL", "leave \\u0000 out"),
    ("container = «\"debian\"", "is no container image", "registry.example.com"),
    ("container = «\"oci:none:x\"", "there is no folder \"none\"", "make "),
    ("modules = [\"loop\"]\nto = «\"opt\"", "is not a path in the image", "\"/opt/drivers\""),
    ("users = [{ name = «\"1st\" }]", "the name of a user", "a letter or '_' first"),
    ("users = [{ name = \"a\", uid = «0 }]", "is not a number for a user", "from 1 to 65533"),
    ("users = [{ name = \"a\", uid = «-1 }]", "is not a number for a user", "from 1 to 65533"),
    ("users = [{ name = \"a\", uid = «65534 }]", "is not a number for a user", "from 1 to 65533"),
    ("users = [{ name = \"a\", shell = «\"sh\" }]", "is not a login shell", "full path"),
    (
        "users = [{ name = \"a\" }]\n[[base.b.provision]]\nusers = [{ name = «\"a\" }]",
        "has a user \"a\" already",
        "another name",
    ),
    (
        "users = [{ name = \"a\", uid = 150 }, { name = \"b\", uid = «150 }]",
        "150 is the number of the user \"a\"",
        "write another one",
    ),
    (
        "users = [{ name = \"a\", system = true, uid = «1000 }]",
        "is not a number for a system user",
        "below 1000",
    ),
    (
        "users = [{ name = \"a\", groups = [«\"a:b\"] }]",
        "the name of a group",
        "a letter or '_' first",
    ),
    (
        "users = [{ name = \"a\", sudo = «\"yes\" }]",
        "sudo cannot be \"yes\"",
        "write one of: nopasswd",
    ),
    ("systemd = { enable = [«\"ssh\"] }", "is not the name of a unit", "\"ssh.service\""),
    ("systemd = { default = «\"rescue\" }", "is not the name of a unit", "\"ssh.service\""),
    ("ansible = { role = «\"roles/none\" }", "there is no folder \"roles/none\"", "make "),
    (
        "ansible = { role = «\"roles/raid/tasks/main.yml\" }",
        "is a file of a role",
        "write \"roles/raid\"",
    ),
    ("ansible = { role = «\"roles/empty\" }", "is no role", "make "),
    ("ansible = { playbook = «\"none.yml\" }", "there is no file \"none.yml\"", "make "),
    ("ansible = { playbook = \"site.yml\", reads = [«\"none\"] }", "there is no \"none\"", "make "),
    (
        "ansible = { playbook = \"site.yml\", extra-vars = { «a-b = 1 } }",
        "cannot be the name of a variable",
        "no digit first",
    ),
    (
        "ansible = { playbook = \"site.yml\", extra-vars = { x = «[1.5, nan] } }",
        "NaN is no value of a variable",
        "write a number",
    ),
    ("files = \"tree\"\nexclude = [«\"vim\"]", "nothing can be excluded", "with `packages`"),
    ("files = \"tree\"\nenv = { «A = \"\" }", "has an environment", "with `script`"),
    ("files = \"tree\"\nto = «\"/opt\"", "copies nothing to a folder", "with `modules`"),
    ("files = \"tree\"\nnetwork = «true", "no use for the network", "with `script`"),
];

/// What concerns a whole step is told at its header.
const WHOLE_STEPS: &[Row] = &[
    ("", "this one names 0", "write one of `packages`"),
    ("files = \"tree\"\nscript = \"x.sh\"", "this one names 2", "write one of `packages`"),
    ("ansible = {}", "runs one role or one playbook", "write ansible = { role = "),
];

/// What `overboot serve` does.
const SERVE: &[Row] = &[
    ("http = «\"9090\"", "\"9090\" is not an address", "\"address:port\""),
    ("interface = «\"eth 1\"", "is not the name of an interface", "`ip link`"),
    ("dhcp = «\"on\"", "dhcp cannot be \"on\"", "write one of: off, proxy, server"),
    ("dhcp = «\"server\"", "needs a range", "write range = "),
    ("dhcp = \"server\"\nrange = «\"10.0.0.1\"", "is not a range", "write range = "),
    ("range = «\"10.0.0.1-10.0.0.9/24\"", "nobody gives addresses", "dhcp = \"server\""),
    ("router = «\"10.0.0.1\"", "nobody tells machines of this router", "dhcp = \"server\""),
    ("dhcp = \"proxy\"\ndns = [«\"10.0.0.1\", \"10.0.0.2\"]", "nobody tells", "dhcp = \"server\""),
    (
        "dhcp = \"server\"\nrange = \"10.0.0.1-10.0.0.9/24\"\nrouter = «\"10.0.0\"",
        "\"10.0.0\" is not an address",
        "write four numbers",
    ),
    (
        "dhcp = \"server\"\nrange = \"10.0.0.1-10.0.0.9/24\"\ndns = [«\"::1\"]",
        "\"::1\" is not an address",
        "write four numbers",
    ),
    (
        "dhcp = \"server\"\nrange = \"10.0.0.1-10.0.0.9/24\"\nrouter = «\"10.0.1.1\"",
        "is not in the network of",
        "write the router's address there",
    ),
    ("advertise = «\"http://boot:80\"", "is not a host", "\"boot.example:9090\""),
];

/// Checks a recipe in a folder with [`FILES`].
fn mistakes(text: &str) -> Vec<Diagnostic> {
    let folder = tempfile::tempdir().unwrap();
    for file in FILES {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    match Recipe::parse(text, &folder.path().join(Recipe::FILE)) {
        Ok(_) => Vec::new(),
        Err(Error::Invalid(found)) => found,
        Err(other) => panic!("{other}"),
    }
}

/// The recipe with what the remedy quotes, in the place of what the mistake is about; none where it quotes nothing that could stand
/// there.
fn remedied(text: &str, mistake: &Diagnostic) -> Option<String> {
    let said = mistake.help.as_ref()?.strip_prefix("write ")?;
    let upto = |open: &str, close: &str| {
        let inner = said.strip_prefix(open)?;
        Some(&said[..open.len() + inner.find(close)? + close.len()])
    };
    let key = upto("`", "`").filter(|key| *key == said).map(|key| key.trim_matches('`'));
    let key = key.filter(|key| key.chars().all(|c| c.is_ascii_lowercase()));
    let truth = said.starts_with("true or").then_some("true");
    let remedy = upto("\"", "\"").or(upto("[\"", "\"]")).or(key).or(truth)?;
    if remedy.contains('…') {
        return None;
    }
    let (line, column) = mistake.position?;
    let width = mistake.snippet.as_ref()?.1;
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let characters: Vec<usize> = text[start..].char_indices().map(|(at, _)| start + at).collect();
    let (from, to) = (characters[column - 1], characters[column - 1 + width]);
    Some(format!("{}{remedy}{}", &text[..from], &text[to..]))
}

#[test]
fn a_boot_set_has_so_many_layers_and_no_more() {
    let names: Vec<String> = (1..64).map(|number| format!("o{number}")).collect();
    let overlay = |name: &String| format!("[overlay.{name}]\nbase = \"b\"\n");
    let overlays: String = names.iter().map(overlay).collect();
    let set = |names: &[String]| format!("{HEAD}[base.b]\n{overlays}[set.s]\noverlays = {names:?}");
    assert_eq!(mistakes(&set(&names[..62])), []);
    let text = set(&names);
    let found = mistakes(&text);
    let column = text.lines().last().unwrap().find("\"o63\"").unwrap() + 1;
    assert_eq!(found[0].position, Some((text.lines().count(), column)));
    assert!(found[0].help.as_ref().unwrap().contains("at most 62"), "{}", found[0]);
}

#[test]
fn what_is_no_text_is_pointed_at() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = [HEAD.as_bytes(), b"mirror = \"http://m\xff\""].concat();
    std::fs::write(folder.path().join(Recipe::FILE), bytes).unwrap();
    let said = Recipe::load(folder.path()).unwrap_err().to_string();
    assert!(said.contains("overboot.toml:5:19: this is not UTF-8"), "{said}");
}

#[test]
fn a_slot_that_nothing_is_taken_from_is_warned_of() {
    let slot =
        "[slot.tool]\nfile = \"x\"\nfrom = \"x\"\n[slot.other]\nfile = \"y\"\nfrom = \"y\"\n";
    let step = "[base.b]\n[[base.b.provision]]\nslots = { other = \"/opt/other\" }\n";
    let text = format!("{HEAD}{slot}{step}");
    let recipe = Recipe::parse(&text, std::path::Path::new("overboot.toml")).unwrap();
    let [warning] = &recipe.warnings[..] else { panic!("{:?}", recipe.warnings) };
    assert_eq!(warning.position, Some((5, 7)));
    assert_eq!(warning.message, "no step takes anything from the slot \"tool\"");
}

#[test]
fn every_mistake_is_told_with_its_place_and_its_remedy() {
    let digest = overboot_digest::Digest::of("x").hex();
    let with =
        |before: &'static str, rows: &'static [Row]| rows.iter().map(move |row| (before, row));
    let rows = with("", FORM)
        .chain(with("", ARCHIVES))
        .chain(with("", IMAGES))
        .chain(with("[base.b]\n[[base.b.provision]]\n", STEPS))
        .chain(with("[base.b]\n«[[base.b.provision]]\n", WHOLE_STEPS))
        .chain(with("[serve]\n", SERVE));
    let mut wrong = Vec::new();
    let mut tried = 0;
    for (before, (text, message, help)) in rows {
        let head = if text.contains("[project]") { "" } else { HEAD };
        let text = format!("{head}{before}{text}\n").replace("@SHA@", &digest);
        let at = text.find('«').unwrap_or_else(|| panic!("no place in {text}"));
        let line = text[..at].matches('\n').count() + 1;
        let column = at - text[..at].rfind('\n').map_or(0, |end| end + 1) + 1;
        let written = text.replace('«', "");
        let found = mistakes(&written);
        let fine = matches!(&found[..], [one] if one.position == Some((line, column))
            && one.message.contains(message)
            && one.help.as_ref().is_some_and(|said| said.contains(help)));
        if let [mistake] = &found[..]
            && let Some(better) = remedied(&written, mistake)
        {
            tried += 1;
            let same = |one: &Diagnostic| {
                one.position == mistake.position && one.message == mistake.message
            };
            if let Some(still) = mistakes(&better).iter().find(|one| same(one)) {
                wrong.push(format!("{better}\nis the remedy of that, and still: {still}"));
            }
        }
        if !fine {
            let said: Vec<String> = found.iter().map(ToString::to_string).collect();
            wrong.push(format!(
                "{text}\nwanted: {line}:{column}: {message}\n  help: {help}\nsaid: {}\n",
                said.join("\n")
            ));
        }
    }
    assert!(tried > 20, "only {tried} remedies could be tried");
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n----\n"));
}

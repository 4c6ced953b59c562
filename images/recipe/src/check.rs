//! From what is written to what is meant: every mistake gets its place and its remedy.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::diagnostic::Diagnostic;
use crate::manifest;
use crate::near::near;
use crate::recipe::{
    Archive, Base, Compression, Initrd, Kernel, Modules, Overlay, Project, Provisioner, Recipe,
    Serve, ServeDhcp, Sudo, User, Variant,
};

/// The longest command line that a recipe may ask for: half of what a kernel takes (`COMMAND_LINE_SIZE`, 2048 on x86), since
/// the boot server has words to add.
const LONGEST_COMMAND_LINE: usize = 1024;

/// Checks the recipe `text` of the file `path`.
pub(crate) fn recipe(text: &str, path: &Path) -> Result<Recipe, Vec<Diagnostic>> {
    let manifest: manifest::Manifest =
        toml::from_str(text).map_err(|error| vec![syntax(text, path, &error)])?;
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let mut check = Check { text, path, folder: &folder, found: Vec::new() };
    let recipe = check.manifest(&manifest);
    if check.found.is_empty() { Ok(recipe) } else { Err(check.found) }
}

/// TOML's and serde's own complaints, with the near name where a key is unknown.
fn syntax(text: &str, path: &Path, error: &toml::de::Error) -> Diagnostic {
    let message = error.message().trim_end().to_owned();
    let diagnostic = Diagnostic::at(path, text, error.span(), &message);
    let mut words = message.split('`').skip(1).step_by(2);
    if let Some(unknown) = words.next().filter(|_| message.starts_with("unknown field")) {
        let expected: Vec<&str> = words.collect();
        return diagnostic.help(match near(unknown, expected.iter().copied()).first() {
            Some(name) => format!("write `{name}`"),
            None => format!("the keys of this table are: {}", expected.join(", ")),
        });
    }
    diagnostic
}

struct Check<'a> {
    text: &'a str,
    path: &'a Path,
    folder: &'a Path,
    found: Vec<Diagnostic>,
}

impl Check<'_> {
    fn wrong(&mut self, span: Range<usize>, message: String, help: impl Into<String>) {
        self.found.push(Diagnostic::at(self.path, self.text, Some(span), message).help(help));
    }

    /// One of several words.
    fn choice<T: Copy>(&mut self, what: &str, given: &Spanned<String>, words: &[(&str, T)]) -> T {
        if let Some((_, value)) = words.iter().find(|(word, _)| word == given.as_ref()) {
            return *value;
        }
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let help = match near(given.as_ref(), names.iter().copied()).first() {
            Some(name) => format!("write \"{name}\""),
            None => format!("write one of: {}", names.join(", ")),
        };
        self.wrong(given.span(), format!("{what} cannot be \"{}\"", given.as_ref()), help);
        words[0].1
    }

    /// Names that become file names, artifact names and words of the kernel command line.
    fn name(&mut self, what: &str, given: &Spanned<String>) -> String {
        let text = given.as_ref();
        let fine = text.len() <= 64
            && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c));
        if !fine {
            self.wrong(
                given.span(),
                format!("\"{text}\" cannot be the name of {what}"),
                "write lower-case letters, digits, '-', '.' and '_', at most 64, a letter or digit first",
            );
        }
        text.to_owned()
    }

    /// A user or group, as useradd(8) takes them; system groups of packages begin with `_`.
    fn account(&mut self, what: &str, given: &Spanned<String>) -> String {
        let text = given.as_ref();
        let fine = text.len() <= 32
            && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c));
        if !fine {
            self.wrong(
                given.span(),
                format!("\"{text}\" cannot be the name of {what}"),
                "write lower-case letters, digits, '-', '.' and '_', at most 32, a letter or '_' first",
            );
        }
        text.to_owned()
    }

    /// A path below the project that must exist.
    fn file(&mut self, given: &Spanned<String>, folder_wanted: bool) -> PathBuf {
        let path = PathBuf::from(given.as_ref());
        let escapes = path.is_absolute()
            || path.components().any(|part| matches!(part, std::path::Component::ParentDir));
        let full = self.folder.join(&path);
        if escapes {
            self.wrong(
                given.span(),
                format!("\"{}\" leads out of the project", path.display()),
                "write a path below the folder of overboot.toml, without \"..\"",
            );
        } else if folder_wanted && !full.is_dir() {
            self.wrong(
                given.span(),
                format!("there is no folder \"{}\" in the project", path.display()),
                format!("make {}", full.display()),
            );
        } else if !folder_wanted && !full.is_file() {
            self.wrong(
                given.span(),
                format!("there is no file \"{}\" in the project", path.display()),
                format!("make {}", full.display()),
            );
        }
        path
    }

    fn url(&mut self, what: &str, given: &Spanned<String>) -> String {
        let text = given.as_ref().trim_end_matches('/');
        let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        if host.is_none_or(|host| host.is_empty() || text.contains(char::is_whitespace)) {
            self.wrong(
                given.span(),
                format!("{what} \"{text}\" is not an http:// or https:// URL"),
                "write it as http://host/path",
            );
        }
        text.to_owned()
    }

    fn address<T: std::str::FromStr>(&mut self, given: &Spanned<String>, form: &str) -> Option<T> {
        let parsed = given.as_ref().trim().parse().ok();
        if parsed.is_none() {
            self.wrong(given.span(), format!("\"{}\" is not an address", given.as_ref()), form);
        }
        parsed
    }

    fn manifest(&mut self, manifest: &manifest::Manifest) -> Recipe {
        let bases: BTreeMap<String, Base> = manifest
            .base
            .iter()
            .map(|(name, base)| (self.name("a base", name), self.base(base)))
            .collect();
        let overlays = manifest
            .overlay
            .iter()
            .map(|(name, overlay)| (self.name("an overlay", name), self.overlay(overlay, &bases)))
            .collect();
        let modules = manifest.modules.iter().map(|(name, modules)| {
            (
                self.name("a module layer", name),
                Modules { include: self.patterns(&modules.include) },
            )
        });
        let modules: BTreeMap<_, _> = modules.collect();
        let initrds = manifest.initrd.iter().map(|(name, initrd)| {
            (self.name("an initrd", name), Initrd { modules: self.patterns(&initrd.modules) })
        });
        let initrds = initrds.collect();
        self.one_for_boot_sets("initrd", manifest.initrd.keys());
        self.one_for_boot_sets("modules", manifest.modules.keys());
        for name in manifest.overlay.keys().filter(|name| bases.contains_key(name.as_ref())) {
            self.wrong(
                name.span(),
                format!("the overlay \"{0}\" has the name of a base", name.as_ref()),
                "give it a name of its own: a boot set is named after its overlay, or after its base",
            );
        }
        Recipe {
            folder: self.folder.to_path_buf(),
            project: self.project(&manifest.project),
            archive: self.archive(&manifest.archive),
            kernel: self.kernel(manifest.kernel.as_ref()),
            modules,
            initrds,
            bases,
            overlays,
            serve: self.serve(&manifest.serve),
        }
    }

    /// A boot set takes one initrd and one layer of modules: the only one, or the one named `default`.
    fn one_for_boot_sets<'n>(
        &mut self,
        table: &str,
        mut names: impl ExactSizeIterator<Item = &'n Spanned<String>> + Clone,
    ) {
        if names.len() > 1
            && !names.clone().any(|name| name.as_ref() == "default")
            && let Some(first) = names.next()
        {
            self.wrong(
                first.span(),
                format!("there are several [{table}.NAME], and none of them is the default"),
                format!("name the one that boot sets take [{table}.default]"),
            );
        }
    }

    fn project(&mut self, project: &manifest::Project) -> Project {
        for key in &project.trust {
            // A minisign public key: 42 bytes in base64, the first two "Ed" (minisign's own documentation, "key format").
            let text = key.as_ref();
            let base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
            let fine = text.len() == 56 && text.starts_with("RW") && text.chars().all(base64);
            if !fine {
                self.wrong(
                    key.span(),
                    format!("\"{text}\" is not a minisign public key"),
                    "write the second line of the .pub file: 56 characters that begin with RW",
                );
            }
        }
        Project {
            name: self.name("a project", &project.name),
            trust: project.trust.iter().map(|key| key.as_ref().clone()).collect(),
        }
    }

    fn archive(&mut self, archive: &manifest::Archive) -> Archive {
        let architecture = archive.architecture.as_ref().map_or("amd64", |given| {
            self.choice("architecture", given, &[("amd64", "amd64"), ("arm64", "arm64")])
        });
        if let (Some(given), "arm64") = (&archive.architecture, architecture) {
            self.wrong(
                given.span(),
                "arm64 images cannot be configured on an amd64 machine yet".to_owned(),
                "write \"amd64\"",
            );
        }
        let components: Vec<String> = match &archive.components {
            Some(given) => given.iter().map(|one| self.name("a component", one)).collect(),
            None => vec!["main".to_owned()],
        };
        Archive {
            suite: self.name("a suite", &archive.suite),
            mirror: archive.mirror.as_ref().map(|given| self.url("mirror", given)),
            components,
            architecture: architecture.to_owned(),
            updates: archive.updates.unwrap_or(true),
            security: archive.security.unwrap_or(true),
            keyring: archive.keyring.as_ref().map(|given| self.file(given, false)),
            proxy: archive.proxy.as_ref().map(|given| self.url("proxy", given)),
        }
    }

    fn kernel(&mut self, kernel: Option<&manifest::Kernel>) -> Kernel {
        let package = kernel.and_then(|kernel| kernel.package.as_ref());
        Kernel {
            package: package
                .map_or_else(|| "linux-image-amd64".to_owned(), |given| self.package(given)),
            cmdline: kernel
                .and_then(|kernel| kernel.cmdline.as_ref())
                .map(|given| self.command_line(given))
                .unwrap_or_default(),
        }
    }

    /// Words for the kernel, which are written into boot scripts and must come out there as they went in.
    fn command_line(&mut self, given: &Spanned<String>) -> String {
        let text = given.as_ref();
        let fine = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !fine || text.contains("${") || text.len() > LONGEST_COMMAND_LINE {
            self.wrong(
                given.span(),
                "these words cannot stand on a kernel's command line".to_owned(),
                format!("write printable ASCII in one line, no \"${{\", at most {LONGEST_COMMAND_LINE} characters"),
            );
        }
        text.clone()
    }

    fn patterns(&mut self, given: &[Spanned<String>]) -> Vec<String> {
        for one in given {
            if one.as_ref().is_empty() || one.as_ref().starts_with('/') {
                self.wrong(
                    one.span(),
                    format!("\"{}\" names no module", one.as_ref()),
                    "write a module's name (`loop`) or a path below the kernel's modules (`kernel/drivers/net/**`)",
                );
            }
        }
        given.iter().map(|one| one.as_ref().clone()).collect()
    }

    /// `name` or `name=version` (Debian Policy 5.6.1 and 5.6.12).
    fn package(&mut self, given: &Spanned<String>) -> String {
        let text: &str = given.as_ref();
        let (name, version) = text.split_once('=').map_or((text, None), |(n, v)| (n, Some(v)));
        let fine = name.len() >= 2
            && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c))
            && version.is_none_or(|version| {
                version.starts_with(|c: char| c.is_ascii_digit())
                    && version.chars().all(|c| c.is_ascii_alphanumeric() || ".+-~:".contains(c))
            });
        if !fine {
            self.wrong(
                given.span(),
                format!("\"{text}\" is not the name of a package"),
                "write \"name\", or \"name=version\" for one version of it",
            );
        }
        text.to_owned()
    }

    fn base(&mut self, base: &manifest::Base) -> Base {
        let variants = [("minbase", Variant::Minbase), ("standard", Variant::Standard)];
        Base {
            variant: base
                .variant
                .as_ref()
                .map_or(Variant::Minbase, |given| self.choice("variant", given, &variants)),
            path_exclude: self.globs(&base.path_exclude),
            path_include: self.globs(&base.path_include),
            compression: self.compression(base.compression.as_ref()),
            provision: self.provision(&base.provision),
        }
    }

    fn overlay(&mut self, overlay: &manifest::Overlay, bases: &BTreeMap<String, Base>) -> Overlay {
        let base = overlay.base.as_ref().clone();
        if !bases.contains_key(&base) {
            let help = match near(&base, bases.keys().map(String::as_str)).first() {
                Some(name) => format!("write \"{name}\""),
                None => format!("write it as [base.{base}], or name one of: {}", {
                    bases.keys().cloned().collect::<Vec<_>>().join(", ")
                }),
            };
            self.wrong(overlay.base.span(), format!("there is no base \"{base}\""), help);
        }
        Overlay {
            base,
            path_exclude: self.globs(&overlay.path_exclude),
            path_include: self.globs(&overlay.path_include),
            compression: self.compression(overlay.compression.as_ref()),
            provision: self.provision(&overlay.provision),
        }
    }

    fn globs(&mut self, given: &[Spanned<String>]) -> Vec<String> {
        for one in given {
            if !one.as_ref().starts_with('/') {
                self.wrong(
                    one.span(),
                    format!("\"{}\" can match no path of a package", one.as_ref()),
                    "write it from the root, as dpkg's path-exclude wants it: \"/usr/share/doc/*\"",
                );
            }
        }
        given.iter().map(|one| one.as_ref().clone()).collect()
    }

    fn compression(&mut self, given: Option<&Spanned<String>>) -> Compression {
        let words = [
            ("zstd", Compression::Zstd),
            ("xz", Compression::Xz),
            ("gzip", Compression::Gzip),
            ("lz4", Compression::Lz4),
        ];
        given.map_or(Compression::Zstd, |given| self.choice("compression", given, &words))
    }

    fn provision(&mut self, steps: &[Spanned<manifest::Provisioner>]) -> Vec<Provisioner> {
        steps.iter().filter_map(|step| self.provisioner(step)).collect()
    }

    fn provisioner(&mut self, step: &Spanned<manifest::Provisioner>) -> Option<Provisioner> {
        let given = step.as_ref();
        let mut kinds = Vec::new();
        if let Some(packages) = &given.packages {
            kinds.push(Provisioner::Packages(
                packages.iter().map(|one| self.package(one)).collect(),
            ));
        }
        if let Some(files) = &given.files {
            kinds.push(Provisioner::Files(self.file(files, true)));
        }
        if let Some(script) = &given.script {
            kinds.push(Provisioner::Script(self.file(script, false)));
        }
        if let Some(users) = &given.users {
            kinds.push(Provisioner::Users(users.iter().map(|user| self.user(user)).collect()));
        }
        if kinds.len() != 1 {
            self.wrong(
                step.span(),
                format!("a provisioning step does one thing, and this one names {}", kinds.len()),
                "write one of `packages`, `files`, `script` or `users` in each [[….provision]]",
            );
            return None;
        }
        kinds.pop()
    }

    fn user(&mut self, user: &manifest::User) -> User {
        let shell = user.shell.as_ref().map_or("/bin/bash", |shell| {
            if !shell.as_ref().starts_with('/') {
                let message = format!("\"{}\" is not a login shell", shell.as_ref());
                self.wrong(shell.span(), message, "write its full path, such as \"/bin/bash\"");
            }
            shell.as_ref()
        });
        User {
            name: self.account("a user", &user.name),
            system: user.system,
            shell: shell.to_owned(),
            groups: user.groups.iter().map(|group| self.account("a group", group)).collect(),
            sudo: user
                .sudo
                .as_ref()
                .map(|given| self.choice("sudo", given, &[("nopasswd", Sudo::Nopasswd)])),
        }
    }

    fn serve(&mut self, serve: &manifest::Serve) -> Serve {
        let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9090));
        let http = serve.http.as_ref().and_then(|given| {
            self.address(given, "write it as \"address:port\", such as \"0.0.0.0:9090\"")
        });
        let form = "write four numbers with dots, such as \"10.0.0.1\"";
        let words = [("off", 0), ("proxy", 1), ("server", 2)];
        let kind = serve.dhcp.as_ref().map_or(0, |given| self.choice("dhcp", given, &words));
        let dhcp = match (kind, &serve.dhcp) {
            (1, _) => ServeDhcp::Proxy,
            (2, Some(given)) => self.range(serve.range.as_ref(), given.span()),
            _ => ServeDhcp::Off,
        };
        Serve {
            http: http.unwrap_or(everywhere),
            advertise: serve.advertise.as_ref().map(|given| given.as_ref().clone()),
            interface: serve.interface.clone(),
            dhcp,
            router: serve.router.as_ref().and_then(|given| self.address(given, form)),
            dns: serve.dns.iter().filter_map(|given| self.address(given, form)).collect(),
            discovery: serve.discovery.clone().unwrap_or_else(|| "Graph.Discovery".to_owned()),
        }
    }

    /// `first-last/prefix`.
    fn range(&mut self, given: Option<&Spanned<String>>, dhcp: Range<usize>) -> ServeDhcp {
        let form = "write range = \"first-last/prefix\", such as \"10.0.0.100-10.0.0.200/24\"";
        let Some(given) = given else {
            self.wrong(dhcp, "a DHCP server needs a range of addresses".to_owned(), form);
            return ServeDhcp::Off;
        };
        match ServeDhcp::parse_range(given.as_ref()) {
            Some(server) => server,
            None => {
                let message = format!("\"{}\" is not a range of addresses", given.as_ref());
                self.wrong(given.span(), message, form);
                ServeDhcp::Off
            }
        }
    }
}

impl ServeDhcp {
    /// Reads `first-last/prefix`: addresses of one subnet, the first not after the last, prefix from 8 to 30 bits.
    #[must_use]
    pub fn parse_range(text: &str) -> Option<Self> {
        let (addresses, prefix) = text.trim().split_once('/')?;
        let (first, last) = addresses.split_once('-')?;
        let (first, last): (Ipv4Addr, Ipv4Addr) =
            (first.trim().parse().ok()?, last.trim().parse().ok()?);
        let prefix: u8 = prefix.trim().parse().ok().filter(|prefix| (8..=30).contains(prefix))?;
        let subnet = |address: Ipv4Addr| u32::from(address) >> (32 - prefix);
        (first <= last && subnet(first) == subnet(last)).then_some(Self::Server {
            first,
            last,
            prefix,
        })
    }
}

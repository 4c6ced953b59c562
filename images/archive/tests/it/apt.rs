//! apt as the oracle of resolution and of pins: in a directory of its own, with nothing of the host's settings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use overboot_archive::Source;
use overboot_testkit::require;

/// An apt that knows only some sources, and a status file that a test chooses.
pub(crate) struct Apt {
    root: PathBuf,
}

/// Names and versions.
pub(crate) type Set = BTreeMap<String, String>;

/// Whether there is an apt that can read Debian's archive.
pub(crate) fn is_here() -> bool {
    require::program("apt-get") && require::met(Path::new(KEYRING).exists(), "needs Debian's keys")
}

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What apt thinks of a package: its candidate, and each version with its priority, in its order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Opinion {
    pub(crate) candidate: Option<String>,
    pub(crate) versions: Vec<(String, i32)>,
}

impl Apt {
    /// An apt beneath `root` that has read the indexes of `sources`, which Debian's keys sign.
    pub(crate) fn new(root: &Path, sources: &[Source]) -> Self {
        Self::trusting(Path::new(KEYRING), root, sources)
    }

    /// The same with other keys.
    pub(crate) fn trusting(keyring: &Path, root: &Path, sources: &[Source]) -> Self {
        for dir in ["etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/sources.list.d"] {
            fs_err::create_dir_all(root.join(dir)).unwrap();
        }
        fs_err::create_dir_all(root.join("var/lib/apt/lists/partial")).unwrap();
        fs_err::create_dir_all(root.join("var/cache/apt/archives/partial")).unwrap();
        let list: String = sources
            .iter()
            .map(|source| {
                let components = source.components.join(" ");
                let keyring = keyring.display();
                format!("deb [signed-by={keyring}] {} {} {components}\n", source.uri, source.suite)
            })
            .collect();
        fs_err::write(root.join("etc/apt/sources.list"), list).unwrap();
        // `Dir` comes from here, before the host's files would be read, so that they are not.
        let config = format!(
            "Dir \"{}\";\nDir::State::status \"{}\";\nAPT::Architecture \"amd64\";\n\
             APT::Architectures {{ \"amd64\"; }};\nAPT::Sandbox::User \"root\";\n\
             APT::Solver \"internal\";\nAcquire::Languages \"none\";\nDebug::NoLocking \"true\";\n",
            root.display(),
            root.join("status").display(),
        );
        fs_err::write(root.join("apt.conf"), config).unwrap();
        let apt = Self { root: root.to_owned() };
        apt.set_status("");
        apt.run(&["update"]);
        apt
    }

    /// From now on this is installed: stanzas of a dpkg status file.
    pub(crate) fn set_status(&self, text: &str) {
        fs_err::write(self.root.join("status"), text).unwrap();
    }

    /// What `apt-get install` would install, besides what is there.
    pub(crate) fn install(&self, recommends: bool, words: &[&str]) -> Set {
        let option = format!("APT::Install-Recommends={recommends}");
        let mut arguments = vec!["-o", &option, "--simulate", "install"];
        arguments.extend(words);
        let output = self.run(&arguments);
        // Inst NAME (VERSION SUITE [ARCHITECTURE]) [more]
        let installed = output.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
            let version = rest.strip_prefix('(')?.split(' ').next()?;
            Some((name.to_owned(), version.to_owned()))
        });
        installed.collect()
    }

    /// From now on these are its preferences (apt_preferences(5)).
    pub(crate) fn set_preferences(&self, text: &str) {
        fs_err::write(self.root.join("etc/apt/preferences"), text).unwrap();
    }

    /// What it thinks of those packages.
    pub(crate) fn opinions(&self, names: &[&str]) -> BTreeMap<String, Opinion> {
        let mut opinions: BTreeMap<String, Opinion> = BTreeMap::new();
        let mut name = String::new();
        // NAME:
        //   Installed: (none)
        //   Candidate: VERSION
        //   Version table:
        //      VERSION PRIORITY
        //         PRIORITY SOURCE
        for line in self.command("apt-cache", &[&["policy"], names].concat()).lines() {
            let text = line.trim_start();
            let indent = line.len() - text.len();
            match (indent, text.split_once(' ')) {
                (0, None) => text.trim_end_matches(':').clone_into(&mut name),
                (2, Some(("Candidate:", version))) => {
                    let version = Some(version).filter(|version| *version != "(none)");
                    opinions.entry(name.clone()).or_default().candidate =
                        version.map(str::to_owned);
                }
                (5, Some((version, priority))) => {
                    let version = (version.to_owned(), priority.trim().parse().unwrap());
                    opinions.entry(name.clone()).or_default().versions.push(version);
                }
                _ => {}
            }
        }
        opinions
    }

    /// The SHA-256 of the file that it would fetch for a package.
    pub(crate) fn file(&self, name: &str) -> String {
        self.files(&[name]).remove(0)
    }

    /// The SHA-256 of each file that it would fetch for these, each `NAME` or `NAME=VERSION`, in no order.
    pub(crate) fn files(&self, words: &[&str]) -> Vec<String> {
        let told = self.run(&[&["download", "--print-uris"], words].concat());
        // 'URI' NAME SIZE SHA256:HEX
        told.lines().map(|line| line.rsplit_once(':').unwrap().1.to_owned()).collect()
    }

    fn run(&self, arguments: &[&str]) -> String {
        self.command("apt-get", arguments)
    }

    fn command(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program)
            .env("APT_CONFIG", self.root.join("apt.conf"))
            .env("LC_ALL", "C")
            .args(arguments)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }
}

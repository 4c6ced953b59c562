//! apt-get as the oracle of resolution: in a directory of its own, with nothing of the host's settings.

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

impl Apt {
    /// An apt beneath `root` that has read the indexes of `sources`.
    pub(crate) fn new(root: &Path, sources: &[Source]) -> Self {
        for dir in ["etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/sources.list.d"] {
            fs_err::create_dir_all(root.join(dir)).unwrap();
        }
        fs_err::create_dir_all(root.join("var/lib/apt/lists/partial")).unwrap();
        fs_err::create_dir_all(root.join("var/cache/apt/archives/partial")).unwrap();
        let list: String = sources
            .iter()
            .map(|source| {
                let components = source.components.join(" ");
                format!("deb [signed-by={KEYRING}] {} {} {components}\n", source.uri, source.suite)
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

    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("apt-get")
            .env("APT_CONFIG", self.root.join("apt.conf"))
            .env("LC_ALL", "C")
            .args(arguments)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "apt-get {arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }
}

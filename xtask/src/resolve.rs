//! Resolving every recipe that ships, from lists on disk that were not parsed before, against `apt-get -s` with the same suites.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use overboot_recipe::{Provisioner, Recipe};

use crate::bench::{table, timed};

/// What `mmdebstrap --variant=standard` selects, in apt's own words.
const STANDARD: [&str; 5] =
    ["?essential", "?priority(required)", "?priority(important)", "?priority(standard)", "apt"];

/// Both sides have fetched their lists before.
pub(crate) fn run(folder: &Path, overboot: &Path, sources: &str, runs: usize) -> Result<()> {
    let (project, cache) = (folder.join("resolve"), folder.join("resolve-cache"));
    timed(Command::new(overboot).arg("init").arg(&project).args(["--with", "all"]))?;
    let lock = |words: &[&str]| {
        let mut lock = Command::new(overboot);
        timed(lock.arg("-C").arg(&project).arg("--cache").arg(&cache).args(words))
    };
    lock(&["lock"])?;
    let apt = Apt::new(folder.join("resolve-apt"), sources)?;
    let words = words(&Recipe::load(&project)?);
    // Its own caches of what it has parsed, in memory and on disk.
    let cold = ["-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="];

    let names = [
        "ours: all images, lock written",
        "peer: all packages at once",
        "peer, lists parsed before",
    ];
    let mut times = vec![Vec::with_capacity(runs); names.len()];
    apt.simulate(&[], &words)?;
    for round in 1..=runs {
        times[0].push(lock(&["--offline", "lock", "--update"])?);
        times[1].push(apt.simulate(&cold, &words)?);
        times[2].push(apt.simulate(&[], &words)?);
        let seconds = times.iter().map(|times| format!("{:.2} s", times[round - 1]));
        eprintln!("{round} of {runs}: resolving: {}", seconds.collect::<Vec<_>>().join(", "));
    }
    println!("\nResolving every recipe that ships, lists on disk; {runs} runs, taken in turn\n");
    table(&names, &mut times, 1);
    Ok(())
}

/// All that the recipe asks for.
fn words(recipe: &Recipe) -> Vec<String> {
    let bases = recipe.bases.values().flat_map(|base| &base.provision);
    let steps = bases.chain(recipe.overlays.values().flat_map(|overlay| &overlay.provision));
    let mut words: BTreeSet<String> = STANDARD.map(str::to_owned).into();
    words.extend([recipe.kernel.package.value.clone(), "ipxe".to_owned()]);
    for step in steps {
        if let Provisioner::Packages { names, .. } = step {
            words.extend(names.iter().map(|name| name.value.clone()));
        }
    }
    words.into_iter().collect()
}

/// An apt that knows nothing of this machine's.
struct Apt {
    config: PathBuf,
}

impl Apt {
    /// With the lists of `sources`.
    fn new(root: PathBuf, sources: &str) -> Result<Self> {
        for folder in [
            "etc/apt/apt.conf.d",
            "etc/apt/preferences.d",
            "etc/apt/sources.list.d",
            "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial",
        ] {
            fs_err::create_dir_all(root.join(folder))?;
        }
        fs_err::write(root.join("etc/apt/sources.list"), sources)?;
        fs_err::write(root.join("status"), "")?;
        let at = root.display();
        let config = format!(
            "Dir \"{at}\";\nDir::State::status \"{at}/status\";\nAPT::Architecture \"amd64\";\n\
             APT::Architectures {{ \"amd64\"; }};\nAPT::Sandbox::User \"root\";\n\
             APT::Install-Recommends \"false\";\nAcquire::Languages \"none\";\nDebug::NoLocking \"true\";\n"
        );
        let apt = Self { config: root.join("apt.conf") };
        fs_err::write(&apt.config, config)?;
        apt.run(&["update"])?;
        Ok(apt)
    }

    fn simulate(&self, options: &[&str], words: &[String]) -> Result<f64> {
        let words = words.iter().map(String::as_str);
        let arguments: Vec<&str> =
            options.iter().copied().chain(["--simulate", "install"]).chain(words).collect();
        self.run(&arguments)
    }

    fn run(&self, arguments: &[&str]) -> Result<f64> {
        timed(Command::new("apt-get").env("APT_CONFIG", &self.config).args(arguments))
    }
}

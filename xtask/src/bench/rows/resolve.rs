//! Resolving every recipe that ships, from lists on disk that were not parsed before, against `apt-get -s` with the same suites.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;

use anyhow::Result;
use overboot_recipe::{Provisioner, Recipe};

use crate::bench::measure::{Memory, Sample, measure};
use crate::bench::peers::APT;
use crate::bench::race::{Contender, Goal, Race};
use crate::bench::{Bench, Row};

pub(crate) const ROW: Row = Row {
    name: "resolve",
    what: "resolving every recipe that ships, lists on disk: ours each image by itself, lock written; apt all their packages at once",
    needs: &[APT],
    make,
};

/// What `mmdebstrap --variant=standard` selects, in apt's own words.
const STANDARD: [&str; 5] =
    ["?essential", "?priority(required)", "?priority(important)", "?priority(standard)", "apt"];

/// Both sides have fetched their lists before.
fn make(bench: &Bench) -> Result<Race<'_>> {
    let project = bench.path("resolve");
    let mut init = Command::new(&bench.overboot);
    measure(init.arg("init").arg(&project).args(["--with", "all"]), Memory::Ignored)?;
    let lock = {
        let project = project.clone();
        move |words: &[&str]| {
            let mut lock = Command::new(&bench.overboot);
            lock.arg("-C").arg(&project).arg("--cache").arg(bench.path("resolve-cache"));
            measure(lock.args(words), Memory::Ignored)
        }
    };
    lock(&["lock"])?;
    let apt = Rc::new(Apt::new(bench)?);
    let words: Rc<[String]> = words(&Recipe::load(&project)?).into();
    let simulate = |options: &'static [&'static str]| {
        let (apt, words) = (Rc::clone(&apt), Rc::clone(&words));
        move |_| apt.simulate(options, &words)
    };
    // Its own caches of what it has parsed, in memory and on disk.
    let cold = simulate(&["-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="]);
    Ok(Race {
        contenders: vec![
            Contender::new("overboot lock", move |_| lock(&["--offline", "lock", "--update"])),
            Contender::new("apt-get -s", cold),
            // Only what it has parsed: lists were fetched before.
            Contender::fetching("apt-get -s, lists parsed before", simulate(&[])),
        ],
        goals: vec![Goal::Faster { ours: 0, peer: 1, times: 5.0 }],
    })
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
    /// With the lists of the suites.
    fn new(bench: &Bench) -> Result<Self> {
        let root = bench.path("resolve-apt");
        for folder in [
            "etc/apt/apt.conf.d",
            "etc/apt/preferences.d",
            "etc/apt/sources.list.d",
            "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial",
        ] {
            fs_err::create_dir_all(root.join(folder))?;
        }
        let sources = bench.sources().map(|line| format!("{line}\n")).concat();
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

    fn simulate(&self, options: &[&str], words: &[String]) -> Result<Sample> {
        let words = words.iter().map(String::as_str);
        let arguments: Vec<&str> =
            options.iter().copied().chain(["--simulate", "install"]).chain(words).collect();
        self.run(&arguments)
    }

    fn run(&self, arguments: &[&str]) -> Result<Sample> {
        let mut apt = Command::new("apt-get");
        measure(apt.env("APT_CONFIG", &self.config).args(arguments), Memory::Ignored)
    }
}

//! A new version of one package of the base: the lock brought up to date, and everything built, against packing that base alone.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use anyhow::{Context, Result};
use overboot_archive::PackageStore;
use overboot_recipe::Lock;
use overboot_testkit::archive::{Archive, Server, SigningKey};

use crate::bench::measure::{Memory, Sample, measure};
use crate::bench::ours::Project;
use crate::bench::peers::{self, DPKG_DEB, MKSQUASHFS};
use crate::bench::race::{Contender, Goal, Race};
use crate::bench::{Bench, Row};

pub(crate) const ROW: Row = Row {
    name: "update",
    what: "one package of the base that ships has a new version: `lock --update PACKAGE` and `build`, to the new boot sets",
    needs: &[MKSQUASHFS, DPKG_DEB],
    make,
};

/// One with a program of more than a megabyte, which nothing runs while packages are configured.
const PACKAGE: (&str, &str) = ("vim-tiny", "usr/bin/vim.tiny");

/// Others, one for each round: each moves once.
const OTHERS: [(&str, &str); 6] = [
    ("ipmitool", "usr/bin/ipmitool"),
    ("curl", "usr/bin/curl"),
    ("less", "usr/bin/less"),
    ("iproute2", "usr/bin/ip"),
    ("procps", "usr/bin/top"),
    ("sudo", "usr/bin/sudo"),
];

fn make(bench: &Bench) -> Result<Race<'_>> {
    let key = SigningKey::generate();
    let server = Server::start(Archive::new("local").build(&key));
    let extra = format!(
        "\n[archive.extra.local]\nmirror = \"{}\"\nsuites = [\"local\"]\nkeyring = \"keys/local.gpg\"\n",
        server.uri()
    );
    // That archive is no matter of apt-cacher-ng's.
    let project = Rc::new(Project::shipped_without_proxy(bench, "update", &extra)?);
    fs_err::write(project.folder().join("keys/local.gpg"), key.certificate())?;
    project.build(&[])?;
    let package = Package::unpacked(bench, &project, PACKAGE)?;
    let others = OTHERS.iter().map(|other| Package::unpacked(bench, &project, *other));
    let others: Vec<Package> = others.collect::<Result<_>>()?;
    let updated = Rc::clone(&project);
    let archive = RefCell::new(BTreeMap::new());
    let update = Rc::new(move |package: &Package| {
        // A newer one each time, whichever contender comes first.
        let version = package.next()?;
        let wanted = version.version.clone();
        archive.borrow_mut().insert(package.name, version);
        let all = archive.borrow();
        let all = all.values().fold(Archive::new("local"), |archive, package| {
            archive.package_file(&package.control, package.bytes.clone())
        });
        server.replace(all.build(&key));
        let locked = updated.run(&["lock", "--update", package.name], Memory::Ignored)?;
        let built = updated.build(&[])?;
        let lock = Lock::load(updated.folder())?.context("there is no lock")?;
        let there = lock.steps("base/base").concat().concat();
        if !there.iter().any(|locked| locked.version == wanted) {
            anyhow::bail!("the lock has no {} {}", package.name, wanted);
        }
        Ok(Sample { mark: Some(("it is locked", locked.seconds)), ..locked.then(built) })
    });
    let again = Rc::clone(&update);
    let ours = move |_| again(&package);
    let first = move |round: usize| {
        let other = others.get(round - 1);
        update(other.with_context(|| format!("this row has {} rounds at most", others.len()))?)
    };
    let peer = move |_| {
        let image = bench.path("update.squashfs");
        Ok(Sample {
            size: None,
            ..peers::mksquashfs(&project.tree("base")?, &image, Memory::Ignored)?
        })
    };
    Ok(Race {
        contenders: vec![
            Contender::new("overboot lock, overboot build", ours),
            Contender::new("the same, a package that has not moved before", first),
            Contender::new("mksquashfs of that base alone", peer),
        ],
        goals: vec![
            Goal::Faster { ours: 0, peer: 2, times: 3.0 },
            Goal::Faster { ours: 1, peer: 2, times: 3.0 },
        ],
    })
}

/// The package, to be repacked.
struct Package {
    name: &'static str,
    /// What is changed in it.
    program: &'static str,
    folder: PathBuf,
    version: String,
    count: std::cell::Cell<u32>,
}

/// It, as a newer version.
struct Newer {
    version: String,
    control: String,
    bytes: Vec<u8>,
}

impl Package {
    fn unpacked(
        bench: &Bench,
        project: &Project<'_>,
        (name, program): (&'static str, &'static str),
    ) -> Result<Self> {
        let lock = Lock::load(project.folder())?.context("there is no lock")?;
        let packages = lock.steps("base/base").concat().concat();
        let package = packages.iter().find(|package| package.name == name);
        let package = package.with_context(|| format!("the base that ships has no {name}"))?;
        let store = PackageStore::open(bench.path("cache/packages"))?;
        let folder = bench.path(&format!("update-{name}"));
        dpkg_deb(&["--raw-extract".as_ref(), &store.path(&package.sha256), &folder])?;
        Ok(Self { name, program, folder, version: package.version.clone(), count: 0.into() })
    }

    /// Built anew, as far as that can be done without a compiler: a byte of every 4 KiB within its program has another value,
    /// so that no block of it is as it was.
    fn next(&self) -> Result<Newer> {
        self.count.set(self.count.get() + 1);
        let count = self.count.get();
        let program = self.folder.join(self.program);
        let mut content = fs_err::read(&program)?;
        // Its ends stay: there stands what it is and which libraries it needs.
        let (from, to) = (content.len() / 4, content.len() / 4 * 3);
        for at in (from..to).step_by(4096) {
            content[at] = content[at].wrapping_add(1);
        }
        fs_err::write(&program, content)?;
        let version = format!("{}+bench{count}", self.version);
        let path = self.folder.join("DEBIAN/control");
        let control: Vec<String> = fs_err::read_to_string(&path)?
            .lines()
            .map(|line| match line.starts_with("Version:") {
                true => format!("Version: {version}"),
                false => line.to_owned(),
            })
            // Its other half keeps the version that it has.
            .map(|line| {
                line.replace(&format!("(= {})", self.version), &format!("(>= {})", self.version))
            })
            .collect();
        let control = control.join("\n") + "\n";
        fs_err::write(&path, &control)?;
        let file = self.folder.with_extension("deb");
        dpkg_deb(&["--build".as_ref(), "--root-owner-group".as_ref(), &self.folder, &file])?;
        Ok(Newer { version, control, bytes: fs_err::read(file)? })
    }
}

fn dpkg_deb(arguments: &[&Path]) -> Result<()> {
    measure(Command::new("dpkg-deb").args(arguments), Memory::Ignored)?;
    Ok(())
}

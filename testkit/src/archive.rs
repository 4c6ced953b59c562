//! A small signed Debian archive, made and served by the test itself.
//!
//! ```no_run
//! use overboot_testkit::archive::{Archive, Deb, Server, SigningKey};
//!
//! let key = SigningKey::generate();
//! let archive = Archive::new("trixie")
//!     .package(Deb::new("hello", "1.0").field("Depends", "libc6").file("usr/bin/hello", 0o755, b"#!/bin/sh\n"));
//! let server = Server::start(archive.build(&key));
//! let (_uri, _keyring) = (server.uri(), key.certificate());
//! ```
//!
//! Panics where something fails: its users are tests.

mod deb;
mod key;
mod server;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::SystemTime;

use overboot_digest::Digest;

pub use deb::{Deb, ar, as_zstd, tar_entry, xz};
pub use key::{KeyOptions, SignOptions, SigningKey, Subkey, clearsign};
pub use server::{Fault, Request, Server};

/// The files of an archive by their path beneath its root.
pub type Tree = BTreeMap<String, Vec<u8>>;

/// One suite of an archive, to be built.
#[derive(Debug, Clone)]
pub struct Archive {
    folder: String,
    suite: String,
    codename: String,
    architecture: String,
    date: u64,
    valid_until: Option<u64>,
    by_hash: bool,
    flat: bool,
    origin: String,
    extra: String,
    packages: Vec<(String, Package)>,
}

/// A package file, and what an index says of it.
#[derive(Debug, Clone)]
struct Package {
    path: String,
    control: String,
    bytes: Vec<u8>,
}

impl Archive {
    /// A suite without packages, dated now, valid for a week, for amd64, with indexes by hash.
    #[must_use]
    pub fn new(codename: &str) -> Self {
        let date = now();
        Self {
            folder: codename.to_owned(),
            suite: codename.to_owned(),
            codename: codename.to_owned(),
            architecture: "amd64".to_owned(),
            date,
            valid_until: Some(date + 7 * 86_400),
            by_hash: true,
            flat: false,
            origin: "Test".to_owned(),
            extra: String::new(),
            packages: Vec::new(),
        }
    }

    /// Another name than the codename in the field `Suite`.
    #[must_use]
    pub fn suite(mut self, suite: &str) -> Self {
        suite.clone_into(&mut self.suite);
        self
    }

    /// Another codename than its folder in `dists`, as Ubuntu's pockets have that of the release.
    #[must_use]
    pub fn codename(mut self, codename: &str) -> Self {
        codename.clone_into(&mut self.codename);
        self
    }

    /// For another architecture than amd64.
    #[must_use]
    pub fn architecture(mut self, architecture: &str) -> Self {
        architecture.clone_into(&mut self.architecture);
        self
    }

    /// Made at that time and valid until that one, seconds since 1970.
    #[must_use]
    pub fn dated(mut self, date: u64, valid_until: Option<u64>) -> Self {
        (self.date, self.valid_until) = (date, valid_until);
        self
    }

    /// By somebody else than `Test`.
    #[must_use]
    pub fn origin(mut self, origin: &str) -> Self {
        origin.clone_into(&mut self.origin);
        self
    }

    /// A folder with its index beside its packages, without `dists` and components.
    #[must_use]
    pub fn flat(mut self) -> Self {
        self.flat = true;
        self
    }

    /// Without indexes by hash.
    #[must_use]
    pub fn without_by_hash(mut self) -> Self {
        self.by_hash = false;
        self
    }

    /// One more field of the Release file.
    #[must_use]
    pub fn release_field(mut self, name: &str, value: &str) -> Self {
        writeln!(self.extra, "{name}: {value}").expect("a String takes all");
        self
    }

    /// One more package, in component `main`.
    #[must_use]
    pub fn package(self, deb: Deb) -> Self {
        self.package_in("main", deb)
    }

    /// One more package, in that component.
    #[must_use]
    pub fn package_in(mut self, component: &str, deb: Deb) -> Self {
        let name = deb.name();
        let version = deb.version().replace(':', "%3a");
        let path = format!("{}/{name}/{name}_{version}_{}.deb", &name[..1], deb.architecture());
        let (control, bytes) = (deb.control(), deb.build());
        self.packages.push((component.to_owned(), Package { path, control, bytes }));
        self
    }

    /// A package file that is there already, in component `main`, with its control stanza.
    #[must_use]
    pub fn package_file(mut self, control: &str, bytes: Vec<u8>) -> Self {
        let path = format!("f/{}.deb", Digest::of(&bytes).hex());
        let control = format!("{}\n", control.trim_end());
        self.packages.push(("main".to_owned(), Package { path, control, bytes }));
        self
    }

    /// All files of the archive: `InRelease` signed by `key`, indexes plain and as xz, packages.
    #[must_use]
    pub fn build(&self, key: &SigningKey) -> Tree {
        let mut tree = Tree::new();
        let mut components = BTreeMap::from([("main".to_owned(), String::new())]);
        let dists = if self.flat { String::new() } else { format!("dists/{}/", self.folder) };
        for (component, Package { path, control, bytes }) in &self.packages {
            let path = if self.flat { path.clone() } else { format!("pool/{component}/{path}") };
            let list = components.entry(component.clone()).or_default();
            let (size, sha256) = (bytes.len(), Digest::of(bytes).hex());
            write!(list, "{control}Filename: {path}\nSize: {size}\nSHA256: {sha256}\n\n")
                .expect("a String takes all");
            tree.insert(path, bytes.clone());
        }
        let mut listed = String::new();
        for (component, list) in &components {
            let directory = match self.flat {
                true => String::new(),
                false => format!("{component}/binary-{}/", self.architecture),
            };
            let plain = list.clone().into_bytes();
            for (name, bytes) in [("Packages.xz", deb::xz(&plain)), ("Packages", plain)] {
                let (size, sha256) = (bytes.len(), Digest::of(&bytes).hex());
                writeln!(listed, " {sha256} {size} {directory}{name}").expect("a String takes all");
                let at = format!("{dists}{directory}");
                if self.by_hash {
                    tree.insert(format!("{at}by-hash/SHA256/{sha256}"), bytes.clone());
                }
                tree.insert(format!("{at}{name}"), bytes);
            }
        }
        let names: Vec<_> = components.into_keys().collect();
        let origin = &self.origin;
        let named = |field: &str, name: &str| match name {
            "" => String::new(),
            name => format!("{field}: {name}\n"),
        };
        let valid_until = self.valid_until.map(|time| format!("Valid-Until: {}\n", date(time)));
        let release = format!(
            "Origin: {origin}\nLabel: {origin}\n{}{}Date: {}\n{}Acquire-By-Hash: {}\n{}\
             Architectures: {}\nComponents: {}\nDescription: made by a test\nSHA256:\n{listed}",
            named("Suite", &self.suite),
            named("Codename", &self.codename),
            date(self.date),
            valid_until.unwrap_or_default(),
            if self.by_hash { "yes" } else { "no" },
            self.extra,
            self.architecture,
            names.join(" "),
        );
        let signed = key.clearsign(&release, self.date);
        tree.insert(format!("{dists}InRelease"), signed.into_bytes());
        tree
    }
}

/// The same files, in a folder.
#[must_use]
pub fn under(folder: &str, tree: Tree) -> Tree {
    tree.into_iter().map(|(path, bytes)| (format!("{folder}/{path}"), bytes)).collect()
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("the clock is past 1970").as_secs()
}

/// A time as Release files write it: `Sat, 15 Nov 2025 09:14:22 UTC`.
#[must_use]
pub fn date(seconds: u64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let (day, clock) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let (mut year, mut left) = (1970, day);
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= lengths[month] {
        left -= lengths[month];
        month += 1;
    }
    format!(
        "{}, {:02} {} {year} {:02}:{:02}:{:02} UTC",
        WEEKDAYS[usize::try_from(day % 7).expect("below 7")],
        left + 1,
        MONTHS[month],
        clock / 3600,
        clock / 60 % 60,
        clock % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(1_763_198_062), "Sat, 15 Nov 2025 09:14:22 UTC");
        assert_eq!(date(951_825_600), "Tue, 29 Feb 2000 12:00:00 UTC");
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 UTC");
    }

    #[test]
    fn an_archive_has_what_its_release_lists() {
        let tree = Archive::new("trixie")
            .package(Deb::new("hello", "1:1.0").file("usr/bin/hello", 0o755, b"x"))
            .package_in("contrib", Deb::new("other", "2"))
            .build(&SigningKey::generate());
        let paths: Vec<_> = tree.keys().filter(|path| !path.contains("by-hash")).collect();
        assert_eq!(
            paths,
            [
                "dists/trixie/InRelease",
                "dists/trixie/contrib/binary-amd64/Packages",
                "dists/trixie/contrib/binary-amd64/Packages.xz",
                "dists/trixie/main/binary-amd64/Packages",
                "dists/trixie/main/binary-amd64/Packages.xz",
                "pool/contrib/o/other/other_2_amd64.deb",
                "pool/main/h/hello/hello_1%3a1.0_amd64.deb",
            ]
        );
        let release = String::from_utf8(tree["dists/trixie/InRelease"].clone()).unwrap();
        let digest = Digest::of(&tree["dists/trixie/main/binary-amd64/Packages"]).hex();
        assert!(release.contains(&digest) && release.contains("Components: contrib main"));
    }
}

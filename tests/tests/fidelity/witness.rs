//! What mmdebstrap makes of a set: the same package files, from an archive that has just these, with the signed lists that the
//! lock was made from. Its listing is kept under the digest of all that it was made from.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use overboot_digest::Digest;
use overboot_testkit::archive::{Server, Tree};
use overboot_testkit::images;
use overboot_testkit::program::run;

use crate::listing::Listing;
use crate::made::{EPOCH, Locked};
use crate::sets::Set;

/// A set's witness.
#[derive(Debug)]
pub struct Witness<'a> {
    set: &'a Set,
    lock: &'a Locked,
    /// All that its tree depends on, and what a listing is.
    inputs: String,
}

impl<'a> Witness<'a> {
    pub fn of(set: &'a Set, lock: &'a Locked) -> Self {
        let mut inputs = String::new();
        for program in ["mmdebstrap", "apt-get", "dpkg"] {
            let said = run(Command::new(program).arg("--version"));
            writeln!(inputs, "{}", said.lines().next().unwrap()).unwrap();
        }
        writeln!(inputs, "{}", options(set).join(" ")).unwrap();
        // In which order a folder is read is the file system's matter (ext4 has a secret of its own for it), and insserv and
        // install-info write it down.
        let of_file_system =
            run(Command::new("stat").args(["-f", "-c", "%T %i"]).arg(images::cache()));
        writeln!(inputs, "{}", of_file_system.trim()).unwrap();
        for source in [include_str!("listing.rs"), include_str!("witness.rs")] {
            writeln!(inputs, "{}", Digest::of(source)).unwrap();
        }
        for (path, digest) in &lock.packages {
            writeln!(inputs, "{path} {digest}").unwrap();
        }
        Self { set, lock, inputs }
    }

    /// The listing of its tree: that of an earlier run from the same inputs, if all of it is there, or a new one, with its
    /// tree.
    pub fn listing(&self, folder: &Path) -> (Listing, Option<PathBuf>) {
        if let Some(listing) =
            fs::read_to_string(self.path()).ok().and_then(|text| self.parse(&text))
        {
            return (listing, None);
        }
        let tree = self.make(folder);
        let listing = Listing::of(&tree);
        let path = self.path();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Half of it would not count, so it may be written in place.
        fs::write(&path, self.text(&listing)).unwrap();
        (listing, Some(tree))
    }

    /// Where the listing is kept: beside the packages that it was made from.
    fn path(&self) -> PathBuf {
        let folder = images::cache().join("witnesses");
        folder.join(format!("{}-{}", self.set.name, Digest::of(&self.inputs).hex()))
    }

    /// The inputs, the listing, and the digest of both.
    fn text(&self, listing: &Listing) -> String {
        let text = format!("{}\n{}", self.inputs, listing.to_text());
        format!("{text}{}\n", Digest::of(&text))
    }

    /// What [`Self::text`] wrote, for the same inputs.
    fn parse(&self, text: &str) -> Option<Listing> {
        let (before, digest) = text.strip_suffix('\n')?.rsplit_once('\n')?;
        let before = format!("{before}\n");
        if Digest::of(&before).to_string() != digest {
            return None;
        }
        Listing::from_text(before.strip_prefix(&self.inputs)?.strip_prefix('\n')?)
    }

    /// Makes the tree.
    pub fn make(&self, folder: &Path) -> PathBuf {
        let tree = folder.join("theirs");
        if tree.exists() {
            fs::remove_dir_all(&tree).unwrap();
        }
        let keys = folder.join("keys.gpg");
        let keyring: &[u8] = match self.set.suite {
            "bookworm" => include_bytes!("../../../recipes/keyrings/debian-bookworm.gpg"),
            _ => include_bytes!("../../../recipes/keyrings/debian-trixie.gpg"),
        };
        fs::write(&keys, keyring).unwrap();
        let archive = Server::start(self.archive());
        let mut command = Command::new("unshare");
        // Scripts ask for names of this machine and of others. They get what they get in our sandbox: `localhost`, and no
        // answer.
        let alone = "hostname localhost; : > \"$TMPDIR/none\"; mount --bind \"$TMPDIR/none\" /etc/resolv.conf; \
                     exec mmdebstrap \"$@\"";
        command.args(["--uts", "--mount", "sh", "-ec", alone, "mmdebstrap"]);
        command.args(options(self.set)).arg(self.set.suite).arg(&tree);
        for (suite, _) in &self.lock.suites {
            command.arg(format!(
                "deb [signed-by={}] {} {suite} main",
                keys.display(),
                archive.uri()
            ));
        }
        // Nothing of this machine's environment gets into the tree.
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        command.env_clear().env("PATH", path).env("HOME", "/root").env("TMPDIR", folder);
        run(command.env("SOURCE_DATE_EPOCH", EPOCH.to_string()));
        tree
    }

    /// The lists as they came from the mirror, signatures and all, and the packages.
    fn archive(&self) -> Tree {
        let indexes = images::cache().join("indexes");
        let releases = fs::read_dir(&indexes).unwrap().map(|entry| entry.unwrap().path());
        let releases: Vec<String> = releases
            .filter(|path| path.extension().is_some_and(|extension| extension == "InRelease"))
            .map(|path| fs::read_to_string(path).unwrap())
            .collect();
        let mut tree = Tree::new();
        for (suite, list) in &self.lock.suites {
            let release = releases.iter().find(|release| release.contains(list.as_str()));
            let release =
                release.unwrap_or_else(|| panic!("the list of {suite} is in no Release file"));
            tree.insert(format!("dists/{suite}/InRelease"), release.clone().into_bytes());
            let bytes = fs::read(indexes.join("lists").join(list)).unwrap();
            tree.insert(format!("dists/{suite}/main/binary-amd64/Packages"), bytes);
        }
        for (path, digest) in &self.lock.packages {
            let file = images::cache().join(format!("packages/sha256/{digest}.deb"));
            tree.insert(path.clone(), fs::read(file).unwrap());
        }
        tree
    }
}

fn options(set: &Set) -> Vec<String> {
    let mut options = vec![
        format!("--variant={}", set.variant),
        "--mode=root".to_owned(),
        "--format=directory".to_owned(),
        "--quiet".to_owned(),
        "--dpkgopt=force-unsafe-io".to_owned(),
        "--aptopt=APT::Install-Recommends \"false\"".to_owned(),
    ];
    if set.suite == "bookworm" {
        // Folders at the top are links from the start, as debootstrap and we have it. Otherwise a package merges them later,
        // and where it does, it makes two files of one with two names.
        let link = "ln -s \"usr/$folder\" \"$1/$folder\"; mkdir -p \"$1/usr/$folder\"";
        options.push(format!("--setup-hook=for folder in bin sbin lib lib64; do {link}; done"));
    }
    if !set.packages.is_empty() {
        options.push(format!("--include={}", set.packages.join(",")));
    }
    options
}

#[test]
fn a_kept_listing_that_is_not_whole_or_of_something_else_does_not_count() {
    let set = &crate::sets::SETS[0];
    let lock = Locked { suites: Vec::new(), packages: [("p".to_owned(), "d".to_owned())].into() };
    let witness = Witness::of(set, &lock);
    let listing = Listing::from_text("a\t1\nb\t2\n").unwrap();
    let text = witness.text(&listing);
    assert_eq!(witness.parse(&text), Some(listing));
    for broken in [
        "",
        "\n",
        &text[..text.len() - 1],
        &text.replace("b\t2\n", ""),
        &text.replace("d\n", "e\n"),
    ] {
        assert_eq!(witness.parse(broken), None, "{broken}");
    }
    let other = Locked { suites: Vec::new(), packages: [("p".to_owned(), "e".to_owned())].into() };
    let other = Witness::of(set, &other);
    assert_eq!(other.parse(&text), None);
    assert_ne!(other.path(), witness.path());
}

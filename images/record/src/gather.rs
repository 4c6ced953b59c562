//! From what lies in an image to what is kept of it.

use std::collections::BTreeMap;

use overboot_merge::{Changes, changes_path};

use crate::packages::installed;
use crate::{Beneath, Contents, Deb, Distribution, Diversion, Error, Listing, Ownership, Package};

/// Where dpkg keeps what each package has.
const INFO: &str = "var/lib/dpkg/info/";
const STATUS: &str = "var/lib/dpkg/status";
const DIVERSIONS: &str = "var/lib/dpkg/diversions";

/// The contents of a whole root. `debs` are the files its packages came from, by `name=version`.
///
/// # Errors
/// Its database of packages is none.
pub fn root(
    listing: Listing,
    distribution: Distribution,
    debs: &BTreeMap<String, Deb>,
) -> Result<Contents, Error> {
    let text = |path| listing.texts.get(path).map(String::as_str).unwrap_or_default();
    let packages = installed(text(STATUS))?;
    let lines: Vec<&str> = text(DIVERSIONS).lines().collect();
    let diversions = lines.chunks_exact(3).map(diversion).collect();
    let contents = Contents { distribution, packages, diversions, ..start() };
    let ownership = Ownership::among(&listing.files).diverted_by(&contents.diversions);
    Ok(finish(contents, listing, ownership, None, debs))
}

/// The contents of the overlay `name`, which was built on `below`.
///
/// # Errors
/// What it says of the databases is damaged.
pub fn overlay(
    name: &str,
    listing: Listing,
    below: &Contents,
    beneath: Beneath,
    debs: &BTreeMap<String, Deb>,
) -> Result<Contents, Error> {
    let note = changes_path(name);
    let damaged = |error: overboot_merge::Error| Error::Database {
        file: format!("/{note}"),
        reason: error.to_string(),
    };
    let changes = listing.texts.get(&note).map(|text| Changes::parse(text.as_bytes()));
    let mut changes = changes.transpose().map_err(damaged)?.unwrap_or_else(Changes::none);
    let status = changes.databases.remove(STATUS).unwrap_or_default();
    let stanzas: Vec<String> = status.put.into_values().collect();
    let mut packages = installed(&stanzas.join("\n\n"))?;
    // A package beneath is noted when anything about its state has changed: what counts here is what is installed.
    packages.retain(|package| {
        below.package(&package.name).is_none_or(|there| there.version != package.version)
    });
    // `name architecture`
    let removed = status.gone.iter().filter_map(|key| key.split(' ').next());
    let removed = removed
        .filter(|name| !packages.iter().any(|package| package.name == **name))
        .map(str::to_owned)
        .collect();
    let diverted = changes.databases.remove(DIVERSIONS).unwrap_or_default();
    let mut diversions = below.diversions.clone();
    diversions.retain(|diversion| !diverted.gone.contains(&format!("/{}", diversion.from)));
    diversions.extend(diverted.put.values().filter_map(|record| {
        let lines: Vec<&str> = record.lines().collect();
        (lines.len() == 3).then(|| diversion(&lines))
    }));
    let contents = Contents {
        distribution: below.distribution.clone(),
        beneath: Some(beneath),
        packages,
        removed,
        diversions,
        ..start()
    };
    let files = below.files.iter().chain(&listing.files);
    let mut ownership = Ownership::among(files).diverted_by(&contents.diversions);
    for file in &below.files {
        if let Some(package) = &file.package {
            ownership.keep(&file.path, package);
        }
    }
    Ok(finish(contents, listing, ownership, Some(below), debs))
}

/// The contents of an image of files that were taken out of packages; `owner` knows which path came from which.
pub fn files(
    mut listing: Listing,
    distribution: Distribution,
    packages: Vec<Package>,
    owner: impl Fn(&str) -> Option<String>,
) -> Contents {
    for file in listing.files.iter_mut().filter(|file| has_owner(file)) {
        file.package = owner(&file.path);
    }
    Contents { distribution, packages, files: listing.files, ..start() }
}

fn start() -> Contents {
    Contents { format: Contents::FORMAT, ..Contents::default() }
}

fn finish(
    mut contents: Contents,
    mut listing: Listing,
    mut ownership: Ownership,
    below: Option<&Contents>,
    debs: &BTreeMap<String, Deb>,
) -> Contents {
    for (path, text) in &listing.texts {
        let stem = path.strip_prefix(INFO).and_then(|path| path.strip_suffix(".list"));
        let Some(stem) = stem else { continue };
        // `libc6:amd64.list` where several architectures of a package may be installed together.
        let name = stem.split(':').next().unwrap_or(stem);
        for path in text.lines() {
            ownership.claim(name, path);
        }
    }
    for file in listing.files.iter_mut().filter(|file| has_owner(file)) {
        file.package = ownership.owner(&file.path).map(str::to_owned);
    }
    contents.files = listing.files;
    for at in 0..contents.packages.len() {
        let package = &contents.packages[at];
        let place = ownership.place(&format!("usr/share/doc/{}/copyright", package.name));
        let there = contents.file(&place).or_else(|| below.and_then(|below| below.file(&place)));
        let copyright = there.map(|file| file.path.clone());
        let deb = debs.get(&format!("{}={}", package.name, package.version)).cloned();
        let package = &mut contents.packages[at];
        (package.copyright, package.deb) = (copyright, deb);
    }
    contents
}

/// Folders are every package's that has something in them.
fn has_owner(file: &crate::File) -> bool {
    file.kind != crate::Kind::Folder
}

/// From three lines: what, whereto, and whose is not diverted (`:` for nobody's).
fn diversion(lines: &[&str]) -> Diversion {
    let relative = |path: &str| path.trim_start_matches('/').to_owned();
    Diversion {
        from: relative(lines[0]),
        to: relative(lines[1]),
        by: (lines[2] != ":").then(|| lines[2].to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use overboot_digest::Digest;
    use overboot_merge::Delta;

    use super::*;
    use crate::{File, Kind};

    fn file(path: &str, kind: Kind) -> File {
        File {
            path: path.to_owned(),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            package: None,
            xattrs: BTreeMap::new(),
        }
    }

    fn plain(path: &str) -> File {
        file(path, Kind::File { size: 1, sha256: Digest::of("x") })
    }

    fn listing(files: Vec<File>, texts: &[(&str, &str)]) -> Listing {
        let mut files = files;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let own = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        Listing { files, texts: texts.iter().map(own).collect() }
    }

    fn stanza(name: &str, version: &str) -> String {
        format!(
            "Package: {name}\nStatus: install ok installed\nVersion: {version}\nArchitecture: amd64"
        )
    }

    fn base() -> Contents {
        let status = stanza("a", "1") + "\n\n" + &stanza("b", "1") + "\n";
        let listing = listing(
            vec![
                file("bin", Kind::Symlink("usr/bin".into())),
                file("usr/bin", Kind::Folder),
                plain("usr/bin/tool"),
                plain("usr/bin/tool.real"),
                plain("etc/made"),
                plain("usr/share/doc/a/copyright"),
                file("usr/share/doc/b", Kind::Symlink("a".into())),
            ],
            &[
                (STATUS, &status),
                (DIVERSIONS, "/bin/tool\n/bin/tool.real\nb\n"),
                (
                    "var/lib/dpkg/info/a:amd64.list",
                    "/.\n/bin\n/bin/tool\n/usr/share/doc/a/copyright\n",
                ),
                ("var/lib/dpkg/info/b.list", "/.\n/usr/bin/tool\n"),
            ],
        );
        let deb = Deb { sha256: Digest::of("deb"), size: 3, suite: None, archive: None, url: None };
        root(listing, Distribution::default(), &[("a=1".to_owned(), deb)].into()).unwrap()
    }

    #[test]
    fn a_roots_files_have_owners() {
        let base = base();
        let owner = |path: &str| base.file(path).unwrap().package.as_deref();
        assert_eq!(owner("usr/bin/tool"), Some("b"));
        assert_eq!(owner("usr/bin/tool.real"), Some("a"), "diverted, and through a link");
        assert_eq!(owner("usr/bin"), None, "folders are shared");
        assert_eq!(owner("etc/made"), None);
        let [a, b] = &base.packages[..] else { panic!("{:?}", base.packages) };
        assert_eq!(a.deb.as_ref().unwrap().size, 3);
        assert_eq!(a.copyright.as_deref(), Some("usr/share/doc/a/copyright"));
        assert_eq!(b.copyright, a.copyright, "through a link");
    }

    #[test]
    fn an_overlays_files_have_owners_of_both_layers() {
        let mut changes = Changes::none();
        let put =
            [("a amd64".to_owned(), stanza("a", "1")), ("c amd64".to_owned(), stanza("c", "9"))];
        let gone = ["b amd64".to_owned()].into();
        changes.databases.insert(STATUS.to_owned(), Delta { put: put.into(), gone });
        let note = changes_path("o");
        let note_text = String::from_utf8(changes.to_bytes()).unwrap();
        let listing = listing(
            vec![plain("usr/bin/c"), plain("usr/bin/tool"), plain("etc/new"), plain(&note)],
            &[(&note, &note_text), ("var/lib/dpkg/info/c.list", "/bin/c\n")],
        );
        let beneath = Beneath { target: "base/base".into(), contents: Digest::of("base") };
        let over = overlay("o", listing, &base(), beneath, &BTreeMap::new()).unwrap();
        let owner = |path: &str| over.file(path).unwrap().package.as_deref();
        assert_eq!(owner("usr/bin/c"), Some("c"), "through the base's link");
        assert_eq!(owner("usr/bin/tool"), Some("b"), "a changed file of the base");
        assert_eq!(owner("etc/new"), None);
        let names: Vec<&str> = over.packages.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["c"], "what is as in the base is the base's");
        assert_eq!(over.removed, ["b"]);
    }
}

//! What an archive says about a suite: the `Release` file (Debian repository format, wiki.debian.org/DebianRepository/Format).
//!
//! Pure: text in, facts out. Whoever calls has checked the signature.

use std::collections::HashMap;

use overboot_debian::deb822;
use overboot_digest::Digest;

use crate::trust::CLOCK_SKEW;
use crate::{Error, Source, time};

/// The facts of a Release file that matter here.
#[derive(Debug, Clone)]
pub struct Release {
    /// Such as `stable`; empty where the archive does not say.
    pub suite: String,
    /// Such as `trixie`; empty where the archive does not say.
    pub codename: String,
    /// Who runs the archive: `Debian`, `Ubuntu`.
    pub origin: String,
    /// What its owner calls it: `Debian Backports`; empty where the archive does not say.
    pub label: String,
    /// The point release: `13.2`; empty where there is none.
    pub version: String,
    /// When it was made, seconds since 1970.
    pub date: u64,
    /// Until when it may be relied upon, seconds since 1970.
    pub valid_until: Option<u64>,
    /// Such as `amd64`, and `all` where those packages have an index.
    pub architectures: Vec<String>,
    /// Such as `main`.
    pub components: Vec<String>,
    /// Are its packages only taken where they are asked for, as experimental's are?
    pub not_automatic: bool,
    /// Are newer versions of what was taken from it taken nevertheless, as those of backports are?
    pub but_automatic_upgrades: bool,
    /// May an index be fetched by its digest? It may then not change while it is read.
    pub by_hash: bool,
    /// Are packages for all architectures only in `binary-all`, and not in each architecture's index too?
    pub separate_all: bool,
    /// The indexes by their path beneath the suite's directory.
    pub files: HashMap<String, ReleaseFile>,
}

/// An index as a Release file promises it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseFile {
    /// Its content.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// Which of an archive's own promises are held against the clock.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Refuse a Release file whose `Valid-Until` has passed. Off only for archives that are old on purpose.
    pub check_valid_until: bool,
}

impl Release {
    /// Reads the text of a Release file.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let stanza = deb822::single(text).map_err(|error| error.to_string())?;
        let field = |name| stanza.get(name).unwrap_or("").to_owned();
        let yes = |name| field(name).eq_ignore_ascii_case("yes");
        let words = |name| field(name).split_ascii_whitespace().map(str::to_owned).collect();
        let date = |name| {
            let read = |text| time::parse(text).ok_or(format!("{name} \"{text}\" is no date"));
            stanza.get(name).map(read).transpose()
        };
        let architectures: Vec<String> = words("Architectures");
        let no_separate_all = field("No-Support-for-Architecture-all");
        Ok(Self {
            suite: field("Suite"),
            codename: field("Codename"),
            origin: field("Origin"),
            label: field("Label"),
            version: field("Version"),
            date: date("Date")?.ok_or("it has no Date")?,
            valid_until: date("Valid-Until")?,
            separate_all: architectures.iter().any(|architecture| architecture == "all")
                && !no_separate_all.split_ascii_whitespace().any(|kind| kind == "Packages"),
            architectures,
            components: words("Components"),
            not_automatic: yes("NotAutomatic"),
            but_automatic_upgrades: yes("ButAutomaticUpgrades"),
            by_hash: yes("Acquire-By-Hash"),
            files: files(stanza.get("SHA256").ok_or("it has no SHA256 list")?)?,
        })
    }

    /// Is this the suite that was asked for, and now? `url` is for the message.
    ///
    /// # Errors
    /// [`Error::OtherSuite`], [`Error::Expired`], [`Error::FromTheFuture`].
    pub fn check(&self, source: &Source, url: &str, now: u64, policy: Policy) -> Result<(), Error> {
        // A folder has no name: whose it is, its signature says.
        if !source.is_flat() && !self.is_suite(&source.suite) {
            return Err(Error::OtherSuite {
                url: url.to_owned(),
                wanted: source.suite.clone(),
                found_suite: self.suite.clone(),
                found_codename: self.codename.clone(),
            });
        }
        if self.date > now.saturating_add(CLOCK_SKEW) {
            return Err(Error::FromTheFuture { url: url.to_owned(), date: self.date, now });
        }
        match self.valid_until {
            Some(valid_until) if policy.check_valid_until && valid_until < now => {
                Err(Error::Expired { url: url.to_owned(), valid_until, now })
            }
            _ => Ok(()),
        }
    }

    /// Is `wanted` this suite's name? Ubuntu gives all pockets of a release one codename (`noble-updates` has `Codename:
    /// noble`), so a codename counts only where the suite is no other pocket than the wanted one.
    ///
    /// Others have suites in folders, `bookworm/product/8.0`, and apt expects the name to end before the last of them.
    fn is_suite(&self, wanted: &str) -> bool {
        let wanted = wanted.trim_matches('/');
        let is = |wanted: &str| {
            self.suite == wanted
                || (self.codename == wanted && pocket(&self.suite) == pocket(wanted))
        };
        is(wanted) || wanted.rsplit_once('/').is_some_and(|(folder, _)| is(folder))
    }

    /// For apt's preferences, what tells this suite from others: `o=Debian,l=Debian,a=stable,n=trixie` (apt_preferences(5)).
    #[must_use]
    pub fn described(&self) -> String {
        let fields =
            [("o", &self.origin), ("l", &self.label), ("a", &self.suite), ("n", &self.codename)];
        // What would end a value, or mean more than itself, is any one character.
        let plain = |c| if ",*[]\\".contains(c) || c == '\n' { '?' } else { c };
        let told = fields.into_iter().filter(|(_, value)| !value.is_empty());
        let told = told
            .map(|(key, value)| format!("{key}={}", value.chars().map(plain).collect::<String>()));
        told.collect::<Vec<_>>().join(",")
    }

    /// Its date as services that keep all states of an archive have it in their addresses: `20261120T083012Z`.
    #[must_use]
    pub fn snapshot(&self) -> String {
        time::snapshot(self.date)
    }

    /// The index of binary packages, uncompressed as the Release file lists it, with its path without extension. A folder has
    /// one for all architectures, and no component.
    pub(crate) fn packages(
        &self,
        component: &str,
        architecture: &str,
    ) -> Option<(String, ReleaseFile)> {
        let path = match component {
            "" => "Packages".to_owned(),
            component => format!("{component}/binary-{architecture}/Packages"),
        };
        self.files.get(&path).map(|&file| (path, file))
    }
}

/// What a suite's name says after the release: `-updates` of `trixie-updates`.
fn pocket(suite: &str) -> &str {
    const POCKETS: [&str; 5] =
        ["-security", "-updates", "-proposed-updates", "-proposed", "-backports"];
    let longest = POCKETS.iter().filter(|pocket| suite.ends_with(**pocket)).max_by_key(|p| p.len());
    longest.copied().unwrap_or("")
}

/// The lines ` DIGEST SIZE PATH` of the SHA256 field.
fn files(list: &str) -> Result<HashMap<String, ReleaseFile>, String> {
    let mut files = HashMap::new();
    for line in list.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.split_ascii_whitespace();
        let (Some(digest), Some(size), Some(path), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(format!("\"{line}\" in its SHA256 list is not DIGEST SIZE PATH"));
        };
        let sha256 = digest.parse().map_err(|error| format!("in its SHA256 list, {error}"))?;
        let size = size.parse().map_err(|_| format!("\"{size}\" in its SHA256 list is no size"))?;
        // Listed twice with the same facts happens; with others, nobody knows which holds.
        let file = ReleaseFile { sha256, size };
        if files.insert(path.to_owned(), file).is_some_and(|before| before != file) {
            return Err(format!("its SHA256 list has {path} twice, differently"));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(suite: &str, codename: &str) -> Release {
        let digest = Digest::of("").hex();
        let text = format!(
            "Origin: Debian\nSuite: {suite}\nCodename: {codename}\nVersion: 13.2\n\
             Date: Sat, 15 Nov 2025 09:14:22 UTC\nValid-Until: Sat, 22 Nov 2025 09:14:22 UTC\nAcquire-By-Hash: yes\n\
             Architectures: all amd64\nComponents: main contrib\nNo-Support-for-Architecture-all: Packages\n\
             SHA256:\n {digest}        0 main/binary-amd64/Packages\n {digest} 7 main/binary-amd64/Packages.xz\n"
        );
        Release::parse(&text).unwrap()
    }

    #[test]
    fn the_facts_are_read() {
        let release = release("stable", "trixie");
        assert_eq!((release.date, release.valid_until), (1_763_198_062, Some(1_763_802_862)));
        assert_eq!((release.by_hash, release.separate_all), (true, false));
        assert_eq!(release.components, ["main", "contrib"]);
        let (path, file) = release.packages("main", "amd64").unwrap();
        assert_eq!((path.as_str(), file.size), ("main/binary-amd64/Packages", 0));
        assert!(release.packages("main", "arm64").is_none());
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "no stanza"),
            ("Suite: stable\nSHA256:\n", "it has no Date"),
            ("Date: yesterday\nSHA256:\n", "Date \"yesterday\" is no date"),
            ("Date: Sat, 15 Nov 2025 09:14:22 UTC\n", "no SHA256 list"),
            ("Date: Sat, 15 Nov 2025 09:14:22 UTC\nSHA256:\n abc 1 x\n", "not a SHA-256 digest"),
            ("Date: Sat, 15 Nov 2025 09:14:22 UTC\nSHA256:\n abc 1\n", "not DIGEST SIZE PATH"),
        ] {
            let error = Release::parse(text).unwrap_err();
            assert!(error.contains(reason), "{error} for {text}");
        }
    }

    #[test]
    fn a_suite_answers_to_its_names_and_no_other() {
        for (suite, codename, wanted, is) in [
            ("stable", "trixie", "trixie", true),
            ("stable", "trixie", "stable", true),
            ("stable", "trixie", "bookworm", false),
            ("stable-security", "trixie-security", "trixie-security", true),
            ("stable-security", "trixie-security", "trixie", false),
            ("noble-updates", "noble", "noble-updates", true),
            ("noble-updates", "noble", "noble", false),
            ("noble", "noble", "noble", true),
            ("", "trixie", "trixie", true),
            ("stable-proposed-updates", "trixie-proposed-updates", "trixie-updates", false),
            ("trixie/product", "", "trixie/product/8.0", true),
            ("trixie", "", "trixie/updates", true),
            ("product", "", "trixie/updates", false),
        ] {
            assert_eq!(
                release(suite, codename).is_suite(wanted),
                is,
                "{suite}/{codename} {wanted}"
            );
        }
    }

    #[test]
    fn apt_can_tell_it_from_others() {
        let mut release = release("stable", "trixie");
        release.label = "Some, and [more]*".to_owned();
        assert_eq!(release.described(), "o=Debian,l=Some? and ?more??,a=stable,n=trixie");
    }

    #[test]
    fn dates_are_held_against_the_clock() {
        let release = release("stable", "trixie");
        let source = Source::new("http://example.org/debian", "trixie", "main");
        let check = |now, check_valid_until| {
            release.check(&source, "http://x/InRelease", now, Policy { check_valid_until })
        };
        let (date, until) = (release.date, release.valid_until.unwrap());
        assert!(check(date, true).is_ok() && check(until, true).is_ok());
        assert!(matches!(check(until + 1, true), Err(Error::Expired { .. })));
        assert!(check(until + 1, false).is_ok());
        assert!(matches!(check(date - CLOCK_SKEW - 1, false), Err(Error::FromTheFuture { .. })));
        assert!(check(date - CLOCK_SKEW, true).is_ok());
    }
}

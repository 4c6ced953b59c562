//! Extra archives, extra suites and pins.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;

use super::Check;
use super::archive::ARCHITECTURES;
use crate::archive::{Archive, ExtraArchive, Pin, PinnedVersions};
use crate::manifest;
use crate::near::near;
use crate::place::Placed;

impl Check<'_> {
    /// A suite that is taken anyway would only be listed twice.
    pub(super) fn extra_suites(&mut self, archive: &Archive, given: &[Spanned<String>]) {
        let suites = archive.suites();
        for one in given {
            if suites.iter().filter(|suite| suite.value == *one.as_ref()).count() > 1 {
                self.wrong(
                    one.span(),
                    format!("the suite \"{}\" is taken already", one.as_ref()),
                    "leave it out here",
                );
            }
        }
    }

    /// The extra archives that there are for this architecture.
    pub(super) fn extra_archives(
        &mut self,
        main: &Archive,
        given: &BTreeMap<Spanned<String>, manifest::ExtraArchive>,
    ) -> Vec<ExtraArchive> {
        let mut archives: Vec<ExtraArchive> = Vec::new();
        for (name, extra) in given {
            if main.suites().iter().any(|suite| suite.value == *name.as_ref()) {
                self.wrong(
                    name.span(),
                    format!("\"{}\" is a suite of the main archive, too", name.as_ref()),
                    "give the archive another name: a pin could not tell them apart",
                );
            }
            let only: Option<Vec<&str>> = extra.architectures.as_ref().map(|all| {
                let all = self.filled("architectures", all).iter();
                all.map(|one| self.choice("architecture", one, &ARCHITECTURES)).collect()
            });
            if only.is_some_and(|only| !only.contains(&main.architecture.as_str())) {
                continue;
            }
            let Some(archive) = self.extra_archive(name, extra) else { continue };
            let shared = |mirror: &Placed<String>, suites: &[Placed<String>]| {
                *mirror == archive.mirror && suites.iter().any(|one| archive.suites.contains(one))
            };
            let twin = if main.mirror.as_ref().is_some_and(|one| shared(one, &main.suites())) {
                Some("the main archive".to_owned())
            } else {
                let twin = archives.iter().find(|other| shared(&other.mirror, &other.suites));
                twin.map(|other| format!("[archive.extra.{}]", other.name))
            };
            if let Some(twin) = twin {
                self.wrong(
                    name.span(),
                    format!("\"{}\" is where {twin} is, with the same suite", archive.name),
                    "write each suite once; further suites of the main archive stand in `extra-suites`",
                );
            }
            archives.push(archive);
        }
        archives
    }

    fn extra_archive(
        &mut self,
        name: &Spanned<String>,
        given: &manifest::ExtraArchive,
    ) -> Option<ExtraArchive> {
        let checked = self.name("an archive", name);
        let mirror =
            self.needed(name, "mirror", "\"https://packages.example.com/debian\"", &given.mirror);
        let suites = given.suites.as_ref().filter(|suites| !suites.is_empty());
        let suites = self.needed(name, "suites", "[\"stable\"]", &suites);
        let keyring =
            format!("\"keys/{checked}.asc\", the public keys that its owner publishes to sign it");
        let keyring = self.needed(name, "keyring", &keyring, &given.keyring);
        let (mirror, suites, keyring) = (mirror?, suites?, keyring?);

        let flat = suites.iter().any(|suite| suite.as_ref().ends_with('/'));
        let components = match &given.components {
            Some(components) if flat => {
                if let [first, ..] = &components.as_ref()[..] {
                    self.wrong(
                        first.span(),
                        "a suite that ends with \"/\" has no components".to_owned(),
                        "leave `components` out, or name the suite as it stands in `dists/`",
                    );
                }
                Vec::new()
            }
            Some(given) => {
                let given = self.filled("components", given);
                let names: Vec<_> = given.iter().map(|one| self.component(one)).collect();
                self.once(given, &names);
                names
            }
            None if flat => Vec::new(),
            // It goes with the suite.
            None => vec![Placed { value: "main".to_owned(), place: self.place(suites[0].span()) }],
        };
        let named: Vec<_> = suites.iter().map(|suite| self.extra_suite(suite, flat)).collect();
        self.once(suites, &named);
        Some(ExtraArchive {
            name: checked,
            mirror: self.url("mirror", mirror),
            suites: named,
            components,
            keyring: self.file(keyring, false),
            in_image: given.in_image.unwrap_or(true),
        })
    }

    /// A key that each extra archive must have.
    fn needed<'g, T>(
        &mut self,
        name: &Spanned<String>,
        key: &str,
        such: &str,
        given: &'g Option<T>,
    ) -> Option<&'g T> {
        if given.is_none() {
            self.wrong(
                name.span(),
                format!("[archive.extra.{}] has no `{key}`", name.as_ref()),
                format!("write {key} = {such}"),
            );
        }
        given.as_ref()
    }

    /// As the suites of others are named; or a folder, which is written with a slash at its end.
    fn extra_suite(&mut self, given: &Spanned<String>, flat: bool) -> Placed<String> {
        let text = self.text(given);
        if !is_path(text.trim_start_matches("./").trim_matches('/'), text.ends_with('/')) {
            self.wrong(
                given.span(),
                format!("\"{text}\" is not the name of a suite"),
                "write it as in a line of apt's sources: \"stable\", or \"./\" where there is no folder `dists`",
            );
        } else if flat && !text.ends_with('/') {
            self.wrong(
                given.span(),
                format!("\"{text}\" is in `dists/`, and another suite of this archive is not"),
                "write two archives",
            );
        }
        text
    }

    fn component(&mut self, given: &Spanned<String>) -> Placed<String> {
        let text = self.text(given);
        if !is_path(&text, false) {
            self.wrong(
                given.span(),
                format!("\"{text}\" is not the name of a component"),
                "write it as in a line of apt's sources: \"main\"",
            );
        }
        text
    }

    pub(super) fn pins(&mut self, checked: &Archive, given: &manifest::Archive) -> Vec<Pin> {
        let elsewhere: Vec<&str> = given.extra.keys().map(|name| name.as_ref().as_str()).collect();
        given.pin.iter().filter_map(|pin| self.pin(checked, &elsewhere, pin)).collect()
    }

    /// A pin; none where it is about an archive that is not used on this architecture.
    fn pin(
        &mut self,
        archive: &Archive,
        extra: &[&str],
        given: &Spanned<manifest::Pin>,
    ) -> Option<Pin> {
        let pin = given.as_ref();
        let head = given.span().start..given.span().start + 1;
        let packages = self.pinned_packages(&head, pin);
        let which = match (&pin.from, &pin.version) {
            (None, None) => PinnedVersions::All,
            (Some(from), None) => self.pinned_source(archive, extra, from)?,
            (None, Some(version)) => {
                if packages.first().is_some_and(|name| name.value == "*") {
                    self.wrong(
                        version.span(),
                        "no version is one of all packages".to_owned(),
                        "name the packages that it is a version of",
                    );
                }
                PinnedVersions::Version(self.pinned_version(version))
            }
            (Some(_), Some(version)) => {
                self.wrong(
                    version.span(),
                    "a pin is about an archive or about a version".to_owned(),
                    "leave out `from` or `version`",
                );
                PinnedVersions::All
            }
        };
        Some(Pin { packages, which, priority: self.priority(&head, pin) })
    }

    fn pinned_packages(&mut self, head: &Range<usize>, pin: &manifest::Pin) -> Vec<Placed<String>> {
        let given = pin.packages.as_deref().unwrap_or_default();
        if given.is_empty() {
            let message = "this pin has no `packages`".to_owned();
            self.wrong(
                head.clone(),
                message,
                "write packages = [\"name\", \"name-*\"], or [\"*\"]",
            );
        }
        let mut names = Vec::new();
        for one in given {
            let text = self.text(one);
            let letter =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.*?".contains(c);
            if text.is_empty() || !text.chars().all(letter) {
                self.wrong(
                    one.span(),
                    format!("\"{text}\" is not the name of a package"),
                    "write \"name\", with * for any letters and ? for any one",
                );
            } else if text.value == "*" && given.len() > 1 {
                self.wrong(
                    one.span(),
                    "\"*\" is all packages: nothing is named beside it".to_owned(),
                    "leave out the others, or \"*\"",
                );
            }
            names.push(text);
        }
        names
    }

    fn pinned_source(
        &mut self,
        archive: &Archive,
        extra: &[&str],
        from: &Spanned<String>,
    ) -> Option<PinnedVersions> {
        let text = self.text(from).value;
        let suites: Vec<String> = archive.suites().into_iter().map(|suite| suite.value).collect();
        if suites.contains(&text) {
            return Some(PinnedVersions::Suite(text));
        }
        if extra.contains(&text.as_str()) {
            let here = archive.extra.iter().any(|extra| extra.name.value == text);
            return here.then_some(PinnedVersions::Archive(text));
        }
        let known = || suites.iter().map(String::as_str).chain(extra.iter().copied());
        let help = match near(&text, known()).first() {
            Some(name) => format!("write \"{name}\""),
            None => format!(
                "write one of: {}; or name it in `extra-suites`, or as [archive.extra.{text}]",
                known().collect::<Vec<_>>().join(", ")
            ),
        };
        self.wrong(from.span(), format!("no packages are taken from \"{text}\""), help);
        Some(PinnedVersions::All)
    }

    fn pinned_version(&mut self, given: &Spanned<String>) -> String {
        let text = self.text(given).value;
        let plain = text.strip_suffix('*').unwrap_or(&text);
        let letter = |c: char| c.is_ascii_alphanumeric() || ".+-~:".contains(c);
        if !plain.starts_with(|c: char| c.is_ascii_digit()) || !plain.chars().all(letter) {
            self.wrong(
                given.span(),
                format!("\"{text}\" is not a version"),
                "write a whole version, or the beginning of one and * at its end: \"6.12.*\"",
            );
        }
        text
    }

    fn priority(&mut self, head: &Range<usize>, pin: &manifest::Pin) -> i16 {
        let Some(given) = &pin.priority else {
            let message = "this pin has no `priority`".to_owned();
            self.wrong(head.clone(), message, "write priority = 990 to prefer, -1 for never");
            return 1;
        };
        match i16::try_from(*given.as_ref()) {
            Ok(priority) if priority != 0 => priority,
            _ => {
                self.wrong(
                    given.span(),
                    format!("{} is no priority", given.as_ref()),
                    "write one from 1 to 32767, or one below 0 for never; 500 is usual",
                );
                1
            }
        }
    }
}

/// Words of a path that lead nowhere but down. `folder`: it may be empty, for where one is.
fn is_path(text: &str, folder: bool) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || "-._+~:".contains(c);
    let word = |word: &str| !word.is_empty() && word.chars().all(letter) && !word.starts_with('.');
    (folder && text.is_empty()) || text.split('/').all(word)
}

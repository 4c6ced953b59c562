//! One value at a time.

use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use overboot_digest::Digest;
use toml::Spanned;

use super::Check;
use super::archive::ARCHITECTURES;
use crate::manifest::{Var, Vars};
use crate::near::near;
use crate::place::{Place, Placed};

impl Check<'_> {
    /// Sets variables, over those that hold already.
    pub(super) fn define(&mut self, vars: &Vars, architecture: &str) {
        for (name, value) in vars {
            let fine = name.as_ref().chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
            if !fine || name.as_ref() == "arch" || name.as_ref().is_empty() {
                self.wrong(
                    name.span(),
                    format!("\"{}\" cannot be the name of a variable", name.as_ref()),
                    "write letters, digits, '-' and '_'; arch is the architecture, and taken",
                );
                continue;
            }
            let text = match value.as_ref() {
                Var::Text(text) => {
                    self.plain(text, value.span());
                    Some((text, value.span()))
                }
                Var::ByArchitecture(texts) => {
                    for (name, text) in texts {
                        self.choice("architecture", name, &ARCHITECTURES);
                        self.plain(text.as_ref(), text.span());
                    }
                    texts.get(architecture).map(|text| (text.as_ref(), text.span()))
                }
            };
            let name = name.as_ref().clone();
            match text {
                Some((text, span)) => {
                    let text = Placed { value: text.clone(), place: self.place(span) };
                    self.vars.insert(name, text);
                }
                // It is missed where it is used.
                None => {
                    self.vars.remove(&name);
                }
            }
        }
    }

    /// Variables stand in no order: none takes in another one.
    fn plain(&mut self, text: &str, span: Range<usize>) {
        if text.contains("${") {
            self.wrong(
                span,
                "a variable's value takes in no variable".to_owned(),
                "write the text itself, or { amd64 = \"…\", arm64 = \"…\" }",
            );
        }
    }

    /// The text with `${name}` replaced by what the variables say; `$$` is a dollar.
    pub(super) fn text(&mut self, given: &Spanned<String>) -> Placed<String> {
        let mut text = String::new();
        let mut rest = given.as_ref().as_str();
        let mut variable = None;
        while let Some(at) = rest.find('$') {
            text.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                text.push('$');
                rest = after;
            } else if let Some((name, after)) =
                rest.strip_prefix('{').and_then(|inner| inner.split_once('}'))
            {
                match self.vars.get(name) {
                    Some(value) => {
                        text.push_str(value);
                        variable = variable.or(value.place.position);
                    }
                    None => self.unknown_variable(given, name),
                }
                rest = after;
            } else {
                self.wrong(
                    given.span(),
                    "a dollar sign begins a variable here".to_owned(),
                    "write ${name}, or $$ for the sign itself",
                );
            }
        }
        text.push_str(rest);
        if text.contains('\0') {
            self.wrong(
                given.span(),
                "no text can hold the character NUL".to_owned(),
                "leave \\u0000 out",
            );
        }
        match variable {
            Some(place) => self.taken.insert(given.span().start, place),
            None => self.taken.remove(&given.span().start),
        };
        Placed { value: text, place: Place { variable, ..self.place(given.span()) } }
    }

    fn unknown_variable(&mut self, given: &Spanned<String>, name: &str) {
        let arch = self.arch();
        let help = match near(name, self.vars.keys().map(String::as_str)).first() {
            Some(near) => format!("write ${{{near}}}"),
            None => format!(
                "set it in [vars], for all or for this architecture: {name} = {{ {arch} = \"…\" }}"
            ),
        };
        self.wrong(given.span(), format!("there is no variable \"{name}\" for {arch}"), help);
    }

    /// The architecture that images are for.
    pub(super) fn arch(&self) -> String {
        self.vars.get("arch").cloned().unwrap_or_default().value
    }

    pub(super) fn texts(&mut self, given: &[Spanned<String>]) -> Vec<Placed<String>> {
        given.iter().map(|one| self.text(one)).collect()
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        what: &str,
        given: &Spanned<String>,
        words: &[(&str, T)],
    ) -> T {
        if let Some((_, value)) = words.iter().find(|(word, _)| word == given.as_ref()) {
            return *value;
        }
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let help = match near(given.as_ref(), names.iter().copied()).first() {
            Some(name) => format!("write \"{name}\""),
            None => format!("write one of: {}", names.join(", ")),
        };
        self.wrong(given.span(), format!("{what} cannot be \"{}\"", given.as_ref()), help);
        words[0].1
    }

    /// Names that become file names, artifact names and words of the kernel command line.
    pub(super) fn name(&mut self, what: &str, given: &Spanned<String>) -> Placed<String> {
        let text = given.as_ref();
        let end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let fine = is_plain(text, 64) && text.starts_with(end) && text.ends_with(end);
        if !fine {
            self.wrong(
                given.span(),
                format!("\"{text}\" cannot be the name of {what}"),
                "write lower-case letters, digits, '-', '.' and '_', at most 64, a letter or digit first and last",
            );
        }
        self.said(given)
    }

    /// A user or group, as useradd(8) takes them; system groups of packages begin with `_`.
    pub(super) fn account(&mut self, what: &str, given: &Spanned<String>) -> Placed<String> {
        let text = self.text(given);
        let fine =
            is_plain(&text, 32) && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        if !fine {
            self.wrong(
                given.span(),
                format!("\"{text}\" cannot be the name of {what}"),
                "write lower-case letters, digits, '-', '.' and '_', at most 32, a letter or '_' first",
            );
        }
        text
    }

    /// A path below the project.
    pub(super) fn path(&mut self, given: &Spanned<String>) -> Placed<PathBuf> {
        let path = self.text(given).map(PathBuf::from);
        self.inside(given, &path);
        path
    }

    /// Does a path stay below the project?
    pub(super) fn inside(&mut self, given: &Spanned<String>, path: &Path) -> bool {
        let inside = path.components().all(|part| matches!(part, Component::Normal(_)))
            && !path.as_os_str().is_empty();
        if !inside {
            self.wrong(
                given.span(),
                format!("\"{}\" leads out of the project", path.display()),
                "write a path below the folder of overboot.toml, without \"..\"",
            );
        }
        inside
    }

    /// A path below the project where a file, or a folder, must be.
    pub(super) fn file(&mut self, given: &Spanned<String>, folder_wanted: bool) -> Placed<PathBuf> {
        let path = self.text(given).map(PathBuf::from);
        self.there(given, &path, folder_wanted);
        path
    }

    /// Is there a file, or a folder, at a path that is what was given, or part of it?
    pub(super) fn there(
        &mut self,
        given: &Spanned<String>,
        path: &Path,
        folder_wanted: bool,
    ) -> bool {
        if !self.inside(given, path) {
            return false;
        }
        let full = self.folder.join(path);
        let (there, what) =
            if folder_wanted { (full.is_dir(), "folder") } else { (full.is_file(), "file") };
        if !there {
            self.wrong(
                given.span(),
                format!("there is no {what} \"{}\" in the project", path.display()),
                format!("make {}", full.display()),
            );
        }
        there
    }

    pub(super) fn url(&mut self, what: &str, given: &Spanned<String>) -> Placed<String> {
        let text = self.text(given).map(|text| text.trim_end_matches('/').to_owned());
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
        if authority.is_some_and(|authority| authority.contains('@')) {
            self.wrong(
                given.span(),
                format!("the address of the {what} holds a login"),
                "write it as http://host/path, and have it let this host in without a login: images and locks, which are no secret, repeat what stands here",
            );
        } else if !authority.is_some_and(is_host_of_address) || text.contains(char::is_whitespace) {
            self.wrong(
                given.span(),
                format!("the {what} \"{text}\" is not an http:// or https:// URL"),
                "write it as http://host/path",
            );
        }
        text
    }

    /// The name of a variable, of an environment or of Ansible's.
    pub(super) fn variable_name(&mut self, given: &Spanned<String>) -> String {
        let name = given.as_ref();
        let fine = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !fine {
            let message = format!("\"{name}\" cannot be the name of a variable");
            self.wrong(given.span(), message, "write letters, digits and '_', no digit first");
        }
        name.clone()
    }

    /// A list or table that means something only where something is in it.
    pub(super) fn filled<'g, T>(&mut self, key: &str, given: &'g Spanned<T>) -> &'g T
    where
        &'g T: IntoIterator,
    {
        if given.as_ref().into_iter().next().is_none() {
            self.wrong(
                given.span(),
                format!("`{key}` names nothing"),
                "write what it names, or leave it out",
            );
        }
        given.as_ref()
    }

    /// What one list names, each once.
    pub(super) fn once(&mut self, given: &[Spanned<String>], meant: &[Placed<String>]) {
        for (at, (given, one)) in given.iter().zip(meant).enumerate() {
            if meant[..at].contains(one) {
                let message = format!("\"{one}\" is named twice");
                self.wrong(given.span(), message, "leave one of them out");
            }
        }
    }

    pub(super) fn digest(&mut self, given: &Spanned<String>) -> Option<Placed<Digest>> {
        let text = self.text(given);
        let digest = Digest::from_str(&text).ok();
        if digest.is_none() {
            self.wrong(
                given.span(),
                format!("\"{text}\" is not a SHA-256"),
                "write the 64 hexadecimal digits that sha256sum prints",
            );
        }
        digest.map(|digest| text.map(|_| digest))
    }

    pub(super) fn address<T: FromStr>(
        &mut self,
        given: &Spanned<String>,
        form: &str,
    ) -> Option<Placed<T>> {
        let parsed = given.as_ref().trim().parse().ok();
        if parsed.is_none() {
            self.wrong(given.span(), format!("\"{}\" is not an address", given.as_ref()), form);
        }
        parsed.map(|value| Placed { value, place: self.place(given.span()) })
    }

    /// What is given as it stands there, with no variables in it.
    pub(super) fn said<T: Clone>(&self, given: &Spanned<T>) -> Placed<T> {
        Placed { value: given.as_ref().clone(), place: self.place(given.span()) }
    }
}

/// A host, or host and port; not the beginning of a login that goes on after a slash.
fn is_host_of_address(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    !host.is_empty() && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// Lower-case letters, digits, `-`, `.` and `_`, and no more of them than `longest`.
fn is_plain(text: &str, longest: usize) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
    text.len() <= longest && text.chars().all(plain)
}

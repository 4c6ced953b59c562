//! One value at a time.

use std::path::{Component, PathBuf};
use std::str::FromStr;

use overboot_digest::Digest;
use toml::Spanned;

use super::Check;
use crate::manifest::{Var, Vars};
use crate::near::near;

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
            let name = name.as_ref();
            let text = match value {
                Var::Text(text) => Some(text.clone()),
                Var::ByArchitecture(texts) => texts.get(architecture).cloned(),
            };
            match text {
                Some(text) => self.vars.insert(name.clone(), text),
                // It is missed where it is used.
                None => self.vars.remove(name),
            };
        }
    }

    /// The text with `${name}` replaced by what the variables say; `$$` is a dollar.
    pub(super) fn text(&mut self, given: &Spanned<String>) -> String {
        let mut text = String::new();
        let mut rest = given.as_ref().as_str();
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
                    Some(value) => text.push_str(value),
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
        text
    }

    fn unknown_variable(&mut self, given: &Spanned<String>, name: &str) {
        let arch = self.vars.get("arch").cloned().unwrap_or_default();
        let help = match near(name, self.vars.keys().map(String::as_str)).first() {
            Some(near) => format!("write ${{{near}}}"),
            None => format!(
                "set it in [vars], for all or for this architecture: {name} = {{ {arch} = \"…\" }}"
            ),
        };
        self.wrong(given.span(), format!("there is no variable \"{name}\" for {arch}"), help);
    }

    pub(super) fn texts(&mut self, given: &[Spanned<String>]) -> Vec<String> {
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
    pub(super) fn name(&mut self, what: &str, given: &Spanned<String>) -> String {
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
        text.to_owned()
    }

    /// A user or group, as useradd(8) takes them; system groups of packages begin with `_`.
    pub(super) fn account(&mut self, what: &str, given: &Spanned<String>) -> String {
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
    pub(super) fn path(&mut self, given: &Spanned<String>) -> PathBuf {
        let path = PathBuf::from(self.text(given));
        self.inside(given, path)
    }

    fn inside(&mut self, given: &Spanned<String>, path: PathBuf) -> PathBuf {
        let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
        if !inside || path.as_os_str().is_empty() {
            self.wrong(
                given.span(),
                format!("\"{}\" leads out of the project", path.display()),
                "write a path below the folder of overboot.toml, without \"..\"",
            );
        }
        path
    }

    /// A path below the project where a file, or a folder, must be.
    pub(super) fn file(&mut self, given: &Spanned<String>, folder_wanted: bool) -> PathBuf {
        let path = PathBuf::from(self.text(given));
        self.there(given, path, folder_wanted)
    }

    /// The same, of a path that is part of what was given.
    pub(super) fn there(
        &mut self,
        given: &Spanned<String>,
        path: PathBuf,
        folder_wanted: bool,
    ) -> PathBuf {
        let mistakes = self.found.len();
        let path = self.inside(given, path);
        if self.found.len() > mistakes {
            return path;
        }
        let full = self.folder.join(&path);
        let (there, what) =
            if folder_wanted { (full.is_dir(), "folder") } else { (full.is_file(), "file") };
        if !there {
            self.wrong(
                given.span(),
                format!("there is no {what} \"{}\" in the project", path.display()),
                format!("make {}", full.display()),
            );
        }
        path
    }

    pub(super) fn url(&mut self, what: &str, given: &Spanned<String>) -> String {
        let text = self.text(given);
        let text = text.trim_end_matches('/');
        let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        if host.is_none_or(|host| host.is_empty() || text.contains(char::is_whitespace)) {
            self.wrong(
                given.span(),
                format!("{what} \"{text}\" is not an http:// or https:// URL"),
                "write it as http://host/path",
            );
        }
        text.to_owned()
    }

    pub(super) fn digest(&mut self, given: &Spanned<String>) -> Option<Digest> {
        let text = self.text(given);
        let digest = Digest::from_str(&text).ok();
        if digest.is_none() {
            self.wrong(
                given.span(),
                format!("\"{text}\" is not a SHA-256"),
                "write the 64 hexadecimal digits that sha256sum prints",
            );
        }
        digest
    }

    pub(super) fn address<T: FromStr>(&mut self, given: &Spanned<String>, form: &str) -> Option<T> {
        let parsed = given.as_ref().trim().parse().ok();
        if parsed.is_none() {
            self.wrong(given.span(), format!("\"{}\" is not an address", given.as_ref()), form);
        }
        parsed
    }
}

/// Lower-case letters, digits, `-`, `.` and `_`, and no more of them than `longest`.
fn is_plain(text: &str, longest: usize) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
    text.len() <= longest && text.chars().all(plain)
}

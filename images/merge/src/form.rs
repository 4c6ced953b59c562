//! Which files are databases of many writers, and what in them is one record.

use crate::alternatives::{Alternative, MODE};

/// How a database is made of records, and what names a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Stanzas between empty lines, named by the values of these fields (deb822(5), and debconf's own format, which looks
    /// the same); kept sorted, as dpkg and debconf write them.
    Stanzas(&'static [&'static str]),
    /// Lines of fields between colons, named by the first (passwd(5), shadow(5), subuid(5)).
    Accounts,
    /// As `Accounts`, and the last field lists members, which add up (group(5), gshadow(5)).
    Groups,
    /// Lines, named by all that follows the n-th blank: `statoverride`'s path, the conffile of ucf's tables.
    Lines {
        /// How many fields come before the name; none: the whole line is.
        before: usize,
    },
    /// Three lines together, named by the first: dpkg's `diversions`.
    Triples,
    /// The candidates for a name, and whether somebody has chosen: [`Alternative`].
    Alternatives,
}

/// Every database, besides those in [`TRIGGERS`] and [`ALTERNATIVES`], by its path from the root, without a leading `/`.
pub const DATABASES: &[(&str, Form)] = &[
    ("etc/group", Form::Groups),
    ("etc/gshadow", Form::Groups),
    ("etc/passwd", Form::Accounts),
    ("etc/shadow", Form::Accounts),
    ("etc/shells", Form::Lines { before: 0 }),
    ("etc/subgid", Form::Accounts),
    ("etc/subuid", Form::Accounts),
    ("var/cache/debconf/config.dat", Form::Stanzas(&["Name"])),
    ("var/cache/debconf/passwords.dat", Form::Stanzas(&["Name"])),
    ("var/cache/debconf/templates.dat", Form::Stanzas(&["Name"])),
    ("var/lib/apt/extended_states", Form::Stanzas(&["Package", "Architecture"])),
    ("var/lib/dpkg/diversions", Form::Triples),
    ("var/lib/dpkg/statoverride", Form::Lines { before: 3 }),
    ("var/lib/dpkg/status", Form::Stanzas(&["Package", "Architecture"])),
    ("var/lib/ucf/hashfile", Form::Lines { before: 1 }),
    ("var/lib/ucf/registry", Form::Lines { before: 1 }),
];

/// Where dpkg notes who waits for which trigger: a file for each name, and `File` for paths (dpkg's `triggers.txt`).
pub const TRIGGERS: &str = "var/lib/dpkg/triggers/";

/// Where update-alternatives notes who could be what, a file for each name.
pub const ALTERNATIVES: &str = "var/lib/dpkg/alternatives/";

impl Form {
    /// The form of the file at `path` (from the root, without a leading `/`), if it is such a database.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        if let Some(name) = path.strip_prefix(TRIGGERS) {
            let own = ["Lock", "Unincorp", ""].contains(&name) || name.contains('/');
            return (!own).then_some(Self::Lines { before: 0 });
        }
        if let Some(name) = path.strip_prefix(ALTERNATIVES) {
            let own =
                name.contains(".dpkg-") || name.contains('/') || ["", ".", ".."].contains(&name);
            return (!own).then_some(Self::Alternatives);
        }
        DATABASES.iter().find(|(known, _)| *known == path).map(|(_, form)| *form)
    }

    /// May only root read such a file? What a database gets as its mode where no layer has one.
    #[must_use]
    pub fn is_secret(path: &str) -> bool {
        ["etc/shadow", "etc/gshadow", "var/cache/debconf/passwords.dat"].contains(&path)
    }

    /// The records of a text in their order, each without the line end at its end.
    pub(crate) fn records(self, text: &str) -> Vec<String> {
        match self {
            Self::Stanzas(_) => {
                let mut records: Vec<String> = Vec::new();
                let mut open = false;
                for line in text.lines() {
                    if line.trim().is_empty() {
                        open = false;
                    } else if let (true, Some(last)) = (open, records.last_mut()) {
                        last.push('\n');
                        last.push_str(line);
                    } else {
                        records.push(line.to_owned());
                        open = true;
                    }
                }
                records
            }
            Self::Triples => {
                let lines: Vec<&str> = text.lines().collect();
                lines.chunks_exact(3).map(|three| three.join("\n")).collect()
            }
            Self::Alternatives => Alternative::parse(text).records(),
            Self::Accounts | Self::Groups | Self::Lines { .. } => {
                text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
            }
        }
    }

    /// What names a record.
    pub(crate) fn name(self, record: &str) -> String {
        match self {
            Self::Stanzas(fields) => {
                let value = |field: &&str| {
                    let mut lines = record.lines();
                    let found = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
                    found.unwrap_or_default().trim().to_owned()
                };
                fields.iter().map(value).collect::<Vec<_>>().join(" ")
            }
            Self::Accounts | Self::Groups => first(record, ':').to_owned(),
            Self::Triples => first(record, '\n').to_owned(),
            Self::Alternatives if !record.starts_with('/') => MODE.to_owned(),
            Self::Alternatives => first(record, '\n').to_owned(),
            Self::Lines { before } => {
                record.splitn(before + 1, ' ').last().unwrap_or_default().trim().to_owned()
            }
        }
    }

    /// The text of records in their order.
    pub(crate) fn text(self, records: &[String]) -> String {
        if self == Self::Alternatives {
            return Alternative::of_records(records.iter().map(String::as_str)).to_text();
        }
        let end = if matches!(self, Self::Stanzas(_)) { "\n\n" } else { "\n" };
        records.iter().flat_map(|record| [record.as_str(), end]).collect()
    }

    /// The record that stands in the end where `old` stood and `new` is to stand.
    pub(crate) fn united(self, old: &str, new: &str) -> String {
        match (self, old.rsplit_once(':'), new.rsplit_once(':')) {
            (Self::Groups, Some((_, before)), Some((head, after))) => {
                let mut members: Vec<&str> = Vec::new();
                for member in before.split(',').chain(after.split(',')) {
                    if !member.is_empty() && !members.contains(&member) {
                        members.push(member);
                    }
                }
                format!("{head}:{}", members.join(","))
            }
            _ => new.to_owned(),
        }
    }

    /// Are the records kept in the order of their names?
    pub(crate) const fn is_sorted(self) -> bool {
        matches!(self, Self::Stanzas(_))
    }
}

fn first(text: &str, separator: char) -> &str {
    text.split(separator).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_databases_have_a_form() {
        assert!(Form::of("var/lib/dpkg/status").is_some());
        assert_eq!(Form::of("var/lib/dpkg/triggers/ldconfig"), Some(Form::Lines { before: 0 }));
        for path in [
            "var/lib/dpkg/triggers/Unincorp",
            "var/lib/dpkg/triggers/a/b",
            "var/lib/dpkg/alternatives/",
            "var/lib/dpkg/alternatives/../status",
            "var/lib/dpkg/alternatives/editor.dpkg-tmp",
            "var/lib/dpkg/info/a.list",
            "etc/hosts",
            "/etc/passwd",
        ] {
            assert_eq!(Form::of(path), None, "{path}");
        }
    }

    #[test]
    fn records_have_names() {
        let status = Form::Stanzas(&["Package", "Architecture"]);
        let text = "Package: a\nArchitecture: amd64\n\n\nPackage: b\nArchitecture: all\nDescription: x\n y\n";
        let records = status.records(text);
        let names: Vec<String> = records.iter().map(|record| status.name(record)).collect();
        assert_eq!(names, ["a amd64", "b all"]);
        assert_eq!(Form::Lines { before: 3 }.name("root root 4755 /usr/bin/a b"), "/usr/bin/a b");
        assert_eq!(Form::Lines { before: 1 }.name("0123  /etc/x"), "/etc/x");
        assert_eq!(Form::Triples.records("/a\n/b\n:\n/c\n/d\n:\n").len(), 2);
    }
}

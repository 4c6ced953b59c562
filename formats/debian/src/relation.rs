//! Relations between packages: `Depends`, `Conflicts`, `Provides` and their kin.
//!
//! Source: Debian Policy 7.1; for architecture qualifiers `deb-control(5)`, for build profiles
//! `deb-src-control(5)`.
//!
//! ```
//! use overboot_debian::relation::Relations;
//! let relations: Relations = "default-mta | mail-transport-agent, python3:any (>= 3.11)".parse()?;
//! assert_eq!(relations.0.len(), 2);
//! assert_eq!(relations.to_string(), "default-mta | mail-transport-agent, python3:any (>= 3.11)");
//! # Ok::<(), overboot_debian::relation::Error>(())
//! ```

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::version::{ParseVersionError, Version};

/// The value of a relation field: all of its dependencies have to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relations(pub Vec<Dependency>);

/// Alternatives, the preferred one first; one of them has to hold. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency(pub Vec<Relation>);

/// One package, under the conditions that follow its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The package's name, or a virtual one.
    pub name: String,
    /// The architecture qualifier after the name's colon: `any`, `native` or an architecture.
    pub qualifier: Option<String>,
    /// The versions that are meant; all, where there is none.
    pub version: Option<(Operator, Version)>,
    /// The architecture restriction in brackets; empty means all architectures.
    pub architectures: Vec<Term>,
    /// The build profile restrictions in angle brackets: one of the lists has to hold.
    pub profiles: Vec<Vec<Term>>,
}

/// A word of a restriction list, with or without `!` before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// Whether `!` is before it.
    pub negated: bool,
    /// The architecture or build profile.
    pub name: String,
}

/// How a version has to compare to the one that is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `<<`, strictly earlier.
    Earlier,
    /// `<=` (and, deprecated, `<`).
    EarlierOrEqual,
    /// `=`.
    Equal,
    /// `>=` (and, deprecated, `>`).
    LaterOrEqual,
    /// `>>`, strictly later.
    Later,
}

/// Why a text is not a relation field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A package name is missing or has a byte that names may not have.
    #[error("\"{entry}\": want a package name at \"{at}\"")]
    Name {
        /// The entry between two commas.
        entry: String,
        /// The rest of it, from the fault on.
        at: String,
    },
    /// What follows the name is none of `(…)`, `[…]`, `<…>`, each at its place and closed.
    #[error("\"{entry}\": do not understand \"{at}\"")]
    Syntax {
        /// The entry between two commas.
        entry: String,
        /// The rest of it, from the fault on.
        at: String,
    },
    /// A version in parentheses is not one.
    #[error("\"{entry}\": the version cannot be read")]
    Version {
        /// The entry between two commas.
        entry: String,
        /// What is wrong with it.
        source: ParseVersionError,
    },
}

impl Operator {
    /// Whether `candidate` stands in this relation to `wanted`.
    #[must_use]
    pub fn holds(self, candidate: &Version, wanted: &Version) -> bool {
        let order = candidate.cmp(wanted);
        match self {
            Self::Earlier => order == Ordering::Less,
            Self::EarlierOrEqual => order != Ordering::Greater,
            Self::Equal => order == Ordering::Equal,
            Self::LaterOrEqual => order != Ordering::Less,
            Self::Later => order == Ordering::Greater,
        }
    }

    /// As it is written in a control file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Earlier => "<<",
            Self::EarlierOrEqual => "<=",
            Self::Equal => "=",
            Self::LaterOrEqual => ">=",
            Self::Later => ">>",
        }
    }
}

impl Relation {
    /// A relation to any version of `name`.
    #[must_use]
    pub fn to_any(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            qualifier: None,
            version: None,
            architectures: Vec::new(),
            profiles: Vec::new(),
        }
    }

    /// Whether a package (or a name provided) in this version is meant; the name is not looked at.
    ///
    /// `None` is the version of a name that is provided without one: Policy 7.5 says that no
    /// versioned relation is satisfied by it.
    #[must_use]
    pub fn admits(&self, version: Option<&Version>) -> bool {
        match (&self.version, version) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some((operator, wanted)), Some(version)) => operator.holds(version, wanted),
        }
    }

    /// Whether the bracketed restriction includes `architecture` (a plain name, or `any`).
    #[must_use]
    pub fn applies_to(&self, architecture: &str) -> bool {
        let named = self.architectures.iter().any(|t| t.name == architecture || t.name == "any");
        // Policy 7.1: either all terms are negated or none is.
        match self.architectures.first() {
            None => true,
            Some(term) => named != term.negated,
        }
    }
}

/// Whether dpkg would take `name` as a package's name.
#[must_use]
pub fn is_package_name(name: &str) -> bool {
    name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric) && name.bytes().all(is_name_byte)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-._".contains(&byte)
}

impl FromStr for Relations {
    type Err = Error;

    /// Empty entries (a comma at the end) are skipped, as apt does.
    fn from_str(text: &str) -> Result<Self, Error> {
        text.split(',')
            .map(str::trim_ascii)
            .filter(|entry| !entry.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl FromStr for Dependency {
    type Err = Error;

    fn from_str(entry: &str) -> Result<Self, Error> {
        entry.split('|').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Relation {
    type Err = Error;

    fn from_str(entry: &str) -> Result<Self, Error> {
        Reader { entry, rest: entry.trim_ascii_start() }.relation()
    }
}

/// Reads one relation from the front of `rest`.
struct Reader<'a> {
    entry: &'a str,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn relation(&mut self) -> Result<Relation, Error> {
        let name = self.name();
        if !is_package_name(name) {
            return Err(Error::Name { entry: shorten(self.entry), at: shorten(self.rest) });
        }
        self.rest = &self.rest[name.len()..];
        let mut relation = Relation::to_any(name);
        if let Some(rest) = self.rest.strip_prefix(':') {
            self.rest = rest;
            let qualifier = self.name();
            if qualifier.is_empty() {
                return Err(self.syntax());
            }
            self.rest = &self.rest[qualifier.len()..];
            relation.qualifier = Some(qualifier.to_owned());
        }
        if let Some(inside) = self.bracket('(', ')')? {
            relation.version = Some(self.constraint(inside)?);
        }
        if let Some(inside) = self.bracket('[', ']')? {
            relation.architectures = terms(inside);
        }
        while let Some(inside) = self.bracket('<', '>')? {
            relation.profiles.push(terms(inside));
        }
        if self.rest.trim_ascii().is_empty() { Ok(relation) } else { Err(self.syntax()) }
    }

    /// The bytes in front that may be in a name.
    fn name(&self) -> &'a str {
        let end = self.rest.bytes().position(|b| !is_name_byte(b)).unwrap_or(self.rest.len());
        &self.rest[..end]
    }

    /// What stands between `open` and `close`, if `open` is next.
    fn bracket(&mut self, open: char, close: char) -> Result<Option<&'a str>, Error> {
        self.rest = self.rest.trim_ascii_start();
        let Some(after) = self.rest.strip_prefix(open) else { return Ok(None) };
        let Some((inside, rest)) = after.split_once(close) else { return Err(self.syntax()) };
        self.rest = rest;
        Ok(Some(inside.trim_ascii()))
    }

    fn constraint(&self, inside: &str) -> Result<(Operator, Version), Error> {
        // Longest first; `<` and `>` mean "or equal" (Policy 7.1, deprecated), and no operator means `=`.
        let operators = [
            ("<<", Operator::Earlier),
            ("<=", Operator::EarlierOrEqual),
            (">=", Operator::LaterOrEqual),
            (">>", Operator::Later),
            ("=", Operator::Equal),
            ("<", Operator::EarlierOrEqual),
            (">", Operator::LaterOrEqual),
        ];
        let (operator, version) = operators
            .iter()
            .find_map(|&(sign, op)| inside.strip_prefix(sign).map(|rest| (op, rest)))
            .unwrap_or((Operator::Equal, inside));
        let version = version
            .trim_ascii()
            .parse()
            .map_err(|source| Error::Version { entry: shorten(self.entry), source })?;
        Ok((operator, version))
    }

    fn syntax(&self) -> Error {
        Error::Syntax { entry: shorten(self.entry), at: shorten(self.rest) }
    }
}

fn terms(inside: &str) -> Vec<Term> {
    inside
        .split_ascii_whitespace()
        .map(|word| match word.strip_prefix('!') {
            Some(name) => Term { negated: true, name: name.to_owned() },
            None => Term { negated: false, name: word.to_owned() },
        })
        .collect()
}

fn shorten(text: &str) -> String {
    text.trim_ascii().chars().take(80).collect()
}

impl fmt::Display for Relations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        separated(f, &self.0, ", ")
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        separated(f, &self.0, " | ")
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(qualifier) = &self.qualifier {
            write!(f, ":{qualifier}")?;
        }
        if let Some((operator, version)) = &self.version {
            write!(f, " ({operator} {version})")?;
        }
        if !self.architectures.is_empty() {
            f.write_str(" [")?;
            separated(f, &self.architectures, " ")?;
            f.write_str("]")?;
        }
        for profile in &self.profiles {
            f.write_str(" <")?;
            separated(f, profile, " ")?;
            f.write_str(">")?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.negated { "!" } else { "" }, self.name)
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn separated<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    separator: &str,
) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relations(text: &str) -> Relations {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn canonical_text_survives() {
        for text in [
            "",
            "libc6 (>= 2.38), libstdc++6 (= 14.2.0-19)",
            "a | b (<< 1:2~) | c (>> 3), d:any (<= 4)",
            "gcc [amd64 i386] <!nocheck> <cross stage1>, make [!s390x]",
        ] {
            assert_eq!(relations(text).to_string(), text);
        }
    }

    #[test]
    fn loose_spelling_is_understood() {
        assert_eq!(
            relations(" a(>=1)|b:native( < 2 )\n ,c ( 3 ) ,, d[ x ]<y>,").to_string(),
            "a (>= 1) | b:native (<= 2), c (= 3), d [x] <y>"
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "|",
            "a |",
            "a | | b",
            "a b",
            "-a",
            "a (>= 1",
            "a (>= )",
            "a ()",
            "a:",
            "a (1) (2)",
            "a [x",
            "a <x",
            "a (== 1)",
            "ä",
            "a (= 1 2)",
            "(= 1)",
        ] {
            assert!(bad.parse::<Relations>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn admission() {
        let one: Version = "1".parse().unwrap();
        let admits = |text: &str, v| text.parse::<Relation>().unwrap().admits(v);
        assert!(admits("a", None) && admits("a", Some(&one)));
        assert!(!admits("a (>= 1)", None));
        for (text, want) in [
            ("a (<< 1)", false),
            ("a (<= 1)", true),
            ("a (= 1)", true),
            ("a (>= 1)", true),
            ("a (>> 1)", false),
            ("a (<< 2)", true),
            ("a (>> 0.9)", true),
        ] {
            assert_eq!(admits(text, Some(&one)), want, "{text}");
        }
        assert!(relations("a [amd64]").0[0].0[0].applies_to("amd64"));
        assert!(!relations("a [!amd64 !i386]").0[0].0[0].applies_to("amd64"));
        assert!(relations("a").0[0].0[0].applies_to("amd64"));
    }
}

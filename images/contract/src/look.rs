//! What stands at a path, in every respect but its time.

use std::fmt;
use std::str::FromStr;

use overboot_digest::{Digest, Hasher};
use serde::{Deserialize, Serialize};

/// What stands at a path. Written as one line of text, since there are thousands of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Look {
    /// What it is.
    pub kind: Kind,
    /// Permission bits; those of a link mean nothing and are 0.
    pub mode: u16,
    /// Its user and its group.
    pub owner: (u32, u32),
    /// The digest of its extended attributes (capabilities), if it has any.
    pub attributes: Option<Digest>,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file with that content.
    File(Digest),
    /// A symbolic link to there.
    Link(String),
    /// A folder, whatever is in it.
    Folder,
    /// A device (`c 1:3`), a pipe or a socket.
    Other(String),
}

impl Look {
    /// Is it a folder?
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.kind == Kind::Folder
    }

    /// What is different between the two, in a word.
    #[must_use]
    pub fn difference(&self, other: &Self) -> &'static str {
        match (&self.kind, &other.kind) {
            (Kind::File(one), Kind::File(two)) if one != two => "content",
            (Kind::Link(one), Kind::Link(two)) if one != two => "target",
            (one, two) if std::mem::discriminant(one) != std::mem::discriminant(two) => "type",
            _ if self.mode != other.mode => "mode",
            _ if self.owner != other.owner => "owner",
            _ if self.attributes != other.attributes => "attributes",
            _ => "type",
        }
    }
}

/// Bytes as a text that no other bytes have.
pub(crate) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

/// The digest of extended attributes; nothing where there are none.
pub(crate) fn attributes<'a>(all: impl Iterator<Item = &'a (Vec<u8>, Vec<u8>)>) -> Option<Digest> {
    let mut all: Vec<_> = all.collect();
    all.sort_unstable();
    if all.is_empty() {
        return None;
    }
    let mut hasher = Hasher::new();
    for (name, value) in all {
        for bytes in [name, value] {
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
    }
    Some(hasher.finish())
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, rest) = match &self.kind {
            Kind::File(digest) => ("file", digest.to_string()),
            Kind::Link(target) => ("link", target.clone()),
            Kind::Folder => ("folder", String::new()),
            Kind::Other(what) => ("other", what.clone()),
        };
        let (user, group) = self.owner;
        write!(f, "{word} {:o} {user}:{group} ", self.mode)?;
        match &self.attributes {
            Some(digest) => write!(f, "{digest}")?,
            None => f.write_str("-")?,
        }
        write!(f, " {rest}")
    }
}

impl From<Look> for String {
    fn from(look: Look) -> Self {
        look.to_string()
    }
}

impl TryFrom<String> for Look {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Look {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let mut words = text.splitn(5, ' ');
            let (kind, mode) = (words.next()?, u16::from_str_radix(words.next()?, 8).ok()?);
            let (user, group) = words.next()?.split_once(':')?;
            let owner = (user.parse().ok()?, group.parse().ok()?);
            let attributes = match words.next()? {
                "-" => None,
                digest => Some(digest.parse().ok()?),
            };
            let rest = words.next()?;
            let kind = match kind {
                "file" => Kind::File(rest.parse().ok()?),
                "link" => Kind::Link(rest.to_owned()),
                "folder" => Kind::Folder,
                "other" => Kind::Other(rest.to_owned()),
                _ => return None,
            };
            Some(Self { kind, mode, owner, attributes })
        };
        read().ok_or_else(|| format!("\"{}\" does not describe a file", text.escape_debug()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_one_line() {
        let all = [
            (Kind::File(Digest::of("x")), None),
            (Kind::File(Digest::of("x")), Some(Digest::of("capability"))),
            (Kind::Link("../a b/ c".to_owned()), None),
            (Kind::Folder, None),
            (Kind::Other("c 1:3".to_owned()), None),
        ];
        for (kind, attributes) in all {
            let look = Look { kind, mode: 0o4755, owner: (1, 23), attributes };
            assert_eq!(look.to_string().parse(), Ok(look));
        }
        for bad in ["", "file", "file 9 0:0 - x", "file 644 0:0 - x", "pipe 644 0:0 - "] {
            assert!(bad.parse::<Look>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_differs_has_a_word() {
        let look = |kind| Look { kind, mode: 0o644, owner: (0, 0), attributes: None };
        let file = look(Kind::File(Digest::of("a")));
        assert_eq!(file.difference(&look(Kind::File(Digest::of("b")))), "content");
        assert_eq!(file.difference(&look(Kind::Folder)), "type");
        assert_eq!(file.difference(&Look { mode: 0o600, ..file.clone() }), "mode");
        assert_eq!(file.difference(&Look { owner: (0, 4), ..file.clone() }), "owner");
        let attributes = Some(Digest::of("x"));
        assert_eq!(file.difference(&Look { attributes, ..file.clone() }), "attributes");
        let link = look(Kind::Link("a".into()));
        assert_eq!(link.difference(&look(Kind::Link("b".into()))), "target");
    }
}

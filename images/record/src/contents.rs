//! What is in an image: packages and files.

use std::collections::BTreeMap;
use std::io::Read;

use overboot_digest::Digest;
use serde::{Deserialize, Serialize};

/// The most that the text may have, unpacked: a base of a desktop has a few 100,000 files of 150 bytes each.
const LONGEST: u64 = 512 << 20;

/// Zstandard's level for some megabytes of text, half of it digests: of the base that ships, 19 makes 8 % less in 0.2 s.
const LEVEL: i32 = 6;

/// What is in an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// [`Contents::FORMAT`].
    pub format: u32,
    /// Whose packages they are.
    #[serde(default)]
    pub distribution: Distribution,
    /// What an overlay was built on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beneath: Option<Beneath>,
    /// Its packages by name; of an overlay, those that it adds or changes.
    pub packages: Vec<Package>,
    /// Packages beneath that an overlay removes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// Files of packages that another package has put elsewhere (dpkg-divert(1)).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diversions: Vec<Diversion>,
    /// Everything that has a name in it, by path.
    pub files: Vec<File>,
}

/// Whose packages they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// As os-release(5) has it: `debian`, `ubuntu`.
    pub id: String,
    /// The suite: `trixie`.
    pub codename: String,
}

/// What an overlay was built on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beneath {
    /// Its name: `base/base`.
    pub target: String,
    /// The digest of its [`Contents`] as they were stored: what is in it, however it is packed.
    pub contents: Digest,
}

/// A package.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture, which may be `all`.
    pub architecture: String,
    /// The source package that it was made from.
    pub source: String,
    /// That one's version.
    pub source_version: String,
    /// `admin`, `libs`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub section: String,
    /// Who maintains it: `Name <address>`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub maintainer: String,
    /// Where its home is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub homepage: String,
    /// What it takes when it is installed whole, as it says itself, in bytes.
    pub installed_size: u64,
    /// Where in the image, or beneath it, its licences are told: a path without a leading `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copyright: Option<String>,
    /// The file that it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deb: Option<Deb>,
}

/// The file that a package came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deb {
    /// Its digest.
    pub sha256: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The suite that it is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<String>,
    /// Whose suite that is, as the recipe calls it; `None`: the distribution's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// Its address, where the recipe names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A package's file that another package has put elsewhere. Paths without a leading `/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diversion {
    /// Where it would be.
    pub from: String,
    /// Where it is.
    pub to: String,
    /// Whose file is not diverted; `None`: everybody's is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// Something that has a name in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// From the root, without a leading `/`; empty for the root. What is no UTF-8 in it is replaced.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-user-id, set-group-id and sticky.
    pub mode: u16,
    /// Its owner.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uid: u32,
    /// Its group.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gid: u32,
    /// The package that it belongs to. None for what no package brought, and for folders, which packages share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Extended attributes, in hexadecimal: capabilities.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A regular file.
    File {
        /// Its length in bytes.
        size: u64,
        /// The digest of its content.
        sha256: Digest,
    },
    /// A folder.
    Folder,
    /// A symbolic link to this target.
    Symlink(String),
    /// Another name of the file at this path.
    HardLink(String),
    /// A character device: major and minor number.
    CharDevice(u32, u32),
    /// A block device.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// What is beneath at this path is not there (of an overlay).
    Whiteout,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl File {
    /// The bytes of its content; of another name of a file, none.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self.kind {
            Kind::File { size, .. } => size,
            _ => 0,
        }
    }
}

impl Contents {
    /// The one format that there is.
    pub const FORMAT: u32 = 1;

    /// The file at `path`.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&File> {
        let at = self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()?;
        self.files.get(at)
    }

    /// The package of that name.
    #[must_use]
    pub fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }

    /// The bytes that are stored; the same for the same contents.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, numbers and maps with strings for keys always become JSON, and compressing into memory does not fail.
        let text = serde_json::to_vec(self).unwrap_or_default();
        zstd::bulk::compress(&text, LEVEL).unwrap_or_default()
    }

    /// Reads what [`Contents::to_bytes`] made.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let mut text = Vec::new();
        let decoder = zstd::Decoder::new(bytes).map_err(|error| error.to_string())?;
        let read = decoder.take(LONGEST + 1).read_to_end(&mut text);
        read.map_err(|error| error.to_string())?;
        if text.len() as u64 > LONGEST {
            return Err(format!("it is longer than {LONGEST} bytes"));
        }
        let Format { format } = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        if format != Self::FORMAT {
            return Err(format!("it has format {format}, and only {} is known", Self::FORMAT));
        }
        let mut contents: Self =
            serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        // What comes from elsewhere need not be sorted as we sort.
        contents.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(contents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Contents {
        let file = |path: &str, kind| File {
            path: path.to_owned(),
            kind,
            mode: 0o755,
            uid: 0,
            gid: 5,
            package: Some("a".to_owned()),
            xattrs: [("security.capability".to_owned(), "0100".to_owned())].into(),
        };
        let sha256 = Digest::of("x");
        Contents {
            format: Contents::FORMAT,
            packages: vec![Package { name: "a".into(), version: "1".into(), ..Package::default() }],
            files: vec![
                file("bin", Kind::Symlink("usr/bin".into())),
                file("dev/null", Kind::CharDevice(1, 3)),
                file("usr/bin/a", Kind::File { size: 1, sha256 }),
            ],
            ..Contents::default()
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let contents = sample();
        let bytes = contents.to_bytes();
        assert_eq!(bytes, contents.to_bytes());
        assert_eq!(Contents::parse(&bytes).unwrap(), contents);
        assert_eq!(contents.file("usr/bin/a").unwrap().size(), 1);
        assert!(contents.file("usr/bin").is_none());
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let later = zstd::bulk::compress(br#"{"format":2,"new":[]}"#, 1).unwrap();
        assert!(Contents::parse(&later).unwrap_err().contains("format 2"));
        assert!(Contents::parse(b"").is_err());
        assert!(Contents::parse(&sample().to_bytes()[..40]).is_err());
    }
}

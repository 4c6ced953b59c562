//! Which image, and for which machines.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use overboot_digest::Digest;
use serde::{Deserialize, Serialize, Serializer};

use crate::{Address, Error};

/// Where an image is. A layout is written as skopeo writes it (containers-transports(5)), a registry as everybody does; skopeo's
/// `docker://` before that is read too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// `oci:PATH[:NAME][@DIGEST]`: an image layout on this machine.
    Layout {
        /// Its folder.
        path: PathBuf,
        /// What the image is called there; `None` for the only one.
        name: Option<String>,
        /// What it must be.
        digest: Option<Digest>,
    },
    /// `HOST/REPOSITORY[:TAG][@DIGEST]`: in a registry.
    Registry(Address),
}

impl Reference {
    /// The digest that the reference itself names.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Layout { digest, .. } => *digest,
            Self::Registry(address) => address.digest,
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout { path, name, digest } => {
                write!(f, "oci:{}", path.display())?;
                if let Some(name) = name {
                    write!(f, ":{name}")?;
                }
                if let Some(digest) = digest {
                    write!(f, "@{digest}")?;
                }
                Ok(())
            }
            Self::Registry(address) => write!(f, "{address}"),
        }
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason: &str| {
            let text = text.chars().take(300).collect();
            Error { text, reason: reason.to_owned() }
        };
        let Some(rest) = text.strip_prefix("oci:") else {
            return Ok(Self::Registry(text.strip_prefix("docker://").unwrap_or(text).parse()?));
        };
        let (rest, digest) = match rest.split_once("@sha256:") {
            None => (rest, None),
            Some((rest, digest)) => {
                let digest = digest.parse();
                (rest, Some(digest.map_err(|_| wrong("what follows the @ is no digest"))?))
            }
        };
        let (path, name) = match rest.split_once(':') {
            None => (rest, None),
            Some((path, name)) => (path, Some(name.to_owned())),
        };
        if path.is_empty() || name.as_ref().is_some_and(String::is_empty) {
            return Err(wrong("a layout is written oci:FOLDER or oci:FOLDER:NAME"));
        }
        Ok(Self::Layout { path: path.into(), name, digest })
    }
}

/// What machines an image is for: `linux/amd64`, `linux/arm/v7` (OCI image index, "platform").
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`: as Go and Debian call them.
    pub architecture: String,
    /// `v7`.
    #[serde(default)]
    pub variant: Option<String>,
}

impl Platform {
    /// Does an image for `other` run where this is wanted?
    #[must_use]
    pub fn is_met_by(&self, other: &Self) -> bool {
        self.os == other.os
            && self.architecture == other.architecture
            && (self.variant.is_none() || self.variant == other.variant)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut parts = text.split('/').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(os), Some(architecture), variant, None)
                if !os.is_empty() && !architecture.is_empty() =>
            {
                Ok(Self { os, architecture, variant })
            }
            _ => Err(Error {
                text: text.chars().take(100).collect(),
                reason: "a platform is written linux/amd64".to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_written() {
        let digest = Digest::of("");
        for text in [
            "localhost:5000/x:y".to_owned(),
            format!("docker.io/library/debian:13@{digest}"),
            "oci:images".to_owned(),
            "oci:/srv/images:base/base".to_owned(),
            format!("oci:x:y@{digest}"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
        let skopeos: Reference = "docker://localhost:5000/x".parse().unwrap();
        assert_eq!(skopeos.to_string(), "localhost:5000/x");
        for text in [
            "",
            "debian",
            "docker:debian",
            "docker://debian",
            "oci:",
            "oci::x",
            "oci:x:",
            "oci:x@sha256:0",
            "dir:x",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn platforms_are_told_apart() {
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        assert!(platform("linux/arm64").is_met_by(&platform("linux/arm64/v8")));
        assert!(!platform("linux/arm/v7").is_met_by(&platform("linux/arm/v6")));
        assert!(!platform("linux/amd64").is_met_by(&platform("windows/amd64")));
        for text in ["", "linux", "linux/", "/amd64", "a/b/c/d"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}

//! What an image is called.

use std::fmt;
use std::str::FromStr;

use overboot_digest::Digest;

/// An image of a store: the one that has a name now, or one by its digest, which may have had it before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Its name: `base/base`.
    pub target: String,
    /// The digest of its manifest, or of the image itself.
    pub digest: Option<Digest>,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.digest {
            Some(digest) => write!(f, "{}@{digest}", self.target),
            None => f.write_str(&self.target),
        }
    }
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (target, digest) = match text.split_once('@') {
            Some((target, digest)) => (target, Some(digest)),
            None => (text, None),
        };
        let (kind, name) = target.split_once('/').unwrap_or((target, ""));
        let known = match kind {
            "kernel" | "ipxe" => target == kind,
            "modules" | "initrd" | "base" | "overlay" | "set" => !name.is_empty(),
            _ => false,
        };
        if !known {
            return Err(format!(
                "\"{target}\" is no image; write kernel, ipxe, modules/NAME, initrd/NAME, base/NAME, overlay/NAME or set/NAME"
            ));
        }
        let digest = digest.map(str::parse).transpose();
        let digest = digest.map_err(|_| {
            format!("\"{text}\": behind the @ stands a digest, sha256: and 64 hexadecimal digits")
        })?;
        Ok(Self { target: target.to_owned(), digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_written() {
        let digest = Digest::of("x");
        for text in ["kernel", "base/base", &format!("overlay/a-b@{digest}")] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
        for wrong in
            ["", "base", "base/", "bases/x", "kernel/x", "base/base@", "base/base@sha256:12", "@"]
        {
            assert!(wrong.parse::<Reference>().is_err(), "{wrong}");
        }
    }
}

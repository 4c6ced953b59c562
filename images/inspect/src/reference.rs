//! What an image is called.

use std::fmt;
use std::str::FromStr;

use overboot_digest::Digest;

/// An image of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Its name: `base/base`.
    pub target: String,
    /// Which of those that have or had this name.
    pub which: Which,
}

/// Which image of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The one that has it now.
    Newest,
    /// By the digest of its manifest, or of the image itself.
    Digest(Digest),
    /// As it was published, in the generation of that number: of the set itself, or of a set that it is a part of, which may be
    /// left out where there is no doubt.
    Generation {
        /// The boot set, without `set/`.
        set: Option<String>,
        /// The generation's number.
        number: u64,
    },
}

impl Reference {
    /// What has that name now.
    #[must_use]
    pub fn newest(target: &str) -> Self {
        Self { target: target.to_owned(), which: Which::Newest }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.target)?;
        match &self.which {
            Which::Newest => Ok(()),
            Which::Digest(digest) => write!(f, "@{digest}"),
            Which::Generation { set: None, number } => write!(f, "@{number}"),
            Which::Generation { set: Some(set), number } => write!(f, "@{set}/{number}"),
        }
    }
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (target, which) = match text.split_once('@') {
            Some((target, which)) => (target, Some(which)),
            None => (text, None),
        };
        let (kind, name) = target.split_once('/').unwrap_or((target, ""));
        let known = match kind {
            "kernel" | "ipxe" => target == kind,
            "modules" | "initrd" | "firmware" | "base" | "overlay" | "set" => !name.is_empty(),
            _ => false,
        };
        if !known {
            return Err(format!(
                "\"{target}\" is no image; write kernel, ipxe, modules/NAME, initrd/NAME, firmware/NAME, base/NAME, overlay/NAME or set/NAME"
            ));
        }
        let which = which.map_or(Some(Which::Newest), |which| parse(kind == "set", which));
        let which = which.ok_or_else(|| {
            format!(
                "\"{text}\": behind the @ stands a generation (set/NAME@3, base/NAME@3 or base/NAME@SET/3), or a digest: sha256: and 64 hexadecimal digits"
            )
        })?;
        Ok(Self { target: target.to_owned(), which })
    }
}

/// What stands behind the `@`.
fn parse(is_set: bool, text: &str) -> Option<Which> {
    if let Ok(digest) = text.parse() {
        return Some(Which::Digest(digest));
    }
    let (set, number) = match text.rsplit_once('/') {
        // A set is in no other set.
        Some(_) if is_set => return None,
        Some((set, number)) if !set.is_empty() => (Some(set.to_owned()), number),
        Some(_) => return None,
        None => (None, text),
    };
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| number.parse().ok()).flatten()?;
    Some(Which::Generation { set, number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_written() {
        let digest = Digest::of("x");
        let named = ["kernel", "base/base", "set/tools@3", "base/base@12", "overlay/a-b@tools/1"];
        for text in named.into_iter().chain([&*format!("overlay/a-b@{digest}")]) {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
        for wrong in [
            "",
            "base",
            "base/",
            "bases/x",
            "kernel/x",
            "base/base@",
            "base/base@sha256:12",
            "@",
            "set/a@b/1",
            "base/a@-1",
            "base/a@/1",
            "base/a@b/",
            "base/a@b/+1",
            "base/a@99999999999999999999",
        ] {
            assert!(wrong.parse::<Reference>().is_err(), "{wrong}");
        }
    }
}

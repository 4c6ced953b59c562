//! Package versions in dpkg's order: `[epoch:]upstream[-revision]`.
//!
//! Source: Debian Policy 5.6.12, `deb-version(7)`; where they leave room, what dpkg does.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// The longest version that is read, in bytes. dpkg has no limit; Debian's longest has about 80.
const MAX_LENGTH: usize = 1024;

/// A version that dpkg would accept.
///
/// Equal and ordered as dpkg sees it: `1.0`, `0:1.0` and `1.0-0` are the same version. For that
/// reason it has no `Hash`; where the spelling counts, use [`Version::as_str`].
#[derive(Clone)]
pub struct Version {
    text: Box<str>,
}

/// Why a text is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a package version: {reason}")]
pub struct ParseVersionError {
    /// The text, shortened if it is very long.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Version {
    /// The version as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The epoch; 0 where none is written.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        Parts::of(&self.text).epoch.parse().unwrap_or(0)
    }

    /// The part that the upstream author chose.
    #[must_use]
    pub fn upstream(&self) -> &str {
        Parts::of(&self.text).upstream
    }

    /// The Debian revision, if the version has one.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        let parts = Parts::of(&self.text);
        parts.has_revision.then_some(parts.revision)
    }
}

/// Compares two versions as dpkg does, without checking that they are valid.
///
/// A total order on all texts; on valid versions it is dpkg's.
#[must_use]
pub fn compare(left: &str, right: &str) -> Ordering {
    let (left, right) = (Parts::of(left), Parts::of(right));
    compare_part(left.epoch, right.epoch)
        .then_with(|| compare_part(left.upstream, right.upstream))
        .then_with(|| compare_part(left.revision, right.revision))
}

struct Parts<'a> {
    epoch: &'a str,
    upstream: &'a str,
    revision: &'a str,
    has_revision: bool,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Self {
        let (epoch, rest) = text.split_once(':').unwrap_or(("", text));
        let (upstream, revision, has_revision) = match rest.rsplit_once('-') {
            Some((upstream, revision)) => (upstream, revision, true),
            None => (rest, "", false),
        };
        Self { epoch, upstream, revision, has_revision }
    }
}

/// dpkg's `verrevcmp`: runs of non-digits and runs of digits in turn.
fn compare_part(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    while !left.is_empty() || !right.is_empty() {
        // Non-digits, byte by byte; the end of a part counts like a digit: before letters, after `~`.
        loop {
            let (l, r) = (weight(left.first()), weight(right.first()));
            if l != r {
                return l.cmp(&r);
            }
            if l == 0 {
                break;
            }
            (left, right) = (&left[1..], &right[1..]);
        }
        let (l, r) = (digits(&mut left), digits(&mut right));
        let order = l.len().cmp(&r.len()).then_with(|| l.cmp(r));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// The place of a byte among non-digits; 0 for digits and for the end.
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        None => 0,
        Some(b'0'..=b'9') => 0,
        Some(b'~') => -1,
        Some(&byte) if byte.is_ascii_alphabetic() => i32::from(byte),
        Some(&byte) => i32::from(byte) + 256,
    }
}

/// Takes the run of digits off the front; returns it without leading zeros.
fn digits<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let end = bytes.iter().position(|b| !b.is_ascii_digit()).unwrap_or(bytes.len());
    let (run, rest) = bytes.split_at(end);
    *bytes = rest;
    let zeros = run.iter().position(|&b| b != b'0').unwrap_or(run.len());
    &run[zeros..]
}

impl FromStr for Version {
    type Err = ParseVersionError;

    /// # Errors
    /// What dpkg refuses: an empty version, epoch or revision, an epoch that is not a number below
    /// 2^31, a byte that may not be in a version.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match flaw(text) {
            None => Ok(Self { text: text.into() }),
            Some(reason) => {
                Err(ParseVersionError { text: text.chars().take(100).collect(), reason })
            }
        }
    }
}

fn flaw(text: &str) -> Option<&'static str> {
    let parts = Parts::of(text);
    let has_epoch = text.contains(':');
    let allowed = |extra: &'static [u8]| {
        move |b: u8| b.is_ascii_alphanumeric() || b".+~".contains(&b) || extra.contains(&b)
    };
    if text.is_empty() {
        Some("it is empty")
    } else if text.len() > MAX_LENGTH {
        Some("it is longer than 1024 bytes")
    } else if has_epoch && !parts.epoch.bytes().all(|b| b.is_ascii_digit()) {
        Some("the epoch, before the first colon, is not a number")
    } else if has_epoch && parts.epoch.parse::<i32>().is_err() {
        Some("the epoch, before the first colon, is empty or above 2147483647")
    } else if parts.upstream.is_empty() {
        Some("the upstream version is empty")
    } else if parts.has_revision && parts.revision.is_empty() {
        Some("the revision, after the last hyphen, is empty")
    } else if !parts.upstream.bytes().all(allowed(b"-:")) {
        Some("the upstream version has a byte other than letters, digits and . + - ~ :")
    } else if !parts.revision.bytes().all(allowed(b"")) {
        Some("the revision has a byte other than letters, digits and . + ~")
    } else {
        None
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.text, &other.text)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_dpkgs() {
        // Each line ascends strictly.
        for line in [
            "1.0~~ 1.0~~a 1.0~ 1.0 1.0-0+b1 1.0-1~bpo 1.0-1 1.0a 1.0+ 1.0.1 1.1 1.9 1.10",
            "0.9 9999 1:0 1:0.1 2:0~ 2:0",
            "1~rc1-1 1-1 1-1+deb13u1 1-1.1 1-2",
        ] {
            let line: Vec<_> = line.split(' ').collect();
            for pair in line.windows(2) {
                assert!(compare(pair[0], pair[1]).is_lt(), "{} < {}", pair[0], pair[1]);
                assert!(compare(pair[1], pair[0]).is_gt(), "{} > {}", pair[1], pair[0]);
            }
        }
        for (left, right) in [("1.0", "1.0-0"), ("0:1", "1"), ("1.007", "1.7"), ("1.0", "1.00")] {
            assert!(compare(left, right).is_eq(), "{left} = {right}");
        }
        let huge = format!("1.{}", "9".repeat(100));
        assert!(compare(&huge, "1.99999999999999999999999").is_gt());
    }

    #[test]
    fn parts() {
        let version: Version = "2:1.2-3-4~x".parse().unwrap();
        assert_eq!(
            (version.epoch(), version.upstream(), version.revision()),
            (2, "1.2-3", Some("4~x"))
        );
        let version: Version = "1.2".parse().unwrap();
        assert_eq!((version.epoch(), version.upstream(), version.revision()), (0, "1.2", None));
    }

    #[test]
    fn what_dpkg_refuses_is_refused() {
        for bad in [
            "",
            ":1",
            "a:1",
            "-1:1",
            "2147483648:1",
            "1:",
            "-1",
            "1-",
            "1 2",
            "1_2",
            "1-a:b",
            "1/2",
            "1\n",
            "ä",
            "1:-1",
        ] {
            assert!(bad.parse::<Version>().is_err(), "{bad:?}");
        }
        assert!("1".repeat(2000).parse::<Version>().is_err());
    }
}

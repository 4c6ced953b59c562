//! Ethernet addresses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An Ethernet hardware address (EUI-48), written `52:54:00:12:34:56`.
///
/// Reads colons, dashes, or neither, in any case; always writes lower case with colons.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

/// A text that is not an Ethernet address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not an Ethernet address: want six pairs of hex digits such as 52:54:00:12:34:56"
)]
pub struct ParseMacError(String);

impl Mac {
    /// The address with these bytes, first one on the wire first.
    #[must_use]
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// The six bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }

    /// The maker's part: the first three bytes.
    #[must_use]
    pub const fn oui(self) -> [u8; 3] {
        [self.0[0], self.0[1], self.0[2]]
    }

    /// Whether one interface can have this address: neither a group's (lowest bit of the first byte,
    /// IEEE 802) nor all zeros.
    #[must_use]
    pub fn is_unicast(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }

    /// Six pairs of lower-case digits with dashes between, as pxelinux's `BOOTIF` has them.
    #[must_use]
    pub fn with_dashes(self) -> String {
        self.to_string().replace(':', "-")
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mac({self})")
    }
}

impl FromStr for Mac {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseMacError(text.chars().take(40).collect());
        let separator = text.chars().find(|c| matches!(c, ':' | '-'));
        let digits: Vec<u8> = match separator {
            Some(separator) => {
                let pairs: Vec<&str> = text.split(separator).collect();
                if pairs.iter().any(|pair| pair.len() != 2) {
                    return Err(error());
                }
                pairs.concat().into_bytes()
            }
            None => text.as_bytes().to_vec(),
        };
        if digits.len() != 12 {
            return Err(error());
        }
        let mut bytes = [0; 6];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16).ok_or_else(error)?;
            let low = char::from(pair[1]).to_digit(16).ok_or_else(error)?;
            *byte = (high << 4 | low) as u8;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_read_and_one_is_written() {
        let mac = Mac::new([0x52, 0x54, 0, 0x12, 0xab, 0xcd]);
        for text in ["52:54:00:12:ab:cd", "52-54-00-12-AB-CD", "52540012abcd", "52:54:00:12:AB:CD"]
        {
            assert_eq!(text.parse(), Ok(mac), "{text}");
        }
        assert_eq!(mac.to_string(), "52:54:00:12:ab:cd");
        assert_eq!(mac.with_dashes(), "52-54-00-12-ab-cd");
    }

    #[test]
    fn nonsense_is_refused() {
        let bad = [
            "",
            "52:54:00:12:ab",
            "52:54:00:12:ab:cd:ef",
            "52:54:00:12:ab:cg",
            "5254:00:12:ab:cd:",
            "52:54-00:12:ab:cd",
            "5:254:00:12:ab:cd",
            "ä2540012abcd",
            "+2540012abcd",
        ];
        for text in bad {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    #[test]
    fn groups_and_nobody_are_not_unicast() {
        assert!(Mac::new([0x52, 0, 0, 0, 0, 0]).is_unicast());
        assert!(!Mac::new([0; 6]).is_unicast());
        assert!(!Mac::new([0xff; 6]).is_unicast());
        assert!(!Mac::new([1, 0, 0x5e, 0, 0, 1]).is_unicast());
    }
}

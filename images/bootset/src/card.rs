//! Network cards by their numbers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A kind of PCI card, by the numbers of vendor and device: `14e4:164c`, as `lspci -n` has them; `14e4:*` is any of a vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Card {
    /// Who made it.
    pub vendor: u16,
    /// What it is; any of the vendor's where `None`.
    pub device: Option<u16>,
}

impl Card {
    /// Is a card of `other`'s numbers of this kind?
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.vendor == other.vendor && (self.device.is_none() || self.device == other.device)
    }
}

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.device {
            Some(device) => write!(f, "{:04x}:{device:04x}", self.vendor),
            None => write!(f, "{:04x}:*", self.vendor),
        }
    }
}

impl From<Card> for String {
    fn from(card: Card) -> Self {
        card.to_string()
    }
}

impl FromStr for Card {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| {
            let digits = text.len() == 4
                && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            digits.then(|| u16::from_str_radix(text, 16).ok()).flatten()
        };
        let card = text.split_once(':').and_then(|(vendor, device)| {
            let any = device == "*";
            let device = number(device);
            (any || device.is_some()).then_some(Self { vendor: number(vendor)?, device })
        });
        card.ok_or_else(|| {
            let text: String = text.chars().take(40).collect();
            format!("{text:?} is no VENDOR:DEVICE of a card, each four hexadecimal digits")
        })
    }
}

impl TryFrom<String> for Card {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_read_and_written_in_one_way() {
        for text in ["14e4:164c", "0000:ffff", "4040:*"] {
            assert_eq!(text.parse::<Card>().unwrap().to_string(), text);
        }
        for wrong in ["", "14e4", "14E4:164c", "*:164c", "14e4:164c ", "14e4:", "+4e4:164c"] {
            assert!(wrong.parse::<Card>().is_err(), "{wrong}");
        }
        let card = |text: &str| text.parse::<Card>().unwrap();
        assert!(card("14e4:*").covers(card("14e4:164c")));
        assert!(card("14e4:164c").covers(card("14e4:164c")));
        assert!(!card("14e4:164d").covers(card("14e4:164c")));
        assert!(!card("14e5:*").covers(card("14e4:164c")));
    }
}

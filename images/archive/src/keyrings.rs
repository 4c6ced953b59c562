//! The archive keys that ship with this program. A recipe can give its own instead.

use crate::trust::Keyring;

/// Debian's keys for bookworm: archive, stable release and security (`debian-archive-keyring` 2025.1).
const BOOKWORM: &[u8] = include_bytes!("../../../recipes/keyrings/debian-bookworm.gpg");
/// The same for trixie.
const TRIXIE: &[u8] = include_bytes!("../../../recipes/keyrings/debian-trixie.gpg");
/// Ubuntu's keys for all its suites (`ubuntu-keyring` 2023.11.28.1: `ubuntu-archive-keyring.gpg`).
const UBUNTU: &[u8] = include_bytes!("../../../recipes/keyrings/ubuntu.gpg");

/// The keys that sign `suite`, with or without a pocket such as `-updates` or `-security`; `None` for a suite whose keys
/// are not known here.
///
/// Debian signs a suite with the keys of that release and, for years, with those of the one before.
#[must_use]
pub fn builtin(suite: &str) -> Option<Keyring> {
    let files: &[&[u8]] = match suite.split(['-', '/']).next()? {
        "bookworm" | "oldstable" => &[BOOKWORM],
        "trixie" | "stable" => &[TRIXIE, BOOKWORM],
        "forky" | "duke" | "testing" | "sid" | "unstable" | "experimental" => &[TRIXIE, BOOKWORM],
        "bionic" | "focal" | "jammy" | "noble" | "oracular" | "plucky" | "questing"
        | "resolute" | "devel" => &[UBUNTU],
        _ => return None,
    };
    files.iter().try_fold(Keyring::default(), |keyring, file| {
        Some(keyring.with(Keyring::from_bytes(file).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_that_ship_are_those_of_debian() {
        let trixie = builtin("trixie-security").unwrap().fingerprints();
        for known in [
            // As the distribution publishes them.
            "04B54C3CDCA79751B16BC6B5225629DF75B188BD",
            "5E04A1E3223A19A20706E20F9904613D4CCE68C6",
            "41587F7DB8C774BCCF131416762F67A0B2C39DE4",
        ] {
            assert!(trixie.iter().any(|key| key == known), "{known} in {trixie:?}");
        }
        assert_eq!(builtin("bookworm").unwrap().fingerprints().len(), 3);
        let noble = builtin("noble-updates").unwrap().fingerprints();
        // That of 2018, which signs today.
        assert!(
            noble.contains(&"F6ECB3762474EDA9D21B7022871920D1991BC93C".to_owned()),
            "{noble:?}"
        );
        assert!(!noble.iter().any(|key| trixie.contains(key)), "nobody's keys sign for another");
        assert!(builtin("nobel").is_none());
    }
}

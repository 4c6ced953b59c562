//! The certificates that are trusted: a file as `gpg --export` writes it, binary or armored.

use std::io::Cursor;
use std::path::Path;

use pgp::composed::{Deserializable, SignedPublicKey};
use pgp::types::KeyDetails as _;

use crate::Error;

/// No archive's keyring comes near it (Debian's, with all its history, has 60 kB).
const LARGEST: usize = 16 << 20;

/// Certificates ("public keys") whose signatures are trusted.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    pub(super) certificates: Vec<SignedPublicKey>,
}

impl Keyring {
    /// Reads certificates from `bytes`: binary, or one ASCII-armored block or several. Certificates with algorithms
    /// that are not understood are left out, as a keyring may have keys of every age.
    ///
    /// # Errors
    /// What is wrong with the bytes, when no usable certificate is in them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > LARGEST {
            return Err(format!("it is larger than {LARGEST} bytes"));
        }
        let mut keyring = Self::default();
        let mut problem = None;
        let mut add = |parsed: pgp::errors::Result<SignedPublicKey>| match parsed {
            Ok(certificate) => keyring.certificates.push(certificate),
            Err(error) => problem = problem.take().or(Some(error.to_string())),
        };
        if is_armored(bytes) {
            for block in armored_blocks(bytes) {
                match SignedPublicKey::from_armor_many(Cursor::new(block)) {
                    Ok((certificates, _headers)) => certificates.for_each(&mut add),
                    Err(error) => add(Err(error)),
                }
            }
        } else {
            match SignedPublicKey::from_bytes_many(Cursor::new(without_trust(bytes))) {
                Ok(certificates) => certificates.for_each(&mut add),
                Err(error) => add(Err(error)),
            }
        }
        if keyring.certificates.is_empty() {
            return Err(
                problem.unwrap_or_else(|| "there is no OpenPGP public key in it".to_owned())
            );
        }
        Ok(keyring)
    }

    /// Reads the keyring file at `path`.
    ///
    /// # Errors
    /// [`Error::File`] where it cannot be read, [`Error::Keyring`] where it has no usable key.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = fs_err::read(path).map_err(|source| Error::file(path, source))?;
        Self::from_bytes(&bytes).map_err(|reason| Error::Keyring { path: path.to_owned(), reason })
    }

    /// Trusts the certificates of `other` as well.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.certificates.extend(other.certificates);
        self
    }

    /// The fingerprints of the certificates, in upper-case hex as gpg prints them.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<String> {
        self.certificates.iter().map(|key| format!("{:X}", key.fingerprint())).collect()
    }
}

fn is_armored(bytes: &[u8]) -> bool {
    // A binary certificate starts with a packet header, whose first bit is always set (RFC 9580, 4.2).
    bytes.first().is_none_or(|byte| byte & 0x80 == 0)
}

/// The packets in `bytes` but for those in which gpg notes its own trust (RFC 9580, 5.10). They stand in keyrings that it works
/// with, as Ubuntu ships one; the `pgp` crate takes what follows them for none of the certificate's. What cannot be told apart
/// stays, for that crate to complain about.
fn without_trust(bytes: &[u8]) -> Vec<u8> {
    const TRUST: u8 = 12;
    let mut kept = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((kind, length)) = packet(rest) {
        let Some((packet, after)) = rest.split_at_checked(length) else { break };
        if kind != TRUST {
            kept.extend(packet);
        }
        rest = after;
    }
    kept.extend(rest);
    kept
}

/// The type of the packet that `bytes` begin with, and its length with its header (RFC 9580, 4.2); none where it does not say.
fn packet(bytes: &[u8]) -> Option<(u8, usize)> {
    let number = |at: usize, length: usize| -> Option<usize> {
        let digits = bytes.get(at..at + length)?;
        Some(digits.iter().fold(0, |number, &digit| number << 8 | usize::from(digit)))
    };
    let first = *bytes.first()?;
    let (kind, header, body) = match first {
        0xc0.. => match bytes.get(1)? {
            0..192 => (first & 0x3f, 2, number(1, 1)?),
            192..224 => (first & 0x3f, 3, number(1, 2)? - (192 << 8) + 192),
            // In parts, which only data come in.
            224..255 => return None,
            255 => (first & 0x3f, 6, number(2, 4)?),
        },
        0x80..0xc0 => {
            let length = match first & 3 {
                3 => return None,
                power => 1 << power,
            };
            ((first >> 2) & 0xf, 1 + length, number(1, length)?)
        }
        _ => return None,
    };
    Some((kind, header + body))
}

const HEAD: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// The parts of `bytes` that each start with an armor header: comments between them are passed over, and the `pgp`
/// crate reads one block at a time.
fn armored_blocks(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut starts: Vec<usize> = bytes
        .windows(HEAD.len())
        .enumerate()
        .filter(|(at, window)| *window == HEAD && (*at == 0 || bytes[at - 1] == b'\n'))
        .map(|(at, _)| at)
        .collect();
    starts.push(bytes.len());
    let spans: Vec<_> = starts.windows(2).map(|pair| pair[0]..pair[1]).collect();
    spans.into_iter().map(|span| &bytes[span])
}

#[cfg(test)]
mod tests {
    use super::super::certificate::primary_may_sign;
    use super::{packet, without_trust};
    use crate::keyrings::builtin;

    #[test]
    fn notes_of_trust_are_passed_over_and_what_is_no_packet_stays() {
        let user = [0xb4, 1, b'u'];
        let long = [&[0xcd, 255, 0, 0, 0, 2][..], b"id"].concat();
        let (old, new) = ([0xb0, 2, 0, 3], [0xcc, 1, 9]);
        let parts: [&[u8]; 5] = [&old, &user, &new, &long, &old];
        assert_eq!(without_trust(&parts.concat()), [&user[..], &long].concat());
        assert_eq!(packet(&[0xcd, 193, 2, 0]), Some((13, 3 + 450)));
        for broken in [&[0xb0, 9, 1][..], &[0xb3, 1], &[0xcc, 230, 1], &[0xcc], &[7, 7], &[]] {
            assert_eq!(without_trust(broken), broken, "{broken:?}");
        }
    }

    /// Trusted is not enough: their own signatures must hold by the rules that are kept to here.
    #[test]
    fn the_keys_that_ship_may_sign() {
        // 15 November 2025.
        let now = 1_763_198_062;
        for (suite, signs) in [
            ("bookworm", "4D64FEC119C2029067D6E791F8D2585B8783D481"),
            ("trixie", "41587F7DB8C774BCCF131416762F67A0B2C39DE4"),
            ("noble", "F6ECB3762474EDA9D21B7022871920D1991BC93C"),
        ] {
            let keyring = builtin(suite).unwrap();
            let place = keyring.fingerprints().iter().position(|key| key == signs);
            let certificate = &keyring.certificates[place.unwrap()];
            assert_eq!(primary_may_sign(certificate, now), Ok(()), "{suite}");
        }
    }
}

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
            match SignedPublicKey::from_bytes_many(Cursor::new(bytes)) {
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

//! Is this text signed by a key we trust? OpenPGP (RFC 9580) for clearsigned `InRelease` files.
//!
//! The `pgp` crate does the arithmetic; *policy* is here, in `certificate` (is this key good, and for signing?) and
//! [`Keyring::verify`] (is this signature good?). It is as strict as gpgv as apt calls it, and stricter with
//! algorithms: no SHA-1, MD5 or RIPEMD-160 anywhere, no RSA below 2048 bits, no DSA.

mod certificate;
mod keyring;
mod verify;

pub(crate) use certificate::CLOCK_SKEW;
pub use keyring::Keyring;
pub use verify::{Signer, Verified};

use crate::time;

/// Why a signed text is not to be trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// Not a clearsigned message: something else answered, or the file is cut off.
    #[error("it is not a clearsigned OpenPGP message: {reason}")]
    NotClearsigned {
        /// What the parser met.
        reason: String,
    },
    /// Signed, but by nobody we know.
    #[error("it is signed by {}, and the keyring has {}", keys(signed_by), keys(trusted))]
    UnknownKeys {
        /// Who signed it: fingerprints or key ids.
        signed_by: Vec<String>,
        /// The fingerprints of the keyring's certificates.
        trusted: Vec<String>,
    },
    /// The signature of a key we trust does not fit the text: the text was changed.
    #[error("the signature by key {key} does not fit the text: it was changed after it was signed")]
    Changed {
        /// Fingerprint of the signing key.
        key: String,
    },
    /// Signed by keys we know, none of which may be relied upon.
    #[error("no signature on it can be relied upon: {}", refusals(refused))]
    Refused {
        /// Each key we know that signed, and why that is not enough.
        refused: Vec<(String, Refusal)>,
    },
}

/// Why a signature by a key of the keyring is not relied upon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The key has expired.
    #[error("the key expired on {}", time::show(*.0))]
    KeyExpired(u64),
    /// The key has been revoked by its owner.
    #[error("the key has been revoked")]
    KeyRevoked,
    /// The key may certify or encrypt, but not sign.
    #[error("the key is not meant for signing")]
    NotForSigning,
    /// No valid self-signature, subkey binding or back signature ties the key to its certificate.
    #[error("the key is not bound to its certificate: {0}")]
    Unbound(&'static str),
    /// A hash or key that is too weak today.
    #[error("{0} is too weak")]
    Weak(String),
    /// The signature was made before its key.
    #[error("the signature is older than its key")]
    BeforeKey,
    /// The signature is dated after now.
    #[error("the signature is dated {}, which is after now", time::show(*.0))]
    FromTheFuture(u64),
    /// The signature has expired.
    #[error("the signature expired on {}", time::show(*.0))]
    SignatureExpired(u64),
    /// Not a signature over a document.
    #[error("it is no signature over a document")]
    WrongType,
    /// A critical part of the signature is not understood (RFC 9580, 5.2.3.7).
    #[error("the signature has a critical part that is not understood")]
    Critical,
}

impl TrustError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NotClearsigned { .. } => {
                "Something else answers at that address (a login page, a wrong server, a cut transfer): look at it with a browser."
            }
            Self::UnknownKeys { .. } => {
                "If the archive is right, give its keyring in the recipe (for Debian the package debian-archive-keyring has \
                 it, /usr/share/keyrings/debian-archive-keyring.gpg; for Ubuntu ubuntu-keyring). Compare the fingerprint with \
                 one the archive's owner publishes elsewhere."
            }
            Self::Changed { .. } => {
                "Do not use this mirror. If a proxy or cache is in between, empty it and try again."
            }
            Self::Refused { refused } => {
                let clock = refused.iter().any(|(_, refusal)| {
                    matches!(refusal, Refusal::FromTheFuture(_) | Refusal::BeforeKey)
                });
                if clock {
                    "Check this host's clock."
                } else {
                    "Get the archive's current keyring (Debian: package debian-archive-keyring) and give it in the recipe."
                }
            }
        };
        Some(text.to_owned())
    }
}

fn keys(keys: &[String]) -> String {
    match keys {
        [] => "no key".to_owned(),
        [key] => format!("key {key}"),
        keys => format!("keys {}", keys.join(", ")),
    }
}

fn refusals(refused: &[(String, Refusal)]) -> String {
    let each: Vec<_> = refused.iter().map(|(key, refusal)| format!("{key}: {refusal}")).collect();
    if each.is_empty() { "it has none".to_owned() } else { each.join("; ") }
}

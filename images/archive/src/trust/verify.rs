//! Is this signature good? Clearsigned messages (RFC 9580, 7) against a keyring.

use pgp::composed::{CleartextSignedMessage, SignedPublicKey};
use pgp::packet::{Signature, SignatureType};
use pgp::types::KeyDetails;

use super::certificate::{acceptable, created, primary_may_sign, subkey_may_sign};
use super::{Keyring, Refusal, TrustError};

/// More signatures than any archive puts on a file (Debian: three); each costs a public key operation.
const MOST_SIGNATURES: usize = 32;

/// A text with at least one good signature.
#[derive(Debug, Clone)]
pub struct Verified {
    /// What was signed, and nothing else: line ends are `\n`, blanks at line ends are gone.
    pub text: String,
    /// Who signed it, keys of the keyring only.
    pub signers: Vec<Signer>,
}

/// Who made a good signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// Fingerprint of the certificate's primary key, upper-case hex.
    pub certificate: String,
    /// Fingerprint of the key that signed, the primary key or a subkey.
    pub key: String,
    /// When, seconds since 1970.
    pub created: u64,
}

impl Keyring {
    /// Checks the clearsigned `message` at time `now` (seconds since 1970) and returns the text that was signed.
    ///
    /// One good signature is enough, as archives sign with their old and new keys while they change over. Signatures
    /// by unknown keys are passed over. A signature by a key of this keyring that does not fit the text fails it.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn verify(&self, message: &[u8], now: u64) -> Result<Verified, TrustError> {
        let no_message = |reason: String| TrustError::NotClearsigned { reason };
        let text = std::str::from_utf8(message).map_err(|error| no_message(error.to_string()))?;
        let (message, _headers) = CleartextSignedMessage::from_string(text)
            .map_err(|error| no_message(error.to_string()))?;
        let signatures = message.signatures();
        if signatures.len() > MOST_SIGNATURES {
            return Err(no_message(format!("it has more than {MOST_SIGNATURES} signatures")));
        }
        let signed = message.signed_text();
        let (mut signers, mut unknown, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for signature in signatures {
            let candidates = self.issuers(signature);
            if candidates.is_empty() {
                unknown.push(issuer(signature));
                continue;
            }
            // What must not be relied upon is not computed either.
            if let Err(refusal) = document(signature, now) {
                refused.push((candidates[0].fingerprint(), refusal));
                continue;
            }
            // Several candidates only where a 64-bit key id is shared; the mathematics tells which it is.
            let Some(key) = candidates.iter().find(|key| key.made(signature, &signed)) else {
                return Err(TrustError::Changed { key: candidates[0].fingerprint() });
            };
            match key.may_sign(signature, now) {
                Ok(()) => signers.push(Signer {
                    certificate: format!("{:X}", key.certificate.fingerprint()),
                    key: key.fingerprint(),
                    created: created(signature),
                }),
                Err(refusal) => refused.push((key.fingerprint(), refusal)),
            }
        }
        if !signers.is_empty() {
            return Ok(Verified { text: signed.replace("\r\n", "\n"), signers });
        }
        if refused.is_empty() {
            return Err(TrustError::UnknownKeys {
                signed_by: unknown,
                trusted: self.fingerprints(),
            });
        }
        Err(TrustError::Refused { refused })
    }

    /// The keys of this keyring that `signature` says it was made by.
    fn issuers(&self, signature: &Signature) -> Vec<Key<'_>> {
        let (fingerprints, ids) = (signature.issuer_fingerprint(), signature.issuer_key_id());
        // A fingerprint says more than a key id: where there is one, it decides.
        let named = |key: &dyn KeyDetails| {
            if fingerprints.is_empty() {
                ids.contains(&&key.legacy_key_id())
            } else {
                fingerprints.contains(&&key.fingerprint())
            }
        };
        let mut keys = Vec::new();
        for certificate in &self.certificates {
            if named(&certificate.primary_key) {
                keys.push(Key { certificate, subkey: None });
            }
            for (at, subkey) in certificate.public_subkeys.iter().enumerate() {
                if named(&subkey.key) {
                    keys.push(Key { certificate, subkey: Some(at) });
                }
            }
        }
        keys
    }
}

/// A primary key or a subkey.
struct Key<'a> {
    certificate: &'a SignedPublicKey,
    subkey: Option<usize>,
}

impl Key<'_> {
    fn details(&self) -> &dyn KeyDetails {
        match self.subkey {
            None => &self.certificate.primary_key,
            Some(at) => &self.certificate.public_subkeys[at].key,
        }
    }

    fn fingerprint(&self) -> String {
        format!("{:X}", self.details().fingerprint())
    }

    fn made(&self, signature: &Signature, text: &str) -> bool {
        match self.subkey {
            None => signature.verify(&self.certificate.primary_key, text.as_bytes()).is_ok(),
            Some(at) => {
                signature.verify(&self.certificate.public_subkeys[at].key, text.as_bytes()).is_ok()
            }
        }
    }

    fn may_sign(&self, signature: &Signature, now: u64) -> Result<(), Refusal> {
        if created(signature) < u64::from(self.details().created_at().as_secs()) {
            return Err(Refusal::BeforeKey);
        }
        match self.subkey {
            None => primary_may_sign(self.certificate, now),
            Some(at) => {
                subkey_may_sign(self.certificate, &self.certificate.public_subkeys[at], now)
            }
        }
    }
}

/// Is it a signature over a document, and acceptable in itself?
fn document(signature: &Signature, now: u64) -> Result<(), Refusal> {
    match signature.typ() {
        Some(SignatureType::Binary | SignatureType::Text) => acceptable(signature, now),
        _ => Err(Refusal::WrongType),
    }
}

fn issuer(signature: &Signature) -> String {
    let fingerprint = signature.issuer_fingerprint().first().map(|print| format!("{print:X}"));
    let id = || signature.issuer_key_id().first().map(|id| id.to_string().to_uppercase());
    fingerprint.or_else(id).unwrap_or_else(|| "(not named)".to_owned())
}

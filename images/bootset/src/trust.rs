//! Signatures: minisign's format, pre-hashed signatures only.
//!
//! Source: <https://jedisct1.github.io/minisign/>, "Signature format" and "Public key format".

use std::fmt;

use crate::{BootSet, Error};

/// A key that may sign boot sets.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(minisign_verify::PublicKey);

impl PublicKey {
    /// Reads a `.pub` file's text, or its second line alone.
    ///
    /// # Errors
    /// If it is neither.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let key = if text.contains('\n') {
            minisign_verify::PublicKey::decode(text)
        } else {
            minisign_verify::PublicKey::from_base64(text)
        };
        key.map(Self)
            .map_err(|source| Error::BadKey { text: text.chars().take(80).collect(), source })
    }

    /// The comment in its file: `minisign public key 5A3C…`. Unsigned: for people only.
    #[must_use]
    pub fn comment(&self) -> &str {
        let comment = self.0.untrusted_comment().unwrap_or("a key without comment");
        comment.trim_start_matches("untrusted comment:").trim()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.comment())
    }
}

/// Verifies `signature` (the text of a `.minisig` file) over `bytes` with any of `keys`, and only then reads the set.
///
/// # Errors
/// No key of `keys` made this signature over these bytes, or what was signed is no acceptable set.
pub fn verify(bytes: &[u8], signature: &str, keys: &[PublicKey]) -> Result<BootSet, Error> {
    if bytes.len() > BootSet::MAX_BYTES {
        return Err(Error::TooBig { size: bytes.len() });
    }
    if keys.is_empty() {
        return Err(Error::NoKeys);
    }
    let signature =
        minisign_verify::Signature::decode(signature).map_err(Error::BadSignatureFile)?;
    for key in keys {
        match key.0.verify(bytes, &signature, false) {
            Ok(()) => return BootSet::from_trusted_bytes(bytes),
            Err(minisign_verify::Error::UnexpectedKeyId) => {}
            Err(error) => return Err(Error::WrongSignature(error)),
        }
    }
    let trusted: Vec<&str> = keys.iter().map(PublicKey::comment).collect();
    Err(Error::UnknownKey { trusted: trusted.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::set::tests::sample;

    struct Signer {
        pair: minisign::KeyPair,
        public: PublicKey,
    }

    impl Signer {
        fn new() -> Self {
            let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
            let text = pair.pk.to_box().unwrap().into_string();
            Self { public: PublicKey::parse(&text).unwrap(), pair }
        }

        fn sign(&self, bytes: &[u8]) -> String {
            minisign::sign(None, &self.pair.sk, bytes, None, None).unwrap().into_string()
        }
    }

    #[test]
    fn what_we_signed_is_accepted_with_any_of_the_keys() {
        let (signer, other) = (Signer::new(), Signer::new());
        let bytes = sample().to_bytes().unwrap();
        let signature = signer.sign(&bytes);
        let keys = [other.public.clone(), signer.public.clone()];
        assert_eq!(verify(&bytes, &signature, &keys).unwrap(), sample());

        let error = verify(&bytes, &signature, &[other.public]).unwrap_err();
        assert!(matches!(error, Error::UnknownKey { .. }), "{error}");
        assert!(error.to_string().contains("minisign public key"), "{error}");
        assert!(matches!(verify(&bytes, &signature, &[]), Err(Error::NoKeys)));
    }

    #[test]
    fn one_changed_bit_anywhere_is_refused() {
        let signer = Signer::new();
        let bytes = sample().to_bytes().unwrap();
        let signature = signer.sign(&bytes);
        for at in (0..bytes.len()).step_by(97) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(
                matches!(
                    verify(&changed, &signature, std::slice::from_ref(&signer.public)),
                    Err(Error::WrongSignature(_))
                ),
                "byte {at}"
            );
        }
        let comment = signature.replace("trusted comment: ", "trusted comment: x");
        assert!(verify(&bytes, &comment, std::slice::from_ref(&signer.public)).is_err());
    }

    #[test]
    fn the_signature_is_looked_at_before_the_content() {
        let signer = Signer::new();
        let signature = signer.sign(b"other");
        let error = verify(b"{not json", &signature, std::slice::from_ref(&signer.public));
        assert!(matches!(error, Err(Error::WrongSignature(_))));
        let signed_nonsense = verify(b"other", &signature, std::slice::from_ref(&signer.public));
        assert!(matches!(signed_nonsense, Err(Error::Parse(_))));
        let big = vec![b' '; BootSet::MAX_BYTES + 1];
        assert!(matches!(verify(&big, &signature, &[signer.public]), Err(Error::TooBig { .. })));
    }

    #[test]
    fn keys_and_signatures_that_are_none_are_named() {
        assert!(matches!(PublicKey::parse("hello"), Err(Error::BadKey { .. })));
        assert!(matches!(PublicKey::parse(""), Err(Error::BadKey { .. })));
        let signer = Signer::new();
        let bare = signer.pair.pk.to_base64();
        assert!(PublicKey::parse(&bare).is_ok());
        for nonsense in ["", "a\nb\nc\nd", "untrusted comment: x\nRUQ=\ntrusted comment: y\nAA=="] {
            assert!(
                matches!(
                    verify(b"x", nonsense, std::slice::from_ref(&signer.public)),
                    Err(Error::BadSignatureFile(_))
                ),
                "{nonsense}"
            );
        }
    }
}

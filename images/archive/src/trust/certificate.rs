//! Is this key of a certificate good, and for signing? RFC 9580, 5.2.3 (self-signatures) and 10.1 (certificates).

use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::{Signature, SignatureType, SubpacketData};
use pgp::ser::Serialize as _;
use pgp::types::{Duration, KeyDetails, PublicParams, Tag};

use super::Refusal;

/// How far a signer's clock may be ahead of ours, in seconds. Archives sign and publish within minutes.
pub(crate) const CLOCK_SKEW: u64 = 600;

/// Smallest RSA modulus relied upon, in bits (NIST SP 800-131A; also the bound of apt since 2.7).
const LEAST_RSA_BITS: u16 = 2048;

/// The creation time of a signature or 0, which no policy accepts as "after its key".
pub(super) fn created(signature: &Signature) -> u64 {
    signature.created().map_or(0, |time| u64::from(time.as_secs()))
}

/// Checks what does not depend on the key: hash, dates, and that every critical part is understood.
pub(super) fn acceptable(signature: &Signature, now: u64) -> Result<(), Refusal> {
    let Some(config) = signature.config() else {
        return Err(Refusal::Weak("a signature of an unknown version".to_owned()));
    };
    match config.hash_alg {
        HashAlgorithm::Sha256
        | HashAlgorithm::Sha384
        | HashAlgorithm::Sha512
        | HashAlgorithm::Sha3_256
        | HashAlgorithm::Sha3_512 => {}
        weak => return Err(Refusal::Weak(format!("the hash {weak}"))),
    }
    let critical = config.hashed_subpackets().any(|subpacket| {
        subpacket.is_critical
            && matches!(
                subpacket.data,
                SubpacketData::Other(..)
                    | SubpacketData::Experimental(..)
                    | SubpacketData::Notation(_)
            )
    });
    if critical {
        return Err(Refusal::Critical);
    }
    let made = created(signature);
    if made > now.saturating_add(CLOCK_SKEW) {
        return Err(Refusal::FromTheFuture(made));
    }
    match signature.signature_expiration_time().map(seconds) {
        None | Some(0) => Ok(()),
        Some(lifetime) if made + lifetime > now => Ok(()),
        Some(lifetime) => Err(Refusal::SignatureExpired(made + lifetime)),
    }
}

/// May the primary key of `certificate` sign documents at `now`?
pub(super) fn primary_may_sign(certificate: &SignedPublicKey, now: u64) -> Result<(), Refusal> {
    let self_signature = primary(certificate, now)?;
    if self_signature.key_flags().sign() { Ok(()) } else { Err(Refusal::NotForSigning) }
}

/// May `subkey` of `certificate` sign documents at `now`?
pub(super) fn subkey_may_sign(
    certificate: &SignedPublicKey,
    subkey: &SignedPublicSubKey,
    now: u64,
) -> Result<(), Refusal> {
    primary(certificate, now)?;
    strong(&subkey.key)?;
    let primary = &certificate.primary_key;
    let revoked = |signature: &Signature| {
        signature.typ() == Some(SignatureType::SubkeyRevocation)
            && signature.verify_subkey_binding(primary, &subkey.key).is_ok()
    };
    if subkey.signatures.iter().any(revoked) {
        return Err(Refusal::KeyRevoked);
    }
    // The newest binding rules: an owner prolongs a subkey, or takes "sign" from it, by binding it anew.
    let bindings = subkey.signatures.iter().filter(|signature| {
        signature.typ() == Some(SignatureType::SubkeyBinding)
            && signature.verify_subkey_binding(primary, &subkey.key).is_ok()
    });
    let binding = newest(bindings, now)?.ok_or(Refusal::Unbound("no valid subkey binding"))?;
    if !binding.key_flags().sign() {
        return Err(Refusal::NotForSigning);
    }
    // Without the back signature, anybody could claim another's signing key as a subkey of his own (RFC 9580, 5.2.1.9).
    let back = binding.embedded_signature().ok_or(Refusal::Unbound("no back signature"))?;
    acceptable(back, now)?;
    back.verify_primary_key_binding(&subkey.key, primary)
        .map_err(|_| Refusal::Unbound("the back signature does not hold"))?;
    unexpired(&subkey.key, binding, now)
}

/// Checks the primary key; returns the self-signature that rules it, the newest one.
fn primary(certificate: &SignedPublicKey, now: u64) -> Result<&Signature, Refusal> {
    let key = &certificate.primary_key;
    strong(key)?;
    let details = &certificate.details;
    // Revocations count whatever their hash or date: who can make one has the key.
    if details.revocation_signatures.iter().any(|revocation| revocation.verify_key(key).is_ok()) {
        return Err(Refusal::KeyRevoked);
    }
    let direct = details.direct_signatures.iter().filter(|signature| {
        signature.typ() == Some(SignatureType::Key) && signature.verify_key(key).is_ok()
    });
    let users = details.users.iter().flat_map(|user| {
        let holds = |signature: &&Signature| {
            signature.verify_certification(key, Tag::UserId, &user.id).is_ok()
        };
        let withdrawn = user
            .signatures
            .iter()
            .filter(|signature| signature.typ() == Some(SignatureType::CertRevocation))
            .filter(holds)
            .map(created)
            .max();
        user.signatures
            .iter()
            .filter(|signature| signature.typ() != Some(SignatureType::CertRevocation))
            .filter(holds)
            .filter(move |signature| withdrawn.is_none_or(|time| created(signature) > time))
    });
    let ruling =
        newest(direct.chain(users), now)?.ok_or(Refusal::Unbound("no valid self-signature"))?;
    unexpired(key, ruling, now)?;
    Ok(ruling)
}

/// The newest of `signatures`; when it is not acceptable the next older one does not step in for it, unless the
/// reason is its date: an attacker who can date a clock must not bring an old promise back.
fn newest<'a>(
    signatures: impl Iterator<Item = &'a Signature>,
    now: u64,
) -> Result<Option<&'a Signature>, Refusal> {
    let mut signatures: Vec<_> = signatures.collect();
    signatures.sort_by_key(|signature| std::cmp::Reverse(created(signature)));
    let mut refusal = None;
    for signature in signatures {
        match acceptable(signature, now) {
            Ok(()) => return Ok(Some(signature)),
            Err(future @ Refusal::FromTheFuture(_)) => refusal = Some(future),
            Err(other) => return Err(other),
        }
    }
    refusal.map_or(Ok(None), Err)
}

fn unexpired(key: &impl KeyDetails, ruling: &Signature, now: u64) -> Result<(), Refusal> {
    let made = u64::from(key.created_at().as_secs());
    match ruling.key_expiration_time().map(seconds) {
        None | Some(0) => Ok(()),
        Some(lifetime) if made + lifetime > now => Ok(()),
        Some(lifetime) => Err(Refusal::KeyExpired(made + lifetime)),
    }
}

fn strong(key: &impl KeyDetails) -> Result<(), Refusal> {
    match (key.algorithm(), key.public_params()) {
        (PublicKeyAlgorithm::RSA | PublicKeyAlgorithm::RSASign, PublicParams::RSA(parameters)) => {
            // The first number of an RSA key is its modulus, headed by its length in bits (RFC 9580, 3.2 and 5.5.5.1).
            let bits = parameters
                .to_bytes()
                .ok()
                .and_then(|bytes| bytes.first_chunk().copied())
                .map_or(0, u16::from_be_bytes);
            if bits < LEAST_RSA_BITS {
                return Err(Refusal::Weak(format!("an RSA key of {bits} bits")));
            }
            Ok(())
        }
        (
            PublicKeyAlgorithm::ECDSA
            | PublicKeyAlgorithm::EdDSALegacy
            | PublicKeyAlgorithm::Ed25519
            | PublicKeyAlgorithm::Ed448,
            _,
        ) => Ok(()),
        (algorithm, _) => Err(Refusal::Weak(format!("a key of algorithm {algorithm:?}"))),
    }
}

fn seconds(duration: Duration) -> u64 {
    std::time::Duration::from(duration).as_secs()
}

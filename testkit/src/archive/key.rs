//! Keys to sign archives with, good ones and every kind of bad one.

use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, KeyType, SignedKeyDetails, SignedPublicKey,
    SignedPublicSubKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{
    KeyFlags, PubKeyInner, PublicKey, PublicSubkey, SecretKey, SecretSubkey, Signature,
    SignatureConfig, SignatureType, Subpacket, SubpacketData, UserId,
};
use pgp::ser::Serialize as _;
use pgp::types::{
    Duration, KeyDetails, KeyVersion, PacketHeaderVersion, Password, SignedUser,
    SigningKey as OpenPgpKey, Tag, Timestamp,
};
use rand_core::OsRng;

use super::now;

/// What kind of key to make.
#[derive(Debug, Clone)]
pub struct KeyOptions {
    /// Its algorithm, `Ed25519Legacy` by default: what gpg calls ed25519.
    pub algorithm: KeyType,
    /// When it was made, seconds since 1970.
    pub created: u64,
    /// After how many seconds it expires.
    pub lifetime: Option<u64>,
    /// Is it for signing?
    pub signs: bool,
    /// The hash of its self-signature and bindings.
    pub hash: HashAlgorithm,
    /// Has its owner revoked it?
    pub revoked: bool,
    /// The subkey that signs in its place, as archives have it.
    pub subkey: Option<Subkey>,
}

/// What kind of subkey to make.
#[derive(Debug, Clone)]
pub struct Subkey {
    /// After how many seconds it expires.
    pub lifetime: Option<u64>,
    /// Is it for signing?
    pub signs: bool,
    /// Has it signed its primary key, as a signing subkey must?
    pub back_signature: bool,
    /// Has the primary key's owner revoked it?
    pub revoked: bool,
}

impl Default for KeyOptions {
    /// A good key without subkey, made an hour ago.
    fn default() -> Self {
        Self {
            algorithm: KeyType::Ed25519Legacy,
            created: now() - 3600,
            lifetime: None,
            signs: true,
            hash: HashAlgorithm::Sha512,
            revoked: false,
            subkey: None,
        }
    }
}

impl Default for Subkey {
    /// A good one.
    fn default() -> Self {
        Self { lifetime: None, signs: true, back_signature: true, revoked: false }
    }
}

/// A key with its certificate.
#[derive(Debug, Clone)]
pub struct SigningKey {
    certificate: SignedPublicKey,
    primary: SecretKey,
    subkey: Option<SecretSubkey>,
}

impl SigningKey {
    /// A good key.
    #[must_use]
    pub fn generate() -> Self {
        Self::with(&KeyOptions::default())
    }

    /// A key as `options` say.
    #[must_use]
    pub fn with(options: &KeyOptions) -> Self {
        let inner = |algorithm: &KeyType| {
            let (public, secret) = algorithm.generate(OsRng).expect("a key can be made");
            let created = timestamp(options.created);
            let version = KeyVersion::V4;
            let inner = PubKeyInner::new(version, algorithm.to_alg(), created, None, public);
            (inner.expect("it is well formed"), secret)
        };
        let (public, secret) = inner(&options.algorithm);
        let public = PublicKey::from_inner(public).expect("it is well formed");
        let primary = SecretKey::new(public.clone(), secret).expect("it is well formed");
        let sign = Signer { options, primary: &primary, public: &public };

        let id = UserId::from_str(PacketHeaderVersion::New, "Test archive <test@example.org>");
        let id = id.expect("it is well formed");
        let user = sign.user(&id);
        let subkey = options.subkey.as_ref().map(|subkey| {
            let (public, secret) = inner(&KeyType::Ed25519Legacy);
            let public = PublicSubkey::from_inner(public).expect("it is well formed");
            let secret = SecretSubkey::new(public.clone(), secret).expect("it is well formed");
            (SignedPublicSubKey::new(public, sign.subkey(subkey, &secret)), secret)
        });
        let (public_subkey, subkey) = subkey.unzip();
        let revocations = if options.revoked { vec![sign.revocation()] } else { vec![] };
        let details = SignedKeyDetails::new(
            revocations,
            vec![],
            vec![SignedUser::new(id, vec![user])],
            vec![],
        );
        let certificate =
            SignedPublicKey::new(public, details, public_subkey.into_iter().collect());
        Self { certificate, primary, subkey }
    }

    /// The certificate ("public key"), binary, as a keyring has it.
    #[must_use]
    pub fn certificate(&self) -> Vec<u8> {
        self.certificate.to_bytes().expect("it is well formed")
    }

    /// The certificate, ASCII-armored.
    #[must_use]
    pub fn armored_certificate(&self) -> String {
        self.certificate.to_armored_string(ArmorOptions::default()).expect("it is well formed")
    }

    /// The fingerprint of the primary key, upper-case hex.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("{:X}", self.certificate.fingerprint())
    }

    /// `text` with a signature made at `created`, seconds since 1970, by the subkey if there is one.
    #[must_use]
    pub fn clearsign(&self, text: &str, created: u64) -> String {
        clearsign(&[self], text, &SignOptions { created, ..SignOptions::default() })
    }

    fn sign(&self, text: &[u8], options: &SignOptions) -> pgp::errors::Result<Signature> {
        let SignOptions { created, kind, hash, subpackets } = options;
        match &self.subkey {
            Some(subkey) => config(*kind, *hash, *created, subkey, subpackets).sign(
                subkey,
                &Password::empty(),
                text,
            ),
            None => config(*kind, *hash, *created, &self.primary, subpackets).sign(
                &self.primary,
                &Password::empty(),
                text,
            ),
        }
    }
}

/// How to sign a text.
#[derive(Debug, Clone)]
pub struct SignOptions {
    /// When, seconds since 1970.
    pub created: u64,
    /// What the signature is for.
    pub kind: SignatureType,
    /// Its hash.
    pub hash: HashAlgorithm,
    /// Further parts of it.
    pub subpackets: Vec<Subpacket>,
}

impl Default for SignOptions {
    /// As gpg does it, now.
    fn default() -> Self {
        Self {
            created: now(),
            kind: SignatureType::Text,
            hash: HashAlgorithm::Sha512,
            subpackets: Vec::new(),
        }
    }
}

/// `text` with a signature by each of `keys`.
#[must_use]
pub fn clearsign(keys: &[&SigningKey], text: &str, options: &SignOptions) -> String {
    let signed = CleartextSignedMessage::new_many(text, |text| {
        keys.iter().map(|key| key.sign(text.as_bytes(), options)).collect()
    });
    let signed = signed.expect("it can be signed");
    signed.to_armored_string(ArmorOptions::default()).expect("it is well formed")
}

/// Makes the signatures of a certificate.
struct Signer<'a> {
    options: &'a KeyOptions,
    primary: &'a SecretKey,
    public: &'a PublicKey,
}

impl Signer<'_> {
    fn config(&self, kind: SignatureType, subpackets: &[Subpacket]) -> SignatureConfig {
        config(kind, self.options.hash, self.options.created, self.primary, subpackets)
    }

    fn user(&self, id: &UserId) -> Signature {
        let mut flags = KeyFlags::default();
        flags.set_certify(true);
        flags.set_sign(self.options.signs);
        self.config(SignatureType::CertPositive, &key_subpackets(flags, self.options.lifetime))
            .sign_certification(self.primary, self.public, &Password::empty(), Tag::UserId, id)
            .expect("it can be signed")
    }

    fn subkey(&self, subkey: &Subkey, secret: &SecretSubkey) -> Vec<Signature> {
        let mut flags = KeyFlags::default();
        flags.set_sign(subkey.signs);
        flags.set_encrypt_comms(!subkey.signs);
        let mut subpackets = key_subpackets(flags, subkey.lifetime);
        if subkey.back_signature {
            let hash = HashAlgorithm::Sha512;
            let back = config(SignatureType::KeyBinding, hash, self.options.created, secret, &[])
                .sign_primary_key_binding(
                    secret,
                    secret.public_key(),
                    &Password::empty(),
                    self.public,
                )
                .expect("it can be signed");
            subpackets.push(regular(SubpacketData::EmbeddedSignature(Box::new(back))));
        }
        let bind = |kind, subpackets: &[Subpacket]| {
            let config = self.config(kind, subpackets);
            let subkey = secret.public_key();
            config
                .sign_subkey_binding(self.primary, self.public, &Password::empty(), subkey)
                .expect("it can be signed")
        };
        let mut signatures = vec![bind(SignatureType::SubkeyBinding, &subpackets)];
        if subkey.revoked {
            signatures.push(bind(SignatureType::SubkeyRevocation, &[]));
        }
        signatures
    }

    fn revocation(&self) -> Signature {
        self.config(SignatureType::KeyRevocation, &[])
            .sign_key(self.primary, &Password::empty(), self.public)
            .expect("it can be signed")
    }
}

fn config(
    kind: SignatureType,
    hash: HashAlgorithm,
    created: u64,
    by: &impl OpenPgpKey,
    subpackets: &[Subpacket],
) -> SignatureConfig {
    let mut config = SignatureConfig::v4(kind, by.algorithm(), hash);
    config.hashed_subpackets = vec![
        regular(SubpacketData::SignatureCreationTime(timestamp(created))),
        regular(SubpacketData::IssuerFingerprint(by.fingerprint())),
    ];
    config.hashed_subpackets.extend_from_slice(subpackets);
    config.unhashed_subpackets = vec![regular(SubpacketData::IssuerKeyId(by.legacy_key_id()))];
    config
}

fn key_subpackets(flags: KeyFlags, lifetime: Option<u64>) -> Vec<Subpacket> {
    let mut subpackets = vec![regular(SubpacketData::KeyFlags(flags))];
    if let Some(lifetime) = lifetime {
        let lifetime = Duration::try_from(std::time::Duration::from_secs(lifetime));
        let lifetime = lifetime.expect("it fits");
        subpackets.push(regular(SubpacketData::KeyExpirationTime(lifetime)));
    }
    subpackets
}

fn regular(data: SubpacketData) -> Subpacket {
    Subpacket::regular(data).expect("it is well formed")
}

fn timestamp(seconds: u64) -> Timestamp {
    Timestamp::from_secs(u32::try_from(seconds).expect("before 2106"))
}

//! Signatures: every way to be bad, with gpgv as the second opinion.

use std::process::{Command, Stdio};
use std::time::Duration;

use overboot_archive::Keyring;
use overboot_archive::trust::{Refusal, TrustError};
use overboot_testkit::archive::{KeyOptions, SignOptions, SigningKey, Subkey, clearsign, now};
use overboot_testkit::require;
use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, Deserializable as _, KeyType, SignedPublicKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Notation, Subpacket, SubpacketData};

const TEXT: &str = "Suite: trixie\n- dashes\n\nDate: now\n";

fn keyring(key: &SigningKey) -> Keyring {
    Keyring::from_bytes(&key.certificate()).unwrap()
}

/// gpgv's verdict as apt reads it: a good signature and none that is bad, expired or revoked. `None` without gpgv.
fn gpgv(certificate: &[u8], message: &str) -> Option<bool> {
    if !require::program("gpgv") {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let (ring, file) = (dir.path().join("ring.gpg"), dir.path().join("message"));
    fs_err::write(&ring, certificate).unwrap();
    fs_err::write(&file, message).unwrap();
    let output = Command::new("gpgv")
        .args(["--status-fd", "1", "--homedir"])
        .arg(dir.path())
        .arg("--keyring")
        .args([&ring, &file])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let status = String::from_utf8_lossy(&output.stdout).into_owned();
    let says = |word: &str| status.contains(&format!("[GNUPG:] {word} "));
    let bad = ["BADSIG", "ERRSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG"];
    Some(output.status.success() && says("GOODSIG") && !bad.iter().any(|word| says(word)))
}

/// What we and gpgv are expected to say.
#[derive(Clone, Copy, PartialEq)]
enum Gpgv {
    Agrees,
    /// It is content with what we refuse.
    Accepts,
}

fn refused(options: &KeyOptions, signing: &SignOptions, gpgv_says: Gpgv) -> Refusal {
    let key = SigningKey::with(options);
    let message = clearsign(&[&key], TEXT, signing);
    if let Some(accepted) = gpgv(&key.certificate(), &message) {
        assert_eq!(accepted, gpgv_says == Gpgv::Accepts, "gpgv on {options:?} {signing:?}");
    }
    match keyring(&key).verify(message.as_bytes(), now()) {
        Err(TrustError::Refused { mut refused }) if refused.len() == 1 => refused.remove(0).1,
        other => panic!("{options:?} {signing:?}: {other:?}"),
    }
}

fn with_subkey(subkey: Subkey) -> KeyOptions {
    KeyOptions { subkey: Some(subkey), ..KeyOptions::default() }
}

#[test]
fn good_keys_of_each_kind_are_relied_upon() {
    let signs_itself = KeyOptions::default();
    let subkey = with_subkey(Subkey::default());
    // As Debian has it: the primary key certifies, its subkey signs.
    let only_subkey = KeyOptions { signs: false, ..with_subkey(Subkey::default()) };
    let rsa = KeyOptions { algorithm: KeyType::Rsa(2048), ..KeyOptions::default() };
    let expires = KeyOptions { lifetime: Some(86_400), ..KeyOptions::default() };
    for options in [signs_itself, subkey, only_subkey, rsa, expires] {
        let key = SigningKey::with(&options);
        let created = now();
        let message = key.clearsign(TEXT, created);
        assert_ne!(gpgv(&key.certificate(), &message), Some(false), "{options:?}");
        let verified = keyring(&key).verify(message.as_bytes(), now()).unwrap();
        assert_eq!(verified.text.trim_end(), TEXT.trim_end());
        assert_eq!(verified.signers.len(), 1);
        assert_eq!(verified.signers[0].certificate, key.fingerprint());
        assert_eq!(verified.signers[0].created, created);
        let by_subkey = verified.signers[0].key != key.fingerprint();
        assert_eq!(by_subkey, options.subkey.is_some());
    }
}

#[test]
fn a_key_that_expired_or_was_revoked_is_refused() {
    let signing = SignOptions { created: now() - 3590, ..SignOptions::default() };
    let expired = KeyOptions { lifetime: Some(60), ..KeyOptions::default() };
    let expired_at = expired.created + 60;
    assert_eq!(refused(&expired, &signing, Gpgv::Agrees), Refusal::KeyExpired(expired_at));
    let revoked = KeyOptions { revoked: true, ..KeyOptions::default() };
    assert_eq!(refused(&revoked, &signing, Gpgv::Agrees), Refusal::KeyRevoked);
    // And what holds for the primary key holds for its subkeys.
    let revoked = KeyOptions { revoked: true, ..with_subkey(Subkey::default()) };
    assert_eq!(refused(&revoked, &signing, Gpgv::Agrees), Refusal::KeyRevoked);
    let expired = KeyOptions { lifetime: Some(60), ..with_subkey(Subkey::default()) };
    let expired_at = expired.created + 60;
    assert_eq!(refused(&expired, &signing, Gpgv::Agrees), Refusal::KeyExpired(expired_at));
}

#[test]
fn a_subkey_must_be_bound_valid_and_for_signing() {
    let signing = SignOptions::default();
    let revoked = with_subkey(Subkey { revoked: true, ..Subkey::default() });
    assert_eq!(refused(&revoked, &signing, Gpgv::Agrees), Refusal::KeyRevoked);
    let expired = with_subkey(Subkey { lifetime: Some(60), ..Subkey::default() });
    let expired_at = expired.created + 60;
    assert_eq!(refused(&expired, &signing, Gpgv::Agrees), Refusal::KeyExpired(expired_at));
    let encrypts = with_subkey(Subkey { signs: false, back_signature: false, ..Subkey::default() });
    assert_eq!(refused(&encrypts, &signing, Gpgv::Agrees), Refusal::NotForSigning);
    let adopted = with_subkey(Subkey { back_signature: false, ..Subkey::default() });
    let refusal = refused(&adopted, &signing, Gpgv::Agrees);
    assert_eq!(refusal, Refusal::Unbound("no back signature"));
}

#[test]
fn a_key_without_the_flag_does_not_sign() {
    let certifies = KeyOptions { signs: false, ..KeyOptions::default() };
    let refusal = refused(&certifies, &SignOptions::default(), Gpgv::Agrees);
    assert_eq!(refusal, Refusal::NotForSigning);
}

#[test]
fn weak_hashes_and_short_keys_are_refused() {
    let rsa = KeyOptions { algorithm: KeyType::Rsa(2048), ..KeyOptions::default() };
    for (hash, gpgv_says) in [
        (HashAlgorithm::Md5, Gpgv::Agrees),
        (HashAlgorithm::Sha1, Gpgv::Accepts),
        (HashAlgorithm::Ripemd160, Gpgv::Accepts),
    ] {
        let weak = Refusal::Weak(format!("the hash {hash}"));
        let signing = SignOptions { hash, ..SignOptions::default() };
        assert_eq!(refused(&rsa, &signing, gpgv_says), weak);
        // The same for the key's own self-signature.
        let key = KeyOptions { hash, ..rsa.clone() };
        assert_eq!(refused(&key, &SignOptions::default(), gpgv_says), weak);
    }
    let short = KeyOptions { algorithm: KeyType::Rsa(1024), ..KeyOptions::default() };
    let refusal = refused(&short, &SignOptions::default(), Gpgv::Accepts);
    assert_eq!(refusal, Refusal::Weak("an RSA key of 1024 bits".to_owned()));
}

#[test]
fn the_dates_of_a_signature_count() {
    let key = KeyOptions::default();
    let early = SignOptions { created: key.created - 60, ..SignOptions::default() };
    assert_eq!(refused(&key, &early, Gpgv::Agrees), Refusal::BeforeKey);

    let lifetime = pgp::types::Duration::try_from(Duration::from_secs(60)).unwrap();
    let expires = Subpacket::regular(SubpacketData::SignatureExpirationTime(lifetime)).unwrap();
    let created = now() - 120;
    let expired = SignOptions { created, subpackets: vec![expires], ..SignOptions::default() };
    assert_eq!(refused(&key, &expired, Gpgv::Agrees), Refusal::SignatureExpired(created + 60));

    let good = SigningKey::with(&key);
    let tomorrow = now() + 86_400;
    let message = good.clearsign(TEXT, tomorrow);
    let error = keyring(&good).verify(message.as_bytes(), now()).unwrap_err();
    assert!(error.to_string().contains("after now"), "{error}");
    assert!(error.hint().unwrap().contains("clock"));
    assert!(keyring(&good).verify(message.as_bytes(), tomorrow).is_ok());
}

#[test]
fn a_critical_part_that_is_not_understood_spoils_the_signature() {
    let notation =
        Notation { readable: true, name: "must@example.org".into(), value: "be understood".into() };
    let critical = Subpacket::critical(SubpacketData::Notation(notation.clone())).unwrap();
    let signing = SignOptions { subpackets: vec![critical], ..SignOptions::default() };
    let refusal = refused(&KeyOptions::default(), &signing, Gpgv::Agrees);
    assert_eq!(refusal, Refusal::Critical);
    let harmless = Subpacket::regular(SubpacketData::Notation(notation)).unwrap();
    let signing = SignOptions { subpackets: vec![harmless], ..SignOptions::default() };
    let key = SigningKey::generate();
    assert!(keyring(&key).verify(clearsign(&[&key], TEXT, &signing).as_bytes(), now()).is_ok());
}

#[test]
fn a_signature_for_something_else_is_none() {
    // The self-signature of the key's owner is a good signature by the right key, over something else.
    let key = SigningKey::generate();
    let certificate = SignedPublicKey::from_bytes(&key.certificate()[..]).unwrap();
    let signature = certificate.details.users[0].signatures[0].clone();
    let message = CleartextSignedMessage::new_many(TEXT, |_| Ok(vec![signature])).unwrap();
    let message = message.to_armored_string(ArmorOptions::default()).unwrap();
    assert_ne!(gpgv(&key.certificate(), &message), Some(true));
    match keyring(&key).verify(message.as_bytes(), now()) {
        Err(TrustError::Refused { refused }) => assert_eq!(refused[0].1, Refusal::WrongType),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_known_good_signature_is_enough() {
    let [old, new, stranger] = [(), (), ()].map(|()| SigningKey::generate());
    let expired = SigningKey::with(&KeyOptions { lifetime: Some(60), ..KeyOptions::default() });
    let ring = keyring(&old).with(keyring(&expired));
    let sign = |keys: &[&SigningKey]| clearsign(keys, TEXT, &SignOptions::default());
    let verified = ring.verify(sign(&[&stranger, &expired, &old]).as_bytes(), now()).unwrap();
    assert_eq!(verified.signers[0].certificate, old.fingerprint());

    let error = ring.verify(sign(&[&stranger, &new]).as_bytes(), now()).unwrap_err();
    let message = error.to_string();
    assert!(message.contains(&stranger.fingerprint()) && message.contains(&new.fingerprint()));
    assert!(message.contains(&old.fingerprint()), "the keyring's keys are named too: {message}");
    assert!(error.hint().unwrap().contains("keyring"));
}

#[test]
fn what_was_changed_is_refused_wherever() {
    let key = SigningKey::generate();
    let (ring, message) = (keyring(&key), key.clearsign(TEXT, now()));
    let expected = ring.verify(message.as_bytes(), now()).unwrap().text;
    let changed = message.replace("trixie", "sid");
    let verdict = ring.verify(changed.as_bytes(), now());
    assert!(matches!(verdict, Err(TrustError::Changed { .. })), "{verdict:?}");
    for at in 0..message.len() {
        for bit in [1, 0x20] {
            let mut bytes = message.clone().into_bytes();
            bytes[at] ^= bit;
            // A change that is accepted may only be one of what is not signed: armor headers, blanks at line ends.
            if let Ok(verified) = ring.verify(&bytes, now()) {
                assert_eq!(verified.text, expected, "byte {at}");
            }
        }
        let cut = ring.verify(&message.as_bytes()[..at], now());
        assert!(
            cut.is_err() || message[at..].trim_end_matches(['=', '-']).len() < 40,
            "cut at {at}"
        );
    }
    for (before, after) in [("Origin: Evil\n", ""), ("", "Origin: Evil\n")] {
        let verdict = ring.verify(format!("{before}{message}{after}").as_bytes(), now());
        assert!(matches!(verdict, Err(TrustError::NotClearsigned { .. })), "{verdict:?}");
    }
    let blanks = message.replace("now\n", "now \t\n");
    assert_eq!(ring.verify(blanks.as_bytes(), now()).unwrap().text, expected);
}

#[test]
fn what_is_no_message_is_refused_without_panic() {
    let ring = keyring(&SigningKey::generate());
    let armored =
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nx\n-----BEGIN PGP SIGNATURE-----\n\n";
    for bad in ["", "<html>login</html>", "-----BEGIN PGP SIGNED MESSAGE-----", armored, "\u{0}"] {
        let error = ring.verify(bad.as_bytes(), now()).unwrap_err();
        assert!(matches!(error, TrustError::NotClearsigned { .. }), "{bad}: {error}");
        assert!(error.hint().is_some());
    }
    assert!(ring.verify(&[0xff, 0xfe, 0], now()).is_err());
}

#[test]
fn keyrings_are_read_in_every_form_and_damaged_ones_never_panic() {
    let keys = [SigningKey::generate(), SigningKey::with(&with_subkey(Subkey::default()))];
    let prints: Vec<_> = keys.iter().map(SigningKey::fingerprint).collect();
    let binary: Vec<u8> = keys.iter().flat_map(SigningKey::certificate).collect();
    let armored: String =
        keys.iter().map(|key| format!("# a comment\n{}", key.armored_certificate())).collect();
    for bytes in [&binary[..], armored.as_bytes()] {
        assert_eq!(Keyring::from_bytes(bytes).unwrap().fingerprints(), prints);
        let message = keys[1].clearsign(TEXT, now());
        for at in (0..bytes.len()).step_by(7) {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 0x15;
            if let Ok(ring) = Keyring::from_bytes(&damaged) {
                let _ = ring.verify(message.as_bytes(), now());
            }
            let _ = Keyring::from_bytes(&bytes[..at]);
        }
    }
    for bad in
        [&b""[..], b"nonsense", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n", &[0x99, 0xff, 0xff]]
    {
        assert!(Keyring::from_bytes(bad).is_err());
    }
}

#[test]
fn what_gpg_signs_is_relied_upon() {
    if !require::program("gpg") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let gpg = |arguments: &[&str]| {
        let output = Command::new("gpg")
            .args([
                "--batch",
                "--quiet",
                "--no-tty",
                "--passphrase",
                "",
                "--pinentry-mode",
                "loopback",
            ])
            .args(arguments)
            .env("GNUPGHOME", home.path())
            .current_dir(home.path())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gpg {arguments:?}: {errors}");
        output.stdout
    };
    fs_err::write(home.path().join("Release"), TEXT).unwrap();
    for algorithm in ["ed25519", "nistp256", "rsa3072"] {
        let user = format!("{algorithm}@example.org");
        gpg(&["--quick-gen-key", &user, algorithm, "sign", "1d"]);
        gpg(&["--yes", "--local-user", &user, "--output", "InRelease", "--clearsign", "Release"]);
        let message = fs_err::read(home.path().join("InRelease")).unwrap();
        for armor in ["--no-armor", "--armor"] {
            let ring = Keyring::from_bytes(&gpg(&[armor, "--export", &user])).unwrap();
            let verified = ring.verify(&message, now()).unwrap();
            assert_eq!(verified.text.trim_end(), TEXT.trim_end(), "{algorithm}");
            let next_week = ring.verify(&message, now() + 7 * 86_400).unwrap_err();
            assert!(next_week.to_string().contains("the key expired on"), "{next_week}");
        }
    }
    // An agent that outlives its home would be a leftover.
    let _ = Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", home.path()).status();
}

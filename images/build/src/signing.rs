//! The keys of boot sets: minisign's format, so that anybody can check a set with the ordinary tool.

use std::io::Cursor;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use minisign::{KeyPair, PublicKey, SecretKeyBox};

use crate::error::Error;

/// A pair of keys.
#[derive(Debug)]
pub struct Signer {
    pair: KeyPair,
}

/// Where a project keeps the private half.
#[must_use]
pub fn path(project: &Path) -> PathBuf {
    project.join("keys").join("boot-set.key")
}

impl Signer {
    /// New keys; the private half goes to `path`, which only its owner can read and which must not exist.
    ///
    /// # Errors
    /// The file is there already or cannot be written.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let pair = KeyPair::generate_unencrypted_keypair().map_err(unusable(path))?;
        let text = pair.sk.to_box(Some("overboot: signs boot sets")).map_err(unusable(path))?;
        if let Some(folder) = path.parent() {
            fs_err::create_dir_all(folder).map_err(Error::io("make", folder))?;
        }
        let write = || -> std::io::Result<()> {
            let mut options = std::fs::OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
            std::io::Write::write_all(&mut file, text.into_string().as_bytes())?;
            file.sync_all()
        };
        write().map_err(Error::io("write the private key", path))?;
        Ok(Self { pair })
    }

    /// The keys whose private half is in `path`; nothing where there is no such file.
    ///
    /// # Errors
    /// The file is not a private key, or it is locked with a password.
    pub fn load(path: &Path) -> Result<Option<Self>, Error> {
        let text = match fs_err::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::io("read the private key", path)(source)),
        };
        let sk = SecretKeyBox::from_string(&text)
            .and_then(SecretKeyBox::into_unencrypted_secret_key)
            .map_err(unusable(path))?;
        let pk = PublicKey::from_secret_key(&sk).map_err(unusable(path))?;
        Ok(Some(Self { pair: KeyPair { pk, sk } }))
    }

    /// The public half, as a recipe names it in `trust`.
    #[must_use]
    pub fn public(&self) -> String {
        self.pair.pk.to_base64()
    }

    /// The signature of `bytes`: the text of a `.minisig` file. It is another one each time, since randomness protects the
    /// key from faults while signing; what is compared between two builds is what was signed.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn sign(&self, bytes: &[u8], name: &str) -> Result<String, Error> {
        let comment = format!("overboot boot set {name}");
        let signed = minisign::sign(
            Some(&self.pair.pk),
            &self.pair.sk,
            Cursor::new(bytes),
            // Signed along with the bytes, and shown by the ordinary tool.
            Some(&comment),
            Some("signature of an overboot boot set"),
        );
        Ok(signed.map_err(unusable(Path::new(name)))?.into_string())
    }
}

/// Checks a boot set with the keys that a recipe trusts, as a node does.
///
/// # Errors
/// None of the keys has signed it, or it is not a boot set.
pub fn verify(
    bytes: &[u8],
    signature: &str,
    trust: &[String],
) -> Result<overboot_bootset::BootSet, Error> {
    let keys: Result<Vec<_>, _> =
        trust.iter().map(|key| overboot_bootset::PublicKey::parse(key)).collect();
    Ok(overboot_bootset::verify(bytes, signature, &keys?)?)
}

fn unusable(path: &Path) -> impl FnOnce(minisign::PError) -> Error {
    let path = path.display().to_string();
    move |error| {
        Error::told(
            format!("the private key {path} cannot be used: {error}"),
            "it must be a minisign key without a password, as `overboot init` makes it",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_accepts_what_is_signed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path());
        assert!(Signer::load(&path).unwrap().is_none());
        let made = Signer::create(&path).unwrap();
        assert!(Signer::create(&path).is_err(), "an existing key is not overwritten");
        let signer = Signer::load(&path).unwrap().unwrap();
        assert_eq!(made.public(), signer.public());
        let signature = signer.sign(b"set", "discovery").unwrap();
        let key = minisign_verify::PublicKey::from_base64(&signer.public()).unwrap();
        let signature = minisign_verify::Signature::decode(&signature).unwrap();
        key.verify(b"set", &signature, false).unwrap();
        assert!(key.verify(b"another", &signature, false).is_err());
    }
}

//! The boot set: fetched, verified with the initrd's own keys, and only then read.

use std::path::Path;
use std::time::Duration;

use overboot_bootset::{BootSet, PublicKey};
use overboot_wire::path;

use super::retry::{Blame, Next, Retry};
use crate::http::{Client, Head};
use crate::url::Url;
use crate::{Error, clock};

/// Where the initrd keeps the keys that it trusts.
pub const KEYS: &str = "/etc/overboot/keys";

/// Reads all `*.pub` files of a folder. None at all is no error here; verifying with none is.
///
/// # Errors
/// A file that is no key.
pub fn keys(folder: &Path) -> Result<Vec<PublicKey>, Error> {
    let mut paths: Vec<_> = fs_err::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pub"))
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = fs_err::read_to_string(&path)?;
            PublicKey::parse(&text).map_err(|source| Error::Keys { path, source })
        })
        .collect()
}

/// Fetches and verifies the set at `url`. Returns it and the head of the answer, whose `Date` sets a stopped clock.
///
/// The signature covers the name, and the name must be the one that `url` asks for: else whoever can answer in the
/// server's place could give a node any set that was ever signed.
///
/// # Errors
/// The server cannot be reached for as long as `patience`, does not have the set, or the set is not trusted.
pub fn fetch(
    client: &Client,
    url: &str,
    keys: &[PublicKey],
    patience: Duration,
    trouble: &dyn Fn(&str),
) -> Result<(BootSet, Head), Error> {
    let set_url = Url::parse(url)?;
    let signature_url = signature_of(&set_url)?;
    let mut retry =
        Retry::new(1, clock::boot_ms(), u64::try_from(patience.as_millis()).unwrap_or(u64::MAX));
    loop {
        let fetched = client
            .fetch(&set_url, BootSet::MAX_BYTES as u64)
            .and_then(|set| Ok((set, client.fetch(&signature_url, 4096)?)));
        let (error, blame) = match fetched {
            Ok(((bytes, head), (signature, _))) => {
                let signature = String::from_utf8_lossy(&signature);
                match verified(url, &bytes, &signature, keys) {
                    Ok(set) => return Ok((set, head)),
                    // A set published between the two requests looks forged once; a forged one does so again.
                    Err(error) => (error, Blame::Server),
                }
            }
            Err(error @ Error::Status { status: 400..=499, .. }) => (error, Blame::Server),
            Err(error) => (error, Blame::Passing),
        };
        match retry.failed(clock::boot_ms(), blame) {
            Next::GiveUp => return Err(error),
            Next::Ask { after, .. } => {
                trouble(&format!("{}; asking again", crate::error::chain(&error)));
                std::thread::sleep(Duration::from_millis(after));
            }
        }
    }
}

/// The set in `bytes`, if it is signed and the one that `url` names.
fn verified(
    url: &str,
    bytes: &[u8],
    signature: &str,
    keys: &[PublicKey],
) -> Result<BootSet, Error> {
    let set = overboot_bootset::verify(bytes, signature, keys)
        .map_err(|source| Error::BootSet { url: url.to_owned(), source })?;
    if set.name != path::set_name(url) {
        return Err(Error::OtherSet { url: url.to_owned(), name: set.name });
    }
    Ok(set)
}

/// `.minisig` after the path, before the query.
fn signature_of(url: &Url) -> Result<Url, Error> {
    let (path, query) = match url.target.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (url.target.as_str(), String::new()),
    };
    Url::parse(&format!("http://{}{path}.minisig{query}", url.authority()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_beside_the_set() {
        let url = Url::parse("http://h/boot/sets/a.json?x=1").unwrap();
        assert_eq!(
            signature_of(&url).unwrap().to_string(),
            "http://h:80/boot/sets/a.json.minisig?x=1"
        );
    }

    #[test]
    fn keys_are_read_and_nonsense_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(keys(folder.path()).unwrap().len(), 0);
        assert_eq!(keys(Path::new("/nonexistent")).unwrap().len(), 0);
        std::fs::write(folder.path().join("README"), "not a key").unwrap();
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        std::fs::write(folder.path().join("a.pub"), format!("untrusted comment: k\n{key}\n"))
            .unwrap();
        assert_eq!(keys(folder.path()).unwrap().len(), 1);
        std::fs::write(folder.path().join("b.pub"), "nonsense").unwrap();
        let error = keys(folder.path()).unwrap_err();
        assert!(error.to_string().contains("b.pub"), "{error}");
    }
}

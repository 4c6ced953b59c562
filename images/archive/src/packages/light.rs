//! Packages of the store that are kept unpacked once: the same package beside the one that was fetched, without xz, which takes most
//! of the time of unpacking.
//!
//! The lock vouches for what was fetched. This form is made of exactly those bytes, and ends with a digest of itself: what a crash
//! or a bad disk made of it is noticed, and it is made anew. As with trees and blocks that are kept, whoever may write in
//! the cache is trusted; who does not want to trust it reads what was fetched ([`PackageStore::as_fetched`](super::PackageStore::as_fetched)).

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use overboot_debian::ar;
use overboot_debian::deb::{self, Deb};
use overboot_digest::Digest;

use crate::fetch::aside;

/// The member at the end: the digest, in hexadecimal, of all before it. Names that begin so are skipped by whoever reads packages
/// (deb(5)).
const SEAL: &str = "_sha256";
/// The seal's length with its header.
const SEALED: u64 = 60 + 64;

/// A package of that many bytes is made light alone, since all of it is in memory then.
const LARGE: u64 = 16 << 20;

/// Is all of a light package there, as it was written?
pub(super) fn is_whole(path: &Path) -> bool {
    let look = || -> io::Result<bool> {
        let mut file = fs_err::File::open(path)?;
        let Some(length) = file.metadata()?.len().checked_sub(SEALED) else { return Ok(false) };
        let (digest, _) = Digest::of_reader((&mut file).take(length))?;
        let mut seal = String::new();
        file.read_to_string(&mut seal)?;
        Ok(seal.starts_with(SEAL) && seal.ends_with(&digest.hex()))
    };
    look().unwrap_or(false)
}

/// Makes `light` of the package file at `path`, if that has the right content and is worth it, and nobody else has made it
/// meanwhile. It is not waited for: after a crash it may be damaged.
///
/// # Errors
/// The package is damaged, which its reader will tell better, or there is no room.
pub(super) fn make(path: &Path, sha256: &Digest, light: &Path) -> io::Result<()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let mut package = fs_err::File::open(path)?;
    if !deb::is_heavy(&mut package)? {
        return Ok(());
    }
    if let Some(folder) = light.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let aside = light.with_extension("deb.partial");
    let Some(mut file) = aside::locked(&aside, || is_whole(light))? else { return Ok(()) };
    let large = package.metadata()?.len() > LARGE;
    let _alone = large.then(|| ALONE.lock().unwrap_or_else(PoisonError::into_inner));
    let made = write(path, sha256, &mut file);
    // Still locked, so that it is ours.
    match made {
        Ok(true) => fs_err::rename(&aside, light),
        Ok(false) => fs_err::remove_file(&aside),
        Err(error) => fs_err::remove_file(&aside).and(Err(error)),
    }
}

/// Writes and seals it; `false` where it is of no use.
fn write(path: &Path, sha256: &Digest, file: &mut fs_err::File) -> io::Result<bool> {
    let bytes = fs_err::read(path)?;
    if Digest::of(&bytes) != *sha256 {
        return Ok(false);
    }
    // What a killed process has left.
    file.set_len(0)?;
    if !Deb::new(&bytes).map_err(io::Error::other)?.lighten(file)? {
        return Ok(false);
    }
    file.rewind()?;
    let (digest, length) = Digest::of_reader(&mut *file)?;
    file.seek(SeekFrom::Start(length))?;
    ar::append(file, SEAL, |file| file.write_all(digest.hex().as_bytes()))?;
    Ok(true)
}

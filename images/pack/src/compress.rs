//! Decompressing modules, with a bound.

use std::io::{self, Read};
use std::path::Path;

use overboot_squashfs::{BlockCache, Checked};

use crate::Error;

/// No module is larger: Debian's largest (amdgpu) has 30 MiB.
const MODULE_LIMIT: u64 = 256 << 20;

/// Bound into the cache's keys. To be counted up when what is kept of a module is another thing.
const FORM: &str = "a module 1";

/// The content of the module at `path`, decompressed by its suffix: `.xz`, `.zst`, `.gz` or none. One of `.xz` takes most of the time
/// of packing it; `cache` keeps it with Zstandard's lowest level.
pub(crate) fn read_module(path: &Path, cache: Option<&dyn BlockCache>) -> Result<Vec<u8>, Error> {
    let packed =
        fs_err::read(path).map_err(|source| Error::ReadTree { path: path.to_owned(), source })?;
    let bad = |source| Error::Decompress { path: path.to_owned(), source };
    match path.extension().and_then(|suffix| suffix.to_str()) {
        Some("xz") => match cache {
            Some(cache) => once(&packed, &Checked::new(cache, FORM)),
            None => unxz(&packed),
        },
        Some("zst") => unzstd(&packed),
        Some("gz") => bounded(flate2::read::GzDecoder::new(&packed[..])),
        _ => Ok(packed),
    }
    .map_err(bad)
}

fn once(packed: &[u8], cache: &Checked<'_>) -> io::Result<Vec<u8>> {
    let key = cache.key(packed);
    let mut kept = Vec::new();
    if cache.get(&key, &mut kept)
        && let Ok(content) = unzstd(&kept)
    {
        return Ok(content);
    }
    let content = unxz(packed)?;
    if let Ok(light) = zstd::encode_all(&content[..], 1) {
        cache.put(&key, &light);
    }
    Ok(content)
}

/// CRC32 is the one check that the kernel can verify, and what its build uses; liblzma takes any.
fn unxz(packed: &[u8]) -> io::Result<Vec<u8>> {
    bounded(liblzma::read::XzDecoder::new(packed))
}

fn unzstd(packed: &[u8]) -> io::Result<Vec<u8>> {
    zstd::Decoder::new(packed).and_then(bounded)
}

fn bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    reader.take(MODULE_LIMIT + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MODULE_LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it grows past {} MiB, which no kernel module does", MODULE_LIMIT >> 20),
        ));
    }
    Ok(content)
}

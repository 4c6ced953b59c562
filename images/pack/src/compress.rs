//! Decompressing modules, with a bound.

use std::io::{self, Read};
use std::path::Path;

use crate::Error;

/// No module is larger: Debian's largest (amdgpu) has 30 MiB.
const MODULE_LIMIT: u64 = 256 << 20;

/// The content of the module at `path`, decompressed by its suffix: `.xz`, `.zst`, `.gz` or none.
pub(crate) fn read_module(path: &Path) -> Result<Vec<u8>, Error> {
    let packed =
        fs_err::read(path).map_err(|source| Error::ReadTree { path: path.to_owned(), source })?;
    let bad = |source| Error::Decompress { path: path.to_owned(), source };
    match path.extension().and_then(|suffix| suffix.to_str()) {
        // CRC32 is the one check that the kernel can verify, and what its build uses; liblzma takes any.
        Some("xz") => bounded(liblzma::read::XzDecoder::new(&packed[..])).map_err(bad),
        Some("zst") => zstd::Decoder::new(&packed[..]).and_then(bounded).map_err(bad),
        Some("gz") => bounded(flate2::read::GzDecoder::new(&packed[..])).map_err(bad),
        _ => Ok(packed),
    }
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

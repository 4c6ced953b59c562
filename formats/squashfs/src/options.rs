//! How an image is written: compressor, block size, threads.

use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::cache::BlockCache;
use crate::error::Error;
use crate::format::{BLOCK_SIZE_MAX, BLOCK_SIZE_MIN};

/// How to write an image. `threads` and `cache` change how long that takes and not the bytes.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes in a data block: a power of two from 4 KiB to 1 MiB. Large blocks compress better; a
    /// random read has to unpack one whole block.
    pub block_size: u32,
    /// The compressor, for data and metadata alike.
    pub compression: Compression,
    /// Threads that compress. The bytes do not depend on it.
    pub threads: NonZeroUsize,
    /// The image's own time, in seconds since 1970.
    pub modification_time: u32,
    /// Where blocks are looked for before they are compressed, and put after.
    pub cache: Option<Arc<dyn BlockCache>>,
}

impl Default for Options {
    /// zstd level 15 with 1 MiB blocks, all processors, time 0, no cache.
    fn default() -> Self {
        Self {
            block_size: BLOCK_SIZE_MAX,
            compression: Compression::Zstd { level: 15 },
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            modification_time: 0,
            cache: None,
        }
    }
}

/// A compressor that the kernel's squashfs can undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Zstandard (Linux 4.14), levels 1 to 22.
    Zstd {
        /// 1 is fastest, 22 smallest; mksquashfs's own default is 15.
        level: i32,
    },
    /// LZMA2 in an xz container (Linux 2.6.38), dictionary as large as a block, machine code of x86 by its branch filter
    /// (`CONFIG_XZ_DEC_X86`, which distributions have). Smallest, slow to read.
    Xz,
    /// Deflate in a zlib container (any Linux), levels 1 to 9.
    Gzip {
        /// 1 is fastest, 9 smallest.
        level: u32,
    },
    /// LZ4 (Linux 3.19). Fastest to read, largest.
    Lz4,
}

impl Compression {
    /// The name that mksquashfs and recipes use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd { .. } => "zstd",
            Self::Xz => "xz",
            Self::Gzip { .. } => "gzip",
            Self::Lz4 => "lz4",
        }
    }
}

impl Options {
    /// Refuses what no kernel could mount or no compressor knows.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let size = self.block_size;
        if !size.is_power_of_two() || !(BLOCK_SIZE_MIN..=BLOCK_SIZE_MAX).contains(&size) {
            return Err(Error::BlockSize { size });
        }
        let (level, highest) = match self.compression {
            Compression::Zstd { level } => (i64::from(level), 22),
            Compression::Gzip { level } => (i64::from(level), 9),
            Compression::Xz | Compression::Lz4 => return Ok(()),
        };
        if !(1..=highest).contains(&level) {
            return Err(Error::Level { compressor: self.compression.name(), level, highest });
        }
        Ok(())
    }
}

//! The compressors: one context per thread, used again for every block.

use std::io;

use flate2::{FlushCompress, FlushDecompress, Status};
use liblzma::stream::{Action, Check, Filters, LzmaOptions, Stream};
use lz4_flex::block::CompressTable;
use zstd::zstd_safe;

use crate::format::{METADATA_SIZE, compressor};
use crate::options::Compression;

/// Bound into the keys of a cache of blocks: what their bytes depend on besides their content and the options. To be counted up when
/// [`Compressor`] compresses in another way, or by a library that does (a test tells, but of zstd, whose version is in the keys).
pub(crate) const FORM: u32 = 2;
/// From this level on zstd never uses its row-based match finder. That one salts its hashes with
/// what the context has seen before, so that a context used twice gives other bytes than a new one,
/// and the image would depend on which thread took which block.
const ZSTD_REUSABLE_LEVEL: i32 = 13;
/// How hard xz tries; what mksquashfs uses.
const XZ_PRESET: u32 = 6;
/// What unpacking one xz block may take: the largest dictionary (1 MiB) and the decoder itself.
const XZ_DECODE_MEMORY: u64 = 16 << 20;

/// Compresses blocks. The result depends on the block and the options only, never on what was
/// compressed before.
pub(crate) enum Compressor {
    Zstd { level: i32, context: zstd_safe::CCtx<'static> },
    Xz,
    Gzip(Box<flate2::Compress>),
    Lz4(Box<CompressTable>),
}

impl Compressor {
    pub(crate) fn new(compression: Compression) -> Self {
        match compression {
            Compression::Zstd { level } => Self::Zstd { level, context: zstd_safe::CCtx::create() },
            Compression::Xz => Self::Xz,
            Compression::Gzip { level } => {
                Self::Gzip(Box::new(flate2::Compress::new(flate2::Compression::new(level), true)))
            }
            Compression::Lz4 => Self::Lz4(Box::new(CompressTable::large())),
        }
    }

    /// Compresses `input` into `output` (which is cleared first). `false` where the result is not
    /// smaller: then `input` is to be stored as it is.
    pub(crate) fn compress(&mut self, input: &[u8], output: &mut Vec<u8>) -> io::Result<bool> {
        output.clear();
        match self {
            Self::Zstd { level, context } => {
                if *level < ZSTD_REUSABLE_LEVEL {
                    *context = zstd_safe::CCtx::create();
                }
                output.reserve(zstd_safe::compress_bound(input.len()));
                context.compress(output, input, *level).map_err(zstd_error)?;
            }
            Self::Xz => {
                let plain = xz(input, output, false)?;
                if !may_be_x86_code(input) {
                    return Ok(plain);
                }
                let mut filtered = Vec::new();
                if xz(input, &mut filtered, true)? && (!plain || filtered.len() < output.len()) {
                    *output = filtered;
                    return Ok(true);
                }
                return Ok(plain);
            }
            Self::Gzip(context) => {
                context.reset();
                output.reserve_exact(input.len());
                while context
                    .compress_vec(
                        input_from(input, context.total_in()),
                        output,
                        FlushCompress::Finish,
                    )
                    .map_err(io::Error::other)?
                    != Status::StreamEnd
                {
                    if output.len() >= input.len() {
                        return Ok(false);
                    }
                }
            }
            Self::Lz4(table) => {
                output.resize(lz4_flex::block::get_maximum_output_size(input.len()), 0);
                let length = lz4_flex::block::compress_into_with_table(input, output, table)
                    .map_err(io::Error::other)?;
                output.truncate(length);
            }
        }
        Ok(output.len() < input.len())
    }
}

/// Compresses as xz, `x86`: with the targets of x86's calls and jumps made absolute, so that calls of one function look alike (the
/// branch filter of the xz format, 5.3.2).
fn xz(input: &[u8], output: &mut Vec<u8>, x86: bool) -> io::Result<bool> {
    // The dictionary never has to be larger than what is compressed.
    let dictionary = input.len().next_power_of_two().max(METADATA_SIZE);
    let mut options = LzmaOptions::new_preset(XZ_PRESET)?;
    options.dict_size(u32::try_from(dictionary).map_err(io::Error::other)?);
    let mut filters = Filters::new();
    if x86 {
        filters.x86();
    }
    filters.lzma2(&options);
    // The kernel's decoder checks CRC32 at most.
    let mut stream = Stream::new_stream_encoder(&filters, Check::Crc32)?;
    // What does not get smaller is not wanted: running out of room says so.
    output.reserve_exact(input.len());
    while stream.process_vec(input_from(input, stream.total_in()), output, Action::Finish)?
        != liblzma::stream::Status::StreamEnd
    {
        if output.len() >= input.len() {
            return Ok(false);
        }
    }
    Ok(output.len() < input.len())
}

/// May the filter for x86 help? mksquashfs tries it on all blocks. Code has a call or jump every fifty bytes or so, text none; some
/// tables of numbers look like code, and are compressed both ways for nothing.
fn may_be_x86_code(input: &[u8]) -> bool {
    const OPERATION: [u8; 2] = [0xe8, 0xe9];
    const NEAR: [u8; 2] = [0x00, 0xff];
    let branches =
        input.windows(5).filter(|bytes| OPERATION.contains(&bytes[0]) && NEAR.contains(&bytes[4]));
    branches.count() > input.len() / 1024
}

/// What a stream has not yet taken of `input`.
fn input_from(input: &[u8], taken: u64) -> &[u8] {
    usize::try_from(taken).ok().and_then(|taken| input.get(taken..)).unwrap_or_default()
}

fn zstd_error(code: usize) -> io::Error {
    io::Error::other(zstd_safe::get_error_name(code))
}

/// The block of compressor options that follows the superblock, without its header.
pub(crate) fn options_block(compression: Compression, block_size: u32) -> Vec<u8> {
    let mut out = Vec::new();
    match compression {
        Compression::Zstd { level } => out.extend(level.to_le_bytes()),
        Compression::Xz => {
            // The largest dictionary: metadata blocks may be larger than data blocks.
            out.extend(block_size.max(METADATA_SIZE as u32).to_le_bytes());
            out.extend(1u32.to_le_bytes()); // Blocks may have been through the filter for x86.
        }
        Compression::Gzip { level } => {
            out.extend(level.to_le_bytes());
            out.extend(15u16.to_le_bytes()); // Window: 32 KiB.
            out.extend(0u16.to_le_bytes()); // Strategies: the default one.
        }
        Compression::Lz4 => {
            out.extend(1u32.to_le_bytes()); // LZ4_LEGACY, the only one that there is.
            out.extend(0u32.to_le_bytes()); // Not the high-compression form.
        }
    }
    out
}

/// The number that the superblock has for a compressor.
pub(crate) const fn number(compression: Compression) -> u16 {
    match compression {
        Compression::Zstd { .. } => compressor::ZSTD,
        Compression::Xz => compressor::XZ,
        Compression::Gzip { .. } => compressor::GZIP,
        Compression::Lz4 => compressor::LZ4,
    }
}

/// Unpacks blocks, never beyond the room that it is given.
pub(crate) enum Decompressor {
    Zstd(zstd_safe::DCtx<'static>),
    Xz,
    Gzip(Box<flate2::Decompress>),
    Lz4,
}

impl Decompressor {
    /// The decompressor with this number in the superblock.
    pub(crate) fn new(number: u16) -> Option<Self> {
        match number {
            compressor::ZSTD => Some(Self::Zstd(zstd_safe::DCtx::create())),
            compressor::XZ => Some(Self::Xz),
            compressor::GZIP => Some(Self::Gzip(Box::new(flate2::Decompress::new(true)))),
            compressor::LZ4 => Some(Self::Lz4),
            _ => None,
        }
    }

    /// Unpacks `input` into `output`, which is made to hold at most `limit` bytes.
    pub(crate) fn decompress(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        limit: usize,
    ) -> io::Result<()> {
        output.clear();
        match self {
            Self::Zstd(context) => {
                output.reserve_exact(limit);
                // A vector may have been given more room than was asked for.
                output.resize(limit, 0);
                let length = context.decompress(&mut output[..], input).map_err(zstd_error)?;
                output.truncate(length);
            }
            Self::Xz => {
                let mut stream = Stream::new_stream_decoder(XZ_DECODE_MEMORY, 0)?;
                output.resize(limit, 0);
                let status = stream.process(input, output, Action::Finish)?;
                if status != liblzma::stream::Status::StreamEnd {
                    return Err(incomplete());
                }
                output.truncate(usize::try_from(stream.total_out()).unwrap_or(limit));
            }
            Self::Gzip(context) => {
                context.reset(true);
                output.resize(limit, 0);
                let status = context
                    .decompress(input, output, FlushDecompress::Finish)
                    .map_err(io::Error::other)?;
                if status != Status::StreamEnd {
                    return Err(incomplete());
                }
                output.truncate(usize::try_from(context.total_out()).unwrap_or(limit));
            }
            Self::Lz4 => {
                output.resize(limit, 0);
                let length =
                    lz4_flex::block::decompress_into(input, output).map_err(io::Error::other)?;
                output.truncate(length);
            }
        }
        Ok(())
    }
}

fn incomplete() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the block is cut short or unpacks to too much")
}

//! The header: 110 bytes, a magic and thirteen numbers in eight hex digits each.

use crate::entry::Entry;

/// `newc`.
pub(crate) const MAGIC: &[u8; 6] = b"070701";
/// `crc`: the same with a checksum, which `cpio -H crc` writes. The kernel reads both.
pub(crate) const MAGIC_CRC: &[u8; 6] = b"070702";
/// Bytes of a header.
pub(crate) const SIZE: usize = 110;
/// The name of the last entry.
pub(crate) const TRAILER: &[u8] = b"TRAILER!!!";
/// Longest name with its final NUL (`PATH_MAX`; the kernel skips longer ones without a word).
pub(crate) const NAME_MAX: usize = 4096;

/// The zeros after `length` bytes up to the next multiple of four.
pub(crate) const fn padding(length: u64) -> usize {
    (length.wrapping_neg() & 3) as usize
}

/// The header of `entry`.
pub(crate) fn encode(entry: &Entry) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    for field in [
        entry.inode,
        entry.mode,
        entry.uid,
        entry.gid,
        entry.links,
        entry.mtime,
        entry.size,
        0, // Device that the file is on: inode numbers here are unique.
        0,
        entry.rdev_major,
        entry.rdev_minor,
        entry.path.len() as u32 + 1,
        0, // Checksum, of the other format.
    ] {
        out.extend(format!("{field:08X}").into_bytes());
    }
    out
}

/// A header's entry, without its path, and the length of the path with its final NUL.
pub(crate) fn decode(bytes: &[u8; SIZE]) -> Result<(Entry, usize), &'static str> {
    let (magic, digits) = bytes.split_at(MAGIC.len());
    if magic != MAGIC && magic != MAGIC_CRC {
        return Err("no entry begins here (the magic is neither 070701 nor 070702)");
    }
    let mut fields = [0u32; 13];
    for (field, digits) in fields.iter_mut().zip(digits.chunks_exact(8)) {
        for digit in digits {
            let digit =
                char::from(*digit).to_digit(16).ok_or("a number has other than hex digits")?;
            *field = *field << 4 | digit;
        }
    }
    let [inode, mode, uid, gid, links, mtime, size, _, _, rdev_major, rdev_minor, name, _] = fields;
    let name = usize::try_from(name).ok().filter(|length| (1..=NAME_MAX).contains(length));
    let name = name.ok_or("a name is empty or longer than 4096 bytes")?;
    let path = Vec::new();
    Ok((Entry { path, mode, uid, gid, mtime, rdev_major, rdev_minor, links, inode, size }, name))
}

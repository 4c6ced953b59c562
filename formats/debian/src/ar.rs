//! The `ar` container as `.deb` files use it (`deb(5)`, `ar(5)`): common headers, plain short names.

use std::io::{self, Read, Seek, SeekFrom, Write};

/// The eight bytes that every archive starts with.
pub const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER: usize = 60;

/// One member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its name, without the padding and the `/` that some writers put after it.
    pub name: &'a str,
    /// Its content.
    pub bytes: &'a [u8],
}

/// Why bytes are not an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The magic is missing.
    #[error("not an ar archive: it does not start with \"!<arch>\"")]
    Magic,
    /// A member's header is cut off or malformed.
    #[error("the ar member header at byte {offset} is malformed")]
    Header {
        /// Where the header starts.
        offset: usize,
    },
    /// A member is longer than what is left.
    #[error("the ar member {name} wants {want} bytes, and {left} are left: the file is truncated")]
    Truncated {
        /// The member.
        name: String,
        /// Its size by its header.
        want: u64,
        /// The bytes that follow the header.
        left: usize,
    },
}

/// The members of an archive in their order. After an error there is nothing more.
///
/// # Errors
/// [`Error::Magic`]; the members themselves are read as the iterator goes.
pub fn members(bytes: &[u8]) -> Result<Members<'_>, Error> {
    if bytes.starts_with(MAGIC) {
        Ok(Members { bytes, offset: MAGIC.len() })
    } else {
        Err(Error::Magic)
    }
}

/// The iterator of [`members`].
#[derive(Debug, Clone)]
pub struct Members<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Members<'a> {
    fn member(&mut self) -> Result<Member<'a>, Error> {
        let offset = self.offset;
        let malformed = || Error::Header { offset };
        let rest = self.bytes.get(offset..).ok_or_else(malformed)?;
        let (header, content) = rest.split_at_checked(HEADER).ok_or_else(malformed)?;
        let (name, want) = read_header(header).ok_or_else(malformed)?;
        let bytes = usize::try_from(want).ok().and_then(|size| content.get(..size));
        let Some(bytes) = bytes else {
            return Err(Error::Truncated { name: name.to_owned(), want, left: content.len() });
        };
        // Contents of odd length are followed by one byte of padding.
        self.offset = offset + HEADER + bytes.len() + bytes.len() % 2;
        Ok(Member { name, bytes })
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<Member<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.offset >= self.bytes.len() {
            return None;
        }
        let member = self.member();
        if member.is_err() {
            self.offset = self.bytes.len();
        }
        Some(member)
    }
}

/// Name and length of the member that a header of [`HEADER`] bytes is of.
fn read_header(header: &[u8]) -> Option<(&str, u64)> {
    let text = |from: usize, to: usize| std::str::from_utf8(header.get(from..to)?).ok();
    if text(58, 60)? != "`\n" {
        return None;
    }
    let name = text(0, 16)?.trim_end_matches(' ');
    let name = name.strip_suffix('/').unwrap_or(name);
    let size = text(48, 58)?.trim_end_matches(' ');
    let digits = size.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| size.parse().ok()).flatten().map(|size| (name, size))
}

/// The name of the first member for which `is` holds, of an archive of which only the headers before it are read.
///
/// # Errors
/// `from` cannot be read, or it is no archive, or has no such member.
pub fn find(from: &mut (impl Read + Seek), is: impl Fn(&str) -> bool) -> io::Result<String> {
    let no_archive = || io::Error::from(io::ErrorKind::InvalidData);
    let mut magic = [0; MAGIC.len()];
    from.read_exact(&mut magic)?;
    if magic != *MAGIC {
        return Err(no_archive());
    }
    let mut header = [0; HEADER];
    loop {
        from.read_exact(&mut header)?;
        let (name, size) = read_header(&header).ok_or_else(no_archive)?;
        if is(name) {
            return Ok(name.to_owned());
        }
        let size = i64::try_from(size).map_err(|_| no_archive())?;
        from.seek_relative(size + size % 2)?;
    }
}

/// Appends a member to an archive, which has its magic already; `write` writes the content.
///
/// # Errors
/// `to` cannot be written; the name is longer than 16 bytes, or the content than ten digits say.
pub fn append<W: Write + Seek>(
    to: &mut W,
    name: &str,
    write: impl FnOnce(&mut W) -> io::Result<()>,
) -> io::Result<()> {
    let header = to.stream_position()?;
    // Time, owner and mode say nothing in a package.
    let head = |size: u64| {
        let head = format!("{name:<16}0           0     0     100644  {size:<10}`\n");
        if head.len() == HEADER { Ok(head) } else { Err(io::ErrorKind::InvalidInput) }
    };
    to.write_all(head(0)?.as_bytes())?;
    let begin = to.stream_position()?;
    write(to)?;
    let end = to.stream_position()?;
    to.seek(SeekFrom::Start(header))?;
    to.write_all(head(end - begin)?.as_bytes())?;
    to.seek(SeekFrom::Start(end))?;
    if (end - begin) % 2 == 1 {
        to.write_all(b"\n")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = io::Cursor::new(MAGIC.to_vec());
        out.set_position(MAGIC.len() as u64);
        for (name, bytes) in members {
            append(&mut out, name, |out| out.write_all(bytes)).unwrap();
        }
        out.into_inner()
    }

    #[test]
    fn members_in_order() {
        let bytes = archive(&[("a", b"123"), ("b/", b""), ("c", b"45")]);
        let all: Vec<_> = members(&bytes).unwrap().map(Result::unwrap).collect();
        let all: Vec<_> = all.iter().map(|m| (m.name, m.bytes)).collect();
        assert_eq!(all, [("a", &b"123"[..]), ("b", b""), ("c", b"45")]);
    }

    #[test]
    fn every_truncation_is_an_error_or_fewer_members() {
        let bytes = archive(&[("a", b"1234"), ("b", b"5678")]);
        assert_eq!(members(&bytes[..7]).unwrap_err(), Error::Magic);
        for end in 8..bytes.len() {
            let whole = members(&bytes[..end]).unwrap().all(|m| m.is_ok());
            assert_eq!(whole, end == 8 || end == 72, "{end}");
        }
    }

    #[test]
    fn sizes_are_not_believed() {
        let mut bytes = archive(&[("a", b"12")]);
        bytes[56..66].copy_from_slice(b"9999999999");
        assert!(matches!(
            members(&bytes).unwrap().next(),
            Some(Err(Error::Truncated { want: 9_999_999_999, left: 2, .. }))
        ));
        bytes[56..66].copy_from_slice(b"-1        ");
        assert!(matches!(members(&bytes).unwrap().next(), Some(Err(Error::Header { offset: 8 }))));
    }
}

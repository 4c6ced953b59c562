//! Tar archives as container tools write them: ustar, GNU's long names, and PAX headers (pax(1), "pax Interchange Format").
//!
//! The `tar` crate splits PAX headers at line breaks; the value of an extended attribute is binary, and may well have one in it. So
//! only its view of a single header is used here.

use std::io::{self, Read};

use super::{Budget, Trouble};

const BLOCK: usize = 512;
/// The most that the headers of one entry may have together, since they are kept until it comes: names and attributes of one file.
const LARGEST_HEADERS: u64 = 1 << 20;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    HardLink,
    Symlink,
    Folder,
    Fifo,
    Device,
}

/// An entry, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: i64,
    pub(super) size: u64,
    /// Extended attributes, by name.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads entry after entry; between, it is the content of the last one.
#[derive(Debug)]
pub(super) struct Reader<'b, R> {
    inner: R,
    /// What may still come: every header counts as its bytes, whether an entry follows or not.
    budget: &'b mut Budget,
    /// What is left of the content, and of the zeros behind it.
    content: u64,
    padding: u64,
}

/// What comes before a header and says more than it can.
#[derive(Debug, Default)]
struct More {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<i64>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<'b, R: Read> Reader<'b, R> {
    pub(super) fn new(inner: R, budget: &'b mut Budget) -> Self {
        Self { inner, budget, content: 0, padding: 0 }
    }

    /// Counts an entry, before its content is read.
    pub(super) fn spend(&mut self, entry: &Entry) -> Result<(), Trouble> {
        self.budget.spend(1, entry.size)
    }

    /// The next entry; what is left of the one before is passed over.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, Trouble> {
        let mut more = More::default();
        let mut room = LARGEST_HEADERS;
        loop {
            self.pass_over()?;
            let Some(block) = self.block()? else { return Ok(None) };
            self.budget.spend(0, BLOCK as u64)?;
            let header = tar::Header::from_byte_slice(&block);
            // The sum of all bytes, its own field taken for blanks.
            let own = 148..156;
            let sum = block.iter().enumerate();
            let sum: u32 =
                sum.map(|(at, b)| if own.contains(&at) { 32 } else { u32::from(*b) }).sum();
            if header.cksum()? != sum {
                return Err(Trouble::Why("is a damaged header"));
            }
            let size = header.entry_size()?;
            match header.entry_type() {
                tar::EntryType::XHeader => more.read(&self.header(size, &mut room)?)?,
                tar::EntryType::GNULongName => {
                    more.path = Some(text(self.header(size, &mut room)?));
                }
                tar::EntryType::GNULongLink => {
                    more.link = Some(text(self.header(size, &mut room)?));
                }
                // What is said of all that follows is a comment, in practice.
                tar::EntryType::XGlobalHeader => {
                    self.budget.spend(0, size)?;
                    self.expect(size);
                }
                kind => return self.entry(header, kind, more).map(Some),
            }
        }
    }

    fn entry(
        &mut self,
        header: &tar::Header,
        kind: tar::EntryType,
        more: More,
    ) -> Result<Entry, Trouble> {
        let path = more.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let kind = match kind {
            // Before there was a kind for folders.
            tar::EntryType::Regular if path.ends_with(b"/") => Kind::Folder,
            tar::EntryType::Regular | tar::EntryType::Continuous => Kind::File,
            tar::EntryType::Link => Kind::HardLink,
            tar::EntryType::Symlink => Kind::Symlink,
            tar::EntryType::Directory => Kind::Folder,
            tar::EntryType::Fifo => Kind::Fifo,
            tar::EntryType::Char | tar::EntryType::Block => Kind::Device,
            tar::EntryType::GNUSparse => {
                return Err(Trouble::Why("is sparse, which layers are not"));
            }
            _ => return Err(Trouble::Why("is of a kind that layers do not have")),
        };
        let link = more.link.or_else(|| header.link_name_bytes().map(|link| link.into_owned()));
        let number =
            |id: u64| u32::try_from(id).map_err(|_| Trouble::Why("has an owner beyond 32 bits"));
        // Only files have content, whatever else a header says of its size.
        let size = more.size.map_or_else(|| header.entry_size(), Ok)?;
        let size = if kind == Kind::File { size } else { 0 };
        self.expect(size);
        let time = more.mtime.map_or_else(
            || header.mtime().map(|time| i64::try_from(time).unwrap_or(i64::MAX)),
            Ok,
        )?;
        Ok(Entry {
            path,
            kind,
            link: link.unwrap_or_default(),
            mode: header.mode()? & 0o7777,
            uid: number(more.uid.map_or_else(|| header.uid(), Ok)?)?,
            gid: number(more.gid.map_or_else(|| header.gid(), Ok)?)?,
            mtime: time,
            size,
            xattrs: more.xattrs,
        })
    }

    /// The next block; nothing at the end, which is a block of zeros or that of the file.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Trouble> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(Trouble::Io(io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(block).filter(|block| block.iter().any(|byte| *byte != 0)))
    }

    fn expect(&mut self, size: u64) {
        self.content = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// A header that is content of its own, if there is `room` for it beside the others of the same entry.
    fn header(&mut self, size: u64, room: &mut u64) -> Result<Vec<u8>, Trouble> {
        let left = room.checked_sub(size);
        *room = left.ok_or(Trouble::Why("has headers of more than a megabyte"))?;
        self.budget.spend(0, size)?;
        self.expect(size);
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn pass_over(&mut self) -> Result<(), Trouble> {
        let rest = self.content.saturating_add(self.padding);
        let passed = io::copy(&mut (&mut self.inner).take(rest), &mut io::sink())?;
        (self.content, self.padding) = (0, 0);
        if passed < rest { Err(Trouble::Io(io::ErrorKind::UnexpectedEof.into())) } else { Ok(()) }
    }
}

impl<R: Read> Read for Reader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.content).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.inner.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.content -= read as u64;
        Ok(read)
    }
}

impl More {
    /// Takes in a PAX header: records of `LENGTH KEY=VALUE\n`, the length that of all of it.
    fn read(&mut self, mut bytes: &[u8]) -> Result<(), Trouble> {
        const DAMAGED: Trouble = Trouble::Why("has a damaged PAX header");
        while !bytes.is_empty() {
            let blank = bytes.iter().position(|b| *b == b' ').ok_or(DAMAGED)?;
            let length = std::str::from_utf8(&bytes[..blank]).ok();
            let length: usize = length.and_then(|length| length.parse().ok()).ok_or(DAMAGED)?;
            let record = bytes.get(blank + 1..length).ok_or(DAMAGED)?;
            let record = record.strip_suffix(b"\n").ok_or(DAMAGED)?;
            let equals = record.iter().position(|b| *b == b'=').ok_or(DAMAGED)?;
            self.set(&record[..equals], &record[equals + 1..])?;
            bytes = &bytes[length..];
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Trouble> {
        const NUMBER: Trouble = Trouble::Why("has a PAX header with a number that is none");
        let number = || std::str::from_utf8(value).ok()?.parse::<u64>().ok();
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number().ok_or(NUMBER)?),
            b"uid" => self.uid = Some(number().ok_or(NUMBER)?),
            b"gid" => self.gid = Some(number().ok_or(NUMBER)?),
            b"mtime" => {
                // With a fraction, which no image keeps.
                let text = std::str::from_utf8(value).ok().and_then(|text| text.split('.').next());
                self.mtime = Some(text.and_then(|text| text.parse().ok()).ok_or(NUMBER)?);
            }
            _ if key.starts_with(b"GNU.sparse.") => {
                return Err(Trouble::Why("is sparse, which layers are not"));
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// GNU's long names end with a zero.
fn text(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

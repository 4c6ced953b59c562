//! Writing archives.

use std::io::{Read, Write};

use crate::entry::{Entry, mode};
use crate::error::{Error, printable};
use crate::header::{self, NAME_MAX, SIZE, TRAILER};

/// Archives end at a multiple of this, as `cpio` and `gen_init_cpio` make them.
const BLOCK: u64 = 512;

/// Writes an archive. Inodes are numbered in the order in which they come.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    position: u64,
    inode: u32,
}

impl<W: Write> Writer<W> {
    /// An archive that goes to `out`. Nothing is buffered here.
    pub const fn new(out: W) -> Self {
        Self { out, position: 0, inode: 0 }
    }

    /// Appends an entry with its data: a file's content, a symbolic link's target, nothing for all
    /// else. `links`, `inode` and `size` of the entry are ignored. Directories have to come before
    /// what is in them, since the kernel makes no missing ones.
    ///
    /// # Errors
    /// A name or size that the format cannot hold; `out` failing.
    pub fn entry(&mut self, entry: &Entry, data: &[u8]) -> Result<(), Error> {
        self.entry_from(entry, data.len() as u64, &mut &*data)
    }

    /// As [`entry`](Self::entry), with `size` bytes of data that `content` streams.
    ///
    /// # Errors
    /// As there; besides, `content` failing or not being `size` bytes long.
    pub fn entry_from(
        &mut self,
        entry: &Entry,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), Error> {
        // A directory's links are those that an empty one has: what is in it is not yet known.
        let links = if entry.file_type() == mode::DIRECTORY { 2 } else { 1 };
        self.inode += 1;
        self.put(entry, links, size)?;
        self.content(entry, size, content)
    }

    /// Appends a file with several names. `entry` gives all but the names.
    ///
    /// The content comes with the last name, as `cpio` does it: the kernel makes the file at the
    /// first name, links the others to it, and fills it at the last.
    ///
    /// # Errors
    /// As [`entry_from`](Self::entry_from); no names at all.
    pub fn hard_links(
        &mut self,
        entry: &Entry,
        names: &[&[u8]],
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), Error> {
        let reason = "a hard-linked file needs at least one name";
        let Some((last, others)) = names.split_last() else {
            return Err(Error::Name { path: printable(&entry.path), reason });
        };
        let links = u32::try_from(names.len()).unwrap_or(u32::MAX);
        self.inode += 1;
        for name in others {
            self.put(&Entry { path: name.to_vec(), ..entry.clone() }, links, 0)?;
        }
        let entry = Entry { path: last.to_vec(), ..entry.clone() };
        self.put(&entry, links, size)?;
        self.content(&entry, size, content)
    }

    /// `out`, between two entries: whoever puts something else there, or takes something away, may write another archive.
    pub const fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// Ends the archive and returns `out`, flushed.
    ///
    /// # Errors
    /// `out` failing.
    pub fn finish(mut self) -> Result<W, Error> {
        self.inode = 0;
        self.put_named(&Entry { links: 1, ..Entry::new(TRAILER, 0) })?;
        let rest = self.position.next_multiple_of(BLOCK) - self.position;
        self.write(&[0; BLOCK as usize][..rest as usize])?;
        self.out.flush().map_err(|source| Error::Write { source })?;
        Ok(self.out)
    }

    /// The header and the name.
    fn put(&mut self, entry: &Entry, links: u32, size: u64) -> Result<(), Error> {
        let path = || printable(&entry.path);
        let fail = |reason| Err(Error::Name { path: path(), reason });
        if entry.path.is_empty() || entry.path.len() >= NAME_MAX {
            return fail("it is empty or longer than 4095 bytes");
        }
        if entry.path.contains(&0) {
            return fail("it has a NUL byte in it");
        }
        if entry.path == TRAILER {
            return fail("it is the name that ends an archive");
        }
        let size = u32::try_from(size).map_err(|_| Error::TooLarge { path: path(), size })?;
        self.put_named(&Entry { links, size, inode: self.inode, ..entry.clone() })
    }

    fn put_named(&mut self, entry: &Entry) -> Result<(), Error> {
        let mut bytes = header::encode(entry);
        bytes.extend_from_slice(&entry.path);
        let padding = header::padding(SIZE as u64 + entry.path.len() as u64 + 1);
        bytes.resize(bytes.len() + 1 + padding, 0);
        self.write(&bytes)
    }

    fn content(&mut self, entry: &Entry, size: u64, content: &mut dyn Read) -> Result<(), Error> {
        let path = || printable(&entry.path);
        let mut buffer = vec![0; size.min(1 << 16) as usize];
        let mut left = size;
        while left > 0 {
            let want = left.min(buffer.len() as u64) as usize;
            let read = match content.read(&mut buffer[..want]) {
                Ok(0) => return Err(Error::ContentLength { path: path(), expected: size }),
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(Error::ReadContent { path: path(), source }),
            };
            self.write(&buffer[..read])?;
            left -= read as u64;
        }
        match content.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => return Err(Error::ContentLength { path: path(), expected: size }),
            Err(source) => return Err(Error::ReadContent { path: path(), source }),
        }
        self.write(&[0; 3][..header::padding(size)])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(|source| Error::Write { source })?;
        self.position += bytes.len() as u64;
        Ok(())
    }
}

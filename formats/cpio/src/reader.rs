//! Reading archives that nobody vouches for.

use std::io::{self, ErrorKind, Read};

use crate::entry::Entry;
use crate::error::Error;
use crate::header::{self, SIZE, TRAILER};

/// Reads an archive from its beginning to the trailer. Reading from the reader itself gives the data of
/// the entry that [`next_entry`](Self::next_entry) gave last. No more than one name (4 KiB) is held in
/// memory, whatever the archive says.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    position: u64,
    /// Bytes of the present entry's data that are still to be read.
    left: u64,
    /// Zeros after that data.
    padding: usize,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the archive that begins where `input` stands. Reads are small: buffer a slow input.
    pub const fn new(input: R) -> Self {
        Self { input, position: 0, left: 0, padding: 0, ended: false }
    }

    /// The next entry, past what is left of the present one's data; `None` after the trailer.
    ///
    /// # Errors
    /// `input` failing or ending before the trailer; what stands there being no entry.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        if self.ended {
            return Ok(None);
        }
        self.skip_data()?;
        let at = self.position;
        let mut bytes = [0; SIZE];
        self.exact(&mut bytes)?;
        let (mut entry, length) =
            header::decode(&bytes).map_err(|reason| Error::Corrupt { at, reason })?;
        let mut name = vec![0; length];
        self.exact(&mut name)?;
        self.exact(&mut [0; 3][..header::padding((SIZE + length) as u64)])?;
        if name.pop() != Some(0) || name.contains(&0) {
            let reason = "a name does not end where its length says";
            return Err(Error::Corrupt { at, reason });
        }
        if name == TRAILER {
            self.ended = true;
            return Ok(None);
        }
        entry.path = name;
        self.left = u64::from(entry.size);
        self.padding = header::padding(self.left);
        Ok(Some(entry))
    }

    /// What the reader was given, standing after the last byte read.
    pub fn into_inner(self) -> R {
        self.input
    }

    fn skip_data(&mut self) -> Result<(), Error> {
        let mut buffer = [0; 4096];
        while self.left > 0 {
            let want = self.left.min(buffer.len() as u64) as usize;
            self.exact(&mut buffer[..want])?;
            self.left -= want as u64;
        }
        let padding = std::mem::take(&mut self.padding);
        self.exact(&mut buffer[..padding])
    }

    fn exact(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        let at = self.position;
        self.input.read_exact(buffer).map_err(|source| match source.kind() {
            ErrorKind::UnexpectedEof => {
                Error::Corrupt { at, reason: "it ends before its last entry" }
            }
            _ => Error::Read { at, source },
        })?;
        self.position += buffer.len() as u64;
        Ok(())
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = self.left.min(buffer.len() as u64) as usize;
        let read = self.input.read(&mut buffer[..want])?;
        if read == 0 && want > 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        self.position += read as u64;
        Ok(read)
    }
}

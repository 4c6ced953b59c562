//! Binary packages: `deb(5)`, format 2.x.
//!
//! A `.deb` is an [`ar`] archive of `debian-binary`, `control.tar*` and `data.tar*`, in this order.
//! Members whose names start with `_` may stand between them and are skipped; what follows the data
//! is ignored, unless it is one of the three a second time.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::iter::Peekable;

use crate::ar;

mod light;

pub use light::is_heavy;

/// What the name of the member with a package's files begins with.
pub const DATA: &str = "data.tar";
/// The most that all control files of a package may hold together, in bytes.
const CONTROL_LIMIT: u64 = 64 << 20;
/// The longest tar stream that is unpacked, in bytes; the largest package of Debian has about 3 GB.
const DATA_LIMIT: u64 = 16 << 30;
/// What any tar stream may have, however small it is when compressed, in bytes.
const SMALL_DATA: u64 = 512 << 20;
/// How many bytes may come of one that is compressed: xz and Zstandard can make thousands of zeros of it, and no package has that many.
const DATA_RATIO: u64 = 200;
/// What an xz decoder may take, in bytes; `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;

/// A package in memory.
#[derive(Debug, Clone)]
pub struct Deb<'a> {
    control: Tarball<'a>,
    data: Tarball<'a>,
}

/// The files of the control archive by name: `control`, `md5sums`, `postinst`, …
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ControlFiles(pub BTreeMap<String, ControlFile>);

/// One file of the control archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlFile {
    /// Its permission bits, at most `0o7777`.
    pub mode: u32,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Why bytes are not a package that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container cannot be read.
    #[error("not a .deb archive, or a damaged one")]
    Container(#[from] ar::Error),
    /// A member is missing, doubled or not at its place.
    #[error("a .deb has debian-binary, control.tar and data.tar, in this order: {what}")]
    Members {
        /// What was found instead.
        what: String,
    },
    /// The format's number in `debian-binary` is not 2.x.
    #[error("the .deb has format {found:?}; 2.x is understood")]
    Format {
        /// The first line of `debian-binary`.
        found: String,
    },
    /// An archive is packed by a program that is not known here.
    #[error("{member}: none of the compressions that are understood (none, .gz, .xz, .zst)")]
    Compression {
        /// The member.
        member: String,
    },
    /// An archive cannot be decompressed.
    #[error("cannot decompress {member}")]
    Decompress {
        /// The member.
        member: String,
        /// What the decoder says.
        source: io::Error,
    },
    /// The control archive is not a flat archive of bounded files.
    #[error("{member}: {what}")]
    Control {
        /// The member.
        member: String,
        /// What is wrong.
        what: String,
    },
    /// The control archive has no `control`, or it is not UTF-8.
    #[error("the package has no readable control file: {what}")]
    ControlText {
        /// What is wrong.
        what: &'static str,
    },
}

#[derive(Debug, Clone, Copy)]
struct Tarball<'a> {
    member: &'a str,
    compression: Compression,
    bytes: &'a [u8],
}

#[derive(Debug, Clone, Copy)]
enum Compression {
    None,
    Gzip,
    Xz,
    Zstd,
}

impl<'a> Deb<'a> {
    /// Reads the container of a whole `.deb`; contents are unpacked on demand.
    ///
    /// # Errors
    /// A container that is damaged, or whose members are not those of a package of format 2.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut members = ar::members(bytes)?.peekable();
        let control = control_of(&mut members)?;
        let data = tarball(&mut members, DATA)?;
        for member in members {
            let name = member?.name;
            let doubled = name == "debian-binary"
                || is_tarball(name, "control.tar")
                || is_tarball(name, DATA);
            if doubled {
                return Err(Error::Members { what: format!("{name} follows the data") });
            }
        }
        Ok(Self { control, data })
    }

    /// Unpacks the control archive.
    ///
    /// # Errors
    /// An archive that is damaged, not flat, has anything but plain files, or is too large.
    pub fn control(&self) -> Result<ControlFiles, Error> {
        self.control.control_files()
    }

    /// The tar stream with the package's files, decompressed as it is read.
    ///
    /// Damage is an [`io::Error`] of the reader, and so is far more than a package of its size has, or than 16 GiB.
    ///
    /// # Errors
    /// A decoder that cannot be set up.
    pub fn data(&self) -> Result<Box<dyn Read + Send + 'a>, Error> {
        let compressed = u64::try_from(self.data.bytes.len()).unwrap_or(u64::MAX);
        let limit = compressed.saturating_mul(DATA_RATIO).clamp(SMALL_DATA, DATA_LIMIT);
        self.data.reader(limit)
    }
}

/// The first bytes of a package, as many as hold its control files.
///
/// # Errors
/// `from` cannot be read. What it holds is not looked at: that is [`control`]'s.
pub fn head(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    loop {
        // Most packages have less than this; of the others, twice as much each time.
        let more = head.len().max(64 << 10) as u64;
        let read = from.take(more).read_to_end(&mut head)? as u64;
        let whole =
            ar::members(&head).is_ok_and(|members| control_of(&mut members.peekable()).is_ok());
        if whole || read < more || head.len() as u64 > CONTROL_LIMIT {
            return Ok(head);
        }
    }
}

/// Unpacks the control archive of a package of which at least the [`head`] is there. Nothing is said of the rest.
///
/// # Errors
/// As of [`Deb::new`] and [`Deb::control`].
pub fn control(head: &[u8]) -> Result<ControlFiles, Error> {
    control_of(&mut ar::members(head)?.peekable())?.control_files()
}

impl ControlFiles {
    /// The content of a control file.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(|file| file.bytes.as_slice())
    }

    /// The text of `control`: the package's stanza.
    ///
    /// # Errors
    /// It is missing, or not UTF-8.
    pub fn control(&self) -> Result<&str, Error> {
        let bytes = self.get("control").ok_or(Error::ControlText { what: "it is missing" })?;
        std::str::from_utf8(bytes).map_err(|_| Error::ControlText { what: "it is not UTF-8" })
    }
}

/// The control archive, after the format's number.
fn control_of<'a>(members: &mut Peekable<ar::Members<'a>>) -> Result<Tarball<'a>, Error> {
    let format = match members.next().transpose()? {
        Some(member) if member.name == "debian-binary" => member.bytes,
        other => return Err(unexpected(other, "debian-binary")),
    };
    let line = format.split(|&b| b == b'\n').next().unwrap_or_default();
    if !format.contains(&b'\n') || !line.starts_with(b"2.") {
        let found = String::from_utf8_lossy(&line[..line.len().min(20)]).into_owned();
        return Err(Error::Format { found });
    }
    tarball(members, "control.tar")
}

/// The next of the two archives.
fn tarball<'a>(
    members: &mut Peekable<ar::Members<'a>>,
    stem: &'static str,
) -> Result<Tarball<'a>, Error> {
    let optional = |member: &Result<ar::Member<'_>, _>| {
        member.as_ref().is_ok_and(|member| member.name.starts_with('_'))
    };
    while members.next_if(optional).is_some() {}
    match members.next().transpose()? {
        Some(member) if is_tarball(member.name, stem) => Tarball::new(member, stem),
        other => Err(unexpected(other, stem)),
    }
}

fn is_tarball(name: &str, stem: &str) -> bool {
    name.strip_prefix(stem).is_some_and(|suffix| suffix.is_empty() || suffix.starts_with('.'))
}

fn unexpected(found: Option<ar::Member<'_>>, wanted: &str) -> Error {
    let found = found.map_or_else(|| "nothing".to_owned(), |m| format!("{:?}", m.name));
    Error::Members { what: format!("{found} where {wanted} should be") }
}

impl<'a> Tarball<'a> {
    fn new(member: ar::Member<'a>, stem: &str) -> Result<Self, Error> {
        let compression = match member.name.strip_prefix(stem) {
            Some("") => Compression::None,
            Some(".gz") => Compression::Gzip,
            Some(".xz") => Compression::Xz,
            Some(".zst") => Compression::Zstd,
            _ => return Err(Error::Compression { member: member.name.to_owned() }),
        };
        Ok(Self { member: member.name, compression, bytes: member.bytes })
    }

    fn reader(&self, limit: u64) -> Result<Box<dyn Read + Send + 'a>, Error> {
        let bytes = self.bytes;
        Ok(match self.compression {
            Compression::None => Box::new(Bounded { inner: bytes, left: limit }),
            Compression::Gzip => Box::new(Bounded {
                inner: flate2::bufread::MultiGzDecoder::new(bytes),
                left: limit,
            }),
            Compression::Xz => {
                let flags = liblzma::stream::CONCATENATED;
                let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, flags)
                    .map_err(|error| self.broken(error.into()))?;
                let inner = liblzma::bufread::XzDecoder::new_stream(bytes, stream);
                Box::new(Bounded { inner, left: limit })
            }
            Compression::Zstd => {
                // The decoder's own limit for the window is 128 MiB.
                let inner = zstd::stream::read::Decoder::with_buffer(bytes)
                    .map_err(|error| self.broken(error))?;
                Box::new(Bounded { inner, left: limit })
            }
        })
    }

    /// The files of a control archive.
    fn control_files(&self) -> Result<ControlFiles, Error> {
        let fail = |what: String| Error::Control { member: self.member.to_owned(), what };
        let mut archive = tar::Archive::new(self.reader(CONTROL_LIMIT)?);
        let mut files = BTreeMap::new();
        for entry in archive.entries().map_err(|e| self.broken(e))? {
            let mut entry = entry.map_err(|e| self.broken(e))?;
            let path = String::from_utf8(entry.path_bytes().into_owned())
                .map_err(|_| fail("a name that is not UTF-8".to_owned()))?;
            let name = path.strip_prefix("./").unwrap_or(&path).trim_end_matches('/');
            let kind = entry.header().entry_type();
            if kind.is_dir() && matches!(name, "" | ".") {
                continue;
            }
            if !kind.is_file() || name.is_empty() || name.contains('/') || name.starts_with('.') {
                return Err(fail(format!("{path:?} is not a plain file at its top")));
            }
            let mode = entry.header().mode().map_err(|e| self.broken(e))? & 0o7777;
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(|e| self.broken(e))?;
            if files.insert(name.to_owned(), ControlFile { mode, bytes }).is_some() {
                return Err(fail(format!("{name:?} is in it twice")));
            }
        }
        Ok(ControlFiles(files))
    }

    fn broken(&self, source: io::Error) -> Error {
        Error::Decompress { member: self.member.to_owned(), source }
    }
}

/// Fails where more than the allowed bytes come out: a decompression bomb.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::FileTooLarge,
                "more content than a package of its size may have",
            )
        })?;
        Ok(read)
    }
}

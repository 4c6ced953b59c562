//! The packets.

/// Why bytes are not a TFTP packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Fewer bytes than the smallest packet.
    #[error("a TFTP packet has at least 4 bytes, this one {0}")]
    Short(usize),
    /// An operation that no RFC defines.
    #[error("unknown TFTP operation {0}")]
    Operation(u16),
    /// A text without its closing NUL.
    #[error("a text of the packet is not closed by a NUL")]
    Unterminated,
    /// A name, mode or option that is not UTF-8.
    #[error("a text of the packet is not UTF-8")]
    Text,
    /// An option without a value.
    #[error("the option \"{0}\" has no value")]
    NoValue(String),
}

/// A read or write request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The name as the client wrote it.
    pub file: String,
    /// `octet`, `netascii` or `mail`, in lower case.
    pub mode: String,
    /// Options in the client's order: names in lower case, values as written.
    pub options: Vec<(String, String)>,
}

/// Error codes (RFC 1350 appendix I, RFC 2347).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// 0: see the message.
    Undefined,
    /// 1: there is no such file.
    NotFound,
    /// 2: not allowed.
    Access,
    /// 4: not an operation that is allowed now.
    Operation,
    /// 8: the options are not acceptable. PXE ROMs end a transfer with it when they only wanted to know the size.
    Options,
    /// Any other number.
    Other(u16),
}

impl ErrorCode {
    fn from_number(number: u16) -> Self {
        match number {
            0 => Self::Undefined,
            1 => Self::NotFound,
            2 => Self::Access,
            4 => Self::Operation,
            8 => Self::Options,
            other => Self::Other(other),
        }
    }

    fn number(self) -> u16 {
        match self {
            Self::Undefined => 0,
            Self::NotFound => 1,
            Self::Access => 2,
            Self::Operation => 4,
            Self::Options => 8,
            Self::Other(number) => number,
        }
    }
}

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// RRQ: a client wants a file.
    Read(Request),
    /// WRQ: a client wants to leave one.
    Write(Request),
    /// DATA: a block of a file.
    Data {
        /// Its number, from 1, modulo 65536.
        block: u16,
        /// Its bytes; fewer than the block size in the last one.
        data: &'a [u8],
    },
    /// ACK: this block and all before it have arrived.
    Ack(u16),
    /// ERROR: it is over.
    Error {
        /// What kind.
        code: ErrorCode,
        /// A sentence.
        message: String,
    },
    /// OACK: the options that hold.
    OptionAck(Vec<(String, String)>),
}

const READ: u16 = 1;
const WRITE: u16 = 2;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OPTION_ACK: u16 = 6;

impl<'a> Packet<'a> {
    /// Reads a packet.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let (operation, rest) = word(bytes).ok_or(Error::Short(bytes.len()))?;
        let block = || word(rest).ok_or(Error::Short(bytes.len()));
        Ok(match operation {
            READ => Self::Read(request(rest)?),
            WRITE => Self::Write(request(rest)?),
            DATA => {
                let (block, data) = block()?;
                Self::Data { block, data }
            }
            ACK => Self::Ack(block()?.0),
            ERROR => {
                let (code, message) = block()?;
                // Some clients forget the NUL here, and nobody depends on the words.
                let message = message.split(|byte| *byte == 0).next().unwrap_or_default();
                Self::Error {
                    code: ErrorCode::from_number(code),
                    message: String::from_utf8_lossy(message).into_owned(),
                }
            }
            OPTION_ACK => Self::OptionAck(options(&mut texts(rest))?),
            other => return Err(Error::Operation(other)),
        })
    }

    /// The bytes of the packet.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Read(request) => put_request(&mut bytes, READ, request),
            Self::Write(request) => put_request(&mut bytes, WRITE, request),
            Self::Data { block, data } => {
                bytes.reserve_exact(4 + data.len());
                put_words(&mut bytes, [DATA, *block]);
                bytes.extend_from_slice(data);
            }
            Self::Ack(block) => put_words(&mut bytes, [ACK, *block]),
            Self::Error { code, message } => {
                put_words(&mut bytes, [ERROR, code.number()]);
                put_text(&mut bytes, message);
            }
            Self::OptionAck(options) => {
                put_words(&mut bytes, [OPTION_ACK]);
                put_options(&mut bytes, options);
            }
        }
        bytes
    }
}

impl Request {
    /// The value of an option; the first one if the client repeats itself.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

fn word(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (word, rest) = bytes.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*word), rest))
}

/// The NUL-terminated texts of `bytes`; an error for what is left without a NUL.
fn texts(mut bytes: &[u8]) -> impl Iterator<Item = Result<&str, Error>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let Some(end) = bytes.iter().position(|byte| *byte == 0) else {
            bytes = &[];
            return Some(Err(Error::Unterminated));
        };
        let (text, rest) = bytes.split_at(end);
        bytes = &rest[1..];
        Some(std::str::from_utf8(text).map_err(|_| Error::Text))
    })
}

fn request(bytes: &[u8]) -> Result<Request, Error> {
    let mut texts = texts(bytes);
    let file = texts.next().ok_or(Error::Unterminated)??.to_owned();
    let mode = texts.next().ok_or(Error::Unterminated)??.to_ascii_lowercase();
    // Some ROMs fill the datagram up with NULs: empty texts end the options.
    let options = options(&mut texts)?;
    Ok(Request { file, mode, options })
}

fn options<'a>(
    texts: &mut impl Iterator<Item = Result<&'a str, Error>>,
) -> Result<Vec<(String, String)>, Error> {
    let mut options = Vec::new();
    while let Some(name) = texts.next() {
        let name = name?.to_ascii_lowercase();
        if name.is_empty() {
            break;
        }
        let Some(value) = texts.next() else { return Err(Error::NoValue(name)) };
        options.push((name, value?.to_owned()));
    }
    Ok(options)
}

fn put_words<const N: usize>(bytes: &mut Vec<u8>, words: [u16; N]) {
    bytes.extend(words.into_iter().flat_map(u16::to_be_bytes));
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(text.bytes().filter(|byte| *byte != 0));
    bytes.push(0);
}

fn put_options(bytes: &mut Vec<u8>, options: &[(String, String)]) {
    for (name, value) in options {
        put_text(bytes, name);
        put_text(bytes, value);
    }
}

fn put_request(bytes: &mut Vec<u8>, operation: u16, request: &Request) {
    put_words(bytes, [operation]);
    put_text(bytes, &request.file);
    put_text(bytes, &request.mode);
    put_options(bytes, &request.options);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_roms_request_is_read() {
        let bytes = b"\x00\x01undionly.kpxe\0OCTET\0TSIZE\x000\0blksize\x001456\0\0\0\0";
        let Ok(Packet::Read(request)) = Packet::parse(bytes) else { panic!() };
        assert_eq!((request.file.as_str(), request.mode.as_str()), ("undionly.kpxe", "octet"));
        assert_eq!(request.option("tsize"), Some("0"));
        assert_eq!(request.option("blksize"), Some("1456"));
        assert_eq!(request.option("windowsize"), None);
    }

    #[test]
    fn damage_is_named() {
        for (bytes, error) in [
            (&b""[..], Error::Short(0)),
            (b"\x00", Error::Short(1)),
            (b"\x00\x04\x00", Error::Short(3)),
            (b"\x00\x07\x00\x00", Error::Operation(7)),
            (b"\x00\x01", Error::Unterminated),
            (b"\x00\x01name", Error::Unterminated),
            (b"\x00\x01name\0", Error::Unterminated),
            (b"\x00\x01name\0octet", Error::Unterminated),
            (b"\x00\x01n\xff\0octet\0", Error::Text),
            (b"\x00\x01name\0octet\0blksize\0", Error::NoValue("blksize".into())),
        ] {
            assert_eq!(Packet::parse(bytes), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn an_error_without_its_nul_is_understood() {
        assert_eq!(
            Packet::parse(b"\x00\x05\x00\x08gone"),
            Ok(Packet::Error { code: ErrorCode::Options, message: "gone".into() })
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_what_is_read_is_written_back(
            operation in 0u16..8,
            rest in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut bytes = operation.to_be_bytes().to_vec();
            bytes.extend(rest);
            if let Ok(packet) = Packet::parse(&bytes) {
                let again = packet.emit();
                prop_assert_eq!(Packet::parse(&again).unwrap(), packet);
            }
        }
    }
}

//! One message, from bytes and to bytes.

use std::net::Ipv4Addr;

use crate::{Code, Mac, MessageType, Op, Options};

/// The bytes before the options: the BOOTP header and the magic cookie (RFC 2131 2 and 3).
const FIXED: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
const SNAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..236;
const BROADCAST_FLAG: u16 = 0x8000;
const PAD: u8 = 0;
const END: u8 = 255;

/// Why bytes are not a message, or a message does not become bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Fewer bytes than the fixed part has.
    #[error("a DHCP message has at least {FIXED} bytes, this one {0}")]
    Short(usize),
    /// `op` is neither 1 nor 2.
    #[error("the message's op is {0}, want 1 (request) or 2 (reply)")]
    Op(u8),
    /// Not Ethernet.
    #[error(
        "hardware type {htype} with addresses of {hlen} bytes: only Ethernet (type 1, 6 bytes) is served"
    )]
    Hardware {
        /// `htype` (RFC 1700, "Number Hardware Type").
        htype: u8,
        /// `hlen` in bytes.
        hlen: u8,
    },
    /// The four bytes after the header are not DHCP's: BOOTP without options, or something else.
    #[error("the magic cookie of DHCP is missing")]
    Cookie,
    /// An option that runs past the end of its field.
    #[error("{0} is longer than what is left of the message")]
    Truncated(Code),
    /// A name too long for the header's field.
    #[error("{field} is {length} bytes, the header has room for {room}")]
    LongField {
        /// `sname` or `file`.
        field: &'static str,
        /// The length of the name in bytes.
        length: usize,
        /// How many fit, without the closing NUL.
        room: usize,
    },
    /// The options do not fit into the message, not even into unused header fields.
    #[error("the options need more than the {max} bytes that the client takes")]
    TooLarge {
        /// The most bytes that were allowed.
        max: usize,
    },
}

/// One BOOTP/DHCP message (RFC 2131, figure 1) of an Ethernet client.
///
/// ```
/// # use overboot_dhcp::{Mac, MessageType, Packet};
/// let packet = Packet::request(Mac::new([2, 0, 0, 0, 0, 1]), 7, MessageType::Discover);
/// assert_eq!(packet.emit(Packet::DEFAULT_MAX).unwrap().len(), 300);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Who speaks.
    pub op: Op,
    /// How many relay agents it passed.
    pub hops: u8,
    /// The transaction: a reply has its request's.
    pub xid: u32,
    /// Seconds since the client began (some send them in the wrong byte order).
    pub secs: u16,
    /// The client cannot receive unicast before it is configured.
    pub broadcast: bool,
    /// The address that the client has and answers ARP for; else 0.0.0.0.
    pub ciaddr: Ipv4Addr,
    /// The address that the server gives.
    pub yiaddr: Ipv4Addr,
    /// The server of the next boot step.
    pub siaddr: Ipv4Addr,
    /// The first relay agent; 0.0.0.0 for none.
    pub giaddr: Ipv4Addr,
    /// The client's hardware address.
    pub chaddr: Mac,
    /// The server's host name (at most 63 bytes), without NULs.
    pub sname: Vec<u8>,
    /// The boot file's name (at most 127 bytes), without NULs.
    pub file: Vec<u8>,
    /// The options.
    pub options: Options,
}

impl Packet {
    /// The longest message to send to someone who has not said what it takes: the 576-byte datagram of
    /// RFC 2131 2 without the IP and UDP headers.
    pub const DEFAULT_MAX: usize = 548;
    /// The shortest message that is ever sent: BOOTP's fixed size, which old relays and ROMs insist on (RFC 1542 2.1).
    pub const MIN: usize = 300;
    /// The longest message that is ever sent: an Ethernet frame's payload without the IP and UDP headers.
    pub const MAX: usize = 1472;

    /// A client's message of this type.
    #[must_use]
    pub fn request(chaddr: Mac, xid: u32, message_type: MessageType) -> Self {
        let mut options = Options::new();
        options.set(Code::MESSAGE_TYPE, [message_type.number()]);
        Self {
            op: Op::Request,
            hops: 0,
            xid,
            secs: 0,
            broadcast: false,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            siaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: Ipv4Addr::UNSPECIFIED,
            chaddr,
            sname: Vec::new(),
            file: Vec::new(),
            options,
        }
    }

    /// A server's answer of this type to `request`, with what RFC 2131 table 3 takes over from it: the
    /// transaction, the flag, the relay's address, the hardware address; and options 61 (RFC 6842) and 82
    /// (RFC 3046 2.2).
    #[must_use]
    pub fn reply(request: &Self, message_type: MessageType) -> Self {
        let mut reply = Self::request(request.chaddr, request.xid, message_type);
        reply.op = Op::Reply;
        reply.broadcast = request.broadcast;
        reply.giaddr = request.giaddr;
        for code in [Code::CLIENT_ID, Code::RELAY_AGENT] {
            if let Some(value) = request.options.get(code) {
                reply.options.set(code, value);
            }
        }
        reply
    }

    /// Option 53: what the message says.
    #[must_use]
    pub fn message_type(&self) -> Option<MessageType> {
        self.options.message_type()
    }

    /// The longest answer that the sender takes, in bytes: option 57 without the IP and UDP headers, within
    /// [`DEFAULT_MAX`](Self::DEFAULT_MAX) and [`MAX`](Self::MAX).
    #[must_use]
    pub fn max_reply(&self) -> usize {
        self.options.u16(Code::MAX_MESSAGE_SIZE).map_or(Self::DEFAULT_MAX, |size| {
            usize::from(size).saturating_sub(28).clamp(Self::DEFAULT_MAX, Self::MAX)
        })
    }

    /// The boot file's name: option 67, or else the header's field.
    #[must_use]
    pub fn boot_file(&self) -> Option<&str> {
        let header = std::str::from_utf8(&self.file).ok();
        self.options.text(Code::BOOT_FILE).or(header).filter(|name| !name.is_empty())
    }

    /// Reads a message. Options are concatenated and overloaded fields read as RFC 3396 and RFC 2132 9.3 say;
    /// option 52 itself is taken out.
    ///
    /// # Errors
    /// See [`Error`]. What follows the end option is ignored, and a missing end option is forgiven, as everyone does.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let (fixed, rest) = bytes.split_first_chunk::<FIXED>().ok_or(Error::Short(bytes.len()))?;
        let op = match fixed[0] {
            1 => Op::Request,
            2 => Op::Reply,
            other => return Err(Error::Op(other)),
        };
        if (fixed[1], fixed[2]) != (1, 6) {
            return Err(Error::Hardware { htype: fixed[1], hlen: fixed[2] });
        }
        if fixed[236..] != COOKIE {
            return Err(Error::Cookie);
        }

        let mut options = Options::new();
        read_options(rest, &mut options)?;
        let overload = options.remove(Code::OVERLOAD).and_then(|value| value.first().copied());
        let (overload_file, overload_sname) = match overload {
            Some(1) => (true, false),
            Some(2) => (false, true),
            Some(3) => (true, true),
            _ => (false, false),
        };
        // RFC 3396 5: options, then file, then sname.
        if overload_file {
            read_options(&fixed[FILE], &mut options)?;
        }
        if overload_sname {
            read_options(&fixed[SNAME], &mut options)?;
        }
        options.remove(Code::OVERLOAD);

        let text = |overloaded: bool, range: std::ops::Range<usize>| {
            let field = if overloaded { &[][..] } else { &fixed[range] };
            field.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
        };
        let address =
            |at: usize| Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]);
        Ok(Self {
            op,
            hops: fixed[3],
            xid: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            secs: u16::from_be_bytes([fixed[8], fixed[9]]),
            broadcast: u16::from_be_bytes([fixed[10], fixed[11]]) & BROADCAST_FLAG != 0,
            ciaddr: address(12),
            yiaddr: address(16),
            siaddr: address(20),
            giaddr: address(24),
            chaddr: Mac::new([fixed[28], fixed[29], fixed[30], fixed[31], fixed[32], fixed[33]]),
            sname: text(overload_sname, SNAME),
            file: text(overload_file, FILE),
            options,
        })
    }

    /// The bytes of the message, at most `max` and at least [`MIN`](Self::MIN). Option 53 comes first, 82 last (RFC 3046 2.1),
    /// the others by code; long ones are split (RFC 3396); what does not fit goes into `file` and `sname` when
    /// these are empty.
    ///
    /// # Errors
    /// [`Error::LongField`], [`Error::TooLarge`].
    pub fn emit(&self, max: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; FIXED];
        bytes[0] = match self.op {
            Op::Request => 1,
            Op::Reply => 2,
        };
        bytes[1] = 1;
        bytes[2] = 6;
        bytes[3] = self.hops;
        bytes[4..8].copy_from_slice(&self.xid.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.secs.to_be_bytes());
        let flags = if self.broadcast { BROADCAST_FLAG } else { 0 };
        bytes[10..12].copy_from_slice(&flags.to_be_bytes());
        let addresses = [self.ciaddr, self.yiaddr, self.siaddr, self.giaddr];
        for (index, address) in addresses.iter().enumerate() {
            bytes[12 + 4 * index..16 + 4 * index].copy_from_slice(&address.octets());
        }
        bytes[28..34].copy_from_slice(&self.chaddr.bytes());
        for (field, text, range) in [("sname", &self.sname, SNAME), ("file", &self.file, FILE)] {
            let room = range.len() - 1;
            if text.len() > room {
                return Err(Error::LongField { field, length: text.len(), room });
            }
            bytes[range.start..range.start + text.len()].copy_from_slice(text);
        }
        bytes[236..240].copy_from_slice(&COOKIE);
        self.emit_options(&mut bytes, max)?;
        if bytes.len() < Self::MIN {
            bytes.resize(Self::MIN, PAD);
        }
        Ok(bytes)
    }

    /// Appends the options to the header, or spreads them over it.
    fn emit_options(&self, bytes: &mut Vec<u8>, max: usize) -> Result<(), Error> {
        let last = [Code::RELAY_AGENT];
        let first = [Code::MESSAGE_TYPE];
        let middle = self
            .options
            .iter()
            .map(|(code, _)| code)
            .filter(|code| !first.contains(code) && !last.contains(code));
        let mut fields: Vec<Vec<u8>> = Vec::new();
        for code in first.into_iter().chain(middle).chain(last) {
            let Some(value) = self.options.get(code) else { continue };
            if value.is_empty() {
                fields.push(vec![code.0, 0]);
            }
            for part in value.chunks(255) {
                let mut field = vec![code.0, part.len() as u8];
                field.extend_from_slice(part);
                fields.push(field);
            }
        }

        let room = max.max(Self::MIN) - FIXED - 1;
        if fields.iter().map(Vec::len).sum::<usize>() <= room {
            for field in &fields {
                bytes.extend_from_slice(field);
            }
            bytes.push(END);
            return Ok(());
        }

        // Three more bytes for option 52, then each field in the first area that still takes it. Areas are never
        // gone back to: parts of one option stay in the order in which they are read.
        let mut areas = vec![(room - 3, None)];
        let unused = [(&self.file, FILE, 1u8), (&self.sname, SNAME, 2u8)];
        for (text, range, bit) in unused {
            if text.is_empty() {
                areas.push((range.len() - 1, Some((range, bit))));
            }
        }
        let mut fields = fields.into_iter().peekable();
        let mut overload = 0;
        let mut main = Vec::new();
        for (room, target) in areas {
            let mut area = Vec::new();
            while let Some(field) = fields.next_if(|field| area.len() + field.len() <= room) {
                area.extend_from_slice(&field);
            }
            match target {
                None => main = area,
                Some(_) if area.is_empty() => {}
                Some((range, bit)) => {
                    overload |= bit;
                    bytes[range.start..range.start + area.len()].copy_from_slice(&area);
                    bytes[range.start + area.len()] = END;
                }
            }
        }
        if fields.peek().is_some() {
            return Err(Error::TooLarge { max });
        }
        bytes.extend_from_slice(&main);
        bytes.extend_from_slice(&[Code::OVERLOAD.0, 1, overload, END]);
        Ok(())
    }
}

/// Adds the options of one field to `options`, up to the end option.
fn read_options(mut bytes: &[u8], options: &mut Options) -> Result<(), Error> {
    while let Some((&code, rest)) = bytes.split_first() {
        match code {
            PAD => bytes = rest,
            END => return Ok(()),
            code => {
                let code = Code(code);
                let (&length, rest) = rest.split_first().ok_or(Error::Truncated(code))?;
                let (value, rest) =
                    rest.split_at_checked(usize::from(length)).ok_or(Error::Truncated(code))?;
                options.append(code, value);
                bytes = rest;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "packet_tests.rs"]
mod tests;

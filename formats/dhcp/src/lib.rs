//! DHCPv4 (RFC 2131, 2132, 3046, 3396, 4578): packets and options, bytes in and bytes out.
//!
//! - [`Packet`]: one BOOTP/DHCP message; [`Packet::parse`] and [`Packet::emit`].
//! - [`Options`] and [`Code`]: the options of a message, raw and typed.
//! - [`MessageType`], [`Op`]: the small enumerations.
//! - [`Mac`]: an Ethernet address, the name of a client everywhere in this workspace.
//! - [`Arch`], [`ClientUuid`], [`PxeVendor`]: what network boot firmware adds (RFC 4578, PXE 2.1).
//! - [`dump`]: a message as text, for logs and snapshot tests.
//!
//! ```
//! use overboot_dhcp::{Code, Mac, MessageType, Packet};
//! let mac: Mac = "52:54:00:12:34:56".parse()?;
//! let mut discover = Packet::request(mac, 0x1234_5678, MessageType::Discover);
//! discover.options.set_text(Code::VENDOR_CLASS, "PXEClient");
//! let bytes = discover.emit(Packet::DEFAULT_MAX)?;
//! assert_eq!(Packet::parse(&bytes)?, discover);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Knows nothing of sockets, clocks, leases, state machines or what an address is given for. Every byte it
//! reads may come from an enemy: no input panics, and nothing it keeps is larger than the datagram it came in.

mod code;
pub mod dump;
mod mac;
mod message;
mod options;
mod packet;
mod pxe;

pub use code::Code;
pub use mac::{Mac, ParseMacError};
pub use message::{MessageType, Op};
pub use options::Options;
pub use packet::{Error, Packet};
pub use pxe::{Arch, ClientUuid, PxeVendor, discovery_control};

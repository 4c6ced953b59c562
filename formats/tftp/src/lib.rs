//! TFTP for boot servers: packets, and the sender's side of a transfer.
//!
//! - [`Packet`]: RFC 1350's five packets and RFC 2347's option acknowledgement, from and to bytes.
//! - [`Transfer`]: sends one file to one client; block size (RFC 2348), time-out and transfer size (RFC 2349), window
//!   size (RFC 7440), block numbers that roll over. A state machine: datagrams and time in, datagrams out.
//!
//! ```
//! use std::time::Instant;
//! use overboot_tftp::{Limits, Packet, Transfer};
//! let request = b"\x00\x01undionly.kpxe\x00octet\x00tsize\x000\x00";
//! let Ok(Packet::Read(request)) = Packet::parse(request) else { panic!() };
//! let (transfer, datagrams) =
//!     Transfer::start(Instant::now(), &request, vec![7u8; 1000], &Limits::default())?;
//! assert_eq!(datagrams, [b"\x00\x06tsize\x001000\x00"]);
//! # let _ = transfer;
//! # Ok::<(), overboot_tftp::Refusal>(())
//! ```
//!
//! Knows nothing of sockets, files, or who may read what. It never writes: there is no receiver's side.

mod packet;
mod transfer;

pub use packet::{Error, ErrorCode, Packet, Request};
pub use transfer::{Limits, Outcome, Refusal, Step, Transfer};

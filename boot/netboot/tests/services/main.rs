//! The services against other people's clients.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(unreachable_pub, reason = "a test program has no public side")]

mod bed;
mod dhcp;
mod lan;
mod roms;
mod tftp;

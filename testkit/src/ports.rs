//! Ports that nobody uses.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// A TCP port of the loopback address that is free now. For programs that take a number only; whoever can bind port 0
/// does that instead.
#[must_use]
pub fn tcp() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// The same for UDP.
#[must_use]
pub fn udp() -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.local_addr().unwrap().port()
}

//! UDP sockets as boot services need them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::Error;

/// A socket that hears only `interface`, also broadcasts, and may broadcast itself.
pub(crate) fn on_interface(
    service: &'static str,
    interface: &str,
    port: u16,
) -> Result<std::net::UdpSocket, Error> {
    let bind = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.set_broadcast(true)?;
        // Before the address: two servers on two interfaces may then share the port.
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
        Ok(socket)
    };
    let error = |source| Error::Bind { service, port, place: interface.to_owned(), source };
    Ok(bind().map_err(error)?.into())
}

/// A socket on an address.
pub(crate) fn on_address(
    service: &'static str,
    address: SocketAddrV4,
) -> Result<std::net::UdpSocket, Error> {
    let bind = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::from(address).into())?;
        Ok(socket)
    };
    let error = |source| Error::Bind {
        service,
        port: address.port(),
        place: address.ip().to_string(),
        source,
    };
    Ok(bind().map_err(error)?.into())
}

//! The four things asked of the kernel's rtnetlink(7): an interface up, an address on it, a route, an MTU.

use std::net::Ipv4Addr;

use rustix::fd::OwnedFd;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto,
    socket_with,
};

use crate::Error;

const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_CREATE: u16 = 0x400;
const IFF_UP: u32 = 1;
const IFLA_MTU: u16 = 4;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const AF_INET: u8 = 2;

/// A connection to rtnetlink.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Opens the connection.
    ///
    /// # Errors
    /// The kernel has no rtnetlink.
    pub fn open() -> Result<Self, Error> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            // Protocol 0 of this family is NETLINK_ROUTE.
            None,
        )
        .map_err(Error::system("open a netlink socket"))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Switches interface `index` on; also sets its MTU if one is given.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn up(&mut self, index: u32, mtu: Option<u32>) -> Result<(), Error> {
        // struct ifinfomsg: family, pad, type, index, flags, change mask.
        let mut body = vec![0, 0, 0, 0];
        body.extend(index.to_ne_bytes());
        body.extend(IFF_UP.to_ne_bytes());
        body.extend(IFF_UP.to_ne_bytes());
        if let Some(mtu) = mtu {
            attribute(&mut body, IFLA_MTU, &mtu.to_ne_bytes());
        }
        self.request(RTM_NEWLINK, 0, &body, &format!("switch interface {index} on"))
    }

    /// Gives interface `index` an address; again is no error.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn add_address(&mut self, index: u32, address: Ipv4Addr, prefix: u8) -> Result<(), Error> {
        // struct ifaddrmsg: family, prefix length, flags, scope, index.
        let mut body = vec![AF_INET, prefix, 0, 0];
        body.extend(index.to_ne_bytes());
        attribute(&mut body, IFA_LOCAL, &address.octets());
        attribute(&mut body, IFA_ADDRESS, &address.octets());
        if prefix < 31 {
            let host = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
            let broadcast = Ipv4Addr::from(u32::from(address) | host);
            attribute(&mut body, IFA_BROADCAST, &broadcast.octets());
        }
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        self.request(RTM_NEWADDR, flags, &body, &format!("set address {address}/{prefix}"))
    }

    /// Adds a route through `index`; no `gateway` means the destination is on the link.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn add_route(
        &mut self,
        index: u32,
        destination: Ipv4Addr,
        prefix: u8,
        gateway: Option<Ipv4Addr>,
    ) -> Result<(), Error> {
        const RT_TABLE_MAIN: u8 = 254;
        const RTPROT_DHCP: u8 = 16;
        const SCOPE_UNIVERSE: u8 = 0;
        const SCOPE_LINK: u8 = 253;
        const RTN_UNICAST: u8 = 1;
        let scope = if gateway.is_some() { SCOPE_UNIVERSE } else { SCOPE_LINK };
        // struct rtmsg: family, dst and src length, tos, table, protocol, scope, type, flags.
        let mut body =
            vec![AF_INET, prefix, 0, 0, RT_TABLE_MAIN, RTPROT_DHCP, scope, RTN_UNICAST, 0, 0, 0, 0];
        if prefix > 0 {
            attribute(&mut body, RTA_DST, &destination.octets());
        }
        if let Some(gateway) = gateway {
            attribute(&mut body, RTA_GATEWAY, &gateway.octets());
        }
        attribute(&mut body, RTA_OIF, &index.to_ne_bytes());
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        self.request(
            RTM_NEWROUTE,
            flags,
            &body,
            &format!("set the route to {destination}/{prefix}"),
        )
    }

    fn request(&mut self, kind: u16, flags: u16, body: &[u8], what: &str) -> Result<(), Error> {
        self.sequence += 1;
        let message = message(kind, flags | NLM_F_REQUEST | NLM_F_ACK, self.sequence, body);
        let kernel = netlink::SocketAddrNetlink::new(0, 0);
        sendto(&self.socket, &message, SendFlags::empty(), &kernel).map_err(Error::system(what))?;
        let mut buffer = [0; 8192];
        loop {
            let (_, length) = recv(&self.socket, &mut buffer[..], RecvFlags::empty())
                .map_err(Error::system(what))?;
            match acknowledged(&buffer[..length.min(8192)], self.sequence) {
                None => {}
                Some(0) => return Ok(()),
                Some(errno) => {
                    let source = std::io::Error::from_raw_os_error(errno);
                    return Err(Error::System { what: what.to_owned(), source });
                }
            }
        }
    }
}

/// `struct nlmsghdr` and its content.
fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend(0u32.to_ne_bytes());
    message.extend_from_slice(body);
    message
}

/// `struct rtattr`, padded to four bytes.
fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// The error number that acknowledges `sequence`, 0 for success; `None` if these messages do not.
fn acknowledged(mut bytes: &[u8], sequence: u32) -> Option<i32> {
    loop {
        let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
        let length = usize::try_from(word(0)?).ok()?;
        let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
        if kind == NLMSG_ERROR && word(8)? == sequence {
            return Some(word(16)?.cast_signed().wrapping_neg());
        }
        bytes = bytes.get(length.max(16).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_are_found_behind_other_messages() {
        let mut bytes = message(RTM_NEWLINK, 0, 7, &[0; 13]);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let error = (-17i32).to_ne_bytes();
        bytes.extend(message(NLMSG_ERROR, 0, 8, &error));
        assert_eq!(acknowledged(&bytes, 8), Some(17));
        assert_eq!(acknowledged(&bytes, 7), None);
        for cut in 0..bytes.len() {
            let _no_panic = acknowledged(&bytes[..cut], 8);
        }
        assert_eq!(acknowledged(&[0; 64], 1), None);
    }

    #[test]
    fn attributes_are_padded() {
        let mut body = Vec::new();
        attribute(&mut body, 1, &[1, 2, 3, 4, 5]);
        assert_eq!(body.len(), 12);
        assert_eq!(u16::from_ne_bytes([body[0], body[1]]), 9);
    }

    #[test]
    fn the_kernel_answers_us() {
        let mut netlink = Netlink::open().unwrap();
        let error = netlink.up(u32::MAX / 2, None).unwrap_err();
        assert!(error.to_string().contains("switch interface"), "{error}");
    }
}

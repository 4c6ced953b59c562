//! The kernel's table of neighbours: which hardware address an address has.

use std::io;
use std::net::Ipv4Addr;

use overboot_dhcp::Mac;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice, recv, sendto,
    socket_with,
};

const RTM_NEWNEIGH: u16 = 28;
const NLMSG_ERROR: u16 = 2;
/// `NLM_F_REQUEST | NLM_F_ACK | NLM_F_REPLACE | NLM_F_CREATE`.
const FLAGS: u16 = 0x001 | 0x004 | 0x100 | 0x400;
const AF_INET: u8 = 2;
const NUD_STALE: u16 = 0x04;
const RTN_UNICAST: u8 = 1;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;

/// The hardware address of `address`, if it is on a network of this machine and was spoken to lately. A table of proc(5), of
/// the calling thread's network namespace.
pub(crate) fn hardware_address(address: Ipv4Addr) -> Option<Mac> {
    in_table(&fs_err::read_to_string("/proc/thread-self/net/arp").ok()?, address)
}

/// A line is address, hardware type, flags, hardware address, mask, device.
fn in_table(table: &str, address: Ipv4Addr) -> Option<Mac> {
    let address = address.to_string();
    let mut lines = table.lines().map(str::split_whitespace);
    let mut line = lines.find(|line| line.clone().next() == Some(&address))?;
    line.nth(3)?.parse().ok().filter(|mac: &Mac| mac.is_unicast())
}

/// Makes packets to `address` on `interface` go to `mac`, before its owner answers ARP: one message of rtnetlink(7),
/// `RTM_NEWNEIGH` with the state `NUD_STALE`, which the kernel uses at once and confirms by itself later on. Wants
/// CAP_NET_ADMIN.
///
/// # Errors
/// What the kernel says; "operation not permitted" without CAP_NET_ADMIN.
pub(crate) fn announce(interface: &str, address: Ipv4Addr, mac: Mac) -> io::Result<()> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let index = netdevice::name_to_index(&socket, interface)?;
    let message = message(index, address, mac);
    sendto(&socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    // The kernel answers before sendto returns.
    let mut buffer = [0; 256];
    let (_, length) = recv(&socket, &mut buffer[..], RecvFlags::DONTWAIT)?;
    let reply = &buffer[..length.min(buffer.len())];
    match (reply.get(4..6), reply.get(16..20)) {
        (Some(kind), Some(code)) if kind == NLMSG_ERROR.to_ne_bytes() => {
            let code = i32::from_ne_bytes([code[0], code[1], code[2], code[3]]);
            if code == 0 {
                Ok(())
            } else {
                Err(io::Error::from_raw_os_error(code.saturating_neg()))
            }
        }
        _ => Err(io::Error::other("the kernel's answer is not an acknowledgement")),
    }
}

/// `struct nlmsghdr`, `struct ndmsg`, and two attributes.
fn message(index: u32, address: Ipv4Addr, mac: Mac) -> Vec<u8> {
    let mut body = vec![AF_INET, 0, 0, 0];
    body.extend(index.to_ne_bytes());
    body.extend(NUD_STALE.to_ne_bytes());
    body.extend([0, RTN_UNICAST]);
    let mut attribute = |kind: u16, value: &[u8]| {
        body.extend((4 + value.len() as u16).to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(4), 0);
    };
    attribute(NDA_DST, &address.octets());
    attribute(NDA_LLADDR, &mac.bytes());
    let mut message = (16 + body.len() as u32).to_ne_bytes().to_vec();
    message.extend(RTM_NEWNEIGH.to_ne_bytes());
    message.extend(FLAGS.to_ne_bytes());
    message.extend(1u32.to_ne_bytes());
    message.extend(0u32.to_ne_bytes());
    message.extend(body);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read() {
        let table = "\
IP address       HW type     Flags       HW address            Mask     Device
10.77.0.1        0x1         0x2         52:54:00:77:00:01     *        br0
10.77.0.10       0x1         0x0         00:00:00:00:00:00     *        br0
";
        let of = |last| in_table(table, Ipv4Addr::new(10, 77, 0, last));
        assert_eq!(of(1), Some(Mac::new([0x52, 0x54, 0, 0x77, 0, 1])));
        assert_eq!(of(10), None, "did not answer");
        assert_eq!(of(100), None);
        assert_eq!(hardware_address(Ipv4Addr::LOCALHOST), None);
    }

    #[test]
    fn the_message_is_as_long_as_it_says() {
        let message = message(7, [10, 0, 0, 9].into(), Mac::new([2, 0, 0, 0, 0, 9]));
        assert_eq!(message.len(), 48);
        assert_eq!(message[..4], 48u32.to_ne_bytes());
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        let error = announce("nosuch0", [10, 0, 0, 9].into(), Mac::new([2, 0, 0, 0, 0, 9]));
        assert_eq!(error.unwrap_err().raw_os_error(), Some(19), "ENODEV");
    }
}

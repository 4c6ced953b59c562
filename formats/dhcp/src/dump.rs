//! A message as text: one line a field, for logs and for tests that compare.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use crate::{Arch, ClientUuid, Code, Op, Packet};

/// `packet` as text; fields that are empty are left out. The form is for reading and may change.
#[must_use]
pub fn text(packet: &Packet) -> String {
    let mut out = String::new();
    let op = match packet.op {
        Op::Request => "request",
        Op::Reply => "reply",
    };
    let flag = if packet.broadcast { " broadcast" } else { "" };
    let _ = writeln!(out, "{op} xid {:08x} from {}{flag}", packet.xid, packet.chaddr);
    let addresses = [
        ("ciaddr", packet.ciaddr),
        ("yiaddr", packet.yiaddr),
        ("siaddr", packet.siaddr),
        ("giaddr", packet.giaddr),
    ];
    for (name, address) in addresses {
        if address != Ipv4Addr::UNSPECIFIED {
            let _ = writeln!(out, "{name} {address}");
        }
    }
    for (name, value) in [("sname", &packet.sname), ("file", &packet.file)] {
        if !value.is_empty() {
            let _ = writeln!(out, "{name} \"{}\"", value.escape_ascii());
        }
    }
    for (code, value) in packet.options.iter() {
        let _ = writeln!(out, "{code} {}", option(packet, code, value));
    }
    out
}

/// The value of one option.
fn option(packet: &Packet, code: Code, value: &[u8]) -> String {
    let options = &packet.options;
    let read = match code {
        Code::MESSAGE_TYPE => options.message_type().map(|kind| kind.to_string()),
        Code::SUBNET_MASK | Code::BROADCAST | Code::REQUESTED_ADDRESS | Code::SERVER_ID => {
            options.address(code).map(|address| address.to_string())
        }
        Code::ROUTERS | Code::DNS | Code::LOG_SERVERS | Code::NTP_SERVERS => {
            let list: Vec<String> =
                options.addresses(code).iter().map(Ipv4Addr::to_string).collect();
            Some(list.join(" "))
        }
        Code::LEASE_TIME | Code::RENEWAL_TIME | Code::REBINDING_TIME => {
            options.u32(code).map(|seconds| format!("{seconds} s"))
        }
        Code::MTU | Code::MAX_MESSAGE_SIZE => options.u16(code).map(|number| number.to_string()),
        Code::PARAMETER_LIST => Some(value.iter().map(u8::to_string).collect::<Vec<_>>().join(" ")),
        Code::CLIENT_ARCH => Arch::of(options).map(|arch| format!("{} ({arch})", arch.number())),
        Code::CLIENT_UUID => ClientUuid::of(options).map(|uuid| uuid.to_string()),
        Code::HOST_NAME
        | Code::DOMAIN_NAME
        | Code::ROOT_PATH
        | Code::MESSAGE
        | Code::VENDOR_CLASS
        | Code::TFTP_SERVER
        | Code::BOOT_FILE
        | Code::USER_CLASS => Some(format!("\"{}\"", value.escape_ascii())),
        _ => None,
    };
    read.unwrap_or_else(|| {
        value.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
    })
}

#[cfg(test)]
mod tests {
    use crate::{Mac, MessageType};

    use super::*;

    #[test]
    fn a_pxe_discover_reads_well() {
        let mac = Mac::new([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        let mut packet = Packet::request(mac, 0x1234, MessageType::Discover);
        packet.broadcast = true;
        packet.options.set_text(Code::VENDOR_CLASS, "PXEClient:Arch:00007:UNDI:003016");
        packet.options.set(Code::CLIENT_ARCH, [0, 7]);
        packet.options.set(Code::PARAMETER_LIST, [1, 3, 66, 67]);
        packet.options.set_u16(Code::MAX_MESSAGE_SIZE, 1472);
        packet.options.set(Code::CLIENT_NDI, [1, 3, 16]);
        insta::assert_snapshot!(text(&packet), @r#"
        request xid 00001234 from 52:54:00:12:34:56 broadcast
        message-type (53) DHCPDISCOVER
        parameter-list (55) 1 3 66 67
        max-message-size (57) 1472
        vendor-class (60) "PXEClient:Arch:00007:UNDI:003016"
        client-arch (93) 7 (UEFI x86-64)
        client-ndi (94) 01 03 10
        "#);
    }
}

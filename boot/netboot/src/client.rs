//! Who asks, and in which of its lives.

use std::fmt;

use overboot_dhcp::{Arch, ClientUuid, Code, Mac, Op, Packet};

/// The part of a boot that is asking. A machine passes through several in one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Asking {
    /// A PXE ROM that wants a boot file by TFTP.
    Rom,
    /// UEFI firmware that wants a boot file by HTTP.
    HttpRom,
    /// iPXE, by DHCP, for the URL of its script.
    Ipxe,
    /// iPXE, by HTTP, for the script itself.
    Script,
    /// Nobody who boots from the network: an operating system that wants an address.
    System,
}

/// What a client tells about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its name for us.
    pub mac: Mac,
    /// Which part of the boot asks.
    pub asking: Asking,
    /// Option 93, when the client sent one.
    pub arch: Option<Arch>,
    /// Option 60, when the client sent one.
    pub vendor_class: Option<String>,
    /// Option 97, when the board has an identity.
    pub uuid: Option<ClientUuid>,
}

/// iPXE's features inside option 175: `DHCP_EB_FEATURE_HTTP`.
const IPXE_FEATURE_HTTP: u8 = 0x13;

impl Client {
    /// The sender of a DHCP request; `None` for a server's message.
    #[must_use]
    pub fn of(packet: &Packet) -> Option<Self> {
        if packet.op != Op::Request {
            return None;
        }
        let options = &packet.options;
        let vendor_class = options.text(Code::VENDOR_CLASS).map(printable);
        let class = vendor_class.as_deref().unwrap_or_default();
        // RackHD's own iPXE says MonoRail. A gPXE or iPXE ROM that was built without HTTP cannot follow a URL: it is a
        // ROM like any other and is given a loader that can.
        let is_ipxe =
            options.user_classes().iter().any(|class| ["iPXE", "MonoRail", "gPXE"].contains(class));
        let mut features = options.fields(Code::IPXE);
        let has_http = !options.has(Code::IPXE)
            || features.any(|(tag, value)| tag == IPXE_FEATURE_HTTP && value != [0]);
        let asking = if is_ipxe && has_http {
            Asking::Ipxe
        } else if class.starts_with("HTTPClient") {
            Asking::HttpRom
        } else if class.starts_with("PXEClient") {
            Asking::Rom
        } else {
            Asking::System
        };
        Some(Self {
            mac: packet.chaddr,
            asking,
            arch: Arch::of(options),
            vendor_class,
            uuid: ClientUuid::of(options),
        })
    }

    /// iPXE with this address, asking for its script by HTTP.
    #[must_use]
    pub fn script(mac: Mac) -> Self {
        Self { mac, asking: Asking::Script, arch: None, vendor_class: None, uuid: None }
    }

    /// Whether any network boot is going on.
    #[must_use]
    pub fn boots(&self) -> bool {
        self.asking != Asking::System
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asking = match self.asking {
            Asking::Rom => "PXE ROM",
            Asking::HttpRom => "HTTP boot ROM",
            Asking::Ipxe => "iPXE",
            Asking::Script => "iPXE script",
            Asking::System => "system",
        };
        write!(f, "{} ({asking}", self.mac)?;
        if let Some(arch) = self.arch {
            write!(f, ", {arch}")?;
        }
        f.write_str(")")
    }
}

/// The text without what a terminal or a log line could be tricked with.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(255).collect()
}

#[cfg(test)]
mod tests {
    use overboot_dhcp::MessageType;

    use super::*;

    fn packet() -> Packet {
        Packet::request(Mac::new([0x52, 0x54, 0, 0, 0, 1]), 1, MessageType::Discover)
    }

    #[test]
    fn each_part_of_a_boot_is_recognised() {
        let mut packet = packet();
        let asking = |packet: &Packet| Client::of(packet).unwrap().asking;
        assert_eq!(asking(&packet), Asking::System);
        packet.options.set_text(Code::VENDOR_CLASS, "MSFT 5.0");
        assert_eq!(asking(&packet), Asking::System);
        packet.options.set_text(Code::VENDOR_CLASS, "PXEClient:Arch:00000:UNDI:002001");
        assert_eq!(asking(&packet), Asking::Rom);
        packet.options.set_text(Code::USER_CLASS, "MonoRail");
        assert_eq!(asking(&packet), Asking::Ipxe);
        packet.options.set_text(Code::USER_CLASS, "iPXE");
        assert_eq!(asking(&packet), Asking::Ipxe);
        packet.options.set(Code::IPXE, [0x13, 1, 1, 0x21, 1, 1]);
        assert_eq!(asking(&packet), Asking::Ipxe);
        packet.options.set(Code::IPXE, [0x21, 1, 1]);
        assert_eq!(asking(&packet), Asking::Rom, "an iPXE without HTTP needs a loader");
        packet.options.remove(Code::USER_CLASS);
        packet.options.set_text(Code::VENDOR_CLASS, "HTTPClient:Arch:00016:UNDI:003001");
        assert_eq!(asking(&packet), Asking::HttpRom);
        packet.op = Op::Reply;
        assert_eq!(Client::of(&packet), None);
    }

    #[test]
    fn what_is_logged_cannot_forge_a_line() {
        let mut packet = packet();
        packet.options.set_text(Code::VENDOR_CLASS, "PXEClient\nroot logged in\x1b[2J");
        let client = Client::of(&packet).unwrap();
        assert_eq!(client.vendor_class.as_deref(), Some("PXEClient?root logged in?[2J"));
    }
}

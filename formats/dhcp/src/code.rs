//! Option codes.

use std::fmt;

/// The number of an option (RFC 2132 and the IANA registry "BOOTP Vendor Extensions and DHCP Options").
///
/// 0 (pad) and 255 (end) are framing, not options: [`Options`](crate::Options) never holds them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u8);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $word:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// The registry's word for the option, or `None` for one that this crate has no name for.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($word),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// Subnet mask: one address.
    SUBNET_MASK = 1, "subnet-mask";
    /// Routers, best first.
    ROUTERS = 3, "routers";
    /// Name servers, best first.
    DNS = 6, "dns";
    /// Syslog servers (what iPXE reads as `syslog`).
    LOG_SERVERS = 7, "log-servers";
    /// The client's name, with or without a domain.
    HOST_NAME = 12, "host-name";
    /// The domain to look names up in.
    DOMAIN_NAME = 15, "domain-name";
    /// Where the root file system is (iSCSI, NFS).
    ROOT_PATH = 17, "root-path";
    /// The MTU of the link: 16 bits.
    MTU = 26, "mtu";
    /// The broadcast address.
    BROADCAST = 28, "broadcast";
    /// NTP servers.
    NTP_SERVERS = 42, "ntp-servers";
    /// Options of the vendor that option 60 names; for `PXEClient` see [`PxeVendor`](crate::PxeVendor).
    VENDOR_SPECIFIC = 43, "vendor-specific";
    /// The address that the client would like.
    REQUESTED_ADDRESS = 50, "requested-address";
    /// For how many seconds the address is given: 32 bits.
    LEASE_TIME = 51, "lease-time";
    /// Which of `file` and `sname` hold options: 1, 2 or 3.
    OVERLOAD = 52, "overload";
    /// See [`MessageType`](crate::MessageType).
    MESSAGE_TYPE = 53, "message-type";
    /// The address by which the server is known.
    SERVER_ID = 54, "server-id";
    /// The codes that the client wants to hear about.
    PARAMETER_LIST = 55, "parameter-list";
    /// A sentence for people, in a DHCPNAK or DHCPDECLINE.
    MESSAGE = 56, "message";
    /// The longest message that the sender takes: 16 bits, at least 576.
    MAX_MESSAGE_SIZE = 57, "max-message-size";
    /// T1, in seconds: 32 bits.
    RENEWAL_TIME = 58, "renewal-time";
    /// T2, in seconds: 32 bits.
    REBINDING_TIME = 59, "rebinding-time";
    /// What kind of client this is (`PXEClient:Arch:00007:UNDI:003016`).
    VENDOR_CLASS = 60, "vendor-class";
    /// The client's name for itself, used instead of its hardware address when given.
    CLIENT_ID = 61, "client-id";
    /// The TFTP server's name, when `sname` holds options.
    TFTP_SERVER = 66, "tftp-server";
    /// The boot file's name, when `file` holds options.
    BOOT_FILE = 67, "boot-file";
    /// What kind of user this is (RFC 3004; iPXE sends `iPXE` without the RFC's length bytes).
    USER_CLASS = 77, "user-class";
    /// What a relay agent added (RFC 3046): a server sends it back unchanged, last.
    RELAY_AGENT = 82, "relay-agent";
    /// See [`Arch`](crate::Arch) (RFC 4578 2.1).
    CLIENT_ARCH = 93, "client-arch";
    /// The version of the UNDI driver (RFC 4578 2.2).
    CLIENT_NDI = 94, "client-ndi";
    /// See [`ClientUuid`](crate::ClientUuid) (RFC 4578 2.3).
    CLIENT_UUID = 97, "client-uuid";
    /// Domains to look names up in (RFC 3397).
    DOMAIN_SEARCH = 119, "domain-search";
    /// Routes with their masks (RFC 3442).
    CLASSLESS_ROUTES = 121, "classless-routes";
    /// iPXE's own options, in the form of option 43.
    IPXE = 175, "ipxe";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "option {}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

//! What an answer says about booting.

use std::net::Ipv4Addr;

use overboot_dhcp::{Arch, Code, Packet, PxeVendor, discovery_control};

use crate::client::{Asking, Client};
use crate::decide::BootDecision;

/// Whose answer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The DHCP server's: it comes with an address.
    Server,
    /// ProxyDHCP's: it completes another server's.
    Proxy,
}

/// The longest name that the header's `file` field takes.
const MAX_FILE: usize = 127;
/// iPXE's `no-pxedhcp` inside option 175: do not wait for ProxyDHCP offers, this one is complete.
const IPXE_NO_PXEDHCP: [u8; 3] = [176, 1, 1];

/// Puts `decision` into `reply`; `false` when it has no boot file to tell of.
pub(crate) fn put(
    reply: &mut Packet,
    request: &Packet,
    client: &Client,
    decision: &BootDecision,
    tftp: Ipv4Addr,
    role: Role,
) -> bool {
    let (file, class) = match decision {
        BootDecision::Loader { file, .. } => (file, "PXEClient"),
        BootDecision::HttpLoader { url, .. } => (url, "HTTPClient"),
        BootDecision::Chain { url, .. } => (url, "PXEClient"),
        BootDecision::Boot { .. }
        | BootDecision::LocalDisk { .. }
        | BootDecision::Wait { .. }
        | BootDecision::Ignore { .. } => return false,
    };
    reply.siaddr = tftp;
    if file.len() <= MAX_FILE {
        reply.file = file.clone().into_bytes();
    }
    // BIOS ROMs read the header. Some of them read option 67 beyond its end when it has no NUL, so they get it only when
    // the name does not fit elsewhere.
    let bios = matches!(client.arch, None | Some(Arch::Bios));
    if file.len() > MAX_FILE || (!bios && request.options.wants(Code::BOOT_FILE)) {
        reply.options.set_text(Code::BOOT_FILE, file);
    }
    if !bios && request.options.wants(Code::TFTP_SERVER) {
        reply.options.set_text(Code::TFTP_SERVER, &tftp.to_string());
    }

    if client.asking == Asking::Ipxe && role == Role::Server {
        reply.options.set(Code::IPXE, IPXE_NO_PXEDHCP);
        return true;
    }
    // Without the class, ROMs drop the offer or look for another; HTTP boot firmware demands its own.
    reply.options.set_text(Code::VENDOR_CLASS, class);
    if class == "PXEClient" {
        let vendor = PxeVendor {
            discovery_control: Some(discovery_control::BOOT_OFFERED_FILE),
            // A ROM that asked for one of a menu's items takes no answer that does not repeat it.
            boot_item: PxeVendor::of(&request.options).boot_item,
        };
        reply.options.set(Code::VENDOR_SPECIFIC, vendor.to_bytes());
    }
    // PXE 2.1, table 2-2: a server sends the client's machine identifier back.
    if let Some(uuid) = request.options.get(Code::CLIENT_UUID) {
        reply.options.set(Code::CLIENT_UUID, uuid);
    }
    true
}

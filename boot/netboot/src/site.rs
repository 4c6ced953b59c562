//! Where this server is, as its clients see it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use overboot_dhcp::{Arch, Mac};

/// What every answer is made from: addresses, and the loaders that can really be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The TFTP server (DHCP `siaddr`).
    pub tftp: Ipv4Addr,
    /// The HTTP server, `http://host:port` without a slash at the end.
    pub http: String,
    /// The names of the loaders at hand. A name that is not here is never advertised.
    pub loaders: BTreeSet<String>,
}

impl Site {
    /// Where iPXE finds its script (RackHD's path).
    pub const PROFILES_PATH: &str = "/api/current/profiles";
    /// The folder of the loaders on the HTTP server.
    pub const LOADERS_PATH: &str = "/boot/loaders";

    /// The URL of iPXE's script.
    #[must_use]
    pub fn profiles_url(&self) -> String {
        format!("{}{}", self.base(), Self::PROFILES_PATH)
    }

    /// The URL of a loader. Firmware follows no redirect and stumbles over double slashes, so there is neither.
    #[must_use]
    pub fn loader_url(&self, file: &str) -> String {
        format!("{}{}/{file}", self.base(), Self::LOADERS_PATH)
    }

    fn base(&self) -> &str {
        self.http.trim_end_matches('/')
    }

    /// The first loader at hand of those that fit.
    pub(crate) fn loader(&self, arch: Arch, mac: Mac) -> Option<&str> {
        let (firmware_driver, own_driver) = candidates(arch);
        // These boards' firmware drivers fail under iPXE; its own work (RackHD's rule for Intel's NUCs).
        let names = if OWN_DRIVER_OUIS.contains(&mac.oui()) {
            [own_driver, firmware_driver]
        } else {
            [firmware_driver, own_driver]
        };
        names.into_iter().flatten().find(|name| self.loaders.contains(**name)).copied()
    }
}

/// Makers whose boards need iPXE's own network drivers.
const OWN_DRIVER_OUIS: [[u8; 3]; 1] = [[0xec, 0xa8, 0x6b]];

/// Makers whose BIOS ROM is an iPXE that does not say so: Mellanox FlexBoot (RackHD's list, with the misspelt
/// `7c:fe:90` put right).
pub(crate) const FLEXBOOT_OUIS: [[u8; 3]; 7] = [
    [0xf4, 0x52, 0x14],
    [0xec, 0x0d, 0x9a],
    [0xe4, 0x1d, 0x2d],
    [0x24, 0x8a, 0x07],
    [0x00, 0x25, 0x8b],
    [0x00, 0x02, 0xc9],
    [0x7c, 0xfe, 0x90],
];

type Names = &'static [&'static str];

/// The names of the loaders that fit: those that drive the network through the firmware, which works on most
/// boards, and those with drivers of their own. Names are those of Debian's and of iPXE's own builds.
fn candidates(arch: Arch) -> (Names, Names) {
    match arch {
        Arch::Bios => (&["undionly.kpxe", "undionly.kkpxe"], &["ipxe.pxe"]),
        Arch::EfiIa32 | Arch::EfiIa32Http => (&["snponly-i386.efi"], &["ipxe-i386.efi"]),
        Arch::EfiX64 | Arch::EfiX64Rfc | Arch::EfiX64Http => {
            (&["snponly.efi", "snponly-x86_64.efi"], &["ipxe.efi", "ipxe-x86_64.efi"])
        }
        Arch::EfiArm32 | Arch::EfiArm32Http => (&["snponly-arm32.efi"], &["ipxe-arm32.efi"]),
        Arch::EfiArm64 | Arch::EfiArm64Http => (&["snponly-arm64.efi"], &["ipxe-arm64.efi"]),
        Arch::Other(_) => (&[], &[]),
    }
}

/// The name under which an operator looks for the loader that is missing.
pub(crate) fn wanted_loader(arch: Arch) -> Option<&'static str> {
    candidates(arch).0.first().copied()
}

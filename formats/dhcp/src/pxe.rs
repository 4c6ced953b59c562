//! What network boot firmware adds to DHCP (RFC 4578; PXE 2.1 specification, tables 2-1 to 2-3; RFC 5970).

use std::fmt;

use crate::{Code, Options};

/// The client system architecture (option 93; IANA "Processor Architecture Types").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arch {
    /// 0: a PC's BIOS.
    Bios,
    /// 6: 32-bit x86 UEFI.
    EfiIa32,
    /// 7: 64-bit x86 UEFI, under the number that firmware uses for it ("EFI BC").
    EfiX64,
    /// 9: 64-bit x86 UEFI, under the number that the RFC gave it.
    EfiX64Rfc,
    /// 10: 32-bit ARM UEFI.
    EfiArm32,
    /// 11: 64-bit ARM UEFI.
    EfiArm64,
    /// 15: 32-bit x86 UEFI that boots over HTTP.
    EfiIa32Http,
    /// 16: 64-bit x86 UEFI that boots over HTTP.
    EfiX64Http,
    /// 18: 32-bit ARM UEFI that boots over HTTP.
    EfiArm32Http,
    /// 19: 64-bit ARM UEFI that boots over HTTP.
    EfiArm64Http,
    /// Any other number.
    Other(u16),
}

impl Arch {
    /// The architecture with this number.
    #[must_use]
    pub const fn from_number(number: u16) -> Self {
        match number {
            0 => Self::Bios,
            6 => Self::EfiIa32,
            7 => Self::EfiX64,
            9 => Self::EfiX64Rfc,
            10 => Self::EfiArm32,
            11 => Self::EfiArm64,
            15 => Self::EfiIa32Http,
            16 => Self::EfiX64Http,
            18 => Self::EfiArm32Http,
            19 => Self::EfiArm64Http,
            other => Self::Other(other),
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Bios => 0,
            Self::EfiIa32 => 6,
            Self::EfiX64 => 7,
            Self::EfiX64Rfc => 9,
            Self::EfiArm32 => 10,
            Self::EfiArm64 => 11,
            Self::EfiIa32Http => 15,
            Self::EfiX64Http => 16,
            Self::EfiArm32Http => 18,
            Self::EfiArm64Http => 19,
            Self::Other(number) => number,
        }
    }

    /// The first architecture that option 93 lists; some firmware lists several, its own first.
    #[must_use]
    pub fn of(options: &Options) -> Option<Self> {
        let number = options.get(Code::CLIENT_ARCH)?.first_chunk::<2>()?;
        Some(Self::from_number(u16::from_be_bytes(*number)))
    }

    /// Whether the firmware fetches its boot file by HTTP (RFC 5970, UEFI 2.5 24.7).
    #[must_use]
    pub const fn is_http(self) -> bool {
        matches!(
            self,
            Self::EfiIa32Http | Self::EfiX64Http | Self::EfiArm32Http | Self::EfiArm64Http
        )
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bios => "BIOS",
            Self::EfiIa32 => "UEFI x86",
            Self::EfiX64 | Self::EfiX64Rfc => "UEFI x86-64",
            Self::EfiArm32 => "UEFI arm",
            Self::EfiArm64 => "UEFI arm64",
            Self::EfiIa32Http => "UEFI x86 HTTP",
            Self::EfiX64Http => "UEFI x86-64 HTTP",
            Self::EfiArm32Http => "UEFI arm HTTP",
            Self::EfiArm64Http => "UEFI arm64 HTTP",
            Self::Other(number) => return write!(f, "architecture {number}"),
        })
    }
}

/// The machine's identity from SMBIOS (option 97 with type 0, RFC 4578 2.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientUuid([u8; 16]);

impl ClientUuid {
    /// The identity that option 97 gives; `None` when absent, of another type, or all zeros or ones, which
    /// boards without an identity send.
    #[must_use]
    pub fn of(options: &Options) -> Option<Self> {
        let bytes: [u8; 17] = options.get(Code::CLIENT_UUID)?.try_into().ok()?;
        let [0, uuid @ ..] = bytes else { return None };
        (uuid != [0; 16] && uuid != [0xff; 16]).then_some(Self(uuid))
    }

    /// The sixteen bytes in the order of the wire.
    #[must_use]
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for ClientUuid {
    /// As `dmidecode` prints it: the first three fields are little-endian (SMBIOS 7.2.1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = self.0;
        let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        for (position, index) in order.into_iter().enumerate() {
            if matches!(position, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{:02x}", b[index])?;
        }
        Ok(())
    }
}

impl fmt::Debug for ClientUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientUuid({self})")
    }
}

/// What a PXE ROM and a boot server tell each other in option 43 (PXE 2.1, table 2-3), as far as it concerns anybody
/// who offers a boot file at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PxeVendor {
    /// `PXE_DISCOVERY_CONTROL` (tag 6), a sum of the bits in [`discovery_control`]. `None`: the tag is left out.
    pub discovery_control: Option<u8>,
    /// `PXE_BOOT_ITEM` (tag 71): the type of boot server and the layer that the client asks for; an answer repeats it.
    pub boot_item: Option<[u8; 4]>,
}

/// Bits of [`PxeVendor::discovery_control`].
pub mod discovery_control {
    /// Bit 0: no broadcast discovery of boot servers.
    pub const NO_BROADCAST: u8 = 1;
    /// Bit 1: no multicast discovery.
    pub const NO_MULTICAST: u8 = 2;
    /// Bit 2: only servers that tag 8 lists.
    pub const LISTED_ONLY: u8 = 4;
    /// Bit 3: if a boot file name comes with the offer, just fetch it: no discovery, no menu.
    pub const BOOT_OFFERED_FILE: u8 = 8;
}

impl PxeVendor {
    const DISCOVERY_CONTROL: u8 = 6;
    const BOOT_ITEM: u8 = 71;

    /// What option 43 of a message says; a field of another length than the table's counts as not sent.
    #[must_use]
    pub fn of(options: &Options) -> Self {
        let mut vendor = Self::default();
        for (tag, value) in options.fields(Code::VENDOR_SPECIFIC) {
            match (tag, value) {
                (Self::DISCOVERY_CONTROL, &[control]) => vendor.discovery_control = Some(control),
                (Self::BOOT_ITEM, &[a, b, c, d]) => vendor.boot_item = Some([a, b, c, d]),
                _ => {}
            }
        }
        vendor
    }

    /// The value of option 43, closed by the end tag that ROMs look for.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(10);
        if let Some(control) = self.discovery_control {
            bytes.extend([Self::DISCOVERY_CONTROL, 1, control]);
        }
        if let Some(item) = self.boot_item {
            bytes.extend([Self::BOOT_ITEM, 4]);
            bytes.extend(item);
        }
        bytes.push(255);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_both_ways() {
        for number in 0..=u16::MAX {
            assert_eq!(Arch::from_number(number).number(), number);
        }
    }

    #[test]
    fn the_first_architecture_counts() {
        let mut options = Options::new();
        assert_eq!(Arch::of(&options), None);
        options.set(Code::CLIENT_ARCH, [0, 7, 0, 9]);
        assert_eq!(Arch::of(&options), Some(Arch::EfiX64));
        options.set(Code::CLIENT_ARCH, [0]);
        assert_eq!(Arch::of(&options), None);
    }

    #[test]
    fn uuid_is_printed_as_dmidecode_does() {
        let mut options = Options::new();
        let mut value = vec![0];
        value.extend(0..16);
        options.set(Code::CLIENT_UUID, value);
        let uuid = ClientUuid::of(&options).unwrap();
        assert_eq!(uuid.to_string(), "03020100-0504-0706-0809-0a0b0c0d0e0f");
        options.set(Code::CLIENT_UUID, vec![0; 17]);
        assert_eq!(ClientUuid::of(&options), None);
    }

    #[test]
    fn option_43_says_to_boot_the_offered_file() {
        let control = Some(discovery_control::BOOT_OFFERED_FILE);
        let mut vendor = PxeVendor { discovery_control: control, boot_item: None };
        assert_eq!(vendor.to_bytes(), [6, 1, 8, 255]);
        vendor.boot_item = Some([0, 0, 0, 1]);
        assert_eq!(vendor.to_bytes(), [6, 1, 8, 71, 4, 0, 0, 0, 1, 255]);
        let mut options = Options::new();
        options.set(Code::VENDOR_SPECIFIC, vendor.to_bytes());
        assert_eq!(PxeVendor::of(&options), vendor);
    }

    #[test]
    fn option_43_is_read_as_far_as_it_is_well_formed() {
        let read = |bytes: &[u8]| {
            let mut options = Options::new();
            options.set(Code::VENDOR_SPECIFIC, bytes);
            PxeVendor::of(&options).boot_item
        };
        assert_eq!(read(&[0, 0, 71, 4, 1, 2, 3, 4]), Some([1, 2, 3, 4]), "pads, no end");
        assert_eq!(read(&[71, 2, 1, 2, 255]), None, "another length");
        assert_eq!(read(&[255, 71, 4, 1, 2, 3, 4]), None, "after the end");
        assert_eq!(read(&[71, 4, 1, 2]), None, "cut off");
        assert_eq!(read(&[]), None);
    }
}

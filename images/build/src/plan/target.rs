//! What can be built, by name.

use std::fmt;
use std::str::FromStr;

/// Something that can be built, and the name that it has in the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The kernel: `kernel`.
    Kernel,
    /// The network boot loaders: `ipxe`.
    Ipxe,
    /// A layer of modules: `modules/NAME`.
    Modules(String),
    /// An initrd: `initrd/NAME`.
    Initrd(String),
    /// Firmware that network cards need first, an initrd's second part: `firmware/NAME`.
    Firmware(String),
    /// A base filesystem: `base/NAME`.
    Base(String),
    /// An overlay: `overlay/NAME`.
    Overlay(String),
    /// A signed boot set: `set/NAME`, for each overlay, and for each base by itself.
    Set(String),
}

impl Target {
    /// What the lock calls the packages that it is made of.
    pub(crate) fn packages(&self) -> String {
        match self {
            Self::Modules(_) | Self::Initrd(_) => Self::Kernel.to_string(),
            Self::Kernel
            | Self::Ipxe
            | Self::Firmware(_)
            | Self::Base(_)
            | Self::Overlay(_)
            | Self::Set(_) => self.to_string(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel => f.write_str("kernel"),
            Self::Ipxe => f.write_str("ipxe"),
            Self::Modules(name) => write!(f, "modules/{name}"),
            Self::Initrd(name) => write!(f, "initrd/{name}"),
            Self::Firmware(name) => write!(f, "firmware/{name}"),
            Self::Base(name) => write!(f, "base/{name}"),
            Self::Overlay(name) => write!(f, "overlay/{name}"),
            Self::Set(name) => write!(f, "set/{name}"),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = |name: &str| name.to_owned();
        match text.split_once('/') {
            None if text == "kernel" => Ok(Self::Kernel),
            None if text == "ipxe" => Ok(Self::Ipxe),
            Some(("modules", rest)) => Ok(Self::Modules(name(rest))),
            Some(("initrd", rest)) => Ok(Self::Initrd(name(rest))),
            Some(("firmware", rest)) => Ok(Self::Firmware(name(rest))),
            Some(("base", rest)) => Ok(Self::Base(name(rest))),
            Some(("overlay", rest)) => Ok(Self::Overlay(name(rest))),
            Some(("set", rest)) => Ok(Self::Set(name(rest))),
            _ => Err(format!(
                "\"{text}\" is not a target; write kernel, ipxe, modules/NAME, initrd/NAME, firmware/NAME, base/NAME, overlay/NAME or set/NAME"
            )),
        }
    }
}

//! What can be wrong with a boot set.

/// Why a boot set was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// More bytes than any boot set has.
    #[error("the boot set has {size} bytes; at most {max} are read", max = crate::BootSet::MAX_BYTES)]
    TooBig {
        /// Its size in bytes.
        size: usize,
    },
    /// No keys to verify with.
    #[error("there is no public key to verify the boot set with")]
    NoKeys,
    /// A text that is no minisign public key.
    #[error("not a minisign public key: {text:?}")]
    BadKey {
        /// Its beginning.
        text: String,
        /// What minisign says.
        #[source]
        source: minisign_verify::Error,
    },
    /// A text that is no minisign signature.
    #[error("the boot set's signature is not a minisign signature")]
    BadSignatureFile(#[source] minisign_verify::Error),
    /// Signed, but by none of our keys.
    #[error("the boot set is signed with a key that is none of the trusted ones ({trusted})")]
    UnknownKey {
        /// Comments of the trusted keys.
        trusted: String,
    },
    /// The signature does not belong to these bytes: changed on the way, or forged.
    #[error("the boot set's signature is wrong: it was changed after it was signed")]
    WrongSignature(#[source] minisign_verify::Error),
    /// Properly signed, and not JSON of the expected shape.
    #[error("the boot set is signed but cannot be read")]
    Parse(#[source] serde_json::Error),
    /// A version of the format that is not known here.
    #[error("the boot set has format {found}; this program reads format {known}", known = crate::BootSet::FORMAT)]
    Format {
        /// The number it has.
        found: u32,
    },
    /// A value outside its bounds.
    #[error("the boot set's {field} is not acceptable: {reason}")]
    Field {
        /// Which one: `overlays[2].chunks`.
        field: String,
        /// Why.
        reason: String,
    },
}

impl Error {
    /// What to do about it, where there is something to do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoKeys | Self::UnknownKey { .. } => Some(
                "build the initrd with the public key that belongs to the key that signs boot sets, \
                 or sign the set again",
            ),
            Self::WrongSignature(_) | Self::BadSignatureFile(_) => Some(
                "publish the boot set again; if it happens again, someone alters it on the way",
            ),
            Self::Format { .. } => Some("boot an initrd of the version that built the set"),
            Self::TooBig { .. } | Self::BadKey { .. } | Self::Parse(_) | Self::Field { .. } => None,
        }
    }
}

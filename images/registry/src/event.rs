//! What a push or pull tells while it works.

use overboot_digest::Digest;
use serde::Serialize;

/// One thing that happened. Told from several threads, in the order that it happened in each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// What has to be moved is known.
    Transferring {
        /// For which target.
        target: String,
        /// How many blobs.
        blobs: usize,
        /// Their size in bytes.
        bytes: u64,
    },
    /// So much of it has been moved.
    Transferred {
        /// For which target.
        target: String,
        /// Bytes.
        bytes: u64,
    },
    /// The registry has it under its tag.
    Pushed {
        /// The target.
        target: String,
        /// Its tag.
        tag: String,
        /// What the tag names.
        digest: Digest,
        /// Bytes that had to be sent.
        sent: u64,
    },
    /// The store has it under its name.
    Pulled {
        /// The target.
        target: String,
        /// Its manifest.
        digest: Digest,
        /// Bytes that had to be fetched.
        fetched: u64,
    },
    /// Something in the repository is somebody else's, and was passed over.
    Skipped {
        /// Its tags.
        tags: Vec<String>,
        /// How that was seen.
        reason: String,
    },
}

/// Hears what happens.
pub(crate) type Tell<'a> = &'a (dyn Fn(Event) + Sync);

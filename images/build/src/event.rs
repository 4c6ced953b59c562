//! What a build tells while it works.

use serde::Serialize;

/// One thing that happened. Told from several threads, in the order that it happened in each.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The archive's indexes are being looked at.
    Updating {
        /// The suites.
        suites: Vec<String>,
    },
    /// Packages are being fetched.
    Fetching {
        /// How many are wanted in all.
        packages: usize,
        /// Their size in bytes.
        bytes: u64,
    },
    /// So much of them is there.
    Fetched {
        /// Packages that are there.
        packages: usize,
        /// Bytes that are there.
        bytes: u64,
    },
    /// The layers of a container image are being fetched.
    FetchingImage {
        /// As the recipe names it.
        image: String,
        /// Their size in bytes.
        bytes: u64,
    },
    /// So much of them is there.
    FetchedImage {
        /// As the recipe names it.
        image: String,
        /// Bytes that are there.
        bytes: u64,
    },
    /// A step runs.
    Started {
        /// Its target.
        target: String,
        /// Why it must.
        why: Vec<String>,
    },
    /// What a step is at: a line for somebody who waits.
    Progress {
        /// Its target.
        target: String,
        /// The line.
        line: String,
    },
    /// Something in a step is not as its recipe may have meant it; it goes on.
    Warned {
        /// Its target.
        target: String,
        /// What, with the place in the recipe.
        line: String,
    },
    /// A step is done.
    Finished {
        /// Its target.
        target: String,
        /// How long it took, in milliseconds.
        milliseconds: u64,
        /// The size of what it made in bytes.
        size: u64,
    },
    /// An overlay stays as it is: it holds on its base, though that is another one by now.
    Kept {
        /// Its target.
        target: String,
        /// The size of what there is.
        size: u64,
    },
    /// A step need not run: everything that it reads is as it was.
    Unchanged {
        /// Its target.
        target: String,
        /// The size of what there is.
        size: u64,
    },
}

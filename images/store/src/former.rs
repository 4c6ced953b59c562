//! Boot sets that have lost their name lately. A machine goes on with the set that it began with, by the digest of its manifest: for
//! a while it must find all of that, whatever was built, published or taken away since.

use std::time::{SystemTime, UNIX_EPOCH};

use overboot_digest::Digest;
use serde::{Deserialize, Serialize};

use crate::files::{Lock, read_document, replace};
use crate::layout::{self, Index};
use crate::store::json;
use crate::{Artifact, Error, Store, generation};

/// So many are remembered, the last ones: whoever never collects needs no longer list, and the document stays small.
const MOST: usize = 1000;

/// A boot set that has lost its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Former {
    /// What its name was.
    target: String,
    /// Its manifest.
    manifest: Digest,
    /// When it was lost, in seconds since 1970.
    lost: u64,
}

impl Store {
    /// The boot sets that machines could begin to boot until `since` or later, and that have lost their name by now. One that is
    /// not whole any more is left out: nobody could boot it.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Document`].
    pub fn former(&self, since: SystemTime) -> Result<Vec<Artifact>, Error> {
        let lately = self.formers()?.into_iter().filter(|former| former.lost > seconds(since));
        let found = lately.map(|one| match self.get_digest(&one.target, &one.manifest) {
            Err(error) if error.is_damage() => Ok(None),
            found => found,
        });
        found.filter_map(Result::transpose).collect()
    }

    /// Forgets those that have lost their name before `since`.
    pub(crate) fn forget_former(&self, since: SystemTime) -> Result<(), Error> {
        let _lock = Lock::exclusive(&self.index_lock())?;
        let all = self.formers()?;
        let mut left = all.clone();
        left.retain(|former| former.lost > seconds(since));
        if left == all { Ok(()) } else { self.write_formers(&left) }
    }

    /// Notes what has its name before a change of the index, and not after. Only for a caller who holds the index's lock.
    pub(crate) fn note_former(&self, before: &Index, after: &Index) -> Result<(), Error> {
        let lost = before.manifests.iter().filter_map(|entry| {
            let target = layout::name(entry)?;
            let stays = after.find(target).is_some_and(|now| now.digest == entry.digest);
            (generation::is_bootable(target) && !stays).then(|| Former {
                target: target.to_owned(),
                manifest: entry.digest,
                lost: seconds(SystemTime::now()),
            })
        });
        let lost: Vec<Former> = lost.collect();
        if lost.is_empty() {
            return Ok(());
        }
        let mut all = self.formers()?;
        all.retain(|known| !lost.iter().any(|new| new.manifest == known.manifest));
        all.extend(lost);
        all.drain(..all.len().saturating_sub(MOST));
        self.write_formers(&all)
    }

    /// What cannot be understood is none: no build waits for a period of grace.
    fn formers(&self) -> Result<Vec<Former>, Error> {
        let bytes = match read_document(&self.former_file()) {
            Err(Error::Document { .. }) => None,
            read => read?,
        };
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    fn write_formers(&self, formers: &[Former]) -> Result<(), Error> {
        let path = self.former_file();
        replace(&path, &json(&formers, &path)?)
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

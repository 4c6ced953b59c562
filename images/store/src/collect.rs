//! Space: content that nobody needs.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::SystemTime;

use overboot_digest::Digest;

use crate::files::read_document;
use crate::layout::{self, Index};
use crate::{Error, Store};

impl Store {
    /// The blobs that no artifact needs once the names `gone` are taken away, nor anybody whose content is in `kept`; with their
    /// lengths in bytes.
    ///
    /// # Errors
    /// As [`Store::list`]: what cannot be read may need anything.
    pub fn garbage(
        &self,
        gone: &[String],
        kept: &HashSet<Digest>,
    ) -> Result<Vec<(PathBuf, u64)>, Error> {
        let mut index = self.index()?;
        index.forget(gone);
        self.garbage_of(&index, kept)
    }

    fn garbage_of(
        &self,
        index: &Index,
        kept: &HashSet<Digest>,
    ) -> Result<Vec<(PathBuf, u64)>, Error> {
        // `{}` is the config of every artifact without a record.
        let mut needed = HashSet::from([Digest::of("{}")]);
        needed.extend(kept);
        for entry in &index.manifests {
            let name = layout::name(entry).unwrap_or("(unnamed)");
            needed.insert(entry.digest);
            if entry.media_type == layout::MANIFEST {
                let artifact = self.artifact(name, entry)?;
                needed.extend(self.contents(&artifact)?.iter().map(|blob| blob.digest));
            } else {
                self.follow_foreign(&entry.digest, &mut needed)?;
            }
        }
        let needed: HashSet<String> = needed.iter().map(Digest::hex).collect();
        let mut garbage = Vec::new();
        let blobs = self.blobs();
        for entry in fs_err::read_dir(&blobs).map_err(Error::read(&blobs))? {
            let entry = entry.map_err(Error::read(&blobs))?;
            let metadata = entry.metadata().map_err(Error::read(&entry.path()))?;
            if entry.file_name().to_str().is_some_and(|name| !needed.contains(name)) {
                garbage.push((entry.path(), metadata.len()));
            }
        }
        garbage.sort();
        Ok(garbage)
    }

    /// All that a document which another tool has put here leads to: an index may name indexes, and those manifests.
    fn follow_foreign(&self, digest: &Digest, needed: &mut HashSet<Digest>) -> Result<(), Error> {
        let Some(bytes) = read_document(&self.blob_path(digest))? else { return Ok(()) };
        let Ok(document) = serde_json::from_slice::<serde_json::Value>(&bytes) else {
            return Ok(());
        };
        let listed = |name: &str| document.get(name).and_then(|list| list.as_array().cloned());
        let named = |content: &serde_json::Value| content.get("digest")?.as_str()?.parse().ok();
        let contents = document.get("config").into_iter().cloned();
        needed
            .extend(contents.chain(listed("layers").unwrap_or_default()).filter_map(|c| named(&c)));
        for manifest in listed("manifests").unwrap_or_default().iter().filter_map(named) {
            if needed.insert(manifest) {
                self.follow_foreign(&manifest, needed)?;
            }
        }
        Ok(())
    }

    /// Takes the names `gone` away, and removes the blobs that nobody needs then: [`Store::garbage`], which it returns. What has lost
    /// its name before `since` is no longer in [`Store::former`].
    ///
    /// Only for a caller who keeps writers of the store away: they store content first and name it afterwards.
    ///
    /// # Errors
    /// As [`Store::garbage`]: then nothing is removed. [`Error::File`] where a blob cannot be.
    pub fn collect(
        &self,
        gone: &[String],
        kept: &HashSet<Digest>,
        since: SystemTime,
    ) -> Result<Vec<(PathBuf, u64)>, Error> {
        // What is needed is told from the index as it is written: nobody can have named anything in between.
        let garbage = self.change_index(|index| {
            index.forget(gone);
            self.garbage_of(index, kept)
        })?;
        for (path, _) in &garbage {
            fs_err::remove_file(path).map_err(Error::write(path))?;
        }
        self.forget_former(since)?;
        Ok(garbage)
    }
}

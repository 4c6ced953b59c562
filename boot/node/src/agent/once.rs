//! What makes a command run at most once: a note of each, and the results of the last.

use std::path::PathBuf;

use overboot_bootset::Blob;
use overboot_wire::TaskDoc;

use super::course;
use crate::{Error, handover};

/// What is known of the commands of this boot. It is in memory: results, which may be large, are kept of the last one only.
/// Those of the others have been posted, or the next would not have been asked for.
#[derive(Debug)]
pub(super) struct Kept {
    folder: PathBuf,
}

impl Kept {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Runs a document's tasks, unless its command id was seen before: then its results are those of then, or that there
    /// are none.
    pub(super) fn once(
        &self,
        doc: TaskDoc,
        run: impl FnOnce(TaskDoc) -> TaskDoc,
    ) -> Result<TaskDoc, Error> {
        let Some(id) = &doc.command_id else { return Ok(run(doc)) };
        fs_err::create_dir_all(&self.folder)?;
        // Ids come from the network; their digests are safe as file names.
        let begun = self.folder.join(Blob::of_reader(id.as_bytes())?.digest.hex());
        let last = self.folder.join("last.json");
        if begun.exists() {
            let results: Option<TaskDoc> =
                fs_err::read(&last).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            let results = results.filter(|results| results.command_id == doc.command_id);
            return Ok(results.unwrap_or_else(|| course::interrupted(doc)));
        }
        fs_err::write(&begun, b"")?;
        let done = run(doc);
        // Where there is no room for them, they are posted all the same.
        let _unkept = handover::write_json(&last, &done);
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use overboot_wire::Task;

    use super::*;

    fn doc(id: &str) -> TaskDoc {
        let task = Task { cmd: "dmidecode".to_owned(), ..Task::default() };
        TaskDoc { command_id: Some(id.to_owned()), tasks: vec![task], ..TaskDoc::default() }
    }

    fn ran(mut doc: TaskDoc) -> TaskDoc {
        doc.tasks[0].stdout = Some("x".repeat(100_000));
        doc
    }

    #[test]
    fn a_command_runs_once_and_only_the_last_results_take_room() {
        let folder = tempfile::tempdir().unwrap();
        let kept = || Kept::new(folder.path().join("commands"));
        for id in ["a", "b", "../c"] {
            let done = kept().once(doc(id), ran).unwrap();
            assert_eq!(done, ran(doc(id)));
            let again = kept().once(doc(id), |_| panic!("a second time")).unwrap();
            assert_eq!(again, done);
        }
        let long_ago = kept().once(doc("a"), |_| panic!("a second time")).unwrap();
        assert!(long_ago.tasks[0].failed() && long_ago.tasks[0].stdout.is_none());
        let files = std::fs::read_dir(folder.path().join("commands")).unwrap();
        let bytes: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes < 200_000, "{bytes}");
    }

    #[test]
    fn a_command_that_was_cut_off_is_not_run_again() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::new(folder.path().to_owned());
        let cut = || kept.once(doc("a"), |_| panic!("killed"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(cut)).is_err());
        let again = kept.once(doc("a"), |_| panic!("a second time")).unwrap();
        assert!(again.tasks[0].failed());
    }
}

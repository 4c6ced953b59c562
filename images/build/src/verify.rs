//! Is what the store holds what it says it is? What is not is put out of the way, so that the next build makes it again.

use std::path::PathBuf;

use overboot_bootset::{Blob, BootSet};
use overboot_recipe::Recipe;
use overboot_store::{Artifact, Descriptor, Store, generation};

use crate::error::Error;
use crate::project::Project;
use crate::signing;

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What, in a sentence.
    pub problem: String,
    /// Where the file that it is about is now.
    pub moved_to: Option<PathBuf>,
}

/// What came of a look at the whole store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// How many artifacts it names.
    pub artifacts: usize,
    /// What is wrong: nothing when all is well.
    pub findings: Vec<Finding>,
}

/// Reads everything in the store, compares it with its digest, and checks the signatures of boot sets with the keys that the
/// recipe trusts, as a node does. Files that are not what their names say are moved into `store/damaged`.
///
/// # Errors
/// Its index cannot be read; [`Error::Busy`] where something must be moved while a build is running.
pub fn verify(project: &Project, recipe: &Recipe, store: &Store) -> Result<Verified, Error> {
    let problems = store.verify()?;
    let broken = problems.iter().any(|problem| problem.path().is_some());
    // A build may be writing anew what is damaged; nothing is moved away from under it.
    let _occupied = if broken { Some(project.occupy()?) } else { None };
    let mut verified = Verified { artifacts: store.targets()?.len(), findings: Vec::new() };
    for problem in problems {
        let moved_to = store.set_aside(&problem)?;
        verified.findings.push(Finding { problem: problem.to_string(), moved_to });
    }
    for target in store.targets()?.iter().filter(|target| generation::boot_set(target).is_some()) {
        // What is not whole has been told already.
        let Ok(Some(artifact)) = store.get(target) else { continue };
        if let Some(problem) = signature_problem(store, recipe, &artifact) {
            verified
                .findings
                .push(Finding { problem: format!("{target}: {problem}"), moved_to: None });
        }
    }
    Ok(verified)
}

/// What is wrong with one artifact, in sentences: all that it is made of is read, for a boot set also all that it names, and its
/// signature. Nothing is moved.
#[must_use]
pub fn one(store: &Store, recipe: &Recipe, artifact: &Artifact) -> Vec<String> {
    let target = &artifact.target;
    let is_set = generation::boot_set(target).is_some();
    let contents = store.contents(artifact).map_err(Error::from).and_then(|mut all| {
        if is_set {
            let named = parts(store, artifact)?.into_iter();
            all.extend(named.map(|Blob { digest, size }| Descriptor { digest, size }));
        }
        all.sort_by_key(|blob| blob.digest);
        all.dedup();
        Ok(all)
    });
    let contents = match contents {
        Ok(contents) => contents,
        Err(error) => return vec![error.to_string()],
    };
    let read = contents.into_iter().map(|blob| store.check_blob(target, blob));
    let mut problems: Vec<String> = read.filter_map(|read| Some(read.err()?.to_string())).collect();
    if is_set {
        problems.extend(signature_problem(store, recipe, artifact));
    }
    problems
}

/// What is wrong with the signature of a boot set; nothing also where a part of it is not there, which is another matter.
pub(crate) fn signature_problem(
    store: &Store,
    recipe: &Recipe,
    artifact: &Artifact,
) -> Option<String> {
    let [set, signature, ..] = &artifact.manifest.layers[..] else {
        return Some("it is not signed".to_owned());
    };
    let set = std::fs::read(store.blob_path(&set.digest)).ok()?;
    let signature = std::fs::read(store.blob_path(&signature.digest)).ok()?;
    let signature = String::from_utf8_lossy(&signature);
    signing::verify(&set, &signature, &recipe.project.trust).err().map(|error| error.to_string())
}

/// All that a boot set names.
///
/// # Errors
/// It cannot be read, or is none.
pub(crate) fn parts(store: &Store, set: &Artifact) -> Result<Vec<Blob>, Error> {
    // What is damaged may name anything.
    store.check_blob(&set.target, set.layer().descriptor())?;
    let path = store.blob_path(&set.layer().digest);
    let bytes = fs_err::read(&path).map_err(Error::io("read", &path))?;
    Ok(BootSet::from_trusted_bytes(&bytes)?.blobs().collect())
}

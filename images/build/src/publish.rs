//! Publishing: what was built becomes what nodes get.

use overboot_recipe::Recipe;
use overboot_store::{Descriptor, Generation, Store};

use crate::error::Error;
use crate::verify::signature_problem;

/// Publishes the boot sets of these names as they were built last, all at once. Before that, all that they name is read: a set
/// that is not whole, or that nodes would not take, is not published.
///
/// # Errors
/// A set is not there, lacks something, or is not signed by a key that the recipe trusts; the index cannot be written.
pub fn publish(store: &Store, recipe: &Recipe, sets: &[String]) -> Result<Vec<Generation>, Error> {
    for set in sets {
        let target = format!("set/{set}");
        let Some(artifact) = store.get(&target)? else { continue };
        // Its signature too: where that is lost, nobody could say what is wrong with it.
        for blob in store.contents(&artifact)? {
            store.check_blob(&target, blob)?;
        }
        if let Some(problem) = signature_problem(store, recipe, &artifact) {
            return Err(Error::told(
                format!("{target} is not published: {problem}"),
                format!("build it again: `overboot build {target}`"),
            ));
        }
        for blob in crate::verify::parts(store, &artifact)? {
            store.check_blob(&target, Descriptor { digest: blob.digest, size: blob.size })?;
        }
    }
    Ok(store.publish_sets(sets)?)
}

//! What is in the store in the form of its ancestor: `NAME.overlay.cpio.gz`, as on-imagebuilder made it.

use std::io::Write;

use overboot_pack::tree::Entry;
use overboot_pack::{image, overlay};
use overboot_recipe::Recipe;
use overboot_store::Store;

use crate::error::Error;
use crate::plan::Target;

/// Writes the overlay called `name` as a gzipped cpio archive. Returns the paths whose capabilities only overboot's own init
/// restores, since the format has none.
///
/// # Errors
/// [`Error::Told`] if the recipe has no such overlay, or the store not yet it and its base; a damaged image, and what
/// packing fails with.
pub fn overlay_cpio_gz(
    store: &Store,
    recipe: &Recipe,
    name: &str,
    out: impl Write,
) -> Result<Vec<String>, Error> {
    let Some(overlay) = recipe.overlays.get(name) else {
        return Err(Error::Told {
            message: format!("the recipe has no overlay/{name}"),
            help: format!("add [overlay.{name}] to overboot.toml"),
        });
    };
    let layer = entries(store, &Target::Overlay(name.to_owned()))?;
    let base = entries(store, &Target::Base(overlay.base.value.clone()))?;
    let written = overlay::write_cpio_gz(name, layer, &base, out)?;
    let lost = written.lost_attributes.iter();
    Ok(lost.map(|path| String::from_utf8_lossy(path).into_owned()).collect())
}

/// All that an image in the store holds.
fn entries(store: &Store, target: &Target) -> Result<Vec<Entry>, Error> {
    let Some(artifact) = store.get(&target.to_string())? else {
        return Err(Error::Told {
            message: format!("{target} is not in the store"),
            help: format!("run `overboot build {target}`"),
        });
    };
    // What is damaged may read as an image of something else.
    store.check_blob(&artifact.target, artifact.layer().descriptor())?;
    let path = store.blob_path(&artifact.layer().digest);
    let image = fs_err::File::open(&path).map_err(Error::io("read", &path))?;
    Ok(image::read_entries(image)?)
}

//! Which program `editor` is, where an image and the tree that it goes over both have candidates.
//!
//! Their database is united, but of links with one name the image's take the place of the tree's: a worse candidate of the image would
//! win over a better one of the tree, and the database would say otherwise.

use std::io;
use std::path::Path;

use overboot_merge::{ALTERNATIVES, Alternative, Form};
use rustix::fs::FileType;

use crate::error::Error;
use crate::root::{self, Parents, Place, Root};
use crate::upper::chosen;

/// A name that both have candidates for.
pub(super) struct Common {
    name: String,
    /// Whom somebody has chosen: in the tree, or else in the image.
    chosen: Option<String>,
}

/// Those names, before the image's links take the place of the tree's.
pub(super) fn common(image: &Root, tree: &Root) -> Result<Vec<Common>, Error> {
    let mut all = Vec::new();
    for name in image.names(ALTERNATIVES)? {
        let Ok(name) = name.into_string() else { continue };
        let path = database(&name);
        let united = |root: &Root| root.kind(Path::new(&path)) == Some(FileType::RegularFile);
        if Form::of(&path).is_none() || !united(image) || !united(tree) {
            continue;
        }
        let mut choice = None;
        for root in [image, tree] {
            if of(root, &name)?.manual {
                choice = chosen(&[root], &name)?.or(choice);
            }
        }
        all.push(Common { name, chosen: choice });
    }
    Ok(all)
}

impl Common {
    /// Makes the links of `tree` what its database says, once it has the candidates of both.
    pub(super) fn link(&self, tree: &Root) -> Result<(), Error> {
        let there = |path: &str| tree.exists(path.trim_start_matches('/'));
        for (path, target) in of(tree, &self.name)?.links(&self.name, self.chosen.as_deref(), there)
        {
            let path = Path::new(&path);
            // A tree without manual pages has no folder for them.
            if path.parent().is_some_and(|above| tree.is_folder(above)) {
                let place = Parents::default().place(tree, path)?;
                let failed = Error::io("link", tree.path().join(path));
                replace(&place, target.as_deref()).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// Puts a link in place of another one, or takes it away; what is no link is not update-alternatives' to touch.
fn replace(place: &Place<'_>, target: Option<&str>) -> io::Result<()> {
    let there = root::look(place)?;
    if there.is_some_and(|there| FileType::from_raw_mode(there.st_mode) != FileType::Symlink) {
        return Ok(());
    }
    root::remove(place)?;
    target.map_or(Ok(()), |target| root::symlink(place, target.as_bytes()))
}

fn of(root: &Root, name: &str) -> Result<Alternative, Error> {
    Ok(Alternative::parse(&root.read_text(database(name))?.unwrap_or_default()))
}

fn database(name: &str) -> String {
    format!("{ALTERNATIVES}{name}")
}

//! From what is written to what is meant: every mistake gets its place and its remedy.
//!
//! - [`values`]: one value at a time: names, paths, addresses, words, variables.
//! - [`archive`]: project, main archive, kernel, slots; [`extra`]: extra archives and pins.
//! - [`images`]: bases, overlays, initrds, modules: inheritance; boot sets.
//! - [`provision`]: the steps of an image; [`ansible`]: that of Ansible.
//! - [`serve`]: what `overboot serve` does.
//! - [`syntax`]: what is no recipe at all.

mod ansible;
mod archive;
mod extra;
mod images;
mod provision;
mod serve;
mod syntax;
mod values;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use crate::diagnostic::Diagnostic;
use crate::manifest;
use crate::place::{Place, Placed, said_of_variable};
use crate::recipe::Recipe;

/// Checks the recipe `text` of the file `path`.
pub(crate) fn recipe(text: &str, path: &Path) -> Result<Recipe, Vec<Diagnostic>> {
    let manifest: manifest::Manifest =
        toml::from_str(text).map_err(|error| vec![syntax::syntax(text, path, &error)])?;
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let mut check = Check {
        text,
        path,
        folder: &folder,
        vars: BTreeMap::new(),
        taken: BTreeMap::new(),
        found: Vec::new(),
    };
    let recipe = check.manifest(&manifest);
    if check.found.is_empty() {
        return Ok(recipe);
    }
    // As they are met with by whoever reads the recipe from its beginning.
    check.found.sort_by_key(|diagnostic| diagnostic.position);
    Err(check.found)
}

struct Check<'a> {
    text: &'a str,
    path: &'a Path,
    folder: &'a Path,
    /// The variables that hold where the check is now.
    vars: BTreeMap<String, Placed<String>>,
    /// Where the variable was set that the value at this byte of the recipe has taken in.
    taken: BTreeMap<usize, (usize, usize)>,
    found: Vec<Diagnostic>,
}

impl Check<'_> {
    /// Notes a mistake; once, where an image that inherits it is looked at again.
    fn wrong(&mut self, span: Range<usize>, message: String, help: impl Into<String>) {
        let variable = self.taken.get(&span.start).copied().map(said_of_variable);
        let message = variable.unwrap_or_default() + &message;
        let diagnostic = Diagnostic::at(self.path, self.text, Some(span), message).help(help);
        if !self.found.contains(&diagnostic) {
            self.found.push(diagnostic);
        }
    }

    /// Where something stands in the recipe.
    fn place(&self, span: Range<usize>) -> Place {
        let position = Diagnostic::at(self.path, self.text, Some(span), "").position;
        Place { position, variable: None }
    }

    fn manifest(&mut self, manifest: &manifest::Manifest) -> Recipe {
        let architecture = self.architecture(&manifest.archive);
        self.vars.insert("arch".to_owned(), architecture.map(str::to_owned));
        self.define(&manifest.vars, &architecture);
        let archive = self.archive(&manifest.archive, &architecture);
        let slots = self.slots(&manifest.slot);
        let images = self.images(manifest, &archive.architecture, &slots);
        Recipe {
            folder: self.folder.to_path_buf(),
            project: self.project(&manifest.project),
            kernel: self.kernel(manifest.kernel.as_ref(), &archive),
            modules: images.modules,
            initrds: images.initrds,
            firmware: images.firmware,
            bases: images.bases,
            overlays: images.overlays,
            sets: images.sets,
            serve: self.serve(&manifest.serve),
            warnings: self.unused_slots(manifest),
            slots,
            archive,
        }
    }
}

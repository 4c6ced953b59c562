//! From what is written to what is meant: every mistake gets its place and its remedy.
//!
//! - [`values`]: one value at a time: names, paths, addresses, words, variables.
//! - [`archive`]: project, main archive, kernel, slots; [`extra`]: extra archives and pins.
//! - [`images`]: bases, overlays, initrds, modules: inheritance; boot sets.
//! - [`provision`]: the steps of an image; [`ansible`]: that of Ansible.
//! - [`serve`]: what `overboot serve` does.

mod ansible;
mod archive;
mod extra;
mod images;
mod provision;
mod serve;
mod values;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use crate::archive::Place;
use crate::diagnostic::Diagnostic;
use crate::manifest;
use crate::near::near;
use crate::recipe::Recipe;

/// Checks the recipe `text` of the file `path`.
pub(crate) fn recipe(text: &str, path: &Path) -> Result<Recipe, Vec<Diagnostic>> {
    let manifest: manifest::Manifest =
        toml::from_str(text).map_err(|error| vec![syntax(text, path, &error)])?;
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let mut check = Check { text, path, folder: &folder, vars: BTreeMap::new(), found: Vec::new() };
    let recipe = check.manifest(&manifest);
    if check.found.is_empty() { Ok(recipe) } else { Err(check.found) }
}

/// TOML's and serde's own complaints, with the near name where a key is unknown.
fn syntax(text: &str, path: &Path, error: &toml::de::Error) -> Diagnostic {
    let message = error.message().trim_end().to_owned();
    let diagnostic = Diagnostic::at(path, text, error.span(), &message);
    let mut words = message.split('`').skip(1).step_by(2);
    if let Some(unknown) = words.next().filter(|_| message.starts_with("unknown field")) {
        let expected: Vec<&str> = words.collect();
        return diagnostic.help(match near(unknown, expected.iter().copied()).first() {
            Some(name) => format!("write `{name}`"),
            None => format!("the keys of this table are: {}", expected.join(", ")),
        });
    }
    diagnostic
}

struct Check<'a> {
    text: &'a str,
    path: &'a Path,
    folder: &'a Path,
    /// The variables that hold where the check is now.
    vars: BTreeMap<String, String>,
    found: Vec<Diagnostic>,
}

impl Check<'_> {
    /// Notes a mistake; once, where an image that inherits it is looked at again.
    fn wrong(&mut self, span: Range<usize>, message: String, help: impl Into<String>) {
        let diagnostic = Diagnostic::at(self.path, self.text, Some(span), message).help(help);
        if !self.found.contains(&diagnostic) {
            self.found.push(diagnostic);
        }
    }

    /// Where something stands in the recipe.
    fn place(&self, span: Range<usize>) -> Place {
        Place(Diagnostic::at(self.path, self.text, Some(span), "").position)
    }

    fn manifest(&mut self, manifest: &manifest::Manifest) -> Recipe {
        let architecture = self.architecture(&manifest.archive);
        self.vars.insert("arch".to_owned(), architecture.to_owned());
        self.define(&manifest.vars, architecture);
        let archive = self.archive(&manifest.archive, architecture);
        let slots = self.slots(&manifest.slot);
        let images = self.images(manifest, &archive.architecture, &slots);
        Recipe {
            folder: self.folder.to_path_buf(),
            project: self.project(&manifest.project),
            kernel: self.kernel(manifest.kernel.as_ref(), &archive),
            modules: images.modules,
            initrds: images.initrds,
            bases: images.bases,
            overlays: images.overlays,
            sets: images.sets,
            serve: self.serve(&manifest.serve),
            slots,
            archive,
        }
    }
}

//! Where in the recipe an error of resolving is to be told.

use overboot_archive::ResolveError;
use overboot_recipe::{Place, Placed};

/// Where the recipe says what a choice of packages was made for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Said<'a> {
    pub(crate) asked: &'a [Placed<String>],
    pub(crate) excluded: &'a [Placed<String>],
    /// Of what needs them all.
    pub(crate) place: Place,
}

impl Said<'_> {
    /// Where the package is named that an error is about.
    pub(crate) fn place_of(&self, error: &ResolveError) -> Place {
        let named = |word: &str, all: &[Placed<String>]| {
            let name = |entry: &str| entry.split([' ', '=']).next().unwrap_or_default().to_owned();
            // A relation says `name (= version)` where the recipe says `name=version`.
            let exact = word.replacen(" (= ", "=", 1);
            let exact = exact.strip_suffix(')').unwrap_or(&exact);
            let found = all.iter().find(|one| one.value == exact);
            let found = found.or_else(|| all.iter().find(|one| name(one) == name(word)));
            found.map(|one| one.place)
        };
        let place = match error {
            ResolveError::Syntax { entry: word, .. }
            | ResolveError::UnknownPackage { name: word, .. }
            | ResolveError::VirtualOnly { name: word, .. }
            | ResolveError::NoSuchVersion { wanted: word, .. } => {
                named(word, self.asked).or_else(|| named(word, self.excluded))
            }
            ResolveError::Excluded { name } => named(name, self.excluded),
            ResolveError::Unsatisfiable { about, .. } => {
                let asked = about.iter().find_map(|word| named(word, self.asked));
                asked.or_else(|| about.iter().find_map(|word| named(word, self.excluded)))
            }
            _ => None,
        };
        place.unwrap_or(self.place)
    }
}

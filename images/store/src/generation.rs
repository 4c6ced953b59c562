//! Generations: what a boot set was each time it was published, and which of them is served.
//!
//! `set/NAME` is what was built last. `generation/NAME/3` is what was published third, and `published/NAME` is whichever of the
//! generations is served. Names in one index: publishing and rolling back are one rename of it, and whoever reads it meanwhile
//! has the old state or the new one.

use crate::layout::{self, Index};
use crate::{Artifact, Error, Store};

const SET: &str = "set/";
const GENERATION: &str = "generation/";
const PUBLISHED: &str = "published/";

/// A boot set as it was when it was published.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation {
    /// The boot set, without `set/`.
    pub set: String,
    /// Counted from 1, for each set by itself. A number is never given twice while a higher one is there.
    pub number: u64,
    /// Is it what nodes get?
    pub served: bool,
}

impl Generation {
    /// Its name in the store.
    #[must_use]
    pub fn target(&self) -> String {
        format!("{GENERATION}{}/{}", self.set, self.number)
    }
}

/// Is `target` a name that publishing gave?
#[must_use]
pub fn is_generation(target: &str) -> bool {
    target.starts_with(GENERATION) || target.starts_with(PUBLISHED)
}

/// The boot set that `target` is, as it was built or published, without `set/`.
#[must_use]
pub fn boot_set(target: &str) -> Option<&str> {
    let published = target.strip_prefix(SET).or_else(|| target.strip_prefix(PUBLISHED));
    published.or_else(|| Some(parse(target)?.0))
}

impl Store {
    /// What nodes get that are to boot the set of that name: the generation that was published, or what was built last where
    /// none ever was. `None` where there is no such set.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn served(&self, set: &str) -> Result<Option<Artifact>, Error> {
        match self.get(&format!("{PUBLISHED}{set}"))? {
            None => self.get(&format!("{SET}{set}")),
            served => Ok(served),
        }
    }

    /// All generations, by set and number.
    ///
    /// # Errors
    /// [`Error::Document`], [`Error::File`].
    pub fn generations(&self) -> Result<Vec<Generation>, Error> {
        Ok(generations(&self.index()?))
    }

    /// The served generations of sets that were built otherwise since.
    ///
    /// # Errors
    /// As [`Store::generations`].
    pub fn unpublished(&self) -> Result<Vec<Generation>, Error> {
        let index = self.index()?;
        let changed = |one: &Generation| {
            let [built, published] =
                [format!("{SET}{}", one.set), one.target()].map(|name| index.find(&name));
            built.zip(published).is_some_and(|(built, published)| built.digest != published.digest)
        };
        Ok(generations(&index).into_iter().filter(|one| one.served && changed(one)).collect())
    }

    /// Publishes these sets as they were built last, all at once. One that is a generation already is served again under its
    /// number.
    ///
    /// # Errors
    /// [`Error::NoGeneration`] for a set that is not there; [`Error::Document`], [`Error::File`], [`Error::DiskFull`].
    pub fn publish_sets(&self, sets: &[String]) -> Result<Vec<Generation>, Error> {
        self.change_index(|index| {
            let mut published = Vec::new();
            for set in sets {
                let built = index.find(&format!("{SET}{set}")).cloned();
                let built = built.ok_or_else(|| Error::NoGeneration {
                    set: set.clone(),
                    reason: "it was not built".to_owned(),
                })?;
                let of_set = || generations(index).into_iter().filter(|known| known.set == *set);
                let same = of_set().find(|known| {
                    index.find(&known.target()).is_some_and(|e| e.digest == built.digest)
                });
                let generation = same.unwrap_or_else(|| Generation {
                    set: set.clone(),
                    number: of_set().map(|known| known.number).max().unwrap_or(0) + 1,
                    served: true,
                });
                index.set(&generation.target(), built.clone());
                index.set(&format!("{PUBLISHED}{set}"), built);
                published.push(Generation { served: true, ..generation });
            }
            Ok(published)
        })
    }

    /// Serves an earlier generation of a set again: that of the number `to`, or the one before what is served.
    ///
    /// # Errors
    /// [`Error::NoGeneration`] where there is none; [`Error::Document`], [`Error::File`], [`Error::DiskFull`].
    pub fn roll_back(&self, set: &str, to: Option<u64>) -> Result<Generation, Error> {
        self.change_index(|index| {
            let of_set: Vec<_> =
                generations(index).into_iter().filter(|known| known.set == set).collect();
            let served = of_set.iter().find(|known| known.served).map_or(0, |known| known.number);
            let wanted = match to {
                Some(number) => of_set.iter().find(|known| known.number == number),
                None => of_set.iter().rfind(|known| known.number < served),
            };
            let Some(wanted) = wanted else {
                let there: Vec<_> = of_set.iter().map(|known| known.number.to_string()).collect();
                let reason = match (there.as_slice(), to) {
                    ([], _) => "it was never published".to_owned(),
                    (there, Some(to)) => {
                        format!("there is no generation {to}, only {}", there.join(", "))
                    }
                    (_, None) => format!("generation {served}, which is served, is the oldest"),
                };
                return Err(Error::NoGeneration { set: set.to_owned(), reason });
            };
            if let Some(entry) = index.find(&wanted.target()).cloned() {
                index.set(&format!("{PUBLISHED}{set}"), entry);
            }
            Ok(Generation { served: true, ..wanted.clone() })
        })
    }

    /// Of each set, the generations that are neither served nor among its newest `keep`.
    ///
    /// # Errors
    /// As [`Store::generations`].
    pub fn old_generations(&self, keep: usize) -> Result<Vec<Generation>, Error> {
        let all = self.generations()?;
        let newer = |one: &Generation| {
            all.iter().filter(|other| other.set == one.set && other.number > one.number).count()
        };
        Ok(all.iter().filter(|one| !one.served && newer(one) >= keep).cloned().collect())
    }
}

fn generations(index: &Index) -> Vec<Generation> {
    let mut found: Vec<_> = index
        .manifests
        .iter()
        .filter_map(|entry| {
            let (set, number) = parse(layout::name(entry)?)?;
            let served = index.find(&format!("{PUBLISHED}{set}"));
            let served = served.is_some_and(|served| served.digest == entry.digest);
            Some(Generation { set: set.to_owned(), number, served })
        })
        .collect();
    found.sort();
    found
}

/// The set and number of `generation/SET/NUMBER`.
fn parse(target: &str) -> Option<(&str, u64)> {
    let (set, number) = target.strip_prefix(GENERATION)?.rsplit_once('/')?;
    let parsed: u64 = number.parse().ok()?;
    // `01` and `1` would be one generation.
    (parsed.to_string() == number).then_some((set, parsed))
}

//! Generations: what a boot set was each time it was published, and which of them is served.
//!
//! `set/NAME` is what was built last. `generation/NAME/3` is what was published third, and `published/NAME` is whichever of the
//! generations is served. Names in one index: publishing and rolling back are one rename of it, and whoever reads it meanwhile
//! has the old state or the new one.

use overboot_digest::Digest;

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

/// What the generation `target` is called while it is served; `None` where it is none.
pub(crate) fn published(target: &str) -> Option<String> {
    Some(format!("{PUBLISHED}{}", parse(target)?.0))
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
        let served = generations(&index).into_iter().filter(|one| one.served);
        let mut changed = Vec::new();
        for generation in served {
            let built = self.content(&index, &format!("{SET}{}", generation.set))?;
            if built.is_some() && built != self.content(&index, &generation.target())? {
                changed.push(generation);
            }
        }
        Ok(changed)
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
                let content = self.content(index, &format!("{SET}{set}"))?;
                let of_set = || generations(index).into_iter().filter(|known| known.set == *set);
                let mut same = None;
                for known in of_set() {
                    if self.content(index, &known.target())? == content {
                        same = Some(known);
                    }
                }
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

    /// The digest of what was signed: a set that was made again has another signature, and is the same.
    fn content(&self, index: &Index, target: &str) -> Result<Option<Digest>, Error> {
        let entry = index.find(target);
        let artifact = entry.map(|entry| self.artifact(target, entry)).transpose()?;
        Ok(artifact.map(|artifact| artifact.layer().digest))
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

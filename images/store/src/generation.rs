//! Generations: what a boot set was each time it was published, and which of them is served.
//!
//! `set/NAME` is what was built last. `generation/NAME/3` is what was published third, and `published/NAME` is whichever of the
//! generations is served. Names in one index: publishing and rolling back are one rename of it, and whoever reads it meanwhile
//! has the old state or the new one.

use overboot_digest::Digest;

use crate::layout::{self, Descriptor, Index, Layer};
use crate::{Artifact, Error, Store};

const SET: &str = "set/";
const GENERATION: &str = "generation/";
const PUBLISHED: &str = "published/";

/// The annotation of `published/NAME` that says which generation it is: two may be the same.
const NUMBER: &str = "vnd.overboot.generation";
/// The annotation of the index that says which number was given last to the set whose name follows: also when that generation, all
/// of them, or the set itself is gone.
const LAST: &str = "vnd.overboot.last-generation.";
/// The annotation of a generation that was rolled back from.
const BAD: &str = "vnd.overboot.bad";

/// A boot set as it was when it was published.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation {
    /// The boot set, without `set/`.
    pub set: String,
    /// Counted from 1, for each set by itself, in the order of publishing. No number is given twice, also where the set was retired
    /// in between.
    pub number: u64,
    /// Is it what nodes get?
    pub served: bool,
    /// Was it rolled back from? Then no rollback leads to it, unless it is named.
    pub bad: bool,
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

/// Is `target` a name that a machine is given a boot set by? Generations it is given only by what is served.
#[must_use]
pub fn is_bootable(target: &str) -> bool {
    target.starts_with(SET) || target.starts_with(PUBLISHED)
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

    /// The served generations of sets that were built otherwise since; not where what was built is what was rolled back.
    ///
    /// # Errors
    /// As [`Store::generations`].
    pub fn unpublished(&self) -> Result<Vec<Generation>, Error> {
        let index = self.index()?;
        let served = generations(&index).into_iter().filter(|one| one.served);
        let mut changed = Vec::new();
        for generation in served {
            let built = self.content(&index, &format!("{SET}{}", generation.set))?;
            if built.is_some()
                && built != self.content(&index, &generation.target())?
                && self.bad_as(&index, &generation.set)?.is_none()
            {
                changed.push(generation);
            }
        }
        Ok(changed)
    }

    /// The generation that was rolled back and is what was built last of the set of that name: to publish that again is to have
    /// nodes boot what was found bad. None where nodes boot it all the same, since somebody has published it again by its name.
    ///
    /// # Errors
    /// As [`Store::generations`].
    pub fn rolled_back(&self, set: &str) -> Result<Option<Generation>, Error> {
        self.bad_as(&self.index()?, set)
    }

    fn bad_as(&self, index: &Index, set: &str) -> Result<Option<Generation>, Error> {
        let Some(built) = self.content(index, &format!("{SET}{set}"))? else { return Ok(None) };
        if self.content(index, &format!("{PUBLISHED}{set}"))? == Some(built) {
            return Ok(None);
        }
        for generation in of_set(index, set).into_iter().filter(|one| one.bad) {
            if self.content(index, &generation.target())? == Some(built) {
                return Ok(Some(generation));
            }
        }
        Ok(None)
    }

    /// Publishes these sets as they were built last, all at once: each as a new generation, but for one that is served as it is
    /// already.
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
                let known = of_set(index, set);
                let mut number = known.last().map_or(0, |newest| newest.number);
                number = number.max(last(index, set)).saturating_add(1);
                if let Some(served) = known.iter().find(|one| one.served)
                    && self.content(index, &served.target())? == content
                {
                    number = served.number;
                }
                let set = set.clone();
                let generation = Generation { set, number, served: true, bad: false };
                index.set(&generation.target(), built);
                let given = last(index, &generation.set).max(number);
                index.annotations.insert(format!("{LAST}{}", generation.set), given.to_string());
                serve(index, &generation);
                published.push(generation);
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

    /// Is all there that machines fetch of a set: itself and its signature, and the image of each part? What else is kept of them
    /// (what is in them, how they were made) hinders no rollback, in whose hour it is of no use; [`Store::verify`] names it.
    fn is_bootable(&self, set: &Artifact) -> Result<(), Error> {
        let own = set.manifest.layers.iter().filter(|layer| layer.media_type != layout::PART);
        let mut fetched: Vec<Descriptor> = own.take(2).map(Layer::descriptor).collect();
        fetched.extend(self.parts(set)?.iter().map(|part| part.layer().descriptor()));
        self.are_there(set, fetched)
    }

    /// Serves an earlier generation of a set again: that of the number `to`, or the last one published before what is served and
    /// not rolled back from itself. What is gone back from is bad from then on, and what is served is not.
    ///
    /// # Errors
    /// [`Error::NoGeneration`] where there is none; [`Error::Blob`] where machines would miss content of it; [`Error::Document`],
    /// [`Error::File`], [`Error::DiskFull`].
    pub fn roll_back(&self, set: &str, to: Option<u64>) -> Result<Generation, Error> {
        self.change_index(|index| {
            let known = of_set(index, set);
            let served = known.iter().find(|one| one.served);
            let before = |one: &&Generation| served.is_some_and(|now| one.number < now.number);
            let wanted = match to {
                Some(number) => known.iter().find(|one| one.number == number),
                None => known.iter().rfind(|one| before(one) && !one.bad),
            };
            let Some(wanted) = wanted else {
                let numbers = |list: Vec<&Generation>| {
                    let list: Vec<_> = list.iter().map(|one| one.number.to_string()).collect();
                    list.join(", ")
                };
                let earlier: Vec<_> = known.iter().filter(before).collect();
                let reason = match (to, served) {
                    _ if known.is_empty() => "it was never published".to_owned(),
                    (Some(to), _) => format!(
                        "there is no generation {to}, only {}",
                        numbers(known.iter().collect())
                    ),
                    (None, None) => format!(
                        "none of its generations is served, to go back from: {}; --to serves one of them",
                        numbers(known.iter().collect())
                    ),
                    (None, Some(Generation { number: now, .. })) if earlier.is_empty() => {
                        format!("generation {now}, which is served, is the oldest")
                    }
                    (None, Some(Generation { number: now, .. })) => format!(
                        "all generations before {now}, which is served, were rolled back: {}; --to serves one of them all the same",
                        numbers(earlier)
                    ),
                };
                return Err(Error::NoGeneration { set: set.to_owned(), reason });
            };
            let target = wanted.target();
            if let Some(artifact) = index.find(&target).map(|entry| self.artifact(&target, entry)) {
                self.is_bootable(&artifact?)?;
            }
            if let Some(left) = served.filter(|now| wanted.number < now.number) {
                mark(index, &left.target(), true);
            }
            mark(index, &wanted.target(), false);
            let wanted = Generation { served: true, bad: false, ..wanted.clone() };
            serve(index, &wanted);
            Ok(wanted)
        })
    }

    /// Takes all generations of a set away, and with `built` what was built last, too: then nodes get it no more. What it was made
    /// of goes when it is collected. Returns the generations.
    ///
    /// # Errors
    /// [`Error::NoGeneration`] where it was never published; [`Error::Document`], [`Error::File`], [`Error::DiskFull`].
    pub fn retire(&self, set: &str, built: bool) -> Result<Vec<Generation>, Error> {
        self.change_index(|index| {
            let known = of_set(index, set);
            if known.is_empty() {
                let reason = "it was never published".to_owned();
                return Err(Error::NoGeneration { set: set.to_owned(), reason });
            }
            // What is served first: nothing else keeps the others from being forgotten.
            index.remove(&format!("{PUBLISHED}{set}"));
            for generation in &known {
                index.remove(&generation.target());
            }
            if built {
                index.remove(&format!("{SET}{set}"));
            }
            Ok(known)
        })
    }

    /// Of each set, the generations that are not served and that `keep` newer ones could be rolled back to instead. Those that
    /// were rolled back from do not count, and stay as long as what they were rolled back to.
    ///
    /// # Errors
    /// As [`Store::generations`].
    pub fn old_generations(&self, keep: usize) -> Result<Vec<Generation>, Error> {
        let all = self.generations()?;
        let newer = |one: &Generation| {
            let newer = |other: &&Generation| other.set == one.set && other.number > one.number;
            all.iter().filter(newer).filter(|other| !other.bad).count()
        };
        Ok(all.iter().filter(|one| !one.served && newer(one) >= keep).cloned().collect())
    }
}

/// Has nodes get that generation, which is in the index.
fn serve(index: &mut Index, generation: &Generation) {
    let Some(mut entry) = index.find(&generation.target()).cloned() else { return };
    entry.annotations.remove(BAD);
    let entry = entry.annotated(NUMBER, &generation.number.to_string());
    index.set(&format!("{PUBLISHED}{}", generation.set), entry);
}

/// Notes that a generation is bad, or no more.
fn mark(index: &mut Index, target: &str, bad: bool) {
    let Some(mut entry) = index.find(target).cloned() else { return };
    entry.annotations.remove(BAD);
    let entry = if bad { entry.annotated(BAD, "rolled back") } else { entry };
    index.set(target, entry);
}

/// The number that stands beside what is served of a set.
fn served_number(index: &Index, set: &str) -> Option<u64> {
    let served = index.find(&format!("{PUBLISHED}{set}"))?;
    served.annotations.get(NUMBER)?.parse().ok()
}

/// The number that was given last to a generation of a set; 0 where none ever was.
fn last(index: &Index, set: &str) -> u64 {
    let last = index.annotations.get(&format!("{LAST}{set}"));
    last.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn of_set(index: &Index, set: &str) -> Vec<Generation> {
    generations(index).into_iter().filter(|known| known.set == set).collect()
}

/// All generations, by set and number.
pub(crate) fn generations(index: &Index) -> Vec<Generation> {
    let mut found: Vec<_> = index
        .manifests
        .iter()
        .filter_map(|entry| {
            let (set, number) = parse(layout::name(entry)?)?;
            let served = served_number(index, set).map_or_else(
                // Somebody has named it without a number.
                || {
                    index
                        .find(&format!("{PUBLISHED}{set}"))
                        .is_some_and(|it| it.digest == entry.digest)
                },
                |served| served == number,
            );
            let bad = entry.annotations.contains_key(BAD);
            Some(Generation { set: set.to_owned(), number, served, bad })
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

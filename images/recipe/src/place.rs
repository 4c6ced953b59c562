//! Where the recipe says something.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::path::Path;

use serde::{Serialize, Serializer};

/// A place in the recipe, where one is known: what is not written there has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// Line and column, counted from 1.
    pub(crate) position: Option<(usize, usize)>,
    /// Where the variable is set whose value is taken there: what is wrong may be wrong in either.
    pub(crate) variable: Option<(usize, usize)>,
}

impl Place {
    /// This place, or where it is not known, that one.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self.position.is_some() { self } else { other }
    }

    /// How an error in `file` begins: `overboot.toml:81:3: `; with nothing where the place is not known.
    pub(crate) fn prefix(self, file: &Path) -> String {
        let Some((line, column)) = self.position else { return String::new() };
        let variable = self.variable.map(said_of_variable).unwrap_or_default();
        format!("{}:{line}:{column}: {variable}", file.display())
    }
}

/// What is said at the use of a variable of the place where it is set.
pub(crate) fn said_of_variable((line, column): (usize, usize)) -> String {
    format!("(the variable is set at {line}:{column}) ")
}

/// Something that the recipe says, and where.
///
/// It is used as what it says. Two that say the same are equal wherever they stand, and it is serialized without its place: an
/// image is not another one since a line was put before it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Placed<T> {
    /// What is said.
    pub value: T,
    /// Where.
    pub place: Place,
}

impl<T> Placed<T> {
    /// What `change` makes of it, at the same place.
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Placed<U> {
        Placed { value: change(self.value), place: self.place }
    }
}

impl<T: Clone> Placed<T> {
    /// What several say, without their places.
    #[must_use]
    pub fn values(all: &[Self]) -> Vec<T> {
        all.iter().map(|one| one.value.clone()).collect()
    }
}

/// What is not written in the recipe.
impl<T> From<T> for Placed<T> {
    fn from(value: T) -> Self {
        Self { value, place: Place::default() }
    }
}

impl<T> Deref for Placed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: AsRef<U>, U: ?Sized> AsRef<U> for Placed<T> {
    fn as_ref(&self) -> &U {
        self.value.as_ref()
    }
}

impl Borrow<str> for Placed<String> {
    fn borrow(&self) -> &str {
        &self.value
    }
}

impl<T: fmt::Display> fmt::Display for Placed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: PartialEq> PartialEq for Placed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Placed<T> {}

impl PartialEq<&str> for Placed<String> {
    fn eq(&self, other: &&str) -> bool {
        self.value == *other
    }
}

impl<T: PartialOrd> PartialOrd for Placed<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

impl<T: Ord> Ord for Placed<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.value.cmp(&other.value)
    }
}

impl<T: Hash> Hash for Placed<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value.hash(state);
    }
}

impl<T: Serialize> Serialize for Placed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

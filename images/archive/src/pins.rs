//! Which version of a package is preferred: the records of `apt_preferences(5)`, with apt's own meaning.
//!
//! A record with names (the *specific* form) is about each version that fits it, wherever that is listed; of several such
//! records the first one counts. A record for `*` (the *general* form) is about a source, and so about all its packages that no
//! specific record names. The candidate is the newest version of the highest priority: see [`crate::Universe::candidate`].

use crate::Source;
use crate::universe::Package;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Names, with `*` and `?`; `*` by itself is the general form.
    pub packages: Vec<String>,
    /// Which of their versions.
    pub which: Which,
    /// Their priority, never 0.
    pub priority: i32,
}

/// Which versions a record is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All of them (`Pin: release *`).
    All,
    /// Those that one of these sources lists.
    From(Vec<Source>),
    /// This one; with `*` at its end, those that begin so.
    Version(String),
}

impl Pin {
    fn is_general(&self) -> bool {
        self.packages == ["*"]
    }

    /// Is it about packages of this source?
    fn is_from(&self, source: &Source) -> bool {
        match &self.which {
            Which::All => true,
            Which::From(sources) => sources.contains(source),
            Which::Version(_) => false,
        }
    }

    /// Is it about this version of its packages?
    fn fits(&self, package: &Package) -> bool {
        match &self.which {
            Which::Version(wanted) => {
                let version = package.version.as_str();
                match wanted.strip_suffix('*') {
                    Some(beginning) => {
                        let there = version.get(..beginning.len());
                        there.is_some_and(|there| there.eq_ignore_ascii_case(beginning))
                    }
                    None => version.eq_ignore_ascii_case(wanted),
                }
            }
            Which::All | Which::From(_) => self.is_from(&package.origin.source),
        }
    }
}

/// All records, and which of their names have been met.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    pins: Vec<Pin>,
    met: Vec<Vec<bool>>,
}

impl Pins {
    pub(crate) fn new(pins: Vec<Pin>) -> Self {
        let met = pins.iter().map(|pin| vec![false; pin.packages.len()]).collect();
        Self { pins, met }
    }

    /// What the first general record for this source says.
    pub(crate) fn of_source(&mut self, source: &Source) -> Option<i32> {
        let mut found = None;
        for (pin, met) in self.pins.iter().zip(&mut self.met) {
            if pin.is_general() && pin.is_from(source) {
                met.fill(true);
                found = found.or(Some(pin.priority));
            }
        }
        found
    }

    /// The first specific record for this package, which may have been seen elsewhere and then has one already: its number
    /// and priority.
    pub(crate) fn first(
        &mut self,
        before: Option<(usize, i32)>,
        package: &Package,
    ) -> Option<(usize, i32)> {
        let mut first = before;
        for (number, pin) in self.pins.iter().enumerate().filter(|(_, pin)| !pin.is_general()) {
            let mut named = false;
            for (name, met) in pin.packages.iter().zip(&mut self.met[number]) {
                if matches(name, &package.name) && pin.fits(package) {
                    (named, *met) = (true, true);
                }
            }
            if named && first.is_none_or(|(first, _)| number < first) {
                first = Some((number, pin.priority));
            }
        }
        first
    }

    /// The names that have not been met.
    pub(crate) fn idle(&self) -> Vec<(usize, usize)> {
        let of = |(number, met): (usize, &Vec<bool>)| {
            let idle = met.iter().enumerate().filter(|(_, met)| !**met);
            idle.map(|(name, _)| (number, name)).collect::<Vec<_>>()
        };
        self.met.iter().enumerate().flat_map(of).collect()
    }
}

/// Does `name` fit `pattern`, in which `*` stands for any letters and `?` for any one (fnmatch(3))?
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    // Where the last `*` is, and up to where it reaches so far.
    let (mut at, mut from, mut star) = (0, 0, None);
    while from < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(letter) if *letter == b'?' || *letter == name[from] => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((star_at, reached)) => {
                    star = Some((star_at, reached + 1));
                    (at, from) = (star_at + 1, reached + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_fnmatch() {
        for (pattern, name, fits) in [
            ("nginx", "nginx", true),
            ("nginx", "nginx-core", false),
            ("nginx*", "nginx", true),
            ("lib*-dev", "libssl-dev", true),
            ("lib*-dev", "libssl-doc", false),
            ("*", "", true),
            ("?", "", false),
            ("p?rl*5", "perl-5-5", true),
            ("a*b*c", "abbcbc", true),
            ("a*b*c", "acb", false),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}

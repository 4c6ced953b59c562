//! Two overlays that cannot stand on one base together: each was made without knowing of the other, and both gave away the
//! same number.

use std::collections::BTreeMap;

use crate::changes::Changes;

/// A number that stands for two names, or a name that has two numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// `user` or `group`.
    pub kind: &'static str,
    /// The one, with its overlay, name and number.
    pub one: (String, String, u32),
    /// The other.
    pub other: (String, String, u32),
}

/// The first clash of users or groups among overlays, given by name with what each says.
#[must_use]
pub fn clash<'a>(overlays: impl Iterator<Item = (&'a str, &'a Changes)> + Clone) -> Option<Clash> {
    for (kind, path) in [("user", "etc/passwd"), ("group", "etc/group")] {
        let mut by_number: BTreeMap<u32, (String, String, u32)> = BTreeMap::new();
        let mut by_name: BTreeMap<String, (String, String, u32)> = BTreeMap::new();
        for (overlay, changes) in overlays.clone() {
            let Some(delta) = changes.databases.get(path) else { continue };
            for (name, record) in &delta.put {
                let Some(number) = record.split(':').nth(2).and_then(|text| text.parse().ok())
                else {
                    continue;
                };
                let this = (overlay.to_owned(), name.clone(), number);
                let same_number = by_number.get(&number).filter(|(_, known, _)| known != name);
                let same_name = by_name.get(name).filter(|(_, _, known)| *known != number);
                if let Some(one) = same_number.or(same_name) {
                    return Some(Clash { kind, one: one.clone(), other: this });
                }
                by_number.insert(number, this.clone());
                by_name.insert(name.clone(), this);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::Delta;

    fn adding(path: &str, name: &str, number: u32) -> Changes {
        let put = [(name.to_owned(), format!("{name}:x:{number}:"))].into();
        let databases = [(path.to_owned(), Delta { put, ..Delta::default() })].into();
        Changes { databases, ..Changes::none() }
    }

    #[test]
    fn a_number_has_one_name_and_a_name_one_number() {
        let clash_of = |one: Changes, two: Changes| clash([("a", &one), ("b", &two)].into_iter());
        let passwd = |name: &str, number| adding("etc/passwd", name, number);
        assert_eq!(clash_of(passwd("x", 101), passwd("y", 102)), None);
        assert_eq!(clash_of(passwd("x", 101), passwd("x", 101)), None);
        assert_eq!(clash_of(passwd("x", 101), adding("etc/group", "y", 101)), None);
        let found = clash_of(passwd("x", 101), passwd("y", 101)).unwrap();
        assert_eq!((found.kind, found.one.1.as_str(), found.other.1.as_str()), ("user", "x", "y"));
        assert!(clash_of(passwd("x", 101), passwd("x", 102)).is_some());
    }
}

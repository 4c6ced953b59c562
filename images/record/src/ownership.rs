//! Which package a path belongs to.
//!
//! dpkg's lists name paths as packages have them: through links of merged /usr (`/bin/sh` lies in `/usr/bin`), and where
//! they would be without diversions. Here a path is where it lies.

use std::collections::HashMap;

use crate::{Diversion, File, Kind};

/// More links than this in one path go in a circle (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Who owns what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ownership {
    /// Symbolic links by path: one that leads to a folder is part of other paths.
    links: HashMap<String, String>,
    diversions: HashMap<String, Diversion>,
    /// From where a diverted file lies to where it would be.
    diverted: HashMap<String, String>,
    owners: HashMap<String, String>,
}

impl Ownership {
    /// Nobody owns anything; `files` are those whose links count, lowest layer first.
    #[must_use]
    pub fn among<'f>(files: impl IntoIterator<Item = &'f File>) -> Self {
        let mut links = HashMap::new();
        for file in files {
            match &file.kind {
                Kind::Symlink(target) => {
                    links.insert(file.path.clone(), target.clone());
                }
                _ => {
                    links.remove(&file.path);
                }
            }
        }
        Self { links, ..Self::default() }
    }

    /// Minds these diversions.
    #[must_use]
    pub fn diverted_by(mut self, diversions: &[Diversion]) -> Self {
        for diversion in diversions {
            let (from, to) = (self.place(&diversion.from), self.place(&diversion.to));
            self.diverted.insert(to.clone(), from.clone());
            self.diversions.insert(from, Diversion { to, ..diversion.clone() });
        }
        self
    }

    /// Notes that `package` has the file at `path` in its list.
    pub fn claim(&mut self, package: &str, path: &str) {
        let place = self.place(path);
        let place = match self.diversions.get(&place) {
            Some(diversion) if diversion.by.as_deref() != Some(package) => diversion.to.clone(),
            _ => place,
        };
        self.owners.insert(place, package.to_owned());
    }

    /// Notes who owns what lies at `place`, a path that is known to be one.
    pub(crate) fn keep(&mut self, place: &str, package: &str) {
        self.owners.insert(place.to_owned(), package.to_owned());
    }

    /// Whose file lies at `place`.
    #[must_use]
    pub fn owner(&self, place: &str) -> Option<&str> {
        // What a layer above has diverted was its owner's at the place where it was before.
        let before = || self.owners.get(self.diverted.get(place)?);
        self.owners.get(place).or_else(before).map(String::as_str)
    }

    /// Where the path `path` lies: without a leading `/`, all folders on the way looked up.
    #[must_use]
    pub fn place(&self, path: &str) -> String {
        let mut left: Vec<&str> = path.split('/').rev().collect();
        let mut place = String::new();
        let mut links = 0;
        while let Some(part) = left.pop() {
            match part {
                "" | "." => continue,
                ".." => {
                    place.truncate(place.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let above = place.len();
            if !place.is_empty() {
                place.push('/');
            }
            place.push_str(part);
            let more = left.iter().any(|part| !matches!(*part, "" | "."));
            if let (true, Some(target)) = (more && links < MOST_LINKS, self.links.get(&place)) {
                links += 1;
                place.truncate(if target.starts_with('/') { 0 } else { above });
                left.extend(target.split('/').rev());
            }
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(path: &str, target: &str) -> File {
        File {
            path: path.to_owned(),
            kind: Kind::Symlink(target.to_owned()),
            mode: 0o777,
            uid: 0,
            gid: 0,
            package: None,
            xattrs: Default::default(),
        }
    }

    fn divert(from: &str, to: &str, by: &str) -> Diversion {
        Diversion { from: from.into(), to: to.into(), by: Some(by.into()) }
    }

    #[test]
    fn paths_lead_to_where_the_file_lies() {
        let files = [
            link("bin", "usr/bin"),
            link("usr/share/doc/libx", "../doc/x"),
            link("var/run", "/run"),
            link("a", "b"),
            link("b", "a"),
        ];
        let ownership = Ownership::among(&files);
        for (path, place) in [
            ("/bin/sh", "usr/bin/sh"),
            ("/bin", "bin"),
            ("/.", ""),
            ("/usr/share/doc/libx/copyright", "usr/share/doc/x/copyright"),
            ("/var/run/lock", "run/lock"),
            ("/../etc//passwd", "etc/passwd"),
        ] {
            assert_eq!(ownership.place(path), place, "{path}");
        }
        let _ends = ownership.place("/a/x");
    }

    #[test]
    fn owners_are_found_behind_links_and_diversions() {
        let files = [link("bin", "usr/bin")];
        let mut ownership =
            Ownership::among(&files).diverted_by(&[divert("bin/sh", "bin/sh.distrib", "other")]);
        ownership.claim("dash", "/bin/sh");
        ownership.claim("other", "/usr/bin/sh");
        ownership.claim("dash", "/bin/dash");
        assert_eq!(ownership.owner("usr/bin/sh.distrib"), Some("dash"));
        assert_eq!(ownership.owner("usr/bin/sh"), Some("other"));
        assert_eq!(ownership.owner("usr/bin/dash"), Some("dash"));
        assert_eq!(ownership.owner("bin/dash"), None, "nothing lies there");
    }

    #[test]
    fn what_an_overlay_diverts_stays_its_owners() {
        let mut ownership =
            Ownership::default().diverted_by(&[divert("etc/x", "etc/x.old", "new")]);
        ownership.keep("etc/x", "old");
        assert_eq!(ownership.owner("etc/x.old"), Some("old"));
        ownership.claim("new", "/etc/x");
        assert_eq!(ownership.owner("etc/x"), Some("new"));
    }
}

//! `triggers/`: who waits for which path or name, and what has been set off (deb-triggers(5), dpkg's `triggers.txt`).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::FOLDER;
use crate::error::Error;
use crate::root::Root;

/// The tree's interests, and the triggers that this run of unpacking activates.
#[derive(Debug, Default)]
pub(crate) struct Triggers {
    /// Lines of `File` after the path: `package` or `package/noawait`.
    files: BTreeMap<String, BTreeSet<String>>,
    named: BTreeMap<String, BTreeSet<String>>,
    activated: BTreeSet<String>,
    /// Paths that were asked before: whether an interest covers them.
    seen: HashMap<String, bool>,
}

impl Triggers {
    /// Those of the tree.
    pub(crate) fn of(root: &Root) -> Result<Self, Error> {
        let folder = format!("{FOLDER}/triggers");
        let mut triggers = Self::default();
        for line in root.read_text(format!("{folder}/File"))?.unwrap_or_default().lines() {
            if let Some((path, who)) = line.rsplit_once(' ') {
                triggers.files.entry(path.to_owned()).or_default().insert(who.to_owned());
            }
        }
        for name in root.names(&folder)? {
            let Some(name) =
                name.to_str().filter(|name| !matches!(*name, "File" | "Unincorp" | "Lock"))
            else {
                continue;
            };
            let text = root.read_text(format!("{folder}/{name}"))?.unwrap_or_default();
            triggers.named.insert(name.to_owned(), text.lines().map(str::to_owned).collect());
        }
        Ok(triggers)
    }

    /// Takes in the `triggers` control file of a package that is being unpacked; `package` as `info/` names it.
    pub(crate) fn declare(&mut self, package: &str, text: &str) -> Result<(), Error> {
        for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
            let mut words = line.split_whitespace();
            let (Some(directive), Some(name)) = (words.next(), words.next()) else { continue };
            let fine = !name.contains("..") && (name.starts_with('/') || !name.contains('/'));
            match directive {
                _ if !fine => {
                    return Err(Error::Entry {
                        package: package.to_owned(),
                        path: "triggers".to_owned(),
                        why: format!("names the trigger {name:?}, which is no name and no path"),
                    });
                }
                "interest" | "interest-await" => self.interest(name, package.to_owned()),
                "interest-noawait" => self.interest(name, format!("{package}/noawait")),
                "activate" | "activate-await" | "activate-noawait" => {
                    self.activated.insert(name.to_owned());
                }
                // A directive of a later dpkg; the tree's own dpkg will say so when it is configured.
                _ => {}
            }
        }
        Ok(())
    }

    fn interest(&mut self, name: &str, who: String) {
        let table = if name.starts_with('/') { &mut self.files } else { &mut self.named };
        table.entry(name.to_owned()).or_default().insert(who);
        self.seen.clear();
    }

    /// A package has put something at `path` (with a leading `/`): whoever waits for it, or for a folder above it, is due.
    pub(crate) fn touch(&mut self, path: &str) {
        if self.covered(path) {
            let above = std::iter::successors(Some(path), |path| {
                path.rsplit_once('/').map(|(above, _)| above).filter(|above| !above.is_empty())
            });
            let due: Vec<String> =
                above.filter(|path| self.files.contains_key(*path)).map(str::to_owned).collect();
            self.activated.extend(due);
        }
    }

    /// Does an interest cover the path? Remembered by folder, since files come folder by folder.
    fn covered(&mut self, path: &str) -> bool {
        if self.files.contains_key(path) {
            return true;
        }
        let Some((folder, _)) = path.rsplit_once('/').filter(|(folder, _)| !folder.is_empty())
        else {
            return false;
        };
        if let Some(known) = self.seen.get(folder) {
            return *known;
        }
        let covered = self.covered(folder);
        self.seen.insert(folder.to_owned(), covered);
        covered
    }

    /// Writes the interests, and what was set off where dpkg will find it at its next run (`Unincorp`).
    pub(crate) fn save(&self, root: &Root) -> Result<(), Error> {
        let folder = format!("{FOLDER}/triggers");
        let lines = |(path, who): (&String, &BTreeSet<String>)| {
            who.iter().map(|who| format!("{path} {who}\n")).collect::<String>()
        };
        let files: String = self.files.iter().map(lines).collect();
        if !files.is_empty() {
            root.write(format!("{folder}/File"), 0o644, files.as_bytes())?;
        }
        for (name, who) in &self.named {
            let text: String = who.iter().map(|who| format!("{who}\n")).collect();
            root.write(format!("{folder}/{name}"), 0o644, text.as_bytes())?;
        }
        let path = format!("{folder}/Unincorp");
        let known = root.read_text(&path)?.unwrap_or_default();
        let known = known.lines().filter_map(|line| line.split_whitespace().next());
        let all: BTreeSet<&str> = known.chain(self.activated.iter().map(String::as_str)).collect();
        // `-`: nobody waits for it. Whoever is only unpacked is configured in the same run anyway.
        let text: String = all.iter().map(|name| format!("{name} -\n")).collect();
        root.write(path, 0o644, text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_sets_off_interests_in_it_and_above() {
        let mut triggers = Triggers::default();
        triggers.declare("man-db", "interest-noawait /usr/share/man\n").unwrap();
        triggers.declare("libc-bin", "interest-noawait ldconfig # note\n").unwrap();
        triggers.declare("libx1", "activate-noawait ldconfig\n").unwrap();
        triggers.touch("/usr/share/doc/x");
        assert_eq!(triggers.activated, ["ldconfig".to_owned()].into());
        triggers.touch("/usr/share/man/man1/x.1");
        assert!(triggers.activated.contains("/usr/share/man"));
        assert!(triggers.declare("evil", "interest ../../x\n").is_err());
    }
}

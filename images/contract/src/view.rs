//! A base with an overlay on it, as a node sees the two.

use crate::elf::Library;
use crate::facts::{Base, Overlay};
use crate::look::{Kind, Look};

/// Where the loader looks when neither the program nor `ld.so.conf` names another place (ld.so(8), and Debian's own places).
const LIBRARY_FOLDERS: [&str; 7] = [
    "lib",
    "usr/lib",
    "lib64",
    "usr/lib64",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib/i386-linux-gnu",
];

/// What `env` searches where nothing else is said.
const PROGRAM_FOLDERS: [&str; 6] =
    ["usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin"];

/// How many links may lead on to links (the kernel's limit, path_resolution(7)).
const LINKS: usize = 40;

/// The two together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) base: &'a Base,
    pub(crate) overlay: &'a Overlay,
}

impl<'a> View<'a> {
    /// What stands at a path, itself when it is a link.
    pub(crate) fn look(self, path: &str) -> Option<&'a Look> {
        if let Some(placed) = self.overlay.files.get(path) {
            return Some(&placed.look);
        }
        let hidden = self.overlay.walls.contains(path)
            || above(path).any(|above| self.overlay.walls.contains(above));
        if hidden { None } else { self.base.files.get(path) }
    }

    /// Where a path leads in the end, if there is something.
    pub(crate) fn resolve(self, path: &str) -> Option<String> {
        let mut ahead: Vec<&str> = path.split('/').rev().collect();
        let mut here = String::new();
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            match name {
                "" | "." => continue,
                ".." => {
                    here.truncate(here.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let next = if here.is_empty() { name.to_owned() } else { format!("{here}/{name}") };
            match &self.look(&next)?.kind {
                Kind::Link(target) => {
                    links += 1;
                    if links > LINKS {
                        return None;
                    }
                    if target.starts_with('/') {
                        here.clear();
                    }
                    ahead.extend(target.split('/').rev());
                }
                _ => here = next,
            }
        }
        Some(here)
    }

    /// The library that the loader takes for `name`, asked for by the program at `path`, which looks in `folders` first.
    pub(crate) fn library(
        self,
        name: &str,
        machine: u32,
        path: &str,
        folders: &[String],
    ) -> Option<&'a Library> {
        let fits = |path: &str| self.library_at(path).filter(|found| found.machine == machine);
        if name.contains('/') {
            return fits(name);
        }
        let origin = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let own = folders.iter().map(|folder| {
            folder.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", &format!("/{origin}"))
        });
        let configured = self.base.library_folders.iter().chain(&self.overlay.library_folders);
        let usual = LIBRARY_FOLDERS.iter().map(|folder| (*folder).to_owned());
        let folders = own.chain(configured.cloned()).chain(usual);
        folders.into_iter().find_map(|folder| fits(&format!("{folder}/{name}")))
    }

    fn library_at(self, path: &str) -> Option<&'a Library> {
        let path = self.resolve(path)?;
        if self.overlay.files.contains_key(&path) {
            self.overlay.libraries.get(&path)
        } else {
            self.base.libraries.get(&path)
        }
    }

    /// Can a script be run by `interpreter`: is there such a program? A bare name is looked for as `env` does.
    pub(crate) fn runs(self, interpreter: &str) -> bool {
        if interpreter.contains('/') {
            return self.resolve(interpreter).is_some();
        }
        let places = PROGRAM_FOLDERS.iter().map(|folder| format!("{folder}/{interpreter}"));
        places.into_iter().any(|path| self.resolve(&path).is_some())
    }
}

/// The folders above a path, the nearest first.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').map(|(at, _)| &path[..at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::tests::{base, deleted, file, folder, link, overlay};

    #[test]
    fn paths_lead_where_they_would_lead_on_the_node() {
        let base = base(&[
            folder("usr/bin"),
            file("usr/bin/dash", "x"),
            link("usr/bin/sh", "dash"),
            link("bin", "usr/bin"),
            link("loop", "loop"),
            link("out", "../../../../usr"),
            folder("etc/gone"),
            file("etc/gone/inside", "x"),
        ]);
        let overlay = overlay(&base, &[file("usr/bin/new", "y"), deleted("etc/gone")]);
        let view = View { base: &base, overlay: &overlay };
        for (path, leads) in [
            ("/bin/sh", Some("usr/bin/dash")),
            ("bin/new", Some("usr/bin/new")),
            ("/out/bin/../bin//dash", Some("usr/bin/dash")),
            ("loop", None),
            ("etc/gone/inside", None),
            ("etc/gone", None),
            ("bin/nothing", None),
            ("/", Some("")),
        ] {
            assert_eq!(view.resolve(path).as_deref(), leads, "{path}");
        }
        assert!(view.runs("/bin/sh") && view.runs("new") && !view.runs("python3"));
    }
}

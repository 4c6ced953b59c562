//! What the entries of an image say, each read once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, copy};

use overboot_digest::{Digest, Hasher};
use overboot_squashfs::{Entry, Kind as EntryKind, Source};

use super::Error;
use crate::elf::{self, Elf};
use crate::look::{Kind, Look, attributes};

/// The attribute that makes a folder opaque (Documentation/filesystems/overlayfs.rst).
const OPAQUE: &[u8] = b"trusted.overlay.opaque";
/// Files whose text is looked at, besides those of `ld.so.conf`.
const TEXTS: [&str; 3] = ["etc/group", "etc/passwd", "var/lib/dpkg/status"];
/// The largest program or text that is looked into.
const LARGEST: u64 = 256 << 20;
/// What the kernel reads of a script's first line (execve(2)).
const FIRST_LINE: u64 = 256;

#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) looks: BTreeMap<String, Look>,
    pub(super) elves: BTreeMap<String, Elf>,
    pub(super) scripts: BTreeMap<String, String>,
    pub(super) texts: BTreeMap<String, String>,
    /// Whiteouts.
    pub(super) deleted: BTreeSet<String>,
    /// Folders that hide what is beneath them in the base.
    pub(super) opaque: BTreeSet<String>,
}

impl Collected {
    /// Reads `entries`, sorted by path; also the text of `more`.
    pub(super) fn of(entries: &[Entry], more: &[String]) -> Result<Self, Error> {
        let mut found = Self::default();
        for entry in entries {
            let path = text(&entry.path);
            let failed = |source| Error::Read { path: path.clone(), source };
            found.add(&path, entry, more).map_err(failed)?;
        }
        Ok(found)
    }

    fn add(&mut self, path: &str, entry: &Entry, more: &[String]) -> io::Result<()> {
        let device =
            |kind: char, (major, minor): (u32, u32)| Kind::Other(format!("{kind} {major}:{minor}"));
        let mut mode = entry.mode & 0o7777;
        let kind = match &entry.kind {
            EntryKind::Directory => {
                if entry.xattrs.iter().any(|(name, _)| name == OPAQUE) {
                    self.opaque.insert(path.to_owned());
                }
                Kind::Folder
            }
            EntryKind::File(source) => {
                let wanted = TEXTS.contains(&path)
                    || more.iter().any(|more| more == path)
                    || is_loader_configuration(path);
                Kind::File(self.file(path, source.as_ref(), mode & 0o111 != 0, wanted)?)
            }
            EntryKind::Symlink(target) => {
                mode = 0;
                Kind::Link(text(target))
            }
            EntryKind::CharDevice(0, 0) => {
                self.deleted.insert(path.to_owned());
                return Ok(());
            }
            EntryKind::CharDevice(major, minor) => device('c', (*major, *minor)),
            EntryKind::BlockDevice(major, minor) => device('b', (*major, *minor)),
            EntryKind::Fifo => Kind::Other("pipe".to_owned()),
            EntryKind::Socket => Kind::Other("socket".to_owned()),
            EntryKind::HardLink(first) => {
                self.again(path, &text(first));
                return Ok(());
            }
        };
        let attributes = attributes(entry.xattrs.iter().filter(|(name, _)| name != OPAQUE));
        let look = Look { kind, mode, owner: (entry.uid, entry.gid), attributes };
        self.looks.insert(path.to_owned(), look);
        Ok(())
    }

    fn file(
        &mut self,
        path: &str,
        source: &dyn Source,
        executable: bool,
        wanted: bool,
    ) -> io::Result<Digest> {
        let mut file = source.open()?;
        let mut bytes = Vec::new();
        (&mut file).take(FIRST_LINE).read_to_end(&mut bytes)?;
        let elf = bytes.starts_with(elf::MAGIC);
        if elf || wanted {
            (&mut file).take(LARGEST).read_to_end(&mut bytes)?;
        }
        if elf && let Some(elf) = elf::read(&bytes) {
            self.elves.insert(path.to_owned(), elf);
        }
        if executable && let Some(interpreter) = interpreter(&bytes) {
            self.scripts.insert(path.to_owned(), interpreter);
        }
        let mut hasher = Hasher::new();
        hasher.update(&bytes);
        copy(&mut file, &mut hasher)?;
        if wanted {
            self.texts.insert(path.to_owned(), String::from_utf8_lossy(&bytes).into_owned());
        }
        Ok(hasher.finish())
    }

    /// Another name of a file.
    fn again(&mut self, path: &str, first: &str) {
        fn copy<T: Clone>(map: &mut BTreeMap<String, T>, path: &str, first: &str) {
            if let Some(found) = map.get(first).cloned() {
                map.insert(path.to_owned(), found);
            }
        }
        copy(&mut self.looks, path, first);
        copy(&mut self.elves, path, first);
        copy(&mut self.scripts, path, first);
    }

    /// The folders that the loader's configuration names (ld.so.conf(5)).
    pub(super) fn library_folders(&self) -> BTreeSet<String> {
        let texts = self.texts.iter().filter(|(path, _)| is_loader_configuration(path));
        let lines = texts.flat_map(|(_, text)| text.lines()).map(str::trim);
        lines.filter(|line| line.starts_with('/')).map(str::to_owned).collect()
    }
}

fn is_loader_configuration(path: &str) -> bool {
    path == "etc/ld.so.conf" || (path.starts_with("etc/ld.so.conf.d/") && path.ends_with(".conf"))
}

/// What a script's first line names: a path, or, run by `env`, a program's name.
fn interpreter(bytes: &[u8]) -> Option<String> {
    let line = bytes.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = text(line);
    let mut words = line.split_whitespace();
    let program = words.next()?;
    if program.rsplit('/').next() == Some("env") {
        let plain = |word: &&str| !word.starts_with('-') && !word.contains('=');
        return Some(words.find(plain).unwrap_or(program).to_owned());
    }
    Some(program.to_owned())
}

/// Bytes as a text that no other bytes have.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scripts_first_line_names_what_runs_it() {
        for (line, runs) in [
            ("#!/bin/sh -e\n", Some("/bin/sh")),
            ("#! /usr/bin/perl\nx", Some("/usr/bin/perl")),
            ("#!/usr/bin/env python3\n", Some("python3")),
            ("#!/usr/bin/env -S LANG=C bash -x\n", Some("bash")),
            ("#!", None),
            ("#!\n/bin/sh", None),
            ("echo\n", None),
        ] {
            assert_eq!(interpreter(line.as_bytes()).as_deref(), runs, "{line}");
        }
    }
}

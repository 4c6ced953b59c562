//! What the content of a file says, as far as it matters to the overlay contract.

use overboot_digest::Digest;
use overboot_merge::is_changes;
use overboot_squashfs::Entry;

use crate::elf::{self, Elf};
use crate::look::text;

/// Files whose text is looked at, besides those of `ld.so.conf` and what overlays say.
const TEXTS: [&str; 3] = ["etc/group", "etc/passwd", "var/lib/dpkg/status"];
/// What the kernel reads of a script's first line (execve(2)).
const FIRST_LINE: usize = 256;

/// What the content of a regular file says.
#[derive(Debug)]
pub struct Content {
    pub(crate) digest: Digest,
    pub(crate) elf: Option<Elf>,
    /// What runs it, if it is a script.
    pub(crate) interpreter: Option<String>,
    /// Itself, if that is looked at.
    pub(crate) text: Option<String>,
}

impl Content {
    /// Is more than the beginning of the content needed to say what it says?
    #[must_use]
    pub fn wants(entry: &Entry, beginning: &[u8]) -> bool {
        beginning.starts_with(elf::MAGIC) || is_text(&text(&entry.path))
    }

    /// What `bytes`, the content of `entry` with that digest, say. Where [`Content::wants`] no more, its first 256 bytes are enough.
    #[must_use]
    pub fn of(entry: &Entry, bytes: &[u8], digest: Digest) -> Self {
        let path = text(&entry.path);
        let executable = entry.mode & 0o111 != 0;
        let first = bytes.get(..FIRST_LINE).unwrap_or(bytes);
        Self {
            digest,
            elf: bytes.starts_with(elf::MAGIC).then(|| elf::read(bytes)).flatten(),
            interpreter: executable.then(|| interpreter(first)).flatten(),
            text: is_text(&path).then(|| String::from_utf8_lossy(bytes).into_owned()),
        }
    }
}

fn is_text(path: &str) -> bool {
    TEXTS.contains(&path) || is_changes(path) || is_loader_configuration(path)
}

pub(crate) fn is_loader_configuration(path: &str) -> bool {
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

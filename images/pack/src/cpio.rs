//! Entries into a cpio archive.

use std::collections::HashMap;
use std::io::{self, Write};

use overboot_cpio::mode;

use crate::Error;
use crate::tree::{Entry, Kind};

/// Writes `entries` (sorted, so that directories come before what is in them) as a newc archive to `out`. `what` is the
/// archive's name for messages. Extended attributes are not in the format and are left out. `after` is given `out` when an entry is
/// in it, with the entry's place among them.
pub(crate) fn write<W: Write>(
    entries: &[Entry],
    what: &'static str,
    out: W,
    mut after: impl FnMut(&mut W, usize),
) -> Result<W, Error> {
    let mut names: HashMap<&[u8], Vec<&[u8]>> = HashMap::new();
    for entry in entries {
        if let Kind::HardLink(first) = &entry.kind {
            names.entry(first).or_default().push(&entry.path);
        }
    }
    let mut writer = overboot_cpio::Writer::new(out);
    for (at, entry) in entries.iter().enumerate() {
        let failed =
            |source| Error::CpioEntry { what, path: entry.path.escape_ascii().to_string(), source };
        let header = header(entry);
        match &entry.kind {
            Kind::HardLink(_) => {}
            Kind::File(source) => {
                let mut content = source.open().map_err(|source| {
                    failed(overboot_cpio::Error::ReadContent {
                        path: entry.path.escape_ascii().to_string(),
                        source,
                    })
                })?;
                match names.get(&entry.path[..]) {
                    None => writer.entry_from(&header, source.size(), &mut content),
                    Some(others) => {
                        let mut all = vec![&entry.path[..]];
                        all.extend(others);
                        writer.hard_links(&header, &all, source.size(), &mut content)
                    }
                }
                .map_err(failed)?;
            }
            Kind::Symlink(target) => writer.entry(&header, target).map_err(failed)?,
            Kind::Directory
            | Kind::CharDevice(..)
            | Kind::BlockDevice(..)
            | Kind::Fifo
            | Kind::Socket => match names.get(&entry.path[..]) {
                None => writer.entry(&header, b"").map_err(failed)?,
                Some(others) => {
                    let mut all = vec![&entry.path[..]];
                    all.extend(others);
                    writer.hard_links(&header, &all, 0, &mut io::empty()).map_err(failed)?;
                }
            },
        }
        after(writer.get_mut(), at);
    }
    writer.finish().map_err(|source| Error::CpioEntry { what, path: "TRAILER!!!".into(), source })
}

fn header(entry: &Entry) -> overboot_cpio::Entry {
    let (kind, major, minor) = match &entry.kind {
        Kind::Directory => (mode::DIRECTORY, 0, 0),
        Kind::File(_) | Kind::HardLink(_) => (mode::FILE, 0, 0),
        Kind::Symlink(_) => (mode::SYMLINK, 0, 0),
        Kind::CharDevice(major, minor) => (mode::CHAR_DEVICE, *major, *minor),
        Kind::BlockDevice(major, minor) => (mode::BLOCK_DEVICE, *major, *minor),
        Kind::Fifo => (mode::FIFO, 0, 0),
        Kind::Socket => (mode::SOCKET, 0, 0),
    };
    let path = if entry.path.is_empty() { b".".to_vec() } else { entry.path.clone() };
    let mut header = overboot_cpio::Entry::new(path, kind | u32::from(entry.mode & 0o7777));
    header.uid = entry.uid;
    header.gid = entry.gid;
    header.mtime = entry.mtime;
    header.rdev_major = major;
    header.rdev_minor = minor;
    header
}

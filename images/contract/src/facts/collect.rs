//! What the entries of an image say.

use std::collections::{BTreeMap, BTreeSet};

use overboot_squashfs::{Entry, Kind as EntryKind};

use super::Error;
use crate::content::{Content, is_loader_configuration};
use crate::elf::Elf;
use crate::look::{Kind, Look, attributes, text};

/// The attribute that makes a folder opaque (Documentation/filesystems/overlayfs.rst).
const OPAQUE: &[u8] = b"trusted.overlay.opaque";

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
    /// All that `entries` say, sorted by path, each file with what its content says.
    pub(super) fn of(entries: Vec<(Entry, Option<Content>)>) -> Result<Self, Error> {
        let mut found = Self::default();
        for (entry, content) in entries {
            found.add(&text(&entry.path), &entry, content)?;
        }
        Ok(found)
    }

    fn add(&mut self, path: &str, entry: &Entry, content: Option<Content>) -> Result<(), Error> {
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
            EntryKind::File(_) => match content {
                Some(content) => self.file(path, content),
                None => return Err(Error::Unread { path: path.to_owned() }),
            },
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

    fn file(&mut self, path: &str, content: Content) -> Kind {
        if let Some(elf) = content.elf {
            self.elves.insert(path.to_owned(), elf);
        }
        if let Some(interpreter) = content.interpreter {
            self.scripts.insert(path.to_owned(), interpreter);
        }
        if let Some(text) = content.text {
            self.texts.insert(path.to_owned(), text);
        }
        Kind::File(content.digest)
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

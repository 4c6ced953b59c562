//! A directory of the host as entries: what the tests and the measuring example pack.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use overboot_squashfs::{Entry, Kind, Source};

struct HostFile {
    path: PathBuf,
    size: u64,
}

impl Source for HostFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(&self.path)?))
    }
}

/// All of `root`, which does not change meanwhile.
pub(crate) fn scan(root: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut links = HashMap::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(path) = todo.pop() {
        let metadata = path.symlink_metadata()?;
        let inside = path.strip_prefix(root).unwrap_or(&path).as_os_str().as_bytes().to_vec();
        let kind = metadata.file_type();
        let (major, minor) =
            (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
        let first = *links.entry((metadata.dev(), metadata.ino())).or_insert(entries.len());
        let kind = if kind.is_dir() {
            for entry in path.read_dir()? {
                todo.push(entry?.path());
            }
            Kind::Directory
        } else if first < entries.len() {
            let target: &Entry = &entries[first];
            Kind::HardLink(target.path.clone())
        } else if kind.is_symlink() {
            Kind::Symlink(path.read_link()?.into_os_string().into_vec())
        } else if kind.is_char_device() {
            Kind::CharDevice(major, minor)
        } else if kind.is_block_device() {
            Kind::BlockDevice(major, minor)
        } else if kind.is_fifo() {
            Kind::Fifo
        } else if kind.is_socket() {
            Kind::Socket
        } else {
            Kind::File(Arc::new(HostFile { path: path.clone(), size: metadata.len() }))
        };
        entries.push(Entry {
            path: inside,
            mode: (metadata.mode() & 0o7777) as u16,
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime: metadata.mtime() as u32,
            xattrs: xattrs(&path)?,
            kind,
        });
    }
    Ok(entries)
}

/// The extended attributes that squashfs has, sorted.
pub(crate) fn xattrs(path: &Path) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = vec![0; 65_536];
    let length = match rustix::fs::llistxattr(path, &mut names[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut out = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 65_536];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..])?;
        // POSIX ACLs are system.*, which squashfs does not have.
        if !name.starts_with(b"system.") {
            out.push((name.to_vec(), value[..length].to_vec()));
        }
    }
    out.sort();
    Ok(out)
}

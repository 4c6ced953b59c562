//! Tiny binary packages (`deb(5)`), without dpkg-deb.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use liblzma::read::XzDecoder;
use liblzma::write::XzEncoder;

/// A binary package, to be built. What it is not told it takes from a sensible default.
#[derive(Debug, Clone)]
pub struct Deb {
    name: String,
    version: String,
    architecture: String,
    fields: Vec<(String, String)>,
    control_files: BTreeMap<String, (u32, Vec<u8>)>,
    entries: BTreeMap<String, Entry>,
    zstd: bool,
}

#[derive(Debug, Clone)]
enum Entry {
    Directory(u32),
    File(u32, Vec<u8>),
    Symlink(String),
    HardLink(String),
    Device,
}

impl Deb {
    /// A package for amd64 without files.
    #[must_use]
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "amd64".to_owned(),
            fields: Vec::new(),
            control_files: BTreeMap::new(),
            entries: BTreeMap::new(),
            zstd: false,
        }
    }

    /// Compressed as Ubuntu's packages are.
    #[must_use]
    pub fn zstd(mut self) -> Self {
        self.zstd = true;
        self
    }

    /// Another architecture, such as `all`.
    #[must_use]
    pub fn for_architecture(mut self, architecture: &str) -> Self {
        architecture.clone_into(&mut self.architecture);
        self
    }

    /// A field of its control stanza, such as `Depends`.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A member of its control archive besides `control`: `postinst`, `conffiles`, `triggers`, `md5sums`.
    #[must_use]
    pub fn control_file(mut self, name: &str, mode: u32, content: &[u8]) -> Self {
        self.control_files.insert(name.to_owned(), (mode, content.to_vec()));
        self
    }

    /// A file, at a path without a slash before it. Its directories need not be told.
    #[must_use]
    pub fn file(self, path: &str, mode: u32, content: &[u8]) -> Self {
        self.entry(path, Entry::File(mode, content.to_vec()))
    }

    /// A directory.
    #[must_use]
    pub fn directory(self, path: &str, mode: u32) -> Self {
        self.entry(path, Entry::Directory(mode))
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, Entry::Symlink(target.to_owned()))
    }

    /// A second name of the file at `target`, a path as in [`Deb::file`] that sorts before this one.
    #[must_use]
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(path, Entry::HardLink(format!("./{target}")))
    }

    /// A device node, that of `/dev/zero`.
    #[must_use]
    pub fn device(self, path: &str) -> Self {
        self.entry(path, Entry::Device)
    }

    fn entry(mut self, path: &str, entry: Entry) -> Self {
        for (at, _) in path.match_indices('/') {
            self.entries.entry(path[..at].to_owned()).or_insert(Entry::Directory(0o755));
        }
        self.entries.insert(path.to_owned(), entry);
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Its architecture.
    #[must_use]
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Its control stanza, with a line end after the last field.
    #[must_use]
    pub fn control(&self) -> String {
        let bytes: usize = self.entries.values().map(Entry::len).sum();
        let mut control = format!(
            "Package: {}\nVersion: {}\nArchitecture: {}\nMaintainer: Test <test@example.org>\nInstalled-Size: {}\n",
            self.name,
            self.version,
            self.architecture,
            bytes.div_ceil(1024)
        );
        for (name, value) in &self.fields {
            control.push_str(&format!("{name}: {value}\n"));
        }
        if !self.fields.iter().any(|(name, _)| name == "Description") {
            control.push_str("Description: made by a test\n");
        }
        control
    }

    /// The `.deb`; the same bytes for the same package.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut control = tar::Builder::new(Vec::new());
        append(&mut control, "./", &Entry::Directory(0o755));
        append(&mut control, "./control", &Entry::File(0o644, self.control().into_bytes()));
        for (name, (mode, content)) in &self.control_files {
            append(&mut control, &format!("./{name}"), &Entry::File(*mode, content.clone()));
        }
        let mut data = tar::Builder::new(Vec::new());
        append(&mut data, "./", &Entry::Directory(0o755));
        for (path, entry) in &self.entries {
            let slash = if matches!(entry, Entry::Directory(_)) { "/" } else { "" };
            append(&mut data, &format!("./{path}{slash}"), entry);
        }
        let tars = [control, data].map(|tar| tar.into_inner().expect("a Vec takes all"));
        container(&tars, self.zstd)
    }
}

/// A package file like `deb`, whatever that is compressed with, compressed as Ubuntu's are; and its control file.
///
/// # Panics
///
/// When it is no package.
#[must_use]
pub fn as_zstd(deb: &[u8]) -> (String, Vec<u8>) {
    let mut rest = deb.strip_prefix(b"!<arch>\n").expect("it is an archive");
    let mut tars = Vec::new();
    while rest.len() > 60 {
        let (head, after) = rest.split_at(60);
        let text =
            |range: std::ops::Range<usize>| String::from_utf8_lossy(&head[range]).into_owned();
        let (name, size) = (text(0..16), text(48..58).trim().parse::<usize>().expect("a size"));
        let (bytes, after) = after.split_at(size);
        rest = after.get(size % 2..).unwrap_or_default();
        let mut plain = Vec::new();
        match name.trim_end().rsplit_once('.') {
            Some((_, "xz")) => {
                XzDecoder::new(bytes).read_to_end(&mut plain).expect("xz");
            }
            Some((_, "zst")) => plain = zstd::decode_all(bytes).expect("zstd"),
            Some((_, "gz")) => panic!("{name} is compressed with gzip, as nobody does any more"),
            Some((_, "tar")) => plain = bytes.to_vec(),
            _ => continue,
        }
        tars.push(plain);
    }
    let tars: [Vec<u8>; 2] = tars.try_into().expect("control and data");
    let mut control = tar::Archive::new(&tars[0][..]);
    let mut entries = control.entries().expect("a tar").map(|entry| entry.expect("an entry"));
    let mut control = entries
        .find(|entry| {
            entry.path_bytes().ends_with(b"/control") || &*entry.path_bytes() == b"control"
        })
        .expect("a control file");
    let mut text = String::new();
    control.read_to_string(&mut text).expect("UTF-8");
    (text, container(&tars, true))
}

/// The `ar` archive around control and data.
fn container([control, data]: &[Vec<u8>; 2], as_zstd: bool) -> Vec<u8> {
    let compress = |bytes: &[u8]| match as_zstd {
        true => zstd::encode_all(bytes, 3).expect("a Vec takes all"),
        false => xz(bytes),
    };
    let ending = if as_zstd { "zst" } else { "xz" };
    let members = [
        ("debian-binary".to_owned(), b"2.0\n".to_vec()),
        (format!("control.tar.{ending}"), compress(control)),
        (format!("data.tar.{ending}"), compress(data)),
    ];
    let members: Vec<_> =
        members.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    ar(&members)
}

/// An `ar` archive of these members: a package file, where they are those of one.
#[must_use]
pub fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut ar = b"!<arch>\n".to_vec();
    for (name, bytes) in members {
        let size = bytes.len();
        writeln!(ar, "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`", 0, 0, 0, "100644")
            .expect("a Vec takes all");
        ar.extend(*bytes);
        if size % 2 == 1 {
            ar.push(b'\n');
        }
    }
    ar
}

/// An entry of a tar archive as nobody would write it: any bytes for its names, a kind (`tar(5)`: `0` a file, `1` a hard link, `2` a
/// symbolic link, `3` and `4` devices, those of `/dev/zero`, `5` a folder), and a size that need not be that of `content`.
#[must_use]
pub fn tar_entry(kind: u8, path: &[u8], link: &[u8], size: u64, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_mtime(1_700_000_000);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_entry_type(tar::EntryType::new(kind));
    if kind == b'3' || kind == b'4' {
        header.set_device_major(1).expect("it fits");
        header.set_device_minor(5).expect("it fits");
    }
    let old = header.as_old_mut();
    old.name[..path.len()].copy_from_slice(path);
    old.linkname[..link.len()].copy_from_slice(link);
    header.set_cksum();
    let mut entry = header.as_bytes().to_vec();
    entry.extend(content);
    entry.resize(entry.len().next_multiple_of(512), 0);
    entry
}

impl Entry {
    fn len(&self) -> usize {
        match self {
            Self::File(_, content) => content.len(),
            Self::Directory(_) | Self::Symlink(_) | Self::HardLink(_) | Self::Device => 0,
        }
    }
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, entry: &Entry) {
    let mut header = tar::Header::new_gnu();
    // `set_path` would take the leading `./` away, which dpkg writes and readers expect.
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    let (kind, mode, content): (_, _, &[u8]) = match entry {
        Entry::Directory(mode) => (tar::EntryType::Directory, *mode, &[]),
        Entry::File(mode, content) => (tar::EntryType::Regular, *mode, content),
        Entry::Symlink(target) | Entry::HardLink(target) => {
            header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
            let symlink = matches!(entry, Entry::Symlink(_));
            let kind = if symlink { tar::EntryType::Symlink } else { tar::EntryType::Link };
            (kind, 0o777, &[])
        }
        Entry::Device => {
            header.set_device_major(1).expect("it fits");
            header.set_device_minor(5).expect("it fits");
            (tar::EntryType::Char, 0o666, &[])
        }
    };
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    header.set_mtime(1_700_000_000);
    header.set_uid(0);
    header.set_gid(0);
    header.set_username("root").expect("it fits");
    header.set_groupname("root").expect("it fits");
    header.set_cksum();
    tar.append(&header, content).expect("a Vec takes all");
}

/// Compressed with xz.
///
/// # Panics
///
/// When there is no memory for it.
#[must_use]
pub fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).expect("a Vec takes all");
    encoder.finish().expect("a Vec takes all")
}

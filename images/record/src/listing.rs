//! What is in an image, read from the image itself.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use overboot_cpio::mode;
use overboot_digest::Digest;
use overboot_merge::FOLDER as NOTES;
use overboot_pack::image;
use overboot_pack::tree::{Entry, Kind as Packed};

use crate::{Error, File, Kind};

/// How the media types of such images end.
const SQUASHFS: &str = ".squashfs";

/// The most of a database that is taken into memory.
const LARGEST_TEXT: u64 = 256 << 20;

/// What is in an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// All names, by path. Nobody owns them yet.
    pub files: Vec<File>,
    /// The files that say something about the others: dpkg's database, and what an overlay changed of the databases.
    pub texts: BTreeMap<String, String>,
}

impl Listing {
    /// Reads the image at `path`, by the end of its media type: `squashfs` or `cpio.zst`.
    ///
    /// # Errors
    /// It is of neither form, or not what it says.
    pub fn of_image(path: &Path, media_type: &str) -> Result<Self, Error> {
        let mut listing = Self::default();
        if media_type.ends_with(SQUASHFS) {
            let entries = entries(path)?;
            let contents = digests(path, &entries)?;
            for (entry, content) in entries.iter().zip(contents) {
                let mut file = file_of(entry);
                if let Some((size, sha256, text)) = content {
                    file.kind = Kind::File { size, sha256 };
                    listing.texts.extend(text.map(|text| (file.path.clone(), text)));
                }
                listing.files.push(file);
            }
        } else {
            each_file(path, media_type, |mut file, content| {
                if let Some(content) = content {
                    let (size, sha256, text) = digested(content, wanted(&file.path))?;
                    file.kind = Kind::File { size, sha256 };
                    listing.texts.extend(text.map(|text| (file.path.clone(), text)));
                }
                listing.files.push(file);
                Ok(())
            })?;
        }
        listing.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(listing)
    }
}

/// Is it needed to tell who owns what?
fn wanted(path: &str) -> bool {
    path.starts_with(NOTES)
        || path == "var/lib/dpkg/status"
        || path == "var/lib/dpkg/diversions"
        || (path.starts_with("var/lib/dpkg/info/") && path.ends_with(".list"))
}

/// Size, digest and, where it is to be kept, the text of a file.
type Digested = (u64, Digest, Option<String>);

fn digested(content: &mut dyn Read, keep: bool) -> io::Result<Digested> {
    if !keep {
        let (sha256, size) = Digest::of_reader(content)?;
        return Ok((size, sha256, None));
    }
    let mut bytes = Vec::new();
    content.take(LARGEST_TEXT).read_to_end(&mut bytes)?;
    let sha256 = Digest::of(&bytes);
    Ok((bytes.len() as u64, sha256, Some(String::from_utf8_lossy(&bytes).into_owned())))
}

/// Tells `each` every name in an image, and the content of regular files, whose kind has size and digest of nothing: for who
/// wants them read otherwise.
///
/// # Errors
/// As [`Listing::of_image`], and what `each` fails with.
pub fn each_file(
    path: &Path,
    media_type: &str,
    mut each: impl FnMut(File, Option<&mut dyn Read>) -> io::Result<()>,
) -> Result<(), Error> {
    if media_type.ends_with(SQUASHFS) {
        squashfs(path, &mut each)
    } else if media_type.ends_with(".cpio.zst") {
        archive(path, &mut each)
    } else {
        Err(Error::Form { media_type: media_type.to_owned() })
    }
}

type Each<'a> = &'a mut dyn FnMut(File, Option<&mut dyn Read>) -> io::Result<()>;

fn squashfs(path: &Path, each: Each<'_>) -> Result<(), Error> {
    for entry in entries(path)? {
        let file = file_of(&entry);
        let name = file.path.clone();
        let done = match &entry.kind {
            Packed::File(source) => {
                source.open().and_then(|mut opened| each(file, Some(&mut opened)))
            }
            _ => each(file, None),
        };
        done.map_err(inside(path, &name))?;
    }
    Ok(())
}

/// What is in a squashfs image, in the order of the paths.
fn entries(path: &Path) -> Result<Vec<Entry>, Error> {
    image::read_entries(open(path)?)
        .map_err(|source| Error::Image { path: path.to_owned(), source: Box::new(source) })
}

/// An entry without its content.
fn file_of(entry: &Entry) -> File {
    let kind = match &entry.kind {
        Packed::File(_) => empty(),
        Packed::Directory => Kind::Folder,
        Packed::Symlink(target) => Kind::Symlink(text(target)),
        Packed::HardLink(first) => Kind::HardLink(text(first)),
        Packed::CharDevice(0, 0) => Kind::Whiteout,
        Packed::CharDevice(major, minor) => Kind::CharDevice(*major, *minor),
        Packed::BlockDevice(major, minor) => Kind::BlockDevice(*major, *minor),
        Packed::Fifo => Kind::Fifo,
        Packed::Socket => Kind::Socket,
    };
    File {
        path: text(&entry.path),
        kind,
        mode: entry.mode & 0o7777,
        uid: entry.uid,
        gid: entry.gid,
        package: None,
        xattrs: entry.xattrs.iter().map(|(name, value)| (text(name), hex(value))).collect(),
    }
}

/// Reads all files of an image: while one thread decompresses, another one hashes.
fn digests(path: &Path, entries: &[Entry]) -> Result<Vec<Option<Digested>>, Error> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Digested)>, Error> {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(entry) = entries.get(at) else { return Ok(done) };
            let Packed::File(source) = &entry.kind else { continue };
            let name = text(&entry.path);
            let read = source.open().and_then(|mut opened| digested(&mut opened, wanted(&name)));
            done.push((at, read.map_err(inside(path, &name))?));
        }
    };
    let mut found: Vec<Option<Digested>> = entries.iter().map(|_| None).collect();
    std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let ours = work();
        let theirs = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        for (at, digested) in ours?.into_iter().chain(theirs?) {
            found[at] = Some(digested);
        }
        Ok(())
    })?;
    Ok(found)
}

fn archive(path: &Path, each: Each<'_>) -> Result<(), Error> {
    let failed = |source| Error::Archive { path: path.to_owned(), source };
    let decoder = zstd::Decoder::new(open(path)?)
        .map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let mut reader = overboot_cpio::Reader::new(BufReader::new(decoder));
    // The content comes with the last of a file's names (initramfs: `maybe_link`); the others wait for it.
    let mut waiting: HashMap<u32, Vec<File>> = HashMap::new();
    while let Some(entry) = reader.next_entry().map_err(failed)? {
        let name = text(&entry.path);
        let name = if name == "." { String::new() } else { name };
        let kind = match entry.mode & mode::TYPE {
            mode::FILE => empty(),
            mode::SYMLINK => {
                let mut target = Vec::new();
                reader.read_to_end(&mut target).map_err(inside(path, &name))?;
                Kind::Symlink(text(&target))
            }
            mode::CHAR_DEVICE if (entry.rdev_major, entry.rdev_minor) == (0, 0) => Kind::Whiteout,
            mode::CHAR_DEVICE => Kind::CharDevice(entry.rdev_major, entry.rdev_minor),
            mode::BLOCK_DEVICE => Kind::BlockDevice(entry.rdev_major, entry.rdev_minor),
            mode::FIFO => Kind::Fifo,
            mode::SOCKET => Kind::Socket,
            _ => Kind::Folder,
        };
        let file = File {
            path: name.clone(),
            kind,
            mode: (entry.mode & 0o7777) as u16,
            uid: entry.uid,
            gid: entry.gid,
            package: None,
            xattrs: BTreeMap::new(),
        };
        if entry.links > 1 && matches!(file.kind, Kind::File { .. }) {
            let others = waiting.entry(entry.inode).or_default();
            if others.len() as u64 + 1 < u64::from(entry.links) {
                others.push(file);
                continue;
            }
            for mut other in std::mem::take(others) {
                other.kind = Kind::HardLink(name.clone());
                let called = other.path.clone();
                each(other, None).map_err(inside(path, &called))?;
            }
        }
        let done = match file.kind {
            Kind::File { .. } => each(file, Some(&mut reader)),
            _ => each(file, None),
        };
        done.map_err(inside(path, &name))?;
    }
    Ok(())
}

/// A regular file whose content nobody has read yet.
fn empty() -> Kind {
    Kind::File { size: 0, sha256: Digest::of("") }
}

fn open(path: &Path) -> Result<fs_err::File, Error> {
    fs_err::File::open(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

fn inside(path: &Path, file: &str) -> impl FnOnce(io::Error) -> Error {
    let (path, file) = (path.to_owned(), format!("/{file}"));
    move |source| Error::Inside { path, file, source }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

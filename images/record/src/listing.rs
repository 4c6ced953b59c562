//! What is in an image, read from the image itself.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use overboot_cpio::mode;
use overboot_digest::{Digest, Hasher};
use overboot_merge::is_changes;
use overboot_pack::image;
use overboot_pack::tree::{Entry, Kind as Packed};

use crate::{Error, File, Kind};

/// How the media types of such images end.
const SQUASHFS: &str = ".squashfs";

/// What is seen of every file.
const BEGINNING: u64 = 256;

/// The most of a file that is looked at.
const LARGEST_LOOK: u64 = 256 << 20;

/// What is in an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// All names, by path. Nobody owns them yet.
    pub files: Vec<File>,
    /// The files that say something about the others: dpkg's database, and what an overlay changed of the databases.
    pub texts: BTreeMap<String, String>,
}

/// How somebody looks into the files of an image while they are read.
#[derive(Debug)]
pub struct Look<T> {
    /// By its entry and its first 256 bytes: is more of a file to be seen? At most a quarter of a gigabyte is.
    pub wants: fn(&Entry, &[u8]) -> bool,
    /// What is made of a file, by its entry, its content or its beginning, and the digest of all of it.
    pub see: fn(&Entry, &[u8], Digest) -> T,
}

/// What is in a squashfs image, and what somebody made of its files.
#[derive(Debug)]
pub struct Looked<T> {
    /// What is in it.
    pub listing: Listing,
    /// Its entries, by path, each regular file with what was made of it.
    pub entries: Vec<(Entry, Option<T>)>,
}

impl<T> Default for Looked<T> {
    fn default() -> Self {
        Self { listing: Listing::default(), entries: Vec::new() }
    }
}

impl Listing {
    /// Reads the image at `path`, by the end of its media type: `squashfs` or `cpio.zst`.
    ///
    /// # Errors
    /// It is of neither form, or not what it says.
    pub fn of_image(path: &Path, media_type: &str) -> Result<Self, Error> {
        if media_type.ends_with(SQUASHFS) {
            let look = Look { wants: |_, _| false, see: |_, _, _| () };
            return Ok(Self::of_squashfs(path, look)?.listing);
        }
        let mut listing = Self::default();
        each_file(path, media_type, |mut file, content| {
            if let Some(content) = content {
                let content = read(content, &file.path, |_| false, |_, _| ())?;
                listing.put(&mut file, content);
            }
            listing.files.push(file);
            Ok(())
        })?;
        listing.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(listing)
    }

    /// Reads the squashfs image at `path`, each file once, which `look` looks into meanwhile.
    ///
    /// # Errors
    /// It is not what it says.
    pub fn of_squashfs<T: Send>(path: &Path, look: Look<T>) -> Result<Looked<T>, Error> {
        let entries = entries(path)?;
        let contents = contents(path, &entries, look)?;
        let mut listing = Self::default();
        let mut looked = Vec::with_capacity(entries.len());
        for (entry, content) in entries.into_iter().zip(contents) {
            let mut file = file_of(&entry);
            let seen = content.map(|content| listing.put(&mut file, content));
            listing.files.push(file);
            looked.push((entry, seen));
        }
        listing.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Looked { listing, entries: looked })
    }

    /// Notes the content of a file.
    fn put<T>(&mut self, file: &mut File, content: Content<T>) -> T {
        file.kind = Kind::File { size: content.size, sha256: content.sha256 };
        self.texts.extend(content.text.map(|text| (file.path.clone(), text)));
        content.seen
    }
}

/// Is it needed to tell who owns what?
fn wanted(path: &str) -> bool {
    is_changes(path)
        || path == "var/lib/dpkg/status"
        || path == "var/lib/dpkg/diversions"
        || (path.starts_with("var/lib/dpkg/info/") && path.ends_with(".list"))
}

/// What was found in the content of a file.
struct Content<T> {
    size: u64,
    sha256: Digest,
    /// Itself, where it is to be kept.
    text: Option<String>,
    seen: T,
}

/// Reads the content of the file at `path`, and keeps no more of it in memory than is wanted.
fn read<T>(
    content: &mut dyn Read,
    path: &str,
    wants: impl FnOnce(&[u8]) -> bool,
    see: impl FnOnce(&[u8], Digest) -> T,
) -> io::Result<Content<T>> {
    let mut bytes = Vec::new();
    (&mut *content).take(BEGINNING).read_to_end(&mut bytes)?;
    let keep = wanted(path);
    if keep || wants(&bytes) {
        (&mut *content).take(LARGEST_LOOK).read_to_end(&mut bytes)?;
    }
    let mut hasher = Hasher::new();
    hasher.update(&bytes);
    let rest = io::copy(content, &mut hasher)?;
    let sha256 = hasher.finish();
    let text = keep.then(|| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Content { size: bytes.len() as u64 + rest, sha256, text, seen: see(&bytes, sha256) })
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

/// Reads all files of an image: one thread from its first on, another from its last, each by a reader of its own, until they meet.
/// Neighbours share what is decompressed for them.
fn contents<T: Send>(
    path: &Path,
    entries: &[Entry],
    look: Look<T>,
) -> Result<Vec<Option<Content<T>>>, Error> {
    let again = self::entries(path)?;
    let left = Mutex::new(0..entries.len());
    let left = || left.lock().unwrap_or_else(PoisonError::into_inner);
    let work = |entries: &[Entry], next: &dyn Fn() -> Option<usize>| {
        let mut done = Vec::new();
        while let Some(at) = next() {
            let Some(entry) = entries.get(at) else { continue };
            let Packed::File(source) = &entry.kind else { continue };
            let name = text(&entry.path);
            let content = source.open().and_then(|mut opened| {
                let wants = |beginning: &[u8]| (look.wants)(entry, beginning);
                read(&mut opened, &name, wants, |bytes, digest| (look.see)(entry, bytes, digest))
            });
            done.push((at, content.map_err(inside(path, &name))?));
        }
        Ok::<_, Error>(done)
    };
    let mut found: Vec<Option<Content<T>>> = entries.iter().map(|_| None).collect();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| work(&again, &|| left().next_back()));
        let ours = work(entries, &|| left().next());
        let theirs = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        for (at, content) in ours?.into_iter().chain(theirs?) {
            found[at] = Some(content);
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

//! What the archives have, verified: `InRelease` and `Packages` of several sources at once.
//!
//! The cache holds the last `InRelease` of each suite, which is also the memory that makes a downgrade visible, and each
//! package list by its digest: where nothing changed, an update costs one request per suite.

use std::collections::HashSet;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use liblzma::read::XzDecoder;
use overboot_digest::Digest;
use tracing::debug;

use crate::fetch::{Fetcher, NEW, replace};
use crate::release::{Policy, Release, ReleaseFile};
use crate::trust::{Keyring, Signer};
use crate::{Error, Source, suites, workers};

/// Debian's largest InRelease has 250 kB.
const LARGEST_RELEASE: u64 = 16 << 20;
/// Debian's largest package list has 60 MB.
const LARGEST_LIST: u64 = 1 << 30;
/// Memory a decompressor may take: `xz -9` wants 65 MB.
const DECOMPRESSOR_MEMORY: u64 = 256 << 20;

const JOBS: NonZeroUsize = NonZeroUsize::new(8).expect("8 is not 0");

/// The verified indexes of some sources, for one architecture.
#[derive(Debug, Clone)]
pub struct Index {
    /// One for each source, in their order.
    pub suites: Vec<Suite>,
}

/// The verified index of one source.
#[derive(Debug, Clone)]
pub struct Suite {
    /// Where it is from.
    pub source: Source,
    /// What it says about itself.
    pub release: Release,
    /// The digest of the `InRelease` file in which it does.
    pub inrelease: Digest,
    /// Whose signatures it bears.
    pub signers: Vec<Signer>,
    /// Its packages, a list for each component, in the order of the source's components.
    pub lists: Vec<PackageList>,
}

/// A `Packages` file: stanzas, one for each binary package (deb822).
#[derive(Debug, Clone)]
pub struct PackageList {
    /// Such as `main`; empty where the source is a folder.
    pub component: String,
    /// The digest of `text`.
    pub sha256: Digest,
    /// The stanzas.
    pub text: String,
}

impl Index {
    /// Brings the cache in `cache_dir` up to date and returns what the archives have: each source's `InRelease` is fetched,
    /// its signature checked against `keyring`, its dates against `now` (seconds since 1970) and against the one seen
    /// before, and each list against the digest in it.
    ///
    /// With an offline fetcher, the cache alone is used; then `Valid-Until` is not held against it.
    ///
    /// # Errors
    /// All of [`Error`] but those of packages.
    pub fn update(
        fetcher: &Fetcher,
        sources: &[Source],
        keyring: &Keyring,
        architecture: &str,
        cache_dir: &Path,
        now: u64,
        policy: Policy,
    ) -> Result<Self, Error> {
        let update = Update { fetcher, keyring, architecture, cache_dir, now, policy };
        let _lock = update.lock()?;
        let suites = workers::run(JOBS, sources, |source| update.suite(source))?;
        update.sweep()?;
        Ok(Self { suites })
    }

    /// All package lists with the source each is from.
    pub fn lists(&self) -> impl Iterator<Item = (&Source, &PackageList)> {
        self.suites.iter().flat_map(|suite| suite.lists.iter().map(|list| (&suite.source, list)))
    }
}

struct Update<'a> {
    fetcher: &'a Fetcher,
    keyring: &'a Keyring,
    architecture: &'a str,
    cache_dir: &'a Path,
    now: u64,
    policy: Policy,
}

impl Update<'_> {
    /// One update of a cache at a time; released when dropped.
    fn lock(&self) -> Result<fs_err::File, Error> {
        let path = self.cache_dir.join("lock");
        let failed = |source| Error::file(&path, source);
        fs_err::create_dir_all(self.cache_dir.join("lists")).map_err(failed)?;
        let file = fs_err::File::create(&path).map_err(failed)?;
        file.file().lock().map_err(failed)?;
        Ok(file)
    }

    fn suite(&self, source: &Source) -> Result<Suite, Error> {
        let url = source.dist_url("InRelease");
        let path = self.cache_dir.join(format!("{}.InRelease", file_name(&url)));
        if self.fetcher.offline() {
            let bytes = fs_err::read(&path).map_err(|_| Error::Offline {
                what: format!("the index of \"{}\" at {}", source.suite, source.uri),
                path: path.clone(),
            })?;
            let (release, signers) = self.read(&bytes, source, &url)?;
            let lists = self.lists(source, &release)?;
            let (source, inrelease) = (source.clone(), Digest::of(&bytes));
            return Ok(Suite { source, release, inrelease, signers, lists });
        }
        let seen = fs_err::read(&path).ok().and_then(|bytes| {
            // Verified before it came here; a damaged cache is no reason to fail, only to forget.
            let text = String::from_utf8(bytes).ok()?;
            let body = text.split_once("\n\n")?.1.split_once("\n-----BEGIN PGP SIGNATURE")?.0;
            Release::parse(body).ok().map(|release| release.date)
        });
        let mut again = true;
        loop {
            let bytes = self.fetch_release(source, &url)?;
            let (release, signers) = self.read(&bytes, source, &url)?;
            if let Some(seen) = seen.filter(|seen| release.date < *seen) {
                return Err(Error::Replayed { url, date: release.date, seen, cached: path });
            }
            match self.lists(source, &release) {
                Ok(lists) => {
                    replace(&path, &bytes)?;
                    let (source, inrelease) = (source.clone(), Digest::of(&bytes));
                    return Ok(Suite { source, release, inrelease, signers, lists });
                }
                // The mirror was updated between the two requests: then a newer InRelease fits the lists.
                Err(
                    error @ (Error::NotFound { .. }
                    | Error::WrongSize { .. }
                    | Error::WrongDigest { .. }),
                ) if again => {
                    debug!(url, %error, "the mirror may just be changing, trying again");
                    again = false;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn fetch_release(&self, source: &Source, url: &str) -> Result<Vec<u8>, Error> {
        self.fetcher.get(url, LARGEST_RELEASE).map_err(|error| match error {
            Error::NotFound { .. } => Error::SuiteNotFound {
                suite: source.suite.clone(),
                uri: source.uri.clone(),
                known: suites::find(self.fetcher, source),
            },
            other => other,
        })
    }

    fn read(
        &self,
        bytes: &[u8],
        source: &Source,
        url: &str,
    ) -> Result<(Release, Vec<Signer>), Error> {
        let verified = self
            .keyring
            .verify(bytes, self.now)
            .map_err(|source| Error::Untrusted { url: url.to_owned(), source })?;
        let release = Release::parse(&verified.text)
            .map_err(|reason| Error::ReleaseSyntax { url: url.to_owned(), reason })?;
        let check_valid_until = self.policy.check_valid_until && !self.fetcher.offline();
        release.check(source, url, self.now, Policy { check_valid_until })?;
        Ok((release, verified.signers))
    }

    fn lists(&self, source: &Source, release: &Release) -> Result<Vec<PackageList>, Error> {
        let mut wanted = Vec::new();
        let folder = [String::new()];
        let components = if source.is_flat() { &folder[..] } else { &source.components };
        for component in components {
            let list = release.packages(component, self.architecture);
            let list = list.ok_or_else(|| self.no_index(source, release, component))?;
            wanted.push((component.clone(), list));
            if release.separate_all
                && !source.is_flat()
                && let Some(list) = release.packages(component, "all")
            {
                wanted.push((component.clone(), list));
            }
        }
        workers::run(JOBS, &wanted, |(component, (path, file))| {
            let text = self.list(source, release, path, *file)?;
            Ok(PackageList { component: component.clone(), sha256: file.sha256, text })
        })
    }

    /// Why there is no list of a component.
    fn no_index(&self, source: &Source, release: &Release, component: &str) -> Error {
        let (suite, uri) = (source.suite.clone(), source.uri.clone());
        // Some put a folder before the component here: `updates/main`.
        let has = |known: &String| known == component || known.ends_with(&format!("/{component}"));
        if !source.is_flat() && !release.components.iter().any(has) {
            let (component, known) = (component.to_owned(), release.components.clone());
            return Error::NoComponent { suite, uri, component, known };
        }
        let architecture = self.architecture.to_owned();
        if !source.is_flat() && !release.architectures.contains(&architecture) {
            let known = release.architectures.clone();
            return Error::NoArchitecture { suite, uri, architecture, known };
        }
        Error::NoIndex { suite, uri, component: component.to_owned() }
    }

    /// The list at `path` beneath the suite's directory, from the cache or the archive.
    fn list(
        &self,
        source: &Source,
        release: &Release,
        path: &str,
        file: ReleaseFile,
    ) -> Result<String, Error> {
        let cached = self.cached(file.sha256);
        if let Ok(bytes) = fs_err::read(&cached)
            && bytes.len() as u64 == file.size
            && Digest::of(&bytes) == file.sha256
        {
            return text(bytes, &source.dist_url(path));
        }
        if self.fetcher.offline() {
            let what = format!("the list {path} of \"{}\" at {}", source.suite, source.uri);
            return Err(Error::Offline { what, path: cached });
        }
        if file.size > LARGEST_LIST {
            return Err(Error::TooLarge { url: source.dist_url(path), limit: LARGEST_LIST });
        }
        let (url, bytes) = self.fetch_list(source, release, path, file)?;
        replace(&cached, &bytes)?;
        text(bytes, &url)
    }

    /// Fetches a list in the smallest form that the archive has, and decompresses it.
    fn fetch_list(
        &self,
        source: &Source,
        release: &Release,
        path: &str,
        file: ReleaseFile,
    ) -> Result<(String, Vec<u8>), Error> {
        let forms = [Form::Xz, Form::Gzip, Form::Plain];
        let listed = forms.iter().find_map(|form| {
            let path = format!("{path}{}", form.extension());
            release.files.get(&path).map(|compressed| (*form, path, *compressed))
        });
        // The plain form is listed always: `file` was read from there.
        let (form, path, compressed) = listed.unwrap_or((Form::Plain, path.to_owned(), file));
        let mut urls = vec![source.dist_url(&path)];
        if release.by_hash {
            // Beside the list; a flat archive has that at its root.
            let beside = path.rfind('/').map_or("", |slash| &path[..=slash]);
            let by_hash = format!("{beside}by-hash/SHA256/{}", compressed.sha256.hex());
            urls.insert(0, source.dist_url(&by_hash));
        }
        let mut last = None;
        for url in urls {
            match self.fetch_checked(&url, compressed) {
                Ok(bytes) => {
                    let plain = form.decompress(bytes, file.size, &url)?;
                    check(&url, &plain, file)?;
                    return Ok((url, plain));
                }
                // A mirror that says by-hash and has none: its plain name may still be right.
                Err(error @ Error::NotFound { .. }) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::NotFound { url: source.dist_url(&path) }))
    }

    fn fetch_checked(&self, url: &str, file: ReleaseFile) -> Result<Vec<u8>, Error> {
        let bytes =
            self.fetcher.get(url, file.size.min(LARGEST_LIST)).map_err(|error| match error {
                Error::TooLarge { url, .. } => {
                    Error::WrongSize { url, expected: file.size, found: file.size + 1 }
                }
                other => other,
            })?;
        check(url, &bytes, file)?;
        Ok(bytes)
    }

    fn cached(&self, sha256: Digest) -> PathBuf {
        self.cache_dir.join("lists").join(sha256.hex())
    }

    /// Removes the lists that no cached InRelease names any more.
    fn sweep(&self) -> Result<(), Error> {
        let failed = |source| Error::file(self.cache_dir, source);
        let mut named = HashSet::new();
        for entry in fs_err::read_dir(self.cache_dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            // What a killed one was about to replace something with; nobody else is at it while we have the lock.
            if path.to_string_lossy().contains(NEW) {
                fs_err::remove_file(&path).map_err(|source| Error::file(&path, source))?;
                continue;
            }
            if path.extension().is_some_and(|extension| extension == "InRelease") {
                let bytes = fs_err::read(&path).map_err(failed)?;
                let text = String::from_utf8_lossy(&bytes);
                named.extend(
                    text.split_ascii_whitespace()
                        .filter(|word| word.len() == 64)
                        .map(str::to_owned),
                );
            }
        }
        let lists = self.cache_dir.join("lists");
        for entry in fs_err::read_dir(&lists).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path
                .file_name()
                .and_then(|name| name.to_str())
                .is_none_or(|name| !named.contains(name))
            {
                fs_err::remove_file(&path).map_err(|source| Error::file(&path, source))?;
            }
        }
        Ok(())
    }
}

/// How an index is stored.
#[derive(Debug, Clone, Copy)]
enum Form {
    Xz,
    Gzip,
    Plain,
}

impl Form {
    fn extension(self) -> &'static str {
        match self {
            Self::Xz => ".xz",
            Self::Gzip => ".gz",
            Self::Plain => "",
        }
    }

    /// At most one byte more than `size`, so that what is too long is seen and never held.
    fn decompress(self, bytes: Vec<u8>, size: u64, url: &str) -> Result<Vec<u8>, Error> {
        let failed = |source| Error::Decompress { url: url.to_owned(), source };
        let reader: Box<dyn Read> = match self {
            Self::Plain => return Ok(bytes),
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(&bytes[..])),
            Self::Xz => {
                let flags = liblzma::stream::CONCATENATED;
                let stream =
                    liblzma::stream::Stream::new_stream_decoder(DECOMPRESSOR_MEMORY, flags)
                        .map_err(|error| failed(io::Error::other(error)))?;
                Box::new(XzDecoder::new_stream(&bytes[..], stream))
            }
        };
        let mut plain = Vec::with_capacity(usize::try_from(size.min(LARGEST_LIST)).unwrap_or(0));
        reader.take(size.saturating_add(1)).read_to_end(&mut plain).map_err(failed)?;
        Ok(plain)
    }
}

fn check(url: &str, bytes: &[u8], file: ReleaseFile) -> Result<(), Error> {
    let (found, expected) = (bytes.len() as u64, file.size);
    if found != expected {
        return Err(Error::WrongSize { url: url.to_owned(), expected, found });
    }
    let found = Digest::of(bytes);
    if found != file.sha256 {
        return Err(Error::WrongDigest { url: url.to_owned(), expected: file.sha256, found });
    }
    Ok(())
}

fn text(bytes: Vec<u8>, url: &str) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(|error| Error::ReleaseSyntax {
        url: url.to_owned(),
        reason: format!("it is not UTF-8: {}", error.utf8_error()),
    })
}

/// A file name for what is at `url`: readable, and different for different addresses.
fn file_name(url: &str) -> String {
    let readable: String = url
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' })
        .take(120)
        .collect();
    format!("{readable}-{}", Digest::of(url).short())
}

//! The package files, each under its SHA-256: cache and source of every build.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use overboot_digest::Digest;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::fetch::{Aside, Download, Fetcher};
use crate::{Error, workers};

/// A package file that is wanted, as the lock names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Such as `openssh-server`.
    pub name: String,
    /// Such as `1:10.0p1-7`.
    pub version: String,
    /// Such as `amd64` or `all`.
    pub architecture: String,
    /// The content of the `.deb`.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Where it can be fetched; the next is tried where one fails.
    pub urls: Vec<String>,
}

/// What [`PackageStore::fetch_all`] tells while it works; from several threads, in no fixed order.
#[derive(Debug, Clone, Copy)]
pub enum FetchEvent<'a> {
    /// It is in the store already, and its content is right.
    Present(&'a Wanted),
    /// It is being fetched.
    Started(&'a Wanted),
    /// So many of its bytes are there. May go back where a transfer had to start over.
    Progress(&'a Wanted, u64),
    /// It is in the store now.
    Finished(&'a Wanted),
}

/// What [`PackageStore::fetch_all`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FetchSummary {
    /// Packages that were there.
    pub present: usize,
    /// Packages that were fetched.
    pub fetched: usize,
    /// Their size in bytes.
    pub fetched_bytes: u64,
}

/// A directory of package files, `sha256/HEX.deb`. Several processes may use it at once.
#[derive(Debug, Clone)]
pub struct PackageStore {
    dir: PathBuf,
}

impl PackageStore {
    /// The store in `dir`, which is made where it is missing.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::DiskFull`].
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, Error> {
        let dir = dir.into();
        let files = dir.join("sha256");
        fs_err::create_dir_all(&files).map_err(|source| Error::file(&files, source))?;
        Ok(Self { dir })
    }

    /// The folder with the package files, each named by the digest of its content; what is begun ends with `.partial`.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.dir.join("sha256")
    }

    /// Where the package file with that content is, or would be.
    #[must_use]
    pub fn path(&self, sha256: &Digest) -> PathBuf {
        self.folder().join(format!("{}.deb", sha256.hex()))
    }

    /// Puts a package file in that came some other way; returns its digest.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn insert(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let sha256 = Digest::of(bytes);
        let path = self.path(&sha256);
        let Some(mut aside) = Aside::open(&path, bytes.len() as u64)? else { return Ok(sha256) };
        aside.clear()?;
        aside.append(bytes)?;
        aside.finish()?;
        Ok(sha256)
    }

    /// Is that package there? Its length is looked at, not its content.
    #[must_use]
    pub fn contains(&self, wanted: &Wanted) -> bool {
        fs_err::metadata(self.path(&wanted.sha256))
            .is_ok_and(|there| there.is_file() && there.len() == wanted.size)
    }

    /// Fetches what is missing of `wanted`, `jobs` at a time, and checks the content of what is there. A damaged file is
    /// thrown away and fetched again. Each content is fetched once, however often it is wanted.
    ///
    /// # Errors
    /// [`Error::Package`] with the first failure; [`Error::Offline`] with an offline fetcher and packages missing. What
    /// has been fetched stays.
    pub fn fetch_all(
        &self,
        fetcher: &Fetcher,
        wanted: &[Wanted],
        jobs: NonZeroUsize,
        progress: &(dyn Fn(FetchEvent<'_>) + Sync),
    ) -> Result<FetchSummary, Error> {
        let mut seen = HashSet::new();
        let mut wanted: Vec<&Wanted> =
            wanted.iter().filter(|wanted| seen.insert(wanted.sha256)).collect();
        // The largest first: otherwise one of them, begun last, is waited for alone.
        wanted.sort_by_key(|wanted| std::cmp::Reverse(wanted.size));
        if fetcher.offline() {
            self.all_present(&wanted)?;
        }
        let fetched = workers::run(jobs, &wanted, |wanted| {
            let path = self.path(&wanted.sha256);
            if self.is_sound(wanted, &path)? {
                progress(FetchEvent::Present(wanted));
                return Ok(None);
            }
            if fetcher.offline() {
                return Err(Error::Offline { what: describe(wanted), path });
            }
            progress(FetchEvent::Started(wanted));
            let download = Download {
                urls: &wanted.urls,
                size: wanted.size,
                sha256: wanted.sha256,
                to: &path,
            };
            fetcher
                .download(&download, &|bytes| progress(FetchEvent::Progress(wanted, bytes)))
                .map_err(|source| Error::Package {
                    name: wanted.name.clone(),
                    version: wanted.version.clone(),
                    architecture: wanted.architecture.clone(),
                    source: Box::new(source),
                })?;
            progress(FetchEvent::Finished(wanted));
            Ok(Some(wanted.size))
        })?;
        let mut summary = FetchSummary::default();
        for size in fetched {
            match size {
                None => summary.present += 1,
                Some(size) => {
                    summary.fetched += 1;
                    summary.fetched_bytes += size;
                }
            }
        }
        Ok(summary)
    }

    /// Refuses where something is missing, and names it before anything is begun.
    fn all_present(&self, wanted: &[&Wanted]) -> Result<(), Error> {
        let missing: Vec<_> = wanted.iter().filter(|wanted| !self.contains(wanted)).collect();
        let Some(first) = missing.first() else { return Ok(()) };
        let others = match missing.len() - 1 {
            0 => String::new(),
            1 => " (and 1 other)".to_owned(),
            others => format!(" (and {others} others)"),
        };
        let what = format!("{}{others}", describe(first));
        Err(Error::Offline { what, path: self.path(&first.sha256) })
    }

    /// Is the right content at `path`? Removes what has another.
    fn is_sound(&self, wanted: &Wanted, path: &Path) -> Result<bool, Error> {
        let failed = |source| Error::file(path, source);
        let file = match fs_err::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error)),
        };
        let found = Digest::of_reader(file).map_err(failed)?;
        if found == (wanted.sha256, wanted.size) {
            // So that it counts as used; where that fails, it goes a little earlier.
            let file = fs_err::OpenOptions::new().append(true).open(path);
            let _ = file.and_then(|file| file.file().set_modified(SystemTime::now()));
            return Ok(true);
        }
        warn!(path = %path.display(), "a package file in the store is damaged and is thrown away");
        fs_err::remove_file(path).map_err(failed)?;
        Ok(false)
    }
}

fn describe(wanted: &Wanted) -> String {
    format!("package {} {} ({})", wanted.name, wanted.version, wanted.architecture)
}

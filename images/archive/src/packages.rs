//! The package files, each under its SHA-256: cache and source of every build.

mod light;

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

/// A directory of package files: `sha256/HEX.deb` as they were fetched, and `light/HEX.deb`, the same so that they are unpacked
/// fast. Several processes may use it at once.
#[derive(Debug, Clone)]
pub struct PackageStore {
    dir: PathBuf,
    /// Are light ones made and read?
    light: bool,
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
        Ok(Self { dir, light: true })
    }

    /// The same store for a reader who trusts nothing but what the lock vouches for: the files as they were fetched, each looked at
    /// again.
    #[must_use]
    pub fn as_fetched(self) -> Self {
        Self { light: false, ..self }
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

    /// The folder with the light ones of them, which need not be there; named and begun like the others.
    #[must_use]
    pub fn light_folder(&self) -> PathBuf {
        self.dir.join("light")
    }

    /// The file to unpack the package with that content from: it has the same files and control files, but may have other bytes.
    #[must_use]
    pub fn to_unpack(&self, sha256: &Digest) -> PathBuf {
        let light = self.light_path(sha256);
        if self.light && light.is_file() { light } else { self.path(sha256) }
    }

    fn light_path(&self, sha256: &Digest) -> PathBuf {
        self.light_folder().join(format!("{}.deb", sha256.hex()))
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

    /// Fetches what is missing of `wanted`, `jobs` at a time, and checks the content of what is there: of that which
    /// [`to_unpack`](Self::to_unpack) names. A damaged file is thrown away and fetched again. Each content is fetched once,
    /// however often it is wanted.
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
            if self.is_light(wanted) || self.is_sound(wanted, &path)? {
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
            self.lighten(wanted);
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

    /// Is that package there, and sound in the form that it is unpacked from?
    fn is_light(&self, wanted: &Wanted) -> bool {
        let light = self.light_path(&wanted.sha256);
        let sound = self.light && self.contains(wanted) && light::is_whole(&light);
        if sound {
            used(&light);
            used(&self.path(&wanted.sha256));
        }
        sound
    }

    /// Makes the form that is unpacked fast. Where it cannot be made, the other one is unpacked, and says what is wrong with it.
    fn lighten(&self, wanted: &Wanted) {
        if self.light {
            let light = self.light_path(&wanted.sha256);
            let made = light::make(&self.path(&wanted.sha256), &wanted.sha256, &light);
            // A damaged one must not be read.
            if made.is_err() && !light::is_whole(&light) {
                let _ = fs_err::remove_file(&light);
            }
        }
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
            used(path);
            self.lighten(wanted);
            return Ok(true);
        }
        warn!(path = %path.display(), "a package file in the store is damaged and is thrown away");
        fs_err::remove_file(path).map_err(failed)?;
        Ok(false)
    }
}

/// Notes that a file is in use; where that fails, it goes a little earlier.
fn used(path: &Path) {
    let file = fs_err::OpenOptions::new().append(true).open(path);
    let _ = file.and_then(|file| file.file().set_modified(SystemTime::now()));
}

fn describe(wanted: &Wanted) -> String {
    format!("package {} {} ({})", wanted.name, wanted.version, wanted.architecture)
}

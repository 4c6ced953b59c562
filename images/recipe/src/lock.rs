//! `overboot.lock`: which packages, to the byte, a recipe means.
//!
//! Written by `overboot lock`, committed by the user, read by every build. It names no mirror: a path is relative to
//! whichever mirror serves the suite of the archive, and the digest says whether what comes is right.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::slice::SliceIndex;

use overboot_digest::Digest;
use overboot_oci::Reference;
use serde::{Deserialize, Serialize};

use crate::diagnostic::{Diagnostic, Error};

/// A lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// The format of this file: 1.
    pub version: u32,
    /// The digest of everything in the recipe that says which packages are wanted. When the recipe's differs, the lock is
    /// out of date.
    pub wanted: Digest,
    /// The digest of what the recipe says of its archives: packages that were chosen from others are not held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Digest>,
    /// Seconds since 1970: the youngest `Release` that was used.
    pub epoch: u64,
    /// The archives' states that the packages were chosen from.
    #[serde(default, rename = "archive")]
    pub archives: Vec<LockedArchive>,
    /// Earlier states of them, which packages that were held are from: the archives list them no more.
    #[serde(default, rename = "earlier", skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<LockedArchive>,
    /// What each image is made of, by target (`base/base`).
    #[serde(default, rename = "image")]
    pub images: BTreeMap<String, LockedImage>,
    /// The container images that go into images.
    #[serde(default, rename = "container", skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<LockedContainer>,
    /// Every package that an image names.
    #[serde(default, rename = "package")]
    pub packages: Vec<LockedPackage>,
}

/// The state of an archive when the lock was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedArchive {
    /// Which extra archive of the recipe it is; none: the main one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// The suite, such as `trixie-security`.
    pub suite: String,
    /// What its Release file says of itself, in the words of apt's preferences: `o=Debian,a=stable,n=trixie`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub release: String,
    /// `Date` of its Release file, in seconds since 1970.
    pub date: u64,
    /// The same as services that keep all states of an archive have it in their addresses: `20261120T083012Z`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub snapshot: String,
    /// The digest of its signed Release file, by which the very state is known again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inrelease: Option<Digest>,
    /// The digests of its package lists, component by component.
    pub lists: Vec<Digest>,
}

/// What an image is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedImage {
    /// Seconds since 1970: no file of the image is newer. The state of the archives when its packages changed last, so that it
    /// stays the same image when only others' packages change; none: [`Lock::epoch`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// The digest of what the recipe asks for in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Digest>,
    /// For each step that installs packages, in order: batches that are configured one before the next, each with the keys of
    /// its packages ([`LockedPackage::key`]) in the order of unpacking.
    pub steps: Vec<Vec<Vec<String>>>,
    /// Of a base that starts from packages: where its first step may be gone on from, since what is before that moves less often
    /// than what comes after it.
    #[serde(default, rename = "stage", skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<LockedStage>,
}

/// A part of the packages that a base starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedStage {
    /// After how many batches of the first step it ends.
    pub batches: usize,
    /// The time that its packages are configured at, in seconds since 1970: the state of the archives when the packages up to its end
    /// became what they are.
    pub epoch: u64,
}

/// A container image, to the byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedContainer {
    /// As the recipe names it.
    pub image: String,
    /// Its manifest for the architecture of the recipe.
    pub manifest: Digest,
}

/// Where a package's file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Whence {
    /// In an archive.
    Archive {
        /// Which extra archive of the recipe that is; none: the main one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        archive: Option<String>,
        /// The suite that it was found in.
        suite: String,
        /// Its path below the mirror.
        path: String,
        /// The [`LockedArchive::snapshot`] that had it, where the state that the lock was made from last has it no more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        snapshot: Option<String>,
    },
    /// In the project, at this path.
    File {
        /// Relative to the project.
        file: PathBuf,
    },
    /// Elsewhere.
    Url {
        /// Where.
        url: String,
    },
}

/// A package, to the byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture, which may be `all`.
    pub architecture: String,
    /// Where its file is.
    #[serde(flatten)]
    pub whence: Whence,
    /// Its size in bytes.
    pub size: u64,
    /// What it takes when it is installed, as it says itself, in bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub installed: u64,
    /// Its digest.
    pub sha256: Digest,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl LockedPackage {
    /// How images name it: `name=version`, and for one that is not the main archive's the beginning of its digest too, since
    /// anybody may make another file of that version.
    #[must_use]
    pub fn key(&self) -> String {
        match self.whence {
            Whence::Archive { archive: None, .. } => format!("{}={}", self.name, self.version),
            Whence::Archive { archive: Some(_), .. } | Whence::File { .. } | Whence::Url { .. } => {
                format!("{}={}@{}", self.name, self.version, self.sha256.short())
            }
        }
    }
}

impl LockedImage {
    /// The keys of all its packages, in the order of unpacking.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.steps.iter().flatten().flatten()
    }
}

impl Lock {
    /// The name of a lock's file.
    pub const FILE: &str = "overboot.lock";

    /// The name of a file that is about to become one: what is found of it when nobody makes a lock was left by one who was killed.
    pub const ASIDE: &str = ".overboot.lock.new";

    const HEADER: &str = "# Written by `overboot lock`: which packages the recipe means, to the byte. Commit it.\n\
                          # Do not edit it; `overboot lock --update` brings it up to date.\n\n";

    /// Reads the lock of the project in `folder`; `None` where there is none yet.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::Invalid`] when it is not a lock of ours.
    pub fn load(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(Self::FILE);
        match fs_err::read_to_string(&path) {
            Ok(text) => Self::parse(&text, &path).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Read { path, source }),
        }
    }

    /// Reads the lock `text` of the file `path`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is not a lock of ours.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let help = "make it anew with `overboot lock --update`";
        let invalid = |diagnostic: Diagnostic| Error::Invalid(vec![diagnostic.help(help)]);
        let lock: Self = toml::from_str(text)
            .map_err(|error| invalid(Diagnostic::at(path, text, error.span(), error.message())))?;
        if lock.version != 1 {
            let message = format!("this lock has format {}, and only 1 is known", lock.version);
            return Err(invalid(Diagnostic::at(path, text, None, message)));
        }
        let known: std::collections::BTreeSet<String> =
            lock.packages.iter().map(LockedPackage::key).collect();
        for (target, image) in &lock.images {
            if let Some(key) = image.keys().find(|key| !known.contains(*key)) {
                let message =
                    format!("image {target} names {key}, which is not among the packages");
                return Err(invalid(Diagnostic::at(path, text, None, message)));
            }
            let batches = image.steps.first().map_or(0, Vec::len);
            let ends: Vec<usize> = image.stages.iter().map(|stage| stage.batches).collect();
            let bounds = [&[0], &*ends, &[batches + 1]].concat();
            if !bounds.is_sorted_by(|one, next| one < next) {
                let message =
                    format!("stages of image {target} end after batches {ends:?} of {batches}");
                return Err(invalid(Diagnostic::at(path, text, None, message)));
            }
        }
        Ok(lock)
    }

    /// The text of the file.
    #[must_use]
    pub fn to_text(&self) -> String {
        #[expect(clippy::expect_used, reason = "plain strings and numbers always become TOML")]
        let body = toml::to_string_pretty(self).expect("a lock becomes TOML");
        format!("{}{body}", Self::HEADER)
    }

    /// Writes the lock into the project in `folder`: aside, then renamed. Only for a caller who keeps others away.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn save(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(Self::FILE);
        let aside = folder.join(Self::ASIDE);
        let write = || {
            let mut file = fs_err::File::create(&aside)?;
            std::io::Write::write_all(&mut file, self.to_text().as_bytes())?;
            file.sync_all()?;
            fs_err::rename(&aside, &path)?;
            // Only then is its name on the disk, too.
            fs_err::File::open(folder)?.sync_all()
        };
        write().map_err(|source| {
            let _ = fs_err::remove_file(&aside);
            Error::Write { path: path.clone(), source }
        })
    }

    /// The manifest of the container image that the recipe calls `image`.
    #[must_use]
    pub fn manifest(&self, image: &Reference) -> Option<Digest> {
        let image = image.to_string();
        self.containers.iter().find(|known| known.image == image).map(|known| known.manifest)
    }

    /// No file of the image `target` is newer, in seconds since 1970.
    #[must_use]
    pub fn epoch_of(&self, target: &str) -> u64 {
        self.images.get(target).and_then(|image| image.epoch).unwrap_or(self.epoch)
    }

    /// Where the first step of the image `target` may be gone on from.
    #[must_use]
    pub fn stages_of(&self, target: &str) -> &[LockedStage] {
        self.images.get(target).map(|image| image.stages.as_slice()).unwrap_or_default()
    }

    /// Some batches of the first step of the image `target`; nothing where it has not that many.
    #[must_use]
    pub fn first_step(
        &self,
        target: &str,
        batches: impl SliceIndex<[Vec<String>], Output = [Vec<String>]>,
    ) -> Vec<Vec<&LockedPackage>> {
        let image = self.images.get(target);
        let step = image.and_then(|image| image.steps.first()?.get(batches));
        step.map(|batches| self.found(batches)).unwrap_or_default()
    }

    /// The state of its archive that has a package: where to look for it when the mirror has it no more.
    #[must_use]
    pub fn state(&self, package: &LockedPackage) -> Option<&LockedArchive> {
        let Whence::Archive { archive, suite, snapshot, .. } = &package.whence else { return None };
        let theirs = |state: &&LockedArchive| state.archive == *archive && state.suite == *suite;
        match snapshot {
            None => self.archives.iter().find(theirs),
            Some(of) => self.earlier.iter().filter(theirs).find(|state| state.snapshot == *of),
        }
    }

    /// The packages of `target`: step by step, batch by batch; nothing when the lock does not know it.
    #[must_use]
    pub fn steps(&self, target: &str) -> Vec<Vec<Vec<&LockedPackage>>> {
        let Some(image) = self.images.get(target) else { return Vec::new() };
        image.steps.iter().map(|batches| self.found(batches)).collect()
    }

    fn found(&self, batches: &[Vec<String>]) -> Vec<Vec<&LockedPackage>> {
        let by_key: BTreeMap<String, &LockedPackage> =
            self.packages.iter().map(|package| (package.key(), package)).collect();
        let find = |key: &String| by_key.get(key).copied();
        batches.iter().map(|batch| batch.iter().filter_map(find).collect()).collect()
    }
}

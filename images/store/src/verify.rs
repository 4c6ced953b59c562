//! Is everything there, and whole? And what is not, out of the way.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use overboot_digest::Digest;

use crate::files::sync_parent;
use crate::{Descriptor, Error, Store, layout};

/// Something in a store that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// A blob whose content is not what its name says.
    Damaged {
        /// The blob.
        path: PathBuf,
        /// The digest of what is in it.
        found: Digest,
        /// The artifacts that need it, by name.
        needed_by: Vec<String>,
    },
    /// A blob that cannot be read: a failing disk, or another user's file.
    Unreadable {
        /// The blob.
        path: PathBuf,
        /// What the system says.
        reason: String,
        /// The artifacts that need it, by name.
        needed_by: Vec<String>,
    },
    /// A file among the blobs that is none.
    Stray {
        /// The file.
        path: PathBuf,
    },
    /// An artifact that lacks some content, or whose manifest cannot be read.
    Incomplete {
        /// Its name.
        target: String,
        /// What is wrong, a sentence.
        reason: String,
    },
}

impl Problem {
    /// The file that should not be where it is.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Damaged { path, .. } | Self::Unreadable { path, .. } | Self::Stray { path } => {
                Some(path)
            }
            Self::Incomplete { .. } => None,
        }
    }

    /// The artifacts that need the blob that it is about.
    fn needed_by(&self) -> &[String] {
        match self {
            Self::Damaged { needed_by, .. } | Self::Unreadable { needed_by, .. } => needed_by,
            Self::Stray { .. } | Self::Incomplete { .. } => &[],
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { path, found, .. } => {
                write!(f, "{} is damaged: its content is {found}", path.display())?;
            }
            Self::Unreadable { path, reason, .. } => {
                write!(f, "{} cannot be read: {reason}", path.display())?;
            }
            Self::Stray { path } => write!(f, "{} is not a blob", path.display())?,
            Self::Incomplete { target, reason } => write!(f, "{target} is incomplete: {reason}")?,
        }
        match self.needed_by() {
            [] => Ok(()),
            needed_by => write!(f, "; needed by {}", needed_by.join(", ")),
        }
    }
}

impl Store {
    /// Reads all blobs and follows all names; returns what is wrong, nothing when all is well. A damaged or unreadable
    /// blob that an artifact needs is told once, as the blob. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Document`] where `index.json` cannot be read, [`Error::File`] where the blobs cannot be listed.
    pub fn verify(&self) -> Result<Vec<Problem>, Error> {
        let (needed, incomplete) = self.follow()?;
        let mut problems = Vec::new();
        let blobs = self.blobs();
        let mut paths = Vec::new();
        for entry in fs_err::read_dir(&blobs).map_err(Error::read(&blobs))? {
            paths.push(entry.map_err(Error::read(&blobs))?.path());
        }
        paths.sort();
        for path in paths {
            let Some(named) = named(&path) else {
                problems.push(Problem::Stray { path });
                continue;
            };
            let needed_by = || needed.get(&named).cloned().unwrap_or_default();
            match digest(&path) {
                Ok(found) if found == named => {}
                Ok(found) => {
                    problems.push(Problem::Damaged { path, found, needed_by: needed_by() });
                }
                Err(error) => {
                    let reason = error.to_string();
                    problems.push(Problem::Unreadable { path, reason, needed_by: needed_by() });
                }
            }
        }
        let told = |target: &String| problems.iter().any(|told| told.needed_by().contains(target));
        let rest = incomplete.into_iter().filter(|(target, _)| !told(target));
        let rest: Vec<_> =
            rest.map(|(target, reason)| Problem::Incomplete { target, reason }).collect();
        problems.extend(rest);
        Ok(problems)
    }

    /// Moves the file that `problem` is about out of the blobs into the folder `damaged`, where nothing looks for it; then it
    /// is missing, and made again by whoever can. Returns where it is now: nowhere new if it is not the problem's file, or is
    /// whole by now.
    ///
    /// Only for a caller who keeps writers of the store away.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::DiskFull`].
    pub fn set_aside(&self, problem: &Problem) -> Result<Option<PathBuf>, Error> {
        let Some((path, name)) = problem.path().and_then(|path| Some((path, path.file_name()?)))
        else {
            return Ok(None);
        };
        // Also a link to nothing is something.
        let gone = path.symlink_metadata().is_err();
        if gone || named(path).is_some_and(|named| digest(path).is_ok_and(|d| d == named)) {
            return Ok(None);
        }
        let folder = self.dir().join("damaged");
        fs_err::create_dir_all(&folder).map_err(Error::write(&folder))?;
        let to = free_name(&folder, name);
        fs_err::rename(path, &to).map_err(Error::write(&to))?;
        sync_parent(path)?;
        Ok(Some(to))
    }

    /// Follows all names: which blob is needed by which artifacts, and which artifacts are not whole, and why.
    #[expect(clippy::type_complexity, reason = "two lists, taken apart at once")]
    fn follow(&self) -> Result<(BTreeMap<Digest, Vec<String>>, Vec<(String, String)>), Error> {
        let mut needed: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
        let mut incomplete = Vec::new();
        for entry in &self.index()?.manifests {
            let target = layout::name(entry).unwrap_or("(unnamed)").to_owned();
            needed.entry(entry.digest).or_default().push(target.clone());
            let reason = match self.blob_state(entry.descriptor()) {
                Some(state) => Some(format!("its manifest {} is {state}", entry.digest)),
                // An image that another tool has put there may be an index of its own.
                None if entry.media_type != layout::MANIFEST => None,
                None => match self.artifact(&target, entry) {
                    Err(error) => Some(error.to_string()),
                    Ok(artifact) => {
                        let own = || artifact.manifest.contents();
                        // Of parts whose manifests cannot be read that is what is wrong.
                        let all = self.contents(&artifact);
                        for blob in all.as_ref().map_or_else(|_| own().collect(), Vec::clone) {
                            let needed_by = needed.entry(blob.digest).or_default();
                            // Two parts may have the same in them.
                            if needed_by.last() != Some(&target) {
                                needed_by.push(target.clone());
                            }
                        }
                        let lost = |blob: Descriptor| {
                            let state = self.blob_state(blob)?;
                            Some(format!("{} is {state}", blob.digest))
                        };
                        own().find_map(lost).or_else(|| match all {
                            Ok(all) => all.into_iter().find_map(lost),
                            Err(error) => Some(error.to_string()),
                        })
                    }
                },
            };
            incomplete.extend(reason.map(|reason| (target, reason)));
        }
        Ok((needed, incomplete))
    }
}

/// The digest that a blob's file is named by. Also a name in capitals is none: nobody would find it.
fn named(path: &Path) -> Option<Digest> {
    let name = path.file_name()?.to_str()?;
    name.parse::<Digest>().ok().filter(|digest| digest.hex() == name && path.is_file())
}

fn digest(path: &Path) -> io::Result<Digest> {
    // Not fs_err's: whoever tells it names the path.
    Ok(Digest::of_reader(std::fs::File::open(path)?)?.0)
}

/// `NAME`, or `NAME.1` and so on: what was put there earlier stays, and may be a folder.
fn free_name(folder: &Path, name: &OsStr) -> PathBuf {
    let mut to = folder.join(name);
    let mut number = 0_u64;
    while to.symlink_metadata().is_ok() {
        number += 1;
        let mut numbered = name.to_owned();
        numbered.push(format!(".{number}"));
        to = folder.join(numbered);
    }
    to
}

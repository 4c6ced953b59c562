//! Is everything there, and whole?

use std::fmt;
use std::path::PathBuf;

use overboot_digest::Digest;

use crate::{Error, Store, layout};

/// Something in a store that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// A blob whose content is not what its name says.
    Damaged {
        /// The blob.
        path: PathBuf,
        /// The digest of what is in it.
        found: Digest,
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

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { path, found } => {
                write!(f, "{} is damaged: its content is {found}", path.display())
            }
            Self::Stray { path } => write!(f, "{} is not a blob", path.display()),
            Self::Incomplete { target, reason } => write!(f, "{target} is incomplete: {reason}"),
        }
    }
}

impl Store {
    /// Reads all blobs and follows all names; returns what is wrong, nothing when all is well. A damaged blob that an
    /// artifact needs is told once, as the blob.
    ///
    /// # Errors
    /// [`Error::Document`] where `index.json` cannot be read, [`Error::File`].
    pub fn verify(&self) -> Result<Vec<Problem>, Error> {
        let mut problems = Vec::new();
        let blobs = self.blobs();
        let mut paths = Vec::new();
        for entry in fs_err::read_dir(&blobs).map_err(Error::read(&blobs))? {
            paths.push(entry.map_err(Error::read(&blobs))?.path());
        }
        paths.sort();
        for path in paths {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
            // Also a name in capitals is none: nobody would find it.
            let Some(named) = name.parse::<Digest>().ok().filter(|digest| digest.hex() == name)
            else {
                problems.push(Problem::Stray { path });
                continue;
            };
            let file = fs_err::File::open(&path).map_err(Error::read(&path))?;
            let (found, _) = Digest::of_reader(file).map_err(Error::read(&path))?;
            if found != named {
                problems.push(Problem::Damaged { path, found });
            }
        }
        for entry in &self.index()?.manifests {
            let target = layout::name(entry).unwrap_or("(unnamed)").to_owned();
            let reason = match self.blob_state(entry.descriptor()) {
                Some(state) => Some(format!("its manifest {} is {state}", entry.digest)),
                // An image that another tool has put there may be an index of its own.
                None if entry.media_type != layout::MANIFEST => None,
                None => match self.artifact(&target, entry) {
                    Err(error) => Some(error.to_string()),
                    Ok(artifact) => artifact.manifest.contents().find_map(|blob| {
                        let state = self.blob_state(blob)?;
                        Some(format!("{} is {state}", blob.digest))
                    }),
                },
            };
            problems.extend(reason.map(|reason| Problem::Incomplete { target, reason }));
        }
        Ok(problems)
    }
}

//! What can go wrong with the database.

use std::io;
use std::path::PathBuf;

use crate::{BadId, NodeId, WorkflowId};

/// Why something could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database's folder could not be made.
    #[error("making the folder {} for the database", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },

    /// The database could not be opened.
    #[error("opening the database {}", path.display())]
    Open {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },

    /// The tables could not be brought up to date.
    #[error("bringing the tables of {} up to date", path.display())]
    Migrate {
        /// The database's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::migrate::MigrateError,
    },

    /// The database failed.
    #[error("the database failed while {doing}")]
    Database {
        /// What it was to do.
        doing: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },

    /// A stored document is not what it should be.
    #[error("a stored document does not read, while {doing}")]
    Document {
        /// What it was read for.
        doing: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },

    /// A stored id is not one.
    #[error("a stored id does not read, while {doing}")]
    Id {
        /// What it was read for.
        doing: &'static str,
        /// Why.
        #[source]
        source: BadId,
    },

    /// Another lookup has this MAC address.
    #[error("a lookup for {mac} exists already")]
    DuplicateLookup {
        /// The MAC address.
        mac: String,
    },

    /// A workflow has this node already. The words are RackHD's.
    #[error("Unable to run multiple task graphs against a single target.")]
    TargetTaken {
        /// The node.
        target: NodeId,
    },

    /// Somebody else changed the workflow in between. Read it again and decide anew.
    #[error("workflow {workflow} was changed by somebody else")]
    Changed {
        /// The workflow.
        workflow: WorkflowId,
    },

    /// The node does not exist (any more).
    #[error("node {node} does not exist")]
    NoNode {
        /// The node.
        node: NodeId,
    },
}

impl Error {
    /// What the reader can do about it, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Folder { .. } | Self::Open { .. } => {
                Some("give a folder that this user may write to, on a local file system")
            }
            Self::Migrate { .. } => Some(
                "the database is from a newer version: use that, or start with an empty folder",
            ),
            Self::Document { .. } | Self::Id { .. } => {
                Some("the database was changed by hand or is damaged: restore it from a backup")
            }
            Self::DuplicateLookup { .. } => Some("change the lookup that exists"),
            Self::TargetTaken { .. } => {
                Some("wait for the node's active workflow to end, or cancel it")
            }
            Self::Database { .. } | Self::Changed { .. } | Self::NoNode { .. } => None,
        }
    }
}

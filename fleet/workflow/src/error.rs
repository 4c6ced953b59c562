//! What can go wrong with graphs and their runs.

use overboot_state::{NodeId, WorkflowId};

/// Why the engine did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No graph of this name.
    #[error("Graph with name {name} does not exist.")]
    UnknownGraph {
        /// The name.
        name: String,
    },

    /// No task of this name.
    #[error("Task with name {name} does not exist.")]
    UnknownTask {
        /// The name.
        name: String,
    },

    /// No run of this id.
    #[error("workflow {id} does not exist")]
    UnknownWorkflow {
        /// The id.
        id: WorkflowId,
    },

    /// No node of this id.
    #[error("node {id} does not exist")]
    UnknownNode {
        /// The id.
        id: NodeId,
    },

    /// The run has ended, so that it cannot be cancelled.
    #[error("workflow {id} is not an active workflow")]
    NotActive {
        /// The id.
        id: WorkflowId,
    },

    /// The run has not ended, so that its record cannot be deleted.
    #[error("workflow {id} is active and cannot be deleted")]
    StillActive {
        /// The id.
        id: WorkflowId,
    },

    /// The node has no active run.
    #[error("node {id} has no active workflow")]
    NothingActive {
        /// The node.
        id: NodeId,
    },

    /// A workflow has this node already. The words are RackHD's.
    #[error("Unable to run multiple task graphs against a single target.")]
    TargetTaken {
        /// The node.
        target: NodeId,
    },

    /// A definition is not one.
    #[error("the definition of {name} is not usable: {reason}")]
    Definition {
        /// What it would define.
        name: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A graph cannot be run with these options.
    #[error("graph {graph} cannot be run: {reason}")]
    Graph {
        /// The graph.
        graph: String,
        /// What is wrong.
        reason: String,
    },

    /// A task of a graph cannot be run with these options.
    #[error("graph {graph} cannot be run: task \"{label}\": {reason}")]
    Task {
        /// The graph.
        graph: String,
        /// The task.
        label: String,
        /// What is wrong.
        reason: String,
    },

    /// A request makes no sense.
    #[error("{reason}")]
    Request {
        /// Why.
        reason: String,
    },

    /// The password of a login could not be hashed.
    #[error("hashing the password of a login: {reason}")]
    Hash {
        /// Why.
        reason: String,
    },

    /// The state could not be read or written.
    #[error("the fleet's state could not be read or written")]
    State(#[source] overboot_state::Error),

    /// The engine has been stopped.
    #[error("the workflow engine has been stopped")]
    Stopped,
}

/// What kind of trouble an [`Error`] is; the server makes a status code of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// What was named does not exist: 404.
    NotFound,
    /// The request cannot be done as it is: 400.
    Invalid,
    /// The request cannot be done now: 403 (deleting what is active).
    Forbidden,
    /// Not the client's doing: 500.
    Internal,
    /// The engine is going down: 503.
    Stopped,
}

impl Error {
    /// What kind of trouble it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownGraph { .. }
            | Self::UnknownTask { .. }
            | Self::UnknownWorkflow { .. }
            | Self::UnknownNode { .. }
            | Self::NotActive { .. }
            | Self::NothingActive { .. } => ErrorKind::NotFound,
            Self::TargetTaken { .. }
            | Self::Definition { .. }
            | Self::Graph { .. }
            | Self::Task { .. }
            | Self::Request { .. } => ErrorKind::Invalid,
            Self::StillActive { .. } => ErrorKind::Forbidden,
            Self::Hash { .. } | Self::State(_) => ErrorKind::Internal,
            Self::Stopped => ErrorKind::Stopped,
        }
    }

    /// What the reader can do about it, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::UnknownGraph { .. } => Some("GET /api/current/workflows/graphs lists the graphs"),
            Self::UnknownTask { .. } => Some("GET /api/current/workflows/tasks lists the tasks"),
            Self::TargetTaken { .. } => Some(
                "wait for the node's active workflow to end, or PUT /nodes/<id>/workflows/action {\"command\": \"cancel\"}",
            ),
            Self::StillActive { .. } => Some("cancel it first"),
            Self::State(source) => source.hint(),
            Self::UnknownWorkflow { .. }
            | Self::UnknownNode { .. }
            | Self::NotActive { .. }
            | Self::NothingActive { .. }
            | Self::Definition { .. }
            | Self::Graph { .. }
            | Self::Task { .. }
            | Self::Request { .. }
            | Self::Hash { .. }
            | Self::Stopped => None,
        }
    }
}

impl From<overboot_state::Error> for Error {
    fn from(source: overboot_state::Error) -> Self {
        match source {
            overboot_state::Error::TargetTaken { target } => Self::TargetTaken { target },
            overboot_state::Error::NoNode { node } => Self::UnknownNode { id: node },
            other => Self::State(other),
        }
    }
}

//! Workflows: what graphs mean, and the engine that drives nodes through them.
//!
//! | module | what it does |
//! |---|---|
//! | [`definition`](GraphDefinition), [`library`](Library) | graphs and tasks in RackHD's JSON; those that come with the program are in `graphs/`, `tasks/`, `base/` |
//! | `render`, `create` | options merged and templates filled in: from a definition and a [`GraphRequest`] to a run (pure) |
//! | `graph` | which task can start, and when a run is over and how (pure) |
//! | `job` | what a task does: a small state machine per job (pure) |
//! | `turn` | one event and all that follows from it at once (pure) |
//! | `login` | the login that `Graph.BootstrapUbuntu` opens |
//! | [`catalog`] | what the output of `dmidecode`, `lshw`, … says |
//! | [`engine`](Engine) | the run of it all: database, power controls, polling nodes, time |
//!
//! This crate writes no SQL, speaks to no BMC and knows no HTTP: it uses `overboot-state` and `overboot-power`, and
//! `overboot-server` gives nodes and operators access to [`Engine`].

pub mod catalog;
mod create;
mod definition;
mod engine;
mod error;
mod graph;
mod job;
mod library;
mod login;
mod policy;
mod render;
mod turn;

pub use create::GraphRequest;
pub use definition::{BaseTask, GraphDefinition, GraphTask, TaskDefinition};
pub use engine::{BootRequest, Config, Engine};
pub use error::{Error, ErrorKind};
pub use library::Library;

use policy::Policy;

//! What the fleet is and what it is in the middle of, kept on disk. The only crate that writes SQL.
//!
//! | module | what it holds |
//! |---|---|
//! | [`ids`](NodeId), [`time`](Timestamp) | names and points in time |
//! | [`node`](Node) | nodes, [`Lookup`]s, [`Obm`] records, [`Catalog`]s |
//! | [`workflow`](Workflow) | runs of graphs and their tasks |
//! | [`session`](Session) | the boot a node is in, and who may log in |
//! | [`timeline`](Timeline) | boots, stage by stage |
//! | [`store`](State) | the database: [`State`] reads, a [`Batch`] describes what is written at once |
//!
//! Documents have RackHD's shapes. This crate does not decide anything: it knows no graph semantics, starts no task,
//! and opens no socket.
//!
//! Writes come in two strengths. What is acted on (a workflow's transition, a login) is on the disk when the call
//! returns: [`Durability::Full`]. What can be told again (lookups, boot events) is in the database's log, and after
//! the power fails the last seconds of it may be missing: [`Durability::Relaxed`]. Neither leaves half a write.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use overboot_state::{Node, State};
//!
//! let folder = tempfile::tempdir().unwrap();
//! let state = State::open(&folder.path().join("fleet.sqlite")).await?;
//! let node = Node::discovered(&["52:54:00:00:00:01".parse().unwrap()]);
//! state.put_node(&node).await?;
//! assert_eq!(state.find_by_identifier("52:54:00:00:00:01").await?, Some(node));
//! # Ok::<(), overboot_state::Error>(())
//! # }).unwrap();
//! ```

mod error;
mod ids;
mod node;
mod session;
mod store;
mod time;
mod timeline;
mod workflow;

pub use error::Error;
pub use ids::{BadId, BootId, CatalogId, LookupId, NodeId, ObmId, RecordId, TaskId, WorkflowId};
pub use node::{BootSettings, Catalog, Lookup, Node, Obm, Relation};
pub use session::{NodeSession, OpenLogin, Session};
pub use store::{Batch, Definition, DefinitionKind, Durability, State};
pub use time::Timestamp;
pub use timeline::{Boot, BootEvent, Recorded, Timeline};
pub use workflow::{End, Ends, Status, Task, WaitOn, Workflow};

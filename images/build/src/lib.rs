//! What to build and why (pure), and doing it.
//!
//! From a recipe to a store, in this order:
//!
//! - [`lock`](mod@lock): which packages, to the byte, the recipe means; where they come from is in [`sources`].
//! - [`plan`](mod@plan): the steps of a build, each with a key made of everything it reads, and why it must run. Pure.
//! - [`execute`](mod@execute): carries a plan out: fetches what its steps read, and runs those that must run.
//! - [`contract`]: facts beside bases and overlays; which overlays hold on another base.
//! - [`export`]: what is in the store in its ancestor's form.
//! - [`signing`]: the keys of boot sets.
//! - [`change`](mod@change): what another lock would change.
//! - [`collect`](mod@collect): space.
//! - [`publish`](mod@publish): which boot sets nodes get.
//! - [`verify`](mod@verify): is what the store holds what it says it is?
//! - [`Project`]: the folders of a project, and the lock that keeps two builds apart.
//!
//! Does not know how anything is shown to a person (that is told in [`Event`]s), nor the network beyond the archive's fetcher.

mod ansible;
mod apt;
pub mod change;
pub mod collect;
mod containers;
pub mod contract;
mod debs;
mod error;
mod event;
pub mod execute;
pub mod export;
mod inputs;
pub mod lock;
pub mod plan;
mod project;
pub mod publish;
mod said;
mod schedule;
pub mod signing;
pub mod sources;
mod steps;
mod transactions;
pub mod verify;

pub use ansible::{ENTER, enter};
pub use collect::{Garbage, Spare, collect};
pub use error::Error;
pub use event::Event;
pub use execute::{Built, Goal, execute};
pub use lock::{Moving, lock};
pub use overboot_record::Record;
pub use overboot_rootfs::rootless::{Refusal, become_root};
pub use plan::{Plan, Step, Target, plan};
pub use project::{Apart, Occupied, Options, Project};
pub use publish::publish;
pub use verify::verify;

//! One file a subcommand: its arguments, and what it does.

mod aside;
pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod diff;
pub(crate) mod export;
pub(crate) mod gc;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod lock;
pub(crate) mod plan;
mod project;
pub(crate) mod publish;
pub(crate) mod pull;
pub(crate) mod push;
mod registry;
pub(crate) mod sandbox;
pub(crate) mod sbom;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod trees;
pub(crate) mod try_vm;
pub(crate) mod verify;

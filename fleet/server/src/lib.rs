//! The boot server: RackHD's API, what nodes ask, and everything that `overboot serve` starts.
//!
//! - [`Server::start`] with a [`ServerConfig`] gives a [`Running`] server.
//! - `http`: how we speak HTTP: errors, bodies, ranges, lists.
//! - `api`: one file for each kind of thing under `/api/current`, and what nodes fetch.
//! - `boot`: from a machine that asks to what it boots.
//! - `fleet`, `outputs`, `page`: all nodes at a glance.
//!
//! RackHD's vocabulary and quirks end here. This crate writes no SQL, decides no graph's next step and no machine's
//! boot, and opens no DHCP socket itself: it asks the crates that do.

mod api;
mod app;
mod boot;
mod config;
mod error;
mod fleet;
mod http;
mod images;
mod outputs;
mod page;
mod server;

pub use config::{Dhcp, ServerConfig};
pub use error::Error;
pub use overboot_netboot::dhcp::Network;
pub use server::{Running, Server};

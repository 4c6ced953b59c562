//! Init and agent: the static program that turns a netbooted kernel into a commanded node.
//!
//! | module | what it does |
//! |---|---|
//! | [`init`] | process 1 of the initrd: modules, network, boot set, layers, root |
//! | [`agent`] | asks the server for tasks, runs them, posts results; opens and closes logins; keeps the lease |
//! | [`handover`] | what init leaves for the root and the agent |
//! | [`dhcp`] | the DHCP client, a state machine without sockets |
//! | [`http`], [`url`], [`dns`] | a small HTTP client |
//! | [`log`], [`report`] | console, syslog, and the boot server's timeline |
//! | [`clock`], [`error`] | time since the kernel's start; what can go wrong, in sentences |
//!
//! It must stay small and self-contained: no async runtime, no TLS, no SQL, no C library lookups at run time, no shell
//! before the root is up. Everything that comes from the network is hostile until a signature says otherwise.

pub mod agent;
pub mod clock;
pub mod dhcp;
pub mod dns;
pub mod error;
pub mod handover;
pub mod http;
pub mod init;
pub mod log;
pub mod report;
pub mod url;

pub use error::Error;

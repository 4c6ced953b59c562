//! Power and boot device of a node behind one trait.
//!
//! This is the only crate that speaks to whatever stands beside a machine and switches it: a BMC, a hypervisor,
//! or nothing at all. It knows nothing of nodes, workflows or the API; it is given a service name and that
//! service's settings, as RackHD's OBM records hold them, and answers with something that implements [`Power`].
//!
//! - [`Power`]: the trait, object safe, with [`PowerState`], [`BootDevice`] and [`Persistence`].
//! - [`Noop`]: a machine that nobody can switch. Everything succeeds and nothing happens.
//! - [`Qemu`]: a QEMU virtual machine over its QMP socket.
//! - [`Powers`]: from a service name and its settings to a shared [`Power`].
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use overboot_power::{BootDevice, Persistence, Powers};
//!
//! let powers = Powers::new();
//! let node = powers.for_service("noop-obm-service", &serde_json::json!({}))?;
//! node.set_boot_device(BootDevice::Pxe, Persistence::Once).await?;
//! node.reset().await?;
//! # Ok::<(), overboot_power::Error>(())
//! # }).unwrap();
//! ```

mod error;
mod noop;
mod power;
mod qemu;
mod qmp;
mod service;

pub use error::Error;
pub use noop::Noop;
pub use power::{BootDevice, Persistence, Power, PowerFuture, PowerState};
pub use qemu::{Qemu, QemuConfig};
pub use qmp::Qmp;
pub use service::{NOOP_SERVICE, Powers, QEMU_SERVICE};

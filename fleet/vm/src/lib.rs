//! QEMU machines to boot into, for `overboot try` and for the tests.
//!
//! A machine here is a child process with a serial console and a monitor socket. Whatever happens, it does not outlive
//! the program that started it. The crate is blocking (threads, no tokio) and knows nothing of images, servers or
//! nodes; power and boot order of a running machine belong to `overboot-power`, to which [`Machine::power_socket`]
//! is given.
//!
//! - [`MachineConfig`]: what the machine has, and what it boots.
//! - [`Accel`] and [`choose_accel`]: KVM where it really boots a kernel, TCG elsewhere.
//! - [`Machine`]: the running process. [`Console`]: what it wrote to its serial port.
//!
//! ```no_run
//! use overboot_vm::{Boot, Machine, MachineConfig};
//! use std::time::Duration;
//!
//! let dir = std::path::Path::new("/tmp/vm");
//! let config = MachineConfig::new(Boot::Kernel {
//!     kernel: "/boot/vmlinuz".into(),
//!     initrd: None,
//!     cmdline: "console=ttyS0".into(),
//! });
//! let machine = Machine::start(&config, dir)?;
//! machine.console().wait_for("Linux version", Duration::from_secs(30))?;
//! # Ok::<(), overboot_vm::Error>(())
//! ```

mod accel;
mod child;
mod config;
mod console;
mod error;
mod machine;

pub use accel::{Accel, AccelChoice, Choice, choose_accel};
pub use config::{Boot, Forward, MachineConfig, Network, Nic};
pub use console::Console;
pub use error::Error;
pub use machine::{Machine, QEMU};

//! The trait, and the few words that every kind of power control understands.

use std::fmt;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use crate::Error;

/// What every operation of [`Power`] returns: boxed, so that the trait is object safe.
pub type PowerFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Control of one machine from outside of it.
///
/// Every operation is idempotent (switching on what is on succeeds) and bounded in time by its implementation.
/// Callers decide how often to retry.
pub trait Power: fmt::Debug + Send + Sync {
    /// Whether the machine has power.
    fn status(&self) -> PowerFuture<'_, PowerState>;

    /// Switches the machine on. It boots from the device chosen last.
    fn on(&self) -> PowerFuture<'_, ()>;

    /// Takes the power away at once, without asking the operating system.
    fn off(&self) -> PowerFuture<'_, ()>;

    /// Restarts the machine at once. A machine that is off is switched on.
    fn reset(&self) -> PowerFuture<'_, ()>;

    /// Chooses what the machine boots from at its next start, or at all starts from now on.
    fn set_boot_device(&self, device: BootDevice, persistence: Persistence) -> PowerFuture<'_, ()>;
}

/// Whether a machine has power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PowerState {
    /// It runs.
    On,
    /// It does not.
    Off,
    /// This kind of control cannot tell.
    Unknown,
}

impl fmt::Display for PowerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Unknown => "unknown",
        })
    }
}

/// What a machine boots from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BootDevice {
    /// The network.
    Pxe,
    /// The first disk.
    Disk,
}

impl fmt::Display for BootDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pxe => "pxe",
            Self::Disk => "disk",
        })
    }
}

/// How long a choice of boot device lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Persistence {
    /// For the next start only; then the order is what it was.
    Once,
    /// Until somebody chooses again.
    Always,
}

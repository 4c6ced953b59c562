//! A machine that nobody can switch.

use crate::{BootDevice, Persistence, Power, PowerFuture, PowerState};

/// Everything succeeds and nothing happens: RackHD's `noop-obm-service`, for machines that are switched by hand
/// or boot from the network anyway.
#[derive(Clone, Copy, Debug, Default)]
pub struct Noop;

impl Power for Noop {
    fn status(&self) -> PowerFuture<'_, PowerState> {
        Box::pin(async { Ok(PowerState::Unknown) })
    }

    fn on(&self) -> PowerFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn off(&self) -> PowerFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn reset(&self) -> PowerFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn set_boot_device(&self, _: BootDevice, _: Persistence) -> PowerFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

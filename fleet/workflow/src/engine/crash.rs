//! A place where tests let the program die: before or after a transaction.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::Error;

/// Counts passages down; at zero the program is as good as dead: nothing can be written any more.
#[derive(Debug)]
pub(crate) struct Point(AtomicI64);

impl Default for Point {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MAX))
    }
}

impl Point {
    /// Lets the program live for this many passages more.
    pub(crate) fn after(&self, passages: i64) {
        self.0.store(passages, Ordering::SeqCst);
    }

    /// Whether the program has died.
    pub(crate) fn is_dead(&self) -> bool {
        self.0.load(Ordering::SeqCst) <= 0
    }

    pub(super) fn pass(&self) -> Result<(), Error> {
        if self.0.fetch_sub(1, Ordering::SeqCst) <= 0 {
            self.0.store(0, Ordering::SeqCst);
            return Err(Error::Stopped);
        }
        Ok(())
    }
}

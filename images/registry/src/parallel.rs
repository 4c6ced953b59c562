//! Several transfers at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Transfers at once: enough to hide the time that a registry takes to answer.
const JOBS: usize = 4;

/// Runs `work` on each of `items`, a few at a time. After the first failure none is begun any more.
pub(crate) fn each<T: Sync, E: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let worker = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = work(item) {
                next.store(items.len(), Ordering::Relaxed);
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..JOBS.min(items.len()) {
            scope.spawn(worker);
        }
        worker();
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_done_or_the_first_failure_is_told() {
        let done = AtomicUsize::new(0);
        let items: Vec<usize> = (0..100).collect();
        let count = |_: &usize| -> Result<(), ()> {
            done.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        assert_eq!(each(&items, count), Ok(()));
        assert_eq!(done.into_inner(), 100);
        let begun = AtomicUsize::new(0);
        let failed = each(&items, |item| {
            begun.fetch_add(1, Ordering::Relaxed);
            if *item == 0 { Err("zero") } else { Ok(()) }
        });
        assert_eq!(failed, Err("zero"));
        assert_eq!(each(&[], |_: &u8| Err("never")), Ok(()));
    }
}

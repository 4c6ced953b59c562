//! Several threads over a list of jobs.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Runs `work` on each of `items`, at most `jobs` at a time; results in the order of the items. After the first failure
/// no further item is begun; of the failures, that of the foremost item is returned.
pub(crate) fn run<T: Sync, R: Send, E: Send>(
    jobs: NonZeroUsize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(items.len()));
    let failure: Mutex<Option<(usize, E)>> = Mutex::new(None);
    let worker = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return };
            match work(item) {
                Ok(result) => lock(&results).push((at, result)),
                Err(error) => {
                    next.store(items.len(), Ordering::Relaxed);
                    let mut failure = lock(&failure);
                    if failure.as_ref().is_none_or(|(before, _)| at < *before) {
                        *failure = Some((at, error));
                    }
                    return;
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..jobs.get().min(items.len()) {
            scope.spawn(worker);
        }
        worker();
    });
    if let Some((_, error)) = lock(&failure).take() {
        return Err(error);
    }
    let mut results = std::mem::take(&mut *lock(&results));
    results.sort_by_key(|(at, _)| *at);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// A panic in a worker ends the scope with that panic; until then the data behind the lock is whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_and_the_first_failure_stops_the_rest() {
        let jobs = NonZeroUsize::new(4).unwrap();
        let items: Vec<u32> = (0..100).collect();
        let squares = run(jobs, &items, |item| Ok::<_, ()>(item * item)).unwrap();
        assert_eq!(squares, items.iter().map(|item| item * item).collect::<Vec<_>>());

        let begun = AtomicUsize::new(0);
        let single = NonZeroUsize::MIN;
        let failed = run(single, &items, |item| {
            begun.fetch_add(1, Ordering::Relaxed);
            if *item == 3 { Err(*item) } else { Ok(()) }
        });
        assert_eq!((failed, begun.into_inner()), (Err(3), 4));
        assert_eq!(run(jobs, &[], |_: &u32| Ok::<_, ()>(())), Ok(vec![]));
    }
}

//! Waiting for a condition, never for a time.

use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// Waits until `condition` holds.
///
/// # Panics
///
/// With `what`, when it does not within `within`.
#[track_caller]
pub fn eventually(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    get(what, within, || condition().then_some(()));
}

/// Waits until `attempt` has a value.
///
/// # Panics
///
/// With `what`, when it has none within `within`.
#[track_caller]
pub fn get<T>(what: &str, within: Duration, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {} s", within.as_secs());
        thread::sleep(INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_as_long_as_needed_and_no_longer() {
        let mut calls = 0;
        let value = get("three calls", Duration::from_secs(60), || {
            calls += 1;
            (calls == 3).then_some(calls)
        });
        assert_eq!(value, 3);
    }

    #[test]
    #[should_panic(expected = "pigs fly: not within 0 s")]
    fn says_what_did_not_happen() {
        eventually("pigs fly", Duration::ZERO, || false);
    }
}

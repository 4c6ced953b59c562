//! Whether this machine can run a test.
//!
//! ```no_run
//! # use overboot_testkit::require;
//! if !(require::root() && require::program("ip")) {
//!     return;
//! }
//! ```

use std::env;

/// Whether we are root.
#[must_use]
pub fn root() -> bool {
    met(rustix::process::geteuid().is_root(), "needs root")
}

/// Whether a program is on the `PATH`.
#[must_use]
pub fn program(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let here = env::split_paths(&path).any(|folder| folder.join(name).is_file());
    met(here, &format!("needs the program {name}"))
}

/// Whether all of them are.
#[must_use]
pub fn programs(names: &[&str]) -> bool {
    names.iter().all(|name| program(name))
}

/// Whether something else holds; `what` says what is needed.
///
/// # Panics
///
/// When it does not and `CI=true`: what is skipped there is skipped everywhere.
#[must_use]
pub fn met(holds: bool, what: &str) -> bool {
    if !holds {
        assert_ne!(env::var("CI").as_deref(), Ok("true"), "this test {what}");
        eprintln!("skipped: this test {what}");
    }
    holds
}

//! A child process that cannot outlive us, however we end.

#![allow(
    unsafe_code,
    reason = "pre_exec has no safe counterpart, and nothing else survives a SIGKILL of the parent"
)]

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, set_parent_process_death_signal};

/// Makes the kernel kill the child when the thread that spawns it is gone (prctl(2), `PR_SET_PDEATHSIG`).
///
/// "Thread", not process: spawn from one that lives as long as the child.
pub(crate) fn dies_with_spawner(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec the closure makes one system call that takes no pointer and allocates nothing,
    // which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            set_parent_process_death_signal(Some(Signal::KILL)).map_err(std::io::Error::from)
        })
    }
}

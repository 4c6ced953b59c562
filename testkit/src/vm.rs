//! Virtual machines for tests: [`overboot_vm`] with what every test wants.

use std::path::Path;
use std::sync::OnceLock;

use tempfile::TempDir;

pub use overboot_vm::*;

/// A machine with a directory of its own. Ends when dropped; a failing test prints its console.
#[derive(Debug)]
pub struct TestMachine {
    machine: Machine,
    /// Dropped after the machine.
    _dir: TempDir,
}

impl TestMachine {
    /// Starts a machine.
    ///
    /// # Panics
    ///
    /// With QEMU's words when it does not start.
    #[track_caller]
    #[must_use]
    pub fn start(config: &MachineConfig) -> Self {
        // Not below TMPDIR, whatever that is: the path of a socket is short.
        let dir = tempfile::Builder::new().prefix("vm").tempdir_in("/tmp").unwrap();
        let machine = Machine::start(config, dir.path()).unwrap_or_else(|error| panic!("{error}"));
        Self { machine, _dir: dir }
    }
}

impl std::ops::Deref for TestMachine {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.machine
    }
}

impl Drop for TestMachine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the machine's console:\n{}", self.machine.console().tail(60));
        }
    }
}

/// The fastest accelerator that boots `kernel` here; found out once per test program.
///
/// # Panics
///
/// Never where QEMU is installed.
#[must_use]
pub fn accel(kernel: &Path) -> Accel {
    static ACCEL: OnceLock<Accel> = OnceLock::new();
    *ACCEL.get_or_init(|| {
        let dir = tempfile::Builder::new().prefix("vm").tempdir_in("/tmp").unwrap();
        let choice = choose_accel(AccelChoice::Auto, kernel, dir.path()).unwrap();
        if let Some(reason) = &choice.fallback {
            eprintln!("machines run under TCG: {reason}");
        }
        choice.accel
    })
}

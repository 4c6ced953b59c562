//! How a machine's instructions are run, found out by trying.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::{Boot, Error, Machine, MachineConfig};

/// How a machine's instructions are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// On the processor, through `/dev/kvm`.
    Kvm,
    /// Translated. Works everywhere, an order of magnitude slower.
    Tcg,
}

impl Accel {
    /// How many processors a machine may well have. One where it is translated: Linux changes its own code while it runs, and with
    /// two, QEMU 7.2 has been seen to let one processor meet a breakpoint of the other's that is gone before it is looked at
    /// ("Oops: int3", in `kmem_cache_alloc`).
    #[must_use]
    pub fn processors(self) -> u32 {
        match self {
            Self::Kvm => 2,
            Self::Tcg => 1,
        }
    }

    pub(crate) fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "max"],
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }
}

impl fmt::Display for Accel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Tcg => "TCG",
        })
    }
}

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccelChoice {
    /// KVM where it boots a kernel, else TCG.
    Auto,
    /// KVM or nothing.
    Kvm,
    /// TCG.
    Tcg,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// How machines will be run.
    pub accel: Accel,
    /// Why it is not KVM, when [`AccelChoice::Auto`] had to do without.
    pub fallback: Option<String>,
}

/// A kernel under KVM prints its first line within a second; nested in another machine, within a few.
const PROBE_WITHIN: Duration = Duration::from_secs(15);

/// The first line of every Linux kernel on its console.
const ALIVE: &str = "Linux version";

/// Chooses an accelerator by booting `kernel` with it until its first line; `dir` must exist and is used as in
/// [`Machine::start`].
///
/// That `/dev/kvm` can be opened says little: nested in some virtual machines KVM runs the firmware and then fails in
/// the kernel's decompressor, on an instruction that it would have to emulate and cannot.
///
/// # Errors
///
/// [`Error::Kvm`] when KVM was asked for and cannot do it.
pub fn choose_accel(choice: AccelChoice, kernel: &Path, dir: &Path) -> Result<Choice, Error> {
    let tried = match choice {
        AccelChoice::Tcg => return Ok(Choice { accel: Accel::Tcg, fallback: None }),
        AccelChoice::Auto | AccelChoice::Kvm => try_kvm(kernel, dir),
    };
    match (choice, tried) {
        (_, Ok(())) => Ok(Choice { accel: Accel::Kvm, fallback: None }),
        (AccelChoice::Kvm, Err(reason)) => Err(Error::Kvm { reason }),
        (_, Err(reason)) => Ok(Choice { accel: Accel::Tcg, fallback: Some(reason) }),
    }
}

fn try_kvm(kernel: &Path, dir: &Path) -> Result<(), String> {
    fs_err::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .map_err(|error| error.to_string())?;
    let mut config = MachineConfig::new(Boot::Kernel {
        kernel: kernel.to_owned(),
        initrd: None,
        cmdline: "console=ttyS0 panic=-1".to_owned(),
    });
    config.memory_mib = 256;
    config.accel = Accel::Kvm;
    config.restart_ends = true;
    let machine = Machine::start(&config, dir).map_err(|error| first_line(&error.to_string()))?;
    let deadline = Instant::now() + PROBE_WITHIN;
    while Instant::now() < deadline {
        if machine.console().wait_for(ALIVE, Duration::from_millis(20)).is_ok() {
            return Ok(());
        }
        let messages = machine.messages().text();
        // QEMU keeps the machine after an internal error, stopped for ever.
        if let Some(line) = messages.lines().find(|line| line.contains("KVM internal error")) {
            return Err(line.to_owned());
        }
        if let Some(status) = machine.wait(Duration::ZERO) {
            let said = messages.lines().next().unwrap_or("without a word");
            return Err(format!("QEMU ended ({status}): {said}"));
        }
    }
    Err(format!("a kernel did not print its first line within {} s", PROBE_WITHIN.as_secs()))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

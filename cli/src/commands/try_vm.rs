//! `overboot try`: do the images boot?

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use overboot_bootset::BootSet;
use overboot_store::Store;
use overboot_vm::{AccelChoice, choose_accel};

use super::project;
use crate::Global;
use crate::printer::Printer;
use crate::told::told;
use crate::trial::{Outcome, Report, Trial, Work, temporary};

/// Boot overlays in virtual machines here, the way real machines boot
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The overlays; otherwise discovery, or the only one there is.
    #[arg(value_name = "OVERLAY")]
    overlays: Vec<String>,
    /// RAM of the machine in MiB; otherwise what the overlay needs, at least 1024.
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(128..=1 << 20))]
    memory: Option<u32>,
    /// How the machine's instructions are run.
    #[arg(long, value_enum, default_value_t = AccelArg::Auto)]
    accel: AccelArg,
    /// The machine's firmware.
    #[arg(long, value_enum, default_value_t = Firmware::Bios)]
    firmware: Firmware,
    /// What to run on the machine, instead of discovery.
    #[arg(long, value_name = "COMMAND")]
    run: Option<String>,
    /// Keep the machine up afterwards, and say how to reach it.
    #[arg(long)]
    keep: bool,
    /// How long one machine may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Show the machine's serial console (the default).
    #[arg(long, overrides_with = "no_console")]
    console: bool,
    /// Do not show the machine's serial console.
    #[arg(long)]
    no_console: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AccelArg {
    /// KVM where it boots a kernel, else TCG.
    Auto,
    /// KVM or nothing.
    Kvm,
    /// TCG.
    Tcg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Firmware {
    /// SeaBIOS, with the network card's iPXE ROM.
    Bios,
    /// OVMF, by PXE. Not yet.
    #[value(hide = true)]
    Uefi,
    /// OVMF, by HTTP boot. Not yet.
    #[value(hide = true)]
    Http,
    /// OVMF with Secure Boot. Not yet.
    #[value(hide = true)]
    Secureboot,
}

/// Shows that the system runs and that its package database is whole.
const COMMAND: &str = "uname -srm && dpkg --audit";

/// The least RAM of a machine, and what firmware and kernel take of it before Linux counts.
const LEAST_MEMORY_MIB: u64 = 1024;
const KERNEL_MEMORY_MIB: u64 = 160;

pub(crate) fn run(global: &Global, args: &Args, printer: &Printer) -> Result<ExitCode> {
    if args.firmware != Firmware::Bios {
        return Err(told(
            "only --firmware bios can be tried for now",
            "machines with UEFI can be booted by `overboot serve`",
        ));
    }
    let (project, _) = project::open(global)?;
    let store = project::store(&project)?;
    let sets = match &args.overlays[..] {
        [] => vec![project::boot_set(&store, None)?],
        named => {
            named.iter().map(|name| project::boot_set(&store, Some(name))).collect::<Result<_>>()?
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let report = Report { printer, console: args.console || !args.no_console };
    let mut passed = true;
    for name in sets {
        let set = read(&store, &name)?;
        let trial = Trial {
            work: work(args, &name),
            store: store.dir().to_owned(),
            memory_mib: args.memory.unwrap_or_else(|| memory(&set)),
            accel: accel(args.accel, &store, &set, printer)?,
            timeout: Duration::from_secs(args.timeout),
            keep: args.keep,
            set: name,
        };
        let outcome = runtime.block_on(trial.run(&report))?;
        passed &= outcome == Outcome::Passed;
        if outcome == Outcome::Interrupted {
            break;
        }
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(store: &Store, name: &str) -> Result<BootSet> {
    let artifact = store
        .get(&format!("set/{name}"))?
        .with_context(|| format!("the boot set {name} is not built"))?;
    let bytes = fs_err::read(store.blob_path(&artifact.layer().digest))?;
    BootSet::from_trusted_bytes(&bytes).with_context(|| format!("reading the boot set {name}"))
}

fn work(args: &Args, set: &str) -> Work {
    match &args.run {
        Some(command) => Work::Command(command.clone()),
        None if set == project::DISCOVERY => Work::Discovery,
        None => Work::Command(COMMAND.to_owned()),
    }
}

fn memory(set: &BootSet) -> u32 {
    let needed = (set.ram_min >> 20) + KERNEL_MEMORY_MIB;
    u32::try_from(needed.max(LEAST_MEMORY_MIB)).unwrap_or(u32::MAX)
}

fn accel(
    wanted: AccelArg,
    store: &Store,
    set: &BootSet,
    printer: &Printer,
) -> Result<overboot_vm::Accel> {
    let wanted = match wanted {
        AccelArg::Auto => AccelChoice::Auto,
        AccelArg::Kvm => AccelChoice::Kvm,
        AccelArg::Tcg => AccelChoice::Tcg,
    };
    let dir = temporary()?;
    let kernel = store.blob_path(&set.kernel.digest);
    let choice = choose_accel(wanted, &kernel, dir.path())?;
    if let Some(reason) = &choice.fallback {
        printer.json(&serde_json::json!({ "event": "fallback", "to": "TCG", "reason": reason }));
        printer.note(format!(
            "KVM does not work here ({reason}); going on under TCG, which is slower."
        ));
    }
    Ok(choice.accel)
}

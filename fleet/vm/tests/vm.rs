//! Against a real QEMU.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests, outside of test functions"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use overboot_vm::{
    Accel, AccelChoice, Boot, Error, Machine, MachineConfig, Network, Nic, QEMU, choose_accel,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Set in the copy of this program that `a_machine_dies_with_its_program` kills.
const VICTIM: &str = "OVERBOOT_VM_TEST_VICTIM";

/// Whether QEMU is here. Without it the test is skipped, but never in CI.
fn have_qemu() -> bool {
    let here = Command::new(QEMU).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !here {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{QEMU} is missing");
        eprintln!("skipped: {QEMU} is missing");
    }
    here
}

fn small(boot: Boot) -> MachineConfig {
    MachineConfig { memory_mib: 128, ..MachineConfig::new(boot) }
}

#[test]
fn firmware_and_boot_loader_are_seen_on_the_console() {
    if !have_qemu() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut request = String::new();
        BufReader::new(&peer).read_line(&mut request).unwrap();
        let script = "#!ipxe\necho from ${net0/mac}\n";
        write!(peer, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{script}", script.len())
            .unwrap();
        request
    });
    let mut config = small(Boot::Network);
    config.nics.push(Nic {
        mac: "52:54:00:0b:00:01".to_owned(),
        network: Network::User {
            bootfile: Some(format!("http://10.0.2.2:{port}/api/current/profiles")),
            forwards: Vec::new(),
        },
    });
    let machine = Machine::start(&config, dir.path()).unwrap();
    machine.console().wait_for("SeaBIOS (version", PATIENCE).unwrap();
    machine.console().wait_for("from 52:54:00:0b:00:01", PATIENCE).unwrap();
    assert_eq!(server.join().unwrap().trim_end(), "GET /api/current/profiles HTTP/1.1");
    assert!(machine.power_socket().exists());
    machine.kill();
    assert!(machine.wait(Duration::ZERO).is_some());
}

#[test]
fn a_refused_command_line_is_quoted() {
    if !have_qemu() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut config = small(Boot::Network);
    config.extra = vec!["-device".into(), "flux-capacitor".into()];
    let error = Machine::start(&config, dir.path()).unwrap_err();
    assert!(matches!(error, Error::Ended { .. }));
    assert!(error.to_string().contains("flux-capacitor"), "{error}");
}

#[test]
fn tcg_is_taken_at_its_word_and_auto_survives_a_useless_kernel() {
    if !have_qemu() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let kernel = dir.path().join("kernel");
    std::fs::write(&kernel, b"not a kernel").unwrap();
    let choice = choose_accel(AccelChoice::Tcg, &kernel, dir.path()).unwrap();
    assert_eq!((choice.accel, choice.fallback), (Accel::Tcg, None));
    let choice = choose_accel(AccelChoice::Auto, &kernel, dir.path()).unwrap();
    assert_eq!(choice.accel, Accel::Tcg);
    assert!(choice.fallback.is_some());
    let error = choose_accel(AccelChoice::Kvm, &kernel, dir.path()).unwrap_err();
    assert!(error.hint().unwrap().contains("tcg"));
}

/// Runs in a copy of this program, which is killed while the machine runs.
#[test]
fn victim() {
    let Some(dir) = std::env::var_os(VICTIM) else { return };
    let machine = Machine::start(&small(Boot::Network), dir.as_ref()).unwrap();
    eprintln!("machine runs");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(machine);
}

#[test]
fn a_machine_dies_with_its_program() {
    if !have_qemu() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut program = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--nocapture"])
        .env(VICTIM, dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let messages = BufReader::new(program.stderr.take().unwrap());
    assert!(messages.lines().map_while(Result::ok).any(|line| line.contains("machine runs")));
    assert!(uses(dir.path()));
    program.kill().unwrap();
    program.wait().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while uses(dir.path()) {
        assert!(Instant::now() < deadline, "QEMU outlived the program that started it");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether some QEMU has `dir` on its command line.
fn uses(dir: &std::path::Path) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().map_while(Result::ok);
    let mut lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| {
        let line = String::from_utf8_lossy(&line).into_owned();
        line.starts_with(QEMU) && line.contains(dir.to_str().unwrap())
    })
}

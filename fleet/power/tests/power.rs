//! Against a real QEMU, because the protocol is QEMU's.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests, outside of test functions"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use overboot_power::{BootDevice, Error, Persistence, Power, PowerState, Powers, QEMU_SERVICE};
use serde_json::json;

const QEMU: &str = "qemu-system-x86_64";

/// A machine with an empty disk that boots first and a network card that boots second; the firmware's debug console
/// goes to a file. Killed when dropped.
struct Machine {
    child: Child,
    dir: tempfile::TempDir,
}

impl Machine {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("disk.img");
        std::fs::File::create(&disk).unwrap().set_len(1 << 20).unwrap();
        let child = Command::new(QEMU)
            .args([
                "-accel",
                "tcg",
                "-m",
                "64",
                "-nodefaults",
                "-display",
                "none",
                "-no-user-config",
            ])
            .args([
                "-netdev",
                "user,id=n0",
                "-device",
                "virtio-net-pci,netdev=n0,id=net0,bootindex=1",
            ])
            .arg("-drive")
            .arg(format!("if=none,id=d0,format=raw,file={}", disk.display()))
            .args(["-device", "virtio-blk-pci,drive=d0,bootindex=0"])
            .arg("-chardev")
            .arg(format!("file,id=fw,path={}", dir.path().join("firmware.log").display()))
            .args(["-device", "isa-debugcon,iobase=0x402,chardev=fw"])
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", dir.path().join("qmp.sock").display()))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let machine = Self { child, dir };
        // The file is there a moment before anybody listens: the kernel's list says when (unix(7), `__SO_ACCEPTCON`). A
        // connection only to find out would be one that QEMU has to get over.
        let socket = machine.socket().display().to_string();
        eventually("the QMP socket", || {
            read(Path::new("/proc/net/unix"))
                .lines()
                .any(|line| line.ends_with(&socket) && line.contains(" 00010000 "))
        });
        machine
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("qmp.sock")
    }

    fn power(&self) -> std::sync::Arc<dyn Power> {
        Powers::new().for_service(QEMU_SERVICE, &json!({ "qmp": self.socket() })).unwrap()
    }

    /// What the firmware tried to boot from, in order, since QEMU started.
    fn attempts(&self) -> Vec<&'static str> {
        let log = read(&self.dir.path().join("firmware.log"));
        log.lines()
            .filter_map(|line| match line {
                _ if line.starts_with("Booting from Hard Disk") => Some("disk"),
                _ if line.starts_with("Booting from ROM") => Some("network"),
                _ => None,
            })
            .collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within 60 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether QEMU is here. Without it the test is skipped, but never in CI.
fn have_qemu() -> bool {
    let here = Command::new(QEMU).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !here {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{QEMU} is missing");
        eprintln!("skipped: {QEMU} is missing");
    }
    here
}

#[tokio::test]
async fn off_on_and_reset_are_what_status_says() {
    if !have_qemu() {
        return;
    }
    let machine = Machine::start();
    let power = machine.power();
    assert_eq!(power.status().await.unwrap(), PowerState::On);
    power.on().await.unwrap();
    assert_eq!(power.status().await.unwrap(), PowerState::On);
    power.off().await.unwrap();
    assert_eq!(power.status().await.unwrap(), PowerState::Off);
    power.off().await.unwrap();
    assert_eq!(power.status().await.unwrap(), PowerState::Off);
    power.on().await.unwrap();
    assert_eq!(power.status().await.unwrap(), PowerState::On);
    power.off().await.unwrap();
    power.reset().await.unwrap();
    assert_eq!(power.status().await.unwrap(), PowerState::On);
}

#[tokio::test]
async fn pxe_once_holds_for_one_start_and_no_longer() {
    if !have_qemu() {
        return;
    }
    let machine = Machine::start();
    let power = machine.power();
    eventually("the first attempt", || machine.attempts() == ["disk", "network"]);

    power.set_boot_device(BootDevice::Pxe, Persistence::Once).await.unwrap();
    power.off().await.unwrap();
    power.on().await.unwrap();
    eventually("the network first", || machine.attempts().get(2) == Some(&"network"));

    power.reset().await.unwrap();
    eventually("the disk first again", || {
        machine.attempts().get(3..).is_some_and(|a| a.contains(&"disk"))
    });
    let attempts = machine.attempts();
    let after = &attempts[3..];
    assert!(after.ends_with(&["disk"]) || after.ends_with(&["disk", "network"]), "{attempts:?}");
}

#[tokio::test]
async fn a_device_chosen_for_good_stays() {
    if !have_qemu() {
        return;
    }
    let machine = Machine::start();
    let power = machine.power();
    // A reset in the middle of its first start is nothing that SeaBIOS always gets over.
    eventually("the first attempt", || machine.attempts() == ["disk", "network"]);
    power.set_boot_device(BootDevice::Pxe, Persistence::Always).await.unwrap();
    power.set_boot_device(BootDevice::Disk, Persistence::Once).await.unwrap();
    power.set_boot_device(BootDevice::Pxe, Persistence::Always).await.unwrap();
    for _ in 0..2 {
        let seen = machine.attempts().len();
        power.reset().await.unwrap();
        eventually("an attempt", || machine.attempts().len() > seen);
        assert_eq!(machine.attempts()[seen], "network");
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let nowhere = Powers::new()
        .for_service(QEMU_SERVICE, &json!({ "qmp": "/nonexistent/qmp.sock" }))
        .unwrap();
    let error = nowhere.off().await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(error.hint().unwrap().contains("-qmp unix:"));
    if !have_qemu() {
        return;
    }
    let machine = Machine::start();
    let settings = json!({ "qmp": machine.socket(), "device": "eth7" });
    let power = Powers::new().for_service(QEMU_SERVICE, &settings).unwrap();
    let error = power.set_boot_device(BootDevice::Pxe, Persistence::Once).await.unwrap_err();
    assert!(error.to_string().contains("eth7"), "{error}");
}

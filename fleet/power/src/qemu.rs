//! A QEMU virtual machine as a node: power and boot order over its QMP socket.
//!
//! QEMU has no power button that leaves the process alive, so "off" is a machine that was reset and is held before
//! its first instruction (run state `prelaunch`). The boot order is the `bootindex` property of its devices; the
//! firmware reads it through fw_cfg, whose file QEMU writes anew at every reset.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::qmp::Qmp;
use crate::{BootDevice, Error, Persistence, Power, PowerFuture, PowerState};

/// A reset is done by QEMU's main loop between two slices of guest work.
const RESET_WITHIN: Duration = Duration::from_secs(20);

/// SeaBIOS, when it finds that it has run before, asks for a second reset with its first instructions, and only then
/// reads the boot order (seabios: `handle_resume32`, "Attempting a hard reboot"). Other firmware does not, which
/// nobody can see from outside: this is how long we wait for it.
const FIRMWARE_RESET_WITHIN: Duration = Duration::from_secs(4);
/// How many resets of the firmware's own are waited for: its three ways of resetting (keyboard controller, PCI, triple fault),
/// twice. A guest that does nothing but reset is not waited for.
const FIRMWARE_RESETS: usize = 6;

/// Where devices with an id (`-device …,id=net0`) and without one are found.
const DEVICE_PARENTS: [&str; 2] = ["/machine/peripheral", "/machine/peripheral-anon"];

/// Settings of `qemu-obm-service`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QemuConfig {
    /// Absolute path of a QMP socket that nobody else uses (`-qmp unix:PATH,server=on,wait=off`).
    pub qmp: PathBuf,
    /// The id of the network device to boot from; `net0` unless given.
    #[serde(default = "default_device")]
    pub device: String,
}

fn default_device() -> String {
    "net0".to_owned()
}

/// Control of one QEMU virtual machine.
///
/// A boot device chosen [`Persistence::Once`] is taken back at the next start made through this value. A guest that
/// restarts by itself in between still boots from it.
#[derive(Debug)]
pub struct Qemu {
    config: QemuConfig,
    /// Serializes the operations on this machine, and holds the boot order to return to after the next start.
    restore: Mutex<Option<Vec<BootIndex>>>,
}

/// One device that can be booted from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct BootIndex {
    /// QOM path of the device.
    path: String,
    /// Its place in the boot order, lowest first; -1 when it has none.
    index: i64,
}

impl Qemu {
    /// A machine whose QMP socket and network device are given. Nothing is contacted yet.
    #[must_use]
    pub fn new(config: QemuConfig) -> Self {
        Self { config, restore: Mutex::new(None) }
    }

    async fn connect(&self) -> Result<Qmp, Error> {
        Qmp::connect(&self.config.qmp).await
    }

    fn network_device(&self) -> String {
        format!("{}/{}", DEVICE_PARENTS[0], self.config.device)
    }

    /// Resets, lets the machine run, and takes back a boot device that was meant for this start only.
    async fn start(&self) -> Result<(), Error> {
        let mut restore = self.restore.lock().await;
        let mut qmp = self.connect().await?;
        reset(&mut qmp).await?;
        if run_state(&mut qmp).await?.as_str() != "running" {
            qmp.execute("cont", json!({})).await?;
        }
        if let Some(order) = restore.as_ref() {
            // It may reset more than once: it asks the machine in several ways in a row, and each that is heard before the
            // processor stops is one. Only when none has come for a while has it gone on to boot.
            for _ in 0..FIRMWARE_RESETS {
                match qmp.wait_event("RESET", FIRMWARE_RESET_WITHIN).await {
                    Ok(_) => {}
                    Err(Error::Timeout { .. }) => break,
                    Err(other) => return Err(other),
                }
            }
            // The firmware's copy of the boot order was written by the reset: what is set now counts from the next.
            write_boot_order(&mut qmp, order).await?;
            *restore = None;
        }
        Ok(())
    }
}

impl Power for Qemu {
    fn status(&self) -> PowerFuture<'_, PowerState> {
        Box::pin(async {
            let _turn = self.restore.lock().await;
            let mut qmp = self.connect().await?;
            Ok(match run_state(&mut qmp).await?.as_str() {
                "prelaunch" | "shutdown" | "preconfig" => PowerState::Off,
                _ => PowerState::On,
            })
        })
    }

    fn on(&self) -> PowerFuture<'_, ()> {
        Box::pin(async {
            if self.status().await? == PowerState::On {
                return Ok(());
            }
            self.start().await
        })
    }

    fn off(&self) -> PowerFuture<'_, ()> {
        Box::pin(async {
            let _turn = self.restore.lock().await;
            let mut qmp = self.connect().await?;
            qmp.execute("stop", json!({})).await?;
            reset(&mut qmp).await
        })
    }

    fn reset(&self) -> PowerFuture<'_, ()> {
        Box::pin(self.start())
    }

    fn set_boot_device(&self, device: BootDevice, persistence: Persistence) -> PowerFuture<'_, ()> {
        Box::pin(async move {
            let mut restore = self.restore.lock().await;
            let mut qmp = self.connect().await?;
            let now = read_boot_order(&mut qmp).await?;
            let wanted =
                boot_order(&now, &self.network_device(), device).ok_or_else(|| Error::Config {
                    service: crate::QEMU_SERVICE,
                    reason: format!(
                        "the machine has no network device with the id \"{}\"",
                        self.config.device
                    ),
                })?;
            write_boot_order(&mut qmp, &wanted).await?;
            *restore = match persistence {
                // Chosen twice without a start between: the order to return to is still the first one.
                Persistence::Once => Some(restore.take().unwrap_or(now)),
                Persistence::Always => None,
            };
            Ok(())
        })
    }
}

async fn run_state(qmp: &mut Qmp) -> Result<String, Error> {
    let status = qmp.execute("query-status", json!({})).await?;
    Ok(status.get("status").and_then(Value::as_str).unwrap_or_default().to_owned())
}

async fn reset(qmp: &mut Qmp) -> Result<(), Error> {
    qmp.forget_events();
    qmp.execute("system_reset", json!({})).await?;
    qmp.wait_event("RESET", RESET_WITHIN).await.map(drop)
}

async fn read_boot_order(qmp: &mut Qmp) -> Result<Vec<BootIndex>, Error> {
    let mut order = Vec::new();
    for parent in DEVICE_PARENTS {
        let children = match qmp.execute("qom-list", json!({ "path": parent })).await {
            // A machine without such devices has no such container.
            Err(Error::Refused { .. }) => continue,
            other => other?,
        };
        for child in children.as_array().into_iter().flatten() {
            let Some(name) = child.get("name").and_then(Value::as_str) else { continue };
            let is_device = child
                .get("type")
                .and_then(Value::as_str)
                .is_some_and(|kind| kind.starts_with("child<"));
            if !is_device {
                continue;
            }
            let path = format!("{parent}/{name}");
            match qmp.execute("qom-get", json!({ "path": path, "property": "bootindex" })).await {
                Ok(index) => order.push(BootIndex { path, index: index.as_i64().unwrap_or(-1) }),
                // Not every device can be booted from.
                Err(Error::Refused { .. }) => {}
                Err(other) => return Err(other),
            }
        }
    }
    Ok(order)
}

async fn write_boot_order(qmp: &mut Qmp, order: &[BootIndex]) -> Result<(), Error> {
    // Two devices never share an index, not even for a moment: take all places back before giving them out.
    for device in order {
        set_boot_index(qmp, &device.path, -1).await?;
    }
    for device in order.iter().filter(|device| device.index >= 0) {
        set_boot_index(qmp, &device.path, device.index).await?;
    }
    Ok(())
}

async fn set_boot_index(qmp: &mut Qmp, path: &str, index: i64) -> Result<(), Error> {
    let arguments = json!({ "path": path, "property": "bootindex", "value": index });
    qmp.execute("qom-set", arguments).await.map(drop)
}

/// The order in which `network` comes first (PXE) or after everything else that has a place (disk).
/// `None` when there is no such device.
fn boot_order(now: &[BootIndex], network: &str, device: BootDevice) -> Option<Vec<BootIndex>> {
    if !now.iter().any(|candidate| candidate.path == network) {
        return None;
    }
    let mut others: Vec<&BootIndex> =
        now.iter().filter(|other| other.path != network && other.index >= 0).collect();
    others.sort_by_key(|other| other.index);
    let mut paths: Vec<&str> = others.iter().map(|other| other.path.as_str()).collect();
    match device {
        BootDevice::Pxe => paths.insert(0, network),
        // Alone, the network device gets no place: the firmware's own order then puts disks before it.
        BootDevice::Disk if paths.is_empty() => {}
        BootDevice::Disk => paths.push(network),
    }
    let place = |path: &str| {
        paths
            .iter()
            .position(|wanted| *wanted == path)
            .and_then(|place| i64::try_from(place).ok())
            .unwrap_or(-1)
    };
    Some(
        now.iter()
            .map(|device| BootIndex { path: device.path.clone(), index: place(&device.path) })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(indices: &[(&str, i64)]) -> Vec<BootIndex> {
        indices
            .iter()
            .map(|(path, index)| BootIndex { path: (*path).to_owned(), index: *index })
            .collect()
    }

    #[test]
    fn pxe_comes_first_and_the_rest_keeps_its_order() {
        let now = order(&[("disk1", 2), ("net", -1), ("disk0", 1), ("tape", -1)]);
        assert_eq!(
            boot_order(&now, "net", BootDevice::Pxe),
            Some(order(&[("disk1", 2), ("net", 0), ("disk0", 1), ("tape", -1)]))
        );
    }

    #[test]
    fn disk_moves_the_network_behind_the_disks() {
        let now = order(&[("net", 0), ("disk", 5)]);
        assert_eq!(
            boot_order(&now, "net", BootDevice::Disk),
            Some(order(&[("net", 1), ("disk", 0)]))
        );
    }

    #[test]
    fn disk_without_any_ordered_disk_leaves_it_to_the_firmware() {
        let now = order(&[("net", 0), ("disk", -1)]);
        assert_eq!(
            boot_order(&now, "net", BootDevice::Disk),
            Some(order(&[("net", -1), ("disk", -1)]))
        );
    }

    #[test]
    fn a_missing_network_device_is_noticed() {
        assert_eq!(boot_order(&order(&[("disk", 0)]), "net", BootDevice::Pxe), None);
    }
}

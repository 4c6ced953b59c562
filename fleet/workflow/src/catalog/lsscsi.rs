//! `lsblk` and `lsscsi` together: the disks.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Addresses;

/// A list of devices: those that `lsscsi` names, and disks that only `lsblk` knows (virtio).
///
/// `lsscsi` writes columns of fixed width with blanks inside: address, type, vendor (8), model (16), revision, device,
/// size; of an NVMe device vendor and model are one text and there is no revision.
pub(super) fn parse(output: &str) -> Option<(Value, Addresses)> {
    let (blocks, scsi) = output.split_once("BREAK")?;
    let mut rotational = BTreeMap::new();
    for line in blocks.lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(kind), Some(rota)) = (words.next(), words.next(), words.next())
            && (rota == "0" || rota == "1")
        {
            rotational.insert(format!("/dev/{name}"), (kind.to_owned(), rota == "1"));
        }
    }
    let mut devices: Vec<Value> = Vec::new();
    let mut named: Vec<String> = Vec::new();
    for line in scsi.lines() {
        let Some(mut device) = scsi_device(line.trim_end()) else {
            continue;
        };
        let path = device.get("devicePath").and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some((_, rota)) = rotational.get(&path) {
            device.insert("rotational".into(), json!(rota));
        }
        named.push(path);
        devices.push(Value::Object(device));
    }
    for (path, (kind, rota)) in rotational {
        if kind == "disk" && !named.contains(&path) {
            devices.push(json!({ "peripheralType": kind, "devicePath": path, "rotational": rota }));
        }
    }
    (!devices.is_empty()).then_some((Value::Array(devices), Vec::new()))
}

fn scsi_device(line: &str) -> Option<Map<String, Value>> {
    let (address, rest) = line.strip_prefix('[')?.split_once(']')?;
    let rest = rest.trim_start();
    let (kind, rest) = rest.split_once(char::is_whitespace)?;
    let mut device = Map::new();
    device.insert("scsiInfo".into(), json!(format!("[{address}]")));
    device.insert("peripheralType".into(), json!(kind));
    // From the right: size, device node, and before those the names.
    let (rest, size) = last_word(rest.trim())?;
    let (names, path) = last_word(rest)?;
    device.insert("devicePath".into(), json!(path));
    device.insert("size".into(), json!(size));
    let names = names.trim_end();
    if address.starts_with("N:") {
        device.insert("modelName".into(), json!(names.trim()));
        return Some(device);
    }
    let (names, revision) = last_word(names).unwrap_or((names, ""));
    let names = names.trim_start();
    // Eight columns of vendor, if they end on a character.
    let (vendor, model) = match names.split_at_checked(8) {
        Some(split) => split,
        None => names.split_once(char::is_whitespace).unwrap_or((names, "")),
    };
    for (key, value) in [("vendorName", vendor), ("modelName", model), ("revisionName", revision)] {
        device.insert(key.into(), json!(value.trim()));
    }
    Some(device)
}

fn last_word(text: &str) -> Option<(&str, &str)> {
    text.trim_end().rsplit_once(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "KNAME   TYPE ROTA
loop0   loop    0
sda     disk    1
sr0     rom     1
vda     disk    0
vda1    part    0
nvme0n1 disk    0
BREAK
[0:0:0:0]    disk    ATA      QEMU HARDDISK    2.5+  /dev/sda   8.58GB
[2:0:0:0]    cd/dvd  QEMU     QEMU DVD-ROM     2.5+  /dev/sr0        -
[6:0:0:0]    process HP       P440ar           6.60  -               -
[N:0:1:1]    disk    QEMU NVMe Ctrl__1                          /dev/nvme0n1  1.07GB
";

    #[test]
    fn scsi_nvme_and_virtio_disks_are_found() {
        let (data, _) = parse(SAMPLE).unwrap();
        let expected = json!([
            {"scsiInfo": "[0:0:0:0]", "peripheralType": "disk", "devicePath": "/dev/sda", "size": "8.58GB",
                "vendorName": "ATA", "modelName": "QEMU HARDDISK", "revisionName": "2.5+", "rotational": true},
            {"scsiInfo": "[2:0:0:0]", "peripheralType": "cd/dvd", "devicePath": "/dev/sr0", "size": "-",
                "vendorName": "QEMU", "modelName": "QEMU DVD-ROM", "revisionName": "2.5+", "rotational": true},
            {"scsiInfo": "[6:0:0:0]", "peripheralType": "process", "devicePath": "-", "size": "-",
                "vendorName": "HP", "modelName": "P440ar", "revisionName": "6.60"},
            {"scsiInfo": "[N:0:1:1]", "peripheralType": "disk", "devicePath": "/dev/nvme0n1", "size": "1.07GB",
                "modelName": "QEMU NVMe Ctrl__1", "rotational": false},
            {"peripheralType": "disk", "devicePath": "/dev/vda", "rotational": false},
        ]);
        assert_eq!(data, expected);
    }

    #[test]
    fn a_machine_without_disks_has_no_catalog() {
        assert_eq!(parse("KNAME TYPE ROTA\nBREAK\n"), None);
        assert_eq!(parse(""), None);
    }
}

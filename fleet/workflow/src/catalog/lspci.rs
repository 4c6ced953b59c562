//! `lspci -nn -vmm`: the PCI devices.

use serde_json::{Map, Value};

use super::{Addresses, put};

/// A list of devices, each with the fields as they are named: `Slot`, `Class`, `Vendor`, `Device`, `SVendor`, …
pub(super) fn parse(output: &str) -> Option<(Value, Addresses)> {
    let mut devices = Vec::new();
    for block in output.replace("\r\n", "\n").split("\n\n") {
        let mut device = Map::new();
        for line in block.lines() {
            if let Some((key, value)) = line.split_once(':') {
                put(&mut device, key.trim(), Value::from(value.trim()));
            }
        }
        if device.contains_key("Slot") {
            devices.push(Value::Object(device));
        }
    }
    (!devices.is_empty()).then_some((Value::Array(devices), Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SAMPLE: &str = "Slot:\t00:00.0
Class:\tHost bridge [0600]
Vendor:\tIntel Corporation [8086]
Device:\t82G33/G31/P35/P31 Express DRAM Controller [29c0]
SVendor:\tRed Hat, Inc. [1af4]
SDevice:\tQEMU Virtual Machine [1100]

Slot:\t00:03.0
Class:\tEthernet controller [0200]
Vendor:\tRed Hat, Inc. [1af4]
Device:\tVirtio network device [1000]
PhySlot:\t3
Rev:\t00
";

    #[test]
    fn each_device_keeps_its_fields() {
        let (data, _) = parse(SAMPLE).unwrap();
        assert_eq!(data.as_array().unwrap().len(), 2);
        assert_eq!(data[0]["SDevice"], "QEMU Virtual Machine [1100]");
        assert_eq!(
            data[1],
            json!({"Slot": "00:03.0", "Class": "Ethernet controller [0200]",
                "Vendor": "Red Hat, Inc. [1af4]", "Device": "Virtio network device [1000]",
                "PhySlot": "3", "Rev": "00"})
        );
    }

    #[test]
    fn no_device_no_catalog() {
        assert_eq!(parse("sudo: lspci: command not found\n"), None);
    }
}

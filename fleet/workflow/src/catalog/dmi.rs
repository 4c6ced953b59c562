//! `dmidecode`: what the firmware says of the machine (SMBIOS).

use serde_json::{Map, Value};

use super::{Addresses, put};

/// By the title of each structure; several structures of one title make a list. Values of several lines are lists.
///
/// ```text
/// Handle 0x0100, DMI type 1, 27 bytes
/// System Information
/// <TAB>Manufacturer: QEMU
/// <TAB>Features:
/// <TAB><TAB>one of several
/// ```
pub(super) fn parse(output: &str) -> Option<(Value, Addresses)> {
    let mut data = Map::new();
    // Structures are separated by empty lines; each begins with its handle.
    for block in output.split("\n\n") {
        let mut lines = block.lines().skip_while(|line| !line.starts_with("Handle "));
        if lines.next().is_none() {
            continue;
        }
        let Some(title) = lines.next().map(str::trim).filter(|title| !title.is_empty()) else {
            continue;
        };
        if title == "End Of Table" || title == "Inactive" {
            continue;
        }
        let mut fields = Map::new();
        let mut current = None;
        for line in lines {
            let depth = line.len() - line.trim_start_matches('\t').len();
            let text = line.trim();
            match (depth, &current) {
                (1, _) => {
                    let (key, value) = text.split_once(':').unwrap_or((text, ""));
                    let value = value.trim();
                    if !value.is_empty() {
                        fields.insert(key.to_owned(), Value::from(value));
                    }
                    current = Some(key.to_owned());
                }
                (2.., Some(key)) => match fields.get_mut(key) {
                    Some(Value::Array(list)) => list.push(Value::from(text)),
                    // "Installable Languages: 1" is followed by their names: the count says nothing more.
                    _ => {
                        fields.insert(key.clone(), Value::Array(vec![Value::from(text)]));
                    }
                },
                _ => {}
            }
        }
        put(&mut data, title, Value::Object(fields));
    }
    (!data.is_empty()).then_some((Value::Object(data), Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SAMPLE: &str = "# dmidecode 3.6
Getting SMBIOS data from sysfs.
SMBIOS 3.0.0 present.
Table at 0x000F5A50.

Handle 0x0000, DMI type 0, 24 bytes
BIOS Information
\tVendor: SeaBIOS
\tVersion: 1.16.3
\tRelease Date: 04/01/2014
\tCharacteristics:
\t\tBIOS characteristics not supported
\t\tTargeted content distribution is supported

Handle 0x0100, DMI type 1, 27 bytes
System Information
\tManufacturer: QEMU
\tProduct Name: Standard PC (Q35 + ICH9, 2009)
\tUUID: 7d6e0b0e-0000-4000-8000-525400123456
\tSKU Number: Not Specified

Handle 0x1100, DMI type 17, 40 bytes
Memory Device
\tSize: 2 GB
\tLocator: DIMM 0

Handle 0x1101, DMI type 17, 40 bytes
Memory Device
\tSize: 4 GB
\tLocator: DIMM 1

Handle 0x0d00, DMI type 13, 22 bytes
BIOS Language Information
\tInstallable Languages: 1
\t\ten|US|iso8859-1
\tCurrently Installed Language: en|US|iso8859-1

Handle 0x7F00, DMI type 127, 4 bytes
End Of Table
";

    #[test]
    fn structures_are_found_by_their_title() {
        let (data, _) = parse(SAMPLE).unwrap();
        assert_eq!(data["System Information"]["Manufacturer"], "QEMU");
        assert_eq!(
            data["BIOS Information"]["Characteristics"],
            json!([
                "BIOS characteristics not supported",
                "Targeted content distribution is supported"
            ])
        );
        assert_eq!(data["Memory Device"][1], json!({"Size": "4 GB", "Locator": "DIMM 1"}));
        let language = &data["BIOS Language Information"];
        assert_eq!(language["Installable Languages"], json!(["en|US|iso8859-1"]));
        assert!(data.get("End Of Table").is_none());
        assert_eq!(data.as_object().unwrap().len(), 4);
    }

    #[test]
    fn a_machine_without_tables_has_no_catalog() {
        assert_eq!(
            parse("# dmidecode 3.6\nScanning /dev/mem for entry point.\n# No SMBIOS\n"),
            None
        );
        assert_eq!(parse(""), None);
    }
}

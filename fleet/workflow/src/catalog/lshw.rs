//! `lshw -json`: the hardware as a tree.

use serde_json::Value;

use super::{Addresses, note};

/// The tree as it is; the MAC addresses of its network interfaces.
pub(super) fn parse(output: &str) -> Option<(Value, Addresses)> {
    let data: Value = serde_json::from_str(output.trim()).ok()?;
    // Newer versions write a list with the machine as its only entry.
    let data = match data {
        Value::Array(mut list) if list.len() == 1 => list.remove(0),
        other => other,
    };
    let mut addresses = Vec::new();
    collect(&data, &mut addresses);
    matches!(data, Value::Object(_) | Value::Array(_)).then_some((data, addresses))
}

/// serde_json bounds the depth of what it reads, so this does not go deep either.
fn collect(value: &Value, addresses: &mut Addresses) {
    let children = match value {
        Value::Array(list) => list,
        Value::Object(map) => {
            let is_network = map.get("class").and_then(Value::as_str) == Some("network");
            let serial = map.get("serial").and_then(Value::as_str);
            if let (true, Some(mac)) = (is_network, serial.and_then(|s| s.parse().ok())) {
                let ip = map.get("configuration").and_then(|c| c.get("ip")).and_then(Value::as_str);
                note(addresses, mac, ip.and_then(|ip| ip.parse().ok()));
            }
            match map.get("children") {
                Some(Value::Array(children)) => children,
                _ => return,
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return,
    };
    for child in children {
        collect(child, addresses);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::shown;
    use super::*;

    const SAMPLE: &str = r#"[
  {
    "id" : "overboot-525400000001", "class" : "system", "claimed" : true, "product" : "Standard PC",
    "children" : [
      { "id" : "core", "class" : "bus", "children" : [
        { "id" : "memory", "class" : "memory", "units" : "bytes", "size" : 2147483648 },
        { "id" : "pci", "class" : "bridge", "children" : [
          { "id" : "network", "class" : "network", "logicalname" : "enp0s3", "serial" : "52:54:00:00:00:01",
            "configuration" : { "driver" : "virtio_net", "ip" : "10.0.2.15", "link" : "yes" } },
          { "id" : "network:1", "class" : "network", "serial" : "52:54:00:00:00:02", "configuration" : {} },
          { "id" : "network:2", "class" : "network", "serial" : "00:00:00:00:00:00" } ] } ] } ]
  }
]"#;

    #[test]
    fn the_tree_is_kept_and_interfaces_are_found() {
        let (data, addresses) = parse(SAMPLE).unwrap();
        assert_eq!(data["product"], "Standard PC");
        assert_eq!(shown(&addresses), ["52:54:00:00:00:01 10.0.2.15", "52:54:00:00:00:02"]);
    }

    #[test]
    fn what_is_no_tree_makes_no_catalog() {
        for text in ["", "WARNING: run as root", "3", "[", "null"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}

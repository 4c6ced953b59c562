//! `lldpcli show neighbor -f keyvalue`: the switches at the other ends of the cables.

use serde_json::{Map, Value};

use super::{Addresses, put};

/// What lldpcli says of an interface begins with one of these; what stands before is the interface, whose name may
/// have dots.
const FIRST: &[&str] = &[
    "via",
    "rid",
    "age",
    "chassis",
    "port",
    "vlan",
    "pvid",
    "ppvid",
    "pi",
    "lldp-med",
    "ttl",
    "unknown-tlvs",
    "dot3",
    "dot1",
];

/// By interface: `lldp.eth0.chassis.name=sw1` becomes `{"eth0": {"chassis": {"name": "sw1"}}}`. A value that also has
/// parts is under `value`.
pub(super) fn parse(output: &str) -> Option<(Value, Addresses)> {
    let mut data = Map::new();
    for line in output.lines() {
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let Some(key) = key.trim().strip_prefix("lldp.") else {
            continue;
        };
        let words: Vec<&str> = key.split('.').collect();
        let Some(at) = words.iter().skip(1).position(|word| FIRST.contains(word)) else {
            continue;
        };
        let (interface, path) = words.split_at(at + 1);
        set(&mut data, &interface.join("."), path, value);
    }
    (!data.is_empty()).then_some((Value::Object(data), Vec::new()))
}

/// Deeper paths than this nobody has seen; hostile ones go no deeper.
const MAX_DEPTH: usize = 12;

fn set(map: &mut Map<String, Value>, key: &str, path: &[&str], value: &str) {
    match path.split_first() {
        Some((next, rest)) if path.len() <= MAX_DEPTH => {
            let inner = map.entry(key).or_insert_with(|| Value::Object(Map::new()));
            if !inner.is_object() {
                // The value came first, its parts come now.
                let first = inner.take();
                *inner = Value::Object(Map::from_iter([("value".to_owned(), first)]));
            }
            if let Value::Object(inner) = inner {
                set(inner, next, rest, value);
            }
        }
        Some(_) => {}
        None => match map.get_mut(key) {
            Some(Value::Object(inner)) => put(inner, "value", Value::from(value)),
            _ => put(map, key, Value::from(value)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SAMPLE: &str = "lldp.enp3s0.via=LLDP
lldp.enp3s0.rid=1
lldp.enp3s0.age=0 day, 00:12:07
lldp.enp3s0.chassis.mac=08:00:27:aa:bb:cc
lldp.enp3s0.chassis.name=leaf-07
lldp.enp3s0.chassis.mgmt-ip=192.0.2.7
lldp.enp3s0.chassis.mgmt-ip=2001:db8::7
lldp.enp3s0.chassis.Bridge.enabled=on
lldp.enp3s0.port.ifname=Ethernet1/7
lldp.enp3s0.port.descr=rack 4, slot 7 = left
lldp.enp3s0.vlan.vlan-id=100
lldp.enp3s0.vlan.pvid=yes
lldp.enp3s0.vlan=servers
lldp.bond0.100.via=LLDP
";

    #[test]
    fn neighbours_are_found_by_interface() {
        let (data, _) = parse(SAMPLE).unwrap();
        let neighbour = &data["enp3s0"];
        assert_eq!(neighbour["chassis"]["name"], "leaf-07");
        assert_eq!(neighbour["chassis"]["mgmt-ip"], json!(["192.0.2.7", "2001:db8::7"]));
        assert_eq!(neighbour["port"]["descr"], "rack 4, slot 7 = left");
        assert_eq!(neighbour["vlan"], json!({"vlan-id": "100", "pvid": "yes", "value": "servers"}));
        assert_eq!(data["bond0.100"], json!({"via": "LLDP"}));
    }

    #[test]
    fn no_neighbour_no_catalog() {
        assert_eq!(parse(""), None);
        assert_eq!(parse("2026-11-22 [WARN/lldpctl] unable to connect to socket\n"), None);
    }
}

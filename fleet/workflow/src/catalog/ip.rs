//! `ip -d addr show; ip -d link show`: the network interfaces and their addresses.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::{Addresses, note};

/// By interface. Both commands name every interface; the second adds nothing that the first has said.
///
/// ```text
/// 2: enp0s3: <BROADCAST,UP,LOWER_UP> mtu 1500 qdisc fq_codel state UP group default qlen 1000
///     link/ether 52:54:00:00:00:01 brd ff:ff:ff:ff:ff:ff promiscuity 0 …
///     inet 10.0.2.15/24 brd 10.0.2.255 scope global dynamic enp0s3
///        valid_lft 86323sec preferred_lft 86323sec
/// ```
pub(super) fn parse(output: &str) -> Option<(Value, Addresses)> {
    let mut data: Map<String, Value> = Map::new();
    let mut current: Option<String> = None;
    for line in output.lines() {
        if let Some((name, interface)) = interface(line) {
            let known = data.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(known) = known {
                for (key, value) in interface {
                    known.entry(key).or_insert(value);
                }
            }
            current = Some(name);
            continue;
        }
        let Some(Value::Object(interface)) = current.as_ref().and_then(|name| data.get_mut(name))
        else {
            continue;
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [link, ref rest @ ..] if link.starts_with("link/") => link_line(interface, link, rest),
            [family @ ("inet" | "inet6"), address, ref rest @ ..] => {
                address_line(interface, family, address, rest);
            }
            _ => {}
        }
    }
    let mut addresses: Addresses = Vec::new();
    for interface in data.values() {
        collect(interface, &mut addresses);
    }
    (!data.is_empty()).then_some((Value::Object(data), addresses))
}

/// A line that begins with the interface's number.
fn interface(line: &str) -> Option<(String, Map<String, Value>)> {
    let (index, rest) = line.split_once(": ")?;
    let index: u32 = index.parse().ok()?;
    let (name, rest) = rest.split_once(": ")?;
    // "eth0@if7": the other end of a pair, or the interface below.
    let (name, lower) = match name.split_once('@') {
        Some((name, lower)) => (name, Some(lower)),
        None => (name, None),
    };
    let mut interface = Map::new();
    interface.insert("index".into(), json!(index));
    if let Some(lower) = lower {
        interface.insert("link".into(), json!(lower));
    }
    let mut words = rest.split_whitespace();
    let flags = words.next()?.strip_prefix('<')?.strip_suffix('>')?;
    let flags: Vec<&str> = flags.split(',').filter(|flag| !flag.is_empty()).collect();
    interface.insert("flags".into(), json!(flags));
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        let value = match value.parse::<u64>() {
            Ok(number) => json!(number),
            Err(_) => json!(value),
        };
        interface.insert(key.to_owned(), value);
    }
    Some((name.to_owned(), interface))
}

fn link_line(interface: &mut Map<String, Value>, link: &str, rest: &[&str]) {
    interface.entry("linkType").or_insert_with(|| json!(link.trim_start_matches("link/")));
    if let Some(mac) = rest.first() {
        interface.entry("macAddress").or_insert_with(|| json!(mac));
    }
}

fn address_line(interface: &mut Map<String, Value>, family: &str, address: &str, rest: &[&str]) {
    let (local, prefix) = address.split_once('/').unwrap_or((address, ""));
    let mut entry = Map::new();
    entry.insert("family".into(), json!(family));
    entry.insert("address".into(), json!(local));
    if let Ok(prefix) = prefix.parse::<u8>() {
        entry.insert("prefixLength".into(), json!(prefix));
    }
    for (key, name) in [("brd", "broadcast"), ("scope", "scope"), ("peer", "peer")] {
        if let Some(at) = rest.iter().position(|word| *word == key)
            && let Some(value) = rest.get(at + 1)
        {
            entry.insert(name.into(), json!(value));
        }
    }
    let entry = Value::Object(entry);
    let list = interface.entry("addresses").or_insert_with(|| json!([]));
    if let Value::Array(list) = list
        && !list.contains(&entry)
    {
        list.push(entry);
    }
}

/// The MAC address of an interface, with its first address that is good beyond the link.
fn collect(interface: &Value, addresses: &mut Addresses) {
    if interface.get("linkType").and_then(Value::as_str) != Some("ether") {
        return;
    }
    let mac = interface.get("macAddress").and_then(Value::as_str);
    let Some(mac) = mac.and_then(|mac| mac.parse().ok()) else { return };
    let list = interface.get("addresses").and_then(Value::as_array);
    let ip = list.into_iter().flatten().find_map(|entry| {
        let global = entry.get("scope").and_then(Value::as_str) == Some("global");
        let ip = entry.get("address").and_then(Value::as_str)?.parse::<IpAddr>().ok()?;
        global.then_some(ip)
    });
    note(addresses, mac, ip);
}

#[cfg(test)]
mod tests {
    use super::super::tests::shown;
    use super::*;

    const SAMPLE: &str = "\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00 promiscuity 0 allmulti 0 minmtu 0 maxmtu 0
    inet 127.0.0.1/8 scope host lo
       valid_lft forever preferred_lft forever
2: enp0s3: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq_codel state UP group default qlen 1000
    link/ether 52:54:00:00:00:01 brd ff:ff:ff:ff:ff:ff promiscuity 0 allmulti 0 minmtu 68 maxmtu 65535 parentbus virtio
    inet 10.0.2.15/24 brd 10.0.2.255 scope global dynamic enp0s3
       valid_lft 86323sec preferred_lft 86323sec
    inet6 fe80::5054:ff:fe00:1/64 scope link proto kernel_ll
       valid_lft forever preferred_lft forever
3: enp0s4.100@enp0s4: <BROADCAST,MULTICAST> mtu 1500 qdisc noop state DOWN group default qlen 1000
    link/ether 52:54:00:00:00:02 brd ff:ff:ff:ff:ff:ff promiscuity 0
    vlan protocol 802.1Q id 100 <REORDER_HDR> numtxqueues 1
2: enp0s3: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq_codel state UP mode DEFAULT group default qlen 1000
    link/ether 52:54:00:00:00:01 brd ff:ff:ff:ff:ff:ff promiscuity 0
";

    #[test]
    fn interfaces_have_their_addresses_once() {
        let (data, addresses) = parse(SAMPLE).unwrap();
        let names: Vec<&String> = data.as_object().unwrap().keys().collect();
        assert_eq!(names, ["lo", "enp0s3", "enp0s4.100"]);
        let interface = &data["enp0s3"];
        assert_eq!(interface["mtu"], 1500);
        assert_eq!(interface["state"], "UP");
        assert_eq!(interface["macAddress"], "52:54:00:00:00:01");
        assert_eq!(
            interface["addresses"],
            json!([
                {"family": "inet", "address": "10.0.2.15", "prefixLength": 24, "broadcast": "10.0.2.255",
                    "scope": "global"},
                {"family": "inet6", "address": "fe80::5054:ff:fe00:1", "prefixLength": 64, "scope": "link"},
            ])
        );
        assert_eq!(data["enp0s4.100"]["link"], "enp0s4");
        assert_eq!(shown(&addresses), ["52:54:00:00:00:01 10.0.2.15", "52:54:00:00:00:02"]);
    }

    #[test]
    fn no_interface_no_catalog() {
        assert_eq!(parse("sudo: ip: command not found\n"), None);
    }
}

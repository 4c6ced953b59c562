//! What the output of a command says of a node.
//!
//! RackHD finds the parser by the exact command; so does this. Parsers take text from machines that nobody vouches for:
//! they never fail, and what does not read makes no catalog.

mod dmi;
mod ip;
mod lldp;
mod lshw;
mod lspci;
mod lsscsi;

use std::net::IpAddr;

use overboot_dhcp::Mac;
use serde_json::{Map, Value, json};

/// What one command's output said.
#[derive(Clone, Debug, PartialEq)]
pub struct Cataloged {
    /// Name of the catalog: `dmi`.
    pub source: String,
    /// Its contents.
    pub data: Value,
    /// Addresses of the node that it names.
    pub addresses: Vec<(Mac, Option<IpAddr>)>,
}

/// Addresses that a parser found beside the contents.
type Addresses = Vec<(Mac, Option<IpAddr>)>;

/// A command, the catalog that it makes, and what reads its output.
struct Parser {
    command: &'static str,
    source: &'static str,
    parse: fn(&str) -> Option<(Value, Addresses)>,
}

const PARSERS: &[Parser] = &[
    Parser { command: "sudo dmidecode", source: "dmi", parse: dmi::parse },
    Parser { command: "sudo lshw -json", source: "lshw", parse: lshw::parse },
    Parser { command: "sudo lspci -nn -vmm", source: "lspci", parse: lspci::parse },
    Parser {
        command: "sudo lsblk -o KNAME,TYPE,ROTA; echo BREAK; sudo lsscsi --size",
        source: "lsscsi",
        parse: lsscsi::parse,
    },
    Parser {
        command: "sudo ip -d addr show; sudo ip -d link show",
        source: "ip",
        parse: ip::parse,
    },
    Parser {
        command: "sudo /usr/sbin/lldpcli show neighbor -f keyvalue",
        source: "lldp",
        parse: lldp::parse,
    },
];

/// No node has more addresses than this that we want to know.
const MAX_ADDRESSES: usize = 256;

/// Reads the output of a command for which there is a parser. Nothing if there is none or the output does not read.
#[must_use]
pub fn by_command(command: &str, output: &str) -> Option<Cataloged> {
    let parser = PARSERS.iter().find(|parser| parser.command == command)?;
    let (data, mut addresses) = (parser.parse)(output)?;
    addresses.truncate(MAX_ADDRESSES);
    Some(Cataloged { source: parser.source.to_owned(), data, addresses })
}

/// Makes the catalog that a command was marked to make: JSON read as such, anything else kept as text.
#[must_use]
pub fn explicit(source: &str, format: Option<&str>, output: &str) -> Option<Cataloged> {
    let data = match format {
        Some("json") => serde_json::from_str(output).ok()?,
        _ => json!({ "data": output }),
    };
    Some(Cataloged { source: source.to_owned(), data, addresses: Vec::new() })
}

/// Notes a card's address, once; what no card has is passed over.
fn note(addresses: &mut Addresses, mac: Mac, ip: Option<IpAddr>) {
    if mac.is_unicast() && !addresses.iter().any(|(known, _)| *known == mac) {
        addresses.push((mac, ip));
    }
}

/// Puts `value` under `key`; a second value makes it a list.
fn put(map: &mut Map<String, Value>, key: &str, value: Value) {
    match map.get_mut(key) {
        None => {
            map.insert(key.to_owned(), value);
        }
        Some(Value::Array(list)) => list.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `52:54:00:00:00:01 10.0.2.15`, for tests that compare.
    pub(super) fn shown(addresses: &Addresses) -> Vec<String> {
        let show = |(mac, ip): &(Mac, Option<IpAddr>)| match ip {
            Some(ip) => format!("{mac} {ip}"),
            None => mac.to_string(),
        };
        addresses.iter().map(show).collect()
    }

    #[test]
    fn every_command_of_the_built_in_catalog_tasks_has_a_parser() {
        let library = crate::Library::built_in();
        let catalogs =
            library.tasks.values().filter(|t| t.implements_task == "Task.Base.Linux.Catalog");
        let mut count = 0;
        for command in catalogs.flat_map(|task| task.options["commands"].as_array().unwrap()) {
            let command = command.as_str().or_else(|| command["command"].as_str()).unwrap();
            assert!(PARSERS.iter().any(|parser| parser.command == command), "{command}");
            count += 1;
        }
        assert_eq!(count, PARSERS.len());
    }

    #[test]
    fn explicit_catalogs_are_json_or_text() {
        let json = explicit("a", Some("json"), "{\"x\": 1}").unwrap();
        assert_eq!(json.data, json!({"x": 1}));
        assert_eq!(explicit("a", Some("json"), "{"), None);
        assert_eq!(explicit("a", Some("xml"), "<x/>").unwrap().data, json!({"data": "<x/>"}));
        assert_eq!(explicit("a", None, "x").unwrap().data, json!({"data": "x"}));
    }

    proptest! {
        #[test]
        fn no_output_makes_a_parser_panic(text in "[ -~\t\n:=.\\[\\]é]{0,400}") {
            for parser in PARSERS {
                let _ = (parser.parse)(&text);
            }
        }
    }
}

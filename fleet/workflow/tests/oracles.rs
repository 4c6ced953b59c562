//! Our parsers against what the real tools say of this machine.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::process::Command;

use overboot_workflow::catalog::by_command;
use serde_json::Value;

const IP: &str = "sudo ip -d addr show; sudo ip -d link show";

/// What a shell command writes; nothing if the tool is missing, which is an error where CI says that it must not be.
fn output(command: &str, tool: &str) -> Option<String> {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    if output.status.success() {
        return Some(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{tool} is missing");
    println!("skipped: {tool} is not installed or does not work here");
    None
}

#[test]
fn interfaces_and_addresses_are_those_of_ips_own_json() {
    let Some(text) = output(&IP.replace("sudo ", ""), "ip") else { return };
    let Some(json) = output("ip -j addr show", "ip") else { return };
    let ours = by_command(IP, &text).unwrap().data;
    let theirs: Vec<Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(ours.as_object().unwrap().len(), theirs.len());
    for interface in theirs {
        let name = interface["ifname"].as_str().unwrap();
        let found = &ours[name];
        assert_eq!(found["index"], interface["ifindex"], "{name}");
        assert_eq!(found["mtu"], interface["mtu"], "{name}");
        assert_eq!(found["state"], interface["operstate"], "{name}");
        assert_eq!(found["flags"], interface["flags"], "{name}");
        assert_eq!(found["linkType"], interface["link_type"], "{name}");
        assert_eq!(found["macAddress"], interface["address"], "{name}");
        let pairs = |list: &Value, address: &str, length: &str| -> Vec<(String, u64)> {
            let list = list.as_array().into_iter().flatten();
            list.map(|entry| {
                (entry[address].as_str().unwrap().to_owned(), entry[length].as_u64().unwrap())
            })
            .collect()
        };
        assert_eq!(
            pairs(&found["addresses"], "address", "prefixLength"),
            pairs(&interface["addr_info"], "local", "prefixlen"),
            "{name}"
        );
    }
}

//! What the output of a command says of a node.

use std::net::IpAddr;

use overboot_dhcp::Mac;
use serde_json::{Value, json};

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

/// Reads the output of a command for which there is a parser; RackHD finds it by the exact command. Output that does
/// not read makes no catalog, and fails nobody.
#[must_use]
pub fn by_command(command: &str, output: &str) -> Option<Cataloged> {
    let _ = (command, output);
    None
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

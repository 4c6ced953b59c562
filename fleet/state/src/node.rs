//! Nodes and what hangs on them: lookups, OBM records, catalogs. The shapes are RackHD's.

use std::net::IpAddr;

use overboot_dhcp::Mac;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{CatalogId, LookupId, NodeId, ObmId, Timestamp};

/// A machine, in RackHD's raw shape (what `POST` and `PATCH` answer).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// A name for people; for nodes that appeared by themselves, their MAC addresses joined by commas.
    pub name: String,
    /// `compute`, `switch`, `enclosure`, … as RackHD lists them.
    #[serde(rename = "type")]
    pub kind: String,
    /// Further identifiers, as a rule its MAC addresses.
    #[serde(default)]
    pub identifiers: Vec<String>,
    /// Whether it is to be discovered without being asked.
    #[serde(default)]
    pub auto_discover: bool,
    /// How it relates to other nodes.
    #[serde(default)]
    pub relations: Vec<Relation>,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The SKU it was found to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    /// What it boots while no workflow has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_settings: Option<BootSettings>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Whatever else a `PATCH` has put there (RackHD takes any key).
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// How a node relates to others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Relation {
    /// `encloses`, `enclosedBy`, `contains`, `containedBy`, …
    pub relation_type: String,
    /// The other nodes.
    #[serde(default)]
    pub targets: Vec<String>,
    /// Free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<Value>,
}

/// What a node boots while no workflow has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BootSettings {
    /// The profile.
    pub profile: String,
    /// Its variables.
    #[serde(default)]
    pub options: Map<String, Value>,
}

impl Node {
    /// A node that nobody announced: type `compute`, named after its MAC addresses as RackHD does.
    #[must_use]
    pub fn discovered(macs: &[Mac]) -> Self {
        let identifiers: Vec<String> = macs.iter().map(Mac::to_string).collect();
        Self { identifiers: identifiers.clone(), ..Self::named(&identifiers.join(","), "compute") }
    }

    /// A node with a name and a type and nothing else.
    #[must_use]
    pub fn named(name: &str, kind: &str) -> Self {
        let now = Timestamp::now();
        Self {
            id: NodeId::new(),
            name: name.to_owned(),
            kind: kind.to_owned(),
            identifiers: Vec::new(),
            auto_discover: false,
            relations: Vec::new(),
            tags: Vec::new(),
            sku: None,
            boot_settings: None,
            created_at: now,
            updated_at: now,
            extra: Map::new(),
        }
    }

    /// RackHD's rendered shape (what `GET` answers): references instead of contents.
    #[must_use]
    pub fn view(&self, obms: &[Obm]) -> Value {
        let url = |part: &str| format!("/api/2.0/nodes/{}/{part}", self.id);
        let obms: Vec<Value> = obms
            .iter()
            .map(
                |obm| json!({ "service": obm.service, "ref": format!("/api/2.0/obms/{}", obm.id) }),
            )
            .collect();
        let relations: Vec<Value> = self
            .relations
            .iter()
            .map(|r| json!({ "relationType": r.relation_type, "info": r.info, "targets": r.targets }))
            .collect();
        json!({
            "autoDiscover": self.auto_discover,
            "catalogs": url("catalogs"),
            "id": self.id,
            "identifiers": self.identifiers,
            "name": self.name,
            "obms": obms,
            "tags": url("tags"),
            "pollers": url("pollers"),
            "relations": relations,
            "sku": self.sku.as_ref().map(|sku| format!("/api/2.0/skus/{sku}")),
            "type": self.kind,
            "workflows": url("workflows"),
            "ibms": [],
        })
    }
}

/// Which MAC and IP address belong to which node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lookup {
    /// Its id.
    pub id: LookupId,
    /// The MAC address; no two lookups have the same.
    pub mac_address: Mac,
    /// The address last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<IpAddr>,
    /// The node. Free text, as in RackHD, where a client may put any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The proxy through which the node reaches us, `http://ip:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Lookup {
    /// A lookup of which only the MAC address is known.
    #[must_use]
    pub fn new(mac_address: Mac) -> Self {
        let now = Timestamp::now();
        Self {
            id: LookupId::new(),
            mac_address,
            ip_address: None,
            node: None,
            proxy: None,
            created_at: now,
            updated_at: now,
        }
    }
}

/// How a node is switched from outside: a service and its settings. One per node and service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Obm {
    /// Its id.
    pub id: ObmId,
    /// The node.
    pub node: NodeId,
    /// `noop-obm-service`, `ipmi-obm-service`, …
    pub service: String,
    /// Settings, secrets included: for power controls only, never for a client ([`Obm::view`]).
    pub config: Value,
}

impl Obm {
    /// RackHD's rendered shape: the node as a URL, secrets left out.
    #[must_use]
    pub fn view(&self) -> Value {
        json!({
            "id": self.id,
            "node": format!("/api/2.0/nodes/{}", self.node),
            "service": self.service,
            "config": without_secrets(&self.config),
        })
    }
}

fn without_secrets(config: &Value) -> Value {
    match config {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(key, _)| !is_secret(key))
                .map(|(key, value)| (key.clone(), without_secrets(value)))
                .collect(),
        ),
        Value::Array(list) => list.iter().map(without_secrets).collect(),
        other => other.clone(),
    }
}

/// Whether a value under this key is nothing for clients: RackHD's rule.
#[must_use]
pub(crate) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.contains("password") || key == "community" || key == "productkey" || key == "privatekey"
}

/// What one source said of a node at one time. A new run makes a new one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Catalog {
    /// Its id.
    pub id: CatalogId,
    /// The node.
    pub node: NodeId,
    /// `dmi`, `lshw`, …
    pub source: String,
    /// What it said.
    pub data: Value,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Catalog {
    /// A new catalog. In keys, `.` and `$` become `_`, as in RackHD (its database could not store them, and SKU
    /// rules are written for the result).
    #[must_use]
    pub fn new(node: NodeId, source: &str, data: Value) -> Self {
        let now = Timestamp::now();
        Self {
            id: CatalogId::new(),
            node,
            source: source.to_owned(),
            data: plain_keys(data),
            created_at: now,
            updated_at: now,
        }
    }

    /// RackHD's rendered shape: the node as a URL.
    #[must_use]
    pub fn view(&self) -> Value {
        json!({
            "id": self.id,
            "node": format!("/api/2.0/nodes/{}", self.node),
            "createdAt": self.created_at,
            "updatedAt": self.updated_at,
            "source": self.source,
            "data": self.data,
        })
    }
}

fn plain_keys(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(key, value)| (key.replace(['.', '$'], "_"), plain_keys(value)))
                .collect(),
        ),
        Value::Array(list) => list.into_iter().map(plain_keys).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_appears_is_named_after_its_macs() {
        let macs = ["52:54:00:00:00:01", "52:54:00:00:00:02"].map(|m| m.parse().unwrap());
        let node = Node::discovered(&macs);
        assert_eq!(node.name, "52:54:00:00:00:01,52:54:00:00:00:02");
        assert_eq!(node.identifiers, ["52:54:00:00:00:01", "52:54:00:00:00:02"]);
        assert_eq!(serde_json::to_value(&node).unwrap()["type"], "compute");
    }

    #[test]
    fn the_view_of_a_node_has_references() {
        let node = Node::named("a", "compute");
        let obm = Obm {
            id: ObmId::new(),
            node: node.id.clone(),
            service: "noop-obm-service".into(),
            config: json!({}),
        };
        let view = node.view(std::slice::from_ref(&obm));
        assert_eq!(view["obms"][0]["ref"], format!("/api/2.0/obms/{}", obm.id));
        assert_eq!(view["workflows"], format!("/api/2.0/nodes/{}/workflows", node.id));
        assert!(view["sku"].is_null() && view.get("createdAt").is_none());
    }

    #[test]
    fn clients_see_no_secret_of_an_obm() {
        let obm = Obm {
            id: ObmId::new(),
            node: NodeId::new(),
            service: "ipmi-obm-service".into(),
            config: json!({"host": "10.0.0.1", "user": "u", "password": "p", "snmp": {"community": "c"}}),
        };
        assert_eq!(obm.view()["config"], json!({"host": "10.0.0.1", "user": "u", "snmp": {}}));
    }

    #[test]
    fn keys_of_catalogs_have_no_dots() {
        let catalog = Catalog::new(NodeId::new(), "x", json!({"a.b": [{"$c": 1}]}));
        assert_eq!(catalog.data, json!({"a_b": [{"_c": 1}]}));
    }
}

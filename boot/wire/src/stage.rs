//! Reports of how far a boot has come.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A stage of a boot, in the order in which they are passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Server side: the firmware was offered an address or a boot file.
    DhcpOffer,
    /// Server side: a boot loader was fetched.
    Loader,
    /// Server side: a boot script was fetched.
    Script,
    /// The kernel started (time 0 of the node's clock).
    Kernel,
    /// init runs and has its file systems.
    Init,
    /// Modules for the hardware are loaded.
    Modules,
    /// A network interface was chosen and has a carrier.
    Link,
    /// The node has an address.
    Dhcp,
    /// The boot set was fetched and its signature holds.
    Set,
    /// All layers are in memory and checked.
    Download,
    /// The root is mounted.
    Root,
    /// The agent asks for tasks.
    Agent,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Self; 12] = [
        Self::DhcpOffer,
        Self::Loader,
        Self::Script,
        Self::Kernel,
        Self::Init,
        Self::Modules,
        Self::Link,
        Self::Dhcp,
        Self::Set,
        Self::Download,
        Self::Root,
        Self::Agent,
    ];

    /// Its name in JSON and in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DhcpOffer => "dhcp-offer",
            Self::Loader => "loader",
            Self::Script => "script",
            Self::Kernel => "kernel",
            Self::Init => "init",
            Self::Modules => "modules",
            Self::Link => "link",
            Self::Dhcp => "dhcp",
            Self::Set => "set",
            Self::Download => "download",
            Self::Root => "root",
            Self::Agent => "agent",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `POST /api/overboot/v1/boot`: a node reached a stage, or failed in it. Answer: 204.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageReport {
    /// MAC address of the boot interface, in the form of [`mac`](crate::mac).
    pub mac: String,
    /// The stage.
    pub stage: Stage,
    /// When it was reached: milliseconds since the kernel started (`CLOCK_BOOTTIME`).
    pub at_ms: u64,
    /// Names this boot of the node: the kernel's `boot_id`. Stages of one boot carry the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// What there is to say about it, one line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Bytes that this stage moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Why the stage failed; absent: it was reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_json_names_and_the_order_is_the_order_of_a_boot() {
        for stage in Stage::ALL {
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.name());
        }
        assert!(Stage::ALL.is_sorted());
    }

    #[test]
    fn a_report_is_small() {
        let report = StageReport {
            mac: "52:54:00:00:00:01".into(),
            stage: Stage::Dhcp,
            at_ms: 2710,
            boot_id: None,
            detail: Some("10.0.2.15/24".into()),
            bytes: None,
            error: None,
        };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(
            text,
            r#"{"mac":"52:54:00:00:00:01","stage":"dhcp","atMs":2710,"detail":"10.0.2.15/24"}"#
        );
        assert_eq!(serde_json::from_str::<StageReport>(&text).unwrap(), report);
    }
}

//! What all handlers share, and what they all ask.

use std::net::IpAddr;
use std::path::PathBuf;

use overboot_dhcp::Mac;
use overboot_netboot::{Loaders, Site};
use overboot_state::{BootEvent, Node, State};
use overboot_wire::Stage;
use overboot_workflow::Engine;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::http::error::{ApiError, ApiResult};
use crate::images::Images;
use crate::outputs::Outputs;

/// One server's parts.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) state: State,
    pub(crate) engine: Engine,
    pub(crate) images: Images,
    pub(crate) site: Site,
    pub(crate) address: Address,
    pub(crate) loaders: Loaders,
    pub(crate) common: Option<PathBuf>,
    pub(crate) mirrors: Vec<String>,
    pub(crate) discovery: Option<String>,
    /// The boot set of whoever asks for none.
    pub(crate) boot_set: String,
    pub(crate) excluded: Vec<Mac>,
    /// What nodes' commands write.
    pub(crate) outputs: Outputs,
    /// Held while a discovery graph is being started.
    pub(crate) discovering: Mutex<()>,
    /// Ends whatever waits when the server goes down.
    pub(crate) stop: CancellationToken,
}

/// Where nodes find us.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    /// `http://host:port`.
    pub(crate) http: String,
    /// `host`.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
    /// Host that takes their log lines.
    pub(crate) syslog: Option<std::net::Ipv4Addr>,
}

impl Address {
    /// `host:port`.
    pub(crate) fn api(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl App {
    /// The node that an identifier names: its id, a MAC or IP address, or one of its identifiers.
    pub(crate) async fn node(&self, identifier: &str) -> ApiResult<Node> {
        let found = self.state.find_by_identifier(identifier).await?;
        found.ok_or_else(|| Self::no_node(identifier))
    }

    /// 404, in RackHD's words.
    pub(crate) fn no_node(identifier: &str) -> ApiError {
        ApiError::not_found(format!("Could not find node with identifier {identifier}"))
    }

    /// All MAC addresses of a node.
    pub(crate) async fn macs(&self, node: &Node) -> ApiResult<Vec<Mac>> {
        let lookups = self.state.lookups(node.id.as_str()).await?;
        let mut macs: Vec<Mac> = lookups.into_iter().map(|lookup| lookup.mac_address).collect();
        for mac in node.identifiers.iter().filter_map(|identifier| identifier.parse().ok()) {
            if !macs.contains(&mac) {
                macs.push(mac);
            }
        }
        Ok(macs)
    }

    /// Notes why a machine that asks for its boot script gets none. It asks again and again, and is noted once.
    pub(crate) async fn cannot_boot(&self, mac: Mac, reason: &str) -> ApiResult<()> {
        let last = self.state.timelines(&[mac], 1).await?.pop();
        let last = last.and_then(|mut timeline| timeline.events.pop());
        let event =
            BootEvent { error: Some(reason.to_owned()), ..BootEvent::seen(Stage::Script, None) };
        if last.is_none_or(|last| (last.stage, last.error) != (event.stage, event.error.clone())) {
            // Past the engine, for which nothing has happened yet.
            self.state.record(mac, &event).await?;
        }
        Ok(())
    }

    /// Notes that a machine was seen in a stage of its boot, maybe at an address.
    pub(crate) async fn saw(
        &self,
        mac: Mac,
        address: Option<IpAddr>,
        event: BootEvent,
    ) -> ApiResult<()> {
        let node = self.state.find_by_identifier(&mac.to_string()).await?;
        if let Some(address) = address {
            let node = node.as_ref().map(|node| &node.id);
            self.state.learn(mac, Some(address), node, None).await?;
        }
        let recorded = self.state.record(mac, &event).await?;
        if let Some(node) = node {
            if recorded.began {
                self.outputs.remove(&node.id);
            }
            self.engine.boot_seen(&node.id, &recorded).await?;
        }
        Ok(())
    }
}

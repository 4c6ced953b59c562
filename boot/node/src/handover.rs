//! What init leaves for the running root and its agent, and the small files that a root without identity needs.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use overboot_wire::StageReport;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::init::mounts::STATE;
use crate::init::network::Network;

/// Name of the handover file below [`STATE`].
const FILE: &str = "boot.json";
/// Name of the timeline below [`STATE`].
const TIMELINE: &str = "timeline.json";
/// Name of our own program below [`STATE`].
pub const PROGRAM: &str = "overboot-node";

/// What the agent needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// `host:port` of the task server; `None`: there is none, and nothing to do.
    pub api: Option<String>,
    /// The kernel's name for this boot.
    pub boot_id: Option<String>,
    /// Who takes the system's log.
    pub syslog: Option<SocketAddr>,
    /// Interface, address and lease.
    pub network: Network,
}

impl Handover {
    /// Writes it and the timeline below [`STATE`], and our own program, from which the agent runs.
    ///
    /// # Errors
    /// No room.
    pub fn write(&self, timeline: &[StageReport]) -> Result<(), Error> {
        let state = Path::new(STATE);
        write_json(&state.join(FILE), self)?;
        write_json(&state.join(TIMELINE), &timeline)?;
        let program = state.join(PROGRAM);
        fs_err::copy("/proc/self/exe", &program)?;
        fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// Reads what init left.
    ///
    /// # Errors
    /// Not booted by our init, or damaged.
    pub fn read() -> Result<Self, Error> {
        let text = fs_err::read_to_string(Path::new(STATE).join(FILE))?;
        serde_json::from_str(&text).map_err(Error::Tasks)
    }
}

/// Adds a report to the timeline that init left.
///
/// # Errors
/// The file is not there or cannot be written.
pub fn add_to_timeline(report: &StageReport) -> Result<(), Error> {
    let path = Path::new(STATE).join(TIMELINE);
    let text = fs_err::read_to_string(&path)?;
    let mut timeline: Vec<StageReport> = serde_json::from_str(&text).map_err(Error::Tasks)?;
    timeline.push(report.clone());
    write_json(&path, &timeline)
}

/// Writes aside and renames, so that no reader sees half of it.
///
/// # Errors
/// No room, or no such folder.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string(value).map_err(Error::Tasks)?;
    replace(path, &text, 0o644)
}

/// Replaces a file's content, whatever the file was (a link is replaced, not followed).
///
/// # Errors
/// No room, or no such folder.
pub fn replace(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let aside = PathBuf::from(aside);
    let written = fs_err::write(&aside, text)
        .and_then(|()| fs_err::set_permissions(&aside, std::fs::Permissions::from_mode(mode)))
        .and_then(|()| fs_err::rename(&aside, path));
    if written.is_err() {
        // Half a file in memory is half a file's memory.
        let _absent = fs_err::remove_file(&aside);
    }
    Ok(written?)
}

/// The node's name: what DHCP or `ip=` gave, else one made from its address.
#[must_use]
pub fn hostname(network: &Network) -> String {
    let given = network.lease.hostname.as_deref().and_then(|name| name.split('.').next());
    match given {
        Some(name) if !name.is_empty() && name != "localhost" => name.to_owned(),
        _ => format!("overboot-{}", network.mac.to_string().replace(':', "")),
    }
}

/// Writes name, resolver and log forwarding into the new root.
///
/// # Errors
/// No room. Folders that the root lacks are made, but `/etc/rsyslog.d` only if rsyslog is there.
pub fn configure_root(
    root: &Path,
    network: &Network,
    syslog: Option<SocketAddr>,
) -> Result<(), Error> {
    let etc = root.join("etc");
    fs_err::create_dir_all(&etc)?;
    let name = hostname(network);
    replace(&etc.join("hostname"), &format!("{name}\n"), 0o644)?;
    let hosts = fs_err::read_to_string(etc.join("hosts")).unwrap_or_default();
    replace(&etc.join("hosts"), &with_own_name(&hosts, &name), 0o644)?;
    let lease = &network.lease;
    if !lease.dns.is_empty() {
        replace(&etc.join("resolv.conf"), &resolver(&lease.dns, lease.domain.as_deref()), 0o644)?;
    }
    match syslog {
        Some(server) => forward(&etc, server),
        None => Ok(()),
    }
}

/// The system's log goes to `server`: through the root's own rsyslog, or from journald through the agent.
fn forward(etc: &Path, server: SocketAddr) -> Result<(), Error> {
    let rsyslog = etc.join("rsyslog.d");
    if rsyslog.is_dir() {
        return replace(&rsyslog.join("60-forward.conf"), &format!("*.* @{server}\n"), 0o644);
    }
    let journald = etc.join("systemd/journald.conf.d");
    fs_err::create_dir_all(&journald)?;
    let text = "# Written by overboot's init: the agent passes the log on.\n[Journal]\nForwardToSyslog=yes\n";
    replace(&journald.join("60-overboot.conf"), text, 0o644)
}

fn resolver(servers: &[Ipv4Addr], domain: Option<&str>) -> String {
    let mut text = String::from("# Written by overboot's init from DHCP.\n");
    if let Some(domain) = domain {
        text.push_str(&format!("search {domain}\n"));
    }
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    text
}

/// Without its own name in `/etc/hosts`, every `sudo` would ask a name server first.
fn with_own_name(hosts: &str, name: &str) -> String {
    let mut text = String::new();
    if !hosts.lines().any(|line| line.split_whitespace().any(|word| word == "localhost")) {
        text.push_str("127.0.0.1 localhost\n::1 localhost\n");
    }
    for line in hosts.lines().filter(|line| !line.starts_with("127.0.1.1")) {
        text.push_str(line);
        text.push('\n');
    }
    text.push_str(&format!("127.0.1.1 {name}\n"));
    text
}

#[cfg(test)]
mod tests {
    use overboot_dhcp::Mac;

    use super::*;
    use crate::dhcp::Lease;

    fn network(hostname: Option<&str>) -> Network {
        Network {
            interface: "eth0".into(),
            index: 2,
            mac: Mac::new([0x52, 0x54, 0, 0, 0, 0xab]),
            lease: Lease {
                address: Ipv4Addr::new(10, 0, 2, 15),
                prefix: 24,
                server: Ipv4Addr::new(10, 0, 2, 2),
                routes: vec![],
                dns: vec![Ipv4Addr::new(10, 0, 2, 3)],
                domain: Some("lab".into()),
                hostname: hostname.map(str::to_owned),
                mtu: None,
                seconds: 3600,
                renew: 1800,
                rebind: 3150,
            },
            leased_at: Some(5),
        }
    }

    #[test]
    fn the_name_is_given_or_made() {
        assert_eq!(hostname(&network(Some("n7.lab"))), "n7");
        assert_eq!(hostname(&network(None)), "overboot-5254000000ab");
        assert_eq!(hostname(&network(Some("localhost"))), "overboot-5254000000ab");
    }

    #[test]
    fn the_root_gets_its_files_and_links_are_replaced() {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc");
        std::fs::create_dir_all(etc.join("rsyslog.d")).unwrap();
        std::os::unix::fs::symlink(
            "/run/systemd/resolve/stub-resolv.conf",
            etc.join("resolv.conf"),
        )
        .unwrap();
        let syslog = Some(([10, 0, 2, 2], 514).into());
        configure_root(root.path(), &network(None), syslog).unwrap();
        configure_root(root.path(), &network(None), syslog).unwrap();
        let read = |name: &str| std::fs::read_to_string(etc.join(name)).unwrap();
        assert_eq!(read("hostname"), "overboot-5254000000ab\n");
        assert_eq!(
            read("hosts"),
            "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 overboot-5254000000ab\n"
        );
        assert!(read("resolv.conf").ends_with("search lab\nnameserver 10.0.2.3\n"));
        assert_eq!(read("rsyslog.d/60-forward.conf"), "*.* @10.0.2.2:514\n");
        std::fs::remove_dir_all(etc.join("rsyslog.d")).unwrap();
        configure_root(root.path(), &network(None), syslog).unwrap();
        assert!(
            read("systemd/journald.conf.d/60-overboot.conf").ends_with("ForwardToSyslog=yes\n")
        );
    }

    #[test]
    fn the_handover_is_read_as_it_was_written() {
        let handover = Handover {
            api: Some("10.0.2.2:9090".into()),
            boot_id: None,
            syslog: Some(([10, 0, 2, 2], 514).into()),
            network: network(None),
        };
        let text = serde_json::to_string(&handover).unwrap();
        assert_eq!(serde_json::from_str::<Handover>(&text).unwrap(), handover);
    }
}

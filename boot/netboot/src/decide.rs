//! The one place where it is decided what a client gets.
//!
//! DHCP, ProxyDHCP, TFTP, HTTP and the scripts only carry the answer, so that no step of a boot can disagree with
//! another: a machine that is given a loader is also given a script, and a machine that is not wanted is left alone
//! from its first packet on. The rules are RackHD's (`on-dhcp-proxy` and `GET /profiles`), completed.

use std::fmt;

use overboot_dhcp::Arch;

use crate::client::{Asking, Client};
use crate::site::{self, Site};

/// What the fleet knows about a client at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The machine itself.
    pub machine: Machine,
    /// What it should be doing.
    pub work: Work,
    /// How this machine is sent to its own disk.
    pub exit: Exit,
    /// The loader that an operator chose for this machine, against the built-in choice.
    pub loader: Option<String>,
}

/// How far the fleet knows a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Machine {
    /// Never seen: its first boot makes it a node.
    New,
    /// A node without catalogs.
    Undiscovered,
    /// A node with catalogs.
    Discovered,
    /// An operator wants it left alone.
    Excluded {
        /// What the operator, or the configuration, says about it.
        reason: String,
    },
}

/// What the fleet wants of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Nothing.
    None,
    /// A workflow holds it but has nothing to boot now.
    Busy {
        /// The workflow's name.
        workflow: String,
    },
    /// It should boot, but what it should boot cannot be had.
    Unbootable {
        /// Who wants it to.
        by: String,
        /// What is missing.
        why: String,
    },
    /// Boot this.
    Boot {
        /// What to boot.
        plan: BootPlan,
        /// Who wants it: a workflow or the node's own settings.
        by: String,
    },
}

/// One kernel with all it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootPlan {
    /// What people call it: the boot set or profile.
    pub name: String,
    /// URL of the kernel.
    pub kernel: String,
    /// URLs of the initrds, in the order in which the kernel unpacks them.
    pub initrds: Vec<String>,
    /// The kernel's command line without any `initrd=`.
    pub cmdline: String,
}

/// How iPXE hands over to the next boot device. There is no way that works on every firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exit {
    /// Return to the firmware, which goes on to its next boot device.
    #[default]
    Firmware,
    /// Start the first disk directly (BIOS only): for firmware that hangs when iPXE returns.
    FirstDisk,
}

/// What a client gets, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootDecision {
    /// This loader, by TFTP.
    Loader {
        /// Its name on the TFTP server.
        file: String,
        /// Why.
        reason: String,
    },
    /// This loader, by HTTP.
    HttpLoader {
        /// Where it is.
        url: String,
        /// Why.
        reason: String,
    },
    /// The script at this URL.
    Chain {
        /// Where it is.
        url: String,
        /// Why.
        reason: String,
    },
    /// This kernel.
    Boot {
        /// What to boot.
        plan: BootPlan,
        /// Why.
        reason: String,
    },
    /// Its own disk: no boot file for a ROM, a script that ends for iPXE.
    LocalDisk {
        /// How to get there.
        exit: Exit,
        /// Why.
        reason: String,
    },
    /// Nothing yet: ask again.
    Wait {
        /// After how many seconds.
        seconds: u32,
        /// Why.
        reason: String,
    },
    /// No answer about booting at all; to a script's question, one that only says why.
    Ignore {
        /// Why.
        reason: String,
    },
}

impl BootDecision {
    /// Why it was decided so: a sentence for logs and for the web page.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Loader { reason, .. }
            | Self::HttpLoader { reason, .. }
            | Self::Chain { reason, .. }
            | Self::Boot { reason, .. }
            | Self::LocalDisk { reason, .. }
            | Self::Wait { reason, .. }
            | Self::Ignore { reason } => reason,
        }
    }
}

impl fmt::Display for BootDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loader { file, .. } => write!(f, "loader {file}")?,
            Self::HttpLoader { url, .. } => write!(f, "loader {url}")?,
            Self::Chain { url, .. } => write!(f, "script {url}")?,
            Self::Boot { plan, .. } => match plan.initrds.len() {
                0 | 1 => write!(f, "boot {}", plan.name)?,
                initrds => write!(f, "boot {} with {initrds} initrds", plan.name)?,
            },
            Self::LocalDisk { .. } => f.write_str("local disk")?,
            Self::Wait { seconds, .. } => write!(f, "wait {seconds} s")?,
            Self::Ignore { .. } => f.write_str("ignored")?,
        }
        write!(f, ": {}", self.reason())
    }
}

/// How long a machine whose boot is not decided yet looks at the reason; the redirect script adds its own pause.
const WAIT_SECONDS: u32 = 1;

/// Decides. Pure: the same client, view and site always give the same answer.
#[must_use]
pub fn decide(site: &Site, client: &Client, view: &View) -> BootDecision {
    if client.asking == Asking::System {
        return BootDecision::Ignore { reason: "it does not boot from the network".into() };
    }
    if let Machine::Excluded { reason } = &view.machine {
        return BootDecision::Ignore { reason: reason.clone() };
    }
    match client.asking {
        Asking::Rom | Asking::HttpRom => match wanted(view) {
            Ok(reason) => loader(site, client, view, reason),
            Err(reason) => BootDecision::LocalDisk { exit: view.exit, reason },
        },
        // Always the script, also when there is nothing to do: what is known when the script is asked for counts, and
        // the script tells the console why the machine goes to its disk.
        Asking::Ipxe => BootDecision::Chain {
            url: site.profiles_url(),
            reason: "iPXE asks for its script".into(),
        },
        Asking::Script => script(view),
        Asking::System => {
            BootDecision::Ignore { reason: "it does not boot from the network".into() }
        }
    }
}

/// Whether the machine is to boot from the network at all, with the reason either way.
fn wanted(view: &View) -> Result<String, String> {
    match (&view.machine, &view.work) {
        (Machine::New, _) => Ok("the machine is new".into()),
        (_, Work::Boot { plan, by }) => Ok(format!("{by} boots {}", plan.name)),
        // There it is told what is missing, where somebody may stand and look.
        (_, Work::Unbootable { by, why }) => Ok(format!("{by} cannot boot it: {why}")),
        (Machine::Undiscovered, _) => Ok("the node has no catalogs yet".into()),
        (_, Work::Busy { workflow }) => {
            Err(format!("{workflow} holds the node and boots nothing now"))
        }
        (_, Work::None) => Err("the node is discovered and no workflow wants it".into()),
    }
}

fn loader(site: &Site, client: &Client, view: &View, reason: String) -> BootDecision {
    // A BIOS ROM that sends no option 93 is older than RFC 4578.
    let arch = client.arch.unwrap_or(Arch::Bios);
    if arch == Arch::Bios && site::FLEXBOOT_OUIS.contains(&client.mac.oui()) {
        let reason = format!("{reason}; its ROM is FlexBoot, which is iPXE");
        return BootDecision::Chain { url: site.profiles_url(), reason };
    }
    let chosen = match &view.loader {
        Some(name) => site.loaders.contains(name).then_some(name.as_str()),
        None => site.loader(arch, client.mac),
    };
    let Some(file) = chosen else {
        let missing = match view.loader.as_deref().or(site::wanted_loader(arch)) {
            Some(name) => {
                format!("the loader {name} for {arch} is not among the loaders of this server")
            }
            None => format!("there is no loader for {arch}"),
        };
        return BootDecision::Ignore { reason: missing };
    };
    match client.asking {
        Asking::HttpRom => BootDecision::HttpLoader { url: site.loader_url(file), reason },
        _ => BootDecision::Loader { file: file.to_owned(), reason },
    }
}

fn script(view: &View) -> BootDecision {
    let wait = |reason: String| BootDecision::Wait { seconds: WAIT_SECONDS, reason };
    match (&view.machine, &view.work) {
        (_, Work::Boot { plan, by }) => {
            BootDecision::Boot { plan: plan.clone(), reason: format!("{by} boots {}", plan.name) }
        }
        (_, Work::Unbootable { by, why }) => {
            BootDecision::Ignore { reason: format!("{by} cannot boot it: {why}") }
        }
        (_, Work::Busy { workflow }) => wait(format!("{workflow} has nothing to boot yet")),
        (Machine::New | Machine::Undiscovered, Work::None) => {
            wait("the node is new and no workflow has taken it yet".into())
        }
        (Machine::Discovered | Machine::Excluded { .. }, Work::None) => BootDecision::LocalDisk {
            exit: view.exit,
            reason: "the node is discovered and no workflow wants it".into(),
        },
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;

//! One boot of one boot set in a virtual machine, over the path that real machines take: a boot server, iPXE, kernel,
//! init, root, agent, workflow. What `overboot try` does for each overlay.

mod report;
mod watch;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use overboot_power::QEMU_SERVICE;
use overboot_server::{Running, Server, ServerConfig};
use overboot_vm::{Accel, Boot, Forward, Machine, MachineConfig, Network, Nic};
use serde_json::json;
use tempfile::TempDir;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(crate) use report::Report;
use watch::{Ended, Watch};

/// How QEMU's user network calls the host.
const HOST: &str = "10.0.2.2";

/// The address of the machine's network card, in the range that QEMU's own have.
const MAC: &str = "52:54:00:0b:00:01";

/// The graph that every overlay can run: it boots and runs a command.
const COMMAND_GRAPH: &str = "Graph.Try";

/// How often we look at how far the machine is.
const LOOK: Duration = Duration::from_millis(100);

/// What is tried.
#[derive(Debug)]
pub(crate) struct Trial {
    /// The boot set.
    pub(crate) set: String,
    /// What the machine does once it runs.
    pub(crate) work: Work,
    /// The image store.
    pub(crate) store: PathBuf,
    /// RAM of the machine.
    pub(crate) memory_mib: u32,
    /// How its instructions are run.
    pub(crate) accel: Accel,
    /// How long all of it may take.
    pub(crate) timeout: Duration,
    /// Whether the machine stays up afterwards, until the user ends it.
    pub(crate) keep: bool,
}

/// What the machine does once it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// RackHD's discovery.
    Discovery,
    /// This command.
    Command(String),
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The workflow succeeded.
    Passed,
    /// It did not, for this reason.
    Failed(String),
    /// The user ended it.
    Interrupted,
}

/// The parts, in the order in which they end: the machine first.
struct Bed {
    machine: Machine,
    lines: Receiver<String>,
    server: Running,
    ssh_port: u16,
    started: Instant,
    _dir: TempDir,
}

impl Trial {
    /// Boots, watches, and says how it ended. Whatever happens, nothing is left behind.
    pub(crate) async fn run(&self, report: &Report<'_>) -> Result<Outcome> {
        let begun = Instant::now();
        let dir = temporary()?;
        let server = self.server(dir.path()).await?;
        let (machine, ssh_port) = self.machine(&server, dir.path())?;
        let started = Instant::now();
        let lines = machine.console().lines();
        let bed = Bed { machine, lines, server, ssh_port, started, _dir: dir };
        report.started(self, bed.server.http_addr());
        let mut interrupt = Interrupt::listen()?;
        let outcome = self.watch(&bed, report, &mut interrupt).await;
        if let Ok(outcome) = &outcome {
            report.console(&bed.lines);
            report.ended(&self.set, outcome, begun.elapsed().as_secs_f64());
        }
        if self.keep
            && let Ok(Outcome::Passed | Outcome::Failed(_)) = &outcome
        {
            report.kept(bed.server.http_addr(), MAC, bed.ssh_port);
            while !interrupt.within(LOOK).await {
                report.console(&bed.lines);
            }
        }
        bed.machine.kill();
        bed.server.shutdown().await.context("stopping the boot server")?;
        outcome
    }

    /// A boot server for nobody else.
    async fn server(&self, dir: &Path) -> Result<Running> {
        let mut config = ServerConfig::new(dir.join("state"), self.store.clone());
        config.advertised = Some(HOST.to_owned());
        config.boot_set = self.set.clone();
        config.unpublished = true;
        config.discovery = Some(match self.work {
            Work::Discovery => "Graph.Discovery".to_owned(),
            Work::Command(_) => COMMAND_GRAPH.to_owned(),
        });
        let server = Server::start(config).await.context("starting a boot server")?;
        if let Work::Command(command) = &self.work {
            let graph = command_graph(command);
            server.engine().put_graph(&graph).await.context("defining what the machine does")?;
        }
        Ok(server)
    }

    fn machine(&self, server: &Running, dir: &Path) -> Result<(Machine, u16)> {
        let ssh_port = free_port()?;
        let mut config = MachineConfig::new(Boot::Network);
        config.memory_mib = self.memory_mib;
        config.cpus = self.accel.processors();
        config.accel = self.accel;
        config.nics.push(Nic {
            mac: MAC.to_owned(),
            network: Network::User {
                bootfile: Some(format!("{}/api/current/profiles", server.url())),
                forwards: vec![Forward::loopback(ssh_port, 22)],
            },
        });
        let machine = Machine::start(&config, dir).context("the virtual machine did not start")?;
        Ok((machine, ssh_port))
    }

    async fn watch(
        &self,
        bed: &Bed,
        report: &Report<'_>,
        interrupt: &mut Interrupt,
    ) -> Result<Outcome> {
        let mac = MAC.parse().context("our own MAC address")?;
        let mut watch = Watch::new(mac, bed.started);
        let mut switchable = false;
        let deadline = bed.started + self.timeout;
        loop {
            report.console(&bed.lines);
            let news = watch.look(bed.server.engine().state()).await?;
            if let (Some(node), false) = (&news.node, switchable) {
                // From now on workflows can switch it.
                let config = json!({ "qmp": bed.machine.power_socket() });
                bed.server.engine().state().put_obm(node, QEMU_SERVICE, &config).await?;
                switchable = true;
            }
            news.lines.iter().for_each(|line| report.line(line));
            match news.ended {
                Some(Ended::Well) => return Ok(Outcome::Passed),
                Some(Ended::Badly(reason)) => return Ok(Outcome::Failed(reason)),
                None => {}
            }
            if let Some(status) = bed.machine.wait(Duration::ZERO) {
                let said = bed.machine.messages().tail(5);
                return Ok(Outcome::Failed(format!("QEMU ended ({status}): {said}")));
            }
            if Instant::now() >= deadline {
                let seconds = self.timeout.as_secs();
                let reason = format!("not done within {seconds} s: {}", watch.where_it_is());
                return Ok(Outcome::Failed(reason));
            }
            if interrupt.within(LOOK).await {
                return Ok(Outcome::Interrupted);
            }
        }
    }
}

/// A folder that goes away, with a path short enough for the sockets in it.
pub(crate) fn temporary() -> Result<TempDir> {
    let folder = if Path::new("/tmp").is_dir() { "/tmp".into() } else { std::env::temp_dir() };
    tempfile::Builder::new()
        .prefix("overboot-try-")
        .tempdir_in(&folder)
        .with_context(|| format!("making a folder in {}", folder.display()))
}

/// Ctrl-C, or being told to end. From [`Interrupt::listen`] on neither ends the program, and none is missed.
struct Interrupt {
    key: Signal,
    told: Signal,
}

impl Interrupt {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("listening for signals");
        Ok(Self { key: listen(SignalKind::interrupt())?, told: listen(SignalKind::terminate())? })
    }

    /// Whether it came within that time.
    async fn within(&mut self, time: Duration) -> bool {
        tokio::select! {
            _ = self.key.recv() => true,
            _ = self.told.recv() => true,
            () = tokio::time::sleep(time) => false,
        }
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("looking for a free port")?;
    Ok(listener.local_addr()?.port())
}

/// Boots and runs one command, as `Graph.ShellCommands` does on a machine that runs already.
fn command_graph(command: &str) -> serde_json::Value {
    json!({
        "friendlyName": "Try",
        "injectableName": COMMAND_GRAPH,
        "options": {
            "bootstrap-ubuntu": { "triggerGroup": "bootstrap" },
            "finish-bootstrap-trigger": { "triggerGroup": "bootstrap" },
            "command": { "commands": [{ "command": command, "catalog": { "source": "try", "format": "raw" } }] },
        },
        "tasks": [
            { "label": "bootstrap-ubuntu", "taskName": "Task.Linux.Bootstrap.Ubuntu" },
            { "label": "command", "taskName": "Task.Linux.Commands" },
            {
                "label": "finish-bootstrap-trigger",
                "taskName": "Task.Trigger.Send.Finish",
                "waitOn": { "command": "succeeded" },
            },
        ],
    })
}

//! The agent: asks for tasks, runs them, posts results; keeps the login and the lease.

pub mod accounts;
pub mod command;
pub mod course;
pub mod lease;
pub mod login;
mod once;
pub mod relay;
pub mod solo;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use overboot_wire::{Login, OutputReport, Stage, StageReport, TaskDoc, path};

use self::command::{Runner, Watcher};
use self::course::{Action, Course, End, Outcome};
use self::once::Kept;
use crate::handover::{self, Handover};
use crate::http::{Client, Request};
use crate::init::mounts::STATE;
use crate::log::Log;
use crate::report::{self, Reporter};
use crate::url::Url;
use crate::{Error, clock, error};

/// Most bytes of a task document.
const DOCUMENT: u64 = 64 << 20;
/// Exit status of a worker that must not be started again.
const STAY: u8 = 127;

/// Keeps a worker running; returns when the server said that the node stays as it is.
pub fn run() {
    // Own session: the console's hang-ups and the shell of whoever started us do not matter.
    let _leader_already = rustix::process::setsid();
    loop {
        let mut worker = Command::new("/proc/self/exe");
        worker.arg0("overboot-agent").arg("worker").stdin(Stdio::null());
        match worker.status() {
            Ok(status) if status.code() == Some(STAY.into()) => return,
            Ok(_) | Err(_) => std::thread::sleep(Duration::from_secs(2)),
        }
    }
}

/// The worker: returns the exit status for [`run`].
#[must_use]
pub fn work() -> u8 {
    let log = Log::open();
    match try_work(&log) {
        Ok(End::Stay) => {
            log.line("agent: the server said to stay; no more tasks are asked for");
            STAY
        }
        Ok(End::Reboot) => reboot(&log),
        Ok(End::PowerCycle) => power_cycle(&log),
        Err(error) => {
            log.line(&format!("agent: {}", error::chain(&error)));
            1
        }
    }
}

fn try_work(log: &Log) -> Result<End, Error> {
    let handover = Handover::read()?;
    let Some(api) = handover.api.clone() else { return Ok(End::Stay) };
    let client = Client { name_servers: handover.network.lease.dns.clone() };
    let state = Path::new(STATE);
    let runner = Runner {
        folder: command::working_folder(state)?,
        client: client.clone(),
        environment: vec![("API_CB".to_owned(), api.clone())],
        watcher: None,
    };
    let (logins, wanted) = channel();
    let network = handover.network.clone();
    if let Some(server) = handover.syslog {
        let host = handover::hostname(&network);
        log.to_syslog(server, &host);
        // As the lease below.
        std::thread::spawn(move || relay::keep(server, &host, &Log::open()));
    }
    let reporter = Reporter::start(&api, client.clone());
    let tell = {
        let handover = handover.clone();
        // The boot's timeline is where people look for what is wrong with a node.
        move |said: Result<String, String>| {
            if let Some(reporter) = &reporter {
                reporter.send(seen(&handover, said));
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(move || login::keep(&wanted, log, &tell));
        // Not in the scope's end: it never ends by itself.
        std::thread::spawn(move || lease::keep(network, &Log::open()));
        let agent = Agent {
            api,
            client,
            runner,
            handover: &handover,
            logins,
            log,
            kept: Kept::new(state.join("commands")),
        };
        agent.run()
    })
}

struct Agent<'a> {
    api: String,
    client: Client,
    runner: Runner,
    handover: &'a Handover,
    logins: Sender<Login>,
    log: &'a Log,
    kept: Kept,
}

impl Agent<'_> {
    fn run(mut self) -> Result<End, Error> {
        let mac = self.handover.network.mac.to_string();
        let mut course = Course::new(&mac, self.handover.boot_id.as_deref());
        let mut outcome = Outcome::Ready;
        let mut known = false;
        loop {
            let action = course.step(outcome);
            if let (false, Some(identity)) = (known, course.identity()) {
                known = true;
                self.report(&identity.identifier);
                if identity.native {
                    self.runner.watcher = self.watcher(&identity.identifier);
                }
            }
            outcome = match action {
                Action::AskIdentity => self.get(&course.identity_path(), 10),
                Action::AskTasks { path, patient } => {
                    let silence = if patient { path::LONG_POLL_SECONDS + 10 } else { 15 };
                    self.get(&path, silence)
                }
                Action::Run(doc) => Outcome::Ran(self.kept.once(doc, |doc| self.runner.run(doc))?),
                Action::Post { path, doc } => self.post(&path, &doc),
                Action::Wait(milliseconds) => {
                    std::thread::sleep(Duration::from_millis(milliseconds));
                    Outcome::Ready
                }
                Action::Login(login) => {
                    // The other end lives as long as this loop.
                    let _never = self.logins.send(login);
                    Outcome::Ready
                }
                Action::End(end) => return Ok(end),
            };
        }
    }

    fn get(&self, path: &str, silence: u64) -> Outcome {
        self.send(
            path,
            &Request {
                accept: "application/json",
                silence: Duration::from_secs(silence),
                ..Request::get()
            },
        )
    }

    fn post(&self, path: &str, doc: &TaskDoc) -> Outcome {
        let Ok(body) = serde_json::to_vec(doc) else { return Outcome::Silence };
        self.send(
            path,
            &Request {
                method: "POST",
                content: Some(("application/json", &body)),
                accept: "application/json",
                silence: Duration::from_secs(60),
                ..Request::get()
            },
        )
    }

    fn send(&self, path: &str, request: &Request<'_>) -> Outcome {
        let answer = Url::parse(&format!("http://{}{path}", self.api))
            .and_then(|url| self.client.send(&url, request))
            .and_then(|response| {
                let status = response.head.status;
                Ok((status, response.bytes(DOCUMENT)?))
            });
        match answer {
            Ok((status, body)) => Outcome::Answer(status, body),
            Err(_) => Outcome::Silence,
        }
    }

    /// Tells our own server what commands write while they run.
    fn watcher(&self, identifier: &str) -> Option<Watcher> {
        let url = Url::parse(&format!("http://{}{}", self.api, path::OUTPUT)).ok()?;
        let (client, identifier) = (self.client.clone(), identifier.to_owned());
        Some(Arc::new(move |cmd: &str, bytes, tail| {
            let (identifier, cmd) = (identifier.clone(), cmd.to_owned());
            // What is lost comes with the results.
            report::post(&url, &client, &OutputReport { identifier, cmd, bytes, tail });
        }))
    }

    /// The last stage of a boot.
    fn report(&self, identifier: &str) {
        let report = seen(self.handover, Ok(format!("node {identifier} asks for tasks")));
        self.log.line(&format!("agent: node {identifier} asks {} for tasks", self.api));
        // A timeline that cannot be kept is no reason not to work.
        let _kept = handover::add_to_timeline(&report);
        if let Ok(url) = Url::parse(&format!("http://{}{}", self.api, path::BOOT_REPORT)) {
            report::post(&url, &self.client, &report);
        }
    }
}

/// A report of a boot's last stage: how it goes, or what is wrong.
fn seen(handover: &Handover, said: Result<String, String>) -> StageReport {
    StageReport {
        mac: handover.network.mac.to_string(),
        stage: Stage::Agent,
        at_ms: clock::boot_ms(),
        boot_id: handover.boot_id.clone(),
        detail: said.as_ref().ok().cloned(),
        bytes: None,
        error: said.err(),
    }
}

fn reboot(log: &Log) -> u8 {
    log.line("agent: rebooting, as the server asked");
    rustix::fs::sync();
    match rustix::system::reboot(rustix::system::RebootCommand::Restart) {
        Ok(()) => 0,
        Err(errno) => {
            log.line(&format!("agent: the kernel does not reboot: {errno}; trying sysrq"));
            let _last = fs_err::write("/proc/sysrq-trigger", "b");
            1
        }
    }
}

fn power_cycle(log: &Log) -> u8 {
    log.line("agent: power cycling through the BMC, as the server asked");
    rustix::fs::sync();
    let asked = Command::new("ipmitool").args(["-I", "open", "chassis", "power", "cycle"]).status();
    if asked.is_ok_and(|status| status.success()) {
        // The BMC takes a moment.
        std::thread::sleep(Duration::from_secs(30));
    }
    reboot(log)
}

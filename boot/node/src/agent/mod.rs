//! The agent: asks for tasks, runs them, posts results; keeps the login and the lease.

pub mod accounts;
pub mod command;
pub mod course;
pub mod lease;
pub mod login;
pub mod relay;
pub mod solo;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use overboot_bootset::Blob;
use overboot_wire::{Login, OutputReport, Stage, StageReport, TaskDoc, path};

use self::command::{Runner, Watcher};
use self::course::{Action, Course, End, Outcome};
use crate::handover::{self, Handover};
use crate::http::{Client, Request};
use crate::init::mounts::STATE;
use crate::log::Log;
use crate::url::Url;
use crate::{Error, clock, error, report};

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
    std::thread::scope(|scope| {
        scope.spawn(move || login::keep(&wanted, log));
        // Not in the scope's end: it never ends by itself.
        std::thread::spawn(move || lease::keep(network, &Log::open()));
        let agent = Agent {
            api,
            client,
            runner,
            handover: &handover,
            logins,
            log,
            kept: state.join("commands"),
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
    /// Results by command id: what makes a command run at most once.
    kept: PathBuf,
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
                self.report(&mac, &identity.identifier);
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
                Action::Run(doc) => Outcome::Ran(self.once(doc)?),
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

    /// Runs a document's tasks, unless its command id was seen before: then the results of then.
    fn once(&self, doc: TaskDoc) -> Result<TaskDoc, Error> {
        let Some(id) = &doc.command_id else { return Ok(self.runner.run(doc)) };
        fs_err::create_dir_all(&self.kept)?;
        // Ids come from the network; their digests are safe as file names.
        let name = Blob::of_reader(id.as_bytes())?.digest.hex();
        let path = self.kept.join(name);
        match fs_err::read(&path) {
            Ok(bytes) => {
                Ok(serde_json::from_slice(&bytes).unwrap_or_else(|_| course::interrupted(doc)))
            }
            Err(_) => {
                fs_err::write(&path, b"")?;
                let done = self.runner.run(doc);
                handover::write_json(&path, &done)?;
                Ok(done)
            }
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
    fn report(&self, mac: &str, identifier: &str) {
        let report = StageReport {
            mac: mac.to_owned(),
            stage: Stage::Agent,
            at_ms: clock::boot_ms(),
            boot_id: self.handover.boot_id.clone(),
            detail: Some(format!("node {identifier} asks for tasks")),
            bytes: None,
            error: None,
        };
        self.log.line(&format!("agent: node {identifier} asks {} for tasks", self.api));
        // A timeline that cannot be kept is no reason not to work.
        let _kept = handover::add_to_timeline(&report);
        if let Ok(url) = Url::parse(&format!("http://{}{}", self.api, path::BOOT_REPORT)) {
            report::post(&url, &self.client, &report);
        }
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

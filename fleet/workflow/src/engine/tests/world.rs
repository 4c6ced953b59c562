//! A machine, as the engine sees it: firmware that asks for a script, and an agent that asks for work.

use std::collections::HashMap;
use std::time::Duration;

use overboot_dhcp::Mac;
use overboot_state::{BootEvent, NodeId};
use overboot_wire::{Stage, StageReport, Task, TaskDoc, TaskError, TaskFailure};

use crate::{Engine, Error};

pub(super) const MAC: Mac = Mac::new([0x52, 0x54, 0, 0, 0, 1]);

/// A machine with our agent.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) node: NodeId,
    /// Counts boots; the kernel's `boot_id` is made of it.
    pub(super) boot: u32,
    pub(super) login: u64,
    /// Command ids that were run, in order, and what came of them.
    pub(super) ran: Vec<String>,
    results: HashMap<String, TaskDoc>,
    /// Whether the firmware runs, and no agent.
    pub(super) in_firmware: bool,
    /// What a command writes.
    output: fn(&str) -> Result<String, i32>,
}

impl Machine {
    pub(super) fn new(node: &NodeId, output: fn(&str) -> Result<String, i32>) -> Self {
        let (ran, results) = (Vec::new(), HashMap::new());
        Self { node: node.clone(), boot: 0, login: 0, ran, results, in_firmware: false, output }
    }

    pub(super) fn boot_id(&self) -> String {
        format!("boot-{}", self.boot)
    }

    /// The firmware asks for its script. Whether it was given one.
    pub(super) async fn firmware(&mut self, engine: &Engine) -> Result<bool, Error> {
        self.in_firmware = true;
        let request = engine.boot_request(&self.node).await?;
        self.see(engine, BootEvent::seen(Stage::Script, None)).await?;
        Ok(request.is_some())
    }

    /// A new kernel starts and reports.
    pub(super) async fn kernel(&mut self, engine: &Engine) -> Result<(), Error> {
        self.boot += 1;
        self.in_firmware = false;
        self.results.clear();
        let report = StageReport {
            mac: MAC.to_string(),
            stage: Stage::Init,
            at_ms: 900,
            boot_id: Some(self.boot_id()),
            detail: None,
            bytes: None,
            error: None,
        };
        self.see(engine, BootEvent::reported(report)).await
    }

    async fn see(&self, engine: &Engine, event: BootEvent) -> Result<(), Error> {
        let recorded = engine.state().record(MAC, &event).await?;
        engine.boot_seen(&self.node, &recorded).await
    }

    pub(super) async fn poll(&mut self, engine: &Engine, wait: u64) -> Result<TaskDoc, Error> {
        let wait = Duration::from_millis(wait);
        let boot = self.boot_id();
        let document = engine.offer(&self.node, wait, Some(self.login), Some(&boot)).await?;
        self.login = document.login.as_ref().map_or(self.login, |login| login.sequence);
        Ok(document)
    }

    /// Runs what it was given, unless it has run that already, and posts the results.
    pub(super) async fn work(&mut self, engine: &Engine, given: TaskDoc) -> Result<bool, Error> {
        let id = given.command_id.clone().expect("our agents get an id");
        let results = match self.results.get(&id) {
            Some(results) => results.clone(),
            None => {
                self.ran.push(id.clone());
                let results = run(given, self.output);
                self.results.insert(id, results.clone());
                results
            }
        };
        engine.complete(&self.node, results).await
    }
}

/// What an agent makes of a document.
pub(super) fn run(mut document: TaskDoc, output: fn(&str) -> Result<String, i32>) -> TaskDoc {
    for task in &mut document.tasks {
        match output(&task.cmd) {
            Ok(text) => (task.stdout, task.stderr) = (Some(text), Some(String::new())),
            Err(code) => fail(task, code),
        }
        if task.failed() {
            break;
        }
    }
    document.login = None;
    document
}

fn fail(task: &mut Task, code: i32) {
    task.stderr = Some("no such thing".into());
    let cmd = task.cmd.clone();
    let failure = TaskFailure { code: Some(code), cmd, ..TaskFailure::default() };
    task.error = Some(TaskError::Failure(failure));
}

/// Commands that say what they are.
pub(super) fn echo(command: &str) -> Result<String, i32> {
    Ok(format!("output of {command}\n"))
}

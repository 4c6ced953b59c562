//! What tasks do. Every job is a small state machine, kept in the task's record: it is given what happened and answers
//! what it waits for now, or how it ended. Pure; powers and nodes are reached by the engine.

mod bootstrap;
mod commands;
mod control;
mod obm;

use overboot_state::{BootId, OpenLogin, Session, Status, Task, Timestamp, Workflow};
use overboot_wire::TaskDoc;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Policy;
use crate::catalog::Cataloged;

pub(crate) use bootstrap::Bootstrap;
pub(crate) use commands::Commands;
pub(crate) use obm::{Obm, ObmAction};

/// What a running job remembers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "kebab-case")]
pub(crate) enum JobState {
    /// The node is to boot into the image.
    Bootstrap(Bootstrap),
    /// The node is to run commands.
    Commands(Commands),
    /// Something is to be done to the node's power or boot device.
    Obm(Obm),
    /// Time is to pass.
    Delay,
    /// Another graph is to run.
    Graph,
}

/// What a job can look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) workflow: &'a Workflow,
    pub(crate) task: &'a Task,
    pub(crate) session: &'a Session,
    pub(crate) policy: &'a Policy,
    pub(crate) now: Timestamp,
}

/// What happened to a running job.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input<'a> {
    /// The node was seen to boot; it is now in the session's boot.
    Booted,
    /// The node's firmware runs: it has asked for its boot script.
    Firmware,
    /// The node's agent asked for work. `native` agents run a command id at most once.
    Polled { native: bool },
    /// The node's agent posted results.
    Posted(&'a TaskDoc),
    /// A trigger of the same run.
    Triggered(&'a str),
    /// The time that the job wanted to wait for has come.
    Woke,
    /// The power control has answered this attempt.
    Power { attempt: u32, result: &'a PowerResult },
    /// The graph that the job runs has ended, or could not be started.
    Child(&'a Result<Status, String>),
}

/// What came of an attempt to switch a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PowerResult {
    Done,
    /// It may work later.
    Failed(String),
    /// It will never work as things are set up.
    Impossible(String),
}

/// What a job wants.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Output {
    pub(crate) verdict: Verdict,
    /// Work for the agent that polled.
    pub(crate) offer: Option<TaskDoc>,
    /// A login to open.
    pub(crate) login: Option<OpenLogin>,
    /// What was found out about the node.
    pub(crate) cataloged: Vec<Cataloged>,
    /// A trigger for the other tasks of the run.
    pub(crate) trigger: Option<String>,
}

/// How a job goes on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    Wait { state: JobState, reason: String, wake: Option<Timestamp> },
    Done { reason: String, context: Map<String, Value> },
    Failed { error: String },
}

impl From<Verdict> for Output {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, offer: None, login: None, cataloged: Vec::new(), trigger: None }
    }
}

impl Verdict {
    fn wait(state: JobState, reason: impl Into<String>) -> Self {
        Self::Wait { state, reason: reason.into(), wake: None }
    }

    fn done(reason: impl Into<String>) -> Self {
        Self::Done { reason: reason.into(), context: Map::new() }
    }

    fn failed(error: impl Into<String>) -> Self {
        Self::Failed { error: error.into() }
    }
}

/// The jobs there are.
const JOBS: &[&str] = &[
    "Job.Evaluate.Condition",
    "Job.Graph.Run",
    "Job.Linux.Bootstrap",
    "Job.Linux.Catalog",
    "Job.Linux.Commands",
    "Job.Linux.ShellReboot",
    "Job.Obm.Node",
    "Job.Trigger",
    "Job.noop",
];

/// Checks options when the graph is made, so that a mistake is the request's and not a failed workflow. Options that
/// still have a placeholder are checked when the task starts.
pub(crate) fn check(run_job: &str, options: &Map<String, Value>) -> Result<(), String> {
    if !JOBS.contains(&run_job) {
        return Err(format!("its job {run_job} does not exist here"));
    }
    if options.values().any(|value| value.to_string().contains("{{")) {
        return Ok(());
    }
    match run_job {
        "Job.Linux.Commands" | "Job.Linux.Catalog" => commands::build(options).map(drop),
        "Job.Obm.Node" => obm::action(options).map(drop),
        _ => Ok(()),
    }
}

/// Starts a task's job. The task's options are rendered.
pub(crate) fn start(cx: Context<'_>) -> Output {
    match cx.task.run_job.as_str() {
        "Job.Linux.Bootstrap" => bootstrap::start(cx),
        "Job.Linux.Commands" | "Job.Linux.Catalog" | "Job.Linux.ShellReboot" => {
            commands::start(cx).into()
        }
        "Job.Obm.Node" => obm::start(cx).into(),
        "Job.Graph.Run" => control::start_graph(cx).into(),
        "Job.noop" => control::start_delay(cx).into(),
        "Job.Evaluate.Condition" => control::condition(cx).into(),
        "Job.Trigger" => control::trigger(cx),
        other => Verdict::failed(format!("the job {other} does not exist here")).into(),
    }
}

/// Gives a running job what happened. Nothing, if that is nothing to it.
pub(crate) fn step(state: JobState, input: Input<'_>, cx: Context<'_>) -> Option<Output> {
    match state {
        JobState::Bootstrap(state) => state.step(input, cx),
        JobState::Commands(state) => state.step(input, cx),
        JobState::Obm(state) => state.step(input, cx).map(Output::from),
        JobState::Delay => {
            matches!(input, Input::Woke).then(|| Verdict::done("the time has passed").into())
        }
        JobState::Graph => control::step_graph(input).map(Output::from),
    }
}

/// Whether the agent that a poll comes from may not be the one the job waits for: the job waits for the node to boot.
pub(crate) fn fences(state: &JobState) -> bool {
    matches!(state, JobState::Bootstrap(bootstrap) if bootstrap.awaits_boot())
}

/// A document for the node of this run. `number` tells hand-outs of one task apart.
fn document(cx: Context<'_>, number: u32, tasks: Vec<overboot_wire::Task>) -> TaskDoc {
    TaskDoc {
        identifier: cx.workflow.node.as_ref().map(ToString::to_string).unwrap_or_default(),
        tasks,
        exit: None,
        command_id: Some(command_id(cx.task, number)),
        login: None,
    }
}

fn command_id(task: &Task, number: u32) -> String {
    format!("{}.{number}", task.instance_id)
}

/// A boot in which work was handed out, and the how-manieth hand-out it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Handed {
    boot: Option<BootId>,
    number: u32,
}

impl Handed {
    /// Whether these results are of that hand-out. A RackHD agent gives no id back, or the whole document.
    fn is_answered_by(&self, posted: &TaskDoc, cx: Context<'_>) -> bool {
        self.boot == cx.session.boot
            && posted.command_id.as_ref().is_none_or(|id| *id == command_id(cx.task, self.number))
    }
}

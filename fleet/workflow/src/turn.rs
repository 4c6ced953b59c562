//! One turn of a run: something happened, and everything that follows from it at once. Pure: the run and its node's
//! session go in and come out changed, together with what is to be written beside them. The engine writes all of it
//! in one transaction, and only then acts.

use std::collections::VecDeque;
use std::net::IpAddr;

use overboot_dhcp::Mac;
use overboot_state::{Catalog, Session, Status, TaskId, Timestamp, Workflow};
use overboot_wire::TaskDoc;
use serde_json::{Value, json};

use crate::Policy;
use crate::catalog::Cataloged;
use crate::create::time_limit;
use crate::graph::{self, Action, TaskEnd, say};
use crate::job::{self, Context, Input, JobState, Output, PowerResult, Verdict};
use crate::render::{self, When};

/// What has happened.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// The run was made.
    Made,
    /// The node was seen to boot. `new`: the session says that it is in another boot than before. `firmware`: it is
    /// the firmware that was seen.
    Booted { new: bool, firmware: bool },
    /// The node's agent asks for work.
    Polled { native: bool },
    /// The node's agent posts results.
    Posted(TaskDoc),
    /// A power control has answered.
    Power { task: TaskId, attempt: u32, result: PowerResult },
    /// The graph that a task runs has ended, or could not be started.
    Child { task: TaskId, result: Result<Status, String> },
    /// A time has come that somebody waited for.
    Due,
    /// Somebody wants the run to end.
    Cancel { reason: String },
}

/// What became of it.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) workflow: Workflow,
    pub(crate) session: Session,
    pub(crate) catalogs: Vec<Catalog>,
    pub(crate) addresses: Vec<(Mac, Option<IpAddr>, String)>,
    /// Work for the agent that polled.
    pub(crate) offer: Option<TaskDoc>,
    /// Whether the run is another than before. Set by who compares.
    pub(crate) changed: bool,
    /// Whether what was posted was waited for.
    pub(crate) accepted: bool,
    /// Tasks that have ended by themselves.
    pub(crate) ended: Vec<TaskId>,
    /// Tasks whose jobs nobody waits for any more.
    pub(crate) stopped: Vec<TaskId>,
}

/// Takes one turn.
pub(crate) fn turn(
    workflow: Workflow,
    session: Session,
    event: Event,
    now: Timestamp,
    policy: &Policy,
) -> Turn {
    let turn = Turn {
        workflow,
        session,
        catalogs: Vec::new(),
        addresses: Vec::new(),
        offer: None,
        changed: false,
        accepted: false,
        ended: Vec::new(),
        stopped: Vec::new(),
    };
    let mut taker = Taker { turn, actions: VecDeque::new(), now, policy };
    taker.take(event);
    taker.turn
}

struct Taker<'a> {
    turn: Turn,
    actions: VecDeque<Action>,
    now: Timestamp,
    policy: &'a Policy,
}

impl Taker<'_> {
    fn take(&mut self, event: Event) {
        match event {
            Event::Made => self.graph(graph::Event::Made),
            Event::Cancel { reason } => self.graph(graph::Event::Cancel { reason }),
            Event::Booted { new, firmware } => {
                if new {
                    self.all(Input::Booted);
                }
                if firmware {
                    self.all(Input::Firmware);
                }
            }
            Event::Polled { native } => self.polled(native),
            Event::Posted(document) => self.posted(&document),
            Event::Power { task, attempt, result } => {
                self.one(&task, Input::Power { attempt, result: &result });
            }
            Event::Child { task, result } => self.one(&task, Input::Child(&result)),
            Event::Due => self.due(),
        }
        self.act();
    }

    fn graph(&mut self, event: graph::Event) {
        let actions = graph::step(&mut self.turn.workflow, event, self.now);
        self.actions.extend(actions);
    }

    fn end(&mut self, task: &TaskId, end: TaskEnd) {
        self.turn.ended.push(task.clone());
        self.graph(graph::Event::Ended { task: task.clone(), end });
    }

    fn act(&mut self) {
        while let Some(action) = self.actions.pop_front() {
            match action {
                Action::Start(task) => self.start(&task),
                Action::Stop(task) => self.turn.stopped.push(task),
                Action::Over(status) => self.over(status),
            }
        }
    }

    fn running(&self) -> Vec<TaskId> {
        self.turn.workflow.running().map(|task| task.instance_id.clone()).collect()
    }

    fn all(&mut self, input: Input<'_>) {
        for task in self.running() {
            self.one(&task, input);
        }
    }

    /// Gives one job its input.
    fn one(&mut self, task: &TaskId, input: Input<'_>) {
        let output = self.context(task).and_then(|(cx, state)| job::step(state?, input, cx));
        if let Some(output) = output {
            self.apply(task, output);
        }
    }

    fn context(&self, task: &TaskId) -> Option<(Context<'_>, Option<JobState>)> {
        let task = self.turn.workflow.task(task).filter(|task| task.is_running())?;
        let state = task.job.clone().and_then(|state| serde_json::from_value(state).ok());
        let cx = Context {
            workflow: &self.turn.workflow,
            task,
            session: &self.turn.session,
            policy: self.policy,
            now: self.now,
        };
        Some((cx, state))
    }

    fn polled(&mut self, native: bool) {
        // An agent that may be the one from before the reboot gets nothing.
        let fenced = self.turn.workflow.running().any(|task| {
            task.job
                .clone()
                .and_then(|state| serde_json::from_value(state).ok())
                .is_some_and(|state| job::fences(&state))
        });
        if fenced {
            return;
        }
        for task in self.running() {
            self.one(&task, Input::Polled { native });
            if self.turn.offer.is_some() {
                return;
            }
        }
    }

    fn posted(&mut self, document: &TaskDoc) {
        for task in self.running() {
            let output = self
                .context(&task)
                .and_then(|(cx, state)| job::step(state?, Input::Posted(document), cx));
            if let Some(output) = output {
                self.turn.accepted = true;
                self.apply(&task, output);
                return;
            }
        }
    }

    fn due(&mut self) {
        for id in self.running() {
            let Some(task) = self.turn.workflow.task(&id).filter(|task| task.is_running()) else {
                continue;
            };
            if task.deadline.is_some_and(|deadline| deadline <= self.now) {
                let error = format!("its time was up while {}", task.reason);
                self.end(&id, TaskEnd::TimedOut { error });
                self.act();
            } else if task.wake.is_some_and(|wake| wake <= self.now) {
                if let Some(task) = self.turn.workflow.task_mut(&id) {
                    task.wake = None;
                }
                self.one(&id, Input::Woke);
                self.act();
            }
        }
    }

    fn start(&mut self, id: &TaskId) {
        let limit = self.policy.task_timeout;
        let mut scope = self.policy.scope.clone();
        scope.insert("context".into(), Value::Object(self.turn.workflow.context.clone()));
        let node = self.turn.workflow.node.clone();
        scope.insert("task".into(), json!({ "instanceId": id, "nodeId": node }));
        let now = self.now;
        let Some(task) = self.turn.workflow.task_mut(id) else {
            return;
        };
        match render::options(&task.options, &scope, When::Start) {
            Ok(options) => task.options = options,
            Err(error) => {
                self.apply(id, Verdict::Failed { error }.into());
                return;
            }
        }
        task.deadline = time_limit(&task.options, limit).map(|limit| now.after(limit));
        if let Some(output) = self.context(id).map(|(cx, _)| job::start(cx)) {
            self.apply(id, output);
        }
    }

    fn apply(&mut self, id: &TaskId, output: Output) {
        for cataloged in output.cataloged {
            self.catalog(cataloged);
        }
        if let Some(login) = output.login {
            self.turn.session.open_login(login);
        }
        if output.offer.is_some() {
            self.turn.offer = output.offer;
        }
        let now = self.now;
        let Some(task) = self.turn.workflow.task_mut(id) else {
            return;
        };
        match output.verdict {
            Verdict::Wait { state, reason, wake } => {
                task.job = serde_json::to_value(state).ok();
                task.wake = wake;
                say(task, &reason, now);
            }
            Verdict::Done { reason, context } => {
                self.turn.workflow.context.extend(context);
                self.end(id, TaskEnd::Succeeded { reason });
            }
            Verdict::Failed { error } => {
                self.end(id, TaskEnd::Failed { error });
            }
        }
        if let Some(group) = output.trigger {
            self.all(Input::Triggered(&group));
        }
    }

    fn catalog(&mut self, cataloged: Cataloged) {
        let Some(node) = self.turn.workflow.node.clone() else {
            return;
        };
        for (mac, ip) in cataloged.addresses {
            self.turn.addresses.push((mac, ip, node.to_string()));
        }
        self.turn.catalogs.push(Catalog::new(node, &cataloged.source, cataloged.data));
    }

    fn over(&mut self, status: Status) {
        let session = &mut self.turn.session;
        let ours = session
            .login
            .as_ref()
            .is_some_and(|login| login.workflow == self.turn.workflow.instance_id);
        // A run that succeeded leaves its login open until the node reboots or the time is up.
        if ours && status != Status::Succeeded {
            session.close_login();
        }
    }
}

#[cfg(test)]
mod tests;

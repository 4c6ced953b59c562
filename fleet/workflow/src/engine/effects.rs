//! What the engine does outside of its database: power controls, and runs of graphs that tasks ask for.

use std::pin::Pin;
use std::sync::PoisonError;
use std::time::Duration;

use overboot_power::{BootDevice, Persistence, Power};
use overboot_state::{NodeId, Obm as ObmRecord, Status, Task, TaskId, Workflow, WorkflowId};
use serde_json::Value;

use super::Engine;
use crate::create::{GraphRequest, Parent};
use crate::job::{JobState, ObmAction, PowerResult};
use crate::turn::Event;

/// How long to wait before a result that could not be written is written again.
const TELL_PAUSE: Duration = Duration::from_secs(5);

impl Engine {
    /// Begins what the running tasks of a run wait for, unless it is under way.
    pub(super) fn effects(&self, workflow: &Workflow) {
        if !workflow.status.is_active() {
            return;
        }
        for task in workflow.running() {
            match task.job.clone().and_then(|state| serde_json::from_value(state).ok()) {
                Some(JobState::Obm(obm)) if obm.ready => {
                    self.switch(workflow, task, obm.action, obm.attempt);
                }
                Some(JobState::Graph) => self.run_child(workflow, task),
                Some(
                    JobState::Obm(_)
                    | JobState::Bootstrap(_)
                    | JobState::Commands(_)
                    | JobState::Delay,
                )
                | None => {}
            }
        }
    }

    /// Does `work` and gives the run what came of it, once at a time for each attempt of a task.
    fn once(
        &self,
        workflow: &Workflow,
        task: &Task,
        attempt: u32,
        work: Pin<Box<dyn Future<Output = Option<Event>> + Send>>,
    ) {
        let key = (task.instance_id.clone(), attempt);
        let mut busy = self.inner.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if self.inner.stop.is_cancelled() || !busy.insert(key.clone()) {
            return;
        }
        let (engine, id) = (self.clone(), workflow.instance_id.clone());
        self.inner.tracker.spawn(async move {
            let stop = engine.inner.stop.clone();
            let event = stop.run_until_cancelled(work).await.flatten();
            if let Some(event) = event {
                engine.tell(&id, event).await;
            }
            // Not before it is written: until then the database says that it is still to be done.
            engine.inner.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        });
    }

    fn switch(&self, workflow: &Workflow, task: &Task, action: ObmAction, attempt: u32) {
        let Some(node) = workflow.node.clone() else {
            return;
        };
        let engine = self.clone();
        let id = task.instance_id.clone();
        let service = task.options.get("obmServiceName").and_then(Value::as_str).map(str::to_owned);
        let work = async move {
            let result = engine.power(&node, service.as_deref(), action).await;
            Some(Event::Power { task: id, attempt, result })
        };
        self.once(workflow, task, attempt, Box::pin(work));
    }

    async fn power(&self, node: &NodeId, service: Option<&str>, action: ObmAction) -> PowerResult {
        let records = match self.inner.state.obms(Some(node)).await {
            Ok(records) => records,
            Err(error) => return PowerResult::Failed(chain(&error)),
        };
        let record = match choose(&records, service) {
            Ok(record) => record,
            Err(error) => return PowerResult::Impossible(error),
        };
        let power = match self.inner.powers.for_service(&record.service, &record.config) {
            Ok(power) => power,
            Err(error) => return PowerResult::Impossible(chain(&error)),
        };
        match perform(&*power, action).await {
            Ok(()) => PowerResult::Done,
            Err(error) => PowerResult::Failed(chain(&error)),
        }
    }

    /// Sees to it that the graph of a task runs, and that the task learns of its end.
    fn run_child(&self, workflow: &Workflow, task: &Task) {
        let parent =
            Parent { task: task.instance_id.clone(), workflow: workflow.instance_id.clone() };
        let (engine, task_id) = (self.clone(), task.instance_id.clone());
        let request = child_request(workflow, task);
        let work = async move {
            let result = match engine.inner.state.child_workflow(&task_id).await {
                // Its end is told when it comes.
                Ok(Some(child)) if child.status.is_active() => return None,
                Ok(Some(child)) => Ok(child.status),
                Ok(None) => match request {
                    Ok(request) => match engine.make(&request, Some(parent)).await {
                        Ok(child) if child.status.is_active() => return None,
                        Ok(child) => Ok(child.status),
                        Err(error) => Err(chain(&error)),
                    },
                    Err(error) => Err(error),
                },
                Err(error) => Err(chain(&error)),
            };
            Some(Event::Child { task: task_id, result })
        };
        self.once(workflow, task, 0, Box::pin(work));
    }

    /// Tells the task that started a run how that has ended.
    pub(super) fn tell_parent(&self, child: &Workflow) {
        let (Some(task), Some(parent)) =
            (child.parent_task_id.clone(), child.parent_graph_id.clone())
        else {
            return;
        };
        let (engine, status): (Self, Status) = (self.clone(), child.status);
        self.inner.tracker.spawn(async move {
            engine.tell(&parent, Event::Child { task, result: Ok(status) }).await;
        });
    }

    /// Gives a run an event; while that cannot be written, tries again. If the program ends first, the next start
    /// takes up what the database says.
    async fn tell(&self, id: &WorkflowId, event: Event) {
        loop {
            let Err(error) = self.advance(id, event.clone()).await else {
                return;
            };
            tracing::error!(
                workflow = %id, error = &error as &dyn std::error::Error,
                "what came of a task could not be written"
            );
            let pause = tokio::time::sleep(TELL_PAUSE);
            if self.inner.stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    /// Cancels the run that a task has started, if it still runs.
    pub(super) async fn stop_child(&self, task: &TaskId) {
        let reason = "the workflow that started it has ended".to_owned();
        let cancel = async {
            if let Some(child) = self.inner.state.child_workflow(task).await? {
                Box::pin(self.advance(&child.instance_id, Event::Cancel { reason })).await?;
            }
            Ok::<(), crate::Error>(())
        };
        if let Err(error) = cancel.await {
            // The next start finds it without a parent.
            tracing::error!(
                %task, error = &error as &dyn std::error::Error,
                "the graph of a task could not be cancelled"
            );
        }
    }
}

/// RackHD's rule: the service that is named, else the node's only one.
fn choose<'a>(records: &'a [ObmRecord], service: Option<&str>) -> Result<&'a ObmRecord, String> {
    let names = || records.iter().map(|r| r.service.as_str()).collect::<Vec<_>>().join(", ");
    match (service, records) {
        (Some(service), _) => {
            records.iter().find(|record| record.service == service).ok_or_else(|| {
                format!("the node has no OBM service \"{service}\"; it has: {}", names())
            })
        }
        (None, [record]) => Ok(record),
        (None, []) => Err("the node has no OBM service: PUT one to /nodes/<id>/obm".to_owned()),
        (None, _) => Err(format!(
            "the node has several OBM services ({}): name one in the option \"obmServiceName\"",
            names()
        )),
    }
}

async fn perform(power: &dyn Power, action: ObmAction) -> Result<(), overboot_power::Error> {
    match action {
        ObmAction::SetBootPxe => power.set_boot_device(BootDevice::Pxe, Persistence::Once).await,
        ObmAction::SetBootDisk => power.set_boot_device(BootDevice::Disk, Persistence::Once).await,
        ObmAction::Reboot => power.reset().await,
        ObmAction::PowerOn => power.on().await,
        ObmAction::PowerOff => power.off().await,
    }
}

/// The graph that a task wants to be run: `graphName` with `graphOptions`, on their target or the run's own node.
fn child_request(workflow: &Workflow, task: &Task) -> Result<GraphRequest, String> {
    let name = task.options.get("graphName").and_then(Value::as_str).unwrap_or_default();
    let options =
        task.options.get("graphOptions").and_then(Value::as_object).cloned().unwrap_or_default();
    let asked = options.get("target").or_else(|| workflow.context.get("target"));
    let target = match asked {
        None | Some(Value::Null) => workflow.node.clone(),
        Some(Value::String(text)) => {
            Some(text.parse().map_err(|error| format!("the target {error}"))?)
        }
        Some(_) => return Err("the target is not a node id".into()),
    };
    // Of two runs one would wait for the other to leave the node, for ever.
    if target.is_some() && target == workflow.node {
        return Err("the workflow has the node itself, so that its graph cannot take it".into());
    }
    Ok(GraphRequest { options, target, ..GraphRequest::new(name, None) })
}

/// An error with all its causes, for a sentence in a document.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

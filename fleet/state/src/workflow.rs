//! Runs of graphs, in RackHD's shapes: stored, raw and rendered.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::node::is_secret;
use crate::{NodeId, RecordId, TaskId, Timestamp, WorkflowId};

/// How far a workflow or a task is.
///
/// As in RackHD, a workflow is `running` from its creation, and a task stays `pending` while it runs;
/// [`Task::started`] tells those two apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Not ended (tasks).
    Pending,
    /// Not ended (workflows).
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Ended because its time was up.
    Timeout,
    /// Ended because somebody said so.
    Cancelled,
}

impl Status {
    /// Whether it has not ended.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }

    /// Its name in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a task can wait for another to have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Ran out of time.
    Timeout,
    /// Was cancelled.
    Cancelled,
    /// Ended, however.
    Finished,
}

impl End {
    /// Whether a task in `status` has done this.
    #[must_use]
    pub const fn matches(self, status: Status) -> bool {
        match self {
            Self::Succeeded => matches!(status, Status::Succeeded),
            Self::Failed => matches!(status, Status::Failed),
            Self::Timeout => matches!(status, Status::Timeout),
            Self::Cancelled => matches!(status, Status::Cancelled),
            Self::Finished => !status.is_active(),
        }
    }

    /// Its name in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Finished => "finished",
        }
    }
}

/// One end, or several of which any will do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Ends {
    /// This one.
    One(End),
    /// Any of these.
    AnyOf(Vec<End>),
}

impl Ends {
    /// The ends that will do.
    #[must_use]
    pub fn as_slice(&self) -> &[End] {
        match self {
            Self::One(end) => std::slice::from_ref(end),
            Self::AnyOf(ends) => ends,
        }
    }

    /// Whether a task in `status` has done one of them.
    #[must_use]
    pub fn matches(&self, status: Status) -> bool {
        self.as_slice().iter().any(|end| end.matches(status))
    }
}

/// What a task waits for: all of [`WaitOn::all`], and one of [`WaitOn::any`] if that has entries.
///
/// In JSON one object: names (labels in definitions, task ids in runs) to ends, and the reserved name `anyOf` to an
/// object of the same kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitOn {
    /// Every one of these.
    pub all: BTreeMap<String, Ends>,
    /// At least one of these, unless there are none.
    pub any: BTreeMap<String, Ends>,
}

impl WaitOn {
    /// Whether there is nothing to wait for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.any.is_empty()
    }

    /// Everything it names, with the ends that will do.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Ends)> {
        self.all.iter().chain(&self.any).map(|(name, ends)| (name.as_str(), ends))
    }
}

#[derive(Serialize, Deserialize)]
struct WaitOnJson {
    #[serde(rename = "anyOf", default, skip_serializing_if = "BTreeMap::is_empty")]
    any: BTreeMap<String, Ends>,
    #[serde(flatten)]
    all: BTreeMap<String, Ends>,
}

impl Serialize for WaitOn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WaitOnJson { any: self.any.clone(), all: self.all.clone() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for WaitOn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = WaitOnJson::deserialize(deserializer)?;
        Ok(Self { all: json.all, any: json.any })
    }
}

/// One task of a run, as stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Its id.
    pub instance_id: TaskId,
    /// Its name within the graph.
    pub label: String,
    /// The injectable name again: RackHD has both.
    pub name: String,
    /// Name of its definition, for people.
    pub friendly_name: String,
    /// Name of its definition, for programs.
    pub injectable_name: String,
    /// Name of the base task.
    pub implements_task: String,
    /// The job that does it.
    pub run_job: String,
    /// Options, rendered as far as can be before it runs.
    pub options: Map<String, Value>,
    /// What it provides.
    pub properties: Value,
    /// What it waits for.
    pub waiting_on: WaitOn,
    /// Whether its failure, if nobody waits for it, leaves the graph alone.
    pub ignore_failure: bool,
    /// How far it is.
    pub state: Status,
    /// The ends that no other task waits for.
    pub terminal_on_states: Vec<Status>,
    /// When it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_start_time: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_end_time: Option<Timestamp>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why it is where it is: what it waits for, or how it ended.
    pub reason: String,
    /// Since when [`Task::reason`] holds.
    pub since: Timestamp,
    /// When its time is up; none: never, or not yet started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// What its job remembers, while it runs. Known to the engine only; no client sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Value>,
    /// When its job wants to go on by itself. Known to the engine only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake: Option<Timestamp>,
}

impl Task {
    /// Whether it was started and has not ended.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state.is_active() && self.started()
    }

    /// Whether it was started, ever.
    #[must_use]
    pub fn started(&self) -> bool {
        self.task_start_time.is_some()
    }
}

/// A run of a graph, as stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workflow {
    /// Id of the record.
    pub id: RecordId,
    /// Id of the run.
    pub instance_id: WorkflowId,
    /// The graph's name, for people.
    pub name: String,
    /// The graph's name, for programs.
    pub injectable_name: String,
    /// RackHD's scheduling domain; `default`.
    pub domain: String,
    /// The node it has taken, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// How far it is.
    #[serde(rename = "_status")]
    pub status: Status,
    /// Whether it runs as long as the server does.
    pub service_graph: bool,
    /// What its tasks tell each other.
    pub context: Map<String, Value>,
    /// The definition it was made from, its options merged with those of the request.
    pub definition: Value,
    /// What log lines about it carry.
    pub log_context: Map<String, Value>,
    /// The task that started it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_task_id: Option<TaskId>,
    /// The run of that task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_graph_id: Option<WorkflowId>,
    /// Its tasks, in the order of the definition. In JSON an object, by id.
    #[serde(with = "tasks_by_id")]
    pub tasks: Vec<Task>,
    /// Why it is where it is.
    pub reason: String,
    /// Since when [`Workflow::reason`] holds.
    pub since: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts its changes, so that of two writers who read the same one only the first succeeds.
    #[serde(skip)]
    pub version: i64,
}

impl Workflow {
    /// The task with this id.
    #[must_use]
    pub fn task(&self, id: &TaskId) -> Option<&Task> {
        self.tasks.iter().find(|task| task.instance_id == *id)
    }

    /// The same, to change it.
    pub fn task_mut(&mut self, id: &TaskId) -> Option<&mut Task> {
        self.tasks.iter_mut().find(|task| task.instance_id == *id)
    }

    /// Tasks that were started and have not ended.
    pub fn running(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter().filter(|task| task.is_running())
    }

    /// The next time at which something is to happen by itself: a deadline, or a job that wants to go on.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        self.running().flat_map(|task| [task.deadline, task.wake]).flatten().min()
    }

    /// RackHD's raw shape (answer to `POST`, and `/nodes/{id}/workflows`): `_status`, tasks by id, the whole
    /// definition. Secrets read `REDACTED`.
    #[must_use]
    pub fn raw(&self) -> Value {
        let mut raw = serde_json::to_value(self).unwrap_or_default();
        if let Some(tasks) = raw.get_mut("tasks").and_then(Value::as_object_mut) {
            for task in tasks.values_mut().filter_map(Value::as_object_mut) {
                task.remove("job");
                task.remove("wake");
            }
        }
        redact(&mut raw);
        raw
    }

    /// RackHD's rendered shape (`/workflows`): `status`, tasks in a list, the definition by URL. Secrets read
    /// `REDACTED`. Beyond RackHD: `reason` and `since`, here and in each task.
    #[must_use]
    pub fn view(&self) -> Value {
        let tasks: Vec<Value> = self.tasks.iter().map(task_view).collect();
        let mut view = json!({
            "context": self.context,
            "definition": format!("/api/2.0/workflows/graphs/{}", self.injectable_name),
            "domain": self.domain,
            "id": self.id,
            "injectableName": self.injectable_name,
            "instanceId": self.instance_id,
            "logContext": self.log_context,
            "name": self.name,
            "reason": self.reason,
            "serviceGraph": self.service_graph,
            "since": self.since,
            "status": self.status,
            "tasks": tasks,
        });
        if let (Some(map), Some(node)) = (view.as_object_mut(), &self.node) {
            map.insert("node".into(), json!(node));
        }
        redact(&mut view);
        view
    }
}

fn task_view(task: &Task) -> Value {
    let mut view = json!({
        "label": task.label,
        "instanceId": task.instance_id,
        "options": task.options,
        "reason": task.reason,
        "runJob": task.run_job,
        "since": task.since,
        "state": task.state,
        "terminalOnStates": task.terminal_on_states,
        "waitingOn": task.waiting_on,
    });
    if let Some(map) = view.as_object_mut() {
        if let Some(error) = &task.error {
            map.insert("error".into(), json!(error));
        }
        if let Some(start) = task.task_start_time {
            map.insert("taskStartTime".into(), json!(start));
        }
    }
    view
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if is_secret(key) && !value.is_null() {
                    *value = json!("REDACTED");
                } else {
                    redact(value);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(redact),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

mod tasks_by_id {
    use serde::de::{Error as _, MapAccess, Visitor};
    use serde::ser::SerializeMap as _;
    use serde::{Deserializer, Serializer};

    use super::Task;

    pub(super) fn serialize<S: Serializer>(
        tasks: &[Task],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(tasks.len()))?;
        for task in tasks {
            map.serialize_entry(&task.instance_id, task)?;
        }
        map.end()
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Task>, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Vec<Task>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("tasks by id")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Task>, A::Error> {
                let mut tasks = Vec::new();
                while let Some((id, task)) = map.next_entry::<String, Task>()? {
                    if id != task.instance_id.as_str() {
                        return Err(A::Error::custom("a task is filed under another's id"));
                    }
                    tasks.push(task);
                }
                Ok(tasks)
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn workflow(node: Option<NodeId>) -> Workflow {
        let now = Timestamp::now();
        let task = Task {
            instance_id: TaskId::new(),
            label: "one".into(),
            name: "one".into(),
            friendly_name: "One".into(),
            injectable_name: "Task.One".into(),
            implements_task: "Task.Base.One".into(),
            run_job: "Job.One".into(),
            options: Map::from_iter([("password".to_owned(), json!("p"))]),
            properties: json!({}),
            waiting_on: WaitOn::default(),
            ignore_failure: false,
            state: Status::Pending,
            terminal_on_states: vec![Status::Succeeded],
            task_start_time: None,
            task_end_time: None,
            error: None,
            reason: "ready".into(),
            since: now,
            deadline: None,
            job: Some(json!({"secret": 1})),
            wake: None,
        };
        let instance_id = WorkflowId::new();
        Workflow {
            id: RecordId::new(),
            name: "A graph".into(),
            injectable_name: "Graph.A".into(),
            domain: "default".into(),
            node,
            status: Status::Running,
            service_graph: false,
            context: Map::from_iter([("graphId".to_owned(), json!(instance_id))]),
            definition: json!({"injectableName": "Graph.A"}),
            log_context: Map::new(),
            parent_task_id: None,
            parent_graph_id: None,
            tasks: vec![task],
            reason: "created".into(),
            since: now,
            created_at: now,
            updated_at: now,
            version: 0,
            instance_id,
        }
    }

    #[test]
    fn what_is_stored_comes_back() {
        let workflow = workflow(Some(NodeId::new()));
        let text = serde_json::to_string(&workflow).unwrap();
        assert_eq!(serde_json::from_str::<Workflow>(&text).unwrap(), workflow);
    }

    #[test]
    fn raw_has_an_object_of_tasks_and_no_secret() {
        let workflow = workflow(None);
        let raw = workflow.raw();
        let task = &raw["tasks"][workflow.tasks[0].instance_id.as_str()];
        assert_eq!(raw["_status"], "running");
        assert!(raw.get("status").is_none() && raw["definition"].is_object());
        assert_eq!(task["friendlyName"], "One");
        assert_eq!(task["options"]["password"], "REDACTED");
        assert!(task.get("job").is_none());
    }

    #[test]
    fn view_has_a_list_of_tasks_and_a_url() {
        let view = workflow(None).view();
        assert_eq!(view["status"], "running");
        assert_eq!(view["definition"], "/api/2.0/workflows/graphs/Graph.A");
        assert_eq!(view["tasks"][0]["label"], "one");
        assert!(view.get("_status").is_none() && view["tasks"][0].get("friendlyName").is_none());
    }

    #[test]
    fn wait_on_reads_states_lists_and_any_of() {
        let json =
            json!({"a": "succeeded", "b": ["failed", "timeout"], "anyOf": {"c": "finished"}});
        let wait: WaitOn = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(wait.all.len(), 2);
        assert!(wait.all["b"].matches(Status::Timeout) && !wait.all["b"].matches(Status::Pending));
        assert!(wait.any["c"].matches(Status::Cancelled));
        assert_eq!(serde_json::to_value(&wait).unwrap(), json);
        assert!(serde_json::from_value::<WaitOn>(json!({"a": "done"})).is_err());
    }
}

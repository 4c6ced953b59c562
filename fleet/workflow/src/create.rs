//! From a definition and a request to a run: options merged, names resolved, everything checked. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use overboot_state::{
    End, Ends, NodeId, RecordId, Status, Task, TaskId, Timestamp, WaitOn, Workflow, WorkflowId,
};
use serde_json::{Map, Value, json};

use crate::render::{self, When};
use crate::{BaseTask, Error, GraphDefinition, GraphTask, Library, TaskDefinition, job, login};

/// What is asked for: a graph, and what it is to be run with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GraphRequest {
    /// The graph's injectable name.
    pub name: String,
    /// Options: `defaults` for all tasks, others by label.
    pub options: Map<String, Value>,
    /// First values of the context.
    pub context: Map<String, Value>,
    /// The node to take. None: `options.defaults.graphOptions.target`, or no node.
    pub target: Option<NodeId>,
    /// RackHD's scheduling domain; none: `default`.
    pub domain: Option<String>,
}

impl GraphRequest {
    /// A graph on a node, with the options that it has by itself.
    #[must_use]
    pub fn new(name: &str, target: Option<NodeId>) -> Self {
        Self { name: name.to_owned(), target, ..Self::default() }
    }

    /// The same with options.
    #[must_use]
    pub fn with_options(self, options: Map<String, Value>) -> Self {
        Self { options, ..self }
    }
}

/// The run and the task that ask for a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parent {
    pub(crate) task: TaskId,
    pub(crate) workflow: WorkflowId,
}

/// What templates may name besides options and context: `server`, `api`, `file`.
pub(crate) type Scope = Map<String, Value>;

/// Makes a run. Nothing is started.
pub(crate) fn create(
    library: &Library,
    request: &GraphRequest,
    parent: Option<Parent>,
    scope: &Scope,
    now: Timestamp,
) -> Result<Workflow, Error> {
    let mut graph = library
        .graphs
        .get(&request.name)
        .cloned()
        .ok_or_else(|| Error::UnknownGraph { name: request.name.clone() })?;
    let refused = |reason: String| Error::Graph { graph: request.name.clone(), reason };
    merge(&mut graph.options, &request.options);
    // From here on a password is a hash, in whatever is stored.
    login::hash_passwords(&mut graph.options)?;

    let target = target(library, &graph, request).map_err(refused)?;
    let instance_id = WorkflowId::new();
    let mut context = request.context.clone();
    context.insert("graphId".into(), json!(instance_id));
    context.insert("graphName".into(), json!(graph.friendly_name));
    if let Some(target) = &target {
        context.insert("target".into(), json!(target));
    }

    let ids = task_ids(&graph).map_err(refused)?;
    check_waits(&graph).map_err(refused)?;
    let mut provided: Vec<Map<String, Value>> = Vec::new();
    let mut tasks = Vec::new();
    for entry in &graph.tasks {
        let wrong = |reason: String| Error::Task {
            graph: request.name.clone(),
            label: entry.label.clone(),
            reason,
        };
        let definition = match (&entry.task_definition, &entry.task_name) {
            (Some(definition), _) => definition,
            (None, Some(name)) => {
                library.tasks.get(name).ok_or_else(|| wrong(format!("there is no task {name}")))?
            }
            (None, None) => return Err(wrong("it has neither name nor definition".into())),
        };
        let base = library.base_tasks.get(&definition.implements_task).ok_or_else(|| {
            wrong(format!("there is no base task {}", definition.implements_task))
        })?;
        for (path, wanted) in &base.required_properties {
            if !provided.iter().any(|properties| property(properties, path) == Some(wanted)) {
                return Err(wrong(format!("no earlier task provides {path} = {wanted}")));
            }
        }
        let options = task_options(&graph, &entry.label, &entry.option_overrides, definition, base);
        let id = &ids[entry.label.as_str()];
        let mut scope = scope.clone();
        scope.insert("context".into(), Value::Object(context.clone()));
        scope.insert("task".into(), json!({ "instanceId": id, "nodeId": target }));
        let options = render::options(&options, &scope, When::Creation).map_err(wrong)?;
        job::check(&base.run_job, &options).map_err(wrong)?;
        for name in &base.required_options {
            if options.get(name).is_none_or(Value::is_null) {
                return Err(wrong(format!("it needs the option \"{name}\"")));
            }
        }
        let mut properties = base.properties.clone();
        merge(&mut properties, &definition.properties);
        provided.push(properties.clone());
        tasks.push(Task {
            instance_id: id.clone(),
            label: entry.label.clone(),
            name: definition.injectable_name.clone(),
            friendly_name: definition.friendly_name.clone(),
            injectable_name: definition.injectable_name.clone(),
            implements_task: definition.implements_task.clone(),
            run_job: base.run_job.clone(),
            options,
            properties: Value::Object(properties),
            waiting_on: by_id(&entry.wait_on, &ids),
            ignore_failure: entry.ignore_failure,
            state: Status::Pending,
            terminal_on_states: terminal_on(&graph, &entry.label),
            task_start_time: None,
            task_end_time: None,
            error: None,
            reason: "not started".into(),
            since: now,
            deadline: None,
            job: None,
            wake: None,
        });
    }

    let mut log_context = Map::new();
    log_context.insert("graphInstance".into(), json!(instance_id));
    log_context.insert("graphName".into(), json!(graph.friendly_name));
    if let Some(target) = &target {
        log_context.insert("id".into(), json!(target));
    }
    let (parent_task_id, parent_graph_id) =
        parent.map_or((None, None), |parent| (Some(parent.task), Some(parent.workflow)));
    Ok(Workflow {
        id: RecordId::new(),
        instance_id,
        name: graph.friendly_name.clone(),
        injectable_name: graph.injectable_name.clone(),
        domain: request.domain.clone().unwrap_or_else(|| "default".into()),
        node: target,
        status: Status::Running,
        service_graph: graph.service_graph,
        context,
        definition: json!(graph),
        log_context,
        parent_task_id,
        parent_graph_id,
        tasks,
        reason: "just made".into(),
        since: now,
        created_at: now,
        updated_at: now,
        version: 0,
    })
}

/// Checks what can be checked of a definition without a request: labels, waits, and that its tasks exist.
pub(crate) fn check_graph(library: &Library, graph: &GraphDefinition) -> Result<(), Error> {
    let name = &graph.injectable_name;
    let refused = |reason: String| Error::Graph { graph: name.clone(), reason };
    task_ids(graph).map_err(refused)?;
    check_waits(graph).map_err(refused)?;
    for entry in &graph.tasks {
        let definition = entry
            .task_definition
            .as_ref()
            .or_else(|| library.tasks.get(entry.task_name.as_deref()?))
            .filter(|definition| library.base_tasks.contains_key(&definition.implements_task));
        if definition.is_none() {
            let reason = "its definition or base task does not exist".to_owned();
            return Err(Error::Task { graph: name.clone(), label: entry.label.clone(), reason });
        }
    }
    Ok(())
}

/// How long a task may run: its option `_taskTimeout` in milliseconds (RackHD's; 0 and -1 are for ever), else
/// `default`.
pub(crate) fn time_limit(options: &Map<String, Value>, default: Duration) -> Option<Duration> {
    let asked = options
        .get("_taskTimeout")
        .or_else(|| options.get("schedulerOverrides").and_then(|o| o.get("timeout")))
        .and_then(Value::as_i64);
    match asked {
        None => Some(default),
        Some(millis) => u64::try_from(millis).ok().filter(|m| *m > 0).map(Duration::from_millis),
    }
}

fn target(
    library: &Library,
    graph: &GraphDefinition,
    request: &GraphRequest,
) -> Result<Option<NodeId>, String> {
    if let Some(target) = &request.target {
        return Ok(Some(target.clone()));
    }
    let asked = graph
        .options
        .get("defaults")
        .and_then(|defaults| defaults.get("graphOptions"))
        .and_then(|options| options.get("target"));
    match asked {
        None | Some(Value::Null) => Ok(None),
        // `graphOptions` are for the graph that a task of this one runs: that one takes the node.
        Some(_) if graph.tasks.iter().any(|task| runs_a_graph(library, task)) => Ok(None),
        Some(Value::String(text)) => text.parse().map(Some).map_err(|e| format!("its target {e}")),
        Some(_) => Err("its target is not a node id".into()),
    }
}

fn runs_a_graph(library: &Library, task: &GraphTask) -> bool {
    task.task_definition
        .as_ref()
        .or_else(|| library.tasks.get(task.task_name.as_deref()?))
        .and_then(|definition| library.base_tasks.get(&definition.implements_task))
        .is_some_and(|base| base.run_job == "Job.Graph.Run")
}

fn task_ids(graph: &GraphDefinition) -> Result<BTreeMap<&str, TaskId>, String> {
    let mut ids = BTreeMap::new();
    for task in &graph.tasks {
        let label = task.label.as_str();
        if label == "anyOf" || label == "defaults" {
            return Err(format!("\"{label}\" is reserved and cannot be a label"));
        }
        if ids.insert(label, TaskId::new()).is_some() {
            return Err(format!("the label \"{label}\" is there twice"));
        }
    }
    Ok(ids)
}

fn check_waits(graph: &GraphDefinition) -> Result<(), String> {
    let mut open: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for task in &graph.tasks {
        let names = task.wait_on.entries().map(|(name, _)| name).collect();
        open.insert(&task.label, names);
    }
    for (label, names) in &open {
        if let Some(name) = names.iter().find(|name| !open.contains_key(*name)) {
            return Err(format!("\"{label}\" waits on \"{name}\", which is not in the graph"));
        }
    }
    // Take away what waits for nothing until nothing is left, or only circles are.
    loop {
        let free: BTreeSet<&str> =
            open.iter().filter(|(_, names)| names.is_empty()).map(|(label, _)| *label).collect();
        if free.is_empty() {
            break;
        }
        open.retain(|label, _| !free.contains(label));
        for names in open.values_mut() {
            names.retain(|name| !free.contains(name));
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    let labels: Vec<&str> = open.into_keys().collect();
    Err(format!("these tasks wait on each other in a circle: {}", labels.join(", ")))
}

fn by_id(wait: &WaitOn, ids: &BTreeMap<&str, TaskId>) -> WaitOn {
    let map = |entries: &BTreeMap<String, Ends>| {
        entries
            .iter()
            .filter_map(|(label, ends)| Some((ids.get(label.as_str())?.to_string(), ends.clone())))
            .collect()
    };
    WaitOn { all: map(&wait.all), any: map(&wait.any) }
}

/// The ends of a task that nobody waits for.
fn terminal_on(graph: &GraphDefinition, label: &str) -> Vec<Status> {
    let waited: Vec<End> = graph
        .tasks
        .iter()
        .flat_map(|task| task.wait_on.entries())
        .filter(|(name, _)| *name == label)
        .flat_map(|(_, ends)| ends.as_slice().to_vec())
        .collect();
    [Status::Succeeded, Status::Timeout, Status::Cancelled, Status::Failed]
        .into_iter()
        .filter(|status| !waited.iter().any(|end| end.matches(*status)))
        .collect()
}

/// Low to high: the definition's, the graph's overrides, the graph's defaults, the task's by its label.
fn task_options(
    graph: &GraphDefinition,
    label: &str,
    overrides: &Map<String, Value>,
    definition: &TaskDefinition,
    base: &BaseTask,
) -> Map<String, Value> {
    let mut options = definition.options.clone();
    options.extend(overrides.clone());
    let has_schema = base.options_schema.is_some() || definition.schema_ref.is_some();
    if let Some(Value::Object(defaults)) = graph.options.get("defaults") {
        for (key, value) in defaults {
            let own = options.contains_key(key) || base.required_options.contains(key);
            if has_schema || own {
                options.insert(key.clone(), value.clone());
            }
        }
    }
    if let Some(Value::Object(labelled)) = graph.options.get(label) {
        for (key, value) in labelled {
            if !(value.is_null() && options.get(key).is_some_and(|old| !old.is_null())) {
                options.insert(key.clone(), value.clone());
            }
        }
    }
    options
}

/// Puts `from` over `into`, objects key by key.
fn merge(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            // A login is taken as given: its keys must not meet the default password.
            (Some(Value::Object(old)), Value::Object(new)) if key != login::OPTION => {
                merge(old, new);
            }
            _ => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

fn property<'a>(properties: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let mut keys = path.split('.');
    let first = properties.get(keys.next()?)?;
    keys.try_fold(first, |value, key| value.get(key))
}

#[cfg(test)]
mod tests;

//! Definitions of graphs and tasks, in RackHD's JSON.

use overboot_state::WaitOn;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::Error;

/// A graph: tasks, and what they wait for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GraphDefinition {
    /// Its name for people.
    pub friendly_name: String,
    /// Its name for programs: `Graph.Discovery`.
    pub injectable_name: String,
    /// Options for all tasks (`defaults`) and for single ones (by label).
    #[serde(default)]
    pub options: Map<String, Value>,
    /// The tasks.
    pub tasks: Vec<GraphTask>,
    /// Whether it runs as long as the server does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub service_graph: bool,
}

/// A task in a graph: by the name of its definition, or defined on the spot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GraphTask {
    /// Its name in this graph.
    pub label: String,
    /// Name of the definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_name: Option<String>,
    /// The definition itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_definition: Option<TaskDefinition>,
    /// What it waits for, by label.
    #[serde(default, skip_serializing_if = "WaitOn::is_empty")]
    pub wait_on: WaitOn,
    /// Whether its failure, if nobody waits for it, leaves the graph alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_failure: bool,
    /// Options that replace the definition's. For built-in graphs only, as in RackHD.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub option_overrides: Map<String, Value>,
}

/// A task: a base task with options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskDefinition {
    /// Its name for people.
    pub friendly_name: String,
    /// Its name for programs: `Task.Catalog.dmi`.
    pub injectable_name: String,
    /// The base task.
    pub implements_task: String,
    /// Name of a schema for its options.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_ref: Option<String>,
    /// Its options.
    #[serde(default)]
    pub options: Map<String, Value>,
    /// What it provides to later tasks.
    #[serde(default)]
    pub properties: Map<String, Value>,
}

/// A base task: which job does it and what that needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BaseTask {
    /// Its name for people.
    pub friendly_name: String,
    /// Its name for programs: `Task.Base.Linux.Catalog`.
    pub injectable_name: String,
    /// The job.
    pub run_job: String,
    /// Options that must be there and not null.
    #[serde(default)]
    pub required_options: Vec<String>,
    /// What an earlier task must provide: path to value.
    #[serde(default)]
    pub required_properties: Map<String, Value>,
    /// What it provides to later tasks.
    #[serde(default)]
    pub properties: Map<String, Value>,
    /// Name of the schema of its options; with one, all of a graph's `defaults` apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options_schema: Option<String>,
}

/// Definitions come from the network; no graph needs more tasks than this.
const MAX_TASKS: usize = 500;

impl GraphDefinition {
    /// Reads what a client puts: no key beyond RackHD's, every task with a label and with one of name and definition.
    ///
    /// # Errors
    ///
    /// [`Error::Definition`].
    pub fn from_request(body: &Value) -> Result<Self, Error> {
        let name = body.get("injectableName").and_then(Value::as_str).unwrap_or("a graph");
        let refused = |reason: String| Error::Definition { name: name.to_owned(), reason };
        only_keys(body, &["friendlyName", "injectableName", "tasks", "options"])
            .map_err(refused)?;
        if let Some(tasks) = body.get("tasks").and_then(Value::as_array) {
            if tasks.len() > MAX_TASKS {
                return Err(refused(format!("it has more than {MAX_TASKS} tasks")));
            }
            for task in tasks {
                let keys = ["label", "taskName", "taskDefinition", "ignoreFailure", "waitOn"];
                only_keys(task, &keys).map_err(refused)?;
                if task.get("taskName").is_some() == task.get("taskDefinition").is_some() {
                    return Err(refused(
                        "each task has either \"taskName\" or \"taskDefinition\"".into(),
                    ));
                }
            }
        }
        let mut graph: Self =
            Self::deserialize(body).map_err(|error| refused(error.to_string()))?;
        for name in graph.tasks.iter_mut().filter_map(|task| task.task_name.as_mut()) {
            // A client may give back the URL that the library shows.
            if let Some((_, last)) = name.rsplit_once('/') {
                *name = last.to_owned();
            }
        }
        Ok(graph)
    }

    /// RackHD's rendered shape: tasks by URL, `ignoreFailure` left out.
    #[must_use]
    pub fn view(&self) -> Value {
        let tasks: Vec<Value> = self
            .tasks
            .iter()
            .map(|task| {
                let mut view = json!({ "label": task.label });
                if !task.wait_on.is_empty() {
                    view["waitOn"] = json!(task.wait_on);
                }
                if let Some(definition) = &task.task_definition {
                    view["taskDefinition"] = definition.view();
                }
                if let Some(name) = &task.task_name {
                    view["taskName"] = json!(format!("/api/2.0/workflows/tasks/{name}"));
                }
                view
            })
            .collect();
        json!({
            "friendlyName": self.friendly_name,
            "injectableName": self.injectable_name,
            "options": self.options,
            "tasks": tasks,
        })
    }
}

impl TaskDefinition {
    /// Reads what a client puts.
    ///
    /// # Errors
    ///
    /// [`Error::Definition`].
    pub fn from_request(body: &Value) -> Result<Self, Error> {
        let name = body.get("injectableName").and_then(Value::as_str).unwrap_or("a task");
        let refused = |reason: String| Error::Definition { name: name.to_owned(), reason };
        let keys = [
            "friendlyName",
            "injectableName",
            "implementsTask",
            "schemaRef",
            "options",
            "properties",
        ];
        only_keys(body, &keys).map_err(refused)?;
        Self::deserialize(body).map_err(|error| refused(error.to_string()))
    }

    /// RackHD's rendered shape.
    #[must_use]
    pub fn view(&self) -> Value {
        json!(self)
    }
}

fn only_keys(body: &Value, keys: &[&str]) -> Result<(), String> {
    let map = body.as_object().ok_or("it is not an object")?;
    match map.keys().find(|key| !keys.contains(&key.as_str())) {
        Some(key) => Err(format!("\"{}\" is not allowed here", key.escape_default())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_may_give_back_urls() {
        let body = json!({"friendlyName": "X", "injectableName": "Graph.X", "tasks": [
            {"label": "a", "taskName": "/api/2.0/workflows/tasks/Task.noop"}]});
        let graph = GraphDefinition::from_request(&body).unwrap();
        assert_eq!(graph.tasks[0].task_name.as_deref(), Some("Task.noop"));
        assert_eq!(graph.view()["tasks"][0]["taskName"], "/api/2.0/workflows/tasks/Task.noop");
    }

    #[test]
    fn unusable_definitions_are_refused_with_a_reason() {
        let graph = |task: Value| json!({"friendlyName": "X", "injectableName": "Graph.X", "tasks": [task]});
        let cases = [
            (json!([]), "not an object"),
            (json!({"friendlyName": "X", "injectableName": "Graph.X"}), "missing field `tasks`"),
            (graph(json!({"label": "a"})), "either"),
            (graph(json!({"taskName": "Task.noop"})), "missing field `label`"),
            (
                graph(json!({"label": "a", "taskName": "b", "optionOverrides": {}})),
                "optionOverrides",
            ),
            (
                graph(json!({"label": "a", "taskName": "b", "waitOn": {"c": "done"}})),
                "did not match",
            ),
            (
                json!({"friendlyName": "X", "injectableName": "G", "tasks": [], "serviceGraph": true}),
                "serviceGraph",
            ),
        ];
        for (body, expected) in cases {
            let error = GraphDefinition::from_request(&body).unwrap_err().to_string();
            assert!(error.contains(expected), "{body}: {error}");
        }
    }
}

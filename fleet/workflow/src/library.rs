//! All definitions there are: the built-in ones, and those that users have put.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use overboot_state::{Definition, DefinitionKind, State};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{BaseTask, Error, GraphDefinition, TaskDefinition};

const GRAPHS: &[&str] = &[
    include_str!("../graphs/Graph.BootstrapUbuntu.json"),
    include_str!("../graphs/Graph.Discovery.json"),
    include_str!("../graphs/Graph.PowerOff.Node.json"),
    include_str!("../graphs/Graph.PowerOn.Node.json"),
    include_str!("../graphs/Graph.Reboot.Node.json"),
    include_str!("../graphs/Graph.SKU.Discovery.json"),
    include_str!("../graphs/Graph.ShellCommands.json"),
    include_str!("../graphs/Graph.noop-example.json"),
];

const TASKS: &[&str] = &[
    include_str!("../tasks/Task.Catalog.dmi.json"),
    include_str!("../tasks/Task.Catalog.ip.json"),
    include_str!("../tasks/Task.Catalog.lldp.json"),
    include_str!("../tasks/Task.Catalog.lshw.json"),
    include_str!("../tasks/Task.Catalog.lspci.json"),
    include_str!("../tasks/Task.Catalog.lsscsi.json"),
    include_str!("../tasks/Task.Evaluate.Condition.json"),
    include_str!("../tasks/Task.Graph.Run.Discovery.json"),
    include_str!("../tasks/Task.Graph.Run.json"),
    include_str!("../tasks/Task.Linux.Bootstrap.Ubuntu.json"),
    include_str!("../tasks/Task.Linux.Commands.json"),
    include_str!("../tasks/Task.Obm.Node.PowerOff.json"),
    include_str!("../tasks/Task.Obm.Node.PowerOn.json"),
    include_str!("../tasks/Task.Obm.Node.PxeBoot.json"),
    include_str!("../tasks/Task.Obm.Node.Reboot.json"),
    include_str!("../tasks/Task.ProcShellReboot.json"),
    include_str!("../tasks/Task.Trigger.Send.Finish.json"),
    include_str!("../tasks/Task.noop.json"),
];

const BASE_TASKS: &[&str] = &[
    include_str!("../base/Task.Base.Evaluate.Condition.json"),
    include_str!("../base/Task.Base.Graph.Run.json"),
    include_str!("../base/Task.Base.Linux.Bootstrap.json"),
    include_str!("../base/Task.Base.Linux.Catalog.json"),
    include_str!("../base/Task.Base.Linux.Commands.json"),
    include_str!("../base/Task.Base.Obm.Node.json"),
    include_str!("../base/Task.Base.ShellReboot.json"),
    include_str!("../base/Task.Base.Trigger.json"),
    include_str!("../base/Task.Base.noop.json"),
];

/// All definitions, by injectable name. A user's replaces the built-in one of the same name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Library {
    /// Graphs.
    pub graphs: BTreeMap<String, GraphDefinition>,
    /// Tasks.
    pub tasks: BTreeMap<String, TaskDefinition>,
    /// Base tasks.
    pub base_tasks: BTreeMap<String, BaseTask>,
}

fn read<T: DeserializeOwned>(text: &str) -> T {
    #[expect(clippy::expect_used, reason = "built-in definitions are read by a test")]
    serde_json::from_str(text).expect("a built-in definition reads")
}

impl Library {
    /// The built-in definitions alone.
    #[must_use]
    pub fn built_in() -> Self {
        static BUILT_IN: LazyLock<Library> = LazyLock::new(Library::read_built_in);
        BUILT_IN.clone()
    }

    fn read_built_in() -> Self {
        let mut library = Self::default();
        for graph in GRAPHS.iter().map(|text| read::<GraphDefinition>(text)) {
            library.graphs.insert(graph.injectable_name.clone(), graph);
        }
        for task in TASKS.iter().map(|text| read::<TaskDefinition>(text)) {
            library.tasks.insert(task.injectable_name.clone(), task);
        }
        for base in BASE_TASKS.iter().map(|text| read::<BaseTask>(text)) {
            library.base_tasks.insert(base.injectable_name.clone(), base);
        }
        library
    }

    /// The built-in definitions and those in `state`.
    ///
    /// # Errors
    ///
    /// [`Error::State`], [`Error::Definition`] if a stored one does not read.
    pub async fn load(state: &State) -> Result<Self, Error> {
        let mut library = Self::built_in();
        for definition in state.definitions(DefinitionKind::Graph).await? {
            library.graphs.insert(definition.name.clone(), stored(definition)?);
        }
        for definition in state.definitions(DefinitionKind::Task).await? {
            library.tasks.insert(definition.name.clone(), stored(definition)?);
        }
        Ok(library)
    }
}

fn stored<T: DeserializeOwned>(definition: Definition) -> Result<T, Error> {
    serde_json::from_value(definition.document)
        .map_err(|error| Error::Definition { name: definition.name, reason: error.to_string() })
}

/// What is written to the state for a graph.
pub(crate) fn graph_record(graph: &GraphDefinition) -> Definition {
    let name = graph.injectable_name.clone();
    Definition { kind: DefinitionKind::Graph, name, document: json!(graph) }
}

/// What is written to the state for a task.
pub(crate) fn task_record(task: &TaskDefinition) -> Definition {
    let name = task.injectable_name.clone();
    Definition { kind: DefinitionKind::Task, name, document: json!(task) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_definitions_read_and_name_each_other() {
        let library = Library::built_in();
        assert_eq!(library.graphs.len(), GRAPHS.len());
        assert_eq!(library.tasks.len(), TASKS.len());
        assert_eq!(library.base_tasks.len(), BASE_TASKS.len());
        for task in library.tasks.values() {
            assert!(
                library.base_tasks.contains_key(&task.implements_task),
                "{}",
                task.injectable_name
            );
        }
        for graph in library.graphs.values() {
            for task in &graph.tasks {
                let name = task.task_name.as_ref().unwrap();
                assert!(library.tasks.contains_key(name), "{name}");
            }
        }
    }

    #[test]
    fn bootstrap_ubuntu_is_as_rackhds() {
        let graph = &Library::built_in().graphs["Graph.BootstrapUbuntu"];
        let tasks: Vec<(&str, &str, bool)> = graph
            .tasks
            .iter()
            .map(|t| (t.label.as_str(), t.task_name.as_deref().unwrap(), t.ignore_failure))
            .collect();
        assert_eq!(
            tasks,
            [
                ("set-boot-pxe", "Task.Obm.Node.PxeBoot", true),
                ("reboot", "Task.Obm.Node.Reboot", false),
                ("bootstrap-ubuntu", "Task.Linux.Bootstrap.Ubuntu", false),
            ]
        );
        assert_eq!(json!(graph.tasks[1].wait_on), json!({"set-boot-pxe": "finished"}));
        assert_eq!(json!(graph.tasks[2].wait_on), json!({"reboot": "succeeded"}));
    }
}

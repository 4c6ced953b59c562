//! The engine against a real database, with nodes and power controls that the tests play.

mod bootstrap;
mod crash;
mod discovery;
mod obm;
mod runs;
mod world;

use std::time::Duration;

use overboot_state::{Node, State, Status, Workflow, WorkflowId};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{Config, Engine};
use crate::GraphRequest;
use world::MAC;

/// An engine on an empty database, with short pauses.
struct Fixture {
    /// Kept as long as the database in it is used.
    _folder: TempDir,
    engine: Engine,
    node: Node,
}

fn config() -> Config {
    Config {
        obm_delay: Duration::from_millis(1),
        obm_retries: 2,
        ..Config::new("http://10.0.0.1:9090")
    }
}

async fn open(folder: &TempDir) -> State {
    State::open(&folder.path().join("fleet.sqlite")).await.unwrap()
}

async fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let state = open(&folder).await;
    let (node, _) = state.find_or_create_node(&[MAC]).await.unwrap();
    let engine = Engine::start(state, overboot_power::Powers::new(), config()).await.unwrap();
    Fixture { _folder: folder, engine, node }
}

impl Fixture {
    async fn with_noop_obm(self) -> Self {
        let state = self.engine.state();
        let config = serde_json::json!({});
        state.put_obm(&self.node.id, "noop-obm-service", &config).await.unwrap();
        self
    }

    async fn run(&self, name: &str, options: serde_json::Value) -> Workflow {
        let options = options.as_object().unwrap().clone();
        let request = GraphRequest::new(name, Some(self.node.id.clone())).with_options(options);
        self.engine.run_graph(request).await.unwrap()
    }

    async fn workflow(&self, id: &WorkflowId) -> Workflow {
        self.engine.state().workflow(id).await.unwrap().unwrap()
    }

    /// The run, once it is as `wanted`.
    async fn when(&self, id: &WorkflowId, wanted: impl Fn(&Workflow) -> bool) -> Workflow {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let workflow = self.workflow(id).await;
            if wanted(&workflow) {
                return workflow;
            }
            assert!(Instant::now() < deadline, "it never came: {:#}", workflow.view());
            sleep(Duration::from_millis(2)).await;
        }
    }

    async fn ended(&self, id: &WorkflowId) -> Workflow {
        self.when(id, |workflow| !workflow.status.is_active()).await
    }
}

fn reason<'a>(workflow: &'a Workflow, label: &str) -> &'a str {
    &workflow.tasks.iter().find(|task| task.label == label).unwrap().reason
}

fn state_of(workflow: &Workflow, label: &str) -> Status {
    workflow.tasks.iter().find(|task| task.label == label).unwrap().state
}

fn is_running(workflow: &Workflow, label: &str) -> bool {
    workflow.tasks.iter().any(|task| task.label == label && task.is_running())
}

//! What operators ask of the engine: runs of graphs, and definitions.

use overboot_state::{DefinitionKind, NodeId, Session, Timestamp, Workflow, WorkflowId};
use serde_json::Value;

use super::Engine;
use crate::create::{GraphRequest, Parent, create};
use crate::library::{Library, graph_record, task_record};
use crate::turn::Event;
use crate::{Error, GraphDefinition, TaskDefinition};

impl Engine {
    /// Runs a graph. It is written, and its first tasks are started, when this returns.
    ///
    /// A run that takes a node closes the login of that node.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownGraph`], [`Error::UnknownNode`]; [`Error::TargetTaken`] if the node has an active run;
    /// [`Error::Graph`], [`Error::Task`], [`Error::Request`] if it cannot be run like this; [`Error::State`].
    pub async fn run_graph(&self, request: GraphRequest) -> Result<Workflow, Error> {
        let engine = self.clone();
        self.whole(async move { engine.make(&request, None).await }).await
    }

    pub(super) async fn make(
        &self,
        request: &GraphRequest,
        parent: Option<Parent>,
    ) -> Result<Workflow, Error> {
        if self.inner.stop.is_cancelled() {
            return Err(Error::Stopped);
        }
        let library = Library::load(&self.inner.state).await?;
        let now = Timestamp::now();
        let workflow = create(&library, request, parent, &self.inner.policy.scope, now)?;
        let taken = {
            let _turns = self.inner.turns.lock().await;
            let stored = match &workflow.node {
                Some(node) => self.session_of_a_free_node(node).await?,
                None => Session::default(),
            };
            let mut session = stored.clone();
            session.close_login();
            self.take(workflow, &stored, session, Event::Made).await?
        };
        tracing::info!(
            workflow = %taken.workflow.instance_id, graph = taken.workflow.injectable_name,
            node = taken.workflow.node.as_ref().map(NodeId::as_str), "a workflow has been started"
        );
        self.follow(&taken).await;
        Ok(taken.workflow)
    }

    async fn session_of_a_free_node(&self, node: &NodeId) -> Result<Session, Error> {
        if self.inner.state.node(node).await?.is_none() {
            return Err(Error::UnknownNode { id: node.clone() });
        }
        if self.inner.state.active_workflow(node).await?.is_some() {
            return Err(Error::TargetTaken { target: node.clone() });
        }
        Ok(self.inner.state.session(node).await?)
    }

    /// Cancels a run, and what its tasks have started. It is cancelled when this returns.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownWorkflow`]; [`Error::NotActive`] if it has ended; [`Error::State`].
    pub async fn cancel(&self, id: &WorkflowId) -> Result<Workflow, Error> {
        let event = Event::Cancel { reason: "cancelled by a request".to_owned() };
        let (engine, workflow) = (self.clone(), id.clone());
        match self.whole(async move { engine.advance(&workflow, event).await }).await? {
            Some(taken) => Ok(taken.workflow),
            None if self.inner.state.workflow(id).await?.is_some() => {
                Err(Error::NotActive { id: id.clone() })
            }
            None => Err(Error::UnknownWorkflow { id: id.clone() }),
        }
    }

    /// Cancels the run that has a node.
    ///
    /// # Errors
    ///
    /// [`Error::NothingActive`], [`Error::State`].
    pub async fn cancel_on(&self, node: &NodeId) -> Result<Workflow, Error> {
        let nothing = || Error::NothingActive { id: node.clone() };
        let active = self.inner.state.active_workflow(node).await?.ok_or_else(nothing)?;
        self.cancel(&active.instance_id).await.map_err(|error| match error {
            Error::NotActive { .. } | Error::UnknownWorkflow { .. } => nothing(),
            other => other,
        })
    }

    /// Deletes the record of a run that has ended.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownWorkflow`], [`Error::StillActive`], [`Error::State`].
    pub async fn delete(&self, id: &WorkflowId) -> Result<(), Error> {
        let _turns = self.inner.turns.lock().await;
        let workflow = self.inner.state.workflow(id).await?;
        let workflow = workflow.ok_or_else(|| Error::UnknownWorkflow { id: id.clone() })?;
        if workflow.status.is_active() {
            return Err(Error::StillActive { id: id.clone() });
        }
        self.inner.state.delete_workflow(id).await?;
        Ok(())
    }

    /// Deletes a node that no run has.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownNode`]; [`Error::StillActive`] with the run that has it; [`Error::State`].
    pub async fn delete_node(&self, id: &NodeId) -> Result<(), Error> {
        let _turns = self.inner.turns.lock().await;
        if let Some(active) = self.inner.state.active_workflow(id).await? {
            return Err(Error::StillActive { id: active.instance_id });
        }
        if self.inner.state.delete_node(id).await? {
            Ok(())
        } else {
            Err(Error::UnknownNode { id: id.clone() })
        }
    }

    /// All definitions: the built-in ones and those put by users.
    ///
    /// # Errors
    ///
    /// [`Error::State`], [`Error::Definition`].
    pub async fn library(&self) -> Result<Library, Error> {
        Library::load(&self.inner.state).await
    }

    /// Defines a graph, from the body of `PUT /workflows/graphs`. It takes the place of one with its name.
    ///
    /// # Errors
    ///
    /// [`Error::Definition`]; [`Error::Graph`], [`Error::Task`] if it could never be run; [`Error::State`].
    pub async fn put_graph(&self, body: &Value) -> Result<GraphDefinition, Error> {
        let graph = GraphDefinition::from_request(body)?;
        let mut library = self.library().await?;
        library.graphs.insert(graph.injectable_name.clone(), graph.clone());
        crate::create::check_graph(&library, &graph)?;
        self.inner.state.put_definition(&graph_record(&graph)).await?;
        Ok(graph)
    }

    /// Deletes a user's definition of a graph; a built-in one of that name comes back. Whether there was one.
    ///
    /// # Errors
    ///
    /// [`Error::State`].
    pub async fn delete_graph(&self, name: &str) -> Result<bool, Error> {
        Ok(self.inner.state.delete_definition(DefinitionKind::Graph, name).await?)
    }

    /// Defines a task, from the body of `PUT /workflows/tasks`. It takes the place of one with its name.
    ///
    /// # Errors
    ///
    /// [`Error::Definition`], [`Error::State`].
    pub async fn put_task(&self, body: &Value) -> Result<TaskDefinition, Error> {
        let task = TaskDefinition::from_request(body)?;
        let library = self.library().await?;
        if !library.base_tasks.contains_key(&task.implements_task) {
            return Err(Error::Definition {
                name: task.injectable_name,
                reason: format!("there is no base task {}", task.implements_task),
            });
        }
        self.inner.state.put_definition(&task_record(&task)).await?;
        Ok(task)
    }

    /// Deletes a user's definition of a task; a built-in one of that name comes back.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTask`], [`Error::State`].
    pub async fn delete_task(&self, name: &str) -> Result<(), Error> {
        if self.inner.state.delete_definition(DefinitionKind::Task, name).await? {
            Ok(())
        } else {
            Err(Error::UnknownTask { name: name.to_owned() })
        }
    }
}

//! The engine: runs of graphs against real nodes, power controls and a real database.
//!
//! Every change is one turn: under one lock the run is read, [`crate::turn`] says what follows, and all of it is
//! written in one transaction. Only then is anything done: a node's poll answered, a power control called, another
//! graph started. What is to be done can always be read off what is written, so after a crash the engine reads the
//! active runs and goes on; what it had begun is done again.

mod api;
mod effects;
mod node;

#[cfg(test)]
mod crash;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use overboot_power::Powers;
use overboot_state::{
    Batch, Durability, NodeId, NodeSession, Session, State, TaskId, Timestamp, Workflow, WorkflowId,
};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::turn::{Event, Turn, turn};
use crate::{Error, Policy};

pub use node::BootRequest;

/// What the engine is told about its surroundings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where nodes reach the API: `http://10.0.0.1:9090`, without a path. `{{ api.server }}` in templates.
    pub api_server: String,
    /// Where nodes fetch files: the same form, with a path if there is one. `{{ file.server }}` in templates.
    pub file_server: String,
    /// Further values for templates, as `{{ server.NAME }}`. `bootSet` names the boot set that bootstrap tasks boot.
    pub server: Map<String, Value>,
    /// How long a task may run that does not say so itself.
    pub task_timeout: Duration,
    /// The pause after a power control has failed for the first time; each further one is twice as long.
    pub obm_delay: Duration,
    /// How often a failed power control is tried again.
    pub obm_retries: u32,
}

impl Config {
    /// RackHD's numbers, for a server that nodes reach under this URL.
    #[must_use]
    pub fn new(server: &str) -> Self {
        Self {
            api_server: server.to_owned(),
            file_server: server.to_owned(),
            server: Map::new(),
            task_timeout: Duration::from_secs(24 * 3600),
            obm_delay: Duration::from_millis(500),
            obm_retries: 6,
        }
    }

    fn policy(&self) -> Policy {
        let (api, file) =
            (self.api_server.trim_end_matches('/'), self.file_server.trim_end_matches('/'));
        let base = format!("{api}/api/current");
        let mut scope = Map::new();
        scope.insert("server".into(), Value::Object(self.server.clone()));
        scope.insert("file".into(), json!({ "server": file }));
        scope.insert(
            "api".into(),
            json!({
                "server": api,
                "base": base,
                "files": format!("{base}/files"),
                "lookups": format!("{base}/lookups"),
                "nodes": format!("{base}/nodes"),
                "profiles": format!("{base}/profiles"),
                "templates": format!("{base}/templates"),
            }),
        );
        Policy {
            scope,
            task_timeout: self.task_timeout,
            obm_delay: self.obm_delay,
            obm_retries: self.obm_retries,
        }
    }
}

/// The engine. Cheap to clone; clones share.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    powers: Powers,
    policy: Policy,
    /// Held from reading a run until its next version is written.
    turns: tokio::sync::Mutex<()>,
    /// Wakes the polls of a node. Kept as long as somebody waits.
    nodes: Mutex<HashMap<NodeId, Weak<Notify>>>,
    /// Tells the clock that the next due time may have changed.
    clock: Notify,
    /// Attempts and children that are being seen to.
    busy: Mutex<HashSet<(TaskId, u32)>>,
    stop: CancellationToken,
    tracker: TaskTracker,
    #[cfg(test)]
    crash: crash::Point,
}

/// After a database error the clock waits this long before it tries again.
const CLOCK_PAUSE: Duration = Duration::from_secs(1);

/// The clock looks at least this often, should a wall clock be set.
const CLOCK_TICK: Duration = Duration::from_secs(60);

impl Engine {
    /// Starts the engine: goes on with what the database says is active, and from now on does what is due.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Error::State`].
    pub async fn start(state: State, powers: Powers, config: Config) -> Result<Self, Error> {
        let engine = Self::new(state, powers, &config);
        engine.resume().await?;
        let clock = engine.clone();
        engine.inner.tracker.spawn(async move {
            let stop = clock.inner.stop.clone();
            stop.run_until_cancelled(clock.clock()).await;
        });
        Ok(engine)
    }

    fn new(state: State, powers: Powers, config: &Config) -> Self {
        Self {
            inner: Arc::new(Inner {
                state,
                powers,
                policy: config.policy(),
                turns: tokio::sync::Mutex::new(()),
                nodes: Mutex::default(),
                clock: Notify::new(),
                busy: Mutex::default(),
                stop: CancellationToken::new(),
                tracker: TaskTracker::new(),
                #[cfg(test)]
                crash: crash::Point::default(),
            }),
        }
    }

    /// Stops the engine: polls are answered, nothing new is begun. What is under way is taken up by the next start.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        self.inner.tracker.close();
        let waiting: Vec<_> = {
            let nodes = self.inner.nodes.lock().unwrap_or_else(PoisonError::into_inner);
            nodes.values().filter_map(Weak::upgrade).collect()
        };
        waiting.iter().for_each(|notify| notify.notify_waiters());
        self.inner.tracker.wait().await;
    }

    /// The state that the engine works on.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.inner.state
    }

    /// Takes up all active runs: what they wait for from the outside is begun again.
    async fn resume(&self) -> Result<(), Error> {
        let active = self.inner.state.workflows(None, Some(true)).await?;
        for workflow in &active {
            // A child whose parent ended while the program did not run.
            if let Some(parent) = &workflow.parent_graph_id
                && !active.iter().any(|other| other.instance_id == *parent)
            {
                let reason = "the workflow that started it has ended".to_owned();
                self.advance(&workflow.instance_id, Event::Cancel { reason }).await?;
                continue;
            }
            self.effects(workflow);
        }
        Ok(())
    }

    /// Does what is due, for ever.
    async fn clock(&self) {
        loop {
            let pause = match self.tick().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "the clock failed");
                    CLOCK_PAUSE
                }
            };
            tokio::select! {
                () = self.inner.clock.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Does what is due now and says how long nothing will be.
    async fn tick(&self) -> Result<Duration, Error> {
        let now = Timestamp::now();
        for id in self.inner.state.due_workflows(now).await? {
            self.advance(&id, Event::Due).await?;
        }
        for node in self.inner.state.due_sessions(now).await? {
            self.expire_login(&node).await?;
        }
        let next = self.inner.state.next_due().await?;
        Ok(next.map_or(CLOCK_TICK, |due| due.since(Timestamp::now()).min(CLOCK_TICK)))
    }

    /// Does `work` to its end, even if who waits for it goes away: a client that hangs up between a transaction and
    /// what follows from it must not leave that undone.
    async fn whole<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        match self.inner.tracker.spawn(work).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Error::Stopped),
        }
    }

    /// Gives a run an event. Nothing, if the run does not exist or has ended.
    async fn advance(&self, id: &WorkflowId, event: Event) -> Result<Option<Turn>, Error> {
        let taken = {
            let _turns = self.inner.turns.lock().await;
            let Some(workflow) = self.inner.state.workflow(id).await? else {
                return Ok(None);
            };
            if !workflow.status.is_active() {
                return Ok(None);
            }
            let session = match &workflow.node {
                Some(node) => self.inner.state.session(node).await?,
                None => Session::default(),
            };
            self.take(workflow, &session.clone(), session, event).await?
        };
        self.follow(&taken).await;
        Ok(Some(taken))
    }

    /// Takes a turn and writes it, together with what has become of the `stored` session. The lock is held.
    async fn take(
        &self,
        workflow: Workflow,
        stored: &Session,
        session: Session,
        event: Event,
    ) -> Result<Turn, Error> {
        let now = Timestamp::now();
        let mut taken = turn(workflow.clone(), session, event, now, &self.inner.policy);
        let mut batch = Batch {
            catalogs: taken.catalogs.clone(),
            addresses: taken.addresses.clone(),
            ..Batch::default()
        };
        taken.changed = taken.workflow != workflow || workflow.version == 0;
        if taken.changed {
            taken.workflow.updated_at = now;
            batch.workflows.push(taken.workflow.clone());
        }
        if taken.session != *stored
            && let Some(node) = taken.workflow.node.clone()
        {
            batch.sessions.push(NodeSession { node, session: taken.session.clone() });
        }
        self.write(Durability::Full, &batch).await?;
        Ok(taken)
    }

    async fn write(&self, durability: Durability, batch: &Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        #[cfg(test)]
        self.inner.crash.pass()?;
        self.inner.state.write_batch(durability, batch).await?;
        #[cfg(test)]
        self.inner.crash.pass()?;
        Ok(())
    }

    /// Does what follows from a turn that is written. The lock is not held.
    async fn follow(&self, taken: &Turn) {
        let workflow = &taken.workflow;
        for task in taken.ended.iter().filter_map(|id| workflow.task(id)) {
            tracing::info!(
                workflow = %workflow.instance_id, task = task.label, state = %task.state,
                reason = task.reason, "a task has ended"
            );
        }
        if !workflow.status.is_active() {
            tracing::info!(
                workflow = %workflow.instance_id, graph = workflow.injectable_name,
                status = %workflow.status, reason = workflow.reason, "a workflow has ended"
            );
            self.tell_parent(workflow);
        }
        for task in &taken.stopped {
            self.stop_child(task).await;
        }
        self.effects(workflow);
        self.inner.clock.notify_one();
        if let Some(node) = &workflow.node {
            self.wake(node);
        }
    }

    /// Wakes the polls of a node.
    fn wake(&self, node: &NodeId) {
        let mut nodes = self.inner.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(notify) = nodes.get(node).and_then(Weak::upgrade) {
            notify.notify_waiters();
        } else {
            nodes.remove(node);
        }
    }

    /// What [`Engine::wake`] wakes.
    fn notify(&self, node: &NodeId) -> Arc<Notify> {
        let mut nodes = self.inner.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(notify) = nodes.get(node).and_then(Weak::upgrade) {
            return notify;
        }
        let notify = Arc::new(Notify::new());
        nodes.insert(node.clone(), Arc::downgrade(&notify));
        notify
    }
}

//! What nodes ask of the engine: what to boot, what to do, and who may log in.

use std::time::Duration;

use overboot_dhcp::Mac;
use overboot_state::{
    Batch, BootEvent, BootSettings, Durability, NodeId, NodeSession, Recorded, Session, Status,
    TaskId, Timestamp, Workflow, WorkflowId,
};
use overboot_wire::{Stage, TaskDoc};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::Engine;
use crate::turn::Event;
use crate::{Error, job};

/// How a node asks for work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poll {
    /// How long to wait for work; nothing from RackHD's agent, which is answered at once.
    pub wait: Option<Duration>,
    /// The last state of the login that the node has acted on.
    pub login: Option<u64>,
}

/// The answer to a node that asked for work.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Work, or no tasks. For our own agents (those that wait) with the state of the login.
    pub document: TaskDoc,
    /// There is work, but this boot of the node has been given it already and must not get it twice. RackHD answers
    /// 200 with an empty body to that, and 404 to a node for which there is no work.
    pub handed_out: bool,
}

/// What a node is to boot, as a workflow says.
#[derive(Clone, Debug, PartialEq)]
pub struct BootRequest {
    /// RackHD's profile: `linux.ipxe`.
    pub profile: String,
    /// The rendered options of the bootstrap task: `bootSet`, `kernelUri`, `overlayfsFile`, `kargs`, …
    pub options: Map<String, Value>,
    /// The run.
    pub workflow: WorkflowId,
    /// Its bootstrap task.
    pub task: TaskId,
}

/// The answer to a node that asks what to boot.
#[derive(Clone, Debug, PartialEq)]
pub enum BootAnswer {
    /// This.
    Boot(BootRequest),
    /// A workflow has the node and does not say yet. RackHD answers 503, and iPXE asks again.
    Busy {
        /// What it waits for.
        reason: String,
    },
    /// No workflow has the node.
    Idle {
        /// What it boots then, if that was set; else its disk.
        settings: Option<BootSettings>,
    },
}

/// An agent's last poll is noted no more often than this; it only tells people that the agent is there.
const POLL_NOTED: Duration = Duration::from_secs(60);

/// A node is not kept waiting for longer, whatever it asks for.
const MAX_WAIT: Duration = Duration::from_secs(300);

impl Engine {
    /// Notes what a server saw of a machine's boot or what its init reported. A new boot of a node closes its login
    /// and tells the node's run.
    ///
    /// The boot script itself is noted by [`Engine::boot_request`].
    ///
    /// # Errors
    ///
    /// [`Error::State`].
    pub async fn observe(&self, mac: Mac, event: &BootEvent) -> Result<Recorded, Error> {
        let recorded = self.inner.state.record(mac, event).await?;
        // DHCP alone proves nothing: running systems renew their leases.
        if event.stage < Stage::Script {
            return Ok(recorded);
        }
        if let Some(node) = self.inner.state.find_by_identifier(&mac.to_string()).await? {
            self.booted(&node.id, mac, &recorded).await?;
        }
        Ok(recorded)
    }

    async fn booted(&self, node: &NodeId, mac: Mac, recorded: &Recorded) -> Result<(), Error> {
        let taken = {
            let _turns = self.inner.turns.lock().await;
            let before = self.inner.state.session(node).await?;
            if before.boot.as_ref() == Some(&recorded.boot.id) {
                return Ok(());
            }
            let mut session = before.clone();
            session.close_login();
            session.boot = Some(recorded.boot.id.clone());
            session.mac = Some(mac);
            session.boot_since = recorded.boot.started_at;
            session.up = false;
            match self.inner.state.active_workflow(node).await? {
                Some(workflow) => Some(self.take(workflow, &before, session, Event::Booted).await?),
                None => {
                    self.write_session(node, &session).await?;
                    None
                }
            }
        };
        match &taken {
            Some(taken) => self.follow(taken).await,
            None => self.wake(node),
        }
        Ok(())
    }

    /// What a node is to boot. To be called when the node's boot loader asks for its script, with the MAC address of
    /// the interface it booted from: this notes the stage in the timeline, and it is what makes a bootstrap task
    /// believe the agent that comes next. While the node's run does not say, waits up to `wait` for it to.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownNode`], [`Error::State`].
    pub async fn boot_request(
        &self,
        node: &NodeId,
        mac: Mac,
        wait: Duration,
    ) -> Result<BootAnswer, Error> {
        let recorded = self.inner.state.record(mac, &BootEvent::seen(Stage::Script, None)).await?;
        self.booted(node, mac, &recorded).await?;
        let deadline = Instant::now() + wait.min(MAX_WAIT);
        let notify = self.notify(node);
        loop {
            let notified = notify.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            let answer = self.serve_profile(node).await?;
            if !matches!(answer, BootAnswer::Busy { .. }) || self.inner.stop.is_cancelled() {
                return Ok(answer);
            }
            if tokio::time::timeout_at(deadline, notified).await.is_err() {
                return Ok(answer);
            }
        }
    }

    async fn serve_profile(&self, node: &NodeId) -> Result<BootAnswer, Error> {
        let (answer, taken) = {
            let _turns = self.inner.turns.lock().await;
            let workflow = self.inner.state.active_workflow(node).await?;
            let answer = self.answer(node, workflow.as_ref()).await?;
            let taken = match (&answer, workflow) {
                (BootAnswer::Boot(request), Some(workflow)) => {
                    let session = self.inner.state.session(node).await?;
                    let event = Event::ProfileServed { task: request.task.clone() };
                    Some(self.take(workflow, &session.clone(), session, event).await?)
                }
                _ => None,
            };
            (answer, taken)
        };
        if let Some(taken) = &taken {
            self.follow(taken).await;
        }
        Ok(answer)
    }

    /// What [`Engine::boot_request`] would answer now, without any consequence. For DHCP, which decides whether to
    /// name a boot file before there is a request.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownNode`], [`Error::State`].
    pub async fn boot_preview(&self, node: &NodeId) -> Result<BootAnswer, Error> {
        let workflow = self.inner.state.active_workflow(node).await?;
        self.answer(node, workflow.as_ref()).await
    }

    async fn answer(
        &self,
        node: &NodeId,
        workflow: Option<&Workflow>,
    ) -> Result<BootAnswer, Error> {
        let Some(workflow) = workflow else {
            let unknown = || Error::UnknownNode { id: node.clone() };
            let node = self.inner.state.node(node).await?.ok_or_else(unknown)?;
            return Ok(BootAnswer::Idle { settings: node.boot_settings });
        };
        // The bootstrap that runs; else the last one that has done its work, for a node that restarts later.
        let mut bootstraps = workflow.tasks.iter().filter(|t| t.run_job == "Job.Linux.Bootstrap");
        let task = bootstraps.clone().find(|task| task.is_running()).or_else(|| {
            let waits = bootstraps.clone().any(|t| t.state.is_active() && !t.started());
            bootstraps.rfind(|task| task.state == Status::Succeeded && !waits)
        });
        Ok(match task {
            Some(task) => BootAnswer::Boot(BootRequest {
                profile: task
                    .options
                    .get("profile")
                    .and_then(Value::as_str)
                    .unwrap_or("linux.ipxe")
                    .to_owned(),
                options: task.options.clone(),
                workflow: workflow.instance_id.clone(),
                task: task.instance_id.clone(),
            }),
            None => BootAnswer::Busy {
                reason: format!("{} has the node; {}", workflow.name, workflow.reason),
            },
        })
    }

    /// Work for a node whose agent asks, and who may log in. Returns as soon as there is work or the login is another
    /// than the agent knows, else after the time that the agent wants to wait.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownNode`], [`Error::State`].
    pub async fn offer(&self, node: &NodeId, poll: Poll) -> Result<Offer, Error> {
        let deadline = Instant::now() + poll.wait.unwrap_or_default().min(MAX_WAIT);
        let notify = self.notify(node);
        let mut boot = None;
        loop {
            let notified = notify.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            let (offer, session) = self.try_offer(node, poll).await?;
            let restarted = boot.as_ref().is_some_and(|boot| *boot != session.boot);
            let login = poll.login.is_some_and(|known| known != session.login_sequence);
            if !offer.document.tasks.is_empty()
                || login
                || restarted
                || self.inner.stop.is_cancelled()
                || tokio::time::timeout_at(deadline, notified).await.is_err()
            {
                return Ok(offer);
            }
            boot = Some(session.boot);
        }
    }

    async fn try_offer(&self, node: &NodeId, poll: Poll) -> Result<(Offer, Session), Error> {
        let native = poll.wait.is_some();
        let now = Timestamp::now();
        let (taken, session, first) = {
            let _turns = self.inner.turns.lock().await;
            if self.inner.state.node(node).await?.is_none() {
                return Err(Error::UnknownNode { id: node.clone() });
            }
            let before = self.inner.state.session(node).await?;
            let first = !before.up;
            let mut session = before.clone();
            if first || session.polled_at.is_none_or(|at| now.since(at) >= POLL_NOTED) {
                session.up = true;
                session.polled_at = Some(now);
            }
            match self.inner.state.active_workflow(node).await? {
                Some(workflow) => {
                    let event = Event::Polled { native };
                    let taken = self.take(workflow, &before, session, event).await?;
                    let session = taken.session.clone();
                    (Some(taken), session, first)
                }
                None => {
                    if session != before {
                        self.write_session(node, &session).await?;
                    }
                    (None, session, first)
                }
            }
        };
        if let (true, Some(mac)) = (first, session.mac) {
            self.note_agent(mac).await?;
        }
        let mut handed_out = false;
        let mut document = None;
        if let Some(taken) = taken {
            handed_out = taken.offer.is_none() && taken.workflow.running().any(job::is_handed_out);
            document = taken.offer.clone();
            if taken.changed {
                self.follow(&taken).await;
            }
        }
        let mut document = document
            .unwrap_or_else(|| TaskDoc { identifier: node.to_string(), ..TaskDoc::default() });
        if native {
            document.login = Some(session.login_at(now));
        }
        Ok((Offer { document, handed_out }, session))
    }

    /// Notes that an agent runs, which tells the next boot from this one, unless the node has reported it itself.
    async fn note_agent(&self, mac: Mac) -> Result<(), Error> {
        let last = self.inner.state.timelines(&[mac], 1).await?;
        if last.first().is_some_and(|timeline| timeline.boot.stage < Stage::Agent) {
            let event = BootEvent::seen(Stage::Agent, Some("asked for tasks".into()));
            self.inner.state.record(mac, &event).await?;
        }
        Ok(())
    }

    /// Takes results that a node has posted. Whether somebody waited for them; late results change nothing.
    ///
    /// # Errors
    ///
    /// [`Error::State`].
    pub async fn complete(&self, node: &NodeId, results: TaskDoc) -> Result<bool, Error> {
        let taken = {
            let _turns = self.inner.turns.lock().await;
            let Some(workflow) = self.inner.state.active_workflow(node).await? else {
                return Ok(false);
            };
            let session = self.inner.state.session(node).await?;
            self.take(workflow, &session.clone(), session, Event::Posted(results)).await?
        };
        if taken.accepted {
            self.follow(&taken).await;
        }
        Ok(taken.accepted)
    }

    /// What a node is in the middle of: its boot, and its login.
    ///
    /// # Errors
    ///
    /// [`Error::State`].
    pub async fn session(&self, node: &NodeId) -> Result<Session, Error> {
        Ok(self.inner.state.session(node).await?)
    }

    /// Closes a login whose time is up.
    pub(super) async fn expire_login(&self, node: &NodeId) -> Result<(), Error> {
        {
            let _turns = self.inner.turns.lock().await;
            let mut session = self.inner.state.session(node).await?;
            if !session.login.as_ref().is_some_and(|login| login.expires_at <= Timestamp::now()) {
                return Ok(());
            }
            session.close_login();
            self.write_session(node, &session).await?;
        }
        self.wake(node);
        Ok(())
    }

    /// Writes a session. The lock is held.
    pub(super) async fn write_session(
        &self,
        node: &NodeId,
        session: &Session,
    ) -> Result<(), Error> {
        let sessions = vec![NodeSession { node: node.clone(), session: session.clone() }];
        let batch = Batch { sessions, ..Batch::default() };
        self.write(Durability::Full, &batch).await
    }
}

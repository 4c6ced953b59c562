//! What nodes ask of the engine: what to boot, what to do, and who may log in.

use std::time::Duration;

use overboot_dhcp::Mac;
use overboot_state::{
    Batch, BootEvent, BootId, Durability, NodeId, NodeSession, Recorded, Session, Status, TaskId,
    Timestamp, Workflow, WorkflowId,
};
use overboot_wire::{Stage, TaskDoc};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::Engine;
use crate::Error;
use crate::turn::Event;

/// What a node is to boot, as a workflow says.
#[derive(Clone, Debug, PartialEq)]
pub struct BootRequest {
    /// RackHD's profile: `linux.ipxe`.
    pub profile: String,
    /// The rendered options of the bootstrap task: `bootSet`, `kernelUri`, `overlayfsFile`, `kargs`, …
    pub options: Map<String, Value>,
    /// Name of the graph that wants it: `Graph.Discovery`.
    pub workflow: String,
    /// Its run.
    pub instance_id: WorkflowId,
    /// The bootstrap task of that run.
    pub task: TaskId,
}

/// An agent's last poll is noted no more often than this; it only tells people that the agent is there.
const POLL_NOTED: Duration = Duration::from_secs(60);

/// A node is not kept waiting for longer, whatever it asks for.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// The kernel's `boot_id` is a UUID; no other text from a node is kept that is longer.
const MAX_BOOT_ID: usize = 64;

/// How a node asks for work.
#[derive(Clone, Debug)]
struct Poll {
    login: Option<u64>,
    boot: Option<String>,
    /// The boot that the node was in when it asked, once that is known.
    began_in: Option<Option<BootId>>,
}

impl Poll {
    /// Only our own agent says which login it knows, and only it runs a command id at most once.
    fn native(&self) -> bool {
        self.login.is_some()
    }
}

impl Engine {
    /// What the node's run wants it to boot; nothing if no run has it, or that says nothing (yet). Has no
    /// consequences, so that DHCP can ask too.
    ///
    /// # Errors
    ///
    /// [`Error::State`].
    pub async fn boot_request(&self, node: &NodeId) -> Result<Option<BootRequest>, Error> {
        let workflow = self.inner.state.active_workflow(node).await?;
        Ok(workflow.as_ref().and_then(wanted_boot))
    }

    /// To be told of every boot event of a node, once it is recorded. A new boot closes the node's login, and what its
    /// run handed to the boot before is handed out again.
    ///
    /// The event of [`Stage::Script`] is what makes a bootstrap task believe the agent that comes next. It is to be
    /// recorded when a boot script is answered, after [`Engine::boot_request`] was asked for it.
    ///
    /// # Errors
    ///
    /// [`Error::State`].
    pub async fn boot_seen(&self, node: &NodeId, recorded: &Recorded) -> Result<(), Error> {
        // DHCP and TFTP alone prove nothing: running systems renew their leases.
        if recorded.stage < Stage::Script {
            return Ok(());
        }
        let (engine, node, recorded) = (self.clone(), node.clone(), recorded.clone());
        self.whole(async move { engine.booted(&node, &recorded).await }).await
    }

    async fn booted(&self, node: &NodeId, recorded: &Recorded) -> Result<(), Error> {
        let boot = &recorded.boot;
        let taken = {
            let _turns = self.inner.turns.lock().await;
            let stored = self.inner.state.session(node).await?;
            let mut session = stored.clone();
            let new = stored.boot.as_ref() != Some(&boot.id);
            if new {
                session.close_login();
                session.boot = Some(boot.id.clone());
                session.mac = Some(boot.mac_address);
                session.boot_since = boot.started_at;
                session.past_kernel = session.kernel.take();
                session.up = false;
            }
            if session.kernel.is_none() {
                session.kernel = boot.boot_id.clone();
            }
            let firmware = recorded.stage == Stage::Script;
            match self.inner.state.active_workflow(node).await? {
                Some(workflow) if new || firmware => {
                    let event = Event::Booted { new, firmware };
                    Some(self.take(workflow, &stored, session, event).await?)
                }
                _ => {
                    if session != stored {
                        self.write_session(node, &session).await?;
                    }
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

    /// Work for a node whose agent asks, and who may log in. Returns as soon as there is work or the login is another
    /// than the one that the agent knows, else without tasks after `wait`.
    ///
    /// `login` is the sequence that our own agents name; RackHD's do not, and get no `login` and each command once.
    /// `boot` is the kernel's `boot_id`, if the agent names it.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownNode`], [`Error::State`].
    pub async fn offer(
        &self,
        node: &NodeId,
        wait: Duration,
        login: Option<u64>,
        boot: Option<&str>,
    ) -> Result<TaskDoc, Error> {
        let boot = boot.filter(|boot| boot.len() <= MAX_BOOT_ID).map(str::to_owned);
        let mut poll = Poll { login, boot, began_in: None };
        let deadline = Instant::now() + wait.min(MAX_WAIT);
        let notify = self.notify(node);
        loop {
            let notified = notify.notified();
            tokio::pin!(notified);
            // From here on no change is missed.
            notified.as_mut().enable();
            let (engine, id, asked) = (self.clone(), node.clone(), poll.clone());
            let work = async move { engine.try_offer(&id, &asked).await };
            let (document, session) = self.whole(work).await?;
            let restarted = poll.began_in.as_ref().is_some_and(|boot| *boot != session.boot);
            let changed = poll.login.is_some_and(|known| known != session.login_sequence);
            if !document.tasks.is_empty()
                || changed
                || restarted
                || self.inner.stop.is_cancelled()
                || tokio::time::timeout_at(deadline, notified).await.is_err()
            {
                return Ok(document);
            }
            poll.began_in = Some(session.boot);
        }
    }

    async fn try_offer(&self, node: &NodeId, poll: &Poll) -> Result<(TaskDoc, Session), Error> {
        let nothing = TaskDoc { identifier: node.to_string(), ..TaskDoc::default() };
        let now = Timestamp::now();
        let stored = self.inner.state.session(node).await?;
        if let Some(boot) = poll.boot.as_deref() {
            if stored.past_kernel.as_deref() == Some(boot) {
                // The agent of the boot before: the machine is about to be reset, or was.
                return Ok((nothing, stored));
            }
            if stored.kernel.as_deref().is_some_and(|known| known != boot) {
                self.unreported_boot(node, &stored, boot).await?;
            }
        }
        let (taken, session, first) = {
            let _turns = self.inner.turns.lock().await;
            if self.inner.state.node(node).await?.is_none() {
                return Err(Error::UnknownNode { id: node.clone() });
            }
            let stored = self.inner.state.session(node).await?;
            if poll.began_in.as_ref().is_some_and(|boot| *boot != stored.boot) {
                // Whoever asked is gone: the node has been restarted since.
                return Ok((nothing, stored));
            }
            let mut session = stored.clone();
            if session.polled_at.is_none_or(|at| !session.up || now.since(at) >= POLL_NOTED) {
                session.polled_at = Some(now);
            }
            session.up = true;
            if session.kernel.is_none() {
                session.kernel = poll.boot.clone();
            }
            let first = !stored.up;
            match self.inner.state.active_workflow(node).await? {
                Some(workflow) => {
                    let event = Event::Polled { native: poll.native() };
                    let taken = self.take(workflow, &stored, session, event).await?;
                    let session = taken.session.clone();
                    (Some(taken), session, first)
                }
                None => {
                    if session != stored {
                        self.write_session(node, &session).await?;
                    }
                    (None, session, first)
                }
            }
        };
        if let (true, Some(mac)) = (first, session.mac) {
            self.note_agent(mac).await?;
        }
        let mut document = nothing;
        if let Some(taken) = taken {
            if taken.changed {
                self.follow(&taken).await;
            }
            document = taken.offer.unwrap_or(document);
        }
        if poll.native() {
            document.login = Some(session.login_at(now));
        }
        Ok((document, session))
    }

    /// An agent of a boot of which nothing else was heard: the reports were lost.
    async fn unreported_boot(
        &self,
        node: &NodeId,
        session: &Session,
        boot: &str,
    ) -> Result<(), Error> {
        let lookups = self.inner.state.lookups(node.as_str()).await?;
        let known = lookups.first().map(|lookup| lookup.mac_address);
        let Some(mac) = session.mac.or(known) else {
            return Ok(());
        };
        let mut event = BootEvent::seen(Stage::Agent, Some("asked for tasks".into()));
        event.boot_id = Some(boot.to_owned());
        let recorded = self.inner.state.record(mac, &event).await?;
        self.boot_seen(node, &recorded).await
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
        let (engine, node) = (self.clone(), node.clone());
        self.whole(async move { engine.take_results(&node, results).await }).await
    }

    async fn take_results(&self, node: &NodeId, results: TaskDoc) -> Result<bool, Error> {
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

    /// Closes a login whose time is up.
    pub(super) async fn expire_login(&self, node: &NodeId) -> Result<(), Error> {
        {
            let _turns = self.inner.turns.lock().await;
            let mut session = self.inner.state.session(node).await?;
            let now = Timestamp::now();
            if session.login.as_ref().is_none_or(|login| login.expires_at > now) {
                return Ok(());
            }
            session.close_login();
            self.write_session(node, &session).await?;
        }
        self.wake(node);
        Ok(())
    }

    /// Writes a session. The lock is held.
    async fn write_session(&self, node: &NodeId, session: &Session) -> Result<(), Error> {
        let sessions = vec![NodeSession { node: node.clone(), session: session.clone() }];
        let batch = Batch { sessions, ..Batch::default() };
        self.write(Durability::Full, &batch).await
    }
}

/// The bootstrap task that runs; else the last one that has done its work, for a node that restarts later in the run.
fn wanted_boot(workflow: &Workflow) -> Option<BootRequest> {
    let mut bootstraps = workflow.tasks.iter().filter(|t| t.run_job == "Job.Linux.Bootstrap");
    let task = bootstraps.clone().find(|task| task.is_running()).or_else(|| {
        let to_come = bootstraps.clone().any(|task| task.state.is_active() && !task.started());
        bootstraps.rfind(|task| task.state == Status::Succeeded && !to_come)
    })?;
    let profile = task.options.get("profile").and_then(Value::as_str).unwrap_or("linux.ipxe");
    Some(BootRequest {
        profile: profile.to_owned(),
        options: task.options.clone(),
        workflow: workflow.injectable_name.clone(),
        instance_id: workflow.instance_id.clone(),
        task: task.instance_id.clone(),
    })
}

//! `Job.Linux.Bootstrap`: the node boots into the image.
//!
//! The job does not take the word of an agent that may still run from before: between the order to reboot and the
//! reset, the old system goes on asking for tasks. So nothing counts until the node has been seen to boot, which is
//! when its firmware asks for a boot script, or when a boot is reported that had not begun when the task started. A node
//! cannot be in its firmware and in its old system at once.

use overboot_state::BootId;
use overboot_wire::Task;
use serde::{Deserialize, Serialize};

use super::{Context, Handed, Input, JobState, Output, Verdict, document};
use crate::login;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bootstrap {
    /// With a trigger group, the job holds the node until that is triggered; without, it is done when the agent is up.
    trigger_group: Option<String>,
    stage: Stage,
    /// How often the empty command was handed out, for its ids.
    number: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Stage {
    /// The node is to boot. `old` is the boot that does not count.
    AwaitBoot { old: Option<BootId> },
    /// It boots.
    AwaitAgent { handed: Option<Handed> },
    /// Its agent is there.
    Up,
}

pub(super) fn start(cx: Context<'_>) -> Output {
    if cx.workflow.node.is_none() {
        return Verdict::failed("the workflow has no node: run it on one").into();
    }
    if let Err(error) = login::window(cx.workflow, cx.task, cx.now) {
        return Verdict::failed(error).into();
    }
    let group = cx.task.options.get("triggerGroup").and_then(|group| group.as_str());
    let state = Bootstrap {
        trigger_group: group.map(str::to_owned),
        stage: Stage::AwaitBoot { old: cx.session.boot.clone() },
        number: 0,
    };
    state.wait()
}

impl Bootstrap {
    pub(super) fn awaits_boot(&self) -> bool {
        matches!(self.stage, Stage::AwaitBoot { .. })
    }

    pub(super) fn step(mut self, input: Input<'_>, cx: Context<'_>) -> Option<Output> {
        match (input, &self.stage) {
            (Input::Firmware, Stage::AwaitBoot { .. }) => self.booting(cx),
            (Input::Booted, Stage::AwaitBoot { old }) => {
                (*old != cx.session.boot).then(|| self.booting(cx)).flatten()
            }
            // The node starts over: whatever was handed to the boot before is lost.
            (Input::Booted, Stage::AwaitAgent { .. } | Stage::Up) => self.booting(cx),
            (Input::Polled { .. }, Stage::AwaitAgent { handed }) => {
                if self.trigger_group.is_some() {
                    self.stage = Stage::Up;
                    return Some(self.wait());
                }
                let handed = match handed {
                    // RackHD's job answers every poll, too.
                    Some(handed) if handed.boot == cx.session.boot => handed.clone(),
                    Some(_) | None => {
                        self.number += 1;
                        Handed { boot: cx.session.boot.clone(), number: self.number }
                    }
                };
                let offer = document(cx, handed.number, vec![Task::default()]);
                self.stage = Stage::AwaitAgent { handed: Some(handed) };
                Some(Output { offer: Some(offer), ..self.wait() })
            }
            (Input::Posted(posted), Stage::AwaitAgent { handed: Some(handed) }) => handed
                .is_answered_by(posted, cx)
                .then(|| Verdict::done("the node runs the image").into()),
            (Input::Triggered(group), _) => (self.trigger_group.as_deref() == Some(group))
                .then(|| Verdict::done("the tasks that used the node are done").into()),
            _ => None,
        }
    }

    /// The node boots for this task.
    fn booting(mut self, cx: Context<'_>) -> Option<Output> {
        self.stage = Stage::AwaitAgent { handed: None };
        // A job that only holds the node for others opens nothing.
        let login = match &self.trigger_group {
            Some(_) => None,
            None => login::window(cx.workflow, cx.task, cx.now).ok().flatten(),
        };
        Some(Output { login, ..self.wait() })
    }

    fn wait(self) -> Output {
        let reason = match &self.stage {
            Stage::AwaitBoot { .. } => "waiting for the node to boot from the network".to_owned(),
            Stage::AwaitAgent { handed: None } => {
                "the node boots; waiting for its agent to ask for tasks".to_owned()
            }
            Stage::AwaitAgent { handed: Some(_) } => {
                "the agent has asked for tasks; waiting for it to answer".to_owned()
            }
            Stage::Up => match &self.trigger_group {
                Some(group) => format!("the node is up and held until the trigger \"{group}\""),
                None => "the node is up".to_owned(),
            },
        };
        Verdict::wait(JobState::Bootstrap(self), reason).into()
    }
}

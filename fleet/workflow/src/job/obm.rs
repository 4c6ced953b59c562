//! `Job.Obm.Node`: something is done to the node's power or boot device, again and again with growing pauses until it
//! works or has failed often enough.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Context, Input, JobState, PowerResult, Verdict};

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ObmAction {
    /// Boot from the network at the next start.
    SetBootPxe,
    /// Boot from the disk at the next start.
    SetBootDisk,
    /// Start anew, whatever the power state.
    Reboot,
    /// Switch on.
    PowerOn,
    /// Switch off.
    PowerOff,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Obm {
    pub(crate) action: ObmAction,
    /// Counts from 1.
    pub(crate) attempt: u32,
    /// Whether the attempt may be made now; else the pause before it is still on.
    pub(crate) ready: bool,
}

pub(super) fn action(options: &Map<String, Value>) -> Result<ObmAction, String> {
    let action = options.get("action").unwrap_or(&Value::Null);
    ObmAction::deserialize(action)
        .map_err(|_| format!("the action {action} is not one that can be done here"))
}

pub(super) fn start(cx: Context<'_>) -> Verdict {
    if cx.workflow.node.is_none() {
        return Verdict::failed("the workflow has no node: run it on one");
    }
    match action(&cx.task.options) {
        Ok(action) => Obm { action, attempt: 1, ready: true }.wait(None),
        Err(error) => Verdict::failed(error),
    }
}

impl Obm {
    pub(super) fn step(self, input: Input<'_>, cx: Context<'_>) -> Option<Verdict> {
        match input {
            Input::Woke if !self.ready => Some(Self { ready: true, ..self }.wait(None)),
            Input::Power { attempt, result } if self.ready && attempt == self.attempt => {
                Some(match result {
                    PowerResult::Done => Verdict::done(format!("{} done", self.what())),
                    PowerResult::Impossible(error) => Verdict::failed(error.clone()),
                    PowerResult::Failed(error) if attempt > cx.policy.obm_retries => {
                        Verdict::failed(format!(
                            "{} failed {attempt} times; the last time: {error}",
                            self.what()
                        ))
                    }
                    PowerResult::Failed(error) => self.again(error, cx),
                })
            }
            _ => None,
        }
    }

    fn again(self, error: &str, cx: Context<'_>) -> Verdict {
        let doublings = (self.attempt - 1).min(16);
        let pause: Duration = cx.policy.obm_delay * (1 << doublings);
        let reason = format!(
            "{} failed; attempt {} comes after {} ms: {error}",
            self.what(),
            self.attempt + 1,
            pause.as_millis()
        );
        let state = Self { attempt: self.attempt + 1, ready: false, ..self };
        Verdict::Wait { state: JobState::Obm(state), reason, wake: Some(cx.now.after(pause)) }
    }

    fn wait(self, wake: Option<overboot_state::Timestamp>) -> Verdict {
        let reason = format!("waiting for the node's power control: {}", self.what());
        Verdict::Wait { state: JobState::Obm(self), reason, wake }
    }

    fn what(&self) -> &'static str {
        match self.action {
            ObmAction::SetBootPxe => "choosing the network as boot device",
            ObmAction::SetBootDisk => "choosing the disk as boot device",
            ObmAction::Reboot => "restarting",
            ObmAction::PowerOn => "switching on",
            ObmAction::PowerOff => "switching off",
        }
    }
}

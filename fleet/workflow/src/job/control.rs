//! Jobs that only steer: waiting, deciding, triggering, running another graph.

use std::time::Duration;

use overboot_state::Status;
use serde_json::Value;

use super::{Context, Input, JobState, Output, Verdict};

/// `Job.noop`: ends after `delay` milliseconds.
pub(super) fn start_delay(cx: Context<'_>) -> Verdict {
    match cx.task.options.get("delay").and_then(Value::as_u64).filter(|millis| *millis > 0) {
        None => Verdict::done("nothing to do"),
        Some(millis) => Verdict::Wait {
            state: JobState::Delay,
            reason: format!("waiting for {millis} ms to pass"),
            wake: Some(cx.now.after(Duration::from_millis(millis))),
        },
    }
}

/// `Job.Evaluate.Condition`: succeeds if `when` says true, else fails.
pub(super) fn condition(cx: Context<'_>) -> Verdict {
    let when = match cx.task.options.get("when") {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    if when.trim().eq_ignore_ascii_case("true") {
        Verdict::done("the condition holds")
    } else {
        Verdict::failed(format!("the condition does not hold: \"{}\"", when.escape_default()))
    }
}

/// `Job.Trigger`: tells the tasks of the same run that wait for this group.
pub(super) fn trigger(cx: Context<'_>) -> Output {
    match cx.task.options.get("triggerGroup").and_then(Value::as_str) {
        Some(group) => Output {
            trigger: Some(group.to_owned()),
            ..Verdict::done(format!("triggered \"{group}\"")).into()
        },
        None => Verdict::failed("the option \"triggerGroup\" is not a text").into(),
    }
}

/// `Job.Graph.Run`: the engine sees to it that the graph runs.
pub(super) fn start_graph(cx: Context<'_>) -> Verdict {
    match cx.task.options.get("graphName").and_then(Value::as_str) {
        Some(name) => Verdict::wait(JobState::Graph, format!("waiting for {name} to end")),
        None => Verdict::failed("the option \"graphName\" is not a text"),
    }
}

pub(super) fn step_graph(input: Input<'_>) -> Option<Verdict> {
    match input {
        Input::Child(Ok(Status::Succeeded)) => Some(Verdict::done("the graph has succeeded")),
        Input::Child(Ok(status)) if !status.is_active() => {
            Some(Verdict::failed(format!("the graph that it ran is {status}")))
        }
        Input::Child(Err(error)) => {
            Some(Verdict::failed(format!("the graph could not be run: {error}")))
        }
        _ => None,
    }
}

//! What a graph does when something has happened to one of its tasks. Pure: a run and an event go in, the changed run
//! and what is to be done come out, and everything that waits says for what.
//!
//! The rules are RackHD's, with one correction: a graph is not over before all tasks that can still be reached are.
//!
//! - A task is ready when everything it waits for has happened.
//! - A task that waits for what can no longer happen is never run, nor is what waits for that task.
//! - A task that fails (or runs out of time, or is cancelled), while nobody waits for that, fails the graph, unless it
//!   has `ignoreFailure`; then what still runs is stopped.
//! - A graph whose tasks are all over, or never to be run, has succeeded.

use overboot_state::{Status, Task, TaskId, Timestamp, Workflow};

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The run was made.
    Made,
    /// A task has ended.
    Ended {
        /// The task.
        task: TaskId,
        /// How.
        end: TaskEnd,
    },
    /// Somebody wants the run to end.
    Cancel {
        /// Why.
        reason: String,
    },
}

/// How a task has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TaskEnd {
    Succeeded { reason: String },
    Failed { error: String },
    TimedOut { error: String },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start this task's job.
    Start(TaskId),
    /// Stop this task's job: nobody waits for its result any more.
    Stop(TaskId),
    /// The run is over.
    Over(Status),
}

/// Changes `workflow` according to `event`. Events for tasks and runs that are over change nothing.
pub(crate) fn step(workflow: &mut Workflow, event: Event, now: Timestamp) -> Vec<Action> {
    if !workflow.status.is_active() {
        return Vec::new();
    }
    match event {
        Event::Made => {
            go_on(workflow, now).unwrap_or_else(|status| over(workflow, status, None, now))
        }
        Event::Ended { task, end } => ended(workflow, &task, end, now),
        Event::Cancel { reason } => over(workflow, Status::Cancelled, Some(reason), now),
    }
}

fn ended(workflow: &mut Workflow, id: &TaskId, end: TaskEnd, now: Timestamp) -> Vec<Action> {
    let Some(task) = workflow.task_mut(id).filter(|task| task.is_running()) else {
        return Vec::new();
    };
    let (status, reason, error) = match end {
        TaskEnd::Succeeded { reason } => (Status::Succeeded, reason, None),
        TaskEnd::Failed { error } => (Status::Failed, error.clone(), Some(error)),
        TaskEnd::TimedOut { error } => (Status::Timeout, error.clone(), Some(error)),
    };
    close(task, status, &reason, now);
    task.error = error;
    let fatal = status != Status::Succeeded
        && task.terminal_on_states.contains(&status)
        && !task.ignore_failure;
    if fatal {
        let reason = format!("task \"{}\" ended as {status}: {reason}", task.label);
        return over(workflow, Status::Failed, Some(reason), now);
    }
    go_on(workflow, now).unwrap_or_else(|status| over(workflow, status, None, now))
}

/// Starts what is ready; if nothing is left, says how the run has ended.
fn go_on(workflow: &mut Workflow, now: Timestamp) -> Result<Vec<Action>, Status> {
    let mut actions = Vec::new();
    let views = views(workflow);
    let mut left = false;
    for (task, view) in workflow.tasks.iter_mut().zip(views) {
        if !task.state.is_active() || task.started() {
            left |= task.is_running();
            continue;
        }
        match view {
            Ready::Yes => {
                task.task_start_time = Some(now);
                say(task, "starting", now);
                actions.push(Action::Start(task.instance_id.clone()));
                left = true;
            }
            Ready::NotYet(reason) => {
                say(task, &reason, now);
                left = true;
            }
            Ready::Never(reason) => say(task, &reason, now),
        }
    }
    if !left {
        return Err(Status::Succeeded);
    }
    let running: Vec<&str> = workflow.running().map(|task| task.label.as_str()).collect();
    let reason = format!("running: {}", running.join(", "));
    set(&mut workflow.reason, &mut workflow.since, &reason, now);
    Ok(actions)
}

/// Whether a task can be started.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ready {
    Yes,
    NotYet(String),
    Never(String),
}

/// Whether each task can be started, in the order of the run's tasks.
///
/// A circle cannot be made (creation refuses it); if one came out of a damaged database its tasks would be `Never`.
fn views(workflow: &Workflow) -> Vec<Ready> {
    let mut known: Vec<Option<Ready>> = vec![None; workflow.tasks.len()];
    // Each round settles at least one task, so there are at most as many rounds as tasks.
    for _ in 0..=workflow.tasks.len() {
        let mut settled = false;
        for index in 0..workflow.tasks.len() {
            if known[index].is_none()
                && let Some(view) = view(workflow, &known, &workflow.tasks[index])
            {
                known[index] = Some(view);
                settled = true;
            }
        }
        if !settled {
            break;
        }
    }
    known
        .into_iter()
        .map(|view| view.unwrap_or_else(|| Ready::Never("it waits for itself".into())))
        .collect()
}

/// One task's view, if those of the tasks it waits for are known.
fn view(workflow: &Workflow, known: &[Option<Ready>], task: &Task) -> Option<Ready> {
    enum Wait {
        Done,
        Open(String),
        Hopeless(String),
    }
    let look = |id: &str, ends: &overboot_state::Ends| -> Option<Wait> {
        let names = ends.as_slice().iter().map(|end| end.name()).collect::<Vec<_>>().join(" or ");
        let Some(index) = workflow.tasks.iter().position(|t| t.instance_id.as_str() == id) else {
            return Some(Wait::Hopeless(format!("waits for a task {id} that does not exist")));
        };
        let other = &workflow.tasks[index];
        Some(if !other.state.is_active() {
            if ends.matches(other.state) {
                Wait::Done
            } else {
                Wait::Hopeless(format!(
                    "will not run: it waits for \"{}\" to be {names}, which ended as {}",
                    other.label, other.state
                ))
            }
        } else if other.started() {
            Wait::Open(format!("waiting for \"{}\" to be {names}", other.label))
        } else {
            match known[index].as_ref()? {
                Ready::Never(_) => Wait::Hopeless(format!(
                    "will not run: it waits for \"{}\", which will not run",
                    other.label
                )),
                Ready::Yes | Ready::NotYet(_) => {
                    Wait::Open(format!("waiting for \"{}\" to be {names}", other.label))
                }
            }
        })
    };
    let mut open = None;
    for (id, ends) in &task.waiting_on.all {
        match look(id, ends)? {
            Wait::Done => {}
            Wait::Open(reason) => open = open.or(Some(reason)),
            Wait::Hopeless(reason) => return Some(Ready::Never(reason)),
        }
    }
    let (mut done, mut maybe, mut hopeless) = (task.waiting_on.any.is_empty(), None, None);
    for (id, ends) in &task.waiting_on.any {
        match look(id, ends)? {
            Wait::Done => done = true,
            Wait::Open(reason) => maybe = maybe.or(Some(reason)),
            Wait::Hopeless(reason) => hopeless = hopeless.or(Some(reason)),
        }
    }
    Some(match (open, done, maybe, hopeless) {
        (None, true, _, _) => Ready::Yes,
        (Some(reason), true, _, _) | (_, false, Some(reason), _) => Ready::NotYet(reason),
        (_, false, None, Some(reason)) => Ready::Never(reason),
        (_, false, None, None) => Ready::Never("it waits for nothing that exists".into()),
    })
}

/// Ends the run: what has not ended ends with it.
fn over(
    workflow: &mut Workflow,
    status: Status,
    reason: Option<String>,
    now: Timestamp,
) -> Vec<Action> {
    let mut actions = Vec::new();
    if let Some(reason) = &reason {
        // RackHD: a graph that fails takes its pending tasks along as failed, a cancelled one as cancelled.
        for task in workflow.tasks.iter_mut().filter(|task| task.state.is_active()) {
            if task.started() {
                actions.push(Action::Stop(task.instance_id.clone()));
            }
            close(task, status, &format!("the workflow is {status}: {reason}"), now);
        }
    }
    workflow.status = status;
    let reason = reason.unwrap_or_else(|| "all tasks that could run have ended".into());
    set(&mut workflow.reason, &mut workflow.since, &reason, now);
    actions.push(Action::Over(status));
    actions
}

fn close(task: &mut Task, status: Status, reason: &str, now: Timestamp) {
    task.state = status;
    task.task_end_time = Some(now);
    task.deadline = None;
    task.wake = None;
    task.job = None;
    say(task, reason, now);
}

/// Notes why a task is where it is; `since` moves only with the reason.
pub(crate) fn say(task: &mut Task, reason: &str, now: Timestamp) {
    set(&mut task.reason, &mut task.since, reason, now);
}

fn set(current: &mut String, since: &mut Timestamp, reason: &str, now: Timestamp) {
    if current != reason {
        reason.clone_into(current);
        *since = now;
    }
}

#[cfg(test)]
mod tests;

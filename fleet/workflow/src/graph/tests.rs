//! What graphs do, on small ones made by hand and on any that chance makes.

use overboot_state::{Status, Task, TaskId, Timestamp, Workflow};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Action, Event, TaskEnd, step};
use crate::create::{GraphRequest, create};
use crate::{GraphDefinition, Library};

const NOW: Timestamp = Timestamp::from_millis(1_795_354_300_000);

/// A run of tasks that do nothing by themselves: label, what it waits for, whether its failure is ignored.
fn run(tasks: &[(&str, Value, bool)]) -> Workflow {
    let tasks: Vec<Value> = tasks
        .iter()
        .map(|(label, wait, ignore)| {
            json!({"label": label, "taskName": "Task.noop", "waitOn": wait, "ignoreFailure": ignore})
        })
        .collect();
    let graph = json!({"friendlyName": "Test", "injectableName": "Graph.Test", "tasks": tasks});
    let mut library = Library::built_in();
    let graph: GraphDefinition = serde_json::from_value(graph).unwrap();
    library.graphs.insert("Graph.Test".into(), graph);
    let request = GraphRequest::new("Graph.Test", None);
    create(&library, &request, None, &Map::new(), NOW).unwrap()
}

fn id(workflow: &Workflow, label: &str) -> TaskId {
    workflow.tasks.iter().find(|t| t.label == label).unwrap().instance_id.clone()
}

fn end(status: Status) -> TaskEnd {
    match status {
        Status::Succeeded => TaskEnd::Succeeded { reason: "done".into() },
        Status::Timeout => TaskEnd::TimedOut { error: "too long".into() },
        _ => TaskEnd::Failed { error: "broken".into() },
    }
}

/// Plays a script of ends and writes down everything that comes of it.
fn play(workflow: &mut Workflow, script: &[(&str, Status)]) -> String {
    let mut told = String::new();
    let mut tell = |workflow: &Workflow, what: &str, actions: Vec<Action>| {
        told.push_str(&format!("{what}\n"));
        let label = |id: &TaskId| workflow.task(id).unwrap().label.clone();
        for action in actions {
            told.push_str(&match action {
                Action::Start(task) => format!("  start {}\n", label(&task)),
                Action::Stop(task) => format!("  stop {}\n", label(&task)),
                Action::Over(status) => format!("  over: {status}\n"),
            });
        }
    };
    let actions = step(workflow, Event::Made, NOW);
    tell(workflow, "made", actions);
    for (label, status) in script {
        let task = id(workflow, label);
        let actions = step(workflow, Event::Ended { task, end: end(*status) }, NOW);
        tell(workflow, &format!("{label} {status}"), actions);
    }
    told.push_str(&format!("workflow {}: {}\n", workflow.status, workflow.reason));
    for Task { label, state, reason, .. } in &workflow.tasks {
        told.push_str(&format!("  {label} {state}: {reason}\n"));
    }
    told
}

#[test]
fn bootstrap_ubuntu_goes_on_when_the_boot_device_cannot_be_set() {
    let mut run = run(&[
        ("set-boot-pxe", json!({}), true),
        ("reboot", json!({"set-boot-pxe": "finished"}), false),
        ("bootstrap-ubuntu", json!({"reboot": "succeeded"}), false),
    ]);
    let told = play(&mut run, &[("set-boot-pxe", Status::Failed), ("reboot", Status::Succeeded)]);
    insta::assert_snapshot!(told, @r#"
    made
      start set-boot-pxe
    set-boot-pxe failed
      start reboot
    reboot succeeded
      start bootstrap-ubuntu
    workflow running: running: bootstrap-ubuntu
      set-boot-pxe failed: broken
      reboot succeeded: done
      bootstrap-ubuntu pending: starting
    "#);
}

#[test]
fn a_failure_that_nobody_waits_for_fails_the_graph_and_stops_the_rest() {
    let mut run = run(&[
        ("a", json!({}), false),
        ("b", json!({}), false),
        ("c", json!({"a": "succeeded"}), false),
    ]);
    insta::assert_snapshot!(play(&mut run, &[("a", Status::Failed)]), @r#"
    made
      start a
      start b
    a failed
      stop b
      over: failed
    workflow failed: task "a" ended as failed: broken
      a failed: broken
      b failed: the workflow is failed: task "a" ended as failed: broken
      c failed: the workflow is failed: task "a" ended as failed: broken
    "#);
}

#[test]
fn parallel_tails_are_waited_for() {
    let mut run = run(&[
        ("a", json!({}), false),
        ("tail-1", json!({"a": "succeeded"}), false),
        ("tail-2", json!({"a": "succeeded"}), false),
    ]);
    let script = [("a", Status::Succeeded), ("tail-1", Status::Succeeded)];
    play(&mut run, &script);
    assert_eq!(run.status, Status::Running);
    let task = id(&run, "tail-2");
    let actions = step(&mut run, Event::Ended { task, end: end(Status::Succeeded) }, NOW);
    assert_eq!(actions, [Action::Over(Status::Succeeded)]);
}

#[test]
fn branches_not_taken_and_what_hangs_on_them_are_not_run() {
    let mut run = run(&[
        ("condition", json!({}), false),
        ("yes", json!({"condition": "succeeded"}), false),
        ("no", json!({"condition": "failed"}), false),
        ("after-yes", json!({"yes": "finished"}), false),
        ("end", json!({"anyOf": {"yes": "finished", "no": "finished"}}), false),
    ]);
    let script =
        [("condition", Status::Failed), ("no", Status::Succeeded), ("end", Status::Succeeded)];
    insta::assert_snapshot!(play(&mut run, &script), @r#"
    made
      start condition
    condition failed
      start no
    no succeeded
      start end
    end succeeded
      over: succeeded
    workflow succeeded: all tasks that could run have ended
      condition failed: broken
      yes pending: will not run: it waits for "condition" to be succeeded, which ended as failed
      no succeeded: done
      after-yes pending: will not run: it waits for "yes", which will not run
      end succeeded: done
    "#);
}

#[test]
fn a_list_of_states_is_any_of_them() {
    let wait = json!({"a": ["failed", "timeout"]});
    for (status, starts) in
        [(Status::Failed, true), (Status::Timeout, true), (Status::Succeeded, false)]
    {
        let mut run = run(&[("a", json!({}), false), ("b", wait.clone(), false)]);
        play(&mut run, &[("a", status)]);
        assert_eq!(run.tasks[1].started(), starts, "{status}");
        assert_eq!(run.status.is_active(), starts, "{status}");
    }
}

#[test]
fn several_labels_are_all_of_them() {
    let mut run = run(&[
        ("a", json!({}), false),
        ("b", json!({}), false),
        ("c", json!({"a": "succeeded", "b": "finished"}), false),
    ]);
    play(&mut run, &[("b", Status::Failed)]);
    assert_eq!(run.tasks[2].reason, "waiting for \"a\" to be succeeded");
    let task = id(&run, "a");
    let actions = step(&mut run, Event::Ended { task, end: end(Status::Succeeded) }, NOW);
    assert_eq!(actions, [Action::Start(id(&run, "c"))]);
}

#[test]
fn cancelling_ends_everything_at_once() {
    let mut run = run(&[("a", json!({}), false), ("b", json!({"a": "succeeded"}), false)]);
    play(&mut run, &[]);
    let actions = step(&mut run, Event::Cancel { reason: "cancelled by a request".into() }, NOW);
    assert_eq!(actions, [Action::Stop(id(&run, "a")), Action::Over(Status::Cancelled)]);
    assert!(run.tasks.iter().all(|task| task.state == Status::Cancelled));
    let task = id(&run, "a");
    assert!(step(&mut run, Event::Ended { task, end: end(Status::Succeeded) }, NOW).is_empty());
}

#[test]
fn a_graph_without_tasks_is_over_at_once() {
    let mut run = run(&[]);
    assert_eq!(step(&mut run, Event::Made, NOW), [Action::Over(Status::Succeeded)]);
}

#[test]
fn a_task_ends_once_and_not_before_it_is_started() {
    let mut run = run(&[("a", json!({}), false), ("b", json!({"a": "succeeded"}), false)]);
    play(&mut run, &[]);
    let before = run.clone();
    let task = id(&run, "b");
    assert!(step(&mut run, Event::Ended { task, end: end(Status::Failed) }, NOW).is_empty());
    assert_eq!(run, before);
}

#[derive(Clone, Debug)]
struct AnyTask {
    waits: Vec<(prop::sample::Index, usize)>,
    any: bool,
    ignore: bool,
    end: usize,
}

fn any_task() -> impl Strategy<Value = AnyTask> {
    let waits = prop::collection::vec((any::<prop::sample::Index>(), 0..6_usize), 0..3);
    (waits, any::<bool>(), any::<bool>(), 0..4_usize)
        .prop_map(|(waits, any, ignore, end)| AnyTask { waits, any, ignore, end })
}

proptest! {
    /// Whatever the graph and however its tasks end, in whatever order: it ends, nothing runs on, no task is started
    /// twice or before its time, and what did not run says why.
    #[test]
    fn any_graph_ends(tasks in prop::collection::vec(any_task(), 0..12), order in any::<u64>()) {
        let states = ["succeeded", "failed", "timeout", "cancelled", "finished"];
        let names: Vec<String> = (0..tasks.len()).map(|i| format!("t{i}")).collect();
        let entries: Vec<(&str, Value, bool)> = tasks.iter().enumerate().map(|(i, task)| {
            let mut wait = Map::new();
            for (index, state) in task.waits.iter().filter(|_| i > 0) {
                let state = states.get(*state).map_or(json!(["failed", "succeeded"]), |s| json!(s));
                wait.insert(names[index.index(i)].clone(), state);
            }
            let wait = if task.any && !wait.is_empty() { json!({"anyOf": wait}) } else { json!(wait) };
            (names[i].as_str(), wait, task.ignore)
        }).collect();
        let mut run = run(&entries);
        let mut order = order;
        let mut open: Vec<TaskId> = Vec::new();
        let mut started: Vec<TaskId> = Vec::new();
        let mut over = 0;
        let mut actions = step(&mut run, Event::Made, NOW);
        for _ in 0..=2 * tasks.len() {
            for action in actions.drain(..) {
                match action {
                    Action::Start(task) => {
                        prop_assert!(!started.contains(&task));
                        started.push(task.clone());
                        open.push(task);
                    }
                    Action::Stop(task) => open.retain(|t| *t != task),
                    Action::Over(status) => { over += 1; prop_assert_eq!(status, run.status); }
                }
            }
            if open.is_empty() { break; }
            order = order.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let pick = usize::try_from(order >> 33).unwrap() % open.len();
            let task = open.remove(pick);
            let index = run.tasks.iter().position(|t| t.instance_id == task).unwrap();
            let status = [Status::Succeeded, Status::Failed, Status::Timeout, Status::Succeeded][tasks[index].end];
            actions = step(&mut run, Event::Ended { task, end: end(status) }, NOW);
        }
        prop_assert_eq!(over, 1);
        prop_assert!(!run.status.is_active());
        prop_assert_eq!(run.running().count(), 0);
        for task in run.tasks.iter().filter(|t| t.state.is_active()) {
            prop_assert!(task.reason.starts_with("will not run"), "{}", task.reason);
        }
        if run.status == Status::Succeeded {
            for task in &run.tasks {
                let bad = matches!(task.state, Status::Failed | Status::Timeout);
                let waited = !task.terminal_on_states.contains(&task.state);
                prop_assert!(!bad || task.ignore_failure || waited);
            }
        }
    }
}

//! Any story, however wild: whatever happens to a run in whatever order, it keeps its promises and it ends.

use std::time::Duration;

use overboot_state::{BootId, NodeId, Session, Timestamp, Workflow};
use overboot_wire::{TaskDoc, TaskError};
use proptest::prelude::*;
use serde_json::{Map, json};

use super::{Event, turn};
use crate::create::{GraphRequest, create};
use crate::job::{self, JobState, PowerResult};
use crate::{Library, Policy};

const GRAPHS: [&str; 4] =
    ["Graph.BootstrapUbuntu", "Graph.ShellCommands", "Graph.Discovery", "Graph.Reboot.Node"];

const HOUR: Duration = Duration::from_secs(3_600);

fn policy() -> Policy {
    let scope = json!({"file": {"server": "http://h"}, "server": {}});
    Policy {
        scope: scope.as_object().unwrap().clone(),
        task_timeout: 24 * HOUR,
        obm_delay: Duration::from_millis(500),
        obm_retries: 6,
    }
}

/// What may happen next; what it means in particular depends on where the run is.
#[derive(Clone, Debug)]
enum Chance {
    Boot { firmware: bool, new: bool },
    Poll { native: bool },
    Post { fails: bool, stale: bool },
    Power { works: u8 },
    Time { minutes: u64 },
    Cancel,
}

fn chance() -> impl Strategy<Value = Chance> {
    prop_oneof![
        3 => any::<(bool, bool)>().prop_map(|(firmware, new)| Chance::Boot { firmware, new }),
        6 => any::<bool>().prop_map(|native| Chance::Poll { native }),
        6 => any::<(bool, bool)>().prop_map(|(fails, stale)| Chance::Post { fails, stale }),
        6 => any::<u8>().prop_map(|works| Chance::Power { works }),
        2 => (0..600_u64).prop_map(|minutes| Chance::Time { minutes }),
        1 => Just(Chance::Cancel),
    ]
}

struct Story {
    workflow: Workflow,
    session: Session,
    offers: Vec<TaskDoc>,
    now: Timestamp,
}

impl Story {
    fn begin(graph: &str) -> Self {
        let options = json!({"shell-commands": {"commands": "true"}});
        let request = GraphRequest::new(graph, Some(NodeId::new()))
            .with_options(options.as_object().unwrap().clone());
        let now = Timestamp::from_millis(1_795_354_300_000);
        let library = Library::built_in();
        let scope: Map<_, _> = policy().scope;
        let workflow = create(&library, &request, None, &scope, now).unwrap();
        let mut story = Self { workflow, session: Session::default(), offers: Vec::new(), now };
        story.tell(Event::Made);
        story
    }

    fn tell(&mut self, event: Event) {
        let taken = turn(self.workflow.clone(), self.session.clone(), event, self.now, &policy());
        self.workflow = taken.workflow;
        self.session = taken.session;
        self.offers.extend(taken.offer);
        self.check();
    }

    fn happen(&mut self, chance: &Chance) {
        match *chance {
            Chance::Boot { firmware, new } => {
                if new {
                    self.session.close_login();
                    self.session.boot = Some(BootId::new());
                }
                self.tell(Event::Booted { new, firmware });
            }
            Chance::Poll { native } => self.tell(Event::Polled { native }),
            Chance::Post { fails, stale } => {
                let index = if stale { 0 } else { self.offers.len().saturating_sub(1) };
                let mut document = self.offers.get(index).cloned().unwrap_or_default();
                if let Some(task) = document.tasks.first_mut().filter(|_| fails) {
                    task.error = Some(TaskError::Text("broken".into()));
                }
                self.tell(Event::Posted(document));
            }
            Chance::Power { works } => {
                let ready = self.workflow.running().find_map(|task| match state(task) {
                    Some(JobState::Obm(obm)) if obm.ready => {
                        Some((task.instance_id.clone(), obm.attempt))
                    }
                    _ => None,
                });
                if let Some((task, attempt)) = ready {
                    let result = match works {
                        0..10 => PowerResult::Impossible("no".into()),
                        10..100 => PowerResult::Failed("not now".into()),
                        _ => PowerResult::Done,
                    };
                    self.tell(Event::Power { task, attempt, result });
                }
            }
            Chance::Time { minutes } => {
                self.now = self.now.after(Duration::from_secs(60 * minutes));
                self.tell(Event::Due);
            }
            Chance::Cancel => self.tell(Event::Cancel { reason: "somebody said so".into() }),
        }
    }

    /// What holds after every turn.
    fn check(&self) {
        let active = self.workflow.status.is_active();
        assert_eq!(self.workflow.running().count() > 0, active, "{:#}", self.workflow.view());
        for task in self.workflow.running() {
            assert!(task.deadline.is_some_and(|deadline| deadline > task.since));
            assert!(!task.reason.is_empty() && task.since <= self.now);
            assert!(state(task).is_some(), "its job is not known: {}", task.label);
        }
        let fenced = self.workflow.running().filter_map(state).any(|state| job::fences(&state));
        if self.session.login.is_some() {
            assert_eq!(self.workflow.injectable_name, "Graph.BootstrapUbuntu");
            assert!(!fenced, "a node is open that has not booted yet");
        }
        let stored = serde_json::to_string(&self.workflow).unwrap();
        let read: Workflow = serde_json::from_str(&stored).unwrap();
        assert_eq!(Workflow { version: self.workflow.version, ..read }, self.workflow);
    }
}

fn state(task: &overboot_state::Task) -> Option<JobState> {
    serde_json::from_value(task.job.clone()?).ok()
}

proptest! {
    #[test]
    fn any_story_keeps_its_promises_and_ends(
        graph in prop::sample::select(&GRAPHS[..]),
        chances in prop::collection::vec(chance(), 0..60),
    ) {
        let mut story = Story::begin(graph);
        for chance in &chances {
            story.happen(chance);
        }
        // Nobody does anything any more: time alone ends it, at the latest task after task.
        for _ in 0..=story.workflow.tasks.len() {
            story.now = story.now.after(25 * HOUR);
            story.tell(Event::Due);
        }
        prop_assert!(!story.workflow.status.is_active(), "{:#}", story.workflow.view());
    }
}

#[test]
fn nothing_is_offered_before_the_node_has_booted() {
    let mut story = Story::begin("Graph.Discovery");
    story.session.boot = Some(BootId::new());
    for native in [true, false] {
        story.happen(&Chance::Poll { native });
        story.happen(&Chance::Post { fails: false, stale: false });
    }
    assert!(story.offers.is_empty());
    story.happen(&Chance::Boot { firmware: true, new: false });
    story.happen(&Chance::Poll { native: true });
    assert_eq!(story.offers[0].tasks[0].cmd, "sudo dmidecode");
}

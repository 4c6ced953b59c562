//! How far a machine is, from what the server wrote down; each thing told once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Result;
use overboot_dhcp::Mac;
use overboot_state::{BootEvent, NodeId, State, Status, Timeline, Timestamp, Workflow};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// After how long.
    pub(crate) at: Duration,
    /// A stage of the boot, or `task`.
    pub(crate) what: String,
    /// The details.
    pub(crate) detail: String,
    /// Whether something went wrong.
    pub(crate) failed: bool,
}

/// How the workflow ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Well,
    Badly(String),
}

/// What is new.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) lines: Vec<Line>,
    pub(crate) node: Option<NodeId>,
    pub(crate) ended: Option<Ended>,
}

/// Looks at one machine.
#[derive(Debug)]
pub(crate) struct Watch {
    mac: Mac,
    /// When the machine was switched on, on both clocks.
    started: Instant,
    since: Timestamp,
    /// Events of the boot that have been told, by boot and number.
    told: BTreeSet<(String, usize)>,
    /// How many events each boot had at the last look.
    seen: BTreeMap<String, usize>,
    /// Tasks whose end has been told.
    ended: BTreeSet<String>,
    last: String,
}

impl Watch {
    pub(crate) fn new(mac: Mac, started: Instant) -> Self {
        Self {
            mac,
            started,
            since: Timestamp::now(),
            told: BTreeSet::new(),
            seen: BTreeMap::new(),
            ended: BTreeSet::new(),
            last: "nothing was heard of the machine; its boot ROM did not reach the server"
                .to_owned(),
        }
    }

    /// What is new since the last look.
    pub(crate) async fn look(&mut self, state: &State) -> Result<News> {
        let mut news = News::default();
        let mut tasks = Vec::new();
        if let Some(node) = state.find_by_identifier(&self.mac.to_string()).await? {
            for workflow in state.workflows(Some(&node.id), None).await? {
                self.tasks(&workflow, &mut tasks);
                if !workflow.status.is_active() && news.ended.is_none() {
                    news.ended = Some(ended(&workflow));
                }
            }
            news.node = Some(node.id);
        }
        for timeline in state.timelines(&[self.mac], 10).await?.iter().rev() {
            self.boot(timeline, news.ended.is_some(), &mut news.lines);
        }
        news.lines.append(&mut tasks);
        Ok(news)
    }

    /// What is new of one boot.
    fn boot(&mut self, timeline: &Timeline, over: bool, lines: &mut Vec<Line>) {
        let events = &timeline.events;
        let boot = timeline.boot.id.to_string();
        let before = self.seen.insert(boot.clone(), events.len());
        // A node reports what it did before it had a network all at once, and the later reports tell better when that was:
        // they are awaited.
        let settled = over || before == Some(events.len());
        let kernel = kernel_start(events);
        for (number, event) in events.iter().enumerate() {
            if event.at_ms.is_some() && !settled {
                continue;
            }
            if self.told.insert((boot.clone(), number)) {
                let line = self.event(event, kernel);
                self.last = format!("the last stage was {}: {}", line.what, line.detail);
                lines.push(line);
            }
        }
    }

    /// Where the machine stands, for somebody who waited in vain.
    pub(crate) fn where_it_is(&self) -> &str {
        &self.last
    }

    fn event(&self, event: &BootEvent, kernel: Option<i64>) -> Line {
        let mut detail = event.error.clone().or_else(|| event.detail.clone()).unwrap_or_default();
        // A node that has something to say of what it fetched says how much it was.
        if let (true, Some(bytes)) = (detail.is_empty(), event.bytes) {
            detail = crate::printer::size(bytes);
        }
        Line {
            at: happened(event, kernel).since(self.since),
            what: event.stage.to_string(),
            detail,
            failed: event.error.is_some(),
        }
    }

    fn tasks(&mut self, workflow: &Workflow, lines: &mut Vec<Line>) {
        let mut tasks: Vec<_> =
            workflow.tasks.iter().filter(|task| !task.state.is_active()).collect();
        tasks.sort_by_key(|task| task.task_end_time);
        for task in tasks {
            // What was never started ended with the workflow, and has nothing to tell.
            if !task.started() || !self.ended.insert(task.instance_id.to_string()) {
                continue;
            }
            // What another task waits for is part of the graph's course.
            let failed = task.state != Status::Succeeded
                && task.terminal_on_states.contains(&task.state)
                && !task.ignore_failure;
            let excused = if failed || task.state == Status::Succeeded { "" } else { " (allowed)" };
            let reason = task.error.as_deref().unwrap_or_default();
            let separator = if reason.is_empty() { "" } else { ": " };
            lines.push(Line {
                at: task
                    .task_end_time
                    .map_or_else(|| self.started.elapsed(), |end| end.since(self.since)),
                what: "task".to_owned(),
                detail: format!("{} {}{excused}{separator}{reason}", task.label, task.state),
                failed,
            });
        }
    }
}

/// When the kernel started, on our clock in milliseconds. What a node did before it had a network is reported late; the
/// report that was fastest tells how its clock and ours go together.
fn kernel_start(events: &[BootEvent]) -> Option<i64> {
    events.iter().filter_map(|event| Some(event.received_at.as_millis() - at_ms(event)?)).min()
}

fn at_ms(event: &BootEvent) -> Option<i64> {
    event.at_ms.and_then(|at| i64::try_from(at).ok())
}

fn happened(event: &BootEvent, kernel: Option<i64>) -> Timestamp {
    match (kernel, at_ms(event)) {
        (Some(kernel), Some(at)) => Timestamp::from_millis(kernel.saturating_add(at)),
        _ => event.received_at,
    }
}

fn ended(workflow: &Workflow) -> Ended {
    if workflow.status == Status::Succeeded {
        return Ended::Well;
    }
    let failed = workflow.tasks.iter().find(|task| {
        task.started() && !matches!(task.state, Status::Succeeded | Status::Cancelled)
    });
    Ended::Badly(match failed {
        Some(task) => {
            let reason = task.error.as_deref().unwrap_or(&task.reason);
            format!(
                "{} {}: task {}: {reason}",
                workflow.injectable_name, workflow.status, task.label
            )
        }
        None => format!("{} {}: {}", workflow.injectable_name, workflow.status, workflow.reason),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use overboot_wire::Stage;

    fn event(received: i64, at_ms: Option<u64>) -> BootEvent {
        BootEvent {
            received_at: Timestamp::from_millis(received),
            at_ms,
            ..BootEvent::seen(Stage::Init, None)
        }
    }

    #[test]
    fn late_reports_are_told_when_they_happened() {
        let events = [
            event(5_000, None),
            event(20_000, Some(0)),
            event(20_050, Some(4_000)),
            event(22_000, Some(6_000)),
        ];
        let kernel = kernel_start(&events);
        let times: Vec<i64> = events.iter().map(|e| happened(e, kernel).as_millis()).collect();
        assert_eq!(times, [5_000, 16_000, 20_000, 22_000]);
    }
}

//! The steps that must run: side by side where none reads another's result, as many as there is memory for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use crate::error::Error;
use crate::event::Event;
use crate::execute::{Context, lock_of};
use crate::plan::{Plan, Step, Target};
use crate::steps;

/// What a step takes in memory whatever it does, and what for each of its threads: blocks and the compressor's tables.
const STEP: u64 = 32 << 20;
const THREAD: u64 = 32 << 20;

/// How far the steps are.
struct Board {
    state: Vec<State>,
    /// What those that run take in memory.
    memory: u64,
    built: Vec<(Target, u64)>,
    failed: Option<Error>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waits,
    Runs,
    Done,
}

/// What is known of a step beforehand.
struct Prospect {
    /// The bytes of memory that it takes.
    memory: u64,
    /// How many steps wait for it, and for those that do.
    awaited: usize,
}

/// Runs the steps of a plan that must run. Never fewer than two side by side: one that waits for a single thread (dpkg, say) leaves the
/// machine to the other.
pub(crate) fn run(context: &Context<'_>, plan: &Plan) -> Result<Vec<(Target, u64)>, Error> {
    let state = |step: &Step| if step.runs() { State::Waits } else { State::Done };
    let state = plan.steps.iter().map(state).collect();
    let board = Mutex::new(Board { state, memory: 0, built: Vec::new(), failed: None });
    let prospects = prospects(context, plan);
    let moved = Condvar::new();
    std::thread::scope(|scope| {
        for _ in 0..context.project.options().threads.get().max(2) {
            scope.spawn(|| work(context, plan, &prospects, &board, &moved));
        }
    });
    let board = board.into_inner().unwrap_or_else(PoisonError::into_inner);
    match board.failed {
        Some(error) => Err(error),
        None => Ok(board.built),
    }
}

fn prospects(context: &Context<'_>, plan: &Plan) -> Vec<Prospect> {
    let threads = context.project.options().threads.get() as u64;
    let mut prospects: Vec<Prospect> = plan
        .steps
        .iter()
        .map(|step| {
            // A package's file is in memory as a whole while it is unpacked.
            let read = steps::reads(context, &step.target);
            let packages =
                read.iter().flat_map(|image| context.lock.steps(image).concat().concat());
            let largest = packages.map(|package| package.size).max().unwrap_or_default();
            Prospect { memory: STEP + threads * THREAD + largest, awaited: 0 }
        })
        .collect();
    // A step comes after those that it waits for.
    for (place, step) in plan.steps.iter().enumerate().rev() {
        for before in &step.after {
            prospects[*before].awaited += 1 + prospects[place].awaited;
        }
    }
    prospects
}

impl Board {
    /// The step to begin with now, if there is one: of those that nothing and no want of memory holds back, the one that most others
    /// wait for.
    fn next(&self, plan: &Plan, prospects: &[Prospect], budget: u64) -> Option<usize> {
        let done = |place: &usize| self.state[*place] == State::Done;
        let fits =
            |place: &usize| self.memory == 0 || self.memory + prospects[*place].memory <= budget;
        let open = (0..plan.steps.len()).filter(|place| self.state[*place] == State::Waits);
        let ready = open.filter(|place| plan.steps[*place].after.iter().all(done));
        // Of equals the first.
        ready.filter(fits).rev().max_by_key(|place| prospects[*place].awaited)
    }
}

fn work(
    context: &Context<'_>,
    plan: &Plan,
    prospects: &[Prospect],
    board: &Mutex<Board>,
    moved: &Condvar,
) {
    let budget = context.project.options().memory;
    loop {
        let mut guard = lock_of(board);
        let place = loop {
            if guard.failed.is_some() || !guard.state.contains(&State::Waits) {
                return;
            }
            if let Some(place) = guard.next(plan, prospects, budget) {
                break place;
            }
            guard = moved.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        let step = &plan.steps[place];
        guard.state[place] = State::Runs;
        guard.memory += prospects[place].memory;
        drop(guard);

        let target = step.target.to_string();
        (context.progress)(Event::Started { target: target.clone(), why: step.why.clone() });
        let begun = Instant::now();
        // A panic is a defect of ours; it must not leave the other worker waiting for ever.
        let caught = catch_unwind(AssertUnwindSafe(|| steps::run(context, step)));
        let done = caught.unwrap_or_else(|_| {
            let help = "this is a defect of overboot: please report it with what is printed above";
            Err(Error::told("the step came to a halt", help))
        });
        let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);

        let mut guard = lock_of(board);
        guard.memory -= prospects[place].memory;
        match done {
            Ok(size) => {
                (context.progress)(Event::Finished { target, milliseconds, size });
                guard.state[place] = State::Done;
                guard.built.push((step.target.clone(), milliseconds));
            }
            Err(source) => {
                guard.failed.get_or_insert(Error::Step { target, source: Box::new(source) });
            }
        }
        drop(guard);
        moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use overboot_digest::Digest;

    use super::*;
    use crate::inputs::Inputs;

    #[test]
    fn what_most_wait_for_comes_first_as_far_as_there_is_memory() {
        let step = |target: Target, after: &[usize]| Step {
            target,
            key: Digest::of(""),
            why: vec!["not built yet".to_owned()],
            only_base_changed: false,
            kept: false,
            after: after.to_owned(),
            inputs: Inputs::default(),
        };
        let steps = vec![
            step(Target::Kernel, &[]),
            step(Target::Ipxe, &[]),
            step(Target::Base("b".to_owned()), &[]),
            step(Target::Overlay("o".to_owned()), &[2]),
        ];
        let plan = Plan { steps, ..Plan::default() };
        let prospect = |memory, awaited| Prospect { memory, awaited };
        let prospects = [prospect(9, 0), prospect(1, 0), prospect(8, 1), prospect(1, 0)];
        let board = |state: [State; 4], memory| Board {
            state: state.to_vec(),
            memory,
            built: Vec::new(),
            failed: None,
        };
        use State::{Done, Runs, Waits};
        let next = |state, memory, budget| board(state, memory).next(&plan, &prospects, budget);
        assert_eq!(next([Waits, Waits, Waits, Waits], 0, 100), Some(2));
        assert_eq!(next([Waits, Waits, Runs, Waits], 8, 100), Some(0));
        // There is no room for the kernel beside the base.
        assert_eq!(next([Waits, Waits, Runs, Waits], 8, 16), Some(1));
        assert_eq!(next([Waits, Runs, Runs, Waits], 9, 16), None);
        assert_eq!(next([Waits, Done, Done, Waits], 0, 16), Some(0));
        assert_eq!(next([Runs, Done, Done, Waits], 9, 16), Some(3));
        // What is too large for the budget runs alone.
        assert_eq!(next([Waits, Done, Done, Done], 0, 1), Some(0));
    }
}

//! The steps that must run: side by side where none reads another's result, as many as there is memory for.
//!
//! An overlay stands on its base's tree, and may begin when that is made; what is in the base is read when it is packed.

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

/// The steps of a plan that are carried out.
pub(crate) struct Schedule<'p> {
    plan: &'p Plan,
    board: Mutex<Board>,
    moved: Condvar,
}

/// How far they are.
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
    /// It runs, and the root tree that it packs is whole.
    Treed,
    Done,
}

/// What is known of a step beforehand.
struct Prospect {
    /// The bytes of memory that it takes.
    memory: u64,
    /// How many steps wait for it, and for those that do.
    awaited: usize,
}

impl<'p> Schedule<'p> {
    pub(crate) fn new(plan: &'p Plan) -> Self {
        let state = |step: &Step| if step.runs() { State::Waits } else { State::Done };
        let state = plan.steps.iter().map(state).collect();
        let board = Board { state, memory: 0, built: Vec::new(), failed: None };
        Self { plan, board: Mutex::new(board), moved: Condvar::new() }
    }

    /// The tree that is packed for `target` is whole: what stands on it need not wait for its image.
    pub(crate) fn has_tree(&self, target: &Target) {
        let mut board = lock_of(&self.board);
        for (state, step) in board.state.iter_mut().zip(&self.plan.steps) {
            if *state == State::Runs && step.target == *target {
                *state = State::Treed;
            }
        }
        drop(board);
        self.moved.notify_all();
    }

    /// Waits until all bases are in the store, and the trees of overlays made; `false` where a step has failed.
    fn wait_for_trees(&self) -> bool {
        let mut board = lock_of(&self.board);
        loop {
            if board.failed.is_some() {
                return false;
            }
            let mut open = board.state.iter().zip(&self.plan.steps);
            if open.all(|(state, step)| match step.target {
                Target::Base(_) => *state == State::Done,
                Target::Overlay(_) => matches!(state, State::Treed | State::Done),
                _ => true,
            }) {
                return true;
            }
            board = self.moved.wait(board).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the image of `target`, whose tree was there before.
    ///
    /// # Errors
    /// Its step has failed, which its own error tells.
    pub(crate) fn wait_for(&self, target: &Target) -> Result<(), Error> {
        let place = self.plan.steps.iter().position(|step| step.target == *target);
        let Some(place) = place else { return Ok(()) };
        let mut board = lock_of(&self.board);
        while matches!(board.state[place], State::Runs | State::Treed) {
            board = self.moved.wait(board).unwrap_or_else(PoisonError::into_inner);
        }
        if board.state[place] == State::Done {
            return Ok(());
        }
        let message = format!("{target}, which it stands on, is not there");
        Err(Error::told(message, "see what failed before"))
    }
}

/// Runs the steps of a plan that must run. Never fewer than two side by side: one that waits for a single thread (dpkg, say) leaves the
/// machine to the other.
pub(crate) fn run(context: &Context<'_>) -> Result<Vec<(Target, u64)>, Error> {
    let prospects = prospects(context);
    let swept = std::thread::scope(|scope| {
        for _ in 0..context.project.options().threads.get().max(2) {
            scope.spawn(|| work(context, &prospects));
        }
        // While the last overlays are packed. Not before: a base that cannot be made again is of use until there is a new one.
        if context.schedule.wait_for_trees() { steps::sweep_trees(context) } else { Ok(()) }
    });
    let mut board = lock_of(&context.schedule.board);
    match board.failed.take() {
        Some(error) => Err(error),
        None => swept.map(|()| std::mem::take(&mut board.built)),
    }
}

fn prospects(context: &Context<'_>) -> Vec<Prospect> {
    let plan = context.schedule.plan;
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
        let there = |place: usize, before: usize| match self.state[before] {
            State::Waits | State::Runs => false,
            State::Treed => matches!(plan.steps[place].target, Target::Overlay(_)),
            State::Done => true,
        };
        let fits =
            |place: &usize| self.memory == 0 || self.memory + prospects[*place].memory <= budget;
        let open = (0..plan.steps.len()).filter(|place| self.state[*place] == State::Waits);
        let ready = open.filter(|&place| plan.steps[place].after.iter().all(|&b| there(place, b)));
        // Of equals the first.
        ready.filter(fits).rev().max_by_key(|place| prospects[*place].awaited)
    }
}

fn work(context: &Context<'_>, prospects: &[Prospect]) {
    let Schedule { plan, board, moved } = &context.schedule;
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
        // A panic is a defect of ours; it must not leave the other worker waiting for ever.
        let caught = catch_unwind(AssertUnwindSafe(|| told(context, step)));
        let done = caught.unwrap_or_else(|_| {
            let help = "this is a defect of overboot: please report it with what is printed above";
            Err(Error::told("the step came to a halt", help))
        });

        let mut guard = lock_of(board);
        guard.memory -= prospects[place].memory;
        match done {
            Ok(milliseconds) => {
                guard.state[place] = State::Done;
                guard.built.push((step.target.clone(), milliseconds));
            }
            Err(source) => {
                guard.state[place] = State::Waits;
                guard.failed.get_or_insert(Error::Step { target, source: Box::new(source) });
            }
        }
        drop(guard);
        moved.notify_all();
    }
}

/// Carries out a step, and says so; returns the milliseconds that it took.
fn told(context: &Context<'_>, step: &Step) -> Result<u64, Error> {
    let target = step.target.to_string();
    (context.progress)(Event::Started { target: target.clone(), why: step.why.clone() });
    let begun = Instant::now();
    let size = steps::run(context, step)?;
    let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    (context.progress)(Event::Finished { target, milliseconds, size });
    Ok(milliseconds)
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
        use State::{Done, Runs, Treed, Waits};
        let next = |state, memory, budget| board(state, memory).next(&plan, &prospects, budget);
        assert_eq!(next([Waits, Waits, Waits, Waits], 0, 100), Some(2));
        assert_eq!(next([Waits, Waits, Runs, Waits], 8, 100), Some(0));
        // There is no room for the kernel beside the base.
        assert_eq!(next([Waits, Waits, Runs, Waits], 8, 16), Some(1));
        assert_eq!(next([Waits, Runs, Runs, Waits], 9, 16), None);
        assert_eq!(next([Waits, Done, Done, Waits], 0, 16), Some(0));
        assert_eq!(next([Runs, Done, Done, Waits], 9, 16), Some(3));
        // An overlay stands on a tree, whether it is packed or not; a boot set has the image in it.
        assert_eq!(next([Done, Done, Runs, Waits], 8, 16), None);
        assert_eq!(next([Done, Done, Treed, Waits], 8, 16), Some(3));
        let waits = |then: State| {
            let schedule = Schedule::new(&plan);
            lock_of(&schedule.board).state = vec![Done, Done, Runs, Runs];
            let base = &plan.steps[2].target;
            schedule.has_tree(base);
            assert_eq!(lock_of(&schedule.board).state[2], Treed);
            std::thread::scope(|scope| {
                let overlay = scope.spawn(|| schedule.wait_for(base).is_ok());
                lock_of(&schedule.board).state[2] = then;
                schedule.moved.notify_all();
                overlay.join().unwrap()
            })
        };
        assert_eq!([waits(Done), waits(Waits)], [true, false], "packed, or failed");
        let mut plan = plan.clone();
        plan.steps[3].target = Target::Set("o".to_owned());
        let board = board([Done, Done, Treed, Waits], 8);
        assert_eq!(board.next(&plan, &prospects, 16), None);
        // What is too large for the budget runs alone.
        assert_eq!(next([Waits, Done, Done, Done], 0, 1), Some(0));
    }
}

//! One command, measured: the time it takes, the processor time that it and all whom it waits for use, and the most memory
//! that they hold at once.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Seek};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// How often memory is looked at.
const EVERY: Duration = Duration::from_millis(40);

/// In which /proc counts processor time: the same in every kernel for amd64 and arm64 (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// What a contender took in one round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    /// From its start to its end.
    pub(crate) seconds: f64,
    /// User and system time of it and of all processes that it waited for.
    pub(crate) cpu: f64,
    /// The most memory at once in bytes, where it was looked at.
    pub(crate) peak: Option<u64>,
    /// The size of what it made in bytes, where that is compared.
    pub(crate) size: Option<u64>,
    /// When something on the way was there, and what.
    pub(crate) mark: Option<(&'static str, f64)>,
    /// What it printed, with the seconds since its start.
    pub(crate) said: Vec<(f64, String)>,
}

impl Sample {
    /// This and then that.
    pub(crate) fn then(mut self, next: Self) -> Self {
        self.seconds += next.seconds;
        self.cpu += next.cpu;
        self.peak = self.peak.max(next.peak);
        self.size = next.size.or(self.size);
        self
    }

    /// Without its mark, where that says nothing.
    pub(crate) fn unmarked(self) -> Self {
        Self { mark: None, ..self }
    }
}

/// Whether memory is looked at, which costs some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    Ignored,
    Watched,
}

/// Runs a command to its end; one that fails is an error with what it said.
pub(crate) fn measure(command: &mut Command, memory: Memory) -> Result<Sample> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut complaints = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(complaints.try_clone()?);
    // What others have written, and what was removed for this, is not this one's to wait for.
    rustix::fs::sync();
    let begun = Instant::now();
    let mut child = command.spawn().with_context(|| name.clone())?;
    let output = child.stdout.take().context("no output")?;
    let pid = Pid::from_child(&child);
    let (said, peak) = (Mutex::new(Vec::new()), Mutex::new(0));
    let ended = AtomicBool::new(false);
    let (seconds, cpu) = std::thread::scope(|scope| {
        scope.spawn(|| {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                let at = begun.elapsed().as_secs_f64();
                said.lock().unwrap_or_else(PoisonError::into_inner).push((at, line));
            }
        });
        if memory == Memory::Watched {
            scope.spawn(|| {
                let most = watch(pid, &ended);
                *peak.lock().unwrap_or_else(PoisonError::into_inner) = most;
            });
        }
        // Ended, but not yet waited for: its figures are still there.
        let waited = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        let seconds = begun.elapsed().as_secs_f64();
        ended.store(true, Ordering::Relaxed);
        waited.map(|_| (seconds, processor_time(pid)))
    })?;
    let status = child.wait()?;
    let said = said.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !status.success() {
        let mut text: String = said.iter().map(|(_, line)| format!("{line}\n")).collect();
        complaints.rewind()?;
        let mut bytes = Vec::new();
        complaints.read_to_end(&mut bytes)?;
        text += &String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        bail!(
            "{name} ended with {status}:\n{}",
            lines[lines.len().saturating_sub(30)..].join("\n")
        );
    }
    let peak = peak.into_inner().unwrap_or_else(PoisonError::into_inner);
    let peak = (memory == Memory::Watched).then_some(peak);
    Ok(Sample { seconds, cpu: cpu?, peak, said, ..Sample::default() })
}

/// The processor time of a process that has ended, and of all whom it waited for.
fn processor_time(pid: Pid) -> Result<f64> {
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let stat = fs_err::read_to_string(&path)?;
    // The second field is the program's name, in which anything may be.
    let (_, fields) = stat.rsplit_once(')').with_context(|| path.clone())?;
    // utime, stime, cutime, cstime are the 14th to 17th (proc(5)).
    let ticks = fields.split_whitespace().skip(11).take(4).map(str::parse::<u32>);
    let ticks: u32 = ticks.sum::<Result<u32, _>>().with_context(|| path.clone())?;
    Ok(f64::from(ticks) / TICKS_PER_SECOND)
}

/// The most memory that a process and those below it held at once: the largest sum of their proportional set sizes, in which
/// a page that several share is counted once. At least the most that any single one held, which the kernel notes: a peak
/// between two looks is not missed.
fn watch(pid: Pid, ended: &AtomicBool) -> u64 {
    let mut most = 0;
    let mut alone = BTreeMap::new();
    while !ended.load(Ordering::Relaxed) {
        let family = family(pid.as_raw_nonzero().get());
        let kilobytes = |pid: i32, file: &str, field: &str| {
            let text = fs_err::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix(field));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0_u64)
        };
        let held: u64 = family.iter().map(|pid| kilobytes(*pid, "smaps_rollup", "Pss:")).sum();
        most = most.max(held);
        for pid in family {
            let high = kilobytes(pid, "status", "VmHWM:");
            let before = alone.entry(pid).or_insert(0);
            *before = high.max(*before);
        }
        std::thread::sleep(EVERY);
    }
    most.max(alone.into_values().max().unwrap_or(0)) * 1024
}

/// A process and all below it.
fn family(pid: i32) -> Vec<i32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        // A child belongs to the thread that made it.
        for thread in fs_err::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten()
        {
            let children = fs_err::read_to_string(thread.path().join("children"));
            let children = children.unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|child| child.parse::<i32>().ok()));
        }
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, memory: Memory) -> Result<Sample> {
        measure(Command::new("sh").args(["-c", script]), memory)
    }

    #[test]
    fn the_time_of_those_whom_a_command_waits_for_is_counted() {
        let script =
            "echo one; (i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done); sleep 0.3; echo two";
        let sample = shell(script, Memory::Ignored).unwrap();
        assert!(sample.cpu > 0.05 && sample.cpu < sample.seconds, "{sample:?}");
        assert_eq!(sample.said[0].1, "one");
        assert!(sample.said[1].0 > 0.3 && sample.said[1].1 == "two", "{sample:?}");
        assert_eq!(sample.peak, None);
    }

    #[test]
    fn memory_of_children_counts_and_what_failed_says_why() {
        // Two that hold 40 MB each at the same time.
        let hold = "python3 -c 'import time; x = b\"x\" * 40000000; time.sleep(0.5)'";
        let sample = shell(&format!("{hold} & {hold}; wait"), Memory::Watched).unwrap();
        let peak = sample.peak.unwrap();
        assert!((80_000_000..140_000_000).contains(&peak), "{peak}");
        let error = shell("echo no >&2; exit 3", Memory::Ignored).unwrap_err();
        assert!(error.to_string().ends_with("no"), "{error}");
    }
}

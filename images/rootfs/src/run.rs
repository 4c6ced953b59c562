//! Running a program to its end, with what it printed at hand when it fails.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Log;
use crate::error::Error;
use crate::sys::TIME_IS_UP;

/// What a program printed, standard output and standard error in the order that they came; its end, where it was long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output(pub String);

/// How much of the output is kept: enough for the cause, and not a memory leak when a program goes mad.
const KEPT: usize = 64 << 10;

/// How many lines an error shows.
const SHOWN: usize = 15;

/// How a program ends that somebody kills: 128 and the signal's number.
const KILLED: i32 = 128 + 9;

/// Nobody inside has a reason to.
const OUT_OF_MEMORY: &str = "\n  help: it was killed, as the kernel does when the machine is out of memory (`dmesg` tells): give the machine more memory or swap, or have the step need less";

/// Runs a program of [`sys`](crate::sys), which ends it after `limit` seconds.
pub(crate) fn to_the_end(
    mut command: Command,
    what: &str,
    limit: u32,
    log: Log<'_>,
) -> Result<Output, Error> {
    let begun = Instant::now();
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |source| Error::Sandbox { program: program.clone(), source };
    let (reader, writer) = std::io::pipe().map_err(failed)?;
    let copy = writer.try_clone().map_err(failed)?;
    command.stdin(Stdio::null()).stdout(writer).stderr(copy);
    let mut child = command.spawn().map_err(failed)?;
    // The command holds our ends of the pipe, and it would never be at its end.
    drop(command);

    let mut kept = String::new();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line without an end is cut: nobody reads lines of 16 KiB.
        let read = (&mut reader).take(16 << 10).read_until(b'\n', &mut line).map_err(failed)?;
        if read == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        log(text.trim_end());
        kept.push_str(text.trim_end());
        kept.push('\n');
        if kept.len() > 2 * KEPT {
            let cut = (kept.len() - KEPT..kept.len()).find(|at| kept.is_char_boundary(*at));
            kept.drain(..cut.unwrap_or(0));
        }
    }
    let status = child.wait().map_err(failed)?;
    if status.success() {
        return Ok(Output(kept));
    }
    let lines: Vec<&str> = kept.lines().collect();
    let tail = lines[lines.len().saturating_sub(SHOWN)..].join("\n");
    let what = what.to_owned();
    // A program may end with that number itself, but not after its time.
    if status.code() == Some(TIME_IS_UP) && begun.elapsed() >= Duration::from_secs(limit.into()) {
        return Err(Error::Overtime { what, limit, tail });
    }
    let help = if status.code() == Some(KILLED) { OUT_OF_MEMORY } else { "" };
    Err(Error::Failed { what, status: status.to_string(), tail, help })
}

//! Child processes that end with their test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::deadline;

/// A running program. Killed when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    name: String,
    printed: Arc<Mutex<String>>,
}

impl Program {
    /// Starts `command`; what it prints to either stream is collected.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let printed = Arc::default();
        collect(child.stdout.take().unwrap(), &printed);
        collect(child.stderr.take().unwrap(), &printed);
        Self { child, name, printed }
    }

    /// What it printed so far, both streams together.
    #[must_use]
    pub fn printed(&self) -> String {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line with `pattern` and returns it.
    ///
    /// # Panics
    ///
    /// With all that was printed, when it does not come within `within` or the program ends before.
    #[track_caller]
    pub fn wait_for(&mut self, pattern: &str, within: Duration) -> String {
        let what = format!("{}: \"{pattern}\"", self.name);
        deadline::get(&what, within, || {
            let ended = self.child.try_wait().unwrap();
            let printed = self.printed();
            let line = printed.lines().find(|line| line.contains(pattern)).map(str::to_owned);
            assert!(
                line.is_some() || ended.is_none(),
                "{} ended without \"{pattern}\":\n{printed}",
                self.name
            );
            line
        })
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// With all that was printed, when it does not end within `within`.
    #[track_caller]
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        deadline::get(&what, within, || self.child.try_wait().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("{} printed:\n{}", self.name, self.printed());
        }
    }
}

fn collect(stream: impl Read + Send + 'static, printed: &Arc<Mutex<String>>) {
    let printed = Arc::clone(printed);
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let mut printed = printed.lock().unwrap_or_else(PoisonError::into_inner);
            printed.push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
}

/// Runs a command to its end and returns its standard output.
///
/// # Panics
///
/// With both streams, when it fails.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let name = format!("{command:?}");
    let output = command.output().unwrap_or_else(|error| panic!("{name}: {error}"));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{name}: {}\n{stdout}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_are_collected() {
        let mut program =
            Program::start(Command::new("sh").args(["-c", "echo one; echo two >&2; exit 3"]));
        assert_eq!(program.wait(Duration::from_secs(60)).code(), Some(3));
        deadline::eventually("both lines", Duration::from_secs(60), || {
            let printed = program.printed();
            printed.contains("one\n") && printed.contains("two\n")
        });
    }

    #[test]
    fn a_command_returns_what_it_printed() {
        assert_eq!(run(Command::new("echo").arg("a b")), "a b\n");
    }
}

//! The running QEMU process.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::child::dies_with_spawner;
use crate::config::power_socket;
use crate::{Console, Error, MachineConfig};

/// The program that runs our machines.
pub const QEMU: &str = "qemu-system-x86_64";

/// How long QEMU may take until its monitor is there. It loads its firmware and a kernel before that.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// How many lines of QEMU's standard error an error quotes.
const STDERR_TAIL: usize = 5;

/// A running virtual machine. Dropping it ends it.
#[derive(Debug)]
pub struct Machine {
    dir: PathBuf,
    console: Console,
    stderr: Console,
    keyboard: Mutex<ChildStdin>,
    handle: OwnedFd,
    ended: Arc<Ended>,
}

#[derive(Debug, Default)]
struct Ended {
    status: Mutex<Option<ExitStatus>>,
    changed: Condvar,
}

impl Machine {
    /// Starts a machine; its sockets are made in `dir`, which must exist and have a short path (a Unix socket's path
    /// holds 107 bytes). Returns when its monitor takes connections.
    ///
    /// # Errors
    ///
    /// [`Error::Spawn`] without QEMU, [`Error::Ended`] with QEMU's words when it does not like its arguments.
    pub fn start(config: &MachineConfig, dir: &Path) -> Result<Self, Error> {
        let socket = power_socket(dir);
        match fs_err::remove_file(&socket) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::Directory { path: dir.to_owned(), source });
            }
            _ => {}
        }
        let machine = Self::spawn(config, dir)?;
        let deadline = Instant::now() + READY_WITHIN;
        while !answers(&socket) {
            if machine.wait(Duration::from_millis(10)).is_some() || Instant::now() > deadline {
                return Err(machine.ended_error());
            }
        }
        Ok(machine)
    }

    fn spawn(config: &MachineConfig, dir: &Path) -> Result<Self, Error> {
        let spawn_error = |source| Error::Spawn { program: QEMU.to_owned(), source };
        let mut command = Command::new(QEMU);
        command
            .args(config.arguments(dir))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        dies_with_spawner(&mut command);

        // The thread that spawns is the one that waits: the child is bound to its life.
        let ended = Arc::new(Ended::default());
        let waiter = Arc::clone(&ended);
        let (sender, receiver) = channel();
        thread::spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => {
                    // The other side waits for exactly this message.
                    let _ = sender.send(Err(error));
                    return;
                }
            };
            let streams =
                (child.id(), child.stdin.take(), child.stdout.take(), child.stderr.take());
            let _ = sender.send(Ok(streams));
            let status = child.wait();
            *waiter.status.lock().unwrap_or_else(PoisonError::into_inner) = status.ok();
            waiter.changed.notify_all();
        });
        let gone = || std::io::Error::other("the process ended at once");
        let (id, stdin, stdout, stderr) =
            receiver.recv().map_err(|_| spawn_error(gone()))?.map_err(spawn_error)?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(spawn_error(gone()));
        };
        let handle = i32::try_from(id)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| spawn_error(gone()))
            .and_then(|pid| {
                pidfd_open(pid, PidfdFlags::empty()).map_err(|error| spawn_error(error.into()))
            })?;

        let machine = Self {
            dir: dir.to_owned(),
            console: Console::default(),
            stderr: Console::default(),
            keyboard: Mutex::new(stdin),
            handle,
            ended,
        };
        let console = machine.console.clone();
        thread::spawn(move || console.follow(stdout));
        let messages = machine.stderr.clone();
        thread::spawn(move || messages.follow(stderr));
        Ok(machine)
    }

    /// The serial console.
    #[must_use]
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// What QEMU itself had to say.
    #[must_use]
    pub fn messages(&self) -> &Console {
        &self.stderr
    }

    /// A QMP socket for whoever switches the machine (`overboot-power`); nobody here uses it.
    #[must_use]
    pub fn power_socket(&self) -> PathBuf {
        power_socket(&self.dir)
    }

    /// Types on the serial console.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] when the machine is gone.
    pub fn type_in(&self, text: &str) -> Result<(), Error> {
        let mut keyboard = self.keyboard.lock().unwrap_or_else(PoisonError::into_inner);
        let written = keyboard.write_all(text.as_bytes()).and_then(|()| keyboard.flush());
        written.map_err(|_| self.ended_error())
    }

    /// Waits at most `within` for the machine to end, and says how it did.
    #[must_use]
    pub fn wait(&self, within: Duration) -> Option<ExitStatus> {
        let status = self.ended.status.lock().unwrap_or_else(PoisonError::into_inner);
        let (status, _) = self
            .ended
            .changed
            .wait_timeout_while(status, within, |status| status.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        *status
    }

    /// Ends the machine now.
    pub fn kill(&self) {
        // It may have ended already, which is what we want.
        let _ = pidfd_send_signal(&self.handle, Signal::KILL);
        let _ = self.wait(Duration::from_secs(5));
    }

    fn ended_error(&self) -> Error {
        let status = self.wait(Duration::from_millis(200));
        Error::Ended {
            status: status.map_or_else(|| "still running".to_owned(), |status| status.to_string()),
            stderr: self.stderr.tail(STDERR_TAIL),
        }
    }
}

/// Whether the monitor answers a command. QEMU makes the socket, and even greets, before it looks at its other arguments;
/// commands are answered from its main loop, when all of them have been accepted.
fn answers(socket: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else { return false };
    let asked = stream
        .set_read_timeout(Some(Duration::from_millis(500)))
        .and_then(|()| stream.write_all(b"{\"execute\":\"qmp_capabilities\"}\n"));
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    asked.is_ok() && lines.any(|line| line.contains("\"return\""))
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
    }
}

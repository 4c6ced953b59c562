//! Running the tasks of a document, as RackHD's node does it and a little more carefully.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use overboot_wire::{OutputReport, Task, TaskDoc, TaskError, TaskFailure};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::http::{Client, Request};
use crate::url::Url;
use crate::{Error, error};

/// Most output kept of each stream; more ends the command (`maxBuffer` of RackHD's node).
const OUTPUT: usize = 5000 << 10;
/// Most a download may have.
const DOWNLOAD: u64 = 4 << 30;
/// Retries beyond this many are a mistake in the workflow.
const RETRIES: u32 = 100;

/// Is told what a command that still runs has written lately: the command, how many bytes in all, the last of them.
pub type Watcher = Arc<dyn Fn(&str, u64, String) + Send + Sync>;

/// Runs tasks in one working directory.
#[derive(Clone)]
pub struct Runner {
    /// Where commands run and downloads are put.
    pub folder: PathBuf,
    /// Makes the downloads.
    pub client: Client,
    /// More variables for the commands.
    pub environment: Vec<(String, String)>,
    /// Who watches, if anybody.
    pub watcher: Option<Watcher>,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Runner {
    /// Runs the tasks one after the other; the first that fails for good ends the series. Returns the document with results.
    #[must_use]
    pub fn run(&self, mut doc: TaskDoc) -> TaskDoc {
        for task in &mut doc.tasks {
            let retries = task.retries.unwrap_or(0).min(RETRIES);
            for attempt in 0..=retries {
                self.attempt(task);
                if !task.failed() {
                    break;
                }
                if attempt < retries {
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
            if task.failed() {
                break;
            }
        }
        doc
    }

    fn attempt(&self, task: &mut Task) {
        (task.stdout, task.stderr, task.error) = (None, None, None);
        if let Some(url) = &task.download_url
            && let Err(error) = self.download(url)
        {
            task.error =
                Some(TaskError::Text(format!("cannot download {url}: {}", error::chain(&error))));
            return;
        }
        if task.cmd.trim().is_empty() {
            (task.stdout, task.stderr) = (Some(String::new()), Some(String::new()));
            return;
        }
        match self.execute(&task.cmd, task.timeout.filter(|t| *t > 0).map(Duration::from_millis)) {
            Ok(result) => {
                task.stdout = Some(result.stdout);
                task.stderr = Some(result.stderr);
                task.error = failure(&task.cmd, result.status, result.killed);
            }
            Err(error) => task.error = Some(TaskError::Text(error::chain(&error))),
        }
    }

    /// Fetches a file into the working directory under its own name, executable, replacing an older one whole.
    fn download(&self, url: &str) -> Result<(), Error> {
        let url = Url::parse(url)?;
        let name = url.file_name();
        if name.is_empty() || name == "." || name == ".." {
            return Err(Error::Url { url: url.to_string(), reason: "its path names no file" });
        }
        let response = self.client.send(&url, &Request::get())?;
        if response.head.status != 200 {
            return Err(Error::Status { url: url.to_string(), status: response.head.status });
        }
        let aside = self.folder.join(format!(".{name}.part"));
        let mut file = fs_err::File::create(&aside)?;
        let host = url.authority();
        let copied = std::io::copy(&mut response.take(DOWNLOAD + 1), &mut file)
            .map_err(|source| Error::Connection { what: "read from", host, source })?;
        if copied > DOWNLOAD {
            return Err(Error::TooBig { url: url.to_string(), max: DOWNLOAD });
        }
        fs_err::set_permissions(&aside, std::fs::Permissions::from_mode(0o555))?;
        fs_err::rename(&aside, self.folder.join(name))?;
        Ok(())
    }

    fn execute(&self, command: &str, limit: Option<Duration>) -> Result<Executed, Error> {
        let spawned = Command::new("/bin/sh")
            .args(["-c", command])
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("LANG", "C.UTF-8")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Its own group, so that a time-out ends all that it started.
            .process_group(0)
            .spawn();
        let mut child =
            spawned.map_err(|source| Error::System { what: format!("run `{command}`"), source })?;
        let streams = [Captured::of(child.stdout.take()), Captured::of(child.stderr.take())];
        let over = AtomicBool::new(false);
        let waited = std::thread::scope(|scope| {
            if let Some(watcher) = &self.watcher {
                let (over, streams) = (&over, &streams);
                scope.spawn(move || watch(watcher, command, streams, over));
            }
            let waited = wait(&mut child, limit, &streams);
            over.store(true, Ordering::Relaxed);
            waited
        });
        let (status, killed) = waited?;
        // What it left running in the background may hold the pipes open; its output does not count.
        let until = Instant::now() + Duration::from_secs(2);
        while streams.iter().any(|s| !s.ended()) && Instant::now() < until && !killed {
            std::thread::sleep(Duration::from_millis(2));
        }
        let [stdout, stderr] = streams.map(|stream| stream.text());
        Ok(Executed { status, killed, stdout, stderr })
    }
}

/// Tells of new output every few seconds. A slow server is told less often, and holds nothing up but the last word.
fn watch(watcher: &Watcher, command: &str, streams: &[Captured], over: &AtomicBool) {
    let (mut told, mut next) = (0, Instant::now() + Duration::from_secs(OutputReport::SECONDS));
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
        let bytes = streams.iter().map(Captured::len).sum();
        if bytes == told || Instant::now() < next {
            continue;
        }
        // The stream that has more to say; most commands use one.
        let tail = streams.iter().max_by_key(|stream| stream.len()).map(Captured::tail);
        watcher(command, bytes, tail.unwrap_or_default());
        (told, next) = (bytes, Instant::now() + Duration::from_secs(OutputReport::SECONDS));
    }
}

struct Executed {
    status: ExitStatus,
    killed: bool,
    stdout: String,
    stderr: String,
}

fn wait(
    child: &mut Child,
    limit: Option<Duration>,
    streams: &[Captured],
) -> Result<(ExitStatus, bool), Error> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(1);
    let mut killed = false;
    loop {
        let status = child
            .try_wait()
            .map_err(|source| Error::System { what: "wait for a command".to_owned(), source })?;
        if let Some(status) = status {
            return Ok((status, killed));
        }
        let late = limit.is_some_and(|limit| began.elapsed() >= limit);
        if !killed && (late || streams.iter().any(Captured::full)) {
            killed = true;
            let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            // SIGKILL: a command that hangs may well ignore a polite signal.
            let _gone = group.map(|group| kill_process_group(group, Signal::KILL));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn failure(command: &str, status: ExitStatus, killed: bool) -> Option<TaskError> {
    if status.success() && !killed {
        return None;
    }
    Some(TaskError::Failure(TaskFailure {
        code: status.code(),
        killed,
        signal: status.signal().map(signal_name),
        cmd: command.to_owned(),
    }))
}

fn signal_name(number: i32) -> String {
    let name = match number {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        6 => "ABRT",
        7 => "BUS",
        8 => "FPE",
        9 => "KILL",
        11 => "SEGV",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        other => return format!("SIG{other}"),
    };
    format!("SIG{name}")
}

/// What a stream has brought so far, read by a thread of its own.
struct Captured {
    state: Arc<Mutex<Output>>,
}

#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    ended: bool,
}

impl Captured {
    fn of(stream: Option<impl Read + Send + 'static>) -> Self {
        let state = Arc::new(Mutex::new(Output { ended: stream.is_none(), ..Output::default() }));
        if let Some(mut stream) = stream {
            let state = Arc::clone(&state);
            std::thread::spawn(move || {
                let mut buffer = [0; 16 << 10];
                // Reads on when full, so that a background process does not block on its pipe.
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    let mut output = state.lock().unwrap_or_else(PoisonError::into_inner);
                    let room = OUTPUT.saturating_sub(output.bytes.len());
                    output.bytes.extend_from_slice(&buffer[..read.min(room)]);
                }
                state.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
            });
        }
        Self { state }
    }

    fn full(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).bytes.len() >= OUTPUT
    }

    fn len(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).bytes.len() as u64
    }

    /// The last lines, at most as much as a report takes.
    fn tail(&self) -> String {
        let output = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = &output.bytes;
        let tail = &bytes[bytes.len().saturating_sub(OutputReport::TAIL)..];
        // A first line that is not whole is left out, unless there is no other.
        let line = match tail.iter().position(|byte| *byte == b'\n') {
            Some(at) if tail.len() < bytes.len() && at + 1 < tail.len() => at + 1,
            _ => 0,
        };
        String::from_utf8_lossy(&tail[line..]).into_owned()
    }

    fn ended(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended
    }

    fn text(&self) -> String {
        let output = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&output.bytes).into_owned()
    }
}

/// The working directory: RackHD's images have one for downloads.
///
/// # Errors
/// It cannot be made.
pub fn working_folder(state: &Path) -> Result<PathBuf, Error> {
    let downloads = Path::new("/opt/downloads");
    if downloads.is_dir() {
        return Ok(downloads.to_owned());
    }
    let folder = state.join("work");
    fs_err::create_dir_all(&folder)?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    fn runner(folder: &Path) -> Runner {
        Runner {
            folder: folder.to_owned(),
            client: Client::default(),
            environment: vec![("API_CB".into(), "h:1".into())],
            watcher: None,
        }
    }

    fn run(tasks: &[Task]) -> Vec<Task> {
        let folder = tempfile::tempdir().unwrap();
        let doc = TaskDoc { tasks: tasks.to_vec(), ..TaskDoc::default() };
        runner(folder.path()).run(doc).tasks
    }

    fn task(cmd: &str) -> Task {
        Task { cmd: cmd.into(), ..Task::default() }
    }

    fn code(task: &Task) -> Option<i32> {
        match task.error.as_ref()? {
            TaskError::Failure(failure) => failure.code,
            TaskError::Text(text) => panic!("{text}"),
        }
    }

    #[test]
    fn results_and_the_end_of_a_series() {
        let accepted =
            Task { accepted_response_codes: Some(vec![3]), ..task("echo no >&2; exit 3") };
        let done = run(&[
            task("echo a; echo $API_CB"),
            task(""),
            accepted,
            task("exit 4"),
            task("echo never"),
        ]);
        assert_eq!(done[0].stdout.as_deref(), Some("a\nh:1\n"));
        assert_eq!(done[1].stdout.as_deref(), Some(""));
        assert_eq!((code(&done[2]), done[2].stderr.as_deref()), (Some(3), Some("no\n")));
        assert_eq!(code(&done[3]), Some(4));
        assert_eq!((&done[4].stdout, &done[4].error), (&None, &None), "not run");
    }

    #[test]
    fn a_time_out_ends_all_that_was_started() {
        let began = Instant::now();
        let done = run(&[Task { timeout: Some(200), ..task("echo x; sleep 100 & sleep 100") }]);
        assert!(began.elapsed() < Duration::from_secs(20));
        let Some(TaskError::Failure(failure)) = &done[0].error else { panic!("{done:?}") };
        assert!(failure.killed);
        assert_eq!((failure.code, failure.signal.as_deref()), (None, Some("SIGKILL")));
        assert_eq!(done[0].stdout.as_deref(), Some("x\n"));
    }

    #[test]
    fn output_is_told_while_the_command_runs() {
        let folder = tempfile::tempdir().unwrap();
        let done = folder.path().join("done");
        let told = Arc::new(Mutex::new(Vec::new()));
        let (seen, end) = (Arc::clone(&told), done.clone());
        let watcher: Watcher = Arc::new(move |command, bytes, tail| {
            seen.lock().unwrap().push((command.to_owned(), bytes, tail));
            // The command waits for this: it still runs.
            std::fs::write(&end, "").unwrap();
        });
        let cmd = "seq 1000; echo no >&2; until [ -e done ]; do sleep 0.05; done; echo end";
        let doc = TaskDoc { tasks: vec![task(cmd)], ..TaskDoc::default() };
        let result = Runner { watcher: Some(watcher), ..runner(folder.path()) }.run(doc);
        assert!(result.tasks[0].stdout.as_ref().unwrap().ends_with("1000\nend\n"));
        let (command, bytes, tail) = told.lock().unwrap()[0].clone();
        assert_eq!((command.as_str(), bytes), (cmd, 3893 + 3));
        assert!(tail.starts_with("502\n") && tail.ends_with("999\n1000\n"), "whole lines: {tail}");
        assert!(tail.len() <= OutputReport::TAIL);
    }

    #[test]
    fn background_processes_do_not_hold_a_task_up() {
        let began = Instant::now();
        let done = run(&[task("sleep 60 & echo started")]);
        assert!(began.elapsed() < Duration::from_secs(30));
        assert_eq!(done[0].stdout.as_deref(), Some("started\n"));
        assert!(done[0].error.is_none());
    }

    #[test]
    fn endless_output_is_cut_and_ended() {
        let done = run(&[task("yes")]);
        assert_eq!(done[0].stdout.as_ref().unwrap().len(), OUTPUT);
        let Some(TaskError::Failure(failure)) = &done[0].error else { panic!() };
        assert!(failure.killed);
    }

    #[test]
    fn retries_are_made() {
        let folder = tempfile::tempdir().unwrap();
        let cmd = "echo x >> log; [ $(wc -l < log) -ge 2 ]";
        let doc =
            TaskDoc { tasks: vec![Task { retries: Some(3), ..task(cmd) }], ..TaskDoc::default() };
        let done = runner(folder.path()).run(doc);
        assert!(done.tasks[0].error.is_none());
        assert_eq!(std::fs::read_to_string(folder.path().join("log")).unwrap(), "x\nx\n");
    }

    #[test]
    fn downloads_are_checked_and_run() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for answer in [
                "200 OK\r\nContent-Length: 18\r\n\r\n#!/bin/sh\necho ran\n",
                "404 No\r\nContent-Length: 0\r\n\r\n",
            ] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut buffer = [0; 4096];
                let _asked = stream.read(&mut buffer).unwrap();
                stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).unwrap();
            }
        });
        let with = |path: &str, cmd: &str| Task {
            download_url: Some(format!("http://127.0.0.1:{port}/{path}")),
            ..task(cmd)
        };
        let done = run(&[with("a/tool.sh?x", "./tool.sh"), with("gone", "echo never")]);
        assert_eq!(done[0].stdout.as_deref(), Some("ran\n"), "{done:?}");
        let Some(TaskError::Text(text)) = &done[1].error else { panic!("{done:?}") };
        assert!(text.contains("status 404"), "{text}");
        let done = run(&[with("", "true")]);
        assert!(
            matches!(&done[0].error, Some(TaskError::Text(text)) if text.contains("names no file"))
        );
    }
}

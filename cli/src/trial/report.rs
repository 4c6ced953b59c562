//! What the user sees of a trial.

use std::net::SocketAddr;
use std::sync::mpsc::Receiver;

use serde_json::json;

use super::watch::Line;
use super::{Outcome, Trial};
use crate::printer::Printer;

/// Says how a trial goes.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) printer: &'a Printer,
    /// Whether the machine's console is shown.
    pub(crate) console: bool,
}

impl Report<'_> {
    /// The machine has been switched on.
    pub(crate) fn started(&self, trial: &Trial, server: SocketAddr) {
        self.printer.json(&json!({
            "event": "started", "set": trial.set, "server": format!("http://{server}"),
            "accel": trial.accel.to_string(), "memoryMiB": trial.memory_mib,
        }));
        self.printer.note(format!(
            "{}: a machine with {} MiB under {}, booting over HTTP from http://{server}",
            trial.set, trial.memory_mib, trial.accel
        ));
    }

    /// What has come from the machine's serial console.
    pub(crate) fn console(&self, lines: &Receiver<String>) {
        for line in lines.try_iter().filter(|_| self.console) {
            self.printer.json(&json!({ "event": "console", "line": line }));
            self.printer.aside(format!("  | {line}"));
        }
    }

    /// Something happened.
    pub(crate) fn line(&self, line: &Line) {
        let seconds = line.at.as_secs_f64();
        self.printer.json(&json!({
            "event": "stage", "seconds": (seconds * 1000.0).round() / 1000.0, "stage": line.what,
            "detail": line.detail, "failed": line.failed,
        }));
        let failed = if line.failed { "FAILED: " } else { "" };
        self.printer.note(format!("{seconds:7.1} s  {:<10}  {failed}{}", line.what, line.detail));
    }

    /// The machine stays up: how to reach it.
    pub(crate) fn kept(&self, server: SocketAddr, mac: &str, ssh_port: u16) {
        self.printer.json(&json!({
            "event": "kept", "server": format!("http://{server}"), "macAddress": mac, "sshPort": ssh_port,
        }));
        self.printer.note(format!(
            "
The machine stays up; Ctrl-C ends it. What the web page shows: http://{server}/
To open it for a login, as RackHD's manual does:

  curl -X POST -H 'Content-Type: application/json' \\
    'http://{server}/api/current/nodes/{mac}/workflows?name=Graph.BootstrapUbuntu'
  curl 'http://{server}/api/current/lookups?q={mac}'

and, when it has booted (password: monorail):

  ssh -p {ssh_port} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null monorail@127.0.0.1
"
        ));
    }

    /// How it ended, after how many seconds.
    pub(crate) fn ended(&self, set: &str, outcome: &Outcome, seconds: f64) {
        let (word, reason) = match outcome {
            Outcome::Passed => ("PASS", ""),
            Outcome::Failed(reason) => ("FAIL", reason.as_str()),
            Outcome::Interrupted => ("FAIL", "interrupted"),
        };
        self.printer.json(&json!({
            "event": "ended", "set": set, "passed": *outcome == Outcome::Passed, "reason": reason,
            "seconds": (seconds * 1000.0).round() / 1000.0,
        }));
        let separator = if reason.is_empty() { "" } else { ": " };
        self.printer.result(format!("{word}  {set}  {seconds:.1} s{separator}{reason}"));
    }
}

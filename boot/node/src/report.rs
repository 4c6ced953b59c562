//! Stage reports to the boot server, behind the boot's back: a slow or dead server must not hold it up.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use overboot_wire::{StageReport, path};
use serde::Serialize;

use crate::http::{Client, Request};
use crate::url::Url;

/// Sends reports one after the other from its own thread.
#[derive(Debug)]
pub struct Reporter {
    sender: Sender<StageReport>,
    thread: JoinHandle<()>,
}

impl Reporter {
    /// Reports to `http://<api>/api/overboot/v1/boot`. `None` if `api` is no `host:port`, or no thread can be made.
    #[must_use]
    pub fn start(api: &str, client: Client) -> Option<Self> {
        let url = Url::parse(&format!("http://{api}{}", path::BOOT_REPORT)).ok()?;
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new()
            .name("report".to_owned())
            .spawn(move || run(&receiver, &url, &client))
            .ok()?;
        Some(Self { sender, thread })
    }

    /// Queues a report.
    pub fn send(&self, report: StageReport) {
        // The thread ends only when a server has no such API; then nobody misses the report.
        let _nobody = self.sender.send(report);
    }

    /// Waits for the queue to empty, at most `patience`.
    pub fn finish(self, patience: Duration) {
        drop(self.sender);
        let until = Instant::now() + patience;
        while !self.thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn run(receiver: &Receiver<StageReport>, url: &Url, client: &Client) {
    while let Ok(report) = receiver.recv() {
        // Three tries, since the first packet on a new link is often lost to a switch that learns.
        for attempt in 0..3 {
            std::thread::sleep(Duration::from_millis(200 * attempt));
            match post(url, client, &report) {
                Some(404 | 405 | 501) => return,
                Some(200..300) => break,
                Some(_) | None => {}
            }
        }
    }
}

/// Sends one report; the status, if there was an answer.
pub(crate) fn post(url: &Url, client: &Client, report: &impl Serialize) -> Option<u16> {
    let body = serde_json::to_vec(report).ok()?;
    let request = Request {
        method: "POST",
        content: Some(("application/json", &body)),
        silence: Duration::from_secs(3),
        ..Request::get()
    };
    client.send(url, &request).ok().map(|response| response.head.status)
}

//! Where a boot stands: every stage is said on the console, recorded in the timeline and reported to the server.

use std::sync::Mutex;

use overboot_wire::{Stage, StageReport};

use crate::clock;
use crate::log::Log;
use crate::report::Reporter;

/// Says, records and reports stages.
#[derive(Debug)]
pub struct Progress<'a> {
    log: &'a Log,
    boot_id: Option<String>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    mac: String,
    reporter: Option<Reporter>,
    last: u64,
}

impl<'a> Progress<'a> {
    /// Nothing reached yet. `mac`: the boot interface as far as the command line names it.
    #[must_use]
    pub fn new(log: &'a Log, mac: Option<String>) -> Self {
        let boot_id = fs_err::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let inner = Inner { mac: mac.unwrap_or_default(), ..Inner::default() };
        Self { log, boot_id: boot_id.map(|id| id.trim().to_owned()), inner: Mutex::new(inner) }
    }

    /// Says a line that is no stage.
    pub fn say(&self, text: &str) {
        self.log.line(text);
    }

    /// A stage was reached now.
    pub fn reached(&self, stage: Stage, detail: String, bytes: Option<u64>) {
        let at_ms = clock::boot_ms();
        let took = {
            let mut inner = self.lock();
            let took = at_ms.saturating_sub(inner.last);
            inner.last = at_ms;
            took
        };
        self.log.line(&format!("{stage}: {detail} (+{}.{:03} s)", took / 1000, took % 1000));
        self.record(stage, at_ms, Some(detail), bytes, None);
    }

    /// The kernel's start: time 0, known only afterwards.
    pub fn kernel(&self) {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        self.record(Stage::Kernel, 0, Some(release), None, None);
    }

    /// A stage failed.
    pub fn failed(&self, stage: Stage, sentence: &str) {
        self.record(stage, clock::boot_ms(), None, None, Some(sentence.to_owned()));
    }

    /// Reports go to `reporter` from now on, those from before first; `mac` is the interface in use.
    pub fn report_to(&self, reporter: Option<Reporter>, mac: &str) {
        let mut inner = self.lock();
        mac.clone_into(&mut inner.mac);
        if let Some(reporter) = reporter {
            for mut report in self.log.timeline() {
                mac.clone_into(&mut report.mac);
                reporter.send(report);
            }
            inner.reporter = Some(reporter);
        }
    }

    /// Waits a little for reports under way.
    pub fn finish(&self, patience: std::time::Duration) {
        let reporter = self.lock().reporter.take();
        if let Some(reporter) = reporter {
            reporter.finish(patience);
        }
    }

    /// The kernel's name for this boot.
    #[must_use]
    pub fn boot_id(&self) -> Option<&str> {
        self.boot_id.as_deref()
    }

    /// The timeline so far.
    #[must_use]
    pub fn timeline(&self) -> Vec<StageReport> {
        let mac = self.lock().mac.clone();
        let mut timeline = self.log.timeline();
        timeline.iter_mut().for_each(|report| mac.clone_into(&mut report.mac));
        timeline
    }

    fn record(
        &self,
        stage: Stage,
        at_ms: u64,
        detail: Option<String>,
        bytes: Option<u64>,
        error: Option<String>,
    ) {
        let inner = self.lock();
        let mac = inner.mac.clone();
        let boot_id = self.boot_id.clone();
        let report = StageReport { mac, stage, at_ms, boot_id, detail, bytes, error };
        self.log.record(report.clone());
        if let Some(reporter) = &inner.reporter {
            reporter.send(report);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

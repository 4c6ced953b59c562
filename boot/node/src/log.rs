//! What init says: to the consoles, to a syslog server, and to the boot server's timeline.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Mutex;

use fs_err::os::unix::fs::OpenOptionsExt;
use overboot_wire::StageReport;
use rustix::fs::OFlags;

use crate::clock;

/// Where lines go. One for the whole program; parts take `&Log`.
#[derive(Debug, Default)]
pub struct Log {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    consoles: Vec<Console>,
    syslog: Option<(UdpSocket, String)>,
    /// Lines from before there was a network.
    early: Vec<String>,
    timeline: Vec<StageReport>,
}

impl Log {
    /// A log that writes to no console yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A log that writes to the consoles the kernel writes to. `/dev/console` alone is only the last of them, and people
    /// look at any.
    #[must_use]
    pub fn open() -> Self {
        let listed = fs_err::read_to_string("/proc/consoles").unwrap_or_default();
        let mut consoles: Vec<Console> = listed
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .filter_map(|name| Console::open(format!("/dev/{name}")))
            .collect();
        if consoles.is_empty() {
            consoles.extend(Console::open("/dev/console".to_owned()));
        }
        Self { inner: Mutex::new(Inner { consoles, ..Inner::default() }) }
    }

    /// Says a line.
    pub fn line(&self, text: &str) {
        let text = text.replace(|c: char| c.is_control(), " ");
        let at = clock::boot_ms();
        let line = format!("[{:5}.{:03}] overboot: {text}\r\n", at / 1000, at % 1000);
        let mut inner = self.lock();
        for console in &mut inner.consoles {
            console.write(line.as_bytes());
        }
        inner.syslog(&text);
    }

    /// Sends lines to a syslog server from now on, and the ones from before: RFC 3164 over UDP, facility daemon.
    pub fn to_syslog(&self, server: SocketAddr, hostname: &str) {
        let Ok(socket) = crate::agent::relay::speak(server) else { return };
        let mut inner = self.lock();
        inner.syslog = Some((socket, hostname.to_owned()));
        for text in std::mem::take(&mut inner.early) {
            inner.syslog(&text);
        }
    }

    /// Adds a report to the timeline.
    pub fn record(&self, report: StageReport) {
        self.lock().timeline.push(report);
    }

    /// The timeline so far, in the order of the stages.
    #[must_use]
    pub fn timeline(&self) -> Vec<StageReport> {
        let mut timeline = self.lock().timeline.clone();
        timeline.sort_by_key(|report| (report.at_ms, report.stage));
        timeline
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A terminal that the kernel writes to.
#[derive(Debug)]
struct Console {
    path: String,
    file: File,
}

impl Console {
    fn open(path: String) -> Option<Self> {
        // Not blocking: a serial line whose other end sends XOFF must not hold up a boot.
        let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits().cast_signed();
        let file = fs_err::OpenOptions::new().write(true).custom_flags(flags).open(&path).ok()?;
        Some(Self { path, file: file.into() })
    }

    /// Writes a line. A getty hangs up whoever has its terminal open before it asks for a name (vhangup(2)): then it is
    /// opened again.
    fn write(&mut self, line: &[u8]) {
        match self.file.write_all(line) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => {
                if let Some(again) = Self::open(self.path.clone()) {
                    *self = again;
                    // Nobody to tell if a console does not take it.
                    let _lost = self.file.write_all(line);
                }
            }
            Ok(()) | Err(_) => {}
        }
    }
}

impl Inner {
    fn syslog(&mut self, text: &str) {
        const EARLY: usize = 200;
        match &self.syslog {
            // Facility daemon (3), severity notice (5). No time stamp: the receiver's clock is right, ours may not be.
            Some((socket, hostname)) => {
                let _lost = socket.send(format!("<29>{hostname} overboot: {text}").as_bytes());
            }
            None if self.early.len() < EARLY => self.early.push(text.to_owned()),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_that_was_hung_up_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tty");
        std::fs::write(&path, "").unwrap();
        // As after vhangup(2), no write succeeds.
        let file = File::open(&path).unwrap();
        let mut console = Console { path: path.display().to_string(), file };
        console.write(b"login closed\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "login closed\n");
    }

    #[test]
    fn early_lines_reach_a_syslog_server_that_comes_later() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        let log = Log::new();
        log.line("first\nforged");
        log.to_syslog(server.local_addr().unwrap(), "n1");
        log.line("second");
        let mut buffer = [0; 200];
        let mut next = || {
            let length = server.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        assert_eq!(next(), "<29>n1 overboot: first forged");
        assert_eq!(next(), "<29>n1 overboot: second");
    }
}

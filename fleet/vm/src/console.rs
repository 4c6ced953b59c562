//! What a machine wrote to its serial port, line by line.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Error;

/// Lines kept. A guest can print without end.
const MAX_LINES: usize = 20_000;

/// A longer line is cut into several.
const MAX_LINE: usize = 4096;

/// How many lines an error quotes.
const TAIL: usize = 25;

/// The serial console of a machine: everything it printed, without terminal escapes. Cheap to clone; clones share.
#[derive(Clone, Debug, Default)]
pub struct Console {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<String>,
    /// Lines already dropped from the front of `lines`.
    dropped: usize,
    /// What came after the last newline.
    partial: LineBuffer,
    listeners: Vec<Sender<String>>,
    closed: bool,
}

impl Console {
    /// Everything printed so far; an unfinished line last.
    #[must_use]
    pub fn text(&self) -> String {
        let state = self.lock();
        let mut text: String = state.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        text.push_str(&state.partial.text());
        text
    }

    /// The last `count` lines.
    #[must_use]
    pub fn tail(&self, count: usize) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    /// Every line from now on, as it is finished. Ends when the machine does.
    #[must_use]
    pub fn lines(&self) -> Receiver<String> {
        let (sender, receiver) = channel();
        let mut state = self.lock();
        if !state.closed {
            state.listeners.push(sender);
        }
        receiver
    }

    /// Waits until a line (finished or not) contains `pattern` and returns that line. Lines printed before the call
    /// count.
    ///
    /// # Errors
    ///
    /// [`Error::NotSeen`] with the last lines, after `within` or as soon as the machine has ended.
    pub fn wait_for(&self, pattern: &str, within: Duration) -> Result<String, Error> {
        let deadline = Instant::now() + within;
        let mut state = self.lock();
        let mut next = 0;
        loop {
            let start = next.max(state.dropped) - state.dropped;
            if let Some(line) = state.lines.range(start..).find(|line| line.contains(pattern)) {
                return Ok(line.clone());
            }
            next = state.dropped + state.lines.len();
            let partial = state.partial.text();
            if partial.contains(pattern) {
                return Ok(partial);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                drop(state);
                return Err(Error::NotSeen {
                    pattern: pattern.to_owned(),
                    after: within,
                    tail: self.tail(TAIL),
                });
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Reads `source` to its end. Runs on a thread of its own.
    pub(crate) fn follow(&self, mut source: impl Read) {
        let mut buffer = [0; 4096];
        loop {
            match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => self.take(&buffer[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // A pipe of a dead process: the same as its end.
                Err(_) => break,
            }
        }
        let mut state = self.lock();
        if let Some(line) = state.partial.finish() {
            state.push(line);
        }
        state.closed = true;
        state.listeners.clear();
        self.shared.changed.notify_all();
    }

    fn take(&self, bytes: &[u8]) {
        let mut state = self.lock();
        for &byte in bytes {
            if let Some(line) = state.partial.push(byte) {
                state.push(line);
            }
        }
        self.shared.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, line: String) {
        self.listeners.retain(|listener| listener.send(line.clone()).is_ok());
        if self.lines.len() == MAX_LINES {
            self.lines.pop_front();
            self.dropped += 1;
        }
        self.lines.push_back(line);
    }
}

/// Collects the bytes of a line and leaves out what only moves the cursor or changes colours (ECMA-48 control
/// sequences), which firmware and systemd print freely.
#[derive(Debug, Default)]
struct LineBuffer {
    bytes: Vec<u8>,
    escape: Escape,
    /// A carriage return was seen: a newline ends the line, anything else starts it anew.
    returned: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// After ESC.
    Started,
    /// Within a control sequence (ESC `[`), until its final byte.
    Control,
    /// Within an operating system command or another string (ESC `]`, `P`, `X`, `^`, `_`), until BEL or ESC `\`.
    Text,
}

impl LineBuffer {
    /// Takes one byte; returns the line that it ends.
    fn push(&mut self, byte: u8) -> Option<String> {
        match (self.escape, byte) {
            (Escape::None, 0x1b) | (Escape::Text, 0x1b) => self.escape = Escape::Started,
            (Escape::None, b'\n') => {
                self.returned = false;
                return Some(self.take());
            }
            (Escape::None, b'\r') => self.returned = true,
            (Escape::None, 0..=8 | 11..=31 | 127) => {}
            (Escape::None, _) => {
                if std::mem::take(&mut self.returned) {
                    self.bytes.clear();
                }
                self.bytes.push(byte);
                if self.bytes.len() >= MAX_LINE {
                    return Some(self.take());
                }
            }
            (Escape::Started, b'[') => self.escape = Escape::Control,
            (Escape::Started, b']' | b'P' | b'X' | b'^' | b'_') => self.escape = Escape::Text,
            // The intermediate bytes of a short escape; its final byte follows.
            (Escape::Started, 0x20..=0x2f) => {}
            (Escape::Started, _) | (Escape::Control, 0x40..=0x7e) | (Escape::Text, 7) => {
                self.escape = Escape::None;
            }
            (Escape::Control | Escape::Text, _) => {}
        }
        None
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    fn take(&mut self) -> String {
        let text = self.text();
        self.bytes.clear();
        text
    }

    fn finish(&mut self) -> Option<String> {
        (!self.bytes.is_empty()).then(|| self.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(input: &[u8]) -> Console {
        let console = Console::default();
        console.follow(input);
        console
    }

    #[test]
    fn escapes_and_overwritten_lines_are_left_out() {
        let console =
            followed(b"\x1b[0;1mone\x1b[0m\r\n10%\r20%\r\n\x1b]0;title\x07two\x1b(B\x00\nrest");
        assert_eq!(console.text(), "one\n20%\ntwo\nrest\n");
    }

    #[test]
    fn an_endless_line_is_cut() {
        let console = followed(&vec![b'x'; MAX_LINE + 3]);
        let lengths: Vec<usize> = console.text().lines().map(str::len).collect();
        assert_eq!(lengths, [MAX_LINE, 3]);
    }

    #[test]
    fn old_lines_are_dropped_and_new_ones_still_found() {
        let mut input = "filler\n".repeat(MAX_LINES).into_bytes();
        input.extend_from_slice(b"needle\n");
        let console = followed(&input);
        assert_eq!(console.wait_for("needle", Duration::ZERO).unwrap(), "needle");
        assert_eq!(console.text().lines().count(), MAX_LINES);
    }

    #[test]
    fn waiting_ends_with_the_machine_and_quotes_the_last_lines() {
        let error = followed(b"panic: no root\n")
            .wait_for("login:", Duration::from_secs(3600))
            .unwrap_err();
        assert!(error.to_string().contains("panic: no root"), "{error}");
    }

    #[test]
    fn listeners_get_each_line_once() {
        let console = Console::default();
        let lines = console.lines();
        console.follow(&b"a\nb\nc"[..]);
        assert_eq!(lines.iter().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(console.lines().iter().count(), 0);
    }
}

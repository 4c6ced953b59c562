//! One file on its way to one client.

use std::time::{Duration, Instant};

use crate::packet::{ErrorCode, Packet, Request};

/// What the server allows a client to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The largest block in bytes. A client that asks for more gets this (RFC 2348). The default, 1428, leaves room for
    /// the headers of IP, UDP and TFTP *and* of a tunnel in an Ethernet frame: behind a tunnel larger blocks are lost
    /// for good where fragments are.
    pub block_size: u16,
    /// The largest window in blocks (RFC 7440).
    pub window: u16,
    /// How long to wait for an acknowledgement when the client names no time (RFC 2349); doubled at each silence.
    pub timeout: Duration,
    /// How often in a row the same blocks are sent without an answer before giving up.
    pub retries: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { block_size: 1428, window: 32, timeout: Duration::from_secs(1), retries: 6 }
    }
}

/// RFC 1350's block size, for clients that do not ask.
const DEFAULT_BLOCK: u16 = 512;
/// The smallest block of RFC 2348.
const MIN_BLOCK: u16 = 8;
/// Waits are not doubled beyond this.
const MAX_TIMEOUT: Duration = Duration::from_secs(8);

/// Why a request is not served; [`packet`](Self::packet) is what the client is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A mode other than `octet`.
    #[error("mode \"{0}\" is not served, want octet: boot files are binary")]
    Mode(String),
}

impl Refusal {
    /// The ERROR packet.
    #[must_use]
    pub fn packet(&self) -> Vec<u8> {
        Packet::Error { code: ErrorCode::Operation, message: self.to_string() }.emit()
    }
}

/// How a transfer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The client has the whole file.
    Complete,
    /// The client ended it before the first block: PXE ROMs ask for the size this way.
    Probed,
    /// The client ended it with this error.
    Aborted {
        /// The client's code.
        code: ErrorCode,
        /// The client's words.
        message: String,
    },
    /// The client fell silent.
    Lost {
        /// How many of the file's bytes it had acknowledged.
        acknowledged: u64,
    },
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Send these, in order.
    pub send: Vec<Vec<u8>>,
    /// Then stop, if it is over.
    pub done: Option<Outcome>,
}

impl Step {
    fn nothing() -> Self {
        Self { send: Vec::new(), done: None }
    }

    fn send(send: Vec<Vec<u8>>) -> Self {
        Self { send, done: None }
    }

    fn done(outcome: Outcome) -> Self {
        Self { send: Vec::new(), done: Some(outcome) }
    }
}

/// The sender's side of a transfer.
#[derive(Debug)]
pub struct Transfer<C> {
    content: C,
    block_size: u16,
    window: u16,
    timeout: Duration,
    retries: u32,
    /// The options that hold, while the client has not acknowledged them.
    options: Option<Vec<(String, String)>>,
    /// How many blocks the client has; block numbers on the wire are this plus one, modulo 65536.
    acknowledged: u64,
    /// How many blocks were sent.
    sent: u64,
    /// How often in a row there was no answer.
    silences: u32,
    /// The blocks after `acknowledged` were sent again because the client asked, and it has not moved since.
    repeated: bool,
    deadline: Instant,
}

impl<C: AsRef<[u8]>> Transfer<C> {
    /// Begins to send `content`; the datagrams are the first to send.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn start(
        now: Instant,
        request: &Request,
        content: C,
        limits: &Limits,
    ) -> Result<(Self, Vec<Vec<u8>>), Refusal> {
        if request.mode != "octet" {
            return Err(Refusal::Mode(request.mode.chars().take(20).collect()));
        }
        let mut block_size = DEFAULT_BLOCK;
        let mut window = 1;
        let mut timeout = limits.timeout;
        let mut options: Vec<(String, String)> = Vec::new();
        let mut accept = |name: &str, value: String| {
            // A client that repeats an option must not be answered twice (RFC 2347).
            if !options.iter().any(|(other, _)| other == name) {
                options.push((name.to_owned(), value));
            }
        };
        // An option with a value that its RFC does not allow is treated like one that is not known: left out.
        for (name, value) in &request.options {
            match name.as_str() {
                "blksize" => {
                    let Some(wanted) = number::<u16>(value).filter(|size| *size >= MIN_BLOCK)
                    else {
                        continue;
                    };
                    block_size = wanted.min(limits.block_size.max(MIN_BLOCK));
                    accept(name, block_size.to_string());
                }
                "windowsize" => {
                    let Some(wanted) = number::<u16>(value).filter(|size| *size >= 1) else {
                        continue;
                    };
                    window = wanted.min(limits.window.max(1));
                    accept(name, window.to_string());
                }
                "timeout" => {
                    let Some(seconds) = number::<u8>(value).filter(|seconds| *seconds >= 1) else {
                        continue;
                    };
                    timeout = Duration::from_secs(seconds.into());
                    accept(name, seconds.to_string());
                }
                "tsize" => accept(name, content.as_ref().len().to_string()),
                _ => {}
            }
        }
        let mut transfer = Self {
            content,
            block_size,
            window,
            timeout,
            retries: limits.retries,
            options: (!options.is_empty()).then_some(options),
            acknowledged: 0,
            sent: 0,
            silences: 0,
            repeated: false,
            deadline: now,
        };
        let datagrams = transfer.send_from_acknowledged(now);
        Ok((transfer, datagrams))
    }

    /// When [`timeout`](Self::timeout) is due if no datagram comes.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Takes a datagram from the client. What is not TFTP, or does not fit, changes nothing.
    pub fn datagram(&mut self, now: Instant, bytes: &[u8]) -> Step {
        match Packet::parse(bytes) {
            Ok(Packet::Ack(block)) => self.ack(now, block),
            Ok(Packet::Error { code, message }) => Step::done(if self.acknowledged == 0 {
                Outcome::Probed
            } else {
                Outcome::Aborted { code, message }
            }),
            Ok(Packet::Read(_) | Packet::Write(_) | Packet::Data { .. } | Packet::OptionAck(_))
            | Err(_) => Step::nothing(),
        }
    }

    /// Says that [`deadline`](Self::deadline) has passed.
    pub fn timeout(&mut self, now: Instant) -> Step {
        if now < self.deadline {
            return Step::nothing();
        }
        self.silences += 1;
        if self.silences > self.retries {
            let size = self.content.as_ref().len() as u64;
            let acknowledged = (self.acknowledged * u64::from(self.block_size)).min(size);
            return Step::done(Outcome::Lost { acknowledged });
        }
        Step::send(self.send_from_acknowledged(now))
    }

    fn ack(&mut self, now: Instant, block: u16) -> Step {
        if self.options.is_some() {
            if block != 0 {
                return Step::nothing();
            }
            self.options = None;
            self.silences = 0;
            return Step::send(self.send_from_acknowledged(now));
        }
        // Only the low 16 bits travel. No more than a window is ever outstanding, so the difference tells which block
        // is meant, however often the numbers have rolled over.
        let progress = u64::from(block.wrapping_sub(self.acknowledged as u16));
        if progress > self.sent - self.acknowledged {
            return Step::nothing();
        }
        if progress == 0 {
            // A repeated ACK. With single blocks it must be ignored, or every block would be sent twice from then on
            // (RFC 1123 4.2.3.1). With windows it says that the first block of the window was lost (RFC 7440 4): it is
            // heeded once.
            if self.window == 1 || self.repeated || self.acknowledged == 0 {
                return Step::nothing();
            }
            self.repeated = true;
            return Step::send(self.send_from_acknowledged(now));
        }
        self.acknowledged += progress;
        self.silences = 0;
        self.repeated = false;
        if self.acknowledged == self.blocks() {
            return Step::done(Outcome::Complete);
        }
        Step::send(self.send_from_acknowledged(now))
    }

    /// The number of blocks: the last one is shorter than the others, maybe empty.
    fn blocks(&self) -> u64 {
        self.content.as_ref().len() as u64 / u64::from(self.block_size) + 1
    }

    /// The option acknowledgement, or the window after what the client has.
    fn send_from_acknowledged(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let wait = self.timeout.saturating_mul(1 << self.silences.min(8));
        self.deadline = now + wait.min(self.timeout.max(MAX_TIMEOUT));
        if let Some(options) = &self.options {
            return vec![Packet::OptionAck(options.clone()).emit()];
        }
        let first = self.acknowledged;
        let end = (first + u64::from(self.window)).min(self.blocks());
        self.sent = end;
        let content = self.content.as_ref();
        let size = usize::from(self.block_size);
        (first..end)
            .map(|index| {
                let start = (index as usize).saturating_mul(size).min(content.len());
                let data = &content[start..content.len().min(start + size)];
                Packet::Data { block: (index + 1) as u16, data }.emit()
            })
            .collect()
    }
}

/// A decimal number and nothing else.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;

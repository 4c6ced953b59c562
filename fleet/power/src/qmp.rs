//! A small client for the QEMU Machine Protocol (qemu: docs/interop/qmp-spec.rst) over a Unix socket.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use crate::Error;

/// Every answer of a healthy QEMU comes within milliseconds; a loaded test machine may need seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Longest line read. The largest answers (schema, qom-list of everything) stay well below.
const MAX_LINE: u64 = 1 << 20;

/// Events kept until somebody waits for them. A guest can make QEMU emit them without end.
const MAX_EVENTS: usize = 256;

/// One connection to a QMP socket, past its greeting and capability negotiation.
///
/// QEMU serves one client per socket at a time; drop the connection when done.
#[derive(Debug)]
pub struct Qmp {
    socket: PathBuf,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    events: VecDeque<Value>,
}

impl Qmp {
    /// Connects and negotiates.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`] when nobody listens, [`Error::Timeout`] when another client holds the socket,
    /// [`Error::Protocol`] when the peer is no QMP server.
    pub async fn connect(socket: &Path) -> Result<Self, Error> {
        let stream = UnixStream::connect(socket)
            .await
            .map_err(|source| Error::Connect { socket: socket.to_owned(), source })?;
        let (reader, writer) = stream.into_split();
        let mut qmp = Self {
            socket: socket.to_owned(),
            reader: BufReader::new(reader),
            writer,
            events: VecDeque::new(),
        };
        let greeting = qmp.within("greeting", ANSWER_WITHIN, Self::read_message).await?;
        if greeting.get("QMP").is_none() {
            return Err(qmp.protocol("no greeting"));
        }
        qmp.execute("qmp_capabilities", json!({})).await?;
        Ok(qmp)
    }

    /// Runs one command and returns its `return` value.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with QEMU's words; otherwise as for [`Qmp::connect`].
    pub async fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, Error> {
        let mut line = json!({ "execute": command, "arguments": arguments }).to_string();
        line.push('\n');
        self.writer.write_all(line.as_bytes()).await.map_err(|source| self.io(command, source))?;
        let mut answer = self.within(command, ANSWER_WITHIN, Self::read_answer).await?;
        if let Some(error) = answer.get("error") {
            let reason = error.get("desc").and_then(Value::as_str).unwrap_or("no reason given");
            return Err(Error::Refused {
                socket: self.socket.clone(),
                command: command.to_owned(),
                reason: reason.to_owned(),
            });
        }
        Ok(answer.get_mut("return").map_or(Value::Null, Value::take))
    }

    /// Forgets the events seen so far, so that [`Qmp::wait_event`] waits for a new one.
    pub fn forget_events(&mut self) {
        self.events.clear();
    }

    /// Waits until QEMU has emitted the event `name` and returns it. Events before it are dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] when it does not come in time; [`Error::Io`] when QEMU is gone.
    pub async fn wait_event(&mut self, name: &str, after: Duration) -> Result<Value, Error> {
        while let Some(event) = self.events.pop_front() {
            if is_event(&event, name) {
                return Ok(event);
            }
        }
        let wanted = name.to_owned();
        self.within(name, after, async move |qmp: &mut Self| {
            loop {
                let message = qmp.read_message().await?;
                if is_event(&message, &wanted) {
                    return Ok(message);
                }
            }
        })
        .await
    }

    async fn within<F>(&mut self, operation: &str, after: Duration, work: F) -> Result<Value, Error>
    where
        F: AsyncFnOnce(&mut Self) -> Result<Value, MessageError>,
    {
        let outcome = timeout(after, work(self)).await;
        match outcome {
            Err(_) => Err(Error::Timeout {
                socket: self.socket.clone(),
                operation: operation.to_owned(),
                after,
            }),
            Ok(Err(MessageError::Io(source))) => Err(self.io(operation, source)),
            Ok(Err(MessageError::NotJson(reason))) => Err(self.protocol(&reason)),
            Ok(Ok(message)) => Ok(message),
        }
    }

    async fn read_answer(&mut self) -> Result<Value, MessageError> {
        loop {
            let message = self.read_message().await?;
            if message.get("event").is_none() {
                return Ok(message);
            }
            if self.events.len() == MAX_EVENTS {
                self.events.pop_front();
            }
            self.events.push_back(message);
        }
    }

    async fn read_message(&mut self) -> Result<Value, MessageError> {
        let mut line = Vec::new();
        (&mut self.reader).take(MAX_LINE).read_until(b'\n', &mut line).await?;
        if line.last() != Some(&b'\n') {
            let kind = io::ErrorKind::UnexpectedEof;
            return Err(MessageError::Io(io::Error::new(kind, "the connection ended")));
        }
        serde_json::from_slice(&line).map_err(|error| MessageError::NotJson(error.to_string()))
    }

    fn io(&self, operation: &str, source: io::Error) -> Error {
        Error::Io { socket: self.socket.clone(), operation: operation.to_owned(), source }
    }

    fn protocol(&self, reason: &str) -> Error {
        Error::Protocol { socket: self.socket.clone(), reason: reason.to_owned() }
    }
}

/// What reading one line can end in, before the socket and the operation are known.
enum MessageError {
    Io(io::Error),
    NotJson(String),
}

impl From<io::Error> for MessageError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn is_event(message: &Value, name: &str) -> bool {
    message.get("event").and_then(Value::as_str) == Some(name)
}

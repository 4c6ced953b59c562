//! Streaming layers into memory: all at once, each checked chunk by chunk, resumed where it broke, from whichever server.

use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use overboot_bootset::{ChunkCheck, Layer};
use overboot_wire::path;

use super::retry::{Blame, Next, Retry};
use super::sink::Sink;
use crate::http::{Client, Request, Response};
use crate::url::Url;
use crate::{Error, clock};

/// A layer to fetch.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// For people.
    pub name: String,
    /// How it is known.
    pub source: Source<'a>,
}

/// Where a layer is and how it is checked.
#[derive(Debug, Clone)]
pub enum Source<'a> {
    /// From a signed set: below any of the servers, by digest, chunks checked.
    Signed(&'a Layer),
    /// `BASEFS` and `OVERLAYFS`: one URL, unchecked, as RackHD does it.
    Plain(Url),
}

/// What is the same for all layers.
pub struct Fetcher<'a> {
    /// Makes the requests.
    pub client: &'a Client,
    /// URLs below which `blobs/sha256/` is; the first is preferred.
    pub servers: &'a [String],
    /// How long to go on without progress.
    pub patience: Duration,
    /// Bytes fetched so far, of all layers.
    pub bytes: &'a AtomicU64,
    /// Set when another layer has failed: then all stop.
    pub stop: &'a AtomicBool,
    /// Told of each failure that is not the last.
    pub trouble: &'a (dyn Fn(&str) + Sync),
}

impl std::fmt::Debug for Fetcher<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("servers", &self.servers).finish_non_exhaustive()
    }
}

/// How many layers are fetched at a time: one connection rarely fills a link, many fight for it.
const CONNECTIONS: usize = 4;

/// Fetches all of `wanted` into the sinks that `open` makes; returns the sinks in the same order.
///
/// # Errors
/// The first layer that cannot be had; the others are stopped.
pub fn all<S: Sink + Send>(
    fetcher: &Fetcher<'_>,
    wanted: &[Wanted<'_>],
    open: &(dyn Fn(usize) -> Result<S, Error> + Sync),
) -> Result<Vec<S>, Error> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(layer) = wanted.get(index) else { return Ok(done) };
            let result = open(index).and_then(|mut sink| {
                fetcher.layer(layer, &mut sink)?;
                Ok(sink)
            });
            match result {
                Ok(sink) => done.push((index, sink)),
                Err(error) => {
                    fetcher.stop.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    };
    let results: Vec<Result<Vec<(usize, S)>, Error>> = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..CONNECTIONS.min(wanted.len())).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|w| w.join().unwrap_or(Err(Error::Stopped))).collect()
    });
    let mut sinks = Vec::new();
    let mut failure = None;
    for result in results {
        match result {
            Ok(done) => sinks.extend(done),
            // "Stopped" is the consequence of another error, never the cause.
            Err(Error::Stopped) => {
                failure.get_or_insert(Error::Stopped);
            }
            Err(error) => failure = Some(error),
        }
    }
    if let Some(error) = failure {
        return Err(error);
    }
    sinks.sort_by_key(|(index, _)| *index);
    Ok(sinks.into_iter().map(|(_, sink)| sink).collect())
}

/// Why one attempt ended.
enum Attempt {
    Done,
    Failed(Error, Blame),
    /// Not the server's doing: no room, or stopped.
    Fatal(Error),
}

impl Fetcher<'_> {
    /// Fetches one layer.
    fn layer(&self, wanted: &Wanted<'_>, sink: &mut impl Sink) -> Result<(), Error> {
        let urls: Vec<Url> = match &wanted.source {
            Source::Plain(url) => vec![url.clone()],
            Source::Signed(layer) => self
                .servers
                .iter()
                .map(|server| Url::parse(&path::blob_below(server, &layer.digest.hex())))
                .collect::<Result<_, _>>()?,
        };
        let mut retry = Retry::new(urls.len(), clock::boot_ms(), millis(self.patience));
        let mut stream = match &wanted.source {
            Source::Signed(layer) => Stream::signed(layer),
            Source::Plain(_) => Stream::plain(),
        };
        loop {
            let Some(url) = urls.get(retry.server()) else { return Err(Error::Stopped) };
            let (error, blame) = match self.attempt(url, &mut stream, sink, &mut retry) {
                Attempt::Done => return sink.finish(),
                Attempt::Fatal(error) => return Err(error),
                Attempt::Failed(error, blame) => (error, blame),
            };
            let sentence = format!(
                "{} from {}: {}",
                wanted.name,
                url.authority(),
                crate::error::chain(&error)
            );
            match retry.failed(clock::boot_ms(), blame) {
                Next::GiveUp => {
                    let tried: Vec<String> = urls.iter().map(Url::authority).collect();
                    return Err(Error::Layer {
                        layer: wanted.name.clone(),
                        tried: tried.join(", "),
                        source: Box::new(error),
                    });
                }
                Next::Ask { after, .. } => {
                    (self.trouble)(&format!("{sentence}; going on at byte {}", stream.rewind()));
                    self.sleep(after)?;
                }
            }
        }
    }

    fn sleep(&self, mut milliseconds: u64) -> Result<(), Error> {
        while milliseconds > 0 && !self.stop.load(Ordering::Relaxed) {
            let slice = milliseconds.min(50);
            std::thread::sleep(Duration::from_millis(slice));
            milliseconds -= slice;
        }
        if self.stop.load(Ordering::Relaxed) { Err(Error::Stopped) } else { Ok(()) }
    }

    fn attempt(
        &self,
        url: &Url,
        stream: &mut Stream<'_>,
        sink: &mut impl Sink,
        retry: &mut Retry,
    ) -> Attempt {
        let from = stream.rewind();
        let mut response = match self.open(url, from, stream) {
            Ok(Some(response)) => response,
            Ok(None) => return Attempt::Done,
            Err((error, blame)) => return Attempt::Failed(error, blame),
        };
        let mut buffer = vec![0; 128 << 10];
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Attempt::Fatal(Error::Stopped);
            }
            let read = match response.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(source) => {
                    let host = url.authority();
                    let error = Error::Connection { what: "read from", host, source };
                    return Attempt::Failed(error, Blame::Passing);
                }
            };
            let before = stream.good();
            let checked = stream.take(&buffer[..read], &mut |bytes| sink.accept(bytes));
            self.bytes.fetch_add(stream.good() - before, Ordering::Relaxed);
            if stream.good() > before {
                retry.progress(clock::boot_ms());
            }
            match checked {
                Ok(()) => {}
                Err(Error::Chunk(error)) => {
                    return Attempt::Failed(Error::Chunk(error), Blame::Server);
                }
                Err(error) => return Attempt::Fatal(error),
            }
        }
        match stream.end() {
            Ok(()) => Attempt::Done,
            Err(error) => Attempt::Failed(error, Blame::Server),
        }
    }

    /// Asks for the bytes from `from` on; `None` if a plain file turns out to be complete.
    fn open(
        &self,
        url: &Url,
        from: u64,
        stream: &mut Stream<'_>,
    ) -> Result<Option<Response>, (Error, Blame)> {
        let request = Request { from, ..Request::get() };
        let mut response =
            self.client.send(url, &request).map_err(|error| (error, Blame::Passing))?;
        let head = &response.head;
        let status = |blame| (Error::Status { url: url.to_string(), status: head.status }, blame);
        match head.status {
            200 => {
                stream.expect(head.length);
                // A server without ranges sends all of it again: what we have is passed over.
                let passed = std::io::copy(&mut (&mut response).take(from), &mut std::io::sink());
                let host = url.authority();
                passed.map_err(|source| {
                    (Error::Connection { what: "read from", host, source }, Blame::Passing)
                })?;
                Ok(Some(response))
            }
            206 if head.range.is_some_and(|(first, _)| first == from) => {
                stream.expect(head.range.and_then(|(_, whole)| whole));
                Ok(Some(response))
            }
            416 if stream.is_whole() => Ok(None),
            404 | 403 | 410 | 206 | 416 => Err(status(Blame::Server)),
            _ => Err(status(Blame::Passing)),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The bytes of one layer in order, given on only when they are known to be good.
enum Stream<'a> {
    Signed {
        check: ChunkCheck<'a>,
        /// The chunk under way.
        chunk: Vec<u8>,
    },
    Plain {
        at: u64,
        whole: Option<u64>,
    },
}

impl<'a> Stream<'a> {
    fn signed(layer: &'a Layer) -> Self {
        Self::Signed { check: ChunkCheck::new(layer), chunk: Vec::new() }
    }

    fn plain() -> Self {
        Self::Plain { at: 0, whole: None }
    }

    /// Bytes given on.
    fn good(&self) -> u64 {
        match self {
            Self::Signed { check, .. } => check.verified(),
            Self::Plain { at, .. } => *at,
        }
    }

    /// Forgets what was not given on; returns the offset of the next byte.
    fn rewind(&mut self) -> u64 {
        match self {
            Self::Signed { check, chunk } => {
                chunk.clear();
                check.rewind()
            }
            Self::Plain { at, .. } => *at,
        }
    }

    /// Learns how long an unchecked file is.
    fn expect(&mut self, size: Option<u64>) {
        if let Self::Plain { whole, .. } = self {
            *whole = size.or(*whole);
        }
    }

    fn is_whole(&self) -> bool {
        match self {
            Self::Signed { check, .. } => check.is_complete(),
            Self::Plain { at, whole } => *whole == Some(*at),
        }
    }

    fn take(
        &mut self,
        mut bytes: &[u8],
        give: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match self {
            Self::Plain { at, .. } => {
                give(bytes)?;
                *at += bytes.len() as u64;
            }
            Self::Signed { check, chunk } => {
                while !bytes.is_empty() {
                    // Steps that end where a chunk may end, so that `verified` moves when `chunk` is complete.
                    let before = check.verified();
                    let (now, later) = bytes.split_at(bytes.len().min(4096 - chunk.len() % 4096));
                    check.update(now)?;
                    chunk.extend_from_slice(now);
                    bytes = later;
                    if check.verified() > before {
                        give(chunk)?;
                        chunk.clear();
                    }
                }
            }
        }
        Ok(())
    }

    /// The connection ended properly: is that all?
    fn end(&self) -> Result<(), Error> {
        match self {
            Self::Signed { check, .. } => check.finish().map_err(Error::Chunk),
            Self::Plain { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;

//! Bytes over HTTP: bounded, retried, resumed by Range, checked while they stream, and under their final name only
//! when they are whole.

pub(crate) mod aside;
mod client;

use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use overboot_digest::Digest;
use tracing::debug;
use ureq::Body;
use ureq::http::{Response, header};

pub(crate) use self::aside::Aside;
pub(crate) use self::aside::{NEW, replace};
use self::client::Client;
use crate::Error;

/// How to fetch.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// The HTTP proxy to go through, `http://HOST:PORT`, such as an apt-cacher-ng; `None`: what the environment says
    /// (`http_proxy`, `https_proxy`, `no_proxy`).
    pub proxy: Option<String>,
    /// Never use the network: what is not cached is an error.
    pub offline: bool,
    /// How often an address is tried, at least once.
    pub attempts: u32,
    /// How long to wait before the second attempt; doubled before each further one.
    pub back_off: Duration,
    /// How long a transfer may stand still before it counts as broken.
    pub stall: Duration,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            proxy: None,
            offline: false,
            attempts: 4,
            back_off: Duration::from_millis(500),
            stall: Duration::from_secs(30),
        }
    }
}

/// Fetches over HTTP; cheap to share among threads, keeps connections open between requests.
#[derive(Debug)]
pub struct Fetcher {
    client: Client,
    options: FetchOptions,
}

/// A file whose size and content are known beforehand.
#[derive(Debug, Clone, Copy)]
pub struct Download<'a> {
    /// Where to get it; the next address is tried where one fails.
    pub urls: &'a [String],
    /// Its length in bytes.
    pub size: u64,
    /// Its content.
    pub sha256: Digest,
    /// Where to put it. While it is incomplete it is beside that, with `.partial` at the end of its name; a later call
    /// goes on from there.
    pub to: &'a Path,
}

/// What an attempt failed with: is another one worth it?
enum Failure {
    Again(Error),
    Final(Error),
}

impl Fetcher {
    /// A fetcher that works as `options` say. Opens no connection yet.
    ///
    /// # Errors
    /// [`Error::Proxy`] where the proxy cannot be used.
    pub fn new(options: FetchOptions) -> Result<Self, Error> {
        Ok(Self { client: Client::new(&options)?, options })
    }

    /// Must the network not be used?
    #[must_use]
    pub fn offline(&self) -> bool {
        self.options.offline
    }

    /// The whole file at `url`, of at most `limit` bytes.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::TooLarge`], or why the network failed.
    pub fn get(&self, url: &str, limit: u64) -> Result<Vec<u8>, Error> {
        let too_large = || Failure::Final(Error::TooLarge { url: url.to_owned(), limit });
        self.again(url, || {
            let mut response = self.client.get(url, 0)?;
            if length(&response).is_some_and(|length| length > limit) {
                return Err(too_large());
            }
            let mut bytes = Vec::new();
            let read = response
                .body_mut()
                .as_reader()
                .take(limit.saturating_add(1))
                .read_to_end(&mut bytes);
            read.map_err(|source| self.broken(url, source))?;
            if bytes.len() as u64 > limit { Err(too_large()) } else { Ok(bytes) }
        })
    }

    /// Is there a file at `url`? Also `false` where that cannot be found out.
    pub(crate) fn exists(&self, url: &str) -> bool {
        self.client.get(url, 0).is_ok()
    }

    /// Fetches a file into its place; does nothing where a file of that size is there already. Two processes that want
    /// the same file fetch it once: the second waits. `progress` hears how many of its bytes are there.
    ///
    /// # Errors
    /// That of the last address tried; at once [`Error::DiskFull`] and [`Error::File`].
    pub fn download(&self, wanted: &Download<'_>, progress: &dyn Fn(u64)) -> Result<(), Error> {
        let Some(mut aside) = Aside::open(wanted.to, wanted.size)? else {
            progress(wanted.size);
            return Ok(());
        };
        let mut last = None;
        for url in wanted.urls {
            let result = self.again(url, || self.transfer(url, wanted, &mut aside, progress));
            match result {
                Ok(()) => return aside.finish(),
                Err(error @ (Error::DiskFull { .. } | Error::File { .. })) => return Err(error),
                Err(error) => {
                    debug!(url, %error, "this address failed");
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| Error::Address {
            url: String::new(),
            reason: format!("no address is known for {}", wanted.sha256),
        }))
    }

    /// One attempt to get what is missing of a file.
    fn transfer(
        &self,
        url: &str,
        wanted: &Download<'_>,
        aside: &mut Aside,
        progress: &dyn Fn(u64),
    ) -> Result<(), Failure> {
        let wrong_size = |found| {
            Failure::Final(Error::WrongSize { url: url.to_owned(), expected: wanted.size, found })
        };
        let resumed = aside.len();
        if resumed < wanted.size {
            let mut response = self.client.get(url, resumed)?;
            if response.status() != 206 || !continues(&response, resumed) {
                aside.clear()?;
            }
            if response.status() == 206 && aside.len() != resumed {
                return Err(
                    self.broken(url, io::Error::other("it sent another part than asked for"))
                );
            }
            if let Some(length) = length(&response)
                && length != wanted.size - aside.len()
            {
                let found = length.saturating_add(aside.len());
                aside.clear()?;
                return Err(wrong_size(found));
            }
            let mut body = response.body_mut().as_reader().take(wanted.size - aside.len() + 1);
            let mut buffer = vec![0; 64 << 10];
            loop {
                let read = match body.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(read) => read,
                    Err(source) => return Err(self.broken(url, source)),
                };
                if aside.len() + read as u64 > wanted.size {
                    aside.clear()?;
                    return Err(wrong_size(wanted.size + 1));
                }
                aside.append(&buffer[..read])?;
                progress(aside.len());
            }
            if aside.len() < wanted.size {
                return Err(self.broken(url, io::ErrorKind::UnexpectedEof.into()));
            }
        }
        let found = aside.digest();
        if found == wanted.sha256 {
            return Ok(());
        }
        aside.clear()?;
        let error = Error::WrongDigest { url: url.to_owned(), expected: wanted.sha256, found };
        // What was there before may have been of another file, or damaged: then it deserves a fresh start.
        Err(if resumed > 0 { Failure::Again(error) } else { Failure::Final(error) })
    }

    /// Runs `attempt` until it succeeds, fails for good, or has been run often enough.
    fn again<T>(
        &self,
        url: &str,
        mut attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let (mut wait, mut left) = (self.options.back_off, self.options.attempts);
        loop {
            left = left.saturating_sub(1);
            match attempt() {
                Ok(value) => return Ok(value),
                Err(Failure::Again(error)) if left > 0 => {
                    debug!(url, %error, left, "trying again");
                    std::thread::sleep(wait);
                    wait = wait.saturating_mul(2);
                }
                Err(Failure::Again(error) | Failure::Final(error)) => return Err(error),
            }
        }
    }

    fn broken(&self, url: &str, source: io::Error) -> Failure {
        let attempts = self.options.attempts.max(1);
        Failure::Again(Error::Interrupted { url: url.to_owned(), attempts, source })
    }
}

impl From<Error> for Failure {
    /// Errors of the disk: another attempt meets the same disk.
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

fn length(response: &Response<Body>) -> Option<u64> {
    response.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Does a 206 answer start at byte `offset`? (RFC 9110, 14.4: `Content-Range: bytes 500-999/1234`.)
fn continues(response: &Response<Body>, offset: u64) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let start = range
        .and_then(|range| range.strip_prefix("bytes "))
        .and_then(|range| range.split_once('-'))
        .and_then(|(start, _)| start.trim().parse::<u64>().ok());
    start == Some(offset)
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Again(error) | Self::Final(error)) = self;
        error.fmt(f)
    }
}

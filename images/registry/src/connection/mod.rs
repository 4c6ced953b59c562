//! Requests to one repository: TLS, logins, redirects, and which failures are worth another attempt.
//!
//! A login goes to the registry itself and to the token server that it names, never to where it redirects.

mod challenge;
mod login;
mod tls;

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use overboot_oci::address::is_loopback;
use serde::Deserialize;
use tracing::debug;
use ureq::config::Config;
use ureq::http::{HeaderName, Method, Request, Response, StatusCode, Uri, header};
use ureq::{Agent, Body, Proxy, Timeout};

use crate::credentials::Known;
use crate::{Address, Credentials, Error};

/// More redirects than a registry needs: to its storage, and from there once more.
const MOST_REDIRECTS: u32 = 5;

/// The most that is read of an error.
const LARGEST_ANSWER: u64 = 1 << 20;

/// How to speak to a registry.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who we are.
    pub credentials: Credentials,
    /// A file with certificates of further authorities (PEM).
    pub ca: Option<PathBuf>,
    /// Without TLS. This machine's own registries may do without it in any case.
    pub plain_http: bool,
    /// How often a request is tried, at least once. A transfer that goes on counts anew.
    pub attempts: u32,
    /// How long to wait before the second attempt; doubled before each further one.
    pub back_off: Duration,
    /// How long a transfer may stand still before it counts as broken.
    pub stall: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            ca: None,
            plain_http: false,
            attempts: 4,
            back_off: Duration::from_millis(500),
            stall: Duration::from_secs(30),
        }
    }
}

/// What a login must be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Pull,
    /// Reading and writing.
    Push,
}

/// What an attempt failed with: is another one worth it?
#[derive(Debug)]
pub(crate) enum Failure {
    Again(Error),
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// A way to one repository; may be shared among threads.
pub(crate) struct Connection {
    agent: Agent,
    address: Address,
    access: Access,
    /// `https://HOST:PORT`.
    origin: String,
    known: Known,
    /// The value of the header `Authorization`, once one was asked for.
    authorization: Mutex<Option<String>>,
    attempts: u32,
    back_off: Duration,
}

impl fmt::Debug for Connection {
    /// Without what lets us in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({} for {})", self.origin, self.address)
    }
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) method: &'a Method,
    /// Whole, or from the origin on: `/v2/…`.
    pub(crate) url: &'a str,
    pub(crate) headers: &'a [(HeaderName, String)],
    pub(crate) body: Option<&'a [u8]>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(method: &'a Method, url: &'a str) -> Self {
        Self { method, url, headers: &[], body: None }
    }

    /// For messages.
    pub(crate) fn shown(&self) -> String {
        // What stands behind the `?` may let its reader in.
        let url = self.url.split('?').next().unwrap_or_default();
        format!("{} {url}", self.method)
    }
}

impl Connection {
    /// Finds the registry and asks it whether it is one.
    pub(crate) fn open(
        address: &Address,
        access: Access,
        options: &Options,
    ) -> Result<Self, Error> {
        let authority = address.authority();
        let proxy = if is_loopback(authority) { None } else { Proxy::try_from_env() };
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A proxy is reached by CONNECT, which none allows for port 80.
            .proxy(proxy.filter(|_| !options.plain_http))
            .tls_config(tls::config(options.ca.as_deref())?)
            .timeout_resolve(Some(Duration::from_secs(15)))
            .timeout_connect(Some(Duration::from_secs(15)))
            // A registry may read again what it was sent before it answers.
            .timeout_recv_response(Some(options.stall * 4))
            .timeout_per_read(Some(options.stall))
            .timeout_send_body(Some(options.stall * 20))
            .max_idle_connections_per_host(16)
            .user_agent(concat!("overboot/", env!("CARGO_PKG_VERSION")))
            .build();
        let scheme = if options.plain_http { "http" } else { "https" };
        let mut connection = Self {
            agent: config.new_agent(),
            address: address.clone(),
            access,
            origin: format!("{scheme}://{authority}"),
            known: options.credentials.find(address)?,
            authorization: Mutex::default(),
            attempts: options.attempts.max(1),
            back_off: options.back_off,
        };
        match connection.ping() {
            // Nobody but this machine reads along.
            Err(Error::PlainHttp { .. }) if address.is_loopback() => {
                connection.origin = format!("http://{authority}");
                connection.ping()?;
            }
            pinged => pinged?,
        }
        Ok(connection)
    }

    fn ping(&self) -> Result<(), Error> {
        let call = Call::new(&Method::GET, "/v2/");
        let response = self.again(&call, || self.send(&call))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let reason =
            format!("it answers status {} where a registry says that it is one", status.as_u16());
        Err(Error::NotARegistry { host: self.address.authority().to_owned(), reason })
    }

    /// The repository with its host.
    pub(crate) fn place(&self) -> String {
        self.address.name()
    }

    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.address.repository)
    }

    /// Runs `attempt` until it succeeds, fails for good, or has been run often enough.
    pub(crate) fn again<T>(
        &self,
        call: &Call<'_>,
        mut attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let mut patience = self.patience();
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(failure) => patience.after(failure, &call.shown())?,
            }
        }
    }

    pub(crate) fn patience(&self) -> Patience {
        Patience { left: self.attempts, wait: self.back_off, whole: (self.attempts, self.back_off) }
    }

    /// One attempt: with a login where one is wanted, and to where the registry sends us. Any status is an answer, except
    /// that the login is not good enough, or that the registry may do better the next time.
    pub(crate) fn send(&self, call: &Call<'_>) -> Result<Response<Body>, Failure> {
        let mut at = self.whole(call.url)?;
        let mut asked = false;
        let mut redirects = 0;
        loop {
            // A login is the registry's alone: its storage is another's.
            let own = self.is_own(&at);
            let response = self.send_once(call, &at, own)?;
            let status = response.status();
            match status {
                StatusCode::UNAUTHORIZED if own && !asked => {
                    asked = true;
                    let authorization = self.authorize(&response)?;
                    *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some(authorization);
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if own => {
                    return Err(Failure::Final(self.denied()));
                }
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT
                    if matches!(*call.method, Method::GET | Method::HEAD) =>
                {
                    redirects += 1;
                    if redirects > MOST_REDIRECTS {
                        let reason = "it redirects too often";
                        return Err(Error::document(call.shown(), reason).into());
                    }
                    let location = location(&response).unwrap_or_default();
                    at = self.whole(&resolve(&at, location))?;
                }
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                    return Err(Failure::Again(status_error(call, response)));
                }
                status if status.is_server_error() => {
                    return Err(Failure::Again(status_error(call, response)));
                }
                _ => return Ok(response),
            }
        }
    }

    fn send_once(&self, call: &Call<'_>, at: &Uri, own: bool) -> Result<Response<Body>, Failure> {
        let mut request = Request::builder().method(call.method).uri(at);
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        let authorization =
            self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if own && let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let sent = match call.body {
            Some(body) => request.body(body).map(|request| self.agent.run(request)),
            None => request.body(()).map(|request| self.agent.run(request)),
        };
        let sent = sent.map_err(|error| Error::document(call.shown(), error.to_string()))?;
        sent.map_err(|error| self.failure(call, at, error))
    }

    /// An address that may be asked: with TLS, or where none is needed.
    fn whole(&self, url: &str) -> Result<Uri, Failure> {
        let text =
            if url.starts_with('/') { format!("{}{url}", self.origin) } else { url.to_owned() };
        let refused = |reason: &str| {
            let shown = text.split('?').next().unwrap_or_default();
            let what = format!("the registry {} sends us to {shown}", self.address.authority());
            Err(Failure::Final(Error::document(what, reason)))
        };
        let Ok(uri) = text.parse::<Uri>() else { return refused("which is no address") };
        let Some(authority) = uri.authority() else { return refused("which names no host") };
        if authority.as_str().contains('@') {
            return refused("which has a login in it");
        }
        match uri.scheme_str() {
            Some("https") => Ok(uri),
            Some("http") if self.origin.starts_with("http://") => Ok(uri),
            Some("http") => refused("which is without TLS"),
            _ => refused("which is not HTTP"),
        }
    }

    fn is_own(&self, at: &Uri) -> bool {
        let scheme = at.scheme_str().unwrap_or_default();
        let authority = at.authority().map_or("", |authority| authority.as_str());
        self.origin == format!("{scheme}://{authority}")
    }

    fn failure(&self, call: &Call<'_>, at: &Uri, error: ureq::Error) -> Failure {
        let host = at.authority().map_or("", |authority| authority.as_str()).to_owned();
        if let Some(tls) = tls_error(&error) {
            // What a server that speaks plain HTTP answers to a TLS greeting is no TLS record.
            if matches!(tls, rustls::Error::InvalidMessage(_)) {
                return Error::PlainHttp { host }.into();
            }
            let source = io::Error::other(tls.clone());
            return match tls {
                rustls::Error::InvalidCertificate(_) => Error::Certificate { host, source },
                _ => Error::Unreachable { host, source },
            }
            .into();
        }
        Failure::Again(match error {
            ureq::Error::HostNotFound => {
                let source = io::Error::new(io::ErrorKind::NotFound, "no such host is known");
                Error::Unreachable { host, source }
            }
            ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
                Error::Unreachable { host, source: io::ErrorKind::TimedOut.into() }
            }
            ureq::Error::ConnectionFailed | ureq::Error::ConnectProxyFailed(_) => {
                Error::Unreachable { host, source: io::Error::other(error) }
            }
            ureq::Error::Io(source) if is_unreachable(&source) => {
                Error::Unreachable { host, source }
            }
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                return Error::document(call.shown(), error.to_string()).into();
            }
            error => self.broken(call, error.into_io()),
        })
    }

    pub(crate) fn broken(&self, call: &Call<'_>, source: io::Error) -> Error {
        Error::Interrupted { what: call.shown(), attempts: self.attempts, source }
    }
}

/// How often to try again, and after what time.
#[derive(Debug)]
pub(crate) struct Patience {
    left: u32,
    wait: Duration,
    whole: (u32, Duration),
}

impl Patience {
    /// Waits, if this failure is worth another attempt and there is one left; otherwise it is the error.
    pub(crate) fn after(&mut self, failure: Failure, what: &str) -> Result<(), Error> {
        self.left = self.left.saturating_sub(1);
        match failure {
            Failure::Again(error) if self.left > 0 => {
                debug!(what, %error, left = self.left, "trying again");
                std::thread::sleep(self.wait);
                self.wait = self.wait.saturating_mul(2);
                Ok(())
            }
            Failure::Again(error) | Failure::Final(error) => Err(error),
        }
    }

    /// Something was achieved: what breaks from now on breaks anew.
    pub(crate) fn renew(&mut self) {
        (self.left, self.wait) = self.whole;
    }
}

fn tls_error(error: &ureq::Error) -> Option<&rustls::Error> {
    match error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

fn is_unreachable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::PermissionDenied
    )
}

/// Where an answer sends us.
pub(crate) fn location(response: &Response<Body>) -> Option<&str> {
    response.headers().get(header::LOCATION)?.to_str().ok()
}

/// `location`, seen from `at` (RFC 9110, 10.2.2): whole, or from the host on; registries write no other.
fn resolve(at: &Uri, location: &str) -> String {
    if !location.starts_with('/') || location.starts_with("//") {
        return location.to_owned();
    }
    let scheme = at.scheme_str().unwrap_or("https");
    let authority = at.authority().map_or("", |authority| authority.as_str());
    format!("{scheme}://{authority}{location}")
}

/// An answer that is none of those that were hoped for.
pub(crate) fn status_error(call: &Call<'_>, mut response: Response<Body>) -> Error {
    #[derive(Deserialize)]
    struct Answer {
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let status = response.status().as_u16();
    let mut bytes = Vec::new();
    // What cannot be read of it is not told.
    let _ = response.body_mut().as_reader().take(LARGEST_ANSWER).read_to_end(&mut bytes);
    let answer = serde_json::from_slice::<Answer>(&bytes).ok();
    let first = answer.and_then(|answer| answer.errors.into_iter().next());
    // Somebody else's words: shown, but not obeyed by a terminal.
    let clean =
        |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(200).collect() };
    let detail = first.map(|one| format!(": {} ({})", clean(&one.message), clean(&one.code)));
    Error::Status { what: call.shown(), status, detail: detail.unwrap_or_default() }
}

/// The whole of an answer, of at most `limit` bytes.
pub(crate) fn whole_body(
    call: &Call<'_>,
    mut response: Response<Body>,
    limit: u64,
) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = response.body_mut().as_reader().take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|source| {
        Failure::Again(Error::Interrupted { what: call.shown(), attempts: 1, source })
    })?;
    if bytes.len() as u64 > limit {
        return Err(Error::TooLarge { what: call.shown(), limit }.into());
    }
    Ok(bytes)
}

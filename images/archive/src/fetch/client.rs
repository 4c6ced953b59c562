//! One HTTP request, directly or through a proxy.
//!
//! `ureq` reaches every proxy by CONNECT, which caches such as apt-cacher-ng and squid refuse for port 80, and through
//! which they could cache nothing. So `http://` goes through a proxy as HTTP wants it, by naming the whole address in
//! the request line (RFC 9112, 3.2.2, "absolute-form"), and only `https://` by CONNECT.

use std::io;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::{Response, StatusCode, Uri, header};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport,
};
use ureq::{Agent, Body, Proxy, ProxyProtocol, Timeout};

use super::{Failure, FetchOptions};
use crate::Error;

/// More redirects than a mirror needs (a redirector, then its choice).
const MOST_REDIRECTS: u32 = 5;

#[derive(Debug)]
pub(super) struct Client {
    direct: Agent,
    proxied: Option<Proxied>,
    attempts: u32,
}

#[derive(Debug)]
struct Proxied {
    proxy: Proxy,
    /// For `http://`, in absolute-form.
    plain: Agent,
    /// For `https://`, by CONNECT.
    tunnel: Agent,
}

impl Client {
    pub(super) fn new(options: &FetchOptions) -> Result<Self, Error> {
        let proxy = match &options.proxy {
            None => Proxy::try_from_env(),
            Some(address) => Some(Proxy::new(address).map_err(|_| Error::Proxy {
                proxy: without_login(address),
                from_environment: false,
                reason: "this is no proxy's address",
            })?),
        };
        let proxied = proxy.map(|proxy| proxied(proxy, options)).transpose()?;
        let direct = agent(options, None, DefaultConnector::default(), None);
        Ok(Self { direct, proxied, attempts: options.attempts.max(1) })
    }

    /// The answer to a GET of `url` from byte `offset` on: status 200, or 206 where `offset` is not 0.
    pub(super) fn get(&self, url: &str, offset: u64) -> Result<Response<Body>, Failure> {
        let mut at = address(url, url)?;
        for _ in 0..=MOST_REDIRECTS {
            let response = self.get_once(url, &at, offset)?;
            let status = response.status();
            match status {
                StatusCode::OK => return Ok(response),
                StatusCode::PARTIAL_CONTENT if offset > 0 => return Ok(response),
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => {
                    let location = response.headers().get(header::LOCATION);
                    let location = location.and_then(|value| value.to_str().ok()).unwrap_or("");
                    at = redirected(url, &at, location)?;
                }
                // What is there of the file is not what the server has: begin again.
                StatusCode::RANGE_NOT_SATISFIABLE if offset > 0 => return self.get(url, 0),
                StatusCode::NOT_FOUND | StatusCode::GONE => {
                    return Err(Failure::Final(Error::NotFound { url: url.to_owned() }));
                }
                _ => {
                    let error = Error::Status { url: url.to_owned(), status: status.as_u16() };
                    let passing = status.is_server_error()
                        || matches!(
                            status,
                            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
                        );
                    return Err(if passing {
                        Failure::Again(error)
                    } else {
                        Failure::Final(error)
                    });
                }
            }
        }
        let reason = "it redirects too often".to_owned();
        Err(Failure::Final(Error::Address { url: url.to_owned(), reason }))
    }

    fn get_once(&self, url: &str, at: &Uri, offset: u64) -> Result<Response<Body>, Failure> {
        let proxied = self.proxied.as_ref().filter(|proxied| !proxied.proxy.is_no_proxy(at));
        let https = at.scheme_str() == Some("https");
        let agent = match proxied {
            None => &self.direct,
            Some(proxied) if https => &proxied.tunnel,
            Some(proxied) => &proxied.plain,
        };
        let mut request = agent.get(at.clone());
        if offset > 0 {
            request = request.header(header::RANGE, format!("bytes={offset}-"));
        }
        request.call().map_err(|error| {
            let host = match proxied {
                Some(proxied) => {
                    format!("the proxy {}:{}", proxied.proxy.host(), proxied.proxy.port())
                }
                None => at.host().unwrap_or_default().to_owned(),
            };
            self.failure(url, host, error)
        })
    }

    fn failure(&self, url: &str, host: String, error: ureq::Error) -> Failure {
        let url = url.to_owned();
        let attempts = self.attempts;
        Failure::Again(match error {
            ureq::Error::HostNotFound => Error::Unresolved { url, host },
            ureq::Error::Timeout(Timeout::Resolve) => Error::Unresolved { url, host },
            ureq::Error::Timeout(Timeout::Connect) => {
                Error::Unreachable { url, host, source: io::ErrorKind::TimedOut.into() }
            }
            ureq::Error::ConnectionFailed | ureq::Error::ConnectProxyFailed(_) => {
                Error::Unreachable { url, host, source: io::Error::other(error) }
            }
            ureq::Error::Io(source) if is_unreachable(&source) => {
                Error::Unreachable { url, host, source }
            }
            // A certificate does not become valid by asking again.
            ureq::Error::Rustls(_) | ureq::Error::Tls(_) => {
                let source = error.into_io();
                return Failure::Final(Error::Unreachable { url, host, source });
            }
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                let reason = error.to_string();
                return Failure::Final(Error::Address { url, reason });
            }
            error => Error::Interrupted { url, attempts, source: error.into_io() },
        })
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

fn address(url: &str, text: &str) -> Result<Uri, Failure> {
    let refused = |reason: String| Failure::Final(Error::Address { url: url.to_owned(), reason });
    let uri: Uri = text.parse().map_err(|error| refused(format!("{error}")))?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        _ => Err(refused("only http:// and https:// can be fetched".to_owned())),
    }
}

/// Where `location` leads, seen from `at`: a whole address, or a path on the same host (RFC 9110, 10.2.2; mirrors use
/// no other form).
fn redirected(url: &str, at: &Uri, location: &str) -> Result<Uri, Failure> {
    if location.starts_with('/') && !location.starts_with("//") {
        let scheme = at.scheme_str().unwrap_or("http");
        let authority = at.authority().map_or("", |authority| authority.as_str());
        return address(url, &format!("{scheme}://{authority}{location}"));
    }
    address(url, location)
}

/// The address without what stands before an `@`, which is nobody else's business.
fn without_login(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
    let (authority, _) = rest.split_once('/').unwrap_or((rest, ""));
    format!("{scheme}://{}", authority.rsplit('@').next().unwrap_or_default())
}

fn proxied(proxy: Proxy, options: &FetchOptions) -> Result<Proxied, Error> {
    let refused = |reason| Error::Proxy {
        proxy: without_login(&proxy.uri().to_string()),
        from_environment: options.proxy.is_none(),
        reason,
    };
    if proxy.protocol() != ProxyProtocol::Http {
        return Err(refused("only a proxy that is spoken to by http:// can be used"));
    }
    if proxy.username().is_some() {
        return Err(refused("a proxy that wants a login cannot be used"));
    }
    let connector = AbsoluteForm { inner: DefaultConnector::default() };
    Ok(Proxied {
        plain: agent(options, None, connector, Some(proxy.uri().clone())),
        tunnel: agent(options, Some(proxy.clone()), DefaultConnector::default(), None),
        proxy,
    })
}

fn agent(
    options: &FetchOptions,
    proxy: Option<Proxy>,
    connector: impl Connector,
    instead: Option<Uri>,
) -> Agent {
    let config = Config::builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(proxy)
        .timeout_resolve(Some(Duration::from_secs(15)))
        .timeout_connect(Some(Duration::from_secs(15)))
        .timeout_recv_response(Some(options.stall))
        .timeout_per_read(Some(options.stall))
        .max_idle_connections(16)
        .max_idle_connections_per_host(16)
        .user_agent(concat!("overboot/", env!("CARGO_PKG_VERSION")))
        .build();
    Agent::with_parts(config, connector, Names { instead })
}

/// The system's resolver, whose failures can be told from those of connections.
#[derive(Debug)]
struct Names {
    /// The proxy to connect to, whatever host is asked for.
    instead: Option<Uri>,
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let resolved = DefaultResolver::default().resolve(
            self.instead.as_ref().unwrap_or(uri),
            config,
            timeout,
        );
        resolved.map_err(|error| match error {
            ureq::Error::Io(_) => ureq::Error::HostNotFound,
            other => other,
        })
    }
}

/// Connects to where [`Names`] says and writes request lines in absolute-form.
#[derive(Debug)]
struct AbsoluteForm {
    inner: DefaultConnector,
}

impl Connector for AbsoluteForm {
    type Out = AbsoluteFormTransport;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<()>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let authority = details.uri.authority().map_or("", |authority| authority.as_str());
        let origin = format!("http://{authority}").into_bytes();
        let inner = self.inner.connect(details, chained)?;
        Ok(inner.map(|inner| AbsoluteFormTransport { inner, origin }))
    }
}

#[derive(Debug)]
struct AbsoluteFormTransport {
    inner: Box<dyn Transport>,
    origin: Vec<u8>,
}

impl Transport for AbsoluteFormTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        // A GET has no body, and its head is sent in one piece: what is sent starts with the request line.
        const METHOD: &[u8] = b"GET ";
        let output = self.inner.buffers().output();
        let longer = amount + self.origin.len();
        if !output[..amount].starts_with(b"GET /") || longer > output.len() {
            return Err(ureq::Error::BadUri("this request cannot go through a proxy".to_owned()));
        }
        output.copy_within(METHOD.len()..amount, METHOD.len() + self.origin.len());
        output[METHOD.len()..METHOD.len() + self.origin.len()].copy_from_slice(&self.origin);
        self.inner.transmit_output(longer, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }
}

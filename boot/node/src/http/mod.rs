//! A small HTTP/1.1 client (RFC 9110, 9112): one request per connection, time limits on everything, nothing unbounded.
//!
//! Plain HTTP is enough here: what is booted is signed, and tasks come from the server that the firmware already trusted.

mod body;
mod head;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

pub use body::Body;
pub use head::Head;

use crate::url::Url;
use crate::{Error, dns};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the peer may take to take what we send.
const WRITE: Duration = Duration::from_secs(10);
/// How often an answer may send us elsewhere.
const REDIRECTS: usize = 3;

/// Makes requests. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// Name servers, for URLs with names.
    pub name_servers: Vec<Ipv4Addr>,
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `GET`, `HEAD` or `POST`.
    pub method: &'static str,
    /// What a `POST` sends: its content type and content.
    pub content: Option<(&'static str, &'a [u8])>,
    /// Media type asked for.
    pub accept: &'static str,
    /// First byte wanted; with 0 no `Range` is sent.
    pub from: u64,
    /// How long the server may stay silent.
    pub silence: Duration,
}

impl Request<'_> {
    /// A plain `GET`.
    #[must_use]
    pub fn get() -> Self {
        Self {
            method: "GET",
            content: None,
            accept: "*/*",
            from: 0,
            silence: Duration::from_secs(15),
        }
    }
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub struct Response {
    /// Status and header fields.
    pub head: Head,
    /// The URL that answered, after redirections.
    pub url: Url,
    body: Body<TcpStream>,
}

impl Client {
    /// Sends a request; all but a `POST` follow redirections.
    ///
    /// # Errors
    /// The name has no address, nobody answers in time, or what answers is no HTTP server. A status such as 404 is no
    /// error here.
    pub fn send(&self, url: &Url, request: &Request<'_>) -> Result<Response, Error> {
        let mut url = url.clone();
        for _ in 0..=REDIRECTS {
            let response = self.once(&url, request)?;
            match (&response.head.location, response.head.status) {
                (Some(location), 301 | 302 | 303 | 307 | 308) if request.method != "POST" => {
                    url = url.join(location)?;
                }
                _ => return Ok(response),
            }
        }
        Err(Error::NotHttp { host: url.authority(), reason: "too many redirections" })
    }

    /// `GET`s a small document.
    ///
    /// # Errors
    /// As [`Client::send`]; a status other than 200; more than `max` bytes.
    pub fn fetch(&self, url: &Url, max: u64) -> Result<(Vec<u8>, Head), Error> {
        let response = self.send(url, &Request::get())?;
        if response.head.status != 200 {
            return Err(Error::Status { url: url.to_string(), status: response.head.status });
        }
        let head = response.head.clone();
        Ok((response.bytes(max)?, head))
    }

    fn once(&self, url: &Url, request: &Request<'_>) -> Result<Response, Error> {
        let host = url.authority();
        let mut stream = self.connect(url)?;
        let broken = |what| {
            let host = host.clone();
            move |source| Error::Connection { what, host, source }
        };
        let timeouts = stream
            .set_read_timeout(Some(request.silence))
            .and_then(|()| stream.set_write_timeout(Some(WRITE)))
            .and_then(|()| stream.set_nodelay(true));
        timeouts.map_err(broken("set up a connection to"))?;

        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: overboot/{}\r\nAccept: {}\r\nConnection: close\r\n",
            request.method,
            url.target,
            env!("CARGO_PKG_VERSION"),
            request.accept,
        );
        if request.from > 0 {
            head.push_str(&format!("Range: bytes={}-\r\n", request.from));
        }
        if let Some((kind, content)) = request.content {
            head.push_str(&format!(
                "Content-Type: {kind}\r\nContent-Length: {}\r\n",
                content.len()
            ));
        }
        head.push_str("\r\n");
        let content = request.content.map_or(&[][..], |(_, content)| content);
        stream.write_all(&[head.as_bytes(), content].concat()).map_err(broken("write to"))?;

        let (head, rest) = read_head(&mut stream, &host)?;
        let no_body = request.method == "HEAD" || matches!(head.status, 204 | 304);
        let body = Body::new(stream, rest, &head, no_body);
        Ok(Response { head, url: url.clone(), body })
    }

    fn connect(&self, url: &Url) -> Result<TcpStream, Error> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in dns::resolve(&url.host, &self.name_servers)? {
            match TcpStream::connect_timeout(&SocketAddr::new(address, url.port), CONNECT) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(Error::Connection { what: "connect to", host: url.authority(), source: last })
    }
}

impl Response {
    /// All of the body.
    ///
    /// # Errors
    /// The connection breaks, or there are more than `max` bytes.
    pub fn bytes(mut self, max: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let host = self.url.authority();
        (&mut self).take(max + 1).read_to_end(&mut bytes).map_err(|source| Error::Connection {
            what: "read from",
            host,
            source,
        })?;
        if bytes.len() as u64 > max {
            return Err(Error::TooBig { url: self.url.to_string(), max });
        }
        Ok(bytes)
    }
}

impl Read for Response {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.body.read(buffer)
    }
}

/// Reads up to the empty line; returns the head and what came after it.
fn read_head(stream: &mut impl Read, host: &str) -> Result<(Head, Vec<u8>), Error> {
    const MAX: usize = 16 << 10;
    let mut bytes: Vec<u8> = Vec::new();
    let mut buffer = [0; 4096];
    let not_http = |reason| Error::NotHttp { host: host.to_owned(), reason };
    loop {
        if let Some(end) = find_end(&bytes) {
            let rest = bytes.split_off(end);
            let head = Head::parse(&bytes).map_err(not_http)?;
            // An interim answer (100 Continue): the real one follows.
            if (100..200).contains(&head.status) {
                bytes = rest;
                continue;
            }
            return Ok((head, rest));
        }
        if bytes.len() > MAX {
            return Err(not_http("the answer's head is longer than 16 KiB"));
        }
        let read = stream.read(&mut buffer).map_err(|source| Error::Connection {
            what: "read from",
            host: host.to_owned(),
            source,
        })?;
        if read == 0 {
            return Err(not_http("the connection ended before the answer's head did"));
        }
        bytes.extend_from_slice(&buffer[..read]);
    }
}

/// The offset after the empty line.
fn find_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4)
}

#[cfg(test)]
mod tests;

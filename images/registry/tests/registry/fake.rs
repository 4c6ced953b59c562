//! A registry of a few lines, whose content and answers a test may change.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use overboot_digest::Digest;

use crate::{Remote, options};

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// With what stands behind the `?`.
    pub(crate) path: String,
    /// By name in small letters.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// What is answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// By path: media type and bytes.
type Content = BTreeMap<String, (String, Vec<u8>)>;
type Hook = dyn Fn(&Request, u16) -> Option<Answer> + Send + Sync;

struct Shared {
    port: u16,
    hook: Box<Hook>,
    content: Mutex<Content>,
    requests: Mutex<Vec<Request>>,
}

/// The registry.
pub(crate) struct Fake(Arc<Shared>);

impl Fake {
    /// An honest one.
    pub(crate) fn honest() -> Self {
        Self::start(|_, _| None)
    }

    /// One that answers what `hook` says, given a request and its own port; where it says nothing, as registries do.
    pub(crate) fn start(
        hook: impl Fn(&Request, u16) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let shared = Arc::new(Shared {
            port: listener.local_addr().unwrap().port(),
            hook: Box::new(hook),
            content: Mutex::default(),
            requests: Mutex::default(),
        });
        let here = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // A client that goes away is none of our business.
                thread::spawn(move || shared.serve(stream).ok());
            }
        });
        Self(here)
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.port
    }

    pub(crate) fn remote(&self) -> Remote {
        let address = format!("127.0.0.1:{}/lab", self.0.port).parse().unwrap();
        let mut options = options();
        // Without it, it is asked for TLS first.
        options.plain_http = true;
        Remote { address, options }
    }

    /// What the registry has.
    pub(crate) fn content(&self) -> std::sync::MutexGuard<'_, Content> {
        self.0.content.lock().unwrap()
    }

    /// Puts another document under a tag.
    pub(crate) fn tag(&self, tag: &str, bytes: &[u8]) {
        let mut content = self.content();
        let tag = format!("/v2/lab/manifests/{tag}");
        let kind = content.get(&tag).map_or_else(String::new, |(kind, _)| kind.clone());
        content.insert(
            format!("/v2/lab/manifests/{}", Digest::of(bytes)),
            (kind.clone(), bytes.to_vec()),
        );
        content.insert(tag, (kind, bytes.to_vec()));
    }

    pub(crate) fn document(&self, tag: &str) -> serde_json::Value {
        let content = self.content();
        serde_json::from_slice(&content[&format!("/v2/lab/manifests/{tag}")].1).unwrap()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.0.requests.lock().unwrap().clone()
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut writer = stream;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let mut words = line.split(' ').map(str::to_owned);
            let (method, path) = (words.next().unwrap(), words.next().unwrap_or_default());
            let mut headers = BTreeMap::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line)?;
                let Some((name, value)) = line.trim().split_once(": ") else { break };
                headers.insert(name.to_ascii_lowercase(), value.to_owned());
            }
            let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let request = Request { method, path, headers, body };
            self.requests.lock().unwrap().push(request.clone());
            let answer = (self.hook)(&request, self.port).unwrap_or_else(|| self.answer(&request));
            let mut head = format!("HTTP/1.1 {} X\r\n", answer.status);
            let told = answer.headers.iter().any(|(name, _)| *name == "Content-Length");
            if !told && answer.status != 204 {
                head += &format!("Content-Length: {}\r\n", answer.body.len());
            }
            for (name, value) in &answer.headers {
                head += &format!("{name}: {value}\r\n");
            }
            writer.write_all(format!("{head}\r\n").as_bytes())?;
            if request.method != "HEAD" {
                writer.write_all(&answer.body)?;
            }
            if told {
                // It may have lied.
                return Ok(());
            }
        }
    }

    fn answer(&self, request: &Request) -> Answer {
        let mut content = self.content.lock().unwrap();
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        match request.method.as_str() {
            "GET" | "HEAD" if path == "/v2/" => Answer::new(200, "{}"),
            "GET" if path.ends_with("/tags/list") => {
                let tags = content.keys().filter_map(|key| key.strip_prefix("/v2/lab/manifests/"));
                let tags: Vec<_> = tags.filter(|tag| !tag.contains(':')).collect();
                Answer::new(200, serde_json::json!({"name": "lab", "tags": tags}).to_string())
            }
            "GET" | "HEAD" => match content.get(path) {
                Some((kind, bytes)) => {
                    let from = request.headers.get("range");
                    let from = from
                        .and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
                    match from {
                        None => Answer::new(200, bytes.clone()).with("Content-Type", kind),
                        Some(from) => {
                            let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
                            Answer::new(206, &bytes[from..]).with("Content-Range", range)
                        }
                    }
                }
                None => Answer::new(404, ""),
            },
            "POST" => {
                let place = format!("/upload/{}", content.len());
                content.insert(place.clone(), (String::new(), Vec::new()));
                Answer::new(202, "").with("Location", place)
            }
            "PATCH" => {
                content.get_mut(path).unwrap().1.extend_from_slice(&request.body);
                Answer::new(202, "").with("Location", path)
            }
            "PUT" if path.starts_with("/upload/") => {
                let mut bytes = content.remove(path).unwrap().1;
                bytes.extend_from_slice(&request.body);
                let digest = query.strip_prefix("digest=").unwrap();
                let kind = "application/octet-stream".to_owned();
                content.insert(format!("/v2/lab/blobs/{digest}"), (kind, bytes));
                Answer::new(201, "")
            }
            _ => {
                let kind = request.headers["content-type"].clone();
                let digest = Digest::of(&request.body);
                content.insert(
                    format!("/v2/lab/manifests/{digest}"),
                    (kind.clone(), request.body.clone()),
                );
                content.insert(path.to_owned(), (kind, request.body.clone()));
                Answer::new(201, "").with("Docker-Content-Digest", digest.to_string())
            }
        }
    }
}

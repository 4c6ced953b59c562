//! HTTP for a [`Tree`] on loopback, with faults on request. Answers in absolute-form too, as a proxy would.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::Tree;

/// What goes wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// After so many bytes of the body the connection is closed.
    Truncate(usize),
    /// After so many bytes of the body nothing more comes, and the connection stays open.
    Stall(usize),
    /// One bit of the body is changed.
    Corrupt,
    /// Bytes are added to the body.
    Longer,
    /// Only that status is sent.
    Status(u16),
    /// The client is sent to that address.
    Redirect(String),
    /// A Range is not honoured: the whole file is sent.
    IgnoreRange,
    /// A Range is answered with another part of the file.
    WrongRange,
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The request's target as written: a path, or a whole address when asked as a proxy.
    pub target: String,
    /// The first byte of a Range, where one was asked for.
    pub from: Option<usize>,
}

/// The server; it stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    tree: Mutex<Tree>,
    /// By path: the fault, and how many answers it still spoils.
    faults: Mutex<BTreeMap<String, Vec<Fault>>>,
    requests: Mutex<Vec<Request>>,
    stop: AtomicBool,
}

impl Server {
    /// Serves `tree` on a free port of 127.0.0.1.
    #[must_use]
    pub fn start(tree: Tree) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").expect("loopback has a free port"), tree)
    }

    /// Serves `tree` on a socket that is bound already.
    #[must_use]
    pub fn on(listener: TcpListener, tree: Tree) -> Self {
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared { tree: Mutex::new(tree), ..Shared::default() });
        let for_thread = Arc::clone(&shared);
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                if for_thread.stop.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&for_thread);
                // A connection ends when its client closes it; nothing waits for these threads.
                thread::spawn(move || stream.map(|stream| serve(&shared, stream)));
            }
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    /// The archive's root, `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves other files from now on.
    pub fn replace(&self, tree: Tree) {
        *lock(&self.shared.tree) = tree;
    }

    /// Spoils the next `times` answers for `path`, which has no slash before it; after the faults set before.
    pub fn fail(&self, path: &str, times: usize, fault: &Fault) {
        let mut faults = lock(&self.shared.faults);
        faults.entry(path.to_owned()).or_default().extend(vec![fault.clone(); times]);
    }

    /// The requests since the last call, in the order of their arrival.
    #[must_use]
    pub fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut *lock(&self.shared.requests))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes `accept`.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn serve(shared: &Shared, stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let request = read_request(&mut reader)?;
        lock(&shared.requests).push(request.clone());
        if answer(shared, &request, &mut stream)? == Then::Wait {
            // Until the client hangs up.
            let _ = reader.read_line(&mut String::new());
            return None;
        }
    }
}

/// `None` at the end of the connection, or where it makes no sense.
fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let target = line.split(' ').nth(1)?.to_owned();
    let mut from = None;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok().filter(|read| *read > 0)?;
        let (name, value) = match header.trim_end() {
            "" => return Some(Request { target, from }),
            header => header.split_once(':')?,
        };
        if name.eq_ignore_ascii_case("range") {
            from = value.trim().strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok();
        }
    }
}

/// What to do after an answer.
#[derive(PartialEq)]
enum Then {
    /// Read the next request.
    Next,
    /// Send nothing more.
    Wait,
}

/// `None`: the connection is to be closed.
fn answer(shared: &Shared, request: &Request, stream: &mut TcpStream) -> Option<Then> {
    let path = match request.target.strip_prefix("http://") {
        Some(rest) => rest.split_once('/')?.1,
        None => request.target.strip_prefix('/').unwrap_or(&request.target),
    };
    // apt asks so for a folder without suites, and servers know what it means.
    let path = decode(path).replace("/./", "/");
    let fault = lock(&shared.faults)
        .get_mut(&path)
        .and_then(|faults| (!faults.is_empty()).then(|| faults.remove(0)));
    let file = lock(&shared.tree).get(&path).cloned();
    let bare = |stream: &mut TcpStream, status: u16, header: &str| {
        let head = format!("HTTP/1.1 {status} x\r\n{header}Content-Length: 0\r\n\r\n");
        stream.write_all(head.as_bytes()).ok().map(|()| Then::Next)
    };
    match (&fault, file) {
        (Some(Fault::Status(status)), _) => bare(stream, *status, ""),
        (Some(Fault::Redirect(to)), _) => bare(stream, 302, &format!("Location: {to}\r\n")),
        (_, None) => bare(stream, 404, ""),
        (_, Some(mut file)) => {
            match fault {
                Some(Fault::Corrupt) => file[0] ^= 1,
                Some(Fault::Longer) => file.extend(b"and more"),
                _ => {}
            }
            let total = file.len();
            let mut from = request.from.unwrap_or(0);
            if fault == Some(Fault::IgnoreRange) {
                from = 0;
            }
            if from > 0 && from >= total {
                return bare(stream, 416, &format!("Content-Range: bytes */{total}\r\n"));
            }
            let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
            let range = if from > 0 {
                let start = if fault == Some(Fault::WrongRange) { from - 1 } else { from };
                format!("Content-Range: bytes {start}-{}/{total}\r\n", total - 1)
            } else {
                String::new()
            };
            let body = &file[from..];
            let head =
                format!("HTTP/1.1 {status}\r\n{range}Content-Length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).ok()?;
            match fault {
                Some(Fault::Truncate(after)) => {
                    stream.write_all(&body[..after.min(body.len())]).ok()?;
                    None
                }
                Some(Fault::Stall(after)) => {
                    stream.write_all(&body[..after.min(body.len())]).ok()?;
                    Some(Then::Wait)
                }
                _ => stream.write_all(body).ok().map(|()| Then::Next),
            }
        }
    }
}

/// Undoes percent-encoding.
fn decode(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) if byte == b'%' => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

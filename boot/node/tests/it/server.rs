//! A boot server and task server in one, without judgement: it hands out what a test gave it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use overboot_testkit::deadline;
use overboot_wire::{StageReport, TaskDoc, path};

pub(crate) const ID: &str = "5acf8d6d8a0f0e0100000001";
/// Longer than any boot on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// The server. Ends with the test program.
pub(crate) struct Server {
    pub(crate) port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Whether it speaks as ours does, or as RackHD's.
    native: bool,
    files: Mutex<HashMap<String, Vec<u8>>>,
    /// Paths whose first answer breaks off after so many bytes.
    breaks: Mutex<HashMap<String, usize>>,
    documents: Mutex<Vec<TaskDoc>>,
    posted: Mutex<Vec<TaskDoc>>,
    reports: Mutex<Vec<StageReport>>,
    /// `GET /path from=N`.
    asked: Mutex<Vec<String>>,
}

struct Asked {
    method: String,
    target: String,
    from: usize,
    body: Vec<u8>,
}

impl Server {
    pub(crate) fn start(native: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State { native, ..State::default() });
        let server = Self { port, state: Arc::clone(&state) };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&state);
                std::thread::spawn(move || state.answer(stream.unwrap()));
            }
        });
        server
    }

    pub(crate) fn file(&self, path: &str, content: Vec<u8>) {
        self.state.files.lock().unwrap().insert(path.to_owned(), content);
    }

    pub(crate) fn breaks(&self, path: &str, after: usize) {
        self.state.breaks.lock().unwrap().insert(path.to_owned(), after);
    }

    /// Hands out a document and waits for its results.
    pub(crate) fn work(&self, doc: TaskDoc) -> TaskDoc {
        let before = self.state.posted.lock().unwrap().len();
        self.state.documents.lock().unwrap().push(doc);
        deadline::get("the results of a task", PATIENCE, || {
            self.state.posted.lock().unwrap().get(before).cloned()
        })
    }

    pub(crate) fn reports(&self) -> Vec<StageReport> {
        self.state.reports.lock().unwrap().clone()
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.asked.lock().unwrap().clone()
    }
}

impl State {
    fn answer(&self, mut stream: TcpStream) {
        let Some(asked) = read(&stream) else { return };
        let path = asked.target.split('?').next().unwrap_or_default().to_owned();
        self.asked
            .lock()
            .unwrap()
            .push(format!("{} {} from={}", asked.method, asked.target, asked.from));
        let (status, body) = match (asked.method.as_str(), path.as_str()) {
            ("POST", path::BOOT_REPORT) if self.native => {
                self.reports.lock().unwrap().push(serde_json::from_slice(&asked.body).unwrap());
                (204, Vec::new())
            }
            ("GET", path::BOOTSTRAP) if self.native => {
                (200, format!(r#"{{"identifier":"{ID}","native":true}}"#).into_bytes())
            }
            ("GET", path::BOOTSTRAP) => {
                (200, format!("http.get('/api/current/tasks/{ID}', run);").into_bytes())
            }
            ("POST", path) if path == path::tasks(ID) => {
                self.posted.lock().unwrap().push(serde_json::from_slice(&asked.body).unwrap());
                (201, b"{}".to_vec())
            }
            ("GET", path) if path == path::tasks(ID) => self.document(),
            ("GET", path) => return self.send_file(&mut stream, path, asked.from),
            _ => (404, Vec::new()),
        };
        send(&mut stream, status, &body);
    }

    fn document(&self) -> (u16, Vec<u8>) {
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            let mut documents = self.documents.lock().unwrap();
            if !documents.is_empty() {
                return (200, serde_json::to_vec(&documents.remove(0)).unwrap());
            }
            drop(documents);
            if !self.native {
                return (404, Vec::new());
            }
            if Instant::now() >= until {
                return (200, format!(r#"{{"identifier":"{ID}","tasks":[]}}"#).into_bytes());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn send_file(&self, stream: &mut TcpStream, path: &str, from: usize) {
        let Some(content) = self.files.lock().unwrap().get(path).cloned() else {
            return send(stream, 404, &[]);
        };
        let rest = &content[from.min(content.len())..];
        let end = self.breaks.lock().unwrap().remove(path).unwrap_or(rest.len());
        let (status, range) = match from {
            0 => (200, String::new()),
            _ => (
                206,
                format!("Content-Range: bytes {from}-{}/{}\r\n", content.len() - 1, content.len()),
            ),
        };
        let head = format!("HTTP/1.1 {status} x\r\n{range}Content-Length: {}\r\n\r\n", rest.len());
        let _gone = stream.write_all(head.as_bytes());
        let _gone = stream.write_all(&rest[..end.min(rest.len())]);
    }
}

fn send(stream: &mut TcpStream, status: u16, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _gone = stream.write_all(&[head.as_bytes(), body].concat());
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let (mut length, mut from) = (0, 0);
    loop {
        let mut field = String::new();
        reader.read_line(&mut field).ok()?;
        let field = field.trim().to_ascii_lowercase();
        if field.is_empty() {
            break;
        }
        if let Some(value) = field.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if let Some(value) = field.strip_prefix("range: bytes=") {
            from = value.trim_end_matches('-').parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { method, target, from, body })
}

use std::io::Write;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use overboot_bootset::LayerFormat;
use overboot_digest::Digest;

use super::*;

/// Keeps what it is given in memory.
#[derive(Debug, Default)]
struct Memory(Vec<u8>);

impl Sink for Memory {
    fn accept(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// How a server treats a request for a body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Good,
    /// Sends so many bytes, then hangs up.
    Breaks(usize),
    /// Flips a bit of this byte.
    Lies(usize),
    /// Does not know ranges.
    NoRanges,
    Missing,
}

/// A server with one body; treats request n by mood n, the last for all later ones. Returns its URL and the ranges asked.
fn serve(body: Vec<u8>, moods: Vec<Mood>) -> (String, Arc<Mutex<Vec<u64>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for (index, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut buffer = [0; 2048];
            while !head.windows(4).any(|w| w == b"\r\n\r\n") {
                let read = stream.read(&mut buffer).unwrap();
                head.extend_from_slice(&buffer[..read]);
            }
            let head = String::from_utf8(head).unwrap();
            let from = head
                .lines()
                .find_map(|line| {
                    line.strip_prefix("Range: bytes=")?.strip_suffix('-')?.parse().ok()
                })
                .unwrap_or(0u64);
            log.lock().unwrap().push(from);
            let mood = moods[index.min(moods.len() - 1)];
            let mut body = body.clone();
            if let Mood::Lies(at) = mood {
                body[at] ^= 1;
            }
            let start = if mood == Mood::NoRanges { 0 } else { from as usize };
            let length = body.len() - start;
            let head = match (mood, start) {
                (Mood::Missing, _) => "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".to_owned(),
                (_, 0) => format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"),
                _ => format!(
                    "HTTP/1.1 206 P\r\nContent-Length: {length}\r\nContent-Range: bytes {start}-{}/{}\r\n\r\n",
                    body.len() - 1,
                    body.len()
                ),
            };
            let _gone = stream.write_all(head.as_bytes());
            let end = match mood {
                Mood::Breaks(bytes) => body.len().min(start + bytes),
                Mood::Missing => start,
                _ => body.len(),
            };
            let _gone = stream.write_all(&body[start..end]);
        }
    });
    (url, asked)
}

fn layer(data: &[u8]) -> Layer {
    Layer {
        name: "base".into(),
        digest: Digest::of(data),
        size: data.len() as u64,
        format: LayerFormat::Squashfs,
        chunk_size: 4096,
        chunks: data.chunks(4096).map(Digest::of).collect(),
    }
}

fn data(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i / 7 % 251) as u8).collect()
}

fn fetch(servers: &[String], source: Source<'_>) -> (Result<Vec<Memory>, Error>, Vec<String>) {
    let (bytes, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let said = Mutex::new(Vec::new());
    let fetcher = Fetcher {
        client: &Client::default(),
        servers,
        patience: Duration::from_secs(20),
        bytes: &bytes,
        stop: &stop,
        trouble: &|text: &str| said.lock().unwrap().push(text.to_owned()),
    };
    let wanted = [Wanted { name: "base".into(), source }];
    let sinks = all(&fetcher, &wanted, &|_| Ok(Memory::default()));
    (sinks, said.into_inner().unwrap())
}

#[test]
fn a_broken_connection_goes_on_at_the_first_chunk_that_is_missing() {
    let data = data(50_000);
    let (url, asked) =
        serve(data.clone(), vec![Mood::Breaks(10_000), Mood::Breaks(20_000), Mood::Good]);
    let layer = layer(&data);
    let (sinks, said) = fetch(&[url], Source::Signed(&layer));
    assert_eq!(sinks.unwrap()[0].0, data);
    assert_eq!(*asked.lock().unwrap(), [0, 8192, 24_576], "{said:?}");
    assert_eq!(said.len(), 2);
    assert!(said[0].contains("going on at byte 8192"), "{}", said[0]);
}

#[test]
fn a_liar_is_left_for_the_next_mirror_and_nothing_wrong_is_kept() {
    let data = data(50_000);
    let (liar, _) = serve(data.clone(), vec![Mood::Lies(30_000)]);
    let (missing, _) = serve(data.clone(), vec![Mood::Missing]);
    let (good, asked) = serve(data.clone(), vec![Mood::Good]);
    let layer = layer(&data);
    let (sinks, said) = fetch(&[liar, missing, good], Source::Signed(&layer));
    assert_eq!(sinks.unwrap()[0].0, data);
    assert_eq!(*asked.lock().unwrap(), [28_672]);
    assert!(said[0].contains("chunk 7 of layer base"), "{}", said[0]);
    assert!(said[1].contains("status 404"), "{}", said[1]);
}

#[test]
fn a_wrong_chunk_everywhere_is_the_sentence() {
    let data = data(20_000);
    let (liar, asked) = serve(data.clone(), vec![Mood::Lies(5000)]);
    let layer = layer(&data);
    let error = fetch(&[liar], Source::Signed(&layer)).0.unwrap_err();
    let sentence = crate::error::chain(&error);
    assert!(sentence.starts_with("cannot fetch base from any of 127.0.0.1:"), "{sentence}");
    assert!(sentence.contains("chunk 1 of layer base (bytes 4096 to 8192) is wrong"), "{sentence}");
    assert!(error.hint().unwrap().contains("verify"));
    assert_eq!(asked.lock().unwrap().len(), 3);
}

#[test]
fn servers_without_ranges_and_plain_files_work_too() {
    let data = data(40_000);
    let layer = layer(&data);
    let (url, _) = serve(data.clone(), vec![Mood::Breaks(9000), Mood::NoRanges]);
    assert_eq!(fetch(&[url], Source::Signed(&layer)).0.unwrap()[0].0, data);

    let (url, asked) = serve(data.clone(), vec![Mood::Breaks(9000), Mood::Good]);
    let plain = Source::Plain(Url::parse(&format!("{url}/base.img")).unwrap());
    assert_eq!(fetch(&[], plain).0.unwrap()[0].0, data);
    assert_eq!(*asked.lock().unwrap(), [0, 9000]);
}

#[test]
fn one_failed_layer_stops_the_others() {
    let data = data(10_000);
    let (missing, _) = serve(data.clone(), vec![Mood::Missing]);
    let layers: Vec<Layer> = (0..6).map(|_| layer(&data)).collect();
    let (bytes, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let fetcher = Fetcher {
        client: &Client::default(),
        servers: &[missing],
        patience: Duration::from_secs(600),
        bytes: &bytes,
        stop: &stop,
        trouble: &|_| {},
    };
    let wanted: Vec<Wanted<'_>> =
        layers.iter().map(|l| Wanted { name: l.name.clone(), source: Source::Signed(l) }).collect();
    let error = all(&fetcher, &wanted, &|_| Ok(Memory::default())).unwrap_err();
    assert!(matches!(error, Error::Layer { .. }), "{error}");
}

use std::net::TcpListener;
use std::thread;

use super::*;

/// Answers each connection with the next of `answers`; returns the port and what was asked.
fn serve(answers: Vec<Vec<u8>>) -> (u16, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        answers
            .into_iter()
            .map(|answer| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = Vec::new();
                let mut buffer = [0; 4096];
                while find_end(&asked).is_none() {
                    let read = stream.read(&mut buffer).unwrap();
                    asked.extend_from_slice(&buffer[..read]);
                }
                stream.write_all(&answer).unwrap();
                String::from_utf8(asked).unwrap()
            })
            .collect()
    });
    (port, server)
}

fn get(port: u16, path: &str) -> Result<(Vec<u8>, Head), Error> {
    Client::default().fetch(&Url::parse(&format!("http://127.0.0.1:{port}{path}")).unwrap(), 100)
}

#[test]
fn bodies_by_length_by_chunks_and_to_the_end() {
    let (port, server) = serve(vec![
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcX".to_vec(),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: r\r\n\r\n".to_vec(),
        b"HTTP/1.0 200 OK\r\nDate: x\r\n\r\nto the end".to_vec(),
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
    ]);
    assert_eq!(get(port, "/a?b").unwrap().0, b"abc");
    assert_eq!(get(port, "/").unwrap().0, b"abcde");
    assert_eq!(get(port, "/").unwrap().0, b"to the end");
    assert_eq!(get(port, "/from").unwrap().0, b"");
    let asked = server.join().unwrap();
    assert!(asked[0].starts_with("GET /a?b HTTP/1.1\r\nHost: 127.0.0.1:"), "{}", asked[0]);
    assert!(asked[4].starts_with("GET /there "), "{}", asked[4]);
}

#[test]
fn what_is_no_good_answer_is_an_error() {
    let (port, _server) = serve(vec![
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc".to_vec(),
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        b"SSH-2.0-x\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\n\r\n".iter().copied().chain([b'x'; 200]).collect(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_vec(),
    ]);
    assert!(matches!(get(port, "/"), Err(Error::Connection { .. })));
    assert!(matches!(get(port, "/"), Err(Error::Status { status: 404, .. })));
    assert!(matches!(get(port, "/"), Err(Error::NotHttp { .. })));
    assert!(matches!(get(port, "/"), Err(Error::TooBig { .. })));
    assert!(matches!(get(port, "/"), Err(Error::Connection { .. })));
    assert!(matches!(get(port, "/"), Err(Error::NotHttp { .. })));
    drop(_server);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = get(closed, "/").unwrap_err();
    assert!(error.to_string().starts_with("cannot connect to 127.0.0.1:"), "{error}");
}

#[test]
fn ranges_are_asked_for_and_understood() {
    let (port, server) = serve(vec![
        b"HTTP/1.1 206 P\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\n56789".to_vec(),
    ]);
    let url = Url::parse(&format!("http://127.0.0.1:{port}/x")).unwrap();
    let response = Client::default().send(&url, &Request { from: 5, ..Request::get() }).unwrap();
    assert_eq!(response.head.range, Some((5, Some(10))));
    assert_eq!(response.bytes(100).unwrap(), b"56789");
    assert!(server.join().unwrap()[0].contains("\r\nRange: bytes=5-\r\n"));
}

//! Just enough DNS (RFC 1035) to turn a server's name into addresses, without the C library's resolver.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::{Error, clock};

/// Addresses of `host`: itself if it is one, else what the name servers say.
///
/// # Errors
/// No name server knows it, or none answers.
pub fn resolve(host: &str, servers: &[Ipv4Addr]) -> Result<Vec<IpAddr>, Error> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![address]);
    }
    let fail = |reason: String| Error::Name { host: host.to_owned(), reason };
    let mut reason = "there is no name server".to_owned();
    for attempt in 0..2u64 {
        for server in servers {
            match ask(host, *server, Duration::from_secs(2 + attempt)) {
                Ok(found) if !found.is_empty() => {
                    return Ok(found.into_iter().map(IpAddr::V4).collect());
                }
                Ok(_) => return Err(fail(format!("name server {server} does not know it"))),
                Err(error) => reason = format!("name server {server}: {error}"),
            }
        }
    }
    Err(fail(reason))
}

fn ask(host: &str, server: Ipv4Addr, patience: Duration) -> std::io::Result<Vec<Ipv4Addr>> {
    let id = clock::random_u32() as u16;
    let query = query(id, host)
        .ok_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a host name"))?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(patience))?;
    socket.connect(SocketAddr::from((server, 53)))?;
    socket.send(&query)?;
    let mut buffer = [0; 1500];
    loop {
        let length = socket.recv(&mut buffer)?;
        if let Some(found) = answer(id, &buffer[..length]) {
            return Ok(found);
        }
    }
}

/// A question for the A records of `host`; `None` if it is no host name.
fn query(id: u16, host: &str) -> Option<Vec<u8>> {
    let mut bytes = id.to_be_bytes().to_vec();
    // Flags: recursion desired. One question.
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in host.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|l| (1..=63).contains(l))?;
        bytes.push(length);
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    (bytes.len() <= 271).then_some(bytes)
}

/// The A records of an answer; `None` if it is no answer to `id`. An error code of the server is an empty list.
fn answer(id: u16, bytes: &[u8]) -> Option<Vec<Ipv4Addr>> {
    let word = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    if word(0)? != id || bytes.get(2)? & 0x80 == 0 {
        return None;
    }
    let (questions, answers) = (word(4)?, word(6)?);
    let mut at = 12;
    for _ in 0..questions {
        at = skip_name(bytes, at)? + 4;
    }
    let mut found = Vec::new();
    for _ in 0..answers {
        at = skip_name(bytes, at)?;
        let (kind, class) = (word(at)?, word(at + 2)?);
        let length = usize::from(word(at + 8)?);
        let data = bytes.get(at + 10..at + 10 + length)?;
        if let (1, 1, Ok(octets)) = (kind, class, <[u8; 4]>::try_from(data)) {
            found.push(Ipv4Addr::from(octets));
        }
        at += 10 + length;
    }
    Some(found)
}

/// The offset after a name. Compression pointers end it; they are not followed, so they cannot loop.
fn skip_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_with_an_alias_before_the_address() {
        let mut packet = query(7, "boot.example.org").unwrap();
        packet[2] = 0x81;
        packet[7] = 2;
        // CNAME, then A.
        packet.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 12]);
        packet.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 0, 9]);
        assert_eq!(answer(7, &packet), Some(vec![Ipv4Addr::new(10, 0, 0, 9)]));
        assert_eq!(answer(8, &packet), None);
        for cut in 0..packet.len() {
            let _no_panic = answer(7, &packet[..cut]);
        }
    }

    #[test]
    fn literals_need_no_server_and_names_do() {
        assert_eq!(resolve("10.1.2.3", &[]).unwrap(), [IpAddr::from([10, 1, 2, 3])]);
        let error = resolve("boot.example.org", &[]).unwrap_err();
        assert!(error.to_string().contains("no name server"), "{error}");
        assert!(query(1, &"a".repeat(64)).is_none());
        assert!(query(1, "a..b").is_none());
    }
}

//! The system's log on its way to `SYSLOGSERVER`: what RackHD's base did with rsyslog, for a root that has none.
//!
//! journald hands every message to the socket of "the" syslog daemon, if its `ForwardToSyslog=` says so and somebody
//! listens (systemd-journald.service(8)). Init has said so; here is who listens.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::log::Log;

/// Where journald expects a syslog daemon.
const SOCKET: &str = "/run/systemd/journal/syslog";
/// The longest message that is passed on; what is longer is cut. It fits into an unfragmented jumbo frame, and into what
/// any syslog server takes.
const LONGEST: usize = 8 << 10;

/// Passes messages on, for ever. Ends at once if another daemon listens already: it was told where to forward to.
pub fn keep(server: SocketAddr, host: &str, log: &Log) {
    let opened = listen(Path::new(SOCKET)).and_then(|socket| Ok((socket, speak(server)?)));
    match opened {
        Ok((from, to)) => relay(&from, &to, host),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {}
        Err(error) => log.line(&format!("agent: the log is not forwarded to {server}: {error}")),
    }
}

/// The socket at `path`, unless somebody listens there.
fn listen(path: &Path) -> io::Result<UnixDatagram> {
    if let Some(folder) = path.parent() {
        // systemd makes the same folder a moment later, and is content to find it.
        fs_err::create_dir_all(folder)?;
    }
    match UnixDatagram::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            // Left by an agent that is gone, or a daemon's.
            if UnixDatagram::unbound()?.connect(path).is_ok() {
                return Err(error);
            }
            fs_err::remove_file(path)?;
            UnixDatagram::bind(path)
        }
        bound => bound,
    }
}

/// A socket towards `server`.
pub(crate) fn speak(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    Ok(socket)
}

/// Until `from` fails, which it does not.
fn relay(from: &UnixDatagram, to: &UdpSocket, host: &str) {
    let mut buffer = vec![0; LONGEST];
    loop {
        match from.recv(&mut buffer) {
            // A server that does not listen answers by ICMP; it may come back.
            Ok(length) => drop(to.send(&named(&buffer[..length], host))),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// A local message, `<30>Nov 22 16:34:25 sshd[17]: text`, as RFC 3164 has it on a network: with the host's name after the
/// time. What has another form goes as it is.
fn named(message: &[u8], host: &str) -> Vec<u8> {
    /// `Nov 22 16:34:25 `
    const TIME: usize = 16;
    let priority = message.iter().take(5).position(|byte| *byte == b'>').map_or(0, |at| at + 1);
    let time = message.get(priority..priority + TIME);
    let timed = time.is_some_and(|time| time.ends_with(b" ") && time[3] == b' ' && time[9] == b':');
    if priority == 0 || !timed {
        return message.to_vec();
    }
    let (head, tail) = message.split_at(priority + TIME);
    [head, host.as_bytes(), b" ", tail].concat()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_journald_says_reaches_the_server_with_the_hosts_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal/syslog");
        let from = listen(&path).unwrap();
        assert_eq!(listen(&path).unwrap_err().kind(), ErrorKind::AddrInUse, "somebody listens");
        drop(from);
        let from = listen(&path).unwrap();

        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let to = speak(server.local_addr().unwrap()).unwrap();
        // Ends with the test program.
        std::thread::spawn(move || relay(&from, &to, "n1"));
        let journald = UnixDatagram::unbound().unwrap();
        let mut buffer = [0; LONGEST];
        for (sent, wanted) in [
            ("<30>Nov 22 16:34:25 sshd[17]: hello", "<30>Nov 22 16:34:25 n1 sshd[17]: hello"),
            ("<5>Nov  2 06:34:25 kernel: é", "<5>Nov  2 06:34:25 n1 kernel: é"),
            ("no form at all", "no form at all"),
            ("<30>short", "<30>short"),
            ("", ""),
        ] {
            journald.send_to(sent.as_bytes(), &path).unwrap();
            let length = server.recv(&mut buffer).unwrap();
            assert_eq!(std::str::from_utf8(&buffer[..length]), Ok(wanted));
        }
    }
}

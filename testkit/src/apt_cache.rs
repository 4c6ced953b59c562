//! Debian's `apt-cacher-ng`, as whoever builds often has one: a process, a configuration and a folder of its own.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::program::Program;
use crate::{deadline, require};

/// Where Debian puts it: not on everybody's `PATH`.
const PROGRAM: &str = "/usr/sbin/apt-cacher-ng";

/// Whether it is on this machine.
#[must_use]
pub fn possible() -> bool {
    require::met(Path::new(PROGRAM).exists(), "needs apt-cacher-ng")
}

/// A listener on a free port of 127.0.0.1 that apt-cacher-ng can reach. It knows no port above 32767, neither its own nor an
/// archive's, so the system's choice of a free one will not do.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn listener() -> TcpListener {
    let start = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let mut free =
        (start..32_767).filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
    free.next().expect("a free port")
}

/// Whether it may ask the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// As ever.
    Network,
    /// What it has fetched before is all that there is (`Offlinemode`).
    Itself,
}

/// A running cache. It ends with this value, and what it has fetched with it.
#[derive(Debug)]
pub struct AptCache {
    folder: TempDir,
    port: u16,
    program: Option<Program>,
}

/// A line of its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Did it fetch the file from the archive? Otherwise it gave the file to a client.
    pub fetched: bool,
    /// Bytes of it.
    pub bytes: u64,
    /// The file, by its path in the cache.
    pub path: String,
}

impl AptCache {
    /// An empty one.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["conf", "cache", "log"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let mut cache = Self { folder, port: 0, program: None };
        cache.restart(Reach::Network);
        cache
    }

    /// Starts it anew, on another port, with what it has fetched and an empty log.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[track_caller]
    pub fn restart(&mut self, reach: Reach) {
        self.program = None;
        self.port = listener().local_addr().unwrap().port();
        let at = self.folder.path();
        let _none_yet = fs::remove_file(at.join("log/apt-cacher.log"));
        let (shown, port) = (at.display(), self.port);
        let offline = u8::from(reach == Reach::Itself);
        // Nothing of the machine's own configuration is read.
        let settings = format!(
            "CacheDir: {shown}/cache\nLogDir: {shown}/log\nSocketPath: {shown}/socket\nPidFile: {shown}/pid\n\
             Port: {port}\nBindAddress: 127.0.0.1\nForeGround: 1\nAllowUserPorts: 0\nVerboseLog: 1\nUnbufferLogs: 1\n\
             Offlinemode: {offline}\n"
        );
        fs::write(at.join("conf/acng.conf"), settings).unwrap();
        self.program = Some(Program::start(Command::new(PROGRAM).arg("-c").arg(at.join("conf"))));
        deadline::eventually("apt-cacher-ng listens", Duration::from_secs(60), || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it did since it was started, in its own words.
    #[must_use]
    pub fn log(&self) -> Vec<Logged> {
        let path = self.folder.path().join("log/apt-cacher.log");
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().filter_map(Logged::parse).collect()
    }
}

impl Logged {
    /// `1763198062|I|1234|127.0.0.1|debrep/pool/…`: `I` is what came in, `O` what went out.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('|').skip(1);
        let (kind, bytes, path) = (fields.next()?, fields.next()?, fields.last()?);
        matches!(kind, "I" | "O").then_some(())?;
        Some(Self { fetched: kind == "I", bytes: bytes.parse().ok()?, path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_log_are_read() {
        let logged = Logged::parse("1763198062|I|1234|127.0.0.1|debrep/pool/a.deb").unwrap();
        assert_eq!(logged, Logged { fetched: true, bytes: 1234, path: "debrep/pool/a.deb".into() });
        assert!(!Logged::parse("1763198062|O|1|debrep/pool/a.deb").unwrap().fetched);
        assert_eq!(Logged::parse("1763198062|E|1|x"), None);
    }
}

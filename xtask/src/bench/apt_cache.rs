//! An apt-cacher-ng of our own, from which all contenders have lists and packages.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether it may ask a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Network,
    Offline,
}

/// It ends with this value, and what it has fetched goes with the folder.
pub(crate) struct AptCache {
    folder: PathBuf,
    port: u16,
    reach: Cell<Reach>,
    child: RefCell<Child>,
}

impl AptCache {
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let folder = folder.join("apt-cacher-ng");
        for sub in ["conf", "cache", "log"] {
            fs_err::create_dir_all(folder.join(sub))?;
        }
        // It knows no port above 32767, so the system's choice of a free one will not do.
        let mut ports = 20_000 + u16::try_from(std::process::id() % 10_000)?..30_000;
        let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
        let port = ports.find(free).context("no free port for apt-cacher-ng")?;
        let reach = Reach::Network;
        let child = RefCell::new(serve(&folder, port, reach)?);
        Ok(Self { folder, port, reach: Cell::new(reach), child })
    }

    /// Lets it ask the mirror, or keeps it from that; under the same address.
    pub(crate) fn reach(&self, reach: Reach) -> Result<()> {
        if self.reach.get() != reach {
            let mut child = self.child.borrow_mut();
            child.kill()?;
            child.wait()?;
            *child = serve(&self.folder, self.port, reach)?;
            self.reach.set(reach);
        }
        Ok(())
    }

    /// As a proxy.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A mirror, as if it were one itself: for who knows no proxies.
    pub(crate) fn mirror(&self, mirror: &str) -> Result<String> {
        let rest = mirror.strip_prefix("http://");
        let rest = rest.with_context(|| format!("apt-cacher-ng cannot keep what {mirror} has"))?;
        Ok(format!("{}/{rest}", self.url()))
    }
}

fn serve(folder: &Path, port: u16, reach: Reach) -> Result<Child> {
    let offline = u8::from(reach == Reach::Offline);
    // A configuration of its own, so that nothing of the machine's is read.
    let mut conf = fs_err::File::create(folder.join("conf/acng.conf"))?;
    let at = folder.display();
    writeln!(
        conf,
        "CacheDir: {at}/cache\nLogDir: {at}/log\nSocketPath: {at}/socket\nPidFile: {at}/pid\n\
         Port: {port}\nBindAddress: 127.0.0.1\nForeGround: 1\nOfflinemode: {offline}"
    )?;
    let mut command = Command::new("/usr/sbin/apt-cacher-ng");
    command.arg("-c").arg(folder.join("conf")).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.spawn().context("apt-cacher-ng")?;
    let begun = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if let Some(status) = child.try_wait()? {
            bail!("apt-cacher-ng ended: {status}");
        }
        if begun.elapsed() > PATIENCE {
            bail!("apt-cacher-ng does not listen on port {port}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(child)
}

impl Drop for AptCache {
    fn drop(&mut self) {
        // It may have ended by itself.
        let child = self.child.get_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}

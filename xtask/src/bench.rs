//! The figures of docs/benchmarks.md: ours against a peer that makes the same thing, in the same run, taken in turn so that a
//! machine that drifts does so for all.
//!
//! Every contender has its packages from one apt-cacher-ng, which is filled by the first round and kept off the network in
//! those that count: neither side waits for a mirror.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use overboot_archive::mirror::{fallback_mirror, host_mirror, security_sibling};

use crate::resolve;

/// How often each is run and counted, unless told otherwise.
const RUNS: usize = 5;

/// How long the package cache may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

const KEYRING: &[u8] = include_bytes!("../../recipes/keyrings/debian-trixie.gpg");

/// `cargo xtask bench [RUNS]`.
pub(crate) fn run(runs: Option<&str>) -> Result<()> {
    let runs = runs.map_or(Ok(RUNS), str::parse).context("how many runs?")?;
    if runs == 0 {
        bail!("how many runs? at least one");
    }
    let folder = tempfile::Builder::new().prefix("overboot-bench-").tempdir()?;
    let bench = Bench::new(folder.path())?;
    let contenders: [(&str, &Contender); 4] = [
        ("ours: resolve, fetch, build, pack", &Bench::out_of_the_archive),
        ("peer: mmdebstrap, mksquashfs", &Bench::peer),
        ("ours, locked, packages in our store", &Bench::out_of_the_lock),
        ("ours, nothing changed", &Bench::nothing),
    ];

    let cache = AptCache::start(folder.path(), Reach::Network)?;
    for (name, contender) in contenders {
        eprintln!("filling caches: {name}");
        contender(&bench, &cache)?;
    }
    drop(cache);

    let cache = AptCache::start(folder.path(), Reach::Offline)?;
    let mut times = vec![Vec::with_capacity(runs); contenders.len()];
    for round in 1..=runs {
        for ((name, contender), times) in contenders.iter().zip(&mut times) {
            times.push(contender(&bench, &cache)?);
            eprintln!("{round} of {runs}: {name}: {:.2} s", times[times.len() - 1]);
        }
    }

    println!(
        "Debian 13 minbase, from packages to squashfs (zstd 19, 1 MiB blocks); {runs} runs, taken in turn\n"
    );
    table(&contenders.map(|(name, _)| name), &mut times, 1);
    drop(cache);
    let sources = bench.sources().concat();
    resolve::run(folder.path(), &bench.overboot, &sources, runs)
}

/// What each contender took, and how much longer the peer, which is one of them.
pub(crate) fn table(names: &[&str], times: &mut [Vec<f64>], peer: usize) {
    println!(
        "| contender | median | fastest | slowest | peer's median / median |\n|---|---|---|---|---|"
    );
    let peer = median(&mut times[peer]);
    for (name, times) in names.iter().zip(times) {
        let median = median(times);
        let (first, last) = (times[0], times[times.len() - 1]);
        println!("| {name} | {median:.2} s | {first:.2} s | {last:.2} s | {:.1} |", peer / median);
    }
}

type Contender = dyn Fn(&Bench, &AptCache) -> Result<f64>;

/// Where all this happens.
struct Bench {
    overboot: PathBuf,
    folder: PathBuf,
    project: PathBuf,
    mirror: String,
    security: String,
}

impl Bench {
    fn new(folder: &Path) -> Result<Self> {
        let mirror = host_mirror("debian").or_else(|| fallback_mirror("debian").map(str::to_owned));
        let mirror = mirror.context("no mirror of Debian is known")?;
        let security = security_sibling(&mirror)
            .with_context(|| format!("no security archive is known beside {mirror}"))?;
        let bench = Self {
            overboot: std::env::current_exe()?.with_file_name("overboot"),
            folder: folder.to_owned(),
            project: folder.join("project"),
            mirror,
            security,
        };
        fs_err::create_dir_all(&bench.project)?;
        fs_err::write(folder.join("keys.gpg"), KEYRING)?;
        Ok(bench)
    }

    /// From nothing, as mmdebstrap does it: indexes, signatures, resolving, packages, tree, image.
    fn out_of_the_archive(&self, cache: &AptCache) -> Result<f64> {
        self.forget(&["project", "cache"])?;
        fs_err::create_dir_all(&self.project)?;
        let Self { mirror, .. } = self;
        let recipe = format!(
            "[project]\nname = \"bench\"\n[archive]\nsuite = \"trixie\"\nmirror = \"{mirror}\"\n\
             proxy = \"{}\"\n[base.minbase]\nvariant = \"minbase\"\n",
            cache.url()
        );
        fs_err::write(self.project.join("overboot.toml"), recipe)?;
        self.build()
    }

    /// From the lock and the package store, which the run before has left; all that was made from them is gone, compressed
    /// blocks too.
    fn out_of_the_lock(&self, _: &AptCache) -> Result<f64> {
        self.forget(&["project/store", "project/.overboot", "cache/blocks"])?;
        self.build()
    }

    fn nothing(&self, _: &AptCache) -> Result<f64> {
        self.build()
    }

    fn build(&self) -> Result<f64> {
        let mut build = Command::new(&self.overboot);
        build.arg("-C").arg(&self.project).arg("--cache").arg(self.folder.join("cache"));
        timed(build.args(["build", "base/minbase"]))
    }

    /// The suites as lines of sources.list(5).
    fn sources(&self) -> [String; 3] {
        let keys = self.folder.join("keys.gpg");
        let source = |mirror: &str, suite: &str| {
            format!("deb [signed-by={}] {mirror} {suite} main\n", keys.display())
        };
        [
            source(&self.mirror, "trixie"),
            source(&self.mirror, "trixie-updates"),
            source(&self.security, "trixie-security"),
        ]
    }

    /// mmdebstrap from the same suites, then mksquashfs with our compressor, level and block size.
    fn peer(&self, cache: &AptCache) -> Result<f64> {
        self.forget(&["peer", "peer.squashfs"])?;
        let (tree, image) = (self.folder.join("peer"), self.folder.join("peer.squashfs"));
        let mut make = Command::new("mmdebstrap");
        make.args(["--variant=minbase", "--mode=root", "--format=directory", "--quiet"]);
        make.arg(format!("--aptopt=Acquire::http::Proxy \"{}\"", cache.url()));
        make.arg("trixie").arg(&tree).args(self.sources().map(|line| line.trim_end().to_owned()));
        let mut pack = Command::new("mksquashfs");
        pack.arg(&tree).arg(&image).args(["-comp", "zstd", "-Xcompression-level", "19"]);
        pack.args(["-b", "1M", "-noappend", "-quiet", "-no-progress"]);
        Ok(timed(&mut make)? + timed(&mut pack)?)
    }

    fn forget(&self, names: &[&str]) -> Result<()> {
        for path in names.iter().map(|name| self.folder.join(name)) {
            if path.is_dir() {
                fs_err::remove_dir_all(path)?;
            } else if path.exists() {
                fs_err::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// Whether the cache may ask the mirror.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Network,
    Offline,
}

/// An apt-cacher-ng of our own. Ends with this value; what it has fetched stays.
struct AptCache {
    child: Child,
    port: u16,
}

impl AptCache {
    fn start(folder: &Path, reach: Reach) -> Result<Self> {
        let folder = folder.join("apt-cacher-ng");
        // It knows no port above 32767, so the system's choice of a free one will not do.
        let mut ports = 20_000 + u16::try_from(std::process::id() % 10_000)?..30_000;
        let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
        let port = ports.find(free).context("no free port for apt-cacher-ng")?;
        let offline = u8::from(reach == Reach::Offline);
        // A configuration of its own, so that nothing of the machine's is read.
        fs_err::create_dir_all(folder.join("conf"))?;
        let mut conf = fs_err::File::create(folder.join("conf/acng.conf"))?;
        let at = folder.display();
        writeln!(
            conf,
            "CacheDir: {at}/cache\nLogDir: {at}/log\nSocketPath: {at}/socket\nPidFile: {at}/pid\n\
             Port: {port}\nBindAddress: 127.0.0.1\nForeGround: 1\nOfflinemode: {offline}"
        )?;
        for sub in ["cache", "log"] {
            fs_err::create_dir_all(folder.join(sub))?;
        }
        let mut command = Command::new("apt-cacher-ng");
        command.arg("-c").arg(folder.join("conf")).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().context("apt-cacher-ng")?;
        let mut cache = Self { child, port };
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = cache.child.try_wait()? {
                bail!("apt-cacher-ng ended: {status}");
            }
            if begun.elapsed() > PATIENCE {
                bail!("apt-cacher-ng does not listen on port {port}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(cache)
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for AptCache {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    let half = times.len() / 2;
    if times.len() % 2 == 1 { times[half] } else { f64::midpoint(times[half - 1], times[half]) }
}

pub(crate) fn timed(command: &mut Command) -> Result<f64> {
    let begun = Instant::now();
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| name.clone())?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(begun.elapsed().as_secs_f64())
}

//! init: from a started kernel to a started root. Each part is a stage; [`run`] is their order.

mod alternatives;
pub mod databases;
pub mod fetch;
pub mod link;
pub mod loop_device;
pub mod memory;
pub mod module_index;
pub mod modules;
pub mod mounts;
pub mod netlink;
pub mod network;
pub mod progress;
pub mod retry;
pub mod root;
pub mod set;
pub mod sink;
pub mod unpack;

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use overboot_bootset::LayerFormat;
use overboot_wire::{Cmdline, Stage, path};

use self::databases::Merged;
use self::fetch::{Fetcher, Source, Wanted};
use self::modules::{Loaded, Loader};
use self::mounts::{ROOT, STATE};
use self::network::{Network, Patience};
use self::progress::Progress;
use self::root::Layers;
use crate::handover::{self, Handover};
use crate::http::{Client, Request};
use crate::log::Log;
use crate::report::Reporter;
use crate::url::Url;
use crate::{Error, clock, dns, error};

/// How long a stage goes on without progress, unless `overboot.patience=` (seconds) says otherwise.
const PATIENCE: u64 = 120;
/// How long a failure stays on the console before the node reboots, unless `panic=` (seconds; 0: for ever) says otherwise.
const LINGER: u64 = 30;

/// Runs as process 1 of the initrd. Returns only if the machine cannot even be rebooted.
pub fn run() {
    if let Err(error) = mounts::kernel() {
        // Nothing to speak through yet but what the kernel gave us.
        let log = Log::open();
        log.line(&error::chain(&error));
    }
    let log = Log::open();
    let text = fs_err::read_to_string("/proc/cmdline").unwrap_or_default();
    let cmdline = Cmdline::parse(&text);
    speak_before_dying(&cmdline);
    let progress = Progress::new(&log, cmdline.bootif.clone());
    let mut stage = Stage::Init;
    let Err(failure) = boot(&text, &cmdline, &log, &progress, &mut stage);
    fail(&cmdline, &progress, stage, &failure);
}

/// A panic of process 1 would be the kernel's; it is a sentence and a reboot instead.
fn speak_before_dying(cmdline: &Cmdline) {
    let linger = linger(cmdline);
    std::panic::set_hook(Box::new(move |panic| {
        Log::open().line(&format!("init failed, which is a mistake in overboot: {panic}"));
        reboot_after(linger);
    }));
}

fn boot(
    text: &str,
    cmdline: &Cmdline,
    log: &Log,
    progress: &Progress<'_>,
    stage: &mut Stage,
) -> Result<std::convert::Infallible, Error> {
    progress.kernel();
    let version = env!("CARGO_PKG_VERSION");
    progress.reached(Stage::Init, format!("overboot {version}"), None);
    for problem in &cmdline.problems {
        progress.say(&format!("kernel command line: {problem}"));
    }

    *stage = Stage::Modules;
    let mut loader = Loader::open(text)?;
    let mut loaded = loader.always();
    let driven = loader.coldplug();
    loaded.count += driven.count;
    loaded.failed.extend(driven.failed);
    complain(progress, &loaded);
    progress.reached(Stage::Modules, format!("{} loaded", loaded.count), None);

    *stage = Stage::Dhcp;
    let patience = patience(cmdline);
    let waits = Patience {
        interface: patience,
        bootif: patience.min(Duration::from_secs(20)),
        lease: patience,
    };
    let network = network::bring_up(cmdline, waits, progress, &mut || {
        complain(progress, &loader.coldplug());
    })?;
    let client = Client { name_servers: network.lease.dns.clone() };
    let syslog = tell_others(cmdline, log, progress, &client, &network);

    *stage = Stage::Set;
    let merged = match (&cmdline.set, &cmdline.basefs) {
        (Some(url), _) => signed(cmdline, url, progress, &client, patience, stage)?,
        (None, Some(base)) => plain(cmdline, base, progress, &client, patience, stage)?,
        (None, None) => return Err(Error::NothingToBoot),
    };
    merged.trouble.iter().for_each(|sentence| progress.say(sentence));

    *stage = Stage::Root;
    let handover = Handover {
        api: cmdline.api_cb.clone(),
        boot_id: progress.boot_id().map(str::to_owned),
        syslog,
        network,
    };
    start(cmdline, progress, &handover, &merged)
}

fn complain(progress: &Progress<'_>, loaded: &Loaded) {
    loaded.failed.iter().for_each(|sentence| progress.say(sentence));
}

fn patience(cmdline: &Cmdline) -> Duration {
    let asked = cmdline.get("overboot.patience").and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(asked.unwrap_or(PATIENCE).clamp(1, 86_400))
}

fn linger(cmdline: &Cmdline) -> Option<Duration> {
    match cmdline.get("panic").and_then(|seconds| seconds.parse::<i64>().ok()) {
        Some(0) => None,
        Some(seconds) => Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))),
        None => Some(Duration::from_secs(LINGER)),
    }
}

/// With a network, the boot server and the syslog server learn what happened so far, and what comes. Where the latter is.
fn tell_others(
    cmdline: &Cmdline,
    log: &Log,
    progress: &Progress<'_>,
    client: &Client,
    network: &Network,
) -> Option<SocketAddr> {
    let name = handover::hostname(network);
    // The kernel's own, so that it is right before the root reads its files.
    let _unnamed = rustix::system::sethostname(name.as_bytes());
    let syslog = cmdline.syslog_server.as_deref().map(|server| syslog_address(server, client));
    match &syslog {
        Some(Ok(address)) => log.to_syslog(*address, &name),
        Some(Err(error)) => progress.say(&format!("SYSLOGSERVER: {}", error::chain(error))),
        None => {}
    }
    let reporter = cmdline.api_cb.as_deref().and_then(|api| Reporter::start(api, client.clone()));
    progress.report_to(reporter, &network.mac.to_string());
    syslog.and_then(Result::ok)
}

fn syslog_address(server: &str, client: &Client) -> Result<SocketAddr, Error> {
    let url = Url::parse(&format!("http://{server}/"))?;
    // The port of syslog, where a URL's would be HTTP's.
    let port = if server.contains(':') { url.port } else { 514 };
    let addresses = dns::resolve(&url.host, &client.name_servers)?;
    let address = addresses
        .first()
        .ok_or_else(|| Error::Name { host: url.host.clone(), reason: "it has none".to_owned() })?;
    Ok(SocketAddr::new(*address, port))
}

/// `overboot.set=`: what is booted is what was signed.
fn signed(
    cmdline: &Cmdline,
    url: &str,
    progress: &Progress<'_>,
    client: &Client,
    patience: Duration,
    stage: &mut Stage,
) -> Result<Merged, Error> {
    let keys = set::keys(Path::new(set::KEYS))?;
    let trouble = |sentence: &str| progress.say(sentence);
    let (set, head) = set::fetch(client, url, &keys, patience, &trouble)?;
    if let Some(seconds) = head.date.as_deref().and_then(clock::set_if_unset) {
        progress.say(&format!(
            "the clock was wrong; set it by the server's, to {seconds} s after 1970"
        ));
    }
    let layers = set.layers().count();
    let mib = set.layer_bytes() >> 20;
    progress.reached(
        Stage::Set,
        format!("{} verified: {layers} layers, {mib} MiB", set.name),
        None,
    );
    if let Some(memory) = memory::Memory::read() {
        memory.check(&set)?;
    }

    *stage = Stage::Download;
    let base = path::set_base(url).ok_or_else(|| Error::Url {
        url: url.to_owned(),
        reason: "a boot set lies in a folder beside blobs: http://HOST/boot/sets/NAME.json",
    })?;
    let servers: Vec<String> =
        std::iter::once(base.to_owned()).chain(cmdline.mirrors.iter().cloned()).collect();
    let wanted: Vec<Wanted<'_>> = set
        .layers()
        .map(|layer| Wanted { name: layer.name.clone(), source: Source::Signed(layer) })
        .collect();
    let root = Layers::prepare(names(&wanted), Some(set.layer_bytes()))?;
    download(&wanted, &root, &servers, progress, client, patience, stage)
}

/// `BASEFS=` and `OVERLAYFS=`: RackHD's way, without signatures.
fn plain(
    cmdline: &Cmdline,
    base: &str,
    progress: &Progress<'_>,
    client: &Client,
    patience: Duration,
    stage: &mut Stage,
) -> Result<Merged, Error> {
    let wanted: Vec<Wanted<'_>> = std::iter::once(base)
        .chain(cmdline.overlayfs.iter().map(String::as_str))
        .map(|url| {
            let url = Url::parse(url)?;
            Ok(Wanted { name: plain_name(url.file_name()), source: Source::Plain(url) })
        })
        .collect::<Result<_, Error>>()?;
    let list: Vec<&str> = wanted.iter().map(|w| w.name.as_str()).collect();
    progress.reached(Stage::Set, format!("unsigned: {}", list.join(", ")), None);
    if let Some(memory) = memory::Memory::read() {
        let sizes = wanted.iter().filter_map(|layer| plain_size(layer, client));
        memory.check_layers(format!("the unsigned {}", list.join(", ")), sizes)?;
    }
    *stage = Stage::Download;
    let root = Layers::prepare(names(&wanted), None)?;
    download(&wanted, &root, &[], progress, client, patience, stage)
}

/// What a layer is by its name, and how long its server says it is. One that does not say it is found out when it is fetched.
fn plain_size(layer: &Wanted<'_>, client: &Client) -> Option<(LayerFormat, u64)> {
    let Source::Plain(url) = &layer.source else { return None };
    let silence = Duration::from_secs(5);
    let request = Request { method: "HEAD", silence, ..Request::get() };
    let head = client.send(url, &request).ok()?.head;
    let archive = layer.name.ends_with(".gz");
    let format = if archive { LayerFormat::CpioGz } else { LayerFormat::Squashfs };
    head.length.filter(|_| head.status == 200).map(|length| (format, length))
}

/// A file name made safe to be one of ours.
fn plain_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    name.chars().take(100).map(plain).collect()
}

fn names(wanted: &[Wanted<'_>]) -> Vec<String> {
    wanted.iter().map(|w| w.name.clone()).collect()
}

fn download(
    wanted: &[Wanted<'_>],
    root: &Layers,
    servers: &[String],
    progress: &Progress<'_>,
    client: &Client,
    patience: Duration,
    stage: &mut Stage,
) -> Result<Merged, Error> {
    let (bytes, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let trouble = |sentence: &str| progress.say(sentence);
    let fetcher =
        Fetcher { client, servers, patience, bytes: &bytes, stop: &stop, trouble: &trouble };
    let began = clock::boot_ms();
    let over = AtomicBool::new(false);
    let sinks = std::thread::scope(|scope| {
        scope.spawn(|| watch(progress, &bytes, &over));
        let sinks = fetch::all(&fetcher, wanted, &|index| root.sink(index));
        over.store(true, Ordering::Relaxed);
        sinks
    })?;
    let total = bytes.load(Ordering::Relaxed);
    let took = (clock::boot_ms() - began).max(1);
    let checked = if servers.is_empty() { "unchecked" } else { "all chunks checked" };
    progress.reached(
        Stage::Download,
        format!("{} MiB at {} MiB/s, {checked}", total >> 20, (total * 1000 / took) >> 20),
        Some(total),
    );
    *stage = Stage::Root;
    let kept: Vec<_> = sinks.into_iter().filter_map(sink::LayerSink::kept).collect();
    root.mount(&kept)
}

/// On slow links, says every ten seconds that something is happening.
fn watch(progress: &Progress<'_>, bytes: &AtomicU64, over: &AtomicBool) {
    let mut said = clock::boot_ms();
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
        if clock::boot_ms() - said >= 10_000 {
            said = clock::boot_ms();
            progress.say(&format!("{} MiB so far", bytes.load(Ordering::Relaxed) >> 20));
        }
    }
}

/// Hands everything on and becomes the root's first program.
fn start(
    cmdline: &Cmdline,
    progress: &Progress<'_>,
    handover: &Handover,
    merged: &Merged,
) -> Result<std::convert::Infallible, Error> {
    let sysroot = Path::new(ROOT);
    handover::configure_root(sysroot, &handover.network, handover.syslog)?;
    let asked = cmdline.get("init");
    let program = root::first_program(sysroot, asked.as_deref());
    let named = program.as_deref().map_or("the agent".to_owned(), |p| p.display().to_string());
    progress.reached(Stage::Root, format!("overlayfs mounted, starting {named}"), None);
    handover.write(&progress.timeline())?;
    if let Err(error) = mounts::keep_firmware() {
        // The card has it, and needs it again only when it is reset.
        progress.say(&error::chain(&error));
    }
    progress.finish(Duration::from_secs(2));
    mounts::hand_over()?;
    mounts::switch_root()?;

    let own = Path::new(STATE).join(handover::PROGRAM);
    let failed = |program: &Path| {
        let program = program.display().to_string();
        move |source| Error::Exec { program, source }
    };
    let Some(program) = program else {
        return Err(failed(&own)(Command::new(&own).arg("solo").exec()));
    };
    if merged.libraries {
        // Before anything runs that may need it: a command of the agent's, too. It takes a moment, and a root without it has no
        // overlay with libraries.
        let _missing = Command::new("/sbin/ldconfig").arg("-X").status();
    }
    if handover.api.is_some() {
        Command::new(&own).arg("agent").spawn().map_err(failed(&own))?;
    }
    let arguments = std::env::args_os().skip(1);
    Err(failed(&program)(Command::new(&program).args(arguments).exec()))
}

/// The end of a boot that failed: the reason on every channel, then another try.
fn fail(cmdline: &Cmdline, progress: &Progress<'_>, stage: Stage, failure: &Error) {
    let sentence = error::chain(failure);
    progress.say(&format!("FAILED in stage {stage}: {sentence}"));
    match failure.hint() {
        Some(hint) => {
            progress.say(&format!("what to do: {hint}"));
            progress.failed(stage, &format!("{sentence} (what to do: {hint})"));
        }
        None => progress.failed(stage, &sentence),
    }
    progress.finish(Duration::from_secs(5));
    let linger = linger(cmdline);
    match linger {
        Some(time) => progress.say(&format!("rebooting in {} s", time.as_secs())),
        None => progress.say("staying as panic=0 asks; power the node off or reset it"),
    }
    reboot_after(linger);
}

fn reboot_after(linger: Option<Duration>) {
    match linger {
        Some(time) => std::thread::sleep(time),
        None => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
    }
    rustix::fs::sync();
    let _refused = rustix::system::reboot(rustix::system::RebootCommand::Restart);
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Asks a server that gives these answers for the size of `layer`.
    fn size(layer: &str, answers: &[&'static str]) -> Option<(LayerFormat, u64)> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/{layer}", listener.local_addr().unwrap());
        let answers = answers.to_vec();
        let server = std::thread::spawn(move || {
            for answer in answers {
                let mut stream = listener.accept().unwrap().0;
                let read = stream.read(&mut [0; 4096]).unwrap();
                assert!(read > 0);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let source = Source::Plain(Url::parse(&url).unwrap());
        let size = plain_size(&Wanted { name: layer.to_owned(), source }, &Client::default());
        server.join().unwrap();
        size
    }

    #[test]
    fn the_size_of_an_unsigned_layer_is_asked_for_before_it_is_fetched() {
        let there = "HTTP/1.1 200 OK\r\nContent-Length: 8589934592\r\n\r\n";
        assert_eq!(size("base.img", &[there]), Some((LayerFormat::Squashfs, 8 << 30)));
        let elsewhere = "HTTP/1.1 302 Found\r\nLocation: /other\r\n\r\n";
        assert_eq!(size("o.cpio.gz", &[elsewhere, there]), Some((LayerFormat::CpioGz, 8 << 30)));
        for says_nothing in
            ["HTTP/1.1 405 No\r\nContent-Length: 9\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"]
        {
            assert_eq!(size("base.img", &[says_nothing]), None);
        }
    }
}

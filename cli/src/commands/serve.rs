//! `overboot serve`: the boot server.

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use overboot_recipe::{Place, Placed, Recipe, ServeDhcp, near};
use overboot_server::{Dhcp, Network, Server, ServerConfig};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::project;
use crate::Global;
use crate::printer::Printer;
use crate::told::told;

/// Boot machines: DHCP or ProxyDHCP, TFTP, HTTP, API, web page
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where HTTP listens; otherwise as the recipe says, or 0.0.0.0:9090.
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
    /// The host, or host:port, that nodes are told; otherwise the address of the interface.
    #[arg(long, value_name = "HOST[:PORT]")]
    advertise: Option<String>,
    /// The interface where DHCP and TFTP serve; without one there is neither, only HTTP.
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// What to do about DHCP: off, proxy (beside the site's server), or first-last/prefix (be the server).
    #[arg(long, value_name = "WHAT", value_parser = dhcp_argument)]
    dhcp: Option<ServeDhcp>,
    /// The boot set of workflows that name none; otherwise discovery, or the only one.
    #[arg(long, value_name = "NAME")]
    boot_set: Option<String>,
    /// Where nodes, catalogs and workflows are kept; otherwise in the project.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Where nodes send their logs, by UDP to port 514 (RackHD's SYSLOGSERVER).
    #[arg(long, value_name = "ADDRESS")]
    syslog: Option<Ipv4Addr>,
    /// Another server of the same images: a URL below which blobs/sha256/ is. Nodes go on there when this one fails.
    #[arg(long = "mirror", value_name = "URL")]
    mirrors: Vec<String>,
    /// A folder of plain files for /common/, where RackHD's images are.
    #[arg(long, value_name = "DIR")]
    common: Option<PathBuf>,
}

/// How long our leases last. Nodes run for hours; a machine that is gone frees its address the same day.
const LEASE_TIME: Duration = Duration::from_secs(3600);

/// The port of TFTP: firmware knows no other.
const TFTP_PORT: u16 = 69;

pub(crate) fn run(global: &Global, args: &Args, printer: &Printer) -> Result<ExitCode> {
    let (project, recipe) = project::open(global)?;
    let state = args.state.clone().unwrap_or_else(|| project.folder().join(".overboot/fleet"));
    let store = project::store(&project)?;
    let boot_set = match project::boot_set(&store, args.boot_set.as_deref()) {
        Err(error) if args.boot_set.is_none() => {
            // The API and plain files can be served all the same, and a set may still be built.
            printer.note(format!("Workflows must name their boot set: {error}"));
            project::DISCOVERY.to_owned()
        }
        chosen => chosen?,
    };
    let config = config(&recipe, args, state, store.dir().to_owned(), boot_set)?;
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_env("OVERBOOT_LOG").unwrap_or_else(|_| EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let place = |error: &overboot_server::Error| place(&recipe, args, error);
    runtime.block_on(serve(config, &recipe, printer, place))?;
    Ok(ExitCode::SUCCESS)
}

/// Where the recipe says what the server cannot do.
fn place(recipe: &Recipe, args: &Args, error: &overboot_server::Error) -> String {
    use overboot_server::Error;
    let place = match error {
        Error::Http { .. } if args.http.is_none() => recipe.serve.http.place,
        Error::Netboot(_) if args.dhcp.is_none() => recipe.serve.dhcp.place,
        _ => Place::default(),
    };
    recipe.at(place)
}

async fn serve(
    config: ServerConfig,
    recipe: &Recipe,
    printer: &Printer,
    place: impl Fn(&overboot_server::Error) -> String,
) -> Result<()> {
    let mut key = signal(SignalKind::interrupt()).context("listening for signals")?;
    let mut told = signal(SignalKind::terminate()).context("listening for signals")?;
    let mut running = Server::start(config).await.map_err(|error| {
        let message = format!("{}the server does not start", place(&error));
        anyhow::Error::from(error).context(message)
    })?;
    match running.engine().library().await {
        Ok(library) => warn_of_graph(recipe, library.graphs.keys().map(String::as_str), printer),
        // A definition that does not read can be put right by the API.
        Err(error) => printer.note(format!("warning: {:#}", anyhow::Error::from(error))),
    }
    printer.json(&serde_json::json!({
        "event": "serving", "http": running.http_addr().to_string(), "url": running.url(),
    }));
    printer.result(format!("The web page and the API: {}/", running.url()));
    let failed = tokio::select! {
        failed = running.failed() => failed,
        _ = key.recv() => Ok(()),
        _ = told.recv() => Ok(()),
    };
    running.shutdown().await.context("stopping the server")?;
    failed.context("the server stopped working")
}

/// Tells that the graph for new machines is not there. No more than that: the API can still bring it.
fn warn_of_graph<'a>(
    recipe: &Recipe,
    graphs: impl Iterator<Item = &'a str> + Clone,
    printer: &Printer,
) {
    let wanted = &recipe.serve.discovery;
    if graphs.clone().any(|name| name == wanted.as_str()) {
        return;
    }
    let near = near(wanted, graphs);
    let meant = match near.is_empty() {
        true => String::new(),
        false => format!("; did you mean {}?", near.join(", ")),
    };
    let place = recipe.at(wanted.place);
    printer.note(format!(
        "warning: {place}there is no graph \"{wanted}\": until the API is given one, no new machine is discovered{meant}"
    ));
}

/// What the recipe says, unless an argument says otherwise.
fn config(
    recipe: &Recipe,
    args: &Args,
    state: PathBuf,
    store: PathBuf,
    boot_set: String,
) -> Result<ServerConfig> {
    let serve = &recipe.serve;
    let named = args.interface.clone().map(Placed::from);
    let interface = named.or_else(|| serve.interface.clone());
    let address = interface.as_ref().map(|name| address_of(recipe, name)).transpose()?;
    let served = interface.map(|name| name.value).zip(address);
    let mut config = ServerConfig::new(state, store);
    config.http = args.http.unwrap_or(*serve.http);
    config.tftp = address.map(|address| SocketAddrV4::new(address, TFTP_PORT));
    let wanted = args.dhcp.map_or(serve.dhcp, Placed::from);
    config.dhcp = dhcp(recipe, wanted, served)?;
    config.discovery = Some(serve.discovery.value.clone());
    config.boot_set = boot_set;
    config.common = args.common.clone();
    config.syslog = args.syslog;
    config.mirrors = args.mirrors.clone();
    config.advertised = args
        .advertise
        .clone()
        .or_else(|| serve.advertise.as_ref().map(|host| host.value.clone()))
        .or_else(|| address.map(|address| address.to_string()));
    if config.advertised.is_none() && config.http.ip().is_unspecified() {
        config.advertised = own_address().map(|address| address.to_string());
    }
    Ok(config)
}

fn dhcp(
    recipe: &Recipe,
    wanted: Placed<ServeDhcp>,
    served: Option<(String, Ipv4Addr)>,
) -> Result<Dhcp> {
    match (wanted.value, served) {
        (ServeDhcp::Off, _) => Ok(Dhcp::Off),
        (_, None) => Err(told(
            format!("{}DHCP needs an interface", recipe.at(wanted.place)),
            "give --interface, or `interface` in [serve] of overboot.toml",
        )),
        (ServeDhcp::Proxy, Some((interface, address))) => Ok(Dhcp::Proxy { interface, address }),
        (ServeDhcp::Server { first, last, prefix }, Some((interface, address))) => {
            let network = Network {
                address,
                prefix,
                range: first..=last,
                routers: recipe.serve.router.map(|router| router.value).into_iter().collect(),
                dns: Placed::values(&recipe.serve.dns),
                ntp: Vec::new(),
                domain: None,
            };
            Ok(Dhcp::Server {
                interface,
                address,
                networks: vec![network],
                reservations: Default::default(),
                lease_time: LEASE_TIME,
            })
        }
    }
}

fn dhcp_argument(text: &str) -> Result<ServeDhcp, String> {
    match text {
        "off" => Ok(ServeDhcp::Off),
        "proxy" => Ok(ServeDhcp::Proxy),
        range => ServeDhcp::parse_range(range).ok_or_else(|| {
            "want off, proxy, or a range such as 10.0.0.100-10.0.0.200/24".to_owned()
        }),
    }
}

/// The first IPv4 address of an interface.
fn address_of(recipe: &Recipe, interface: &Placed<String>) -> Result<Ipv4Addr> {
    let all = if_addrs::get_if_addrs().context("listing this machine's network interfaces")?;
    let own = all.iter().filter(|address| address.name == **interface);
    let found = own.into_iter().find_map(|address| match address.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    found.ok_or_else(|| {
        let mut names: Vec<&str> = all.iter().map(|address| address.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        told(
            format!(
                "{}there is no interface {interface} with an IPv4 address",
                recipe.at(interface.place)
            ),
            format!("give it one, or name another: {}", names.join(", ")),
        )
    })
}

/// This machine's address on the way to everybody else, if there is such a way. Nothing is sent.
fn own_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // RFC 5737: nobody's address, so that it goes where everything unknown goes.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V4(address) => Some(*address.ip()),
        SocketAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_the_loopback_address() {
        let text = "[project]\nname = \"x\"\n[archive]\nsuite = \"trixie\"\n[serve]\ninterface = \"none0\"\n";
        let recipe = Recipe::parse(text, std::path::Path::new("overboot.toml")).unwrap();
        let loopback = "lo".to_owned().into();
        assert_eq!(address_of(&recipe, &loopback).unwrap(), Ipv4Addr::LOCALHOST);
        let named = recipe.serve.interface.as_ref().unwrap();
        let error = format!("{:#}", address_of(&recipe, named).unwrap_err());
        assert!(error.starts_with("overboot.toml:6:13: there is no interface none0"), "{error}");
    }

    #[test]
    fn dhcp_is_said_in_one_word_or_a_range() {
        assert_eq!(dhcp_argument("proxy"), Ok(ServeDhcp::Proxy));
        assert!(matches!(
            dhcp_argument("10.0.0.5-10.0.0.9/24"),
            Ok(ServeDhcp::Server { prefix: 24, .. })
        ));
        assert!(dhcp_argument("on").is_err());
    }
}

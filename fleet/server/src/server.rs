//! Starting and stopping: all parts of a server, owned in one place.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use overboot_netboot::dhcp::{DhcpConfig, DhcpServer, ProxyConfig, ProxyDhcp};
use overboot_netboot::{Decider, Loaders, Site, TftpConfig, TftpServer, ipxe};
use overboot_power::Powers;
use overboot_state::State;
use overboot_store::Store;
use overboot_workflow::Engine;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::{Address, App};
use crate::boot::decider::{FleetDecider, note_events};
use crate::config::{Dhcp, ServerConfig};
use crate::http::error::ApiError;
use crate::http::rewrite::API;
use crate::images::Images;
use crate::outputs::Outputs;
use crate::{Error, api, http, page};

/// The largest body read: RackHD's limit for its node-facing half. Command output is the largest thing sent to us.
const MAX_BODY: usize = 50 << 20;

/// How long a stop waits for answers that are being sent.
const GRACE: Duration = Duration::from_secs(5);

/// A boot server.
#[derive(Debug)]
pub struct Server;

/// A server that runs. Dropping it stops it at once; [`Running::shutdown`] lets it finish what it is doing.
#[derive(Debug)]
pub struct Running {
    http: SocketAddr,
    url: String,
    engine: Engine,
    stop: CancellationToken,
    parts: JoinSet<Result<(), Error>>,
}

impl Server {
    /// Starts all parts that `config` asks for. When this returns, all ports are taken and answered.
    ///
    /// # Errors
    ///
    /// [`Error`], by the part that does not start; the others are then stopped.
    pub async fn start(config: ServerConfig) -> Result<Running, Error> {
        let listener = TcpListener::bind(config.http)
            .await
            .map_err(|source| Error::Http { address: config.http, source })?;
        let http =
            listener.local_addr().map_err(|source| Error::Http { address: config.http, source })?;
        let address = advertised(&config, http)?;
        let store = Store::open_or_create(&config.store).map_err(Error::Store)?;
        let mut loaders = loaders(&config, &store)?;
        let site = site(&config, &address, &loaders);
        let autoexec = ipxe::autoexec_script(&site.profiles_url())
            .map_err(|_| Error::Advertised { text: address.api() })?;
        loaders.insert(ipxe::AUTOEXEC, autoexec.into_bytes());
        let state = State::open(&config.state.join("fleet.sqlite")).await.map_err(Error::State)?;
        let stop = CancellationToken::new();

        // Ports before tasks: what cannot be had ends the start, with nothing running.
        let dhcp = bind_dhcp(&config, &site)?;
        let tftp = config
            .tftp
            .map(|listen| {
                let ip = *listen.ip();
                TftpServer::bind(TftpConfig { listen, ..TftpConfig::new(ip, loaders.clone()) })
            })
            .transpose()
            .map_err(Error::Netboot)?;

        let engine = Engine::start(state.clone(), Powers::new(), engine_config(&config, &address))
            .await
            .map_err(Error::Engine)?;
        let app = Arc::new(App {
            state: state.clone(),
            engine: engine.clone(),
            images: Images::new(store, config.unpublished),
            site,
            address,
            loaders,
            common: config.common,
            mirrors: config.mirrors,
            discovery: config.discovery,
            boot_set: config.boot_set,
            excluded: config.excluded,
            outputs: Outputs::default(),
            discovering: Mutex::new(()),
            stop: stop.clone(),
        });
        let mut parts = JoinSet::new();
        let (decider, events) = FleetDecider::new(Arc::clone(&app));
        let decider: Arc<dyn Decider> = Arc::new(decider);
        let noting = Arc::clone(&app);
        parts.spawn(async move {
            note_events(noting, events).await;
            Ok(())
        });
        let url = app.address.http.clone();
        let http_stop = stop.clone();
        parts.spawn(async move {
            http::listen::serve(listener, router(app), http_stop).await;
            Ok(())
        });
        match dhcp {
            Some(DhcpService::Server(service)) => {
                parts.spawn(run_boot_service(service.run(Arc::clone(&decider), stop.clone())));
            }
            Some(DhcpService::Proxy(service)) => {
                parts.spawn(run_boot_service(service.run(Arc::clone(&decider), stop.clone())));
            }
            None => {}
        }
        if let Some(tftp) = tftp {
            parts.spawn(run_boot_service(tftp.run(decider, stop.clone())));
        }
        tracing::info!(listening = %http, url, "server started");
        if config.tftp.is_none() {
            tracing::warn!(
                "TFTP is off, for lack of an interface to serve: only machines whose own loader speaks HTTP boot from here"
            );
        }
        Ok(Running { http, url, engine, stop, parts })
    }
}

impl Running {
    /// Where HTTP listens.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http
    }

    /// Where nodes find it: `http://host:port`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The workflow engine, for a program that starts a server for itself.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Waits until a part fails. A server that works stays here for ever; cancelling the wait is fine.
    ///
    /// # Errors
    ///
    /// The part's own.
    pub async fn failed(&mut self) -> Result<(), Error> {
        while let Some(ended) = self.parts.join_next().await {
            ended.map_err(Error::Part)??;
        }
        Ok(())
    }

    /// Stops all parts: what is being answered is answered, at most for a few seconds.
    ///
    /// # Errors
    ///
    /// That of a part which failed while it ended.
    pub async fn shutdown(mut self) -> Result<(), Error> {
        self.stop.cancel();
        // Nodes that wait for work are told that there is none, so that their connections end.
        self.engine.stop().await;
        let ended = tokio::time::timeout(GRACE, self.failed()).await;
        self.parts.abort_all();
        self.engine.state().close().await;
        ended.unwrap_or(Ok(()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// All routes, below RackHD's aliases.
fn router(app: Arc<App>) -> Router {
    let api = Router::new()
        .merge(api::nodes::routes())
        .merge(api::lookups::routes())
        .merge(api::obms::routes())
        .merge(api::catalogs::routes())
        .merge(api::workflows::routes())
        .merge(api::tasks::routes())
        .merge(api::profiles::routes());
    Router::new()
        .nest(API, api)
        .merge(api::timeline::routes())
        .merge(api::files::routes())
        .merge(page::routes())
        .fallback(async |request: Request| {
            ApiError::not_found(format!("there is nothing at {}", request.uri().path()))
        })
        .method_not_allowed_fallback(async |request: Request| {
            ApiError::method_not_allowed(format!(
                "{} is not for {}",
                request.uri().path(),
                request.method()
            ))
        })
        .layer(axum::middleware::from_fn(http::origin::refuse_foreign_pages))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(app)
}

async fn run_boot_service(
    service: impl Future<Output = Result<(), overboot_netboot::Error>>,
) -> Result<(), Error> {
    service.await.map_err(Error::Netboot)
}

/// The loaders of the folder that was given; else those in the store; else those of the host.
fn loaders(config: &ServerConfig, store: &Store) -> Result<Loaders, Error> {
    if let Some(folder) = &config.loaders {
        return Loaders::from_dir(folder).map_err(Error::Netboot);
    }
    let built = Images::loaders(store).map_err(Error::Store)?;
    if built.names().is_empty() {
        return Loaders::from_dir(Loaders::DEBIAN).map_err(Error::Netboot);
    }
    Ok(built)
}

enum DhcpService {
    Server(Box<DhcpServer>),
    Proxy(ProxyDhcp),
}

fn bind_dhcp(config: &ServerConfig, site: &Site) -> Result<Option<DhcpService>, Error> {
    let site = site.clone();
    let service = match config.dhcp.clone() {
        Dhcp::Off => return Ok(None),
        Dhcp::Server { interface, address, networks, reservations, lease_time } => {
            let journal = config.state.join("leases");
            DhcpServer::bind(DhcpConfig {
                interface,
                address,
                networks,
                reservations,
                lease_time,
                journal,
                site,
            })
            .map(|server| DhcpService::Server(Box::new(server)))
        }
        Dhcp::Proxy { interface, address } => {
            ProxyDhcp::bind(ProxyConfig { interface, address, site }).map(DhcpService::Proxy)
        }
    };
    service.map(Some).map_err(Error::Netboot)
}

/// Where nodes find us: what was said, else the first real address that one of our services has.
fn advertised(config: &ServerConfig, listening: SocketAddr) -> Result<Address, Error> {
    let (host, port) = match &config.advertised {
        Some(text) => {
            let invalid = || Error::Advertised { text: text.clone() };
            let (host, port) = match text.rsplit_once(':') {
                Some((host, port)) => (host, port.parse().map_err(|_| invalid())?),
                None => (text.as_str(), listening.port()),
            };
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
            if host.is_empty() || !host.chars().all(plain) {
                return Err(invalid());
            }
            (host.to_owned(), port)
        }
        None => {
            let tftp = config.tftp.map(|listen| *listen.ip());
            let known = config.dhcp.address().or(tftp).map(Into::into);
            let ip = known.unwrap_or_else(|| listening.ip());
            if ip.is_unspecified() || ip.is_ipv6() {
                return Err(Error::NoAddress { listening });
            }
            (ip.to_string(), listening.port())
        }
    };
    let http = format!("http://{host}:{port}");
    Ok(Address { http, host, port, syslog: config.syslog })
}

fn engine_config(config: &ServerConfig, address: &Address) -> overboot_workflow::Config {
    let mut engine = overboot_workflow::Config::new(&address.http);
    engine.server.insert("bootSet".to_owned(), json!(config.boot_set));
    engine
}

fn site(config: &ServerConfig, address: &Address, loaders: &Loaders) -> Site {
    let tftp = config.tftp.map(|listen| *listen.ip()).filter(|ip| !ip.is_unspecified());
    let own = address.host.parse().ok();
    Site {
        tftp: tftp
            .or_else(|| config.dhcp.address())
            .or(own)
            .unwrap_or(std::net::Ipv4Addr::UNSPECIFIED),
        http: address.http.clone(),
        loaders: loaders.names(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(advertised_as: Option<&str>, listening: &str) -> Option<String> {
        let mut config = ServerConfig::new("/state".into(), "/store".into());
        config.advertised = advertised_as.map(str::to_owned);
        advertised(&config, listening.parse().unwrap()).ok().map(|address| address.http)
    }

    #[test]
    fn nodes_are_told_an_address_that_they_can_reach() {
        assert_eq!(seen(None, "192.0.2.1:9090").as_deref(), Some("http://192.0.2.1:9090"));
        assert_eq!(seen(None, "0.0.0.0:9090"), None);
        assert_eq!(
            seen(Some("10.0.2.2"), "127.0.0.1:4711").as_deref(),
            Some("http://10.0.2.2:4711")
        );
        assert_eq!(
            seen(Some("boot.example:80"), "0.0.0.0:9090").as_deref(),
            Some("http://boot.example:80")
        );
        for bad in ["", ":80", "a b", "host:port", "http://host"] {
            assert_eq!(seen(Some(bad), "127.0.0.1:1"), None, "{bad}");
        }
    }
}

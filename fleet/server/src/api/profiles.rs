//! `/profiles`: what iPXE runs. A machine that asks becomes a node here.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;
use overboot_bootset::Card;
use overboot_dhcp::Mac;
use overboot_netboot::ipxe::{self, Context};
use overboot_netboot::{BootDecision, Client};
use overboot_state::BootEvent;
use overboot_wire::Stage;

use crate::app::App;
use crate::boot::admit;
use crate::http::address;
use crate::http::error::{ApiError, ApiResult};

pub(crate) fn routes() -> axum::Router<Arc<App>> {
    axum::Router::new().route("/profiles", get(profile))
}

/// No machine has more interfaces that boot.
const MAX_INTERFACES: usize = 128;

/// An interface as the redirect script tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) mac: Mac,
    pub(crate) ip: Option<IpAddr>,
    /// Which PCI card it is; `None` where that is not told.
    pub(crate) card: Option<Card>,
}

async fn profile(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> ApiResult<impl IntoResponse> {
    let source = address::client(peer, &headers);
    let interfaces = interfaces(&query)?;
    let syslog = app.address.syslog;
    let text = match asking(&interfaces, source) {
        None => {
            ipxe::redirect_script(&app.site.profiles_url(), Context { interface: None, syslog })
        }
        Some(asking) => {
            let decision = decide(&app, &interfaces, asking, source).await?;
            tracing::info!(mac = %asking.mac, %decision, "boot script");
            ipxe::script(&decision, Context { interface: Some(asking.mac), syslog })
        }
    };
    let text = text.or_else(|error| {
        // Shown on the machine's console, where somebody may stand.
        tracing::error!(%error, "no boot script can say this");
        Ok::<_, ApiError>(ipxe::error_script(&error.to_string()))
    })?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))], text))
}

async fn decide(
    app: &Arc<App>,
    interfaces: &[Interface],
    asking: Interface,
    source: IpAddr,
) -> ApiResult<BootDecision> {
    let client = Client::script(asking.mac);
    if !admit::is_excluded(app, asking.mac) {
        admit::admit(app, interfaces, source).await?;
    }
    let decision = admit::settled_decision(app, &client, interfaces).await?;
    match &decision {
        // It is to ask again, and has not got its script; the engine takes that event for the start of a boot.
        BootDecision::Wait { .. } => {}
        BootDecision::Ignore { reason } => app.cannot_boot(asking.mac, reason).await?,
        BootDecision::Loader { .. }
        | BootDecision::HttpLoader { .. }
        | BootDecision::Chain { .. }
        | BootDecision::Boot { .. }
        | BootDecision::LocalDisk { .. } => {
            let detail = Some(decision.to_string());
            app.saw(asking.mac, None, BootEvent::seen(Stage::Script, detail)).await?;
        }
    }
    Ok(decision)
}

/// The interfaces of a query: `macs` and `ips` in pairs, as RackHD's redirect script sends them, and with ours `nics`; also `mac`,
/// `ip` and `nic`.
fn interfaces(query: &[(String, String)]) -> ApiResult<Vec<Interface>> {
    let values = |plural: &'static str, singular: &'static str| {
        query
            .iter()
            .filter(move |(name, _)| name == plural || name == singular)
            .map(|(_, value)| value.as_str())
    };
    let mut ips = values("ips", "ip");
    let mut cards = values("nics", "nic");
    let mut interfaces: Vec<Interface> = Vec::new();
    for text in values("macs", "mac").take(MAX_INTERFACES) {
        let ip = ips.next().and_then(|text| text.parse().ok());
        let card = cards.next().and_then(card);
        let mac: Mac = text
            .parse()
            .map_err(|_| ApiError::bad_request(format!("\"{text}\" is not a MAC address")))?;
        // Virtual interfaces without an address of their own identify nobody.
        if mac.is_unicast() && !interfaces.iter().any(|known| known.mac == mac) {
            interfaces.push(Interface { mac, ip, card });
        }
    }
    Ok(interfaces)
}

/// The card of iPXE's `busid` in hexadecimal digits: a byte for the kind of bus, and vendor and device. Of what is not on PCI, or
/// what iPXE has by way of a firmware that does not say, it is not known which driver Linux takes.
fn card(text: &str) -> Option<Card> {
    const PCI: u64 = 1;
    let digits = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let busid = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten()?;
    let [.., vendor_high, vendor_low, device_high, device_low] = busid.to_be_bytes();
    (busid >> 32 == PCI).then(|| Card {
        vendor: u16::from_be_bytes([vendor_high, vendor_low]),
        device: Some(u16::from_be_bytes([device_high, device_low])),
    })
}

/// The interface over which the machine talks to us.
fn asking(interfaces: &[Interface], source: IpAddr) -> Option<Interface> {
    interfaces
        .iter()
        .find(|interface| interface.ip == Some(source))
        .or_else(|| interfaces.iter().find(|interface| interface.ip.is_some()))
        .or_else(|| interfaces.first())
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Vec<Interface> {
        let pairs: Vec<_> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        interfaces(&pairs).unwrap()
    }

    #[test]
    fn macs_and_ips_come_in_pairs() {
        let seen = read(
            "macs=52:54:00:00:00:01&ips=&macs=525400000002&ips=192.0.2.7&macs=525400000002&ips=",
        );
        assert_eq!(seen.len(), 2);
        assert_eq!((seen[0].ip, seen[1].ip), (None, Some("192.0.2.7".parse().unwrap())));
        assert_eq!(seen[1].mac.to_string(), "52:54:00:00:00:02");
        assert_eq!(asking(&seen, "192.0.2.7".parse().unwrap()), Some(seen[1]));
        assert_eq!(asking(&seen, "127.0.0.1".parse().unwrap()), Some(seen[1]));
        assert_eq!(asking(&seen[..1], "127.0.0.1".parse().unwrap()), Some(seen[0]));
        assert_eq!(asking(&[], "127.0.0.1".parse().unwrap()), None);
    }

    #[test]
    fn what_card_an_interface_is_comes_with_it() {
        let seen = read(
            "macs=525400000001&ips=&nics=0114E4164C&macs=525400000002&ips=&nics=&macs=525400000003&ips=&nics=0000000000\
             &macs=525400000004&ips=&nics=0a08091234&macs=525400000005&ips=&nics=01..&macs=525400000006&ips=&nics=+114e4164c",
        );
        let cards: Vec<_> = seen.iter().map(|one| one.card.map(|card| card.to_string())).collect();
        assert_eq!(cards, [Some("14e4:164c".to_owned()), None, None, None, None, None]);
        // RackHD's own redirect script tells none.
        assert_eq!(read("macs=525400000001&ips=192.0.2.7")[0].card, None);
    }

    #[test]
    fn what_is_no_address_is_refused_or_skipped() {
        let bad = [("macs".to_owned(), "nonsense".to_owned())];
        assert!(interfaces(&bad).is_err());
        assert!(read("macs=000000000000&macs=ffffffffffff").is_empty());
    }
}

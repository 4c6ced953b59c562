//! What `overboot serve` does.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;

use toml::Spanned;

use super::Check;
use crate::manifest;
use crate::place::Placed;
use crate::recipe::{Serve, ServeDhcp};

impl Check<'_> {
    pub(super) fn serve(&mut self, serve: &manifest::Serve) -> Serve {
        let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9090));
        if let Some(given) = &serve.interface {
            let name = given.as_ref();
            // As the kernel has it (`dev_valid_name`).
            let odd = |c: char| c == '/' || c == ':' || c.is_whitespace();
            if name.is_empty() || name.len() > 15 || name.contains(odd) {
                let message = format!("\"{name}\" is not the name of an interface");
                self.wrong(given.span(), message, "write one of those that `ip link` shows");
            }
        }
        if let Some(given) = serve.advertise.as_ref().filter(|given| !is_host(given.as_ref())) {
            let message = format!("\"{}\" is not a host that nodes could use", given.as_ref());
            let help = "write a name or an address, with a port or without: \"boot.example:9090\"";
            self.wrong(given.span(), message, help);
        }
        let http = serve.http.as_ref().and_then(|given| {
            self.address(given, "write it as \"address:port\", such as \"0.0.0.0:9090\"")
        });
        let form = "write four numbers with dots, such as \"10.0.0.1\"";
        let words = [("off", 0), ("proxy", 1), ("server", 2)];
        let kind = serve.dhcp.as_ref().map_or(0, |given| self.choice("dhcp", given, &words));
        let mode = match (kind, &serve.dhcp) {
            (1, _) => ServeDhcp::Proxy,
            (2, Some(given)) => self.range(serve.range.as_ref(), given.span()),
            _ => ServeDhcp::Off,
        };
        let is_server = kind == 2;
        if !is_server {
            // What only a DHCP server says.
            let idle = [
                (serve.range.as_ref(), "nobody gives addresses of this range away"),
                (serve.router.as_ref(), "nobody tells machines of this router"),
                (serve.dns.first(), "nobody tells machines of these name servers"),
            ];
            for (given, message) in idle {
                let Some(given) = given else { continue };
                let help = "write dhcp = \"server\" beside it, or leave it out";
                self.wrong(given.span(), message.to_owned(), help);
            }
        }
        let router = serve.router.as_ref().filter(|_| is_server).and_then(|given| {
            let router = self.address(given, form)?;
            if let Some(why) = mode.why_no_router(*router) {
                let message = format!("{} {why}", *router);
                self.wrong(given.span(), message, "write the router's address there");
            }
            Some(router)
        });
        let dns = serve.dns.iter().filter(|_| is_server);
        let dns = dns.filter_map(|given| self.address(given, form)).collect();
        let place = serve.dhcp.as_ref().map(|given| self.place(given.span()));
        let dhcp = Placed { value: mode, place: place.unwrap_or_default() };
        let discovery = serve.discovery.as_ref().map(|given| self.said(given));
        Serve {
            http: http.unwrap_or(everywhere.into()),
            advertise: serve.advertise.as_ref().map(|given| self.said(given)),
            interface: serve.interface.as_ref().map(|given| self.said(given)),
            dhcp,
            router,
            dns,
            discovery: discovery.unwrap_or_else(|| "Graph.Discovery".to_owned().into()),
        }
    }

    /// `first-last/prefix`.
    fn range(&mut self, given: Option<&Spanned<String>>, dhcp: Range<usize>) -> ServeDhcp {
        let form = "write range = \"first-last/prefix\", such as \"10.0.0.100-10.0.0.200/24\": addresses of one network, but its own and the one for all";
        let Some(given) = given else {
            self.wrong(dhcp, "a DHCP server needs a range of addresses".to_owned(), form);
            return ServeDhcp::Off;
        };
        match ServeDhcp::parse_range(given.as_ref()) {
            Some(server) => server,
            None => {
                let message = format!("\"{}\" is not a range of addresses", given.as_ref());
                self.wrong(given.span(), message, form);
                ServeDhcp::Off
            }
        }
    }
}

impl ServeDhcp {
    /// Reads `first-last/prefix`: addresses of one subnet that machines may have, at most 65536, the first not after the last,
    /// prefix from 8 to 30 bits.
    #[must_use]
    pub fn parse_range(text: &str) -> Option<Self> {
        let (addresses, prefix) = text.trim().split_once('/')?;
        let (first, last) = addresses.split_once('-')?;
        let (first, last): (Ipv4Addr, Ipv4Addr) =
            (first.trim().parse().ok()?, last.trim().parse().ok()?);
        let prefix: u8 = prefix.trim().parse().ok().filter(|prefix| (8..=30).contains(prefix))?;
        let subnet = |address: Ipv4Addr| u32::from(address) >> (32 - prefix);
        let host = |address: Ipv4Addr| u32::from(address) & (u32::MAX >> prefix);
        let fine = first <= last
            && subnet(first) == subnet(last)
            && host(first) != 0
            && host(last) != u32::MAX >> prefix
            && u32::from(last) - u32::from(first) < 1 << 16;
        fine.then_some(Self::Server { first, last, prefix })
    }

    /// Why machines that get their addresses from here cannot have that router.
    fn why_no_router(self, router: Ipv4Addr) -> Option<String> {
        let Self::Server { first, last, prefix } = self else { return None };
        let subnet = |address: Ipv4Addr| u32::from(address) >> (32 - prefix);
        if subnet(router) != subnet(first) {
            return Some(format!("is not in the network of {first}/{prefix}"));
        }
        (first..=last).contains(&router).then(|| "is in the range that is given away".to_owned())
    }
}

/// A host, or host and port.
fn is_host(text: &str) -> bool {
    let (host, port) =
        text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    !host.is_empty()
        && host.chars().all(plain)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0))
}

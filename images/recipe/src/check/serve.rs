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
        let place = serve.dhcp.as_ref().map(|given| self.place(given.span()));
        let dhcp = Placed { value: mode, place: place.unwrap_or_default() };
        let discovery = serve.discovery.as_ref().map(|given| self.said(given));
        Serve {
            http: http.unwrap_or(everywhere.into()),
            advertise: serve.advertise.as_ref().map(|given| self.said(given)),
            interface: serve.interface.as_ref().map(|given| self.said(given)),
            dhcp,
            router: serve.router.as_ref().and_then(|given| self.address(given, form)),
            dns: serve.dns.iter().filter_map(|given| self.address(given, form)).collect(),
            discovery: discovery.unwrap_or_else(|| "Graph.Discovery".to_owned().into()),
        }
    }

    /// `first-last/prefix`.
    fn range(&mut self, given: Option<&Spanned<String>>, dhcp: Range<usize>) -> ServeDhcp {
        let form = "write range = \"first-last/prefix\", such as \"10.0.0.100-10.0.0.200/24\"";
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
    /// Reads `first-last/prefix`: addresses of one subnet, the first not after the last, prefix from 8 to 30 bits.
    #[must_use]
    pub fn parse_range(text: &str) -> Option<Self> {
        let (addresses, prefix) = text.trim().split_once('/')?;
        let (first, last) = addresses.split_once('-')?;
        let (first, last): (Ipv4Addr, Ipv4Addr) =
            (first.trim().parse().ok()?, last.trim().parse().ok()?);
        let prefix: u8 = prefix.trim().parse().ok().filter(|prefix| (8..=30).contains(prefix))?;
        let subnet = |address: Ipv4Addr| u32::from(address) >> (32 - prefix);
        (first <= last && subnet(first) == subnet(last)).then_some(Self::Server {
            first,
            last,
            prefix,
        })
    }
}

//! A step that may use the host's network, for as long as it runs.

use std::path::Path;

use crate::error::Error;
use crate::root::Root;
use crate::sandbox::Sandbox;

/// Where programs learn which name servers to ask (resolv.conf(5)).
const RESOLVER: &str = "etc/resolv.conf";

/// Where the tree's own file waits meanwhile.
const ASIDE: &str = "etc/.resolv.conf.overboot";

/// The network that a step has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network<'a> {
    /// None at all, as long as nobody asks for it.
    None,
    /// That of the host.
    Host {
        /// The HTTP proxy to go through.
        proxy: Option<&'a str>,
    },
}

impl Network<'_> {
    pub(crate) fn is_host(self) -> bool {
        self != Self::None
    }

    /// The variables by which programs are told of it.
    pub(crate) fn variables(self) -> Option<(&'static str, String)> {
        match self {
            Self::None | Self::Host { proxy: None } => None,
            Self::Host { proxy: Some(proxy) } => Some(("http_proxy", proxy.to_owned())),
        }
    }

    /// The sandbox in this network.
    pub(crate) fn around(self, sandbox: Sandbox) -> Sandbox {
        let sandbox = sandbox.with_network(self.is_host());
        self.variables().into_iter().fold(sandbox, |sandbox, (n, v)| sandbox.with_variable(n, v))
    }

    /// Does something in the tree that finds the host's name servers there, where it has this network.
    pub(crate) fn during<T>(
        self,
        root: &Root,
        work: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let servers = match self {
            Self::None => None,
            Self::Host { .. } => std::fs::read(Path::new("/").join(RESOLVER)).ok(),
        };
        let Some(servers) = servers else { return work() };
        let own = root.kind(Path::new(RESOLVER)).is_some();
        if own {
            root.rename(RESOLVER, ASIDE)?;
        }
        root.write(RESOLVER, 0o644, &servers)?;
        // A tree in which this failed is not used.
        let done = work()?;
        root.remove(RESOLVER)?;
        if own {
            root.rename(ASIDE, RESOLVER)?;
        }
        Ok(done)
    }
}

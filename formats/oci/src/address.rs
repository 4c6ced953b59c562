//! Where something is in a registry: `HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]`.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use overboot_digest::Digest;

use crate::Error;

/// The longest tag (OCI distribution specification 1.1, "Pulling manifests").
pub const LONGEST_TAG: usize = 128;

/// A repository in a registry, and what of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `registry.example.com`, `localhost:5000`.
    pub host: String,
    /// `team/images`.
    pub repository: String,
    /// What is behind the last colon.
    pub tag: Option<String>,
    /// What is behind the `@`.
    pub digest: Option<Digest>,
}

impl Address {
    /// Is it this machine?
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// Host and repository, without tag and digest.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }

    /// Where the host's registry is: Docker Hub answers under another name.
    #[must_use]
    pub fn authority(&self) -> &str {
        if self.host == "docker.io" { "registry-1.docker.io" } else { &self.host }
    }
}

/// Does `authority` (`HOST[:PORT]`) name this machine?
#[must_use]
pub fn is_loopback(authority: &str) -> bool {
    let (host, _) = split_port(authority);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        || bare.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback())
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        // The colons of `[::1]` are none of a port's.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason: &str| {
            let text = text.chars().take(300).collect();
            Err(Error { text, reason: reason.to_owned() })
        };
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => match digest.strip_prefix("sha256:").map(|_| digest.parse()) {
                Some(Ok(digest)) => (rest, Some(digest)),
                _ => return wrong("what follows the @ must be sha256: and 64 hex digits"),
            },
        };
        let Some((host, rest)) = rest.split_once('/') else {
            return wrong("it needs a host and, behind a slash, a repository");
        };
        let (name, port) = split_port(host);
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let known = bare.map_or_else(
            || {
                !name.is_empty()
                    && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
            },
            |bare| bare.parse::<Ipv6Addr>().is_ok(),
        );
        let port_known = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
        if !known || !port_known {
            return wrong("what is before the first slash is no host, or its port is none");
        }
        // As everybody who speaks to registries tells a host from the first part of a repository.
        if !(host == "localhost" || bare.is_some() || host.contains(['.', ':'])) {
            return wrong(
                "the first part must be a registry's host: a name with a dot or a port, or localhost",
            );
        }
        let (repository, tag) = match rest.split_once(':') {
            None => (rest, None),
            Some((repository, tag)) if is_tag(tag) => (repository, Some(tag.to_owned())),
            Some(_) => {
                return wrong(
                    "what follows the colon must be letters, digits, '_', '.' and '-', at most 128, a letter, digit or '_' first",
                );
            }
        };
        if host.len() + 1 + repository.len() > 255 || !repository.split('/').all(is_component) {
            return wrong(
                "a repository is lower-case letters and digits, with single '.', '_' or '-' between them, divided by slashes",
            );
        }
        let host = if host == "index.docker.io" { "docker.io" } else { host };
        // Docker Hub's own images live in a folder that nobody writes.
        let library = host == "docker.io" && !repository.contains('/');
        let repository =
            if library { format!("library/{repository}") } else { repository.to_owned() };
        Ok(Self { host: host.to_owned(), repository, tag, digest })
    }
}

/// Is it `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`?
#[must_use]
pub fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= LONGEST_TAG
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_component(text: &str) -> bool {
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut between = Vec::new();
    for byte in text.as_bytes() {
        if plain(byte) {
            if !matches!(&between[..], [] | [b'.'] | [b'_'] | [b'_', b'_'])
                && !between.iter().all(|b| *b == b'-')
            {
                return false;
            }
            between.clear();
        } else if matches!(byte, b'.' | b'_' | b'-') {
            between.push(*byte);
        } else {
            return false;
        }
    }
    between.is_empty() && text.as_bytes().first().is_some_and(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for text in [
            "localhost/x",
            "localhost:5000/team/images",
            "registry.example.com/a/b__c/d--e.f:v1.0",
            "[::1]:5000/x:_y",
            &format!("ghcr.io/a/b:c@{}", Digest::of("")),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        let hub: Address = "docker.io/debian:trixie".parse().unwrap();
        assert_eq!(
            (hub.name().as_str(), hub.authority()),
            ("docker.io/library/debian", "registry-1.docker.io")
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "x",
            "/",
            "x/y",
            "localhost/",
            "localhost/X",
            "localhost/a//b",
            "localhost/a/",
            "localhost/../x",
            "localhost/a:",
            "localhost/a:-x",
            "localhost/a@sha256:00",
            "localhost/a@md5:00",
            "a.b:0/x",
            "a.b:99999/x",
            "user@host.example/x",
            "http://a.b/x",
            "a.b/a___b",
            "a.b/a..b",
            "a.b/-a",
            "[::g]/x",
            "a.b:/x",
            "a b.c/x",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        assert!(format!("a.b/{}", "x".repeat(255)).parse::<Address>().is_err());
    }

    #[test]
    fn this_machine_is_known() {
        for host in
            ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:80", "[::1]"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example.com", "10.0.0.1:5000", "[fe80::1]", "127.example.com", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}

//! The URLs that a node is given: `http://host:port/path?query`.

use std::fmt;

use crate::Error;

/// An absolute `http` URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port; 80 if none was given.
    pub port: u16,
    /// Path and query, beginning with `/`; the fragment is dropped.
    pub target: String,
}

impl Url {
    /// Reads an absolute `http` URL.
    ///
    /// # Errors
    /// Another scheme, no host, a bad port, or characters that do not belong into a request line.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |reason| Error::Url { url: text.chars().take(200).collect(), reason };
        let Some(rest) = text.strip_prefix("http://") else {
            return Err(bad(if text.starts_with("https://") {
                "init speaks plain http; boot sets are signed, so nothing is lost"
            } else {
                "want http://host:port/path"
            }));
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(split);
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => v6.split_once(']').ok_or_else(|| bad("a \"[\" without \"]\""))?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => 80,
            Some(digits) => digits.parse().map_err(|_| bad("the port is no number up to 65535"))?,
            None => return Err(bad("something follows the host")),
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
        if host.is_empty() || host.len() > 253 || !host.bytes().all(plain) {
            return Err(bad("the host is missing or malformed"));
        }
        if target.len() > 8000 || target.bytes().any(|b| !b.is_ascii_graphic()) {
            return Err(bad(
                "the path is too long, or has blanks, control or non-ASCII characters",
            ));
        }
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Self { host: host.to_owned(), port, target: format!("{slash}{target}") })
    }

    /// `host:port`.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The URL that a `Location` of an answer to this one means (RFC 9110 10.2.2; absolute URL or absolute path).
    ///
    /// # Errors
    /// As for [`Url::parse`].
    pub fn join(&self, location: &str) -> Result<Self, Error> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Self::parse(&format!("http://{}{location}", self.authority()));
        }
        Self::parse(location)
    }

    /// The last part of the path: a file's name. Empty if the path ends with `/`.
    #[must_use]
    pub fn file_name(&self) -> &str {
        let path = self.target.split('?').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let url = Url::parse("http://10.0.2.2:9090/boot/x.json?a=b#c").unwrap();
        assert_eq!((url.host.as_str(), url.port), ("10.0.2.2", 9090));
        assert_eq!(url.to_string(), "http://10.0.2.2:9090/boot/x.json?a=b");
        assert_eq!(url.file_name(), "x.json");
        assert_eq!(Url::parse("http://h").unwrap().target, "/");
        assert_eq!(Url::parse("http://h?q").unwrap().target, "/?q");
        assert_eq!(Url::parse("http://[fe80::1]:8/x").unwrap().authority(), "[fe80::1]:8");
        assert_eq!(url.join("/other").unwrap().to_string(), "http://10.0.2.2:9090/other");
        assert_eq!(url.join("http://m/").unwrap().host, "m");
    }

    #[test]
    fn nonsense() {
        for bad in [
            "",
            "https://h/",
            "ftp://h/",
            "http://",
            "http:///x",
            "http://h:99999/",
            "http://h:x/",
            "http://h/a b",
            "http://h/a\r\nX: y",
            "http://[::1/x",
            "http://u@h/",
            "http://hé/",
        ] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
    }
}

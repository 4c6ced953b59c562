//! Where packages come from: one line of an apt sources list, as data.

use serde::{Deserialize, Serialize};

/// One archive, one suite, some of its components (`sources.list(5)`: `deb URI SUITE COMPONENT…`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Source {
    /// Whose archive it is, by the name that its user gives it; `None`: the main one. Two archives may have one root.
    pub archive: Option<String>,
    /// The archive's root, `http://` or `https://`: what has `dists/` and `pool/` beneath it.
    pub uri: String,
    /// Suite or codename: `trixie`, `trixie-updates`, `stable-security`; with a slash at its end, a folder that has its index
    /// beside its packages (`./`: the root itself).
    pub suite: String,
    /// Components such as `main`; at least one, and none of such a folder.
    pub components: Vec<String>,
}

impl Source {
    /// A source of the main archive with one component or several, separated by spaces.
    #[must_use]
    pub fn new(uri: &str, suite: &str, components: &str) -> Self {
        Self {
            archive: None,
            uri: uri.to_owned(),
            suite: suite.to_owned(),
            components: components.split_whitespace().map(str::to_owned).collect(),
        }
    }

    /// The same of the archive `name`.
    #[must_use]
    pub fn of_archive(self, name: &str) -> Self {
        Self { archive: Some(name.to_owned()), ..self }
    }

    /// Is it of the main archive?
    #[must_use]
    pub fn is_main(&self) -> bool {
        self.archive.is_none()
    }

    /// The address of `path` beneath the archive's root, such as a package's `Filename`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}/{}", self.uri.trim_end_matches('/'), escape(path))
    }

    /// The address of `path` beneath `dists/SUITE/`, or in the folder that a flat archive is.
    #[must_use]
    pub fn dist_url(&self, path: &str) -> String {
        let folder = self.suite.trim_start_matches("./").trim_matches('/');
        match (self.is_flat(), folder) {
            (false, suite) => self.url(&format!("dists/{suite}/{path}")),
            (true, "") => self.url(path),
            (true, folder) => self.url(&format!("{folder}/{path}")),
        }
    }

    /// Is it a folder with its index beside its packages, instead of a suite with components (sources.list(5))?
    #[must_use]
    pub fn is_flat(&self) -> bool {
        self.suite.ends_with('/')
    }
}

/// Percent-encodes what may not stand in a URL's path (RFC 3986, 3.3) but may in a file name; version numbers
/// bring `~`, `+` and `:`, which may, and epochs are not in file names. A `%` in an archive's file name stands
/// for itself (apt-ftparchive writes `%3a` for the colon of an epoch as the name has it), so it is encoded too.
fn escape(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for &byte in path.as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => escaped.push(char::from(byte)),
            b'-' | b'.' | b'_' | b'~' | b'+' | b':' | b'/' | b'@' | b'=' | b',' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_with_a_slash_is_a_folder() {
        let url = |suite| Source::new("http://x/deb/", suite, "").dist_url("InRelease");
        assert_eq!(url("./"), "http://x/deb/InRelease");
        assert_eq!(url("/"), "http://x/deb/InRelease");
        assert_eq!(url("./amd64/"), "http://x/deb/amd64/InRelease");
        assert_eq!(url("a/b"), "http://x/deb/dists/a/b/InRelease");
    }

    #[test]
    fn addresses_are_joined_with_one_slash_and_escaped() {
        let source = Source::new("http://example.org/debian/", "trixie", "main contrib");
        assert_eq!(source.components, ["main", "contrib"]);
        assert_eq!(
            source.dist_url("InRelease"),
            "http://example.org/debian/dists/trixie/InRelease"
        );
        assert_eq!(
            source.url("pool/main/g/g++/g++_1%3a4 #~rc1.deb"),
            "http://example.org/debian/pool/main/g/g++/g++_1%253a4%20%23~rc1.deb"
        );
    }
}

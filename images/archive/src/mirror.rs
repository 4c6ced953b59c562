//! Which mirror this host itself uses, from its apt sources: for recipes that name none.
//!
//! `sources.list(5)`: one-line entries in `*.list`, deb822 stanzas in `*.sources`.

use std::path::Path;

use overboot_debian::deb822;

/// The mirror for hosts without one of their own.
const DEBIAN: &str = "http://ftp.debian.org/debian";
/// The same for Ubuntu.
const UBUNTU: &str = "http://archive.ubuntu.com/ubuntu";

/// One archive a host takes packages from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSource {
    /// The archive's root, without a slash at its end.
    pub uri: String,
    /// Its suites, as written.
    pub suites: Vec<String>,
}

/// The folder in which mirrors have a distribution's archive for an architecture: its name for all functions here.
#[must_use]
pub fn folder(distribution: &str, architecture: &str) -> &'static str {
    match (distribution, architecture) {
        ("ubuntu", "amd64" | "i386") => "ubuntu",
        ("ubuntu", _) => "ubuntu-ports",
        _ => "debian",
    }
}

/// The mirror of `distribution` (`debian`, `ubuntu` or `ubuntu-ports`) in this host's apt sources; `None` where it has none.
#[must_use]
pub fn host_mirror(distribution: &str) -> Option<String> {
    find_mirror(&host_sources(Path::new("/etc/apt")), distribution)
}

/// The security archive of `distribution` in this host's apt sources, or the sibling of its mirror.
#[must_use]
pub fn host_security_mirror(distribution: &str) -> Option<String> {
    let sources = host_sources(Path::new("/etc/apt"));
    find_security_mirror(&sources, distribution)
        .or_else(|| security_sibling(&find_mirror(&sources, distribution)?))
}

/// The mirror to take when neither recipe nor host names one; `None` where none is known.
#[must_use]
pub fn fallback_mirror(distribution: &str) -> Option<&'static str> {
    match distribution {
        "debian" => Some(DEBIAN),
        "ubuntu" => Some(UBUNTU),
        _ => None,
    }
}

/// The security archive beside a Debian mirror: `…/debian` becomes `…/debian-security`. Ubuntu's security suites are in
/// the mirror itself. `None` where the mirror's path has another form.
#[must_use]
pub fn security_sibling(mirror: &str) -> Option<String> {
    let mirror = mirror.trim_end_matches('/');
    let (parent, last) = mirror.rsplit_once('/')?;
    match last {
        "debian" => Some(format!("{parent}/debian-security")),
        "ubuntu" | "ubuntu-ports" => Some(mirror.to_owned()),
        _ => None,
    }
}

/// The apt sources beneath `etc_apt`, in apt's order; files that cannot be read or parsed are left out, as this only
/// finds a default.
#[must_use]
pub fn host_sources(etc_apt: &Path) -> Vec<HostSource> {
    let mut files = vec![etc_apt.join("sources.list")];
    if let Ok(entries) = fs_err::read_dir(etc_apt.join("sources.list.d")) {
        let mut parts: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        parts.sort();
        files.extend(parts);
    }
    let mut sources = Vec::new();
    for file in files {
        let Ok(text) = fs_err::read_to_string(&file) else { continue };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(one_line_sources(&text)),
            Some("sources") => sources.extend(deb822_sources(&text)),
            _ => {}
        }
    }
    sources
}

/// Reads one-line entries: `deb [arch=amd64] URI SUITE COMPONENT…`; lines that are no such entry are passed over.
#[must_use]
pub fn one_line_sources(text: &str) -> Vec<HostSource> {
    let entry = |line: &str| {
        let line = line.split('#').next()?.trim();
        let rest = line.strip_prefix("deb")?;
        let rest = rest.starts_with([' ', '\t', '[']).then(|| rest.trim_start())?;
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        let mut words = rest.split_ascii_whitespace();
        let (uri, suite) = (words.next()?, words.next()?);
        usable(uri).then(|| HostSource { uri: root(uri), suites: vec![suite.to_owned()] })
    };
    text.lines().filter_map(entry).collect()
}

/// Reads stanzas with `Types`, `URIs` and `Suites`; what is not enabled or not for binary packages is passed over.
#[must_use]
pub fn deb822_sources(text: &str) -> Vec<HostSource> {
    let mut sources = Vec::new();
    for stanza in deb822::stanzas(text).map_while(Result::ok) {
        let words = |field| stanza.get(field).unwrap_or("").split_ascii_whitespace();
        let enabled = stanza.get("Enabled").is_none_or(|value| {
            !matches!(value.to_ascii_lowercase().as_str(), "no" | "false" | "off" | "0" | "without")
        });
        if !enabled || !words("Types").any(|kind| kind == "deb") {
            continue;
        }
        let suites: Vec<_> = words("Suites").map(str::to_owned).collect();
        for uri in words("URIs").filter(|uri| usable(uri)) {
            sources.push(HostSource { uri: root(uri), suites: suites.clone() });
        }
    }
    sources
}

fn find_mirror(sources: &[HostSource], distribution: &str) -> Option<String> {
    let is_main = |source: &&HostSource| {
        ends_with(&source.uri, distribution)
            && source.suites.iter().any(|suite| !suite.contains("security"))
    };
    sources.iter().find(is_main).map(|source| source.uri.clone())
}

fn find_security_mirror(sources: &[HostSource], distribution: &str) -> Option<String> {
    let is_security = |source: &&HostSource| {
        // Debian's may be at the root of a host of its own.
        let theirs = ends_with(&source.uri, distribution)
            || (distribution == "debian" && source.uri.contains(distribution));
        theirs && source.suites.iter().any(|suite| suite.contains("security"))
    };
    sources.iter().find(is_security).map(|source| source.uri.clone())
}

/// Is `distribution` the last segment of the path? That is how every mirror of Debian and Ubuntu is laid out, and what
/// third-party archives are told from it by.
fn ends_with(uri: &str, distribution: &str) -> bool {
    uri.rsplit_once('/').is_some_and(|(_, last)| last == distribution)
}

/// A login in one is this host's alone: images would carry it.
fn usable(uri: &str) -> bool {
    (uri.starts_with("http://") || uri.starts_with("https://")) && !uri.contains('@')
}

fn root(uri: &str) -> String {
    uri.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_sources_are_read() {
        let list = "# comment\n\
                    deb-src http://m.example/debian trixie main\n\
                    deb [arch=amd64 signed-by=/x] http://m.example/debian/ trixie main contrib # why\n\
                    deb\thttp://m.example/debian-security trixie-security main\n\
                    deb cdrom:[Debian]/ trixie main\n\
                    deb [broken http://m.example/debian trixie\n";
        let stanzas = "Types: deb deb-src\nURIs: https://a.example/ubuntu/ https://b.example/ubuntu\n\
                       Suites: noble noble-updates\nComponents: main\nSigned-By:\n -----BEGIN\n .\n x\n\n\
                       Types: deb\nEnabled: no\nURIs: http://off.example/debian\nSuites: trixie\n";
        let sources = [one_line_sources(list), deb822_sources(stanzas)].concat();
        let uris: Vec<_> = sources.iter().map(|source| source.uri.as_str()).collect();
        assert_eq!(
            uris,
            [
                "http://m.example/debian",
                "http://m.example/debian-security",
                "https://a.example/ubuntu",
                "https://b.example/ubuntu"
            ]
        );
        assert_eq!(find_mirror(&sources, "debian").unwrap(), "http://m.example/debian");
        assert_eq!(find_mirror(&sources, "ubuntu").unwrap(), "https://a.example/ubuntu");
        assert_eq!(
            find_security_mirror(&sources, "debian").unwrap(),
            "http://m.example/debian-security"
        );
        assert_eq!(find_mirror(&sources[1..2], "debian"), None);
        let ports = "deb http://p.example/ubuntu-ports noble-security main\n\
                     deb http://p.example/ubuntu-ports noble main";
        let ports = one_line_sources(ports);
        assert_eq!(find_mirror(&ports, "ubuntu"), None);
        assert_eq!(find_security_mirror(&ports, "ubuntu"), None);
        assert_eq!(find_mirror(&ports, "ubuntu-ports").unwrap(), "http://p.example/ubuntu-ports");
    }

    #[test]
    fn the_security_archive_is_the_mirrors_sibling() {
        for (mirror, sibling) in [
            ("http://m.example/debian/", Some("http://m.example/debian-security")),
            (
                "http://m.example/pub/linux/debian",
                Some("http://m.example/pub/linux/debian-security"),
            ),
            ("http://m.example/ubuntu", Some("http://m.example/ubuntu")),
            ("http://m.example/ubuntu-ports", Some("http://m.example/ubuntu-ports")),
            ("http://m.example/mirror", None),
            ("nonsense", None),
        ] {
            assert_eq!(security_sibling(mirror).as_deref(), sibling, "{mirror}");
        }
        assert_eq!(fallback_mirror(folder("ubuntu", "arm64")), None, "none that is built in");
        for distribution in ["debian", "ubuntu"] {
            let mirror = fallback_mirror(distribution).unwrap();
            assert!(security_sibling(mirror).is_some());
        }
    }

    #[test]
    fn a_directory_of_sources_is_read_in_order_and_other_files_are_not() {
        let etc = tempfile::tempdir().unwrap();
        let parts = etc.path().join("sources.list.d");
        fs_err::create_dir(&parts).unwrap();
        fs_err::write(parts.join("b.list"), "deb http://b.example/debian trixie main").unwrap();
        fs_err::write(
            parts.join("a.sources"),
            "Types: deb\nURIs: http://a.example/debian\nSuites: trixie\n",
        )
        .unwrap();
        fs_err::write(parts.join("c.list.save"), "deb http://c.example/debian trixie main")
            .unwrap();
        let uris: Vec<_> = host_sources(etc.path()).into_iter().map(|source| source.uri).collect();
        assert_eq!(uris, ["http://a.example/debian", "http://b.example/debian"]);
        assert!(host_sources(Path::new("/nonexistent")).is_empty());
    }
}

//! Which suites does an archive have? Only asked to help somebody whose suite is not there.

use crate::Source;
use crate::fetch::Fetcher;

/// Where a server shows no directory, these are tried: what a recipe most probably means.
const WELL_KNOWN: [&str; 6] = ["trixie", "bookworm", "forky", "sid", "noble", "jammy"];
/// So that a message stays one.
const MOST: usize = 12;

/// Names of suites seen at `source`; empty where the server does not tell.
pub(crate) fn find(fetcher: &Fetcher, source: &Source) -> Vec<String> {
    if source.is_flat() {
        return Vec::new();
    }
    let listing = fetcher.get(&source.url("dists/"), 1 << 20).unwrap_or_default();
    let mut suites = directories(&String::from_utf8_lossy(&listing));
    if suites.is_empty() {
        suites = WELL_KNOWN.map(str::to_owned).to_vec();
        suites.retain(|suite| {
            let probe = Source { suite: suite.clone(), ..source.clone() };
            fetcher.exists(&probe.dist_url("InRelease"))
        });
    }
    // A release before its pockets, and what is spelled alike first.
    let wanted = &source.suite;
    let alike = |suite: &str| suite.bytes().zip(wanted.bytes()).take_while(|(a, b)| a == b).count();
    suites.sort_by_key(|suite| (std::cmp::Reverse(alike(suite)), suite.matches('-').count()));
    suites.truncate(MOST);
    suites
}

/// The subdirectories that an HTML listing links to (Apache, nginx and others write `<a href="NAME/">`).
fn directories(html: &str) -> Vec<String> {
    let mut names = Vec::new();
    for link in html.split("href=\"").skip(1) {
        let Some((target, _)) = link.split_once('"') else { continue };
        let Some(name) = target.strip_prefix("./").unwrap_or(target).strip_suffix('/') else {
            continue;
        };
        let plain =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        // Debian has a directory for each point release too (`Debian12.5`): no suite that one asks for.
        if name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(plain)
            && !names.iter().any(|known| known == name)
        {
            names.push(name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_names_its_directories() {
        let html = r#"<h1>Index of /debian/dists</h1><a href="../">..</a> <a href="?C=N;O=D">Name</a>
            <a href="/debian/">Parent</a><a href="trixie/">trixie/</a><a href="./bookworm-updates/">x</a>
            <a href="trixie/">again</a><a href="README">README</a><a href="Debian12.5/">Debian12.5/</a><a href="x"#;
        assert_eq!(directories(html), ["trixie", "bookworm-updates"]);
        assert!(directories("").is_empty());
    }
}

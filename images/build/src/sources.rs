//! Where a recipe's packages come from: suites, mirrors, keys.

use std::path::Path;

use overboot_archive::{Keyring, Source, keyrings, mirror};
use overboot_recipe::{Archive, LockedPackage, Recipe, Whence};

use crate::error::Error;

/// The suites of a recipe with the mirror of each, main suite first.
///
/// # Errors
/// No mirror is known for the security suite.
pub fn sources(recipe: &Recipe) -> Result<Vec<Source>, Error> {
    let archive = &recipe.archive;
    let main = main_mirror(recipe);
    let components = archive.components.join(" ");
    let mut found = vec![Source::new(&main, &archive.suite, &components)];
    if updates(archive) {
        found.push(Source::new(&main, &format!("{}-updates", archive.suite), &components));
    }
    if security(archive) {
        let named = archive.mirror.as_deref().and_then(mirror::security_sibling);
        let hosts = || mirror::host_security_mirror(distribution(&archive.suite));
        let security = if archive.mirror.is_some() { named } else { hosts() };
        let security = security.or_else(|| mirror::security_sibling(&main)).ok_or_else(|| {
            Error::told(
                format!("no security archive is known beside the mirror {main}"),
                "write `security = false` in [archive], or a mirror whose path ends with /debian or /ubuntu",
            )
        })?;
        found.push(Source::new(&security, &format!("{}-security", archive.suite), &components));
    }
    Ok(found)
}

/// Debian's unstable has neither updates nor a security archive.
fn moving(archive: &Archive) -> bool {
    matches!(archive.suite.as_str(), "sid" | "unstable" | "experimental")
}

fn updates(archive: &Archive) -> bool {
    archive.updates && !moving(archive)
}

fn security(archive: &Archive) -> bool {
    archive.security && !moving(archive)
}

/// The keys that the archive must be signed with.
///
/// # Errors
/// The recipe's file cannot be read, or no keys ship for the suite.
pub fn keyring(recipe: &Recipe) -> Result<Keyring, Error> {
    let suite = &recipe.archive.suite;
    if let Some(path) = &recipe.archive.keyring {
        let path = recipe.folder.join(path);
        let bytes = fs_err::read(&path).map_err(Error::io("read the archive's keys in", &path))?;
        return Keyring::from_bytes(&bytes).map_err(|error| {
            Error::told(
                format!("{} holds no archive keys: {error}", path.display()),
                "give OpenPGP public keys, binary or armored",
            )
        });
    }
    keyrings::builtin(suite).ok_or_else(|| {
        Error::told(
            format!("no keys ship for the suite \"{suite}\""),
            format!(
                "is it spelled right? If it is, name its keys: keyring = \"keys/{suite}.gpg\" in [archive] of overboot.toml"
            ),
        )
    })
}

/// Where a locked package can be fetched, given the recipe's [`sources`]; nowhere when it is a file of the project.
#[must_use]
pub fn url(sources: &[Source], package: &LockedPackage) -> Option<String> {
    match &package.whence {
        Whence::Archive { suite, path } => {
            let found = sources.iter().find(|source| source.suite == *suite);
            found.or(sources.first()).map(|source| source.url(path))
        }
        Whence::Url { url } => Some(url.clone()),
        Whence::File { .. } => None,
    }
}

/// What an image's own apt is told: the recipe's mirror, or the distribution's; never the build host's, which is no part of
/// the recipe.
#[must_use]
pub fn apt_sources(recipe: &Recipe) -> String {
    let archive = &recipe.archive;
    let distribution = distribution(&archive.suite);
    let fallback = || mirror::fallback_mirror(distribution).map(str::to_owned);
    let Some(main) = archive.mirror.clone().or_else(fallback) else { return String::new() };
    let keys = match &archive.keyring {
        Some(path) => format!("/{}", keys_in_image(path)),
        None => format!("/usr/share/keyrings/{distribution}-archive-keyring.gpg"),
    };
    let components = archive.components.join(" ");
    let stanza = |uri: &str, suites: &str| {
        format!(
            "Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: {components}\nSigned-By: {keys}\n"
        )
    };
    let mut suites = archive.suite.clone();
    if updates(archive) {
        suites.push_str(&format!(" {}-updates", archive.suite));
    }
    let mut text = stanza(&main, &suites);
    if security(archive)
        && let Some(security) = mirror::security_sibling(&main)
    {
        text.push('\n');
        text.push_str(&stanza(&security, &format!("{}-security", archive.suite)));
    }
    text
}

/// Where an image has the recipe's own archive keys, relative to its root: apt knows armored keys by the ending `.asc`
/// (sources.list(5), `Signed-By`).
#[must_use]
pub fn keys_in_image(keyring: &Path) -> String {
    let armored = keyring.extension().is_some_and(|ending| ending == "asc");
    format!("etc/apt/keyrings/overboot.{}", if armored { "asc" } else { "gpg" })
}

fn main_mirror(recipe: &Recipe) -> String {
    let distribution = distribution(&recipe.archive.suite);
    let named = recipe.archive.mirror.clone();
    named
        .or_else(|| mirror::host_mirror(distribution))
        .or_else(|| mirror::fallback_mirror(distribution).map(str::to_owned))
        .unwrap_or_default()
}

/// Whose suite is it? Ubuntu's are named here; everything else is Debian's, or says its mirror.
pub(crate) fn distribution(suite: &str) -> &'static str {
    const UBUNTU: [&str; 8] =
        ["bionic", "focal", "jammy", "noble", "plucky", "questing", "resolute", "devel"];
    if UBUNTU.contains(&suite) { "ubuntu" } else { "debian" }
}

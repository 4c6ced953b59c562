//! What an image's own apt is told of the recipe's archives: sources, keys, preferences.

use std::path::Path;

use overboot_archive::mirror;
use overboot_recipe::{Archive, Lock, Pin, PinnedVersions, Placed, Recipe};

use crate::sources::{beside, folder};

/// What an image's own apt is told: the recipe's mirror, or the distribution's; never the build host's, which is no part of
/// the recipe.
pub(crate) fn apt_sources(recipe: &Recipe) -> String {
    let archive = &recipe.archive;
    let fallback = || mirror::fallback_mirror(folder(archive)).map(str::to_owned);
    let named = archive.mirror.as_ref().map(|mirror| mirror.value.clone());
    let mut stanzas = Vec::new();
    if let Some(main) = named.or_else(fallback) {
        stanzas.extend(main_stanzas(archive, &main));
    }
    for extra in archive.extra.iter().filter(|extra| extra.in_image) {
        let keys = keys_in_image(&extra.keyring, Some(&extra.name));
        // Few of them have other architectures, of which apt would complain where one was added.
        let stanza = stanza(&extra.mirror, &extra.suites, &extra.components, &keys);
        stanzas.push(format!("{stanza}Architectures: {}\n", archive.architecture));
    }
    stanzas.join("\n")
}

/// The main archive's suites, those of security updates by themselves.
fn main_stanzas(archive: &Archive, main: &str) -> Vec<String> {
    let keys = match &archive.keyring {
        Some(path) => keys_in_image(path, None),
        None => format!("usr/share/keyrings/{}-archive-keyring.gpg", archive.distribution.id()),
    };
    let security = archive.has_security().then(|| archive.security_suite());
    let (secure, plain): (Vec<_>, Vec<_>) =
        archive.suites().into_iter().partition(|suite| security.as_ref() == Some(&suite.value));
    let mut stanzas = vec![stanza(main, &plain, &archive.components, &keys)];
    if let Some(mirror) = beside(archive, main).filter(|_| !secure.is_empty()) {
        stanzas.push(stanza(&mirror, &secure, &archive.components, &keys));
    }
    stanzas
}

/// A stanza of sources.list(5).
fn stanza(
    uri: &str,
    suites: &[Placed<String>],
    components: &[Placed<String>],
    keys: &str,
) -> String {
    let mut text = format!("Types: deb\nURIs: {uri}\nSuites: {}\n", suites.join(" "));
    if !components.is_empty() {
        text.push_str(&format!("Components: {}\n", components.join(" ")));
    }
    text.push_str(&format!("Signed-By: /{keys}\n"));
    text
}

/// The keys of the recipe that an image has: each file of the project, and where it is in the image.
pub(crate) fn image_keys(recipe: &Recipe) -> Vec<(&Path, String)> {
    let main =
        recipe.archive.keyring.iter().map(|path| (path.as_path(), keys_in_image(path, None)));
    let listed = recipe.archive.extra.iter().filter(|extra| extra.in_image);
    let extra = listed
        .map(|extra| (extra.keyring.as_path(), keys_in_image(&extra.keyring, Some(&extra.name))));
    main.chain(extra).collect()
}

/// Where an image has the keys of an archive, relative to its root: apt knows armored keys by the ending `.asc`
/// (sources.list(5), `Signed-By`).
fn keys_in_image(keyring: &Path, extra: Option<&str>) -> String {
    let ending = if is_armored_by_name(keyring) { "asc" } else { "gpg" };
    let name = extra.map_or_else(|| "overboot".to_owned(), |extra| format!("overboot-{extra}"));
    format!("etc/apt/keyrings/{name}.{ending}")
}

pub(crate) fn is_armored_by_name(keyring: &Path) -> bool {
    keyring.extension().is_some_and(|ending| ending == "asc")
}

/// The recipe's pins as apt_preferences(5) has them, so that apt in the image prefers what was preferred here; empty where
/// there are none. Which suite is meant is said in the words of its Release file, which the lock has.
pub(crate) fn apt_preferences(recipe: &Recipe, lock: &Lock) -> String {
    let listed =
        |name: &str| recipe.archive.extra.iter().any(|extra| extra.in_image && *extra.name == name);
    let mut records = Vec::new();
    for pin in &recipe.archive.pins {
        let (archive, suite) = match &pin.which {
            PinnedVersions::All => {
                records.push(record(pin, "release *"));
                continue;
            }
            PinnedVersions::Version(version) => {
                records.push(record(pin, &format!("version {version}")));
                continue;
            }
            PinnedVersions::Suite(suite) => (None, Some(suite)),
            PinnedVersions::Archive(name) if listed(name) => (Some(name), None),
            PinnedVersions::Archive(_) => continue,
        };
        let meant = lock.archives.iter().filter(|locked| {
            locked.archive.as_ref() == archive
                && suite.is_none_or(|suite| locked.suite == *suite)
                && !locked.release.is_empty()
        });
        records.extend(meant.map(|locked| record(pin, &format!("release {}", locked.release))));
    }
    records.join("\n")
}

fn record(pin: &Pin, which: &str) -> String {
    let packages = pin.packages.join(" ");
    format!("Package: {packages}\nPin: {which}\nPin-Priority: {}\n", pin.priority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(archive: &str) -> Recipe {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tools.gpg"), "").unwrap();
        let text = format!("[project]\nname = \"x\"\n[archive]\n{archive}");
        Recipe::parse(&text, &folder.path().join(Recipe::FILE)).unwrap()
    }

    #[test]
    fn sources_are_those_of_the_distribution() {
        let told = apt_sources(&recipe(
            "suite = \"noble\"\narchitecture = \"arm64\"\nmirror = \"http://m/ubuntu-ports\"\n",
        ));
        let stanza = |suites: &str| {
            format!(
                "Types: deb\nURIs: http://m/ubuntu-ports\nSuites: {suites}\nComponents: main universe\n\
                 Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg\n"
            )
        };
        let both = format!("{}\n{}", stanza("noble noble-updates"), stanza("noble-security"));
        assert_eq!(told, both);
        let told = apt_sources(&recipe("suite = \"bookworm\"\nmirror = \"http://m/debian\"\n"));
        let parts = ["Suites: bookworm bookworm-updates\n", "URIs: http://m/debian-security\n"];
        assert!(parts.iter().all(|part| told.contains(part)), "{told}");
    }

    #[test]
    fn other_archives_are_told_also_where_no_mirror_of_the_main_one_is_known() {
        let told =
            apt_sources(&recipe(&format!("suite = \"noble\"\narchitecture = \"arm64\"\n{TOOLS}")));
        let tools = "Types: deb\nURIs: http://t\nSuites: a b\nComponents: main\n\
                     Signed-By: /etc/apt/keyrings/overboot-tools.gpg\nArchitectures: arm64\n";
        assert_eq!(told, tools);
    }

    const TOOLS: &str = "[archive.extra.tools]\nmirror = \"http://t\"\nsuites = [\"a\", \"b\"]\n\
                         keyring = \"tools.gpg\"\n";
    const PINS: &str = "[[archive.pin]]\npackages = [\"x*\", \"y\"]\nfrom = \"tools\"\npriority = 990\n\
                        [[archive.pin]]\npackages = [\"z\"]\nversion = \"1*\"\npriority = -1\n\
                        [[archive.pin]]\npackages = [\"*\"]\nfrom = \"trixie-updates\"\npriority = 400\n";

    #[test]
    fn preferences_are_told_in_the_words_of_the_archives() {
        let mut text = "version = 1\nepoch = 1\n".to_owned();
        text += &format!("wanted = \"{}\"\n", overboot_digest::Digest::of("x"));
        for (archive, suite) in [("", "trixie-updates"), ("tools", "a"), ("tools", "b")] {
            let archive = if archive.is_empty() { "" } else { "archive = \"tools\"\n" };
            text += &format!(
                "[[archive]]\n{archive}suite = \"{suite}\"\nrelease = \"o=O,n={suite}\"\ndate = 1\nlists = []\n"
            );
        }
        let lock = Lock::parse(&text, Path::new("overboot.lock")).unwrap();
        let suite = "suite = \"trixie\"\n";
        let record = |packages: &str, pin: &str, priority: i16| {
            format!("Package: {packages}\nPin: {pin}\nPin-Priority: {priority}\n")
        };
        let told = [
            record("x* y", "release o=O,n=a", 990),
            record("x* y", "release o=O,n=b", 990),
            record("z", "version 1*", -1),
            record("*", "release o=O,n=trixie-updates", 400),
        ];
        assert_eq!(
            apt_preferences(&recipe(&[suite, TOOLS, PINS].concat()), &lock),
            told.join("\n")
        );
        // What apt in the image does not know, it needs no opinion on.
        let tools = TOOLS.replace("keyring", "in-image = false\nkeyring");
        let recipe = recipe(&[suite, &tools, PINS].concat());
        assert_eq!(apt_preferences(&recipe, &lock), told[2..].join("\n"));
        assert_eq!(image_keys(&recipe), []);
    }
}

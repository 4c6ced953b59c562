//! Where a recipe's packages come from: archives, suites, mirrors, keys, pins.

use std::path::PathBuf;

use overboot_archive::pins::Which;
use overboot_archive::{Error as ArchiveError, Keyring, Pin, Source, Wanted, keyrings, mirror};
use overboot_recipe::{
    Archive, Distribution, ExtraArchive, Lock, LockedPackage, PinnedVersions, Place, Placed,
    Recipe, Whence,
};

use crate::apt::is_armored_by_name;
use crate::error::Error;

/// One of a recipe's archives, with a mirror for each of its suites.
#[derive(Debug, Clone)]
pub struct ArchiveSources<'r> {
    /// The recipe's table; `None` for the main one.
    pub extra: Option<&'r ExtraArchive>,
    /// Its suites, the main one first.
    pub sources: Vec<Source>,
}

impl ArchiveSources<'_> {
    /// What the recipe and the lock call it; `None` for the main one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.extra.map(|extra| extra.name.as_str())
    }

    /// Where the recipe names a suite of it.
    fn suite(&self, recipe: &Recipe, named: &str) -> Place {
        let suites = match self.extra {
            Some(extra) => extra.suites.clone(),
            None => recipe.archive.suites(),
        };
        let found = suites.iter().find(|suite| suite.value == named).or(suites.first());
        found.map(|suite| suite.place).unwrap_or_default()
    }

    /// Where the recipe names a component of it.
    fn component(&self, recipe: &Recipe, named: &str) -> Place {
        let components = match self.extra {
            Some(extra) => &extra.components,
            None => &recipe.archive.components,
        };
        let found = components.iter().find(|component| component.value == named);
        found.map(|component| component.place).unwrap_or_default()
    }

    /// Where the recipe names the architecture, as far as that is this archive's: an extra one can be left out for it.
    fn architecture(&self, recipe: &Recipe) -> Place {
        match self.extra {
            Some(_) => Place::default(),
            None => recipe.archive.architecture.place,
        }
    }

    /// Where the recipe names its mirror: where it does not, its suite, which goes with one.
    fn mirror(&self, recipe: &Recipe) -> Place {
        let mirror = match self.extra {
            Some(extra) => extra.mirror.place,
            None => recipe.archive.mirror.as_ref().map(|mirror| mirror.place).unwrap_or_default(),
        };
        mirror.or(recipe.archive.suite.place)
    }

    /// The keys that it must be signed with; none where those that ship are.
    fn keyring(&self, recipe: &'_ Recipe) -> Option<Placed<PathBuf>> {
        match self.extra {
            Some(extra) => Some(extra.keyring.clone()),
            None => recipe.archive.keyring.clone(),
        }
    }
}

/// The archives of a recipe, the main one first, the others by name: among equals, the first is taken.
///
/// # Errors
/// No mirror is known, or none for the security suite.
pub fn archives(recipe: &Recipe) -> Result<Vec<ArchiveSources<'_>>, Error> {
    let mut found = vec![ArchiveSources { extra: None, sources: main_sources(recipe)? }];
    found.extend(recipe.archive.extra.iter().map(|extra| {
        let components = extra.components.join(" ");
        let source = |suite: &Placed<String>| {
            Source::new(&extra.mirror, suite, &components).of_archive(&extra.name)
        };
        ArchiveSources { extra: Some(extra), sources: extra.suites.iter().map(source).collect() }
    }));
    Ok(found)
}

fn main_sources(recipe: &Recipe) -> Result<Vec<Source>, Error> {
    let archive = &recipe.archive;
    let main = main_mirror(recipe)?;
    let components = archive.components.join(" ");
    let source = |suite: Placed<String>| {
        if archive.has_security() && *suite == archive.security_suite() {
            let mirror = security_mirror(recipe, &main)?;
            return Ok(Source::new(&mirror, &suite, &components));
        }
        Ok(Source::new(&main, &suite, &components))
    };
    archive.suites().into_iter().map(source).collect()
}

fn main_mirror(recipe: &Recipe) -> Result<String, Error> {
    let archive = &recipe.archive;
    let folder = folder(archive);
    let named = archive.mirror.as_ref().map(|mirror| mirror.value.clone());
    let known = named
        .or_else(|| mirror::host_mirror(folder))
        .or_else(|| mirror::fallback_mirror(folder).map(str::to_owned));
    known.ok_or_else(|| {
        let Archive { suite, architecture, .. } = archive;
        Error::told(
            format!(
                "{}no mirror of \"{suite}\" for {architecture} is known",
                recipe.at(suite.place)
            ),
            format!("name one in [archive] of overboot.toml: mirror = \"http://…/{folder}\""),
        )
    })
}

fn security_mirror(recipe: &Recipe, main: &str) -> Result<String, Error> {
    let archive = &recipe.archive;
    let hosts = || mirror::host_security_mirror(folder(archive));
    let hosts = if archive.mirror.is_none() { hosts() } else { None };
    hosts.or_else(|| beside(archive, main)).ok_or_else(|| {
        Error::told(
            format!(
                "{}no security archive is known beside the mirror {main}",
                recipe.at(archive.mirror.as_ref().unwrap_or(&archive.suite).place)
            ),
            "write `security = false` in [archive], or a mirror whose path ends with /debian",
        )
    })
}

/// The security archive beside a mirror: of Ubuntu's, the mirror itself.
pub(crate) fn beside(archive: &Archive, mirror: &str) -> Option<String> {
    match archive.distribution {
        Distribution::Debian => mirror::security_sibling(mirror),
        Distribution::Ubuntu => Some(mirror.to_owned()),
    }
}

/// What the path of a mirror with this archive ends with.
pub(crate) fn folder(archive: &Archive) -> &'static str {
    mirror::folder(archive.distribution.id(), &archive.architecture)
}

/// The keys that an archive must be signed with.
///
/// # Errors
/// The recipe's file cannot be read, or no keys ship for the suite.
pub fn keyring(recipe: &Recipe, archive: &ArchiveSources<'_>) -> Result<Keyring, Error> {
    let Some(keyring) = archive.keyring(recipe) else { return shipped(recipe) };
    let path = recipe.folder.join(&*keyring);
    let bytes = fs_err::read(&path).map_err(|source| {
        Error::io("read the archive's keys in", &path)(source).placed(recipe, keyring.place)
    })?;
    let place = recipe.at(keyring.place);
    let keyring = Keyring::from_bytes(&bytes).map_err(|error| {
        Error::told(
            format!("{place}{} holds no archive keys: {error}", path.display()),
            "give OpenPGP public keys, binary or armored",
        )
    })?;
    let armored = bytes.first().is_some_and(u8::is_ascii);
    if armored != is_armored_by_name(&path) {
        let (holds, ending) = if armored { ("armored", "asc") } else { ("binary", "gpg") };
        return Err(Error::told(
            format!("{place}{} holds {holds} keys, and its name says otherwise", path.display()),
            format!(
                "rename it to {}: apt in the image goes by the name",
                path.with_extension(ending).file_name().unwrap_or_default().to_string_lossy()
            ),
        ));
    }
    Ok(keyring)
}

fn shipped(recipe: &Recipe) -> Result<Keyring, Error> {
    let suite = &recipe.archive.suite;
    keyrings::builtin(suite).ok_or_else(|| {
        let place = recipe.at(suite.place);
        Error::told(
            format!("{place}no keys ship for the suite \"{suite}\""),
            format!(
                "is it spelled right? If it is, name its keys: keyring = \"keys/{suite}.gpg\" in [archive] of overboot.toml"
            ),
        )
    })
}

/// An error of an archive, with the place in the recipe that it is about.
pub(crate) fn placed(recipe: &Recipe, archive: &ArchiveSources<'_>, source: ArchiveError) -> Error {
    let place = match &source {
        ArchiveError::SuiteNotFound { suite, .. } => archive.suite(recipe, suite),
        ArchiveError::OtherSuite { wanted, .. } => archive.suite(recipe, wanted),
        ArchiveError::NoArchitecture { suite, .. } => {
            archive.architecture(recipe).or(archive.suite(recipe, suite))
        }
        ArchiveError::NoComponent { suite, component, .. }
        | ArchiveError::NoIndex { suite, component, .. } => {
            archive.component(recipe, component).or(archive.suite(recipe, suite))
        }
        ArchiveError::Untrusted { .. } => {
            let keyring = archive.keyring(recipe).map(|keyring| keyring.place);
            keyring.unwrap_or_else(|| archive.suite(recipe, ""))
        }
        other => proxy_of(recipe, other).unwrap_or_else(|| archive.mirror(recipe)),
    };
    Error::NamedArchive { place: recipe.at(place), source: Box::new(source) }
}

/// An error of fetching a package file that the recipe names by its address.
pub(crate) fn of_file(recipe: &Recipe, source: ArchiveError) -> Error {
    match proxy_of(recipe, &source) {
        Some(place) => Error::NamedArchive { place: recipe.at(place), source: Box::new(source) },
        None => Error::PackageFile(Box::new(source)),
    }
}

/// What is said of a locked package that its archive has no more: which state of it had the package, and how to go on.
pub(crate) fn gone(recipe: &Recipe, lock: &Lock, source: &ArchiveError) -> Option<Error> {
    let ArchiveError::Package { name, version, source, .. } = source else { return None };
    let ArchiveError::NotFound { url } = &**source else { return None };
    let mut named = lock.packages.iter();
    let package = named.find(|one| one.name == *name && one.version == *version)?;
    let state = lock.state(package)?;
    let whose = state.archive.as_ref().map(|name| format!(" of [archive.extra.{name}]"));
    let (whose, suite) = (whose.unwrap_or_default(), &state.suite);
    let when = if state.snapshot.is_empty() { "then" } else { &state.snapshot };
    let place = match &state.archive {
        None => recipe.archive.mirror.as_ref().unwrap_or(&recipe.archive.suite).place,
        Some(archive) => {
            let extra = recipe.archive.extra.iter().find(|extra| *extra.name == **archive);
            extra.map(|extra| extra.mirror.place).unwrap_or_default()
        }
    };
    Some(Error::told(
        format!(
            "{}overboot.lock pins {name} {version}, and the mirror has it no more ({url}): {suite}{whose} had it in the state {when}",
            recipe.at(place)
        ),
        format!(
            "take what the archive has now (`overboot lock --update {name}`), or name as `mirror` for this build an archive of snapshots at {when}: the lock says what is right, wherever it comes from"
        ),
    ))
}

/// Where the recipe names the proxy, if it does and that is what an error is about.
pub(crate) fn proxy_of(recipe: &Recipe, source: &ArchiveError) -> Option<Place> {
    let about = match source {
        ArchiveError::Unresolved { host, .. } | ArchiveError::Unreachable { host, .. } => {
            host.starts_with("the proxy ")
        }
        ArchiveError::Status { status, .. } => *status == 407,
        ArchiveError::Proxy { from_environment, .. } => !from_environment,
        ArchiveError::Package { source, .. } => return proxy_of(recipe, source),
        _ => false,
    };
    recipe.archive.proxy.as_ref().filter(|_| about).map(|proxy| proxy.place)
}

/// The recipe's pins, for choosing packages of these archives.
pub(crate) fn pins(recipe: &Recipe, archives: &[ArchiveSources<'_>]) -> Vec<Pin> {
    let from = |wanted: &dyn Fn(&ArchiveSources<'_>, &Source) -> bool| {
        let all = archives.iter().flat_map(|archive| {
            archive.sources.iter().filter(move |source| wanted(archive, source))
        });
        Which::From(all.cloned().collect())
    };
    let pin = |pin: &overboot_recipe::Pin| Pin {
        packages: Placed::values(&pin.packages),
        which: match &pin.which {
            PinnedVersions::All => Which::All,
            PinnedVersions::Suite(suite) => {
                from(&|archive, source| archive.extra.is_none() && source.suite == *suite)
            }
            PinnedVersions::Archive(name) => from(&|archive, _| archive.name() == Some(name)),
            PinnedVersions::Version(version) => Which::Version(version.clone()),
        },
        priority: i32::from(pin.priority),
    };
    recipe.archive.pins.iter().map(pin).collect()
}

/// A locked package as the package store is asked for it, to be fetched from where the recipe's [`archives`] have it.
#[must_use]
pub fn wanted(archives: &[ArchiveSources<'_>], package: &LockedPackage) -> Wanted {
    Wanted {
        name: package.name.clone(),
        version: package.version.clone(),
        architecture: package.architecture.clone(),
        sha256: package.sha256,
        size: package.size,
        urls: url(archives, package).into_iter().collect(),
    }
}

/// Where a locked package can be fetched; nowhere when it is a file of the project.
fn url(archives: &[ArchiveSources<'_>], package: &LockedPackage) -> Option<String> {
    match &package.whence {
        Whence::Archive { archive, suite, path, .. } => {
            let theirs = archives.iter().find(|one| one.name() == archive.as_deref())?;
            let found = theirs.sources.iter().find(|source| source.suite == *suite);
            found.or(theirs.sources.first()).map(|source| source.url(path))
        }
        Whence::Url { url } => Some(url.clone()),
        Whence::File { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use overboot_digest::Digest;

    use super::*;

    #[test]
    fn a_package_is_fetched_from_its_own_archive() {
        let text = "[project]\nname = \"x\"\n[archive]\nsuite = \"noble\"\nmirror = \"http://m/mirror\"\n\
                    [archive.extra.tools]\nmirror = \"http://t/deb/\"\nsuites = [\"stable\", \"beta\"]\n\
                    keyring = \"keyring\"\n";
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("keyring"), "").unwrap();
        let recipe = Recipe::parse(text, &folder.path().join(Recipe::FILE)).unwrap();
        let archives = archives(&recipe).unwrap();
        // Ubuntu's security updates are on the same mirror, whatever that is called.
        let suites: Vec<_> = archives[0].sources.iter().map(|source| &*source.suite).collect();
        assert_eq!(suites, ["noble", "noble-updates", "noble-security"]);
        assert!(archives[0].sources.iter().all(|source| source.uri == "http://m/mirror"));

        let url = |archive: Option<&str>, suite: &str| {
            let package = LockedPackage {
                name: "x".into(),
                version: "1".into(),
                architecture: "all".into(),
                whence: Whence::Archive {
                    archive: archive.map(str::to_owned),
                    suite: suite.to_owned(),
                    path: "x.deb".into(),
                    snapshot: None,
                },
                size: 1,
                installed: 0,
                sha256: Digest::of("x"),
            };
            super::url(&archives, &package)
        };
        assert_eq!(url(None, "noble-security").unwrap(), "http://m/mirror/x.deb");
        assert_eq!(url(Some("tools"), "beta").unwrap(), "http://t/deb/x.deb");
        // Of an archive that the recipe does not know any more, nobody else is asked.
        assert_eq!(url(Some("gone"), "stable"), None);
    }

    #[test]
    fn an_archive_is_told_by_its_name_and_not_by_its_address() {
        // That of the host, which this recipe's main archive has without a word.
        let debian = mirror::host_mirror("debian");
        let debian = debian.or_else(|| mirror::fallback_mirror("debian").map(str::to_owned));
        let text = format!(
            "[project]\nname = \"x\"\n[archive]\nsuite = \"trixie\"\n\
             [archive.extra.tools]\nmirror = \"{}\"\nsuites = [\"trixie\"]\nkeyring = \"keyring\"\n\
             [[archive.pin]]\npackages = [\"*\"]\nfrom = \"tools\"\npriority = -1\n",
            debian.unwrap()
        );
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("keyring"), "").unwrap();
        let recipe = Recipe::parse(&text, &folder.path().join(Recipe::FILE)).unwrap();
        let archives = archives(&recipe).unwrap();
        let (main, tools) = (&archives[0].sources[0], &archives[1].sources[0]);
        assert_eq!((&main.uri, &main.suite), (&tools.uri, &tools.suite));
        assert_eq!((main.archive.as_deref(), tools.archive.as_deref()), (None, Some("tools")));

        let pins = pins(&recipe, &archives);
        let Which::From(pinned) = &pins[0].which else { panic!("{:?}", pins[0].which) };
        assert!(pinned.contains(tools) && !pinned.contains(main));
    }

    #[test]
    fn a_recipe_is_for_one_distribution() {
        let distribution = |archive: &str| {
            let text = format!("[project]\nname = \"x\"\n[archive]\n{archive}\n");
            let recipe = Recipe::parse(&text, Path::new("/x/overboot.toml")).unwrap();
            (
                recipe.archive.distribution.id(),
                recipe.archive.components.join(" "),
                recipe.kernel.package.value,
            )
        };
        let debian = ("debian", "main".to_owned(), "linux-image-amd64".to_owned());
        let ubuntu = ("ubuntu", "main universe".to_owned(), "linux-image-generic".to_owned());
        assert_eq!(distribution("suite = \"bookworm\""), debian);
        assert_eq!(distribution("suite = \"noble\""), ubuntu);
        assert_eq!(distribution("suite = \"next\"\nmirror = \"http://m/ubuntu\""), ubuntu);
    }
}

//! Stanzas of dpkg's `status`, and of packages' own control files, into packages.

use overboot_debian::deb822::{self, Stanza};

use crate::{Error, Package};

impl Package {
    /// What the control file of a package says of it.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn of_control(text: &str) -> Result<Self, deb822::Error> {
        Ok(Self::of_stanza(&deb822::single(text)?))
    }

    fn of_stanza(stanza: &Stanza<'_>) -> Self {
        let field = |name: &str| stanza.get(name).unwrap_or_default().trim().to_owned();
        let (name, version) = (field("Package"), field("Version"));
        // `Source: name (version)`, each left out where it is the package's own (Policy 5.6.1).
        let source = field("Source");
        let (source, source_version) = match source.split_once('(') {
            Some((source, version)) => {
                (source.trim().to_owned(), version.trim_end_matches(')').trim().to_owned())
            }
            None => (source, version.clone()),
        };
        Self {
            source: if source.is_empty() { name.clone() } else { source },
            source_version,
            architecture: field("Architecture"),
            section: field("Section"),
            maintainer: field("Maintainer"),
            homepage: field("Homepage"),
            // In units of 1024 bytes (Policy 5.6.20).
            installed_size: field("Installed-Size").parse().unwrap_or(0_u64).saturating_mul(1024),
            copyright: None,
            deb: None,
            name,
            version,
        }
    }
}

/// The packages of a `status`, sorted by name, without those of which only configuration is left.
pub(crate) fn installed(text: &str) -> Result<Vec<Package>, Error> {
    let mut packages = Vec::new();
    for stanza in deb822::stanzas(text) {
        let stanza = stanza.map_err(|error| Error::Database {
            file: "/var/lib/dpkg/status".to_owned(),
            reason: error.to_string(),
        })?;
        let status = stanza.get("Status").unwrap_or_default();
        if !matches!(status.split(' ').nth(2), Some("config-files" | "not-installed")) {
            packages.push(Package::of_stanza(&stanza));
        }
    }
    packages.sort_by(|a, b| (&a.name, &a.architecture).cmp(&(&b.name, &b.architecture)));
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read() {
        let text = "Package: libc6\nStatus: install ok installed\nSource: glibc (2.41-1)\nVersion: 2.41-1+b1\n\
            Architecture: amd64\nInstalled-Size: 13\nSection: libs\nMaintainer: GNU Libc Maintainers <l@d.org>\n\n\
            Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
            Package: bash\nStatus: install ok installed\nVersion: 5\nArchitecture: amd64\n";
        let packages = installed(text).unwrap();
        assert_eq!(packages.len(), 2);
        let libc = &packages[1];
        assert_eq!((libc.source.as_str(), libc.source_version.as_str()), ("glibc", "2.41-1"));
        assert_eq!(libc.installed_size, 13 * 1024);
        assert_eq!(
            (packages[0].source.as_str(), packages[0].source_version.as_str()),
            ("bash", "5")
        );
        assert!(installed("no stanza").is_err());
    }
}

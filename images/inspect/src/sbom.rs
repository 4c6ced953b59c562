//! The packages of an image in SPDX 2.3 (`https://spdx.github.io/spdx-spec/v2.3/`), as JSON.
//!
//! The same image gives the same document: its time is the youngest of the image, its namespace is made of digests.

use std::collections::BTreeMap;
use std::io::{self, Read};

use overboot_digest::Digest;
use overboot_record::{Contents, Distribution, Package, each_file};
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use crate::{Error, Image, time};

const UNKNOWN: &str = "NOASSERTION";
const DOCUMENT: &str = "SPDXRef-DOCUMENT";

/// The document of an image; with `files`, also with all its files. Of a boot set: of all images in it.
///
/// # Errors
/// It is not known what is in it, or it cannot be read.
pub fn spdx(image: &Image, files: bool) -> Result<Value, Error> {
    let digest = image.artifact.descriptor.digest;
    let name = image.target().to_owned();
    let parts = image.parts()?;
    let mut document = Document { files, ..Document::default() };
    let root = document.add_image(image);
    document.relate(DOCUMENT, "DESCRIBES", &root);
    if image.kind() == "set" {
        for part in &parts {
            let id = document.add_image(part);
            document.relate(&root, "CONTAINS", &id);
            document.add_contents(part, &id)?;
        }
    } else {
        document.add_contents(image, &root)?;
    }
    let epoch = image.record.as_ref().map_or(0, overboot_record::Record::epoch);
    let form = if files { "-files" } else { "" };
    let mut spdx = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": DOCUMENT,
        "name": name,
        // What the specification proposes to those without a place of their own (6.5, document namespace).
        "documentNamespace":
            format!("https://spdx.org/spdxdocs/overboot-{}-{}{form}", identifier(&name), digest.hex()),
        "creationInfo": {
            "created": time::iso(epoch),
            "creators": [concat!("Tool: overboot-", env!("CARGO_PKG_VERSION"))],
        },
        "packages": document.packages.into_values().collect::<Vec<_>>(),
    });
    if files {
        spdx["files"] = document.listed.into();
    }
    spdx["relationships"] = document.relationships.into();
    Ok(spdx)
}

#[derive(Default)]
struct Document {
    files: bool,
    packages: BTreeMap<String, Value>,
    listed: Vec<Value>,
    relationships: Vec<Value>,
}

impl Document {
    fn relate(&mut self, from: &str, how: &str, to: &str) {
        self.relationships.push(json!({
            "spdxElementId": from, "relationshipType": how, "relatedSpdxElement": to,
        }));
    }

    /// The image itself, as a package; its identifier.
    fn add_image(&mut self, image: &Image) -> String {
        let id = format!("SPDXRef-image-{}", identifier(image.target()));
        let layer = image.artifact.layer();
        let purpose = match image.kind() {
            "base" | "set" | "kernel" => "OPERATING-SYSTEM",
            "ipxe" => "FIRMWARE",
            _ => "ARCHIVE",
        };
        let package = json!({
            "SPDXID": id,
            "name": image.target(),
            "versionInfo": image.artifact.descriptor.digest,
            "packageFileName": layer.digest.hex(),
            "downloadLocation": UNKNOWN,
            "filesAnalyzed": false,
            "checksums": [{"algorithm": "SHA256", "checksumValue": layer.digest.hex()}],
            "licenseConcluded": UNKNOWN,
            "licenseDeclared": UNKNOWN,
            "copyrightText": UNKNOWN,
            "primaryPackagePurpose": purpose,
        });
        self.packages.insert(id.clone(), package);
        id
    }

    /// What is in an image.
    fn add_contents(&mut self, image: &Image, root: &str) -> Result<(), Error> {
        let contents = image.contents()?;
        let mut ids = BTreeMap::new();
        for package in &contents.packages {
            let id = package_id(package);
            // The kernel's package is in three images of a boot set.
            self.packages
                .entry(id.clone())
                .or_insert_with(|| described(&id, package, &contents.distribution));
            self.relate(root, "CONTAINS", &id);
            ids.insert(package.name.as_str(), id);
        }
        if self.files {
            self.add_files(image, contents, root, &ids)?;
        }
        Ok(())
    }

    fn add_files(
        &mut self,
        image: &Image,
        contents: &Contents,
        root: &str,
        packages: &BTreeMap<&str, String>,
    ) -> Result<(), Error> {
        let sums = sums(image)?;
        let prefix = identifier(image.target());
        let mut of_package: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (at, (path, sum)) in sums.iter().enumerate() {
            let id = format!("SPDXRef-file-{prefix}-{at}");
            self.listed.push(json!({
                "SPDXID": id,
                "fileName": format!("./{path}"),
                "checksums": [
                    {"algorithm": "SHA1", "checksumValue": sum.sha1},
                    {"algorithm": "SHA256", "checksumValue": sum.sha256.hex()},
                ],
                "licenseConcluded": UNKNOWN,
                "licenseInfoInFiles": [UNKNOWN],
                "copyrightText": UNKNOWN,
            }));
            let owner = contents.file(path).and_then(|file| file.package.as_deref());
            let owner = owner.and_then(|owner| packages.get(owner)).map_or(root, String::as_str);
            of_package.entry(owner).or_default().push(&sum.sha1);
            self.relate(owner, "CONTAINS", &id);
        }
        for (id, mut sums) in of_package {
            if let Some(package) = self.packages.get_mut(id) {
                // "7.9 Package verification code": the sum of the sums, sorted.
                sums.sort_unstable();
                let code = hex(&Sha1::digest(sums.concat()));
                package["filesAnalyzed"] = true.into();
                package["packageVerificationCode"] =
                    json!({ "packageVerificationCodeValue": code });
            }
        }
        Ok(())
    }
}

struct Sums {
    sha1: String,
    sha256: Digest,
}

/// The checksums of all regular files in an image. SPDX wants SHA-1, which is nowhere kept: the image is read once more.
fn sums(image: &Image) -> Result<BTreeMap<String, Sums>, Error> {
    let contents = image.contents()?;
    let mut sums = BTreeMap::new();
    for layer in image.layers() {
        let path = image.store.blob_path(&layer.digest);
        let form = layer.media_type.rsplit('.').next().unwrap_or_default();
        if matches!(form, "squashfs" | "zst") {
            each_file(&path, &layer.media_type, |file, content| {
                if let Some(content) = content {
                    sums.insert(file.path, sum(content)?);
                }
                Ok(())
            })?;
            continue;
        }
        // An image that is the file.
        let failed = |source| overboot_record::Error::Read { path: path.clone(), source };
        let mut file = fs_err::File::open(&path).map_err(failed)?;
        let sum = sum(&mut file)
            .map_err(|source| overboot_record::Error::Read { path: path.clone(), source })?;
        let of = |file: &&overboot_record::File| matches!(file.kind, overboot_record::Kind::File { sha256, .. } if sha256 == layer.digest);
        if let Some(file) = contents.files.iter().find(of) {
            sums.insert(file.path.clone(), sum);
        }
    }
    Ok(sums)
}

fn sum(content: &mut dyn Read) -> io::Result<Sums> {
    let (mut sha1, mut sha256) = (Sha1::new(), overboot_digest::Hasher::new());
    let mut buffer = vec![0; 1 << 16];
    loop {
        match content.read(&mut buffer)? {
            0 => break,
            read => {
                sha1.update(&buffer[..read]);
                sha256.update(&buffer[..read]);
            }
        }
    }
    Ok(Sums { sha1: hex(&sha1.finalize()), sha256: sha256.finish() })
}

fn described(id: &str, package: &Package, distribution: &Distribution) -> Value {
    let url = package.deb.as_ref().and_then(|deb| deb.url.clone());
    let mut value = json!({
        "SPDXID": id,
        "name": package.name,
        "versionInfo": package.version,
        "downloadLocation": url.as_deref().unwrap_or(UNKNOWN),
        "filesAnalyzed": false,
        "supplier": supplier(&package.maintainer),
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": UNKNOWN,
        "copyrightText": UNKNOWN,
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": purl(package, distribution),
        }],
    });
    if let Some(deb) = &package.deb {
        value["checksums"] = json!([{"algorithm": "SHA256", "checksumValue": deb.sha256.hex()}]);
    }
    if package.homepage.contains("://") && !package.homepage.contains(char::is_whitespace) {
        value["homepage"] = package.homepage.as_str().into();
    }
    let mut source =
        format!("built from the source package {} {}", package.source, package.source_version);
    let deb = package.deb.as_ref();
    if let Some((archive, suite)) = deb.and_then(|deb| deb.archive.as_ref().zip(deb.suite.as_ref()))
    {
        source.push_str(&format!(", taken from suite {suite} of the archive {archive}"));
    }
    value["sourceInfo"] = source.into();
    if let Some(path) = &package.copyright {
        value["licenseComments"] = format!("its licences are told in /{path} of the image").into();
    }
    value
}

/// A package URL (`https://github.com/package-url/purl-spec`, type `deb`). What is not from the distribution's archive has no
/// namespace: nobody but its maker vouches for the name.
fn purl(package: &Package, distribution: &Distribution) -> String {
    let archived =
        package.deb.as_ref().is_some_and(|deb| deb.suite.is_some() && deb.archive.is_none());
    let namespace = if archived { format!("{}/", distribution.id) } else { String::new() };
    let mut qualifiers = format!("arch={}", encoded(&package.architecture));
    if archived {
        qualifiers.push_str(&format!("&distro={}", encoded(&distribution.codename)));
    }
    format!(
        "pkg:deb/{namespace}{}@{}?{qualifiers}",
        encoded(&package.name),
        encoded(&package.version)
    )
}

/// Everything but what a package URL takes as it is, in percent-encoding.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~:".contains(&byte);
    text.bytes().fold(String::new(), |mut text, byte| {
        match plain(byte) {
            true => text.push(char::from(byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
        text
    })
}

/// `Organization: Debian systemd Maintainers (pkg-systemd@…)`, of `Name <address>`.
fn supplier(maintainer: &str) -> String {
    const MANY: [&str; 8] =
        ["Team", "Maintainers", "Group", "Developers", "Project", "Packagers", "Packaging", "Inc"];
    let (name, address) = maintainer.split_once('<').unwrap_or((maintainer, ""));
    let (name, address) = (name.trim().trim_matches('"'), address.trim().trim_end_matches('>'));
    // The form is `Person: name (address)`: brackets in the name would be taken for those of an address.
    let name: String = name.chars().filter(|c| !"()".contains(*c)).collect();
    if name.is_empty() {
        return UNKNOWN.to_owned();
    }
    let many = MANY.iter().any(|word| name.to_lowercase().contains(&word.to_lowercase()));
    let kind = if many { "Organization" } else { "Person" };
    if address.is_empty() {
        format!("{kind}: {name}")
    } else {
        format!("{kind}: {name} ({address})")
    }
}

fn package_id(package: &Package) -> String {
    let Package { name, version, architecture, .. } = package;
    format!("SPDXRef-deb-{}", identifier(&format!("{name}-{version}-{architecture}")))
}

/// Letters, digits, dots and hyphens (3.2, SPDX identifier). What is replaced is told apart by its code.
fn identifier(text: &str) -> String {
    text.chars().fold(String::new(), |mut id, c| {
        match c {
            '/' => id.push('-'),
            c if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') => id.push(c),
            c => id.push_str(&format!("-{:x}-", u32::from(c))),
        }
        id
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use overboot_record::Deb;

    use super::*;

    #[test]
    fn names_of_packages_are_urls() {
        let deb = |suite: Option<&str>| Deb {
            sha256: Digest::of("x"),
            size: 1,
            suite: suite.map(str::to_owned),
            archive: None,
            url: None,
        };
        let mut package = Package {
            name: "libstdc++6".into(),
            version: "1:14.2.0-19+b1~x".into(),
            architecture: "amd64".into(),
            deb: Some(deb(Some("trixie-security"))),
            ..Package::default()
        };
        let debian = Distribution { id: "debian".into(), codename: "trixie".into() };
        assert_eq!(
            purl(&package, &debian),
            "pkg:deb/debian/libstdc%2B%2B6@1:14.2.0-19%2Bb1~x?arch=amd64&distro=trixie"
        );
        assert_eq!(
            package_id(&package),
            "SPDXRef-deb-libstdc-2b--2b-6-1-3a-14.2.0-19-2b-b1-7e-x-amd64"
        );
        package.deb = Some(deb(None));
        assert_eq!(purl(&package, &debian), "pkg:deb/libstdc%2B%2B6@1:14.2.0-19%2Bb1~x?arch=amd64");
    }

    #[test]
    fn suppliers_are_persons_or_many() {
        for (maintainer, supplied) in [
            ("Matthias Klose <doko@debian.org>", "Person: Matthias Klose (doko@debian.org)"),
            ("Debian GCC Maintainers <d@l.org>", "Organization: Debian GCC Maintainers (d@l.org)"),
            ("Anibal Monsalve Salazar (x) <a@d>", "Person: Anibal Monsalve Salazar x (a@d)"),
            ("", "NOASSERTION"),
        ] {
            assert_eq!(supplier(maintainer), supplied);
        }
    }
}

//! Whose certificates are believed: the system's authorities, and those of a file that the user names.

use std::path::{Path, PathBuf};

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::Error;

/// Where distributions keep the authorities (Debian and Ubuntu; Fedora; SUSE; others).
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

pub(super) fn config(ca: Option<&Path>) -> Result<TlsConfig, Error> {
    let system = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let mut bundles = system.into_iter().chain(BUNDLES.map(PathBuf::from));
    let mut roots = match bundles.find(|bundle| bundle.is_file()) {
        Some(bundle) => certificates(&bundle)?,
        None => Vec::new(),
    };
    if let Some(ca) = ca {
        let own = certificates(ca)?;
        if own.is_empty() {
            let reason = "there is none in it (want PEM: -----BEGIN CERTIFICATE-----)".to_owned();
            return Err(Error::Ca { path: ca.to_owned(), reason });
        }
        roots.extend(own);
    }
    // A machine without a bundle of its own: Mozilla's, which the program brings along.
    let roots = if roots.is_empty() { RootCerts::WebPki } else { roots.into_iter().into() };
    Ok(TlsConfig::builder().root_certs(roots).build())
}

fn certificates(file: &Path) -> Result<Vec<Certificate<'static>>, Error> {
    let wrong = |reason: String| Error::Ca { path: file.to_owned(), reason };
    let pem = std::fs::read(file).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(wrong(format!("are damaged: {error}"))),
        }
    }
    Ok(found)
}

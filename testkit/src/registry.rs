//! An OCI registry: Debian's `docker-registry`, on a free port of the loopback address, with a folder and a configuration of its own.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

use crate::program::Program;
use crate::{deadline, ports};

/// What the registry wants to hear, where it wants a login: the user.
pub const USERNAME: &str = "pusher";
/// And the password.
pub const PASSWORD: &str = "secret";
/// `htpasswd -B` of both: docker-registry takes bcrypt only.
const HTPASSWD: &str = "pusher:$2y$05$eP6luFZZCrHHY2GcZoWFqejbI0hGeMsKfuXKRJ9IL1I99TyJLM3cG\n";

/// A running registry. Ends with this value.
#[derive(Debug)]
pub struct Registry {
    folder: TempDir,
    port: u16,
    _program: Program,
}

impl Registry {
    /// With TLS, by a certificate whose authority is in [`Registry::ca`], and for [`USERNAME`] alone.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        certificate(folder.path());
        fs::write(folder.path().join("htpasswd"), HTPASSWD).unwrap();
        let at = folder.path().display();
        let tls = format!("  tls:\n    certificate: {at}/server.pem\n    key: {at}/server.key\n");
        let auth = format!("auth:\n  htpasswd:\n    realm: test\n    path: {at}/htpasswd\n");
        Self::run(folder, &format!("{tls}{auth}"))
    }

    /// Without TLS, for everybody.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    #[track_caller]
    pub fn start_open() -> Self {
        Self::run(tempfile::tempdir().unwrap(), "")
    }

    #[track_caller]
    fn run(folder: TempDir, rest: &str) -> Self {
        let port = ports::tcp();
        let at = folder.path();
        let config = format!(
            "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n{rest}",
            at.join("data").display()
        );
        fs::write(at.join("config.yml"), config).unwrap();
        let program = Program::start(
            Command::new("docker-registry").arg("serve").arg(at.join("config.yml")).current_dir(at),
        );
        deadline::eventually("docker-registry listens", Duration::from_secs(60), || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
        Self { folder, port, _program: program }
    }

    /// `localhost:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// The port of 127.0.0.1 that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the authority that has signed its own.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Where it keeps the content with these hex digits.
    #[must_use]
    pub fn blob(&self, hex: &str) -> PathBuf {
        let blobs = self.folder.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }
}

/// An authority, and what it has signed for this machine.
fn certificate(folder: &Path) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let server = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    fs::write(folder.join("server.pem"), server.pem()).unwrap();
    fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
}

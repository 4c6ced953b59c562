//! A real apt cache as the proxy.

use std::net::TcpListener;
use std::time::Duration;

use overboot_archive::{FetchOptions, Fetcher};
use overboot_testkit::archive::{Archive, Deb, Server, SigningKey};
use overboot_testkit::require;

use crate::fetch::options;

#[test]
fn apt_cacher_ng_serves_a_second_build_without_the_archive() {
    if !require::met(
        std::path::Path::new("/usr/sbin/apt-cacher-ng").exists(),
        "needs apt-cacher-ng",
    ) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for name in ["conf", "cache", "log"] {
        fs_err::create_dir(dir.path().join(name)).unwrap();
    }
    // It knows no port above 32767, neither its own nor an archive's, so the system's choice of a free one will not do.
    let start = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let mut low = (start..).filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    let port = low.next().unwrap().local_addr().unwrap().port();
    let setting = |name: &str, value: &str| format!("{name}={value}");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let mut cache = std::process::Command::new("/usr/sbin/apt-cacher-ng")
        .args(["-i", "-c", &path("conf"), "ForeGround=1", "BindAddress=127.0.0.1"])
        .args([setting("Port", &port.to_string()), setting("CacheDir", &path("cache"))])
        .args([setting("LogDir", &path("log")), setting("SocketPath", &path("socket"))])
        .arg("AllowUserPorts=0")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let tree =
        Archive::new("trixie").package(Deb::new("hello", "1")).build(&SigningKey::generate());
    let deb = tree["pool/main/h/hello/hello_1_amd64.deb"].clone();
    let server = Server::on(low.next().unwrap(), tree);
    let url = format!("{}/pool/main/h/hello/hello_1_amd64.deb", server.uri());
    let proxy = Some(format!("http://127.0.0.1:{port}"));
    // It needs a moment to listen.
    let options =
        FetchOptions { proxy, attempts: 8, back_off: Duration::from_millis(50), ..options() };
    let fetch = || Fetcher::new(options.clone()).unwrap().get(&url, 1 << 20);
    let (first, asked) = (fetch(), server.take_requests().len());
    drop(server);
    let second = fetch();
    cache.kill().unwrap();
    cache.wait().unwrap();
    assert_eq!(first.unwrap(), deb);
    assert!(asked > 0);
    assert_eq!(second.unwrap(), deb);
}

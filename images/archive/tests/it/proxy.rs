//! A real apt cache as the proxy.

use overboot_archive::{FetchOptions, Fetcher};
use overboot_testkit::apt_cache::{self, AptCache};
use overboot_testkit::archive::{Archive, Deb, Server, SigningKey};

use crate::fetch::options;

#[test]
fn apt_cacher_ng_serves_a_second_build_without_the_archive() {
    if !apt_cache::possible() {
        return;
    }
    let tree =
        Archive::new("trixie").package(Deb::new("hello", "1")).build(&SigningKey::generate());
    let deb = tree["pool/main/h/hello/hello_1_amd64.deb"].clone();
    let server = Server::on(apt_cache::listener(), tree);
    let cache = AptCache::start();
    let url = format!("{}/pool/main/h/hello/hello_1_amd64.deb", server.uri());
    let options = FetchOptions { proxy: Some(cache.url()), ..options() };
    let fetch = || Fetcher::new(options.clone()).unwrap().get(&url, 1 << 20);
    assert_eq!(fetch().unwrap(), deb);
    assert!(!server.take_requests().is_empty());
    drop(server);
    assert_eq!(fetch().unwrap(), deb);
}

//! Who asks.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

/// The client's address: that of the socket, or what a reverse proxy on this machine says in `X-Real-IP`.
///
/// RackHD believes the header whoever sends it, so that any node could take another's address in the lookups.
pub(crate) fn client(peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
    let socket = peer.ip().to_canonical();
    if !socket.is_loopback() {
        return socket;
    }
    headers
        .get("x-real-ip")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.trim().parse::<IpAddr>().ok())
        .map_or(socket, |address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, header: Option<&'static str>) -> String {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert("x-real-ip", header.parse().unwrap());
        }
        client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_a_local_proxy_is_believed() {
        assert_eq!(seen("192.0.2.1:5", None), "192.0.2.1");
        assert_eq!(seen("192.0.2.1:5", Some("192.0.2.9")), "192.0.2.1");
        assert_eq!(seen("127.0.0.1:5", Some("192.0.2.9")), "192.0.2.9");
        assert_eq!(seen("127.0.0.1:5", Some("nonsense")), "127.0.0.1");
        assert_eq!(seen("[::ffff:192.0.2.1]:5", None), "192.0.2.1");
    }
}

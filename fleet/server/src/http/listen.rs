//! Connections: taken, bounded in number and in how slowly they may ask, and ended gracefully.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use crate::http::rewrite::canonical;

/// How long a client may take for the head of a request, or stay silent between two.
const HEAD_WITHIN: Duration = Duration::from_secs(60);

/// Connections at once. A rack that boots has a few per node; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 4096;

/// The pause after the system had no descriptor or memory for a connection: others end meanwhile.
const EXHAUSTED: Duration = Duration::from_millis(200);

/// Serves `router` until `stop`; then answers what was asked already, and ends when all of it is answered.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    loop {
        let (stream, peer, permit) = tokio::select! {
            () = stop.cancelled() => break,
            taken = take(&listener, &connections) => match taken {
                Ok(taken) => taken,
                Err(error) => {
                    tracing::warn!(%error, "a connection was not taken");
                    tokio::time::sleep(EXHAUSTED).await;
                    continue;
                }
            },
        };
        let router = router.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = canonical(request.map(Body::new));
            request.extensions_mut().insert(ConnectInfo(peer));
            // A router is always ready; a clone per request is what axum itself does.
            router.clone().call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "a connection ended early");
            }
            drop(permit);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn take(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit =
        Arc::clone(connections).acquire_owned().await.map_err(|_| io::ErrorKind::BrokenPipe)?;
    let (stream, peer) = listener.accept().await?;
    // Answers are small or streamed in large pieces: waiting to fill a packet only delays them.
    stream.set_nodelay(true)?;
    Ok((stream, peer, permit))
}

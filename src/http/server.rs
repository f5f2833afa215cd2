//! HTTP/1.1 on a socket, with deadlines: a client that sends its headers too slowly is let go.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};

/// The longest time that a request's headers may take to arrive.
const HEADER_TIME: Duration = Duration::from_secs(10);

/// The longest time that open connections may take to end when the server stops.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// Binds a loopback address.
///
/// # Errors
/// The address is not loopback, or is taken.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    if !address.ip().is_loopback() {
        return Err(Error::new(
            ErrorKind::Configuration,
            format!("the gateway does not listen on {address}: it has no access tokens yet, and so binds to loopback only"),
        )
        .hint("use 127.0.0.1, and an SSH tunnel to reach it from elsewhere"));
    }
    TcpListener::bind(address).await.map_err(|error| {
        Error::new(
            ErrorKind::Unavailable,
            format!("cannot listen on {address}"),
        )
        .because(error)
        .hint("another program may hold the port: choose one with --listen")
    })
}

/// Serves a router until it is told to stop, then lets open requests end.
pub async fn run(listener: TcpListener, router: Router, stop: CancellationToken) {
    run_with(listener, router, stop, HEADER_TIME).await;
}

pub(super) async fn run_with(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
    header_time: Duration,
) {
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, say: connections get time to end, and the loop does not spin.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // An event of a stream is not to wait for the one behind it.
        let _ = stream.set_nodelay(true);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_time)
            .serve_connection(
                TokioIo::new(stream),
                TowerToHyperService::new(router.clone()),
            );
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke off");
            }
        });
    }
    drop(listener);
    // A connection that does not end in time is cut: the process is about to end.
    let _ = tokio::time::timeout(DRAIN_TIME, graceful.shutdown()).await;
}

//! HTTP/1.1 on a socket, with limits: so many connections, and so many headers of so many bytes in so much time for each request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, header};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::access::Peer;
use super::stalled::Stalled;
use crate::error::{Error, ErrorKind, Result};

/// The most bytes of a request's line and headers.
const MOST_HEADER_BYTES: usize = 64 * 1024;

/// The most headers of a request.
const MOST_HEADERS: usize = 64;

/// The longest time that open connections may take to end when the server stops.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// The longest time that a client may take nothing of what it asked for.
const STALLED_TIME: Duration = Duration::from_mins(1);

/// What is said on a connection for which there is no room.
const NO_ROOM: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n\
Content-Length: 111\r\nConnection: close\r\n\r\n\
{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"there are too many connections now\"}";

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest time that a request's headers may take to arrive, and that a connection may be idle.
    pub header_time: Duration,
    /// The most connections at once.
    pub connections: usize,
}

impl Limits {
    /// Gives the usual limits for a number of connections.
    #[must_use]
    pub const fn of(connections: usize) -> Self {
        Self {
            header_time: Duration::from_secs(10),
            connections,
        }
    }
}

/// Binds an address.
///
/// # Errors
/// The address is taken, or is none of this machine's.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
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
pub async fn run(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(limits.connections));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let Ok((stream, peer)) = accepted else {
            // Out of file descriptors, say: connections get time to end, and the loop does not spin.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // An event of a stream is not to wait for the one behind it.
        let _ = stream.set_nodelay(true);
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            refuse(&stream).await;
            continue;
        };
        let stream = Stalled::new(stream, STALLED_TIME);
        let inner = TowerToHyperService::new(router.clone());
        let from = Peer(peer.ip().to_canonical());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(from);
            // With a length beside it, which hyper drops, somebody before us may have read another end of the body: what follows on
            // the connection is not read (RFC 9112, section 6.3).
            let is_last = request.headers().contains_key(header::TRANSFER_ENCODING);
            let answer = inner.call(request);
            async move {
                let mut answer = answer.await?;
                if is_last {
                    let close = HeaderValue::from_static("close");
                    answer.headers_mut().insert(header::CONNECTION, close);
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_time)
            .max_buf_size(MOST_HEADER_BYTES)
            .max_headers(MOST_HEADERS)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke off");
            }
        });
    }
    drop(listener);
    // A connection that does not end in time is cut: the process is about to end.
    let _ = tokio::time::timeout(DRAIN_TIME, graceful.shutdown()).await;
}

/// Says that there is no room. The socket's buffer is empty and takes it at once, so that nobody can make this wait.
async fn refuse(stream: &TcpStream) {
    let writable = tokio::time::timeout(Duration::from_millis(10), stream.writable());
    if matches!(writable.await, Ok(Ok(()))) {
        let _ = stream.try_write(NO_ROOM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_without_room_is_a_whole_answer() {
        let text = std::str::from_utf8(NO_ROOM).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("Content-Length: {}\r\n", body.len())),
            "{}",
            body.len()
        );
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["status"], 503);
    }
}

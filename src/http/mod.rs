//! The gateway: relvec over HTTP. Routes plan, start and stream; they decide nothing.
//!
//! 1. [`server`]: sockets and deadlines; [`observe`] and [`guard`]: what surrounds each request; [`extract`], [`body`], [`idempotency`]: what
//!    comes in.
//! 2. [`gateway`]: the runs that this process executes; [`desk`]: what the routes share beside them ([`follow`], [`documents`], [`metrics`]).
//! 3. [`jobs`], [`retry`], [`stages`], [`events`], [`logs`], [`artifacts`], [`graphs`], [`health`]: the routes; [`openapi`] describes them.
//! 4. [`conditional`], [`archive`]: what is sent; [`problem`]: what goes wrong.

pub mod embeddings;
pub mod archive;
pub mod artifacts;
pub mod body;
pub mod conditional;
pub mod desk;
pub mod documents;
pub mod events;
pub mod extract;
pub mod follow;
pub mod gateway;
pub mod graphs;
pub mod guard;
pub mod health;
pub mod idempotency;
pub mod jobs;
pub mod logs;
pub mod metrics;
pub mod observe;
pub mod openapi;
pub mod problem;
pub mod retry;
pub mod server;
pub mod stages;

use std::fs::File;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::gateway::Gateway;
use self::problem::Problem;
use crate::error::{Error, ErrorKind, Result};
use crate::handlers::CATALOG;
use crate::handlers::executor::reap_orphans;
use crate::launch::Launch;
use crate::settings::{Settings, variable};
use crate::store::{Store, make_private_folder};

/// The port that the gateway listens on if none is given.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(
    std::net::Ipv4Addr::LOCALHOST,
    7070,
));

/// How long a gateway that is to end at once tries to let go of its runs.
const LAST_WORD: Duration = Duration::from_millis(500);

/// Serves the gateway until SIGINT or SIGTERM; runs that are under way then go on at the next start.
///
/// # Errors
/// The address is not loopback or is taken, the store cannot be opened, or another gateway serves the same folder.
pub async fn serve(settings: Settings, address: SocketAddr) -> Result<()> {
    let listener = server::bind(address).await?;
    // With port 0, the system chooses: what is told is what was bound.
    let address = listener.local_addr().unwrap_or(address);
    let _lock = only_gateway(&settings)?;
    let store = Store::open(&settings.store()).await?;
    store.check().await?;
    tokio::spawn(reap(settings.clone()));
    let gateway = Gateway::new(Launch::new(settings, store, CATALOG, variable));
    gateway.recover().await?;
    let stop = CancellationToken::new();
    let (signals, last) = (stop.clone(), gateway.clone());
    tokio::spawn(async move {
        wait_for_signal().await;
        signals.cancel();
        // The second one waits for nothing but word to the other gateways.
        wait_for_signal().await;
        let _ = tokio::time::timeout(LAST_WORD, last.release()).await;
        std::process::exit(1);
    });
    // For the person who started it; a program reads the log.
    eprintln!("relvec listens on http://{address}; GET /openapi.json describes it");
    tracing::info!(%address, "the gateway listens");
    serve_on(listener, gateway, stop).await;
    Ok(())
}

/// Removes the containers that a gateway before this one left behind, if it made any.
async fn reap(settings: Settings) {
    match reap_orphans(&settings.cache(), |run| settings.artifacts(run)).await {
        Ok(reaped) => {
            for container in reaped {
                tracing::warn!(container, "removed, its gateway is gone");
            }
        }
        Err(error) => tracing::warn!(%error, "containers of an earlier gateway may still be there"),
    }
}

/// Serves a gateway on a socket until it is told to stop, then puts its runs back.
pub async fn serve_on(
    listener: tokio::net::TcpListener,
    gateway: Gateway,
    stop: CancellationToken,
) {
    let draining = async {
        stop.cancelled().await;
        gateway.drain().await;
    };
    tokio::join!(
        server::run(listener, router(gateway.clone()), stop.clone()),
        draining,
        gateway.run(),
        health::watch_graphs(gateway.clone())
    );
}

/// Gives the gateway's routes.
pub fn router(gateway: Gateway) -> Router {
    Router::new()
        .route("/jobs", post(jobs::submit).get(jobs::list))
        .route("/jobs/{run_id}", get(jobs::show))
        .route("/jobs/{run_id}/events", get(events::stream))
        .route("/jobs/{run_id}/cancel", post(jobs::cancel))
        .route("/jobs/{run_id}/answers", post(jobs::answer).get(jobs::form))
        .route("/jobs/{run_id}/retry", post(retry::retry))
        .route("/jobs/{run_id}/stages/{stage}", get(stages::explain))
        .route("/jobs/{run_id}/logs", get(logs::logs))
        .route("/artifacts/{run_id}", get(artifacts::list))
        .route("/artifacts/{run_id}/{name}", get(artifacts::download))
        .route("/graphs", get(graphs::list))
        .route("/graphs/validate", post(graphs::validate))
        .route("/graphs/{name}", get(graphs::show))
        .route("/graphs/{name}/plan", post(graphs::plan))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::show))
        .route("/openapi.json", get(openapi::document))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn(guard::loopback_only))
        .layer(from_fn_with_state(gateway.clone(), observe::observe))
        .with_state(gateway)
}

async fn no_route(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}"))
        .hint("GET /openapi.json lists what there is")
}

async fn no_method(method: Method, uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{path} does not take {method}"),
    )
    .hint("GET /openapi.json lists what there is")
}

/// Two gateways in one folder would take each other's files for their own.
fn only_gateway(settings: &Settings) -> Result<File> {
    make_private_folder(&settings.home)?;
    let path = settings.home.join("gateway.lock");
    let file = File::create(&path).map_err(|error| {
        Error::new(
            ErrorKind::Configuration,
            format!("cannot write {}", path.display()),
        )
        .because(error)
        .hint("set RELVEC_HOME to a folder that relvec may write to")
    })?;
    file.try_lock().map_err(|_| {
        Error::new(
            ErrorKind::Conflict,
            format!("another gateway serves {}", settings.home.display()),
        )
        .hint("stop it, or set RELVEC_HOME to another folder")
    })?;
    Ok(file)
}

async fn wait_for_signal() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        // Without signal handlers the system's own apply: the process just ends.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(test)]
mod tests;

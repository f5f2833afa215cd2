//! The gateway: relvec over HTTP. Routes plan, start and stream; they decide nothing.
//!
//! 1. [`server`]: sockets and limits; [`observe`], [`guard`] and [`access`]: what surrounds each request, and who may pass; [`extract`], [`body`], [`idempotency`]: what
//!    comes in.
//! 2. [`gateway`]: the runs that this process executes; [`desk`]: what the routes share beside them ([`follow`], [`documents`], [`metrics`]).
//! 3. [`jobs`], [`retry`], [`stages`], [`events`], [`logs`], [`artifacts`], [`graphs`], [`health`]: the routes; [`openapi`] describes them.
//! 4. [`conditional`], [`archive`]: what is sent; [`problem`]: what goes wrong.

pub mod access;
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
mod stalled;
pub mod stages;

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tower_http::cors::{AllowOrigin, CorsLayer};

use self::access::Door;
use self::gateway::Gateway;
use self::guard::Guard;
use self::problem::Problem;
use self::server::Limits;
use crate::allowed::{Allowed, Lists, Rules};
use crate::error::{Error, ErrorKind, Result};
use crate::handlers::CATALOG;
use crate::handlers::executor::reap_orphans;
use crate::launch::Launch;
use crate::model::job::ExecutionMode;
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
/// The address is taken, or is not loopback and there is no token; a setting is wrong; the store cannot be opened, or another
/// gateway serves the same folder.
pub async fn serve(mut settings: Settings, address: SocketAddr) -> Result<()> {
    // What the operator lists is offered wherever the gateway listens.
    if !address.ip().is_loopback() && variable("RELVEC_EXECUTION_MODES").is_none() {
        settings.runs.modes.remove(&ExecutionMode::Process);
    }
    let allowed = Allowed::by(rules(&settings)?);
    let _lock = only_gateway(&settings)?;
    let store = Store::open(&settings.store()).await?;
    store.check().await?;
    let access = &settings.access;
    let door = Door::open(store.clone(), access, allowed.clone(), address.ip()).await?;
    let listener = server::bind(address).await?;
    // With port 0, the system chooses: what is told is what was bound.
    let address = listener.local_addr().unwrap_or(address);
    tokio::spawn(reap(settings.clone()));
    let gateway = Gateway::new(Launch::new(settings, store, CATALOG, variable).within(allowed));
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
    serve_on(listener, gateway, door, stop).await;
    Ok(())
}

/// Reads what callers' jobs may reach.
fn rules(settings: &Settings) -> Result<Rules> {
    let access = &settings.access;
    Rules::read(&Lists {
        hosts: access.hosts.as_deref(),
        folders: &access.folders,
        variables: &access.variables,
        images: &access.images,
        networks: &access.networks,
        process: settings.runs.modes.contains(&ExecutionMode::Process),
    })
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
    door: Door,
    stop: CancellationToken,
) {
    let settings = &gateway.launch().settings().access;
    let limits = Limits::of(settings.connections);
    let address = listener.local_addr();
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let guard = Guard::new(settings, address.map_or(loopback, |address| address.ip()));
    let routes = router(gateway.clone(), door, guard);

    let draining = async {
        stop.cancelled().await;
        gateway.drain().await;
    };
    tokio::join!(
        server::run(listener, routes, limits, stop.clone()),
        draining,
        gateway.run(),
        health::watch_graphs(gateway.clone())
    );
}

/// Gives the gateway's routes, behind what keeps requests out.
pub fn router(gateway: Gateway, door: Door, guard: Guard) -> Router {
    let access = &gateway.launch().settings().access;
    let (time, origins) = (access.request_time, cross_origin(&access.origins));
    let routes = Router::new()
        .route("/jobs", post(jobs::submit).get(jobs::list))
        .route("/jobs/{run_id}", get(jobs::show))
        .route("/jobs/{run_id}/events", get(events::stream))
        .route("/jobs/{run_id}/cancel", post(jobs::cancel))
        .route("/jobs/{run_id}/answers", post(jobs::answer).get(jobs::form))
        .route("/jobs/{run_id}/retry", post(retry::retry))
        .route("/jobs/{run_id}/validate", post(retry::validate))
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
        .layer(from_fn_with_state(door, access::authorize))
        .layer(from_fn_with_state(time, in_time))
        .layer(from_fn_with_state(guard, guard::known_names))
        .layer(from_fn_with_state(gateway.clone(), observe::observe));
    match origins {
        Some(origins) => routes.layer(origins).with_state(gateway),
        None => routes.with_state(gateway),
    }
}

/// Ends what takes too long until its answer begins.
async fn in_time(State(most): State<Duration>, request: Request, next: Next) -> Response {
    tokio::time::timeout(most, next.run(request))
        .await
        .unwrap_or_else(|_| {
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("the request took longer than {} s", most.as_secs()),
            )
            .hint("ask for the run: what was asked for may have happened")
            .header(header::RETRY_AFTER, "5")
            .into_response()
        })
}

/// Lets pages of the listed origins ask; nothing where there is none.
fn cross_origin(origins: &[String]) -> Option<CorsLayer> {
    let origins = origins.iter().filter_map(|origin| origin.parse().ok());
    let origins: Vec<HeaderValue> = origins.collect();
    let headers = |names: &[&'static str]| -> Vec<HeaderName> {
        let names = names.iter();
        names.map(|name| HeaderName::from_static(name)).collect()
    };
    let asked = headers(&[
        "authorization",
        "content-type",
        "idempotency-key",
        "if-none-match",
        "last-event-id",
        "range",
        "x-request-id",
    ]);
    let shown = headers(&[
        "content-range",
        "etag",
        "link",
        "location",
        "retry-after",
        "www-authenticate",
        "x-request-id",
    ]);
    (!origins.is_empty()).then(|| {
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_methods([Method::GET, Method::POST])
            .allow_headers(asked)
            .expose_headers(shown)
    })
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

//! Whether the gateway lives, and whether it can take jobs.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::Serialize;

use super::access::Access;
use super::gateway::Gateway;
use super::problem::Problem;
use crate::access::Scope;

/// How often graph files are looked at where nobody asks for them, so that one that breaks has its last good form.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What a gateway that takes jobs says of itself.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Readiness {
    /// Always `ready`: a gateway that is not answers with a problem.
    status: &'static str,
    /// How many graphs have files with defects now. They keep nobody from running others.
    broken: usize,
    /// Which ones; only who may read graphs is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    broken_graphs: Option<Vec<BrokenGraph>>,
}

/// A graph whose file has defects now.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BrokenGraph {
    /// Its name.
    name: String,
    /// Whether new runs get the graph as it was when it was sound last; else no run can have it.
    keeps_last_good: bool,
}

/// Says that the process answers.
#[utoipa::path(get, path = "/healthz", tag = "operation",
    responses((status = 200, description = "it does", body = String, content_type = "text/plain")))]
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// Says whether jobs are taken: the store answers and the gateway is not about to stop.
#[utoipa::path(get, path = "/readyz", tag = "operation",
    responses(
        (status = 200, description = "they are; graphs whose files have defects are counted, and listed for who may read graphs", body = ref("#/components/schemas/Readiness")),
        (status = 503, description = "they are not", body = ref("#/components/schemas/Problem"))))]
pub(super) async fn ready(
    State(gateway): State<Gateway>,
    access: Option<Extension<Access>>,
) -> Result<Json<Readiness>, Problem> {
    if gateway.draining().is_cancelled() {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the gateway is about to stop",
        ));
    }
    gateway.launch().store().ping().await?;
    let graphs = gateway.desk().shelf().list().into_iter();
    let broken = graphs.filter(|graph| graph.defect.is_some());
    let broken = broken.map(|graph| BrokenGraph {
        keeps_last_good: graph.ready.is_some(),
        name: graph.name,
    });
    let broken: Vec<BrokenGraph> = broken.collect();
    let may_read = access.is_some_and(|Extension(access)| access.allows(Scope::Read));
    Ok(Json(Readiness {
        status: "ready",
        broken: broken.len(),
        broken_graphs: may_read.then_some(broken),
    }))
}

/// Keeps the graphs as their files are, until the gateway stops.
pub async fn watch_graphs(gateway: Gateway) {
    loop {
        gateway.desk().shelf().refresh();
        tokio::select! {
            () = gateway.draining().cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

//! `/jobs/{run_id}/retry`: a new run that does again what a run left.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;

use super::access::Access;
use super::extract::Segments;
use super::gateway::Gateway;
use super::jobs::id;
use super::problem::Problem;
use super::{body, idempotency};
use crate::launch::retry::{Retried, RetryRequest, Wanted};
use crate::store::Origin;

/// What of a run is done again; `{}` for what did not end well and what depends on it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRetry {
    /// These stages and what depends on them.
    #[serde(default)]
    from: Vec<String>,
    /// These stages and no other.
    #[serde(default)]
    only: Vec<String>,
    /// Whether to go on with the graph as it is now, where it changed since.
    #[serde(default)]
    accept_drift: bool,
}

/// Retries a run that is over: a new run takes over what ended well and does the rest again. It is durable before the answer is
/// sent.
#[utoipa::path(post, path = "/jobs/{run_id}/retry", tag = "jobs",
    params(("run_id" = String, Path, description = "the run that is over"),
           ("Idempotency-Key" = Option<String>, Header, description = "makes the retry safe to repeat")),
    request_body(content = ref("#/components/schemas/NewRetry"), content_type = "application/json"),
    responses(
        (status = 202, description = "accepted; `Location` names the new run", body = ref("#/components/schemas/RunDocument"),
            headers(("Location" = String, description = "the new run's address"))),
        (status = 404, description = "there is no such run or stage", body = ref("#/components/schemas/Problem")),
        (status = 409, description = "the run is not over, nothing is left to do, or its graph changed (`diff` says how)",
            body = ref("#/components/schemas/Problem")),
        (status = 422, description = "the graph has defects now", body = ref("#/components/schemas/Problem")),
        (status = 429, description = "too many runs are queued; `Retry-After` says when to ask again",
            body = ref("#/components/schemas/Problem")),
        (status = 507, description = "the disk of the run store is full", body = ref("#/components/schemas/Problem"))))]
pub(super) async fn retry(
    State(gateway): State<Gateway>,
    access: Access,
    Segments(run_id): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let run_id = id(&run_id)?;
    let NewRetry {
        from,
        only,
        accept_drift,
    } = body::read(&headers, body).await?;
    let key = idempotency::key(&headers)?;
    gateway.admit().await?;
    let launch = gateway.launch();
    let Retried { accepted, notes } = launch
        .accept_retry(RetryRequest {
            run_id,
            wanted: Wanted::new(&from, &only)?,
            accept_drift,
            tenant: access.tenant(),
            origin: Origin::Gateway,
            idempotency_key: key.as_deref(),
        })
        .await?;
    let new = accepted.run_id;
    for note in notes {
        tracing::warn!(run_id = %new, retry_of = %run_id, "{note}");
    }
    gateway.begin(accepted);
    let document = launch.store().document(new).await?;
    let location = [(header::LOCATION, format!("/jobs/{new}"))];
    Ok((StatusCode::ACCEPTED, location, Json(document)).into_response())
}

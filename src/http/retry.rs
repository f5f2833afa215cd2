//! `/jobs/{run_id}/retry` and `/jobs/{run_id}/validate`: a new run that does again what a run left, or compares source and target once more.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::access::Access;
use super::extract::Segments;
use super::gateway::Gateway;
use super::jobs::{begun, id};
use super::problem::Problem;
use super::{body, idempotency};
use crate::launch::prepare_within;
use crate::launch::retry::{Retried, RetryRequest, ValidationRequest, Wanted};
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

/// What a validation needs beside the run that it is of; `{}` for nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewValidation {
    /// The job with its connection strings, where passwords stood in the earlier one itself: no run keeps them.
    #[serde(default)]
    input: Option<Value>,
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
    begun(&gateway, accepted).await
}

/// Compares source and target of an earlier run as they are now, in a run of its own, of the graph `revalidate`. It is durable before the
/// answer is sent.
#[utoipa::path(post, path = "/jobs/{run_id}/validate", tag = "jobs",
    params(("run_id" = String, Path, description = "the run that generated code"),
           ("Idempotency-Key" = Option<String>, Header, description = "makes the validation safe to repeat")),
    request_body(content = ref("#/components/schemas/NewValidation"), content_type = "application/json"),
    responses(
        (status = 202, description = "accepted; `Location` names the new run", body = ref("#/components/schemas/RunDocument"),
            headers(("Location" = String, description = "the new run's address"))),
        (status = 404, description = "there is no such run", body = ref("#/components/schemas/Problem")),
        (status = 409, description = "the run is being executed, or generated no code", body = ref("#/components/schemas/Problem")),
        (status = 422, description = "the job is wrong, or is of another source or target", body = ref("#/components/schemas/Problem")),
        (status = 429, description = "too many runs are queued; `Retry-After` says when to ask again",
            body = ref("#/components/schemas/Problem")),
        (status = 507, description = "the disk of the run store is full", body = ref("#/components/schemas/Problem"))))]
pub(super) async fn validate(
    State(gateway): State<Gateway>,
    Segments(run_id): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let run_id = id(&run_id)?;
    let NewValidation { input } = body::read(&headers, body).await?;
    let key = idempotency::key(&headers)?;
    let launch = gateway.launch();
    let job = input.map(|input| prepare_within(&input, launch.variables(), launch.allowed()));
    let job = job.transpose()?;
    gateway.admit().await?;
    let accepted = launch.accept_validation(ValidationRequest {
        run_id,
        job,
        origin: Origin::Gateway,
        idempotency_key: key.as_deref(),
    });
    begun(&gateway, accepted.await?).await
}

//! `/jobs/{run_id}/stages/{stage}` and `/jobs/{run_id}/logs`: what a run recorded about its stages.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gateway::Gateway;
use super::jobs::id;
use super::problem::Problem;
use crate::graph::explain::Explanation;
use crate::model::run::LogLine;

const DEFAULT_LINES: u32 = 500;
const MOST_LINES: u32 = 5_000;

/// Which lines of a log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    stage: Option<String>,
    after: Option<i64>,
    limit: Option<u32>,
}

/// A page of a run's log, oldest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LogPage {
    /// The lines.
    lines: Vec<LogLine>,
    /// Gives the next page as `after`; null where there is no more for now.
    next: Option<i64>,
}

/// Says why a stage has the status it has: its edges and conditions with the values that they read, its attempts, its output.
#[utoipa::path(get, path = "/jobs/{run_id}/stages/{stage}", tag = "jobs",
    params(("run_id" = String, Path, description = "the run"),
           ("stage" = String, Path, description = "the stage's id")),
    responses(
        (status = 200, description = "what is recorded about the stage", body = ref("#/components/schemas/Explanation")),
        (status = 404, description = "there is no such run or stage", body = ref("#/components/schemas/Problem"))))]
pub(super) async fn explain(
    State(gateway): State<Gateway>,
    Path((run_id, stage)): Path<(String, String)>,
) -> Result<Json<Explanation>, Problem> {
    let explanation = gateway.launch().explain(id(&run_id)?, &stage).await?;
    Ok(Json(explanation))
}

/// Gives the lines that a run's stages wrote.
#[utoipa::path(get, path = "/jobs/{run_id}/logs", tag = "jobs",
    params(("run_id" = String, Path, description = "the run"),
           ("stage" = Option<String>, Query, description = "only the lines of this stage"),
           ("after" = Option<i64>, Query, description = "`next` of the page before"),
           ("limit" = Option<u32>, Query, description = "1 to 5000; 500 if absent")),
    responses(
        (status = 200, description = "a page", body = ref("#/components/schemas/LogPage")),
        (status = 404, description = "there is no such run", body = ref("#/components/schemas/Problem"))))]
pub(super) async fn logs(
    State(gateway): State<Gateway>,
    Path(run_id): Path<String>,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Result<Json<LogPage>, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    let Query(query) = query.map_err(|error| bad(error.body_text()))?;
    let limit = query.limit.unwrap_or(DEFAULT_LINES);
    if !(1..=MOST_LINES).contains(&limit) {
        return Err(bad(format!("`limit` is 1 to {MOST_LINES}")));
    }
    let store = gateway.launch().store();
    let after = query.after.unwrap_or(0);
    let mut lines = store
        .logs(id(&run_id)?, query.stage.as_deref(), after, limit + 1)
        .await?;
    let more = lines.len() > limit as usize;
    lines.truncate(limit as usize);
    let next = lines.last().filter(|_| more).map(|line| line.seq);
    Ok(Json(LogPage { lines, next }))
}

//! `/jobs/{run_id}/stages/{stage}`: what a run recorded about a stage.

use axum::Json;
use axum::extract::State;

use super::extract::Segments;
use super::gateway::Gateway;
use super::jobs::id;
use super::problem::Problem;
use crate::graph::explain::Explanation;

/// Says why a stage has the status it has: its edges and conditions with the values that they read, its attempts, its output.
#[utoipa::path(get, path = "/jobs/{run_id}/stages/{stage}", tag = "jobs",
    params(("run_id" = String, Path, description = "the run"),
           ("stage" = String, Path, description = "the stage's id")),
    responses(
        (status = 200, description = "what is recorded about the stage", body = ref("#/components/schemas/Explanation")),
        (status = 404, description = "there is no such run or stage", body = ref("#/components/schemas/Problem"))))]
pub(super) async fn explain(
    State(gateway): State<Gateway>,
    Segments((run_id, stage)): Segments<(String, String)>,
) -> Result<Json<Explanation>, Problem> {
    let explanation = gateway.launch().explain(id(&run_id)?, &stage).await?;
    Ok(Json(explanation))
}

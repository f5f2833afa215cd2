//! Whether the gateway lives, and whether it can take jobs.

use axum::extract::State;
use axum::http::StatusCode;

use super::gateway::Gateway;
use super::problem::Problem;

/// Says that the process answers.
#[utoipa::path(get, path = "/healthz", tag = "health",
    responses((status = 200, description = "it does", content_type = "text/plain")))]
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// Says whether jobs are taken: the store answers and the gateway is not about to stop.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses(
        (status = 200, description = "they are", content_type = "text/plain"),
        (status = 503, description = "they are not", body = ref("#/components/schemas/Problem"))))]
pub(super) async fn ready(State(gateway): State<Gateway>) -> Result<&'static str, Problem> {
    if gateway.draining().is_cancelled() {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the gateway is about to stop",
        ));
    }
    gateway.launch().store().ping().await?;
    Ok("ok\n")
}

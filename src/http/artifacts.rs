//! `/artifacts`: the generated files of a run.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::gateway::Gateway;
use super::jobs::id;
use super::problem::Problem;
use crate::error::{Error, ErrorKind};
use crate::graph::event::Artifact;

/// Lists the generated files of a run.
#[utoipa::path(get, path = "/artifacts/{run_id}", tag = "artifacts",
    params(("run_id" = String, Path, description = "the run")),
    responses(
        (status = 200, description = "the files, by name", body = ref("#/components/schemas/Artifacts")),
        (status = 404, description = "there is no such run", body = ref("#/components/schemas/Problem"))))]
pub(super) async fn list(
    State(gateway): State<Gateway>,
    Path(run_id): Path<String>,
) -> Result<Json<Vec<Artifact>>, Problem> {
    let run_id = id(&run_id)?;
    let store = gateway.launch().store();
    store.status(run_id).await?;
    Ok(Json(store.artifacts(run_id).await?))
}

/// Gives a generated file.
#[utoipa::path(get, path = "/artifacts/{run_id}/{name}", tag = "artifacts",
    params(("run_id" = String, Path, description = "the run"),
           ("name" = String, Path, description = "the file")),
    responses(
        (status = 200, description = "the file's bytes", content_type = "application/octet-stream"),
        (status = 304, description = "the file is the one in `If-None-Match`"),
        (status = 404, description = "there is no such run or file", body = ref("#/components/schemas/Problem"))))]
pub(super) async fn download(
    State(gateway): State<Gateway>,
    Path((run_id, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let run_id = id(&run_id)?;
    let launch = gateway.launch();
    launch.store().status(run_id).await?;
    // Only a name that a run recorded becomes a path, so no name leads out of the folder.
    let recorded = launch.store().artifacts(run_id).await?;
    let artifact = recorded
        .into_iter()
        .find(|artifact| artifact.name == name)
        .ok_or_else(|| {
            let shown: String = name.chars().take(100).collect();
            Error::new(
                ErrorKind::NotFound,
                format!("run {run_id} has no file `{shown}`"),
            )
            .hint(format!("GET /artifacts/{run_id} lists its files"))
        })?;
    let tag = format!("\"{}\"", artifact.sha256);
    if headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes())
    {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    let bytes = launch.read_file(run_id, &artifact).await?;
    let headers = [
        (
            header::CONTENT_TYPE,
            content_type(&artifact.name).to_owned(),
        ),
        (header::ETAG, tag),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{}\"", artifact.name),
        ),
    ];
    Ok((headers, Body::from(bytes)).into_response())
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, end)| end) {
        Some("json") => "application/json",
        Some("py") => "text/x-python; charset=utf-8",
        Some(_) | None => "text/plain; charset=utf-8",
    }
}

//! `/graphs`: what can be run, and checks of graph files.
//!
//! A graph that a caller sends is only checked: no program and no request in it is ever started. What runs are the graphs that stand on
//! this machine, by their names.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::body;
use super::gateway::Gateway;
use super::problem::Problem;
use crate::launch::graphs::{self as shelf, GraphOrigin};

/// A graph in the list.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GraphName {
    /// Its name.
    name: String,
    /// Where it came from.
    origin: GraphOrigin,
}

/// A graph file to check.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GraphText {
    /// What diagnostics call the file.
    #[serde(default = "default_file")]
    file: String,
    /// The TOML.
    text: String,
}

fn default_file() -> String {
    "graph.toml".to_owned()
}

/// What a check found.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Findings {
    /// Whether the graph can run.
    valid: bool,
    /// Its errors and warnings, each with its place; empty if there are none.
    diagnostics: Value,
}

/// Lists the graphs that a job can name.
#[utoipa::path(get, path = "/graphs", tag = "graphs",
    responses((status = 200, description = "the graphs, by name", body = ref("#/components/schemas/Graphs"))))]
pub(super) async fn list(State(gateway): State<Gateway>) -> Json<Vec<GraphName>> {
    let graphs = shelf::list(gateway.launch().settings());
    Json(
        graphs
            .into_iter()
            .map(|(name, origin)| GraphName { name, origin })
            .collect(),
    )
}

/// Gives a graph's TOML.
#[utoipa::path(get, path = "/graphs/{name}", tag = "graphs",
    params(("name" = String, Path, description = "the graph")),
    responses(
        (status = 200, description = "the file", content_type = "application/toml"),
        (status = 404, description = "there is no such graph", body = ref("#/components/schemas/Problem"))))]
pub(super) async fn show(
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let graph = shelf::named(&name, gateway.launch().settings())?;
    let headers = [
        (header::CONTENT_TYPE, "application/toml"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, graph.bytes).into_response())
}

/// Checks a graph file: everything that is wrong with it at once.
#[utoipa::path(post, path = "/graphs/validate", tag = "graphs",
    request_body(content = ref("#/components/schemas/GraphText"), content_type = "application/json"),
    responses((status = 200, description = "what was found", body = ref("#/components/schemas/Findings"))))]
pub(super) async fn validate(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Findings>, Problem> {
    let GraphText { file, text } = body::read(&headers, body).await?;
    Ok(Json(match gateway.launch().check(&file, &text) {
        Ok(plan) => Findings {
            valid: true,
            diagnostics: plan.warnings().to_json(),
        },
        Err(diagnostics) => Findings {
            valid: false,
            diagnostics: diagnostics.to_json(),
        },
    }))
}

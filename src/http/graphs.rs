//! `/graphs`: what can be run, and checks of graph files.
//!
//! A graph that a caller sends is only checked: no program and no request in it is ever started. What runs are the graphs that stand on
//! this machine, by their names.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::body;
use super::conditional::{answer, tag};
use super::extract::Segments;
use super::gateway::Gateway;
use super::problem::Problem;
use crate::error::{Error, ErrorKind};
use crate::graph::diagnostic::Diagnostic;
use crate::graph::preview::{Preview, preview};
use crate::launch::graphs::{self, GraphOrigin};
use crate::launch::prepare_within;
use crate::launch::shelf::{Defect, Shelved, Unusable};
use crate::store::sha256;

/// A graph in the list.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GraphName {
    /// Its name.
    name: String,
    /// Where it came from.
    origin: GraphOrigin,
    /// What it does, for people.
    description: Option<String>,
    /// SHA-256 of the file that new runs get, and its tag; null where no run can have it.
    sha256: Option<String>,
    /// What is wrong with the file as it is now, if something is. Where it was sound before, new runs get it as it was then.
    defect: Option<GraphDefect>,
}

/// What is wrong with a graph's file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GraphDefect {
    /// In one line.
    summary: String,
    /// Its errors and warnings, each with its place.
    diagnostics: Vec<Diagnostic>,
}

impl From<Shelved> for GraphName {
    fn from(shelved: Shelved) -> Self {
        let ready = shelved.ready.as_deref();
        let defect = shelved.defect.map(|defect| GraphDefect {
            summary: defect.summary(),
            diagnostics: match defect {
                Defect::Unreadable(_) => Vec::new(),
                Defect::Defects(found) => found.all(),
            },
        });
        Self {
            name: shelved.name,
            origin: shelved.origin,
            description: ready.and_then(|ready| ready.plan().description().map(str::to_owned)),
            sha256: ready.map(|ready| ready.sha256.clone()),
            defect,
        }
    }
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
    diagnostics: Vec<Diagnostic>,
}

/// Lists the graphs that a job can name, each as its file is now.
#[utoipa::path(get, path = "/graphs", tag = "graphs",
    params(("If-None-Match" = Option<String>, Header, description = "tags that the client has")),
    responses(
        (status = 200, description = "the graphs, by name", body = ref("#/components/schemas/Graphs"),
            headers(("ETag" = String, description = "the tag of this list"))),
        (status = 304, description = "the list is one that `If-None-Match` names")))]
pub(super) async fn list(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let graphs = gateway.desk().shelf().list();
    let graphs: Vec<GraphName> = graphs.into_iter().map(GraphName::from).collect();
    let body = serde_json::to_vec(&graphs)
        .map_err(|error| Error::new(ErrorKind::Internal, "a list is not JSON").because(error))?;
    let tag = tag(&sha256(&body));
    Ok(answer(&headers, &tag, &[], "application/json", body))
}

/// Gives a graph's TOML, as new runs get it. Where the file was never sound, it is what stands there.
#[utoipa::path(get, path = "/graphs/{name}", tag = "graphs",
    params(("name" = String, Path, description = "the graph"),
           ("If-None-Match" = Option<String>, Header, description = "tags that the client has")),
    responses(
        (status = 200, description = "the file", body = String, content_type = "application/toml",
            headers(("ETag" = String, description = "the file's tag, made of its SHA-256"))),
        (status = 304, description = "the file is one that `If-None-Match` names"),
        (status = 404, description = "there is no such graph", body = ref("#/components/schemas/Problem"))))]
pub(super) async fn show(
    State(gateway): State<Gateway>,
    Segments(name): Segments<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let bytes = match gateway.desk().shelf().get(&name) {
        Ok(ready) => ready.source.bytes.clone(),
        Err(Unusable::Defects(_)) => graphs::named(&name, gateway.launch().settings())?.bytes,
        Err(Unusable::Error(error)) => return Err(error.into()),
    };
    let tag = tag(&sha256(&bytes));
    Ok(answer(&headers, &tag, &[], "application/toml", bytes))
}

/// Says for each stage of a graph what a run with a job would do: whether it runs, is skipped or is decided at run time, and why.
/// Nothing runs, and no database is read.
#[utoipa::path(post, path = "/graphs/{name}/plan", tag = "graphs",
    params(("name" = String, Path, description = "the graph")),
    request_body(content = ref("#/components/schemas/JobInput"), content_type = "application/json"),
    responses(
        (status = 200, description = "the stages, upstream first", body = ref("#/components/schemas/Previews")),
        (status = 404, description = "there is no such graph", body = ref("#/components/schemas/Problem")),
        (status = 422, description = "the job or the graph is wrong", body = ref("#/components/schemas/Problem"))))]
pub(super) async fn plan(
    State(gateway): State<Gateway>,
    Segments(name): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Vec<Preview>>, Problem> {
    let job: Value = body::read(&headers, body).await?;
    let ready = gateway.desk().shelf().get(&name)?;
    let launch = gateway.launch();
    let job = prepare_within(&job, launch.variables(), launch.allowed())?;
    let plan = ready.select(&job.input.selection())?;
    let input = serde_json::to_value(&job.input)
        .map_err(|error| Error::new(ErrorKind::Internal, "the job is not JSON").because(error))?;
    Ok(Json(preview(&plan, &input)))
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
            diagnostics: plan.warnings().all(),
        },
        Err(diagnostics) => Findings {
            valid: false,
            diagnostics: diagnostics.all(),
        },
    }))
}

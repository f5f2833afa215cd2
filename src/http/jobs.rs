//! `/jobs`: submit, list, show, cancel, answer.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::form_urlencoded;
use uuid::Uuid;

use super::access::Access;
use super::extract::{Asked, Segments};
use super::gateway::Gateway;
use super::problem::Problem;
use super::{body, idempotency};
use crate::error::{Error, ErrorKind};
use crate::graph::event::{Question, RunStatus};
use crate::launch::{Accepted, Request, prepare_within};
use crate::model::run::{RunDocument, RunSummary};
use crate::store::{Origin, RunFilter};

const DEFAULT_LIMIT: u32 = 50;
const MOST_LIMIT: u32 = 200;

/// Most characters of who decides.
const MOST_NAME: usize = 200;

/// A job to submit.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// The graph's name.
    #[serde(default = "default_graph")]
    graph: String,
    /// The job, as `schemas/job.json` describes it.
    input: Value,
}

fn default_graph() -> String {
    "default".to_owned()
}

/// An answer to an open question.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAnswer {
    /// The question's id.
    question: String,
    /// One of its choices.
    choice: String,
    /// Who decides. Where tokens are asked for, the token's name says it, and this is kept beside it.
    #[serde(default)]
    by: Option<String>,
}

/// Which runs are listed, and where a page of them begins.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    limit: Option<u32>,
    cursor: Option<String>,
    after: Option<String>,
    status: Option<RunStatus>,
    graph: Option<String>,
}

/// A page of runs, newest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RunPage {
    /// The runs.
    pub runs: Vec<RunSummary>,
    /// Gives the next page as `cursor`; null where this is the last.
    pub next: Option<Uuid>,
}

/// Submits a job. The run is durable before the answer is sent.
#[utoipa::path(post, path = "/jobs", tag = "jobs",
    params(("Idempotency-Key" = Option<String>, Header, description = "makes the submission safe to repeat: a quoted string")),
    request_body(content = ref("#/components/schemas/Submission"), content_type = "application/json"),
    responses(
        (status = 202, description = "accepted; `Location` names the run", body = ref("#/components/schemas/RunDocument"),
            headers(("Location" = String, description = "the run's address"))),
        (status = 404, description = "there is no such graph", body = ref("#/components/schemas/Problem")),
        (status = 409, description = "the key was used for another request", body = ref("#/components/schemas/Problem")),
        (status = 422, description = "the job or the graph is wrong", body = ref("#/components/schemas/Problem")),
        (status = 429, description = "too many runs are queued; `Retry-After` says when to ask again",
            body = ref("#/components/schemas/Problem")),
        (status = 507, description = "the disk of the run store is full", body = ref("#/components/schemas/Problem"))))]
pub(super) async fn submit(
    State(gateway): State<Gateway>,
    access: Access,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Submission { graph, input } = body::read(&headers, body).await?;
    let key = idempotency::key(&headers)?;
    let launch = gateway.launch();
    let graph = gateway.desk().shelf().get(&graph)?;
    let job = prepare_within(&input, launch.variables(), launch.allowed())?;
    graph.check(&job.input.selection())?;
    gateway.admit().await?;
    let accepted = launch
        .accept(Request {
            graph: &graph,
            job,
            tenant: access.tenant(),
            origin: Origin::Gateway,
            idempotency_key: key.as_deref(),
        })
        .await?;
    begun(&gateway, accepted).await
}

/// Answers with a run that was accepted.
pub(super) async fn begun(gateway: &Gateway, accepted: Accepted) -> Result<Response, Problem> {
    let run_id = accepted.run_id;
    let document = match gateway.begin(accepted) {
        Some(document) => document,
        None => gateway.launch().store().document(run_id).await?,
    };
    let location = [(header::LOCATION, format!("/jobs/{run_id}"))];
    Ok((StatusCode::ACCEPTED, location, Json(document)).into_response())
}

/// Lists runs, newest first.
#[utoipa::path(get, path = "/jobs", tag = "jobs",
    params(("limit" = Option<u32>, Query, description = "1 to 200; 50 if absent", minimum = 1, maximum = 200),
           ("cursor" = Option<String>, Query, description = "`next` of the page before"),
           ("after" = Option<String>, Query, description = "only runs that were accepted after this one"),
           ("status" = Option<String>, Query, description = "only runs with this status"),
           ("graph" = Option<String>, Query, description = "only runs of this graph")),
    responses((status = 200, description = "a page", body = ref("#/components/schemas/RunPage"),
        headers(("Link" = String, description = "the next page, with `rel=\"next\"`; absent where this is the last")))))]
pub(super) async fn list(
    State(gateway): State<Gateway>,
    access: Access,
    Asked(page): Asked<Page>,
    uri: Uri,
) -> Result<Response, Problem> {
    let limit = page.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MOST_LIMIT).contains(&limit) {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            format!("`limit` is 1 to {MOST_LIMIT}"),
        ));
    }
    let filter = RunFilter {
        tenant: Some(access.tenant().to_owned()),
        status: page.status,
        graph: page.graph,
        before: page.cursor.as_deref().map(cursor).transpose()?,
        after: page.after.as_deref().map(cursor).transpose()?,
    };
    let store = gateway.launch().store();
    let mut runs = store.list_filtered(&filter, limit + 1).await?;
    let more = runs.len() > limit as usize;
    runs.truncate(limit as usize);
    let next = runs.last().filter(|_| more).map(|run| run.run_id);
    let link = next.map(|next| [(header::LINK, next_link(&uri, next))]);
    Ok((link, Json(RunPage { runs, next })).into_response())
}

fn cursor(text: &str) -> Result<Uuid, Problem> {
    Uuid::parse_str(text).map_err(|_| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "`cursor` and `after` are ids of runs",
        )
        .hint("take `cursor` from `next` of the page before")
    })
}

/// The address of the next page: that of this one, with another cursor.
fn next_link(uri: &Uri, next: Uuid) -> String {
    let asked = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(asked.filter(|(name, _)| name != "cursor"));
    query.append_pair("cursor", &next.to_string());
    format!("</jobs?{}>; rel=\"next\"", query.finish())
}

/// Shows a run.
#[utoipa::path(get, path = "/jobs/{run_id}", tag = "jobs",
    params(("run_id" = String, Path, description = "the run")),
    responses(
        (status = 200, description = "the run", body = ref("#/components/schemas/RunDocument")),
        (status = 404, description = "there is no such run", body = ref("#/components/schemas/Problem"))))]
pub(super) async fn show(
    State(gateway): State<Gateway>,
    Segments(run_id): Segments<String>,
) -> Result<Response, Problem> {
    let store = gateway.launch().store();
    let documents = gateway.desk().documents();
    let document = documents.get(store, id(&run_id)?).await?;
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok((json, document).into_response())
}

/// Cancels a run; cancelling it again changes nothing.
#[utoipa::path(post, path = "/jobs/{run_id}/cancel", tag = "jobs",
    params(("run_id" = String, Path, description = "the run")),
    responses(
        (status = 200, description = "the run as it is now", body = ref("#/components/schemas/RunDocument")),
        (status = 404, description = "there is no such run", body = ref("#/components/schemas/Problem")),
        (status = 409, description = "it ended otherwise", body = ref("#/components/schemas/Problem"))))]
pub(super) async fn cancel(
    State(gateway): State<Gateway>,
    Segments(run_id): Segments<String>,
) -> Result<Json<RunDocument>, Problem> {
    let run_id = id(&run_id)?;
    gateway.cancel(run_id).await?;
    Ok(Json(gateway.launch().store().document(run_id).await?))
}

/// Answers an open question of a waiting run; after the last one that it waited for, it goes on.
#[utoipa::path(post, path = "/jobs/{run_id}/answers", tag = "jobs",
    params(("run_id" = String, Path, description = "the run")),
    request_body(content = ref("#/components/schemas/NewAnswer"), content_type = "application/json"),
    responses(
        (status = 200, description = "the run as it is now", body = ref("#/components/schemas/RunDocument")),
        (status = 404, description = "there is no such run or question", body = ref("#/components/schemas/Problem")),
        (status = 409, description = "the run does not wait, or has another answer", body = ref("#/components/schemas/Problem")),
        (status = 422, description = "the choice is not offered", body = ref("#/components/schemas/Problem"))))]
pub(super) async fn answer(
    State(gateway): State<Gateway>,
    access: Access,
    Segments(run_id): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<RunDocument>, Problem> {
    let run_id = id(&run_id)?;
    let NewAnswer {
        question,
        choice,
        by,
    } = body::read(&headers, body).await?;
    let by = who(&access, by)?;
    gateway.answer(run_id, &question, &choice, &by).await?;
    Ok(Json(gateway.launch().store().document(run_id).await?))
}

/// Says who decides: whoever holds the token, in the name of whom they say; without tokens, whom they say.
fn who(access: &Access, said: Option<String>) -> Result<String, Problem> {
    let name = access.name();
    let is_wrong = |said: &String| said.trim().is_empty() || said.chars().count() > MOST_NAME;
    if said.as_ref().map_or(name.is_none(), is_wrong) {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("`by` names who decides, in at most {MOST_NAME} characters"),
        ));
    }
    Ok(match (name, said) {
        (None, said) => said.unwrap_or_default(),
        (Some(name), Some(said)) if said != name => format!("{name}, for {said:?}"),
        (Some(name), _) => name,
    })
}

/// Gives the form of the answers that a run waits for: a JSON Schema of what the same address takes by POST, with one alternative an
/// open question.
#[utoipa::path(get, path = "/jobs/{run_id}/answers", tag = "jobs",
    params(("run_id" = String, Path, description = "the run")),
    responses(
        (status = 200, description = "a JSON Schema; nothing fits it where no question is open", body = ref("#/components/schemas/Form")),
        (status = 404, description = "there is no such run", body = ref("#/components/schemas/Problem"))))]
pub(super) async fn form(
    State(gateway): State<Gateway>,
    access: Access,
    Segments(run_id): Segments<String>,
) -> Result<Json<Value>, Problem> {
    let run = gateway.launch().store().document(id(&run_id)?).await?;
    let mut required = vec!["question", "choice"];
    if access.name().is_none() {
        required.push("by");
    }
    Ok(Json(form_of(&run.open_questions, &required)))
}

fn form_of(questions: &[Question], required: &[&str]) -> Value {
    let alternative = |question: &Question| {
        let mut choice = json!({"enum": question.choices});
        if let Some(default) = &question.default {
            choice["default"] = json!(default);
        }
        json!({
            "title": question.text,
            "type": "object",
            "required": required,
            "additionalProperties": false,
            "properties": {
                "question": {"const": question.id},
                "choice": choice,
                "by": {"type": "string", "minLength": 1, "maxLength": MOST_NAME},
            },
        })
    };
    let mut form = json!({"$schema": "https://json-schema.org/draft/2020-12/schema"});
    if questions.is_empty() {
        form["not"] = json!({});
    } else {
        form["oneOf"] = questions.iter().map(alternative).collect();
    }
    form
}

/// Reads a run's id from a path. A text that is no id names no run.
pub(super) fn id(text: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(text).map_err(|_| {
        let shown: String = text.chars().take(60).collect();
        Error::new(ErrorKind::NotFound, format!("there is no run {shown}"))
            .hint("GET /jobs shows the runs that there are")
            .into()
    })
}

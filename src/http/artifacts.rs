//! `/artifacts`: the generated files of a run, one by one or as an archive.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::Response;
use tokio::runtime::Handle;
use uuid::Uuid;

use super::archive;
use super::conditional::{answer, answer_part, is_known, tag};
use super::extract::Segments;
use super::gateway::Gateway;
use super::jobs::id;
use super::problem::Problem;
use crate::error::{Error, ErrorKind};
use crate::graph::event::Artifact;
use crate::store::sha256;

/// What the address of an archive ends in.
const ARCHIVE: &str = ".tar.gz";

/// Lists the generated files of a run.
#[utoipa::path(get, path = "/artifacts/{run_id}", tag = "artifacts",
    params(("run_id" = String, Path, description = "the run"),
           ("If-None-Match" = Option<String>, Header, description = "tags that the client has")),
    responses(
        (status = 200, description = "the files, by name", body = ref("#/components/schemas/Artifacts"),
            headers(("ETag" = String, description = "the tag of this list"))),
        (status = 304, description = "the list is one that `If-None-Match` names"),
        (status = 404, description = "there is no such run", body = ref("#/components/schemas/Problem"))))]
pub(super) async fn list(
    State(gateway): State<Gateway>,
    Segments(run_id): Segments<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(run_id) = run_id.strip_suffix(ARCHIVE) {
        return pack(&gateway, id(run_id)?, &headers).await;
    }
    let files = recorded(&gateway, id(&run_id)?).await?;
    let body = serde_json::to_vec(&files)
        .map_err(|error| Error::new(ErrorKind::Internal, "a list is not JSON").because(error))?;
    let tag = tag(&sha256(&body));
    Ok(answer(&headers, &tag, &[], "application/json", body))
}

/// Gives all generated files of a run in one archive, `run_id/name` each: the same files give the same bytes.
#[utoipa::path(get, path = "/artifacts/{run_id}.tar.gz", tag = "artifacts",
    params(("run_id" = String, Path, description = "the run"),
           ("If-None-Match" = Option<String>, Header, description = "tags that the client has")),
    responses(
        (status = 200, description = "the archive", body = Vec<u8>, content_type = "application/gzip",
            headers(("ETag" = String, description = "the tag of these files"))),
        (status = 304, description = "the files are those that `If-None-Match` names"),
        (status = 404, description = "there is no such run", body = ref("#/components/schemas/Problem"))))]
#[expect(
    dead_code,
    reason = "the router takes no suffix of a parameter: `list` is asked, and this describes it"
)]
pub(super) fn archived() {}

async fn pack(gateway: &Gateway, run_id: Uuid, headers: &HeaderMap) -> Result<Response, Problem> {
    let files = recorded(gateway, run_id).await?;
    let tag = tag(&archive::hash(run_id, &files));
    let named = attachment(&format!("{run_id}{ARCHIVE}"));
    let content_type = "application/gzip";
    if is_known(headers, &tag) {
        return Ok(answer(headers, &tag, &[named], content_type, ()));
    }
    let (gateway, runtime) = (gateway.clone(), Handle::current());
    // The archive is made on a thread of its own, which can wait for each file.
    let body = archive::body(run_id, files, move |file| {
        let read = read(&gateway, run_id, file);
        runtime.block_on(read).map_err(std::io::Error::other)
    });
    Ok(answer(headers, &tag, &[named], content_type, body))
}

/// Gives a generated file, or the part of it that `Range` asks for.
#[utoipa::path(get, path = "/artifacts/{run_id}/{name}", tag = "artifacts",
    params(("run_id" = String, Path, description = "the run"),
           ("name" = String, Path, description = "the file"),
           ("If-None-Match" = Option<String>, Header, description = "tags that the client has"),
           ("Range" = Option<String>, Header, description = "one part, in bytes; what is not understood is ignored"),
           ("If-Range" = Option<String>, Header, description = "the tag of the file that the part is of")),
    responses(
        (status = 200, description = "the file's bytes", body = Vec<u8>, content_type = "application/octet-stream",
            headers(("ETag" = String, description = "the file's tag, made of its SHA-256"))),
        (status = 206, description = "a part of them", body = Vec<u8>, content_type = "application/octet-stream",
            headers(("Content-Range" = String, description = "which part"))),
        (status = 304, description = "the file is one that `If-None-Match` names"),
        (status = 404, description = "there is no such run or file", body = ref("#/components/schemas/Problem")),
        (status = 416, description = "the part lies behind the file's end", body = ref("#/components/schemas/Problem"))))]
pub(super) async fn download(
    State(gateway): State<Gateway>,
    Segments((run_id, name)): Segments<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let run_id = id(&run_id)?;
    // Only a name that a run recorded becomes a path, so no name leads out of the folder.
    let recorded = recorded(&gateway, run_id).await?;
    let artifact = recorded
        .into_iter()
        .find(|artifact| artifact.name == name)
        .ok_or_else(|| unknown(run_id, &name))?;
    let tag = tag(&artifact.sha256);
    let named = attachment(&artifact.name);
    let content_type = content_type(&artifact.name);
    if is_known(&headers, &tag) {
        return Ok(answer(&headers, &tag, &[named], content_type, ()));
    }
    let bytes = read(&gateway, run_id, &artifact).await?;
    answer_part(&headers, &tag, &[named], content_type, Bytes::from(bytes))
}

async fn recorded(gateway: &Gateway, run_id: Uuid) -> Result<Vec<Artifact>, Problem> {
    let store = gateway.launch().store();
    store.status(run_id).await?;
    Ok(store.artifacts(run_id).await?)
}

/// Reads a recorded file, as it was recorded: its tag and the run's report are about those bytes.
async fn read(gateway: &Gateway, run_id: Uuid, file: &Artifact) -> Result<Vec<u8>, Error> {
    let bytes = gateway.launch().read_file(run_id, file).await?;
    if sha256(&bytes) != file.sha256 {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!(
                "the file `{}` of run {run_id} was changed since the run wrote it",
                file.name
            ),
        )
        .hint("retry the run: what wrote the file runs again"));
    }
    Ok(bytes)
}

fn unknown(run_id: Uuid, name: &str) -> Error {
    let shown: String = name.chars().take(100).collect();
    Error::new(
        ErrorKind::NotFound,
        format!("run {run_id} has no file `{shown}`"),
    )
    .hint(format!("GET /artifacts/{run_id} lists its files"))
}

fn attachment(name: &str) -> (HeaderName, String) {
    let value = format!("attachment; filename=\"{name}\"");
    (header::CONTENT_DISPOSITION, value)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, end)| end) {
        Some("json") => "application/json",
        Some("py") => "text/x-python; charset=utf-8",
        Some(_) | None => "text/plain; charset=utf-8",
    }
}

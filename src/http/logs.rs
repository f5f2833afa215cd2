//! `/jobs/{run_id}/logs`: the lines that a run's stages wrote, by pages, from the end, or as they come.

use std::collections::VecDeque;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures::stream::{Stream, try_unfold};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::access::Access;
use super::events::{last_seen, sse};
use super::extract::{Asked, Segments};
use super::follow::Follower;
use super::gateway::Gateway;
use super::jobs::id;
use super::problem::Problem;
use crate::error::{Error, ErrorKind, Result as Done};
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
    tail: Option<u32>,
    follow: Option<bool>,
}

/// A page of a run's log, oldest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct LogPage {
    /// The lines.
    pub lines: Vec<LogLine>,
    /// Gives the next page as `after`; null where there is no more for now.
    pub next: Option<i64>,
}

/// Gives the lines that a run's stages wrote: a page of them, the last ones, or (`follow`) as server-sent events until the run is over.
#[utoipa::path(get, path = "/jobs/{run_id}/logs", tag = "jobs",
    params(("run_id" = String, Path, description = "the run"),
           ("stage" = Option<String>, Query, description = "only the lines of this stage"),
           ("after" = Option<i64>, Query, description = "`next` of the page before", minimum = 0),
           ("limit" = Option<u32>, Query, description = "1 to 5000; 500 if absent, and none with `follow`", minimum = 1, maximum = 5000),
           ("tail" = Option<u32>, Query, description = "the last of these lines instead of the first, 1 to 5000", minimum = 1, maximum = 5000),
           ("follow" = Option<bool>, Query, description = "whether to send lines as they come"),
           ("Last-Event-ID" = Option<i64>, Header, description = "with `follow`: the last line that was seen", minimum = 0)),
    responses(
        (status = 200, description = "a page; with `follow` events, each with a line's `seq` as `id` and a line as `data`",
            body = ref("#/components/schemas/LogPage")),
        (status = 204, description = "with `follow`: the run is over, and nothing comes behind `Last-Event-ID`"),
        (status = 404, description = "there is no such run", body = ref("#/components/schemas/Problem"))))]
pub(super) async fn logs(
    State(gateway): State<Gateway>,
    access: Access,
    Segments(run_id): Segments<String>,
    Asked(query): Asked<LogQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    check(&query)?;
    let seen = last_seen(&headers)?;
    let run_id = id(&run_id)?;
    if query.follow.unwrap_or_default() {
        return follow(&gateway, access, run_id, query, seen).await;
    }
    let store = gateway.launch().store();
    let stage = query.stage.as_deref();
    let after = query.after.unwrap_or(0);
    if let Some(tail) = query.tail {
        let most = tail.min(query.limit.unwrap_or(tail));
        let lines = store.log_tail(run_id, stage, after, most).await?;
        return Ok(Json(LogPage { lines, next: None }).into_response());
    }
    let limit = query.limit.unwrap_or(DEFAULT_LINES);
    let mut lines = store.logs(run_id, stage, after, limit + 1).await?;
    let more = lines.len() > limit as usize;
    lines.truncate(limit as usize);
    let next = lines.last().filter(|_| more).map(|line| line.seq);
    Ok(Json(LogPage { lines, next }).into_response())
}

fn check(query: &LogQuery) -> Result<(), Problem> {
    let bad = |detail: String| Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    for (name, count) in [("limit", query.limit), ("tail", query.tail)] {
        if count.is_some_and(|count| !(1..=MOST_LINES).contains(&count)) {
            return bad(format!("`{name}` is 1 to {MOST_LINES}"));
        }
    }
    if query.after.is_some_and(|after| after < 0) {
        return bad("`after` is a number from 0".to_owned());
    }
    Ok(())
}

/// Lines that are there, then those to come.
struct Lines {
    ready: VecDeque<LogLine>,
    follower: Follower,
    stage: Option<String>,
}

async fn follow(
    gateway: &Gateway,
    access: Access,
    run_id: Uuid,
    query: LogQuery,
    seen: Option<i64>,
) -> Result<Response, Problem> {
    let store = gateway.launch().store();
    let stage = query.stage;
    let ready = match query.tail {
        // A client that comes back wants what it missed, not the last lines once more.
        Some(tail) if seen.is_none() => {
            let after = query.after.unwrap_or(0);
            store
                .log_tail(run_id, stage.as_deref(), after, tail)
                .await?
        }
        Some(_) | None => Vec::new(),
    };
    let status = store.status(run_id).await?;
    if let Some(seen) = seen
        && status.is_terminal()
        && store
            .logs(run_id, stage.as_deref(), seen, 1)
            .await?
            .is_empty()
    {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let last = ready.last().map(|line| line.seq);
    let last = seen.or(last).or(query.after).unwrap_or_default();
    let desk = gateway.desk();
    let followers = desk.metrics().followers();
    let lines = Lines {
        ready: ready.into(),
        follower: desk.tails().follow(run_id, last, followers).await?,
        stage,
    };
    Ok(sse(lines.events(), access))
}

impl Lines {
    fn events(self) -> impl Stream<Item = Done<Event>> + Send + 'static {
        try_unfold(self, |mut lines| async move {
            let Some(line) = lines.next().await? else {
                return Ok(None);
            };
            let event = Event::default().id(line.seq.to_string());
            let event = event.json_data(&line).map_err(|error| {
                Error::new(ErrorKind::Internal, "a line of a log is not JSON").because(error)
            })?;
            Ok(Some((event, lines)))
        })
    }

    async fn next(&mut self) -> Done<Option<LogLine>> {
        if let Some(line) = self.ready.pop_front() {
            return Ok(Some(line));
        }
        while let Some(event) = self.follower.next().await? {
            let is_wanted = |line: &LogLine| {
                let stage = self.stage.as_ref();
                stage.is_none_or(|stage| *stage == line.stage)
            };
            if let Some(line) = event.log_line()?.filter(is_wanted) {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }
}

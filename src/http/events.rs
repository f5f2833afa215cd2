//! `/jobs/{run_id}/events`: what happens in a run, as it happens.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use futures::stream::{Stream, try_unfold};
use serde::Deserialize;

use super::access::Access;
use super::extract::{Asked, Segments};
use super::gateway::Gateway;
use super::jobs::id;
use super::problem::Problem;
use crate::error::Result as Done;

/// How often a stream says that it is still there, where nothing else is to say.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Until when events are sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    follow: Option<bool>,
}

/// Streams a run's events (server-sent events): all so far, or those after `Last-Event-ID`, then new ones until the run is over. A
/// client that was cut off comes back with the number of the last event that it saw, and misses none and sees none twice.
#[utoipa::path(get, path = "/jobs/{run_id}/events", tag = "jobs",
    params(("run_id" = String, Path, description = "the run"),
           ("follow" = Option<bool>, Query, description = "whether to wait for new events; `true` if absent"),
           ("Last-Event-ID" = Option<i64>, Header, description = "the last event that was seen, from 0", minimum = 0)),
    responses(
        (status = 200, description = "the events; each has its number as `id` and one of `schemas/event.json` as `data`",
            body = String, content_type = "text/event-stream"),
        (status = 204, description = "the run is over, and `Last-Event-ID` was its last event: there is nothing to come back for"),
        (status = 404, description = "there is no such run", body = ref("#/components/schemas/Problem"))))]
pub(super) async fn stream(
    State(gateway): State<Gateway>,
    access: Access,
    Segments(run_id): Segments<String>,
    Asked(EventsQuery { follow }): Asked<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let run_id = id(&run_id)?;
    let store = gateway.launch().store();
    let status = store.status(run_id).await?;
    let seen = last_seen(&headers)?;
    if let Some(seen) = seen
        && status.is_terminal()
        && store.last_event(run_id).await? <= seen
    {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let desk = gateway.desk();
    let last = seen.unwrap_or_default();
    let followers = desk.metrics().followers();
    let follower = desk.tails().follow(run_id, last, followers).await?;
    let waits = follow.unwrap_or(true);
    let events = try_unfold(follower, move |mut follower| async move {
        let event = if waits {
            follower.next().await?
        } else {
            follower.next_recorded().await?
        };
        Ok(event.map(|event| {
            let sent = Event::default().id(event.seq.to_string());
            (sent.data(&event.event), follower)
        }))
    });
    Ok(sse(events, access))
}

/// Sends a stream of events, with a sign of life now and then, as long as whoever asked for it would be let in.
pub(super) fn sse(
    events: impl Stream<Item = Done<Event>> + Send + 'static,
    access: Access,
) -> Response {
    let events = events.take_until(Box::pin(access.ended()));
    let alive = KeepAlive::new().interval(HEARTBEAT);
    Sse::new(events).keep_alive(alive).into_response()
}

/// Reads the number of the last event that a client saw, if it says so.
pub(super) fn last_seen(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seen = is_number.then(|| text.parse().ok()).flatten();
    seen.map(Some).ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, "Last-Event-ID is a number from 0")
            .hint("it is the `id` of the last event that was seen")
    })
}

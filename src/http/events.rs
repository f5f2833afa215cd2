//! `/jobs/{run_id}/events`: what happens in a run, as it happens.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::stream::{Stream, unfold};
use uuid::Uuid;

use super::gateway::Gateway;
use super::jobs::id;
use super::problem::Problem;
use crate::store::StoredEvent;

/// How often the store is asked for more. Asking, not being told, lets one stream follow a run of any process.
const EVERY: Duration = Duration::from_millis(250);

/// The most events that are read at once.
const BATCH: u32 = 256;

struct Cursor {
    gateway: Gateway,
    run_id: Uuid,
    last: i64,
    ready: VecDeque<StoredEvent>,
}

/// Streams a run's events (server-sent events): all so far, or those after `Last-Event-ID`, then new ones until the run is over.
#[utoipa::path(get, path = "/jobs/{run_id}/events", tag = "jobs",
    params(("run_id" = String, Path, description = "the run"),
           ("Last-Event-ID" = Option<i64>, Header, description = "the last event that was seen")),
    responses(
        (status = 200, description = "the events", content_type = "text/event-stream"),
        (status = 404, description = "there is no such run", body = ref("#/components/schemas/Problem"))))]
pub(super) async fn stream(
    State(gateway): State<Gateway>,
    Path(run_id): Path<String>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let run_id = id(&run_id)?;
    gateway.launch().store().status(run_id).await?;
    let last = match headers.get("last-event-id") {
        None => 0,
        Some(value) => value
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok())
            .filter(|last| *last >= 0)
            .ok_or_else(|| {
                Problem::new(StatusCode::BAD_REQUEST, "Last-Event-ID is a number from 0")
            })?,
    };
    let cursor = Cursor {
        gateway,
        run_id,
        last,
        ready: VecDeque::new(),
    };
    let events = unfold(cursor, |mut cursor| async move {
        let event = cursor.next().await?;
        Some((Ok(event), cursor))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

impl Cursor {
    /// Gives the next event; none once the run is over, the store fails or the gateway stops.
    async fn next(&mut self) -> Option<Event> {
        let store = self.gateway.launch().store().clone();
        loop {
            if let Some(stored) = self.ready.pop_front() {
                self.last = stored.seq;
                return Some(
                    Event::default()
                        .id(stored.seq.to_string())
                        .data(stored.event),
                );
            }
            // Read before the events, so that a run that ends in between is looked at once more.
            let status = store.status(self.run_id).await.ok()?;
            let events = store.events(self.run_id, self.last, BATCH).await.ok()?;
            if events.is_empty() {
                if status.is_terminal() {
                    return None;
                }
                tokio::select! {
                    () = tokio::time::sleep(EVERY) => {}
                    () = self.gateway.draining().cancelled() => return None,
                }
            }
            self.ready = events.into();
        }
    }
}

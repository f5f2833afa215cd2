//! What surrounds every request: its id, its place in the log and in the figures, and an answer even where a route panics.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use tracing::Instrument as _;
use uuid::Uuid;

use super::gateway::Gateway;
use super::problem::Problem;

/// The header that carries a request's id, both ways.
pub const REQUEST_ID: &str = "x-request-id";

/// The header of the W3C's trace context, whose trace id is taken where there is no request id.
const TRACEPARENT: &str = "traceparent";

/// The most characters of an id that a client gives.
const MOST_CHARS: usize = 128;

/// What addresses that no route has are counted as.
const NO_ROUTE: &str = "none";

tokio::task_local! {
    static REQUEST: Arc<str>;
}

/// Gives the id of the request that is being answered, if one is.
#[must_use]
pub fn request_id() -> Option<Arc<str>> {
    REQUEST.try_with(Arc::clone).ok()
}

/// Answers a request with its id, whatever happens on the way, and notes that it did.
pub async fn observe(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = id_of(request.headers());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    // Of the highest level, so that what is logged inside has the id whatever is let through.
    let span = tracing::error_span!("request", request_id = %id, %method, route);
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind();
    let answered = async {
        match answered.await {
            Ok(response) => response,
            Err(panic) => panicked(&*panic),
        }
    };
    let mut response = REQUEST
        .scope(Arc::clone(&id), answered.instrument(span.clone()))
        .await;
    let status = response.status();
    let took = began.elapsed();
    let metrics = gateway.desk().metrics();
    metrics.answered(&method, route, status, took);
    span.in_scope(|| {
        let milliseconds = took.as_secs_f64() * 1_000.0;
        tracing::info!(status = status.as_u16(), milliseconds, "answered");
    });
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

fn panicked(panic: &(dyn Any + Send)) -> Response {
    let said = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it did not say why");
    tracing::error!("a route panicked: {said}");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "relvec met a fault of its own",
    )
    .hint("the gateway's log says more, beside the request's id")
    .into_response()
}

/// Gives the id that the client chose, else that of its trace, else a new one.
fn id_of(headers: &HeaderMap) -> Arc<str> {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let given = given.filter(|id| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        (1..=MOST_CHARS).contains(&id.len()) && id.bytes().all(is_plain)
    });
    let traced = || {
        let parent = headers.get(TRACEPARENT)?.to_str().ok()?;
        trace_id(parent)
    };
    match given.or_else(traced) {
        Some(id) => id.into(),
        None => Uuid::now_v7().simple().to_string().into(),
    }
}

/// Gives the trace id of a `traceparent`: `00-<32 hexadecimal digits>-<16>-<2>`, not all zeros.
fn trace_id(parent: &str) -> Option<&str> {
    let mut parts = parent.split('-');
    let (version, id) = (parts.next()?, parts.next()?);
    let (span, flags) = (parts.next()?, parts.next()?);
    let is_hex = |text: &str, digits: usize| {
        text.len() == digits
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let fits = is_hex(version, 2) && is_hex(id, 32) && is_hex(span, 16) && is_hex(flags, 2);
    (fits && version != "ff" && id.bytes().any(|byte| byte != b'0')).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_clients_or_its_traces_or_new() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let parent = format!("00-{trace}-00f067aa0ba902b7-01");
        let long = "i".repeat(129);
        for (id, parent, wanted) in [
            (
                Some("req-1.a:b_C"),
                Some(parent.as_str()),
                Some("req-1.a:b_C"),
            ),
            (None, Some(&parent), Some(trace)),
            (Some("two words"), Some(&parent), Some(trace)),
            (Some(""), None, None),
            (Some(&long), None, None),
            (Some("line\tbreak"), None, None),
            (
                None,
                Some("00-00000000000000000000000000000000-00f067aa0ba902b7-01"),
                None,
            ),
            (
                None,
                Some("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
                None,
            ),
            (
                None,
                Some("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"),
                None,
            ),
            (None, Some("nonsense"), None),
            (None, None, None),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(REQUEST_ID, id), (TRACEPARENT, parent)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            let found = id_of(&headers);
            match wanted {
                Some(wanted) => assert_eq!(&*found, wanted),
                None => assert!(is_new(&found), "{found}"),
            }
        }
    }

    fn is_new(id: &str) -> bool {
        Uuid::parse_str(id).is_ok() && id.len() == 32 && !id.starts_with("4bf9")
    }
}

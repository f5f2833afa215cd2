//! Errors as problem details (RFC 9457).

use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::observe::request_id;
use crate::error::{Error, ErrorKind};
use crate::graph::diagnostic::{Diagnostic, Diagnostics};
use crate::graph::diff::GraphDiff;
use crate::launch::retry::Refusal;
use crate::launch::shelf::Unusable;
use crate::service::redact;

/// When somebody who asked too much may ask again, in seconds.
const RETRY_AFTER: &str = "5";

/// What went wrong with a request; small, since every route's result may be one.
#[derive(Debug, Clone)]
pub struct Problem(Box<Answer>);

#[derive(Debug, Clone)]
struct Answer {
    details: Details,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What a client reads of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct Details {
    /// Always `about:blank`: the status says what sort of problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request.
    detail: String,
    /// Next steps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    hints: Vec<String>,
    /// The defects of a graph file, each with its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnostics: Option<Vec<Diagnostic>>,
    /// What differs between the graph that a run kept and the graph as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<Box<GraphDiff>>,
    /// The request's id, as in the header `X-Request-Id` and in the gateway's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<Arc<str>>,
}

impl Problem {
    /// Makes a problem from its status and what is wrong.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let details = Details {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            hints: Vec::new(),
            diagnostics: None,
            diff: None,
            request_id: None,
        };
        Self(Box::new(Answer {
            details,
            headers: Vec::new(),
        }))
    }

    /// Adds a next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.details.hints.push(hint.into());
        self
    }

    /// Adds a header to the answer; a value that is none is left out.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers.push((name, value));
        }
        self
    }

    /// Gives the HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.0.details.status
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = StatusCode::from_u16(error.kind().http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if error.kind() == ErrorKind::Internal {
            tracing::error!(%error, "a request met a fault of relvec");
        }
        let mut problem = Self::new(status, error.to_string());
        problem.0.details.hints = error.hints().to_vec();
        problem
    }
}

impl From<Diagnostics> for Problem {
    fn from(diagnostics: Diagnostics) -> Self {
        let found = diagnostics.all();
        let count = found.len();
        let defects = if count == 1 { "defect" } else { "defects" };
        let mut problem = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("the graph file has {count} {defects}"),
        );
        problem.0.details.diagnostics = Some(found);
        problem
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Error(error) => error.into(),
            Refusal::Drift(error, diff) => {
                let mut problem = Self::from(error);
                problem.0.details.diff = Some(diff);
                problem
            }
        }
    }
}

impl From<Unusable> for Problem {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::Error(error) => error.into(),
            Unusable::Defects(found) => found.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Answer {
            mut details,
            headers,
        } = *self.0;
        let status =
            StatusCode::from_u16(details.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        details.request_id = request_id();
        redact::clean_in_place(&mut details.detail);
        details.hints.iter_mut().for_each(redact::clean_in_place);
        let body = serde_json::to_vec(&details).unwrap_or_default();
        let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (status, content_type, body).into_response();
        if status == StatusCode::TOO_MANY_REQUESTS {
            let seconds = HeaderValue::from_static(RETRY_AFTER);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        for (name, value) in headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

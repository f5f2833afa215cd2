//! `/metrics`: what the gateway counts, in Prometheus' text format.
//!
//! What ended and what took how long is counted by the process that did it, from 0 at its start. What is open is asked of the store when
//! somebody looks, so that several gateways on one store say the same.

use std::time::Duration;

use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::prometheus_text::{CONTENT_TYPE, encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use serde::Deserialize as _;
use serde_json::Value;

use super::gateway::Gateway;
use super::problem::Problem;
use crate::error::{Error, ErrorKind};
use crate::graph::event::{Event, RunStatus, StageStatus};
use crate::graph::output::{Kind, Output as _};
use crate::model::execution::ExecutionReport;
use crate::store::OpenRuns;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRun {
    graph: String,
    status: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStage {
    graph: String,
    stage: String,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfGraph {
    graph: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRequest {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRoute {
    route: String,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Everything that the gateway counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<OfRequest, Counter>,
    request_seconds: Histograms<OfRoute>,
    followers: Gauge,
    open: Family<OfRun, Gauge>,
    ended: Family<OfRun, Counter>,
    queue_length: Gauge,
    queue_age: Gauge<f64, std::sync::atomic::AtomicU64>,
    stage_seconds: Histograms<OfStage>,
    stage_retries: Family<OfGraph, Counter>,
    embedding_tokens: Family<OfGraph, Counter>,
    embedding_requests: Family<OfGraph, Counter>,
    embedding_retries: Family<OfGraph, Counter>,
    broken_graphs: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let request_seconds: fn() -> Histogram =
            || Histogram::new(exponential_buckets(0.000_5, 4.0, 8));
        let stage_seconds: fn() -> Histogram =
            || Histogram::new(exponential_buckets(0.01, 4.0, 10));
        let mut metrics = Self {
            registry: Registry::with_prefix("relvec"),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(request_seconds),
            followers: Gauge::default(),
            open: Family::default(),
            ended: Family::default(),
            queue_length: Gauge::default(),
            queue_age: Gauge::default(),
            stage_seconds: Family::new_with_constructor(stage_seconds),
            stage_retries: Family::default(),
            embedding_tokens: Family::default(),
            embedding_requests: Family::default(),
            embedding_retries: Family::default(),
            broken_graphs: Gauge::default(),
        };
        metrics.register_runs();
        metrics.register_requests();
        metrics
    }
}

impl Metrics {
    fn register_runs(&mut self) {
        let to = &mut self.registry;
        let open = self.open.clone();
        to.register(
            "runs",
            "Runs in the store that are not over, by graph and status",
            open,
        );
        let ended = self.ended.clone();
        to.register(
            "runs_ended",
            "Executions by this gateway that ended or parked, by graph and status",
            ended,
        );
        let length = self.queue_length.clone();
        to.register("queue_length", "Runs that wait for their turn", length);
        let age = self.queue_age.clone();
        let of_age = "How long ago the longest waiting queued run was accepted";
        to.register_with_unit("queue_age", of_age, Unit::Seconds, age);
        let stages = self.stage_seconds.clone();
        let of_stages = "How long stages took, all attempts, by graph, stage and status";
        to.register_with_unit("stage", of_stages, Unit::Seconds, stages);
        let retries = self.stage_retries.clone();
        to.register(
            "stage_retries",
            "Attempts of stages after the first",
            retries,
        );
        let tokens = self.embedding_tokens.clone();
        to.register(
            "embedding_tokens",
            "Tokens sent to embedding APIs, as they count them",
            tokens,
        );
        let requests = self.embedding_requests.clone();
        to.register(
            "embedding_requests",
            "Requests sent to embedding APIs",
            requests,
        );
        let retries = self.embedding_retries.clone();
        to.register(
            "embedding_retries",
            "Requests sent to embedding APIs again",
            retries,
        );
        let broken = self.broken_graphs.clone();
        to.register("broken_graphs", "Graph files that have defects now", broken);
    }

    fn register_requests(&mut self) {
        let to = &mut self.registry;
        let requests = self.requests.clone();
        to.register(
            "http_requests",
            "Requests answered, by method, route and status",
            requests,
        );
        let seconds = self.request_seconds.clone();
        let of_seconds = "Time to the head of an answer, by route";
        to.register_with_unit("http_request", of_seconds, Unit::Seconds, seconds);
        let followers = self.followers.clone();
        to.register(
            "event_followers",
            "Streams that follow a run now",
            followers,
        );
    }

    /// Counts a request that was answered.
    pub fn answered(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let of_route = OfRoute {
            route: route.to_owned(),
        };
        let seconds = took.as_secs_f64();
        self.request_seconds
            .get_or_create(&of_route)
            .observe(seconds);
        let of_request = OfRequest {
            method: method_name(method),
            route: of_route.route,
            status: status.as_u16(),
        };
        self.requests.get_or_create(&of_request).inc();
    }

    /// Gives the number of streams that follow a run, to count up and down.
    #[must_use]
    pub const fn followers(&self) -> &Gauge {
        &self.followers
    }

    /// Counts what an event of a run of a graph says.
    pub fn happened(&self, graph: &str, event: &Event) {
        let of_graph = || OfGraph {
            graph: graph.to_owned(),
        };
        match event {
            Event::StageFinished {
                stage,
                status,
                seconds,
                kind,
                output,
                ..
            } => {
                let of_stage = OfStage {
                    graph: graph.to_owned(),
                    stage: stage.to_string(),
                    status: status.name(),
                };
                if took_time(*status) {
                    self.stage_seconds
                        .get_or_create(&of_stage)
                        .observe(*seconds);
                }
                if let (Some(kind), Some(output)) = (kind, output) {
                    self.embedded(graph, kind, output);
                }
            }
            Event::StageRetrying { .. } => {
                self.stage_retries.get_or_create(&of_graph()).inc();
            }
            Event::RunFinished { status, .. } => {
                let of_run = OfRun {
                    graph: graph.to_owned(),
                    status: name(*status).to_owned(),
                };
                self.ended.get_or_create(&of_run).inc();
            }
            Event::RunStarted { .. }
            | Event::StageStarted { .. }
            | Event::StageProgress { .. }
            | Event::StageLog { .. }
            | Event::QuestionAsked { .. }
            | Event::ArtifactWritten { .. }
            | Event::EdgeDecided { .. }
            | Event::ConditionEvaluated { .. }
            | Event::EvidenceKept { .. } => {}
        }
    }

    /// Counts what an execution embedded; what a simulation estimates was not sent.
    fn embedded(&self, graph: &str, kind: &Kind, output: &Value) {
        if *kind != ExecutionReport::KIND {
            return;
        }
        let Ok(report) = ExecutionReport::deserialize(output) else {
            return;
        };
        let Some(migration) = report.migration.filter(|_| !report.simulated) else {
            return;
        };
        let of_graph = OfGraph {
            graph: graph.to_owned(),
        };
        for (counter, count) in [
            (&self.embedding_tokens, migration.tokens),
            (&self.embedding_requests, migration.requests),
            (&self.embedding_retries, migration.retries),
        ] {
            counter.get_or_create(&of_graph).inc_by(count);
        }
    }

    /// Gives everything that is counted, as text. The rest is as the store has it now.
    ///
    /// # Errors
    /// A figure cannot be written, which does not happen.
    pub fn text(&self, open: &[OpenRuns], broken_graphs: usize) -> Result<String, Error> {
        self.open.clear();
        let (mut length, mut age) = (0, 0.0_f64);
        for runs in open {
            let of_run = OfRun {
                graph: runs.graph.clone(),
                status: name(runs.status).to_owned(),
            };
            self.open.get_or_create(&of_run).set(runs.count);
            if runs.status == RunStatus::Queued {
                length += runs.count;
                age = age.max(runs.oldest.as_secs_f64());
            }
        }
        self.queue_length.set(length);
        self.queue_age.set(age);
        self.broken_graphs
            .set(i64::try_from(broken_graphs).unwrap_or(i64::MAX));
        let mut text = String::new();
        encode(&mut text, &self.registry).map_err(|error| {
            Error::new(ErrorKind::Internal, "the metrics cannot be written").because(error)
        })?;
        Ok(text)
    }
}

/// Whether a stage ran at all.
const fn took_time(status: StageStatus) -> bool {
    match status {
        StageStatus::Succeeded
        | StageStatus::Failed
        | StageStatus::TimedOut
        | StageStatus::Waiting
        | StageStatus::Cancelled => true,
        StageStatus::Pending
        | StageStatus::Running
        | StageStatus::Skipped
        | StageStatus::NotTaken => false,
    }
}

/// Gives the word of a status.
pub(super) const fn name(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Queued => "queued",
        RunStatus::Running => "running",
        RunStatus::Waiting => "waiting",
        RunStatus::Succeeded => "succeeded",
        RunStatus::Failed => "failed",
        RunStatus::Cancelled => "cancelled",
    }
}

/// Methods that clients make up count as one, so that they cannot make up figures.
fn method_name(method: &Method) -> &'static str {
    let known = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT",
    ];
    let known = known.into_iter().find(|name| *name == method.as_str());
    known.unwrap_or("other")
}

/// Gives the gateway's figures in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "the figures", body = String, content_type = "text/plain")))]
pub(super) async fn show(State(gateway): State<Gateway>) -> Result<Response, Problem> {
    let open = gateway.launch().store().open_runs().await?;
    let desk = gateway.desk();
    let broken = desk.shelf().broken();
    let text = desk.metrics().text(&open, broken)?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::graph::event::Reason;

    fn finished(status: StageStatus, kind: Option<Kind>, output: Option<Value>) -> Event {
        Event::StageFinished {
            stage: "executor".into(),
            status,
            reason: Reason::Ran,
            attempts: 1,
            seconds: 2.0,
            kind,
            output: output.map(Arc::new),
        }
    }

    #[test]
    fn runs_stages_and_embeddings_are_counted() {
        let metrics = Metrics::default();
        let report = |simulated: bool| {
            json!({"mode": "process", "simulated": simulated, "exit_code": 0, "error_lines": [], "seconds": 1.0,
                "migration": {"snapshot_at": "2026-01-01T00:00:00Z", "dimensions": 3, "entities": [], "shard": "1/1",
                    "open_shards": [], "passes": 1, "tokens": 70, "requests": 3, "retries": 2, "seconds": 1.0}})
        };
        for simulated in [false, true] {
            let kind = Some(ExecutionReport::KIND);
            let event = finished(StageStatus::Succeeded, kind, Some(report(simulated)));
            metrics.happened("ours", &event);
        }
        metrics.happened("ours", &finished(StageStatus::Skipped, None, None));
        let ended = Event::RunFinished {
            status: RunStatus::Succeeded,
            error: None,
            seconds: 2.0,
        };
        metrics.happened("ours", &ended);
        let took = Duration::from_millis(3);
        metrics.answered(&Method::GET, "/jobs", StatusCode::OK, took);
        let made_up = Method::from_bytes(b"MADEUP").unwrap();
        metrics.answered(&made_up, "/jobs", StatusCode::METHOD_NOT_ALLOWED, took);
        let open = [OpenRuns {
            graph: "ours".to_owned(),
            status: RunStatus::Queued,
            count: 7,
            oldest: Duration::from_secs(90),
        }];
        let text = metrics.text(&open, 1).unwrap();
        for line in [
            "relvec_runs{graph=\"ours\",status=\"queued\"} 7",
            "relvec_runs_ended_total{graph=\"ours\",status=\"succeeded\"} 1",
            "relvec_queue_length 7",
            "relvec_queue_age_seconds 90",
            "relvec_stage_seconds_count{graph=\"ours\",stage=\"executor\",status=\"succeeded\"} 2",
            "relvec_embedding_tokens_total{graph=\"ours\"} 70",
            "relvec_embedding_requests_total{graph=\"ours\"} 3",
            "relvec_embedding_retries_total{graph=\"ours\"} 2",
            "relvec_broken_graphs 1",
            "relvec_http_requests_total{method=\"GET\",route=\"/jobs\",status=\"200\"} 1",
            "relvec_http_requests_total{method=\"other\",route=\"/jobs\",status=\"405\"} 1",
            "relvec_http_request_seconds_count{route=\"/jobs\"} 2",
        ] {
            assert!(
                text.lines().any(|found| found.starts_with(line)),
                "{line}\n{text}"
            );
        }
        assert!(!text.contains("skipped"), "{text}");
        // What is no longer open is gone.
        assert!(!metrics.text(&[], 0).unwrap().contains("status=\"queued\""));
    }
}

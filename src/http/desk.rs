//! What the routes share beside the runs: the graphs on their shelf, the runs that are followed, what is counted.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::documents::Documents;
use super::follow::Tails;
use super::metrics::{Metrics, name};
use crate::graph::event::{Event, LogLevel, RunStatus};
use crate::launch::Launch;
use crate::launch::shelf::Shelf;
use crate::report::{Report, reason_text};

/// What the routes share beside the runs; clones share it too.
#[derive(Debug, Clone)]
pub struct Desk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shelf: Shelf,
    tails: Tails,
    documents: Documents,
    metrics: Metrics,
}

impl Desk {
    /// Makes a desk; streams end when `draining` is cancelled.
    #[must_use]
    pub fn new(launch: &Launch, draining: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            shelf: Shelf::new(launch),
            tails: Tails::new(launch.store().clone(), draining),
            documents: Documents::default(),
            metrics: Metrics::default(),
        }))
    }

    /// Gives the graphs.
    #[must_use]
    pub fn shelf(&self) -> &Shelf {
        &self.0.shelf
    }

    /// Gives the runs that are followed.
    #[must_use]
    pub fn tails(&self) -> &Tails {
        &self.0.tails
    }

    /// Gives the documents of runs.
    #[must_use]
    pub fn documents(&self) -> &Documents {
        &self.0.documents
    }

    /// Gives what is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Gives who takes the events of a run that is executed here: they are counted and logged.
    #[must_use]
    pub fn reports(&self, run_id: Uuid) -> Vec<Box<dyn Report>> {
        vec![Box::new(Watcher {
            desk: self.clone(),
            run_id,
            graph: String::new(),
        })]
    }
}

struct Watcher {
    desk: Desk,
    run_id: Uuid,
    graph: String,
}

impl Report for Watcher {
    fn event(&mut self, event: &Event) {
        if let Event::RunStarted { graph, .. } = event {
            self.graph.clone_from(graph);
        }
        self.desk.metrics().happened(&self.graph, event);
        log(self.run_id, &self.graph, event);
    }
}

/// Writes an event to the log, with the run's id and the stage's.
fn log(run_id: Uuid, graph: &str, event: &Event) {
    match event {
        Event::RunStarted { .. } => tracing::info!(%run_id, graph, "the run begins"),
        Event::StageStarted { stage, attempt, .. } => {
            tracing::info!(%run_id, graph, %stage, attempt, "the stage begins");
        }
        Event::StageLog { stage, level, line } => log_line(run_id, graph, stage, *level, line),
        Event::StageRetrying {
            stage,
            attempt,
            error,
            delay_seconds,
            ..
        } => {
            tracing::warn!(%run_id, graph, %stage, attempt, delay_seconds, "the attempt failed: {error}");
        }
        Event::QuestionAsked { question } => {
            let (stage, question, text) = (&question.stage, &question.id, &question.text);
            tracing::info!(%run_id, graph, stage, question, "{text}");
        }
        Event::ArtifactWritten { stage, artifact } => {
            tracing::debug!(%run_id, graph, %stage, file = artifact.name, bytes = artifact.bytes, "a file was written");
        }
        Event::StageFinished {
            stage,
            status,
            reason,
            seconds,
            ..
        } => {
            let (status, why) = (status.name(), reason_text(reason));
            if matches!(status, "failed" | "timed_out") {
                tracing::warn!(%run_id, graph, %stage, status, seconds, "the stage ended: {why}");
            } else {
                tracing::info!(%run_id, graph, %stage, status, seconds, "the stage ended: {why}");
            }
        }
        Event::RunFinished {
            status,
            error,
            seconds,
        } => {
            let error = error.as_deref().unwrap_or_default();
            let is_bad = *status == RunStatus::Failed;
            let status = name(*status);
            if is_bad {
                tracing::warn!(%run_id, graph, status, seconds, "the run ended: {error}");
            } else {
                tracing::info!(%run_id, graph, status, seconds, "the run ended: {error}");
            }
        }
        Event::StageProgress { stage, progress } => {
            let (done, unit) = (progress.done, &progress.unit);
            tracing::trace!(%run_id, graph, %stage, done, unit, "progress");
        }
        Event::EdgeDecided { .. }
        | Event::ConditionEvaluated { .. }
        | Event::EvidenceKept { .. } => {}
    }
}

fn log_line(run_id: Uuid, graph: &str, stage: &str, level: LogLevel, line: &str) {
    match level {
        LogLevel::Debug => tracing::debug!(%run_id, graph, stage, "{line}"),
        LogLevel::Info => tracing::info!(%run_id, graph, stage, "{line}"),
        LogLevel::Warn => tracing::warn!(%run_id, graph, stage, "{line}"),
        LogLevel::Error => tracing::error!(%run_id, graph, stage, "{line}"),
    }
}

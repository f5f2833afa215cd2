//! The run document: what `relvec run --format json` prints and `GET /jobs/{id}` answers.
//!
//! It holds no row values and no secrets: of the outputs it shows the two reports only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::execution::ExecutionReport;
use super::validation::{ValidationReport, Verdict};
use crate::error::ErrorKind;
use crate::graph::event::{Artifact, LogLevel, Question, Reason, RunStatus, StageStatus};

/// A stage of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageDocument {
    /// Its id in the graph.
    pub id: String,
    /// Where it stands.
    pub status: StageStatus,
    /// Why; null while it is pending or running.
    pub reason: Option<Reason>,
    /// Attempts made.
    pub attempts: u32,
    /// Seconds from its first attempt's start; null before it ended.
    pub seconds: Option<f64>,
}

/// A run as people and programs see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunDocument {
    /// The run.
    pub run_id: Uuid,
    /// The run that it is a retry of, if it is one.
    #[serde(default)]
    pub retry_of: Option<Uuid>,
    /// Its graph's name.
    pub graph: String,
    /// Where it stands.
    pub status: RunStatus,
    /// Why it did not succeed, in one line.
    pub error: Option<String>,
    /// When it was accepted, in RFC 3339.
    pub created_at: String,
    /// When it first began, in RFC 3339.
    pub started_at: Option<String>,
    /// When it ended for good, in RFC 3339.
    pub finished_at: Option<String>,
    /// Its stages in the plan's order; empty before it began.
    pub stages: Vec<StageDocument>,
    /// Questions without an answer.
    pub open_questions: Vec<Question>,
    /// Generated files, by name.
    pub generated_artifacts: Vec<Artifact>,
    /// What the generated script said it did.
    pub execution_report: Option<ExecutionReport>,
    /// What relvec itself found in source and target.
    pub validation_report: Option<ValidationReport>,
}

impl RunDocument {
    /// Makes the document of a run that was accepted just now.
    #[must_use]
    pub fn queued(run_id: Uuid, graph: String, created_at: String) -> Self {
        Self {
            run_id,
            retry_of: None,
            graph,
            status: RunStatus::Queued,
            error: None,
            created_at,
            started_at: None,
            finished_at: None,
            stages: Vec::new(),
            open_questions: Vec::new(),
            generated_artifacts: Vec::new(),
            execution_report: None,
            validation_report: None,
        }
    }

    /// Gives what kept the run from success; none where it succeeded.
    #[must_use]
    pub fn shortfall(&self) -> Option<ErrorKind> {
        let mismatched = self
            .validation_report
            .as_ref()
            .is_some_and(|report| report.verdict == Verdict::Mismatched);
        match self.status {
            RunStatus::Succeeded => None,
            RunStatus::Waiting => Some(ErrorKind::Waiting),
            RunStatus::Failed if mismatched => Some(ErrorKind::Mismatched),
            RunStatus::Failed | RunStatus::Cancelled | RunStatus::Queued | RunStatus::Running => {
                Some(ErrorKind::Failed)
            }
        }
    }

    /// Gives the exit code of a process that ran it: 0 succeeded, 1 failed, 3 waiting, 4 mismatched.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.shortfall().map_or(0, ErrorKind::exit_code)
    }
}

/// A line of a run's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogLine {
    /// Its number among the run's events.
    pub seq: i64,
    /// When it was recorded, in RFC 3339.
    pub at: String,
    /// The stage that wrote it.
    pub stage: String,
    /// How bad it is.
    pub level: LogLevel,
    /// The line.
    pub line: String,
}

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunSummary {
    /// The run.
    pub run_id: Uuid,
    /// Its graph's name.
    pub graph: String,
    /// Where it stands.
    pub status: RunStatus,
    /// Why it did not succeed, in one line.
    pub error: Option<String>,
    /// When it was accepted, in RFC 3339.
    pub created_at: String,
    /// When it ended for good, in RFC 3339.
    pub finished_at: Option<String>,
}

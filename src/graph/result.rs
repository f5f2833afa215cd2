//! What goes into a run and what comes out of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::context::RunEnvironment;
use super::event::{Artifact, EdgeDecision, Question, Reason, RunStatus, StageStatus};
use super::output::Kind;

/// What a run starts with.
#[derive(Debug, Clone)]
pub struct RunInput {
    /// The graph's input, without secrets.
    pub job: Value,
    /// What all stages share.
    pub environment: RunEnvironment,
    /// What earlier executions of the run recorded; empty for a new run.
    pub recorded: Vec<RecordedStage>,
    /// Questions that earlier executions asked; empty for a new run.
    pub questions: Vec<Question>,
    /// How long earlier executions took: what the deadline has less.
    pub spent: Duration,
}

/// A stage as an earlier execution of the run recorded it. What ended is not run again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedStage {
    /// The stage.
    pub id: String,
    /// Its status, of the stage's last `StageFinished`.
    pub status: StageStatus,
    /// Its reason.
    pub reason: Option<Reason>,
    /// Attempts made.
    pub attempts: u32,
    /// Seconds from its first attempt's start.
    pub seconds: f64,
    /// Its output.
    pub output: Option<Arc<Value>>,
    /// The decisions about the edges that leave it.
    #[serde(default)]
    pub decisions: Vec<EdgeDecision>,
    /// The files that it wrote.
    #[serde(default)]
    pub artifacts: Vec<Artifact>,
    /// Whether it was taken over from another run: then it is kept whatever happens to what is before it.
    #[serde(default)]
    pub reused: bool,
}

impl RecordedStage {
    /// Says whether there is nothing left to do for the stage. What failed has ended if an edge took its failure.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        match self.status {
            StageStatus::Succeeded => self.output.is_some(),
            StageStatus::Skipped | StageStatus::NotTaken => true,
            StageStatus::Failed | StageStatus::TimedOut => {
                self.decisions.iter().any(|decision| decision.taken)
            }
            StageStatus::Pending
            | StageStatus::Running
            | StageStatus::Waiting
            | StageStatus::Cancelled => false,
        }
    }
}

/// What became of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageResult {
    /// The stage.
    pub id: String,
    /// Its status.
    pub status: StageStatus,
    /// Why; absent where it has not been decided.
    pub reason: Option<Reason>,
    /// Attempts made.
    pub attempts: u32,
    /// Seconds from its first attempt's start.
    pub seconds: f64,
}

/// What became of a run.
#[derive(Debug, Clone)]
pub struct RunResult {
    /// The run.
    pub run_id: Uuid,
    /// The graph's name.
    pub graph: String,
    /// Its status.
    pub status: RunStatus,
    /// Why it did not succeed, in one line.
    pub error: Option<String>,
    /// Every stage, upstream first.
    pub stages: Vec<StageResult>,
    /// Every question, answered or not.
    pub questions: Vec<Question>,
    /// Every file, by name in the order in which they were first written.
    pub artifacts: Vec<Artifact>,
    /// The outputs by kind; of two stages that wrote a kind, the later one's.
    pub outputs: BTreeMap<Kind, Arc<Value>>,
    /// Seconds of this execution.
    pub seconds: f64,
}

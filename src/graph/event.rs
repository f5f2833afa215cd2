//! What a run says about itself: one enum, many consumers (terminal, JSON lines, run store, HTTP stream).

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::output::Kind;

/// Where a stage stands. `pending` and `running` are passing; the others are final for this execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StageStatus {
    /// Its in-edges are not all resolved.
    Pending,
    /// An attempt is under way.
    Running,
    /// It wrote its output.
    Succeeded,
    /// Every attempt failed.
    Failed,
    /// The last attempt exceeded its timeout.
    TimedOut,
    /// Its own condition was false, or it failed with `on_error = "skip"`; its out-edges are taken.
    Skipped,
    /// No in-edge was taken.
    NotTaken,
    /// It parked the run for a person.
    Waiting,
    /// The run was cancelled, or failed elsewhere, before it could finish.
    Cancelled,
}

impl StageStatus {
    /// Gives the name that conditions, events and the store use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Skipped => "skipped",
            Self::NotTaken => "not_taken",
            Self::Waiting => "waiting",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Accepted, not started.
    Queued,
    /// Stages are under way.
    Running,
    /// Parked with open questions.
    Waiting,
    /// Every stage that had to run succeeded.
    Succeeded,
    /// A stage failed and no edge leaves it on failure.
    Failed,
    /// Stopped by a person.
    Cancelled,
}

impl RunStatus {
    /// Says whether the status can never change again.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
            Self::Queued | Self::Running | Self::Waiting => false,
        }
    }
}

/// Why a stage has the status it has, for machines; `Display`-like text is made by consumers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Reason {
    /// It ran because an in-edge was taken, or because it is a root.
    Ran,
    /// Its own `when` was false.
    ConditionFalse {
        /// The expression as the graph file has it.
        expression: Arc<str>,
        /// The values that the expression read, by path.
        values: BTreeMap<String, Value>,
    },
    /// It is left out of the run.
    Disabled {
        /// Who leaves it out.
        by: DisabledBy,
    },
    /// It failed and its `on_error` is `skip`.
    ErrorSkipped {
        /// What sort of failure it was.
        class: FailureClass,
        /// The error's text.
        error: String,
    },
    /// No in-edge was taken.
    NoEdgeTaken {
        /// The in-edges, each with why it was not taken.
        edges: Vec<EdgeDecision>,
    },
    /// Its attempts failed.
    Error {
        /// What sort of failure the last one was.
        class: FailureClass,
        /// The error's text.
        error: String,
    },
    /// It waits for answers.
    Parked {
        /// What it waits for.
        message: String,
    },
    /// The run ended before it could run.
    RunEnded {
        /// What ended the run.
        cause: EndCause,
        /// The stage that ended the run, if one did.
        stage: Option<Arc<str>>,
    },
    /// Its output was recorded by an earlier execution of the run.
    Recorded,
    /// It ran in another run, of which this one is a retry, and its output was taken over.
    Reused {
        /// The run in which it ran.
        run_id: Uuid,
    },
}

impl Reason {
    /// Gives the code, as events and documents have it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Ran => "ran",
            Self::ConditionFalse { .. } => "condition_false",
            Self::Disabled { .. } => "disabled",
            Self::ErrorSkipped { .. } => "error_skipped",
            Self::NoEdgeTaken { .. } => "no_edge_taken",
            Self::Error { .. } => "error",
            Self::Parked { .. } => "parked",
            Self::RunEnded { .. } => "run_ended",
            Self::Recorded => "recorded",
            Self::Reused { .. } => "reused",
        }
    }
}

/// Who leaves a stage out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DisabledBy {
    /// The graph file: `disabled = true`.
    Graph,
    /// The job: its `skip` names the stage, or its `only` does not.
    Job,
    /// The retry that made the run: its `only` does not name the stage, which has nothing to take over.
    Retry,
}

/// What sort of failure an attempt ended in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// Another attempt may succeed.
    Transient,
    /// Another attempt would fail the same way.
    Permanent,
    /// It exceeded its timeout.
    Timeout,
    /// The handler panicked.
    Panic,
    /// A condition could not be evaluated.
    Condition,
}

/// What ended a run before its stages did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// A stage failed, or a condition could not be evaluated after it.
    StageFailed,
    /// A person cancelled it.
    Cancelled,
    /// It exceeded its deadline.
    Deadline,
}

/// Whether an edge was taken, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EdgeDecision {
    /// The stage it leaves.
    pub from: Arc<str>,
    /// The stage it enters.
    pub to: Arc<str>,
    /// Whether it was taken.
    pub taken: bool,
    /// The outcome of `from` when it was decided.
    pub outcome: StageStatus,
    /// What decided it.
    pub because: EdgeReason,
}

/// What decided an edge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum EdgeReason {
    /// It has no condition and the outcome is one it is taken on.
    Unconditional,
    /// The outcome is not one it is taken on.
    Outcome,
    /// Its condition was evaluated.
    Condition {
        /// The expression as the graph file has it.
        expression: Arc<str>,
        /// The values that the expression read, by path.
        values: BTreeMap<String, Value>,
    },
    /// Its condition could not be evaluated, which ends the run.
    ConditionFailed {
        /// The expression as the graph file has it.
        expression: Arc<str>,
        /// The values that the expression read, by path.
        values: BTreeMap<String, Value>,
        /// What went wrong.
        error: String,
    },
    /// It leaves a disabled stage, and nothing behind it is enabled: there is nothing to decide.
    NothingEnabled,
    /// It is the `else` edge: taken if none of its siblings was.
    Else {
        /// Whether a sibling was taken.
        sibling_taken: bool,
    },
}

/// A question that a run has for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Its id, unique in the run.
    pub id: String,
    /// The stage that asked; set by the engine.
    #[serde(default)]
    pub stage: String,
    /// What is asked, in one sentence.
    pub text: String,
    /// The answers to choose from.
    pub choices: Vec<String>,
    /// The answer that holds where nobody gives one.
    #[serde(default)]
    pub default: Option<String>,
    /// When the default holds if nobody has answered by then, in RFC 3339; absent where the question waits for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Whether the run must not go on without an answer.
    pub blocking: bool,
}

/// A file that a stage wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Its name in the run's artifact folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes, in lower-case hexadecimal.
    pub sha256: String,
}

/// How far a stage has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all, if known.
    pub total: Option<u64>,
    /// What is counted, in the plural: `documents`.
    pub unit: String,
}

/// How bad a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Of use to a developer.
    Debug,
    /// Of use to a user.
    Info,
    /// Something to look at.
    Warn,
    /// Something failed.
    Error,
}

/// What happened. Times are given by the consumer that records them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run began; `stages` lists every stage in the plan's order.
    RunStarted {
        /// The run.
        run_id: Uuid,
        /// The graph's name.
        graph: String,
        /// Every stage of the plan, in order.
        stages: Vec<Arc<str>>,
    },
    /// An attempt began.
    StageStarted {
        /// The stage.
        stage: Arc<str>,
        /// Counted from 1.
        attempt: u32,
        /// Seconds since it was ready: waiting for a slot, and behind a failed attempt its delay.
        waited_seconds: f64,
    },
    /// A stage reported how far it has come.
    StageProgress {
        /// The stage.
        stage: Arc<str>,
        /// How far.
        progress: Progress,
    },
    /// A stage wrote a line to the run's log.
    StageLog {
        /// The stage.
        stage: Arc<str>,
        /// How bad.
        level: LogLevel,
        /// The line, without its end.
        line: String,
    },
    /// An attempt failed and another follows.
    StageRetrying {
        /// The stage.
        stage: Arc<str>,
        /// The attempt that failed.
        attempt: u32,
        /// What sort of failure it was.
        class: FailureClass,
        /// Its error.
        error: String,
        /// Seconds until the next.
        delay_seconds: f64,
    },
    /// A stage asked something.
    QuestionAsked {
        /// The question.
        question: Question,
    },
    /// A stage wrote a file.
    ArtifactWritten {
        /// The stage.
        stage: Arc<str>,
        /// The file.
        artifact: Artifact,
    },
    /// An edge was decided, once.
    EdgeDecided {
        /// The decision.
        decision: EdgeDecision,
    },
    /// A stage's own condition was evaluated, once its in-edges were resolved.
    ConditionEvaluated {
        /// The stage.
        stage: String,
        /// The expression as the graph file has it.
        expression: Arc<str>,
        /// The values that the expression read, by path.
        values: BTreeMap<String, Value>,
        /// What it gave; null where it could not be evaluated, and the stage fails for it.
        holds: Option<bool>,
    },
    /// A stage that failed and counts as skipped left something behind. It is no output: no stage and no condition reads it.
    EvidenceKept {
        /// The stage.
        stage: String,
        /// The kind that it has the shape of.
        kind: Kind,
        /// What the handler could report.
        evidence: Option<Arc<Value>>,
    },
    /// A stage has its final status for this execution.
    StageFinished {
        /// The stage.
        stage: Arc<str>,
        /// Its status.
        status: StageStatus,
        /// Why.
        reason: Reason,
        /// Attempts made.
        attempts: u32,
        /// Seconds from its first attempt's start.
        seconds: f64,
        /// The kind of its output, if it wrote one.
        kind: Option<Kind>,
        /// Its output, if it wrote one.
        output: Option<Arc<Value>>,
    },
    /// The run ended or parked.
    RunFinished {
        /// Its status.
        status: RunStatus,
        /// Why it did not succeed, in one line.
        error: Option<String>,
        /// Seconds since it began.
        seconds: f64,
    },
}

impl Event {
    /// Gives the event without a stage's output, which may hold rows: what is shown, streamed and listed.
    #[must_use]
    pub fn without_output(&self) -> Self {
        let mut shown = self.clone();
        if let Self::StageFinished { output: rows, .. }
        | Self::EvidenceKept { evidence: rows, .. } = &mut shown
        {
            *rows = None;
        }
        shown
    }
}

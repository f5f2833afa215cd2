//! `[[tests]]` of a graph file: what goes in, what stages are to do, and what has to come out.

use std::fmt;
use std::ops::Range;

use toml::Spanned;

use super::event::{RunStatus, StageStatus};
use super::file::With;

/// An entry of `[[tests]]`.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its name, for people; one in a file.
    pub name: Spanned<String>,
    /// The graph's input: as much of it as conditions read.
    pub input: With,
    /// Stages that the job leaves out.
    pub skip: Vec<Spanned<String>>,
    /// Where there are any, the job leaves all others out.
    pub only: Vec<Spanned<String>>,
    /// What stages do that do not just succeed with an empty output, in the order of the file.
    pub stages: Vec<Mock>,
    /// What has to come out.
    pub expect: Expectation,
}

/// What a stage does in a test.
#[derive(Debug, Clone)]
pub struct Mock {
    /// The stage.
    pub id: Spanned<String>,
    /// How it ends.
    pub outcome: MockOutcome,
    /// What it writes: as much of it as conditions read. Of a stage that fails, what it reports although it failed.
    pub output: Option<With>,
    /// What it asks.
    pub asks: Vec<Asked>,
}

/// How a stage ends in a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MockOutcome {
    /// It writes its output.
    Succeeded,
    /// It fails.
    Failed,
    /// It exceeds its timeout.
    TimedOut,
    /// It parks the run.
    Waiting,
}

impl MockOutcome {
    /// Every outcome, with its name in graph files.
    pub const NAMED: [(&'static str, Self); 4] = [
        ("succeeded", Self::Succeeded),
        ("failed", Self::Failed),
        ("timed_out", Self::TimedOut),
        ("waiting", Self::Waiting),
    ];
}

/// A question that a stage asks in a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its id.
    pub id: String,
    /// Whether the run must not go on without an answer.
    pub blocking: bool,
}

/// What has to come out of a test.
#[derive(Debug, Clone, Default)]
pub struct Expectation {
    /// The run's status.
    pub status: Option<RunStatus>,
    /// Statuses of stages.
    pub stages: Vec<(Spanned<String>, StageStatus)>,
    /// Edges that are taken.
    pub taken: Vec<EdgeName>,
    /// Edges that are not taken.
    pub not_taken: Vec<EdgeName>,
}

impl Expectation {
    /// The statuses that a run can end with in a test.
    pub const RUN: [(&'static str, RunStatus); 3] = [
        ("succeeded", RunStatus::Succeeded),
        ("failed", RunStatus::Failed),
        ("waiting", RunStatus::Waiting),
    ];

    /// The statuses that a stage can have once its run is over or waits.
    pub const STAGE: [StageStatus; 8] = [
        StageStatus::Succeeded,
        StageStatus::Failed,
        StageStatus::TimedOut,
        StageStatus::Skipped,
        StageStatus::NotTaken,
        StageStatus::Waiting,
        StageStatus::Cancelled,
        StageStatus::Pending,
    ];

    /// Says whether nothing is expected: such a test cannot fail.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.status.is_none()
            && self.stages.is_empty()
            && self.taken.is_empty()
            && self.not_taken.is_empty()
    }
}

/// An edge as a test names it: `from -> to`.
#[derive(Debug, Clone)]
pub struct EdgeName {
    /// Where it stands.
    pub span: Range<usize>,
    /// The stage that it leaves.
    pub from: String,
    /// The stage that it enters.
    pub to: String,
}

impl EdgeName {
    /// Reads `from -> to`.
    #[must_use]
    pub fn read(text: &Spanned<String>) -> Option<Self> {
        let (from, to) = text.get_ref().split_once("->")?;
        let (from, to) = (from.trim(), to.trim());
        (!from.is_empty() && !to.is_empty()).then(|| Self {
            span: text.span(),
            from: from.to_owned(),
            to: to.to_owned(),
        })
    }
}

impl fmt::Display for EdgeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.from, self.to)
    }
}

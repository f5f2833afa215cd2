//! What tests cover: every edge taken, every edge with a condition also not taken, and every outcome that the graph distinguishes.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::graph::event::{EdgeReason, Event, Reason, StageStatus};
use crate::graph::outcome::Outcome;
use crate::graph::plan::{Plan, Stage};

/// How much of a graph its tests cover.
#[derive(Debug, Clone, Serialize)]
pub struct Coverage {
    /// Things that a test can cover.
    pub total: usize,
    /// Those of them that one does.
    pub covered: usize,
    /// The share in percent, rounded down to a tenth: 100 means all.
    pub percent: f64,
    /// Those that none does, in the order of the graph.
    pub gaps: Vec<Gap>,
}

/// What no test covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "gap", rename_all = "snake_case")]
pub enum Gap {
    /// No test takes an edge.
    NeverTaken {
        /// The stage it leaves.
        from: String,
        /// The stage it enters.
        to: String,
    },
    /// No test decides the condition of an edge, or its `else`, so that it is not taken.
    AlwaysTaken {
        /// The stage it leaves.
        from: String,
        /// The stage it enters.
        to: String,
    },
    /// In no test a stage ends in a way that the graph distinguishes.
    Outcome {
        /// The stage.
        stage: String,
        /// How it does not end.
        outcome: Distinction,
    },
}

/// How a stage ends, as far as a graph can distinguish it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Distinction {
    /// It wrote its output.
    Succeeded,
    /// It failed, and an edge can take that.
    Failed,
    /// It exceeded its timeout, and an edge can take that.
    TimedOut,
    /// Its `when` was false.
    Skipped,
    /// It failed, and `on_error` skips that.
    ErrorSkipped,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverTaken { from, to } => write!(f, "no test takes {from} -> {to}"),
            Self::AlwaysTaken { from, to } => {
                write!(f, "no test leaves {from} -> {to} untaken by its condition")
            }
            Self::Outcome { stage, outcome } => match outcome {
                Distinction::Succeeded => write!(f, "in no test {stage} succeeds"),
                Distinction::Failed => write!(f, "in no test {stage} fails"),
                Distinction::TimedOut => write!(f, "in no test {stage} times out"),
                Distinction::Skipped => write!(f, "in no test {stage} is skipped by its `when`"),
                Distinction::ErrorSkipped => {
                    write!(
                        f,
                        "in no test {stage} fails and is skipped by its `on_error`"
                    )
                }
            },
        }
    }
}

/// What there is to cover, in the order of the graph, and what is covered so far.
pub(super) struct Covered {
    all: Vec<Gap>,
    seen: BTreeSet<Gap>,
}

impl Covered {
    pub(super) fn of(plan: &Plan) -> Self {
        let mut all = Vec::new();
        for edge in plan.edges() {
            let from = plan.stages()[edge.from].id.to_string();
            let to = plan.stages()[edge.to].id.to_string();
            all.push(Gap::NeverTaken {
                from: from.clone(),
                to: to.clone(),
            });
            if (edge.when.is_some() || edge.otherwise) && !edge.moot {
                all.push(Gap::AlwaysTaken { from, to });
            }
        }
        for stage in plan.stages() {
            all.extend(distinctions(plan, stage).into_iter().map(|outcome| {
                let stage = stage.id.to_string();
                Gap::Outcome { stage, outcome }
            }));
        }
        Self {
            all,
            seen: BTreeSet::new(),
        }
    }

    /// Takes in what happened in a test.
    pub(super) fn observe(&mut self, event: &Event) {
        match event {
            Event::EdgeDecided { decision } => {
                let (from, to) = (decision.from.to_string(), decision.to.to_string());
                if decision.taken {
                    self.seen.insert(Gap::NeverTaken { from, to });
                } else if matches!(
                    decision.because,
                    EdgeReason::Condition { .. } | EdgeReason::Else { .. }
                ) {
                    self.seen.insert(Gap::AlwaysTaken { from, to });
                }
            }
            Event::StageFinished {
                stage,
                status,
                reason,
                ..
            } => {
                let stage = stage.to_string();
                let outcome = distinction(*status, reason);
                let seen = outcome.map(|outcome| Gap::Outcome { stage, outcome });
                self.seen.extend(seen);
            }
            Event::RunStarted { .. }
            | Event::StageStarted { .. }
            | Event::StageProgress { .. }
            | Event::StageLog { .. }
            | Event::StageRetrying { .. }
            | Event::QuestionAsked { .. }
            | Event::ArtifactWritten { .. }
            | Event::ConditionEvaluated { .. }
            | Event::EvidenceKept { .. }
            | Event::RunFinished { .. } => {}
        }
    }

    pub(super) fn finish(self) -> Coverage {
        let Self { all, seen } = self;
        let total = all.len();
        let gaps: Vec<Gap> = all.into_iter().filter(|gap| !seen.contains(gap)).collect();
        let covered = total - gaps.len();
        let tenths = (covered * 1000).checked_div(total).unwrap_or(1000);
        Coverage {
            total,
            covered,
            percent: f64::from(u32::try_from(tenths).unwrap_or(1000)) / 10.0,
            gaps,
        }
    }
}

fn distinctions(plan: &Plan, stage: &Stage) -> Vec<Distinction> {
    if stage.disabled.is_some() {
        return Vec::new();
    }
    let on = |outcome: Outcome| {
        let mut outs = stage.outs.iter();
        outs.any(|&edge| plan.edges()[edge].on.has(outcome))
    };
    let found: Vec<_> = [
        (stage.when.is_some(), Distinction::Skipped),
        (stage.skips_errors, Distinction::ErrorSkipped),
        (on(Outcome::Failed), Distinction::Failed),
        (on(Outcome::TimedOut), Distinction::TimedOut),
    ]
    .into_iter()
    .filter_map(|(is_one, distinction)| is_one.then_some(distinction))
    .collect();
    if found.is_empty() {
        return found;
    }
    [vec![Distinction::Succeeded], found].concat()
}

fn distinction(status: StageStatus, reason: &Reason) -> Option<Distinction> {
    match (status, reason) {
        (StageStatus::Succeeded, _) => Some(Distinction::Succeeded),
        (StageStatus::Failed, _) => Some(Distinction::Failed),
        (StageStatus::TimedOut, _) => Some(Distinction::TimedOut),
        (StageStatus::Skipped, Reason::ConditionFalse { .. }) => Some(Distinction::Skipped),
        (StageStatus::Skipped, Reason::ErrorSkipped { .. }) => Some(Distinction::ErrorSkipped),
        (
            StageStatus::Skipped
            | StageStatus::Pending
            | StageStatus::Running
            | StageStatus::NotTaken
            | StageStatus::Waiting
            | StageStatus::Cancelled,
            _,
        ) => None,
    }
}

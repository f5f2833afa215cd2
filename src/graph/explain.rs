//! Why a stage has the status it has: a fold over what its run recorded, and nothing else.
//!
//! 1. [`History`] takes the events in, with the times at which they were recorded.
//! 2. [`explain`] asks it about one stage, and follows edges back to what is to blame for a stage that did not run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use time::OffsetDateTime;
use uuid::Uuid;

use self::history::{History, Told};
use super::diagnostic::did_you_mean;
use super::event::{
    Artifact, EdgeDecision, EdgeReason, Event, FailureClass, Question, Reason, StageStatus,
};
use super::output::Kind;
use super::plan::Plan;

mod history;

/// What is known about a stage of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// The run.
    pub run_id: Uuid,
    /// The stage.
    pub stage: String,
    /// Where it stands.
    pub status: StageStatus,
    /// Why; null while it is pending or running.
    pub reason: Option<Reason>,
    /// The edges that enter it.
    pub in_edges: Vec<EdgeEvidence>,
    /// Its own condition, where it has one that was evaluated.
    pub condition: Option<ConditionEvidence>,
    /// Its attempts, in the order in which they began, those of earlier executions of the run included.
    pub attempts: Vec<AttemptEvidence>,
    /// Seconds that it waited for a free slot, all executions together.
    pub waited_seconds: f64,
    /// Seconds that its attempts ran, all executions together.
    pub ran_seconds: f64,
    /// The kind of its output, if it wrote one.
    pub wrote: Option<Kind>,
    /// The kind of what it left behind although it failed and counts as skipped. No stage and no condition reads it.
    pub evidence: Option<Kind>,
    /// The files that it wrote.
    pub artifacts: Vec<Artifact>,
    /// The questions that it asked.
    pub questions: Vec<Question>,
    /// The edges that leave it.
    pub out_edges: Vec<EdgeEvidence>,
    /// For a stage that did not run, or not yet: what is to blame, along the edges back to the first cause.
    pub causes: Vec<Cause>,
}

/// An edge of the stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EdgeEvidence {
    /// The stage it leaves.
    pub from: String,
    /// The stage it enters.
    pub to: String,
    /// What was decided, with the condition and the values that it read; null while it is open.
    pub decision: Option<EdgeDecision>,
}

/// A stage's own condition, evaluated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConditionEvidence {
    /// The expression as the graph file has it.
    pub expression: String,
    /// The values that the expression read, by path.
    pub values: BTreeMap<String, Value>,
    /// What it gave; null where it could not be evaluated.
    pub holds: Option<bool>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// It has not ended.
    UnderWay,
    /// It wrote its output.
    Succeeded,
    /// It failed.
    Failed,
    /// It exceeded its timeout.
    TimedOut,
    /// It parked the run for a person.
    Parked,
    /// The run ended, and it was told to stop.
    Stopped,
    /// Its process ended before it did; a later execution began the stage again.
    CutOff,
}

/// An attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptEvidence {
    /// Which execution of the run it belongs to, counted from 1: each resume is one more.
    pub execution: u32,
    /// Counted from 1 in its execution.
    pub attempt: u32,
    /// When its start was recorded, in RFC 3339.
    pub started_at: String,
    /// Seconds since the stage was ready: waiting for a slot, and behind a failed attempt its delay.
    pub waited_seconds: f64,
    /// Seconds from its start to its end; null while it is under way, and where it was cut off.
    pub ran_seconds: Option<f64>,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// What sort of failure it ended in.
    pub class: Option<FailureClass>,
    /// Its error.
    pub error: Option<String>,
    /// Seconds until the next attempt, where one followed.
    pub delay_seconds: Option<f64>,
}

/// A stage that has to do with why another did not run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// The stage.
    pub stage: String,
    /// Where it stands.
    pub status: StageStatus,
    /// Why.
    pub reason: Option<Reason>,
    /// The decision about an edge that leaves it which counts here.
    pub edge: Option<EdgeDecision>,
}

/// What the run's plan knows and its events may not have told yet: every stage and every edge. Empty where there is no plan.
#[derive(Debug, Clone, Default)]
pub struct Outline {
    stages: Vec<String>,
    edges: Vec<(String, String)>,
}

impl From<&Plan> for Outline {
    fn from(plan: &Plan) -> Self {
        let id = |stage: usize| plan.stages()[stage].id.to_string();
        Self {
            stages: (0..plan.stages().len()).map(id).collect(),
            edges: plan
                .edges()
                .iter()
                .map(|edge| (id(edge.from), id(edge.to)))
                .collect(),
        }
    }
}

/// A stage that the run does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the run has no stage `{stage}`")]
pub struct UnknownStage {
    /// What was asked for.
    pub stage: String,
    /// The stage that was likely meant.
    pub suggestion: Option<String>,
    /// The stages that the run has, in order.
    pub known: Vec<String>,
}

/// Explains a stage from what its run recorded, in order, each event with its time.
///
/// # Errors
/// The run has no such stage.
pub fn explain(
    run_id: Uuid,
    stage: &str,
    outline: &Outline,
    events: impl IntoIterator<Item = (OffsetDateTime, Event)>,
) -> Result<Explanation, UnknownStage> {
    let mut history = History::new(&outline.stages);
    for (at, event) in events {
        history.take(at, event);
    }
    let Some(told) = history.stages.get(stage) else {
        return Err(UnknownStage {
            stage: stage.to_owned(),
            suggestion: did_you_mean(stage, history.order.iter().map(String::as_str)),
            known: history.order,
        });
    };
    // Not `sum`: that of nothing is -0.0.
    let total = |seconds: &mut dyn Iterator<Item = f64>| seconds.fold(0.0, |all, one| all + one);
    let edges = all_edges(&history, outline);
    let causes = Causes::of(&history, &edges, stage);
    let of_stage = |end: fn(&EdgeEvidence) -> &String| {
        let edges = edges.iter().filter(|edge| end(edge) == stage);
        edges.cloned().collect::<Vec<_>>()
    };
    let first_waits = told.attempts.iter().filter(|attempt| attempt.attempt == 1);
    Ok(Explanation {
        run_id,
        stage: stage.to_owned(),
        status: told.status,
        reason: told.reason.clone(),
        in_edges: of_stage(|edge| &edge.to),
        condition: condition_of(told),
        waited_seconds: total(&mut first_waits.map(|attempt| attempt.waited_seconds)),
        ran_seconds: total(&mut told.attempts.iter().filter_map(|a| a.ran_seconds)),
        attempts: told.attempts.clone(),
        wrote: told.wrote.clone(),
        evidence: told.evidence.clone(),
        artifacts: told.artifacts.clone(),
        questions: told.questions.clone(),
        out_edges: of_stage(|edge| &edge.from),
        causes,
    })
}

/// What was decided, and what is still open.
fn all_edges(history: &History, outline: &Outline) -> Vec<EdgeEvidence> {
    let mut edges = history.edges.clone();
    for ends in &outline.edges {
        edges.entry(ends.clone()).or_insert(None);
    }
    let edges = edges.into_iter();
    edges
        .map(|((from, to), decision)| EdgeEvidence { from, to, decision })
        .collect()
}

/// A stage that was taken over from another run has its condition in its reason only.
fn condition_of(told: &Told) -> Option<ConditionEvidence> {
    if let (None, Some(Reason::ConditionFalse { expression, values })) =
        (&told.condition, &told.reason)
    {
        return Some(ConditionEvidence {
            expression: expression.to_string(),
            values: values.clone(),
            holds: Some(false),
        });
    }
    told.condition.clone()
}

/// Walks back from a stage to what is to blame.
struct Causes<'a> {
    history: &'a History,
    edges: &'a [EdgeEvidence],
    seen: BTreeSet<&'a str>,
    found: Vec<Cause>,
}

impl<'a> Causes<'a> {
    fn of(history: &'a History, edges: &'a [EdgeEvidence], stage: &'a str) -> Vec<Cause> {
        let mut causes = Self {
            history,
            edges,
            seen: BTreeSet::from([stage]),
            found: Vec::new(),
        };
        let mut stages = VecDeque::from([stage]);
        while let Some(stage) = stages.pop_front() {
            stages.extend(causes.before(stage));
        }
        causes.found
    }

    /// Adds what is to blame for a stage, and gives the stages to look behind.
    fn before(&mut self, stage: &'a str) -> Vec<&'a str> {
        let told = &self.history.stages[stage];
        match told.status {
            StageStatus::NotTaken => self.behind(stage, |status| status == StageStatus::NotTaken),
            StageStatus::Pending => self.behind(stage, |status| status == StageStatus::Pending),
            StageStatus::Cancelled => {
                self.end_of_run(told);
                Vec::new()
            }
            StageStatus::Running
            | StageStatus::Succeeded
            | StageStatus::Failed
            | StageStatus::TimedOut
            | StageStatus::Skipped
            | StageStatus::Waiting => Vec::new(),
        }
    }

    /// Adds the stages before one that led nowhere, or not yet; gives those whose own edges say more.
    fn behind(&mut self, stage: &str, goes_on: fn(StageStatus) -> bool) -> Vec<&'a str> {
        let mut next = Vec::new();
        let (history, edges) = (self.history, self.edges);
        for edge in edges.iter().filter(|edge| edge.to == stage) {
            if edge.decision.as_ref().is_some_and(|edge| edge.taken) {
                continue;
            }
            self.add(&edge.from, edge.decision.clone());
            if let Some(EdgeReason::Else { .. }) = edge.decision.as_ref().map(|e| &e.because) {
                self.taken_siblings(&edge.from);
            }
            let status = history.stages.get(&edge.from).map(|told| told.status);
            if status.is_some_and(goes_on) && self.seen.insert(&edge.from) {
                next.push(edge.from.as_str());
            }
        }
        next
    }

    /// An `else` edge was not taken because another one was.
    fn taken_siblings(&mut self, from: &str) {
        let edges = self.edges.iter();
        let taken = edges.filter_map(|edge| edge.decision.as_ref());
        for decision in taken.filter(|edge| *edge.from == *from && edge.taken) {
            self.add(from, Some(decision.clone()));
        }
    }

    /// The run ended first: at a stage, or at an edge that leaves it.
    fn end_of_run(&mut self, told: &Told) {
        let Some(Reason::RunEnded {
            stage: Some(stage), ..
        }) = &told.reason
        else {
            return;
        };
        let failed = |edge: &&EdgeDecision| {
            edge.from == *stage && matches!(edge.because, EdgeReason::ConditionFailed { .. })
        };
        let mut decisions = self.edges.iter().filter_map(|edge| edge.decision.as_ref());
        let edge = decisions.find(failed).cloned();
        self.add(stage, edge);
    }

    fn add(&mut self, stage: &str, edge: Option<EdgeDecision>) {
        let Some(told) = self.history.stages.get(stage) else {
            return;
        };
        let cause = Cause {
            stage: stage.to_owned(),
            status: told.status,
            reason: told.reason.clone(),
            edge,
        };
        if !self.found.contains(&cause) {
            self.found.push(cause);
        }
    }
}

#[cfg(test)]
mod tests;

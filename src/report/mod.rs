//! Consumers of a run's events, none of which shows a row's value; and of findings in graph files.

pub mod findings;
pub mod lines;
pub mod terminal;

use crate::graph::event::{
    DisabledBy, EdgeDecision, EdgeReason, EndCause, Event, Reason, StageStatus,
};

/// A consumer of a run's events, in their order.
pub trait Report: Send {
    /// Takes an event.
    fn event(&mut self, event: &Event);
}

/// The most characters of a condition that is shown to people; the run's JSON has it whole, with the values that it read.
const EXPRESSION_CHARS: usize = 40;

/// Gives a stage's status as a word for people.
#[must_use]
pub const fn status_word(status: StageStatus) -> &'static str {
    match status {
        StageStatus::Pending => "pending",
        StageStatus::Running => "running",
        StageStatus::Succeeded => "done",
        StageStatus::Failed => "failed",
        StageStatus::TimedOut => "timed out",
        StageStatus::Skipped => "skipped",
        StageStatus::NotTaken => "not taken",
        StageStatus::Waiting => "waiting",
        StageStatus::Cancelled => "cancelled",
    }
}

/// Gives a reason in one short sentence for people; empty where there is nothing to say.
#[must_use]
pub fn reason_text(reason: &Reason) -> String {
    match reason {
        Reason::Ran => String::new(),
        Reason::ConditionFalse { expression, .. } => condition_text(expression),
        Reason::ErrorSkipped { error, .. } | Reason::Error { error, .. } => error.clone(),
        Reason::NoEdgeTaken { edges } => no_edge_text(edges),
        Reason::Parked { message } => message.clone(),
        Reason::Disabled { by } => match by {
            DisabledBy::Graph => "the graph has it disabled".to_owned(),
            DisabledBy::Job => "the job leaves it out".to_owned(),
            DisabledBy::Retry => "the retry leaves it out".to_owned(),
        },
        Reason::RunEnded {
            stage: Some(stage), ..
        } => format!("the run ended at {stage}"),
        Reason::RunEnded { cause, .. } => match cause {
            EndCause::Deadline => "the run's deadline was over".to_owned(),
            EndCause::Cancelled => "the run was cancelled".to_owned(),
            EndCause::StageFailed => "the run ended first".to_owned(),
        },
        Reason::Recorded => "recorded by an earlier execution".to_owned(),
        Reason::Reused { run_id } => format!("reused from run {run_id}"),
    }
}

fn no_edge_text(edges: &[EdgeDecision]) -> String {
    let conditional = |edge: &EdgeDecision| matches!(edge.because, EdgeReason::Condition { .. });
    if edges.len() > 1 && edges.iter().all(conditional) {
        let from: Vec<&str> = edges.iter().map(|edge| &*edge.from).collect();
        return format!("the conditions after {} are false", from.join(" and "));
    }
    edges.iter().map(edge_text).collect::<Vec<_>>().join("; ")
}

fn edge_text(edge: &EdgeDecision) -> String {
    let from = &edge.from;
    match &edge.because {
        EdgeReason::Unconditional => format!("{from} leads elsewhere"),
        EdgeReason::Outcome => format!("{from} {}", outcome_text(edge.outcome)),
        EdgeReason::Condition { expression, .. } => {
            format!("after {from}, {}", condition_text(expression))
        }
        EdgeReason::ConditionFailed { error, .. } => format!("after {from}, {error}"),
        EdgeReason::NothingEnabled => format!("nothing behind {from} is enabled"),
        EdgeReason::Else { .. } => format!("another edge of {from} was taken"),
    }
}

/// What happened to a stage, as the end of a sentence.
const fn outcome_text(outcome: StageStatus) -> &'static str {
    match outcome {
        StageStatus::Succeeded => "succeeded",
        StageStatus::Failed => "failed",
        StageStatus::TimedOut => "timed out",
        StageStatus::Skipped => "was skipped",
        StageStatus::NotTaken => "was not taken",
        StageStatus::Cancelled => "was cancelled",
        StageStatus::Pending | StageStatus::Running | StageStatus::Waiting => "has not ended",
    }
}

fn condition_text(expression: &str) -> String {
    if expression.chars().count() > EXPRESSION_CHARS {
        "its condition is false".to_owned()
    } else {
        format!("`{expression}` is false")
    }
}

#[cfg(test)]
mod tests;

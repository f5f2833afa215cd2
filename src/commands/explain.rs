//! An explanation in words, for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use uuid::Uuid;

use super::word;
use crate::graph::event::{EdgeDecision, EdgeReason, Reason, StageStatus};
use crate::graph::explain::{
    AttemptEvidence, AttemptOutcome, Cause, ConditionEvidence, EdgeEvidence, Explanation,
};
use crate::report::{reason_text, status_word};

/// The most characters of a value that is shown.
const VALUE_CHARS: usize = 120;

/// Describes why a stage has the status it has; `retry_of` is the run that its run is a retry of.
#[must_use]
pub fn text(explanation: &Explanation, retry_of: Option<Uuid>) -> String {
    let mut text = format!(
        "stage {} of run {}: {}\n",
        explanation.stage,
        explanation.run_id,
        status_word(explanation.status)
    );
    let reason = explanation.reason.as_ref();
    if let Some(reason) = reason.filter(|reason| **reason != Reason::Ran) {
        let said = reason_text(reason).replace('\n', "\n    ");
        let _ = writeln!(text, "  reason: {}: {said}", reason.code());
    }
    edges(&mut text, "edges in", &explanation.in_edges);
    if let Some(condition) = &explanation.condition {
        own_condition(&mut text, condition);
    }
    attempts(&mut text, explanation);
    results(&mut text, explanation);
    edges(&mut text, "edges out", &explanation.out_edges);
    if !explanation.causes.is_empty() {
        text.push_str("because\n");
        explanation.causes.iter().for_each(|c| cause(&mut text, c));
    }
    next_steps(&mut text, explanation, retry_of);
    text
}

fn edges(text: &mut String, title: &str, edges: &[EdgeEvidence]) {
    if edges.is_empty() {
        return;
    }
    let _ = writeln!(text, "{title}");
    for edge in edges {
        match &edge.decision {
            Some(decision) => decided(text, decision),
            None => {
                let _ = writeln!(text, "  {} -> {}: not decided", edge.from, edge.to);
            }
        }
    }
}

fn decided(text: &mut String, edge: &EdgeDecision) {
    let taken = if edge.taken { "taken" } else { "not taken" };
    let ends = format!("  {} -> {}: {taken}", edge.from, edge.to);
    let outcome = status_word(edge.outcome);
    let _ = match &edge.because {
        EdgeReason::Unconditional => {
            writeln!(text, "{ends}, no condition, {} is {outcome}", edge.from)
        }
        EdgeReason::Outcome => {
            writeln!(text, "{ends}, since {} is {outcome}", edge.from)
        }
        EdgeReason::Condition { expression, values } => {
            let _ = writeln!(text, "{ends}, `{expression}` is {}", edge.taken);
            return read(text, values);
        }
        EdgeReason::ConditionFailed { error, values, .. } => {
            let _ = writeln!(text, "{ends}, which ends the run: {error}");
            return read(text, values);
        }
        EdgeReason::NothingEnabled => {
            writeln!(text, "{ends}, nothing behind {} is enabled", edge.from)
        }
        EdgeReason::Else { sibling_taken } => {
            let other = if *sibling_taken {
                "another"
            } else {
                "no other"
            };
            writeln!(text, "{ends}, else: {other} edge of {} is taken", edge.from)
        }
    };
}

fn read(text: &mut String, values: &BTreeMap<String, Value>) {
    for (path, value) in values {
        let value = value.to_string();
        let mut shown: String = value.chars().take(VALUE_CHARS).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        let _ = writeln!(text, "      {path} = {shown}");
    }
}

fn own_condition(text: &mut String, condition: &ConditionEvidence) {
    let gave = match condition.holds {
        Some(holds) => format!("is {holds}"),
        None => "could not be evaluated".to_owned(),
    };
    let _ = writeln!(text, "condition\n  `{}` {gave}", condition.expression);
    read(text, &condition.values);
}

fn attempts(text: &mut String, explanation: &Explanation) {
    if explanation.attempts.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "attempts: {:.3} s waiting for a slot, {:.3} s running",
        explanation.waited_seconds, explanation.ran_seconds
    );
    for attempt in &explanation.attempts {
        let _ = writeln!(text, "  {}", attempt_line(attempt));
    }
}

fn attempt_line(attempt: &AttemptEvidence) -> String {
    let mut line = format!("{} of execution {}", attempt.attempt, attempt.execution);
    let _ = write!(line, ", {}: ", attempt.started_at);
    if attempt.waited_seconds >= 0.001 {
        let _ = write!(line, "waited {:.3} s, ", attempt.waited_seconds);
    }
    if let Some(seconds) = attempt.ran_seconds {
        let _ = write!(line, "ran {seconds:.3} s, ");
    }
    line.push_str(match attempt.outcome {
        AttemptOutcome::UnderWay => "is under way",
        AttemptOutcome::Succeeded => "succeeded",
        AttemptOutcome::Failed => "failed",
        AttemptOutcome::TimedOut => "timed out",
        AttemptOutcome::Parked => "waits for a person",
        AttemptOutcome::Stopped => "was stopped with the run",
        AttemptOutcome::CutOff => "was cut off with its process",
    });
    if let (Some(class), Some(error)) = (attempt.class, &attempt.error) {
        let error = error.replace('\n', "\n    ");
        let _ = write!(line, " ({}): {error}", word(class));
    }
    if let Some(delay) = attempt.delay_seconds {
        let _ = write!(line, "; the next {delay:.3} s later");
    }
    line
}

fn results(text: &mut String, explanation: &Explanation) {
    if let Some(kind) = &explanation.wrote {
        let what = match explanation.status {
            StageStatus::Failed | StageStatus::TimedOut => {
                " (what it could report although it failed)"
            }
            StageStatus::Pending
            | StageStatus::Running
            | StageStatus::Succeeded
            | StageStatus::Skipped
            | StageStatus::NotTaken
            | StageStatus::Waiting
            | StageStatus::Cancelled => "",
        };
        let _ = writeln!(text, "output: {kind}{what}");
    }
    if let Some(kind) = &explanation.evidence {
        let _ = writeln!(
            text,
            "left behind: {kind}, which is no output: nothing reads it"
        );
    }
    for file in &explanation.artifacts {
        let _ = writeln!(text, "file: {} ({} bytes)", file.name, file.bytes);
    }
    for question in &explanation.questions {
        let _ = writeln!(text, "question `{}`: {}", question.id, question.text);
    }
}

fn cause(text: &mut String, cause: &Cause) {
    if let Some(edge) = &cause.edge {
        decided(text, edge);
    }
    let shown = cause.reason.as_ref().filter(|reason| {
        // A chain of stages that were not taken is told by its edges.
        !matches!(reason, Reason::Ran | Reason::NoEdgeTaken { .. })
    });
    let said = shown.map(|reason| format!(": {}", reason_text(reason).replace('\n', "\n    ")));
    let is_told = cause.edge.is_some() && said.is_none();
    if !is_told {
        let _ = writeln!(
            text,
            "  {} is {}{}",
            cause.stage,
            status_word(cause.status),
            said.unwrap_or_default()
        );
    }
}

fn next_steps(text: &mut String, explanation: &Explanation, retry_of: Option<Uuid>) {
    let reason = explanation.reason.as_ref();
    let failed = matches!(
        reason,
        Some(Reason::Error { .. } | Reason::ErrorSkipped { .. })
    );
    let tried_in = if let Some(Reason::Reused { run_id }) = reason {
        Some(*run_id)
    } else {
        // A failure that was taken over has its attempts in another run.
        retry_of.filter(|_| failed && explanation.attempts.is_empty())
    };
    if let Some(run_id) = tried_in {
        let stage = &explanation.stage;
        let _ = writeln!(text, "its attempts: relvec runs explain {run_id} {stage}");
    }
}

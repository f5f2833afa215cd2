//! The edge at which a run's words leave it: what a driver, a library or a child process said goes on without the run's secrets.

use crate::graph::event::{EdgeReason, Event, Reason};
use crate::service::redact;

/// Takes secrets out of the texts of an event that relvec did not write itself.
pub(super) fn clean(event: &mut Event) {
    match event {
        Event::StageLog { line: text, .. } | Event::StageRetrying { error: text, .. } => {
            redact::clean_in_place(text);
        }
        Event::RunFinished {
            error: Some(text), ..
        } => redact::clean_in_place(text),
        Event::QuestionAsked { question } => redact::clean_in_place(&mut question.text),
        Event::StageFinished { reason, .. } => match reason {
            Reason::Error { error: text, .. }
            | Reason::ErrorSkipped { error: text, .. }
            | Reason::Parked { message: text } => redact::clean_in_place(text),
            Reason::Ran
            | Reason::ConditionFalse { .. }
            | Reason::Disabled { .. }
            | Reason::NoEdgeTaken { .. }
            | Reason::RunEnded { .. }
            | Reason::Recorded
            | Reason::Reused { .. } => {}
        },
        Event::EdgeDecided { decision } => {
            if let EdgeReason::ConditionFailed { error, .. } = &mut decision.because {
                redact::clean_in_place(error);
            }
        }
        // Names, numbers, and outputs, which other stages have to read as they are: no handler puts a secret there.
        Event::RunStarted { .. }
        | Event::StageStarted { .. }
        | Event::StageProgress { .. }
        | Event::ArtifactWritten { .. }
        | Event::ConditionEvaluated { .. }
        | Event::EvidenceKept { .. }
        | Event::RunFinished { error: None, .. } => {}
    }
}

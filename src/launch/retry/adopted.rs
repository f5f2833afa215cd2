//! What a retry takes over, as events. Pure: what was recorded, and the choice.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::choice::Choice;
use crate::graph::event::{DisabledBy, EdgeDecision, EdgeReason, Event, Reason, StageStatus};
use crate::graph::plan::Plan;
use crate::graph::result::RecordedStage;
use crate::store::{Adopted, StoredRun};

/// What the new run takes over, as the events that would have led to it.
pub(super) fn adopt(
    stored: &StoredRun,
    plan: &Plan,
    before: &HashMap<String, RecordedStage>,
    choice: &Choice,
) -> Adopted {
    let mut events = Vec::new();
    let mut answers = BTreeMap::new();
    for (number, stage) in plan.stages().iter().enumerate() {
        if choice.again.contains(&number) {
            continue;
        }
        if choice.left_out.contains(&number) {
            events.extend(leave_out(plan, number));
            continue;
        }
        for question in stored.questions.iter().filter(|q| *q.stage == *stage.id) {
            events.push(Event::QuestionAsked {
                question: question.clone(),
            });
            if let Some(answer) = stored.answers.get(&question.id) {
                answers.insert(question.id.clone(), answer.clone());
            }
        }
        events.extend(take_over(stored, &before[stage.id.as_ref()]));
    }
    let stages = plan.stages().iter();
    Adopted {
        from: stored.id,
        stages: stages.map(|stage| Arc::clone(&stage.id)).collect(),
        events,
        answers,
    }
}

fn take_over(stored: &StoredRun, stage: &RecordedStage) -> Vec<Event> {
    let reused = Reason::Reused { run_id: stored.id };
    let reason = match stage.reason.clone() {
        None | Some(Reason::Ran | Reason::Recorded) => reused,
        Some(
            other @ (Reason::ConditionFalse { .. }
            | Reason::Disabled { .. }
            | Reason::ErrorSkipped { .. }
            | Reason::NoEdgeTaken { .. }
            | Reason::Error { .. }
            | Reason::Parked { .. }
            | Reason::RunEnded { .. }
            | Reason::Reused { .. }),
        ) => other,
    };
    let files = stage.artifacts.iter();
    let mut events: Vec<Event> = files
        .map(|artifact| Event::ArtifactWritten {
            stage: stage.id.as_str().into(),
            artifact: artifact.clone(),
        })
        .collect();
    let mut kinds = stored.stages.iter();
    let kind = kinds.find(|kept| kept.document.id == stage.id);
    events.push(Event::StageFinished {
        stage: stage.id.as_str().into(),
        status: stage.status,
        reason,
        attempts: stage.attempts,
        seconds: stage.seconds,
        kind: kind.and_then(|kept| kept.kind.clone()),
        output: stage.output.clone(),
    });
    let decisions = stage.decisions.iter().cloned();
    events.extend(decisions.map(|decision| Event::EdgeDecided { decision }));
    events
}

/// A stage that is left out counts as skipped; nothing that runs is behind it.
fn leave_out(plan: &Plan, stage: usize) -> Vec<Event> {
    let left_out = &plan.stages()[stage];
    let mut events = vec![Event::StageFinished {
        stage: Arc::clone(&left_out.id),
        status: StageStatus::Skipped,
        reason: Reason::Disabled {
            by: DisabledBy::Retry,
        },
        attempts: 0,
        seconds: 0.0,
        kind: None,
        output: None,
    }];
    events.extend(left_out.outs.iter().map(|&edge| Event::EdgeDecided {
        decision: EdgeDecision {
            from: Arc::clone(&left_out.id),
            to: Arc::clone(&plan.stages()[plan.edges()[edge].to].id),
            taken: true,
            outcome: StageStatus::Skipped,
            because: EdgeReason::NothingEnabled,
        },
    }));
    events
}

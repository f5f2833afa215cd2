//! JSON, for programs.

use serde_json::{Value, json};

use super::History;
use crate::graph::plan::Plan;

/// Gives a plan as JSON: stages in order, edges in the order of the file.
///
/// With a run's history, stages have a `status`, and edges have `taken` and `because`, null where they were not decided.
#[must_use]
pub fn json(plan: &Plan, history: Option<&History>) -> Value {
    let stages: Vec<Value> = plan
        .stages()
        .iter()
        .map(|stage| {
            let mut drawn = json!({
                "id": stage.id.as_ref(),
                "handler": stage.handler.name,
                "writes": stage.writes,
                "reads": stage.inputs.iter().map(|input| json!({
                    "kind": input.kind,
                    "required": input.required,
                })).collect::<Vec<_>>(),
                "when": stage.when.as_ref().map(|when| when.condition.expression()),
                "disabled": stage.disabled,
                "on_error": if stage.skips_errors { "skip" } else { "fail" },
                "timeout_seconds": stage.timeout.as_secs_f64(),
                "attempts": stage.retry.attempts,
            });
            if let Some(history) = history {
                drawn["status"] = json!(history.status(stage));
            }
            drawn
        })
        .collect();
    let edges: Vec<Value> = plan
        .edges()
        .iter()
        .map(|edge| {
            let mut drawn = json!({
                "from": plan.stages()[edge.from].id.as_ref(),
                "to": plan.stages()[edge.to].id.as_ref(),
                "on": edge.on.names().collect::<Vec<_>>(),
                "when": edge.when.as_ref().map(|when| when.condition.expression()),
                "else": edge.otherwise,
            });
            if let Some(history) = history {
                let decision = history.decision(plan, edge);
                drawn["taken"] = json!(decision.map(|decision| decision.taken));
                drawn["because"] = json!(decision.map(|decision| &decision.because));
            }
            drawn
        })
        .collect();
    json!({
        "name": plan.name(),
        "description": plan.description(),
        "input": plan.input(),
        "concurrency": plan.concurrency(),
        "stages": stages,
        "edges": edges,
    })
}

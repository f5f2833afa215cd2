//! Draws a plan from the same edges that run: Mermaid, GraphViz, SVG and JSON; and on it, what happened in a run.

mod dot;
mod json;
mod layers;
mod mermaid;
mod place;
mod svg;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::event::{EdgeDecision, EdgeReason, StageStatus};
use super::outcome::Outcomes;
use super::plan::{Edge, Plan, Stage};

pub use dot::dot;
pub use json::json;
pub use mermaid::mermaid;
pub use svg::svg;

/// The most characters of a value or a condition that a drawing's tooltip shows.
const TOOLTIP_CHARS: usize = 400;

/// What happened in a run, as far as a drawing shows it.
#[derive(Debug, Clone, Default)]
pub struct History {
    statuses: BTreeMap<String, StageStatus>,
    decisions: HashMap<(Arc<str>, Arc<str>), EdgeDecision>,
}

impl History {
    /// Takes the statuses of a run's stages and the decisions about its edges; the last decision of an edge holds.
    #[must_use]
    pub fn new(statuses: BTreeMap<String, StageStatus>, decisions: Vec<EdgeDecision>) -> Self {
        let ends = |decision: &EdgeDecision| (decision.from.clone(), decision.to.clone());
        Self {
            statuses,
            decisions: decisions.into_iter().map(|it| (ends(&it), it)).collect(),
        }
    }

    /// Gives a stage's status; a stage that the run has not come to is pending.
    fn status(&self, stage: &Stage) -> StageStatus {
        let status = self.statuses.get(stage.id.as_ref()).copied();
        status.unwrap_or(StageStatus::Pending)
    }

    fn decision(&self, plan: &Plan, edge: &Edge) -> Option<&EdgeDecision> {
        let id = |stage: usize| Arc::clone(&plan.stages()[stage].id);
        self.decisions.get(&(id(edge.from), id(edge.to)))
    }
}

/// What became of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Taken,
    NotTaken,
    Undecided,
}

/// Gives what became of an edge; `None` where a plan is drawn, and no run.
fn fate(plan: &Plan, edge: &Edge, history: Option<&History>) -> Option<Fate> {
    let decision = history?.decision(plan, edge);
    Some(match decision.map(|decision| decision.taken) {
        Some(true) => Fate::Taken,
        Some(false) => Fate::NotTaken,
        None => Fate::Undecided,
    })
}

/// Says when an edge is taken, a line for each of its conditions; none where it is on success and nothing else.
fn label(edge: &Edge) -> Vec<String> {
    let mut parts = Vec::new();
    if edge.on != Outcomes::SUCCEEDED {
        let names: Vec<_> = edge.on.names().collect();
        parts.push(format!("on {}", names.join(", ")));
    }
    if let Some(when) = &edge.when {
        parts.push(format!("when {}", when.condition.expression()));
    }
    if edge.otherwise {
        parts.push("else".to_owned());
    }
    parts
}

/// Gives the stage's own condition as a line. One that is left out has none to meet.
fn condition(stage: &Stage) -> Option<String> {
    if stage.disabled.is_some() {
        return Some("disabled".to_owned());
    }
    let when = stage.when.as_ref()?;
    Some(format!("when {}", when.condition.expression()))
}

/// Says whether a run may leave a stage out, or always does.
fn is_optional(stage: &Stage) -> bool {
    stage.when.is_some() || stage.disabled.is_some()
}

/// Says why an edge was taken or not, a line for each value that its condition read.
fn explain(decision: &EdgeDecision) -> String {
    let taken = if decision.taken { "taken" } else { "not taken" };
    let outcome = decision.outcome.name();
    let mut lines = vec![format!("{taken}: {} ended as {outcome}", decision.from)];
    match &decision.because {
        EdgeReason::Unconditional | EdgeReason::Outcome => {}
        EdgeReason::NothingEnabled => lines.push("nothing behind it is enabled".to_owned()),
        EdgeReason::Condition { values, .. } => lines.extend(what_it_read(values)),
        EdgeReason::ConditionFailed { values, error, .. } => {
            lines.extend(what_it_read(values));
            lines.push(shorten(error, TOOLTIP_CHARS));
        }
        EdgeReason::Else { sibling_taken } => {
            let sibling = if *sibling_taken {
                "another"
            } else {
                "no other"
            };
            lines.push(format!("else: {sibling} edge was taken"));
        }
    }
    lines.join("\n")
}

fn what_it_read(values: &BTreeMap<String, Value>) -> impl Iterator<Item = String> {
    let value = |value: &Value| shorten(&value.to_string(), TOOLTIP_CHARS);
    values
        .iter()
        .map(move |(path, it)| format!("{path} = {}", value(it)))
}

/// Gives a text in at most so many characters, with an ellipsis where it was cut.
fn shorten(text: &str, most: usize) -> String {
    if text.chars().nth(most).is_none() {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests;

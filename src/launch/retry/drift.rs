//! What a graph that changed since a run makes of the run's stages and edges. Pure: two plans and what differs.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::diff::{Change, GraphDiff};
use crate::graph::plan::{Guard, Plan, Reference, Source};

/// Edges that have to be decided again: those that differ, and the `else` edges beside one that differs.
pub(super) fn stale_edges(plan: &Plan, drift: &GraphDiff) -> BTreeSet<(String, String)> {
    let mut stale: BTreeSet<(String, String)> = drift
        .edges
        .iter()
        .map(|edge| (edge.from.clone(), edge.to.clone()))
        .collect();
    for edge in &drift.edges {
        let Some(from) = plan.find(&edge.from) else {
            continue;
        };
        for &out in &plan.stages()[from].outs {
            let sibling = &plan.edges()[out];
            if sibling.otherwise {
                stale.insert((edge.from.clone(), plan.stages()[sibling.to].id.to_string()));
            }
        }
    }
    stale
}

/// Stages that a changed graph makes run again: those that differ, whose in-edges differ, or that read from elsewhere.
pub(super) fn changed_stages(kept: &Plan, plan: &Plan, drift: &GraphDiff) -> BTreeSet<usize> {
    if drift.settings.iter().any(|setting| setting.what == "input") {
        return (0..plan.stages().len()).collect();
    }
    let differs = drift.stages.iter();
    let differs = differs.filter(|stage| stage.change != Change::Removed);
    let mut changed: BTreeSet<usize> = differs
        .filter_map(|stage| plan.find(&stage.stage))
        .collect();
    let stale = stale_edges(plan, drift).into_iter();
    changed.extend(stale.filter_map(|(_, to)| plan.find(&to)));
    for (number, stage) in plan.stages().iter().enumerate() {
        let Some(before) = kept.find(&stage.id) else {
            continue;
        };
        if reads(kept, before) != reads(plan, number) {
            changed.insert(number);
        }
    }
    changed
}

/// Whom a stage and its conditions read from: each kind and each path with the id of the stage that writes it.
fn reads(plan: &Plan, stage: usize) -> BTreeMap<String, Option<String>> {
    let id = |stage: usize| Some(plan.stages()[stage].id.to_string());
    let planned = &plan.stages()[stage];
    let mut reads = BTreeMap::new();
    for input in &planned.inputs {
        let writer = input.source.and_then(|source| match source {
            Source::Input => None,
            Source::Stage(stage) => id(stage),
        });
        reads.insert(input.kind.to_string(), writer);
    }
    let edges = planned.ins.iter().map(|&edge| &plan.edges()[edge]);
    let guards: Vec<&Guard> = edges
        .filter_map(|edge| edge.when.as_ref())
        .chain(&planned.when)
        .collect();
    for guard in guards {
        for (path, reference) in guard.condition.paths().iter().zip(&guard.references) {
            if let Reference::Kind(stage) = reference {
                reads.insert(format!("condition: {}", path.text()), id(*stage));
            }
        }
    }
    reads
}

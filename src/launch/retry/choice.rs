//! Which stages of a run its retry runs again. Pure: a plan, what was recorded, and what is wanted.

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use super::Wanted;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::diagnostic::did_you_mean;
use crate::graph::event::StageStatus;
use crate::graph::plan::Plan;
use crate::graph::result::RecordedStage;

/// What becomes of the stages; those that are in neither set are taken over. Stages are indices of the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// They run again.
    pub again: BTreeSet<usize>,
    /// They never ended and are not wanted.
    pub left_out: BTreeSet<usize>,
}

/// Chooses; `forced` are stages that cannot be taken over, because they changed or lost their files.
///
/// # Errors
/// A stage is not there, nothing is left to run, or a stage cannot be run as wanted.
pub(super) fn choose(
    plan: &Plan,
    before: &HashMap<String, RecordedStage>,
    wanted: &Wanted,
    forced: &BTreeSet<usize>,
    run_id: Uuid,
) -> Result<Choice> {
    let all = 0..plan.stages().len();
    let record = |stage: &usize| before.get(plan.stages()[*stage].id.as_ref());
    let open: BTreeSet<usize> = all
        .filter(|stage| !record(stage).is_some_and(RecordedStage::has_ended))
        .collect();
    match wanted {
        Wanted::Failed => {
            let failed = |stage: &usize| {
                record(stage).is_some_and(|stage| {
                    matches!(stage.status, StageStatus::Failed | StageStatus::TimedOut)
                })
            };
            let mut base: BTreeSet<usize> = &open | forced;
            base.extend((0..plan.stages().len()).filter(failed));
            if base.is_empty() {
                return Err(nothing_left(plan, run_id));
            }
            Ok(Choice {
                again: with_descendants(plan, &base),
                left_out: BTreeSet::new(),
            })
        }
        Wanted::From(stages) => {
            let named = find(plan, stages, run_id)?;
            let again = with_descendants(plan, &(&(&named | &open) | forced));
            reachable(plan, before, &named, &again, run_id)?;
            Ok(Choice {
                again,
                left_out: BTreeSet::new(),
            })
        }
        Wanted::Only(stages) => {
            let named = find(plan, stages, run_id)?;
            if let Some(&changed) = forced.difference(&named).next() {
                return Err(changed_too(plan, changed));
            }
            reachable(plan, before, &named, &named, run_id)?;
            let left_out = &open - &named;
            for &stage in &named {
                runs_alone(plan, stage, &named, &left_out)?;
            }
            Ok(Choice {
                again: named,
                left_out,
            })
        }
    }
}

fn find(plan: &Plan, names: &[String], run_id: Uuid) -> Result<BTreeSet<usize>> {
    let find = |name: &String| {
        plan.find(name).ok_or_else(|| {
            let ids = || plan.stages().iter().map(|stage| stage.id.as_ref());
            let error = Error::new(
                ErrorKind::NotFound,
                format!("the graph of run {run_id} has no stage `{name}`"),
            );
            let error = match did_you_mean(name, ids()) {
                Some(suggestion) => error.hint(suggestion),
                None => error,
            };
            error.hint(format!(
                "its stages are: {}",
                ids().collect::<Vec<_>>().join(", ")
            ))
        })
    };
    names.iter().map(find).collect()
}

pub(super) fn with_descendants(plan: &Plan, base: &BTreeSet<usize>) -> BTreeSet<usize> {
    let mut found = base.clone();
    // The plan's order is upstream first: one pass sees everything.
    for (number, stage) in plan.stages().iter().enumerate() {
        let mut before = stage.ins.iter().map(|&edge| plan.edges()[edge].from);
        if before.any(|from| found.contains(&from)) {
            found.insert(number);
        }
    }
    found
}

fn ancestors(plan: &Plan, stage: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut open = vec![stage];
    while let Some(stage) = open.pop() {
        for &edge in &plan.stages()[stage].ins {
            let from = plan.edges()[edge].from;
            if found.insert(from) {
                open.push(from);
            }
        }
    }
    found
}

/// A stage that no edge led to would be passed by again, unless something before it runs again.
fn reachable(
    plan: &Plan,
    before: &HashMap<String, RecordedStage>,
    named: &BTreeSet<usize>,
    again: &BTreeSet<usize>,
    run_id: Uuid,
) -> Result<()> {
    for &stage in named {
        let id = &plan.stages()[stage].id;
        let passed = before
            .get(id.as_ref())
            .is_some_and(|stage| stage.status == StageStatus::NotTaken);
        if passed && ancestors(plan, stage).is_disjoint(again) {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("no edge led to stage `{id}` in run {run_id}, and what decided that would not run again"),
            )
            .hint(format!("`relvec runs explain {run_id} {id}` says why"))
            .hint("retry from the stage that decides it"));
        }
    }
    Ok(())
}

/// What a stage depends on has to be there, or to run before it.
fn runs_alone(
    plan: &Plan,
    stage: usize,
    named: &BTreeSet<usize>,
    left_out: &BTreeSet<usize>,
) -> Result<()> {
    let id = |stage: usize| &plan.stages()[stage].id;
    let ancestors = ancestors(plan, stage);
    if let Some(&missing) = ancestors.intersection(left_out).next() {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "stage `{}` cannot run alone: `{}`, which comes before it, never ended",
                id(stage),
                id(missing)
            ),
        )
        .hint(format!("retry with --from {}", id(missing))));
    }
    // A chain of stages that run again makes one wait for the other; what is taken over does not.
    let mut waits = BTreeSet::from([stage]);
    for before in (0..stage).rev().filter(|before| named.contains(before)) {
        let mut outs = plan.stages()[before].outs.iter();
        if outs.any(|&edge| waits.contains(&plan.edges()[edge].to)) {
            waits.insert(before);
        }
    }
    let apart = ancestors.intersection(named).find(|a| !waits.contains(a));
    if let Some(&before) = apart {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "stages `{}` and `{}` cannot run without those between them",
                id(before),
                id(stage)
            ),
        )
        .hint(format!(
            "name those as well, or retry with --from {}",
            id(before)
        )));
    }
    Ok(())
}

fn nothing_left(plan: &Plan, run_id: Uuid) -> Error {
    let ids: Vec<&str> = plan
        .stages()
        .iter()
        .map(|stage| stage.id.as_ref())
        .collect();
    Error::new(
        ErrorKind::Conflict,
        format!("every stage of run {run_id} ended well: nothing is left to run again"),
    )
    .hint(format!(
        "choose where to begin with --from; the stages are: {}",
        ids.join(", ")
    ))
}

fn changed_too(plan: &Plan, stage: usize) -> Error {
    let id = &plan.stages()[stage].id;
    Error::new(
        ErrorKind::Conflict,
        format!("stage `{id}` changed with the graph: what it wrote cannot be taken over"),
    )
    .hint("retry without --only: what changed runs again, with what depends on it")
}

#[cfg(test)]
mod tests;

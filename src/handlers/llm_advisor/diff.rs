//! What the advice changes, as differences of the documents' descriptions.

use std::fmt::Write as _;

use crate::model::advice::{AdvisedPart, ChangeKind, EntityAdvice, PlanChange};
use crate::model::plan::{Condition, EntityPlan, FieldSource, MigrationPlan, ParentJoin, Section};

/// Gives every difference, entity by entity, in the order of the document as advised; what is left out comes last.
pub(super) fn changes(
    before: &MigrationPlan,
    after: &MigrationPlan,
    advice: &[EntityAdvice],
) -> Vec<PlanChange> {
    let mut changes = Vec::new();
    for advised in advice {
        let find = |plan: &MigrationPlan| {
            plan.entities
                .iter()
                .find(|entity| entity.name == advised.entity)
                .cloned()
        };
        if let (Some(old), Some(new)) = (find(before), find(after)) {
            changes.extend(entity_changes(&old, &new, advised));
        }
    }
    changes
}

fn entity_changes(old: &EntityPlan, new: &EntityPlan, advised: &EntityAdvice) -> Vec<PlanChange> {
    let (before, after) = (lines(old), lines(new));
    let kept: Vec<usize> = advised.parts.iter().filter_map(kept).collect();
    let still = longest_increasing(&kept);
    let change = |change, before: Option<&String>, after: Option<&String>| PlanChange {
        entity: old.name.clone(),
        change,
        before: before.cloned(),
        after: after.cloned(),
    };
    let mut changes = Vec::new();
    for (part, line) in advised.parts.iter().zip(&after) {
        match part {
            AdvisedPart::Added { .. } => changes.push(change(ChangeKind::Added, None, Some(line))),
            AdvisedPart::Kept { section, label } => {
                let was = usize::try_from(*section).ok().and_then(|at| before.get(at));
                if label.is_some() {
                    changes.push(change(ChangeKind::Labelled, was, Some(line)));
                }
                if kept_at(*section).is_some_and(|at| !still.contains(&at)) {
                    changes.push(change(ChangeKind::Moved, was, Some(line)));
                }
            }
        }
    }
    for condition in &advised.filter {
        changes.push(change(
            ChangeKind::Filtered,
            None,
            Some(&filter_line(condition)),
        ));
    }
    for (at, line) in before.iter().take(old.sections.len()).enumerate() {
        if !kept.contains(&at) {
            changes.push(change(ChangeKind::LeftOut, Some(line), None));
        }
    }
    changes
}

fn kept(part: &AdvisedPart) -> Option<usize> {
    match part {
        AdvisedPart::Kept { section, .. } => kept_at(*section),
        AdvisedPart::Added { .. } => None,
    }
}

fn kept_at(section: u32) -> Option<usize> {
    usize::try_from(section).ok()
}

/// Gives the members of a longest increasing subsequence: the sections that stand still while others move.
fn longest_increasing(numbers: &[usize]) -> Vec<usize> {
    let mut best: Vec<Vec<usize>> = Vec::with_capacity(numbers.len());
    for (at, number) in numbers.iter().enumerate() {
        let before = best[..at].iter().filter(|run| run.last() < Some(number));
        // The first of the longest ones, so that what stands at the top stays there.
        let mut run = before
            .rev()
            .max_by_key(|run| run.len())
            .cloned()
            .unwrap_or_default();
        run.push(*number);
        best.push(run);
    }
    best.into_iter()
        .rev()
        .max_by_key(Vec::len)
        .unwrap_or_default()
}

/// Writes the differences as `diff` does: each changed entity's document before and after.
pub(super) fn text(before: &MigrationPlan, after: &MigrationPlan) -> String {
    let mut out = String::new();
    for (old, new) in before.entities.iter().zip(&after.entities) {
        let (removed, added) = (lines(old), lines(new));
        if removed == added {
            continue;
        }
        let _ = writeln!(out, "--- {0}\n+++ {0}, as advised", old.name);
        for line in unified(&removed, &added) {
            let _ = writeln!(out, "{line}");
        }
    }
    out
}

/// Marks lines of two lists: ` ` in both, `-` in the first, `+` in the second.
fn unified(before: &[String], after: &[String]) -> Vec<String> {
    let mut common = vec![vec![0_usize; after.len() + 1]; before.len() + 1];
    for (i, old) in before.iter().enumerate().rev() {
        for (j, new) in after.iter().enumerate().rev() {
            common[i][j] = if old == new {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    while i < before.len() || j < after.len() {
        if i < before.len() && j < after.len() && before[i] == after[j] {
            out.push(format!(" {}", before[i]));
            i += 1;
            j += 1;
        } else if j >= after.len() || (i < before.len() && common[i + 1][j] >= common[i][j + 1]) {
            out.push(format!("-{}", before[i]));
            i += 1;
        } else {
            out.push(format!("+{}", after[j]));
            j += 1;
        }
    }
    out
}

/// Describes a document, a line a section: its label, and where its text comes from.
fn lines(entity: &EntityPlan) -> Vec<String> {
    let line = |section: &Section| match section {
        Section::Field { label, source, .. } => {
            format!(
                "{label}: {}",
                place(&entity.root.name, &entity.parents, source)
            )
        }
        Section::Children {
            label,
            table,
            parents,
            columns,
            ..
        } => {
            let columns: Vec<String> = columns
                .iter()
                .map(|source| place(&table.name, parents, source))
                .collect();
            format!("{label}: rows of {} ({})", table.name, columns.join(", "))
        }
    };
    // A name may hold anything; a line stays a line.
    let sections = entity.sections.iter().map(line).map(|line| plain(&line));
    sections
        .chain(entity.filter.iter().map(filter_line))
        .collect()
}

fn filter_line(condition: &Condition) -> String {
    let op = condition.op.sql().to_lowercase();
    let values = condition.values.join(", ");
    plain(&format!(
        "only rows with {} {op} ({values})",
        condition.column.name
    ))
}

fn plain(line: &str) -> String {
    line.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn place(own: &str, parents: &[ParentJoin], source: &FieldSource) -> String {
    let parent = parents.iter().find(|parent| parent.alias == source.alias);
    let table = parent.map_or(own, |parent| parent.table.name.as_str());
    format!("{table}.{}", source.column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_still_is_the_longest_run() {
        assert_eq!(longest_increasing(&[1, 0]), [1]);
        assert_eq!(longest_increasing(&[2, 0, 1, 3]), [0, 1, 3]);
        assert_eq!(longest_increasing(&[]), Vec::<usize>::new());
    }

    #[test]
    fn lines_are_marked() {
        let list = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        assert_eq!(
            unified(&list("abc"), &list("bxc")),
            ["-a", " b", "+x", " c"]
        );
        assert_eq!(unified(&list("ab"), &list("")), ["-a", "-b"]);
        assert_eq!(unified(&list(""), &list("a")), ["+a"]);
    }
}

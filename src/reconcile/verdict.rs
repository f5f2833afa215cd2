//! What a comparison means: the verdict, its reason and the loss.

use super::Comparison;
use crate::model::execution::ExecutionReport;
use crate::model::validation::{Check, EntityValidation, Identity, ValidationReport, Verdict};

/// Concludes from checks of the generated files and a comparison.
#[must_use]
pub fn conclude(
    file_checks: Vec<Check>,
    comparison: Comparison,
    execution: Option<&ExecutionReport>,
) -> ValidationReport {
    let (verdict, reason) = verdict(&file_checks, &comparison, execution);
    let loss_percentage = match verdict {
        Verdict::Validated | Verdict::Mismatched => loss(&comparison.entities),
        Verdict::Unverified => None,
    };
    let mut checks = file_checks;
    checks.extend(comparison.source_checks);
    checks.extend(comparison.target_checks);
    ValidationReport {
        verdict,
        reason,
        loss_percentage,
        source_read_at: Some(comparison.source_read_at),
        checks,
        entities: comparison.entities,
        vectors: Some(comparison.vectors),
    }
}

/// Gives the report of a run that was not compared.
#[must_use]
pub fn unverified(reason: impl Into<String>, checks: Vec<Check>) -> ValidationReport {
    ValidationReport {
        verdict: Verdict::Unverified,
        reason: reason.into(),
        loss_percentage: None,
        source_read_at: None,
        checks,
        entities: Vec::new(),
        vectors: None,
    }
}

fn verdict(
    file_checks: &[Check],
    comparison: &Comparison,
    execution: Option<&ExecutionReport>,
) -> (Verdict, String) {
    let entities = &comparison.entities;
    let mut differences: Vec<String> = entities.iter().filter_map(described).collect();
    differences.extend(comparison.target_checks.iter().filter_map(failed));
    if !differences.is_empty() {
        let reason = differences.join("; ") + &moved(entities, execution);
        return (Verdict::Mismatched, reason);
    }
    let checks = file_checks.iter().chain(&comparison.source_checks);
    let unknown: Vec<String> = checks.filter_map(failed).collect();
    if !unknown.is_empty() {
        return (Verdict::Unverified, unknown.join("; "));
    }
    let sum = |of: fn(&EntityValidation) -> u64| entities.iter().map(of).sum::<u64>();
    let compared = sum(|entity| entity.documents - entity.kept);
    if compared == 0 {
        let reason = "no document was compared, so that nothing is proved: no source row has its text in the target";
        return (Verdict::Unverified, reason.to_owned());
    }
    let reason = format!(
        "each of {} source rows is accounted for: {compared} documents with equal content, {} without text, {} in quarantine{}{}",
        sum(|entity| entity.source_rows),
        sum(|entity| entity.empty),
        sum(|entity| entity.quarantined),
        kept(sum(|entity| entity.kept)),
        multisets(entities),
    );
    (Verdict::Validated, reason)
}

fn kept(documents: u64) -> String {
    if documents == 0 {
        return String::new();
    }
    format!("; {documents} documents of rows that are gone are kept, as the job says")
}

/// Names the entities whose rows have no key.
fn multisets(entities: &[EntityValidation]) -> String {
    let names: Vec<String> = entities
        .iter()
        .filter(|entity| entity.identity == Identity::Row)
        .map(|entity| format!("`{}`", entity.entity))
        .collect();
    if names.is_empty() {
        return String::new();
    }
    format!(
        "; without a key, so that equal rows were counted: {}",
        names.join(", ")
    )
}

fn failed(check: &Check) -> Option<String> {
    (!check.passed).then(|| format!("{}: {}", check.name, check.detail))
}

/// Says how an entity differs, with its first keys; nothing if it does not.
fn described(entity: &EntityValidation) -> Option<String> {
    let counts = [
        (entity.missing, "missing"),
        (entity.extra, "extra"),
        (entity.changed, "changed"),
        (entity.bad_vectors, "with a bad vector"),
    ];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let first: Vec<&str> = entity
        .differences
        .iter()
        .take(3)
        .map(String::as_str)
        .collect();
    (!counts.is_empty()).then(|| {
        format!(
            "`{}` with {} source rows: {} (first {})",
            entity.entity,
            entity.source_rows,
            counts.join(", "),
            first.join("; ")
        )
    })
}

/// Says where the source has another number of rows than the migration saw.
fn moved(entities: &[EntityValidation], execution: Option<&ExecutionReport>) -> String {
    let migration = execution.and_then(|execution| execution.migration.as_ref());
    let moved: Vec<String> = migration
        .iter()
        .flat_map(|migration| &migration.entities)
        .filter_map(|then| {
            let now = entities.iter().find(|now| now.entity == then.entity)?;
            let (before, after) = (then.source_rows, now.source_rows);
            (before != after).then(|| format!("`{}` had {before} rows and has {after}", now.entity))
        })
        .collect();
    if moved.is_empty() {
        return String::new();
    }
    format!(
        "; the source changed since the migration read it ({}): run the job again to bring the target up to date",
        moved.join(", ")
    )
}

/// Missing by expected documents, times 100; never 0 while something is missing, never 100 while something is not.
fn loss(entities: &[EntityValidation]) -> Option<f64> {
    let missing: u64 = entities.iter().map(|entity| entity.missing).sum();
    let expected: u64 = entities
        .iter()
        .map(|entity| entity.source_rows - entity.empty)
        .sum();
    if expected == 0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "the ends are put right below")]
    let percentage = missing as f64 / expected as f64 * 100.0;
    Some(if missing == 0 {
        0.0
    } else if missing == expected {
        100.0
    } else {
        percentage.clamp(f64::MIN_POSITIVE, 100.0_f64.next_down())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::validation::VectorSample;

    fn entity(source_rows: u64, missing: u64) -> EntityValidation {
        EntityValidation {
            entity: "orders".to_owned(),
            identity: Identity::Key,
            source_rows,
            documents: source_rows - missing,
            empty: 0,
            quarantined: 0,
            missing,
            extra: 0,
            kept: 0,
            changed: 0,
            bad_vectors: 0,
            differences: Vec::new(),
        }
    }

    fn comparison(entities: Vec<EntityValidation>) -> Comparison {
        Comparison {
            source_read_at: "2026-01-01T00:00:00Z".to_owned(),
            target_checks: Vec::new(),
            source_checks: Vec::new(),
            entities,
            vectors: VectorSample::default(),
        }
    }

    fn check(passed: bool) -> Check {
        Check {
            name: "python".to_owned(),
            passed,
            detail: "detail".to_owned(),
        }
    }

    #[test]
    fn loss_is_0_or_100_only_where_it_is() {
        assert_eq!(loss(&[entity(4, 1)]), Some(25.0));
        assert_eq!(loss(&[entity(9, 0)]), Some(0.0));
        assert_eq!(loss(&[entity(9, 9)]), Some(100.0));
        assert_eq!(loss(&[entity(0, 0)]), None);
        // Numbers at which a double rounds.
        let huge = 1 << 60;
        assert!(loss(&[entity(huge, 1)]).is_some_and(|loss| loss > 0.0));
        assert!(loss(&[entity(huge, huge - 1)]).is_some_and(|loss| loss < 100.0));
    }

    #[test]
    fn a_failed_check_of_the_files_leaves_it_unverified() {
        let good = conclude(vec![check(true)], comparison(vec![entity(3, 0)]), None);
        assert_eq!(good.verdict, Verdict::Validated);
        let bad = conclude(vec![check(false)], comparison(vec![entity(3, 0)]), None);
        assert_eq!(bad.verdict, Verdict::Unverified);
        assert_eq!(bad.loss_percentage, None);
        assert_eq!(bad.reason, "python: detail");
    }

    #[test]
    fn a_difference_outweighs_a_failed_check() {
        let report = conclude(vec![check(false)], comparison(vec![entity(3, 1)]), None);
        assert_eq!(report.verdict, Verdict::Mismatched);
    }

    #[test]
    fn a_failed_check_of_the_target_is_a_difference() {
        let mut comparison = comparison(vec![entity(3, 0)]);
        comparison.target_checks.push(check(false));
        let report = conclude(Vec::new(), comparison, None);
        assert_eq!(report.verdict, Verdict::Mismatched);
    }

    #[test]
    fn nothing_compared_is_never_validated() {
        for entities in [Vec::new(), vec![entity(0, 0)]] {
            let report = conclude(vec![check(true)], comparison(entities), None);
            assert_eq!(report.verdict, Verdict::Unverified);
            assert_eq!(report.loss_percentage, None);
        }
    }
}

//! Joins on keys of several columns: the referring table has columns of the same names, and its pairs are among the key's.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::naming::ColumnName;
use super::values::scalar;
use super::{THRESHOLD, cardinality};
use crate::model::metadata::{TableMetadata, TableRef};
use crate::model::schema_context::{Join, JoinOrigin};

/// With fewer distinct pairs, containment says nothing.
const FEW_PAIRS: usize = 3;
const NAMES: f64 = 0.48;
const PAIRS: f64 = 0.30;

/// Adds the joins that no foreign key declares.
pub(super) fn add(
    tables: &[TableMetadata],
    declared: &HashSet<(&TableRef, &String)>,
    joins: &mut Vec<Join>,
) {
    let mut having: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for (at, table) in tables.iter().enumerate() {
        for column in &table.columns {
            having.entry(&column.name).or_default().insert(at);
        }
    }
    let mut found: Vec<(usize, usize, Join)> = Vec::new();
    for (at, target) in tables.iter().enumerate() {
        let keys = std::iter::once(&target.primary_key).chain(&target.unique_keys);
        for key in keys.filter(|key| key.len() >= 2 && !target.kind.is_view()) {
            let own = own_columns(target, key, joins, declared);
            if own.is_empty() {
                continue;
            }
            let specific = own
                .iter()
                .any(|column| !ColumnName::new(column).is_generic());
            let mut tables_having = key.iter().filter_map(|column| having.get(column.as_str()));
            let Some(first) = tables_having.next().cloned() else {
                continue;
            };
            let having_all = tables_having.fold(first, |all, some| &all & some);
            for from in having_all {
                let undeclared = key
                    .iter()
                    .any(|column| !declared.contains(&(&tables[from].table, column)));
                // `(order_id, line_no)` is the key of all that orders have many of.
                let sibling = !specific && same_columns(&tables[from].primary_key, key);
                if from != at && undeclared && !sibling && !tables[from].kind.is_view() {
                    found.extend(join(&tables[from], target, key).map(|join| (from, at, join)));
                }
            }
        }
    }
    // Two tables with the same key: neither is meant more than the other.
    let meant = |(from, _, join): &(usize, usize, Join)| {
        let same = |other: &&(usize, usize, Join)| {
            other.0 == *from && other.2.from_columns == join.from_columns
        };
        found.iter().filter(same).count() == 1
    };
    let kept: Vec<Join> = found
        .iter()
        .filter(|found| meant(found))
        .map(|(_, _, join)| join.clone())
        .collect();
    joins.extend(kept);
}

/// The columns of a key that do not refer to other tables. A table of pairs has none, and is referred to by nobody: who has both
/// columns refers to both sides.
fn own_columns<'k>(
    target: &TableMetadata,
    key: &'k [String],
    joins: &[Join],
    declared: &HashSet<(&TableRef, &String)>,
) -> Vec<&'k String> {
    let refers = |column: &&String| {
        declared.contains(&(&target.table, *column))
            || joins
                .iter()
                .any(|join| join.from == target.table && join.from_columns == [(*column).clone()])
    };
    key.iter().filter(|column| !refers(column)).collect()
}

fn same_columns(a: &[String], b: &[String]) -> bool {
    a.len() == b.len() && a.iter().all(|column| b.contains(column))
}

fn join(from: &TableMetadata, target: &TableMetadata, key: &[String]) -> Option<Join> {
    let of_type = |table: &TableMetadata, name: &String| {
        let column = table.columns.iter().find(|column| column.name == *name);
        column.map(|column| column.data_type)
    };
    if key
        .iter()
        .any(|name| of_type(from, name) != of_type(target, name))
    {
        return None;
    }
    let (pairs, keys) = (tuples(from, key), tuples(target, key));
    let hits = pairs.intersection(&keys).count();
    let complete = target.row_count_exact && target.row_count <= target.sample_rows.len() as u64;
    // Two tables with the same key: the one with more rows is referred to.
    let same_key = same_columns(&from.primary_key, key);
    let reversed = same_key && from.row_count >= target.row_count;
    let contained = if complete {
        hits == pairs.len()
    } else {
        hits >= FEW_PAIRS && is_expected(hits, pairs.len(), keys.len(), target.row_count)
    };
    if pairs.len() < FEW_PAIRS || !contained || reversed {
        return None;
    }
    let confidence = NAMES + PAIRS;
    debug_assert!(confidence >= THRESHOLD);
    Some(Join {
        from: from.table.clone(),
        from_columns: key.to_vec(),
        to: target.table.clone(),
        to_columns: key.to_vec(),
        origin: JoinOrigin::Inferred {
            confidence,
            evidence: vec![
                format!(
                    "`{}` are the names of the key of `{}`",
                    key.join("`, `"),
                    target.table
                ),
                format!(
                    "{hits} of {} sampled combinations are among the {} sampled keys",
                    pairs.len(),
                    keys.len()
                ),
            ],
        },
        cardinality: cardinality(from, key),
    })
}

/// Whether so many of the values were met as a sample of the keys lets expect, or nearly.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn is_expected(hits: usize, values: usize, sampled: usize, rows: u64) -> bool {
    hits as f64 >= 0.3 * values as f64 * sampled as f64 / rows as f64
}

fn tuples(table: &TableMetadata, key: &[String]) -> BTreeSet<Vec<String>> {
    let places: Option<Vec<usize>> = key
        .iter()
        .map(|name| table.columns.iter().position(|column| column.name == *name))
        .collect();
    let Some(places) = places else {
        return BTreeSet::new();
    };
    let tuple = |row: &Vec<serde_json::Value>| -> Option<Vec<String>> {
        places
            .iter()
            .map(|&place| scalar(row.get(place)?))
            .collect()
    };
    table.sample_rows.iter().filter_map(tuple).collect()
}

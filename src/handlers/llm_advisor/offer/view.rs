//! What is shown of tables and columns: names, types, keys and classes of statistics.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::model::metadata::{DataType, TableRef};
use crate::model::plan::{FieldSource, MigrationPlan};
use crate::model::schema_context::{ColumnProfile, Join, TableProfile, ValueClass};

/// Below this score a column has no words worth offering.
const LEAST_SCORE: f64 = 0.2;
/// Characters of a comment.
const MOST_COMMENT: usize = 300;

/// Plan and schema, and what may be shown of them.
pub(super) struct View<'a> {
    pub(super) plan: &'a MigrationPlan,
    pub(super) tables: &'a [TableProfile],
    pub(super) joins: &'a [Join],
    pub(super) scores: BTreeMap<(&'a TableRef, &'a str), f64>,
    pub(super) allow_comments: bool,
    pub(super) allow_filters: bool,
}

impl<'a> View<'a> {
    pub(super) fn table(&self, table: &TableRef) -> Option<&'a TableProfile> {
        self.tables.iter().find(|profile| profile.table == *table)
    }

    /// Gives the columns of a table that may be offered, best first.
    pub(super) fn columns(&self, table: &'a TableProfile) -> Vec<(&'a ColumnProfile, f64)> {
        let mut columns: Vec<(&ColumnProfile, f64)> = table
            .columns
            .iter()
            .filter(|column| has_words(column))
            .filter_map(|column| {
                let score = self.scores.get(&(&table.table, column.name.as_str()))?;
                (*score >= LEAST_SCORE).then_some((column, *score))
            })
            .collect();
        columns.sort_by(|a, b| b.1.total_cmp(&a.1));
        columns
    }

    pub(super) fn shown_column(&self, table: &TableRef, source: &FieldSource) -> Value {
        let mut shown =
            json!({"table": table.name, "name": source.column, "type": source.data_type});
        let Some(profile) = self.table(table) else {
            return shown;
        };
        if let Some(key) = self.key_of(profile, &source.column) {
            shown["key"] = key.into();
        }
        let column = profile
            .columns
            .iter()
            .find(|column| column.name == source.column);
        if let Some(column) = column {
            shown["values"] = json!(column.class);
            shown["filled"] = filled(column).into();
            shown["distinct"] = distinct(column).into();
            shown["length"] = length(column).into();
            if let Some(comment) = column.comment.as_ref().filter(|_| self.allow_comments) {
                shown["comment"] = shortened(comment).into();
            }
        }
        shown
    }

    pub(super) fn key_of(&self, table: &TableProfile, column: &str) -> Option<&'static str> {
        let refers = |join: &Join| {
            join.from == table.table && join.from_columns.iter().any(|name| name == column)
        };
        if table.primary_key.iter().any(|name| name == column) {
            Some("primary")
        } else if table.unique_keys.iter().any(|key| *key == [column]) {
            Some("unique")
        } else if self.joins.iter().any(refers) {
            Some("foreign")
        } else {
            None
        }
    }
}

/// Says whether the values of a column look like words: of what else they look like, nothing is offered.
fn has_words(column: &ColumnProfile) -> bool {
    matches!(column.data_type, DataType::Text | DataType::Enum)
        && matches!(
            column.class,
            ValueClass::Prose
                | ValueClass::Phrase
                | ValueClass::Html
                | ValueClass::Code
                | ValueClass::Mixed
        )
}

fn filled(column: &ColumnProfile) -> &'static str {
    let missing = (column.null_ratio + column.empty_ratio).min(1.0);
    match missing {
        none if none <= 0.0 => "always",
        few if few < 0.5 => "mostly",
        many if many < 0.95 => "sometimes",
        all if all < 1.0 => "rarely",
        _ => "never",
    }
}

fn distinct(column: &ColumnProfile) -> &'static str {
    match column.distinct_ratio {
        all if all >= 1.0 => "all",
        many if many > 0.5 => "many",
        some if some > 0.05 => "some",
        _ => "few",
    }
}

fn length(column: &ColumnProfile) -> &'static str {
    match column.mean_chars {
        word if word < 16.0 => "word",
        line if line < 80.0 => "line",
        paragraph if paragraph < 1000.0 => "paragraph",
        _ => "page",
    }
}

pub(super) fn magnitude(rows: u64) -> &'static str {
    match rows {
        0..=99 => "fewer than 100",
        100..=9_999 => "fewer than 10,000",
        10_000..=999_999 => "fewer than 1,000,000",
        _ => "a million or more",
    }
}

/// A comment as it is shown: its beginning.
pub(super) fn shortened(comment: &str) -> String {
    comment.chars().take(MOST_COMMENT).collect()
}

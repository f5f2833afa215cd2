//! The truth of a corpus, as an engineer who knows the database wrote it down.

use std::collections::BTreeSet;

use serde::Deserialize;

/// What a truth file says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truth {
    /// Tables that people search by meaning, each the root of a document.
    pub entities: BTreeSet<String>,
    /// Tables that a reasonable person may or may not make an entity.
    #[serde(default)]
    pub optional_entities: BTreeSet<String>,
    /// `table.column -> table.column`, or `table.(a, b) -> table.(c, d)`.
    pub joins: BTreeSet<String>,
    /// Joins that hold but follow from others, or that nobody would declare.
    #[serde(default)]
    pub optional_joins: BTreeSet<String>,
    /// `table.column` whose text belongs in some document.
    pub embedding: BTreeSet<String>,
    /// `table.column` that a reasonable person may or may not embed.
    #[serde(default)]
    pub optional: BTreeSet<String>,
    /// `table.column` that must be neither in a text nor in the metadata.
    pub forbidden: BTreeSet<String>,
}

/// Writes a join as truth files do.
pub fn join(from: &str, columns: &[String], to: &str, to_columns: &[String]) -> String {
    let list = |columns: &[String]| match columns {
        [only] => only.clone(),
        several => format!("({})", several.join(", ")),
    };
    format!("{from}.{} -> {to}.{}", list(columns), list(to_columns))
}

/// Reads a side of a join: the table and its columns.
pub fn side(text: &str) -> (String, Vec<String>) {
    let (table, columns) = text.trim().split_once('.').expect("TABLE.COLUMNS");
    let columns = columns.trim_start_matches('(').trim_end_matches(')');
    let columns = columns.split(',').map(|name| name.trim().to_owned());
    (table.to_owned(), columns.collect())
}

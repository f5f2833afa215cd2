//! The rows of tables: counts, and samples by probes over the row ids.

use std::time::Duration;

use serde_json::Value;
use sqlx::sqlite::SqliteRow;

use super::catalogue::Relation;
use super::session::Session;
use super::{bytes, code, types};
use crate::error::Result;
use crate::model::metadata::{ColumnMetadata, Dialect, TableMetadata};
use crate::source::documents::quoted;
use crate::source::selection::SMALL;
use crate::source::sharing::Worker;
use crate::source::{Counts, Limits, Outcome, Selection, sample};

/// Places in a large table at which its rows are counted, and how many at each.
const PLACES: u64 = 64;
const ROWS_A_PLACE: u64 = 128;

/// The session that reads the rows of one table after the other. A second one would see another instant.
pub(super) struct Sampler<'a> {
    pub(super) session: Session,
    pub(super) selection: &'a Selection,
    pub(super) notes: Vec<String>,
    /// Most bytes of a table's sample.
    pub(super) budget: usize,
}

impl Worker for Sampler<'_> {
    type Item = Relation;

    async fn work(&mut self, relation: &mut Relation) -> Result<()> {
        if let Err(error) = self.count_and_sample(relation).await {
            // A file that is damaged, locked or gone is so for all its tables.
            relation.outcome = match code(&error) {
                Some(1 | 9) => Outcome::Failed(self.session.failed(error).to_string()),
                _ => return Err(self.session.failed(error)),
            };
        }
        Ok(())
    }
}

impl Sampler<'_> {
    fn limit(&self, relation: &Relation) -> Duration {
        let Limits {
            statement, view, ..
        } = self.selection.limits;
        if relation.meta.kind.is_view() {
            view.min(statement)
        } else {
            statement
        }
    }

    async fn fetch(
        &mut self,
        relation: &Relation,
        sql: String,
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let limit = self.limit(relation);
        self.session.fetch(sql, limit).await
    }

    async fn first(
        &mut self,
        relation: &Relation,
        sql: String,
    ) -> Result<Option<i64>, sqlx::Error> {
        use sqlx::Row as _;

        let rows = self.fetch(relation, sql).await?;
        let number = rows
            .first()
            .map(|row| row.try_get_unchecked::<Option<i64>, _>(0));
        Ok(number.transpose()?.flatten())
    }

    async fn count_and_sample(&mut self, relation: &mut Relation) -> Result<(), sqlx::Error> {
        self.count(relation).await?;
        self.check_key(relation).await?;
        let rows = self.selection.sample_rows;
        let empty = relation.meta.row_count == 0 && relation.meta.row_count_exact;
        if rows > 0 && !empty {
            let values = self.sample(relation, rows).await?;
            relation.meta.sample_rows = sample::within(values, self.budget);
            types::retype(&mut relation.meta);
        }
        Ok(())
    }

    /// A small table is counted, and so is a large one without row ids; any other is counted at some places.
    async fn count(&mut self, relation: &mut Relation) -> Result<(), sqlx::Error> {
        let from = quoted(Dialect::Sqlite, &relation.meta.table.name);
        let all = format!("SELECT count(*) FROM {from}");
        let sql = match self.selection.counts {
            Counts::Statistics => return Ok(()),
            Counts::Exact => all.clone(),
            Counts::SmallTables => {
                format!(
                    "SELECT count(*) FROM (SELECT 1 FROM {from} LIMIT {})",
                    SMALL + 1
                )
            }
        };
        let counted = self.first(relation, sql).await?.unwrap_or_default();
        let mut counted = u64::try_from(counted).unwrap_or_default();
        let mut exact = self.selection.counts == Counts::Exact || counted <= SMALL;
        if !exact {
            let estimate = match estimate_sql(relation) {
                Some(sql) => self.first(relation, sql).await.ok().flatten(),
                None => None,
            };
            let rows = if estimate.is_some() {
                estimate
            } else {
                exact = true;
                self.first(relation, all).await?
            };
            let rows = rows.and_then(|rows| u64::try_from(rows).ok());
            counted = counted.max(rows.unwrap_or_default());
        }
        relation.meta.row_count = counted;
        relation.meta.row_count_exact = exact;
        Ok(())
    }

    /// Drops a primary key that has NULL in it.
    async fn check_key(&mut self, relation: &mut Relation) -> Result<(), sqlx::Error> {
        let table = &relation.meta;
        let open: Vec<String> = table
            .columns
            .iter()
            .filter(|column| column.nullable && table.primary_key.contains(&column.name))
            .map(|column| format!("t.{} IS NULL", quoted(Dialect::Sqlite, &column.name)))
            .collect();
        if open.is_empty() || self.selection.counts == Counts::Statistics {
            return Ok(());
        }
        let sql = format!(
            "SELECT 1 FROM {} AS t WHERE {} LIMIT 1",
            quoted(Dialect::Sqlite, &table.table.name),
            open.join(" OR ")
        );
        if self.first(relation, sql).await?.is_some() {
            self.notes.push(format!(
                "the primary key of `{}` has NULL in it, so it does not identify rows",
                relation.meta.table
            ));
            relation.meta.primary_key.clear();
        }
        Ok(())
    }

    async fn sample(
        &mut self,
        relation: &Relation,
        rows: u32,
    ) -> Result<Vec<Vec<Value>>, sqlx::Error> {
        let row_id = row_id(relation).filter(|_| relation.meta.row_count > u64::from(rows));
        let sql = match row_id {
            Some(row_id) => probe_sql(&relation.meta, row_id, rows),
            None => first_rows(&relation.meta, rows),
        };
        let sampled = self.fetch(relation, sql).await?;
        let width = relation.meta.columns.len();
        let values = sampled.iter().map(|row| {
            let cells = (0..width).map(|index| bytes(row, index).map(json));
            cells.collect::<Result<Vec<Value>, sqlx::Error>>()
        });
        values.collect()
    }
}

/// Each value as text behind one letter for its storage class. Four bytes a character are enough, NUL ends no blob, and `substr`
/// makes NULL of an empty one.
fn cells(table: &TableMetadata) -> String {
    let cell = |column: &ColumnMetadata| {
        let name = format!("t.{}", quoted(Dialect::Sqlite, &column.name));
        format!(
            "CASE typeof({name}) WHEN 'null' THEN NULL WHEN 'integer' THEN 'i' || {name} \
             WHEN 'real' THEN 'r' || {name} \
             WHEN 'text' THEN 't' || coalesce(CAST(substr(CAST({name} AS BLOB), 1, {}) AS TEXT), '') \
             ELSE 'b' || length({name}) END",
            sample::TEXT_LIMIT * 4
        )
    };
    table
        .columns
        .iter()
        .map(cell)
        .collect::<Vec<_>>()
        .join(", ")
}

fn first_rows(table: &TableMetadata, rows: u32) -> String {
    let from = quoted(Dialect::Sqlite, &table.table.name);
    format!("SELECT {} FROM {from} AS t LIMIT {rows}", cells(table))
}

/// A name of the row id that no column has taken.
fn row_id(relation: &Relation) -> Option<&'static str> {
    let taken = |name: &&str| {
        !relation
            .meta
            .columns
            .iter()
            .any(|column| column.name.eq_ignore_ascii_case(name))
    };
    let names = ["rowid", "_rowid_", "oid"];
    names
        .into_iter()
        .find(taken)
        .filter(|_| relation.has_row_ids)
}

/// The row ids' range in so many steps, what is left of it, and the number of each step. No sum of it overflows.
fn steps(from: &str, row_id: &str, steps: u64) -> String {
    format!(
        "WITH RECURSIVE ends(lo, hi) AS (
           SELECT (SELECT min(s.{row_id}) FROM {from} AS s), (SELECT max(s.{row_id}) FROM {from} AS s)),
         span(lo, step, rest) AS (SELECT lo, hi / {steps} - lo / {steps}, hi % {steps} - lo % {steps} FROM ends),
         probe(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM probe WHERE n + 1 < {steps})"
    )
}

/// Probes the row ids at equal distances, so that a large table costs as much as a small one.
fn probe_sql(table: &TableMetadata, row_id: &str, rows: u32) -> String {
    let from = quoted(Dialect::Sqlite, &table.table.name);
    format!(
        "{} SELECT {} FROM {from} AS t WHERE t.{row_id} IN (
           SELECT (SELECT s.{row_id} FROM {from} AS s
                   WHERE s.{row_id} >= span.lo + span.step * probe.n + span.rest * probe.n / {rows}
                   ORDER BY s.{row_id} LIMIT 1)
           FROM span, probe) ORDER BY t.{row_id}",
        steps(&from, row_id, u64::from(rows)),
        cells(table)
    )
}

/// Counts rows by how close the row ids lie at some places: a place with few rows is counted, of a full one the density is taken.
fn estimate_sql(relation: &Relation) -> Option<String> {
    let row_id = row_id(relation)?;
    let from = quoted(Dialect::Sqlite, &relation.meta.table.name);
    let place = |what: &str| {
        format!(
            "(SELECT {what} FROM (SELECT s.{row_id} AS id FROM {from} AS s
               WHERE s.{row_id} >= span.lo + span.step * probe.n AND s.{row_id} < span.lo + span.step * (probe.n + 1)
               ORDER BY s.{row_id} LIMIT {ROWS_A_PLACE}))"
        )
    };
    Some(format!(
        "{} SELECT CAST(sum(CASE WHEN counted < {ROWS_A_PLACE} THEN counted
                            ELSE 1.0 * {ROWS_A_PLACE} * step / width END) AS INTEGER)
         FROM (SELECT span.step AS step, {} AS counted, {} AS width FROM span, probe)",
        steps(&from, row_id, PLACES),
        place("count(*)"),
        place("max(id) - min(id) + 1")
    ))
}

fn json(cell: Option<Vec<u8>>) -> Value {
    let Some(cell) = cell else {
        return Value::Null;
    };
    let (class, bytes) = match cell.split_first() {
        Some((class, bytes)) => (*class, bytes),
        None => (b't', cell.as_slice()),
    };
    let text = String::from_utf8_lossy(bytes);
    match class {
        b'i' => sample::integer(&text),
        b'r' => sample::float(&text),
        b'b' => sample::bytes(text.parse().unwrap_or_default()),
        _ => sample::text(bytes),
    }
}

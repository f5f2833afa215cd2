//! The rows of tables: counts, and samples spread over each table.

use serde_json::Value;

use super::catalogue::Relation;
use super::errors;
use super::session::{Session, bytes, text};
use crate::error::Result;
use crate::model::metadata::{ColumnMetadata, DataType, Dialect, TableKind, TableMetadata};
use crate::source::documents::{quoted, table_sql};
use crate::source::selection::SMALL;
use crate::source::sharing::Worker;
use crate::source::{Counts, Outcome, Selection, sample};

/// A session that reads the rows of one table after the other.
pub(super) struct Sampler<'a> {
    pub(super) session: Session<'a>,
    pub(super) selection: &'a Selection,
    /// Most bytes of a table's sample.
    pub(super) budget: usize,
}

impl Worker for Sampler<'_> {
    type Item = Relation;

    async fn work(&mut self, relation: &mut Relation) -> Result<()> {
        let limits = self.session.limits;
        let limit = match relation.meta.kind {
            TableKind::Table | TableKind::PartitionedTable => limits.statement,
            TableKind::View | TableKind::MaterializedView | TableKind::ForeignTable => limits.view,
        };
        let limit = self.session.server.set_timeout(limit.min(limits.statement));
        self.session
            .run(format!("SAVEPOINT relation; {limit}"))
            .await?;
        if let Err(error) = self.count_and_sample(&mut relation.meta).await {
            relation.outcome = self.outcome(error)?;
        }
        // Going back gives the table's metadata lock back too, so that nobody's ALTER TABLE waits for all the others.
        self.session
            .run("ROLLBACK TO SAVEPOINT relation".to_owned())
            .await
    }
}

impl Sampler<'_> {
    /// Says what an error means for the table; one that means the end of the session is given back.
    fn outcome(&self, error: sqlx::Error) -> Result<Outcome> {
        match errors::number(&error) {
            Some(1142 | 1143 | 1370) => Ok(Outcome::Denied),
            Some(1146 | 1054 | 1412) => Ok(Outcome::Gone),
            Some(number) if !errors::ends_the_session(number) => {
                Ok(Outcome::Failed(self.session.failed(error).to_string()))
            }
            _ => Err(self.session.failed(error)),
        }
    }

    async fn count_and_sample(&mut self, table: &mut TableMetadata) -> Result<(), sqlx::Error> {
        self.count(table).await?;
        let wanted = self.selection.sample_rows;
        let empty = table.row_count == 0 && table.row_count_exact;
        if wanted == 0 || empty || table.columns.is_empty() {
            return Ok(());
        }
        let sql = self.sample_sql(table, wanted).await?;
        let mut values = Vec::new();
        for row in &self.session.fetch(sql).await? {
            let cells = table.columns.iter().enumerate();
            let cells = cells.map(|(index, column)| Ok(json(column.data_type, bytes(row, index)?)));
            values.push(cells.collect::<Result<Vec<Value>, sqlx::Error>>()?);
        }
        table.sample_rows = sample::within(values, self.budget);
        Ok(())
    }

    /// A small table is counted; of a large one the storage engine's estimate stays.
    async fn count(&mut self, table: &mut TableMetadata) -> Result<(), sqlx::Error> {
        let from = table_sql(Dialect::Mysql, &table.table);
        let sql = match self.selection.counts {
            Counts::Statistics => return Ok(()),
            Counts::Exact => format!("SELECT COUNT(*) FROM {from}"),
            Counts::SmallTables => {
                format!(
                    "SELECT COUNT(*) FROM (SELECT 1 FROM {from} LIMIT {}) AS t",
                    SMALL + 1
                )
            }
        };
        let counted: u64 = self.first(sql).await?.unwrap_or_default();
        let large = self.selection.counts == Counts::SmallTables && counted > SMALL;
        table.row_count = if large {
            counted.max(table.row_count)
        } else {
            counted
        };
        table.row_count_exact = !large;
        Ok(())
    }

    async fn first<N: std::str::FromStr>(&mut self, sql: String) -> Result<Option<N>, sqlx::Error> {
        let rows = self.session.fetch(sql).await?;
        let value = rows.first().map(|row| text(row, 0)).transpose()?.flatten();
        Ok(value.and_then(|value| value.parse().ok()))
    }

    /// Rows spread over the table, the same ones for the same table, and never a sort of all of it.
    async fn sample_sql(
        &mut self,
        table: &TableMetadata,
        rows: u32,
    ) -> Result<String, sqlx::Error> {
        let (from, cells) = (table_sql(Dialect::Mysql, &table.table), cells(table));
        let select = format!("SELECT {cells} FROM {from} AS t");
        if table.row_count <= u64::from(rows) || table.kind.is_view() {
            return Ok(format!("{select} LIMIT {rows}"));
        }
        if table.row_count <= SMALL {
            // Millionths, so that no fraction is written by a float; a seed gives the same numbers each time.
            let share = u64::from(rows).saturating_mul(1_000_000) / table.row_count;
            return Ok(format!(
                "{select} WHERE RAND(1) * 1000000 < {share} LIMIT {}",
                rows.saturating_mul(2)
            ));
        }
        let Some(key) = leading_key(table) else {
            return Ok(format!("{select} LIMIT {rows}"));
        };
        let name = quoted(Dialect::Mysql, &key.name);
        if key.data_type == DataType::Integer {
            let keys = self.spread_keys(&from, &name, rows).await?;
            if !keys.is_empty() {
                return Ok(format!(
                    "{select} WHERE t.{name} IN ({}) LIMIT {}",
                    keys.join(", "),
                    rows.saturating_mul(2)
                ));
            }
        }
        // Keys that are no numbers have no middle: both ends of the index have to do.
        let half = rows.div_ceil(2);
        Ok(format!(
            "({select} ORDER BY t.{name} LIMIT {half}) UNION ALL ({select} ORDER BY t.{name} DESC LIMIT {half})"
        ))
    }

    /// Probes a key at equal distances, so that a large table costs as much as a small one.
    async fn spread_keys(
        &mut self,
        from: &str,
        name: &str,
        rows: u32,
    ) -> Result<Vec<String>, sqlx::Error> {
        let ends = self
            .session
            .fetch(format!("SELECT MIN({name}), MAX({name}) FROM {from}"))
            .await?;
        let end = |place: usize| -> Result<Option<i128>, sqlx::Error> {
            let value = ends.first().map(|row| text(row, place)).transpose()?;
            Ok(value.flatten().and_then(|value| value.parse().ok()))
        };
        let (Some(low), Some(high)) = (end(0)?, end(1)?) else {
            return Ok(Vec::new());
        };
        let last = i128::from(rows.max(2) - 1);
        let probes: Vec<String> = (0..=last)
            .map(|probe| {
                let key = low + (high - low) * probe / last;
                format!("(SELECT {name} FROM {from} WHERE {name} >= {key} ORDER BY {name} LIMIT 1)")
            })
            .collect();
        let mut keys = Vec::new();
        for row in &self.session.fetch(probes.join(" UNION ")).await? {
            // Only what is a number gets into the next statement.
            let key = text(row, 0)?.and_then(|key| key.parse::<i128>().ok());
            keys.extend(key.map(|key| key.to_string()));
        }
        Ok(keys)
    }
}

/// The first column of the primary key, or of another unique one without NULL.
fn leading_key(table: &TableMetadata) -> Option<&ColumnMetadata> {
    let keys = std::iter::once(&table.primary_key).chain(&table.unique_keys);
    let mut columns = keys.filter_map(|key| {
        let name = key.first()?;
        table.columns.iter().find(|column| column.name == *name)
    });
    columns.find(|column| !column.nullable)
}

fn cells(table: &TableMetadata) -> String {
    let cell = |column: &ColumnMetadata| {
        let name = format!("t.{}", quoted(Dialect::Mysql, &column.name));
        match column.data_type {
            DataType::Bytes => format!("CAST(LENGTH({name}) AS CHAR)"),
            DataType::Integer | DataType::Boolean => format!("CAST({name} + 0 AS CHAR)"),
            DataType::Float => format!("CAST({name} + 0e0 AS CHAR)"),
            DataType::Text | DataType::Json => {
                format!("CAST(LEFT({name}, {}) AS CHAR)", sample::TEXT_LIMIT)
            }
            DataType::Decimal
            | DataType::Date
            | DataType::Time
            | DataType::Timestamp
            | DataType::Interval
            | DataType::Uuid
            | DataType::Enum
            | DataType::Array
            | DataType::Other => format!("LEFT(CAST({name} AS CHAR), {})", sample::TEXT_LIMIT),
        }
    };
    let columns = table.columns.iter().map(cell);
    columns.collect::<Vec<_>>().join(", ")
}

fn json(data_type: DataType, cell: Option<Vec<u8>>) -> Value {
    let Some(cell) = cell else {
        return Value::Null;
    };
    let text = String::from_utf8_lossy(&cell);
    match data_type {
        DataType::Integer => sample::integer(&text),
        DataType::Float | DataType::Decimal => sample::float(&text),
        DataType::Boolean => match text.as_ref() {
            "0" => Value::Bool(false),
            "1" => Value::Bool(true),
            other => sample::integer(other),
        },
        DataType::Bytes => sample::bytes(text.parse().unwrap_or_default()),
        DataType::Date => sample::instant("date", &cell),
        DataType::Timestamp => sample::instant("timestamp", &cell),
        DataType::Text
        | DataType::Time
        | DataType::Interval
        | DataType::Uuid
        | DataType::Json
        | DataType::Enum
        | DataType::Array
        | DataType::Other => sample::text(&cell),
    }
}

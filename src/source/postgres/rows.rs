//! The rows of tables: counts, and samples spread over each table.

use serde_json::Value;

use super::catalogue::{Relation, rows};
use super::session::{Session, set_timeout};
use super::{bytes, errors};
use crate::error::Result;
use crate::model::metadata::{ColumnMetadata, DataType, Dialect, TableKind};
use crate::source::documents::{quoted, table_sql};
use crate::source::selection::SMALL;
use crate::source::sharing::Worker;
use crate::source::{Counts, Outcome, Selection, sample};

/// From so many rows on, whole blocks are sampled instead of rows, so that not every block is read.
const LARGE: u64 = SMALL;

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
        let limit = set_timeout(limit.min(limits.statement));
        self.session
            .run(format!("SAVEPOINT relation; {limit}"))
            .await?;
        if let Err(error) = self.count_and_sample(relation).await {
            relation.outcome = self.outcome(error)?;
        }
        // Going back gives the locks back too, so that thousands of tables do not fill the server's lock table.
        self.session
            .run("ROLLBACK TO SAVEPOINT relation; RELEASE SAVEPOINT relation".to_owned())
            .await
    }
}

impl Sampler<'_> {
    /// Says what an error means for the table; one that means the end of the session is given back.
    fn outcome(&self, error: sqlx::Error) -> Result<Outcome> {
        let code = match &error {
            sqlx::Error::Database(database) => database.code().unwrap_or_default().into_owned(),
            _ => return Err(self.session.failed(error)),
        };
        match code.as_str() {
            "42501" => Ok(Outcome::Denied),
            "42P01" | "42703" | "3F000" => Ok(Outcome::Gone),
            "57014" => Ok(Outcome::Failed(self.session.failed(error).to_string())),
            code if errors::ends_the_session(code) => Err(self.session.failed(error)),
            _ => Ok(Outcome::Failed(self.session.failed(error).to_string())),
        }
    }

    async fn count_and_sample(&mut self, relation: &mut Relation) -> Result<(), sqlx::Error> {
        self.count(relation).await?;
        let wanted = self.selection.sample_rows;
        let meta = &relation.meta;
        let empty = meta.row_count == 0 && meta.row_count_exact;
        if wanted == 0 || empty || meta.columns.is_empty() {
            return Ok(());
        }
        let mut sampled = self.session.fetch(sample_sql(relation, wanted)).await?;
        // Sampling whole blocks may hit none.
        if sampled.len() < 20 && meta.row_count > u64::from(wanted) {
            sampled = self.session.fetch(first_rows(relation, wanted)).await?;
        }
        let mut values = Vec::with_capacity(sampled.len());
        for row in &sampled {
            let cells = meta.columns.iter().enumerate();
            let cells = cells.map(|(index, column)| Ok(json(column.data_type, bytes(row, index)?)));
            values.push(cells.collect::<Result<Vec<Value>, sqlx::Error>>()?);
        }
        relation.meta.sample_rows = sample::within(values, self.budget);
        Ok(())
    }

    /// A small table is counted; of a large one the planner's estimate is taken, which sees how large it is now.
    async fn count(&mut self, relation: &mut Relation) -> Result<(), sqlx::Error> {
        let from = table_sql(Dialect::Postgres, &relation.meta.table);
        let sql = match self.selection.counts {
            Counts::Statistics => return Ok(()),
            Counts::Exact => format!("SELECT count(*) FROM {from}"),
            Counts::SmallTables => {
                format!(
                    "SELECT count(*) FROM (SELECT 1 FROM {from} LIMIT {}) AS t",
                    SMALL + 1
                )
            }
        };
        let counted: i64 = self.first(sql).await?.unwrap_or_default();
        let counted = u64::try_from(counted).unwrap_or_default();
        let large = self.selection.counts == Counts::SmallTables && counted > SMALL;
        let estimate = if large {
            let plan: Option<Value> = self
                .first(format!("EXPLAIN (FORMAT JSON) SELECT 1 FROM {from}"))
                .await?;
            let rows_of = |plan: Value| plan.pointer("/0/Plan/Plan Rows").and_then(Value::as_f64);
            plan.and_then(rows_of).map_or(0, rows)
        } else {
            0
        };
        relation.meta.row_count = counted.max(estimate);
        relation.meta.row_count_exact = !large;
        Ok(())
    }

    async fn first<T>(&mut self, sql: String) -> Result<Option<T>, sqlx::Error>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        use sqlx::Row as _;

        let rows = self.session.fetch(sql).await?;
        rows.first().map(|row| row.try_get(0)).transpose()
    }
}

fn cells(relation: &Relation) -> String {
    let cell = |column: &ColumnMetadata| {
        let name = format!("t.{}", quoted(Dialect::Postgres, &column.name));
        if column.data_type == DataType::Bytes {
            format!("octet_length({name})::text")
        } else {
            format!("left({name}::text, {})", sample::TEXT_LIMIT)
        }
    };
    let columns = relation.meta.columns.iter().map(cell);
    columns.collect::<Vec<_>>().join(", ")
}

fn first_rows(relation: &Relation, rows: u32) -> String {
    let from = table_sql(Dialect::Postgres, &relation.meta.table);
    format!("SELECT {} FROM {from} AS t LIMIT {rows}", cells(relation))
}

/// Rows spread over the table, the same ones for the same table; no sort, and no more reading than the count did.
fn sample_sql(relation: &Relation, rows: u32) -> String {
    let count = relation.meta.row_count;
    let sampled = match relation.meta.kind {
        TableKind::Table | TableKind::PartitionedTable | TableKind::MaterializedView => true,
        TableKind::View | TableKind::ForeignTable => false,
    };
    if count <= u64::from(rows) || !sampled {
        return first_rows(relation, rows);
    }
    let method = if count > LARGE { "SYSTEM" } else { "BERNOULLI" };
    // Millionths of a percent, so that no fraction is written by a float.
    let share = (u64::from(rows).saturating_mul(100_000_000) / count).clamp(1, 100_000_000);
    format!(
        "SELECT {} FROM {} AS t TABLESAMPLE {method} ({}.{:06}) REPEATABLE (1) LIMIT {}",
        cells(relation),
        table_sql(Dialect::Postgres, &relation.meta.table),
        share / 1_000_000,
        share % 1_000_000,
        rows.saturating_mul(2)
    )
}

fn json(data_type: DataType, cell: Option<Vec<u8>>) -> Value {
    let Some(cell) = cell else {
        return Value::Null;
    };
    let text = String::from_utf8_lossy(&cell);
    match data_type {
        DataType::Integer => sample::integer(&text),
        DataType::Float | DataType::Decimal => sample::float(&text),
        DataType::Boolean => Value::Bool(text == "true"),
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

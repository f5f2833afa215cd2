//! The catalogue in four queries, however many tables there are, and samples spread over each table.

use std::time::Duration;

use serde_json::Value;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::{STATEMENT_TIMEOUT, bytes, execute, failed};
use crate::error::{Error, ErrorKind, Result};
use crate::model::metadata::{
    ColumnMetadata, DataType, Deferrability, Dialect, ForeignKey, ReferentialAction, TableKind,
    TableMetadata, TableRef,
};
use crate::source::documents::{quoted, table_sql};
use crate::source::{ConnectionUrl, Selection, sample};

/// A view gets less time than a table, because nobody needs its rows.
const VIEW_TIMEOUT: Duration = Duration::from_secs(15);
/// From so many rows on, whole blocks are sampled instead of rows, so that not every block is read.
const LARGE: u64 = 1_000_000;

/// A table as the catalogue has it, and its sort there.
pub(super) struct Relation {
    pub(super) meta: TableMetadata,
    kind: String,
}

/// Reads the catalogue and the samples over one connection.
pub(super) struct Reader<'a> {
    pub(super) connection: PgConnection,
    pub(super) url: &'a ConnectionUrl,
    pub(super) notes: Vec<String>,
}

impl Reader<'_> {
    async fn rows(&mut self, sql: impl Into<String>) -> Result<Vec<PgRow>> {
        sqlx::query(AssertSqlSafe(sql.into()))
            .persistent(false)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| failed(self.url, error))
    }

    pub(super) async fn scalar(&mut self, sql: &'static str) -> Result<String> {
        sqlx::query_scalar(sql)
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| failed(self.url, error))
    }

    fn get<'r, T>(&self, row: &'r PgRow, name: &str) -> Result<T>
    where
        T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        row.try_get(name).map_err(|error| failed(self.url, error))
    }

    fn reference(&self, row: &PgRow) -> Result<TableRef> {
        Ok(TableRef {
            schema: Some(self.get(row, "schema_name")?),
            name: self.get(row, "table_name")?,
        })
    }

    pub(super) async fn catalogue(&mut self, selection: &Selection) -> Result<Vec<Relation>> {
        let mut relations = Vec::new();
        for row in self.rows(include_str!("relations.sql")).await? {
            let table = self.reference(&row)?;
            if !self.get::<bool>(&row, "readable")? {
                self.notes.push(format!(
                    "`{table}` is passed over: the user may not read it"
                ));
                continue;
            }
            let kind: String = self.get(&row, "kind")?;
            relations.push(Relation {
                meta: TableMetadata {
                    table,
                    kind: match kind.as_str() {
                        "v" => TableKind::View,
                        "m" => TableKind::MaterializedView,
                        "p" => TableKind::PartitionedTable,
                        "f" => TableKind::ForeignTable,
                        _ => TableKind::Table,
                    },
                    comment: self.get(&row, "comment")?,
                    columns: Vec::new(),
                    primary_key: Vec::new(),
                    foreign_keys: Vec::new(),
                    unique_keys: Vec::new(),
                    indexes: Vec::new(),
                    row_count: 0,
                    row_count_exact: false,
                    size_bytes: None,
                    sample_rows: Vec::new(),
                },
                kind,
            });
        }
        if relations.is_empty() && !self.notes.is_empty() {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("the user of {} may read none of its tables", self.url),
            )
            .hint("grant USAGE on the schema and SELECT on its tables to the user"));
        }
        relations.sort_by(|a, b| a.meta.table.cmp(&b.meta.table));
        let names: Vec<TableRef> = relations.iter().map(|r| r.meta.table.clone()).collect();
        let chosen = selection.choose(&names)?;
        relations.retain(|relation| chosen.contains(&relation.meta.table));
        self.add_columns(&mut relations).await?;
        self.add_keys(&mut relations).await?;
        self.add_foreign_keys(&mut relations).await?;
        Ok(relations)
    }

    async fn add_columns(&mut self, relations: &mut [Relation]) -> Result<()> {
        for row in self.rows(include_str!("columns.sql")).await? {
            let Some(at) = position(relations, &self.reference(&row)?) else {
                continue;
            };
            let base: String = self.get(&row, "base_type")?;
            let sort: String = self.get(&row, "type_type")?;
            let category: String = self.get(&row, "type_category")?;
            relations[at].meta.columns.push(ColumnMetadata {
                name: self.get(&row, "column_name")?,
                declared_type: self.get(&row, "declared_type")?,
                domain_base: None,
                data_type: data_type(&base, &sort, &category),
                nullable: self.get(&row, "nullable")?,
                default: self.get(&row, "default_value")?,
                generated: self.get(&row, "generated")?,
                identity: None,
                collation: None,
                comment: self.get(&row, "comment")?,
                labels: self.get(&row, "labels")?,
            });
        }
        Ok(())
    }

    async fn add_keys(&mut self, relations: &mut [Relation]) -> Result<()> {
        for row in self.rows(include_str!("unique_keys.sql")).await? {
            let Some(at) = position(relations, &self.reference(&row)?) else {
                continue;
            };
            let columns: Vec<String> = self.get(&row, "columns")?;
            let table = &mut relations[at].meta;
            if self.get(&row, "is_primary")? {
                table.primary_key = columns;
            } else if !table.unique_keys.contains(&columns) {
                table.unique_keys.push(columns);
            }
        }
        Ok(())
    }

    async fn add_foreign_keys(&mut self, relations: &mut [Relation]) -> Result<()> {
        for row in self.rows(include_str!("foreign_keys.sql")).await? {
            let to = TableRef {
                schema: Some(self.get(&row, "parent_schema")?),
                name: self.get(&row, "parent_name")?,
            };
            let Some(at) = position(relations, &self.reference(&row)?) else {
                continue;
            };
            if position(relations, &to).is_none() {
                self.notes.push(format!(
                    "a foreign key of `{}` refers to `{to}`, which is not among the tables read",
                    relations[at].meta.table
                ));
                continue;
            }
            relations[at].meta.foreign_keys.push(ForeignKey {
                name: self.get(&row, "constraint_name")?,
                columns: self.get(&row, "columns")?,
                to,
                to_columns: self.get(&row, "parent_columns")?,
                on_delete: ReferentialAction::NoAction,
                on_update: ReferentialAction::NoAction,
                deferrable: Deferrability::NotDeferrable,
            });
        }
        Ok(())
    }

    /// Adds the row count and the sample. A view or a foreign table that fails is noted, not fatal.
    pub(super) async fn fill(&mut self, relation: &mut Relation, sample_rows: u32) -> Result<()> {
        if matches!(relation.kind.as_str(), "r" | "p") {
            return self.count_and_sample(relation, sample_rows).await;
        }
        let guard = |sql: &str, timeout: Duration| {
            format!(
                "{sql}; SET LOCAL statement_timeout = {};",
                timeout.as_millis()
            )
        };
        self.run(guard("SAVEPOINT relation", VIEW_TIMEOUT)).await?;
        let result = self.count_and_sample(relation, sample_rows).await;
        let back = match result {
            Ok(()) => "RELEASE SAVEPOINT relation",
            Err(error) => {
                let note = format!("`{}` cannot be read: {error}", relation.meta.table);
                self.notes.push(note);
                relation.meta.row_count = 0;
                "ROLLBACK TO SAVEPOINT relation; RELEASE SAVEPOINT relation"
            }
        };
        self.run(guard(back, STATEMENT_TIMEOUT)).await
    }

    async fn run(&mut self, sql: String) -> Result<()> {
        execute(&mut self.connection, self.url, sql).await
    }

    async fn count_and_sample(&mut self, relation: &mut Relation, rows: u32) -> Result<()> {
        let from = table_sql(Dialect::Postgres, &relation.meta.table);
        let counted = self
            .rows(format!("SELECT count(*) AS n FROM {from}"))
            .await?;
        let count: i64 = match counted.first() {
            Some(row) => self.get(row, "n")?,
            None => 0,
        };
        relation.meta.row_count = u64::try_from(count).unwrap_or_default();
        relation.meta.row_count_exact = true;
        if rows == 0 || count == 0 || relation.meta.columns.is_empty() {
            return Ok(());
        }
        let mut sampled = self.rows(sample_sql(relation, rows)).await?;
        // Sampling whole blocks may hit none.
        if sampled.len() < 20 && relation.meta.row_count > u64::from(rows) {
            sampled = self.rows(first_rows(relation, rows)).await?;
        }
        for row in &sampled {
            let cells = relation
                .meta
                .columns
                .iter()
                .enumerate()
                .map(|(index, column)| Ok(json(column.data_type, bytes(row, index)?)));
            let values: Result<Vec<Value>, sqlx::Error> = cells.collect();
            let values = values.map_err(|error| failed(self.url, error))?;
            relation.meta.sample_rows.push(values);
        }
        Ok(())
    }
}

fn position(relations: &[Relation], table: &TableRef) -> Option<usize> {
    relations
        .binary_search_by(|relation| relation.meta.table.cmp(table))
        .ok()
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
    if count <= u64::from(rows) || !matches!(relation.kind.as_str(), "r" | "p") {
        return first_rows(relation, rows);
    }
    let method = if count > LARGE { "SYSTEM" } else { "BERNOULLI" };
    // Millionths of a percent, so that no fraction is written by a float.
    let share = u64::from(rows).saturating_mul(100_000_000) / count;
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
        DataType::Text
        | DataType::Date
        | DataType::Time
        | DataType::Timestamp
        | DataType::Interval
        | DataType::Uuid
        | DataType::Json
        | DataType::Enum
        | DataType::Array
        | DataType::Other => sample::text(&cell),
    }
}

/// Reads `pg_type`: the sort first, then the name.
fn data_type(name: &str, sort: &str, category: &str) -> DataType {
    match (sort, category) {
        ("e", _) => return DataType::Enum,
        (_, "A") => return DataType::Array,
        _ => {}
    }
    match name {
        "text" | "varchar" | "bpchar" | "char" | "name" | "citext" => DataType::Text,
        "int2" | "int4" | "int8" | "oid" => DataType::Integer,
        "numeric" | "money" => DataType::Decimal,
        "float4" | "float8" => DataType::Float,
        "bool" => DataType::Boolean,
        "date" => DataType::Date,
        "time" | "timetz" => DataType::Time,
        "timestamp" | "timestamptz" => DataType::Timestamp,
        "interval" => DataType::Interval,
        "uuid" => DataType::Uuid,
        "json" | "jsonb" => DataType::Json,
        "bytea" => DataType::Bytes,
        _ => DataType::Other,
    }
}

//! `raw_metadata`: what a source's catalogue says, before anything is concluded from it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::graph::output::{Kind, Output};

/// The sort of database a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// SQLite 3.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// A table by name.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct TableRef {
    /// Its schema; absent in SQLite.
    pub schema: Option<String>,
    /// Its name, exactly as the catalogue has it.
    pub name: String,
}

impl std::fmt::Display for TableRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A column's type in relvec's own terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DataType {
    /// Character strings of any length.
    Text,
    /// Whole numbers.
    Integer,
    /// Exact numbers with a fraction.
    Decimal,
    /// Floating point numbers.
    Float,
    /// True and false.
    Boolean,
    /// Days.
    Date,
    /// Times of day.
    Time,
    /// Instants, with or without a zone.
    Timestamp,
    /// Durations.
    Interval,
    /// UUIDs.
    Uuid,
    /// JSON documents.
    Json,
    /// Byte strings.
    Bytes,
    /// One of a declared list of labels.
    Enum,
    /// Lists of another type.
    Array,
    /// Anything else: geometry, ranges, vectors, network addresses.
    Other,
}

/// Whether rows are stored or computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TableKind {
    /// Stored rows.
    Table,
    /// A query under a name.
    View,
}

/// A column as the catalogue has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnMetadata {
    /// Its name.
    pub name: String,
    /// Its type as declared.
    pub declared_type: String,
    /// Its type in relvec's terms.
    pub data_type: DataType,
    /// Whether it accepts NULL.
    pub nullable: bool,
    /// Its default expression.
    pub default: Option<String>,
    /// Whether the database computes it.
    pub generated: bool,
    /// Its comment.
    pub comment: Option<String>,
    /// The labels of an enum, in order.
    pub labels: Vec<String>,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForeignKey {
    /// Its name, where it has one.
    pub name: Option<String>,
    /// The columns that refer, in key order.
    pub columns: Vec<String>,
    /// The table referred to.
    pub to: TableRef,
    /// The columns referred to, in the same order.
    pub to_columns: Vec<String>,
}

/// A table or view with its sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableMetadata {
    /// Which table.
    pub table: TableRef,
    /// Table or view.
    pub kind: TableKind,
    /// Its comment.
    pub comment: Option<String>,
    /// Its columns in declared order.
    pub columns: Vec<ColumnMetadata>,
    /// Its primary key in key order; empty if it has none.
    pub primary_key: Vec<String>,
    /// Its foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
    /// Its unique keys beside the primary one, each in key order; partial and expression indexes are left out.
    pub unique_keys: Vec<Vec<String>>,
    /// Its number of rows.
    pub row_count: u64,
    /// Sample rows: one JSON value a column, in column order. Texts longer than 2,000 characters are cut;
    /// what JSON cannot hold arrives as `{"$type": "bytes", …}`.
    pub sample_rows: Vec<Vec<Value>>,
}

/// What `collect_metadata` writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawMetadata {
    /// The sort of database.
    pub dialect: Dialect,
    /// The database's name (PostgreSQL) or file name (SQLite).
    pub database: String,
    /// The server's version.
    pub server_version: String,
    /// When it was read, in RFC 3339, by the source's clock.
    pub read_at: String,
    /// Tables and views, sorted by schema and name.
    pub tables: Vec<TableMetadata>,
}

impl Output for RawMetadata {
    const KIND: Kind = Kind::new("raw_metadata");
}

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
    /// MySQL and MariaDB.
    Mysql,
}

/// A table by name.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct TableRef {
    /// Its schema, which MySQL calls a database; absent in SQLite.
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

/// Where a table's rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TableKind {
    /// Stored in the table.
    Table,
    /// Stored in its partitions, which are not listed by themselves.
    PartitionedTable,
    /// Stored elsewhere, and fetched by the server when they are read.
    ForeignTable,
    /// Computed by a query under a name.
    View,
    /// Computed by a query, and kept until the next refresh.
    MaterializedView,
}

impl TableKind {
    /// Says whether the rows are computed by a query.
    #[must_use]
    pub const fn is_view(self) -> bool {
        match self {
            Self::Table | Self::PartitionedTable | Self::ForeignTable => false,
            Self::View | Self::MaterializedView => true,
        }
    }
}

/// How a column numbers its rows by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// The database gives every value.
    Always,
    /// The database gives a value where the writer gives none: `AUTO_INCREMENT`, and SQLite's row ids too.
    ByDefault,
}

/// A column as the catalogue has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnMetadata {
    /// Its name.
    pub name: String,
    /// Its type as declared; a domain's name where it is one.
    pub declared_type: String,
    /// The type that the domain is made of, through every domain between; absent where the type is no domain.
    pub domain_base: Option<String>,
    /// Its type in relvec's terms; a domain's is that of its base.
    pub data_type: DataType,
    /// Whether it accepts NULL.
    pub nullable: bool,
    /// Its default expression.
    pub default: Option<String>,
    /// Whether the database computes it from other columns.
    pub generated: bool,
    /// Whether the database numbers it.
    pub identity: Option<Identity>,
    /// Its collation, where it is not the one that its type has anyway.
    pub collation: Option<String>,
    /// Whether its own order is that of the bytes of its text.
    #[serde(default)]
    pub byte_order: bool,
    /// Its comment.
    pub comment: Option<String>,
    /// The labels of an enum, in order.
    pub labels: Vec<String>,
}

/// What happens to the rows that refer when the row referred to goes or changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReferentialAction {
    /// The change is refused, when the constraint is checked.
    NoAction,
    /// The change is refused at once.
    Restrict,
    /// They go or change with it.
    Cascade,
    /// They refer to nothing from then on.
    SetNull,
    /// They refer to what their columns have as a default.
    SetDefault,
}

/// When a foreign key is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Deferrability {
    /// After each statement.
    NotDeferrable,
    /// After each statement, unless a transaction puts it off.
    InitiallyImmediate,
    /// At the end of the transaction.
    InitiallyDeferred,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForeignKey {
    /// Its name, where it has one.
    pub name: Option<String>,
    /// The columns that refer, in key order.
    pub columns: Vec<String>,
    /// The table referred to; it need not be among the tables read.
    pub to: TableRef,
    /// The columns referred to, in the same order.
    pub to_columns: Vec<String>,
    /// What happens when the row referred to is deleted.
    pub on_delete: ReferentialAction,
    /// What happens when its key changes.
    pub on_update: ReferentialAction,
    /// When it is checked.
    pub deferrable: Deferrability,
}

/// What an index is ordered by, at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum IndexPart {
    /// A column, by name.
    Column(String),
    /// An expression, as the catalogue writes it.
    Expression(String),
}

impl IndexPart {
    /// Gives the column's name, if it is one.
    #[must_use]
    pub fn column(&self) -> Option<String> {
        match self {
            Self::Column(name) => Some(name.clone()),
            Self::Expression(_) => None,
        }
    }
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IndexMetadata {
    /// Its name.
    pub name: String,
    /// Whether no two rows are equal in it.
    pub unique: bool,
    /// What it is ordered by, in order.
    pub parts: Vec<IndexPart>,
    /// Which rows are in it, where it does not hold all, as the catalogue writes it.
    pub predicate: Option<String>,
}

/// A table or view with its sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableMetadata {
    /// Which table.
    pub table: TableRef,
    /// Where its rows are.
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
    /// Its indexes by name, those of its keys included.
    pub indexes: Vec<IndexMetadata>,
    /// Its number of rows; an estimate where `row_count_exact` is false, and then 0 if nothing is known.
    pub row_count: u64,
    /// Whether its rows were counted.
    pub row_count_exact: bool,
    /// Bytes on the disk, indexes included, by the database's statistics; absent where it has none.
    pub size_bytes: Option<u64>,
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
    /// The database's name (PostgreSQL, MySQL) or file name (SQLite).
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

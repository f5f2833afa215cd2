//! `migration_plan`: what is migrated, and how a document is made. The plan block of `migrate.py` is made of it, with every statement ready.
//!
//! # The canonical document
//!
//! `migrate.py` and relvec's validator both make documents by these rules, each with its own code.
//!
//! 1. The database casts every value to text: `CAST(c AS TEXT)` in SQLite, `c::text` in PostgreSQL with
//!    `datestyle = 'ISO, YMD'`, `timezone = 'UTC'`, `intervalstyle = 'iso_8601'`, `extra_float_digits = 1` and `bytea_output = 'hex'`.
//!    SQLite's versions round differently, so a value of a field or of the metadata that is stored as REAL is the shortest decimal
//!    that reads back as the same number, as Python's `repr` writes it. In MySQL and MariaDB it is `CAST(c AS CHAR)` in a session
//!    with `sql_mode = ''`, `time_zone = '+00:00'` and the character set utf8mb4, but for four types, wherever the value stands:
//!    `CAST(c + 0 AS CHAR)` of integers and booleans, because a BIT has no text and ZEROFILL adds some; `CAST(c + 0e0 AS CHAR)` of
//!    floats, because a FLOAT's own text has six digits and its double's text reads back as the same number; and
//!    `LOWER(HEX(c))` of byte strings, which geometries are too. Their texts are ordered by `CAST(text AS BINARY)`, with
//!    `max_sort_length = 8192`, because their collations ignore spaces at the end.
//! 2. Blank means NULL, or nothing left after trimming tab, line feed, vertical tab, form feed, carriage return and space.
//! 3. Sections in plan order. A field section gives the line `label: value` with the value trimmed, or nothing if it is
//!    blank. A children section gives the line `label:` and a line `- a | b` a child row, in the order of the child's
//!    key (texts by their bytes), with the row's values that are not blank, trimmed; a row with none gives no line; no
//!    rows give no lines at all.
//! 4. The lines are joined with a line feed. A document without a line is empty: it is counted and not embedded.
//! 5. A root row gets a document if it passes every condition of the entity's filter.
//! 6. Chunks are consecutive pieces of the document; put together they are the document again, to the byte.
//!
//! The content hash of a chunk is SHA-256 over the chunk's text and then each metadata value in plan order, each
//! encoded as `T`, its length in bytes as eight bytes big-endian, and its UTF-8 bytes; NULL is the single byte `N`. The id of a chunk
//! is SHA-256 over the entity's name, each key value in order, and the chunk's number in decimal, all encoded as above; the
//! first 16 bytes with RFC 9562's version 8 and variant bits set.
//!
//! # Rows without a key
//!
//! An entity with an empty key is a multiset: a row is known by what it holds, and equal rows are numbered.
//!
//! 1. The row hash is SHA-256 over the value of each column of `row`, in order, as rule 1 has its text and encoded as above, in 64
//!    lower-case hexadecimal digits. A text that is not UTF-8 is hashed by the bytes that it has, so that it is equal to no other one.
//! 2. Equal rows are numbered 1, 2, 3, …: their occurrences. Any order will do, because equal rows have equal documents.
//! 3. Wherever a key is used (ids, `source_key`), it is the row hash and the occurrence in decimal: two texts under the names `row` and
//!    `occurrence`. So the same rows have the same ids again, and a row that was changed is one row gone and one row new.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::job::{EmbeddingProvider, OnDelete, Runtime};
use super::metadata::{DataType, Dialect, TableRef};
use crate::graph::output::{Kind, Output};

/// A column of a table, with its type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanColumn {
    /// Its name.
    pub name: String,
    /// Its type in relvec's terms.
    pub data_type: DataType,
}

/// Two columns that a join holds equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnPair {
    /// The column of the referring side.
    pub from: String,
    /// The column of the side referred to.
    pub to: String,
}

/// An N:1 join: `LEFT JOIN table AS alias ON <left>.from = alias.to`, on a unique key, so it never multiplies rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParentJoin {
    /// `p1`, `p2`, …; made by relvec, never from the database.
    pub alias: String,
    /// The alias of the referring side: `r` for the root, or an earlier parent.
    pub left: String,
    /// The table joined.
    pub table: TableRef,
    /// `from` is a column of `left`, `to` one of `table`; the `to` columns have a unique key of `table` among them.
    pub on: Vec<ColumnPair>,
    /// That key: what says that the join never multiplies rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unique_key: Vec<String>,
}

/// Where a field's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldSource {
    /// `r` for the root, or a parent's alias.
    pub alias: String,
    /// The column.
    pub column: String,
    /// Its type.
    pub data_type: DataType,
}

/// A part of the document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "section", rename_all = "snake_case", deny_unknown_fields)]
pub enum Section {
    /// One value.
    Field {
        /// What stands before the value.
        label: String,
        /// Where the value comes from.
        source: FieldSource,
        /// 0 to 1, higher is better.
        score: f64,
        /// Why it is in, one sentence each.
        reasons: Vec<String>,
    },
    /// Rows of a child table (1:N), aggregated in the order of `order_by`.
    Children {
        /// What stands above the rows.
        label: String,
        /// The child table.
        table: TableRef,
        /// `from` is a column of the child, `to` one of the root.
        on: Vec<ColumnPair>,
        /// The N:1 parents of the child that its columns may come from; `left` is `c` for the child itself.
        parents: Vec<ParentJoin>,
        /// The values of a child row; alias `c` is the child itself.
        columns: Vec<FieldSource>,
        /// A key of the child, so that the order is total.
        order_by: Vec<PlanColumn>,
        /// Why it is in, one sentence each.
        reasons: Vec<String>,
    },
}

/// A value kept beside the vector for filtering.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetadataField {
    /// Its key in the `metadata` object, unique in the entity.
    pub name: String,
    /// Where the value comes from.
    pub source: FieldSource,
}

/// How a column is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
    /// One of a list.
    In,
    /// None of a list.
    NotIn,
    /// Like a pattern with `%` and `_`; `!` takes their meaning away.
    Like,
    /// NULL.
    IsNull,
    /// Not NULL.
    IsNotNull,
}

impl Operator {
    /// Gives its SQL, which is the same in every dialect.
    #[must_use]
    pub const fn sql(self) -> &'static str {
        match self {
            Self::Eq => "=",
            Self::Ne => "<>",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::In => "IN",
            Self::NotIn => "NOT IN",
            Self::Like => "LIKE",
            Self::IsNull => "IS NULL",
            Self::IsNotNull => "IS NOT NULL",
        }
    }
}

/// A condition on a root row. The database compares, by the column's own type and collation; NULL passes `is_null` only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The column of the root.
    pub column: PlanColumn,
    /// How it is compared.
    pub op: Operator,
    /// With what, as texts that fit the column's type: decimal digits for numbers, `true` and `false` for truth values. One for a
    /// comparison, any number for a list, none for NULL.
    pub values: Vec<String>,
}

/// A business object that gets documents: one root row, one document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntityPlan {
    /// Its name, unique in the plan: the root's table name, with the schema where that is ambiguous.
    pub name: String,
    /// The root table, aliased `r`.
    pub root: TableRef,
    /// A key of the root whose columns are not NULL, in key order; the primary key where there is one. Empty where there is none.
    pub key: Vec<PlanColumn>,
    /// Whether the key's own order is that of the bytes of its texts, so that pages by that order use its index.
    #[serde(default)]
    pub key_in_byte_order: bool,
    /// What tells rows apart where there is no key: the root's columns in table order, without those that the job takes out of the text,
    /// what is secret or personal, and SQLite's byte strings, which have no text; but always those that documents are made of. To leave a column out is
    /// safe: rows that differ in nothing else have equal documents, and each of them is numbered and keeps its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub row: Vec<PlanColumn>,
    /// Rows of the root when the plan was made, whether they pass the filter or not.
    pub row_count: u64,
    /// What a root row has to be like to get a document; all of it has to hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filter: Vec<Condition>,
    /// N:1 joins, each after the one it hangs on.
    pub parents: Vec<ParentJoin>,
    /// The document's parts in order.
    pub sections: Vec<Section>,
    /// What is kept for filtering.
    pub metadata: Vec<MetadataField>,
    /// Why this is an entity, one sentence each.
    pub reasons: Vec<String>,
}

impl EntityPlan {
    /// Says whether its rows have no key, so that they are compared as a multiset.
    #[must_use]
    pub const fn is_keyless(&self) -> bool {
        self.key.is_empty()
    }

    /// Gives the names in `source_key`, in key order.
    #[must_use]
    pub fn key_names(&self) -> Vec<&str> {
        if self.is_keyless() {
            return vec!["row", "occurrence"];
        }
        self.key.iter().map(|column| column.name.as_str()).collect()
    }
}

/// A table that gets no documents of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// Which table.
    pub table: TableRef,
    /// Why, in one sentence.
    pub reason: String,
}

/// A column that was considered for the text and left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RankedColumn {
    /// Which table.
    pub table: TableRef,
    /// Which column.
    pub column: String,
    /// 0 to 1, higher is better.
    pub score: f64,
    /// Whether it is in some document's text.
    pub chosen: bool,
    /// Why, one sentence each.
    pub reasons: Vec<String>,
}

/// How texts become vectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingPlan {
    /// Which API.
    pub provider: EmbeddingProvider,
    /// Where, without a trailing slash; the environment variable `EMBEDDING_BASE_URL` overrides it.
    pub base_url: String,
    /// The model's name.
    pub model: String,
    /// Numbers a vector; probed before any DDL if absent.
    pub dimensions: Option<u32>,
    /// The environment variable that holds the key, if the API wants one.
    pub api_key_env: Option<String>,
    /// Most texts a request.
    pub batch_items: u32,
    /// Most tokens a request, by the estimate of four bytes a token.
    pub batch_tokens: u32,
    /// Most requests at once.
    pub concurrency: u32,
    /// Most tokens a chunk, by the same estimate.
    pub chunk_tokens: u32,
}

/// Where vectors go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetPlan {
    /// The table's schema.
    pub schema: String,
    /// The table; `<table>_checkpoint` and `<table>_quarantine` stand beside it.
    pub table: String,
    /// What becomes of documents whose source rows are gone.
    #[serde(default)]
    pub on_delete: OnDelete,
}

/// What the migration is expected to cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// Documents: the root rows of every entity; more than there will be where a filter leaves rows out.
    pub documents: u64,
    /// Chunks, from the samples' lengths.
    pub chunks: u64,
    /// Tokens, by four bytes a token.
    pub tokens: u64,
    /// Requests to the embedding API.
    pub requests: u64,
    /// What the tokens cost by the price that the job gives, in its currency.
    #[serde(default)]
    pub cost: Option<f64>,
    /// Bytes of the target table: texts, metadata and vectors; absent where the dimension is not known yet.
    #[serde(default)]
    pub table_bytes: Option<u64>,
    /// Bytes of its HNSW index; absent where the dimension is not known yet or has no index.
    #[serde(default)]
    pub index_bytes: Option<u64>,
}

/// What `analyzer` writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrationPlan {
    /// The version of this format.
    pub version: u32,
    /// The sort of source.
    pub dialect: Dialect,
    /// The source's name.
    pub database: String,
    /// Where vectors go.
    pub target: TargetPlan,
    /// How texts become vectors.
    pub embedding: EmbeddingPlan,
    /// What is generated beside `migrate.py`.
    pub runtime: Runtime,
    /// The entities, sorted by name.
    pub entities: Vec<EntityPlan>,
    /// Tables without documents of their own, each with its reason.
    pub left_out: Vec<LeftOut>,
    /// Every column that was considered for text, best first.
    pub ranking: Vec<RankedColumn>,
    /// What it is expected to cost.
    pub estimate: Estimate,
}

impl Output for MigrationPlan {
    const KIND: Kind = Kind::new("migration_plan");
}

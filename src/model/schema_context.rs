//! `schema_context`: table profiles and the join graph.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::metadata::{DataType, Dialect, TableKind, TableRef};
use crate::graph::output::{Kind, Output};

/// What the values of a column look like.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ValueClass {
    /// Sentences.
    Prose,
    /// A few words: titles, names of things.
    Phrase,
    /// Short codes, often in capitals, digits and dashes.
    Code,
    /// Electronic mail addresses.
    Email,
    /// URLs.
    Url,
    /// UUIDs as text.
    Uuid,
    /// Digests and tokens.
    Hash,
    /// Telephone numbers.
    Phone,
    /// What identifies a person or an account: card numbers, IBANs, social security and tax numbers, network addresses.
    Personal,
    /// Streets with house numbers.
    Address,
    /// Bytes as base64.
    Base64,
    /// JSON as text.
    Json,
    /// HTML markup.
    Html,
    /// Numbers as text.
    Number,
    /// Dates as text.
    Date,
    /// No value seen.
    Empty,
    /// None of these.
    Mixed,
}

/// How a whole number is spread over the values that are not NULL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// The least.
    pub min: u64,
    /// Half of the values have at most so many.
    pub median: u64,
    /// 95 of 100 values have at most so many.
    pub p95: u64,
    /// The most.
    pub max: u64,
}

/// What the characters of all values are, as shares that add up to 1; all 0 where there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CharacterShares {
    /// Letters that are not capitals, of any script.
    pub lower: f64,
    /// Capitals.
    pub upper: f64,
    /// Digits.
    pub digits: f64,
    /// White space.
    pub space: f64,
    /// Everything else.
    pub symbols: f64,
}

/// How many of the values look like something.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassShare {
    /// What they look like.
    pub class: ValueClass,
    /// Their share of the values that are not blank, 0 to 1.
    pub share: f64,
}

/// A column with the statistics of its sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnProfile {
    /// Its name.
    pub name: String,
    /// Its type in relvec's terms.
    pub data_type: DataType,
    /// Whether it accepts NULL.
    pub nullable: bool,
    /// Whether its own order is that of the bytes of its text.
    #[serde(default)]
    pub byte_order: bool,
    /// Its comment.
    pub comment: Option<String>,
    /// The labels of an enum.
    pub labels: Vec<String>,
    /// Sampled values, NULL included.
    pub samples: u64,
    /// Share of NULL among the samples, 0 to 1; 0 if there are none.
    pub null_ratio: f64,
    /// Share of empty or blank texts among the samples, 0 to 1.
    pub empty_ratio: f64,
    /// Distinct values by samples that are not NULL, 0 to 1.
    pub distinct_ratio: f64,
    /// Mean number of characters of values that are not NULL.
    pub mean_chars: f64,
    /// Most characters of a value.
    pub max_chars: u64,
    /// Mean number of words of values that are not NULL.
    pub mean_words: f64,
    /// How much the values look like natural language, 0 to 1.
    pub language_score: f64,
    /// What the values look like.
    pub class: ValueClass,
    /// The characters of a value.
    #[serde(default)]
    pub chars: Spread,
    /// The words of a value.
    #[serde(default)]
    pub words: Spread,
    /// What the characters are.
    #[serde(default)]
    pub characters: CharacterShares,
    /// What the values look like one by one, most frequent first.
    #[serde(default)]
    pub classes: Vec<ClassShare>,
}

/// A table with its columns' statistics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableProfile {
    /// Which table.
    pub table: TableRef,
    /// Table or view.
    pub kind: TableKind,
    /// Its comment.
    pub comment: Option<String>,
    /// Its number of rows.
    pub row_count: u64,
    /// Its primary key in key order.
    pub primary_key: Vec<String>,
    /// Its other unique keys.
    pub unique_keys: Vec<Vec<String>>,
    /// Its columns in declared order.
    pub columns: Vec<ColumnProfile>,
    /// Whether two sampled rows are equal in every column, so that nothing can tell them apart.
    #[serde(default)]
    pub equal_rows: bool,
}

impl TableProfile {
    /// Gives the unique key that has no column beside these, where there is one: what says that a join to them multiplies no rows.
    #[must_use]
    pub fn unique_key_in(&self, columns: &[String]) -> Option<&Vec<String>> {
        std::iter::once(&self.primary_key)
            .chain(&self.unique_keys)
            .find(|key| !key.is_empty() && key.iter().all(|column| columns.contains(column)))
    }
}

/// Where a join comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum JoinOrigin {
    /// A foreign key.
    Declared {
        /// Its name, where it has one.
        constraint: Option<String>,
    },
    /// The job names it.
    Forced,
    /// Names, types and values.
    Inferred {
        /// 0 to 1.
        confidence: f64,
        /// What speaks for it, one sentence each.
        evidence: Vec<String>,
    },
}

/// How many rows meet, from the referring side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cardinality {
    /// The referring columns are unique too.
    OneToOne,
    /// Many rows refer to one.
    ManyToOne,
}

/// An edge of the join graph, from the referring table to the table with the unique key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The table that refers.
    pub from: TableRef,
    /// Its columns.
    pub from_columns: Vec<String>,
    /// The table referred to.
    pub to: TableRef,
    /// Its columns, a unique key of it, in the same order.
    pub to_columns: Vec<String>,
    /// Where it comes from.
    pub origin: JoinOrigin,
    /// How many rows meet.
    pub cardinality: Cardinality,
}

/// Many rows of one table meet many of another (M:N) through a table whose rows are pairs of references.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Junction {
    /// The table of pairs.
    pub through: TableRef,
    /// One side.
    pub left: TableRef,
    /// The columns of the pairs that refer to it.
    pub left_columns: Vec<String>,
    /// The other side.
    pub right: TableRef,
    /// The columns of the pairs that refer to it.
    pub right_columns: Vec<String>,
    /// Whether a unique key says that no pair stands there twice.
    pub unique_pairs: bool,
}

/// What `normalize_schema` writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SchemaContext {
    /// The sort of database.
    pub dialect: Dialect,
    /// The database's name.
    pub database: String,
    /// Tables and views, sorted by schema and name.
    pub tables: Vec<TableProfile>,
    /// The join graph.
    pub joins: Vec<Join>,
    /// Which tables meet many to many, and through which table.
    #[serde(default)]
    pub junctions: Vec<Junction>,
}

impl Output for SchemaContext {
    const KIND: Kind = Kind::new("schema_context");
}

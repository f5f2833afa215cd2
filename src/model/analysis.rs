//! `analysis`: what a person says about a source that relvec would otherwise have to work out. It is a part of the job.
//!
//! Tables are named as `table` or `schema.table`, columns as `table.column`; `*` stands for any run of characters where it says so.
//! What names nothing that is there is an error, and the error names what is near.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::Operator;

/// What the analyzer has to do, whatever it thinks itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AnalysisSpec {
    /// Tables that get documents of their own.
    pub roots: Vec<String>,
    /// Tables that stand in no document, as patterns with `*`. They are read, unlike those of `source.exclude`.
    pub exclude_tables: Vec<String>,
    /// Columns that stand in the text of their table's rows, as patterns with `*`. Secrets stay out.
    pub include_columns: Vec<String>,
    /// Columns that stand in no text and no metadata, as patterns with `*`.
    pub exclude_columns: Vec<String>,
    /// For a table without a primary key: the columns that identify its rows.
    pub keys: BTreeMap<String, Vec<String>>,
    /// Joins that hold. Each has to end at a unique key, because any other one would multiply rows.
    pub joins: Vec<JoinSpec>,
    /// Joins that do not hold, or that nothing should be made of.
    pub drop_joins: Vec<DroppedJoinSpec>,
    /// For a table with documents: their parts in order, in the place of those that relvec finds.
    pub templates: BTreeMap<String, Vec<TemplateSection>>,
    /// For a table with documents: what a row has to be like to get one. All conditions of a table have to hold.
    pub filters: BTreeMap<String, Vec<FilterCondition>>,
}

/// A join from columns that refer to columns that are a unique key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinSpec {
    /// The table that refers.
    pub from: String,
    /// Its columns.
    pub columns: Vec<String>,
    /// The table referred to.
    pub to: String,
    /// Its columns, in the same order; its primary key if absent.
    #[serde(default)]
    pub to_columns: Vec<String>,
}

/// A join by the columns that refer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DroppedJoinSpec {
    /// The table that refers.
    pub from: String,
    /// Its columns.
    pub columns: Vec<String>,
}

/// A part of a document: either `column`, or `children` with `columns`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TemplateSection {
    /// What stands before the value or above the rows; made of the names if absent.
    pub label: Option<String>,
    /// A column of the table, or `table.column` of a table that it refers to, directly or through another one.
    pub column: Option<String>,
    /// The column that refers, where several of the table's columns refer to the same one.
    pub via: Option<String>,
    /// A table whose rows refer to the table: they are listed in the order of their key.
    pub children: Option<String>,
    /// What is listed of a row of `children`: its columns, or `table.column` of a table that it refers to.
    pub columns: Vec<String>,
}

/// A condition on a row's own column. NULL passes `is_null` only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilterCondition {
    /// The column.
    pub column: String,
    /// How it is compared. `like` knows `%`, `_` and `!` before one of the three; whether it knows capitals is the database's matter.
    pub op: Operator,
    /// What it is compared with: a text, a number or a truth value; absent for `in`, `not_in`, `is_null` and `is_not_null`.
    #[serde(default)]
    #[schemars(extend("type" = ["string", "number", "boolean", "null"]))]
    pub value: Option<Value>,
    /// What it is compared with by `in` and `not_in`.
    #[serde(default)]
    #[schemars(extend("items" = {"type": ["string", "number", "boolean"]}))]
    pub values: Vec<Value>,
}

//! What the job says about the source, held against what is there.
//!
//! 1. [`joins`]: excluded tables go, joins that do not hold go, joins that hold come.
//! 2. [`columns`]: columns come into the text or go.
//! 3. [`filter`]: conditions become typed ones.
//!
//! Roots and keys are looked up in [`roots`] and [`keys`], templates in [`super::template`]. Every name that is not there is an error.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::roles::Assessed;
use super::tables::Table;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::diagnostic::did_you_mean;
use crate::model::analysis::{AnalysisSpec, FilterCondition, JoinSpec};
use crate::model::metadata::{DataType, TableRef};
use crate::model::plan::{Condition, LeftOut, Operator, PlanColumn};
use crate::model::schema_context::{
    Cardinality, ColumnProfile, Join, JoinOrigin, SchemaContext, TableProfile,
};
use crate::source::filter::is_number;
use crate::source::selection::{glob, matches_table};

/// Most names that an error lists.
const LISTED: usize = 12;

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

/// Adds what the wrong name is near to, or what there is.
fn near(error: Error, name: &str, known: &[String]) -> Error {
    if let Some(hint) = did_you_mean(name, known.iter().map(String::as_str)) {
        return error.hint(hint);
    }
    if known.is_empty() {
        return error.hint("there is none");
    }
    let more = if known.len() > LISTED { ", …" } else { "" };
    let known: Vec<&str> = known.iter().take(LISTED).map(String::as_str).collect();
    error.hint(format!("there are {}{more}", known.join(", ")))
}

/// Gives the table of a name, which may have its schema.
pub(super) fn table<'c>(
    context: &'c SchemaContext,
    place: &str,
    name: &str,
) -> Result<&'c TableProfile> {
    let called: Vec<&TableProfile> = context
        .tables
        .iter()
        .filter(|table| table.table.name == name || table.table.to_string() == name)
        .collect();
    match called.as_slice() {
        [table] => Ok(table),
        [] => {
            let both = |table: &TableProfile| [table.table.name.clone(), table.table.to_string()];
            let mut known: Vec<String> = context.tables.iter().flat_map(both).collect();
            known.dedup();
            Err(near(
                invalid(format!("{place}: the source has no table `{name}`")),
                name,
                &known,
            ))
        }
        several => {
            let names: Vec<String> = several
                .iter()
                .map(|table| format!("`{}`", table.table))
                .collect();
            Err(
                invalid(format!("{place}: several tables are called `{name}`"))
                    .hint(format!("write {}", names.join(" or "))),
            )
        }
    }
}

/// Gives the column of a name.
pub(super) fn column<'c>(
    table: &'c TableProfile,
    place: &str,
    name: &str,
) -> Result<&'c ColumnProfile> {
    table
        .columns
        .iter()
        .find(|column| column.name == name)
        .ok_or_else(|| {
            let known: Vec<String> = table
                .columns
                .iter()
                .map(|column| column.name.clone())
                .collect();
            near(
                invalid(format!("{place}: `{}` has no column `{name}`", table.table)),
                name,
                &known,
            )
        })
}

/// Gives the context without excluded tables and dropped joins and with forced joins, and the tables that were excluded.
///
/// # Errors
/// A name is not there, or a forced join would multiply rows.
pub(super) fn joins(
    spec: &AnalysisSpec,
    context: &SchemaContext,
) -> Result<(SchemaContext, Vec<LeftOut>)> {
    let mut changed = context.clone();
    for dropped in &spec.drop_joins {
        let from = table(context, "analysis.drop_joins", &dropped.from)?;
        let same = |join: &Join| join.from == from.table && join.from_columns == dropped.columns;
        if !context.joins.iter().any(same) {
            return Err(no_join(context, from, &dropped.columns));
        }
        changed.joins.retain(|join| !same(join));
    }
    for forced in &spec.joins {
        let join = forced_join(context, forced)?;
        changed
            .joins
            .retain(|known| known.from != join.from || known.from_columns != join.from_columns);
        changed.joins.push(join);
    }
    changed
        .joins
        .sort_by(|a, b| (&a.from, &a.from_columns, &a.to).cmp(&(&b.from, &b.from_columns, &b.to)));
    let excluded = excluded_tables(spec, context)?;
    changed
        .tables
        .retain(|table| !excluded.contains(&table.table));
    changed
        .joins
        .retain(|join| !excluded.contains(&join.from) && !excluded.contains(&join.to));
    let out = |table| LeftOut {
        table,
        reason: "the job leaves it out (analysis.exclude_tables)".to_owned(),
    };
    Ok((changed, excluded.into_iter().map(out).collect()))
}

fn no_join(context: &SchemaContext, from: &TableProfile, columns: &[String]) -> Error {
    let wanted = columns.join(", ");
    let known: Vec<String> = context
        .joins
        .iter()
        .filter(|join| join.from == from.table)
        .map(|join| join.from_columns.join(", "))
        .collect();
    let message = format!(
        "analysis.drop_joins: no join leaves `{}` by ({wanted})",
        from.table
    );
    near(invalid(message), &wanted, &known)
}

fn excluded_tables(spec: &AnalysisSpec, context: &SchemaContext) -> Result<BTreeSet<TableRef>> {
    let mut excluded = BTreeSet::new();
    for pattern in &spec.exclude_tables {
        let before = excluded.len();
        let matching = context
            .tables
            .iter()
            .filter(|table| matches_table(pattern, &table.table));
        let matching: Vec<TableRef> = matching.map(|table| table.table.clone()).collect();
        if matching.is_empty() && before == excluded.len() {
            let known: Vec<String> = context
                .tables
                .iter()
                .map(|table| table.table.name.clone())
                .collect();
            let message =
                format!("analysis.exclude_tables: the pattern `{pattern}` matches no table");
            return Err(near(invalid(message), pattern, &known));
        }
        excluded.extend(matching);
    }
    Ok(excluded)
}

fn forced_join(context: &SchemaContext, spec: &JoinSpec) -> Result<Join> {
    let place = "analysis.joins";
    let (from, to) = (
        table(context, place, &spec.from)?,
        table(context, place, &spec.to)?,
    );
    let to_columns = if spec.to_columns.is_empty() {
        &to.primary_key
    } else {
        &spec.to_columns
    };
    if spec.columns.is_empty() || spec.columns.len() != to_columns.len() {
        return Err(invalid(format!(
            "{place}: `{}` ({}) and `{}` ({}) do not have as many columns as each other",
            from.table,
            spec.columns.join(", "),
            to.table,
            to_columns.join(", ")
        ))
        .hint("name the columns of both sides, in the same order"));
    }
    for (own, other) in spec.columns.iter().zip(to_columns) {
        let (own, other) = (column(from, place, own)?, column(to, place, other)?);
        if !comparable(own.data_type, other.data_type) {
            return Err(invalid(format!(
                "{place}: `{}.{}` and `{}.{}` are of different types, so that no value of one equals one of the other",
                from.table, own.name, to.table, other.name
            ))
            .hint("join columns of the same type"));
        }
    }
    if to.unique_key_in(to_columns).is_none() {
        return Err(invalid(format!(
            "{place}: ({}) is no unique key of `{}`, so that the join would multiply the rows of `{}`",
            to_columns.join(", "),
            to.table,
            from.table
        ))
        .hint("join to a primary key or to columns with a unique index")
        .hint("if each of the rows refers to one of these instead, turn the join round"));
    }
    let one = from.unique_key_in(&spec.columns).is_some();
    Ok(Join {
        from: from.table.clone(),
        from_columns: spec.columns.clone(),
        to: to.table.clone(),
        to_columns: to_columns.clone(),
        origin: JoinOrigin::Forced,
        cardinality: if one {
            Cardinality::OneToOne
        } else {
            Cardinality::ManyToOne
        },
    })
}

fn comparable(a: DataType, b: DataType) -> bool {
    let number = |data_type| {
        matches!(
            data_type,
            DataType::Integer | DataType::Decimal | DataType::Float
        )
    };
    a == b || (number(a) && number(b))
}

/// Gives the tables that are roots whatever they look like.
pub(super) fn roots(spec: &AnalysisSpec, context: &SchemaContext) -> Result<BTreeSet<TableRef>> {
    let names = spec.roots.iter();
    names
        .map(|name| Ok(table(context, "analysis.roots", name)?.table.clone()))
        .collect()
}

/// Gives the keys of tables without one.
pub(super) fn keys(
    spec: &AnalysisSpec,
    context: &SchemaContext,
) -> Result<BTreeMap<TableRef, Vec<String>>> {
    let mut keys = BTreeMap::new();
    for (name, columns) in &spec.keys {
        let table = table(context, "analysis.keys", name)?;
        for name in columns {
            column(table, "analysis.keys", name)?;
        }
        if columns.is_empty() || table.equal_rows {
            let why = if columns.is_empty() {
                "it has no columns"
            } else {
                "rows of the table are equal in every column"
            };
            return Err(invalid(format!("analysis.keys: the key of `{}` identifies no row: {why}", table.table))
                .hint("name columns in which no two rows are equal, or leave the table out with analysis.exclude_tables"));
        }
        keys.insert(table.table.clone(), columns.clone());
    }
    Ok(keys)
}

/// Moves columns into the text and out of it.
///
/// # Errors
/// A pattern matches no column, or names a secret.
pub(super) fn columns(spec: &AnalysisSpec, tables: &mut [Table<'_>]) -> Result<()> {
    for pattern in &spec.include_columns {
        each(tables, "include_columns", pattern, |column| {
            if !column.is_secret {
                column.include();
            } else if !pattern.contains('*') {
                return Err(secret(
                    &format!("analysis.include_columns: `{pattern}`"),
                    column,
                ));
            }
            Ok(())
        })?;
    }
    for pattern in &spec.exclude_columns {
        each(tables, "exclude_columns", pattern, |column| {
            column.exclude();
            Ok(())
        })?;
    }
    Ok(())
}

/// Gives the error of a secret that somebody wants in a text.
pub(super) fn secret(place: &str, column: &Assessed<'_>) -> Error {
    let why = column.reasons.first().map_or("", String::as_str);
    invalid(format!("{place} is never embedded: {why}"))
        .hint("leave it out; if it is no secret, give it another name in a view of the source")
}

fn each(
    tables: &mut [Table<'_>],
    list: &str,
    pattern: &str,
    mut change: impl FnMut(&mut Assessed<'_>) -> Result<()>,
) -> Result<()> {
    let (of_table, of_column) = pattern.rsplit_once('.').unwrap_or(("*", pattern));
    let mut found = false;
    let mut known = Vec::new();
    for table in tables {
        let in_table = matches_table(of_table, &table.profile.table);
        for column in &mut table.columns {
            known.push(format!(
                "{}.{}",
                table.profile.table.name, column.column.name
            ));
            if in_table && glob(of_column, &column.column.name) {
                found = true;
                change(column)?;
            }
        }
    }
    if found {
        return Ok(());
    }
    let message = format!("analysis.{list}: the pattern `{pattern}` matches no column");
    Err(near(invalid(message), pattern, &known))
}

/// Gives the typed conditions of a table's filter.
///
/// # Errors
/// A column is not there or cannot be compared so, or a value does not fit its type.
pub(super) fn filter(table: &TableProfile, spec: &[FilterCondition]) -> Result<Vec<Condition>> {
    spec.iter()
        .map(|condition| typed(table, condition))
        .collect()
}

fn typed(table: &TableProfile, spec: &FilterCondition) -> Result<Condition> {
    let place = format!("analysis.filters of `{}`", table.table);
    let column = column(table, &place, &spec.column)?;
    let values: Vec<&Value> = spec
        .value
        .iter()
        .filter(|value| !value.is_null())
        .chain(&spec.values)
        .collect();
    let (least, most, wants) = match spec.op {
        Operator::Eq
        | Operator::Ne
        | Operator::Lt
        | Operator::Le
        | Operator::Gt
        | Operator::Ge
        | Operator::Like => (1, 1, "one `value`"),
        Operator::In | Operator::NotIn => (1, 1000, "1 to 1000 `values`"),
        Operator::IsNull | Operator::IsNotNull => (0, 0, "no value"),
    };
    let lists = matches!(spec.op, Operator::In | Operator::NotIn);
    let misplaced = if lists {
        spec.value.is_some()
    } else {
        !spec.values.is_empty()
    };
    if !(least..=most).contains(&values.len()) || misplaced {
        return Err(invalid(format!(
            "{place}: the condition on `{}` needs {wants}",
            column.name
        )));
    }
    if spec.op == Operator::Like && column.data_type != DataType::Text {
        return Err(invalid(format!(
            "{place}: `{}` is no text, so that nothing is `like` it",
            column.name
        )));
    }
    let values: Result<Vec<String>> = values
        .into_iter()
        .map(|value| fitting(column, value).ok_or_else(|| misfit(&place, column)))
        .collect();
    Ok(Condition {
        column: PlanColumn {
            name: column.name.clone(),
            data_type: column.data_type,
        },
        op: spec.op,
        values: values?,
    })
}

/// A value as the text that its column's type takes.
fn fitting(column: &ColumnProfile, value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    let fits = match column.data_type {
        DataType::Integer => text.parse::<i64>().is_ok() && is_number(&text),
        DataType::Decimal | DataType::Float => is_number(&text) && text.len() <= 60,
        DataType::Boolean => matches!(text.as_str(), "true" | "false"),
        DataType::Text
        | DataType::Enum
        | DataType::Date
        | DataType::Time
        | DataType::Timestamp
        | DataType::Uuid => !text.contains('\0'),
        DataType::Interval
        | DataType::Json
        | DataType::Bytes
        | DataType::Array
        | DataType::Other => false,
    };
    fits.then_some(text)
}

fn misfit(place: &str, column: &ColumnProfile) -> Error {
    let wants = match column.data_type {
        DataType::Integer => "a whole number of 64 bits",
        DataType::Decimal | DataType::Float => "a number in decimal digits",
        DataType::Boolean => "true or false",
        DataType::Text | DataType::Enum => "a text",
        DataType::Date => "a date such as 2024-01-31",
        DataType::Time => "a time such as 23:59:00",
        DataType::Timestamp => "an instant such as 2024-01-31 23:59:00",
        DataType::Uuid => "a UUID",
        DataType::Interval
        | DataType::Json
        | DataType::Bytes
        | DataType::Array
        | DataType::Other => "no value: it can only be `is_null` or `is_not_null`",
    };
    invalid(format!(
        "{place}: `{}` is compared with {wants}",
        column.name
    ))
}

//! The join graph. A false join puts wrong facts into documents, so a guess needs the name, the type and the values.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::names::{singular_words, stem, words};
use crate::model::metadata::{ColumnMetadata, DataType, TableMetadata, TableRef};
use crate::model::schema_context::{Cardinality, Join, JoinOrigin};

/// Below this confidence a join is not drawn.
const THRESHOLD: f64 = 0.7;
/// With fewer distinct values on the referring side, containment says nothing.
const FEW_VALUES: usize = 3;

pub(super) fn graph(tables: &[TableMetadata]) -> Vec<Join> {
    let mut joins = declared(tables);
    let known: HashSet<(&TableRef, &String)> = tables
        .iter()
        .flat_map(|table| {
            let columns = table.foreign_keys.iter().flat_map(|key| &key.columns);
            columns.map(|column| (&table.table, column))
        })
        .collect();
    let targets = Targets::new(tables);
    for table in tables.iter().filter(|table| !table.kind.is_view()) {
        let free = |column: &&ColumnMetadata| !known.contains(&(&table.table, &column.name));
        for column in table.columns.iter().filter(free) {
            joins.extend(inferred(&targets, table, column));
        }
    }
    joins.sort_by(|a, b| (&a.from, &a.from_columns, &a.to).cmp(&(&b.from, &b.from_columns, &b.to)));
    joins
}

/// A table that a single column can refer to.
struct Target<'a> {
    table: &'a TableMetadata,
    key: &'a ColumnMetadata,
    table_words: Vec<String>,
    key_words: Vec<String>,
}

/// Targets by the last word of their names, so that a column meets only those that it may name.
struct Targets<'a>(HashMap<String, Vec<Target<'a>>>);

impl<'a> Targets<'a> {
    fn new(tables: &'a [TableMetadata]) -> Self {
        let mut targets: HashMap<String, Vec<Target<'a>>> = HashMap::new();
        for table in tables.iter().filter(|table| !table.kind.is_view()) {
            let [key] = table.primary_key.as_slice() else {
                continue;
            };
            let table_words = singular_words(&table.table.name);
            let column = table.columns.iter().find(|column| column.name == *key);
            if let (Some(last), Some(column)) = (table_words.last(), column) {
                targets.entry(last.clone()).or_default().push(Target {
                    table,
                    key: column,
                    key_words: words(key),
                    table_words,
                });
            }
        }
        Self(targets)
    }

    fn named_in(&self, words: &[String]) -> impl Iterator<Item = &Target<'a>> {
        let distinct: BTreeSet<&String> = words.iter().collect();
        distinct
            .into_iter()
            .filter_map(|word| self.0.get(word))
            .flatten()
    }
}

/// Foreign keys whose other side is among the tables and is unique there.
fn declared(tables: &[TableMetadata]) -> Vec<Join> {
    let mut joins: Vec<Join> = Vec::new();
    for table in tables {
        for key in &table.foreign_keys {
            let target = tables.iter().find(|target| target.table == key.to);
            let repeated = joins.iter().any(|join| {
                join.from == table.table && join.from_columns == key.columns && join.to == key.to
            });
            if repeated || !target.is_some_and(|target| is_unique(target, &key.to_columns)) {
                continue;
            }
            joins.push(Join {
                from: table.table.clone(),
                from_columns: key.columns.clone(),
                to: key.to.clone(),
                to_columns: key.to_columns.clone(),
                origin: JoinOrigin::Declared {
                    constraint: key.name.clone(),
                },
                cardinality: cardinality(table, &key.columns),
            });
        }
    }
    joins
}

/// Whether the columns, in any order, are a unique key or have one among them.
fn is_unique(table: &TableMetadata, columns: &[String]) -> bool {
    std::iter::once(&table.primary_key)
        .chain(&table.unique_keys)
        .any(|key| !key.is_empty() && key.iter().all(|column| columns.contains(column)))
}

fn cardinality(table: &TableMetadata, columns: &[String]) -> Cardinality {
    if is_unique(table, columns) {
        Cardinality::OneToOne
    } else {
        Cardinality::ManyToOne
    }
}

fn inferred(targets: &Targets<'_>, table: &TableMetadata, column: &ColumnMetadata) -> Option<Join> {
    let own = words(&column.name);
    let mut candidates: Vec<(f64, Vec<String>, &TableMetadata)> = targets
        .named_in(&own)
        .filter(|target| target.table.table != table.table)
        .filter_map(|target| {
            let (confidence, evidence) = candidate(table, column, &own, target)?;
            Some((confidence, evidence, target.table))
        })
        .collect();
    // The same name in another schema is another thing, if this schema has one.
    if candidates
        .iter()
        .any(|(_, _, target)| target.table.schema == table.table.schema)
    {
        candidates.retain(|(_, _, target)| target.table.schema == table.table.schema);
    }
    let [(confidence, evidence, target)] = candidates.as_slice() else {
        return None;
    };
    Some(Join {
        from: table.table.clone(),
        from_columns: vec![column.name.clone()],
        to: target.table.clone(),
        to_columns: target.primary_key.clone(),
        origin: JoinOrigin::Inferred {
            confidence: *confidence,
            evidence: evidence.clone(),
        },
        cardinality: cardinality(table, std::slice::from_ref(&column.name)),
    })
}

fn candidate(
    table: &TableMetadata,
    column: &ColumnMetadata,
    own: &[String],
    target: &Target<'_>,
) -> Option<(f64, Vec<String>)> {
    let comparable = matches!(
        column.data_type,
        DataType::Integer | DataType::Text | DataType::Uuid
    );
    if !comparable || column.data_type != target.key.data_type {
        return None;
    }
    let (by_name, name_evidence) = name_match(column, own, target)?;
    let (by_value, value_evidence) = value_match(table, column, target.table, target.key)?;
    let confidence = by_name + by_value;
    let types = format!("both columns are of type {:?}", column.data_type).to_lowercase();
    (confidence >= THRESHOLD).then(|| (confidence, vec![name_evidence, types, value_evidence]))
}

/// `customer_id` refers to `customers`, and so does `CustomerId` to a key of the same name that is not just `id`.
fn name_match(
    column: &ColumnMetadata,
    own: &[String],
    target: &Target<'_>,
) -> Option<(f64, String)> {
    let Target {
        table,
        key,
        table_words,
        key_words,
    } = target;
    let generic = key_words.len() == 1;
    let full = table_words.iter().chain(key_words);
    if own.iter().eq(full) || (own == key_words && !generic && key_words.starts_with(table_words)) {
        let evidence = format!(
            "`{}` names `{}` and its key `{}`",
            column.name, table.table, key.name
        );
        return Some((0.5, evidence));
    }
    let stem = stem(&column.name);
    let weight = if stem == *table_words {
        0.4
    } else if table_words.ends_with(&stem) {
        // `ticket_id` for `support_tickets`: only with every value seen among the keys.
        0.3
    } else {
        return None;
    };
    (own.len() > stem.len()).then(|| {
        let evidence = format!("`{}` names `{}`", column.name, table.table);
        (weight, evidence)
    })
}

/// Every sampled value has to be there where the whole target is sampled, and in its range where only a part is.
fn value_match(
    table: &TableMetadata,
    column: &ColumnMetadata,
    target: &TableMetadata,
    key: &ColumnMetadata,
) -> Option<(f64, String)> {
    let from = values(table, &column.name);
    let to = values(target, &key.name);
    if from.len() < FEW_VALUES || to.is_empty() {
        return None;
    }
    if target.row_count <= target.sample_rows.len() as u64 {
        let evidence = format!(
            "all {} sampled values are among the {} keys",
            from.len(),
            to.len()
        );
        return from.is_subset(&to).then_some((0.45, evidence));
    }
    match column.data_type {
        DataType::Integer => {
            let numbers = |texts: &BTreeSet<String>| -> Option<Vec<i128>> {
                texts.iter().map(|text| text.parse().ok()).collect()
            };
            let (from, to) = (numbers(&from)?, numbers(&to)?);
            let (low, high) = (*to.iter().min()?, *to.iter().max()?);
            // A sample seldom has the smallest and the largest key.
            let slack = (high - low) / i128::try_from(to.len()).ok()? * 6 + 1;
            let inside = from
                .iter()
                .all(|number| (low - slack..=high + slack).contains(number));
            let evidence = format!(
                "all {} sampled values lie in the range of the sampled keys",
                from.len()
            );
            inside.then_some((0.25, evidence))
        }
        DataType::Uuid => Some((
            0.25,
            "both columns hold UUIDs, which do not collide by chance".to_owned(),
        )),
        // Only these three are compared at all.
        DataType::Text
        | DataType::Decimal
        | DataType::Float
        | DataType::Boolean
        | DataType::Date
        | DataType::Time
        | DataType::Timestamp
        | DataType::Interval
        | DataType::Json
        | DataType::Bytes
        | DataType::Enum
        | DataType::Array
        | DataType::Other => {
            let shared = from.intersection(&to).count();
            let evidence = format!("{shared} of {} sampled values are sampled keys", from.len());
            (shared * 2 >= from.len()).then_some((0.3, evidence))
        }
    }
}

fn values(table: &TableMetadata, column: &str) -> BTreeSet<String> {
    let Some(index) = table.columns.iter().position(|meta| meta.name == column) else {
        return BTreeSet::new();
    };
    table
        .sample_rows
        .iter()
        .filter_map(|row| row.get(index))
        .filter_map(|value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::metadata::{Deferrability, ReferentialAction, TableKind};

    fn table(name: &str, columns: &[&str], rows: &[&[i64]]) -> TableMetadata {
        TableMetadata {
            table: TableRef {
                schema: None,
                name: name.to_owned(),
            },
            kind: TableKind::Table,
            comment: None,
            columns: columns
                .iter()
                .map(|name| ColumnMetadata {
                    name: (*name).to_owned(),
                    declared_type: "INTEGER".to_owned(),
                    domain_base: None,
                    data_type: DataType::Integer,
                    nullable: false,
                    default: None,
                    generated: false,
                    identity: None,
                    collation: None,
                    comment: None,
                    labels: Vec::new(),
                })
                .collect(),
            primary_key: vec![columns[0].to_owned()],
            foreign_keys: Vec::new(),
            unique_keys: Vec::new(),
            indexes: Vec::new(),
            row_count: rows.len() as u64,
            row_count_exact: true,
            size_bytes: None,
            sample_rows: rows
                .iter()
                .map(|row| row.iter().map(|&value| Value::from(value)).collect())
                .collect(),
        }
    }

    #[test]
    fn infers_from_name_type_and_values() {
        let customers = table("customers", &["id"], &[&[1], &[2], &[3], &[4]]);
        let orders = table(
            "orders",
            &["id", "customer_id"],
            &[&[1, 1], &[2, 3], &[3, 4]],
        );
        let joins = graph(&[customers.clone(), orders.clone()]);
        let [join] = joins.as_slice() else {
            panic!("one join, not {joins:?}");
        };
        assert_eq!(join.to, customers.table);
        assert_eq!(join.cardinality, Cardinality::ManyToOne);
        assert!(matches!(
            &join.origin,
            JoinOrigin::Inferred { confidence, evidence } if *confidence > 0.9 && evidence.len() == 3
        ));
    }

    #[test]
    fn values_that_are_not_keys_speak_against_it() {
        let customers = table("customers", &["id"], &[&[1], &[2], &[3]]);
        let orders = table(
            "orders",
            &["id", "customer_id"],
            &[&[1, 1], &[2, 77], &[3, 2]],
        );
        assert!(graph(&[customers, orders]).is_empty());
    }

    #[test]
    fn a_name_alone_is_not_enough() {
        let customers = table("customers", &["id"], &[&[1], &[2], &[3]]);
        let orders = table("orders", &["id", "customer_id"], &[]);
        let rows = table("rows", &["id", "parent_id"], &[&[1, 1], &[2, 2], &[3, 3]]);
        assert!(graph(&[customers, orders, rows]).is_empty());
    }

    #[test]
    fn declared_keys_come_as_they_are() {
        let customers = table("customers", &["id"], &[&[1]]);
        let mut orders = table("orders", &["id", "buyer"], &[]);
        orders
            .foreign_keys
            .push(crate::model::metadata::ForeignKey {
                name: Some("fk".to_owned()),
                columns: vec!["buyer".to_owned()],
                to: customers.table.clone(),
                to_columns: vec!["id".to_owned()],
                on_delete: ReferentialAction::NoAction,
                on_update: ReferentialAction::NoAction,
                deferrable: Deferrability::NotDeferrable,
            });
        orders.unique_keys.push(vec!["buyer".to_owned()]);
        let joins = graph(&[customers, orders]);
        assert_eq!(joins.len(), 1);
        assert_eq!(joins[0].cardinality, Cardinality::OneToOne);
    }
}

//! What stands in the plan block of `migrate.py`: the plan as the script needs it, its statements ready to be run.
//!
//! A statement comes in parts, because a page of rows has a beginning, an end, both or neither: the script puts `head`, a WHERE of
//! the conditions that it wants, and `tail` together. Values are bound by name. The validator makes its own statements of the plan.

mod sql;
mod target;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::model::job::{EmbeddingProvider, OnDelete};
use crate::model::metadata::{DataType, Dialect};
use crate::model::plan::{EmbeddingPlan, EntityPlan, MigrationPlan, PlanColumn, Section};
use sql::Sql;

/// The version of the format, which the script and its plan always have in common.
const VERSION: u32 = 2;

/// The plan of a script.
#[derive(Debug, Serialize)]
pub(super) struct ScriptPlan<'a> {
    version: u32,
    dialect: Dialect,
    target: ScriptTarget<'a>,
    embedding: &'a EmbeddingPlan,
    entities: Vec<ScriptEntity<'a>>,
}

impl<'a> ScriptPlan<'a> {
    /// Makes the statements of a plan.
    pub(super) fn of(plan: &'a MigrationPlan) -> Self {
        Self {
            version: VERSION,
            dialect: plan.dialect,
            target: ScriptTarget {
                schema: &plan.target.schema,
                table: &plan.target.table,
                on_delete: plan.target.on_delete,
                sql: target::statements(&plan.target),
            },
            embedding: &plan.embedding,
            entities: plan
                .entities
                .iter()
                .map(|entity| ScriptEntity::of(plan.dialect, entity))
                .collect(),
        }
    }

    /// Says which parts of the script it needs.
    pub(super) const fn needs(&self) -> (Dialect, EmbeddingProvider) {
        (self.dialect, self.embedding.provider)
    }
}

/// Where a script writes.
#[derive(Debug, Serialize)]
struct ScriptTarget<'a> {
    schema: &'a str,
    table: &'a str,
    on_delete: OnDelete,
    /// Every statement by its name.
    sql: Map<String, Value>,
}

/// An entity of a script.
#[derive(Debug, Serialize)]
struct ScriptEntity<'a> {
    name: &'a str,
    /// The key's columns; none where equal rows are numbered.
    key: Vec<&'a str>,
    /// How many values stand for the key of a row without one.
    row: usize,
    /// Values of the filter.
    bound: Map<String, Value>,
    conditions: Conditions,
    /// Root rows, and how many of them have NULL in their key.
    count: Statement,
    /// Pairs of counts that are equal as long as the joins multiply no rows.
    joins: Vec<(Statement, Statement)>,
    /// Root rows in the order of their key: the key, the values of fields, those of the metadata.
    page: Statement,
    /// The key of the root row that comes after so many.
    split: Option<Statement>,
    sections: Vec<ScriptSection<'a>>,
    metadata: Vec<ScriptMetadata<'a>>,
}

/// What root rows have to be like; each may be empty.
#[derive(Debug, Serialize)]
struct Conditions {
    filter: String,
    /// Above a key.
    after: String,
    /// From a key on.
    from: String,
    /// Up to a key.
    until: String,
}

/// The parts of a statement before and after its WHERE.
#[derive(Debug, Serialize)]
struct Statement {
    head: String,
    tail: String,
}

/// A line of the document, or the lines of a child table.
#[derive(Debug, Serialize)]
struct ScriptSection<'a> {
    label: &'a str,
    /// The child rows of root rows from a key up to a key, in the order of that key and then in their own.
    children: Option<Statement>,
}

/// A value of the metadata.
#[derive(Debug, Serialize)]
struct ScriptMetadata<'a> {
    name: &'a str,
    data_type: DataType,
}

impl<'a> ScriptEntity<'a> {
    fn of(dialect: Dialect, entity: &'a EntityPlan) -> Self {
        let sql = Sql { dialect };
        let root = format!("{} AS r", sql.table(&entity.root));
        let order = sql.key_order(entity);
        let (bound, filter) = sql.filter(entity);
        Self {
            name: &entity.name,
            key: names(&entity.key),
            row: entity.row.len(),
            bound,
            conditions: Conditions {
                filter,
                after: sql.compared(entity, &order, ">", "after"),
                from: sql.compared(entity, &order, ">=", "from"),
                until: sql.compared(entity, &order, "<=", "until"),
            },
            count: Statement {
                head: format!("SELECT count(*), {} FROM {root}", sql.nulls(entity)),
                tail: String::new(),
            },
            joins: joins(sql, entity, &root),
            page: page(sql, entity, &root, &order),
            split: (!entity.key.is_empty()).then(|| Statement {
                head: format!("SELECT {} FROM {root}", sql.key_to_bind(entity).join(", ")),
                tail: format!(
                    " ORDER BY {} LIMIT 1 OFFSET {}",
                    order.join(", "),
                    sql.place("skip")
                ),
            }),
            sections: entity
                .sections
                .iter()
                .map(|section| ScriptSection::of(sql, entity, section, &root, &order))
                .collect(),
            metadata: entity
                .metadata
                .iter()
                .map(|field| ScriptMetadata {
                    name: &field.name,
                    data_type: field.source.data_type,
                })
                .collect(),
        }
    }
}

fn names(columns: &[PlanColumn]) -> Vec<&str> {
    columns.iter().map(|column| column.name.as_str()).collect()
}

/// A page of root rows; without a key all of them, with equal rows beside each other.
fn page(sql: Sql, entity: &EntityPlan, root: &str, order: &[String]) -> Statement {
    let fields = entity.sections.iter().filter_map(|section| match section {
        Section::Field { source, .. } => Some(source),
        Section::Children { .. } => None,
    });
    let metadata = entity.metadata.iter().map(|field| &field.source);
    let mut values = sql.key_of_page(entity);
    values.extend(fields.chain(metadata).map(|field| sql.field(field)));
    let limit = if entity.key.is_empty() {
        String::new()
    } else {
        format!(" LIMIT {}", sql.place("page"))
    };
    Statement {
        head: format!(
            "SELECT {} FROM {root}{}",
            values.join(", "),
            sql.joined(&entity.parents)
        ),
        tail: format!(" ORDER BY {}{limit}", order.join(", ")),
    }
}

/// Counts without and with the N:1 joins, of the root and of each child that has some.
fn joins(sql: Sql, entity: &EntityPlan, root: &str) -> Vec<(Statement, Statement)> {
    let count = |from: &str, parents: &str| Statement {
        head: format!("SELECT count(*) FROM {from}{parents}"),
        tail: String::new(),
    };
    let mut pairs = Vec::new();
    if !entity.parents.is_empty() {
        pairs.push((count(root, ""), count(root, &sql.joined(&entity.parents))));
    }
    for section in &entity.sections {
        if let Section::Children {
            table, on, parents, ..
        } = section
            && !parents.is_empty()
        {
            let from = sql.child(root, table, on);
            pairs.push((count(&from, ""), count(&from, &sql.joined(parents))));
        }
    }
    pairs
}

impl<'a> ScriptSection<'a> {
    fn of(
        sql: Sql,
        entity: &EntityPlan,
        section: &'a Section,
        root: &str,
        order: &[String],
    ) -> Self {
        match section {
            Section::Field { label, .. } => Self {
                label,
                children: None,
            },
            Section::Children {
                label,
                table,
                on,
                parents,
                columns,
                order_by,
                reasons: _,
            } => {
                let from = format!("{}{}", sql.child(root, table, on), sql.joined(parents));
                let values: Vec<String> = columns
                    .iter()
                    .map(|column| sql.text(&column.alias, &column.column, column.data_type))
                    .collect();
                let sequence: Vec<String> = order_by
                    .iter()
                    .map(|column| sql.by_bytes("c", column))
                    .collect();
                let (head, tail) = sql.children(entity, &from, order, &values, &sequence);
                Self {
                    label,
                    children: Some(Statement { head, tail }),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! The offer of one entity: its sections, then what the ranking and the join graph have beside them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::view::{View, magnitude, shortened};
use super::{Filter, Offer, Part};
use crate::handlers::normalize_schema::names::{humanized, sentence, singular_words, words};
use crate::model::metadata::{DataType, TableKind, TableRef};
use crate::model::plan::{ColumnPair, EntityPlan, FieldSource, ParentJoin, PlanColumn, Section};
use crate::model::schema_context::{ColumnProfile, Join, TableProfile};

/// Parts of an entity that are not in the plan.
const MOST_ADDED: usize = 24;
/// Columns of a child table that is not in the plan.
const MOST_CHILD_COLUMNS: usize = 4;
/// Labels of an enum by which rows may be filtered.
const MOST_LABELS: usize = 60;

/// The offer of an entity while it is made.
pub(super) struct Draft<'a> {
    view: &'a View<'a>,
    entity: &'a EntityPlan,
    number: usize,
    parts: Vec<Part>,
    aliases: usize,
}

impl<'a> Draft<'a> {
    pub(super) fn new(view: &'a View<'a>, entity: &'a EntityPlan, number: usize) -> Self {
        let child_parents = entity.sections.iter().flat_map(|section| match section {
            Section::Field { .. } => [].as_slice(),
            Section::Children { parents, .. } => parents.as_slice(),
        });
        let aliases = entity.parents.iter().chain(child_parents);
        let numbers = aliases.filter_map(|parent| parent.alias.strip_prefix('p')?.parse().ok());
        Self {
            view,
            entity,
            number,
            parts: Vec::new(),
            aliases: numbers.max().unwrap_or(0),
        }
    }

    fn id(&self) -> String {
        format!("e{}p{}", self.number, self.parts.len())
    }

    fn has_room(&self) -> bool {
        self.parts.len() < self.entity.sections.len() + MOST_ADDED
    }

    pub(super) fn add_kept(&mut self) {
        let entity = self.entity;
        for (section, index) in entity.sections.iter().zip(0_u32..) {
            let (label, table, score, through) = match section {
                Section::Field {
                    label,
                    source,
                    score,
                    ..
                } => {
                    let parent = entity
                        .parents
                        .iter()
                        .find(|parent| parent.alias == source.alias);
                    let table = parent.map_or(&entity.root, |parent| &parent.table);
                    (
                        label,
                        table,
                        Some(*score),
                        parent.map(|parent| parent.on.as_slice()),
                    )
                }
                Section::Children {
                    label, table, on, ..
                } => (label, table, None, Some(on.as_slice())),
            };
            self.push(
                section.clone(),
                label,
                table,
                score,
                through,
                Some(index),
                None,
            );
        }
    }

    /// Columns of the root, of its parents, and of parents that are not joined yet.
    pub(super) fn add_fields(&mut self) {
        let entity = self.entity;
        self.add_columns("r", &entity.root, None, None);
        for parent in &entity.parents {
            self.add_columns(&parent.alias, &parent.table, Some(&parent.on), None);
        }
        let joins = self
            .view
            .joins
            .iter()
            .filter(|join| join.from == entity.root);
        for join in joins {
            let on = pairs(join);
            let joined = entity
                .parents
                .iter()
                .any(|parent| parent.left == "r" && parent.on == on && parent.table == join.to);
            if joined {
                continue;
            }
            self.aliases += 1;
            let alias = format!("p{}", self.aliases);
            let parent = ParentJoin {
                alias: alias.clone(),
                left: "r".to_owned(),
                table: join.to.clone(),
                on: on.clone(),
                unique_key: self
                    .view
                    .table(&join.to)
                    .and_then(|to| to.unique_key_in(&join.to_columns))
                    .cloned()
                    .unwrap_or_default(),
            };
            self.add_columns(&alias, &join.to, Some(&on), Some(&parent));
        }
    }

    fn add_columns(
        &mut self,
        alias: &str,
        table: &TableRef,
        through: Option<&[ColumnPair]>,
        join: Option<&ParentJoin>,
    ) {
        let Some(profile) = self.view.table(table) else {
            return;
        };
        for (column, score) in self.view.columns(profile) {
            let source = source(alias, column);
            let known = self.parts.iter().any(
                |part| matches!(&part.section, Section::Field { source: other, .. } if *other == source),
            );
            if known || !self.has_room() {
                continue;
            }
            let label = match through {
                None => humanized(&column.name),
                Some(_) => long_label(table, &column.name),
            };
            let section = Section::Field {
                label: label.clone(),
                source,
                score,
                reasons: vec!["the language model chose it among the ranked columns".to_owned()],
            };
            self.push(
                section,
                &label,
                table,
                Some(score),
                through,
                None,
                join.cloned(),
            );
        }
    }

    /// Child tables that are in no document.
    pub(super) fn add_children(&mut self) {
        let entity = self.entity;
        if entity.is_keyless() {
            return;
        }
        let roots: BTreeSet<&TableRef> = self
            .view
            .plan
            .entities
            .iter()
            .map(|entity| &entity.root)
            .collect();
        let joins = self
            .view
            .joins
            .iter()
            .filter(|join| join.to == entity.root && !roots.contains(&join.from));
        for join in joins {
            let on = pairs(join);
            let known = entity.sections.iter().any(
                |section| matches!(section, Section::Children { table, on: other, .. } if *table == join.from && *other == on),
            );
            let child = self
                .view
                .table(&join.from)
                .filter(|child| child.kind == TableKind::Table);
            let (Some(child), false, true) = (child, known, self.has_room()) else {
                continue;
            };
            let columns: Vec<FieldSource> = self
                .view
                .columns(child)
                .into_iter()
                .take(MOST_CHILD_COLUMNS)
                .map(|(column, _)| source("c", column))
                .collect();
            let order_by = key_columns(child);
            if columns.is_empty() || order_by.is_empty() {
                continue;
            }
            let label = humanized(&child.table.name);
            let section = Section::Children {
                label: label.clone(),
                table: child.table.clone(),
                on: on.clone(),
                parents: Vec::new(),
                columns,
                order_by,
                reasons: vec![
                    "the language model chose it among the tables that refer to the root"
                        .to_owned(),
                ],
            };
            self.push(section, &label, &child.table, None, Some(&on), None, None);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one place makes every part")]
    fn push(
        &mut self,
        section: Section,
        label: &str,
        table: &TableRef,
        score: Option<f64>,
        through: Option<&[ColumnPair]>,
        kept: Option<u32>,
        join: Option<ParentJoin>,
    ) {
        let id = self.id();
        let labels = labels(label, &section, table);
        let mut shown = json!({"part": id, "in_plan": kept.is_some(), "labels": labels});
        if let Some(score) = score {
            shown["score"] = format!("{score:.2}").into();
        }
        if let Some(through) = through {
            shown["joined_by"] = through.iter().map(|pair| pair.from.as_str()).collect();
        }
        let columns: Vec<Value> = match &section {
            Section::Field { source, .. } => vec![self.view.shown_column(table, source)],
            Section::Children {
                parents, columns, ..
            } => {
                shown["rows_of"] = table.name.as_str().into();
                let place = |source: &FieldSource| {
                    let parent = parents.iter().find(|parent| parent.alias == source.alias);
                    parent.map_or(table, |parent| &parent.table).clone()
                };
                columns
                    .iter()
                    .map(|source| self.view.shown_column(&place(source), source))
                    .collect()
            }
        };
        shown["columns"] = columns.into();
        self.parts.push(Part {
            id,
            labels,
            kept,
            section,
            join,
            shown,
        });
    }

    /// Columns of the root whose values are declared, so that they are known without a look at a row.
    fn filters(&self) -> Vec<Filter> {
        let table = self
            .view
            .table(&self.entity.root)
            .filter(|_| self.view.allow_filters);
        let columns = table
            .map(|table| table.columns.as_slice())
            .unwrap_or_default();
        let filters = columns.iter().filter_map(|column| {
            let refused = self
                .view
                .scores
                .get(&(&self.entity.root, column.name.as_str()));
            let taken = self
                .entity
                .filter
                .iter()
                .any(|known| known.column.name == column.name);
            if taken || refused.is_some_and(|score| *score <= 0.0) {
                return None;
            }
            let values = if column.data_type == DataType::Boolean {
                vec!["true".to_owned(), "false".to_owned()]
            } else if column.data_type == DataType::Enum {
                column.labels.clone()
            } else {
                Vec::new()
            };
            (1..=MOST_LABELS).contains(&values.len()).then(|| Filter {
                column: PlanColumn {
                    name: column.name.clone(),
                    data_type: column.data_type,
                },
                values,
            })
        });
        filters.collect()
    }

    pub(super) fn offer(self) -> Offer {
        let filters = self.filters();
        let entity = self.entity;
        let mut shown = json!({
            "entity": entity.name,
            "table": entity.root.name,
            "rows": magnitude(entity.row_count),
        });
        let comment = self
            .view
            .table(&entity.root)
            .and_then(|table| table.comment.as_ref());
        if let Some(comment) = comment.filter(|_| self.view.allow_comments) {
            shown["comment"] = shortened(comment).into();
        }
        Offer {
            entity: entity.name.clone(),
            root: entity.root.clone(),
            rows: entity.row_count,
            parts: self.parts,
            filters,
            shown,
        }
    }
}

/// Labels: the usual one, the column's or table's own name, and the column's name with the table's before it.
fn labels(usual: &str, section: &Section, table: &TableRef) -> Vec<String> {
    let mut labels = vec![usual.to_owned()];
    let others = match section {
        Section::Field { source, .. } => {
            [humanized(&source.column), long_label(table, &source.column)]
        }
        Section::Children { .. } => [
            humanized(&table.name),
            sentence(&singular_words(&table.name)),
        ],
    };
    for label in others {
        if !label.is_empty() && !labels.contains(&label) {
            labels.push(label);
        }
    }
    labels
}

fn long_label(table: &TableRef, column: &str) -> String {
    sentence(&[singular_words(&table.name), words(column)].concat())
}

fn source(alias: &str, column: &ColumnProfile) -> FieldSource {
    FieldSource {
        alias: alias.to_owned(),
        column: column.name.clone(),
        data_type: column.data_type,
    }
}

fn pairs(join: &Join) -> Vec<ColumnPair> {
    let columns = join.from_columns.iter().zip(&join.to_columns);
    columns
        .map(|(from, to)| ColumnPair {
            from: from.clone(),
            to: to.clone(),
        })
        .collect()
}

fn key_columns(table: &TableProfile) -> Vec<PlanColumn> {
    let column = |name: &String| {
        let column = table.columns.iter().find(|column| column.name == *name)?;
        Some(PlanColumn {
            name: name.clone(),
            data_type: column.data_type,
        })
    };
    table.primary_key.iter().filter_map(column).collect()
}

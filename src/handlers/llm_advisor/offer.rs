//! What a language model may choose among: for each entity, parts of its document with their possible labels.
//!
//! 1. The sections of the plan.
//! 2. Columns of the ranking that are in no section: of the root, of a parent that is joined, of a parent that the join graph has.
//! 3. Child tables of the join graph that are in no section.
//!
//! Where the job has a business prompt, also filters on the root's columns whose values are enumerated: labels of an enum, true and false.
//!
//! A column is offered only if the analyzer gave it a score and its values look like words: secrets and identifiers have neither, so that
//! no answer, however hostile, can bring one into a document. What is shown of a column is its name, its type, its key and
//! classes of its statistics.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::handlers::normalize_schema::names::{humanized, sentence, singular_words, words};
use crate::model::job::LlmSpec;
use crate::model::metadata::{DataType, TableKind, TableRef};
use crate::model::plan::{
    ColumnPair, EntityPlan, FieldSource, MigrationPlan, ParentJoin, PlanColumn, Section,
};
use crate::model::schema_context::{ColumnProfile, Join, SchemaContext, TableProfile, ValueClass};

/// Below this score a column has no words worth offering.
const LEAST_SCORE: f64 = 0.2;
/// Parts of an entity that are not in the plan.
const MOST_ADDED: usize = 24;
/// Columns of a child table that is not in the plan.
const MOST_CHILD_COLUMNS: usize = 4;

/// Labels of an enum by which rows may be filtered.
const MOST_LABELS: usize = 60;
/// Characters of a comment.
const MOST_COMMENT: usize = 300;

/// A part of a document that may be chosen.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Its name in question and answer.
    pub(super) id: String,
    /// The labels it may have, the usual one first.
    pub(super) labels: Vec<String>,
    /// Its index among the plan's sections, if it is one.
    pub(super) kept: Option<u32>,
    /// The section.
    pub(super) section: Section,
    /// The join that it needs, if the plan does not have it.
    pub(super) join: Option<ParentJoin>,
    /// What is shown of it.
    shown: Value,
}

/// A column by which the rows of an entity may be filtered.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    /// The column of the root.
    pub(super) column: PlanColumn,
    /// Everything that may stand there.
    pub(super) values: Vec<String>,
}

/// What may be chosen for one entity.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    /// The entity's name.
    pub(super) entity: String,
    /// Its root.
    pub(super) root: TableRef,
    /// Rows of its root.
    pub(super) rows: u64,
    /// The parts, those of the plan first.
    pub(super) parts: Vec<Part>,
    /// The filters; none without a business prompt.
    pub(super) filters: Vec<Filter>,
    shown: Value,
}

impl Offer {
    /// Gives what the model sees.
    pub(super) fn shown(&self) -> Value {
        let mut shown = self.shown.clone();
        shown["parts"] = self.parts.iter().map(|part| part.shown.clone()).collect();
        if !self.filters.is_empty() {
            let filter =
                |filter: &Filter| json!({"column": filter.column.name, "values": filter.values});
            shown["filters"] = self.filters.iter().map(filter).collect();
        }
        shown
    }
}

/// Gives every column of a part that is offered: no answer can bring another one into a document.
pub(super) fn columns(offers: &[Offer], plan: &MigrationPlan) -> BTreeSet<(TableRef, String)> {
    let mut columns = BTreeSet::new();
    for offer in offers {
        let entity = plan
            .entities
            .iter()
            .find(|entity| entity.name == offer.entity);
        let Some(entity) = entity else { continue };
        for part in &offer.parts {
            let mut advised = entity.clone();
            advised.parents.extend(part.join.clone());
            advised.sections = vec![part.section.clone()];
            columns.extend(advised.texts());
        }
    }
    columns
}

/// Gives the offer of every entity that has a document.
pub(super) fn offers(
    plan: &MigrationPlan,
    context: Option<&SchemaContext>,
    spec: &LlmSpec,
) -> Vec<Offer> {
    let view = View {
        plan,
        tables: context
            .map(|context| context.tables.as_slice())
            .unwrap_or_default(),
        joins: context
            .map(|context| context.joins.as_slice())
            .unwrap_or_default(),
        scores: plan
            .ranking
            .iter()
            .map(|ranked| ((&ranked.table, ranked.column.as_str()), ranked.score))
            .collect(),
        allow_comments: spec.allow_comments,
        allow_filters: spec.prompt.is_some(),
    };
    let entities = plan
        .entities
        .iter()
        .filter(|entity| !entity.sections.is_empty());
    let drafts = entities.enumerate().map(|(number, entity)| {
        let mut draft = Draft::new(&view, entity, number);
        draft.add_kept();
        draft.add_fields();
        draft.add_children();
        draft.offer()
    });
    drafts.collect()
}

struct View<'a> {
    plan: &'a MigrationPlan,
    tables: &'a [TableProfile],
    joins: &'a [Join],
    scores: BTreeMap<(&'a TableRef, &'a str), f64>,
    allow_comments: bool,
    allow_filters: bool,
}

impl<'a> View<'a> {
    fn table(&self, table: &TableRef) -> Option<&'a TableProfile> {
        self.tables.iter().find(|profile| profile.table == *table)
    }

    /// Gives the columns of a table that may be offered, best first.
    fn columns(&self, table: &'a TableProfile) -> Vec<(&'a ColumnProfile, f64)> {
        let mut columns: Vec<(&ColumnProfile, f64)> = table
            .columns
            .iter()
            .filter(|column| has_words(column))
            .filter_map(|column| {
                let score = self.scores.get(&(&table.table, column.name.as_str()))?;
                (*score >= LEAST_SCORE).then_some((column, *score))
            })
            .collect();
        columns.sort_by(|a, b| b.1.total_cmp(&a.1));
        columns
    }

    fn shown_column(&self, table: &TableRef, source: &FieldSource) -> Value {
        let mut shown =
            json!({"table": table.name, "name": source.column, "type": source.data_type});
        let Some(profile) = self.table(table) else {
            return shown;
        };
        if let Some(key) = self.key_of(profile, &source.column) {
            shown["key"] = key.into();
        }
        let column = profile
            .columns
            .iter()
            .find(|column| column.name == source.column);
        if let Some(column) = column {
            shown["values"] = json!(column.class);
            shown["filled"] = filled(column).into();
            shown["distinct"] = distinct(column).into();
            shown["length"] = length(column).into();
            if let Some(comment) = column.comment.as_ref().filter(|_| self.allow_comments) {
                shown["comment"] = shortened(comment).into();
            }
        }
        shown
    }

    fn key_of(&self, table: &TableProfile, column: &str) -> Option<&'static str> {
        let refers = |join: &Join| {
            join.from == table.table && join.from_columns.iter().any(|name| name == column)
        };
        if table.primary_key.iter().any(|name| name == column) {
            Some("primary")
        } else if table.unique_keys.iter().any(|key| *key == [column]) {
            Some("unique")
        } else if self.joins.iter().any(refers) {
            Some("foreign")
        } else {
            None
        }
    }
}

/// The offer of an entity while it is made.
struct Draft<'a> {
    view: &'a View<'a>,
    entity: &'a EntityPlan,
    number: usize,
    parts: Vec<Part>,
    aliases: usize,
}

impl<'a> Draft<'a> {
    fn new(view: &'a View<'a>, entity: &'a EntityPlan, number: usize) -> Self {
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

    fn add_kept(&mut self) {
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
    fn add_fields(&mut self) {
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
    fn add_children(&mut self) {
        let entity = self.entity;
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
            let values = match column.data_type {
                DataType::Boolean => vec!["true".to_owned(), "false".to_owned()],
                DataType::Enum => column.labels.clone(),
                _ => Vec::new(),
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

    fn offer(self) -> Offer {
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

/// Says whether the values of a column look like words: of what else they look like, nothing is offered.
fn has_words(column: &ColumnProfile) -> bool {
    matches!(column.data_type, DataType::Text | DataType::Enum)
        && matches!(
            column.class,
            ValueClass::Prose
                | ValueClass::Phrase
                | ValueClass::Html
                | ValueClass::Code
                | ValueClass::Mixed
        )
}

fn filled(column: &ColumnProfile) -> &'static str {
    let missing = (column.null_ratio + column.empty_ratio).min(1.0);
    match missing {
        none if none <= 0.0 => "always",
        few if few < 0.5 => "mostly",
        many if many < 0.95 => "sometimes",
        all if all < 1.0 => "rarely",
        _ => "never",
    }
}

fn distinct(column: &ColumnProfile) -> &'static str {
    match column.distinct_ratio {
        all if all >= 1.0 => "all",
        many if many > 0.5 => "many",
        some if some > 0.05 => "some",
        _ => "few",
    }
}

fn length(column: &ColumnProfile) -> &'static str {
    match column.mean_chars {
        word if word < 16.0 => "word",
        line if line < 80.0 => "line",
        paragraph if paragraph < 1000.0 => "paragraph",
        _ => "page",
    }
}

fn magnitude(rows: u64) -> &'static str {
    match rows {
        0..=99 => "fewer than 100",
        100..=9_999 => "fewer than 10,000",
        10_000..=999_999 => "fewer than 1,000,000",
        _ => "a million or more",
    }
}

/// A comment as it is shown: its beginning.
fn shortened(comment: &str) -> String {
    comment.chars().take(MOST_COMMENT).collect()
}

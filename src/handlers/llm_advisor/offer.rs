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

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::model::job::LlmSpec;
use crate::model::metadata::TableRef;
use crate::model::plan::{MigrationPlan, ParentJoin, PlanColumn, Section};
use crate::model::schema_context::SchemaContext;

mod draft;
mod view;

use draft::Draft;
use view::View;

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

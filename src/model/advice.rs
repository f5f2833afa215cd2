//! `llm_advice`: what a language model chose among what relvec offered, and what that changes in the plan.
//!
//! The model's answer never gets this far as it was written: it names choices, and relvec puts what it offered under that name here.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::metadata::TableRef;
use super::plan::{Condition, EntityPlan, MigrationPlan, ParentJoin, Section};
use crate::graph::output::{Kind, Output};

/// Where the advice comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdviceOrigin {
    /// The model answered, and its answer was valid.
    Model,
    /// The deterministic plan stands; `reason` says why.
    Fallback,
}

/// A part of a document as advised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "part", rename_all = "snake_case", deny_unknown_fields)]
pub enum AdvisedPart {
    /// A section that the plan has.
    Kept {
        /// Its index in the plan's `sections`.
        section: u32,
        /// Its label, if another one than the plan's.
        label: Option<String>,
    },
    /// A section that the plan does not have: a column of the ranking, or a child table of the join graph.
    Added {
        /// The section.
        section: Section,
    },
}

/// What is to change for one entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntityAdvice {
    /// The entity's name.
    pub entity: String,
    /// The document's parts in the order wanted; at least one. Sections of the plan that are not here are left out.
    pub parts: Vec<AdvisedPart>,
    /// Joins that added parts need beside those of the plan.
    pub joins: Vec<ParentJoin>,
    /// Conditions on root rows beside those of the plan, on columns whose values are declared.
    pub filter: Vec<Condition>,
}

/// How a line of a document's description changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is not there any more.
    LeftOut,
    /// It was not there before.
    Added,
    /// It has another label.
    Labelled,
    /// It stands elsewhere.
    Moved,
    /// Only some rows get a document.
    Filtered,
}

/// A difference between the plan and the plan as advised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanChange {
    /// The entity.
    pub entity: String,
    /// What happens.
    pub change: ChangeKind,
    /// What the plan has; absent for `added`.
    pub before: Option<String>,
    /// What comes of it; absent for `left_out`.
    pub after: Option<String>,
}

/// A suggestion that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DroppedAdvice {
    /// What was suggested.
    pub what: String,
    /// Why it was not taken.
    pub reason: String,
}

/// What `llm_advisor` writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LlmAdvice {
    /// Where it comes from.
    pub origin: AdviceOrigin,
    /// Why the deterministic plan stands, for `fallback`.
    pub reason: Option<String>,
    /// The model that was asked.
    pub model: String,
    /// Tokens of question and answer, where the model's API counts them.
    pub tokens: Option<u64>,
    /// What is to change.
    pub entities: Vec<EntityAdvice>,
    /// The same as differences to the plan.
    pub changes: Vec<PlanChange>,
    /// What was not taken.
    pub dropped: Vec<DroppedAdvice>,
}

impl Output for LlmAdvice {
    const KIND: Kind = Kind::new("llm_advice");
}

/// Applies advice to the plan and gives a sentence for each piece of it that does not fit.
///
/// A section that does not exist or is named twice is left out; an entity whose advice leaves no section, or has a column of a table
/// that is not joined, stays as it was.
#[must_use]
pub fn apply(plan: &mut MigrationPlan, entities: &[EntityAdvice]) -> Vec<String> {
    let mut ignored = Vec::new();
    for advised in entities {
        let found = plan
            .entities
            .iter_mut()
            .find(|entity| entity.name == advised.entity);
        match found {
            Some(entity) => change(entity, advised, &mut ignored),
            None => ignored.push("advice for an entity that the plan does not have".to_owned()),
        }
    }
    mark(plan);
    ignored
}

/// The ranking says which columns are in some text: it follows the sections.
fn mark(plan: &mut MigrationPlan) {
    let chosen: BTreeSet<(TableRef, String)> =
        plan.entities.iter().flat_map(EntityPlan::texts).collect();
    for ranked in &mut plan.ranking {
        ranked.chosen = chosen.contains(&(ranked.table.clone(), ranked.column.clone()));
    }
}

fn change(entity: &mut EntityPlan, advised: &EntityAdvice, ignored: &mut Vec<String>) {
    let name = &entity.name;
    let mut seen = BTreeSet::new();
    let mut sections = Vec::new();
    for part in &advised.parts {
        match part {
            AdvisedPart::Kept {
                section: index,
                label,
            } => {
                let section = usize::try_from(*index)
                    .ok()
                    .and_then(|at| entity.sections.get(at));
                match section {
                    Some(section) if seen.insert(*index) => {
                        sections.push(label.as_ref().map_or_else(|| section.clone(), |label| section.labelled(label)));
                    },
                    _ => ignored.push(format!(
                        "entity `{name}`: the advice names section {index}, which does not exist or is named twice"
                    )),
                }
            }
            AdvisedPart::Added { section } => sections.push(section.clone()),
        }
    }
    let parents = [entity.parents.as_slice(), &advised.joins].concat();
    if sections.is_empty() {
        ignored.push(format!(
            "entity `{name}`: the advice leaves no section; the plan's own stand"
        ));
    } else if !is_joined(&parents, &sections) {
        ignored.push(format!(
            "entity `{name}`: the advice has a column of a table that is not joined; the plan's own sections stand"
        ));
    } else {
        entity.sections = sections;
        entity.parents = parents;
        entity.filter.extend(advised.filter.iter().cloned());
    }
}

/// Says whether every alias is joined once, on one that is joined before, and every column comes from one of them.
fn is_joined(parents: &[ParentJoin], sections: &[Section]) -> bool {
    let mut known = BTreeSet::from(["r"]);
    let in_order = parents
        .iter()
        .all(|parent| known.contains(parent.left.as_str()) && known.insert(&parent.alias));
    in_order
        && sections.iter().all(|section| match section {
            Section::Field { source, .. } => known.contains(source.alias.as_str()),
            Section::Children {
                parents, columns, ..
            } => columns.iter().all(|source| {
                source.alias == "c" || parents.iter().any(|parent| parent.alias == source.alias)
            }),
        })
}

impl Section {
    /// Gives the same section under another label.
    #[must_use]
    pub fn labelled(&self, wanted: &str) -> Self {
        let mut section = self.clone();
        let (Self::Field { label, .. } | Self::Children { label, .. }) = &mut section;
        wanted.clone_into(label);
        section
    }
}

impl EntityPlan {
    /// Gives the columns in the text of its documents, each with its table.
    #[must_use]
    pub fn texts(&self) -> BTreeSet<(TableRef, String)> {
        let mut texts = BTreeSet::new();
        for section in &self.sections {
            let (own, parents, sources) = match section {
                Section::Field { source, .. } => {
                    (&self.root, &self.parents, std::slice::from_ref(source))
                }
                Section::Children {
                    table,
                    parents,
                    columns,
                    ..
                } => (table, parents, columns.as_slice()),
            };
            for source in sources {
                let parent = parents.iter().find(|parent| parent.alias == source.alias);
                let table = parent.map_or(own, |parent| &parent.table);
                texts.insert((table.clone(), source.column.clone()));
            }
        }
        texts
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan() -> MigrationPlan {
        let section = |column: &str| {
            json!({"section": "field", "label": column, "score": 0.5, "reasons": [],
                   "source": {"alias": "r", "column": column, "data_type": "text"}})
        };
        let ranking = ["a", "b", "c"].map(|column| {
            json!({"table": {"schema": null, "name": "orders"}, "column": column, "score": 0.5, "chosen": true, "reasons": []})
        });
        serde_json::from_value(json!({
            "version": 1, "dialect": "sqlite", "database": "d", "runtime": "script",
            "target": {"schema": "public", "table": "t"},
            "embedding": {"provider": "relvec", "base_url": "", "model": "m", "dimensions": null, "api_key_env": null,
                          "batch_items": 1, "batch_tokens": 1, "concurrency": 1, "chunk_tokens": 1},
            "entities": [{
                "name": "orders", "root": {"schema": null, "name": "orders"}, "row_count": 1, "parents": [], "metadata": [],
                "key": [{"name": "id", "data_type": "integer"}], "reasons": [],
                "sections": [section("a"), section("b"), section("c")]
            }],
            "left_out": [],
            "ranking": ranking,
            "estimate": {"documents": 1, "chunks": 1, "tokens": 1, "requests": 1}
        }))
        .expect("the plan has its type's shape")
    }

    fn kept(sections: &[u32]) -> Vec<AdvisedPart> {
        let part = |section: &u32| AdvisedPart::Kept {
            section: *section,
            label: None,
        };
        sections.iter().map(part).collect()
    }

    fn advice(entity: &str, parts: Vec<AdvisedPart>) -> Vec<EntityAdvice> {
        vec![EntityAdvice {
            entity: entity.to_owned(),
            parts,
            joins: Vec::new(),
            filter: Vec::new(),
        }]
    }

    #[test]
    fn orders_selects_and_labels_sections() {
        let before = plan();
        let mut after = before.clone();
        let mut parts = kept(&[2, 0]);
        parts[1] = AdvisedPart::Kept {
            section: 0,
            label: Some("Order".to_owned()),
        };
        assert_eq!(
            apply(&mut after, &advice("orders", parts)),
            Vec::<String>::new()
        );
        let [first, _, third] = before.entities[0].sections.as_slice() else {
            panic!("three sections")
        };
        assert_eq!(
            after.entities[0].sections,
            [third.clone(), first.labelled("Order")]
        );
        let chosen: Vec<bool> = after.ranking.iter().map(|ranked| ranked.chosen).collect();
        assert_eq!(chosen, [true, false, true]);
    }

    #[test]
    fn what_does_not_fit_is_ignored_and_named() {
        let before = plan();
        let mut after = before.clone();
        assert_eq!(
            apply(&mut after, &advice("orders", kept(&[1, 1, 9]))).len(),
            2
        );
        assert_eq!(
            after.entities[0].sections,
            [before.entities[0].sections[1].clone()]
        );

        let mut after = before.clone();
        assert_eq!(apply(&mut after, &advice("orders", kept(&[7]))).len(), 2);
        assert_eq!(apply(&mut after, &advice("nothing", kept(&[0]))).len(), 1);
        assert_eq!(after, before);
    }

    #[test]
    fn a_column_of_a_table_that_is_not_joined_changes_nothing() {
        let before = plan();
        let mut after = before.clone();
        let mut section = before.entities[0].sections[0].clone();
        if let Section::Field { source, .. } = &mut section {
            "p1".clone_into(&mut source.alias);
        }
        let parts = vec![AdvisedPart::Added { section }];
        assert_eq!(apply(&mut after, &advice("orders", parts.clone())).len(), 1);
        assert_eq!(after, before);

        let mut joined = advice("orders", parts);
        joined[0].joins.push(
            serde_json::from_value(
                json!({"alias": "p1", "left": "r", "table": {"schema": null, "name": "customers"},
                                          "on": [{"from": "customer_id", "to": "id"}]}),
            )
            .expect("a join"),
        );
        assert_eq!(apply(&mut after, &joined), Vec::<String>::new());
        assert_eq!(after.entities[0].parents.len(), 1);
    }
}

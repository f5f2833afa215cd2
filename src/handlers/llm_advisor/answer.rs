//! The answer: every piece is held against a closed schema of what was offered, and what does not fit is dropped with its reason.

use std::collections::BTreeSet;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::offer::{Offer, Part};
use super::question::OPERATORS;
use crate::error::{Error, ErrorKind, Result};
use crate::model::advice::{AdvisedPart, DroppedAdvice, EntityAdvice};
use crate::model::plan::Condition;

/// Of a refused suggestion, so much is kept for the report.
const MOST_QUOTED: usize = 200;
/// Refused suggestions that are kept one by one.
const MOST_DROPPED: usize = 50;

/// What was taken and what was not.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// Advice that changes something, sorted by entity.
    pub(super) entities: Vec<EntityAdvice>,
    /// What was not taken.
    pub(super) dropped: Vec<DroppedAdvice>,
    /// How many were not taken beside those.
    uncounted: usize,
}

impl Choice {
    fn drop(&mut self, suggestion: &Value, reason: &str) {
        if self.dropped.len() >= MOST_DROPPED {
            self.uncounted += 1;
            return;
        }
        self.dropped.push(DroppedAdvice {
            what: quoted(suggestion),
            reason: reason.to_owned(),
        });
    }
}

/// Takes what fits out of an answer.
///
/// # Errors
/// The answer as a whole does not have the shape that was asked for.
pub(super) fn choose(offers: &[Offer], answer: &str) -> Result<Choice> {
    let reply: Value = serde_json::from_str(answer).map_err(|_| {
        Error::new(
            ErrorKind::Invalid,
            "the language model's answer is not the JSON that was asked for",
        )
    })?;
    let suggestions = reply
        .as_object()
        .filter(|object| object.len() == 1)
        .and_then(|object| object.get("entities"))
        .and_then(Value::as_array)
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Invalid,
                "the language model's answer does not have the shape that was asked for",
            )
        })?;
    let envelope = validator(&envelope_schema(offers))?;
    let mut choice = Choice::default();
    let mut advised = BTreeSet::new();
    for suggestion in suggestions {
        let offer = offers
            .iter()
            .find(|offer| suggestion["entity"] == offer.entity.as_str());
        let (Some(offer), true) = (offer, envelope.is_valid(suggestion)) else {
            choice.drop(
                suggestion,
                "it is not an entity of the plan with a list of parts, and nothing else",
            );
            continue;
        };
        if !advised.insert(&offer.entity) {
            choice.drop(suggestion, "the entity has been advised on already");
            continue;
        }
        let parts = suggestion["parts"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let filters = suggestion["filters"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let mut advice = EntityAdvice {
            entity: offer.entity.clone(),
            parts: Vec::new(),
            joins: Vec::new(),
            filter: Vec::new(),
        };
        choose_parts(offer, parts, &mut advice, &mut choice)?;
        choose_filters(offer, filters, &mut advice, &mut choice)?;
        if advice.parts.is_empty() {
            let whole = json!({"entity": offer.entity});
            choice.drop(&whole, "no part would be left of its document");
        } else if !is_plan(offer, &advice) {
            choice.entities.push(advice);
        }
    }
    choice.entities.sort_by(|a, b| a.entity.cmp(&b.entity));
    if choice.uncounted > 0 {
        choice.dropped.push(DroppedAdvice {
            what: format!("{} more suggestions", choice.uncounted),
            reason: "they do not fit either".to_owned(),
        });
    }
    Ok(choice)
}

/// A section of the plan is only left out where the answer does not name it: a piece that names it and does not fit otherwise leaves
/// it as it is.
fn choose_parts(
    offer: &Offer,
    suggestions: &[Value],
    advice: &mut EntityAdvice,
    choice: &mut Choice,
) -> Result<()> {
    let schema = validator(&part_schema(offer))?;
    let mut taken = BTreeSet::new();
    let mut labels = BTreeSet::new();
    for suggestion in suggestions {
        let named = offer
            .parts
            .iter()
            .find(|part| suggestion["part"] == part.id.as_str());
        let Some(part) = named else {
            choice.drop(suggestion, "this entity is offered no such part");
            continue;
        };
        let mut label = suggestion["label"].as_str().unwrap_or_default();
        let problem = if taken.contains(&part.id) {
            Some("the part is named twice")
        } else if !schema.is_valid(suggestion) {
            Some("it is not a part with one of its labels, and nothing else")
        } else if labels.contains(label) {
            Some("another part of the document has this label")
        } else {
            None
        };
        if let Some(reason) = problem {
            choice.drop(suggestion, reason);
            if part.kept.is_none() || taken.contains(&part.id) {
                continue;
            }
            label = part.labels.first().map(String::as_str).unwrap_or_default();
        }
        taken.insert(&part.id);
        labels.insert(label.to_owned());
        advice.parts.push(advised(part, label));
        let join = part.join.clone();
        advice
            .joins
            .extend(join.filter(|join| !advice.joins.contains(join)));
    }
    Ok(())
}

/// Conditions on columns whose values are declared, one a column.
fn choose_filters(
    offer: &Offer,
    suggestions: &[Value],
    advice: &mut EntityAdvice,
    choice: &mut Choice,
) -> Result<()> {
    let schema = validator(&filter_schema(offer))?;
    for suggestion in suggestions {
        let filter = offer
            .filters
            .iter()
            .find(|filter| suggestion["column"] == filter.column.name.as_str());
        let operator = serde_json::from_value(suggestion["op"].clone()).ok();
        let (Some(filter), Some(op), true) = (filter, operator, schema.is_valid(suggestion)) else {
            choice.drop(
                suggestion,
                "it is not a filter of this entity with some of its values",
            );
            continue;
        };
        if advice
            .filter
            .iter()
            .any(|known| known.column == filter.column)
        {
            choice.drop(suggestion, "the column is filtered twice");
            continue;
        }
        // In the order of the declaration, not of the answer.
        let wanted = suggestion["values"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let values = filter
            .values
            .iter()
            .filter(|value| wanted.iter().any(|one| one == value.as_str()));
        advice.filter.push(Condition {
            column: filter.column.clone(),
            op,
            values: values.cloned().collect(),
        });
    }
    Ok(())
}

fn advised(part: &Part, label: &str) -> AdvisedPart {
    match part.kept {
        Some(section) => AdvisedPart::Kept {
            section,
            label: (part.labels.first().map(String::as_str) != Some(label))
                .then(|| label.to_owned()),
        },
        None => AdvisedPart::Added {
            section: part.section.labelled(label),
        },
    }
}

/// Says whether advice leaves the plan as it is.
fn is_plan(offer: &Offer, advice: &EntityAdvice) -> bool {
    let sections = offer.parts.iter().filter_map(|part| part.kept);
    let unchanged = sections.map(|section| AdvisedPart::Kept {
        section,
        label: None,
    });
    advice.filter.is_empty() && unchanged.eq(advice.parts.iter().cloned())
}

/// An entity and a list; what is in the list is checked piece by piece.
fn envelope_schema(offers: &[Offer]) -> Value {
    let names: Vec<&str> = offers.iter().map(|offer| offer.entity.as_str()).collect();
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["entity", "parts"],
        "properties": {
            "entity": {"enum": names},
            "parts": {"type": "array", "minItems": 1},
            "filters": {"type": "array"},
        },
    })
}

/// A part of this entity with one of its own labels.
fn part_schema(offer: &Offer) -> Value {
    let one = offer.parts.iter().map(|part| {
        json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["part", "label"],
            "properties": {"part": {"const": part.id}, "label": {"enum": part.labels}},
        })
    });
    json!({ "anyOf": one.collect::<Vec<_>>() })
}

/// A filter of this entity with some of its values.
fn filter_schema(offer: &Offer) -> Value {
    let one = offer.filters.iter().map(|filter| {
        json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["column", "op", "values"],
            "properties": {
                "column": {"const": filter.column.name},
                "op": {"enum": OPERATORS},
                "values": {"type": "array", "minItems": 1, "uniqueItems": true, "items": {"enum": filter.values}},
            },
        })
    });
    let one: Vec<Value> = one.collect();
    // An empty `anyOf` is no schema.
    if one.is_empty() {
        json!(false)
    } else {
        json!({ "anyOf": one })
    }
}

fn validator(schema: &Value) -> Result<Validator> {
    jsonschema::validator_for(schema).map_err(|error| {
        Error::new(ErrorKind::Internal, "the schema of the advice is wrong")
            .because(error.to_string())
    })
}

fn quoted(suggestion: &Value) -> String {
    let text = suggestion.to_string();
    let safe = text.chars().filter(|c| !c.is_control());
    safe.take(MOST_QUOTED).collect()
}

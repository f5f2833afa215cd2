//! `llm_advice`: what a language model chose among what the plan offers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// What is to change for one entity. Every choice names something that the plan already has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntityAdvice {
    /// The entity's name.
    pub entity: String,
    /// The sections to keep, as indices into the plan's `sections`, in the order wanted; at least one.
    pub sections: Vec<u32>,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LlmAdvice {
    /// Where it comes from.
    pub origin: AdviceOrigin,
    /// Why the deterministic plan stands, for `fallback`.
    pub reason: Option<String>,
    /// The model that was asked.
    pub model: String,
    /// What is to change.
    pub entities: Vec<EntityAdvice>,
    /// What was not taken.
    pub dropped: Vec<DroppedAdvice>,
}

impl Output for LlmAdvice {
    const KIND: Kind = Kind::new("llm_advice");
}

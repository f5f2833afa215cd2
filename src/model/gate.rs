//! `gate_decision`: what a person decided.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::graph::output::{Kind, Output};

/// What `gate_review` writes once a person approved; a rejection fails the stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateDecision {
    /// Whether the run was accepted.
    pub approved: bool,
    /// Who decided.
    pub by: String,
    /// When, in RFC 3339.
    pub at: String,
}

impl Output for GateDecision {
    const KIND: Kind = Kind::new("gate_decision");
}

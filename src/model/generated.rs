//! `generated_code` and `generated_infra`: what was generated, by name and hash; the files are in the run's folder.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::job::Runtime;
use super::plan::{EmbeddingPlan, MigrationPlan};
use crate::graph::event::Artifact;
use crate::graph::output::{Kind, Output};

/// What `code_generator` writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GeneratedCode {
    /// What is generated beside the script.
    pub runtime: Runtime,
    /// How texts become vectors, as the plan block has it.
    pub embedding: EmbeddingPlan,
    /// The entities in the plan block, after the advice.
    pub entities: Vec<String>,
    /// The files, `migrate.py` first.
    pub files: Vec<Artifact>,
    /// The plan after the advice: exactly what the plan block and `plan.json` hold.
    pub plan: MigrationPlan,
}

impl Output for GeneratedCode {
    const KIND: Kind = Kind::new("generated_code");
}

/// What `infra_generator` writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GeneratedInfra {
    /// The files.
    pub files: Vec<Artifact>,
    /// SHA-256 of `requirements.txt`: the name of the cached virtual environment.
    pub requirements_sha256: String,
}

impl Output for GeneratedInfra {
    const KIND: Kind = Kind::new("generated_infra");
}

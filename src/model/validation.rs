//! `validation_report`: what relvec itself found in source and target.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::graph::output::{Kind, Output};

/// The result of the reconciliation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every source key has its document, with equal content and a sound vector.
    Validated,
    /// Source and target differ.
    Mismatched,
    /// It could not be found out; the reason says why.
    Unverified,
}

/// A structural check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// Whether it holds.
    pub passed: bool,
    /// What was found.
    pub detail: String,
}

/// What rows are known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// Their key.
    #[default]
    Key,
    /// What they hold: there is no key, so both sides were compared as multisets of rows.
    Row,
}

/// The reconciliation of one entity. Counts are of documents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntityValidation {
    /// The entity's name.
    pub entity: String,
    /// What its rows are known by.
    #[serde(default)]
    pub identity: Identity,
    /// Rows of the root in the source.
    pub source_rows: u64,
    /// Documents in the target.
    pub documents: u64,
    /// Source rows whose document has no text, so that none is expected.
    pub empty: u64,
    /// Source rows in the quarantine table.
    pub quarantined: u64,
    /// Source rows with text and without a document.
    pub missing: u64,
    /// Documents without a source row, which should have been removed.
    pub extra: u64,
    /// Documents whose source rows are gone and which the job keeps (`target.on_delete`).
    #[serde(default)]
    pub kept: u64,
    /// Documents whose content, metadata or hash differs.
    pub changed: u64,
    /// Documents with a vector of another dimension or model, with a norm of 0, or with a number that is not finite.
    pub bad_vectors: u64,
    /// The first keys of each kind of difference, as `kind: key`.
    pub differences: Vec<String>,
}

/// What was found on a sample of the vectors.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VectorSample {
    /// Chunks whose texts were embedded again.
    pub embedded_again: u64,
    /// Those of them whose stored vector has a cosine below 0.999 to the new one.
    pub far: u64,
    /// Why none was embedded again; absent where some were.
    pub not_embedded: Option<String>,
    /// Vectors whose ten nearest were looked up, exactly and by the index.
    pub recall_queries: u64,
    /// What the index found of the exact ones, 0 to 1; null without an index or a vector.
    pub recall: Option<f64>,
}

/// What `run_validation` writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidationReport {
    /// The result.
    pub verdict: Verdict,
    /// Why, in one sentence.
    pub reason: String,
    /// Missing by expected documents, times 100; null where it is unknown.
    pub loss_percentage: Option<f64>,
    /// When the source was read, in RFC 3339, by the source's clock.
    pub source_read_at: Option<String>,
    /// Structural checks.
    pub checks: Vec<Check>,
    /// One a planned entity; empty where nothing was compared.
    pub entities: Vec<EntityValidation>,
    /// What was found on a sample of the vectors; absent where nothing was compared.
    #[serde(default)]
    pub vectors: Option<VectorSample>,
}

impl Output for ValidationReport {
    const KIND: Kind = Kind::new("validation_report");
}

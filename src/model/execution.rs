//! `execution_report`: what the generated script said it did. `migrate.py` writes [`MigrationReport`] as its last line.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::job::ExecutionMode;
use crate::graph::output::{Kind, Output};

/// What happened to one entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntityReport {
    /// The entity's name.
    pub entity: String,
    /// Rows of the root in the snapshot.
    pub source_rows: u64,
    /// Documents that the target holds at the end.
    pub documents: u64,
    /// Chunks that the target holds at the end.
    pub chunks: u64,
    /// Chunks embedded by this execution.
    pub embedded: u64,
    /// Chunks that were as they should be.
    pub unchanged: u64,
    /// Documents without text.
    pub empty: u64,
    /// Documents in the quarantine table.
    pub quarantined: u64,
    /// Rows removed from the target because the source no longer has them.
    pub removed: u64,
    /// Documents that stay although the source no longer has their rows, because the job says so.
    pub kept: u64,
    /// Documents that should be in the target and are not.
    pub lost: u64,
}

/// The script's last line on standard output, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrationReport {
    /// When the snapshot was taken, in RFC 3339.
    pub snapshot_at: String,
    /// Numbers a vector; null in a dry run that did not probe.
    pub dimensions: Option<u32>,
    /// One a planned entity.
    pub entities: Vec<EntityReport>,
    /// Which part of the keys was read, `1/1` for all.
    pub shard: String,
    /// Parts that are still to be read before source and target can be compared.
    pub open_shards: Vec<u32>,
    /// How often the source was read from its beginning: once, and once more for each connection that was lost.
    pub passes: u32,
    /// Tokens sent, as the API counts them.
    pub tokens: u64,
    /// Requests sent.
    pub requests: u64,
    /// Requests sent again.
    pub retries: u64,
    /// Seconds from start to end.
    pub seconds: f64,
}

/// What `executor` writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecutionReport {
    /// How it was run.
    pub mode: ExecutionMode,
    /// Whether nothing was run against the target.
    pub simulated: bool,
    /// The script's exit code: 0 complete, 1 failed, 3 complete but with quarantined rows, 4 counts disagree.
    pub exit_code: Option<i32>,
    /// The script's report; in a simulation that of `--dry-run`.
    pub migration: Option<MigrationReport>,
    /// The last lines of the script's standard error, where it failed.
    pub error_lines: Vec<String>,
    /// Seconds from start to end.
    pub seconds: f64,
}

impl Output for ExecutionReport {
    const KIND: Kind = Kind::new("execution_report");
}

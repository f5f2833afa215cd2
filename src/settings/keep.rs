//! How long what runs leave behind is kept.

use std::time::Duration;

use super::number;
use crate::error::Result;

/// What is kept of runs that are over. A run that is not over is kept whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// Whole runs: `RELVEC_KEEP_RUNS`, `RELVEC_KEEP_DAYS`.
    pub runs: Kept,
    /// Their log lines and their steps of progress: `RELVEC_KEEP_EVENTS_RUNS`, `RELVEC_KEEP_EVENTS_DAYS`.
    pub events: Kept,
    /// Their files: `RELVEC_KEEP_ARTIFACTS_RUNS`, `RELVEC_KEEP_ARTIFACTS_DAYS`.
    pub artifacts: Kept,
}

/// How much of one sort is kept; what is beyond either bound goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// Of how many runs, the newest first; of all if absent.
    pub runs: Option<u32>,
    /// For how long after a run's end; for ever if absent.
    pub age: Option<Duration>,
}

const DAY: u64 = 24 * 60 * 60;

impl Keep {
    pub(super) fn from_environment() -> Result<Self> {
        Ok(Self {
            runs: Kept::named("RELVEC_KEEP_RUNS", "RELVEC_KEEP_DAYS")?,
            events: Kept::named("RELVEC_KEEP_EVENTS_RUNS", "RELVEC_KEEP_EVENTS_DAYS")?,
            artifacts: Kept::named("RELVEC_KEEP_ARTIFACTS_RUNS", "RELVEC_KEEP_ARTIFACTS_DAYS")?,
        })
    }

    /// Says whether everything is kept for ever.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}

impl Kept {
    fn named(runs: &str, days: &str) -> Result<Self> {
        Ok(Self {
            runs: number(runs, 0..=u32::MAX)?,
            age: number(days, 0..=36_500)?.map(|days: u64| Duration::from_secs(days * DAY)),
        })
    }

    /// Says whether everything of this sort is kept for ever.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}

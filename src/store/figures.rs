//! What is asked of many runs at once, and of the end of one.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::backend::query;
use super::read::{SummaryRow, log_line};
use super::{Store, from_word, parse_time, unknown_run, word};
use crate::error::Result;
use crate::graph::event::RunStatus;
use crate::model::run::{LogLine, RunSummary};

/// Runs of a graph that are not over and have the same status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRuns {
    /// The graph's name.
    pub graph: String,
    /// Where they stand.
    pub status: RunStatus,
    /// How many they are.
    pub count: i64,
    /// How long ago the first of them was accepted.
    pub oldest: Duration,
}

/// Which runs are listed.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only those of this tenant.
    pub tenant: Option<String>,
    /// Only those with this status.
    pub status: Option<RunStatus>,
    /// Only those of this graph.
    pub graph: Option<String>,
    /// Only those that were accepted before this one.
    pub before: Option<Uuid>,
    /// Only those that were accepted after this one.
    pub after: Option<Uuid>,
}

impl Store {
    /// Lists runs that pass a filter, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list_filtered(&self, filter: &RunFilter, limit: u32) -> Result<Vec<RunSummary>> {
        // Ids are UUIDs of version 7, so their order is the order in which runs were accepted; they are digits and a to f.
        let asked = query(
            "SELECT id, graph, status, error, created_at, finished_at FROM runs
             WHERE id < coalesce($1, 'g') AND id > coalesce($2, '') AND tenant = coalesce($3, tenant)
               AND status = coalesce($4, status) AND graph = coalesce($5, graph)
             ORDER BY id DESC LIMIT $6",
        )
        .bind(filter.before)
        .bind(filter.after)
        .bind(filter.tenant.as_deref())
        .bind(filter.status.as_ref().map(word).transpose()?)
        .bind(filter.graph.as_deref())
        .bind(limit);
        let rows: Vec<SummaryRow> = self.all("list runs", asked).await?;
        rows.into_iter().map(SummaryRow::summary).collect()
    }

    /// Counts the runs that are not over.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn open_runs(&self) -> Result<Vec<OpenRuns>> {
        let asked = query(
            "SELECT graph, status, count(*), min(created_at) FROM runs
             WHERE status IN ('queued', 'running', 'waiting') GROUP BY graph, status",
        );
        let rows: Vec<(String, String, i64, String)> = self.all("count runs", asked).await?;
        let now = OffsetDateTime::now_utc();
        rows.into_iter()
            .map(|(graph, status, count, first)| {
                Ok(OpenRuns {
                    graph,
                    status: from_word(&status)?,
                    count,
                    // A clock that was set back took no time.
                    oldest: (now - parse_time(&first)?).try_into().unwrap_or_default(),
                })
            })
            .collect()
    }

    /// Gives the number of a run's last event; 0 where there is none.
    ///
    /// # Errors
    /// There is no such run, or the store cannot be read.
    pub async fn last_event(&self, run_id: Uuid) -> Result<i64> {
        let asked = query("SELECT last_seq FROM runs WHERE id = $1").bind(run_id);
        let row: Option<(i64,)> = self.optional("read the run", asked).await?;
        row.map(|(last,)| last).ok_or_else(|| unknown_run(run_id))
    }

    /// Gives the last `count` lines of a run's log after the event with the number `after`, oldest first, of one stage or of all.
    ///
    /// # Errors
    /// There is no such run, or the store cannot be read.
    pub async fn log_tail(
        &self,
        run_id: Uuid,
        stage: Option<&str>,
        after: i64,
        count: u32,
    ) -> Result<Vec<LogLine>> {
        self.status(run_id).await?;
        let asked = query(
            "SELECT seq, at, event FROM events
             WHERE run_id = $1 AND kind = 'stage_log' AND ($2 IS NULL OR stage = $2) AND seq > $3
             ORDER BY seq DESC LIMIT $4",
        )
        .bind(run_id)
        .bind(stage)
        .bind(after)
        .bind(count);
        let rows: Vec<(i64, String, String)> = self.all("read the log", asked).await?;
        let lines = rows.into_iter().rev();
        lines
            .filter_map(|(seq, at, event)| log_line(seq, at, &event).transpose())
            .collect()
    }
}

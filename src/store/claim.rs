//! Who executes a run: one owner at a time, and only what the present one records counts.
//!
//! ```text
//! queued ──claim──► running (owner, epoch + 1) ──record──► succeeded | failed | cancelled | waiting
//!    ▲                 │   │                                          only while the epoch is the same
//!    └────requeue──────┘   └──claim by another, once its owner is gone
//! ```
//!
//! In a file the owner also holds the run's lock file, which goes with its process: whoever has the lock may claim. In a server there is a
//! lease instead, in the server's time, that the owner extends.

use uuid::Uuid;

use super::backend::{Sql, at_now, query};
use super::{Origin, Store, json, now, over, parse_id, word};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::event::{Event, RunStatus};

/// An execution of a run: what it records counts until another one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The run.
    pub run_id: Uuid,
    /// Counts the run's executions.
    pub epoch: i64,
}

/// A run that was taken out of the queue.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The execution that begins.
    pub claim: Claim,
    /// The run's graph, of which only so many may run at once.
    pub graph: String,
}

/// Where a gateway looks for a run to execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// Runs whose owner is gone.
    Abandoned,
    /// Runs that wait for their turn.
    Queued,
}

/// How an execution stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It is the run's.
    Yes,
    /// It is the run's, and somebody wants it cancelled.
    CancelWanted,
    /// Another one began, or the run is over.
    Lost,
}

/// The runs of gateways that are queued, but for those of which nobody else has the secrets while their holder lives.
const CLAIM_QUEUED: Sql = at_now!(
    "UPDATE runs SET status = 'running', owner = $1, epoch = epoch + 1, started_at = coalesce(started_at, $2), lease_until = ",
    " + $3
     WHERE id = (SELECT id FROM runs
                 WHERE status = 'queued' AND origin = 'gateway'
                   AND graph NOT IN (SELECT jsonb_array_elements_text(CAST($4 AS jsonb)))
                   AND (holder IS NULL OR holder = $1
                        OR NOT EXISTS (SELECT 1 FROM gateways g WHERE g.id = runs.holder AND g.seen_until >= ",
    "))
                 ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
     RETURNING id, epoch, graph"
);

const CLAIM_ABANDONED: Sql = at_now!(
    "UPDATE runs SET owner = $1, epoch = epoch + 1, started_at = coalesce(started_at, $2), lease_until = ",
    " + $3
     WHERE id = (SELECT id FROM runs
                 WHERE status = 'running' AND origin = 'gateway' AND lease_until < ",
    "
                   AND graph NOT IN (SELECT jsonb_array_elements_text(CAST($4 AS jsonb)))
                   AND (holder IS NULL OR holder = $1
                        OR NOT EXISTS (SELECT 1 FROM gateways g WHERE g.id = runs.holder AND g.seen_until >= ",
    "))
                 ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
     RETURNING id, epoch, graph"
);

impl Store {
    /// Takes a queued run, or one that its last owner left running, for execution.
    ///
    /// In a file, the caller has the run's lock file.
    ///
    /// # Errors
    /// There is no such run, it waits or is over, its owner lives, or the store cannot be written.
    pub async fn claim(&self, run_id: Uuid) -> Result<Claim> {
        const CLAIM: Sql = Sql {
            sqlite: "UPDATE runs SET status = 'running', owner = $2, epoch = epoch + 1, started_at = coalesce(started_at, $3)
                     WHERE id = $1 AND status IN ('queued', 'running') RETURNING epoch",
            postgres: at_now!(
                "UPDATE runs SET status = 'running', owner = $2, epoch = epoch + 1, started_at = coalesce(started_at, $3), lease_until = ",
                " + $4
                 WHERE id = $1 AND (status = 'queued' OR status = 'running' AND coalesce(lease_until, 0) < ",
                ") RETURNING epoch"
            )
            .postgres,
        };
        let claim = query(CLAIM)
            .bind(run_id)
            .bind(self.me)
            .bind(now())
            .bind(self.lease);
        if let Some((epoch,)) = self.write_one("take the run", claim).await? {
            self.changes.changed(run_id);
            return Ok(Claim { run_id, epoch });
        }
        match self.status(run_id).await? {
            RunStatus::Waiting => Err(Error::new(
                ErrorKind::Waiting,
                format!("run {run_id} waits for answers to its open questions"),
            )
            .hint("answer them first")),
            RunStatus::Queued | RunStatus::Running => Err(executed_elsewhere(run_id)),
            status @ (RunStatus::Succeeded | RunStatus::Failed | RunStatus::Cancelled) => {
                Err(over(run_id, status))
            }
        }
    }

    /// Takes the oldest run that this gateway may execute out of a store that several share; none of these graphs.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn claim_next(&self, among: Among, full: &[String]) -> Result<Option<Claimed>> {
        let sql = match among {
            Among::Queued => CLAIM_QUEUED,
            Among::Abandoned => CLAIM_ABANDONED,
        };
        let claim = query(sql)
            .bind(self.me)
            .bind(now())
            .bind(self.lease)
            .bind(json(full)?);
        let row: Option<(String, i64, String)> = self.write_one("take a run", claim).await?;
        row.map(|(id, epoch, graph)| {
            let run_id = parse_id(&id)?;
            self.changes.changed(run_id);
            Ok(Claimed {
                claim: Claim { run_id, epoch },
                graph,
            })
        })
        .transpose()
    }

    /// Gives the oldest runs that the gateway of a file may execute, if it gets their locks; none of these graphs.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn candidates(
        &self,
        among: Among,
        full: &[String],
        limit: u32,
    ) -> Result<Vec<(Uuid, String)>> {
        const CANDIDATES: Sql = Sql {
            sqlite: "SELECT id, graph FROM runs
                     WHERE status = $1 AND origin = $2 AND graph NOT IN (SELECT value FROM json_each($3))
                     ORDER BY id LIMIT $4",
            postgres: "SELECT id, graph FROM runs
                       WHERE status = $1 AND origin = $2
                         AND graph NOT IN (SELECT jsonb_array_elements_text(CAST($3 AS jsonb)))
                       ORDER BY id LIMIT $4",
        };
        let status = match among {
            Among::Queued => RunStatus::Queued,
            Among::Abandoned => RunStatus::Running,
        };
        let candidates = query(CANDIDATES)
            .bind(word(&status)?)
            .bind(word(&Origin::Gateway)?)
            .bind(json(full)?)
            .bind(limit);
        let rows: Vec<(String, String)> = self.all("look for runs", candidates).await?;
        rows.into_iter()
            .map(|(id, graph)| Ok((parse_id(&id)?, graph)))
            .collect()
    }

    /// Says how an execution stands, and extends its lease.
    ///
    /// # Errors
    /// The store cannot be reached.
    pub async fn extend(&self, claim: Claim) -> Result<Held> {
        const STANDS: &str =
            "SELECT cancel_wanted FROM runs WHERE id = $1 AND epoch = $2 AND status = 'running'";
        const EXTEND: Sql = at_now!(
            "UPDATE runs SET lease_until = ",
            " + $3 WHERE id = $1 AND epoch = $2 AND status = 'running' RETURNING cancel_wanted"
        );
        let what = "extend a lease";
        let row: Option<(i64,)> = if self.is_shared() {
            let extend = query(EXTEND)
                .bind(claim.run_id)
                .bind(claim.epoch)
                .bind(self.lease);
            self.write_one(what, extend).await?
        } else {
            let stands = query(STANDS).bind(claim.run_id).bind(claim.epoch);
            self.optional(what, stands).await?
        };
        Ok(match row {
            None => Held::Lost,
            Some((0,)) => Held::Yes,
            Some(_) => Held::CancelWanted,
        })
    }

    /// Puts a run back that was interrupted, so that it goes on later from what is recorded. Its lease is released.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn requeue(&self, claim: Claim) -> Result<()> {
        let requeue = query(
            "UPDATE runs SET status = 'queued', owner = NULL, lease_until = NULL
             WHERE id = $1 AND epoch = $2 AND status = 'running'",
        )
        .bind(claim.run_id)
        .bind(claim.epoch);
        self.write("put the run back", move |c| {
            Box::pin(async move { requeue.execute(c).await })
        })
        .await?;
        self.changes.changed(claim.run_id);
        self.changes.queued();
        Ok(())
    }

    /// Ends a run that could not be executed at all.
    ///
    /// # Errors
    /// Another execution of it began, or the store cannot be written.
    pub async fn fail(&self, claim: Claim, error: &str) -> Result<()> {
        let failed = Event::RunFinished {
            status: RunStatus::Failed,
            error: Some(error.to_owned()),
            seconds: 0.0,
        };
        self.record(claim, vec![failed], Vec::new(), None).await
    }

    /// Says whether a process executes a run of a store that several share.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn is_leased(&self, run_id: Uuid) -> Result<bool> {
        const LEASED: Sql = at_now!(
            "SELECT epoch FROM runs WHERE id = $1 AND status = 'running' AND lease_until >= ",
            ""
        );
        let leased: Option<(i64,)> = self
            .optional("read a lease", query(LEASED).bind(run_id))
            .await?;
        Ok(leased.is_some())
    }

    /// Tells the other gateways that this one lives. What only it has the secrets of is left to it as long as it says so.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn say_alive(&self) -> Result<()> {
        const ALIVE: Sql = at_now!(
            "INSERT INTO gateways (id, started_at, seen_until) VALUES ($1, $2, ",
            " + $3) ON CONFLICT (id) DO UPDATE SET seen_until = excluded.seen_until"
        );
        const GONE: Sql = at_now!("DELETE FROM gateways WHERE seen_until < ", " - $1");
        let alive = query(ALIVE).bind(self.me).bind(now()).bind(self.lease);
        let gone = query(GONE).bind(DAY);
        self.write("tell that the gateway lives", move |c| {
            Box::pin(async move {
                gone.execute(c).await?;
                alive.execute(c).await
            })
        })
        .await?;
        Ok(())
    }

    /// Tells the other gateways that this one is about to be gone, and puts back whatever it still has.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn say_gone(&self) -> Result<()> {
        let gone = query("DELETE FROM gateways WHERE id = $1").bind(self.me);
        let back = query(
            "UPDATE runs SET status = 'queued', owner = NULL, lease_until = NULL WHERE owner = $1 AND status = 'running'",
        )
        .bind(self.me);
        self.write("tell that the gateway is gone", move |c| {
            Box::pin(async move {
                gone.execute(c).await?;
                back.execute(c).await
            })
        })
        .await?;
        self.changes.queued();
        Ok(())
    }

    /// Counts the runs that wait to be executed by a gateway.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn count_queued(&self) -> Result<u64> {
        let count: Option<(i64,)> = self
            .optional(
                "count queued runs",
                query("SELECT count(*) FROM runs WHERE status = 'queued' AND origin = 'gateway'"),
            )
            .await?;
        Ok(count.map_or(0, |(count,)| count.unsigned_abs()))
    }
}

/// In milliseconds.
const DAY: i64 = 24 * 60 * 60 * 1_000;

/// Another process executes the run.
pub(super) fn executed_elsewhere(run_id: Uuid) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("run {run_id} is executed by another process"),
    )
    .hint("wait for it to end, or cancel it: `relvec runs cancel`, POST /jobs/{id}/cancel")
}

/// What an execution wants to record counts no more.
pub(super) fn lost(claim: Claim) -> Error {
    let Claim { run_id, epoch } = claim;
    Error::new(
        ErrorKind::Conflict,
        format!("execution {epoch} of run {run_id} is not its owner any more: another process went on with it, or ended it"),
    )
    .hint(format!("see how it stands: `relvec runs show {run_id}`, GET /jobs/{run_id}"))
}

//! What is kept no longer is removed: whole runs, their log, their files. A run that is not over is never touched.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::backend::{Connection, Sql, at_now, query};
use super::fault::Fault;
use super::{Store, parse_id};
use crate::error::Result;
use crate::settings::{Keep, Kept};

/// The most runs that one transaction removes something of.
const AT_ONCE: i64 = 100;

/// How long other gateways may take to remove their copies of a run's files, in milliseconds.
const REMEMBERED: i64 = 30 * 24 * 60 * 60 * 1_000;

/// What of a run is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Run,
    Events,
    Files,
}

impl Part {
    /// Its bit in `runs.pruned`; the run itself has none, since it is gone.
    const fn bit(self) -> i64 {
        match self {
            Self::Run => 0,
            Self::Events => 1,
            Self::Files => 2,
        }
    }

    /// The values of `runs.pruned` that say that it is gone already.
    const fn gone(self) -> [i64; 2] {
        match self {
            Self::Run => [-1, -1],
            Self::Events | Self::Files => [self.bit(), 3],
        }
    }
}

impl Store {
    /// Removes what is to be kept no longer. Gives how many runs lost something.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn prune(&self, keep: &Keep) -> Result<u64> {
        let mut pruned = 0;
        for (part, kept) in [
            (Part::Run, keep.runs),
            (Part::Events, keep.events),
            (Part::Files, keep.artifacts),
        ] {
            if kept.is_everything() {
                continue;
            }
            loop {
                let some = self.prune_some(part, kept).await?;
                pruned += some.unsigned_abs();
                if some < AT_ONCE {
                    break;
                }
            }
        }
        Ok(pruned)
    }

    async fn prune_some(&self, part: Part, kept: Kept) -> Result<i64> {
        let before = kept.age.and_then(|age| {
            let end = OffsetDateTime::now_utc() - age;
            end.format(&Rfc3339).ok()
        });
        self.write("remove what is kept no longer", move |c| {
            Box::pin(async move { prune_some(c, part, kept.runs, before).await })
        })
        .await
    }

    /// Gives runs that are removed, or whose files are: this machine's copies have to go.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn removed(&self) -> Result<Vec<Uuid>> {
        let rows: Vec<(String,)> = self
            .all("read what is removed", query("SELECT run_id FROM removed"))
            .await?;
        rows.iter().map(|(id,)| parse_id(id)).collect()
    }

    /// Forgets what was removed long enough ago; in a file at once, since nobody else has copies.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn forget_removed(&self) -> Result<()> {
        const FORGET: Sql = at_now!("DELETE FROM removed WHERE removed_at <= ", " - $1");
        let remembered = if self.is_shared() { REMEMBERED } else { 0 };
        let forget = query(FORGET).bind(remembered);
        self.write("forget what is removed", move |c| {
            Box::pin(async move { forget.execute(c).await })
        })
        .await?;
        Ok(())
    }
}

async fn prune_some(
    connection: &mut Connection,
    part: Part,
    runs: Option<u32>,
    before: Option<String>,
) -> Result<i64, Fault> {
    const OVER: &str = "SELECT id FROM runs
         WHERE status IN ('succeeded', 'failed', 'cancelled') AND (finished_at < $1 OR id <= $2)
           AND pruned NOT IN ($3, $4)
         ORDER BY id LIMIT $5";
    let newest_to_go = match runs {
        Some(runs) => {
            query(
                "SELECT id FROM runs WHERE status IN ('succeeded', 'failed', 'cancelled')
                 ORDER BY id DESC LIMIT 1 OFFSET $1",
            )
            .bind(runs)
            .optional::<(String,)>(connection)
            .await?
        }
        None => None,
    };
    let [alone, with_other] = part.gone();
    let ids: Vec<(String,)> = query(OVER)
        .bind(before)
        .bind(newest_to_go.map(|(id,)| id))
        .bind(alone)
        .bind(with_other)
        .bind(AT_ONCE)
        .all(connection)
        .await?;
    for (id,) in &ids {
        prune(connection, part, id).await?;
    }
    Ok(i64::try_from(ids.len()).unwrap_or(i64::MAX))
}

async fn prune(connection: &mut Connection, part: Part, id: &str) -> Result<(), Fault> {
    const REMOVED: Sql = at_now!(
        "INSERT INTO removed (run_id, removed_at) VALUES ($1, ",
        ") ON CONFLICT (run_id) DO NOTHING"
    );
    match part {
        Part::Run => {
            query("DELETE FROM runs WHERE id = $1")
                .bind(id)
                .execute(connection)
                .await?;
        }
        // What retries and explanations read stays.
        Part::Events => {
            query(
                "DELETE FROM events WHERE run_id = $1 AND kind IN ('stage_log', 'stage_progress')",
            )
            .bind(id)
            .execute(connection)
            .await?;
        }
        Part::Files => {
            query("UPDATE artifacts SET content = NULL WHERE run_id = $1")
                .bind(id)
                .execute(connection)
                .await?;
        }
    }
    if part != Part::Events {
        query(REMOVED).bind(id).execute(connection).await?;
    }
    if part != Part::Run {
        query("UPDATE runs SET pruned = pruned + $2 WHERE id = $1")
            .bind(id)
            .bind(part.bit())
            .execute(connection)
            .await?;
    }
    Ok(())
}

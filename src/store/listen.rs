//! What other processes record in a PostgreSQL store wakes who waits here.

use std::time::Duration;

use sqlx::postgres::PgListener;
use uuid::Uuid;

use super::Store;
use super::backend::Backend;

/// The channel that the triggers of `runs` notify.
const CHANNEL: &str = "relvec_runs";

/// How long a server that does not answer is left alone.
const PAUSE: Duration = Duration::from_secs(1);

impl Store {
    /// Passes on what the server tells of other processes' doings, for ever. In a file nobody tells.
    ///
    /// What is missed while the connection is lost is made up for: everybody who waits looks once more.
    pub async fn listen(&self) {
        let Backend::Postgres(pool) = &self.backend else {
            return std::future::pending().await;
        };
        loop {
            let listener = PgListener::connect_with(pool).await;
            let error = match listener {
                Ok(listener) => self.pass_on(listener).await,
                Err(error) => error,
            };
            tracing::warn!(%error, "the run store tells nothing for now; runs are looked for instead");
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn pass_on(&self, mut listener: PgListener) -> sqlx::Error {
        if let Err(error) = listener.listen(CHANNEL).await {
            return error;
        }
        self.changes.anything();
        loop {
            match listener.try_recv().await {
                Ok(Some(told)) => self.told(told.payload()),
                // The connection was lost and is there again.
                Ok(None) => self.changes.anything(),
                Err(error) => return error,
            }
        }
    }

    fn told(&self, payload: &str) {
        let Some((id, status)) = payload.split_once(' ') else {
            return;
        };
        if let Ok(run_id) = Uuid::try_parse(id) {
            self.changes.changed(run_id);
        }
        if status == "queued" {
            self.changes.queued();
        }
    }
}

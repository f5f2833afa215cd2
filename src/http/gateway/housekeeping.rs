//! What a gateway does now and then: it tells the others that it lives, forgets secrets that nobody needs, and removes what is kept no longer.

use std::time::Duration;

use super::Gateway;
use crate::error::Result;

/// How often what is kept no longer is looked for.
const TIDY_EVERY: Duration = Duration::from_mins(10);

impl Gateway {
    /// Tells the other gateways that this one lives, until it stops.
    pub(super) async fn stay_known(&self) {
        let store = self.launch().store();
        let every = self.launch().settings().runs.lease / 3;
        while self.pause(every).await {
            if store.is_shared()
                && let Err(error) = store.say_alive().await
            {
                tracing::warn!(%error, "other gateways are not told that this one lives");
            }
        }
    }

    /// Forgets and removes what nobody needs, until the gateway stops.
    pub(super) async fn tidy(&self) {
        loop {
            if let Err(error) = self.tidy_once().await {
                tracing::warn!(%error, "what is kept no longer stays for now");
            }
            if !self.pause(TIDY_EVERY).await {
                return;
            }
        }
    }

    async fn tidy_once(&self) -> Result<()> {
        let launch = self.launch();
        for run_id in launch.held_runs() {
            // Another gateway may have ended it.
            if self.is_over(run_id).await? {
                launch.let_go(run_id);
            }
        }
        let keep = &launch.settings().runs.keep;
        if !keep.is_everything() {
            launch.store().prune(keep).await?;
        }
        self.remove_files().await
    }

    /// Removes this machine's files of runs that lost theirs.
    async fn remove_files(&self) -> Result<()> {
        let store = self.launch().store();
        for run_id in store.removed().await? {
            let folder = self.launch().settings().artifacts(run_id);
            match tokio::fs::remove_dir_all(&folder).await {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "files of a run stay for now");
                    return Ok(());
                }
            }
        }
        store.forget_removed().await
    }
}

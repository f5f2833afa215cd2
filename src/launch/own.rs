//! Whose a run is: in a file's store, of whoever holds its lock file; in a server's, of whoever has its lease.

use std::fs::File;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::run::Launch;
use crate::error::{Error, ErrorKind, Result};
use crate::service::lock;
use crate::store::{Among, Cancelled, Claim, make_private_folder};

/// The longest time that a wish to cancel waits for a run that another process executes.
const CANCEL_TIME: Duration = Duration::from_secs(6);

/// How often it is looked whether that process has ended it.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The most runs that are tried beside those that this process executes: some have just parked, and their locks are let go in a moment.
const CANDIDATES: u32 = 64;

/// A run that this process may execute: dropped, it is let go.
#[derive(Debug)]
pub struct Owned {
    pub(super) claim: Claim,
    /// Its graph, where it was taken out of the queue.
    graph: String,
    /// In a file's store, the proof that its owner lives. In a server's, where the lease is, it keeps the run's container from being
    /// taken for one that nobody needs any more.
    _lock: Option<File>,
}

impl Owned {
    /// Gives the execution.
    #[must_use]
    pub const fn claim(&self) -> Claim {
        self.claim
    }

    /// Gives the name of the run's graph.
    #[must_use]
    pub fn graph(&self) -> &str {
        &self.graph
    }
}

impl Launch {
    /// Takes a run for execution by this process.
    ///
    /// # Errors
    /// There is no such run, it is over or waits, another process executes it, or the store cannot be written.
    pub async fn own(&self, run_id: Uuid) -> Result<Owned> {
        // Who has the lock is the only one to claim.
        let lock = if self.store().is_shared() {
            None
        } else {
            Some(self.lock(run_id)?)
        };
        let claim = self.store().claim(run_id).await?;
        Ok(Owned {
            claim,
            graph: String::new(),
            _lock: lock.or_else(|| self.lock(run_id).ok()),
        })
    }

    /// Takes the oldest run that a gateway may execute, of none of these graphs, if there is one.
    ///
    /// # Errors
    /// The store cannot be read or written, or the folder of a run cannot be made.
    pub async fn own_next(&self, among: Among, full: &[String]) -> Result<Option<Owned>> {
        if self.store().is_shared() {
            let claimed = self.store().claim_next(among, full).await?;
            return Ok(claimed.map(|claimed| Owned {
                _lock: self.lock(claimed.claim.run_id).ok(),
                claim: claimed.claim,
                graph: claimed.graph,
            }));
        }
        let here = u32::try_from(self.settings().runs.at_once).unwrap_or(u32::MAX);
        // As a rule the oldest is free.
        for most in [1, CANDIDATES.saturating_add(here)] {
            for (run_id, graph) in self.store().candidates(among, full, most).await? {
                match self.own(run_id).await {
                    Ok(owned) => return Ok(Some(Owned { graph, ..owned })),
                    // Another process executes it, or it was cancelled meanwhile.
                    Err(error)
                        if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Waiting) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(None)
    }

    /// Says whether a process executes a run now. One that was killed leaves its run `running` and nobody at work.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn is_executed(&self, run_id: Uuid) -> Result<bool> {
        if self.store().is_shared() {
            return self.store().is_leased(run_id).await;
        }
        let path = self.settings().artifacts(run_id).join(lock::OF_RUN);
        Ok(lock::is_held(&path))
    }

    /// Cancels a run, whoever executes it. Another process is asked to, and gets a little time.
    ///
    /// # Errors
    /// There is no such run, it ended otherwise, it did not end in time, or the store cannot be written.
    pub async fn cancel(&self, run_id: Uuid) -> Result<()> {
        if self.store().cancel(run_id).await? == Cancelled::Done {
            return Ok(());
        }
        if self.cancel_abandoned(run_id).await? == Cancelled::Done {
            return Ok(());
        }
        self.store().wish_cancelled(run_id).await?;
        let mut follower = self.store().follow(run_id);
        let until = Instant::now() + CANCEL_TIME;
        while Instant::now() < until {
            // A run that was put back meanwhile, or parked, is cancelled as it lies.
            if self.store().cancel(run_id).await? == Cancelled::Done {
                return Ok(());
            }
            let _ = tokio::time::timeout(LOOK_EVERY, follower.changed()).await;
        }
        Err(Error::new(
            ErrorKind::Conflict,
            format!("run {run_id} is executed by another process, which was asked to cancel it and has not yet"),
        )
        .hint("look again in a while, or cancel it there: Ctrl-C where `relvec run` executes it"))
    }

    /// Cancels a run whose owner is gone.
    async fn cancel_abandoned(&self, run_id: Uuid) -> Result<Cancelled> {
        if self.store().is_shared() {
            return self.store().cancel_abandoned(run_id).await;
        }
        // Who has the lock is the only one to execute it.
        match self.lock(run_id) {
            Ok(_lock) => self.store().cancel_abandoned(run_id).await,
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(Cancelled::Running),
            Err(error) => Err(error),
        }
    }

    fn lock(&self, run_id: Uuid) -> Result<File> {
        let folder = self.settings().artifacts(run_id);
        make_private_folder(&folder)?;
        let path = folder.join(lock::OF_RUN);
        let file = File::create(&path).map_err(|error| {
            Error::new(
                ErrorKind::Unavailable,
                format!("cannot write {}", path.display()),
            )
            .because(error)
            .hint("see that the disk has room and that relvec may write there")
        })?;
        file.try_lock().map_err(|_| {
            Error::new(
                ErrorKind::Conflict,
                format!("run {run_id} is executed by another process"),
            )
            .hint("wait for it to end, or cancel it: `relvec runs cancel`, POST /jobs/{id}/cancel")
        })?;
        Ok(file)
    }
}

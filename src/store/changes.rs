//! Who waits for something to happen in the store: followers of a run, and whoever executes queued runs.
//!
//! What this process records wakes them at once. What others record does so where the store is a server that tells (`listen`); in a file
//! it does not, so whoever waits here also looks now and then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use uuid::Uuid;

/// Wakes who waits; clones wake the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    followed: Mutex<HashMap<Uuid, watch::Sender<u64>>>,
    queue: Notify,
}

/// Waits for changes of one run. What happens between [`Store::follow`](super::Store::follow) and [`Follower::changed`] is not missed.
#[derive(Debug)]
pub struct Follower {
    run_id: Uuid,
    changes: Changes,
    seen: watch::Receiver<u64>,
}

impl Changes {
    /// Gives what waits for changes of a run.
    pub(super) fn follow(&self, run_id: Uuid) -> Follower {
        let mut followed = self.followed();
        let sender = followed
            .entry(run_id)
            .or_insert_with(|| watch::channel(0).0);
        Follower {
            run_id,
            changes: self.clone(),
            seen: sender.subscribe(),
        }
    }

    /// Wakes the followers of a run.
    pub(super) fn changed(&self, run_id: Uuid) {
        if let Some(sender) = self.followed().get(&run_id) {
            sender.send_modify(|count| *count += 1);
        }
    }

    /// Wakes whoever executes queued runs.
    pub(super) fn queued(&self) {
        self.0.queue.notify_one();
    }

    /// Wakes everybody, because something may have been missed.
    pub(super) fn anything(&self) {
        for sender in self.followed().values() {
            sender.send_modify(|count| *count += 1);
        }
        self.queued();
    }

    /// Waits until a run may have been queued since the last time.
    pub(super) async fn until_queued(&self) {
        self.0.queue.notified().await;
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<Uuid, watch::Sender<u64>>> {
        self.0
            .followed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    /// Waits until something of the run was recorded since the last call. Whoever needs to see what another process records in a file
    /// puts a bound on the wait and looks.
    pub async fn changed(&mut self) {
        if self.seen.changed().await.is_err() {
            // The sender is there as long as a follower is.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut followed = self.changes.followed();
        let last = followed
            .get(&self.run_id)
            .is_some_and(|sender| sender.receiver_count() <= 1);
        if last {
            followed.remove(&self.run_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_follower_misses_nothing_and_leaves_nothing() {
        let changes = Changes::default();
        let run_id = Uuid::now_v7();
        let mut first = changes.follow(run_id);
        let mut second = changes.follow(run_id);
        changes.changed(run_id);
        changes.changed(Uuid::now_v7());
        first.changed().await;
        second.changed().await;
        let waits = futures::FutureExt::now_or_never(first.changed());
        assert!(waits.is_none(), "one change is told once");
        drop(first);
        changes.anything();
        second.changed().await;
        drop(second);
        assert!(changes.followed().is_empty());
    }

    #[tokio::test]
    async fn a_run_that_was_queued_before_anybody_waited_is_not_missed() {
        let changes = Changes::default();
        changes.queued();
        changes.queued();
        changes.until_queued().await;
        let waits = futures::FutureExt::now_or_never(changes.until_queued());
        assert!(waits.is_none());
    }
}

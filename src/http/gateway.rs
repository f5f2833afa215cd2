//! The runs that this process executes: at most so many at once, each stoppable, each resumed where it stood.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::graph::context::Secrets;
use crate::graph::event::RunStatus;
use crate::launch::{Accepted, Control, Launch};
use crate::store::{Cancelled, Origin};

/// Runs at once; the others are queued.
const RUNS_AT_ONCE: usize = 4;

/// The longest time that runs may take to stop when the gateway does.
const DRAIN_TIME: Duration = Duration::from_secs(25);

/// The longest time that a request to cancel waits for the run to end.
const CANCEL_TIME: Duration = Duration::from_secs(6);

/// How often the gateway looks for questions whose time is over.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Who answers what nobody answered in time.
const TIME_OVER: &str = "response_timeout";

/// A run that has a task here.
#[derive(Clone, Default)]
struct Active {
    control: Control,
    done: CancellationToken,
}

struct Inner {
    launch: Launch,
    permits: Semaphore,
    active: Mutex<HashMap<Uuid, Active>>,
    /// Kept from acceptance to the end, so that a run that waits can go on without its caller.
    secrets: Mutex<HashMap<Uuid, Secrets>>,
    tasks: TaskTracker,
    draining: CancellationToken,
}

/// What the routes share.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

impl Gateway {
    /// Makes a gateway; nothing runs yet.
    #[must_use]
    pub fn new(launch: Launch) -> Self {
        Self(Arc::new(Inner {
            launch,
            permits: Semaphore::new(RUNS_AT_ONCE),
            active: Mutex::default(),
            secrets: Mutex::default(),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
        }))
    }

    /// Gives what makes runs.
    #[must_use]
    pub fn launch(&self) -> &Launch {
        &self.0.launch
    }

    /// Gives a token that is cancelled when the gateway stops.
    #[must_use]
    pub fn draining(&self) -> &CancellationToken {
        &self.0.draining
    }

    /// Goes on with the runs that an earlier process of the gateway accepted and did not finish.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn recover(&self) -> Result<()> {
        let store = self.launch().store();
        for run_id in store.unfinished(Origin::Gateway).await? {
            store.requeue(run_id).await?;
            match self.launch().secrets(run_id).await {
                Ok(secrets) => self.execute(run_id, secrets),
                Err(error) => tracing::warn!(%run_id, %error, "a run cannot go on"),
            }
        }
        Ok(())
    }

    /// Executes a run that was accepted just now; one that was accepted before has its task already.
    pub fn begin(&self, accepted: Accepted) {
        if let Some(secrets) = accepted.secrets {
            self.execute(accepted.run_id, secrets);
        }
    }

    /// Records an answer; where it was the last that the run waited for, the run goes on.
    ///
    /// # Errors
    /// The answer does not fit the run, or the run's secrets are gone.
    pub async fn answer(&self, run_id: Uuid, question: &str, choice: &str, by: &str) -> Result<()> {
        let launch = self.launch();
        if launch.store().answer(run_id, question, choice, by).await? {
            let kept = lock(&self.0.secrets).get(&run_id).cloned();
            let secrets = match kept {
                Some(secrets) => secrets,
                None => launch.secrets(run_id).await?,
            };
            self.execute(run_id, secrets);
        }
        Ok(())
    }

    /// Answers what nobody answered in time with what holds then, until the gateway stops.
    pub async fn watch_the_time(&self) {
        loop {
            tokio::select! {
                () = self.0.draining.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if let Err(error) = self.answer_overdue().await {
                tracing::warn!(%error, "questions whose time is over stay open for now");
            }
        }
    }

    async fn answer_overdue(&self) -> Result<()> {
        for (run_id, question, choice) in self.launch().store().overdue(Origin::Gateway).await? {
            match self.answer(run_id, &question, &choice, TIME_OVER).await {
                // A person was quicker, or cancelled the run.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Cancels a run, and waits a little for it to end.
    ///
    /// # Errors
    /// There is no such run, it ended otherwise, or another process executes it.
    pub async fn cancel(&self, run_id: Uuid) -> Result<()> {
        let store = self.launch().store();
        if store.cancel(run_id).await? == Cancelled::Done {
            lock(&self.0.secrets).remove(&run_id);
            return Ok(());
        }
        let active = lock(&self.0.active).get(&run_id).cloned();
        let Some(active) = active else {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("run {run_id} is executed by another process"),
            )
            .hint("cancel it there"));
        };
        active.control.cancel();
        let ended = tokio::time::timeout(CANCEL_TIME, active.done.cancelled()).await;
        if ended.is_ok() && store.status(run_id).await? == RunStatus::Waiting {
            // It parked before it saw the wish.
            store.cancel(run_id).await?;
        }
        Ok(())
    }

    /// Stops every run so that a later process can go on with it.
    pub async fn drain(&self) {
        {
            let active = lock(&self.0.active);
            self.0.draining.cancel();
            active.values().for_each(|run| run.control.interrupt());
        }
        self.0.tasks.close();
        let stopped = tokio::time::timeout(DRAIN_TIME, self.0.tasks.wait()).await;
        if stopped.is_err() {
            tracing::warn!("runs did not stop in time; they are resumed at the next start");
        }
    }

    fn execute(&self, run_id: Uuid, secrets: Secrets) {
        let active = Active::default();
        let previous = {
            let mut all = lock(&self.0.active);
            // The drain looks under the same lock: a run is either interrupted or never begun.
            if self.0.draining.is_cancelled() {
                return;
            }
            all.insert(run_id, active.clone())
        };
        lock(&self.0.secrets).insert(run_id, secrets.clone());
        let gateway = self.clone();
        self.0.tasks.spawn(async move {
            if let Some(previous) = previous {
                previous.done.cancelled().await;
            }
            let over = gateway.take_turn(run_id, secrets, &active.control).await;
            if over {
                lock(&gateway.0.secrets).remove(&run_id);
            }
            active.done.cancel();
            // Unless a later task took the place, as an answer starts one.
            let mut all = lock(&gateway.0.active);
            if all
                .get(&run_id)
                .is_some_and(|last| last.done.is_cancelled())
            {
                all.remove(&run_id);
            }
        });
    }

    /// Executes a run when there is room. Gives whether it is over for good.
    async fn take_turn(&self, run_id: Uuid, secrets: Secrets, control: &Control) -> bool {
        let permit = tokio::select! {
            permit = self.0.permits.acquire() => permit,
            () = control.stopped() => return false,
        };
        let Ok(_permit) = permit else {
            return false;
        };
        let launch = &self.0.launch;
        match launch.execute(run_id, secrets, control, &mut []).await {
            Ok(document) => document.status.is_terminal(),
            Err(error) => {
                // A run that was cancelled in the queue is no news.
                if error.kind() != ErrorKind::Conflict {
                    tracing::error!(%run_id, %error, "a run broke off");
                }
                false
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The runs that this process executes: at most so many at once, the others queued in the store, each stoppable, each resumed where it stood.
//!
//! ```text
//! submit ──► store (queued) ──look──► own ──► task: execute ──► over, waiting, or put back
//!                ▲                                                 │
//!                └─────────── an answer, a drain, a lost owner ────┘
//! ```
//!
//! A queued run has no task: [`Gateway::work`] takes the next one when there is room.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;
use uuid::Uuid;

use super::desk::Desk;
use crate::error::{Error, ErrorKind, Result};
use crate::handlers::executor::NO_DAEMON;
use crate::handlers::gate_review::TIME_OVER;
use crate::launch::{Accepted, Control, Launch, Owned};
use crate::model::job::ExecutionMode;
use crate::model::run::RunDocument;
use crate::store::{Among, Cancelled, Claim, Origin};

mod housekeeping;

/// The longest time that runs may take to stop when the gateway does.
const DRAIN_TIME: Duration = Duration::from_secs(25);

/// The longest time that a request to cancel waits for the run to end.
const CANCEL_TIME: Duration = Duration::from_secs(6);

/// How often the gateway looks for questions whose time is over.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often runs are looked for that nobody told of: those of an owner that is gone, and of a process that cannot tell.
const SEARCH_EVERY: Duration = Duration::from_secs(2);

/// How long the queue's length is believed.
const COUNTED_FOR: Duration = Duration::from_millis(250);

/// A count of the queue that took long is believed so many times as long: counting never takes more than a fiftieth of the time.
const COUNTS_PAUSE: u32 = 50;

/// So many submissions that wait at once are a burst.
const BURST: usize = 8;

/// How long a run that could begin leaves the store and the processors to a burst of submissions: no burst stops execution.
const GIVES_WAY: Duration = Duration::from_millis(10);

/// A run that has a task here.
#[derive(Clone)]
struct Active {
    claim: Claim,
    graph: String,
    control: Control,
    done: CancellationToken,
}

struct Inner {
    launch: Launch,
    desk: Desk,
    active: Mutex<HashMap<Uuid, Active>>,
    tasks: TaskTracker,
    draining: CancellationToken,
    /// When the queue was counted last, and how long that took.
    counted: tokio::sync::Mutex<Option<(Instant, Duration)>>,
    /// How long it was then, and what was accepted since.
    queued: AtomicU64,
}

/// What the routes share.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

impl Gateway {
    /// Makes a gateway; nothing runs yet.
    #[must_use]
    pub fn new(launch: Launch) -> Self {
        let draining = CancellationToken::new();
        Self(Arc::new(Inner {
            desk: Desk::new(&launch, draining.clone()),
            launch,
            active: Mutex::default(),
            tasks: TaskTracker::new(),
            draining,
            counted: tokio::sync::Mutex::default(),
            queued: AtomicU64::new(0),
        }))
    }

    /// Gives what makes runs.
    #[must_use]
    pub fn launch(&self) -> &Launch {
        &self.0.launch
    }

    /// Gives what the routes share beside the runs.
    #[must_use]
    pub fn desk(&self) -> &Desk {
        &self.0.desk
    }

    /// Gives a token that is cancelled when the gateway stops.
    #[must_use]
    pub fn draining(&self) -> &CancellationToken {
        &self.0.draining
    }

    /// Makes the gateway known to the others of its store. Runs that an earlier process did not finish are found by [`Self::work`].
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn recover(&self) -> Result<()> {
        self.launch().store().say_alive().await
    }

    /// Does what a gateway does beside answering requests, until it stops: executes runs, answers what nobody answered in time,
    /// tells that it lives, and removes what is kept no longer.
    pub async fn run(&self) {
        tokio::select! {
            ((), (), (), ()) = async {
                tokio::join!(self.work(), self.watch_the_time(), self.stay_known(), self.tidy())
            } => {}
            () = self.launch().store().listen() => {}
        }
    }

    /// Refuses a new run where too many are queued.
    ///
    /// # Errors
    /// Too many are queued, or the store cannot be read.
    pub async fn admit(&self) -> Result<()> {
        let most = self.launch().settings().runs.queue;
        let asked = Instant::now();
        let queued = &self.0.queued;
        let known = queued.load(Ordering::Relaxed);
        let counting = if known < most / 2 {
            // Far from the limit nobody waits for whoever counts.
            self.0.counted.try_lock().ok()
        } else {
            Some(self.0.counted.lock().await)
        };
        if let Some(mut counted) = counting {
            let is_old = counted
                .is_none_or(|(at, took)| at.elapsed() >= COUNTED_FOR.max(took * COUNTS_PAUSE));
            // Nobody is refused for runs that have begun since: many who ask at once share one count.
            let is_full = queued.load(Ordering::Relaxed) >= most;
            if is_old || is_full && counted.is_none_or(|(at, _)| at < asked) {
                let at = Instant::now();
                let count = self.launch().store().count_queued().await?;
                queued.store(count, Ordering::Relaxed);
                *counted = Some((at, at.elapsed()));
            }
        }
        if queued.load(Ordering::Relaxed) < most {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Busy,
            format!("{most} runs are queued already"),
        )
        .hint("submit again when some of them are done")
        .hint("the limit is RELVEC_QUEUE_LENGTH, and how many run at once RELVEC_RUNS_AT_ONCE, where the gateway is started"))
    }

    /// Takes note of a run that was accepted just now, and gives its document as it was accepted. It is executed when there is room.
    #[must_use]
    pub fn begin(&self, accepted: Accepted) -> Option<RunDocument> {
        if accepted.secrets.is_some() {
            self.0.queued.fetch_add(1, Ordering::Relaxed);
        }
        accepted.document
    }

    /// Records an answer; where it was the last that the run waited for, the run is queued again.
    ///
    /// # Errors
    /// The answer does not fit the run, or asks for an execution mode that the gateway does not offer.
    pub async fn answer(&self, run_id: Uuid, question: &str, choice: &str, by: &str) -> Result<()> {
        let launch = self.launch();
        let modes = [ExecutionMode::Process, ExecutionMode::Simulate];
        let mode = modes.into_iter().find(|mode| mode.name() == choice);
        if let (NO_DAEMON, Some(mode)) = (question, mode) {
            launch.check_mode(Origin::Gateway, mode)?;
        }
        launch.store().answer(run_id, question, choice, by).await?;
        Ok(())
    }

    /// Cancels a run, and waits a little for it to end.
    ///
    /// # Errors
    /// There is no such run, it ended otherwise, or the process that executes it does not end it.
    pub async fn cancel(&self, run_id: Uuid) -> Result<()> {
        let active = lock(&self.0.active).get(&run_id).cloned();
        let store = self.launch().store();
        let Some(active) = active else {
            self.launch().cancel(run_id).await?;
            self.launch().let_go(run_id);
            return Ok(());
        };
        if store.cancel(run_id).await? == Cancelled::Done {
            self.launch().let_go(run_id);
            return Ok(());
        }
        active.control.cancel();
        let ended = tokio::time::timeout(CANCEL_TIME, active.done.cancelled()).await;
        if ended.is_ok() && !store.status(run_id).await?.is_terminal() {
            // It parked before it saw the wish, or went on elsewhere.
            self.launch().cancel(run_id).await?;
        }
        Ok(())
    }

    /// Stops every run so that a later process, or another gateway, can go on with it.
    pub async fn drain(&self) {
        {
            let active = lock(&self.0.active);
            self.0.draining.cancel();
            active.values().for_each(|run| run.control.interrupt());
        }
        self.0.tasks.close();
        let stopped = tokio::time::timeout(DRAIN_TIME, self.0.tasks.wait()).await;
        if stopped.is_err() {
            tracing::warn!("runs did not stop in time; they are put back as they are");
        }
        self.release().await;
    }

    /// Lets go of everything at once: what runs here is put back, and whatever it still records counts no more.
    pub async fn release(&self) {
        if let Err(error) = self.launch().store().say_gone().await {
            tracing::warn!(%error, "runs are not put back; they go on once their leases are over");
        }
    }

    /// Executes runs as long as there are any and there is room, until the gateway stops.
    async fn work(&self) {
        let store = self.launch().store().clone();
        let every = SEARCH_EVERY.min(self.launch().settings().runs.lease);
        let mut searched: Option<Instant> = None;
        loop {
            if searched.is_none_or(|at| at.elapsed() >= every) {
                self.fill(Among::Abandoned).await;
                searched = Some(Instant::now());
            }
            self.fill(Among::Queued).await;
            tokio::select! {
                biased;
                () = self.0.draining.cancelled() => return,
                () = store.until_queued() => {}
                () = tokio::time::sleep(every) => {}
            }
        }
    }

    /// Begins runs until there is no room or nothing to begin.
    async fn fill(&self, among: Among) {
        while !self.0.draining.is_cancelled()
            && let Some(full) = self.room()
        {
            if self.launch().store().creations() >= BURST {
                tokio::time::sleep(GIVES_WAY).await;
            }
            match self.launch().own_next(among, &full).await {
                Ok(Some(owned)) => self.execute(owned).await,
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "no run is begun for now");
                    return;
                }
            }
        }
    }

    /// The graphs of which no more run may begin; nothing if no run may.
    fn room(&self) -> Option<Vec<String>> {
        let limits = &self.launch().settings().runs;
        let active = lock(&self.0.active);
        if active.len() >= limits.at_once {
            return None;
        }
        let mut running: HashMap<&str, usize> = HashMap::new();
        for run in active.values() {
            *running.entry(&run.graph).or_default() += 1;
        }
        let full = running
            .into_iter()
            .filter(|(_, count)| *count >= limits.per_graph);
        Some(full.map(|(graph, _)| graph.to_owned()).collect())
    }

    async fn execute(&self, owned: Owned) {
        let claim = owned.claim();
        let active = Active {
            claim,
            graph: owned.graph().to_owned(),
            control: Control::default(),
            done: CancellationToken::new(),
        };
        {
            let mut all = lock(&self.0.active);
            // The drain looks under the same lock: a run is either interrupted or never begun.
            if !self.0.draining.is_cancelled() {
                all.insert(claim.run_id, active.clone());
                let gateway = self.clone();
                self.0
                    .tasks
                    .spawn(async move { gateway.take_turn(owned, active).await });
                return;
            }
        }
        if let Err(error) = self.launch().store().requeue(claim).await {
            tracing::warn!(run_id = %claim.run_id, %error, "a run is not put back for now");
        }
    }

    async fn take_turn(&self, owned: Owned, active: Active) {
        let run_id = active.claim.run_id;
        let launch = self.launch();
        let mut reports = self.desk().reports(run_id);
        let executing = launch.execute_owned(owned, None, &active.control, &mut reports);
        // Of the highest level, so that whatever is logged inside has the run's id.
        let span = tracing::error_span!("run", %run_id);
        let executed = Box::pin(executing.instrument(span)).await;
        match executed {
            Ok(status) if status.is_terminal() => launch.let_go(run_id),
            Ok(_) => {}
            // It went on elsewhere, or was cancelled before it began.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                tracing::warn!(%run_id, %error, "a run went on without this gateway");
            }
            Err(error) => tracing::error!(%run_id, %error, "a run broke off"),
        }
        {
            let mut all = lock(&self.0.active);
            // Unless a later execution took the place, as an answer starts one.
            if all
                .get(&run_id)
                .is_some_and(|last| last.claim == active.claim)
            {
                all.remove(&run_id);
            }
        }
        active.done.cancel();
        self.launch().store().look_again();
    }

    /// Answers what nobody answered in time with what holds then, until the gateway stops.
    async fn watch_the_time(&self) {
        while self.pause(LOOK_EVERY).await {
            if let Err(error) = self.answer_overdue().await {
                tracing::warn!(%error, "questions whose time is over stay open for now");
            }
        }
    }

    async fn answer_overdue(&self) -> Result<()> {
        let store = self.launch().store();
        // Of the command line's runs too: no process of theirs is there to do it.
        for (run_id, _, _) in store.overdue(Origin::Command).await? {
            store.hand_to_gateway(run_id).await?;
        }
        for (run_id, question, choice) in store.overdue(Origin::Gateway).await? {
            match self.answer(run_id, &question, &choice, TIME_OVER).await {
                // A person was quicker, or cancelled the run.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Waits, unless the gateway stops.
    async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            () = self.0.draining.cancelled() => false,
            () = tokio::time::sleep(time) => true,
        }
    }

    /// Gives whether a run of which this process alone has the secrets is over.
    async fn is_over(&self, run_id: Uuid) -> Result<bool> {
        match self.launch().store().status(run_id).await {
            Ok(status) => Ok(status.is_terminal()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

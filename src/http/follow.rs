//! Runs that are followed: each is read once, however many follow it, and who follows is woken when something happened.
//!
//! ```text
//! the store tells ──► pump ── reads what is new ──► tail: the last events ──► follower, follower, …
//! every second    ─────┘                                  ▲
//!                        what is older, from the store ───┘
//! ```
//!
//! A follower takes events by their numbers and nothing else, so that it sees each once: those that its tail has no more, or never had,
//! it reads from the store.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::error::Result;
use crate::store::{Follower as Told, Store, StoredEvent};

/// How often a followed run is looked at where nobody tells that something happened: another process may execute it on the same file.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The events that a tail keeps.
const KEPT: usize = 512;

/// The most events that are read at once.
const BATCH: u32 = 256;

/// The runs that are followed now.
#[derive(Debug, Clone)]
pub struct Tails(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    draining: CancellationToken,
    tails: Mutex<HashMap<Uuid, Weak<Tail>>>,
}

/// The end of a run's events.
#[derive(Debug)]
struct Tail {
    run_id: Uuid,
    /// Number of the last event that was read, and whether more can come.
    end: watch::Sender<End>,
    recent: Mutex<Recent>,
}

#[derive(Debug, Clone, Copy)]
struct End {
    last: i64,
    is_over: bool,
}

/// Events without a gap: all from behind the number `after` to the last.
#[derive(Debug)]
struct Recent {
    after: i64,
    events: VecDeque<Arc<StoredEvent>>,
}

impl Tail {
    fn push(&self, events: Vec<StoredEvent>) {
        let Some(last) = events.last().map(|event| event.seq) else {
            return;
        };
        {
            let mut recent = lock(&self.recent);
            recent.events.extend(events.into_iter().map(Arc::new));
            while recent.events.len() > KEPT {
                recent.after = recent.events.pop_front().map_or(last, |event| event.seq);
            }
        }
        self.end.send_modify(|end| end.last = last);
    }

    fn end(&self) {
        self.end.send_modify(|end| end.is_over = true);
    }

    /// Gives the events behind a number; none where some of them are not kept.
    fn after(&self, seq: i64) -> Option<Vec<Arc<StoredEvent>>> {
        let recent = lock(&self.recent);
        (seq >= recent.after).then(|| {
            let from = recent.events.partition_point(|event| event.seq <= seq);
            recent.events.range(from..).cloned().collect()
        })
    }
}

impl Tails {
    /// Makes a place for runs that are followed, until `draining` is cancelled.
    #[must_use]
    pub fn new(store: Store, draining: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            store,
            draining,
            tails: Mutex::default(),
        }))
    }

    /// Follows a run from the event behind a number. `counted` is how many follow now.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn follow(&self, run_id: Uuid, last: i64, counted: &Gauge) -> Result<Follower> {
        let tail = self.tail(run_id).await?;
        counted.inc();
        Ok(Follower {
            store: self.0.store.clone(),
            draining: self.0.draining.clone(),
            end: tail.end.subscribe(),
            tail,
            last,
            ready: VecDeque::new(),
            counted: counted.clone(),
        })
    }

    async fn tail(&self, run_id: Uuid) -> Result<Arc<Tail>> {
        let known = lock(&self.0.tails).get(&run_id).and_then(Weak::upgrade);
        if let Some(tail) = known {
            return Ok(tail);
        }
        // Before the last event is looked up: what comes in between is told.
        let told = self.0.store.follow(run_id);
        let last = self.0.store.last_event(run_id).await?;
        let mut tails = lock(&self.0.tails);
        // Another follower may have been quicker.
        if let Some(tail) = tails.get(&run_id).and_then(Weak::upgrade) {
            return Ok(tail);
        }
        let (end, _) = watch::channel(End {
            last,
            is_over: false,
        });
        let tail = Arc::new(Tail {
            run_id,
            end,
            recent: Mutex::new(Recent {
                after: last,
                events: VecDeque::new(),
            }),
        });
        tails.insert(run_id, Arc::downgrade(&tail));
        drop(tails);
        tokio::spawn(Arc::clone(&self.0).pump(Arc::downgrade(&tail), told));
        Ok(tail)
    }
}

impl Inner {
    /// Reads a run's new events into its tail, as long as somebody follows it.
    async fn pump(self: Arc<Self>, of: Weak<Tail>, mut told: Told) {
        let mut looks = true;
        while let Some(tail) = of.upgrade() {
            match self.read(&tail, looks).await {
                Ok(Read::More) => continue,
                Ok(Read::AllForNow) => {}
                Ok(Read::Over) => {
                    tail.end();
                    break;
                }
                Err(error) => {
                    // Whoever follows is let go, and comes back with the number of the last event that it saw.
                    tracing::warn!(run_id = %tail.run_id, %error, "a run cannot be followed");
                    tail.end();
                    break;
                }
            }
            drop(tail);
            tokio::select! {
                () = told.changed() => looks = false,
                () = tokio::time::sleep(LOOK_EVERY) => looks = true,
                () = self.draining.cancelled() => break,
            }
        }
        self.forget(&of);
    }

    async fn read(&self, tail: &Tail, looks: bool) -> Result<Read> {
        let last = tail.end.borrow().last;
        let events = self.store.events(tail.run_id, last, BATCH).await?;
        let is_full = events.len() == BATCH as usize;
        let may_be_over = looks && events.is_empty()
            || events
                .iter()
                .any(|event| event.event.contains("\"run_finished\""));
        if !events.is_empty() {
            tail.push(events);
        }
        if is_full {
            return Ok(Read::More);
        }
        if may_be_over && self.store.status(tail.run_id).await?.is_terminal() {
            // What was recorded between the events and the status.
            let last = tail.end.borrow().last;
            let events = self.store.events(tail.run_id, last, BATCH).await?;
            if events.is_empty() {
                return Ok(Read::Over);
            }
            tail.push(events);
            return Ok(Read::More);
        }
        Ok(Read::AllForNow)
    }

    /// Drops the entry of a tail that is no longer read, unless another took its place.
    fn forget(&self, of: &Weak<Tail>) {
        lock(&self.tails).retain(|_, tail| !tail.ptr_eq(of));
    }
}

enum Read {
    More,
    AllForNow,
    Over,
}

/// Follows a run: its events in order, each once.
#[derive(Debug)]
pub struct Follower {
    store: Store,
    draining: CancellationToken,
    tail: Arc<Tail>,
    end: watch::Receiver<End>,
    last: i64,
    ready: VecDeque<Arc<StoredEvent>>,
    counted: Gauge,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.counted.dec();
    }
}

impl Follower {
    /// Gives the next event, when there is one; none once the run is over or the gateway stops.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn next(&mut self) -> Result<Option<Arc<StoredEvent>>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.last = event.seq;
                return Ok(Some(event));
            }
            // Looked at before the events: what comes in between is looked at once more.
            let end = *self.end.borrow_and_update();
            self.ready = match self.tail.after(self.last) {
                Some(events) => events.into(),
                None => self.recorded().await?,
            };
            if !self.ready.is_empty() {
                continue;
            }
            if end.is_over {
                return Ok(None);
            }
            tokio::select! {
                changed = self.end.changed() => if changed.is_err() { return Ok(None) },
                () = self.draining.cancelled() => return Ok(None),
            }
        }
    }

    /// Gives the next event that is recorded, without waiting for one.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn next_recorded(&mut self) -> Result<Option<Arc<StoredEvent>>> {
        if self.ready.is_empty() {
            self.ready = self.recorded().await?;
        }
        let event = self.ready.pop_front();
        self.last = event.as_ref().map_or(self.last, |event| event.seq);
        Ok(event)
    }

    async fn recorded(&self) -> Result<VecDeque<Arc<StoredEvent>>> {
        let run_id = self.tail.run_id;
        let events = self.store.events(run_id, self.last, BATCH).await?;
        Ok(events.into_iter().map(Arc::new).collect())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

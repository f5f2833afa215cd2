//! The tasks in which stages run, one a stage, and the last deadline of each: after it nobody waits for the task any more.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::Instrument as _;

use super::attempt::{Ending, GRACE, Work};
use super::context::Shared;
use super::output::Outputs;
use super::plan::Plan;

/// What an attempt may take beyond its timeout and [`GRACE`] before its task counts as stuck: its own timer comes first.
const SLACK: Duration = Duration::from_secs(1);

/// The running tasks of a run.
pub(super) struct Tasks {
    plan: Arc<Plan>,
    shared: Arc<Shared>,
    running: Vec<Task>,
    sender: UnboundedSender<(usize, Ending)>,
    /// How stages ended. What an abandoned task sends later is in it too.
    pub endings: UnboundedReceiver<(usize, Ending)>,
}

struct Task {
    stage: usize,
    handle: AbortHandle,
    /// When it counts as stuck; `None` between two attempts.
    stuck_at: Option<Instant>,
}

impl Tasks {
    pub(super) fn new(plan: Arc<Plan>, shared: Arc<Shared>) -> Self {
        let (sender, endings) = unbounded_channel();
        Self {
            plan,
            shared,
            running: Vec::new(),
            sender,
            endings,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.running.len()
    }

    /// Starts a stage's task with its first attempt, and gives the moment at which it counts as stuck.
    pub(super) fn spawn(&mut self, stage: usize, outputs: Outputs, now: Instant) -> Instant {
        let report = Report {
            stage,
            ending: Ending::Stopped,
            sender: self.sender.clone(),
        };
        let may_block = self.plan.stages()[stage].handler.may_block;
        let work = Work {
            plan: Arc::clone(&self.plan),
            stage,
            outputs,
            shared: Arc::clone(&self.shared),
            started: now,
            gives_up_thread: may_block
                && Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread,
        };
        // Of the highest level, so that whatever is logged inside says where.
        let span = tracing::error_span!(
            "stage",
            run_id = %self.shared.environment.run_id,
            stage = %self.plan.stages()[stage].id,
        );
        let work = async move {
            let mut report = report;
            report.ending = work.perform().await;
        };
        let task = tokio::spawn(work.instrument(span));
        let stuck_at = self.stuck_at(stage, now);
        self.running.push(Task {
            stage,
            handle: task.abort_handle(),
            stuck_at: Some(stuck_at),
        });
        stuck_at
    }

    /// Notes that another attempt of a stage began, and gives the moment at which it counts as stuck.
    pub(super) fn began(&mut self, stage: usize, now: Instant) -> Instant {
        let stuck_at = self.stuck_at(stage, now);
        self.watch(stage, Some(stuck_at));
        stuck_at
    }

    /// Notes that a stage waits for its next attempt.
    pub(super) fn paused(&mut self, stage: usize) {
        self.watch(stage, None);
    }

    /// Takes a stage from the running ones; false where it was none.
    pub(super) fn remove(&mut self, stage: usize) -> bool {
        let place = self.running.iter().position(|task| task.stage == stage);
        place.map(|place| self.running.swap_remove(place)).is_some()
    }

    /// Gives the earliest moment at which a task counts as stuck.
    pub(super) fn next_stuck(&self) -> Option<Instant> {
        self.running.iter().filter_map(|task| task.stuck_at).min()
    }

    /// Gives up on tasks that are stuck, and gives their stages.
    pub(super) fn abandon_stuck(&mut self, now: Instant) -> Vec<usize> {
        self.abandon(|task| task.stuck_at.is_some_and(|at| at <= now))
    }

    /// Gives up on every task, and gives their stages.
    pub(super) fn abandon_all(&mut self) -> Vec<usize> {
        self.abandon(|_| true)
    }

    fn abandon(&mut self, given_up: impl Fn(&Task) -> bool) -> Vec<usize> {
        let abandoned = self.running.extract_if(.., |task| given_up(task));
        let mut stages: Vec<usize> = abandoned
            .map(|task| {
                task.handle.abort();
                task.stage
            })
            .collect();
        stages.sort_unstable();
        stages
    }

    fn stuck_at(&self, stage: usize, now: Instant) -> Instant {
        now + self.plan.stages()[stage].timeout + GRACE + SLACK
    }

    fn watch(&mut self, stage: usize, stuck_at: Option<Instant>) {
        if let Some(task) = self.running.iter_mut().find(|task| task.stage == stage) {
            task.stuck_at = stuck_at;
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.abandon_all();
    }
}

/// Tells the run how a stage ended, whatever becomes of its task: `Stopped` where the task was aborted.
struct Report {
    stage: usize,
    ending: Ending,
    sender: UnboundedSender<(usize, Ending)>,
}

impl Drop for Report {
    fn drop(&mut self) {
        let ending = std::mem::replace(&mut self.ending, Ending::Stopped);
        // The receiver is gone only with the run.
        let _ = self.sender.send((self.stage, ending));
    }
}

/// One timer for all of a run's deadlines. It rings at the earliest that it was told of, which may be past its use by then.
#[derive(Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Rings at a moment, or before.
    pub(super) fn at_latest(&mut self, moment: Instant) {
        match &mut self.0 {
            Some(sleep) if sleep.deadline() <= moment => {}
            Some(sleep) => sleep.as_mut().reset(moment),
            None => self.0 = Some(Box::pin(sleep_until(moment))),
        }
    }

    /// Waits until it rings; then it has to be set again.
    pub(super) async fn rung(&mut self) {
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().await,
            None => std::future::pending().await,
        }
        self.0 = None;
    }
}

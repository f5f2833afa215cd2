//! An execution: the events of a run, recorded and shown, as long as this process owns the run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;

use super::clean;
use super::failpoint::{self, Side};
use super::own::Owned;
use super::run::{Control, Launch, recorded};
use crate::error::{Error, Result};
use crate::graph::context::{RunEnvironment, Secrets};
use crate::graph::diagnostic::Diagnostics;
use crate::graph::event::{Event, RunStatus};
use crate::graph::result::RunInput;
use crate::graph::run::Run;
use crate::report::Report;
use crate::service::redact;
use crate::store::{Claim, Held, StoredRun, make_private_folder};

/// The most events that are recorded in one transaction.
const BATCH: usize = 64;

/// How often a stage's progress is recorded; reports see every step of it.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// How often an execution in a file's store looks whether somebody wants it cancelled.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long an execution waits before it looks again because something happened.
const A_MOMENT: Duration = Duration::from_millis(500);

impl Launch {
    /// Executes a run that this process owns, and gives where it stands then. Secrets that are not given are found again, as far as
    /// they can be.
    ///
    /// # Errors
    /// The run went on in another process, or the store cannot be written. A run that fails is not an error.
    pub async fn execute_owned(
        &self,
        owned: Owned,
        secrets: Option<Secrets>,
        control: &Control,
        reports: &mut [Box<dyn Report>],
    ) -> Result<RunStatus> {
        let claim = owned.claim;
        let run_id = claim.run_id;
        let begun = Instant::now();
        make_private_folder(&self.settings().artifacts(run_id))?;
        let stored = self.store().load(run_id).await?;
        let secrets = secrets.map_or_else(|| self.secrets_of(&stored), Ok);
        let planned = secrets.and_then(|secrets| {
            let plan = self.plan_of(&stored).map_err(Diagnostics::into_error)?;
            Ok((secrets, plan))
        });
        let (secrets, plan) = match planned {
            Ok(planned) => planned,
            Err(error) => {
                self.store().fail(claim, &error_line(&error)).await?;
                return Ok(RunStatus::Failed);
            }
        };
        let _kept = redact::keep(secrets.values());
        self.bring_files(&stored).await?;
        let environment = RunEnvironment {
            run_id,
            secrets,
            answers: stored.answers.clone(),
            artifacts: self.settings().artifacts(run_id),
            cache: self.settings().cache(),
            allowed: self.allowed().clone(),
            cancel: control.token().clone(),
        };
        let clock = Clock {
            before: stored.spent,
            begun,
        };
        let run = Run::start(plan, run_input(stored, environment));
        let driven = {
            let drive = std::pin::pin!(self.drive(claim, run, clock, control, reports));
            let keep = std::pin::pin!(self.keep(claim, control));
            // Nothing of the drive is dropped: it ends when the run has stopped.
            match futures::future::select(drive, keep).await {
                futures::future::Either::Left((driven, _)) => driven,
                futures::future::Either::Right(((), drive)) => drive.await,
            }
        };
        let status = driven?;
        if control.interrupted() {
            self.store().requeue(claim).await?;
        }
        drop(owned);
        Ok(status)
    }

    /// Says that the execution lives, until another one began: then the run stops here.
    async fn keep(&self, claim: Claim, control: &Control) {
        let lease = self
            .store()
            .is_shared()
            .then_some(self.settings().runs.lease);
        let every = lease.map_or(LOOK_EVERY, |lease| lease / 3);
        let mut follower = self.store().follow(claim.run_id);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = follower.changed() => tokio::time::sleep(A_MOMENT.min(every)).await,
            }
            let asked = Instant::now();
            let patience = lease.unwrap_or(Duration::from_mins(1));
            let held = tokio::time::timeout(patience, self.store().extend(claim)).await;
            match held {
                Ok(Ok(Held::Yes)) => heard = asked,
                Ok(Ok(Held::CancelWanted)) => {
                    heard = asked;
                    control.cancel();
                }
                Ok(Ok(Held::Lost)) => {
                    tracing::warn!(run_id = %claim.run_id, epoch = claim.epoch, "another process went on with the run, or ended it: it stops here");
                    control.interrupt();
                    return;
                }
                Ok(Err(error)) => {
                    tracing::warn!(run_id = %claim.run_id, %error, "the lease was not extended");
                }
                Err(_) => {
                    tracing::warn!(run_id = %claim.run_id, "the run store did not answer in time: the lease was not extended");
                }
            }
            // By now others may take the run, whether or not this process can see it.
            if lease.is_some_and(|lease| heard.elapsed() >= lease) {
                control.interrupt();
                return;
            }
        }
    }

    /// Records and shows what happens in a run. Gives its last word, which is none where it was interrupted.
    async fn drive(
        &self,
        claim: Claim,
        mut run: Run,
        clock: Clock,
        control: &Control,
        reports: &mut [Box<dyn Report>],
    ) -> Result<RunStatus> {
        let mut status = RunStatus::Running;
        let mut throttle = Throttle::default();
        let mut failure = None;
        while let Some(first) = run.next_event().await {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Some(Some(next)) = run.next_event().now_or_never()
            {
                batch.push(next);
            }
            batch.iter_mut().for_each(clean::clean);
            if failure.is_none() {
                let kept: Vec<Event> = batch
                    .iter()
                    .filter(|event| !is_interruption(event, control) && throttle.keeps(event))
                    .cloned()
                    .collect();
                if let Some(Event::RunFinished { status: last, .. }) = kept.last() {
                    status = *last;
                }
                failure = self.keep_events(claim, kept, clock).await.err();
                if failure.is_some() {
                    // What is not recorded must not go on: the run can be resumed from what is.
                    control.interrupt();
                }
            }
            for event in &batch {
                for report in reports.iter_mut() {
                    report.event(event);
                }
            }
        }
        failure.map_or(Ok(status), Err)
    }

    async fn keep_events(&self, claim: Claim, events: Vec<Event>, clock: Clock) -> Result<()> {
        let files = if self.store().is_shared() {
            self.contents(claim.run_id, &events)
        } else {
            Vec::new()
        };
        let worked = clock.worked().as_secs_f64();
        let events: Arc<[Event]> = events.into();
        failpoint::reach(Side::Before, &events);
        let recording = Arc::clone(&events);
        self.store()
            .record(claim, recording, files, Some(worked))
            .await?;
        failpoint::reach(Side::After, &events);
        Ok(())
    }
}

/// How long a run worked: what it did before, and since. No clock that somebody can set has a say in it.
#[derive(Debug, Clone, Copy)]
struct Clock {
    before: Duration,
    begun: Instant,
}

impl Clock {
    fn worked(self) -> Duration {
        self.before + self.begun.elapsed()
    }
}

/// An error and its next steps in the one line that a run keeps.
fn error_line(error: &Error) -> String {
    let mut line = error.to_string();
    for hint in error.hints() {
        line.push_str("; next: ");
        line.push_str(hint);
    }
    line
}

/// The end of an interrupted run is not the end.
fn is_interruption(event: &Event, control: &Control) -> bool {
    control.interrupted()
        && matches!(
            event,
            Event::RunFinished {
                status: RunStatus::Cancelled,
                ..
            }
        )
}

/// Drops steps of progress that come faster than anyone reads them back.
#[derive(Default)]
struct Throttle(BTreeMap<Arc<str>, Instant>);

impl Throttle {
    fn keeps(&mut self, event: &Event) -> bool {
        let Event::StageProgress { stage, progress } = event else {
            return true;
        };
        let now = Instant::now();
        let due = self
            .0
            .get(stage)
            .is_none_or(|last| now.duration_since(*last) >= PROGRESS_EVERY);
        let complete = progress.total == Some(progress.done);
        if due {
            self.0.insert(Arc::clone(stage), now);
        }
        due || complete
    }
}

/// What earlier executions recorded, as the engine takes it. Stages that did not end are left to it.
fn run_input(stored: StoredRun, environment: RunEnvironment) -> RunInput {
    let StoredRun {
        job,
        stages,
        edges,
        questions,
        artifacts,
        spent,
        ..
    } = stored;
    RunInput {
        job,
        environment,
        recorded: recorded(stages, &edges, &artifacts),
        questions,
        spent,
    }
}

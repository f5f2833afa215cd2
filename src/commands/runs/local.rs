//! The runs of this machine's store. What makes a run go on executes it in this process.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use super::place::{Choice, Events, Lines, NOBODY_SAYS, Place, Refused};
use crate::cli::{LogsArgs, RetryArgs};
use crate::commands::jobs::until_interrupted;
use crate::error::{ErrorKind, Result};
use crate::graph::event::{Artifact, RunStatus};
use crate::graph::explain::Explanation;
use crate::handlers::gate_review::TIME_OVER;
use crate::launch::retry::{Refusal, Retried, RetryRequest, ValidationRequest, Wanted};
use crate::launch::{Accepted, Control, Launch, prepare};
use crate::model::run::{LogLine, RunDocument, RunSummary};
use crate::report::Report;
use crate::report::terminal;
use crate::settings::variable;
use crate::store::{LOCAL, Origin, StoredEvent};

/// The most events that are read at once.
const PAGE: u32 = 500;

/// How often a run that is followed is looked at: another process executes it.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// This machine's store.
#[derive(Debug)]
pub struct Local(Launch);

impl Local {
    /// Takes the runs from the store that makes runs go on.
    #[must_use]
    pub const fn new(launch: Launch) -> Self {
        Self(launch)
    }

    async fn each_event(
        &self,
        run: Uuid,
        after: i64,
        follow: bool,
        to: &mut dyn FnMut(&StoredEvent) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let store = self.0.store();
        let mut after = after;
        loop {
            // Before the events, so that a run that ends in between is looked at once more.
            let status = store.status(run).await?;
            let events = store.events(run, after, PAGE).await?;
            for event in &events {
                after = event.seq;
                if to(event)?.is_break() {
                    return Ok(());
                }
            }
            if !events.is_empty() {
                continue;
            }
            if !follow || status.is_terminal() {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Goes on with a run that nothing keeps waiting any more.
    async fn go_on(&self, run: Uuid) -> Result<RunDocument> {
        let control = Control::default();
        let mut reports: Vec<Box<dyn Report>> = vec![terminal::on_standard_error()];
        let resumed = self.0.resume(run, &control, &mut reports);
        match until_interrupted(&control, resumed).await {
            // A gateway was quicker.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                eprintln!("note: {error}");
                self.0.store().document(run).await
            }
            ended => ended,
        }
    }

    async fn execute(&self, accepted: Accepted) -> Result<RunDocument> {
        let control = Control::default();
        let mut reports: Vec<Box<dyn Report>> = vec![terminal::on_standard_error()];
        let secrets = accepted.secrets.unwrap_or_default();
        let executed = self
            .0
            .execute(accepted.run_id, secrets, &control, &mut reports);
        until_interrupted(&control, executed).await
    }
}

impl Place for Local {
    async fn settle(&self, run: Option<Uuid>) -> Result<()> {
        let store = self.0.store();
        for (late, question, choice) in store.overdue(Origin::Command).await? {
            if run.is_some_and(|run| run != late) {
                continue;
            }
            eprintln!(
                "note: the time to answer question `{question}` of run {late} is over: `{choice}` holds"
            );
            match store.answer(late, &question, &choice, TIME_OVER).await {
                Ok(true) => drop(self.go_on(late).await?),
                // Other questions are open.
                Ok(false) => {}
                // Somebody was quicker.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn list(&self, limit: u32) -> Result<Vec<RunSummary>> {
        self.0.store().list(None, limit, None).await
    }

    async fn document(&self, run: Uuid) -> Result<RunDocument> {
        self.0.store().document(run).await
    }

    async fn is_interrupted(&self, run: Uuid, status: RunStatus) -> Result<bool> {
        // A run whose process was killed stays `running` in the store.
        Ok(status == RunStatus::Running && !self.0.is_executed(run).await?)
    }

    fn files(&self, run: Uuid) -> PathBuf {
        self.0.settings().artifacts(run)
    }

    async fn events(&self, run: Uuid, after: i64, follow: bool, to: Events<'_>) -> Result<()> {
        let mut each = |event: &StoredEvent| to(event.seq, &event.event);
        self.each_event(run, after, follow, &mut each).await
    }

    async fn logs(&self, asked: &LogsArgs, to: Lines<'_>) -> Result<()> {
        let store = self.0.store();
        let stage = asked.stage.as_deref();
        if let Some(stage) = stage {
            // A stage that wrote nothing is not a stage that is not there.
            self.0.explain(asked.run, stage).await?;
        }
        let mut after = 0;
        if let Some(tail) = asked.tail {
            for line in store.log_tail(asked.run, stage, 0, tail).await? {
                after = line.seq;
                to(line)?;
            }
        } else {
            loop {
                let lines = store.logs(asked.run, stage, after, PAGE).await?;
                let Some(last) = lines.last() else { break };
                after = last.seq;
                lines.into_iter().try_for_each(&mut *to)?;
            }
        }
        if !asked.follow {
            return Ok(());
        }
        let is_wanted = |line: &LogLine| stage.is_none_or(|stage| stage == line.stage);
        let mut each = |event: &StoredEvent| {
            if let Some(line) = event.log_line()?.filter(is_wanted) {
                to(line)?;
            }
            Ok(ControlFlow::Continue(()))
        };
        self.each_event(asked.run, after, true, &mut each).await
    }

    async fn explain(&self, run: Uuid, stage: &str) -> Result<Explanation> {
        self.0.explain(run, stage).await
    }

    async fn read(&self, run: Uuid, file: &Artifact) -> Result<Vec<u8>> {
        self.0.read_file(run, file).await
    }

    async fn cancel(&self, run: Uuid) -> Result<RunDocument> {
        self.0.cancel(run).await?;
        self.document(run).await
    }

    async fn retry(&self, asked: &RetryArgs) -> Result<RunDocument, Refused> {
        let retried = self.0.accept_retry(RetryRequest {
            run_id: asked.run,
            wanted: Wanted::new(&asked.from, &asked.only)?,
            accept_drift: asked.accept_drift,
            tenant: LOCAL,
            origin: Origin::Command,
            idempotency_key: None,
        });
        let Retried { accepted, notes } = retried.await.map_err(|refusal| match refusal {
            Refusal::Drift(error, diff) => Refused::Drift(error, diff),
            Refusal::Error(error) => Refused::Error(error),
        })?;
        for note in notes {
            eprintln!("note: {note}");
        }
        eprintln!("run {} is a retry of run {}", accepted.run_id, asked.run);
        Ok(self.execute(accepted).await?)
    }

    async fn validate(&self, run: Uuid, job: Option<Value>) -> Result<RunDocument> {
        let job = job.map(|job| prepare(&job, variable)).transpose()?;
        let accepted = self.0.accept_validation(ValidationRequest {
            run_id: run,
            job,
            origin: Origin::Command,
            idempotency_key: None,
        });
        let accepted = accepted.await?;
        eprintln!("run {} validates run {run}", accepted.run_id);
        self.execute(accepted).await
    }

    async fn answer(&self, run: Uuid, choice: Choice<'_>) -> Result<RunDocument> {
        let Choice {
            question,
            chosen,
            by,
        } = choice;
        let by = by.unwrap_or(NOBODY_SAYS);
        self.0.store().answer(run, question, chosen, by).await?;
        self.go_on(run).await
    }
}

//! A run from acceptance to its last event.
//!
//! ```text
//! accept ── durable, queued
//!    │
//! execute ── owns the run's lock; recorded stages are not run again
//!    │  event ──► store ──► reports          in this order, so that nobody sees what a crash could take back
//!    ▼
//! succeeded | failed | cancelled | waiting | queued again (interrupted)
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::graphs::{self, GraphOrigin, GraphSource};
use super::job::{PreparedJob, Variables, recover};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::context::{RunEnvironment, Secrets};
use crate::graph::diagnostic::Diagnostics;
use crate::graph::event::{Artifact, EdgeDecision, Event, RunStatus};
use crate::graph::file::GraphFile;
use crate::graph::flat;
use crate::graph::handler::Catalog;
use crate::graph::plan::{Plan, Selection};
use crate::graph::result::{RecordedStage, RunInput};
use crate::graph::run::Run;
use crate::model::job::JobInput;
use crate::model::run::RunDocument;
use crate::report::Report;
use crate::service::lock;
use crate::settings::Settings;
use crate::store::{
    Cancelled, Created, NewRun, Origin, Store, StoredRun, StoredStage, make_private_folder,
};

/// The most events that are recorded in one transaction.
const BATCH: usize = 64;

/// How often a stage's progress is recorded; reports see every step of it.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Stops a run's execution, for good or for now.
#[derive(Debug, Clone, Default)]
pub struct Control {
    stop: CancellationToken,
    for_now: CancellationToken,
}

impl Control {
    /// Cancels the run: it ends as `cancelled`.
    pub fn cancel(&self) {
        self.stop.cancel();
    }

    /// Interrupts the run: it is queued again, and goes on later from what is recorded. A cancelled run stays cancelled.
    pub fn interrupt(&self) {
        if !self.stop.is_cancelled() {
            self.for_now.cancel();
            self.stop.cancel();
        }
    }

    /// Waits until the run is to stop, for good or for now.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    fn interrupted(&self) -> bool {
        self.for_now.is_cancelled()
    }
}

/// What a run is made of.
#[derive(Debug)]
pub struct Request<'a> {
    /// The graph.
    pub graph: &'a GraphSource,
    /// The job.
    pub job: PreparedJob,
    /// Who asks.
    pub origin: Origin,
    /// The caller's key that makes the request safe to repeat.
    pub idempotency_key: Option<&'a str>,
}

/// A run that is durable.
#[derive(Debug)]
pub struct Accepted {
    /// The run.
    pub run_id: Uuid,
    /// Its secrets, for [`Launch::execute`]; none if the same request was accepted before.
    pub secrets: Option<Secrets>,
}

/// Makes runs and executes them.
#[derive(Debug, Clone)]
pub struct Launch {
    settings: Settings,
    store: Store,
    catalog: Catalog,
    variable: Variables,
}

impl Launch {
    /// Makes runs of these handlers, kept in this store; `variable` looks up what jobs name in the environment.
    #[must_use]
    pub const fn new(
        settings: Settings,
        store: Store,
        catalog: Catalog,
        variable: Variables,
    ) -> Self {
        Self {
            settings,
            store,
            catalog,
            variable,
        }
    }

    /// Gives the store.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Gives the settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Gives what graphs can name.
    pub(super) const fn catalog(&self) -> Catalog {
        self.catalog
    }

    /// Gives how jobs look up the environment.
    #[must_use]
    pub const fn variables(&self) -> Variables {
        self.variable
    }

    /// Plans a graph of which a job leaves something out.
    ///
    /// # Errors
    /// The graph file, or one that it extends, has defects: all of them.
    pub fn plan(&self, graph: &GraphSource, selection: &Selection) -> Result<Plan, Diagnostics> {
        let file = graphs::load(graph, &self.settings)?;
        Plan::select(&file, self.catalog, selection)
    }

    /// Plans the graph of a run from the text that it was accepted with.
    ///
    /// # Errors
    /// The text is no sound graph any more: relvec itself has changed since.
    pub fn plan_again(&self, stored: &StoredRun) -> Result<(GraphFile, Plan), Diagnostics> {
        let path = format!("{}.toml", stored.graph);
        let file = GraphFile::parse(&path, stored.graph_text.as_bytes())?;
        let plan = Plan::select(&file, self.catalog, &selection(&stored.job))?;
        Ok((file, plan))
    }

    /// Checks a graph that a caller sent.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub fn check(&self, file: &str, text: &str) -> Result<Plan, Diagnostics> {
        let file = graphs::load_sent(file, text, &self.settings)?;
        Plan::build(&file, self.catalog)
    }

    /// Makes a run durable.
    ///
    /// # Errors
    /// The graph has defects, the idempotency key was used for another request, or the store cannot be written.
    pub async fn accept(&self, request: Request<'_>) -> Result<Accepted> {
        let graph = request.graph;
        let file = graphs::load(graph, &self.settings).map_err(Diagnostics::into_error)?;
        Plan::select(&file, self.catalog, &request.job.input.selection())
            .map_err(Diagnostics::into_error)?;
        let graph_text = one_text(graph, &file);
        let PreparedJob {
            input,
            secrets,
            inline_secrets,
            fingerprint,
        } = request.job;
        let job = serde_json::to_value(&input).map_err(|error| {
            Error::new(ErrorKind::Internal, "the job cannot be written as JSON").because(error)
        })?;
        let run_id = Uuid::now_v7();
        let created = self
            .store
            .create(&NewRun {
                id: run_id,
                origin: request.origin,
                graph: &graph.name,
                graph_text: &graph_text,
                graph_path: self.own_path(graph).as_deref(),
                job: &job,
                inline_secrets: &inline_secrets,
                fingerprint: &format!("{} {fingerprint}", graph.name),
                idempotency_key: request.idempotency_key,
                adopted: None,
            })
            .await?;
        Ok(match created {
            Created::New => Accepted {
                run_id,
                secrets: Some(secrets),
            },
            Created::Before(run_id) => Accepted {
                run_id,
                secrets: None,
            },
        })
    }

    /// Gives where a graph's file is, unless its name leads there.
    pub(super) fn own_path(&self, graph: &GraphSource) -> Option<String> {
        let path = Path::new(&graph.path);
        let by_name = self.settings.graphs.join(format!("{}.toml", graph.name));
        if graph.origin == GraphOrigin::Shipped || path == by_name {
            return None;
        }
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Some(path.display().to_string())
    }

    /// Accepts a run and executes it.
    ///
    /// # Errors
    /// As [`Self::accept`] and [`Self::execute`]. A run that fails is not an error: its document says so.
    pub async fn start(
        &self,
        graph: &GraphSource,
        job: PreparedJob,
        control: &Control,
        reports: &mut [Box<dyn Report>],
    ) -> Result<RunDocument> {
        let accepted = self
            .accept(Request {
                graph,
                job,
                origin: Origin::Command,
                idempotency_key: None,
            })
            .await?;
        let secrets = accepted.secrets.unwrap_or_default();
        self.execute(accepted.run_id, secrets, control, reports)
            .await
    }

    /// Goes on with a run from what is recorded: after an answer, or after the process that executed it ended.
    ///
    /// # Errors
    /// As [`Self::secrets`] and [`Self::execute`].
    pub async fn resume(
        &self,
        run_id: Uuid,
        control: &Control,
        reports: &mut [Box<dyn Report>],
    ) -> Result<RunDocument> {
        let secrets = self.secrets(run_id).await?;
        self.execute(run_id, secrets, control, reports).await
    }

    /// Finds the secrets of a recorded run again; those that are gone are withheld.
    ///
    /// # Errors
    /// There is no such run, or its job has another version's shape: then it fails.
    pub async fn secrets(&self, run_id: Uuid) -> Result<Secrets> {
        let stored = self.store.load(run_id).await?;
        let found = JobInput::deserialize(&stored.job)
            .map_err(|error| {
                Error::new(
                    ErrorKind::Failed,
                    format!("the job of run {run_id} was recorded by another version of relvec"),
                )
                .because(error)
                .hint("submit the job again")
            })
            .map(|input| recover(&input, &stored.inline_secrets, self.variable));
        if let Err(error) = &found
            && !stored.status.is_terminal()
        {
            self.store.fail(run_id, &error_line(error)).await?;
        }
        found
    }

    /// Executes a run: its events go to the store, then to the reports. Gives its document when it ended, parked or was
    /// interrupted.
    ///
    /// # Errors
    /// There is no such run, it is over or waits, another process executes it, or the store cannot be written.
    pub async fn execute(
        &self,
        run_id: Uuid,
        secrets: Secrets,
        control: &Control,
        reports: &mut [Box<dyn Report>],
    ) -> Result<RunDocument> {
        // Held to the end: the lock goes with the file.
        let _lock = self.lock(run_id)?;
        self.store.claim(run_id).await?;
        let stored = self.store.load(run_id).await?;
        let plan = match self.plan_again(&stored) {
            Ok((_, plan)) => plan,
            Err(diagnostics) => {
                let error = diagnostics.into_error();
                self.store.fail(run_id, &error_line(&error)).await?;
                return self.store.document(run_id).await;
            }
        };
        let environment = RunEnvironment {
            run_id,
            secrets,
            answers: stored.answers.clone(),
            artifacts: self.settings.artifacts(run_id),
            cache: self.settings.cache(),
            cancel: control.stop.clone(),
        };
        let run = Run::start(Arc::new(plan), run_input(stored, environment));
        self.drive(run_id, run, control, reports).await?;
        if control.interrupted() {
            self.store.requeue(run_id).await?;
        }
        self.store.document(run_id).await
    }

    async fn drive(
        &self,
        run_id: Uuid,
        mut run: Run,
        control: &Control,
        reports: &mut [Box<dyn Report>],
    ) -> Result<()> {
        let mut throttle = Throttle::default();
        let mut failure = None;
        while let Some(first) = run.next_event().await {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Some(Some(next)) = run.next_event().now_or_never()
            {
                batch.push(next);
            }
            if failure.is_none() {
                let kept: Vec<Event> = batch
                    .iter()
                    .filter(|event| !is_interruption(event, control) && throttle.keeps(event))
                    .cloned()
                    .collect();
                failure = self.store.record(run_id, &kept).await.err();
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
        failure.map_or(Ok(()), Err)
    }

    /// Says whether a process executes a run now. One that was killed leaves its run `running` and nobody at work.
    #[must_use]
    pub fn is_executed(&self, run_id: Uuid) -> bool {
        let path = self.settings.artifacts(run_id).join(lock::OF_RUN);
        lock::is_held(&path)
    }

    /// Cancels a run that no process executes.
    ///
    /// # Errors
    /// There is no such run, it ended otherwise, a process executes it, or the store cannot be written.
    pub async fn cancel(&self, run_id: Uuid) -> Result<()> {
        match self.store.cancel(run_id).await? {
            Cancelled::Done => Ok(()),
            Cancelled::Running => {
                // Who has the lock is the only one to execute it.
                let _lock = self.lock(run_id)?;
                self.store.cancel_abandoned(run_id).await
            }
        }
    }

    fn lock(&self, run_id: Uuid) -> Result<File> {
        let folder = self.settings.artifacts(run_id);
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
            .hint("wait for it to end, or cancel it there: Ctrl-C where `relvec run` executes it, POST /jobs/{id}/cancel where the gateway does")
        })?;
        Ok(file)
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

/// Gives a graph as the one text that a run keeps: what it extends can change.
pub(super) fn one_text(graph: &GraphSource, file: &GraphFile) -> String {
    if file.extends.is_some() {
        flat::to_toml(file)
    } else {
        String::from_utf8_lossy(&graph.bytes).into_owned()
    }
}

/// What a kept job leaves out of its graph.
pub(super) fn selection(job: &serde_json::Value) -> Selection {
    let names = |key: &str| Vec::deserialize(&job[key]).unwrap_or_default();
    Selection {
        skip: names("skip"),
        only: names("only"),
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

/// The stages of a run as they were last recorded, with the edges that leave them and the files that they wrote.
pub(super) fn recorded(
    stages: Vec<StoredStage>,
    edges: &[EdgeDecision],
    artifacts: &[(String, Artifact)],
) -> Vec<RecordedStage> {
    let mut recorded: Vec<RecordedStage> = stages
        .into_iter()
        .map(|stage| RecordedStage {
            id: stage.document.id,
            status: stage.document.status,
            reason: stage.document.reason,
            attempts: stage.document.attempts,
            seconds: stage.document.seconds.unwrap_or_default(),
            output: stage.output.map(Arc::new),
            decisions: Vec::new(),
            artifacts: Vec::new(),
            reused: stage.reused,
        })
        .collect();
    for stage in &mut recorded {
        for edge in edges.iter().filter(|edge| *edge.from == *stage.id) {
            // The last decision of an edge holds.
            stage.decisions.retain(|earlier| earlier.to != edge.to);
            stage.decisions.push(edge.clone());
        }
        stage.artifacts = artifacts
            .iter()
            .filter(|(writer, _)| *writer == stage.id)
            .map(|(_, artifact)| artifact.clone())
            .collect();
    }
    recorded
}

//! A run from acceptance to its last event.
//!
//! ```text
//! accept ── durable, queued
//!    │
//! own ── by the run's lock file, or by a lease (`own`)
//!    │
//! execute ── recorded stages are not run again
//!    │  event ──► store ──► reports          in this order, so that nobody sees what a crash could take back
//!    ▼
//! succeeded | failed | cancelled | waiting | queued again (interrupted)
//! ```

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::graphs::{self, GraphOrigin, GraphSource};
use super::job::{PreparedJob, Variables, recover};
use super::shelf::ReadyGraph;
use crate::allowed::Allowed;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::context::Secrets;
use crate::graph::diagnostic::Diagnostics;
use crate::graph::event::{Artifact, EdgeDecision};
use crate::graph::file::GraphFile;
use crate::graph::flat;
use crate::graph::handler::Catalog;
use crate::graph::plan::{Plan, Selection};
use crate::graph::result::RecordedStage;
use crate::model::job::{ExecutionMode, JobInput};
use crate::model::run::RunDocument;
use crate::report::Report;
use crate::settings::Settings;
use crate::store::{Created, NewRun, Origin, Store, StoredRun, StoredStage, now};

/// The most plans that are kept.
const MOST_PLANS: usize = 64;

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

    pub(super) fn interrupted(&self) -> bool {
        self.for_now.is_cancelled()
    }

    pub(super) const fn token(&self) -> &CancellationToken {
        &self.stop
    }
}

/// What a run is made of.
#[derive(Debug)]
pub struct Request<'a> {
    /// The graph.
    pub graph: &'a ReadyGraph,
    /// The job.
    pub job: PreparedJob,
    /// Whose the run is.
    pub tenant: &'a str,
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
    /// Its document as it was accepted; none where the store knows more.
    pub document: Option<RunDocument>,
}

impl Accepted {
    pub(super) fn of(new: Uuid, created: Created, secrets: Secrets) -> Self {
        match created {
            Created::New => Self {
                run_id: new,
                secrets: Some(secrets),
                document: None,
            },
            Created::Before(run_id) => Self::before(run_id),
        }
    }

    /// The run that the same request made before.
    pub(super) const fn before(run_id: Uuid) -> Self {
        Self {
            run_id,
            secrets: None,
            document: None,
        }
    }
}

/// Plans of whole graphs, by their names and texts.
type Plans = HashMap<(String, String), Arc<Plan>>;

/// Makes runs and executes them.
#[derive(Debug, Clone)]
pub struct Launch {
    settings: Settings,
    store: Store,
    catalog: Catalog,
    variable: Variables,
    /// Secrets that stood in jobs which this process accepted, until their runs are over: nobody else has them.
    held: Arc<Mutex<HashMap<Uuid, Secrets>>>,
    plans: Arc<Mutex<Plans>>,
    allowed: Allowed,
}

impl Launch {
    /// Makes runs of these handlers, kept in this store; `variable` looks up what jobs name in the environment.
    #[must_use]
    pub fn new(settings: Settings, store: Store, catalog: Catalog, variable: Variables) -> Self {
        Self {
            settings,
            store,
            catalog,
            variable,
            held: Arc::default(),
            plans: Arc::default(),
            allowed: Allowed::everything(),
        }
    }

    /// Keeps the jobs to what is allowed.
    #[must_use]
    pub fn within(mut self, allowed: Allowed) -> Self {
        self.allowed = allowed;
        self
    }

    /// Gives what jobs may reach.
    #[must_use]
    pub const fn allowed(&self) -> &Allowed {
        &self.allowed
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

    /// Plans the graph of a run as [`Self::plan_again`] does, once for all runs of the same text that leave nothing out.
    pub(super) fn plan_of(&self, stored: &StoredRun) -> Result<Arc<Plan>, Diagnostics> {
        let planned = || self.plan_again(stored).map(|(_, plan)| Arc::new(plan));
        if selection(&stored.job) != Selection::default() {
            return planned();
        }
        let plans = || self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let graph = (stored.graph.clone(), stored.graph_text.clone());
        if let Some(plan) = plans().get(&graph) {
            return Ok(Arc::clone(plan));
        }
        let plan = planned()?;
        let mut plans = plans();
        if plans.len() >= MOST_PLANS {
            plans.clear();
        }
        plans.insert(graph, Arc::clone(&plan));
        Ok(plan)
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
    /// The graph has defects, the gateway does not offer the execution mode, the idempotency key was used for another request, or
    /// the store cannot be written.
    pub async fn accept(&self, request: Request<'_>) -> Result<Accepted> {
        let ready = request.graph;
        let graph = &ready.source;
        ready
            .check(&request.job.input.selection())
            .map_err(Diagnostics::into_error)?;
        self.check_mode(request.origin, request.job.input.execution.mode)?;
        // Nobody asks for that of a run without a key.
        let fingerprint = request
            .idempotency_key
            .map(|_| format!("{} {}", graph.name, request.job.fingerprint()));
        let PreparedJob {
            input,
            secrets,
            inline_secrets,
            ..
        } = request.job;
        let job = serde_json::to_string(&input).map_err(|error| {
            Error::new(ErrorKind::Internal, "the job cannot be written as JSON").because(error)
        })?;
        let run_id = Uuid::now_v7();
        let held = self.hold(run_id, request.origin, &inline_secrets, &secrets);
        let created_at = now();
        let created = self
            .store
            .create(&NewRun {
                id: run_id,
                created_at: &created_at,
                tenant: request.tenant,
                origin: request.origin,
                graph: &graph.name,
                graph_text: &ready.text,
                graph_path: self.own_path(graph).as_deref(),
                job: &job,
                inline_secrets: &inline_secrets,
                held,
                fingerprint: fingerprint.as_deref().unwrap_or_default(),
                idempotency_key: request.idempotency_key,
                adopted: None,
            })
            .await;
        if !matches!(created, Ok(Created::New)) {
            self.let_go(run_id);
        }
        let mut accepted = Accepted::of(run_id, created?, secrets);
        if accepted.secrets.is_some() {
            let graph = graph.name.clone();
            accepted.document = Some(RunDocument::queued(run_id, graph, created_at));
        }
        Ok(accepted)
    }

    /// Refuses an execution mode that the gateway does not offer; the command line offers all.
    ///
    /// # Errors
    /// The gateway does not offer it.
    pub fn check_mode(&self, origin: Origin, mode: ExecutionMode) -> Result<()> {
        let offered = &self.settings.runs.modes;
        if origin == Origin::Command || offered.contains(&mode) {
            return Ok(());
        }
        let offered: Vec<&str> = offered.iter().map(|mode| mode.name()).collect();
        Err(Error::new(
            ErrorKind::Invalid,
            format!("this gateway does not execute in mode `{}`", mode.name()),
        )
        .hint(format!(
            "set `execution.mode` to one that it offers: {}",
            offered.join(", ")
        ))
        .hint("what it offers is set by RELVEC_EXECUTION_MODES where it is started"))
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Uuid, Secrets>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the secrets of a gateway's run that stood in its job, before the run is durable: from then on it may be executed. Says
    /// whether there are any.
    pub(super) fn hold(
        &self,
        run_id: Uuid,
        origin: Origin,
        inline_secrets: &[String],
        secrets: &Secrets,
    ) -> bool {
        let held = origin == Origin::Gateway && !inline_secrets.is_empty();
        if held {
            self.held().insert(run_id, secrets.clone());
        }
        held
    }

    /// Gives the runs whose secrets only this process has.
    #[must_use]
    pub fn held_runs(&self) -> Vec<Uuid> {
        self.held().keys().copied().collect()
    }

    /// Forgets the secrets of a run that is over.
    pub fn let_go(&self, run_id: Uuid) {
        self.held().remove(&run_id);
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
        let graph = ReadyGraph::new(graph.clone(), self).map_err(Diagnostics::into_error)?;
        // Kept out of the future, which callers hold on their stacks.
        let graph = Box::new(graph);
        let accepted = self
            .accept(Request {
                graph: &graph,
                job,
                tenant: crate::store::LOCAL,
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
    /// As [`Self::execute`].
    pub async fn resume(
        &self,
        run_id: Uuid,
        control: &Control,
        reports: &mut [Box<dyn Report>],
    ) -> Result<RunDocument> {
        let owned = self.own(run_id).await?;
        Box::pin(self.execute_owned(owned, None, control, reports)).await?;
        self.store.document(run_id).await
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
        let owned = self.own(run_id).await?;
        Box::pin(self.execute_owned(owned, Some(secrets), control, reports)).await?;
        self.store.document(run_id).await
    }

    /// Finds the secrets of a recorded run again; those that are gone are withheld.
    ///
    /// # Errors
    /// There is no such run, or its job has another version's shape.
    pub async fn secrets(&self, run_id: Uuid) -> Result<Secrets> {
        let stored = self.store.load(run_id).await?;
        self.secrets_of(&stored)
    }

    pub(super) fn secrets_of(&self, stored: &StoredRun) -> Result<Secrets> {
        if let Some(held) = self.held().get(&stored.id) {
            return Ok(held.clone());
        }
        JobInput::deserialize(&stored.job)
            .map(|input| recover(&input, &stored.inline_secrets, self.variable))
            .map_err(|error| {
                Error::new(
                    ErrorKind::Failed,
                    format!(
                        "the job of run {} was recorded by another version of relvec",
                        stored.id
                    ),
                )
                .because(error)
                .hint("submit the job again")
            })
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

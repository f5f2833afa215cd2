//! A retry: a new run that takes over what a run that is over finished, and does the rest again.
//!
//! 1. The graph is looked up again. If it means something else than the one that the run kept, the retry is refused unless the
//!    caller accepts the drift.
//! 2. [`choice`] says which stages run again.
//! 3. The files of the others are checked and copied; a stage whose file is gone or changed runs again too.
//! 4. The new run is made durable with everything that it takes over, in one transaction.
//!
//! The run before it stays as it is: a terminal state never changes.

mod adopted;
mod choice;
mod drift;
mod files;
mod revalidate;

pub use self::revalidate::ValidationRequest;

use std::collections::{BTreeSet, HashMap};

use serde::Deserialize as _;
use uuid::Uuid;

use self::adopted::adopt;
use self::choice::{Choice, choose};
use self::drift::{changed_stages, stale_edges};
use super::graphs;
use super::run::{Accepted, Launch, one_text, recorded, selection};
use crate::error::{Error, ErrorKind};
use crate::graph::diagnostic::Diagnostics;
use crate::graph::diff::{GraphDiff, diff};
use crate::graph::event::{Artifact, EdgeDecision, EdgeReason, Event, LogLevel, RunStatus};
use crate::graph::file::GraphFile;
use crate::graph::plan::Plan;
use crate::graph::result::RecordedStage;
use crate::model::job::ExecutionMode;
use crate::store::{Created, NewRun, Origin, StoredRun, now};

/// Which stages a caller wants to run again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Wanted {
    /// What did not end well, and what depends on it.
    #[default]
    Failed,
    /// These stages and what depends on them, and whatever never ended.
    From(Vec<String>),
    /// These stages alone. What depends on them keeps what it had, and what never ended is left out.
    Only(Vec<String>),
}

impl Wanted {
    /// Reads what a caller names.
    ///
    /// # Errors
    /// Both are named.
    pub fn new(from: &[String], only: &[String]) -> Result<Self, Error> {
        match (from, only) {
            ([], []) => Ok(Self::Failed),
            (_, []) => Ok(Self::From(from.to_vec())),
            ([], _) => Ok(Self::Only(only.to_vec())),
            (_, _) => Err(Error::new(
                ErrorKind::Invalid,
                "`from` and `only` cannot be given together",
            )
            .hint("`from` runs stages with what depends on them, `only` runs them alone")),
        }
    }
}

/// A wish to retry a run.
#[derive(Debug, Clone)]
pub struct RetryRequest<'a> {
    /// The run.
    pub run_id: Uuid,
    /// Which stages run again.
    pub wanted: Wanted,
    /// Whether the retry goes on with the graph as it is now, where that changed.
    pub accept_drift: bool,
    /// Whose the new run is.
    pub tenant: &'a str,
    /// Who asks.
    pub origin: Origin,
    /// The caller's key that makes the request safe to repeat.
    pub idempotency_key: Option<&'a str>,
}

/// A retry that is durable.
#[derive(Debug)]
pub struct Retried {
    /// The new run.
    pub accepted: Accepted,
    /// What the caller should know, a sentence each.
    pub notes: Vec<String>,
}

/// Why a run is not retried.
#[derive(Debug)]
pub enum Refusal {
    /// Its graph means something else now.
    Drift(Error, Box<GraphDiff>),
    /// Something else is in the way.
    Error(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// The graph that a retry runs.
struct Graph {
    plan: Plan,
    text: String,
    path: Option<String>,
    /// Stages of the plan that the drift makes run again.
    changed: BTreeSet<usize>,
    /// Edges that have to be decided again.
    stale: BTreeSet<(String, String)>,
}

impl Launch {
    /// Makes a retry durable; [`Launch::execute`] runs it.
    ///
    /// # Errors
    /// There is no such run or stage, the run is not over, its graph changed, nothing is left to run again, a stage cannot be
    /// run alone, the gateway does not offer its execution mode, or the store or the new run's folder cannot be written.
    pub async fn accept_retry(&self, request: RetryRequest<'_>) -> Result<Retried, Refusal> {
        let fingerprint = format!(
            "retry {} {:?} {}",
            request.run_id, request.wanted, request.accept_drift
        );
        let key = request.idempotency_key;
        if let Some(run_id) = self
            .store()
            .before(request.tenant, key, &fingerprint)
            .await?
        {
            return Ok(repeated(run_id));
        }
        let stored = self.store().load(request.run_id).await?;
        if !stored.status.is_terminal() {
            return Err(self.not_over(&stored).await?.into());
        }
        if let Ok(mode) = ExecutionMode::deserialize(&stored.job["execution"]["mode"]) {
            self.check_mode(request.origin, mode)?;
        }
        self.bring_files(&stored).await?;
        let secrets = self.secrets(request.run_id).await?;
        let mut notes = Vec::new();
        let graph = self.graph_again(&stored, request.accept_drift, &mut notes)?;
        let mut before = recorded(stored.stages.clone(), &stored.edges, &stored.artifacts);
        for stage in &mut before {
            let id = stage.id.clone();
            stage.decisions.retain(|edge| graph.keeps(&id, edge));
        }
        let before: HashMap<String, RecordedStage> = before
            .into_iter()
            .map(|stage| (stage.id.clone(), stage))
            .collect();
        let (choice, warnings) = self.choose_with_files(&request, &graph, &before, &mut notes)?;
        let mut adopted = adopt(&stored, &graph.plan, &before, &choice);
        adopted.events.extend(warnings);
        let run_id = Uuid::now_v7();
        let folder = self.settings().artifacts(run_id);
        let old = self.settings().artifacts(stored.id);
        files::copy(&old, &folder, kept_files(&graph.plan, &before, &choice))?;
        let created = self
            .store()
            .create(&NewRun {
                id: run_id,
                created_at: &now(),
                tenant: request.tenant,
                origin: request.origin,
                graph: &stored.graph,
                graph_text: &graph.text,
                graph_path: graph.path.as_deref(),
                job: &stored.job.to_string(),
                inline_secrets: &stored.inline_secrets,
                held: false,
                fingerprint: &fingerprint,
                idempotency_key: key,
                adopted: Some(&adopted),
            })
            .await;
        if !matches!(created, Ok(Created::New)) {
            files::remove(&folder);
        }
        match created? {
            Created::New => {
                let accepted = Accepted::of(run_id, Created::New, secrets);
                Ok(Retried { accepted, notes })
            }
            Created::Before(run_id) => Ok(repeated(run_id)),
        }
    }

    async fn not_over(&self, stored: &StoredRun) -> Result<Error, Error> {
        let id = stored.id;
        let executed = self.is_executed(id).await?;
        let (stands, next) = match stored.status {
            RunStatus::Waiting => (
                "waits for answers",
                format!("answer its questions (`relvec runs show {id}` lists them)"),
            ),
            RunStatus::Running if !executed => (
                "was interrupted, and no process executes it",
                "if it is the gateway's, start the gateway, which goes on with it".to_owned(),
            ),
            RunStatus::Running => ("is running", "wait until it ends".to_owned()),
            RunStatus::Queued => ("is queued", "wait until it ends".to_owned()),
            RunStatus::Succeeded | RunStatus::Failed | RunStatus::Cancelled => {
                ("is over", String::new())
            }
        };
        let message = format!("run {id} {stands}; only a run that is over can be retried");
        Ok(Error::new(ErrorKind::Conflict, message)
            .hint(next)
            .hint(format!(
                "or end it: `relvec runs cancel {id}`, POST /jobs/{id}/cancel"
            )))
    }

    /// Looks the run's graph up again, and compares it with the one that the run kept.
    fn graph_again(
        &self,
        stored: &StoredRun,
        accept_drift: bool,
        notes: &mut Vec<String>,
    ) -> Result<Graph, Refusal> {
        let selection = selection(&stored.job);
        let kept = GraphFile::parse(
            &format!("{}.toml", stored.graph),
            stored.graph_text.as_bytes(),
        )
        .and_then(|file| Plan::select(&file, self.catalog(), &selection))
        .map_err(|found| {
            found.into_error().hint(format!(
                "the graph that run {} kept is none for this relvec: submit the job again",
                stored.id
            ))
        })?;
        let unchanged = |plan| Graph {
            plan,
            text: stored.graph_text.clone(),
            path: stored.graph_path.clone(),
            changed: BTreeSet::new(),
            stale: BTreeSet::new(),
        };
        let source = match &stored.graph_path {
            Some(path) => graphs::find(path, self.settings()),
            None => graphs::named(&stored.graph, self.settings()),
        };
        let source = match source {
            Ok(source) => source,
            Err(error) => {
                notes.push(format!(
                    "the graph is not there any more ({error}): the text that run {} kept is used",
                    stored.id
                ));
                return Ok(unchanged(kept));
            }
        };
        let file = graphs::load(&source, self.settings()).map_err(Diagnostics::into_error)?;
        let plan =
            Plan::select(&file, self.catalog(), &selection).map_err(Diagnostics::into_error)?;
        let drift = diff(&kept, &plan);
        if drift.is_empty() {
            return Ok(unchanged(kept));
        }
        if !accept_drift {
            return Err(drifted(stored, drift));
        }
        Ok(Graph {
            text: one_text(&source, &file),
            path: self.own_path(&source),
            stale: stale_edges(&plan, &drift),
            changed: changed_stages(&kept, &plan, &drift),
            plan,
        })
    }

    /// Chooses the stages that run again, those with them whose files are not what they were.
    fn choose_with_files(
        &self,
        request: &RetryRequest<'_>,
        graph: &Graph,
        before: &HashMap<String, RecordedStage>,
        notes: &mut Vec<String>,
    ) -> Result<(Choice, Vec<Event>), Error> {
        let run_id = request.run_id;
        let folder = self.settings().artifacts(run_id);
        let choice = choose(&graph.plan, before, &request.wanted, &graph.changed, run_id)?;
        let mut again = graph.changed.clone();
        let mut warnings = Vec::new();
        for stage in kept_stages(&graph.plan, &choice) {
            let id = graph.plan.stages()[stage].id.as_ref();
            let Some(bad) = files::check(&folder, &before[id].artifacts) else {
                continue;
            };
            if let Wanted::Only(_) = request.wanted {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("{bad}, so that what stage `{id}` wrote cannot be taken over"),
                )
                .hint(format!("run it again with what depends on it: --from {id}")));
            }
            let line = format!("{bad}: the stage runs again");
            notes.push(format!("stage `{id}`: {line}"));
            warnings.push(Event::StageLog {
                stage: id.into(),
                level: LogLevel::Warn,
                line,
            });
            again.insert(stage);
        }
        if warnings.is_empty() {
            return Ok((choice, warnings));
        }
        let choice = choose(&graph.plan, before, &request.wanted, &again, run_id)?;
        Ok((choice, warnings))
    }
}

fn repeated(run_id: Uuid) -> Retried {
    Retried {
        accepted: Accepted::before(run_id),
        notes: Vec::new(),
    }
}

fn drifted(stored: &StoredRun, drift: GraphDiff) -> Refusal {
    let error = Error::new(
        ErrorKind::Conflict,
        format!(
            "the graph `{}` means something else than when run {} was accepted",
            stored.graph, stored.id
        ),
    )
    .hint("to go on with the graph as it is now, retry with --accept-drift (`accept_drift` over HTTP): what changed runs again, with what depends on it")
    .hint("to have the run as it was, put the graph file back");
    Refusal::Drift(error, Box::new(drift))
}

impl Graph {
    /// Says whether a recorded decision of a stage still holds: the edge is there, and neither it nor what it waits for changed.
    fn keeps(&self, from: &str, edge: &EdgeDecision) -> bool {
        let ends = (from.to_owned(), edge.to.to_string());
        self.plan.edge(from, &edge.to).is_some()
            && !self.stale.contains(&ends)
            && !matches!(edge.because, EdgeReason::ConditionFailed { .. })
    }
}

/// The stages that are taken over with what they wrote.
fn kept_stages<'a>(plan: &'a Plan, choice: &'a Choice) -> impl Iterator<Item = usize> {
    (0..plan.stages().len())
        .filter(|stage| !choice.again.contains(stage) && !choice.left_out.contains(stage))
}

fn kept_files<'a>(
    plan: &'a Plan,
    before: &'a HashMap<String, RecordedStage>,
    choice: &'a Choice,
) -> impl Iterator<Item = &'a Artifact> {
    kept_stages(plan, choice).flat_map(|stage| &before[plan.stages()[stage].id.as_ref()].artifacts)
}

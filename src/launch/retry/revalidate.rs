//! A validation alone, later: a new run of the graph `revalidate` that takes the plan and the code over from an earlier run.
//!
//! The earlier run stays as it is, whatever comes out. Files that are gone or changed since are no reason to refuse: that is one of
//! the things that a validation reports.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde_json::{Value, json};
use uuid::Uuid;

use super::adopted::adopt;
use super::choice::{Choice, with_descendants};
use super::graphs::GraphSource;
use super::{files, graphs, kept_files};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::diagnostic::Diagnostics;
use crate::graph::event::StageStatus;
use crate::graph::handler::NodeHandler as _;
use crate::graph::plan::{Plan, Selection};
use crate::graph::result::RecordedStage;
use crate::handlers::code_generator::CodeGenerator;
use crate::handlers::run_validation::RunValidation;
use crate::launch::job::PreparedJob;
use crate::launch::run::{Accepted, Launch, one_text, recorded};
use crate::model::job::JobInput;
use crate::store::{Created, NewRun, Origin, StoredRun, now};

/// The graph of such runs; a team's own folder may hold another one of that name.
const GRAPH: &str = "revalidate";

/// The graph of a validation, and what of it an earlier run did.
struct Planned {
    source: GraphSource,
    text: String,
    plan: Plan,
    before: HashMap<String, RecordedStage>,
    choice: Choice,
}

/// A wish to validate an earlier run.
#[derive(Debug)]
pub struct ValidationRequest<'a> {
    /// The earlier run.
    pub run_id: Uuid,
    /// A job with the connection strings that the run could not keep.
    pub job: Option<PreparedJob>,
    /// Who asks.
    pub origin: Origin,
    /// The caller's key that makes the request safe to repeat.
    pub idempotency_key: Option<&'a str>,
}

impl Launch {
    /// Makes the validation of an earlier run durable; [`Launch::execute`] runs it. The secrets are those of the job, if there is
    /// one, else what can be found again of the run's own.
    ///
    /// # Errors
    /// There is no such run, it is at work, it generated no code, the job is of another source or target, or the store or the new
    /// run's folder cannot be written.
    pub async fn accept_validation(&self, request: ValidationRequest<'_>) -> Result<Accepted> {
        let ValidationRequest {
            run_id,
            job,
            origin,
            idempotency_key: key,
        } = request;
        let of_job = job
            .as_ref()
            .map(PreparedJob::fingerprint)
            .unwrap_or_default();
        let fingerprint = format!("validate {run_id} {of_job}");
        let stored = self.store().load(run_id).await?;
        let before = self.store().before(&stored.tenant, key, &fingerprint);
        if let Some(run_id) = before.await? {
            return Ok(Accepted::before(run_id));
        }
        self.check_idle(run_id).await?;
        let known = job.is_some() || self.held_runs().contains(&run_id);
        let (secrets, inline_secrets) = match job {
            Some(job) => {
                same_databases(&stored, &job.input)?;
                (job.secrets, job.inline_secrets)
            }
            None => (self.secrets(run_id).await?, stored.inline_secrets.clone()),
        };
        let Planned {
            source,
            text,
            plan,
            mut before,
            choice,
        } = self.plan_validation(&stored)?;
        let adopted = adopt(&stored, &plan, &before, &choice);
        let id = Uuid::now_v7();
        self.bring_files(&stored).await?;
        let new = self.settings().artifacts(id);
        let old = self.settings().artifacts(run_id);
        keep_whole(&old, &mut before);
        files::copy(&old, &new, kept_files(&plan, &before, &choice))?;
        let held = known && self.hold(id, origin, &inline_secrets, &secrets);
        let created = self
            .store()
            .create(&NewRun {
                id,
                created_at: &now(),
                tenant: &stored.tenant,
                origin,
                graph: &source.name,
                graph_text: &text,
                graph_path: self.own_path(&source).as_deref(),
                job: &whole_job(&stored.job).to_string(),
                inline_secrets: &inline_secrets,
                held,
                fingerprint: &fingerprint,
                idempotency_key: key,
                adopted: Some(&adopted),
            })
            .await;
        if !matches!(created, Ok(Created::New)) {
            files::remove(&new);
            self.let_go(id);
        }
        Ok(Accepted::of(id, created?, secrets))
    }

    async fn check_idle(&self, run_id: Uuid) -> Result<()> {
        if self.is_executed(run_id).await? {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("run {run_id} is being executed"),
            )
            .hint("validate it when it has ended, or waits"));
        }
        Ok(())
    }

    /// Plans the graph of validations, with what an earlier run has of it.
    fn plan_validation(&self, stored: &StoredRun) -> Result<Planned> {
        let source = graphs::named(GRAPH, self.settings())?;
        let file = graphs::load(&source, self.settings()).map_err(Diagnostics::into_error)?;
        let plan = Plan::select(&file, self.catalog(), &Selection::default())
            .map_err(Diagnostics::into_error)?;
        let before = of_plan(stored, &plan);
        let choice = choose(&plan, &before, stored.id)?;
        Ok(Planned {
            text: one_text(&source, &file),
            source,
            plan,
            before,
            choice,
        })
    }
}

/// Leaves out files that are gone or changed, so that the validation finds them missing.
fn keep_whole(folder: &Path, before: &mut HashMap<String, RecordedStage>) {
    for stage in before.values_mut() {
        let whole = |file: &_| files::check(folder, std::slice::from_ref(file)).is_none();
        stage.artifacts.retain(whole);
    }
}

/// What the earlier run recorded for stages that the plan has too, by their ids. Its edges lead elsewhere, and are decided again.
fn of_plan(stored: &StoredRun, plan: &Plan) -> HashMap<String, RecordedStage> {
    let stages = recorded(stored.stages.clone(), &[], &stored.artifacts).into_iter();
    stages
        .filter(|stage| plan.find(&stage.id).is_some())
        .map(|stage| (stage.id.clone(), stage))
        .collect()
}

/// The validation runs, with what comes after it; the code has to be there, and of the rest what ended well is taken over.
fn choose(plan: &Plan, before: &HashMap<String, RecordedStage>, run_id: Uuid) -> Result<Choice> {
    let of = |name: &str| -> BTreeSet<usize> {
        let stages = plan.stages().iter().enumerate();
        stages
            .filter(|(_, stage)| stage.handler.name == name)
            .map(|(number, _)| number)
            .collect()
    };
    let status = |stage: usize| {
        before
            .get(plan.stages()[stage].id.as_ref())
            .filter(|stage| stage.has_ended())
            .map(|stage| stage.status)
    };
    let generators = of(CodeGenerator::NAME);
    let coded = |&stage: &usize| status(stage) == Some(StageStatus::Succeeded);
    if generators.is_empty() || !generators.iter().all(coded) {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("run {run_id} generated no code, so that there is no plan to hold the target against"),
        )
        .hint(format!("plan again from the job: relvec run {GRAPH} --input job.json")));
    }
    let again = with_descendants(plan, &of(RunValidation::NAME));
    let left_out = (0..plan.stages().len()).filter(|stage| {
        let kept = matches!(
            status(*stage),
            Some(StageStatus::Succeeded | StageStatus::Skipped)
        );
        !kept && !again.contains(stage)
    });
    Ok(Choice {
        left_out: left_out.collect(),
        again,
    })
}

/// Refuses a job of other databases than the run's, as far as the addresses stand in both.
fn same_databases(stored: &StoredRun, job: &JobInput) -> Result<()> {
    for (place, given) in [("source", &job.source.url), ("target", &job.target.url)] {
        let kept = stored.job[place]["url"].as_str();
        if let (Some(kept), Some(given)) = (kept, given.as_deref())
            && kept != given
        {
            let message = format!(
                "the job's {place} is {given}, and that of run {} was {kept}",
                stored.id
            );
            return Err(Error::new(ErrorKind::Invalid, message).hint(format!(
                "to compare other databases: relvec run {GRAPH} --input job.json"
            )));
        }
    }
    Ok(())
}

/// The job without what it leaves out of its own graph.
fn whole_job(job: &Value) -> Value {
    let mut job = job.clone();
    if let Value::Object(keys) = &mut job {
        keys.extend(BTreeMap::from([
            ("skip".to_owned(), json!([])),
            ("only".to_owned(), json!([])),
        ]));
    }
    job
}

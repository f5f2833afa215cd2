//! Executes a plan. Whoever runs it pulls events; nothing calls back.
//!
//! ```text
//!             in-edges resolved             a slot is free        attempts over
//! Pending ───────────┬─────────── ready ──────────────── Running ───────┬──── Succeeded
//!                    ├─ none taken ────────── NotTaken                  ├──── Failed, TimedOut
//!                    └─ `when` is false ───── Skipped ◄── on_error ─────┤
//!                                                                       ├──── Waiting
//!                                                                       └──── Cancelled
//! ```
//!
//! Every decision is made in one place, between two awaits, by the one task that pulls: stages never see each other.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::attempt::{Ending, Failure, GRACE, Work};
use super::context::RunEnvironment;
use super::event::{
    Artifact, EdgeDecision, EndCause, Event, Question, Reason, RunStatus, StageStatus,
};
use super::output::Outputs;
use super::plan::{Plan, Source};
use super::result::{RecordedStage, RunInput, RunResult, StageResult};

/// An execution of a plan.
pub struct Run {
    pub(super) plan: Arc<Plan>,
    pub(super) job: Arc<Value>,
    pub(super) environment: Arc<RunEnvironment>,
    pub(super) stages: Vec<Record>,
    pub(super) decisions: Vec<Option<EdgeDecision>>,
    /// Stages that can start, each behind its rank.
    ready: BTreeSet<(usize, usize)>,
    pub(super) queue: VecDeque<Event>,
    pub(super) over: Option<Over>,
    recorded: Vec<RecordedStage>,
    questions: Arc<Mutex<Vec<Question>>>,
    artifacts: Vec<Artifact>,
    tasks: JoinSet<(usize, Ending)>,
    task_stages: HashMap<Id, usize>,
    sender: UnboundedSender<Event>,
    receiver: UnboundedReceiver<Event>,
    stop: CancellationToken,
    stop_by: Option<Instant>,
    deadline: Option<Instant>,
    started: Instant,
    status: RunStatus,
    seconds: f64,
}

/// Where a stage stands in this execution.
pub(super) struct Record {
    pub status: StageStatus,
    pub reason: Option<Reason>,
    pub output: Option<Arc<Value>>,
    pub attempts: u32,
    pub seconds: f64,
    pub ready: Option<Instant>,
    pub started: Option<Instant>,
    /// In-edges that are not decided.
    pub unresolved: usize,
    /// Whether an in-edge was taken.
    pub taken: bool,
}

/// Why no further stage starts.
#[derive(Debug, Clone)]
pub(super) enum Over {
    /// A stage failed, or a condition could not be evaluated after it.
    Failed { stage: usize, error: String },
    /// Somebody cancelled the run.
    Cancelled,
    /// The run took longer than its deadline allows.
    Deadline,
}

impl Run {
    /// Makes a run. Nothing happens before the first [`Run::next_event`], which needs a tokio runtime.
    #[must_use]
    pub fn start(plan: Arc<Plan>, input: RunInput) -> Self {
        let (sender, receiver) = unbounded_channel();
        let stages = plan.stages().iter();
        Self {
            stages: stages.map(|stage| Record::new(stage.ins.len())).collect(),
            decisions: vec![None; plan.edges().len()],
            job: Arc::new(input.job),
            stop: input.environment.cancel.child_token(),
            environment: Arc::new(input.environment),
            recorded: input.recorded,
            questions: Arc::new(Mutex::new(input.questions)),
            artifacts: Vec::new(),
            ready: BTreeSet::new(),
            queue: VecDeque::new(),
            over: None,
            tasks: JoinSet::new(),
            task_stages: HashMap::new(),
            sender,
            receiver,
            stop_by: None,
            deadline: plan
                .deadline()
                .map(|deadline| Instant::now() + deadline.saturating_sub(input.spent)),
            started: Instant::now(),
            status: RunStatus::Queued,
            seconds: 0.0,
            plan,
        }
    }

    /// Gives the next event; `None` once the run ended or parked. Dropping the future loses nothing.
    pub async fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            match self.status {
                RunStatus::Queued => self.begin(),
                RunStatus::Running => self.advance().await,
                RunStatus::Waiting
                | RunStatus::Succeeded
                | RunStatus::Failed
                | RunStatus::Cancelled => return None,
            }
        }
    }

    /// Gives what became of the run so far; its last word once [`Run::next_event`] gave `None`.
    #[must_use]
    pub fn into_result(mut self) -> RunResult {
        let error = self.error();
        let mut outputs = std::collections::BTreeMap::new();
        let mut stages = Vec::with_capacity(self.stages.len());
        for (stage, record) in self.plan.stages().iter().zip(&mut self.stages) {
            if let Some(output) = record.output.take() {
                outputs.insert(stage.writes.clone(), output);
            }
            stages.push(StageResult {
                id: stage.id.to_string(),
                status: record.status,
                reason: record.reason.take(),
                attempts: record.attempts,
                seconds: record.seconds,
            });
        }
        RunResult {
            run_id: self.environment.run_id,
            graph: self.plan.name().to_owned(),
            status: self.status,
            error,
            stages,
            questions: self.all_questions(),
            artifacts: std::mem::take(&mut self.artifacts),
            outputs,
            seconds: self.seconds,
        }
    }

    fn begin(&mut self) {
        self.started = Instant::now();
        self.status = RunStatus::Running;
        let stages = self.plan.stages().iter();
        self.queue.push_back(Event::RunStarted {
            run_id: self.environment.run_id,
            graph: self.plan.name().to_owned(),
            stages: stages.map(|stage| stage.id.to_string()).collect(),
        });
        let recorded = std::mem::take(&mut self.recorded);
        for stage in &recorded {
            for artifact in &stage.artifacts {
                self.keep(artifact);
            }
        }
        self.resume(recorded);
    }

    async fn advance(&mut self) {
        if self.over.is_none() && self.environment.cancel.is_cancelled() && self.is_unfinished() {
            self.end(Over::Cancelled);
        }
        self.launch();
        if self.tasks.is_empty() {
            self.drain();
            self.finish();
            return;
        }
        let stopped = until(self.stop_by);
        let late = until(self.deadline);
        tokio::select! {
            biased;
            () = self.environment.cancel.cancelled(), if self.over.is_none() => self.end(Over::Cancelled),
            () = late, if self.over.is_none() => self.end(Over::Deadline),
            () = stopped => self.abandon(),
            Some(event) = self.receiver.recv() => self.observe(event),
            Some(joined) = self.tasks.join_next_with_id() => self.joined(joined),
        }
    }

    /// Puts a stage among those that can start.
    pub(super) fn make_ready(&mut self, stage: usize) {
        self.ready.insert((self.plan.stages()[stage].rank, stage));
        self.stages[stage].ready = Some(Instant::now());
    }

    /// Starts ready stages as long as there are slots: by rank, then in the plan's order.
    fn launch(&mut self) {
        while self.tasks.len() < self.plan.concurrency() {
            let Some((_, stage)) = self.ready.pop_first() else {
                return;
            };
            let ready = self.stages[stage].ready;
            let work = Work {
                plan: Arc::clone(&self.plan),
                stage,
                outputs: self.outputs_for(stage),
                run: Arc::clone(&self.environment),
                stop: self.stop.clone(),
                questions: Arc::clone(&self.questions),
                events: self.sender.clone(),
                waited: ready.map_or(Duration::ZERO, |ready| ready.elapsed()),
            };
            let record = &mut self.stages[stage];
            record.status = StageStatus::Running;
            record.started = Some(Instant::now());
            let task = self
                .tasks
                .spawn(async move { (stage, work.perform().await) });
            self.task_stages.insert(task.id(), stage);
        }
    }

    fn outputs_for(&self, stage: usize) -> Outputs {
        let mut outputs = Outputs::default();
        for input in &self.plan.stages()[stage].inputs {
            let value = match input.source {
                Some(Source::Input) => Some(&self.job),
                Some(Source::Stage(writer)) => self.stages[writer].output.as_ref(),
                None => None,
            };
            if let Some(value) = value {
                outputs.insert(input.kind.clone(), Arc::clone(value));
            }
        }
        outputs
    }

    /// Passes on what a stage says. After its end it has nothing to say: an abandoned task may still be talking.
    fn observe(&mut self, event: Event) {
        let stage = match &event {
            Event::StageStarted { stage, attempt, .. } => {
                if let Some(stage) = self.plan.find(stage) {
                    self.stages[stage].attempts = *attempt;
                }
                stage
            }
            Event::StageProgress { stage, .. }
            | Event::StageLog { stage, .. }
            | Event::StageRetrying { stage, .. } => stage,
            Event::ArtifactWritten { stage, artifact } => {
                let (stage, artifact) = (stage.clone(), artifact.clone());
                if self.is_running(&stage) {
                    self.keep(&artifact);
                    self.queue.push_back(event);
                }
                return;
            }
            Event::QuestionAsked { question } => &question.stage,
            Event::RunStarted { .. }
            | Event::EdgeDecided { .. }
            | Event::ConditionEvaluated { .. }
            | Event::EvidenceKept { .. }
            | Event::StageFinished { .. }
            | Event::RunFinished { .. } => return,
        };
        if self.is_running(stage) {
            self.queue.push_back(event);
        }
    }

    fn is_running(&self, stage: &str) -> bool {
        self.plan
            .find(stage)
            .is_some_and(|stage| self.stages[stage].status == StageStatus::Running)
    }

    fn keep(&mut self, artifact: &Artifact) {
        match self
            .artifacts
            .iter_mut()
            .find(|kept| kept.name == artifact.name)
        {
            Some(kept) => kept.clone_from(artifact),
            None => self.artifacts.push(artifact.clone()),
        }
    }

    /// Everything that a stage said comes before its end.
    fn drain(&mut self) {
        while let Ok(event) = self.receiver.try_recv() {
            self.observe(event);
        }
    }

    fn joined(&mut self, joined: Result<(Id, (usize, Ending)), JoinError>) {
        self.drain();
        match joined {
            Ok((id, (stage, ending))) => {
                self.task_stages.remove(&id);
                self.ended(stage, ending);
            }
            Err(error) => {
                // Handlers' panics are caught in their task: what is left is a task that was aborted.
                if let Some(stage) = self.task_stages.remove(&error.id()) {
                    self.ended(stage, Ending::Stopped);
                }
            }
        }
    }

    fn ended(&mut self, stage: usize, ending: Ending) {
        let (status, reason, output) = self.outcome_of(stage, ending);
        let failure = if let Reason::Error { error, .. } = &reason {
            Some(self.blame(stage, error))
        } else {
            None
        };
        self.conclude(stage, status, reason, output);
        if self.over.is_some() || status == StageStatus::Waiting {
            return;
        }
        let edges = self.decide_edges(stage);
        let handled = edges.iter().any(|&(_, taken)| taken);
        match failure {
            Some(error) if !handled => self.end(Over::Failed { stage, error }),
            _ => self.deliver(edges),
        }
    }

    fn outcome_of(
        &mut self,
        stage: usize,
        ending: Ending,
    ) -> (StageStatus, Reason, Option<Arc<Value>>) {
        let skips = self.plan.stages()[stage].skips_errors;
        match ending {
            Ending::Succeeded(output) => {
                (StageStatus::Succeeded, Reason::Ran, Some(Arc::new(output)))
            }
            Ending::Failed(failure) | Ending::TimedOut(failure) if skips => {
                let Failure {
                    class,
                    error,
                    evidence,
                    ..
                } = failure;
                if let Some(evidence) = evidence {
                    self.keep_evidence(stage, evidence);
                }
                let reason = Reason::ErrorSkipped { class, error };
                (StageStatus::Skipped, reason, None)
            }
            Ending::Failed(failure) => failed(StageStatus::Failed, failure),
            Ending::TimedOut(failure) => failed(StageStatus::TimedOut, failure),
            Ending::Parked(message) => (StageStatus::Waiting, Reason::Parked { message }, None),
            Ending::Stopped => (StageStatus::Cancelled, self.run_ended(), None),
        }
    }

    fn keep_evidence(&mut self, stage: usize, evidence: Value) {
        let planned = &self.plan.stages()[stage];
        self.queue.push_back(Event::EvidenceKept {
            stage: planned.id.to_string(),
            kind: planned.writes.clone(),
            evidence: Some(Arc::new(evidence)),
        });
    }

    fn run_ended(&self) -> Reason {
        let (cause, stage) = match &self.over {
            Some(Over::Failed { stage, .. }) => (EndCause::StageFailed, Some(*stage)),
            Some(Over::Deadline) => (EndCause::Deadline, None),
            Some(Over::Cancelled) | None => (EndCause::Cancelled, None),
        };
        let stage = stage.map(|stage| self.plan.stages()[stage].id.to_string());
        Reason::RunEnded { cause, stage }
    }

    fn blame(&self, stage: usize, error: &str) -> String {
        format!("stage `{}` failed: {error}", self.plan.stages()[stage].id)
    }

    /// Gives a stage its final status.
    pub(super) fn conclude(
        &mut self,
        stage: usize,
        status: StageStatus,
        reason: Reason,
        output: Option<Arc<Value>>,
    ) {
        let planned = &self.plan.stages()[stage];
        let record = &mut self.stages[stage];
        record.status = status;
        record.reason = Some(reason.clone());
        record.seconds = record
            .started
            .map_or(0.0, |started| started.elapsed().as_secs_f64());
        record.output.clone_from(&output);
        self.queue.push_back(Event::StageFinished {
            stage: planned.id.to_string(),
            status,
            reason,
            attempts: record.attempts,
            seconds: record.seconds,
            kind: output.as_ref().map(|_| planned.writes.clone()),
            output,
        });
    }

    /// Ends the run: no further stage starts, and those that run have a few seconds to stop.
    pub(super) fn end(&mut self, over: Over) {
        if self.over.is_none() {
            self.over = Some(over);
            self.ready.clear();
            self.stop.cancel();
            self.stop_by = Some(Instant::now() + GRACE);
        }
    }

    /// Gives up on stages that do not stop.
    fn abandon(&mut self) {
        self.drain();
        self.tasks.abort_all();
        self.tasks.detach_all();
        let mut stages: Vec<usize> = self.task_stages.drain().map(|(_, stage)| stage).collect();
        stages.sort_unstable();
        for stage in stages {
            self.ended(stage, Ending::Stopped);
        }
    }

    fn is_unfinished(&self) -> bool {
        self.stages.iter().any(|record| match record.status {
            StageStatus::Pending | StageStatus::Running | StageStatus::Waiting => true,
            StageStatus::Succeeded
            | StageStatus::Failed
            | StageStatus::TimedOut
            | StageStatus::Skipped
            | StageStatus::NotTaken
            | StageStatus::Cancelled => false,
        })
    }

    fn finish(&mut self) {
        let waiting = StageStatus::Waiting;
        self.status = match &self.over {
            Some(Over::Failed { .. } | Over::Deadline) => RunStatus::Failed,
            Some(Over::Cancelled) => RunStatus::Cancelled,
            None if self.stages.iter().any(|record| record.status == waiting) => RunStatus::Waiting,
            None => RunStatus::Succeeded,
        };
        if self.over.is_some() {
            for stage in 0..self.stages.len() {
                if matches!(
                    self.stages[stage].status,
                    StageStatus::Pending | StageStatus::Running | StageStatus::Waiting
                ) {
                    self.conclude(stage, StageStatus::Cancelled, self.run_ended(), None);
                }
            }
        }
        self.seconds = self.started.elapsed().as_secs_f64();
        self.queue.push_back(Event::RunFinished {
            status: self.status,
            error: self.error(),
            seconds: self.seconds,
        });
    }

    fn error(&self) -> Option<String> {
        match (&self.over, self.status) {
            (Some(Over::Failed { error, .. }), _) => Some(error.clone()),
            (Some(Over::Cancelled), _) => Some("the run was cancelled".to_owned()),
            (Some(Over::Deadline), _) => {
                let deadline = self.plan.deadline().unwrap_or_default();
                Some(format!(
                    "the run took longer than its deadline of {deadline:?}"
                ))
            }
            (None, RunStatus::Waiting) => {
                self.stages
                    .iter()
                    .find_map(|record| match (&record.reason, record.status) {
                        (Some(Reason::Parked { message }), StageStatus::Waiting) => {
                            Some(message.clone())
                        }
                        _ => None,
                    })
            }
            (None, _) => None,
        }
    }

    pub(super) fn all_questions(&self) -> Vec<Question> {
        self.questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Record {
    fn new(unresolved: usize) -> Self {
        Self {
            status: StageStatus::Pending,
            reason: None,
            output: None,
            attempts: 0,
            seconds: 0.0,
            ready: None,
            started: None,
            unresolved,
            taken: false,
        }
    }
}

fn failed(status: StageStatus, failure: Failure) -> (StageStatus, Reason, Option<Arc<Value>>) {
    let Failure {
        class,
        error,
        evidence,
        ..
    } = failure;
    (
        status,
        Reason::Error { class, error },
        evidence.map(Arc::new),
    )
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Drop for Run {
    /// Tells handlers to stop; the set of tasks aborts what does not.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

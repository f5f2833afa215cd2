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

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::attempt::{Ending, Failure, GRACE};
use super::context::{RunEnvironment, Shared};
use super::event::{
    Artifact, EdgeDecision, EndCause, Event, Question, Reason, RunStatus, StageStatus,
};
use super::output::Outputs;
use super::plan::{Plan, Source};
use super::result::{RecordedStage, RunInput, RunResult, StageResult};
use super::tasks::{Alarm, Tasks};

/// An execution of a plan.
pub struct Run {
    pub(super) plan: Arc<Plan>,
    pub(super) job: Arc<Value>,
    pub(super) environment: Arc<RunEnvironment>,
    pub(super) stages: Vec<Record>,
    /// Of edges that were not taken, why not.
    pub(super) untaken: Vec<Option<Box<EdgeDecision>>>,
    /// Stages that can start, each behind its rank; the lowest comes first.
    ready: BinaryHeap<Reverse<(usize, usize)>>,
    pub(super) queue: VecDeque<Event>,
    pub(super) over: Option<Over>,
    recorded: Vec<RecordedStage>,
    artifacts: Vec<Artifact>,
    shared: Arc<Shared>,
    tasks: Tasks,
    /// What stages say, their ends aside.
    said: UnboundedReceiver<Event>,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    alarm: Alarm,
    stop_by: Option<Instant>,
    deadline: Option<Instant>,
    started: Instant,
    /// When a stage or the alarm last woke the run: what is decided between two awaits happens at once.
    now: Instant,
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
        let (events, said) = unbounded_channel();
        let stages = plan.stages().iter();
        let cancel = &input.environment.cancel;
        let cancelled = Box::pin(cancel.clone().cancelled_owned());
        let stop = cancel.child_token();
        let environment = Arc::new(input.environment);
        let shared = Arc::new(Shared {
            environment: Arc::clone(&environment),
            questions: Arc::new(Mutex::new(input.questions)),
            events,
            stop,
        });
        let deadline = plan.deadline();
        Self {
            stages: stages.map(|stage| Record::new(stage.ins.len())).collect(),
            untaken: vec![None; plan.edges().len()],
            job: Arc::new(input.job),
            environment,
            recorded: input.recorded,
            artifacts: Vec::new(),
            ready: BinaryHeap::new(),
            queue: VecDeque::new(),
            over: None,
            tasks: Tasks::new(Arc::clone(&plan), Arc::clone(&shared)),
            shared,
            said,
            cancelled,
            alarm: Alarm::default(),
            stop_by: None,
            deadline: deadline
                .map(|deadline| Instant::now() + deadline.saturating_sub(input.spent)),
            started: Instant::now(),
            now: Instant::now(),
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
        self.now = self.started;
        self.status = RunStatus::Running;
        if let Some(deadline) = self.deadline {
            self.alarm.at_latest(deadline);
        }
        let stages = self.plan.stages().iter();
        self.queue.push_back(Event::RunStarted {
            run_id: self.environment.run_id,
            graph: self.plan.name().to_owned(),
            stages: stages.map(|stage| Arc::clone(&stage.id)).collect(),
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
        if !self.queue.is_empty() {
            return;
        }
        if self.tasks.count() == 0 {
            self.drain();
            self.finish();
            return;
        }
        tokio::select! {
            biased;
            () = self.cancelled.as_mut(), if self.over.is_none() => self.end(Over::Cancelled),
            () = self.alarm.rung() => self.rang(),
            Some(event) = self.said.recv() => self.observe(event),
            Some((stage, ending)) = self.tasks.endings.recv() => self.stopped(stage, ending),
        }
    }

    /// Does what a deadline asks for, and sets the alarm for the next one.
    fn rang(&mut self) {
        let now = Instant::now();
        self.now = now;
        let is_over = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        // Whoever pulls may have been away: what has ended since is not late.
        while let Ok((stage, ending)) = self.tasks.endings.try_recv() {
            self.stopped(stage, ending);
        }
        self.drain();
        if self.over.is_none() && is_over(self.deadline) {
            self.end(Over::Deadline);
        }
        if is_over(self.stop_by) {
            for stage in self.tasks.abandon_all() {
                self.ended(stage, Ending::Stopped);
            }
        }
        for stage in self.tasks.abandon_stuck(now) {
            let timeout = self.plan.stages()[stage].timeout;
            self.ended(stage, Ending::TimedOut(Failure::stuck(timeout)));
        }
        let deadline = self.deadline.filter(|_| self.over.is_none());
        let next = [self.stop_by, deadline, self.tasks.next_stuck()];
        for moment in next.into_iter().flatten().filter(|&at| at > now) {
            self.alarm.at_latest(moment);
        }
    }

    /// Puts a stage among those that can start.
    pub(super) fn make_ready(&mut self, stage: usize) {
        let rank = self.plan.stages()[stage].rank;
        self.ready.push(Reverse((rank, stage)));
        self.stages[stage].ready = Some(self.now);
    }

    /// Starts ready stages as long as there are slots: by rank, then in the plan's order.
    fn launch(&mut self) {
        while self.tasks.count() < self.plan.concurrency() {
            let Some(Reverse((_, stage))) = self.ready.pop() else {
                return;
            };
            let outputs = self.outputs_for(stage);
            let now = Instant::now();
            let record = &mut self.stages[stage];
            record.status = StageStatus::Running;
            record.started = Some(now);
            record.attempts = 1;
            let waited = record.ready.map_or(Duration::ZERO, |ready| now - ready);
            self.queue.push_back(Event::StageStarted {
                stage: Arc::clone(&self.plan.stages()[stage].id),
                attempt: 1,
                waited_seconds: waited.as_secs_f64(),
            });
            let stuck_at = self.tasks.spawn(stage, outputs, now);
            self.alarm.at_latest(stuck_at);
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
        let said_by: &str = match &event {
            Event::StageStarted { stage, .. }
            | Event::StageProgress { stage, .. }
            | Event::StageLog { stage, .. }
            | Event::StageRetrying { stage, .. }
            | Event::ArtifactWritten { stage, .. } => stage,
            Event::QuestionAsked { question } => &question.stage,
            Event::RunStarted { .. }
            | Event::EdgeDecided { .. }
            | Event::ConditionEvaluated { .. }
            | Event::EvidenceKept { .. }
            | Event::StageFinished { .. }
            | Event::RunFinished { .. } => return,
        };
        let is_running = |&stage: &usize| self.stages[stage].status == StageStatus::Running;
        let Some(stage) = self.plan.find(said_by).filter(is_running) else {
            return;
        };
        if let Event::StageStarted { attempt, .. } = &event {
            self.stages[stage].attempts = *attempt;
            let stuck_at = self.tasks.began(stage, Instant::now());
            self.alarm.at_latest(stuck_at);
        } else if let Event::StageRetrying { .. } = &event {
            self.tasks.paused(stage);
        } else if let Event::ArtifactWritten { artifact, .. } = &event {
            self.keep(artifact);
        }
        self.queue.push_back(event);
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

    fn drain(&mut self) {
        while let Ok(event) = self.said.try_recv() {
            self.observe(event);
        }
    }

    /// Takes note of a task's end; what it said comes first. What was given up has ended before.
    fn stopped(&mut self, stage: usize, ending: Ending) {
        self.now = Instant::now();
        self.drain();
        if self.tasks.remove(stage) {
            self.ended(stage, ending);
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
        let stage = stage.map(|stage| Arc::clone(&self.plan.stages()[stage].id));
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
            .map_or(0.0, |started| (self.now - started).as_secs_f64());
        record.output.clone_from(&output);
        self.queue.push_back(Event::StageFinished {
            stage: Arc::clone(&planned.id),
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
            self.shared.stop.cancel();
            let stop_by = Instant::now() + GRACE;
            self.stop_by = Some(stop_by);
            self.alarm.at_latest(stop_by);
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
        self.now = Instant::now();
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
        self.shared
            .questions
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

impl Drop for Run {
    /// Tells handlers to stop; their tasks end with the run.
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

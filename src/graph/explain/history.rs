//! What a run recorded, stage by stage.

use std::collections::BTreeMap;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{AttemptEvidence, AttemptOutcome, ConditionEvidence};
use crate::graph::event::{
    Artifact, EdgeDecision, Event, FailureClass, Question, Reason, StageStatus,
};
use crate::graph::output::Kind;

/// What a run said so far.
#[derive(Debug, Default)]
pub(super) struct History {
    pub stages: BTreeMap<String, Told>,
    /// The stages in the plan's order.
    pub order: Vec<String>,
    /// The last decision of each edge, by its ends.
    pub edges: BTreeMap<(String, String), Option<EdgeDecision>>,
    execution: u32,
}

/// What a run said about a stage.
#[derive(Debug)]
pub(super) struct Told {
    pub status: StageStatus,
    pub reason: Option<Reason>,
    pub condition: Option<ConditionEvidence>,
    pub attempts: Vec<AttemptEvidence>,
    pub wrote: Option<Kind>,
    pub evidence: Option<Kind>,
    pub artifacts: Vec<Artifact>,
    pub questions: Vec<Question>,
    /// When the last attempt began, while it is under way.
    started: Option<OffsetDateTime>,
}

impl Told {
    fn new() -> Self {
        Self {
            status: StageStatus::Pending,
            reason: None,
            condition: None,
            attempts: Vec::new(),
            wrote: None,
            evidence: None,
            artifacts: Vec::new(),
            questions: Vec::new(),
            started: None,
        }
    }

    fn begin_attempt(&mut self, at: OffsetDateTime, execution: u32, attempt: u32, waited: f64) {
        self.status = StageStatus::Running;
        self.reason = None;
        self.started = Some(at);
        self.attempts.push(AttemptEvidence {
            execution,
            attempt,
            started_at: at.format(&Rfc3339).unwrap_or_default(),
            waited_seconds: waited,
            ran_seconds: None,
            outcome: AttemptOutcome::UnderWay,
            class: None,
            error: None,
            delay_seconds: None,
        });
    }

    /// Ends the attempt that is under way, if one is.
    fn end_attempt(&mut self, at: OffsetDateTime) -> Option<&mut AttemptEvidence> {
        let started = self.started.take()?;
        let attempt = self.attempts.last_mut()?;
        attempt.ran_seconds = Some((at - started).as_seconds_f64().max(0.0));
        Some(attempt)
    }

    fn finish(&mut self, at: OffsetDateTime, status: StageStatus, reason: Reason) {
        self.status = status;
        if let Some(attempt) = self.end_attempt(at) {
            attempt.outcome = match &reason {
                Reason::Error { class, error } | Reason::ErrorSkipped { class, error } => {
                    attempt.class = Some(*class);
                    attempt.error = Some(error.clone());
                    failed(*class)
                }
                Reason::Parked { .. } => AttemptOutcome::Parked,
                Reason::RunEnded { .. } => AttemptOutcome::Stopped,
                Reason::Ran
                | Reason::ConditionFalse { .. }
                | Reason::Disabled { .. }
                | Reason::NoEdgeTaken { .. }
                | Reason::Recorded
                | Reason::Reused { .. } => AttemptOutcome::Succeeded,
            };
        }
        self.reason = Some(reason);
    }

    /// Another execution goes on with the run: what was not final is done again.
    fn go_on(&mut self) {
        if self.started.take().is_some()
            && let Some(attempt) = self.attempts.last_mut()
        {
            attempt.outcome = AttemptOutcome::CutOff;
        }
        match self.status {
            StageStatus::Running | StageStatus::Waiting | StageStatus::Cancelled => {
                self.status = StageStatus::Pending;
                self.reason = None;
            }
            StageStatus::Pending
            | StageStatus::Succeeded
            | StageStatus::Failed
            | StageStatus::TimedOut
            | StageStatus::Skipped
            | StageStatus::NotTaken => {}
        }
    }

    fn keep_artifact(&mut self, artifact: Artifact) {
        self.artifacts.retain(|kept| kept.name != artifact.name);
        self.artifacts.push(artifact);
    }

    fn keep_question(&mut self, question: Question) {
        self.questions.retain(|kept| kept.id != question.id);
        self.questions.push(question);
    }
}

const fn failed(class: FailureClass) -> AttemptOutcome {
    match class {
        FailureClass::Timeout => AttemptOutcome::TimedOut,
        FailureClass::Transient
        | FailureClass::Permanent
        | FailureClass::Panic
        | FailureClass::Condition => AttemptOutcome::Failed,
    }
}

impl History {
    /// Begins a history with the stages that are known already.
    pub fn new(stages: &[String]) -> Self {
        let mut history = Self::default();
        for stage in stages {
            history.told(stage);
        }
        history
    }

    /// Takes in the next event.
    pub fn take(&mut self, at: OffsetDateTime, event: Event) {
        match event {
            Event::RunStarted { stages, .. } => {
                self.execution += 1;
                for stage in &stages {
                    self.told(stage);
                }
                self.stages.values_mut().for_each(Told::go_on);
            }
            Event::StageStarted {
                stage,
                attempt,
                waited_seconds,
            } => {
                let execution = self.execution;
                let told = self.told(&stage);
                told.begin_attempt(at, execution, attempt, waited_seconds);
            }
            Event::StageRetrying {
                stage,
                class,
                error,
                delay_seconds,
                ..
            } => {
                if let Some(attempt) = self.told(&stage).end_attempt(at) {
                    attempt.outcome = failed(class);
                    attempt.class = Some(class);
                    attempt.error = Some(error);
                    attempt.delay_seconds = Some(delay_seconds);
                }
            }
            Event::QuestionAsked { question } => {
                self.told(&question.stage.clone()).keep_question(question);
            }
            Event::ArtifactWritten { stage, artifact } => {
                self.told(&stage).keep_artifact(artifact);
            }
            Event::ConditionEvaluated {
                stage,
                expression,
                values,
                holds,
            } => {
                self.told(&stage).condition = Some(ConditionEvidence {
                    expression: expression.to_string(),
                    values,
                    holds,
                });
            }
            Event::EdgeDecided { decision } => {
                let ends = (decision.from.to_string(), decision.to.to_string());
                self.edges.insert(ends, Some(decision));
            }
            Event::EvidenceKept { stage, kind, .. } => self.told(&stage).evidence = Some(kind),
            Event::StageFinished {
                stage,
                status,
                reason,
                kind,
                ..
            } => {
                let told = self.told(&stage);
                told.finish(at, status, reason);
                told.wrote = kind;
            }
            Event::StageProgress { .. } | Event::StageLog { .. } | Event::RunFinished { .. } => {}
        }
    }

    fn told(&mut self, stage: &str) -> &mut Told {
        if !self.stages.contains_key(stage) {
            self.order.push(stage.to_owned());
        }
        let stages = &mut self.stages;
        stages.entry(stage.to_owned()).or_insert_with(Told::new)
    }
}

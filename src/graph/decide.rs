//! Decides edges and stages: conditions, joins, dead paths, and what an earlier execution recorded.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use super::condition::{Decision, EvaluationError, Found, follow};
use super::event::{EdgeDecision, EdgeReason, Event, FailureClass, Question, Reason, StageStatus};
use super::outcome::Outcome;
use super::plan::{Guard, Reference};
use super::result::RecordedStage;
use super::run::{Over, Run};

/// An edge by its index, and whether it is taken.
type Decided = (usize, bool);

impl Run {
    /// Decides every edge that leaves a stage which has its final status.
    pub(super) fn decide_edges(&mut self, stage: usize) -> Vec<Decided> {
        self.decide_rest(stage, HashMap::new())
    }

    /// Decides the edges that leave a stage, those aside that were decided before: that is done once.
    fn decide_rest(
        &mut self,
        stage: usize,
        mut before: HashMap<Arc<str>, EdgeDecision>,
    ) -> Vec<Decided> {
        let plan = Arc::clone(&self.plan);
        let status = self.stages[stage].status;
        let outcome = Outcome::of(status);
        let mut decided = Vec::with_capacity(plan.stages()[stage].outs.len());
        let mut sibling_taken = false;
        for &number in &plan.stages()[stage].outs {
            let edge = &plan.edges()[number];
            if let Some(decision) = before.remove(plan.stages()[edge.to].id.as_ref()) {
                sibling_taken |= decision.taken;
                decided.push((number, decision.taken));
                if !decision.taken {
                    self.untaken[number] = Some(Box::new(decision));
                }
                continue;
            }
            let possible = outcome.is_some_and(|outcome| edge.on.has(outcome));
            let (taken, because) = match &edge.when {
                _ if !possible => (false, EdgeReason::Outcome),
                _ if edge.moot => (true, EdgeReason::NothingEnabled),
                _ if edge.otherwise => (!sibling_taken, EdgeReason::Else { sibling_taken }),
                None => (true, EdgeReason::Unconditional),
                Some(guard) => self.decide_by_condition(guard),
            };
            sibling_taken |= taken;
            let (from, to) = (&plan.stages()[stage].id, &plan.stages()[edge.to].id);
            let failed = if let EdgeReason::ConditionFailed { error, .. } = &because {
                Some(format!("the edge from `{from}` to `{to}`: {error}"))
            } else {
                None
            };
            let decision = EdgeDecision {
                from: Arc::clone(from),
                to: Arc::clone(to),
                taken,
                outcome: status,
                because,
            };
            if !taken {
                self.untaken[number] = Some(Box::new(decision.clone()));
            }
            self.queue.push_back(Event::EdgeDecided { decision });
            if let Some(error) = failed {
                self.end(Over::Failed { stage, error });
                return Vec::new();
            }
            decided.push((number, taken));
        }
        decided
    }

    fn decide_by_condition(&self, guard: &Guard) -> (bool, EdgeReason) {
        let expression = Arc::clone(guard.condition.expression());
        match self.evaluate(guard) {
            Ok(Decision { holds, values }) => (holds, EdgeReason::Condition { expression, values }),
            Err(failed) => {
                let reason = EdgeReason::ConditionFailed {
                    expression,
                    error: failed.to_string(),
                    values: failed.values,
                };
                (false, reason)
            }
        }
    }

    /// Brings decided edges to the stages they enter, and goes on along dead paths and skipped stages.
    pub(super) fn deliver(&mut self, edges: Vec<Decided>) {
        let mut edges = VecDeque::from(edges);
        while let Some((edge, taken)) = edges.pop_front() {
            let stage = self.plan.edges()[edge].to;
            let record = &mut self.stages[stage];
            if self.over.is_some() || record.status != StageStatus::Pending {
                continue;
            }
            record.unresolved -= 1;
            record.taken |= taken;
            if record.unresolved > 0 {
                continue;
            }
            if record.taken {
                edges.extend(self.activate(stage));
            } else {
                let ins = &self.plan.stages()[stage].ins;
                let because = ins
                    .iter()
                    .filter_map(|&edge| self.untaken[edge].as_deref().cloned());
                let reason = Reason::NoEdgeTaken {
                    edges: because.collect(),
                };
                self.conclude(stage, StageStatus::NotTaken, reason, None);
                edges.extend(self.decide_edges(stage));
            }
        }
    }

    /// Makes a stage ready, or skips it and decides its out-edges.
    fn activate(&mut self, stage: usize) -> Vec<Decided> {
        let plan = Arc::clone(&self.plan);
        if let Some(by) = plan.stages()[stage].disabled {
            let reason = Reason::Disabled { by };
            self.conclude(stage, StageStatus::Skipped, reason, None);
            return self.decide_edges(stage);
        }
        let Some(guard) = &plan.stages()[stage].when else {
            self.make_ready(stage);
            return Vec::new();
        };
        let decided = self.evaluate(guard);
        self.tell_condition(stage, guard, &decided);
        match decided {
            Ok(Decision { holds: true, .. }) => {
                self.make_ready(stage);
                Vec::new()
            }
            Ok(Decision {
                holds: false,
                values,
            }) => {
                let expression = Arc::clone(guard.condition.expression());
                let reason = Reason::ConditionFalse { expression, values };
                self.conclude(stage, StageStatus::Skipped, reason, None);
                self.decide_edges(stage)
            }
            Err(error) => {
                let text = error.to_string();
                let reason = Reason::Error {
                    class: FailureClass::Condition,
                    error: text.clone(),
                };
                self.conclude(stage, StageStatus::Failed, reason, None);
                let error = format!("stage `{}`: {text}", plan.stages()[stage].id);
                self.end(Over::Failed { stage, error });
                Vec::new()
            }
        }
    }

    fn tell_condition(
        &mut self,
        stage: usize,
        guard: &Guard,
        decided: &Result<Decision, EvaluationError>,
    ) {
        let (holds, values) = match decided {
            Ok(decision) => (Some(decision.holds), &decision.values),
            Err(error) => (None, &error.values),
        };
        self.queue.push_back(Event::ConditionEvaluated {
            stage: self.plan.stages()[stage].id.to_string(),
            expression: guard.condition.expression().to_owned(),
            values: values.clone(),
            holds,
        });
    }

    fn evaluate(&self, guard: &Guard) -> Result<Decision, EvaluationError> {
        guard.condition.evaluate(|index, path| {
            let depth = path.len();
            match guard.references[index] {
                Reference::Input => follow(&self.job, path, 1),
                Reference::Status(stage) => Found {
                    depth,
                    value: Cow::Owned(self.stages[stage].status.name().into()),
                },
                Reference::Output(stage) => self.output_at(stage, path, 3),
                Reference::Kind(stage) => self.output_at(stage, path, 1),
                Reference::OpenQuestions => Found {
                    depth: 1,
                    value: Cow::Owned(self.open_questions()),
                },
            }
        })
    }

    /// Follows a path into an output; what was not written is null.
    fn output_at(&self, stage: usize, path: &[String], depth: usize) -> Found<'_> {
        match &self.stages[stage].output {
            Some(output) => follow(output, path, depth),
            None => Found {
                depth,
                value: Cow::Owned(Value::Null),
            },
        }
    }

    fn open_questions(&self) -> Value {
        let answers = &self.environment.answers;
        let open = |question: &Question| !answers.contains_key(&question.id);
        let questions = self.all_questions().into_iter().filter(open);
        questions
            .filter_map(|question| serde_json::to_value(question).ok())
            .collect()
    }

    /// Takes over what earlier executions recorded, and activates the rest.
    ///
    /// A stage is kept if it ended and everything before it is kept. What failed is kept if an edge took its failure. What was
    /// taken over from another run is kept even where something before it runs again: so a stage can be repeated alone.
    pub(super) fn resume(&mut self, recorded: Vec<RecordedStage>) {
        let mut recorded: HashMap<usize, RecordedStage> = recorded
            .into_iter()
            .filter_map(|stage| Some((self.plan.find(&stage.id)?, stage)))
            .collect();
        let plan = Arc::clone(&self.plan);
        let mut kept: Vec<Option<Vec<EdgeDecision>>> = Vec::with_capacity(plan.stages().len());
        for (number, stage) in plan.stages().iter().enumerate() {
            let whole = stage
                .ins
                .iter()
                .all(|&edge| kept[plan.edges()[edge].from].is_some());
            let record = recorded.remove(&number);
            kept.push(
                record
                    .filter(|record| (whole || record.reused) && record.has_ended())
                    .map(|record| self.restore(number, record)),
            );
        }
        // All that is kept is in its place before the first edge is delivered: a kept stage is not entered again.
        for (number, decisions) in kept.into_iter().enumerate() {
            let edges = match decisions {
                Some(decisions) => {
                    let by_target = decisions.into_iter().map(|edge| (edge.to.clone(), edge));
                    self.decide_rest(number, by_target.collect())
                }
                None if plan.stages()[number].ins.is_empty() && self.over.is_none() => {
                    self.activate(number)
                }
                None => continue,
            };
            self.deliver(edges);
        }
    }

    fn restore(&mut self, stage: usize, recorded: RecordedStage) -> Vec<EdgeDecision> {
        let record = &mut self.stages[stage];
        record.status = recorded.status;
        record.reason = Some(recorded.reason.unwrap_or(Reason::Recorded));
        record.output = recorded.output;
        record.attempts = recorded.attempts;
        record.seconds = recorded.seconds;
        // A condition that could not be evaluated decided nothing.
        let decides =
            |edge: &EdgeDecision| !matches!(edge.because, EdgeReason::ConditionFailed { .. });
        recorded.decisions.into_iter().filter(decides).collect()
    }
}

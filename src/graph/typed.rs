//! Holds conditions against the schemas of what they read: the graph's input, outputs, statuses and open questions.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;

use super::certain::Shape;
use super::condition::Condition;
use super::diagnostic::Diagnostics;
use super::event::{Question, StageStatus};
use super::handler::Catalog;
use super::infer;
use super::outcome::{Outcome, Outcomes};
use super::output::Kind;
use super::plan::Reference;
use super::resolve::{Draft, inside};
use super::types::Type;

/// The statuses of stages that have ended while their run goes on.
const ENDED: [StageStatus; 5] = [
    StageStatus::Succeeded,
    StageStatus::Failed,
    StageStatus::TimedOut,
    StageStatus::Skipped,
    StageStatus::NotTaken,
];

/// Where a condition stands, as far as what it can read depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// On a stage: what is before it can be read.
    Stage(usize),
    /// On an edge that leaves a stage on some outcomes: the stage itself can be read too.
    After { from: usize, on: Outcomes },
}

/// Whose condition it is, by the draft's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Stage(usize),
    Edge(usize),
}

/// A condition with what its paths refer to.
#[derive(Debug, Clone)]
pub(super) struct Guarded<'a> {
    pub condition: &'a Condition,
    /// Where its text stands, quotes included.
    pub span: Range<usize>,
    pub of: Owner,
    pub at: Place,
    /// For each path, what it refers to; `None` where that is a defect.
    pub references: Vec<Option<Reference>>,
    /// For each path, whether the stage that it reads is certain to have written.
    pub certain: Vec<bool>,
}

impl Guarded<'_> {
    /// Gives the place in the file of bytes of the expression.
    pub(super) fn place(&self, bytes: &Range<usize>, text: &str) -> Range<usize> {
        inside(text, &self.span, self.condition.expression(), bytes)
    }
}

/// A schema that is made once, however often it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Input,
    Questions,
    /// The output of a handler.
    Handler(&'static str),
    /// What a stage declares.
    Stage(usize),
}

/// What is known of the values that conditions read.
pub(super) struct Typing<'a> {
    draft: &'a Draft,
    shape: &'a Shape,
    schemas: HashMap<Key, Arc<Value>>,
}

impl<'a> Typing<'a> {
    pub(super) fn new(
        draft: &'a Draft,
        shape: &'a Shape,
        catalog: Catalog,
        input: Option<&Kind>,
        guarded: &[Guarded<'_>],
    ) -> Self {
        let mut typing = Self {
            draft,
            shape,
            schemas: HashMap::new(),
        };
        for reference in guarded.iter().flat_map(|guarded| &guarded.references) {
            let Some(key) = reference.and_then(|reference| typing.key(reference)) else {
                continue;
            };
            if typing.schemas.contains_key(&key) {
                continue;
            }
            let schema = match key {
                Key::Input => {
                    let of_this = catalog.inputs.iter().find(|of| Some(&of.kind) == input);
                    of_this.map(|input| Arc::new((input.schema)()))
                }
                Key::Questions => Some(Arc::new(schemars::schema_for!(Vec<Question>).to_value())),
                Key::Handler(_) | Key::Stage(_) => reference.and_then(|r| typing.output(r)),
            };
            typing.schemas.extend(schema.map(|schema| (key, schema)));
        }
        typing
    }

    fn key(&self, reference: Reference) -> Option<Key> {
        match reference {
            Reference::Input => Some(Key::Input),
            Reference::OpenQuestions => Some(Key::Questions),
            Reference::Status(_) => None,
            Reference::Output(stage) | Reference::Kind(stage) => {
                let built = self.draft.stages[stage].handler.as_ref()?;
                Some(match built.of.interface {
                    Some(_) => Key::Handler(built.of.name),
                    None => Key::Stage(stage),
                })
            }
        }
    }

    fn output(&self, reference: Reference) -> Option<Arc<Value>> {
        let (Reference::Output(stage) | Reference::Kind(stage)) = reference else {
            return None;
        };
        let built = self.draft.stages[stage].handler.as_ref()?;
        Some(built.interface.schema.get())
    }

    /// Gives what a path of a condition begins with, and how many segments that are. `narrow` leaves out the statuses that the
    /// stage cannot have at that place.
    pub(super) fn variable(
        &self,
        guarded: &Guarded<'_>,
        segments: &[&str],
        narrow: bool,
    ) -> Option<(Type<'_>, usize)> {
        let paths = guarded.condition.paths();
        let path = paths.iter().position(|path| path.segments == segments)?;
        let reference = guarded.references[path]?;
        if let Reference::Status(stage) = reference {
            let statuses = if narrow {
                self.statuses(stage, guarded.at, guarded.certain[path])
            } else {
                ENDED.to_vec()
            };
            let names = statuses.into_iter().map(|status| status.name().into());
            return Some((Type::one_of(names.collect()), 3));
        }
        let schema = self.schemas.get(&self.key(reference)?)?;
        let found = Type::read(schema, schema);
        Some(match reference {
            Reference::Output(_) if guarded.certain[path] => (found, 3),
            Reference::Output(_) => (found.or_null(), 3),
            Reference::Kind(_) => (found.or_null(), 1),
            Reference::Input | Reference::OpenQuestions | Reference::Status(_) => (found, 1),
        })
    }

    /// Gives the statuses that a stage can have where a condition reads it. What is left out today can run tomorrow: whether a
    /// stage is disabled is not weighed.
    fn statuses(&self, stage: usize, at: Place, certain: bool) -> Vec<StageStatus> {
        if certain {
            return vec![StageStatus::Succeeded];
        }
        let possible = self.shape.possible(stage);
        let (outcomes, can_be_untaken) = match at {
            Place::After { from, on } if from == stage => (possible.and(on), false),
            Place::After { .. } | Place::Stage(_) => (possible, !self.shape.ins[stage].is_empty()),
        };
        let mut statuses = Vec::new();
        for outcome in Outcome::ALL.into_iter().filter(|o| outcomes.has(*o)) {
            match outcome {
                Outcome::Succeeded => {
                    statuses.push(StageStatus::Succeeded);
                    statuses.extend(self.shape.may_skip[stage].then_some(StageStatus::Skipped));
                }
                Outcome::Failed => statuses.push(StageStatus::Failed),
                Outcome::TimedOut => statuses.push(StageStatus::TimedOut),
            }
        }
        statuses.extend(can_be_untaken.then_some(StageStatus::NotTaken));
        statuses
    }

    /// Reports what is certain to be wrong with the types of conditions.
    pub(super) fn report(&self, conditions: &[Guarded<'_>], found: &mut Diagnostics) {
        for guarded in conditions {
            let condition = guarded.condition;
            let variables = |segments: &[&str]| self.variable(guarded, segments, false);
            for problem in infer::problems(condition.root(), condition.expression(), &variables) {
                let span = guarded.place(&problem.span, found.text());
                found.error(problem.code, span, problem.message, problem.help);
            }
        }
    }
}

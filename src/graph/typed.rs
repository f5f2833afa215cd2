//! Holds conditions against the schemas of what they read: the graph's input, outputs, statuses and open questions.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use foldhash::{HashMap, HashSet};
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
    StageStatus::Skipped,
    StageStatus::Failed,
    StageStatus::TimedOut,
    StageStatus::NotTaken,
];

/// A set of [`ENDED`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Statuses(u8);

impl Statuses {
    const ENDED: Self = Self((1 << ENDED.len()) - 1);

    fn with(self, status: StageStatus) -> Self {
        let place = ENDED.iter().position(|ended| *ended == status);
        Self(self.0 | place.map_or(0, |place| 1 << place))
    }

    fn list(self) -> impl Iterator<Item = StageStatus> {
        let has = move |place: &usize| self.0 & (1 << place) != 0;
        (0..ENDED.len()).filter(has).map(|place| ENDED[place])
    }
}

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

/// The schemas of what conditions read.
#[derive(Default)]
pub(super) struct Schemas(HashMap<Key, Arc<Value>>);

impl Schemas {
    pub(super) fn new(
        draft: &Draft,
        catalog: Catalog,
        input: Option<&Kind>,
        guarded: &[Guarded<'_>],
    ) -> Self {
        let mut schemas = HashMap::default();
        for &reference in guarded.iter().flat_map(|guarded| &guarded.references) {
            let Some(key) = reference.and_then(|reference| key(draft, reference)) else {
                continue;
            };
            if schemas.contains_key(&key) {
                continue;
            }
            let schema = match key {
                Key::Input => {
                    let of_this = catalog.inputs.iter().find(|of| Some(&of.kind) == input);
                    of_this.map(|input| Arc::new((input.schema)()))
                }
                Key::Questions => Some(Arc::new(schemars::schema_for!(Vec<Question>).to_value())),
                Key::Handler(_) | Key::Stage(_) => reference.and_then(|of| output(draft, of)),
            };
            schemas.extend(schema.map(|schema| (key, schema)));
        }
        Self(schemas)
    }
}

fn key(draft: &Draft, reference: Reference) -> Option<Key> {
    match reference {
        Reference::Input => Some(Key::Input),
        Reference::OpenQuestions => Some(Key::Questions),
        Reference::Status(_) => None,
        Reference::Output(stage) | Reference::Kind(stage) => {
            let built = draft.stages[stage].handler.as_ref()?;
            Some(match built.of.interface {
                Some(_) => Key::Handler(built.of.name),
                None => Key::Stage(stage),
            })
        }
    }
}

fn output(draft: &Draft, reference: Reference) -> Option<Arc<Value>> {
    let (Reference::Output(stage) | Reference::Kind(stage)) = reference else {
        return None;
    };
    let built = draft.stages[stage].handler.as_ref()?;
    Some(built.interface.schema.get())
}

/// What is known of the value that a path of a condition leads to, by what it depends on beside the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Known {
    Nothing,
    Status(Statuses),
    /// It stands below a schema, whose beginning may be null.
    Below(Key, bool),
}

/// Conditions that are alike: they are of one pattern, and the same is known of what they read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Alike {
    pattern: usize,
    known: Vec<Known>,
}

/// A path below a schema, and whether its beginning may be null.
type Followed = (Key, bool, Vec<String>);

/// What is known of the values that conditions read.
pub(super) struct Typing<'a> {
    draft: &'a Draft,
    shape: &'a Shape,
    schemas: &'a Schemas,
    /// What whole paths lead to: conditions read the same few again and again.
    followed: RefCell<HashMap<Followed, Option<Type<'a>>>>,
}

impl<'a> Typing<'a> {
    pub(super) fn new(draft: &'a Draft, shape: &'a Shape, schemas: &'a Schemas) -> Self {
        Self {
            draft,
            shape,
            schemas,
            followed: RefCell::default(),
        }
    }

    /// Gives what a path of a condition leads to, or where it leads nowhere what it begins with, and how many segments that are. `narrow` leaves out the statuses that the
    /// stage cannot have at that place.
    pub(super) fn variable(
        &self,
        guarded: &Guarded<'_>,
        segments: &[&str],
        narrow: bool,
    ) -> Option<(Type<'a>, usize)> {
        let paths = guarded.condition.paths();
        let path = paths.iter().position(|path| path.segments == segments)?;
        let (key, nullable) = match self.known(guarded, path, narrow) {
            Known::Nothing => return None,
            Known::Status(statuses) => {
                let names = statuses.list().map(|status| status.name().into());
                return Some((Type::one_of(names.collect()), 3));
            }
            Known::Below(key, nullable) => (key, nullable),
        };
        let depth = match guarded.references[path]? {
            Reference::Output(_) | Reference::Status(_) => 3,
            Reference::Kind(_) | Reference::Input | Reference::OpenQuestions => 1,
        };
        let schema = self.schemas.0.get(&key)?;
        let start = || {
            let found = Type::read(schema, schema);
            if nullable { found.or_null() } else { found }
        };
        let rest = &segments[depth.min(segments.len())..];
        let mut followed = self.followed.borrow_mut();
        let whole = followed
            .entry((
                key,
                nullable,
                rest.iter().map(|&name| name.into()).collect(),
            ))
            .or_insert_with(|| infer::follow(start(), rest));
        Some(match whole {
            Some(whole) => (whole.clone(), segments.len()),
            None => (start(), depth),
        })
    }

    fn known(&self, guarded: &Guarded<'_>, path: usize, narrow: bool) -> Known {
        let Some(reference) = guarded.references[path] else {
            return Known::Nothing;
        };
        let certain = guarded.certain[path];
        let nullable = match reference {
            Reference::Status(stage) if narrow => {
                return Known::Status(self.statuses(stage, guarded.at, certain));
            }
            Reference::Status(_) => return Known::Status(Statuses::ENDED),
            Reference::Output(_) => !certain,
            Reference::Kind(_) => true,
            Reference::Input | Reference::OpenQuestions => false,
        };
        key(self.draft, reference).map_or(Known::Nothing, |key| Known::Below(key, nullable))
    }

    /// Gives what a condition has in common with those of which the same is true; `None` where it is of no pattern.
    pub(super) fn alike(&self, guarded: &Guarded<'_>, narrow: bool) -> Option<Alike> {
        let pattern = guarded.condition.pattern()?;
        let paths = 0..guarded.references.len();
        let known = paths
            .map(|path| self.known(guarded, path, narrow))
            .collect();
        Some(Alike { pattern, known })
    }

    /// Gives the statuses that a stage can have where a condition reads it. What is left out today can run tomorrow: whether a
    /// stage is disabled is not weighed.
    fn statuses(&self, stage: usize, at: Place, certain: bool) -> Statuses {
        let none = Statuses::default();
        if certain {
            return none.with(StageStatus::Succeeded);
        }
        let possible = self.shape.possible(stage);
        let (outcomes, can_be_untaken) = match at {
            Place::After { from, on } if from == stage => (possible.and(on), false),
            Place::After { .. } | Place::Stage(_) => (possible, !self.shape.ins[stage].is_empty()),
        };
        let of_outcomes = Outcome::ALL.into_iter().filter(|o| outcomes.has(*o));
        let statuses = of_outcomes.fold(none, |statuses, outcome| match outcome {
            Outcome::Succeeded if self.shape.may_skip[stage] => statuses
                .with(StageStatus::Succeeded)
                .with(StageStatus::Skipped),
            Outcome::Succeeded => statuses.with(StageStatus::Succeeded),
            Outcome::Failed => statuses.with(StageStatus::Failed),
            Outcome::TimedOut => statuses.with(StageStatus::TimedOut),
        });
        if can_be_untaken {
            statuses.with(StageStatus::NotTaken)
        } else {
            statuses
        }
    }

    /// Reports what is certain to be wrong with the types of conditions.
    pub(super) fn report(&self, conditions: &[Guarded<'_>], found: &mut Diagnostics) {
        let mut sound: HashSet<Alike> = HashSet::default();
        for guarded in conditions {
            let alike = self.alike(guarded, false);
            if alike.as_ref().is_some_and(|alike| sound.contains(alike)) {
                continue;
            }
            let condition = guarded.condition;
            let variables = |segments: &[&str]| self.variable(guarded, segments, false);
            let problems = infer::problems(condition.root(), condition.expression(), &variables);
            if problems.is_empty() {
                sound.extend(alike);
            }
            for problem in problems {
                let span = guarded.place(&problem.span, found.text());
                found.error(problem.code, span, problem.message, problem.help);
            }
        }
    }
}

//! What is likely not meant: warnings of a graph that could run. Silent where it is not sure.

use std::ops::ControlFlow;

use foldhash::{HashMap, HashSet};
use serde_json::Value;

use super::certain::Shape;
use super::condition::Condition;
use super::diagnostic::Diagnostics;
use super::domain::{self, Given, Values};
use super::infer::path_type;
use super::outcome::{Outcome, Outcomes};
use super::plan::{Reference, Source, StageInput};
use super::references::{bit_of, chunks_by};
use super::resolve::{Draft, DraftEdge};
use super::typed::{Alike, Guarded, Owner, Place, Typing};

/// Conditions of one stage's edges that are tried together.
const COMPARED: usize = 32;

/// A proved graph, as far as warnings depend on it.
pub(super) struct Lint<'a> {
    pub draft: &'a Draft,
    pub shape: &'a Shape,
    pub typing: &'a Typing<'a>,
    pub conditions: &'a [Guarded<'a>],
    pub inputs: &'a HashMap<usize, Vec<StageInput>>,
}

/// Why an edge is never taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Never {
    /// Its condition.
    Condition(usize),
    /// A sibling is taken whenever it could be.
    Else,
    /// The stage that it leaves never runs.
    From,
}

impl Lint<'_> {
    pub(super) fn warn(&self, found: &mut Diagnostics) {
        let constants = self.given(found);
        let told = self.unreachable(&constants, found);
        self.constants(&constants, &told, found);
        self.branches(found);
        self.unread(found);
        self.retried(found);
        self.skipped_outputs(found);
    }

    /// Says what each condition always gives. That it always fails is certain, and no warning.
    fn given(&self, found: &mut Diagnostics) -> Vec<Option<bool>> {
        // Conditions on different stages are nearly all alike.
        let mut known: HashMap<Alike, Option<Given>> = HashMap::default();
        let mut constants = Vec::with_capacity(self.conditions.len());
        for guarded in self.conditions {
            let find = || domain::constant(guarded.condition, &|path| self.values(guarded, path));
            let given = match self.typing.alike(guarded, true) {
                Some(alike) => *known.entry(alike).or_insert_with(find),
                None => find(),
            };
            constants.push(match given {
                Some(Given::Bool(holds)) => Some(holds),
                Some(Given::Error) => {
                    found.error(
                        "always-fails",
                        guarded.span.clone(),
                        "whatever this condition reads, it cannot be evaluated",
                        Some(
                            "see what its functions and operators take: https://cel.dev".to_owned(),
                        ),
                    );
                    None
                }
                Some(Given::Unknown) | None => None,
            });
        }
        constants
    }

    /// Gives the values that a path of a condition can have, where they are few.
    fn values(&self, guarded: &Guarded<'_>, path: &[String]) -> Option<Values> {
        let variables = |segments: &[&str]| self.typing.variable(guarded, segments, true);
        let found = path_type(path, &variables)?;
        let mut values: Values = found.values?.into_iter().map(Some).collect();
        if found.absent {
            values.push(None);
        }
        Some(values)
    }

    fn id(&self, stage: usize) -> &str {
        self.draft.stages[stage].id.get_ref()
    }

    /// Reports stages that nothing activates. Gives the conditions that are to blame: what is wrong with them is said.
    fn unreachable(&self, constants: &[Option<bool>], found: &mut Diagnostics) -> HashSet<usize> {
        let mut never: Vec<Option<Never>> = vec![None; self.draft.edges.len()];
        for (number, guarded) in self.conditions.iter().enumerate() {
            if let (Owner::Edge(edge), Some(false)) = (guarded.of, constants[number]) {
                never[edge] = Some(Never::Condition(number));
            }
        }
        let mut told = HashSet::default();
        let mut dead = vec![false; self.draft.stages.len()];
        for &stage in &self.shape.order {
            let ins = &self.shape.ins[stage];
            dead[stage] = !ins.is_empty() && ins.iter().all(|&edge| never[edge].is_some());
            if dead[stage] {
                self.report_unreachable(stage, ins, &never, found);
                told.extend(ins.iter().filter_map(|&edge| match never[edge] {
                    Some(Never::Condition(number)) => Some(number),
                    Some(Never::Else | Never::From) | None => None,
                }));
            }
            for &edge in &self.shape.outs[stage] {
                if dead[stage] {
                    never[edge] = Some(Never::From);
                } else if self.is_idle_else(edge) {
                    never[edge] = Some(Never::Else);
                    self.report_idle_else(&self.draft.edges[edge], found);
                }
            }
        }
        told
    }

    /// What follows an unreachable stage is unreachable too, and an `else` that is never taken is told where it stands.
    fn report_unreachable(
        &self,
        stage: usize,
        ins: &[usize],
        never: &[Option<Never>],
        found: &mut Diagnostics,
    ) {
        let conditions = ins.iter().filter_map(|&edge| match never[edge] {
            Some(Never::Condition(number)) => Some(number),
            Some(Never::Else | Never::From) | None => None,
        });
        let mut conditions: Vec<usize> = conditions.collect();
        let Some(first) = conditions.pop() else {
            return;
        };
        let (span, why) = if conditions.is_empty() && ins.len() == 1 {
            let condition = &self.conditions[first];
            (
                condition.span.clone(),
                "the condition of its only edge is always false",
            )
        } else {
            let span = self.draft.stages[stage].id.span();
            (span, "the conditions of its edges are always false")
        };
        found.warning(
            "unreachable",
            span,
            format!("`{}` is never activated: {why}", self.id(stage)),
            Some("mend the condition, or leave the edge out".to_owned()),
        );
    }

    fn siblings(&self, edge: &DraftEdge) -> impl Iterator<Item = &DraftEdge> {
        let outs = self.shape.outs[edge.from].iter();
        outs.map(|&sibling| &self.draft.edges[sibling])
    }

    fn is_idle_else(&self, edge: usize) -> bool {
        let edge = &self.draft.edges[edge];
        if !edge.otherwise {
            return false;
        }
        let plain = self
            .siblings(edge)
            .filter(|sibling| !sibling.has_when && !sibling.otherwise);
        let always = plain.fold(Outcomes::default(), |all, sibling| all.or(sibling.on));
        self.shape.possible(edge.from).and(edge.on).within(always)
    }

    fn report_idle_else(&self, edge: &DraftEdge, found: &mut Diagnostics) {
        let message = format!(
            "this `else` is never taken: another edge leaves `{}` without a condition",
            self.id(edge.from)
        );
        let help = "leave the `else` edge out, or give the other a `when`";
        found.warning(
            "idle-else",
            edge.span.clone(),
            message,
            Some(help.to_owned()),
        );
    }

    fn constants(
        &self,
        constants: &[Option<bool>],
        told: &HashSet<usize>,
        found: &mut Diagnostics,
    ) {
        for (number, guarded) in self.conditions.iter().enumerate() {
            let (Some(holds), false) = (constants[number], told.contains(&number)) else {
                continue;
            };
            let (code, help) = match (holds, guarded.of) {
                (true, _) => ("always-true", "leave the `when` out"),
                (false, Owner::Edge(_)) => ("always-false", "leave the edge out"),
                (false, Owner::Stage(_)) => (
                    "always-false",
                    "say `disabled = true`, or leave the stage out",
                ),
            };
            let message = format!("this condition is always {holds}");
            found.warning(code, guarded.span.clone(), message, Some(help.to_owned()));
        }
    }

    /// Several conditions leave a stage, and where none of them holds nothing goes on.
    fn branches(&self, found: &mut Diagnostics) {
        let mut of_edge: HashMap<usize, &Guarded<'_>> = HashMap::default();
        for guarded in self.conditions {
            if let Owner::Edge(edge) = guarded.of {
                of_edge.insert(edge, guarded);
            }
        }
        for stage in 0..self.draft.stages.len() {
            let outs = &self.shape.outs[stage];
            let guarded: Vec<_> = outs.iter().filter_map(|edge| of_edge.get(edge)).collect();
            if guarded.len() < 2 {
                continue;
            }
            let possible = self.shape.possible(stage);
            let open = Outcome::ALL.into_iter().find(|&outcome| {
                let only = Outcomes::default().with(outcome);
                possible.has(outcome) && self.is_open(outs, &guarded, only)
            });
            if let Some(outcome) = open {
                found.warning(
                    "not-exhaustive",
                    self.draft.stages[stage].id.span(),
                    format!(
                        "where `{}` has {} and none of its {} conditions holds, no edge is taken",
                        self.id(stage),
                        outcome.name().replace('_', " "),
                        guarded.len()
                    ),
                    Some("make one of its edges `else = true`".to_owned()),
                );
            }
        }
    }

    /// Says whether it can be that no edge is taken on an outcome, of those with conditions that there are for it.
    fn is_open(&self, outs: &[usize], guarded: &[&&Guarded<'_>], outcome: Outcomes) -> bool {
        let edges = outs.iter().map(|&edge| &self.draft.edges[edge]);
        let mut others = edges.filter(|edge| !edge.has_when && outcome.within(edge.on));
        if others.next().is_some() {
            return false;
        }
        let narrowed: Vec<Guarded<'_>> = guarded
            .iter()
            .filter_map(|guarded| match guarded.at {
                Place::After { from, on } if outcome.within(on) => Some(Guarded {
                    at: Place::After { from, on: outcome },
                    ..(**guarded).clone()
                }),
                Place::After { .. } | Place::Stage(_) => None,
            })
            .collect();
        if narrowed.is_empty() || narrowed.len() > COMPARED {
            return false;
        }
        let conditions: Vec<&Condition> = narrowed.iter().map(|g| g.condition).collect();
        let values = |number: usize, path: &[String]| self.values(&narrowed[number], path);
        let closed = domain::each_combination(&conditions, &values, &mut |given| {
            let taken = given.contains(&Given::Bool(true));
            let fails = given.contains(&Given::Error) && !given.contains(&Given::Unknown);
            if taken || fails {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        !closed
    }

    /// People read what last stages and stages with side effects write; other outputs are for other stages and for conditions.
    fn unread(&self, found: &mut Diagnostics) {
        let mut read = HashSet::default();
        for input in self.inputs.values().flatten() {
            if let Some(Source::Stage(stage)) = input.source {
                read.insert(stage);
            }
        }
        for reference in self
            .conditions
            .iter()
            .flat_map(|guarded| &guarded.references)
        {
            if let Some(Reference::Output(stage) | Reference::Kind(stage)) = reference {
                read.insert(*stage);
            }
        }
        // What is disabled today reads tomorrow, and is read tomorrow.
        let (mut by_disabled, mut by_any) = (HashSet::default(), HashSet::default());
        for stage in &self.draft.stages {
            for read in stage.handler.iter().flat_map(|it| &it.interface.reads) {
                by_any.insert(&read.kind);
                if stage.disabled.is_some() {
                    by_disabled.insert(&read.kind);
                }
            }
        }
        for (number, stage) in self.draft.stages.iter().enumerate() {
            let Some(built) = &stage.handler else {
                continue;
            };
            let kind = &built.interface.writes;
            let for_people = built.of.side_effects || built.of.for_people;
            let is_last = self.shape.outs[number].is_empty();
            let reads = if stage.disabled.is_some() {
                &by_any
            } else {
                &by_disabled
            };
            if for_people || is_last || read.contains(&number) || reads.contains(kind) {
                continue;
            }
            found.warning(
                "output-never-read",
                stage.id.span(),
                format!(
                    "no stage and no condition reads `{kind}`, which `{}` writes",
                    self.id(number)
                ),
                Some(
                    "leave the stage out, or put one behind it that reads what it writes"
                        .to_owned(),
                ),
            );
        }
    }

    fn retried(&self, found: &mut Diagnostics) {
        for stage in &self.draft.stages {
            if let Some(span) = &stage.retried {
                found.warning(
                    "retried-side-effects",
                    span.clone(),
                    format!(
                        "what `{}` does can be seen from outside, and another attempt does it again",
                        stage.id.get_ref()
                    ),
                    Some("keep one attempt, unless doing it twice does no harm".to_owned()),
                );
            }
        }
    }

    /// Conditions that are evaluated where a stage was skipped, and that read its output without asking.
    fn skipped_outputs(&self, found: &mut Diagnostics) {
        let mut reads: Vec<(usize, usize, usize)> = Vec::new();
        for (number, guarded) in self.conditions.iter().enumerate() {
            for (path, reference) in guarded.references.iter().enumerate() {
                let (stage, root) = match reference {
                    Some(Reference::Output(stage)) => (*stage, 3),
                    Some(Reference::Kind(stage)) => (*stage, 1),
                    Some(Reference::Input | Reference::Status(_) | Reference::OpenQuestions)
                    | None => continue,
                };
                let skips =
                    self.shape.may_skip[stage] && self.draft.stages[stage].disabled.is_none();
                if skips && guarded.condition.paths()[path].segments.len() > root {
                    reads.push((stage, number, path));
                }
            }
        }
        reads.sort_unstable();
        for (tracked, reads) in chunks_by(&reads, |read| read.0) {
            let behind = self.shape.behind_skipped(&tracked);
            for &(stage, number, path) in reads {
                let guarded = &self.conditions[number];
                let comes = match guarded.at {
                    Place::After { from, on } if from == stage => on.has(Outcome::Succeeded),
                    Place::After { from: at, .. } | Place::Stage(at) => {
                        behind[at] & bit_of(&tracked, stage) != 0
                    }
                };
                if comes && self.fails_when_skipped(guarded, stage) {
                    let span = &guarded.condition.paths()[path].span;
                    let id = self.id(stage);
                    found.warning(
                        "skipped-output",
                        guarded.place(span, found.text()),
                        format!("where `{id}` is skipped, this condition cannot be evaluated, and the run fails"),
                        Some(format!("ask first: `stages.{id}.status == 'succeeded' && …`")),
                    );
                }
            }
        }
    }

    /// Says whether a condition has no value where a stage was skipped.
    fn fails_when_skipped(&self, guarded: &Guarded<'_>, stage: usize) -> bool {
        let values = |path: &[String]| {
            let paths = guarded.condition.paths();
            let number = paths.iter().position(|known| known.segments == path)?;
            match guarded.references[number]? {
                Reference::Status(of) if of == stage => Some(vec![Some("skipped".into())]),
                // Without an output there is nothing in it.
                Reference::Output(of) if of == stage => {
                    Some(vec![(path.len() == 3).then_some(Value::Null)])
                }
                Reference::Kind(of) if of == stage => {
                    Some(vec![(path.len() == 1).then_some(Value::Null)])
                }
                Reference::Input
                | Reference::Status(_)
                | Reference::Output(_)
                | Reference::Kind(_)
                | Reference::OpenQuestions => {
                    let mut values = self.values(guarded, path)?;
                    values.retain(Option::is_some);
                    Some(values)
                }
            }
        };
        let mut fails = false;
        domain::each_combination(
            &[guarded.condition],
            &|_, path| values(path),
            &mut |given| {
                fails = given[0] == Given::Error;
                if fails {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            },
        );
        fails
    }
}

//! A plan: a graph that is proved to be sound, in the order in which it runs.
//!
//! `Plan::build` is pure: no I/O, no tasks. Its phases, each on what the ones before it left standing, so that one defect gives
//! one diagnostic:
//!
//! 1. `resolve`: stages, handlers, parameters, edges, conditions.
//! 2. `order`: cycles, and the topological order.
//! 3. `references`: what conditions and handlers read, who writes it, and whether that is certain.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::condition::Condition;
use super::diagnostic::Diagnostics;
use super::event::DisabledBy;
use super::file::{GraphFile, RetryOn};
use super::handler::{Catalog, ErasedHandler, HandlerType, Interface, OutputSchema};
use super::outcome::Outcomes;
use super::output::Kind;
use super::resolve::Built;
use super::{order, references, rehearsal, resolve};

/// How many stages run at the same time where the graph does not say.
const CONCURRENCY: usize = 4;

/// A graph that can run.
#[derive(Debug)]
pub struct Plan {
    name: String,
    description: Option<String>,
    input: Option<Kind>,
    concurrency: usize,
    deadline: Option<Duration>,
    stages: Vec<Stage>,
    edges: Vec<Edge>,
    index: HashMap<Arc<str>, usize>,
    warnings: Diagnostics,
}

/// A stage of a plan.
pub struct Stage {
    /// Its id.
    pub id: Arc<str>,
    /// What performs it.
    pub handler: HandlerType,
    /// The handler's parameters.
    pub with: Value,
    /// Its own condition.
    pub when: Option<Guard>,
    /// Who leaves it out, if somebody does: it is skipped, whatever its condition says.
    pub disabled: Option<DisabledBy>,
    /// Whether a failure counts as skipped.
    pub skips_errors: bool,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// When another attempt follows.
    pub retry: Retry,
    /// What it reads, and from where.
    pub inputs: Vec<StageInput>,
    /// The kind it writes.
    pub writes: Kind,
    /// The JSON Schema of what it writes.
    pub schema: OutputSchema,
    /// The longest way to it from a root, in edges: of stages that are ready at the same time the nearest starts first, so that
    /// no branch runs ahead of the others.
    pub rank: usize,
    /// Its in-edges, as indices of [`Plan::edges`].
    pub ins: Vec<usize>,
    /// Its out-edges, as indices of [`Plan::edges`], the `else` edge last.
    pub outs: Vec<usize>,
    pub(super) built: Arc<dyn ErasedHandler>,
}

impl Stage {
    /// Gives what it exchanges with other stages.
    #[must_use]
    pub fn interface(&self) -> Interface {
        self.built.interface()
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage")
            .field("id", &self.id)
            .field("handler", &self.handler)
            .finish_non_exhaustive()
    }
}

/// An edge of a plan.
#[derive(Debug)]
pub struct Edge {
    /// The stage it leaves, as an index of [`Plan::stages`].
    pub from: usize,
    /// The stage it enters, as an index of [`Plan::stages`].
    pub to: usize,
    /// Outcomes of `from` that take it.
    pub on: Outcomes,
    /// Its condition.
    pub when: Option<Guard>,
    /// Whether it is taken where none of its siblings is.
    pub otherwise: bool,
    /// Whether it leaves a disabled stage behind which nothing is enabled: there is nothing to decide.
    pub moot: bool,
}

/// What a job leaves out of a graph.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Stages that are left out.
    pub skip: Vec<String>,
    /// Where there are any, all others are left out.
    pub only: Vec<String>,
}

impl Selection {
    /// Says whether a stage is left out.
    #[must_use]
    pub fn leaves_out(&self, stage: &str) -> bool {
        let names = |list: &[String]| list.iter().any(|named| named == stage);
        names(&self.skip) || (!self.only.is_empty() && !names(&self.only))
    }

    /// Gives every stage that is named, with the key that names it.
    pub(super) fn named(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let skip = self.skip.iter().map(|id| ("skip", id.as_str()));
        skip.chain(self.only.iter().map(|id| ("only", id.as_str())))
    }
}

/// A condition with what each of its paths refers to.
#[derive(Debug)]
pub struct Guard {
    /// The condition.
    pub condition: Condition,
    /// For each of the condition's paths, what it refers to.
    pub references: Vec<Reference>,
}

/// What a path of a condition refers to. Stages are indices of [`Plan::stages`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    /// A field of the graph's input.
    Input,
    /// `stages.ID.status`.
    Status(usize),
    /// `stages.ID.output`, and what is in it.
    Output(usize),
    /// An output by its kind.
    Kind(usize),
    /// The run's questions without an answer.
    OpenQuestions,
}

/// When another attempt follows a failed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts, the first included.
    pub attempts: u32,
    /// The delay before the second attempt; it doubles from there.
    pub base: Duration,
    /// The longest delay.
    pub max: Duration,
    /// The failures that another attempt follows.
    pub on: RetryOn,
}

/// A kind that a stage reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageInput {
    /// The kind.
    pub kind: Kind,
    /// Whether the stage cannot run without it.
    pub required: bool,
    /// Who writes it; `None` where nobody does and it may be absent.
    pub source: Option<Source>,
}

/// Who writes a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It is the graph's input.
    Input,
    /// A stage, as an index of [`Plan::stages`].
    Stage(usize),
}

impl Plan {
    /// Proves a graph and puts it in order.
    ///
    /// # Errors
    /// Gives every defect of the file at once, warnings included.
    pub fn build(file: &GraphFile, catalog: impl Into<Catalog>) -> Result<Self, Diagnostics> {
        Self::select(file, catalog, &Selection::default())
    }

    /// Proves a graph of which a job leaves something out, and puts it in order.
    ///
    /// # Errors
    /// As [`Self::build`]; or what is left out is needed, or is not there.
    pub fn select(
        file: &GraphFile,
        catalog: impl Into<Catalog>,
        selection: &Selection,
    ) -> Result<Self, Diagnostics> {
        let catalog = catalog.into();
        let mut found = file.problems().clone();
        let draft = resolve::resolve(file, catalog.handlers, selection, &mut found);
        if found.is_enough() {
            return Err(found);
        }
        rehearsal::check(file, &draft, catalog, &mut found);
        let ends = draft.edges.iter().map(|edge| (edge.from, edge.to));
        let order = match order::topological(draft.stages.len(), ends) {
            Ok(order) => order,
            Err(cycles) => {
                for cycle in cycles {
                    draft.report_cycle(&cycle, &mut found);
                }
                return Err(found);
            }
        };
        let resolved = {
            let input = file.input.as_ref();
            let input = input.map(|kind| Kind::named(kind.get_ref()));
            references::resolve(&draft, &order, catalog, input, &mut found)
        };
        if found.has_errors() {
            return Err(found);
        }
        Ok(Self::assemble(file, draft, &order, resolved, found))
    }

    /// Reads and proves a graph file.
    ///
    /// # Errors
    /// The text cannot be read as a graph file, or the graph has defects.
    pub fn parse(
        path: &str,
        bytes: &[u8],
        catalog: impl Into<Catalog>,
    ) -> Result<Self, Diagnostics> {
        Self::build(&GraphFile::parse(path, bytes)?, catalog)
    }

    /// Gives the plan with other handlers in the places of its own, each of which has one attempt.
    #[must_use]
    pub fn with_handlers(
        mut self,
        mut handler: impl FnMut(&Stage) -> Arc<dyn ErasedHandler>,
    ) -> Self {
        for stage in &mut self.stages {
            stage.built = handler(stage);
            stage.retry.attempts = 1;
        }
        self
    }

    /// Renumbers a proved draft into its order.
    fn assemble(
        file: &GraphFile,
        draft: resolve::Draft,
        order: &[usize],
        mut resolved: references::Resolved,
        warnings: Diagnostics,
    ) -> Self {
        let mut place = vec![0; order.len()];
        for (position, &stage) in order.iter().enumerate() {
            place[stage] = position;
        }
        let mut stages = place_stages(draft.stages, order, &place, &mut resolved);
        let edges = place_edges(draft.edges, &mut stages, &place, &mut resolved);
        rank(&mut stages, &edges);
        for stage in &mut stages {
            stage
                .outs
                .sort_by_key(|&edge| (edges[edge].otherwise, edge));
        }
        let index = stages.iter().enumerate();
        Self {
            name: file.name.get_ref().clone(),
            description: file.description.clone(),
            input: file.input.as_ref().map(|kind| Kind::named(kind.get_ref())),
            concurrency: file
                .concurrency
                .map_or(CONCURRENCY, |number| number as usize),
            deadline: file.deadline,
            index: index
                .map(|(place, stage)| (Arc::clone(&stage.id), place))
                .collect(),
            stages,
            edges,
            warnings,
        }
    }

    /// Gives the graph's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives what the graph does, for people.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// Gives the kind that is there before the first stage.
    #[must_use]
    pub const fn input(&self) -> Option<&Kind> {
        self.input.as_ref()
    }

    /// Gives how many stages may run at the same time.
    #[must_use]
    pub const fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// Gives how long a run may take, without the time that it waits for people.
    #[must_use]
    pub const fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// Gives the stages, upstream first.
    #[must_use]
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Gives the edges, in the order of the file.
    #[must_use]
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// Gives the index of a stage.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<usize> {
        self.index.get(id).copied()
    }

    /// Gives the edge between two stages, if there is one.
    #[must_use]
    pub fn edge(&self, from: &str, to: &str) -> Option<&Edge> {
        let (from, to) = (self.find(from)?, self.find(to)?);
        let mut outs = self.stages[from].outs.iter();
        let number = *outs.find(|&&edge| self.edges[edge].to == to)?;
        Some(&self.edges[number])
    }

    /// Gives what is likely not meant.
    #[must_use]
    pub const fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }

    /// Gives the outcomes of a stage after which its run can go on.
    #[must_use]
    pub fn possible_outcomes(&self, stage: usize) -> Outcomes {
        let stage = &self.stages[stage];
        let taken = stage.outs.iter().map(|&edge| self.edges[edge].on);
        taken
            .filter(|_| !stage.skips_errors)
            .fold(Outcomes::SUCCEEDED, Outcomes::or)
    }

    /// Gives the kinds that the graph's stages write, each with its last writer.
    #[must_use]
    pub fn writers(&self) -> BTreeMap<&Kind, usize> {
        let stages = self.stages.iter().enumerate();
        stages
            .map(|(place, stage)| (&stage.writes, place))
            .collect()
    }
}

impl Guard {
    fn placed(condition: Condition, references: Option<Vec<Reference>>, place: &[usize]) -> Self {
        let references = references.unwrap_or_default().into_iter();
        Self {
            condition,
            references: references
                .map(|reference| match reference {
                    Reference::Status(stage) => Reference::Status(place[stage]),
                    Reference::Output(stage) => Reference::Output(place[stage]),
                    Reference::Kind(stage) => Reference::Kind(place[stage]),
                    Reference::Input => Reference::Input,
                    Reference::OpenQuestions => Reference::OpenQuestions,
                })
                .collect(),
        }
    }
}

impl StageInput {
    fn placed(self, place: &[usize]) -> Self {
        let source = self.source.map(|source| match source {
            Source::Input => Source::Input,
            Source::Stage(stage) => Source::Stage(place[stage]),
        });
        Self { source, ..self }
    }
}

/// Puts the drafted stages into their order; `place` gives each one's position.
fn place_stages(
    drafted: Vec<resolve::DraftStage>,
    order: &[usize],
    place: &[usize],
    resolved: &mut references::Resolved,
) -> Vec<Stage> {
    let mut drafted: Vec<_> = drafted.into_iter().map(Some).collect();
    order
        .iter()
        .filter_map(|&number| {
            let drafted = drafted[number].take()?;
            let Built {
                of,
                handler,
                interface,
            } = drafted.handler?;
            let inputs = resolved.inputs.remove(&number).unwrap_or_default();
            Some(Stage {
                id: drafted.id.into_inner().into(),
                writes: interface.writes,
                schema: interface.schema,
                rank: 0,
                handler: of,
                with: drafted.with,
                when: drafted.when.map(|when| {
                    let guard = resolved.stage_references.remove(&number);
                    Guard::placed(when.into_inner(), guard, place)
                }),
                disabled: drafted.disabled,
                skips_errors: drafted.skips_errors,
                timeout: drafted.timeout,
                retry: drafted.retry,
                inputs: inputs
                    .into_iter()
                    .map(|input| input.placed(place))
                    .collect(),
                ins: Vec::new(),
                outs: Vec::new(),
                built: handler,
            })
        })
        .collect()
}

/// Renumbers the drafted edges and hangs them on their stages.
fn place_edges(
    drafted: Vec<resolve::DraftEdge>,
    stages: &mut [Stage],
    place: &[usize],
    resolved: &mut references::Resolved,
) -> Vec<Edge> {
    let mut edges = Vec::with_capacity(drafted.len());
    for (number, edge) in drafted.into_iter().enumerate() {
        let moot = resolved.moot.contains(&number);
        edges.push(Edge {
            from: place[edge.from],
            to: place[edge.to],
            on: edge.on,
            moot,
            when: edge.when.filter(|_| !moot).map(|when| {
                let guard = resolved.edge_references.remove(&number);
                Guard::placed(when.into_inner(), guard, place)
            }),
            otherwise: edge.otherwise,
        });
        stages[place[edge.from]].outs.push(number);
        stages[place[edge.to]].ins.push(number);
    }
    edges
}

/// Gives each stage the length of the longest way to it. The stages are in order.
fn rank(stages: &mut [Stage], edges: &[Edge]) {
    for place in 0..stages.len() {
        let before = stages[place].ins.iter();
        let rank = before.map(|&edge| stages[edges[edge].from].rank + 1).max();
        stages[place].rank = rank.unwrap_or(0);
    }
}

//! What handlers and conditions read: whether it exists, who writes it, and whether that is certain.

use std::collections::BTreeSet;
use std::ops::Range;

use foldhash::{HashMap, HashSet};
use toml::Spanned;

use super::certain::{Link, Shape};
use super::condition::{Condition, Path};
use super::diagnostic::{Diagnostics, did_you_mean, shown};
use super::handler::{Catalog, HandlerType};
use super::lint::Lint;
use super::output::{Kind, Read};
use super::plan::{Reference, Source, StageInput};
use super::resolve::Draft;
use super::typed::{Guarded, Owner, Place, Schemas, Typing};

mod told;

/// The variable that holds stages in conditions.
pub(super) const STAGES: &str = "stages";
/// The variable that holds the run's open questions in conditions.
pub(super) const OPEN_QUESTIONS: &str = "open_questions";
/// Stages that the bits of one word are about.
const WORD: usize = 64;

/// What was read, by the draft's numbers.
#[derive(Default)]
pub(super) struct Resolved {
    pub inputs: HashMap<usize, Vec<StageInput>>,
    pub stage_references: HashMap<usize, Vec<Reference>>,
    pub edge_references: HashMap<usize, Vec<Reference>>,
    /// The edges behind which nothing is enabled.
    pub moot: HashSet<usize>,
}

/// Who can have written a kind before a stage starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writers {
    None,
    One(Source),
    Two(Source, Source),
}

impl Writers {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, writers) | (writers, Self::None) => writers,
            (Self::One(a), Self::One(b)) if a != b => Self::Two(a, b),
            (Self::Two(a, b), _) | (_, Self::Two(a, b)) => Self::Two(a, b),
            (Self::One(a), Self::One(_)) => Self::One(a),
        }
    }
}

pub(super) fn resolve(
    draft: &Draft,
    order: &[usize],
    catalog: Catalog,
    input: Option<Kind>,
    found: &mut Diagnostics,
) -> Resolved {
    let mut readers = Readers::new(draft, order, catalog, input, found);
    let mut resolved = Resolved {
        moot: readers.moot(),
        ..Resolved::default()
    };
    readers.conditions(&resolved.moot);
    readers.upstream();
    if readers.is_whole {
        readers.inputs(&mut resolved);
        readers.certain();
    }
    readers.declared();
    let input = readers.input.as_ref();
    let schemas = Schemas::new(draft, catalog, input, &readers.guarded);
    let typing = Typing::new(draft, &readers.shape, &schemas);
    typing.report(&readers.guarded, readers.found);
    if !readers.found.has_errors() {
        let lint = Lint {
            draft,
            shape: &readers.shape,
            typing: &typing,
            conditions: &readers.guarded,
            inputs: &resolved.inputs,
        };
        lint.warn(readers.found);
    }
    for guarded in readers.guarded {
        let references = guarded.references.into_iter().flatten().collect();
        match guarded.of {
            Owner::Stage(stage) => resolved.stage_references.insert(stage, references),
            Owner::Edge(edge) => resolved.edge_references.insert(edge, references),
        };
    }
    resolved
}

/// A condition reads a stage: it has to be upstream of it.
struct StageRead {
    stage: usize,
    /// The condition, and its path.
    guarded: usize,
    path: usize,
    span: Range<usize>,
}

/// A required input with its one writer.
struct Needed {
    reader: usize,
    writer: usize,
    kind: Kind,
}

struct Readers<'a> {
    draft: &'a Draft,
    catalog: Catalog,
    shape: Shape,
    /// Whether all stages are there and it is known what they write: if not, what is missing is no defect of its readers.
    is_whole: bool,
    input: Option<Kind>,
    writes: Vec<Option<Kind>>,
    /// Every kind that a handler of the catalogue or a stage of the graph writes.
    kinds: BTreeSet<Kind>,
    writers: HashMap<Kind, Vec<Writers>>,
    guarded: Vec<Guarded<'a>>,
    stage_reads: Vec<StageRead>,
    needed: Vec<Needed>,
    told: BTreeSet<Kind>,
    found: &'a mut Diagnostics,
}

impl<'a> Readers<'a> {
    fn new(
        draft: &'a Draft,
        order: &[usize],
        catalog: Catalog,
        input: Option<Kind>,
        found: &'a mut Diagnostics,
    ) -> Self {
        let count = draft.stages.len();
        let mut shape = Shape {
            order: order.to_vec(),
            may_skip: draft
                .stages
                .iter()
                .map(|stage| stage.has_when || stage.skips_errors || stage.disabled.is_some())
                .collect(),
            skips_errors: draft
                .stages
                .iter()
                .map(|stage| stage.skips_errors)
                .collect(),
            links: Vec::with_capacity(draft.edges.len()),
            ins: vec![Vec::new(); count],
            outs: vec![Vec::new(); count],
        };
        for (number, edge) in draft.edges.iter().enumerate() {
            shape.links.push(Link {
                from: edge.from,
                to: edge.to,
                on: edge.on,
                plain: !edge.has_when && !edge.otherwise,
            });
            shape.outs[edge.from].push(number);
            shape.ins[edge.to].push(number);
        }
        let writes: Vec<_> = draft
            .stages
            .iter()
            .map(|stage| {
                let built = stage.handler.as_ref()?;
                Some(built.interface.writes.clone())
            })
            .collect();
        let of_handlers = catalog.handlers.iter().filter_map(HandlerType::writes);
        Self {
            draft,
            catalog,
            shape,
            is_whole: !draft.has_gaps && draft.stages.iter().all(|stage| stage.handler.is_some()),
            input,
            kinds: of_handlers
                .chain(writes.iter().flatten().cloned())
                .collect(),
            writes,
            writers: HashMap::default(),
            guarded: Vec::new(),
            stage_reads: Vec::new(),
            needed: Vec::new(),
            told: BTreeSet::new(),
            found,
        }
    }

    fn id(&self, stage: usize) -> &'a str {
        self.draft.stages[stage].id.get_ref()
    }

    /// Edges that leave a disabled stage behind which nothing is enabled decide nothing.
    fn moot(&self) -> HashSet<usize> {
        let mut idle = vec![false; self.draft.stages.len()];
        let mut moot = HashSet::default();
        for &stage in self.shape.order.iter().rev() {
            let outs = &self.shape.outs[stage];
            idle[stage] = self.draft.stages[stage].disabled.is_some()
                && outs.iter().all(|&link| idle[self.shape.links[link].to]);
            if idle[stage] {
                moot.extend(outs);
            }
        }
        moot
    }

    fn conditions(&mut self, moot: &HashSet<usize>) {
        let draft = self.draft;
        for (number, stage) in draft.stages.iter().enumerate() {
            if let Some(when) = &stage.when {
                self.condition(when, Owner::Stage(number), Place::Stage(number));
            }
        }
        for (number, edge) in draft.edges.iter().enumerate() {
            let (from, on) = (edge.from, edge.on);
            if let (Some(when), false) = (&edge.when, moot.contains(&number)) {
                self.condition(when, Owner::Edge(number), Place::After { from, on });
            }
        }
    }

    fn condition(&mut self, when: &'a Spanned<Condition>, of: Owner, at: Place) {
        let condition = when.get_ref();
        let paths = condition.paths();
        let mut guarded = Guarded {
            condition,
            span: when.span(),
            of,
            at,
            references: Vec::with_capacity(paths.len()),
            certain: vec![false; paths.len()],
        };
        for (number, path) in paths.iter().enumerate() {
            let span = guarded.place(&path.span, self.found.text());
            let reference = self.reference(path, at, span.clone());
            if let Some(Reference::Status(stage) | Reference::Output(stage)) = reference {
                self.stage_reads.push(StageRead {
                    stage,
                    guarded: self.guarded.len(),
                    path: number,
                    span,
                });
            }
            guarded.references.push(reference);
        }
        self.guarded.push(guarded);
    }

    fn reference(&mut self, path: &Path, at: Place, span: Range<usize>) -> Option<Reference> {
        let variable = path.segments[0].as_str();
        if self
            .input
            .as_ref()
            .is_some_and(|input| input.as_str() == variable)
        {
            if path.segments.len() == 1 {
                let message = format!("a condition cannot read the whole `{variable}`");
                let help = format!("read a field of it: `{variable}.…`");
                self.found.error("bad-reference", span, message, Some(help));
                return None;
            }
            return Some(Reference::Input);
        }
        match variable {
            OPEN_QUESTIONS => Some(Reference::OpenQuestions),
            STAGES => self.stage_reference(path, span),
            _ => self.kind_reference(variable, at, span),
        }
    }

    /// Whether an edge names a stage that is told to be unknown, and likely means this one: that is one defect.
    fn is_misspelt_elsewhere(&self, id: &str) -> bool {
        let stages = self.draft.stages.iter();
        let unknown = stages.filter(|stage| stage.handler.is_none());
        did_you_mean(id, unknown.map(|stage| stage.id.get_ref().as_str())).is_some()
    }

    fn stage_reference(&mut self, path: &Path, span: Range<usize>) -> Option<Reference> {
        let Some(id) = path.segments.get(1) else {
            self.found.error(
                "bad-reference",
                span,
                "a condition cannot read all stages",
                Some("name one: `stages.ID.status`".to_owned()),
            );
            return None;
        };
        let Some(&stage) = self.draft.index.get(id) else {
            if self.draft.has_gaps || self.is_misspelt_elsewhere(id) {
                return None;
            }
            let known = self.draft.index.keys().map(String::as_str);
            let help = self.found.suggest(id, known);
            self.found.error(
                "unknown-stage",
                span,
                format!("there is no stage `{}`", shown(id)),
                help,
            );
            return None;
        };
        let reference = match (
            path.segments.get(2).map(String::as_str),
            path.segments.len(),
        ) {
            (Some("status"), 3) => Reference::Status(stage),
            (Some("output"), _) if self.draft.stages[stage].disabled.is_some() => {
                self.found.error(
                    "not-written",
                    span,
                    format!("`{}` is disabled, so it has no output to read", shown(id)),
                    Some(
                        "disable what this condition decides too, or leave this stage in"
                            .to_owned(),
                    ),
                );
                return None;
            }
            (Some("output"), _) => Reference::Output(stage),
            _ => {
                self.found.error(
                    "bad-reference",
                    span,
                    format!("`{}` is nothing that can be read", shown(&path.text())),
                    Some(format!("read `stages.{id}.status` or `stages.{id}.output`")),
                );
                return None;
            }
        };
        Some(reference)
    }

    fn kind_reference(&mut self, name: &str, at: Place, span: Range<usize>) -> Option<Reference> {
        let kind = Kind::named(name);
        if !self.kinds.contains(&kind) {
            let mut names: BTreeSet<&str> = self.kinds.iter().map(Kind::as_str).collect();
            names.extend([STAGES, OPEN_QUESTIONS]);
            names.extend(self.input.as_ref().map(Kind::as_str));
            let near = did_you_mean(name, names);
            let is_missing = self.told.contains(&kind) || self.draft.has_unknown_kinds;
            if near.is_none() && is_missing {
                return None;
            }
            let help = near.unwrap_or_else(|| {
                if self.catalog.inputs.iter().any(|input| input.kind == kind) {
                    self.told.insert(kind);
                    return format!("is it the graph's input? Then say `input = \"{name}\"`");
                }
                "there are the graph's input, `stages`, `open_questions`, and outputs by kind"
                    .to_owned()
            });
            self.found.error(
                "unknown-variable",
                span,
                format!("conditions have no variable `{}`", shown(name)),
                Some(help),
            );
            return None;
        }
        match self.writers_of(&kind, at) {
            Writers::One(Source::Stage(stage)) => Some(Reference::Kind(stage)),
            Writers::One(Source::Input) => Some(Reference::Input),
            Writers::None => {
                if !self.is_whole {
                    return None;
                }
                self.found.error(
                    "not-written",
                    span,
                    format!("no stage before this condition writes `{kind}`"),
                    self.who_writes(&kind),
                );
                None
            }
            Writers::Two(a, b) => {
                self.two_writers(&kind, a, b, span, "this condition");
                None
            }
        }
    }

    /// Gives who can have written a kind at a place.
    fn writers_of(&mut self, kind: &Kind, at: Place) -> Writers {
        if !self.writers.contains_key(kind) {
            let writers = self.all_writers(kind);
            self.writers.insert(kind.clone(), writers);
        }
        let writers = &self.writers[kind];
        match at {
            Place::Stage(stage) => writers[stage],
            Place::After { from, .. } => writers[from].and(self.own_writer(kind, from)),
        }
    }

    fn own_writer(&self, kind: &Kind, stage: usize) -> Writers {
        let enabled = self.draft.stages[stage].disabled.is_none();
        if enabled && self.writes[stage].as_ref() == Some(kind) {
            Writers::One(Source::Stage(stage))
        } else {
            Writers::None
        }
    }

    fn all_writers(&self, kind: &Kind) -> Vec<Writers> {
        let start = if self.input.as_ref() == Some(kind) {
            Writers::One(Source::Input)
        } else {
            Writers::None
        };
        let mut writers = vec![start; self.shape.order.len()];
        for &stage in &self.shape.order {
            for &link in &self.shape.ins[stage] {
                let from = self.shape.links[link].from;
                let through = writers[from].and(self.own_writer(kind, from));
                writers[stage] = writers[stage].and(through);
            }
        }
        writers
    }

    /// Conditions read only stages that have ended by then.
    fn upstream(&mut self) {
        let mut reads = std::mem::take(&mut self.stage_reads);
        reads.sort_by_key(|read| read.stage);
        for chunk in chunks_by(&reads, |read| read.stage) {
            let (tracked, reads) = chunk;
            let upstream = self.shape.upstream(&tracked);
            let certain = self.shape.certain(&tracked);
            for read in reads {
                let bit = bit_of(&tracked, read.stage);
                let guarded = &mut self.guarded[read.guarded];
                let (reader, itself) = match guarded.at {
                    Place::Stage(stage) => (stage, false),
                    Place::After { from, .. } => (from, from == read.stage),
                };
                guarded.certain[read.path] = certain[reader] & bit != 0;
                if !itself && upstream[reader] & bit == 0 {
                    self.found.error(
                        "not-upstream",
                        read.span.clone(),
                        format!(
                            "`{}` has not ended when this condition is evaluated",
                            self.id(read.stage)
                        ),
                        Some("a condition can read stages that come before it".to_owned()),
                    );
                }
            }
        }
    }

    fn inputs(&mut self, resolved: &mut Resolved) {
        for stage in 0..self.draft.stages.len() {
            let drafted = &self.draft.stages[stage];
            // What is disabled reads nothing.
            let built = drafted.handler.as_ref();
            let built = built.filter(|_| drafted.disabled.is_none());
            let reads = built.map_or_else(Vec::new, |built| built.interface.reads.clone());
            let inputs = reads
                .into_iter()
                .filter_map(|read| self.input(stage, read))
                .collect();
            resolved.inputs.insert(stage, inputs);
        }
    }

    fn input(&mut self, stage: usize, Read { kind, required }: Read) -> Option<StageInput> {
        let span = self.draft.stages[stage].id.span();
        let source = match self.writers_of(&kind, Place::Stage(stage)) {
            Writers::One(source) => Some(source),
            Writers::None if required && !self.is_told(&kind) => {
                let message = format!(
                    "`{}` reads `{kind}`, and nothing before it writes it",
                    self.id(stage)
                );
                let help = self.who_writes(&kind).or_else(|| {
                    Some(format!(
                        "is it the graph's input? Then say `input = \"{kind}\"`"
                    ))
                });
                self.found.error("not-written", span, message, help);
                return None;
            }
            Writers::None if required => return None,
            Writers::None => None,
            Writers::Two(a, b) => {
                let who = format!("`{}`", self.id(stage));
                self.two_writers(&kind, a, b, span, &who);
                return None;
            }
        };
        if let (true, Some(Source::Stage(writer))) = (required, source) {
            self.needed.push(Needed {
                reader: stage,
                writer,
                kind: kind.clone(),
            });
        }
        Some(StageInput {
            kind,
            required,
            source,
        })
    }

    /// Says whether it was told before that the whole graph has nobody who writes a kind.
    fn is_told(&mut self, kind: &Kind) -> bool {
        if self.told.contains(kind) {
            return true;
        }
        let mut stages = self.draft.stages.iter().zip(&self.writes);
        let nobody = self.input.as_ref() != Some(kind)
            && !stages
                .any(|(stage, writes)| stage.disabled.is_none() && writes.as_ref() == Some(kind));
        if nobody {
            self.told.insert(kind.clone());
        }
        false
    }

    fn certain(&mut self) {
        let mut needed = std::mem::take(&mut self.needed);
        needed.sort_by_key(|need| need.writer);
        for (tracked, needed) in chunks_by(&needed, |need| need.writer) {
            let certain = self.shape.certain(&tracked);
            for need in needed {
                if certain[need.reader] & bit_of(&tracked, need.writer) == 0 {
                    self.report_uncertain(need);
                }
            }
        }
    }
}

fn drafted_span(draft: &Draft, stage: usize) -> Range<usize> {
    draft.stages[stage].id.span()
}

pub(super) fn bit_of(tracked: &[usize], stage: usize) -> u64 {
    tracked
        .iter()
        .position(|&tracked| tracked == stage)
        .map_or(0, |bit| 1 << bit)
}

/// Cuts a list that is sorted by a stage into pieces about 64 stages at most, each with these stages.
pub(super) fn chunks_by<T>(list: &[T], stage: impl Fn(&T) -> usize) -> Vec<(Vec<usize>, &[T])> {
    let mut chunks = Vec::new();
    let mut start = 0;
    let mut tracked: Vec<usize> = Vec::new();
    for (place, item) in list.iter().enumerate() {
        if tracked.last() != Some(&stage(item)) {
            if tracked.len() == WORD {
                chunks.push((std::mem::take(&mut tracked), &list[start..place]));
                start = place;
            }
            tracked.push(stage(item));
        }
    }
    if !tracked.is_empty() {
        chunks.push((tracked, &list[start..]));
    }
    chunks
}

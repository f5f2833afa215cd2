//! From a file's entries to numbered stages and edges: handlers, parameters, conditions, and the shape of edges.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashSet};
use serde_json::{Map, Value};
use toml::Spanned;

use super::condition::{Condition, Patterns};
use super::diagnostic::{Diagnostics, shown};
use super::event::DisabledBy;
use super::file::{EdgeEntry, GraphFile, OnError, Policy, RetryOn, SingleEdge, StageEntry, With};
use super::handler::{ErasedHandler, HandlerType, Interface};
use super::outcome::Outcomes;
use super::params;
use super::plan::{Retry, Selection};
use super::walk::{NAME_HELP, is_name, pointer_to};

/// How long an attempt may take where the graph does not say.
const TIMEOUT: Duration = Duration::from_mins(5);
const RETRY: Retry = Retry {
    attempts: 1,
    base: Duration::from_secs(1),
    max: Duration::from_secs(30),
    on: RetryOn {
        transient: true,
        timeout: true,
    },
};

/// Stages and edges by number, as far as they could be resolved.
pub(super) struct Draft {
    pub stages: Vec<DraftStage>,
    pub edges: Vec<DraftEdge>,
    pub index: HashMap<String, usize>,
    /// Whether something of the graph is not here because it could not be read.
    pub has_gaps: bool,
    /// Whether a stage may write a kind whose name could not be read.
    pub has_unknown_kinds: bool,
}

pub(super) struct DraftStage {
    /// The id, at its first mention.
    pub id: Spanned<String>,
    pub handler: Option<Built>,
    pub with: Value,
    /// Where each parameter stands, by its name.
    pub places: HashMap<String, Range<usize>>,
    pub has_when: bool,
    pub when: Option<Spanned<Condition>>,
    pub disabled: Option<DisabledBy>,
    pub skips_errors: bool,
    pub timeout: Duration,
    pub retry: Retry,
    /// Where its own table asks for several attempts of what has side effects.
    pub retried: Option<Range<usize>>,
}

impl DraftStage {
    /// Gives where a stage declares the kind that it writes: at the parameter that has its name as its value.
    pub(super) fn kind_span(&self) -> Range<usize> {
        let kind = self
            .handler
            .as_ref()
            .map(|built| built.interface.writes.as_str());
        let with = self.with.as_object().into_iter().flatten();
        let named = with.filter(|(_, value)| kind.is_some() && value.as_str() == kind);
        let mut places = named.filter_map(|(name, _)| self.places.get(name));
        places.next().cloned().unwrap_or_else(|| self.id.span())
    }
}

/// A handler with its parameters.
pub(super) struct Built {
    pub of: HandlerType,
    pub handler: Arc<dyn ErasedHandler>,
    pub interface: Interface,
}

pub(super) struct DraftEdge {
    pub from: usize,
    pub to: usize,
    pub span: Range<usize>,
    pub on: Outcomes,
    pub has_when: bool,
    pub when: Option<Spanned<Condition>>,
    pub otherwise: bool,
}

impl Draft {
    pub(super) fn report_cycle(&self, cycle: &[usize], found: &mut Diagnostics) {
        let mut names: Vec<_> = cycle
            .iter()
            .chain(cycle.first())
            .map(|&stage| self.stages[stage].id.get_ref().as_str())
            .collect();
        if names.len() > 12 {
            names.splice(6..names.len() - 5, ["…"]);
        }
        let last = cycle.last().copied();
        let back = self
            .edges
            .iter()
            .find(|edge| Some(edge.from) == last && Some(edge.to) == cycle.first().copied());
        found.error(
            "cycle",
            back.map_or(0..0, |edge| edge.span.clone()),
            format!("this edge closes a cycle: {}", names.join(" -> ")),
            Some("leave out one of the cycle's edges".to_owned()),
        );
    }
}

pub(super) fn resolve(
    file: &GraphFile,
    handlers: &'static [HandlerType],
    selection: &Selection,
    found: &mut Diagnostics,
) -> Draft {
    let tables: HashMap<&str, &StageEntry> = file
        .stages
        .iter()
        .map(|stage| (stage.id.get_ref().as_str(), stage))
        .collect();
    let handlers: HashMap<&str, &HandlerType> = handlers
        .iter()
        .map(|handler| (handler.name, handler))
        .collect();
    let mut resolver = Resolver {
        file,
        tables,
        handlers,
        draft: Draft {
            stages: Vec::new(),
            edges: Vec::new(),
            index: HashMap::default(),
            has_gaps: file.has_gaps,
            has_unknown_kinds: file.has_gaps,
        },
        pairs: HashSet::default(),
        otherwise: HashSet::default(),
        selection,
        params: HashMap::default(),
        patterns: Patterns::default(),
        found,
    };
    resolver.edges();
    resolver.unmentioned();
    resolver.failure_edges();
    resolver.selected();
    resolver.draft
}

struct Resolver<'a> {
    file: &'a GraphFile,
    tables: HashMap<&'a str, &'a StageEntry>,
    handlers: HashMap<&'a str, &'a HandlerType>,
    draft: Draft,
    pairs: HashSet<(usize, usize)>,
    otherwise: HashSet<usize>,
    selection: &'a Selection,
    /// The schemas of parameters, each made once.
    params: HashMap<&'static str, Value>,
    patterns: Patterns,
    found: &'a mut Diagnostics,
}

impl Resolver<'_> {
    fn edges(&mut self) {
        let file = self.file;
        for entry in file.edges.iter().flatten() {
            if self.found.is_enough() {
                return;
            }
            match entry {
                EdgeEntry::Chain(names) => {
                    let mut stages = Vec::with_capacity(names.len());
                    for name in names {
                        if self.found.is_enough() {
                            return;
                        }
                        stages.push(self.mention(name));
                    }
                    for (pair, name) in stages.windows(2).zip(names.iter().skip(1)) {
                        if let (Some(from), Some(to)) = (pair[0], pair[1]) {
                            self.add(DraftEdge {
                                from,
                                to,
                                span: name.span(),
                                on: Outcomes::SUCCEEDED,
                                has_when: false,
                                when: None,
                                otherwise: false,
                            });
                        }
                    }
                }
                EdgeEntry::Single(edge) => self.single(edge),
            }
        }
    }

    fn single(&mut self, edge: &SingleEdge) {
        let from = self.mention(&edge.from);
        let to = self.mention(&edge.to);
        let when = self.condition(edge.when.as_ref());
        let (Some(from), Some(to)) = (from, to) else {
            return;
        };
        if let Some(span) = &edge.otherwise
            && !self.otherwise.insert(from)
        {
            self.found.error(
                "two-else",
                span.clone(),
                format!("`{}` has two `else` edges", edge.from.get_ref()),
                Some("keep one: which of them would be taken?".to_owned()),
            );
        }
        self.add(DraftEdge {
            from,
            to,
            span: edge.to.span(),
            on: edge.on.unwrap_or(Outcomes::SUCCEEDED),
            has_when: edge.when.is_some(),
            when,
            otherwise: edge.otherwise.is_some(),
        });
    }

    fn add(&mut self, edge: DraftEdge) {
        let name = |stage: usize| self.draft.stages[stage].id.get_ref();
        if edge.from == edge.to {
            let message = format!("`{}` cannot follow itself", name(edge.from));
            let help = Some("leave this edge out".to_owned());
            self.found.error("self-loop", edge.span, message, help);
        } else if self.pairs.insert((edge.from, edge.to)) {
            self.draft.edges.push(edge);
        } else {
            let message = format!(
                "there is an edge from `{}` to `{}` already",
                name(edge.from),
                name(edge.to)
            );
            let help = Some("join their conditions with `||` in one edge".to_owned());
            self.found.error("duplicate-edge", edge.span, message, help);
        }
    }

    /// Gives the number of a stage that an edge names; the first mention resolves it.
    fn mention(&mut self, name: &Spanned<String>) -> Option<usize> {
        if let Some(&number) = self.draft.index.get(name.get_ref()) {
            return Some(number);
        }
        if !is_name(name.get_ref()) {
            let known = self.handlers.keys().chain(self.tables.keys());
            let near = self.found.suggest(name.get_ref(), known.copied());
            self.found.error(
                "bad-name",
                name.span(),
                format!("`{}` cannot be a stage id", shown(name.get_ref())),
                near.unwrap_or_else(|| NAME_HELP.to_owned()),
            );
            self.draft.has_gaps = true;
            return None;
        }
        let entry = self.tables.get(name.get_ref().as_str()).copied();
        let stage = self.stage(name, entry);
        let number = self.draft.stages.len();
        self.draft.index.insert(name.get_ref().clone(), number);
        self.draft.stages.push(stage);
        Some(number)
    }

    fn stage(&mut self, id: &Spanned<String>, entry: Option<&StageEntry>) -> DraftStage {
        let with = entry.and_then(|entry| entry.with.as_ref());
        let values = with.map_or_else(Map::new, |with| with.values.clone());
        let handler = self.handler(id, entry);
        let built = handler.and_then(|of| self.build(id, of, with));
        self.draft.has_unknown_kinds |=
            built.is_none() && handler.is_none_or(|of| of.writes().is_none());
        let own = entry.map(|entry| &entry.policy);
        let side_effects = handler.is_some_and(|handler| handler.side_effects);
        let when = entry.and_then(|entry| entry.when.as_ref());
        let on_error = entry.and_then(|entry| entry.on_error.as_ref());
        DraftStage {
            id: id.clone(),
            handler: built,
            with: Value::Object(values),
            places: with.map_or_else(HashMap::default, With::places_of_values),
            has_when: when.is_some(),
            when: self.condition(when),
            disabled: self.disabled(id.get_ref(), entry),
            skips_errors: on_error.is_some_and(|on_error| *on_error.get_ref() == OnError::Skip),
            timeout: own
                .and_then(|policy| policy.timeout)
                .or(self.file.defaults.timeout)
                .unwrap_or(TIMEOUT),
            retry: retry(own, &self.file.defaults, side_effects),
            retried: own
                .and_then(|policy| policy.attempts.as_ref())
                .filter(|attempts| side_effects && *attempts.get_ref() > 1)
                .map(Spanned::span),
        }
    }

    fn build(
        &mut self,
        id: &Spanned<String>,
        of: HandlerType,
        with: Option<&With>,
    ) -> Option<Built> {
        let values = with.map_or_else(Map::new, |with| with.values.clone());
        if with.is_some_and(|with| self.misfits(of, with)) {
            return None;
        }
        match (of.build)(Value::Object(values)) {
            Ok(handler) => Some(Built {
                of,
                interface: handler.interface(),
                handler,
            }),
            Err(error) => {
                let blamed = error.key.as_ref().zip(with);
                let pointer = |(key, _): &(&String, &With)| pointer_to("", key);
                let place = blamed.and_then(|of| of.1.places.get(&pointer(&of)));
                let key = error.key.as_ref().map(|key| format!("`{}`: ", shown(key)));
                self.found.error(
                    "bad-parameter",
                    match (place, with) {
                        (Some(place), _) => place.value.clone(),
                        (None, Some(with)) => with.span.clone(),
                        (None, None) => id.span(),
                    },
                    format!(
                        "`{}` refuses its parameters: {}{}",
                        id.get_ref(),
                        key.unwrap_or_default(),
                        shown(&error.message)
                    ),
                    Some(format!("`relvec handlers {}` lists them", of.name)),
                );
                None
            }
        }
    }

    /// Reports the parameters that do not fit the handler's schema. Says whether there are any.
    fn misfits(&mut self, of: HandlerType, with: &With) -> bool {
        let schema = self.params.entry(of.name);
        let schema = schema.or_insert_with(of.params_schema);
        let misfits = params::misfits(&with.values, schema);
        for misfit in &misfits {
            let place = with.places.get(&misfit.pointer);
            let span = place.map(|place| {
                if misfit.is_key {
                    &place.key
                } else {
                    &place.value
                }
            });
            let help = misfit.help.clone();
            self.found.error(
                misfit.code,
                span.unwrap_or(&with.span).clone(),
                format!("`{}`: {}", of.name, misfit.message),
                help.or_else(|| Some(format!("`relvec handlers {}` describes them", of.name))),
            );
        }
        !misfits.is_empty()
    }

    fn disabled(&self, id: &str, entry: Option<&StageEntry>) -> Option<DisabledBy> {
        let in_graph = entry.and_then(|entry| entry.disabled.as_ref());
        if in_graph.is_some_and(|disabled| *disabled.get_ref()) {
            return Some(DisabledBy::Graph);
        }
        self.selection.leaves_out(id).then_some(DisabledBy::Job)
    }

    /// What a job selects has to be there.
    fn selected(&mut self) {
        for (key, id) in self.selection.named() {
            if !self.draft.index.contains_key(id) {
                let known = self.draft.index.keys().map(String::as_str);
                let help = self.found.suggest(id, known);
                let message = format!(
                    "`{key}` names `{}`, and the graph has no such stage",
                    shown(id)
                );
                self.found.error("unknown-stage", 0..0, message, help);
            }
        }
    }

    fn handler(&mut self, id: &Spanned<String>, entry: Option<&StageEntry>) -> Option<HandlerType> {
        let named = entry.and_then(|entry| entry.handler.as_ref());
        let name = named.unwrap_or(id);
        if let Some(handler) = self.handlers.get(name.get_ref().as_str()) {
            return Some(**handler);
        }
        let known = self.handlers.keys().copied();
        let (code, message, near) = if named.is_some() {
            (
                "unknown-handler",
                format!("there is no handler `{}`", shown(name.get_ref())),
                self.found.suggest(name.get_ref(), known),
            )
        } else {
            let tables = self.tables.keys().copied();
            (
                "unknown-stage",
                format!(
                    "`{}` is no handler, and no table says which one it has",
                    name.get_ref()
                ),
                self.found.suggest(
                    name.get_ref(),
                    known.chain(tables.filter(|table| table != name.get_ref())),
                ),
            )
        };
        // The handler that its table names could not be read.
        if near.is_none() && named.is_none() && entry.is_some() && self.file.has_gaps {
            return None;
        }
        let help = near.unwrap_or_else(|| {
            format!(
                "name one: `[stages.{}] handler = \"…\"`; `relvec handlers` lists them",
                id.get_ref()
            )
        });
        self.found.error(code, name.span(), message, Some(help));
        None
    }

    fn condition(&mut self, text: Option<&Spanned<String>>) -> Option<Spanned<Condition>> {
        let text = text?;
        match self.patterns.compile(text.get_ref()) {
            Ok(condition) => Some(Spanned::new(text.span(), condition)),
            Err(error) => {
                let span = inside(self.found.text(), &text.span(), text.get_ref(), &error.span);
                self.found
                    .error("bad-condition", span, error.message, error.help);
                None
            }
        }
    }

    /// Tables that no edge names: stages of their own where there are no edges at all.
    fn unmentioned(&mut self) {
        let file = self.file;
        let alone = file.edges.as_ref().is_none_or(Vec::is_empty);
        for entry in &file.stages {
            if self.draft.has_gaps {
                // The edge that names it may be what could not be read.
            } else if alone {
                self.mention(&entry.id);
            } else if !self.draft.index.contains_key(entry.id.get_ref())
                // The text of a base lies behind that of the file: a stage of the base that is left out is meant.
                && entry.id.span().start < file.text.len()
            {
                let stages = self.draft.index.keys().map(String::as_str);
                let near = self.found.suggest(entry.id.get_ref(), stages);
                self.found.warning(
                    "stage-not-in-graph",
                    entry.id.span(),
                    format!("no edge names `{}`, so it is left out", entry.id.get_ref()),
                    near.or_else(|| Some("name it in an edge, or remove its table".to_owned())),
                );
            }
        }
        if self.draft.stages.is_empty() && !self.found.has_errors() {
            self.found.error(
                "no-entry",
                0..0,
                "the graph has no stages",
                Some("add `[[edges]]` with `chain = [\"…\", \"…\"]`".to_owned()),
            );
        }
    }

    fn failure_edges(&mut self) {
        for edge in &self.draft.edges {
            let from = &self.draft.stages[edge.from];
            if from.skips_errors && edge.on.has_failure() {
                self.found.error(
                    "failure-edge-of-skipped",
                    edge.span.clone(),
                    format!(
                        "`{}` has `on_error = \"skip\"`, so no edge can leave it on failure",
                        from.id.get_ref()
                    ),
                    Some("leave out one of the two".to_owned()),
                );
            }
        }
    }
}

/// A stage's own retry, then the graph's, then ours. What can be seen from outside is done once, unless its own table says more.
fn retry(own: Option<&Policy>, defaults: &Policy, side_effects: bool) -> Retry {
    let inherited = if side_effects {
        None
    } else {
        defaults.attempts.as_ref()
    };
    Retry {
        attempts: own
            .and_then(|policy| policy.attempts.as_ref())
            .or(inherited)
            .map_or(RETRY.attempts, |attempts| *attempts.get_ref()),
        base: own
            .and_then(|policy| policy.base)
            .or(defaults.base)
            .unwrap_or(RETRY.base),
        max: own
            .and_then(|policy| policy.max)
            .or(defaults.max)
            .unwrap_or(RETRY.max),
        on: own
            .and_then(|policy| policy.on)
            .or(defaults.on)
            .unwrap_or(RETRY.on),
    }
}

/// Gives the place in the file of bytes of a string's value: exact where the string is written without escapes, else all of it.
pub(super) fn inside(
    text: &str,
    string: &Range<usize>,
    value: &str,
    bytes: &Range<usize>,
) -> Range<usize> {
    let written = text.get(string.clone()).unwrap_or_default();
    // Nearly always there is one quote before it.
    let at = if written.get(1..).is_some_and(|rest| rest.starts_with(value)) {
        Some(1)
    } else {
        written.find(value)
    };
    match at {
        Some(quote) if !value.is_empty() => {
            string.start + quote + bytes.start..string.start + quote + bytes.end
        }
        _ => string.clone(),
    }
}

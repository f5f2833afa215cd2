//! What is wrong with the tests of a graph file: names that are not there, and outputs that can never be.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use toml::Spanned;

use crate::graph::cases::{Case, EdgeName};
use crate::graph::diagnostic::{Diagnostics, shown};
use crate::graph::file::{GraphFile, With};
use crate::graph::handler::Catalog;
use crate::graph::partial::Partial;
use crate::graph::resolve::Draft;

/// Reports what is wrong with the tests of a file.
pub(in crate::graph) fn check(
    file: &GraphFile,
    draft: &Draft,
    catalog: Catalog,
    found: &mut Diagnostics,
) {
    // Where something of the graph could not be read, what a test names may be just that.
    if file.tests.is_empty() || draft.has_gaps {
        return;
    }
    let id = |stage: usize| draft.stages[stage].id.get_ref().as_str();
    let edges = draft.edges.iter();
    let mut checker = Checker {
        draft,
        edges: edges.map(|edge| (id(edge.from), id(edge.to))).collect(),
        input: input(file, catalog),
        outputs: HashMap::new(),
        found,
    };
    for case in &file.tests {
        checker.case(case);
    }
}

fn input(file: &GraphFile, catalog: Catalog) -> Option<Partial> {
    let kind = file.input.as_ref()?.get_ref();
    let mut inputs = catalog.inputs.iter();
    let input = inputs.find(|input| input.kind.as_str() == kind)?;
    Partial::of(&(input.schema)())
}

struct Checker<'a> {
    draft: &'a Draft,
    edges: HashSet<(&'a str, &'a str)>,
    input: Option<Partial>,
    /// By stage, made when the first test needs it; `None` where nothing is known of an output.
    outputs: HashMap<usize, Option<Partial>>,
    found: &'a mut Diagnostics,
}

impl Checker<'_> {
    fn case(&mut self, case: &Case) {
        if let Some(input) = &self.input {
            contradictions(input, &case.input, "the input", self.found);
        }
        let selected = case.skip.iter().chain(&case.only);
        let expected = case.expect.stages.iter().map(|(id, _)| id);
        for id in selected.chain(expected) {
            self.stage(id);
        }
        for mock in &case.stages {
            let Some(stage) = self.stage(&mock.id) else {
                continue;
            };
            let Some(output) = &mock.output else {
                continue;
            };
            let draft = self.draft;
            let schema = self.outputs.entry(stage).or_insert_with(|| {
                let built = draft.stages[stage].handler.as_ref()?;
                Partial::of(&built.interface.schema.get())
            });
            if let Some(schema) = schema {
                let what = format!("the output of `{}`", shown(mock.id.get_ref()));
                contradictions(schema, output, &what, self.found);
            }
        }
        for edge in case.expect.taken.iter().chain(&case.expect.not_taken) {
            self.edge(edge);
        }
    }

    fn stage(&mut self, id: &Spanned<String>) -> Option<usize> {
        let stage = self.draft.index.get(id.get_ref()).copied();
        if stage.is_none() {
            self.unknown_stage(id.get_ref(), id.span());
        }
        stage
    }

    fn unknown_stage(&mut self, id: &str, span: std::ops::Range<usize>) {
        let known = self.draft.index.keys().map(String::as_str);
        let help = self.found.suggest(id, known);
        let message = format!("the graph has no stage `{}`", shown(id));
        self.found.error("unknown-stage", span, message, help);
    }

    fn edge(&mut self, edge: &EdgeName) {
        let ends = [&edge.from, &edge.to];
        let unknown = ends
            .into_iter()
            .find(|id| !self.draft.index.contains_key(*id));
        if let Some(id) = unknown {
            self.unknown_stage(id, edge.span.clone());
        } else if !self.edges.contains(&(edge.from.as_str(), edge.to.as_str())) {
            let mut to: Vec<&str> = self
                .edges
                .iter()
                .filter(|(from, _)| *from == edge.from)
                .map(|(_, to)| *to)
                .collect();
            to.sort_unstable();
            to.truncate(10);
            let help = if to.is_empty() {
                format!("no edge leaves `{}`", edge.from)
            } else {
                format!("from `{}` edges lead to {}", edge.from, to.join(", "))
            };
            let message = format!("the graph has no edge `{edge}`");
            self.found
                .error("unknown-edge", edge.span.clone(), message, Some(help));
        }
    }
}

fn contradictions(schema: &Partial, with: &With, what: &str, found: &mut Diagnostics) {
    for wrong in schema.contradictions(&Value::Object(with.values.clone())) {
        let place = with.places.get(&wrong.pointer);
        let span = match place {
            Some(place) if wrong.key => place.key.clone(),
            Some(place) => place.value.clone(),
            None => with.span.clone(),
        };
        let message = format!("{what} can never be this: {}", wrong.message);
        found.error("impossible-value", span, message, wrong.help);
    }
}

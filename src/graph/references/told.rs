//! What is said where a kind has the wrong number of writers, or none that is certain.

use std::ops::Range;

use super::super::output::Kind;
use super::super::plan::Source;
use super::{Needed, OPEN_QUESTIONS, Readers, STAGES, drafted_span};

impl Readers<'_> {
    pub(super) fn two_writers(
        &mut self,
        kind: &Kind,
        a: Source,
        b: Source,
        span: Range<usize>,
        who: &str,
    ) {
        let name = |source| match source {
            Source::Input => "the graph's input".to_owned(),
            Source::Stage(stage) => format!("`{}`", self.id(stage)),
        };
        let message = format!(
            "{who} reads `{kind}`, and both {} and {} write it",
            name(a),
            name(b)
        );
        let help = "one stage before it at most may write it; in conditions, name the stage: `stages.ID.output`";
        self.found
            .error("two-writers", span, message, Some(help.to_owned()));
    }

    pub(super) fn who_writes(&self, kind: &Kind) -> Option<String> {
        let mut stages = self.draft.stages.iter().zip(&self.writes);
        let left_out = stages
            .find(|(stage, writes)| stage.disabled.is_some() && writes.as_ref() == Some(kind));
        if let Some((stage, _)) = left_out {
            return Some(format!(
                "`{}` writes it and is left out: leave it in, or leave out what reads `{kind}` too",
                stage.id.get_ref()
            ));
        }
        let writers: Vec<_> = self
            .catalog
            .handlers
            .iter()
            .filter(|handler| handler.writes().as_ref() == Some(kind))
            .map(|handler| format!("`{}`", handler.name))
            .collect();
        (!writers.is_empty()).then(|| format!("put {} before it", writers.join(" or ")))
    }

    /// A kind that a graph file declares has no other meaning.
    pub(super) fn declared(&mut self) {
        for stage in &self.draft.stages {
            let built = stage.handler.as_ref();
            let Some(built) = built.filter(|built| built.of.interface.is_none()) else {
                continue;
            };
            let kind = &built.interface.writes;
            let mut handlers = self.catalog.handlers.iter();
            let owner = match handlers.find(|handler| handler.writes().as_ref() == Some(kind)) {
                Some(handler) => format!("what `{}` writes", handler.name),
                None if self.input.as_ref() == Some(kind) => "the graph's input".to_owned(),
                None if [STAGES, OPEN_QUESTIONS].contains(&kind.as_str()) => {
                    "a variable of conditions".to_owned()
                }
                None => continue,
            };
            self.found.error(
                "taken-kind",
                stage.kind_span(),
                format!(
                    "`{}` declares the kind `{kind}`, which is {owner}",
                    stage.id.get_ref()
                ),
                Some("choose another name for the kind".to_owned()),
            );
        }
    }

    pub(super) fn report_uncertain(&mut self, need: &Needed) {
        let (reader, writer) = (self.id(need.reader), self.id(need.writer));
        let drafted = &self.draft.stages[need.writer];
        let why = if drafted.disabled.is_some() {
            format!("`{writer}` is disabled")
        } else if drafted.skips_errors {
            format!("`{writer}` has `on_error = \"skip\"`")
        } else if drafted.has_when {
            format!("`{writer}` has a `when`")
        } else {
            format!("`{reader}` can be reached without `{writer}` having succeeded")
        };
        self.found.error(
            "not-certain",
            drafted_span(self.draft, need.reader),
            format!("`{reader}` needs `{}`, and it is not certain to be there: {why}", need.kind),
            Some(format!(
                "let every way to `{reader}` go through `{writer}`, without a condition between them"
            )),
        );
    }
}

//! What is wrong with a graph file: where, why, and the next step; for people and as JSON.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sources::{Place, Sources};
use crate::error::{Error, ErrorKind};

/// Diagnostics kept of one file; a file with more defects says how many more there are.
const KEPT: usize = 100;

/// Names that a name is compared with; a graph can have many thousands.
const COMPARED: usize = 1_000;

/// Codes of files that cannot be read at all.
const UNREADABLE: [&str; 4] = ["unreadable", "toml", "not-utf-8", "too-large"];

/// The code of what stands for findings that are only counted.
const MORE: &str = "more-findings";
/// With an error and so many findings that are only counted, nobody looks for others.
const ENOUGH: usize = 1_000;

/// Characters of a name that a message shows.
const SHOWN: usize = 80;

/// Characters of a path that a finding has.
const PATH_SHOWN: usize = 1_024;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The graph cannot run.
    Error,
    /// The graph runs, and likely not as meant.
    Warning,
}

/// One defect of a graph file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable name of the rule, in kebab case.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// The file.
    pub file: String,
    /// The bytes of the file that are to blame; none at its start where no place is.
    pub span: Range<usize>,
    /// The line of the span's start, counted from 1.
    pub line: usize,
    /// The character of the span's start in its line, counted from 1.
    pub column: usize,
    /// The line of the span's end.
    pub end_line: usize,
    /// The first character behind the span, in its line.
    pub end_column: usize,
    /// The next step, where there is one.
    pub help: Option<String>,
}

impl Diagnostic {
    fn place(&self) -> Place {
        Place {
            file: self.file.clone(),
            span: self.span.clone(),
            line: self.line,
            column: self.column,
            end_line: self.end_line,
            end_column: self.end_column,
        }
    }
}

/// The diagnostics of one graph, with the texts that they point into.
#[derive(Debug, Clone)]
pub struct Diagnostics {
    sources: Sources,
    found: Vec<Diagnostic>,
    left_out: usize,
    /// Whether no warning is left that could make room for an error.
    only_errors: bool,
}

impl Diagnostics {
    /// Makes an empty list for a file.
    #[must_use]
    pub fn new(file: &str, text: Arc<str>) -> Self {
        Self {
            sources: Sources::new(file, text),
            found: Vec::new(),
            left_out: 0,
            only_errors: false,
        }
    }

    /// Adds a file that is extended: spans from here on can point into it. Gives where its text begins.
    pub(super) fn extend(&mut self, path: &str, text: &str) -> usize {
        self.sources.push(path, text)
    }

    /// Gives the files that the findings point into.
    #[must_use]
    pub const fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Adds an error; `help` names the next step.
    pub fn error(
        &mut self,
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<Option<String>>,
    ) {
        self.add(Severity::Error, code, span, message.into(), help.into());
    }

    /// Adds a warning; `help` names the next step.
    pub fn warning(
        &mut self,
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<Option<String>>,
    ) {
        self.add(Severity::Warning, code, span, message.into(), help.into());
    }

    fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        span: Range<usize>,
        message: String,
        help: Option<String>,
    ) {
        if self.found.len() >= KEPT && !self.make_room(severity) {
            return;
        }
        let Place {
            file,
            span,
            line,
            column,
            end_line,
            end_column,
        } = self.sources.place(&span);
        let diagnostic = Diagnostic {
            severity,
            code,
            message,
            file,
            span,
            line,
            column,
            end_line,
            end_column,
            help,
        };
        if !self.found.contains(&diagnostic) {
            self.found.push(diagnostic);
        }
    }

    /// Counts one more that is left out: a warning that makes room for an error, or the new one. Says whether there is room.
    fn make_room(&mut self, severity: Severity) -> bool {
        self.left_out += 1;
        if severity == Severity::Warning || self.only_errors {
            return false;
        }
        let is_warning = |d: &Diagnostic| d.severity == Severity::Warning;
        let warning = self.found.iter().rposition(is_warning);
        if let Some(warning) = warning {
            self.found.remove(warning);
        }
        self.only_errors = warning.is_none();
        warning.is_some()
    }

    /// Makes every warning an error.
    pub fn harden(&mut self) {
        for diagnostic in &mut self.found {
            diagnostic.severity = Severity::Error;
        }
    }

    /// Says whether a file cannot be read at all: it is no UTF-8, no TOML, or too large.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        self.found.iter().any(|d| UNREADABLE.contains(&d.code))
    }

    /// Says whether there is an error among them.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|d| d.severity == Severity::Error)
    }

    /// Counts the findings that are left out.
    #[must_use]
    pub const fn left_out(&self) -> usize {
        self.left_out
    }

    /// Counts the errors or the warnings that are kept.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.found.iter().filter(|d| d.severity == severity).count()
    }

    /// Says whether there is nothing to report.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Says whether further findings are only counted.
    #[must_use]
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= KEPT
    }

    /// Says whether there is enough to mend before it is worth looking for more.
    #[must_use]
    pub(super) fn is_enough(&self) -> bool {
        self.left_out >= ENOUGH && self.has_errors()
    }

    fn more(&self) -> String {
        let number = self.left_out;
        if self.is_enough() {
            format!("and {number} more at least")
        } else {
            format!("and {number} more")
        }
    }

    /// Gives the findings in the order of the file.
    #[must_use]
    pub fn list(&self) -> Vec<&Diagnostic> {
        let mut list: Vec<_> = self.found.iter().collect();
        let place = |d: &Diagnostic| self.sources.paths().position(|path| path == d.file);
        list.sort_by_key(|d| (place(d), d.span.start, d.span.end));
        list
    }

    /// Draws the findings with the lines that they are about.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut text = String::new();
        for diagnostic in self.list() {
            text.push_str(&self.render_one(&renderer, diagnostic));
            text.push_str("\n\n");
        }
        if self.left_out > 0 {
            let _ = write!(text, "{}\n\n", self.more());
        }
        text.truncate(text.trim_end().len());
        if !text.is_empty() {
            text.push('\n');
        }
        text
    }

    fn render_one(&self, renderer: &Renderer, diagnostic: &Diagnostic) -> String {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level
            .primary_title(diagnostic.message.as_str())
            .id(diagnostic.code);
        // Only the lines around the span are handed over: a renderer that sees the whole file reads all of it.
        let window = self.sources.window(&diagnostic.place());
        let mut group = if diagnostic.span == (0..0) {
            title.element(Origin::path(window.path))
        } else {
            title.element(
                Snippet::source(window.text)
                    .path(window.path)
                    .line_start(window.first_line)
                    .annotation(AnnotationKind::Primary.span(window.span)),
            )
        };
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }

    /// Gives the findings in the order of the file, and at the end how many more there are, if any were left out.
    #[must_use]
    pub fn all(&self) -> Vec<Diagnostic> {
        let mut all: Vec<Diagnostic> = self.list().into_iter().cloned().collect();
        if self.left_out > 0 {
            let mut more = Self::new(self.sources.path(), "".into());
            let severity = if self.has_errors() {
                Severity::Error
            } else {
                Severity::Warning
            };
            more.add(severity, MORE, 0..0, self.more(), None);
            all.append(&mut more.found);
        }
        all
    }

    /// Gives the findings as a JSON array.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self.all()).unwrap_or_default()
    }

    /// Turns the findings into the error that crosses the module's edge; its message is the drawing without colour.
    #[must_use]
    pub fn into_error(self) -> Error {
        let count = self.found.len() + self.left_out;
        let things = if count == 1 { "finding" } else { "findings" };
        let drawn = self.render(false);
        let kind = if self.is_unreadable() {
            ErrorKind::Configuration
        } else {
            ErrorKind::Invalid
        };
        Error::new(
            kind,
            format!(
                "{}: {count} {things}\n{}",
                self.sources.path(),
                drawn.trim_end()
            ),
        )
    }

    /// Gives `did you mean …` where one of the candidates is near; nothing once further findings are only counted.
    pub(super) fn suggest<'a>(
        &self,
        name: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Option<String> {
        if self.is_full() {
            return None;
        }
        did_you_mean(name, candidates)
    }

    /// Gives the text that the findings point into.
    pub(super) fn text(&self) -> &str {
        self.sources.text()
    }
}

/// Gives a name as it may stand in a message: short, and without control characters.
pub(super) fn shown(name: &str) -> String {
    printable(name, SHOWN)
}

/// Gives a path as it may stand before a message: programs open it, so that only what is absurd is cut.
pub(super) fn shown_path(path: &str) -> String {
    printable(path, PATH_SHOWN)
}

fn printable(name: &str, most: usize) -> String {
    let mut text: String = name
        .chars()
        .take(most)
        .map(|c| if c.is_control() { '\u{FFFD}' } else { c })
        .collect();
    if name.chars().nth(most).is_some() {
        text.push('…');
    }
    text
}

/// Gives `did you mean …` where one of the candidates is near.
pub(crate) fn did_you_mean<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(name, candidates).map(|near| format!("did you mean `{near}`?"))
}

fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > SHOWN {
        return None;
    }
    let near = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= near * 4)
        .take(COMPARED)
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= near)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_at_line_and_column() {
        let mut found = Diagnostics::new("g.toml", "a = 1\nbé = 2\n".into());
        found.error(
            "some-rule",
            10..11,
            "two is wrong",
            Some("say one".to_owned()),
        );
        let list = found.list();
        assert_eq!((list[0].line, list[0].column), (2, 4));
        let drawn = found.render(false);
        assert!(drawn.contains("g.toml:2:"), "{drawn}");
        assert!(drawn.contains("help: say one"), "{drawn}");
    }

    #[test]
    fn past_many_errors_the_search_ends() {
        let of = |errors: usize, warnings: usize| {
            let mut found = Diagnostics::new("a.toml", " ".repeat(2_000).into());
            for at in 0..errors {
                found.error("wrong", at..at, "wrong", None);
            }
            for at in 0..warnings {
                found.warning("odd", at..at, "odd", None);
            }
            found
        };
        assert!(!of(KEPT + ENOUGH - 1, 0).is_enough());
        assert!(!of(0, KEPT + ENOUGH).is_enough());
        let found = of(KEPT + ENOUGH, 0);
        assert!(found.is_enough());
        assert!(found.render(false).ends_with("and 1000 more at least\n"));
    }

    #[test]
    fn an_error_is_never_left_out_for_warnings() {
        let mut found = Diagnostics::new("g.toml", " ".repeat(300).into());
        for at in 0..KEPT + 20 {
            found.warning("odd", at..at, "odd", None);
        }
        found.error("wrong", 200..201, "wrong", None);
        assert!(found.has_errors());
        assert_eq!(found.list().len(), KEPT);
        let all = found.all();
        assert_eq!(all[KEPT - 1].code, "wrong");
        assert_eq!(
            (all[KEPT].code, all[KEPT].message.as_str()),
            (MORE, "and 21 more")
        );
    }

    #[test]
    fn spans_outside_the_text_do_not_panic() {
        let mut found = Diagnostics::new("g.toml", "é".into());
        let backwards = Range { start: 5, end: 2 };
        for span in [0..0, 1..1, 1..9, backwards, 9..9] {
            found.error("rule", span, "message", None);
        }
        assert!(found.render(true).contains("rule"));
    }

    #[test]
    fn an_empty_file_can_be_blamed() {
        let mut found = Diagnostics::new("g.toml", "".into());
        found.error("rule", 0..0, "message", None);
        assert!(found.render(false).contains("message"));
    }

    #[test]
    fn a_very_long_line_is_cut() {
        let text = format!("a = \"{}\"", "x".repeat(1_000_000));
        let mut found = Diagnostics::new("g.toml", text.into());
        found.error("rule", 4..1_000_000, "message", None);
        assert!(found.render(false).len() < 5_000);
    }

    #[test]
    fn control_characters_never_reach_a_terminal() {
        assert_eq!(shown("a\u{1b}[31mb"), "a\u{FFFD}[31mb");
    }

    #[test]
    fn suggests_only_what_is_near() {
        let known = ["analyzer", "executor"];
        assert_eq!(
            did_you_mean("analyser", known).as_deref(),
            Some("did you mean `analyzer`?")
        );
        assert_eq!(did_you_mean("zebra", known), None);
    }
}

//! A graph file as it stands: every value with its place in the text, nothing resolved.
//!
//! The file is read once into spanned TOML values and then walked by hand, so that one pass finds every unknown key and every
//! value of a wrong type, each with its place.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use toml::Spanned;

use super::cases::Case;
use super::diagnostic::Diagnostics;
use super::extends;
use super::outcome::Outcomes;
use super::walk::{Walker, pointer_to};

pub use super::schema::schema;
pub use super::walk::{LONGEST, is_name, parse_duration};

/// Bytes that a graph file may have.
pub const MAX_BYTES: usize = 1 << 20;

/// A graph file: its values with their places, and what is already known to be wrong with it.
#[derive(Debug, Clone)]
pub struct GraphFile {
    /// The path, for messages.
    pub path: String,
    /// The text of this file alone.
    pub text: Arc<str>,
    /// The graph that it extends; what that says and this file does not is here as well.
    pub extends: Option<Spanned<String>>,
    /// The graph's name; empty where the file has none.
    pub name: Spanned<String>,
    /// What it does, for people.
    pub description: Option<String>,
    /// The kind that is there before the first stage.
    pub input: Option<Spanned<String>>,
    /// How many stages may run at the same time.
    pub concurrency: Option<u32>,
    /// How long a run may take, without the time that it waits for people.
    pub deadline: Option<Duration>,
    /// What holds for stages that do not say otherwise.
    pub defaults: Policy,
    /// Edges, in the order of the file; absent where the file says nothing of edges.
    pub edges: Option<Vec<EdgeEntry>>,
    /// Tables of stages, in the order of the file.
    pub stages: Vec<StageEntry>,
    /// Tests, in the order of the file; those of a graph that it extends are not among them.
    pub tests: Vec<Case>,
    /// Whether an edge, a handler or the input could not be read: what is missing then is no defect of what is there.
    pub(super) has_gaps: bool,
    pub(super) problems: Diagnostics,
}

/// An entry of `[[edges]]`.
#[derive(Debug, Clone)]
pub enum EdgeEntry {
    /// `chain = […]`: an unconditional edge from each stage to the next.
    Chain(Vec<Spanned<String>>),
    /// `from`, `to` and what decides.
    Single(Box<SingleEdge>),
}

/// `from`, `to` and what decides.
#[derive(Debug, Clone)]
pub struct SingleEdge {
    /// Where the entry stands.
    pub span: Range<usize>,
    /// The stage it leaves.
    pub from: Spanned<String>,
    /// The stage it enters.
    pub to: Spanned<String>,
    /// Outcomes of `from` that take it; success if absent.
    pub on: Option<Outcomes>,
    /// A condition.
    pub when: Option<Spanned<String>>,
    /// Where `otherwise` stands: `else = true`.
    pub otherwise: Option<Range<usize>>,
}

/// A `[stages.ID]` table.
#[derive(Debug, Clone)]
pub struct StageEntry {
    /// The id.
    pub id: Spanned<String>,
    /// The handler; the id if absent.
    pub handler: Option<Spanned<String>>,
    /// A condition.
    pub when: Option<Spanned<String>>,
    /// Whether it is left out: as if its `when` were false.
    pub disabled: Option<Spanned<bool>>,
    /// Where `on_error` stands, and whether it is `skip`.
    pub on_error: Option<Spanned<OnError>>,
    /// Timeout and retry.
    pub policy: Policy,
    /// The handler's parameters.
    pub with: Option<With>,
}

/// The parameters of a stage's handler.
#[derive(Debug, Clone, Default)]
pub struct With {
    /// Where the table stands.
    pub span: Range<usize>,
    /// The parameters.
    pub values: Map<String, Value>,
    /// Where each key and its value stand, by the value's JSON pointer.
    pub places: HashMap<String, Entry>,
}

impl With {
    /// Gives where the value of each parameter stands, by the parameter's name.
    pub(super) fn places_of_values(&self) -> foldhash::HashMap<String, Range<usize>> {
        let names = self.values.keys();
        let place = |name: &String| self.places.get(&pointer_to("", name));
        names
            .filter_map(|name| Some((name.clone(), place(name)?.value.clone())))
            .collect()
    }
}

/// Where a key and its value stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Range<usize>,
    /// The value.
    pub value: Range<usize>,
}

/// What a failure of a stage does to its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// The run fails, unless an edge takes the failure.
    Fail,
    /// The stage counts as skipped.
    Skip,
}

/// Timeout and retry of attempts; what is absent is inherited.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
    /// Attempts, the first included.
    pub attempts: Option<Spanned<u32>>,
    /// The delay before the second attempt; it doubles from there.
    pub base: Option<Duration>,
    /// The longest delay.
    pub max: Option<Duration>,
    /// The failures that another attempt follows.
    pub on: Option<RetryOn>,
}

/// The failures that another attempt follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryOn {
    /// The handler said that another attempt may succeed.
    pub transient: bool,
    /// The attempt exceeded its timeout.
    pub timeout: bool,
}

/// Finds the graph that another extends: by the name that it gives, and the path of the file that gives it. Gives its path, for
/// messages and to tell files apart, and its bytes.
pub type Bases<'a> = &'a dyn Fn(&str, &str) -> Option<(String, Vec<u8>)>;

impl GraphFile {
    /// Reads a graph file that extends no other. Defects that do not keep it from being read are kept for `Plan::build`, which
    /// reports all at once.
    ///
    /// # Errors
    /// The bytes are not UTF-8 or not TOML, or there are more than [`MAX_BYTES`].
    pub fn parse(path: &str, bytes: &[u8]) -> Result<Self, Diagnostics> {
        Self::load(path, bytes, &|_, _| None)
    }

    /// Reads a graph file and those that it extends.
    ///
    /// # Errors
    /// As [`Self::parse`], for each of the files; a file that is extended is not there, or extends itself in the end.
    pub fn load(path: &str, bytes: &[u8], bases: Bases<'_>) -> Result<Self, Diagnostics> {
        let text = text_of(path, bytes)?;
        let problems = Diagnostics::new(path, Arc::clone(&text));
        let file = read(path, &text, 0, problems)?;
        extends::apply(file, bases)
    }

    /// Gives what is known to be wrong before anything is resolved.
    #[must_use]
    pub const fn problems(&self) -> &Diagnostics {
        &self.problems
    }
}

/// Reads one file whose text begins at `start` among the texts that `problems` points into.
pub(super) fn read(
    path: &str,
    text: &Arc<str>,
    start: usize,
    mut problems: Diagnostics,
) -> Result<GraphFile, Diagnostics> {
    // Blanks in front move every span to where the text lies among the others.
    let padded = if start > 0 {
        format!("{:start$}{text}", "").into()
    } else {
        Arc::clone(text)
    };
    let (table, errors) = toml::de::DeTable::parse_recoverable(&padded);
    report_syntax(&padded, &errors, &mut problems);
    if problems.has_errors() && !errors.is_empty() {
        return Err(problems);
    }
    Ok(Walker::new(path, text, problems).graph(table.into_inner()))
}

/// Reports what the parser found. It goes on after an error, and then says more about the same line, or about each key of a table
/// that is there twice: that is one defect.
fn report_syntax(text: &str, errors: &[toml::de::Error], problems: &mut Diagnostics) {
    let mut errors: Vec<_> = errors
        .iter()
        .map(|error| (error.span().unwrap_or(0..0), error))
        .collect();
    errors.sort_by_key(|(span, _)| span.start);
    let mut quiet_until = 0;
    for (span, error) in errors {
        let start = span.start.min(text.len());
        if start < quiet_until || problems.is_full() {
            continue;
        }
        let line = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let end = if text[line..].starts_with('[') {
            "\n["
        } else {
            "\n"
        };
        quiet_until = text[line..].find(end).map_or(text.len(), |end| line + end);
        let message = format!("this is not TOML: {}", error.message());
        problems.error("toml", span, message, None);
    }
}

pub(super) fn text_of(path: &str, bytes: &[u8]) -> Result<Arc<str>, Diagnostics> {
    let refuse = |text: &str, at: usize, code, message: String, help: &str| {
        let mut problems = Diagnostics::new(path, text.into());
        problems.error(code, at..text.len(), message, Some(help.to_owned()));
        Err(problems)
    };
    if bytes.len() > MAX_BYTES {
        return refuse(
            "",
            0,
            "too-large",
            format!("a graph file of {} bytes is too large", bytes.len()),
            "a graph file has at most 1 MiB",
        );
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{FEFF}').unwrap_or(text).into()),
        Err(error) => {
            let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let text = format!("{valid}\u{FFFD}");
            refuse(
                &text,
                valid.len(),
                "not-utf-8",
                format!("byte {} is not UTF-8", error.valid_up_to()),
                "save the file as UTF-8",
            )
        }
    }
}

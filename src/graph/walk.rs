//! Walks the TOML values of a graph file: keys, types and spans.

mod cases;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostics, did_you_mean, shown};
use super::file::{
    EdgeEntry, Entry, GraphFile, OnError, Policy, RetryOn, SingleEdge, StageEntry, With,
};
use super::outcome::{Outcome, Outcomes};

/// The longest timeout or delay: a week. What is longer is a slip, and overflows clocks.
pub const LONGEST: Duration = Duration::from_hours(7 * 24);
const MAX_ATTEMPTS: i64 = 100;
const MAX_CONCURRENCY: i64 = 1024;

const TOP_KEYS: &[&str] = &[
    "name",
    "description",
    "extends",
    "input",
    "concurrency",
    "deadline",
    "defaults",
    "edges",
    "stages",
    "tests",
];
const DEFAULTS_KEYS: &[&str] = &["timeout", "retry"];
const RETRY_KEYS: &[&str] = &["attempts", "base", "max", "on"];
const EDGE_KEYS: &[&str] = &["chain", "from", "to", "on", "when", "else"];
const STAGE_KEYS: &[&str] = &[
    "handler", "when", "disabled", "on_error", "timeout", "retry", "with",
];

type Table<'i> = DeTable<'i>;
type Node<'i> = Spanned<DeValue<'i>>;

pub(super) struct Walker {
    path: String,
    text: Arc<str>,
    has_gaps: bool,
    problems: Diagnostics,
}

impl Walker {
    pub(super) fn new(path: &str, text: &Arc<str>, problems: Diagnostics) -> Self {
        Self {
            path: path.to_owned(),
            text: Arc::clone(text),
            has_gaps: false,
            problems,
        }
    }

    pub(super) fn graph(mut self, mut written: Table<'_>) -> GraphFile {
        self.known_keys(&written, TOP_KEYS, "a graph file");
        let edges = written.remove("edges").and_then(|node| self.edges(node));
        let table = &written;
        let name = self.name_of(table, "name", "the graph's name");
        if name.is_none() && !table.contains_key("name") {
            self.problems.error(
                "missing-key",
                0..0,
                "the graph has no `name`",
                Some("add `name = \"…\"` at the top".to_owned()),
            );
        }
        let description = self.string(table, "description").map(Spanned::into_inner);
        let extends = self.name_of(table, "extends", "the name of a graph");
        let input = self.name_of(table, "input", "the name of the input's kind");
        self.has_gaps |= input.is_none() && table.contains_key("input");
        let concurrency = self
            .integer(table, "concurrency", 1..=MAX_CONCURRENCY)
            .and_then(|number| u32::try_from(number).ok());
        let deadline = self.duration(table, "deadline", true);
        let mut defaults = Policy::default();
        if let Some((entries, _)) = self.table(table, "defaults") {
            self.known_keys(entries, DEFAULTS_KEYS, "[defaults]");
            defaults = self.policy(entries);
        }
        let stages = self.stages(table);
        let tests = self.cases(table);
        GraphFile {
            path: self.path,
            text: self.text,
            extends,
            name: name.unwrap_or_else(|| Spanned::new(0..0, String::new())),
            description,
            input,
            concurrency,
            deadline,
            defaults,
            edges,
            stages,
            tests,
            has_gaps: self.has_gaps,
            problems: self.problems,
        }
    }

    /// Reads the edges, which are most of a large file. The memory of each table is free for what it becomes.
    fn edges(&mut self, node: Node<'_>) -> Option<Vec<EdgeEntry>> {
        if !node.get_ref().is_array() {
            self.wrong_type("edges", &node, "an array of tables: `[[edges]]`");
            self.has_gaps = true;
        }
        let DeValue::Array(list) = node.into_inner() else {
            return None;
        };
        let mut edges = Vec::with_capacity(list.len());
        for entry in list {
            if self.problems.is_enough() {
                self.has_gaps = true;
                break;
            }
            let edge = if let Some(table) = entry.get_ref().as_table() {
                self.edge(table, entry.span())
            } else {
                self.wrong_type("edges", &entry, "a table: `[[edges]]`");
                None
            };
            self.has_gaps |= edge.is_none();
            edges.extend(edge);
        }
        Some(edges)
    }

    fn edge(&mut self, table: &Table<'_>, span: Range<usize>) -> Option<EdgeEntry> {
        self.known_keys(table, EDGE_KEYS, "an edge");
        if let Some((key, _)) = table.get_key_value("chain") {
            let extra = ["from", "to", "on", "when", "else"]
                .iter()
                .find(|key| table.contains_key(**key));
            if let Some(extra) = extra {
                self.problems.error(
                    "chain-with-more",
                    key.span(),
                    format!("`chain` and `{extra}` cannot stand in one edge"),
                    Some("give each its own `[[edges]]`".to_owned()),
                );
            }
            return self.chain(table).map(EdgeEntry::Chain);
        }
        for key in ["from", "to"] {
            if !table.contains_key(key) {
                self.problems.error(
                    "missing-key",
                    span.clone(),
                    format!("this edge has no `{key}`"),
                    Some("an edge has `from` and `to`, or `chain`".to_owned()),
                );
            }
        }
        let from = self.string(table, "from");
        let to = self.string(table, "to");
        let on = self.outcomes(table);
        let when = self.string(table, "when");
        let otherwise = self.boolean(table, "else").filter(|yes| *yes.get_ref());
        let otherwise = otherwise.map(|yes| yes.span());
        if let (Some(at), Some(_)) = (&otherwise, &when) {
            self.problems.error(
                "else-with-when",
                at.clone(),
                "`else` and `when` cannot stand in one edge",
                Some("an `else` edge is taken if none of its siblings was".to_owned()),
            );
        }
        Some(EdgeEntry::Single(Box::new(SingleEdge {
            span,
            from: from?,
            to: to?,
            on,
            when,
            otherwise,
        })))
    }

    fn chain(&mut self, table: &Table<'_>) -> Option<Vec<Spanned<String>>> {
        let written = table.get("chain")?;
        if written
            .get_ref()
            .as_array()
            .is_some_and(|list| list.is_empty())
        {
            self.problems.error(
                "empty-list",
                written.span(),
                "this chain names no stage",
                Some("name the stages in their order: `chain = [\"…\", \"…\"]`".to_owned()),
            );
        }
        let names = self.strings(table, "chain")?;
        let list = written.get_ref().as_array();
        self.has_gaps |= list.is_some_and(|list| list.len() != names.len());
        (!names.is_empty()).then_some(names)
    }

    fn outcomes(&mut self, table: &Table<'_>) -> Option<Outcomes> {
        let names = self.strings(table, "on")?;
        let mut outcomes = Outcomes::default();
        for name in &names {
            match Outcome::ALL
                .into_iter()
                .find(|outcome| outcome.name() == name.get_ref())
            {
                Some(outcome) => outcomes = outcomes.with(outcome),
                None => self.not_one_of(name, &Outcome::ALL.map(Outcome::name), "an outcome"),
            }
        }
        if names.is_empty() {
            let span = table.get("on").map_or(0..0, Spanned::span);
            self.problems.error(
                "empty-list",
                span,
                "an edge `on` no outcome is never taken",
                Some("leave `on` out for success".to_owned()),
            );
        }
        (!outcomes.is_empty()).then_some(outcomes)
    }

    fn stages(&mut self, table: &Table<'_>) -> Vec<StageEntry> {
        let Some((entries, _)) = self.table(table, "stages") else {
            return Vec::new();
        };
        let mut stages = Vec::with_capacity(entries.len());
        for (id, node) in entries {
            let id = Spanned::new(id.span(), id.get_ref().to_string());
            if !self.is_name(&id, "a stage id") {
                continue;
            }
            match node.get_ref().as_table() {
                Some(table) => stages.push(self.stage(id, table)),
                None => self.wrong_type(id.get_ref(), node, "a table"),
            }
        }
        // The order of the file decides the order of stages that are ready at the same time.
        stages.sort_by_key(|stage| stage.id.span().start);
        stages
    }

    fn stage(&mut self, id: Spanned<String>, table: &Table<'_>) -> StageEntry {
        self.known_keys(table, STAGE_KEYS, "a stage");
        let on_error = self.string(table, "on_error").and_then(|text| {
            let value = match text.get_ref().as_str() {
                "skip" => OnError::Skip,
                "fail" => OnError::Fail,
                _ => {
                    self.not_one_of(&text, &["fail", "skip"], "a value of `on_error`");
                    return None;
                }
            };
            Some(Spanned::new(text.span(), value))
        });
        let with = self
            .table(table, "with")
            .map(|(entries, span)| parameters(entries, span));
        let handler = self.string(table, "handler");
        self.has_gaps |= handler.is_none() && table.contains_key("handler");
        StageEntry {
            handler,
            when: self.string(table, "when"),
            disabled: self.boolean(table, "disabled"),
            on_error,
            policy: self.policy(table),
            with,
            id,
        }
    }

    fn policy(&mut self, table: &Table<'_>) -> Policy {
        let mut policy = Policy {
            timeout: self.duration(table, "timeout", true),
            ..Policy::default()
        };
        let Some((retry, _)) = self.table(table, "retry") else {
            return policy;
        };
        self.known_keys(retry, RETRY_KEYS, "`retry`");
        let attempts = self.integer(retry, "attempts", 1..=MAX_ATTEMPTS);
        let place = retry.get("attempts").map(Spanned::span);
        policy.attempts = attempts
            .and_then(|number| u32::try_from(number).ok())
            .zip(place)
            .map(|(number, place)| Spanned::new(place, number));
        policy.base = self.duration(retry, "base", false);
        policy.max = self.duration(retry, "max", false);
        if let (Some(base), Some(max), Some(place)) = (policy.base, policy.max, retry.get("base"))
            && base > max
        {
            let help = "`base` is the first delay; it doubles up to `max`";
            self.problems.error(
                "out-of-range",
                place.span(),
                "`base` is longer than `max`",
                Some(help.to_owned()),
            );
        }
        if let Some(names) = self.strings(retry, "on") {
            let mut on = RetryOn {
                transient: false,
                timeout: false,
            };
            for name in &names {
                match name.get_ref().as_str() {
                    "transient" => on.transient = true,
                    "timeout" => on.timeout = true,
                    _ => self.not_one_of(name, &["transient", "timeout"], "a kind of failure"),
                }
            }
            policy.on = Some(on);
        }
        policy
    }

    fn known_keys(&mut self, table: &Table<'_>, known: &[&'static str], what: &str) {
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if self.problems.is_full() {
                return;
            }
            if !known.contains(&name) {
                let help = did_you_mean(name, known.iter().copied())
                    .unwrap_or_else(|| format!("the keys are {}", quoted(known)));
                let message = format!("{what} has no key `{}`", shown(name));
                self.problems
                    .error("unknown-key", key.span(), message, Some(help));
            }
        }
    }

    fn not_one_of(&mut self, name: &Spanned<String>, known: &[&'static str], what: &str) {
        let text = name.get_ref();
        let help = did_you_mean(text, known.iter().copied())
            .unwrap_or_else(|| format!("use {}", quoted(known)));
        self.problems.error(
            "unknown-value",
            name.span(),
            format!("`{}` is not {what}", shown(text)),
            Some(help),
        );
    }

    fn wrong_type(&mut self, key: &str, node: &Node<'_>, wanted: &str) {
        self.problems.error(
            "wrong-type",
            node.span(),
            format!(
                "`{}` has to be {wanted}, and this is {}",
                shown(key),
                sort_of(node.get_ref())
            ),
            None,
        );
    }

    fn table<'t, 'i>(
        &mut self,
        table: &'t Table<'i>,
        key: &str,
    ) -> Option<(&'t Table<'i>, Range<usize>)> {
        let node = table.get(key)?;
        let inner = node.get_ref().as_table();
        if inner.is_none() {
            self.wrong_type(key, node, "a table");
        }
        inner.map(|inner| (inner, node.span()))
    }

    fn string(&mut self, table: &Table<'_>, key: &str) -> Option<Spanned<String>> {
        let node = table.get(key)?;
        self.as_string(key, node)
    }

    fn as_string(&mut self, key: &str, node: &Node<'_>) -> Option<Spanned<String>> {
        let text = node.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(key, node, "a string");
        }
        text.map(|text| Spanned::new(node.span(), text.to_owned()))
    }

    fn strings(&mut self, table: &Table<'_>, key: &str) -> Option<Vec<Spanned<String>>> {
        let node = table.get(key)?;
        let Some(list) = node.get_ref().as_array() else {
            self.wrong_type(key, node, "an array of strings");
            return None;
        };
        Some(
            list.iter()
                .filter_map(|item| self.as_string(key, item))
                .collect(),
        )
    }

    fn boolean(&mut self, table: &Table<'_>, key: &str) -> Option<Spanned<bool>> {
        let node = table.get(key)?;
        let truth = node.get_ref().as_bool();
        if truth.is_none() {
            self.wrong_type(key, node, "true or false");
        }
        truth.map(|truth| Spanned::new(node.span(), truth))
    }

    fn integer(
        &mut self,
        table: &Table<'_>,
        key: &str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        let node = table.get(key)?;
        let Some(integer) = node.get_ref().as_integer() else {
            self.wrong_type(key, node, "a whole number");
            return None;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            self.problems.error(
                "out-of-range",
                node.span(),
                format!("`{key}` has to be {} to {}", range.start(), range.end()),
                None,
            );
        }
        number
    }

    fn duration(&mut self, table: &Table<'_>, key: &str, positive: bool) -> Option<Duration> {
        let text = self.string(table, key)?;
        match parse_duration(text.get_ref()) {
            Some(duration) if duration <= LONGEST && !(positive && duration.is_zero()) => {
                Some(duration)
            }
            Some(_) => {
                self.problems.error(
                    "out-of-range",
                    text.span(),
                    format!("`{key}` has to be more than 0 and at most 7 days"),
                    None,
                );
                None
            }
            None => {
                self.problems.error(
                    "not-a-duration",
                    text.span(),
                    format!("`{}` is not a duration", shown(text.get_ref())),
                    Some("write a whole number and ms, s, m or h: `250ms`, `5m`".to_owned()),
                );
                None
            }
        }
    }

    fn name_of(&mut self, table: &Table<'_>, key: &str, what: &str) -> Option<Spanned<String>> {
        let name = self.string(table, key)?;
        self.is_name(&name, what).then_some(name)
    }

    fn is_name(&mut self, name: &Spanned<String>, what: &str) -> bool {
        let fits = is_name(name.get_ref());
        if !fits {
            self.problems.error(
                "bad-name",
                name.span(),
                format!("`{}` cannot be {what}", shown(name.get_ref())),
                Some(NAME_HELP.to_owned()),
            );
        }
        fits
    }
}

pub(super) const NAME_HELP: &str =
    "a name begins with a to z and has at most 63 of a to z, 0 to 9, `_` and `-`";

/// Says whether a text is `[a-z][a-z0-9_-]{0,62}`: such names become file names and URL paths.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    (1..=63).contains(&text.len())
        && text.as_bytes()[0].is_ascii_lowercase()
        && text.bytes().all(plain)
}

/// Names the sort of a value, for messages.
fn sort_of(value: &DeValue<'_>) -> String {
    let sort = value.type_str();
    let article = if sort.starts_with(['a', 'i']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {sort}")
}

fn quoted(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// Reads a whole number with its unit: ms, s, m or h.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let milliseconds = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

fn parameters(table: &Table<'_>, span: Range<usize>) -> With {
    let mut places = HashMap::new();
    let values = json_of_table(table, "", &mut places);
    With {
        span,
        values,
        places,
    }
}

fn json_of_table(
    table: &Table<'_>,
    pointer: &str,
    places: &mut HashMap<String, Entry>,
) -> Map<String, Value> {
    let mut values = Map::new();
    for (key, node) in table {
        let name = key.get_ref().to_string();
        let pointer = pointer_to(pointer, &name);
        values.insert(name, json_of(node, &pointer, places));
        let (key, value) = (key.span(), node.span());
        places.insert(pointer, Entry { key, value });
    }
    values
}

/// Gives the JSON pointer (RFC 6901) of a member.
pub(super) fn pointer_to(parent: &str, name: &str) -> String {
    format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn json_of(node: &Node<'_>, pointer: &str, places: &mut HashMap<String, Entry>) -> Value {
    match node.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Null, Value::from)
        }
        DeValue::Float(number) => number
            .as_str()
            .parse::<f64>()
            .map_or(Value::Null, Value::from),
        DeValue::Boolean(truth) => Value::Bool(*truth),
        DeValue::Datetime(moment) => Value::String(moment.to_string()),
        DeValue::Array(list) => {
            let mut values = Vec::with_capacity(list.len());
            for (place, item) in list.iter().enumerate() {
                let pointer = format!("{pointer}/{place}");
                values.push(json_of(item, &pointer, places));
                let (key, value) = (item.span(), item.span());
                places.insert(pointer, Entry { key, value });
            }
            Value::Array(values)
        }
        DeValue::Table(table) => Value::Object(json_of_table(table, pointer, places)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("5m"), Some(Duration::from_mins(5)));
        assert_eq!(parse_duration("6h"), Some(Duration::from_hours(6)));
        for bad in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "5 m",
            "99999999999999999h",
            "1d",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn names() {
        for good in ["a", "llm_advisor", "plan-only", "a0"] {
            assert!(is_name(good), "{good}");
        }
        for bad in [
            "",
            "A",
            "0a",
            "_a",
            "../x",
            "a%2Fb",
            "é",
            "a.b",
            &"a".repeat(64),
        ] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}

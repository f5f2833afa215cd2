//! A graph file as one text that extends nothing: what `relvec graph --format toml` prints, and what a run keeps of its graph.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::file::{EdgeEntry, GraphFile, OnError, Policy, SingleEdge, StageEntry};

/// Writes a graph, with what it has from the graphs that it extends, as one TOML text. Comments and tests are not part of it.
#[must_use]
pub fn to_toml(file: &GraphFile) -> String {
    let mut text = String::new();
    line(&mut text, "name", &quoted(file.name.get_ref()));
    if let Some(description) = &file.description {
        line(&mut text, "description", &quoted(description));
    }
    if let Some(input) = &file.input {
        line(&mut text, "input", &quoted(input.get_ref()));
    }
    if let Some(concurrency) = file.concurrency {
        line(&mut text, "concurrency", &concurrency.to_string());
    }
    if let Some(deadline) = file.deadline {
        line(&mut text, "deadline", &quoted(&duration(deadline)));
    }
    let mut defaults = String::new();
    policy(&mut defaults, &file.defaults);
    if !defaults.is_empty() {
        let _ = write!(text, "\n[defaults]\n{defaults}");
    }
    for entry in file.edges.iter().flatten() {
        text.push_str("\n[[edges]]\n");
        match entry {
            EdgeEntry::Chain(names) => {
                let names = names.iter().map(|name| quoted(name.get_ref()));
                line(&mut text, "chain", &list(names));
            }
            EdgeEntry::Single(edge) => single(&mut text, edge),
        }
    }
    for entry in &file.stages {
        let _ = writeln!(text, "\n[stages.{}]", entry.id.get_ref());
        stage(&mut text, entry);
    }
    text
}

fn single(text: &mut String, edge: &SingleEdge) {
    line(text, "from", &quoted(edge.from.get_ref()));
    line(text, "to", &quoted(edge.to.get_ref()));
    if let Some(on) = edge.on {
        line(text, "on", &list(on.names().map(quoted)));
    }
    if let Some(when) = &edge.when {
        line(text, "when", &quoted(when.get_ref()));
    }
    if edge.otherwise.is_some() {
        line(text, "else", "true");
    }
}

fn stage(text: &mut String, stage: &StageEntry) {
    if let Some(handler) = &stage.handler {
        line(text, "handler", &quoted(handler.get_ref()));
    }
    if let Some(when) = &stage.when {
        line(text, "when", &quoted(when.get_ref()));
    }
    if let Some(disabled) = &stage.disabled {
        line(text, "disabled", &disabled.get_ref().to_string());
    }
    if let Some(on_error) = &stage.on_error {
        let value = match on_error.get_ref() {
            OnError::Fail => "fail",
            OnError::Skip => "skip",
        };
        line(text, "on_error", &quoted(value));
    }
    policy(text, &stage.policy);
    if let Some(with) = &stage.with {
        line(text, "with", &inline(&Value::Object(with.values.clone())));
    }
}

fn policy(text: &mut String, policy: &Policy) {
    if let Some(timeout) = policy.timeout {
        line(text, "timeout", &quoted(&duration(timeout)));
    }
    let mut retry = Vec::new();
    if let Some(attempts) = &policy.attempts {
        retry.push(format!("attempts = {}", attempts.get_ref()));
    }
    for (key, value) in [("base", policy.base), ("max", policy.max)] {
        if let Some(value) = value {
            retry.push(format!("{key} = {}", quoted(&duration(value))));
        }
    }
    if let Some(on) = policy.on {
        let names = [(on.transient, "transient"), (on.timeout, "timeout")];
        let names = names.into_iter().filter(|(is_on, _)| *is_on);
        retry.push(format!(
            "on = {}",
            list(names.map(|(_, name)| quoted(name)))
        ));
    }
    if !retry.is_empty() {
        line(text, "retry", &format!("{{ {} }}", retry.join(", ")));
    }
}

fn line(text: &mut String, key: &str, value: &str) {
    let _ = writeln!(text, "{key} = {value}");
}

fn list(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(", "))
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.chars().all(is_bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Object(entries) => {
            let entries = entries
                .iter()
                .map(|(name, value)| format!("{} = {}", key(name), inline(value)));
            let entries: Vec<String> = entries.collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Array(values) => list(values.iter().map(inline)),
        Value::String(text) => quoted(text),
        // TOML has no null: a number that JSON cannot hold was one.
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// Writes a duration with the largest unit that leaves a whole number.
pub(super) fn duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    for (unit, length) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if milliseconds > 0 && milliseconds.is_multiple_of(length) {
            return format!("{}{unit}", milliseconds / length);
        }
    }
    format!("{milliseconds}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = r#"
name = "base"
input = "job"
deadline = "90m"
defaults = { timeout = "1500ms", retry = { attempts = 3, on = ["timeout"] } }
[[edges]]
chain = ["a", "b"]
[stages.a]
handler = "step"
with = { value = 3, does = "succeed" }
[stages.b]
handler = "step"
when = "job.x == \"y\\n\""
timeout = "2h"
"#;

    const OVER: &str = r#"
name = "over"
extends = "base"
defaults = { retry = { base = "1s" } }
[stages.a]
with = { value = 4 }
[stages.b]
disabled = true
on_error = "skip"
[stages.c]
handler = "step"
"#;

    fn load(text: &str) -> GraphFile {
        let bases = |name: &str, _: &str| {
            let text = if name == "base" { BASE } else { OVER };
            Some((format!("{name}.toml"), text.as_bytes().to_vec()))
        };
        match GraphFile::load("test.toml", text.as_bytes(), &bases) {
            Ok(file) => file,
            Err(found) => panic!("{}", found.render(false)),
        }
    }

    #[test]
    fn tables_of_stages_override_the_bases_key_by_key() {
        assert_eq!(
            to_toml(&load(OVER)),
            r#"name = "over"
input = "job"
deadline = "90m"

[defaults]
timeout = "1500ms"
retry = { attempts = 3, base = "1s", on = ["timeout"] }

[[edges]]
chain = ["a", "b"]

[stages.a]
handler = "step"
with = { value = 4, does = "succeed" }

[stages.b]
handler = "step"
when = 'job.x == "y\n"'
disabled = true
on_error = "skip"
timeout = "2h"

[stages.c]
handler = "step"
"#
        );
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let written = to_toml(&load(OVER));
        assert_eq!(to_toml(&load(&written)), written);
    }

    #[test]
    fn edges_replace_the_bases() {
        let over = load(&format!("{OVER}\n[[edges]]\nchain = [\"a\", \"c\"]\n"));
        assert!(to_toml(&over).contains("chain = [\"a\", \"c\"]"));
        assert!(!to_toml(&over).contains("chain = [\"a\", \"b\"]"));
    }
}

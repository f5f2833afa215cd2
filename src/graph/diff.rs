//! What differs between two graphs by meaning: what a run of the one would do that a run of the other would not.
//!
//! Two plans are compared, so that what a file leaves to defaults, to other files or to the order of its lines is settled
//! before. Names and descriptions mean nothing to a run. Stages are told apart by their ids: one that was renamed is one
//! removed and one added.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::flat::duration;
use super::plan::{Edge, Guard, Plan, Retry, Stage};

/// The deepest nesting of a parameter's schema that is searched for defaults.
const DEEPEST: usize = 16;

/// What differs between two graphs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GraphDiff {
    /// What differs in the graph's own settings: `input`, `concurrency`, `deadline`.
    pub settings: Vec<Difference>,
    /// Stages that differ, by id.
    pub stages: Vec<StageDiff>,
    /// Edges that differ, by their ends.
    pub edges: Vec<EdgeDiff>,
}

/// A value that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// Which: `timeout`, `retry.attempts`, `with.rows`.
    pub what: String,
    /// Its value in the first graph; null where it has none.
    pub before: Value,
    /// Its value in the second graph; null where it has none.
    pub after: Value,
}

/// Whether something is in one graph only, or differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is in the second graph only.
    Added,
    /// It is in the first graph only.
    Removed,
    /// It is in both, and differs.
    Changed,
}

/// A stage that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageDiff {
    /// Its id.
    pub stage: String,
    /// How.
    pub change: Change,
    /// What differs, where it is in both.
    pub differences: Vec<Difference>,
}

/// An edge that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EdgeDiff {
    /// The stage it leaves.
    pub from: String,
    /// The stage it enters.
    pub to: String,
    /// How.
    pub change: Change,
    /// What differs, where it is in both.
    pub differences: Vec<Difference>,
}

/// Compares two graphs by meaning.
#[must_use]
pub fn diff(before: &Plan, after: &Plan) -> GraphDiff {
    GraphDiff {
        settings: settings(before, after),
        stages: stages(before, after),
        edges: edges(before, after),
    }
}

impl GraphDiff {
    /// Says whether the graphs mean the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.stages.is_empty() && self.edges.is_empty()
    }
}

/// Collects the values that differ.
#[derive(Default)]
struct Differences(Vec<Difference>);

impl Differences {
    fn compare(&mut self, what: &str, before: Value, after: Value) {
        if before != after {
            let what = what.to_owned();
            self.0.push(Difference {
                what,
                before,
                after,
            });
        }
    }

    /// Compares objects key by key, all else whole.
    fn compare_deep(&mut self, what: &str, before: &Value, after: &Value) {
        let (Value::Object(one), Value::Object(other)) = (before, after) else {
            return self.compare(what, before.clone(), after.clone());
        };
        let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
        for key in keys {
            let value = |object: &Map<String, Value>| object.get(key).cloned().unwrap_or_default();
            self.compare_deep(&format!("{what}.{key}"), &value(one), &value(other));
        }
    }

    fn compare_guards(&mut self, before: Option<&Guard>, after: Option<&Guard>) {
        if let (Some(one), Some(other)) = (before, after)
            && one.condition.means(&other.condition)
        {
            return;
        }
        let expression = |guard: Option<&Guard>| match guard {
            Some(guard) => guard.condition.expression().as_ref().into(),
            None => Value::Null,
        };
        self.compare("when", expression(before), expression(after));
    }
}

fn settings(before: &Plan, after: &Plan) -> Vec<Difference> {
    let mut found = Differences::default();
    let input = |plan: &Plan| json!(plan.input().map(ToString::to_string));
    found.compare("input", input(before), input(after));
    let concurrency = |plan: &Plan| json!(plan.concurrency());
    found.compare("concurrency", concurrency(before), concurrency(after));
    let deadline = |plan: &Plan| json!(plan.deadline().map(duration));
    found.compare("deadline", deadline(before), deadline(after));
    found.0
}

fn stages(before: &Plan, after: &Plan) -> Vec<StageDiff> {
    let ids = |plan: &Plan| -> BTreeSet<String> {
        let ids = plan.stages().iter().map(|stage| stage.id.to_string());
        ids.collect()
    };
    let all = &ids(before) | &ids(after);
    all.into_iter()
        .filter_map(|id| {
            let find = |plan: &Plan| plan.find(&id);
            let (change, differences) = match (find(before), find(after)) {
                (Some(one), Some(other)) => {
                    let found = compare_stages(&before.stages()[one], &after.stages()[other]);
                    (Change::Changed, found)
                }
                (None, _) => (Change::Added, Vec::new()),
                (Some(_), None) => (Change::Removed, Vec::new()),
            };
            let differs = change != Change::Changed || !differences.is_empty();
            differs.then_some(StageDiff {
                stage: id,
                change,
                differences,
            })
        })
        .collect()
}

fn compare_stages(before: &Stage, after: &Stage) -> Vec<Difference> {
    let mut found = Differences::default();
    let handler = |stage: &Stage| json!(stage.handler.name);
    found.compare("handler", handler(before), handler(after));
    found.compare_guards(before.when.as_ref(), after.when.as_ref());
    let disabled = |stage: &Stage| json!(stage.disabled.is_some());
    found.compare("disabled", disabled(before), disabled(after));
    let on_error = |stage: &Stage| json!(if stage.skips_errors { "skip" } else { "fail" });
    found.compare("on_error", on_error(before), on_error(after));
    let timeout = |stage: &Stage| json!(duration(stage.timeout));
    found.compare("timeout", timeout(before), timeout(after));
    compare_retries(&mut found, before.retry, after.retry);
    if before.handler.name == after.handler.name {
        found.compare_deep("with", &parameters(before), &parameters(after));
    } else {
        // Parameters of two handlers have nothing in common: only what is written is shown.
        found.compare_deep("with", &before.with, &after.with);
    }
    found.0
}

/// What follows a failed attempt means nothing where there is one attempt only.
fn compare_retries(found: &mut Differences, before: Retry, after: Retry) {
    found.compare(
        "retry.attempts",
        json!(before.attempts),
        json!(after.attempts),
    );
    if before.attempts <= 1 || after.attempts <= 1 {
        return;
    }
    let base = |retry: Retry| json!(duration(retry.base));
    found.compare("retry.base", base(before), base(after));
    let max = |retry: Retry| json!(duration(retry.max));
    found.compare("retry.max", max(before), max(after));
    let on = |retry: Retry| {
        let all = [
            (retry.on.transient, "transient"),
            (retry.on.timeout, "timeout"),
        ];
        let on = all.into_iter().filter(|(is_on, _)| *is_on);
        on.map(|(_, name)| json!(name)).collect::<Value>()
    };
    found.compare("retry.on", on(before), on(after));
}

/// A stage's parameters with what the handler's schema has where the file says nothing.
fn parameters(stage: &Stage) -> Value {
    let schema = (stage.handler.params_schema)();
    let mut with = match &stage.with {
        Value::Object(with) => Value::Object(with.clone()),
        other => other.clone(),
    };
    if with.is_null() {
        with = json!({});
    }
    fill(&mut with, &schema, &schema, 0);
    with
}

fn fill(value: &mut Value, schema: &Value, root: &Value, depth: usize) {
    let mut schema = schema;
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#'));
        schema = target.unwrap_or(schema);
    }
    let (Some(object), Some(properties)) =
        (value.as_object_mut(), schema["properties"].as_object())
    else {
        return;
    };
    for (name, property) in properties {
        if let Some(default) = property.get("default")
            && !object.contains_key(name)
        {
            object.insert(name.clone(), default.clone());
        }
        if let Some(value) = object.get_mut(name)
            && depth < DEEPEST
        {
            fill(value, property, root, depth + 1);
        }
    }
}

fn edges(before: &Plan, after: &Plan) -> Vec<EdgeDiff> {
    let ends = |plan: &Plan| -> BTreeSet<(String, String)> {
        let id = |stage: usize| plan.stages()[stage].id.to_string();
        let edges = plan.edges().iter();
        edges.map(|edge| (id(edge.from), id(edge.to))).collect()
    };
    let all = &ends(before) | &ends(after);
    all.into_iter()
        .filter_map(|(from, to)| {
            let (change, differences) = match (before.edge(&from, &to), after.edge(&from, &to)) {
                (Some(one), Some(other)) => (Change::Changed, compare_edges(one, other)),
                (None, _) => (Change::Added, Vec::new()),
                (Some(_), None) => (Change::Removed, Vec::new()),
            };
            let differs = change != Change::Changed || !differences.is_empty();
            differs.then_some(EdgeDiff {
                from,
                to,
                change,
                differences,
            })
        })
        .collect()
}

fn compare_edges(before: &Edge, after: &Edge) -> Vec<Difference> {
    let mut found = Differences::default();
    let on = |edge: &Edge| edge.on.names().map(|name| json!(name)).collect::<Value>();
    found.compare("on", on(before), on(after));
    // A moot edge has no condition, because of what is disabled: that is the stage's difference.
    if !before.moot && !after.moot {
        found.compare_guards(before.when.as_ref(), after.when.as_ref());
    }
    let otherwise = |edge: &Edge| json!(edge.otherwise);
    found.compare("else", otherwise(before), otherwise(after));
    found.0
}

/// Writes the differences for people: a line each, and below it what differs.
impl fmt::Display for GraphDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.settings {
            writeln!(f, "{difference}")?;
        }
        for stage in &self.stages {
            writeln!(f, "stage `{}` {}", stage.stage, stage.change)?;
            for difference in &stage.differences {
                writeln!(f, "  {difference}")?;
            }
        }
        for edge in &self.edges {
            writeln!(
                f,
                "edge from `{}` to `{}` {}",
                edge.from, edge.to, edge.change
            )?;
            for difference in &edge.differences {
                writeln!(f, "  {difference}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Value| match value {
            Value::Null => "nothing".to_owned(),
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                value.to_string()
            }
        };
        let (before, after) = (shown(&self.before), shown(&self.after));
        write!(f, "{}: {before} -> {after}", self.what)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        })
    }
}

#[cfg(test)]
mod tests;

//! The JSON Schema of graph files, for editors: keys, handlers, and each handler's parameters.

use serde_json::{Map, Value, json};

use super::cases::{Expectation, MockOutcome};
use super::event::StageStatus;
use super::handler::HandlerType;

const NAME: &str = "^[a-z][a-z0-9_-]{0,62}$";
const DURATION: &str = "^[0-9]+(ms|s|m|h)$";

/// Gives the JSON Schema (2020-12) of graph files that use these handlers.
///
/// Editors complete from `properties`, `anyOf` and local references; conditions (`if`) say which handler's parameters are right.
#[must_use]
pub fn schema(handlers: &[HandlerType]) -> Value {
    let mut definitions = Map::new();
    definitions.insert(
        "name".to_owned(),
        json!({"type": "string", "pattern": NAME}),
    );
    definitions.insert(
        "duration".to_owned(),
        json!({"type": "string", "pattern": DURATION}),
    );
    definitions.insert("retry".to_owned(), retry());
    definitions.insert("condition".to_owned(), condition());
    definitions.insert("edge".to_owned(), edge());
    definitions.insert("stage".to_owned(), stage(handlers, None));
    definitions.insert("test".to_owned(), test());
    let mut by_id = Map::new();
    for handler in handlers {
        let params = params(handler);
        definitions.insert(format!("params-{}", handler.name), params);
        let of_this = stage(handlers, Some(handler));
        definitions.insert(format!("stage-{}", handler.name), of_this);
        let reference = json!({"$ref": format!("#/$defs/stage-{}", handler.name)});
        by_id.insert(handler.name.to_owned(), reference);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A graph of relvec",
        "type": "object",
        "additionalProperties": false,
        "required": ["name"],
        "properties": top(&by_id),
        "$defs": definitions,
    })
}

fn top(stages_by_id: &Map<String, Value>) -> Value {
    json!({
        "name": {"$ref": "#/$defs/name", "description": "The graph's name."},
        "description": {"type": "string", "description": "What it does, for people."},
        "extends": {"$ref": "#/$defs/name", "description": "The graph of which this one is the difference."},
        "input": {"$ref": "#/$defs/name", "description": "The kind that is there before the first stage."},
        "concurrency": {"type": "integer", "minimum": 1, "maximum": 1024, "default": 4, "description": "How many stages may run at the same time."},
        "deadline": {"$ref": "#/$defs/duration", "description": "How long a run may take, without the time that it waits for people."},
        "defaults": {
            "type": "object",
            "additionalProperties": false,
            "description": "What holds for stages that do not say otherwise.",
            "properties": {
                "timeout": {"$ref": "#/$defs/duration", "default": "5m", "description": "How long an attempt may take."},
                "retry": {"$ref": "#/$defs/retry"},
            },
        },
        "edges": {"type": "array", "items": {"$ref": "#/$defs/edge"}, "description": "What leads from stage to stage."},
        "tests": {"type": "array", "items": {"$ref": "#/$defs/test"}, "description": "What `relvec test` runs."},
        "stages": {
            "type": "object",
            "description": "Stages, as far as they differ from the defaults.",
            "propertyNames": {"$ref": "#/$defs/name"},
            "properties": stages_by_id,
            "additionalProperties": {"$ref": "#/$defs/stage"},
        },
    })
}

fn params_of(handler: &HandlerType) -> String {
    format!("#/$defs/params-{}", handler.name)
}

/// Gives the schema of a handler's parameters as a part of this one: what it refers to lies one level deeper.
fn params(handler: &HandlerType) -> Value {
    let mut params = (handler.params_schema)();
    if let Some(params) = params.as_object_mut() {
        params.remove("$schema");
        params.remove("title");
    }
    move_references(&mut params, &params_of(handler));
    params
}

fn move_references(schema: &mut Value, to: &str) {
    match schema {
        Value::Object(entries) => {
            for (key, value) in entries {
                match value {
                    Value::String(target) if key == "$ref" => {
                        *target = target.replacen('#', to, 1);
                    }
                    _ => move_references(value, to),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| move_references(value, to)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn condition() -> Value {
    json!({
        "type": "string",
        "maxLength": 2000,
        "description": "A CEL expression over the input, `stages.ID.status`, `stages.ID.output`, outputs by kind and `open_questions`. It gives a bool.",
    })
}

fn retry() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "description": "When another attempt follows a failed one.",
        "properties": {
            "attempts": {"type": "integer", "minimum": 1, "maximum": 100, "default": 1, "description": "Attempts, the first included."},
            "base": {"$ref": "#/$defs/duration", "default": "1s", "description": "The delay before the second attempt; it doubles from there."},
            "max": {"$ref": "#/$defs/duration", "default": "30s", "description": "The longest delay."},
            "on": {"type": "array", "items": {"enum": ["transient", "timeout"]}, "default": ["transient", "timeout"], "description": "The failures that another attempt follows."},
        },
    })
}

fn edge() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "chain": {"type": "array", "items": {"$ref": "#/$defs/name"}, "description": "An unconditional edge from each stage to the next."},
            "from": {"$ref": "#/$defs/name", "description": "The stage it leaves."},
            "to": {"$ref": "#/$defs/name", "description": "The stage it enters."},
            "on": {
                "type": "array",
                "minItems": 1,
                "items": {"enum": ["succeeded", "failed", "timed_out"]},
                "default": ["succeeded"],
                "description": "Outcomes of `from` that take it.",
            },
            "when": {"$ref": "#/$defs/condition"},
            "else": {"type": "boolean", "default": false, "description": "Taken if none of its siblings was."},
        },
        "oneOf": [
            {"required": ["chain"], "maxProperties": 1},
            {"required": ["from", "to"], "not": {"required": ["when", "else"]}},
        ],
    })
}

/// Describes the table of a stage; `by_id` is the handler that has the table's name.
fn stage(handlers: &[HandlerType], by_id: Option<&HandlerType>) -> Value {
    let names: Vec<&str> = handlers.iter().map(|handler| handler.name).collect();
    let of_named = handlers.iter().map(|handler| {
        json!({
            "if": {"required": ["handler"], "properties": {"handler": {"const": handler.name}}},
            "then": {"properties": {"with": {"$ref": params_of(handler)}}},
        })
    });
    let of_id = by_id.map(|handler| {
        json!({
            "if": {"not": {"required": ["handler"]}},
            "then": {"properties": {"with": {"$ref": params_of(handler)}}},
        })
    });
    // The open schema at the end takes anything: this list is what editors complete from, and no check.
    let offered: Vec<Value> = if let Some(handler) = by_id {
        vec![json!({"$ref": params_of(handler)}), json!({})]
    } else {
        let all = handlers.iter().filter(|handler| has_parameters(handler));
        let all = all.map(|handler| json!({"$ref": params_of(handler)}));
        all.chain([json!({})]).collect()
    };
    let summary = by_id.map_or_else(
        || "A stage.".to_owned(),
        |handler| format!("{}.", handler.summary),
    );
    let checks: Vec<Value> = of_id.into_iter().chain(of_named).collect();
    let mut stage = json!({
        "type": "object",
        "additionalProperties": false,
        "description": summary,
        "properties": {
            "handler": {"enum": names, "description": "What performs it; the id if absent."},
            "when": {"$ref": "#/$defs/condition"},
            "disabled": {"type": "boolean", "default": false, "description": "Leaves it out, as if `when` were false."},
            "on_error": {"enum": ["fail", "skip"], "default": "fail", "description": "What a failure does."},
            "timeout": {"$ref": "#/$defs/duration", "description": "How long an attempt may take."},
            "retry": {"$ref": "#/$defs/retry"},
            "with": {"type": "object", "anyOf": offered, "description": "The handler's parameters."},
        },
    });
    if let (Some(stage), false) = (stage.as_object_mut(), checks.is_empty()) {
        stage.insert("allOf".to_owned(), Value::Array(checks));
    }
    stage
}

/// A test; each key of its stages and of what it expects is the id of a stage.
fn test() -> Value {
    let run: Vec<&str> = Expectation::RUN.iter().map(|(name, _)| *name).collect();
    let stage = Expectation::STAGE.map(StageStatus::name);
    let outcomes = MockOutcome::NAMED.map(|(name, _)| name);
    let edges = json!({"type": "array", "items": {"type": "string", "pattern": "^[^>]+->[^>]+$"}});
    let ids = json!({"type": "array", "items": {"$ref": "#/$defs/name"}});
    let mock = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "outcome": {"enum": outcomes, "description": "How it ends; it succeeds if absent."},
            "output": {"type": "object", "description": "What it writes: as much of it as conditions read."},
            "asks": {
                "type": "array",
                "description": "The questions that it asks.",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["id"],
                    "properties": {"id": {"type": "string"}, "blocking": {"type": "boolean"}},
                },
            },
        },
    });
    let mut expect = json!({
        "type": "object",
        "additionalProperties": false,
        "minProperties": 1,
        "description": "What has to come out.",
        "properties": {
            "status": {"enum": run, "description": "The run's status."},
            "stages": {"type": "object", "additionalProperties": {"enum": stage}, "description": "Statuses of stages."},
        },
    });
    for (key, about) in [
        ("taken", "Edges that are taken: `from -> to`."),
        ("not_taken", "Edges that are not taken."),
    ] {
        expect["properties"][key] = edges.clone();
        expect["properties"][key]["description"] = json!(about);
    }
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["name", "expect"],
        "properties": {
            "name": {"type": "string", "description": "What it is about."},
            "input": {"type": "object", "description": "The graph's input: as much of it as conditions read."},
            "skip": ids,
            "only": ids,
            "stages": {"type": "object", "additionalProperties": mock, "description": "What stages do that do not just succeed."},
            "expect": expect,
        },
    })
}

fn has_parameters(handler: &HandlerType) -> bool {
    let schema = (handler.params_schema)();
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.is_some_and(|properties| !properties.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::HANDLERS;

    fn errors(graph: &str) -> usize {
        let validator = jsonschema::validator_for(&schema(HANDLERS)).expect("a schema");
        let graph: Value = toml::from_str(graph).expect("TOML");
        validator.iter_errors(&graph).count()
    }

    #[test]
    fn a_good_graph_fits() {
        let good = r#"
name = "good"
[[edges]]
chain = ["step", "b"]
[[edges]]
from = "b"
to = "c"
when = "true"
[stages.step]
with = { value = 3 }
[stages.b]
handler = "step"
with = { does = "fail" }
[stages.c]
handler = "declare"
with = { kind = "k", reads = [{ kind = "a", optional = true }] }
"#;
        assert_eq!(errors(good), 0);
    }

    #[test]
    fn unknown_keys_handlers_and_parameters_do_not() {
        for bad in [
            "name = \"g\"\nedgse = []",
            "name = \"g\"\n[stages.b]\nhandler = \"stop\"",
            "name = \"g\"\n[stages.b]\nhandler = \"step\"\nwith = { valeu = 3 }",
            "name = \"g\"\n[stages.step]\nwith = { valeu = 3 }",
            "name = \"g\"\n[[edges]]\nfrom = \"a\"",
            "name = \"g\"\n[stages.Step]",
            "name = \"g\"\n[stages.step]\nhandler = \"declare\"\nwith = { value = 3 }",
            "name = \"g\"\n[stages.step]\ntimeuot = \"3s\"",
            "name = \"g\"\n[defaults.retry]\natempts = 3",
            "name = \"g\"\n[[edges]]\nfrom = \"a\"\nto = \"b\"\nwehn = \"true\"",
            "name = \"g\"\n[stages.b]\nhandler = \"declare\"\nwith = { kind = \"k\", reads = [{ kidn = \"a\" }] }",
        ] {
            assert_ne!(errors(bad), 0, "{bad}");
        }
    }
}

//! What a stage without Rust exchanges: kinds in, one kind out, as a graph file declares them.
//!
//! `command` and `http` share this: the parameters `reads`, `kind` and `schema`, the JSON that goes out, and the check of what
//! comes back.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use jsonschema::Validator;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::graph::context::Context;
use crate::graph::file::{LONGEST, is_name, parse_duration};
use crate::graph::handler::ParamError;
use crate::graph::output::{Kind, Outputs, Read};

/// The most mismatches that one message lists.
const MOST_ERRORS: usize = 5;

/// What goes out, and the check of what comes back.
#[derive(Debug)]
pub struct Exchange {
    reads: Vec<Read>,
    kind: Kind,
    schema: Value,
    validator: Validator,
}

impl Exchange {
    /// Checks the parameters that declare it. A kind in `reads` that ends in `?` may be absent.
    ///
    /// # Errors
    /// A kind is no name or stands twice, or the schema is not one.
    pub fn new(reads: &[String], kind: &str, schema: Value) -> Result<Self, ParamError> {
        let mut kinds: Vec<Read> = Vec::with_capacity(reads.len());
        for read in reads {
            let name = read.strip_suffix('?').unwrap_or(read);
            check_kind("reads", name)?;
            if kinds.iter().any(|known| known.kind.as_str() == name) {
                return Err(refused("reads", format!("`{name}` stands twice")));
            }
            kinds.push(Read {
                kind: Kind::named(name),
                required: name == read,
            });
        }
        check_kind("kind", kind)?;
        if kinds.iter().any(|read| read.kind.as_str() == kind) {
            let message =
                format!("`{kind}` is what the stage reads: give what it writes another name");
            return Err(refused("kind", message));
        }
        let validator = jsonschema::validator_for(&schema)
            .map_err(|error| refused("schema", format!("this is no JSON Schema: {error}")))?;
        Ok(Self {
            reads: kinds,
            kind: Kind::named(kind),
            schema,
            validator,
        })
    }

    /// Gives the kinds that go out.
    #[must_use]
    pub fn reads(&self) -> Vec<Read> {
        self.reads.clone()
    }

    /// Gives the kind that comes back.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind.clone()
    }

    /// Gives the JSON Schema of what comes back.
    #[must_use]
    pub const fn schema(&self) -> &Value {
        &self.schema
    }

    /// Gives what goes out: `{"run_id", "stage", "inputs": {kind: value}}`. A kind that nobody wrote is not there.
    #[must_use]
    pub fn message(&self, inputs: &Outputs, ctx: &Context) -> Map<String, Value> {
        let kinds = self.reads.iter().filter_map(|read| {
            let value: &Arc<Value> = inputs.get(&read.kind)?;
            Some((read.kind.to_string(), value.as_ref().clone()))
        });
        let inputs: Map<String, Value> = kinds.collect();
        let mut message = Map::new();
        message.insert("run_id".to_owned(), json!(ctx.run_id()));
        message.insert("stage".to_owned(), json!(ctx.stage()));
        message.insert("inputs".to_owned(), Value::Object(inputs));
        message
    }

    /// Checks what came back.
    ///
    /// # Errors
    /// Says where it does not fit the schema. Values are not part of the message: they may be rows.
    pub fn check(&self, output: &Value) -> Result<(), String> {
        let mut errors = self.validator.iter_errors(output);
        let mut text = String::new();
        for error in errors.by_ref().take(MOST_ERRORS) {
            let place = error.instance_path().to_string();
            let place = if place.is_empty() {
                "the top level"
            } else {
                &place
            };
            let separator = if text.is_empty() { "" } else { "; " };
            let _ = write!(
                text,
                "{separator}{place}: {}",
                error.masked_with("the value")
            );
        }
        if text.is_empty() {
            return Ok(());
        }
        match errors.count() {
            0 => Err(text),
            more => Err(format!("{text}; and {more} more")),
        }
    }
}

/// A JSON Schema as a parameter.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct SchemaParam(pub Map<String, Value>);

impl JsonSchema for SchemaParam {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "JsonSchema".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object"})
    }
}

/// Reads a duration as graph files have them.
///
/// # Errors
/// It is none, is 0, or is longer than a week.
pub fn duration(key: &str, text: &str) -> Result<Duration, ParamError> {
    parse_duration(text)
        .filter(|duration| !duration.is_zero() && *duration <= LONGEST)
        .ok_or_else(|| {
            let message = "write a whole number and ms, s, m or h, at most 7 days: `250ms`, `5m`";
            refused(key, message)
        })
}

/// Refuses what is no name of an environment variable.
///
/// # Errors
/// It is empty, or has characters that no name has.
pub fn check_variable(key: &str, name: &str) -> Result<(), ParamError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.is_empty()
        && name.chars().all(plain)
        && !name.starts_with(|c: char| c.is_ascii_digit())
    {
        return Ok(());
    }
    let message = format!("`{name}` is no name of an environment variable");
    Err(refused(key, message))
}

/// Makes the error of a parameter.
pub fn refused(key: &str, message: impl Into<String>) -> ParamError {
    ParamError {
        key: Some(key.to_owned()),
        message: message.into(),
    }
}

fn check_kind(key: &str, name: &str) -> Result<(), ParamError> {
    // Conditions read a kind by its name, so that these words mean something else there.
    let is_free = !matches!(
        name,
        "stages" | "open_questions" | "true" | "false" | "null" | "in"
    );
    if is_name(name) && !name.contains('-') && is_free {
        return Ok(());
    }
    let message = format!(
        "`{name}` cannot be a kind: a kind begins with a to z, has at most 63 of a to z, 0 to 9 and `_`, and is no word of conditions"
    );
    Err(refused(key, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_are_checked() {
        let exchange = |reads: &[&str], kind: &str, schema: Value| {
            let reads: Vec<String> = reads.iter().map(|read| (*read).to_owned()).collect();
            Exchange::new(&reads, kind, schema)
        };
        let made =
            exchange(&["job", "advice?"], "ticket", json!({"type": "object"})).expect("fine");
        let reads: Vec<_> = made
            .reads()
            .iter()
            .map(|read| (read.kind.to_string(), read.required))
            .collect();
        assert_eq!(
            reads,
            [("job".to_owned(), true), ("advice".to_owned(), false)]
        );
        for (reads, kind, schema, key) in [
            (vec!["job", "job?"], "ticket", json!({}), "reads"),
            (vec!["Job"], "ticket", json!({}), "reads"),
            (vec![], "open_questions", json!({}), "kind"),
            (vec![], "two words", json!({}), "kind"),
            (vec!["ticket"], "ticket", json!({}), "kind"),
            (vec![], "ticket", json!({"type": "objekt"}), "schema"),
            (
                vec![],
                "ticket",
                json!({"$ref": "https://example.org/x.json"}),
                "schema",
            ),
        ] {
            let error = exchange(&reads, kind, schema).expect_err(key);
            assert_eq!(error.key.as_deref(), Some(key), "{error}");
        }
    }

    #[test]
    fn a_mismatch_names_the_place_and_no_value() {
        let schema =
            json!({"properties": {"items": {"items": {"type": "integer"}}}, "required": ["id"]});
        let exchange = Exchange::new(&[], "ticket", schema).expect("fine");
        let error = exchange
            .check(&json!({"items": [1, "hunter2"]}))
            .expect_err("wrong");
        assert!(error.contains("/items/1: "), "{error}");
        assert!(error.contains("\"id\" is a required"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

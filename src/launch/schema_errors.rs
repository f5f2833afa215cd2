//! A document against the JSON Schema of its type, with errors that people can act on.
//!
//! Messages name places and keys, never values: what a job holds in the wrong place may be a password.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use schemars::JsonSchema;
use serde_json::Value;

use super::graphs::nearest;
use crate::error::{Error, ErrorKind, Result};

/// The most errors that one message lists.
const MOST_ERRORS: usize = 10;

/// Checks a document against its type's schema. `what` names the document.
///
/// # Errors
/// It does not fit; the message lists what is wrong, each with its JSON path.
pub fn check<T: JsonSchema + 'static>(document: &Value, what: &str) -> Result<()> {
    let compiled = compiled::<T>(what)?;
    let (schema, validator) = (&compiled.schema, &compiled.validator);
    if validator.is_valid(document) {
        return Ok(());
    }
    let mut lines = Vec::new();
    let mut hints = Vec::new();
    for error in validator.iter_errors(document) {
        if lines.len() < MOST_ERRORS {
            describe(&error, schema, &mut lines, &mut hints);
        }
    }
    if lines.is_empty() {
        return Ok(());
    }
    let mut error = Error::new(
        ErrorKind::Invalid,
        format!("the {what} does not fit its schema: {}", lines.join("; ")),
    );
    for hint in hints {
        error = error.hint(hint);
    }
    Err(error.hint(format!("`relvec schema {what}` prints the schema")))
}

/// A type's schema, made once: to make it takes a hundred times as long as to hold a document against it.
struct Compiled {
    schema: Value,
    validator: Validator,
}

static COMPILED: RwLock<BTreeMap<TypeId, Arc<Compiled>>> = RwLock::new(BTreeMap::new());

fn compiled<T: JsonSchema + 'static>(what: &str) -> Result<Arc<Compiled>> {
    let known = COMPILED.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = known.get(&TypeId::of::<T>()) {
        return Ok(Arc::clone(known));
    }
    drop(known);
    let schema = schemars::schema_for!(T).to_value();
    let validator = jsonschema::validator_for(&schema).map_err(|error| {
        Error::new(
            ErrorKind::Internal,
            format!("the schema of a {what} is not one"),
        )
        .because(error.to_string())
    })?;
    let compiled = Arc::new(Compiled { schema, validator });
    let mut all = COMPILED.write().unwrap_or_else(PoisonError::into_inner);
    all.insert(TypeId::of::<T>(), Arc::clone(&compiled));
    Ok(compiled)
}

fn describe(
    error: &ValidationError<'_>,
    schema: &Value,
    lines: &mut Vec<String>,
    hints: &mut Vec<String>,
) {
    let place = place(error);
    if let ValidationErrorKind::AdditionalProperties { unexpected } = error.kind() {
        let known = known_keys(schema, error);
        for key in unexpected {
            lines.push(format!("{place} has the unknown key `{}`", shortened(key)));
            match nearest(key, known.iter().map(String::as_str)) {
                Some(near) => hints.push(format!("did you mean `{near}`?")),
                None => hints.push(format!("the keys there are: {}", known.join(", "))),
            }
        }
    } else if let ValidationErrorKind::Required { property } = error.kind() {
        let key = property.as_str().unwrap_or_default();
        lines.push(format!("{place} has no `{key}`"));
    } else if let Some(choices) = choices(schema, error) {
        lines.push(format!("{place} is none of {}", choices.join(", ")));
    } else {
        lines.push(format!("{place}: {}", error.masked_with("the value")));
    }
}

/// The texts of which a value has to be one, where the schema has such a list. They are the schema's, not the document's.
fn choices(schema: &Value, error: &ValidationError<'_>) -> Option<Vec<String>> {
    let (ValidationErrorKind::OneOfNotValid { .. } | ValidationErrorKind::AnyOf { .. }) =
        error.kind()
    else {
        return None;
    };
    let branches = resolved(schema, &error.schema_path().to_string())?.as_array()?;
    let texts = branches.iter().map(|branch| branch.get("const")?.as_str());
    let texts: Option<Vec<&str>> = texts.collect();
    Some(texts?.into_iter().map(|text| format!("`{text}`")).collect())
}

/// Follows a schema path, which names the `$ref`s that were followed on the way.
fn resolved<'s>(schema: &'s Value, path: &str) -> Option<&'s Value> {
    let mut place = schema;
    for key in path.trim_start_matches('/').split('/') {
        place = match (place, key) {
            (_, "$ref") => schema.pointer(place.get("$ref")?.as_str()?.strip_prefix('#')?)?,
            (Value::Array(items), _) => items.get(key.parse::<usize>().ok()?)?,
            (Value::Object(_), _) => place.get(key)?,
            (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _) => return None,
        };
    }
    Some(place)
}

fn place(error: &ValidationError<'_>) -> String {
    let path = error.instance_path().to_string();
    if path.is_empty() {
        "the top level".to_owned()
    } else {
        path.trim_start_matches('/').replace('/', ".")
    }
}

/// A key can be as long as the document: a message has room for the beginning.
fn shortened(key: &str) -> String {
    let mut short: String = key.chars().take(60).collect();
    if short.len() < key.len() {
        short.push('…');
    }
    short
}

/// The keys of the object that an error is about: its schema stands one level above the keyword that failed.
fn known_keys(schema: &Value, error: &ValidationError<'_>) -> Vec<String> {
    let keyword = error.schema_path().to_string();
    let object = keyword.rsplit_once('/').map_or("", |(parent, _)| parent);
    schema
        .pointer(&format!("{object}/properties"))
        .and_then(Value::as_object)
        .map(|properties| properties.keys().cloned().collect())
        .unwrap_or_default()
}

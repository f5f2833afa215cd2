//! Holds a stage's parameters against the schema of its handler's, so that each defect has its own place.

use serde_json::{Map, Value};

use super::diagnostic::{did_you_mean, shown};
use super::types::{Field, Sorts, Type};
use super::walk::pointer_to;

/// A parameter that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Misfit {
    pub code: &'static str,
    /// The JSON pointer of the parameter, or of the table that lacks one.
    pub pointer: String,
    /// Whether the key is to blame, not the value.
    pub is_key: bool,
    pub message: String,
    pub help: Option<String>,
}

/// Gives every parameter that is certain not to fit a schema.
pub(super) fn misfits(values: &Map<String, Value>, schema: &Value) -> Vec<Misfit> {
    let mut reader = Reader { found: Vec::new() };
    reader.table("", values, &Type::read(schema, schema));
    reader.found
}

struct Reader {
    found: Vec<Misfit>,
}

impl Reader {
    fn add(&mut self, code: &'static str, pointer: &str, message: String, help: Option<String>) {
        self.found.push(Misfit {
            code,
            pointer: pointer.to_owned(),
            is_key: code == "unknown-parameter",
            message,
            help,
        });
    }

    fn table(&mut self, pointer: &str, values: &Map<String, Value>, wanted: &Type<'_>) {
        for (name, value) in values {
            let pointer = pointer_to(pointer, name);
            match wanted.field(name) {
                Field::Is(field) => self.value(&pointer, value, &field),
                Field::Missing(keys) => {
                    let message = format!("there is no parameter `{}`", said(&pointer));
                    let near = did_you_mean(name, keys.iter().copied());
                    let help = near.or_else(|| all_of(&keys.into_iter().collect::<Vec<_>>()));
                    self.add("unknown-parameter", &pointer, message, help);
                }
                Field::NoMap => return,
            }
        }
        for name in wanted.required() {
            if !values.contains_key(name) {
                let message = format!(
                    "the parameter `{}` is missing",
                    said(&pointer_to(pointer, name))
                );
                self.add("missing-parameter", pointer, message, None);
            }
        }
    }

    fn value(&mut self, pointer: &str, value: &Value, wanted: &Type<'_>) {
        if let Some(wants) = refusal(value, wanted) {
            let message = format!("the parameter `{}` has to be {wants}", said(pointer));
            let known = wanted.values.iter().flatten().filter_map(Value::as_str);
            let near = value.as_str().and_then(|text| did_you_mean(text, known));
            self.add("bad-parameter", pointer, message, near);
            return;
        }
        match value {
            Value::Object(values) => self.table(pointer, values, wanted),
            Value::Array(list) => {
                for (place, item) in list.iter().enumerate() {
                    let element = wanted.element(Some(place));
                    self.value(&format!("{pointer}/{place}"), item, &element);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// Says what a value would have to be instead, where it does not fit.
fn refusal(value: &Value, wanted: &Type<'_>) -> Option<String> {
    if !wanted.sorts.meets(Sorts::of(value)) {
        return Some(match &wanted.values {
            Some(values) if !values.iter().any(Value::is_boolean) => one_of(values),
            _ => wanted.sorts.text(),
        });
    }
    if let Value::Number(number) = value {
        let number = number.as_f64()?;
        let (least, most) = wanted.limits();
        if wanted.is_whole() && number.fract() != 0.0 {
            return Some("a whole number".to_owned());
        }
        return match (least, most) {
            (Some(least), _) if number < least => Some(format!("{least} or more")),
            (_, Some(most)) if number > most => Some(format!("{most} or less")),
            _ => None,
        };
    }
    let values = wanted.values.as_ref()?;
    (!values.contains(value)).then(|| one_of(values))
}

fn one_of(values: &[Value]) -> String {
    let values: Vec<String> = values
        .iter()
        .filter(|value| !value.is_null())
        .map(|value| match value {
            Value::String(text) => format!("`{}`", shown(text)),
            other => format!("`{other}`"),
        })
        .collect();
    values.join(" or ")
}

fn all_of(keys: &[&str]) -> Option<String> {
    let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    (!keys.is_empty()).then(|| format!("there are {}", keys.join(", ")))
}

/// Gives a pointer as people write it: with dots.
fn said(pointer: &str) -> String {
    let names = pointer.trim_start_matches('/').split('/');
    let names: Vec<String> = names
        .map(|name| name.replace("~1", "/").replace("~0", "~"))
        .collect();
    shown(&names.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said_of(values: &Value) -> Vec<String> {
        let schema = json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["program"],
            "properties": {
                "program": {"type": "string"},
                "arguments": {"type": "array", "items": {"type": "string"}},
                "mode": {"oneOf": [{"const": "fast"}, {"const": "slow"}]},
                "count": {"type": ["integer", "null"], "minimum": 0, "maximum": 9},
                "limits": {"anyOf": [{"$ref": "#/$defs/Limits"}, {"type": "null"}]},
                "schema": true
            },
            "$defs": {"Limits": {
                "type": "object",
                "additionalProperties": false,
                "properties": {"bytes": {"type": "integer"}}
            }}
        });
        let found = misfits(values.as_object().expect("a table"), &schema);
        let said = |m: Misfit| format!("{} {} {}", m.code, m.pointer, m.message);
        found.into_iter().map(said).collect()
    }

    #[test]
    fn what_fits_is_taken() {
        let good = json!({
            "program": "p", "arguments": ["a"], "mode": "fast", "count": 3,
            "limits": {"bytes": 1}, "schema": {"anything": [1]}
        });
        assert_eq!(said_of(&good), [""; 0]);
    }

    #[test]
    fn every_misfit_has_its_place() {
        let bad = json!({
            "arguments": ["a", 3], "mode": "fats", "count": 1.5, "limits": {"byets": 1}, "spede": 1
        });
        assert_eq!(
            said_of(&bad),
            [
                "bad-parameter /arguments/1 the parameter `arguments.1` has to be a string",
                "bad-parameter /mode the parameter `mode` has to be `fast` or `slow`",
                "bad-parameter /count the parameter `count` has to be a whole number",
                "unknown-parameter /limits/byets there is no parameter `limits.byets`",
                "unknown-parameter /spede there is no parameter `spede`",
                "missing-parameter  the parameter `program` is missing",
            ]
        );
        assert_eq!(
            said_of(&json!({"program": 1, "count": 10})),
            [
                "bad-parameter /program the parameter `program` has to be a string",
                "bad-parameter /count the parameter `count` has to be 9 or less",
            ]
        );
    }
}

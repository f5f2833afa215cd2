//! A part of a value against the schema of the whole: what is there has to fit, and nothing has to be there.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::{Map, Value, json};

use super::diagnostic::{did_you_mean, shown};
use super::walk::pointer_to;

/// Keys of a schema that ask for what is not there, or that what is there may not fit before the rest is.
const ABOUT_THE_WHOLE: [&str; 12] = [
    "required",
    "dependentRequired",
    "dependentSchemas",
    "minProperties",
    "minItems",
    "minContains",
    "contains",
    "unevaluatedProperties",
    "if",
    "then",
    "else",
    "not",
];

/// A schema of which a part is enough.
pub(super) struct Partial {
    schema: Value,
    validator: Validator,
}

/// Where a part does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contradiction {
    /// The JSON pointer of the place.
    pub pointer: String,
    /// Whether the key is to blame, and not its value.
    pub key: bool,
    /// What is wrong.
    pub message: String,
    /// The next step.
    pub help: Option<String>,
}

impl Partial {
    /// Makes it from the schema of the whole; `None` where that is no schema.
    pub(super) fn of(schema: &Value) -> Option<Self> {
        let mut schema = schema.clone();
        relax(&mut schema, false);
        let validator = jsonschema::validator_for(&schema).ok()?;
        Some(Self { schema, validator })
    }

    /// Gives every place where a part does not fit.
    pub(super) fn contradictions(&self, part: &Value) -> Vec<Contradiction> {
        let mut found = Vec::new();
        for error in self.validator.iter_errors(part) {
            self.describe(&error, &mut found);
        }
        found
    }

    fn describe(&self, error: &ValidationError<'_>, found: &mut Vec<Contradiction>) {
        let pointer = error.instance_path().to_string();
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let known = self.known_keys(error);
                for key in unexpected {
                    let help = did_you_mean(key, known.iter().map(String::as_str));
                    found.push(Contradiction {
                        pointer: pointer_to(&pointer, key),
                        key: true,
                        message: format!("there is no `{}` here", shown(key)),
                        help: help.or_else(|| Some(format!("what is here: {}", known.join(", ")))),
                    });
                }
            }
            ValidationErrorKind::AnyOf { context } => {
                // A branch that something of the part fits says more than the choice itself.
                let inside = |errors: &&Vec<ValidationError<'_>>| {
                    errors.iter().all(|inner| {
                        inner.instance_path().to_string().len() > pointer.len()
                            || matches!(
                                inner.kind(),
                                ValidationErrorKind::AdditionalProperties { .. }
                            )
                    })
                };
                match context.iter().find(inside) {
                    Some(errors) => {
                        for error in errors {
                            self.describe(error, found);
                        }
                    }
                    None => found.push(self.no_choice(error, pointer)),
                }
            }
            _ => found.push(Contradiction {
                pointer,
                key: false,
                message: error.masked_with("this").to_string(),
                help: None,
            }),
        }
    }

    /// What is none of several forms: of texts, these are listed.
    fn no_choice(&self, error: &ValidationError<'_>, pointer: String) -> Contradiction {
        let branches = resolved(&self.schema, &error.schema_path().to_string());
        let branches = branches.and_then(Value::as_array).map(Vec::as_slice);
        let texts: Option<Vec<&str>> = branches
            .unwrap_or_default()
            .iter()
            .map(|branch| branch.get("const")?.as_str())
            .collect();
        let texts = texts.unwrap_or_default();
        let given = error.instance().as_str().unwrap_or_default();
        Contradiction {
            pointer,
            key: false,
            message: "this can never be the value here".to_owned(),
            help: did_you_mean(given, texts.iter().copied()).or_else(|| {
                (!texts.is_empty()).then(|| format!("it is one of {}", texts.join(", ")))
            }),
        }
    }

    /// The keys of the object that an error is about: its schema stands one level above the keyword that failed.
    fn known_keys(&self, error: &ValidationError<'_>) -> Vec<String> {
        let keyword = error.schema_path().to_string();
        let object = keyword.rsplit_once('/').map_or("", |(parent, _)| parent);
        resolved(&self.schema, object)
            .and_then(|object| object.get("properties")?.as_object())
            .map(|properties| properties.keys().cloned().collect())
            .unwrap_or_default()
    }
}

/// Follows a schema path, which names the `$ref`s that were followed on the way.
fn resolved<'s>(schema: &'s Value, path: &str) -> Option<&'s Value> {
    let mut place = schema;
    for key in path.split('/').skip(1) {
        let key = key.replace("~1", "/").replace("~0", "~");
        place = match place {
            Value::Object(object) if key == "$ref" => {
                schema.pointer(object.get("$ref")?.as_str()?.strip_prefix('#')?)?
            }
            Value::Object(object) => object.get(&key)?,
            Value::Array(items) => items.get(key.parse::<usize>().ok()?)?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
        };
    }
    Some(place)
}

/// Takes out of a schema what asks for the whole, and closes objects: a key that the schema does not know is a slip. `open` says that
/// keys of the object may be described elsewhere.
fn relax(schema: &mut Value, open: bool) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    for key in ABOUT_THE_WHOLE {
        object.remove(key);
    }
    // Without what is required, a part can fit several forms.
    if let Some(forms) = object.remove("oneOf") {
        let all = object.entry("allOf").or_insert_with(|| json!([]));
        if let Some(all) = all.as_array_mut() {
            all.push(json!({"anyOf": forms}));
        }
    }
    let has = |object: &Map<String, Value>, keys: &[&str]| {
        keys.iter().any(|key| object.contains_key(*key))
    };
    let elsewhere = ["$ref", "$dynamicRef", "allOf", "anyOf", "patternProperties"];
    let own = has(object, &["properties"]);
    if own && !open && !has(object, &elsewhere) && !has(object, &["additionalProperties"]) {
        object.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    let several = own
        || object
            .get("allOf")
            .and_then(Value::as_array)
            .is_some_and(|all| all.len() > 1);
    for (key, inner) in object.iter_mut() {
        match key.as_str() {
            "properties" | "patternProperties" | "$defs" | "definitions" => {
                let inner = inner.as_object_mut();
                inner
                    .into_iter()
                    .flat_map(Map::values_mut)
                    .for_each(|schema| relax(schema, false));
            }
            "anyOf" | "allOf" => {
                let inner = inner.as_array_mut();
                inner
                    .into_iter()
                    .flatten()
                    .for_each(|schema| relax(schema, open || several));
            }
            "prefixItems" => {
                let inner = inner.as_array_mut();
                inner
                    .into_iter()
                    .flatten()
                    .for_each(|schema| relax(schema, false));
            }
            "items" | "additionalProperties" => relax(inner, false),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(schema: &Value, part: &Value) -> Vec<(String, String)> {
        let partial = Partial::of(schema).expect("a schema");
        let found = partial.contradictions(part).into_iter();
        found
            .map(|found| (found.pointer, found.help.unwrap_or(found.message)))
            .collect()
    }

    fn schema() -> Value {
        json!({
            "type": "object",
            "required": ["verdict", "entities"],
            "properties": {
                "verdict": {"oneOf": [{"const": "validated"}, {"const": "unverified"}]},
                "loss": {"anyOf": [{"$ref": "#/$defs/Loss"}, {"type": "null"}]},
                "entities": {"type": "array", "items": {"$ref": "#/$defs/Entity"}},
            },
            "$defs": {
                "Loss": {"type": "object", "properties": {"rows": {"type": "integer"}}, "required": ["rows"]},
                "Entity": {"oneOf": [
                    {"type": "object", "properties": {"kind": {"const": "table"}, "rows": {"type": "integer"}}, "required": ["kind"]},
                    {"type": "object", "properties": {"kind": {"const": "view"}}, "required": ["kind"]},
                ]},
            },
        })
    }

    #[test]
    fn a_part_that_fits_is_enough() {
        for part in [
            json!({}),
            json!({"verdict": "unverified"}),
            json!({"loss": {}}),
            json!({"loss": null, "entities": [{}, {"kind": "view"}, {"rows": 3}]}),
        ] {
            assert_eq!(found(&schema(), &part), [], "{part}");
        }
    }

    #[test]
    fn what_contradicts_is_told_with_its_place() {
        for (part, pointer, says) in [
            (
                json!({"verdikt": "x"}),
                "/verdikt",
                "did you mean `verdict`?",
            ),
            (
                json!({"zzz": 1}),
                "/zzz",
                "what is here: verdict, loss, entities",
            ),
            (
                json!({"verdict": "unverifed"}),
                "/verdict",
                "did you mean `unverified`?",
            ),
            (
                json!({"verdict": 3}),
                "/verdict",
                "it is one of validated, unverified",
            ),
            (
                json!({"entities": {}}),
                "/entities",
                "this is not of type \"array\"",
            ),
            (
                json!({"loss": {"rows": "x"}}),
                "/loss/rows",
                "this is not of type \"integer\"",
            ),
            (
                json!({"loss": {"rws": 1}}),
                "/loss/rws",
                "did you mean `rows`?",
            ),
            (json!([]), "", "this is not of type \"object\""),
        ] {
            let expected = (pointer.to_owned(), says.to_owned());
            assert_eq!(found(&schema(), &part), [expected], "{part}");
        }
    }

    #[test]
    fn keys_that_are_described_elsewhere_are_known() {
        let schema = json!({
            "properties": {"a": {"type": "integer"}},
            "allOf": [{"properties": {"b": {"type": "integer"}}}],
            "oneOf": [{"properties": {"c": {}}}, {"properties": {"d": {}}}],
        });
        assert_eq!(found(&schema, &json!({"a": 1, "b": 2, "c": 3})), []);
        assert_eq!(found(&schema, &json!({"b": "x"})).len(), 1);
    }
}

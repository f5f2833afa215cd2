//! What is known of a value before a run: its type, read from JSON Schemas.
//!
//! A type says too much rather than too little: what a schema leaves open, and what this reader does not know, can be anything.
//! So a value that does not fit its type is certain to be a defect.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Levels of `$ref`, `anyOf`, `oneOf` and `allOf` that are followed.
const DEEPEST: usize = 16;
/// Alternatives of a schema that are told apart.
const MOST: usize = 64;
/// Keywords that say what this reader does not weigh: a schema that has one can be anything.
const NOT_WEIGHED: [&str; 5] = [
    "if",
    "dependentSchemas",
    "dependencies",
    "$dynamicRef",
    "$recursiveRef",
];
/// Keywords that say something about a value by themselves.
const WEIGHED: [&str; 9] = [
    "type",
    "enum",
    "const",
    "properties",
    "patternProperties",
    "additionalProperties",
    "unevaluatedProperties",
    "items",
    "prefixItems",
];

/// Sorts of values, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sorts(u16);

impl Sorts {
    pub(super) const NULL: Self = Self(1);
    pub(super) const BOOL: Self = Self(1 << 1);
    pub(super) const NUMBER: Self = Self(1 << 2);
    pub(super) const STRING: Self = Self(1 << 3);
    pub(super) const LIST: Self = Self(1 << 4);
    pub(super) const MAP: Self = Self(1 << 5);
    pub(super) const BYTES: Self = Self(1 << 6);
    /// Durations and timestamps.
    pub(super) const TIME: Self = Self(1 << 7);
    /// What `type(x)` gives.
    pub(super) const TYPE: Self = Self(1 << 8);
    pub(super) const ANY: Self = Self((1 << 9) - 1);

    const NAMES: [(Self, &'static str); 9] = [
        (Self::BOOL, "a bool"),
        (Self::NUMBER, "a number"),
        (Self::STRING, "a string"),
        (Self::LIST, "a list"),
        (Self::MAP, "a map"),
        (Self::BYTES, "bytes"),
        (Self::TIME, "a time"),
        (Self::TYPE, "a type"),
        (Self::NULL, "null"),
    ];

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Says whether the two sets share a sort.
    pub(super) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    pub(super) const fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOL,
            Value::Number(_) => Self::NUMBER,
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::LIST,
            Value::Object(_) => Self::MAP,
        }
    }

    /// Reads a name of JSON Schema.
    fn named(name: &str) -> Self {
        match name {
            "null" => Self::NULL,
            "boolean" => Self::BOOL,
            "integer" | "number" => Self::NUMBER,
            "string" => Self::STRING,
            "array" => Self::LIST,
            "object" => Self::MAP,
            _ => Self::ANY,
        }
    }

    /// Names the sorts, for messages.
    pub(super) fn text(self) -> String {
        let names = Self::NAMES.iter().filter(|(sort, _)| self.meets(*sort));
        let names: Vec<&str> = names.map(|(_, name)| *name).collect();
        names.join(" or ")
    }
}

/// What is known of a value.
#[derive(Debug, Clone)]
pub(super) struct Type<'s> {
    /// The sorts that it can be of.
    pub sorts: Sorts,
    /// Every value that it can have, where these are few and plain.
    pub values: Option<Vec<Value>>,
    /// Whether it can be absent where it is a field.
    pub absent: bool,
    contents: Contents<'s>,
}

/// What is known of a list's elements or a map's fields.
#[derive(Debug, Clone)]
enum Contents<'s> {
    Unknown,
    Schema(Vec<Alternative<'s>>),
    Elements(Box<Type<'s>>),
}

/// One way in which a value can fit a schema: it fits all parts.
type Alternative<'s> = Vec<Part<'s>>;

/// A schema without `$ref`, `allOf`, `anyOf` and `oneOf`.
#[derive(Debug, Clone, Copy)]
struct Part<'s> {
    schema: &'s Map<String, Value>,
    /// The document that references point into.
    root: &'s Value,
}

/// What a field of a value is.
#[derive(Debug, Clone)]
pub(super) enum Field<'s> {
    Is(Type<'s>),
    /// It has no such field; there are these.
    Missing(BTreeSet<&'s str>),
    /// It is no map.
    NoMap,
}

impl Contents<'_> {
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Schema(mut all), Self::Schema(more)) if all.len() + more.len() <= MOST => {
                all.extend(more);
                Self::Schema(all)
            }
            (Self::Unknown | Self::Schema(_) | Self::Elements(_), _) => Self::Unknown,
        }
    }
}

impl<'s> Type<'s> {
    pub(super) const ANY: Self = Self::of(Sorts::ANY);
    pub(super) const BOOL: Self = Self::of(Sorts::BOOL);

    pub(super) const fn of(sorts: Sorts) -> Self {
        Self {
            sorts,
            values: None,
            absent: false,
            contents: Contents::Unknown,
        }
    }

    pub(super) fn one_of(values: Vec<Value>) -> Self {
        let none = Sorts(0);
        let sorts = values.iter().fold(none, |all, one| all.or(Sorts::of(one)));
        Self {
            values: Some(values),
            ..Self::of(sorts)
        }
    }

    pub(super) fn list_of(element: Self) -> Self {
        Self {
            contents: Contents::Elements(Box::new(element)),
            ..Self::of(Sorts::LIST)
        }
    }

    /// Reads a schema; `root` is the document that its references point into.
    pub(super) fn read(schema: &'s Value, root: &'s Value) -> Self {
        alternatives(schema, root, DEEPEST).map_or(Self::ANY, Self::of_alternatives)
    }

    fn of_alternatives(alternatives: Vec<Alternative<'s>>) -> Self {
        let mut sorts = Sorts(0);
        let mut values = Some(Vec::new());
        for parts in &alternatives {
            let of_this = sorts_of(parts);
            sorts = sorts.or(of_this);
            values = values.zip(values_of(parts, of_this)).map(|(mut all, own)| {
                all.extend(own);
                all
            });
        }
        Self {
            sorts,
            values,
            absent: false,
            contents: Contents::Schema(alternatives),
        }
    }

    /// Gives the type with null as one more value.
    pub(super) fn or_null(mut self) -> Self {
        self.sorts = self.sorts.or(Sorts::NULL);
        if let Some(values) = &mut self.values {
            values.push(Value::Null);
        }
        self
    }

    /// Gives what can be one or the other. What is known of contents is kept where both are read from schemas, or one has none.
    pub(super) fn or(self, other: Self) -> Self {
        let inner = Sorts::LIST.or(Sorts::MAP);
        let contents = match (self.sorts.meets(inner), other.sorts.meets(inner)) {
            (true, true) => self.contents.or(other.contents),
            (_, false) => self.contents,
            (false, true) => other.contents,
        };
        Self {
            sorts: self.sorts.or(other.sorts),
            values: self.values.zip(other.values).map(|(mut all, more)| {
                all.extend(more);
                all
            }),
            absent: self.absent || other.absent,
            contents,
        }
    }

    /// Gives what a field is.
    pub(super) fn field(&self, name: &str) -> Field<'s> {
        if !self.sorts.meets(Sorts::MAP) {
            return Field::NoMap;
        }
        let Contents::Schema(alternatives) = &self.contents else {
            return Field::Is(Self::ANY);
        };
        let mut found: Option<Self> = None;
        let mut keys = BTreeSet::new();
        let mut required = true;
        for parts in alternatives {
            if !sorts_of(parts).meets(Sorts::MAP) {
                continue;
            }
            required &= parts.iter().any(|part| part.requires(name));
            match field_of(parts, name) {
                Some(field) => {
                    found = Some(match found {
                        Some(before) => before.or(field),
                        None => field,
                    });
                }
                None => keys.extend(parts.iter().flat_map(Part::keys)),
            }
        }
        match found {
            Some(field) => Field::Is(Self {
                absent: !required,
                ..field
            }),
            None => Field::Missing(keys),
        }
    }

    /// Gives the keys that are known to be fields.
    pub(super) fn required(&self) -> BTreeSet<&'s str> {
        let Contents::Schema(alternatives) = &self.contents else {
            return BTreeSet::new();
        };
        let of = |parts: &Alternative<'s>| -> BTreeSet<&'s str> {
            let lists = parts.iter().filter_map(|part| part.schema.get("required"));
            let names = lists.filter_map(Value::as_array).flatten();
            names.filter_map(Value::as_str).collect()
        };
        let mut all = alternatives.iter().map(of);
        let first = all.next().unwrap_or_default();
        all.fold(first, |agreed, of_this| &agreed & &of_this)
    }

    /// Says whether every number that it can be is whole.
    pub(super) fn is_whole(&self) -> bool {
        let Contents::Schema(alternatives) = &self.contents else {
            return false;
        };
        let whole = |part: &Part<'s>| match part.schema.get("type") {
            Some(Value::String(name)) => name == "integer",
            Some(Value::Array(names)) => {
                let has = |name: &str| names.iter().any(|known| known == name);
                has("integer") && !has("number")
            }
            _ => false,
        };
        alternatives.iter().all(|parts| parts.iter().any(whole))
    }

    /// Gives the least and the greatest number that it can be, where one schema says so.
    pub(super) fn limits(&self) -> (Option<f64>, Option<f64>) {
        let Contents::Schema(alternatives) = &self.contents else {
            return (None, None);
        };
        let numbers = |parts: &&Alternative<'s>| sorts_of(parts).meets(Sorts::NUMBER);
        let mut numbers = alternatives.iter().filter(numbers);
        let (Some([part]), None) = (numbers.next().map(Vec::as_slice), numbers.next()) else {
            return (None, None);
        };
        let limit = |name| part.schema.get(name).and_then(Value::as_f64);
        (limit("minimum"), limit("maximum"))
    }

    /// Gives what an element of a list is, or the one at a place.
    pub(super) fn element(&self, place: Option<usize>) -> Self {
        match &self.contents {
            Contents::Unknown => Self::ANY,
            Contents::Elements(element) => element.as_ref().clone(),
            Contents::Schema(alternatives) => {
                let lists = alternatives
                    .iter()
                    .filter(|parts| sorts_of(parts).meets(Sorts::LIST));
                let mut elements = lists.map(|parts| match parts.as_slice() {
                    [part] => part.element(place),
                    _ => Self::ANY,
                });
                let first = elements.next().unwrap_or(Self::ANY);
                elements.fold(first, Self::or)
            }
        }
    }
}

impl<'s> Part<'s> {
    fn sorts(&self) -> Sorts {
        let named = match self.schema.get("type") {
            Some(Value::String(name)) => Sorts::named(name),
            Some(Value::Array(names)) => {
                let sorts = names.iter().filter_map(Value::as_str).map(Sorts::named);
                sorts.fold(Sorts(0), Sorts::or)
            }
            _ => Sorts::ANY,
        };
        self.listed().map_or(named, |values| {
            let listed = values.iter().map(|value| Sorts::of(value));
            named.and(listed.fold(Sorts(0), Sorts::or))
        })
    }

    /// Gives the values that the schema lists.
    fn listed(&self) -> Option<Vec<&'s Value>> {
        match (self.schema.get("const"), self.schema.get("enum")) {
            (Some(value), _) => Some(vec![value]),
            (None, Some(Value::Array(values))) => Some(values.iter().collect()),
            (None, _) => None,
        }
    }

    fn requires(&self, name: &str) -> bool {
        let required = self.schema.get("required").and_then(Value::as_array);
        required.is_some_and(|names| names.iter().any(|required| required == name))
    }

    fn properties(&self) -> Option<&'s Map<String, Value>> {
        let properties = self.schema.get("properties")?.as_object();
        properties.filter(|properties| !properties.is_empty())
    }

    fn keys(&self) -> impl Iterator<Item = &'s str> + use<'s> {
        let properties = self.properties().into_iter();
        properties.flat_map(|properties| properties.keys().map(String::as_str))
    }

    /// Gives what the schema says of fields that it does not name; `None` where it allows none.
    fn others(&self) -> Option<Type<'s>> {
        if self.schema.contains_key("patternProperties") {
            return Some(Type::ANY);
        }
        let others = self.schema.get("additionalProperties");
        match others.or_else(|| self.schema.get("unevaluatedProperties")) {
            Some(Value::Bool(false)) => None,
            Some(schema) => Some(Type::read(schema, self.root)),
            None => self.properties().is_none().then_some(Type::ANY),
        }
    }

    fn element(&self, place: Option<usize>) -> Type<'s> {
        let prefix = self.schema.get("prefixItems").and_then(Value::as_array);
        let rest = || match self.schema.get("items") {
            Some(schema @ Value::Object(_)) => Type::read(schema, self.root),
            _ => Type::ANY,
        };
        match (prefix, place) {
            (None, _) => rest(),
            (Some(prefix), Some(place)) => match prefix.get(place) {
                Some(schema) => Type::read(schema, self.root),
                None => rest(),
            },
            (Some(_), None) => Type::ANY,
        }
    }
}

fn sorts_of(parts: &[Part<'_>]) -> Sorts {
    let sorts = parts.iter().map(Part::sorts);
    sorts.fold(Sorts::ANY, Sorts::and)
}

/// Gives every value that fits all parts, where these are few and plain.
fn values_of(parts: &[Part<'_>], sorts: Sorts) -> Option<Vec<Value>> {
    let mut listed = parts.iter().filter_map(Part::listed);
    if let Some(first) = listed.next() {
        let rest: Vec<_> = listed.collect();
        let fits = |value: &&Value| {
            sorts.meets(Sorts::of(value)) && rest.iter().all(|list| list.contains(value))
        };
        let values: Vec<Value> = first.into_iter().filter(fits).cloned().collect();
        let plain = |value: &Value| !value.is_array() && !value.is_object();
        return values.iter().all(plain).then_some(values);
    }
    let mut values = Vec::new();
    if sorts.meets(Sorts::BOOL) {
        values.extend([Value::Bool(true), Value::Bool(false)]);
    }
    if sorts.meets(Sorts::NULL) {
        values.push(Value::Null);
    }
    sorts.within(Sorts::BOOL.or(Sorts::NULL)).then_some(values)
}

/// Gives what a field of a value is that fits all parts; `None` where a part allows no such field and none names it.
fn field_of<'s>(parts: &[Part<'s>], name: &str) -> Option<Type<'s>> {
    let named = parts
        .iter()
        .filter_map(|part| Some((part.properties()?.get(name)?, part.root)));
    let mut named = named.map(|(schema, root)| Type::read(schema, root));
    if let Some(first) = named.next() {
        // Two parts that name the same field agree on it, or say what is not weighed here.
        return Some(if named.next().is_some() {
            Type::ANY
        } else {
            first
        });
    }
    let mut others = parts.iter().map(Part::others);
    let first = others.next().unwrap_or(Some(Type::ANY))?;
    others.try_fold(first, |_, other| other.map(|_| Type::ANY))
}

/// Gives the ways in which a value can fit a schema; `None` where it can be anything.
fn alternatives<'s>(
    schema: &'s Value,
    root: &'s Value,
    left: usize,
) -> Option<Vec<Alternative<'s>>> {
    let schema = match schema {
        Value::Bool(false) => return Some(Vec::new()),
        Value::Object(schema) => schema,
        _ => return None,
    };
    if left == 0 || NOT_WEIGHED.iter().any(|key| schema.contains_key(*key)) {
        return None;
    }
    let mut all = vec![Vec::new()];
    if WEIGHED.iter().any(|key| schema.contains_key(*key)) {
        all[0].push(Part { schema, root });
    }
    if let Some(reference) = schema.get("$ref") {
        let pointer = reference.as_str()?.strip_prefix('#')?;
        let target = root.pointer(pointer)?;
        all = both(&all, &alternatives(target, root, left - 1)?)?;
    }
    for schema in listed(schema, "allOf") {
        all = both(&all, &alternatives(schema, root, left - 1)?)?;
    }
    for key in ["anyOf", "oneOf"] {
        if schema.contains_key(key) {
            let mut either = Vec::new();
            for schema in listed(schema, key) {
                either.extend(alternatives(schema, root, left - 1)?);
            }
            all = both(&all, &either)?;
        }
    }
    // Where a way says nothing, the value can be anything.
    all.iter().all(|parts| !parts.is_empty()).then_some(all)
}

fn listed<'s>(schema: &'s Map<String, Value>, key: &str) -> &'s [Value] {
    let list = schema.get(key).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

/// Gives the ways in which a value can fit two schemas at once.
fn both<'s>(one: &[Alternative<'s>], other: &[Alternative<'s>]) -> Option<Vec<Alternative<'s>>> {
    if one.len() * other.len() > MOST {
        return None;
    }
    let mut all = Vec::with_capacity(one.len() * other.len());
    for one in one {
        all.extend(other.iter().map(|other| [one.as_slice(), other].concat()));
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Follows a path; gives the sorts and the values found there, or the keys there are.
    fn at(schema: &Value, path: &[&str]) -> Result<String, String> {
        let mut found = Type::read(schema, schema);
        for name in path {
            found = match found.field(name) {
                Field::Is(field) => field,
                Field::Missing(keys) => return Err(keys.into_iter().collect::<Vec<_>>().join(" ")),
                Field::NoMap => return Err("no map".to_owned()),
            };
        }
        if found.sorts == Sorts::ANY {
            return Ok("anything".to_owned());
        }
        let values = found.values.map(|values| format!(" {}", json!(values)));
        Ok(format!(
            "{}{}",
            found.sorts.text(),
            values.unwrap_or_default()
        ))
    }

    fn shape() -> Value {
        json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "on": {"type": "boolean"},
                "size": {"type": ["integer", "null"]},
                "verdict": {"$ref": "#/$defs/Verdict", "description": "what came of it"},
                "maybe": {"anyOf": [{"$ref": "#/$defs/Verdict"}, {"type": "null"}]},
                "inner": {"$ref": "#/$defs/Inner"},
                "free": {"type": "object"},
                "open": {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": true},
                "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
                "tagged": {
                    "type": "object",
                    "properties": {"id": {"type": "string"}},
                    "oneOf": [
                        {"type": "object", "properties": {"kind": {"const": "a"}, "a": {"type": "number"}}},
                        {"type": "object", "properties": {"kind": {"const": "b"}, "b": {"type": "string"}}}
                    ]
                },
                "merged": {"allOf": [{"$ref": "#/$defs/Inner"}, {"properties": {"more": {"type": "string"}}}]},
                "loop": {"$ref": "#/$defs/Loop"},
                "nowhere": {"$ref": "#/$defs/Nothing"},
                "elsewhere": {"$ref": "https://example.com/schema"},
                "odd": {"type": 3, "enum": "x"},
                "true": true,
                "unsure": {"type": "object", "properties": {"a": {"type": "string"}}, "if": {}, "then": {}}
            },
            "$defs": {
                "Verdict": {"oneOf": [{"type": "string", "const": "good"}, {"type": "string", "enum": ["bad", "ugly"]}]},
                "Inner": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
                "Loop": {"$ref": "#/$defs/Loop"}
            }
        })
    }

    #[test]
    fn paths_of_a_schema() {
        let shape = shape();
        for (path, expected) in [
            (&["on"][..], "a bool [true,false]"),
            (&["size"], "a number or null"),
            (&["verdict"], r#"a string ["good","bad","ugly"]"#),
            (&["maybe"], r#"a string or null ["good","bad","ugly",null]"#),
            (&["inner", "name"], "a string"),
            (&["free", "anything"], "anything"),
            (&["open", "a"], "a string"),
            (&["open", "b"], "anything"),
            (&["counts", "x"], "a number"),
            (&["tagged", "id"], "a string"),
            (&["tagged", "a"], "a number"),
            (&["tagged", "kind"], r#"a string ["a","b"]"#),
            (&["merged", "name"], "a string"),
            (&["merged", "more"], "a string"),
            (&["loop", "x"], "anything"),
            (&["nowhere", "x"], "anything"),
            (&["elsewhere", "x"], "anything"),
            (&["odd", "x"], "anything"),
            (&["true", "x"], "anything"),
            (&["unsure", "b"], "anything"),
        ] {
            let found = at(&shape, path).unwrap_or_else(|missing| missing);
            assert_eq!(found, expected, "{path:?}");
        }
    }

    #[test]
    fn paths_that_are_not_there() {
        let shape = shape();
        for (path, keys) in [
            (&["inner", "nmae"][..], "name"),
            (&["tagged", "c"], "a b id kind"),
            (&["merged", "none"], "more name"),
            (&["on", "x"], "no map"),
            (&["verdict", "x"], "no map"),
        ] {
            assert_eq!(at(&shape, path), Err(keys.to_owned()), "{path:?}");
        }
    }

    #[test]
    fn fields_of_one_or_the_other() {
        let shape = shape();
        let shape = Type::read(&shape, &shape);
        let of = |name| match shape.field(name) {
            Field::Is(field) => field,
            Field::Missing(_) | Field::NoMap => panic!("{name} is a field"),
        };
        let either = of("inner").or(of("tagged"));
        assert!(matches!(either.field("id"), Field::Is(_)));
        assert!(matches!(either.field("name"), Field::Is(field) if field.absent));
        assert!(matches!(either.field("nmae"), Field::Missing(keys) if keys.contains("name")));
        assert!(matches!(
            of("inner").or(Type::ANY).field("nmae"),
            Field::Is(_)
        ));
    }

    #[test]
    fn elements_of_lists() {
        let schema = json!({"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "boolean"}});
        let list = Type::read(&schema, &schema);
        assert_eq!(list.element(Some(0)).sorts, Sorts::STRING);
        assert_eq!(list.element(Some(1)).sorts, Sorts::BOOL);
        assert_eq!(list.element(None).sorts, Sorts::ANY);
    }
}

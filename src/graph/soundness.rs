//! What is said of a condition before a run, held against what it gives, on random expressions and values.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::condition::{Condition, follow};
use super::domain::{Given, Values, constant, plainly_varies, tried};
use super::infer::{path_type, problems};
use super::types::Type;

fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["on", "size", "name", "verdict", "flags", "inner", "counts", "maybe"],
        "properties": {
            "on": {"type": "boolean"},
            "size": {"type": ["integer", "null"]},
            "name": {"type": "string"},
            "verdict": {"oneOf": [{"const": "good"}, {"const": "bad"}]},
            "flags": {"type": "array", "items": {"type": "boolean"}},
            "inner": {"$ref": "#/$defs/Inner"},
            "counts": {"type": "object", "additionalProperties": {"type": "number"}},
            "maybe": {"anyOf": [{"$ref": "#/$defs/Inner"}, {"type": "null"}]},
            "absent": {"type": "boolean"}
        },
        "$defs": {"Inner": {
            "type": "object",
            "additionalProperties": false,
            "required": ["name"],
            "properties": {"name": {"enum": ["a", "b"]}}
        }}
    })
}

fn value() -> impl Strategy<Value = Value> {
    let inner = prop::sample::select(vec![json!({"name": "a"}), json!({"name": "b"})]);
    let size = prop_oneof![Just(json!(null)), (-2..3_i64).prop_map(Value::from)];
    let name = prop::sample::select(vec!["", "good", "x"]);
    let verdict = prop::sample::select(vec!["good", "bad"]);
    let flags = prop::collection::vec(any::<bool>(), 0..3);
    let maybe = prop_oneof![Just(json!(null)), inner.clone()];
    let absent = any::<Option<bool>>();
    (any::<bool>(), size, name, verdict, flags, inner, maybe, absent).prop_map(
        |(on, size, name, verdict, flags, inner, maybe, absent)| {
            let mut value = json!({
                "on": on, "size": size, "name": name, "verdict": verdict, "flags": flags, "inner": inner,
                "counts": {"x": 1.5}, "maybe": maybe,
            });
            if let Some(absent) = absent {
                value["absent"] = json!(absent);
            }
            value
        },
    )
}

/// An expression in which every part is evaluated.
fn strict() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "job.on",
        "job.size",
        "job.name",
        "job.verdict",
        "job.flags",
        "job.flags[0]",
        "job.inner",
        "job.inner.name",
        "job.inner.nmae",
        "job.counts.x",
        "job.maybe",
        "job.maybe.name",
        "job.absent",
        "job.on.x",
        "true",
        "null",
        "1",
        "2.5",
        "'good'",
        "'fine'",
        "'a'",
        "['good']",
        "{'a': 1}",
        "has(job.absent)",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(3, 12, 2, |inner| {
        let sign = prop::sample::select(vec!["==", "!=", "<", ">=", "+", "-", "in"]);
        let form = prop::sample::select(vec![
            "!(_)",
            "size(_)",
            "-(_)",
            "(_).startsWith('a')",
            "string(_)",
            "(_)[0]",
            "[_]",
            "[_][0]",
            "type(_)",
        ]);
        prop_oneof![
            (inner.clone(), sign, inner.clone())
                .prop_map(|(a, sign, b)| format!("({a} {sign} {b})")),
            (form, inner).prop_map(|(form, inner)| form.replace('_', &inner)),
        ]
    })
}

/// An expression that may leave parts of it aside.
fn lazy() -> impl Strategy<Value = String> {
    strict().prop_recursive(2, 6, 3, |inner| {
        let sign = prop::sample::select(vec!["&&", "||"]);
        let form = prop::sample::select(vec![
            "!(_)", "job.flags.exists(f, f && _)", "job.flags.all(f, f || _)", "job.flags.filter(f, _).size() == 0",
        ]);
        prop_oneof![
            3 => (inner.clone(), sign, inner.clone()).prop_map(|(a, sign, b)| format!("({a} {sign} {b})")),
            1 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            1 => (form, inner).prop_map(|(form, inner)| form.replace('_', &inner)),
        ]
    })
}

fn codes(condition: &Condition, schema: &Value) -> Vec<&'static str> {
    let variables = |_: &[&str]| Some((Type::read(schema, schema), 1));
    let found = problems(condition.root(), condition.expression(), &variables);
    found.into_iter().map(|problem| problem.code).collect()
}

fn gives(condition: &Condition, job: &Value) -> Option<bool> {
    let variables = json!({"job": job});
    let found = condition.evaluate(|_, path| follow(&variables, path, 0));
    found.ok().map(|decision| decision.holds)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is called wrong has no result; but for comparisons of what is never equal, which have always the same.
    #[test]
    fn what_is_refused_never_works(expression in strict(), job in value()) {
        let condition = Condition::compile(&expression).expect("an expression");
        let codes = codes(&condition, &schema());
        if codes.iter().any(|code| *code != "never-equal") {
            prop_assert_eq!(gives(&condition, &job), None, "{} is called {:?}", expression, codes);
        }
    }

    #[test]
    fn what_is_constant_gives_nothing_else(expression in lazy(), job in value()) {
        let condition = Condition::compile(&expression).expect("an expression");
        let schema = schema();
        let variables = |_: &[&str]| Some((Type::read(&schema, &schema), 1));
        let values = |path: &[String]| -> Option<Values> {
            let found = path_type(path, &variables)?;
            let mut values: Values = found.values?.into_iter().map(Some).collect();
            values.extend(found.absent.then_some(None));
            Some(values)
        };
        let given = gives(&condition, &job);
        if plainly_varies(&condition, &values) {
            prop_assert_eq!(tried(&condition, &values), None, "{}", expression);
        }
        match constant(&condition, &values) {
            Some(Given::Bool(constant)) => prop_assert!(given.is_none_or(|given| given == constant), "{}", expression),
            Some(Given::Error) => prop_assert_eq!(given, None, "{}", expression),
            Some(Given::Unknown) | None => {}
        }
    }
}

//! Anything can stand in a graph file: it ends in a plan or in diagnostics that can be drawn, and never in a panic.

use std::fmt::Write as _;

use proptest::prelude::*;
use relvec::graph::condition::{Condition, follow};
use relvec::graph::diagnostic::Diagnostics;
use relvec::graph::plan::Plan;
use relvec::handlers::CATALOG;
use serde_json::json;

/// A graph with something of everything.
const GRAPH: &str = include_str!("../graphs/valid/all-keys.toml");

/// Diagnostics that a file has at most, and characters that their drawing has.
const MOST: usize = 100;
const LONGEST: usize = 200_000;

fn build(bytes: &[u8]) -> Diagnostics {
    let found = match Plan::parse("fuzz.toml", bytes, CATALOG) {
        Ok(plan) => plan.warnings().clone(),
        Err(found) => {
            assert!(found.has_errors(), "refused without an error");
            found
        }
    };
    let text = found.sources().text();
    for found in found.list() {
        assert!(
            text.get(found.span.clone()).is_some(),
            "{found:?} in {text:?}"
        );
        assert!(found.line >= 1 && found.column >= 1, "{found:?}");
        assert!(
            (found.end_line, found.end_column) >= (found.line, found.column),
            "{found:?}"
        );
        assert!(!found.message.is_empty());
    }
    let count = found.list().len();
    assert!(count <= MOST);
    assert_eq!(found.to_json().as_array().map(Vec::len), Some(count));
    for color in [false, true] {
        let drawn = found.render(color);
        assert_eq!(drawn.is_empty(), found.is_empty());
        assert!(drawn.len() < LONGEST, "{} bytes", drawn.len());
    }
    found
}

/// Cuts a text into words, blanks, signs and line ends.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    for next in text.chars() {
        match tokens.last_mut() {
            Some(last) if is_word(next) && last.chars().all(is_word) => last.push(next),
            _ => tokens.push(next.to_string()),
        }
    }
    tokens
}

#[derive(Debug, Clone)]
enum Change {
    Drop(usize),
    Double(usize),
    Swap(usize, usize),
    Put(usize, String),
}

fn change() -> impl Strategy<Value = Change> {
    let odd = prop_oneof![
        "[\\[\\]{}=\",.'#\n\\\\ ]{1,3}",
        "\\PC{0,4}",
        Just("\u{0}".to_owned()),
        Just("\"\"\"".to_owned()),
        Just("99999999999999999999".to_owned()),
        Just("1e400".to_owned()),
        Just("stages".to_owned()),
        Just("else = true".to_owned()),
        Just("when = 'true'".to_owned()),
    ];
    prop_oneof![
        any::<usize>().prop_map(Change::Drop),
        any::<usize>().prop_map(Change::Double),
        (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Change::Swap(a, b)),
        (any::<usize>(), odd).prop_map(|(at, text)| Change::Put(at, text)),
    ]
}

fn changed(mut parts: Vec<String>, changes: &[Change]) -> String {
    for change in changes {
        let count = parts.len();
        if count == 0 {
            break;
        }
        match change {
            Change::Drop(at) => drop(parts.remove(at % count)),
            Change::Double(at) => parts.insert(at % count, parts[at % count].clone()),
            Change::Swap(a, b) => parts.swap(a % count, b % count),
            Change::Put(at, text) => parts.insert(at % count, text.clone()),
        }
    }
    parts.concat()
}

/// A TOML value of random shape, with keys and texts that mean something here and others.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("true".to_owned()),
        "-?[0-9]{1,20}",
        Just("1.5".to_owned()),
        Just("2026-01-01".to_owned()),
        text(),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|list| format!("[{}]", list.join(", "))),
            prop::collection::btree_map(key(), inner, 0..4).prop_map(|table| {
                let entries: Vec<String> =
                    table.iter().map(|(k, v)| format!("{k} = {v}")).collect();
                format!("{{ {} }}", entries.join(", "))
            }),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "name",
            "input",
            "extends",
            "description",
            "concurrency",
            "deadline",
            "defaults",
            "edges",
            "stages",
            "chain",
            "from",
            "to",
            "on",
            "when",
            "else",
            "handler",
            "disabled",
            "on_error",
            "timeout",
            "retry",
            "attempts",
            "base",
            "max",
            "with",
            "analyzer",
            "gate_review",
            "tests",
        ])
        .prop_map(str::to_owned),
        "[a-z]{1,3}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        key(),
        prop::sample::select(vec![
            "job",
            "skip",
            "fail",
            "succeeded",
            "failed",
            "transient",
            "5m",
            "0s",
            "default",
            "collect_metadata",
            "job.require_review",
            "stages.analyzer.status == 'failed'",
            "true",
            "../x",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,6}",
    ];
    word.prop_map(|word| toml::Value::from(word).to_string())
}

/// A word of an expression.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "job", "job.require_review", "job.llm.enabled", "job.source.sample_rows", "job['source']",
            "stages.executor.status", "stages.analyzer.output", "stages.analyzer.output.entities",
            "stages", "executor", "open_questions", "migration_plan", "q", "q.blocking", "type", "int",
            ".status", ".output", "'succeeded'", "\"x\"", "r'\\d'", "b'x'", "null", "true", "1", "-2", "0x1F",
            "1.5", "3u", "[1, 'a']", "{'a': 1}", "[0]",
        ])
        .prop_map(str::to_owned),
        3 => prop::sample::select(vec![
            " == ", " != ", " < ", " >= ", " && ", " || ", " + ", " - ", " * ", " / ", " % ", " in ", "!", "-", " ? ",
            " : ", "(", ")", "[", "]", "{", "}", ",", ".", "?", "//", "'", "\"", "\\", "\n",
        ])
        .prop_map(str::to_owned),
        2 => prop::sample::select(vec![
            ".exists(q, q.blocking)", ".all(q, q)", ".map(q, q.id)", ".filter(q, q.blocking)", ".exists_one(q, true)",
            "size(", "has(job.llm)", ".size()", ".contains('a')", ".startsWith(", ".matches('(')", "string(", "int('x')",
            "duration('1s')", "timestamp('')", "dyn(", ".getHours()",
        ])
        .prop_map(str::to_owned),
        1 => "\\PC{1,3}",
    ]
}

/// An expression that is well formed.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "job.require_review",
        "job.llm.enabled",
        "job.llm.provider",
        "job.source.sample_rows",
        "job.source.include",
        "job.embedding.dimensions",
        "stages.executor.status",
        "stages.analyzer.output.entities",
        "open_questions",
        "migration_plan",
        "'failed'",
        "'gemini'",
        "null",
        "true",
        "false",
        "3",
        "1.5",
        "[]",
        "['failed']",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 3, |inner| {
        let sign = prop::sample::select(vec!["==", "!=", "<", ">", "&&", "||", "+", "in", "%"]);
        let of_one = prop::sample::select(vec![
            "!(_)", "size(_)", "string(_)", "type(_) == int", "(_).size()", "(_)[0]", "(_).exists(x, x == _)",
            "(_).filter(x, x.blocking).size() > 0", "(_).map(x, x).size()", "-(_)", "[_, _]", "{'a': _}.a",
            "(_).startsWith('a')", "_ ? _ : _",
        ]);
        prop_oneof![
            3 => (inner.clone(), sign, inner.clone()).prop_map(|(a, sign, b)| format!("({a} {sign} {b})")),
            1 => (of_one, inner).prop_map(|(form, inner)| form.replace('_', &inner)),
        ]
    })
}

/// Puts a condition on an edge and on a stage of a graph in which there is something to read.
fn with_condition(when: &str) -> String {
    let when = toml::Value::from(when).to_string();
    let mut text = String::from("name = \"fuzz\"\ninput = \"job\"\n");
    let spine = r#"["collect_metadata", "normalize_schema", "analyzer", "code_generator", "infra_generator", "executor", "run_validation"]"#;
    let _ = write!(
        text,
        "edges = [{{ chain = {spine} }}, {{ from = \"executor\", to = \"gate_review\", on = [\"succeeded\", \"failed\"], when = {when} }}]\n\
         [stages.gate_review]\nwhen = {when}\n"
    );
    text
}

fn try_condition(when: &str) {
    build(with_condition(when).as_bytes());
    let Ok(condition) = Condition::compile(when) else {
        return;
    };
    let values = json!({
        "job": {"require_review": true, "llm": {"enabled": false, "provider": "gemini"}, "source": {"sample_rows": 3, "include": ["a"]}},
        "stages": {"executor": {"status": "failed"}, "analyzer": {"output": {"entities": [{"name": "x"}]}}},
        "open_questions": [{"id": "q", "blocking": true}],
    });
    for values in [values, json!({}), json!(null)] {
        // Whether there is a result is the condition's affair; it must not panic.
        let _ = condition.evaluate(|_, path| follow(&values, path, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        build(&bytes);
    }

    #[test]
    fn any_text(text in "(\\PC|[\n\\[\\]=\"'{}.#,]){0,200}") {
        build(text.as_bytes());
    }

    #[test]
    fn graphs_with_other_tokens(changes in prop::collection::vec(change(), 1..6)) {
        build(changed(tokens(GRAPH), &changes).as_bytes());
    }

    #[test]
    fn graphs_with_other_lines(changes in prop::collection::vec(change(), 1..6)) {
        let lines = GRAPH.split_inclusive('\n').map(str::to_owned).collect();
        build(changed(lines, &changes).as_bytes());
    }

    #[test]
    fn trees_of_any_shape(entries in prop::collection::btree_map(key(), value(), 0..8)) {
        let lines: Vec<String> = entries.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        let text = lines.concat();
        build(text.as_bytes());
    }

    #[test]
    fn conditions_of_any_words(words in prop::collection::vec(word(), 0..12)) {
        try_condition(&words.concat());
    }

    #[test]
    fn conditions_that_are_well_formed(expression in expression()) {
        try_condition(&expression);
    }
}

//! What is proved before a run, beside what files under `tests/graphs/` show.

use super::plan::Plan;
use super::testing::{HANDLERS, codes, warnings};

/// A stage that declares `counts`, and what follows it.
fn declared(rest: &str) -> String {
    format!(
        r#"name = "g"
input = "job"
[stages.count]
handler = "declare"
with = {{ kind = "counts", schema = {{ type = "object", properties = {{ rows = {{ type = "integer" }}, state = {{ enum = ["good", "bad"] }} }} }} }}
[stages.next]
handler = "step"
{rest}
"#
    )
}

fn edge(when: &str) -> String {
    declared(&format!(
        "[[edges]]\nfrom = \"count\"\nto = \"next\"\nwhen = \"{when}\""
    ))
}

#[test]
fn a_declared_schema_types_conditions() {
    for (when, expected) in [
        ("stages.count.output.rows > 3", &[][..]),
        ("counts.rows > 3 && counts.state == 'good'", &[]),
        ("counts.rwos > 3", &["unknown-path"]),
        ("stages.count.output.rows", &["not-bool"]),
        ("counts.state == 'goood'", &["never-equal"]),
        ("counts.rows == 'many'", &["never-equal"]),
        ("count.rows == 3", &["unknown-variable"]),
    ] {
        assert_eq!(codes(&edge(when)), expected, "{when}");
    }
}

#[test]
fn a_declared_kind_takes_part_in_the_certainty_check() {
    let reader = |with: &str, rest: &str| {
        declared(&format!(
            "[stages.reader]\nhandler = \"declare\"\nwith = {{ kind = \"sums\", reads = [{{ {with} }}] }}\n{rest}"
        ))
    };
    let chain = "[[edges]]\nchain = [\"count\", \"next\", \"reader\"]";
    let around = "edges = [{ chain = [\"count\", \"next\"] }, { chain = [\"next\", \"reader\"] }, { from = \"count\", to = \"reader\", when = \"job.x\" }]";
    let apart =
        "[[edges]]\nchain = [\"next\", \"reader\"]\n[[edges]]\nchain = [\"next\", \"count\"]";
    let text = |with: &str, edges: &str| {
        let text = reader(with, "");
        if edges.starts_with("edges") {
            text.replacen("input", &format!("{edges}\ninput"), 1)
        } else {
            format!("{text}{edges}")
        }
    };
    let needs = "kind = \"counts\"";
    assert_eq!(codes(&text(needs, chain)), [""; 0]);
    assert_eq!(codes(&text(needs, around)), [""; 0]);
    assert_eq!(codes(&text(needs, apart)), ["not-written"]);
    let skipped = text(needs, chain).replace("[stages.count]", "[stages.count]\nwhen = \"job.x\"");
    assert_eq!(codes(&skipped), ["not-certain"]);
    let optional = skipped.replace("\"counts\" }]", "\"counts\", optional = true }]");
    assert_eq!(codes(&optional), [""; 0]);
}

#[test]
fn a_declared_kind_has_no_other_meaning() {
    for taken in ["alpha", "job", "stages", "open_questions"] {
        let text = declared("").replace("\"counts\"", &format!("\"{taken}\""));
        assert_eq!(codes(&text), ["taken-kind"], "{taken}");
        let found = Plan::parse("g.toml", text.as_bytes(), HANDLERS).expect_err(taken);
        let span = found.list()[0].span.clone();
        assert_eq!(text[span], format!("\"{taken}\""));
    }
}

#[test]
fn a_schema_that_is_none_types_nothing() {
    for schema in [
        "3",
        "{ type = 3 }",
        "{ \"$ref\" = \"#\" }",
        "{ anyOf = [] }",
        "[]",
    ] {
        let text = format!(
            "name = \"g\"\n[stages.count]\nhandler = \"declare\"\nwith = {{ kind = \"counts\", schema = {schema} }}\n\
             [stages.next]\nhandler = \"step\"\n[[edges]]\nfrom = \"count\"\nto = \"next\"\nwhen = \"counts.x == 3\""
        );
        let found = codes(&text);
        assert!(
            found.is_empty() || found == ["unknown-path"],
            "{schema}: {found:?}"
        );
    }
}

#[test]
fn parameters_are_blamed_where_they_stand() {
    let text = r#"name = "g"
[stages.step]
with = { valeu = 3, after_ms = "long", does = "fial" }
[stages.count]
handler = "declare"
with = { kind = "counts", reads = [{ kind = "alpha", optoinal = true }, { optional = 3 }] }
"#;
    let found = Plan::parse("g.toml", text.as_bytes(), HANDLERS).expect_err("bad parameters");
    let blamed: Vec<_> = found
        .list()
        .iter()
        .map(|found| (found.code, &text[found.span.clone()], found.help.clone()))
        .collect();
    let mean = |name: &str| Some(format!("did you mean `{name}`?"));
    let of = |name: &str| Some(format!("`relvec handlers {name}` describes them"));
    assert_eq!(
        blamed,
        [
            ("unknown-parameter", "valeu", mean("value")),
            ("bad-parameter", "\"long\"", of("step")),
            ("bad-parameter", "\"fial\"", mean("fail")),
            ("unknown-parameter", "optoinal", mean("optional")),
            ("missing-parameter", "{ optional = 3 }", of("declare")),
            ("bad-parameter", "3", of("declare")),
        ]
    );
}

#[test]
fn a_parameter_that_its_handler_refuses_is_blamed_too() {
    let text = "name = \"g\"\n[stages.step]\nwith = { value = -3 }";
    let found = Plan::parse("g.toml", text.as_bytes(), HANDLERS).expect_err("a bad parameter");
    assert_eq!(&text[found.list()[0].span.clone()], "-3");
}

#[test]
fn an_input_of_which_nothing_is_known_can_hold_anything() {
    let text = "name = \"g\"\ninput = \"job\"\n[stages.step]\nwhen = \"job.anything[3].x == 'y' || job.z\"";
    assert_eq!(codes(text), [""; 0]);
    assert_eq!(warnings(text), [""; 0]);
}

#[test]
fn a_kind_that_nobody_writes_is_told_once() {
    let text =
        "name = \"g\"\n[stages.a]\nhandler = \"use_alpha\"\n[stages.b]\nhandler = \"use_alpha\"";
    assert_eq!(codes(text), ["not-written"]);
}

#[test]
fn what_is_only_left_out_today_is_not_warned_of() {
    let text = r#"name = "g"
[[edges]]
chain = ["make_alpha", "use_alpha", "step"]
[stages.use_alpha]
disabled = true
[stages.step]
when = "stages.use_alpha.status == 'succeeded'"
"#;
    // That nobody reads `used` is told whether or not the stage is disabled.
    assert_eq!(warnings(text), ["output-never-read"]);
    // `alpha` has a reader, whoever of the two is disabled.
    let read = "name = \"g\"\n[[edges]]\nchain = [\"make_alpha\", \"maybe_alpha\"]\n";
    for disabled in ["make_alpha", "maybe_alpha"] {
        let text = format!("{read}[stages.{disabled}]\ndisabled = true\n");
        assert_eq!(warnings(&text), [""; 0], "{disabled}");
    }
}

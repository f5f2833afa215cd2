use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::graph::file::GraphFile;
use crate::graph::flat;
use crate::graph::testing::{HANDLERS, plan};

fn differs(before: &str, after: &str) -> String {
    diff(&plan(before), &plan(after)).to_string()
}

const BASE: &str = r#"
name = "base"
input = "job"
edges = [{ chain = ["a", "b", "c"] }, { from = "a", to = "c", when = "job.x == 'y'", on = ["succeeded"] }]
[stages.a]
handler = "step"
with = { value = 3 }
[stages.b]
handler = "step"
[stages.c]
handler = "step"
"#;

#[test]
fn what_does_not_change_a_run_is_no_difference() {
    let same = r#"
# The same in other words.
name = "other"
description = "the same"
input = "job"
concurrency = 4
[[edges]]
from = "b"
to = "c"
[[edges]]
from = "a"
to = "c"
when = '(job.x=="y")'
[[edges]]
from = "a"
to = "b"
on = ["succeeded"]
[stages.c]
handler = "step"
disabled = false
on_error = "fail"
with = { does = "succeed" }
[stages.b]
handler = "step"
timeout = "300s"
with = {}
retry = { attempts = 1, base = "9s" }
[stages.a]
handler = "step"
with = { after_ms = 0, value = 3 }
"#;
    let before = BASE.replace(
        "[stages.b]\n",
        "[stages.b]\nretry = { attempts = 1 }\ntimeout = \"5m\"\n",
    );
    assert_eq!(differs(&before, same), "");
}

#[test]
fn every_sort_of_difference_is_named() {
    let after = r#"
name = "base"
concurrency = 2
deadline = "90m"
input = "job"
edges = [{ chain = ["a", "b", "d"] }, { from = "a", to = "c", else = true, on = ["failed", "succeeded"] }]
[stages.a]
handler = "step"
with = { value = 4, does = "fail" }
timeout = "1h"
retry = { attempts = 2, base = "5s" }
[stages.b]
handler = "make_alpha"
when = "job.z"
on_error = "skip"
[stages.c]
handler = "step"
disabled = true
[stages.d]
handler = "step"
"#;
    let before = BASE.replace(
        "[stages.a]\n",
        "[stages.a]\ntimeout = \"2m\"\nretry = { attempts = 3, base = \"1s\" }\n",
    );
    assert_eq!(
        differs(&before, after),
        "\
concurrency: 4 -> 2
deadline: nothing -> 90m
stage `a` changed
  timeout: 2m -> 1h
  retry.attempts: 3 -> 2
  retry.base: 1s -> 5s
  with.does: succeed -> fail
  with.value: 3 -> 4
stage `b` changed
  handler: step -> make_alpha
  when: nothing -> job.z
  on_error: fail -> skip
stage `c` changed
  disabled: false -> true
stage `d` added
edge from `a` to `c` changed
  on: [\"succeeded\"] -> [\"succeeded\",\"failed\"]
  when: job.x == 'y' -> nothing
  else: false -> true
edge from `b` to `c` removed
edge from `b` to `d` added
"
    );
}

/// The difference the other way round has the same things, with before and after exchanged.
#[test]
fn a_difference_has_two_sides() {
    let one = plan(BASE);
    let other = plan(&BASE.replace("value = 3", "value = 5"));
    let there = diff(&one, &other);
    let back = diff(&other, &one);
    let sides = |diff: &GraphDiff| {
        let found = &diff.stages[0].differences[0];
        (found.before.clone(), found.after.clone())
    };
    assert_eq!(sides(&there), (json!(3), json!(5)));
    assert_eq!(sides(&back), (json!(5), json!(3)));
}

/// A graph of up to seven stages in a row of ranks, with everything that a graph can say chosen at random.
fn any_graph() -> impl Strategy<Value = Vec<String>> {
    let stage = (
        proptest::option::of(0..9_i64),
        proptest::option::of(1..4_u32),
        proptest::option::of(1..7_200_u64),
        any::<[bool; 3]>(),
    );
    let stages = proptest::collection::vec(stage, 2..7);
    let edges = proptest::collection::vec((0..7_usize, 0..7_usize, 0..4_u8), 0..12);
    (stages, edges).prop_map(|(stages, edges)| {
        let mut parts = Vec::new();
        let mut seen = BTreeSet::new();
        for (from, to, sort) in edges {
            let (from, to) = (from.min(to), from.max(to));
            if from == to || to >= stages.len() || !seen.insert((from, to)) {
                continue;
            }
            let more = ["", "when = \"job.n > 1\"\n", "on = [\"failed\"]\n", ""][usize::from(sort)];
            parts.push(format!(
                "[[edges]]\nfrom = \"s{from}\"\nto = \"s{to}\"\n{more}"
            ));
        }
        for (number, (value, attempts, seconds, [when, skip, disabled])) in
            stages.into_iter().enumerate()
        {
            let mut text = format!("[stages.s{number}]\nhandler = \"step\"\n");
            if let Some(value) = value {
                let _ = writeln!(text, "with = {{ value = {value} }}");
            }
            if let Some(attempts) = attempts {
                let _ = writeln!(text, "retry = {{ attempts = {attempts} }}");
            }
            if let Some(seconds) = seconds {
                let _ = writeln!(text, "timeout = \"{seconds}s\"");
            }
            for (is_so, line) in [
                (when, "when = \"job.yes\"\n"),
                (skip, "on_error = \"skip\"\n"),
                (disabled, "disabled = true\n"),
            ] {
                text.push_str(if is_so { line } else { "" });
            }
            parts.push(text);
        }
        parts
    })
}

fn whole(parts: &[String]) -> String {
    format!("name = \"any\"\ninput = \"job\"\n{}", parts.concat())
}

proptest! {
    #[test]
    fn a_graph_does_not_differ_from_itself(parts in any_graph(), turn in 0..20_usize) {
        let text = whole(&parts);
        // A graph may have a failure edge from a stage that skips its errors, which is refused: nothing to compare.
        if let Ok(file) = GraphFile::parse("any.toml", text.as_bytes())
            && let Ok(one) = Plan::build(&file, HANDLERS)
        {
            prop_assert!(diff(&one, &one).is_empty());
            let flat = plan(&flat::to_toml(&file));
            prop_assert_eq!(diff(&one, &flat).to_string(), "");
            let mut turned = parts.clone();
            turned.rotate_left(turn % parts.len());
            prop_assert_eq!(diff(&one, &plan(&whole(&turned))).to_string(), "");
        }
    }
}

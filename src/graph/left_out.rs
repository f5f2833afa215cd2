//! What a graph or a job leaves out, and the order of what is ready: the engine's rules, one test each.

use std::sync::Arc;

use serde_json::json;

use super::file::GraphFile;
use super::plan::{Plan, Selection};
use super::run::Run;
use super::semantics::{graph, ran};
use super::testing::{HANDLERS, finish, input};

#[tokio::test]
async fn a_disabled_stage_is_skipped_whatever_its_condition_says() {
    let rest = r#"
edges = [{ chain = ["a", "b", "c"] }]
[stages.b]
handler = "step"
disabled = true
when = "1 / (stages.a.output.value - stages.a.output.value) == 1"
"#;
    let ran = ran("a c", rest).await;
    assert_eq!(
        ran.summary(),
        "succeeded: a succeeded, b skipped, c succeeded"
    );
    assert_eq!(ran.reason("b"), json!({"code": "disabled", "by": "graph"}));
}

#[tokio::test]
async fn what_a_job_does_not_select_is_left_out() {
    let text = graph(
        "a b c",
        r#"edges = [{ chain = ["a", "b"] }, { from = "b", to = "c", when = "stages.b.output.value > 0" }]"#,
    );
    let file = GraphFile::parse("test.toml", text.as_bytes()).expect("TOML");
    for (selection, expected) in [
        (
            Selection {
                only: vec!["a".to_owned()],
                ..Selection::default()
            },
            // Nothing behind `b` is enabled, so that its condition has nothing to decide.
            "succeeded: a succeeded, b skipped, c skipped",
        ),
        (
            Selection {
                skip: vec!["c".to_owned()],
                ..Selection::default()
            },
            "succeeded: a succeeded, b succeeded, c not_taken",
        ),
    ] {
        let plan = Plan::select(&file, HANDLERS, &selection).expect("a plan");
        let ran = finish(Run::start(Arc::new(plan), input(json!({})))).await;
        assert_eq!(ran.summary(), expected);
    }
    let selection = Selection {
        skip: vec!["b".to_owned()],
        ..Selection::default()
    };
    let found = Plan::select(&file, HANDLERS, &selection).expect_err("c reads b's output");
    assert_eq!(found.list()[0].code, "not-written");
}

#[tokio::test]
async fn no_branch_runs_ahead_of_the_others() {
    let rest = "concurrency = 1\nedges = [{ chain = [\"a\", \"b\", \"c\"] }, { chain = [\"x\", \"y\", \"z\"] }]";
    let ran = ran("a b c x y z", rest).await;
    let started: Vec<_> = ran
        .told()
        .into_iter()
        .filter_map(|told| Some(told.strip_suffix(" started 1")?.to_owned()))
        .collect();
    assert_eq!(started, ["a", "x", "b", "y", "c", "z"]);
}

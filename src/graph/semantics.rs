//! The rules of the engine, one test each, with small handlers.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::event::{Event, RunStatus, StageStatus};
use super::run::Run;
use super::testing::{Ran, answer, codes, finish, input, plan, run};

/// Makes a graph: `plain` names stages that are a `step` with nothing else to say, `rest` is TOML.
pub(super) fn graph(plain: &str, rest: &str) -> String {
    let mut text = format!("name = \"test\"\ninput = \"job\"\n{rest}\n");
    for id in plain.split_whitespace() {
        let _ = writeln!(text, "[stages.{id}]\nhandler = \"step\"");
    }
    text
}

pub(super) async fn ran(plain: &str, rest: &str) -> Ran {
    run(
        &graph(plain, rest),
        json!({"yes": true, "no": false, "n": 3}),
    )
    .await
}

const DIAMOND: &str = r#"
[[edges]]
chain = ["a", "b", "d"]
[[edges]]
chain = ["a", "c", "d"]
"#;

#[tokio::test]
async fn a_chain_runs_in_order() {
    let ran = ran("a b c", r#"edges = [{ chain = ["a", "b", "c"] }]"#).await;
    assert_eq!(
        ran.summary(),
        "succeeded: a succeeded, b succeeded, c succeeded"
    );
    assert_eq!(
        ran.told(),
        [
            "run started",
            "a started 1",
            "a succeeded",
            "a->b true",
            "b started 1",
            "b succeeded",
            "b->c true",
            "c started 1",
            "c succeeded",
            "run finished"
        ]
    );
}

#[tokio::test]
async fn a_diamond_joins_once() {
    let ran = ran("a b c d", DIAMOND).await;
    let starts = ran
        .told()
        .iter()
        .filter(|told| *told == "d started 1")
        .count();
    assert_eq!((starts, ran.result.status), (1, RunStatus::Succeeded));
}

#[tokio::test]
async fn a_stage_whose_condition_is_false_is_skipped_and_its_edges_are_taken() {
    let rest = r#"
edges = [{ chain = ["a", "b", "c"] }]
[stages.b]
handler = "step"
when = "job.no"
"#;
    let ran = ran("a c", rest).await;
    assert_eq!(
        ran.summary(),
        "succeeded: a succeeded, b skipped, c succeeded"
    );
    assert_eq!(
        ran.reason("b"),
        json!({"code": "condition_false", "expression": "job.no", "values": {"job.no": false}})
    );
}

#[tokio::test]
async fn an_untaken_edge_makes_what_follows_not_taken_all_the_way() {
    let rest = r#"
[[edges]]
from = "a"
to = "b"
when = "job.n > 5"
[[edges]]
chain = ["b", "c"]
"#;
    let ran = ran("a b c", rest).await;
    assert_eq!(
        ran.summary(),
        "succeeded: a succeeded, b not_taken, c not_taken"
    );
    let because = json!({"code": "condition", "expression": "job.n > 5", "values": {"job.n": 3}});
    assert_eq!(
        ran.reason("b"),
        json!({"code": "no_edge_taken", "edges": [
            {"from": "a", "to": "b", "taken": false, "outcome": "succeeded", "because": because}]})
    );
    assert_eq!(ran.reason("c")["edges"][0]["outcome"], "not_taken");
}

#[tokio::test]
async fn a_join_ignores_untaken_edges() {
    let rest = r#"
edges = [
    { from = "a", to = "b", when = "job.no" },
    { chain = ["a", "c"] },
    { chain = ["b", "d"] },
    { chain = ["c", "d"] },
]
"#;
    let ran = ran("a b c d", rest).await;
    assert_eq!(
        ran.summary(),
        "succeeded: a succeeded, b not_taken, c succeeded, d succeeded"
    );
}

#[tokio::test]
async fn else_is_taken_only_if_no_sibling_was() {
    for (condition, b, c) in [
        ("job.yes", StageStatus::Succeeded, StageStatus::NotTaken),
        ("job.no", StageStatus::NotTaken, StageStatus::Succeeded),
    ] {
        let rest = format!(
            "edges = [{{ from = \"a\", to = \"c\", else = true }}, {{ from = \"a\", to = \"b\", when = \"{condition}\" }}]"
        );
        let ran = ran("a b c", &rest).await;
        assert_eq!((ran.status("b"), ran.status("c")), (b, c), "{condition}");
    }
}

#[tokio::test]
async fn a_failure_without_an_edge_fails_the_run_and_cancels_the_rest() {
    let rest = r#"
edges = [{ chain = ["a", "b"] }]
[stages.a]
handler = "step"
with = { does = "fail" }
"#;
    let ran = ran("b", rest).await;
    assert_eq!(ran.summary(), "failed: a failed, b cancelled");
    assert_eq!(
        ran.result.error.as_deref(),
        Some("stage `a` failed: it broke")
    );
    assert_eq!(
        ran.reason("b"),
        json!({"code": "run_ended", "cause": "stage_failed", "stage": "a"})
    );
}

#[tokio::test]
async fn a_failure_with_an_edge_takes_it_and_the_run_goes_on() {
    let rest = r#"
edges = [
    { from = "a", to = "b", on = ["failed"], when = "stages.a.status == 'failed' && stages.a.output.value == 4" },
    { from = "a", to = "c" },
]
[stages.a]
handler = "step"
with = { does = "fail_with_evidence", value = 4 }
"#;
    let ran = ran("b c", rest).await;
    assert_eq!(
        ran.summary(),
        "succeeded: a failed, b succeeded, c not_taken"
    );
    assert_eq!(
        ran.reason("c")["edges"][0]["because"],
        json!({"code": "outcome"})
    );
}

#[tokio::test]
async fn a_failure_whose_edge_is_not_taken_fails_the_run() {
    let rest = r#"
edges = [{ from = "a", to = "b", on = ["failed"], when = "job.no" }]
[stages.a]
handler = "step"
with = { does = "fail" }
"#;
    assert_eq!(
        ran("b", rest).await.summary(),
        "failed: a failed, b cancelled"
    );
}

#[tokio::test]
async fn on_error_skip_goes_on_without_the_output() {
    let rest = r#"
edges = [{ chain = ["a", "b"] }]
[stages.a]
handler = "step"
on_error = "skip"
with = { does = "fail_with_evidence" }
"#;
    let ran = ran("b", rest).await;
    assert_eq!(ran.summary(), "succeeded: a skipped, b succeeded");
    assert_eq!(
        ran.reason("a"),
        json!({"code": "error_skipped", "class": "permanent", "error": "it broke"})
    );
    assert_eq!(ran.result.outputs.len(), 1);
    // What it could report is told, and nobody reads it.
    assert!(ran.told().contains(&"a kept evidence".to_owned()));
    let read = "edges = [{ from = \"a\", to = \"b\", when = \"stages.a.output == null\" }]";
    let rest = rest.replace("edges = [{ chain = [\"a\", \"b\"] }]", read);
    assert_eq!(
        super::semantics::ran("b", &rest).await.status("b"),
        StageStatus::Succeeded
    );
}

#[tokio::test]
async fn outputs_reach_those_that_read_them() {
    let rest = r#"edges = [{ chain = ["make_alpha", "use_alpha"] }]"#;
    let ran = ran("", rest).await;
    let used = ran
        .result
        .outputs
        .iter()
        .find(|(kind, _)| kind.as_str() == "used");
    assert_eq!(
        used.map(|(_, value)| value.as_ref().clone()),
        Some(json!({"alpha": 7}))
    );
}

#[tokio::test]
async fn an_optional_input_may_be_absent() {
    let rest = r#"
edges = [{ chain = ["make_alpha", "maybe_alpha"] }]
[stages.make_alpha]
when = "job.no"
"#;
    let ran = ran("", rest).await;
    let used = ran
        .result
        .outputs
        .iter()
        .find(|(kind, _)| kind.as_str() == "used");
    assert_eq!(
        used.map(|(_, value)| value.as_ref().clone()),
        Some(json!({"alpha": null}))
    );
}

#[tokio::test]
async fn a_condition_that_cannot_be_evaluated_is_an_error() {
    let rest = r#"edges = [{ from = "a", to = "b", when = "job.absent" }]"#;
    let on_edge = ran("a b", rest).await;
    assert_eq!(on_edge.result.status, RunStatus::Failed);
    let error = on_edge.result.error.clone().unwrap_or_default();
    assert!(
        error.starts_with("the edge from `a` to `b`: the condition `job.absent`"),
        "{error}"
    );

    let rest =
        "edges = [{ chain = [\"a\", \"b\"] }]\n[stages.b]\nhandler = \"step\"\nwhen = \"job.n\"";
    let on_stage = ran("a", rest).await;
    assert_eq!(on_stage.summary(), "failed: a succeeded, b failed");
    let error = on_stage.result.error.clone().unwrap_or_default();
    assert!(error.contains("gave int, not a bool"), "{error}");
}

#[tokio::test]
async fn outputs_by_kind_and_statuses_can_be_read() {
    let rest = r#"
edges = [
    { from = "make_alpha", to = "b", when = "alpha.value == 7 && stages.make_alpha.status == 'succeeded'" },
    { from = "make_alpha", to = "c", when = "stages['make_alpha'].output.value > 7" },
]
"#;
    let ran = ran("b c", rest).await;
    assert_eq!(
        (ran.status("b"), ran.status("c")),
        (StageStatus::Succeeded, StageStatus::NotTaken)
    );
}

#[tokio::test]
async fn open_questions_can_be_read_and_answered_ones_are_gone() {
    let text = graph(
        "b",
        r#"
edges = [{ from = "a", to = "b", when = "open_questions.exists(q, q.blocking)" }]
[stages.a]
handler = "step"
with = { does = "talk" }
"#,
    );
    for (answered, b) in [
        (false, StageStatus::Succeeded),
        (true, StageStatus::NotTaken),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut input = input(json!({}));
        input.environment.artifacts = folder.path().to_owned();
        if answered {
            input
                .environment
                .answers
                .insert("talk".to_owned(), answer());
        }
        let ran = finish(Run::start(plan(&text), input)).await;
        assert_eq!(ran.status("b"), b);
        assert_eq!(ran.result.artifacts[0].name, "talk.txt");
        assert_eq!(
            ran.told()[1..7],
            [
                "a started 1",
                "a progress",
                "a log",
                "a asked",
                "a wrote talk.txt",
                "a succeeded"
            ]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_times_out() {
    let rest = r#"
edges = [{ from = "a", to = "b", on = ["timed_out"] }]
[stages.a]
handler = "step"
timeout = "2s"
with = { after_ms = 60000 }
"#;
    let ran = ran("b", rest).await;
    assert_eq!(ran.summary(), "succeeded: a timed_out, b succeeded");
    assert_eq!(
        ran.reason("a"),
        json!({"code": "error", "class": "timeout", "error": "no result within 2s"})
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_says_when_its_time_is_over_is_kept() {
    let rest = r#"
edges = [{ from = "a", to = "b", on = ["timed_out"], when = "stages.a.output.value == 5" }]
[stages.a]
handler = "step"
timeout = "2s"
with = { does = "obey", value = 5 }
"#;
    assert_eq!(
        ran("b", rest).await.summary(),
        "succeeded: a timed_out, b succeeded"
    );
}

#[tokio::test(start_paused = true)]
async fn transient_failures_and_timeouts_are_retried_and_permanent_ones_are_not() {
    let text = |with: &str| {
        let rest = format!(
            "[defaults]\ntimeout = \"1s\"\nretry = {{ attempts = 3 }}\n[stages.a]\nhandler = \"step\"\nwith = {with}"
        );
        graph("", &rest)
    };
    let flaky = run(&text("{ does = \"flake\", from_attempt = 3 }"), Value::Null).await;
    assert_eq!(
        flaky.told(),
        [
            "run started",
            "a started 1",
            "a retrying 1",
            "a started 2",
            "a retrying 2",
            "a started 3",
            "a succeeded",
            "run finished"
        ]
    );
    assert_eq!(flaky.result.stages[0].attempts, 3);
    let slow = run(&text("{ after_ms = 5000 }"), Value::Null).await;
    assert_eq!(
        (slow.status("a"), slow.result.stages[0].attempts),
        (StageStatus::TimedOut, 3)
    );
    let broken = run(&text("{ does = \"fail\" }"), Value::Null).await;
    assert_eq!(
        (broken.status("a"), broken.result.stages[0].attempts),
        (StageStatus::Failed, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_as_long_as_it_is_asked_to_and_not_longer_than_the_stage_allows() {
    let rest = r#"
[stages.a]
handler = "step"
retry = { attempts = 2, base = "1s", max = "20s" }
with = { does = "busy" }
"#;
    let delays: Vec<f64> = ran("", rest)
        .await
        .events
        .iter()
        .filter_map(|event| match event {
            Event::StageRetrying { delay_seconds, .. } => Some(*delay_seconds),
            _ => None,
        })
        .collect();
    assert_eq!(delays, [20.0]);
}

#[tokio::test(start_paused = true)]
async fn only_what_is_listed_is_retried() {
    let rest = r#"
[stages.a]
handler = "step"
retry = { attempts = 3, on = ["timeout"] }
with = { does = "flake" }
"#;
    assert_eq!(ran("", rest).await.result.stages[0].attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn side_effects_happen_once_unless_the_stage_says_otherwise() {
    let defaults = "[defaults]\nretry = { attempts = 3 }\n[stages.effect]\n";
    assert_eq!(ran("", defaults).await.result.stages[0].attempts, 1);
    let own = format!("{defaults}retry = {{ attempts = 2 }}");
    assert_eq!(ran("", &own).await.result.stages[0].attempts, 2);
}

#[tokio::test]
async fn a_panic_fails_its_stage_and_nothing_else() {
    let rest = r#"
edges = [{ from = "a", to = "c", on = ["failed"] }, { chain = ["b", "c"] }]
[stages.a]
handler = "step"
with = { does = "panic" }
"#;
    let ran = ran("b c", rest).await;
    assert_eq!(
        ran.summary(),
        "succeeded: a failed, b succeeded, c succeeded"
    );
    assert!(
        ran.reason("a")["error"]
            .as_str()
            .unwrap_or_default()
            .contains("it panicked")
    );
}

#[tokio::test(start_paused = true)]
async fn independent_branches_run_at_the_same_time_up_to_the_concurrency() {
    for (concurrency, seconds) in [(1, 4), (2, 2), (4, 1)] {
        let mut rest = format!("concurrency = {concurrency}\n");
        for id in ["a", "b", "c", "d"] {
            let _ = write!(
                rest,
                "[stages.{id}]\nhandler = \"step\"\nwith = {{ after_ms = 1000 }}\n"
            );
        }
        let start = Instant::now();
        assert_eq!(ran("", &rest).await.result.status, RunStatus::Succeeded);
        assert_eq!(
            start.elapsed().as_secs(),
            seconds,
            "concurrency {concurrency}"
        );
    }
}

#[tokio::test]
async fn ready_stages_start_in_the_order_of_the_file() {
    let ran = ran("z y x", "concurrency = 1").await;
    let told = ran.told();
    let starts: Vec<_> = told
        .iter()
        .filter(|told| told.ends_with("started 1"))
        .collect();
    assert_eq!(starts, ["z started 1", "y started 1", "x started 1"]);
}

#[test]
fn a_run_can_be_pulled_from_a_task_of_its_own() {
    fn is_send<T: Send>(_: &T) {}
    let mut run = Run::start(plan(&graph("a", "")), input(Value::Null));
    is_send(&run);
    is_send(&run.next_event());
}

#[test]
fn a_required_input_has_to_be_certain() {
    let graph = |rest: &str| codes(&graph("a b", rest));
    assert_eq!(
        graph(r#"edges = [{ chain = ["make_alpha", "use_alpha"] }]"#),
        [""; 0]
    );
    assert_eq!(
        graph(
            r#"edges = [{ from = "a", to = "make_alpha", when = "job.x" }, { chain = ["a", "use_alpha"] }, { chain = ["make_alpha", "use_alpha"] }]"#
        ),
        ["not-certain"]
    );
    assert_eq!(
        graph(
            "edges = [{ chain = [\"make_alpha\", \"use_alpha\"] }]\n[stages.make_alpha]\nwhen = \"job.x\""
        ),
        ["not-certain"]
    );
    assert_eq!(
        graph(
            "edges = [{ chain = [\"make_alpha\", \"use_alpha\"] }]\n[stages.make_alpha]\non_error = \"skip\""
        ),
        ["not-certain"]
    );
    assert_eq!(
        graph(
            "edges = [{ chain = [\"make_alpha\", \"maybe_alpha\"] }]\n[stages.make_alpha]\non_error = \"skip\""
        ),
        [""; 0]
    );
    assert_eq!(
        graph(r#"edges = [{ chain = ["a", "use_alpha"] }]"#),
        ["not-written"]
    );
    assert_eq!(
        graph(
            "edges = [{ chain = [\"make_alpha\", \"c\", \"use_alpha\"] }]\n[stages.c]\nhandler = \"make_alpha\""
        ),
        ["two-writers"]
    );
}

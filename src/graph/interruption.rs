//! Runs that park, are resumed, cancelled or cut, one test a rule.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::event::{Event, RunStatus};
use super::run::Run;
use super::semantics::{graph, ran};
use super::testing::{Ran, answer, finish, input, plan, run};

const PARKED: &str = r#"
edges = [{ chain = ["a", "b", "d"] }, { chain = ["a", "c", "d"] }]
[stages.b]
handler = "step"
with = { does = "park", value = 9 }
"#;

#[tokio::test]
async fn a_parked_stage_waits_and_other_branches_go_on() {
    let ran = ran("a c d", PARKED).await;
    assert_eq!(
        ran.summary(),
        "waiting: a succeeded, b waiting, c succeeded, d pending"
    );
    assert_eq!(ran.result.error.as_deref(), Some("it waits for `go`"));
    assert_eq!(ran.result.questions[0].stage, "b");
}

#[tokio::test]
async fn an_answer_resumes_a_parked_run_without_repeating_what_ended() {
    let text = graph("a c d", PARKED);
    let parked = run(&text, Value::Null).await;
    let mut again = input(Value::Null);
    again.recorded = parked.recorded();
    again.questions.clone_from(&parked.result.questions);
    again.environment.answers.insert("go".to_owned(), answer());
    let resumed = finish(Run::start(plan(&text), again)).await;
    assert_eq!(
        resumed.summary(),
        "succeeded: a succeeded, b succeeded, c succeeded, d succeeded"
    );
    assert_eq!(
        resumed.told(),
        [
            "run started",
            "b started 1",
            "b succeeded",
            "b->d true",
            "d started 1",
            "d succeeded",
            "run finished"
        ]
    );
    assert_eq!(resumed.reason("a"), json!({"code": "ran"}));
}

/// Cuts a run after each event, as a killed process does, and goes on from what was recorded until then.
#[tokio::test]
async fn a_run_that_was_cut_anywhere_ends_as_if_it_had_not_been() {
    let text = graph(
        "a c d f",
        r#"
edges = [
    { chain = ["a", "b", "d"] },
    { from = "a", to = "c", when = "job.yes" },
    { from = "a", to = "f", else = true },
    { chain = ["c", "d"] },
    { from = "b", to = "e", on = ["failed"] },
    { chain = ["f", "d"] },
]
[stages.b]
handler = "step"
with = { does = "fail" }
[stages.e]
handler = "step"
when = "job.no"
"#,
    );
    let job = json!({"yes": true, "no": false});
    let whole = run(&text, job.clone()).await;
    let expected =
        "succeeded: a succeeded, b failed, c succeeded, f not_taken, d succeeded, e skipped";
    assert_eq!(whole.summary(), expected);
    for cut in 0..whole.events.len() {
        let mut run = Run::start(plan(&text), input(job.clone()));
        let mut events = Vec::new();
        for _ in 0..cut {
            events.extend(run.next_event().await);
        }
        let part = Ran {
            events,
            result: run.into_result(),
        };
        let mut again = input(job.clone());
        again.recorded = part.recorded();
        let resumed = finish(Run::start(plan(&text), again)).await;
        assert_eq!(resumed.summary(), expected, "cut after {cut} events");
    }
}

#[tokio::test]
async fn a_failed_stage_runs_again_when_the_run_is_resumed() {
    let text = graph(
        "a c",
        "edges = [{ chain = [\"a\", \"b\", \"c\"] }]\n[stages.b]\nhandler = \"step\"\nwith = { does = \"fail\" }",
    );
    let failed = run(&text, Value::Null).await;
    assert_eq!(
        failed.summary(),
        "failed: a succeeded, b failed, c cancelled"
    );
    let mut again = input(Value::Null);
    again.recorded = failed.recorded();
    let fixed = text.replace("does = \"fail\"", "does = \"succeed\"");
    let resumed = finish(Run::start(plan(&fixed), again)).await;
    assert_eq!(
        resumed.summary(),
        "succeeded: a succeeded, b succeeded, c succeeded"
    );
    assert!(!resumed.told().contains(&"a started 1".to_owned()));
}

/// Repeats one stage of a run that ended, and keeps all others as another run left them.
#[tokio::test]
async fn what_was_taken_over_is_kept_although_a_stage_before_it_runs_again() {
    let text = graph("a b c", "edges = [{ chain = [\"a\", \"b\", \"c\"] }]");
    let whole = run(&text, Value::Null).await;
    let mut again = input(Value::Null);
    again.recorded = whole.recorded();
    again.recorded.retain(|stage| stage.id != "b");
    let mut alone = again.clone();
    for stage in &mut alone.recorded {
        stage.reused = true;
    }
    let started = |ran: &Ran| {
        let told = ran.told().into_iter();
        told.filter(|told| told.contains("started 1"))
            .collect::<Vec<_>>()
    };
    let ran = finish(Run::start(plan(&text), again)).await;
    assert_eq!(started(&ran), ["b started 1", "c started 1"]);
    let ran = finish(Run::start(plan(&text), alone)).await;
    assert_eq!(started(&ran), ["b started 1"]);
    assert_eq!(ran.summary(), whole.summary());
}

/// What an execution that was killed recorded of a condition that fails must not count as an edge that is not taken.
#[tokio::test]
async fn a_condition_that_failed_is_evaluated_again() {
    let text = graph(
        "a b",
        r#"edges = [{ from = "a", to = "b", when = "1 / job.n > 0" }]"#,
    );
    let failed = run(&text, json!({"n": 0})).await;
    assert_eq!(failed.summary(), "failed: a succeeded, b cancelled");
    let mut again = input(json!({"n": 1}));
    again.recorded = failed.recorded();
    let ran = finish(Run::start(plan(&text), again)).await;
    assert_eq!(ran.summary(), "succeeded: a succeeded, b succeeded");
    assert!(!ran.told().contains(&"a started 1".to_owned()));
}

pub(super) async fn cancelled(does: &str) -> (Ran, Duration) {
    let rest = format!(
        "edges = [{{ chain = [\"a\", \"b\"] }}]\n[stages.a]\nhandler = \"step\"\ntimeout = \"1h\"\nwith = {does}"
    );
    let input = input(Value::Null);
    let cancel = input.environment.cancel.clone();
    let mut run = Run::start(plan(&graph("b", &rest)), input);
    let mut events = Vec::new();
    while !matches!(events.last(), Some(Event::StageStarted { .. })) {
        events.extend(run.next_event().await);
    }
    let start = Instant::now();
    cancel.cancel();
    while let Some(event) = run.next_event().await {
        events.push(event);
    }
    let result = run.into_result();
    (Ran { events, result }, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_ends_at_once_where_handlers_obey() {
    let (ran, took) = cancelled("{ does = \"obey\" }").await;
    assert_eq!(ran.summary(), "cancelled: a cancelled, b cancelled");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(ran.result.error.as_deref(), Some("the run was cancelled"));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_aborts_handlers_that_do_not_obey() {
    let (ran, took) = cancelled("{ after_ms = 1800000 }").await;
    assert_eq!(ran.summary(), "cancelled: a cancelled, b cancelled");
    assert!((4..5).contains(&took.as_secs()), "{took:?}");
}

#[tokio::test]
async fn a_run_that_is_cancelled_before_it_starts_starts_nothing() {
    let input = input(Value::Null);
    input.environment.cancel.cancel();
    let run = Run::start(plan(&graph("a", "")), input);
    assert_eq!(
        finish(run).await.told(),
        ["run started", "a cancelled", "run finished"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_stops_other_branches() {
    let rest = r#"
[stages.a]
handler = "step"
with = { does = "fail", after_ms = 1000 }
[stages.b]
handler = "step"
with = { does = "obey" }
"#;
    let ran = ran("", rest).await;
    assert_eq!(ran.summary(), "failed: a failed, b cancelled");
    assert_eq!(
        ran.reason("b"),
        json!({"code": "run_ended", "cause": "stage_failed", "stage": "a"})
    );
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_of_an_event_loses_nothing() {
    let rest = r#"
edges = [{ chain = ["a", "b"] }]
[stages.a]
handler = "step"
with = { after_ms = 1000 }
"#;
    let mut run = Run::start(plan(&graph("b", rest)), input(Value::Null));
    let mut names = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_millis(7), run.next_event()).await {
            Ok(Some(event)) => names.push(json!(event)["event"].clone()),
            Ok(None) => break,
            Err(_) => {}
        }
    }
    assert_eq!(names.len(), 7, "{names:?}");
    assert_eq!(run.into_result().status, RunStatus::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_at_its_deadline() {
    let rest = r#"
deadline = "3s"
edges = [{ chain = ["a", "b"] }]
[stages.a]
handler = "step"
with = { after_ms = 2000 }
[stages.b]
handler = "step"
with = { does = "obey" }
"#;
    let ran = ran("", rest).await;
    assert_eq!(ran.summary(), "failed: a succeeded, b cancelled");
    assert_eq!(
        ran.reason("b"),
        json!({"code": "run_ended", "cause": "deadline", "stage": null})
    );
    assert_eq!(
        ran.result.error.as_deref(),
        Some("the run took longer than its deadline of 3s")
    );
}

#[tokio::test]
async fn a_decision_is_not_made_again_after_a_restart() {
    let rest = r#"
edges = [
    { chain = ["a", "b"] },
    { from = "b", to = "c", when = "open_questions.size() > 0" },
    { chain = ["c", "d"] },
]
[stages.a]
handler = "step"
with = { does = "talk" }
[stages.c]
handler = "step"
with = { does = "park" }
"#;
    let text = graph("b d", rest);
    let folder = tempfile::tempdir().unwrap();
    let mut first = input(json!({}));
    first.environment.artifacts = folder.path().to_owned();
    let parked = finish(Run::start(plan(&text), first)).await;
    assert_eq!(
        parked.summary(),
        "waiting: a succeeded, b succeeded, c waiting, d pending"
    );
    let mut again = input(json!({}));
    again.recorded = parked.recorded();
    again.questions.clone_from(&parked.result.questions);
    for question in ["talk", "go"] {
        again
            .environment
            .answers
            .insert(question.to_owned(), answer());
    }
    // Nothing is open now: made again, the decision would be another one.
    let resumed = finish(Run::start(plan(&text), again)).await;
    assert_eq!(
        resumed.summary(),
        "succeeded: a succeeded, b succeeded, c succeeded, d succeeded"
    );
}

use serde_json::json;
use time::Duration;

use super::*;
use crate::graph::interruption::cancelled;
use crate::graph::run::Run;
use crate::graph::semantics::graph;
use crate::graph::testing::{Ran, answer, finish, input, plan, run};

/// Explains a stage as if an event were recorded every second.
fn explained(text: &str, ran: &[&Ran], stage: &str) -> Explanation {
    let events = ran.iter().flat_map(|ran| ran.events.iter().cloned());
    let start = OffsetDateTime::UNIX_EPOCH;
    let timed = events.zip(0_i64..);
    let timed = timed.map(|(event, second)| (start + Duration::seconds(second), event));
    let outline = Outline::from(plan(text).as_ref());
    match explain(Uuid::nil(), stage, &outline, timed) {
        Ok(explanation) => explanation,
        Err(unknown) => panic!("{unknown}"),
    }
}

async fn of(text: &str, stage: &str) -> Explanation {
    let ran = run(text, json!({"yes": true, "no": false, "n": 3})).await;
    explained(text, &[&ran], stage)
}

fn blamed(explanation: &Explanation) -> Vec<String> {
    let causes = explanation.causes.iter();
    causes
        .map(|cause| {
            let edge = cause.edge.as_ref();
            let edge = edge.map(|edge| format!(" to {} {}", edge.to, edge.taken));
            let edge = edge.unwrap_or_default();
            format!("{} {}{edge}", cause.stage, cause.status.name())
        })
        .collect()
}

#[tokio::test]
async fn a_stage_that_ran_shows_its_edges_condition_attempts_and_output() {
    let text = graph(
        "a c",
        r#"
edges = [{ from = "a", to = "b", when = "job.n > 1" }, { chain = ["b", "c"] }]
[stages.b]
handler = "step"
when = "job.yes"
"#,
    );
    let b = of(&text, "b").await;
    assert_eq!(
        (b.status, &b.reason),
        (StageStatus::Succeeded, &Some(Reason::Ran))
    );
    let because = json!({"code": "condition", "expression": "job.n > 1", "values": {"job.n": 3}});
    assert_eq!(json!(b.in_edges[0].decision)["because"], because);
    assert_eq!(
        json!(b.condition),
        json!({"expression": "job.yes", "values": {"job.yes": true}, "holds": true})
    );
    // Recorded one second apart: the start, and the end behind it.
    assert_eq!(b.attempts.len(), 1);
    assert_eq!(b.attempts[0].outcome, AttemptOutcome::Succeeded);
    assert_eq!(b.attempts[0].started_at, "1970-01-01T00:00:05Z");
    assert!((b.ran_seconds - 1.0).abs() < 1e-9);
    assert_eq!(b.wrote, Some(Kind::new("stepped")));
    assert_eq!(b.out_edges[0].to, "c");
    assert!(
        b.out_edges[0]
            .decision
            .as_ref()
            .is_some_and(|edge| edge.taken)
    );
    assert!(b.causes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn every_attempt_shows_its_error_and_its_delay() {
    let text = graph(
        "",
        r#"
[stages.a]
handler = "step"
with = { does = "flake", from_attempt = 3 }
retry = { attempts = 3, base = "1s", max = "30s", on = ["transient"] }
"#,
    );
    let a = of(&text, "a").await;
    let outcomes: Vec<_> = a.attempts.iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(
        outcomes,
        [
            AttemptOutcome::Failed,
            AttemptOutcome::Failed,
            AttemptOutcome::Succeeded
        ]
    );
    for attempt in &a.attempts[..2] {
        assert_eq!(attempt.class, Some(FailureClass::Transient));
        assert_eq!(attempt.error.as_deref(), Some("it flaked"));
        assert!(attempt.delay_seconds.is_some_and(|delay| delay >= 1.0));
    }
    // The delay is the second attempt's wait, and no wait for a slot.
    assert!(a.attempts[1].waited_seconds >= 1.0);
    assert!(a.waited_seconds < 1.0);
    assert!((a.ran_seconds - 3.0).abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_waited_for_a_slot_says_how_long() {
    let text = graph(
        "b",
        "concurrency = 1\n[stages.a]\nhandler = \"step\"\nwith = { after_ms = 2000 }\n",
    );
    let b = of(&text, "b").await;
    assert!((b.waited_seconds - 2.0).abs() < 0.1, "{b:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_timed_out_says_so() {
    let text = graph(
        "",
        "[stages.a]\nhandler = \"step\"\ntimeout = \"1s\"\nretry = { attempts = 1 }\nwith = { after_ms = 60000 }\n",
    );
    let a = of(&text, "a").await;
    assert_eq!(a.status, StageStatus::TimedOut);
    assert_eq!(a.attempts[0].outcome, AttemptOutcome::TimedOut);
    assert_eq!(a.attempts[0].class, Some(FailureClass::Timeout));
}

#[tokio::test]
async fn a_failed_stage_shows_the_error_and_the_edge_that_took_it() {
    let text = graph(
        "b c",
        r#"
edges = [{ from = "a", to = "b", on = ["failed"] }, { from = "a", to = "c" }]
[stages.a]
handler = "step"
with = { does = "fail_with_evidence" }
"#,
    );
    let a = of(&text, "a").await;
    assert_eq!(a.status, StageStatus::Failed);
    assert_eq!(a.attempts[0].error.as_deref(), Some("it broke"));
    assert_eq!(a.wrote, Some(Kind::new("stepped")));
    let taken: Vec<_> = a
        .out_edges
        .iter()
        .map(|edge| edge.decision.as_ref().map(|d| d.taken))
        .collect();
    assert_eq!(taken, [Some(true), Some(false)]);
    let c = of(&text, "c").await;
    assert_eq!(c.status, StageStatus::NotTaken);
    assert_eq!(blamed(&c), ["a failed to c false"]);
    assert_eq!(json!(c.causes[0].reason)["error"], "it broke");
}

#[tokio::test]
async fn skipped_stages_say_which_condition_error_or_switch() {
    let text = graph(
        "",
        r#"
edges = [{ chain = ["a", "b", "c"] }]
[stages.a]
handler = "step"
when = "job.no"
[stages.b]
handler = "step"
on_error = "skip"
with = { does = "fail_with_evidence" }
[stages.c]
handler = "step"
disabled = true
"#,
    );
    let a = of(&text, "a").await;
    assert_eq!(
        a.condition.as_ref().and_then(|condition| condition.holds),
        Some(false)
    );
    assert_eq!(json!(a.reason)["values"], json!({"job.no": false}));
    let b = of(&text, "b").await;
    assert_eq!(json!(b.reason)["code"], "error_skipped");
    // What it left behind is told, and is no output.
    assert_eq!(
        (&b.wrote, &b.evidence),
        (&None, &Some(Kind::new("stepped")))
    );
    assert_eq!(b.attempts[0].outcome, AttemptOutcome::Failed);
    let c = of(&text, "c").await;
    assert_eq!(json!(c.reason), json!({"code": "disabled", "by": "graph"}));
    assert!(c.attempts.is_empty());
}

#[tokio::test]
async fn a_stage_that_was_not_taken_leads_back_to_the_first_cause() {
    let text = graph(
        "a b c d e",
        r#"
edges = [
    { from = "a", to = "b", when = "job.n > 1" },
    { from = "a", to = "c", else = true },
    { chain = ["c", "d", "e"] },
]
"#,
    );
    let e = of(&text, "e").await;
    assert_eq!(
        blamed(&e),
        [
            "d not_taken to e false",
            "c not_taken to d false",
            "a succeeded to c false",
            "a succeeded to b true",
        ]
    );
    let last = e.causes.last().and_then(|cause| cause.edge.as_ref());
    assert_eq!(
        json!(last.expect("an edge").because)["values"],
        json!({"job.n": 3})
    );
}

#[tokio::test]
async fn cancelled_stages_name_what_ended_the_run() {
    let text = graph(
        "b",
        "edges = [{ chain = [\"a\", \"b\"] }]\n[stages.a]\nhandler = \"step\"\nwith = { does = \"fail\" }\n",
    );
    let b = of(&text, "b").await;
    assert_eq!(b.status, StageStatus::Cancelled);
    assert_eq!(
        json!(b.reason),
        json!({"code": "run_ended", "cause": "stage_failed", "stage": "a"})
    );
    assert_eq!(blamed(&b), ["a failed"]);

    let (ran, _) = cancelled("{ does = \"obey\" }").await;
    let text = graph("a b", "edges = [{ chain = [\"a\", \"b\"] }]\n");
    let a = explained(&text, &[&ran], "a");
    assert_eq!(a.attempts[0].outcome, AttemptOutcome::Stopped);
    let b = explained(&text, &[&ran], "b");
    assert_eq!(
        json!(b.reason),
        json!({"code": "run_ended", "cause": "cancelled", "stage": null})
    );
    assert!(b.causes.is_empty());
}

#[tokio::test]
async fn an_edge_whose_condition_fails_is_on_record() {
    let text = graph(
        "a b",
        r#"edges = [{ from = "a", to = "b", when = "stages.a.output.value / job.none > 1" }]"#,
    );
    let ran = run(&text, json!({"none": 0})).await;
    assert_eq!(ran.summary(), "failed: a succeeded, b cancelled");
    let b = explained(&text, &[&ran], "b");
    let decision = b.in_edges[0].decision.as_ref().expect("a decision");
    assert!(!decision.taken);
    let because = json!(decision.because);
    assert_eq!(because["code"], "condition_failed");
    assert_eq!(
        because["values"],
        json!({"job.none": 0, "stages.a.output.value": 0})
    );
    assert!(
        because["error"]
            .as_str()
            .is_some_and(|error| error.contains("cannot be evaluated"))
    );
    assert_eq!(blamed(&b), ["a succeeded to b false"]);
    assert!(
        ran.result
            .error
            .is_some_and(|error| error.contains("the edge from `a` to `b`"))
    );
}

#[tokio::test]
async fn a_stage_whose_own_condition_fails_shows_what_it_read() {
    let text = graph("", "[stages.a]\nhandler = \"step\"\nwhen = \"job.n\"\n");
    let a = of(&text, "a").await;
    assert_eq!(a.status, StageStatus::Failed);
    let condition = a.condition.expect("a condition");
    assert_eq!(
        (condition.holds, &condition.values["job.n"]),
        (None, &json!(3))
    );
    assert_eq!(json!(a.reason)["class"], "condition");
}

#[tokio::test]
async fn waiting_and_pending_stages_say_for_what_and_a_resume_adds_to_the_story() {
    let text = graph(
        "a d",
        r#"
edges = [{ chain = ["a", "b", "c", "d"] }]
[stages.b]
handler = "step"
with = { does = "park" }
[stages.c]
handler = "step"
"#,
    );
    let parked = run(&text, json!({})).await;
    let b = explained(&text, &[&parked], "b");
    assert_eq!(
        json!(b.reason),
        json!({"code": "parked", "message": "it waits for `go`"})
    );
    assert_eq!(b.questions[0].id, "go");
    let d = explained(&text, &[&parked], "d");
    assert_eq!((d.status, &d.reason), (StageStatus::Pending, &None));
    assert_eq!(d.in_edges[0].decision, None);
    assert_eq!(blamed(&d), ["c pending", "b waiting"]);

    let mut again = input(json!({}));
    again.recorded = parked.recorded();
    again.questions.clone_from(&parked.result.questions);
    again.environment.answers.insert("go".to_owned(), answer());
    let resumed = finish(Run::start(plan(&text), again)).await;
    let b = explained(&text, &[&parked, &resumed], "b");
    let story: Vec<_> = b
        .attempts
        .iter()
        .map(|a| (a.execution, a.attempt, a.outcome))
        .collect();
    assert_eq!(
        story,
        [
            (1, 1, AttemptOutcome::Parked),
            (2, 1, AttemptOutcome::Succeeded)
        ]
    );
    assert_eq!(
        explained(&text, &[&parked, &resumed], "d").status,
        StageStatus::Succeeded
    );
}

#[tokio::test]
async fn an_attempt_that_was_cut_off_is_told_apart() {
    let text = graph("a", "");
    let mut cut = run(&text, json!({})).await;
    cut.events
        .retain(|event| matches!(event, Event::RunStarted { .. } | Event::StageStarted { .. }));
    let a = explained(&text, &[&cut], "a");
    assert_eq!(
        (a.status, a.attempts[0].outcome),
        (StageStatus::Running, AttemptOutcome::UnderWay)
    );
    assert!(a.ran_seconds.is_sign_positive(), "{}", a.ran_seconds);
    let again = run(&text, json!({})).await;
    let a = explained(&text, &[&cut, &again], "a");
    let story: Vec<_> = a.attempts.iter().map(|a| a.outcome).collect();
    assert_eq!(story, [AttemptOutcome::CutOff, AttemptOutcome::Succeeded]);
    assert_eq!(a.attempts[0].ran_seconds, None);
}

#[test]
fn a_stage_that_is_not_there_brings_a_suggestion() {
    let outline = Outline::from(plan(&graph("first second", "")).as_ref());
    let unknown = explain(Uuid::nil(), "frist", &outline, []).expect_err("no such stage");
    assert_eq!(unknown.suggestion.as_deref(), Some("did you mean `first`?"));
    assert_eq!(unknown.known, ["first", "second"]);
    // A run that never began: what its graph says is known.
    let first = explain(Uuid::nil(), "first", &outline, []).expect("a stage");
    assert_eq!(first.status, StageStatus::Pending);
}

//! Handlers that block their thread, and runs that nobody pulls for a while, one test a rule.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::event::{Event, StageStatus};
use super::run::Run;
use super::semantics::graph;
use super::testing::{Ran, finish, input, plan};

const BLOCK: &str = "handler = \"step\"\nwith = { does = \"block\" }\n";

/// Starts a run whose blocking stages block until the folder is gone.
fn start(text: &str, folder: &TempDir) -> Run {
    let mut input = input(Value::Null);
    input.environment.artifacts = folder.path().to_owned();
    Run::start(plan(text), input)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocked_threads_stop_no_other_stage_and_no_other_run() {
    let folder = TempDir::new().expect("a folder");
    let (mut blocks, mut roots) = (String::new(), String::new());
    for n in 1..=4 {
        let _ = write!(blocks, "[stages.block{n}]\n{BLOCK}");
        let _ = writeln!(roots, "{{ chain = [\"block{n}\", \"last\"] }},");
    }
    let rest = format!(
        "concurrency = 8\nedges = [{{ chain = [\"a\", \"b\", \"c\", \"last\"] }},\n{roots}]\n{blocks}"
    );
    let mut run = start(&graph("a b c last", &rest), &folder);
    let mut events = Vec::new();
    let ended = |event: &Event, id: &str| matches!(event, Event::StageFinished { stage, .. } if **stage == *id);
    while !events.last().is_some_and(|event| ended(event, "c")) {
        events.extend(run.next_event().await);
    }
    let text = graph("a b", "edges = [{ chain = [\"a\", \"b\"] }]");
    let other =
        tokio::spawn(async move { finish(Run::start(plan(&text), input(Value::Null))).await });
    let other = other.await.expect("the other run's task");
    assert_eq!(other.summary(), "succeeded: a succeeded, b succeeded");
    assert!(!events.iter().any(|event| ended(event, "block1")));
    folder.close().expect("the folder goes");
    while let Some(event) = run.next_event().await {
        events.push(event);
    }
    let ran = Ran {
        events,
        result: run.into_result(),
    };
    let told = ran.told();
    let place = |what: &str| {
        told.iter()
            .position(|told| told == what)
            .expect("it was told")
    };
    for n in 1..=4 {
        assert!(
            place("c succeeded") < place(&format!("block{n} succeeded")),
            "{told:?}"
        );
    }
    assert_eq!(ran.status("last"), StageStatus::Succeeded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_blocks_past_its_timeout_is_given_up() {
    let folder = TempDir::new().expect("a folder");
    let rest = format!(
        "edges = [{{ from = \"stuck\", to = \"a\", on = [\"timed_out\"] }}]\n[stages.stuck]\n{BLOCK}timeout = \"50ms\"\nretry = {{ attempts = 3, on = [\"timeout\"] }}\n"
    );
    let ran = finish(start(&graph("a", &rest), &folder)).await;
    folder.close().expect("the folder goes");
    assert_eq!(ran.summary(), "succeeded: stuck timed_out, a succeeded");
    let reason = ran.reason("stuck");
    let error = reason["error"].as_str().expect("an error");
    assert!(error.contains("the handler did not stop"), "{error}");
    assert_eq!(reason["class"], "timeout");
    assert!(!ran.told().contains(&"stuck retrying 1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_ended_while_nobody_pulled_is_not_late() {
    let text = graph(
        "b",
        "edges = [{ chain = [\"a\", \"b\"] }]\n[stages.a]\nhandler = \"step\"\ntimeout = \"1s\"\n",
    );
    let mut run = Run::start(plan(&text), input(Value::Null));
    let mut events = Vec::new();
    while !matches!(events.last(), Some(Event::StageStarted { .. })) {
        events.extend(run.next_event().await);
    }
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(
        finish_rest(run).await,
        "succeeded: a succeeded, b succeeded"
    );
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_a_last_deadline_of_its_own() {
    let rest = "[stages.a]\nhandler = \"step\"\ntimeout = \"10s\"\nretry = { attempts = 4, base = \"1s\" }\nwith = { does = \"flake\", after_ms = 9000 }\n";
    let ran = finish(Run::start(plan(&graph("", rest)), input(Value::Null))).await;
    assert_eq!(ran.summary(), "failed: a failed");
    assert_eq!(ran.reason("a")["error"], "it flaked");
    assert_eq!(ran.result.stages[0].attempts, 4);
}

async fn finish_rest(mut run: Run) -> String {
    let mut events = Vec::new();
    while let Some(event) = run.next_event().await {
        events.push(event);
    }
    let result = run.into_result();
    Ran { events, result }.summary()
}

//! The default graph, run to its end without a database.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use relvec::graph::context::{Answer, RunEnvironment, Secrets};
use relvec::graph::event::{Event, StageStatus};
use relvec::graph::file::GraphFile;
use relvec::graph::plan::Plan;
use relvec::graph::preview::{agrees, preview};
use relvec::graph::result::{RecordedStage, RunInput, RunResult};
use relvec::graph::run::Run;
use relvec::launch::graphs::shipped;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::scripted::HANDLERS;

fn default_text() -> String {
    let graph = shipped("default").expect("the default graph");
    String::from_utf8(graph.bytes).expect("UTF-8")
}

fn default_plan() -> Arc<Plan> {
    let graph = shipped("default").expect("the default graph");
    match Plan::parse(&graph.path, &graph.bytes, HANDLERS) {
        Ok(plan) => Arc::new(plan),
        Err(found) => panic!("{}", found.render(false)),
    }
}

fn job(llm: bool, review: bool, script: &Value) -> Value {
    let mut job = json!({
        "llm": {"enabled": llm},
        "require_review": review,
        "script": {"run_validation": {"verdict": "validated"}, "gate_review": "gate"},
    });
    for (stage, does) in script.as_object().into_iter().flatten() {
        job["script"][stage] = does.clone();
    }
    job
}

fn run_input(job: Value) -> RunInput {
    RunInput {
        job,
        environment: RunEnvironment {
            run_id: Uuid::nil(),
            secrets: Secrets::default(),
            answers: BTreeMap::new(),
            artifacts: PathBuf::from("not-used"),
            cache: PathBuf::from("not-used"),
            allowed: relvec::allowed::Allowed::everything(),
            cancel: CancellationToken::new(),
        },
        recorded: Vec::new(),
        questions: Vec::new(),
        spent: Duration::ZERO,
    }
}

async fn execute(input: RunInput) -> (Vec<Event>, RunResult) {
    let mut run = Run::start(default_plan(), input);
    let mut events = Vec::new();
    while let Some(event) = run.next_event().await {
        events.push(event);
    }
    (events, run.into_result())
}

/// Gives the run's status and the stages that did not succeed.
fn summary(result: &RunResult) -> String {
    let others = result
        .stages
        .iter()
        .filter(|stage| stage.status != StageStatus::Succeeded)
        .map(|stage| format!("{} {}", stage.id, stage.status.name()));
    let status = json!(result.status);
    let parts: Vec<_> = std::iter::once(status.as_str().unwrap_or("?").to_owned())
        .chain(others)
        .collect();
    parts.join(", ")
}

#[tokio::test(start_paused = true)]
async fn every_branch_of_the_default_graph() {
    for (job, expected) in [
        (
            job(true, false, &json!({})),
            "succeeded, gate_review not_taken",
        ),
        (
            job(false, false, &json!({})),
            "succeeded, llm_advisor skipped, gate_review not_taken",
        ),
        (
            job(true, false, &json!({"llm_advisor": "fail"})),
            "succeeded, llm_advisor skipped, gate_review not_taken",
        ),
        (
            job(true, false, &json!({"executor": "fail"})),
            "waiting, executor failed, run_validation not_taken, gate_review waiting",
        ),
        (
            job(true, false, &json!({"executor": "hang"})),
            "waiting, executor timed_out, run_validation not_taken, gate_review waiting",
        ),
        (
            job(true, true, &json!({})),
            "waiting, run_validation not_taken, gate_review waiting",
        ),
        (
            job(true, false, &json!({"analyzer": "ask"})),
            "waiting, run_validation not_taken, gate_review waiting",
        ),
        (
            job(
                true,
                false,
                &json!({"run_validation": {"verdict": "unverified"}}),
            ),
            "waiting, gate_review waiting",
        ),
        (
            job(true, false, &json!({"run_validation": "fail"})),
            "failed, run_validation failed, gate_review cancelled",
        ),
        (
            job(true, false, &json!({"collect_metadata": "fail"})),
            "failed, collect_metadata failed, normalize_schema cancelled, analyzer cancelled, \
             llm_advisor cancelled, code_generator cancelled, infra_generator cancelled, \
             executor cancelled, run_validation cancelled, gate_review cancelled",
        ),
    ] {
        let told = preview(&default_plan(), &job);
        let (_, result) = execute(run_input(job.clone())).await;
        assert_eq!(summary(&result), expected, "{job}");
        let failed = result.error.is_some() && !expected.starts_with("waiting");
        for (told, stage) in told.iter().zip(&result.stages).filter(|_| !failed) {
            assert_eq!(told.stage, stage.id);
            assert!(
                agrees(told.forecast, stage.status),
                "{told:?} became {:?}",
                stage.status
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_gate_of_the_default_graph_is_answered() {
    let job = job(true, false, &json!({"executor": "fail"}));
    let (events, parked) = execute(run_input(job.clone())).await;
    for (choice, expected) in [
        (
            "approve",
            "succeeded, executor failed, run_validation not_taken",
        ),
        (
            "reject",
            "failed, executor failed, run_validation not_taken, gate_review failed",
        ),
    ] {
        let mut again = run_input(job.clone());
        again.recorded = recorded(&events);
        again.questions.clone_from(&parked.questions);
        let answer = Answer {
            choice: choice.to_owned(),
            by: "ada".to_owned(),
            at: "2026-01-01T00:00:00Z".to_owned(),
        };
        again
            .environment
            .answers
            .insert("accept".to_owned(), answer);
        let (events, resumed) = execute(again).await;
        assert_eq!(summary(&resumed), expected);
        let started: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::StageStarted { stage, .. } => Some(&**stage),
                _ => None,
            })
            .collect();
        assert_eq!(started, ["gate_review"], "only the gate runs again");
    }
}

/// A killed process goes on from what was recorded until then, wherever that was.
#[tokio::test(start_paused = true)]
async fn the_default_graph_ends_the_same_wherever_it_is_cut() {
    for script in [
        json!({}),
        json!({"llm_advisor": "fail"}),
        json!({"executor": "fail"}),
        json!({"run_validation": {"verdict": "unverified"}}),
    ] {
        let job = job(true, false, &script);
        let (whole, result) = execute(run_input(job.clone())).await;
        for cut in 0..whole.len() {
            let mut run = Run::start(default_plan(), run_input(job.clone()));
            let mut events = Vec::new();
            while events.len() < cut {
                events.extend(run.next_event().await);
            }
            drop(run);
            let mut again = run_input(job.clone());
            again.recorded = recorded(&events);
            let (_, resumed) = execute(again).await;
            assert_eq!(
                summary(&resumed),
                summary(&result),
                "cut after {cut} events"
            );
        }
    }
}

/// Gives what a store records of a run's events.
fn recorded(events: &[Event]) -> Vec<RecordedStage> {
    let decisions = |from: &str| {
        let decided = events.iter().filter_map(move |event| match event {
            Event::EdgeDecided { decision } => Some(decision.clone()),
            _ => None,
        });
        decided.filter(|decision| *decision.from == *from).collect()
    };
    let finished = events.iter().filter_map(|event| match event {
        Event::StageFinished {
            stage,
            status,
            reason,
            attempts,
            seconds,
            output,
            ..
        } => Some(RecordedStage {
            id: stage.to_string(),
            status: *status,
            reason: Some(reason.clone()),
            attempts: *attempts,
            seconds: *seconds,
            output: output.clone(),
            decisions: decisions(stage),
            artifacts: Vec::new(),
            reused: false,
        }),
        _ => None,
    });
    finished.collect()
}

#[test]
fn the_default_graph_cannot_lose_a_stage_it_needs() {
    // Its tests name stages too: they are left out, so that it is the graph that is refused.
    let whole = default_text();
    let (default, _) = whole.split_once("[[tests]]").expect("it has tests");
    for needed in [
        "collect_metadata",
        "normalize_schema",
        "analyzer",
        "code_generator",
        "infra_generator",
    ] {
        let text = default.replacen(&format!("    \"{needed}\",\n"), "", 1);
        assert_ne!(text, *default);
        let file = GraphFile::parse("cut.toml", text.as_bytes()).expect("TOML");
        let found = Plan::build(&file, HANDLERS).expect_err(needed);
        assert!(found.has_errors(), "{needed}");
    }
    let without_llm = default.replacen("    \"llm_advisor\",\n", "", 1);
    assert!(Plan::parse("cut.toml", without_llm.as_bytes(), HANDLERS).is_ok());
}

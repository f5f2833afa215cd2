//! A gateway that is killed before and after the record of everything that happens in a run of the default graph, each time started again:
//! the run ends whole, and nothing that was recorded is done twice.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, PgConnection, SqliteConnection};

use crate::gateway::{Gateway, PATIENCE};
use crate::relvec::{Relvec, shop_sql, sqlite, stage};
use crate::services::postgres_url;

/// The stages of the default graph for a job without a language model, and whether they do something.
const STAGES: [(&str, bool); 9] = [
    ("collect_metadata", true),
    ("normalize_schema", true),
    ("analyzer", true),
    ("llm_advisor", false),
    ("code_generator", true),
    ("infra_generator", true),
    ("executor", true),
    ("run_validation", true),
    ("gate_review", false),
];

/// Every point, in the order in which a run comes to them.
fn points() -> Vec<String> {
    let mut points = Vec::new();
    let mut add = |event: String| {
        for side in ["before", "after"] {
            points.push(format!("{side} {event}"));
        }
    };
    add("run_started".to_owned());
    for (stage, works) in STAGES {
        if works {
            add(format!("stage_started {stage}"));
        }
        add(format!("stage_finished {stage}"));
    }
    add("run_finished".to_owned());
    points
}

/// Waits until the process was killed at its point.
fn killed(gateway: &mut Gateway, point: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = gateway.process.try_wait().expect("a process") {
            assert_eq!(status.signal(), Some(9), "at {point}: {status}");
            return;
        }
        assert!(Instant::now() < deadline, "it never came to `{point}`");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Says whether what a point is about is recorded already: a transaction that was killed after its commit may hold more than one end.
async fn is_recorded(store: Option<&str>, file: &Path, run: &str, point: &str) -> bool {
    let (sql, id) = match point.split(' ').collect::<Vec<_>>()[..] {
        [_, "stage_finished", stage] => (
            "SELECT count(*) FROM stages WHERE run_id = $1 AND id = $2 AND status NOT IN ('pending', 'running')",
            stage,
        ),
        [_, "run_finished"] => (
            "SELECT count(*) FROM runs WHERE id = $1 AND $2 = $2 AND finished_at IS NOT NULL",
            "",
        ),
        _ => return false,
    };
    let count: i64 = if let Some(store) = store {
        let mut raw = PgConnection::connect(store).await.expect("the store");
        let path = "SET search_path = relvec_runs";
        sqlx::query(path).execute(&mut raw).await.expect("a schema");
        let asked = sqlx::query_scalar(sql).bind(run).bind(id);
        asked.fetch_one(&mut raw).await.expect("a count")
    } else {
        let options = SqliteConnectOptions::new().filename(file);
        let mut raw = SqliteConnection::connect_with(&options)
            .await
            .expect("the store");
        let asked = sqlx::query_scalar(sql).bind(run).bind(id);
        asked.fetch_one(&mut raw).await.expect("a count")
    };
    count > 0
}

async fn documents(target: &str) -> (i64, i64) {
    let mut connection = PgConnection::connect(target).await.expect("a connection");
    sqlx::query_as("SELECT count(*), count(DISTINCT id) FROM relvec_documents")
        .fetch_one(&mut connection)
        .await
        .expect("documents")
}

/// Kills a gateway at every point of one run, and gives how often.
async fn kill_at_every_point(store: Option<&str>) -> usize {
    let relvec = Relvec::new();
    let target = postgres_url().await;
    let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    let job = json!({
        "source": {"url": source},
        "target": {"url_env": "SHOP_TARGET"},
        "execution": {"runtime": "script"},
    });
    let start = |point: &str| {
        let mut command = Gateway::command(&relvec, "home");
        command
            .env("SHOP_TARGET", &target)
            .env("RELVEC_LEASE_SECONDS", "2");
        if let Some(store) = store {
            command.env("RELVEC_STORE", store);
        }
        if !point.is_empty() {
            command.env("RELVEC_FAILPOINT", point);
        }
        Gateway::of(&mut command)
    };
    let points = points();
    let file = relvec.path("home").join("runs.db");
    let mut run: Option<String> = None;
    let mut kills = 0;
    for point in &points {
        if let Some(run) = &run
            && is_recorded(store, &file, run, point).await
        {
            continue;
        }
        let mut gateway = start(point);
        if run.is_none() {
            // The kill may be quicker than the answer, which the next gateway gives by the same key.
            run = submitted(&gateway, &job).await;
        }
        killed(&mut gateway, point);
        kills += 1;
    }
    let gateway = start("");
    let run = run.expect("a run");
    let ended = gateway.over(&run).await;
    check(&ended, &target).await;
    // Nobody goes on with what is over.
    let (status, again) = gateway.submit("default", &job, Some("once")).await;
    assert_eq!((status, &again["run_id"]), (202, &json!(run)));
    // A commit may hold the ends of a stage and of what it leaves out.
    assert!(kills >= points.len() - 6, "{kills} of {}", points.len());
    kills
}

/// Submits the job; gives the run, nothing where the gateway is gone before it answers.
async fn submitted(gateway: &Gateway, job: &Value) -> Option<String> {
    let request = gateway
        .client
        .post(format!("{}/jobs", gateway.address))
        .header("Idempotency-Key", "once")
        .json(&json!({"graph": "default", "input": job}));
    let answer = request.send().await.ok()?;
    assert_eq!(answer.status(), 202);
    let accepted: Value = answer.json().await.ok()?;
    accepted["run_id"].as_str().map(str::to_owned)
}

async fn check(ended: &Value, target: &str) {
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    assert_eq!(ended["validation_report"]["verdict"], "validated");
    let entities = ended["validation_report"]["entities"]
        .as_array()
        .expect("entities");
    let rows: i64 = entities
        .iter()
        .filter_map(|entity| entity["documents"].as_i64())
        .sum();
    let (count, distinct) = documents(target).await;
    assert!(rows > 0 && count >= rows, "{count} for {rows}");
    assert_eq!(count, distinct);
    for (id, works) in STAGES {
        let stage = stage(ended, id);
        let expected = if works { "succeeded" } else { "skipped" };
        if works || id == "llm_advisor" {
            assert_eq!(stage["status"], expected, "{ended:#}");
        }
    }
}

#[tokio::test]
async fn a_run_in_a_file_is_killed_everywhere_and_ends_whole() {
    let mut kills = 0;
    while kills < 150 {
        kills += kill_at_every_point(None).await;
    }
}

#[tokio::test]
async fn a_run_in_postgres_is_killed_everywhere_and_ends_whole() {
    // After each kill the next gateway waits for the end of a lease.
    let mut kills = 0;
    while kills < 50 {
        let store = postgres_url().await;
        kills += kill_at_every_point(Some(&store)).await;
    }
}

//! Several gateways on one PostgreSQL store: one owner a run, whatever becomes of the owner.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use super::serving::{Slow, gone, graph, is_there, job};
use crate::gateway::{Gateway, PATIENCE};
use crate::relvec::{Relvec, shop_sql, sqlite};
use crate::services::postgres_url;

/// The environment of gateways that share a store. A lease of an hour is over in no test.
fn shared<'a>(store: &'a str, lease: &'a str) -> [(&'static str, &'a str); 2] {
    [("RELVEC_STORE", store), ("RELVEC_LEASE_SECONDS", lease)]
}

/// How many executions of a run began.
async fn epoch(store: &str, run: &str) -> i64 {
    let mut raw = PgConnection::connect(store).await.expect("a connection");
    sqlx::query_scalar("SELECT epoch FROM relvec_runs.runs WHERE id = $1")
        .bind(run)
        .fetch_one(&mut raw)
        .await
        .expect("a run")
}

async fn events(store: &str, run: &str) -> i64 {
    let mut raw = PgConnection::connect(store).await.expect("a connection");
    sqlx::query_scalar("SELECT count(*) FROM relvec_runs.events WHERE run_id = $1")
        .bind(run)
        .fetch_one(&mut raw)
        .await
        .expect("a count")
}

#[tokio::test]
async fn two_gateways_share_the_work_and_no_run_is_executed_twice() {
    let relvec = Relvec::new();
    let store = postgres_url().await;
    let told = relvec.path("told");
    graph(
        &relvec,
        "tell",
        &format!(
            "line=$(cat); printf '%s\\n' \"$line\" >> {0}; sleep 0.1; echo '{{}}'",
            told.display()
        ),
    );
    let environment = shared(&store, "3600");
    let gateways = [
        Gateway::start_in(&relvec, "first", &environment),
        Gateway::start_in(&relvec, "second", &environment),
    ];
    // Half of them carry a secret that only the gateway has which took them.
    let inline = json!({"source": {"url": "postgres://reader:s3cr3t@127.0.0.1:9/shop"}});
    let mut runs = BTreeSet::new();
    for number in 0..24 {
        let input = if number % 4 < 2 {
            job()
        } else {
            inline.clone()
        };
        runs.insert(gateways[number % 2].accepted("tell", &input).await);
    }
    for run in &runs {
        let ended = gateways[0].over(run).await;
        assert_eq!(ended["status"], "succeeded", "{ended:#}");
        assert_eq!(epoch(&store, run).await, 1);
    }
    let told = std::fs::read_to_string(&told).expect("they ran");
    let told: Vec<String> = told
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|line| line["run_id"].as_str().expect("a run").to_owned())
        .collect();
    assert_eq!(told.len(), runs.len());
    assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), runs);
}

#[tokio::test]
async fn fifty_equal_submissions_at_once_make_one_run_that_runs_once() {
    let relvec = Relvec::new();
    let store = postgres_url().await;
    let slow = Slow::new(&relvec, "");
    slow.go();
    let environment = shared(&store, "3600");
    let gateways = [
        Gateway::start_in(&relvec, "first", &environment),
        Gateway::start_in(&relvec, "second", &environment),
    ];
    let job = job();
    let submissions = (0..50).map(|number| gateways[number % 2].submit("slow", &job, Some("once")));
    let mut runs = BTreeSet::new();
    for (status, run) in futures::future::join_all(submissions).await {
        assert_eq!(status, 202, "{run:#}");
        runs.insert(run["run_id"].as_str().expect("a run").to_owned());
    }
    assert_eq!(runs.len(), 1);
    let run = runs.first().expect("a run");
    assert_eq!(gateways[1].over(run).await["status"], "succeeded");
    assert_eq!(slow.told("begun").len(), 1);
    let page = gateways[0].get("/jobs").await;
    assert_eq!(page["runs"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_gateway_that_was_stopped_past_its_lease_comes_back_and_changes_nothing() {
    let relvec = Relvec::new();
    let store = postgres_url().await;
    let slow = Slow::new(&relvec, "");
    let zombie = Gateway::start_in(&relvec, "zombie", &shared(&store, "2"));
    let run = zombie.accepted("slow", &job()).await;
    let first = slow.begun(1).await[0];
    zombie.signal(Signal::STOP);
    let other = Gateway::start_in(&relvec, "other", &shared(&store, "3600"));
    let second = slow.begun(2).await[1];
    assert_eq!(epoch(&store, &run).await, 2);
    assert!(is_there(first), "its program runs on while it is stopped");
    let before = events(&store, &run).await;
    zombie.signal(Signal::CONT);
    // It finds that the run is not its own any more, and ends its program.
    gone(first).await;
    assert!(is_there(second), "the other's runs on");
    let alive = zombie.get(&format!("/jobs/{run}")).await;
    assert_eq!(
        alive["status"], "running",
        "the zombie answers again, and put nothing back"
    );
    assert_eq!(epoch(&store, &run).await, 2);
    assert_eq!(events(&store, &run).await, before, "its writes hit no row");
    slow.go();
    let ended = other.over(&run).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    assert_eq!(slow.told("ended"), [second], "one attempt came to its end");
    // Both go on with new runs.
    let next = zombie.accepted("slow", &job()).await;
    assert_eq!(zombie.over(&next).await["status"], "succeeded");
}

#[tokio::test]
async fn a_gateway_that_is_told_to_end_lets_go_of_its_runs_at_once() {
    let relvec = Relvec::new();
    let store = postgres_url().await;
    let slow = Slow::new(&relvec, "");
    let mut first = Gateway::start_in(&relvec, "first", &shared(&store, "3600"));
    let run = first.accepted("slow", &job()).await;
    let program = slow.begun(1).await[0];
    let other = Gateway::start_in(&relvec, "other", &shared(&store, "3600"));
    first.signal(Signal::TERM);
    assert_eq!(first.ended(), Some(0));
    assert!(!is_there(program));
    // Long before the lease would be over.
    slow.begun(2).await;
    slow.go();
    let ended = other.over(&run).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    assert_eq!(slow.told("ended").len(), 1);
}

#[tokio::test]
async fn the_second_signal_ends_a_gateway_that_waits_for_its_runs_and_they_go_on_elsewhere() {
    let relvec = Relvec::new();
    let store = postgres_url().await;
    // A program that does not want to end.
    let slow = Slow::new(&relvec, "trap '' TERM;");
    let mut first = Gateway::start_in(&relvec, "first", &shared(&store, "3600"));
    let run = first.accepted("slow", &job()).await;
    slow.begun(1).await;
    let other = Gateway::start_in(&relvec, "other", &shared(&store, "3600"));
    first.signal(Signal::TERM);
    // It has heard: it takes no more.
    let deadline = Instant::now() + PATIENCE;
    while first
        .client
        .get(format!("{}/healthz", first.address))
        .send()
        .await
        .is_ok()
    {
        assert!(Instant::now() < deadline, "it still takes requests");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let at = Instant::now();
    first.signal(Signal::TERM);
    let code = first.ended();
    assert!(at.elapsed() < Duration::from_secs(5), "it waited");
    assert!(code == Some(1) || code == Some(0), "{code:?}");
    slow.begun(2).await;
    slow.go();
    let ended = other.over(&run).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
}

#[tokio::test]
async fn a_killed_gateways_run_goes_on_on_another_machine_with_its_files() {
    let relvec = Relvec::new();
    let store = postgres_url().await;
    let target = postgres_url().await;
    let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    let job = json!({
        "source": {"url": source},
        "target": {"url_env": "SHOP_TARGET"},
        "execution": {"runtime": "script"},
    });
    let environment = |lease: &'static str| {
        let [store, lease] = shared(&store, lease);
        [store, lease, ("SHOP_TARGET", target.as_str())]
    };
    let first = Gateway::start_in(&relvec, "first", &environment("2"));
    let run = first.accepted("default", &job).await;
    let executes = |run: &Value| {
        run["stages"].as_array().is_some_and(|stages| {
            stages
                .iter()
                .any(|stage| stage["id"] == "executor" && stage["status"] == "running")
        })
    };
    first.until(&run, executes).await;
    drop(first);
    // Another folder: as on another machine.
    let other = Gateway::start_in(&relvec, "other", &environment("15"));
    let ended = other.over(&run).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    assert_eq!(ended["validation_report"]["verdict"], "validated");
    assert_eq!(
        ended["stages"][0]["attempts"], 1,
        "what was recorded did not run again"
    );
    assert_eq!(epoch(&store, &run).await, 2);
    // A third one has never seen it, and has its files all the same.
    let third = Gateway::start_in(&relvec, "third", &environment("15"));
    let files = third.get(&format!("/artifacts/{run}")).await;
    let files = files.as_array().expect("a list");
    assert!(files.len() > 3, "{files:?}");
    for file in files {
        let url = format!(
            "{}/artifacts/{run}/{}",
            third.address,
            file["name"].as_str().expect("a name")
        );
        let answer = third.client.get(url).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{file}");
        let bytes = answer.bytes().await.expect("bytes");
        assert_eq!(Some(bytes.len() as u64), file["bytes"].as_u64(), "{file}");
    }
}

#[tokio::test]
async fn a_run_is_cancelled_by_a_gateway_that_does_not_execute_it() {
    let relvec = Relvec::new();
    let store = postgres_url().await;
    let slow = Slow::new(&relvec, "");
    let first = Gateway::start_in(&relvec, "first", &shared(&store, "3600"));
    let run = first.accepted("slow", &job()).await;
    let program = slow.begun(1).await[0];
    let other = Gateway::start_in(&relvec, "other", &shared(&store, "3600"));
    let cancel = format!("{}/jobs/{run}/cancel", other.address);
    let answer = other.client.post(cancel).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(first.over(&run).await["status"], "cancelled");
    gone(program).await;
}

#[tokio::test]
async fn a_clock_that_jumps_ends_no_lease_and_no_timeout() {
    let relvec = Relvec::new();
    let store = postgres_url().await;
    let slow = Slow::new(&relvec, "");
    let clock = relvec.path("clock");
    std::fs::write(&clock, "+0\n").expect("a file");
    let library = ["x86_64", "aarch64"]
        .map(|machine| format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1"))
        .into_iter()
        .find(|path| std::fs::exists(path).is_ok_and(|there| there))
        .expect("libfaketime, which tests/run installs");
    let mut command = Gateway::command(&relvec, "first");
    command
        .envs(shared(&store, "4"))
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", &clock)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1");
    let first = Gateway::of(&mut command);
    let run = first.accepted("slow", &job()).await;
    slow.begun(1).await;
    let other = Gateway::start_in(&relvec, "other", &shared(&store, "4"));
    for jump in ["+400d", "-400d"] {
        std::fs::write(&clock, format!("{jump}\n")).expect("a file");
        let next = first.accepted("slow", &job()).await;
        let created = first.get(&format!("/jobs/{next}")).await["created_at"].to_string();
        let now = other.get(&format!("/jobs/{run}")).await["created_at"].to_string();
        assert_ne!(created[..5], now[..5], "the clock did jump");
        let cancel = format!("{}/jobs/{next}/cancel", first.address);
        let answer = first.client.post(cancel).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        // More than a lease passes, and several searches of the other.
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(epoch(&store, &run).await, 1, "after {jump}");
    }
    slow.go();
    let ended = other.over(&run).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    assert_eq!(ended["stages"][0]["attempts"], 1);
    assert_eq!(epoch(&store, &run).await, 1);
}

//! A gate whose time is over while no process runs: what holds then holds as soon as anybody looks. No service is needed.

use std::time::Instant;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use crate::gateway::{Gateway, PATIENCE};
use crate::relvec::{Ended, Relvec};

/// Waits a second for a person; behind the gate it tells that it came there.
const BRIEF: &str = r#"
name = "NAME"
input = "job"

[[edges]]
chain = ["gate_review", "go_on"]

[stages.gate_review]
with = { response_timeout = "1s", on_timeout = "CHOICE" }

[stages.go_on]
handler = "command"
with = { program = "sh", args = ["-c", "cat >/dev/null; echo gone on >> gone; echo '{}'"], kind = "went" }
"#;

struct Parked {
    relvec: Relvec,
    run: String,
}

impl Parked {
    /// Runs a graph whose gate ends with a choice, until it is parked.
    fn new(choice: &str) -> Self {
        let relvec = Relvec::alone();
        let graphs = relvec.path("graphs");
        std::fs::create_dir(&graphs).expect("a folder");
        let text = BRIEF.replace("NAME", choice).replace("CHOICE", choice);
        std::fs::write(graphs.join(format!("{choice}.toml")), text).expect("a graph");
        let job = json!({"source": {"url": "sqlite:/no/such/shop.db"}});
        std::fs::write(relvec.path("job.json"), job.to_string()).expect("a job");
        let ended = relvec.call(&["run", choice, "--input", "job.json", "--format", "json"]);
        assert_eq!(ended.code, 3, "{ended:?}");
        let run: Value = serde_json::from_str(&ended.stdout).expect("a run");
        let run = run["run_id"].as_str().expect("an id").to_owned();
        Self { relvec, run }
    }

    /// Gives the store, without relvec, which would go on with the run.
    async fn store(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new()
            .filename(self.relvec.path("home").join("runs.db"))
            .read_only(true);
        let store = SqliteConnection::connect_with(&options).await;
        store.expect("the store")
    }

    /// Says where the run stands.
    async fn status(&self) -> String {
        let mut store = self.store().await;
        let status = sqlx::query_scalar("SELECT status FROM runs WHERE id = $1").bind(&self.run);
        status.fetch_one(&mut store).await.expect("the run")
    }

    /// Calls `relvec runs` until the run does not wait any more, and gives the last call.
    async fn until_over(&self, arguments: &[&str]) -> Ended {
        let begun = Instant::now();
        loop {
            let ended = self.relvec.call(&[&["runs"], arguments].concat());
            if self.status().await != "waiting" {
                return ended;
            }
            assert!(begun.elapsed() < PATIENCE, "it still waits: {ended:?}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    fn has_gone_on(&self) -> bool {
        self.relvec.path("gone").exists()
    }
}

#[tokio::test]
async fn whoever_looks_at_a_run_whose_time_is_over_sees_what_holds() {
    for verb in [
        "show",
        "logs",
        "events",
        "artifacts",
        "explain",
        "cancel",
        "retry",
        "list",
    ] {
        let parked = Parked::new("reject");
        let mut arguments = vec![verb];
        if verb != "list" {
            arguments.push(&parked.run);
        }
        if verb == "explain" {
            arguments.push("gate_review");
        }
        // Cancelling or retrying too early would be something else.
        if matches!(verb, "cancel" | "retry") {
            parked.until_late().await;
        }
        let ended = parked.until_over(&arguments).await;
        assert_eq!(parked.status().await, "failed", "{verb}: {ended:?}");
        assert!(ended.stderr.contains("`reject` holds"), "{verb}: {ended:?}");
        assert!(!parked.has_gone_on());
        let says = match verb {
            "show" => "rejected by response_timeout",
            "events" => "\"run_finished\"",
            "list" | "explain" => "failed",
            _ => "",
        };
        assert!(ended.stdout.contains(says), "{verb}: {ended:?}");
    }
}

#[tokio::test]
async fn an_approval_that_nobody_gave_lets_the_run_go_on() {
    let parked = Parked::new("approve");
    let ended = parked.until_over(&["show", &parked.run]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("status: succeeded"), "{ended:?}");
    assert!(parked.has_gone_on());
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_told_what_holds() {
    let parked = Parked::new("reject");
    parked.until_late().await;
    let ended = parked
        .until_over(&["answer", &parked.run, "accept", "approve"])
        .await;
    assert_ne!(ended.code, 0, "{ended:?}");
    assert!(
        ended.stderr.contains("answered before: reject"),
        "{ended:?}"
    );
    assert_eq!(parked.status().await, "failed");
    assert!(!parked.has_gone_on());
}

#[tokio::test]
async fn a_gateway_on_the_store_lets_it_hold_too() {
    for (choice, status) in [("reject", "failed"), ("approve", "succeeded")] {
        let parked = Parked::new(choice);
        let gateway = Gateway::start(&parked.relvec, &[]);
        let begun = Instant::now();
        while parked.status().await != status {
            assert!(
                begun.elapsed() < PATIENCE,
                "it is {}: {}",
                parked.status().await,
                gateway.log()
            );
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(parked.has_gone_on(), choice == "approve");
    }
}

impl Parked {
    /// Waits until the time to answer is over, by the clock of the store.
    async fn until_late(&self) {
        let begun = Instant::now();
        loop {
            let mut store = self.store().await;
            let late: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM questions WHERE run_id = $1 AND expires_at <= unixepoch('subsec') * 1000",
            )
            .bind(&self.run)
            .fetch_one(&mut store)
            .await
            .expect("a number");
            if late > 0 {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "the time is never over");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

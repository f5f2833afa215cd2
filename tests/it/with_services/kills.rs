//! A run that is killed half-way loses nothing: the next one ends whole, and embeds only what was not there.

use std::process::Stdio;
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use crate::relvec::{Relvec, job, sqlite};
use crate::services::postgres_url;

const ROWS: u64 = 6_000;

fn many_rows() -> String {
    use std::fmt::Write as _;
    let mut sql =
        String::from("CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT NOT NULL);\n");
    for id in 1..=ROWS {
        let _ = writeln!(
            sql,
            "INSERT INTO notes VALUES ({id}, 'Note number {id} says that the delivery van came late again on a rainy morning.');"
        );
    }
    sql
}

/// Waits until the target holds documents; panics if that takes a minute.
async fn some_documents(target: &str) -> i64 {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let mut connection = PgConnection::connect(target).await.unwrap();
        let count: Result<i64, _> = sqlx::query_scalar("SELECT count(*) FROM relvec_documents")
            .fetch_one(&mut connection)
            .await;
        match count {
            Ok(count) if count > 0 => return count,
            Ok(_) | Err(_) => assert!(Instant::now() < deadline, "no document arrived"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_killed_run_loses_nothing_and_the_next_one_embeds_only_the_rest() {
    let relvec = Relvec::new();
    let source = sqlite(&relvec.path("notes.db"), &many_rows()).await;
    let target = postgres_url().await;
    let job = job(&source, &target);
    let file = relvec.path("killed.json");
    std::fs::write(&file, job.to_string()).unwrap();
    let mut killed = relvec
        .command(&["run", "default", "--input", file.to_str().unwrap()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    some_documents(&target).await;
    killed.kill().unwrap();
    killed.wait().unwrap();

    let (code, run) = relvec.run(&job);
    assert_eq!(code, 0, "{run:#}");
    let validated = &run["validation_report"]["entities"][0];
    assert_eq!(validated["documents"], ROWS);
    assert_eq!(validated["missing"], 0);
    let report = &run["execution_report"]["migration"]["entities"][0];
    let (embedded, unchanged) = (report["embedded"].as_u64(), report["unchanged"].as_u64());
    assert!(
        unchanged > Some(0),
        "what the killed run stored is kept: {report}"
    );
    assert_eq!(embedded.unwrap() + unchanged.unwrap(), ROWS);
}

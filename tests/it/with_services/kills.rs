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

/// Gives the processes of this machine whose arguments hold a text.
fn processes_with(text: &str) -> Vec<String> {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(text))
        .collect()
}

#[tokio::test]
async fn a_killed_run_leaves_no_script_behind() {
    let relvec = Relvec::new();
    let source = sqlite(&relvec.path("notes.db"), &many_rows()).await;
    // An endpoint that takes a request and never answers it.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut job = job(&source, &postgres_url().await);
    let address = silent.local_addr().unwrap();
    job["embedding"] = serde_json::json!({
        "provider": "openai", "base_url": format!("http://{address}/v1"), "model": "silent", "dimensions": 8,
    });
    let file = relvec.path("silent.json");
    std::fs::write(&file, job.to_string()).unwrap();
    let mut killed = relvec
        .command(&["run", "default", "--input", file.to_str().unwrap()])
        .env("RELVEC_HOME", relvec.path("home"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let home = relvec.path("home").join("runs").display().to_string();
    let (_connection, _) = silent.accept().await.unwrap();
    assert_eq!(
        processes_with(&home).len(),
        1,
        "the script waits for its answer"
    );
    killed.kill().unwrap();
    killed.wait().unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while !processes_with(&home).is_empty() {
        assert!(Instant::now() < deadline, "{:?}", processes_with(&home));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

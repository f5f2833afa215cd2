//! A gateway whose store or disk fails, that has more to do than it can take, or is killed with all of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use rustix::process::Signal;
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use super::serving::{Slow, gone, graph, is_there, job};
use crate::gateway::{Gateway, PATIENCE};
use crate::relvec::Relvec;

async fn raw(home: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(home.join("runs.db"))
        .busy_timeout(Duration::from_secs(30));
    SqliteConnection::connect_with(&options)
        .await
        .expect("the run store")
}

/// Counts runs with a status.
async fn count(home: &Path, status: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM runs WHERE status = ?")
        .bind(status)
        .fetch_one(&mut raw(home).await)
        .await
        .expect("a count")
}

#[tokio::test]
async fn a_store_that_another_program_locks_is_waited_for() {
    let relvec = Relvec::new();
    let slow = Slow::new(&relvec, "");
    slow.go();
    let gateway = Gateway::start_in(&relvec, "home", &[]);
    let before = gateway.accepted("slow", &job()).await;
    let mut other = raw(&relvec.path("home")).await;
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .expect("a lock");
    let input = job();
    let mut submitting = std::pin::pin!(gateway.submit("slow", &input, None));
    let waits = tokio::time::timeout(Duration::from_secs(2), &mut submitting).await;
    assert!(waits.is_err(), "it is not durable yet: {waits:?}");
    // Who only reads waits for nobody.
    assert_eq!(
        gateway.get(&format!("/jobs/{before}")).await["run_id"],
        *before
    );
    sqlx::query("COMMIT")
        .execute(&mut other)
        .await
        .expect("unlocked");
    let (status, run) = submitting.await;
    assert_eq!(status, 202, "{run:#}");
    let run = run["run_id"].as_str().expect("a run").to_owned();
    assert_eq!(gateway.over(&run).await["status"], "succeeded");
    assert_eq!(gateway.over(&before).await["status"], "succeeded");
}

#[tokio::test]
async fn a_store_with_a_flipped_bit_is_refused_at_the_start() {
    let relvec = Relvec::new();
    let slow = Slow::new(&relvec, "");
    slow.go();
    let mut gateway = Gateway::start_in(&relvec, "home", &[]);
    for _ in 0..5 {
        let run = gateway.accepted("slow", &job()).await;
        gateway.over(&run).await;
    }
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.ended(), Some(0));
    let home = relvec.path("home");
    let mut raw = raw(&home).await;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(&mut raw)
        .await
        .expect("one file");
    let root: i64 =
        sqlx::query_scalar("SELECT rootpage FROM sqlite_schema WHERE name = 'runs_by_status'")
            .fetch_one(&mut raw)
            .await
            .expect("an index");
    raw.close().await.expect("closed");
    let path = home.join("runs.db");
    let whole = std::fs::read(&path).expect("the store");
    let mut bytes = whole.clone();
    // How many cells a page of the index has.
    let at = usize::try_from(root - 1).expect("a page") * 4096 + 4;
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).expect("damaged");
    let output = Gateway::command(&relvec, "home")
        .output()
        .expect("relvec starts");
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("damaged") && said.contains("put a copy back"),
        "{said}"
    );
    std::fs::write(&path, &whole).expect("a copy is put back");
    let gateway = Gateway::start_in(&relvec, "home", &[]);
    let page = gateway.get("/jobs").await;
    assert_eq!(page["runs"].as_array().map(Vec::len), Some(5));
}

/// A file system of a few megabytes, unmounted with the test.
struct Small(PathBuf);

impl Small {
    fn new(path: PathBuf, megabytes: u32) -> Self {
        std::fs::create_dir_all(&path).expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(&path)
            .status()
            .expect("mount");
        assert!(
            mounted.success(),
            "a small file system needs root, as the tests of containers do"
        );
        Self(path)
    }

    /// Takes all the room there is.
    fn fill(&self) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.0.join("filler")).expect("a file");
        for size in [1 << 16, 1 << 12, 1 << 9, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).expect("it was there");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_takes_no_run_loses_none_and_goes_on_when_there_is_room() {
    let relvec = Relvec::new();
    let slow = Slow::new(&relvec, "");
    let small = Small::new(relvec.path("home"), 8);
    let gateway = Gateway::start_in(&relvec, "home", &[]);
    let running = gateway.accepted("slow", &job()).await;
    slow.begun(1).await;
    small.fill();
    // Some room may be left in the write-ahead log.
    let mut taken = Vec::new();
    let refused = loop {
        let (status, answer) = gateway.submit("slow", &job(), None).await;
        if status != 202 {
            break (status, answer);
        }
        taken.push(answer["run_id"].as_str().expect("a run").to_owned());
        assert!(taken.len() < 5_000, "the disk is never full");
    };
    assert_eq!(refused.0, 507, "{:#}", refused.1);
    let health = gateway.get(&format!("/jobs/{running}")).await;
    assert_eq!(health["run_id"], *running, "it still answers");
    // The run's end cannot be recorded.
    slow.go();
    small.free();
    for run in taken.iter().chain([&running]) {
        let ended = gateway.over(run).await;
        assert_eq!(ended["status"], "succeeded", "{ended:#}");
    }
    let run = gateway.accepted("slow", &job()).await;
    assert_eq!(gateway.over(&run).await["status"], "succeeded");
    let whole: String = sqlx::query_scalar("PRAGMA integrity_check")
        .fetch_one(&mut raw(&relvec.path("home")).await)
        .await
        .expect("a check");
    assert_eq!(whole, "ok");
    drop(gateway);
}

/// A program that waits, before what generates files.
const PAUSED: &str = r#"
name = "paused"
extends = "slow"

[[edges]]
chain = ["work", "collect_metadata", "normalize_schema", "analyzer", "code_generator"]
"#;

#[tokio::test]
async fn a_run_whose_files_have_no_room_fails_and_its_retry_goes_on() {
    let relvec = Relvec::new();
    let source = crate::relvec::sqlite(&relvec.path("shop.db"), &crate::relvec::shop_sql()).await;
    let slow = Slow::new(&relvec, "");
    std::fs::write(relvec.path("graphs").join("paused.toml"), PAUSED).expect("a graph");
    std::fs::create_dir_all(relvec.path("home")).expect("a folder");
    // Only the files are on the small one; the store is beside it.
    let small = Small::new(relvec.path("home").join("runs"), 1);
    let gateway = Gateway::start_in(&relvec, "home", &[]);
    let input = json!({"source": {"url": source}, "execution": {"mode": "simulate"}});
    let run = gateway.accepted("paused", &input).await;
    // The run has its folder by now, and no file in it.
    slow.begun(1).await;
    small.fill();
    slow.go();
    let ended = gateway.over(&run).await;
    assert_eq!(ended["status"], "failed", "{ended:#}");
    let generator = crate::relvec::stage(&ended, "code_generator");
    let error = generator["reason"]["error"].as_str().expect("an error");
    assert!(error.contains("cannot write"), "{error}");
    assert_eq!(
        crate::relvec::stage(&ended, "analyzer")["status"],
        "succeeded"
    );
    small.free();
    let retry = format!("{}/jobs/{run}/retry", gateway.address);
    let retry = gateway.client.post(retry).json(&json!({}));
    let answer = retry.send().await.expect("an answer");
    assert_eq!(answer.status(), 202);
    let retried: serde_json::Value = answer.json().await.expect("a run");
    let retried = retried["run_id"].as_str().expect("a run").to_owned();
    let ended = gateway.over(&retried).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    assert_eq!(
        slow.begun(1).await.len(),
        1,
        "what was done is not done again"
    );
    drop(gateway);
}

#[tokio::test]
async fn a_queue_that_is_full_takes_no_more_and_says_when_to_come_again() {
    let relvec = Relvec::new();
    let slow = Slow::new(&relvec, "");
    let environment = [("RELVEC_RUNS_AT_ONCE", "2"), ("RELVEC_QUEUE_LENGTH", "5")];
    let gateway = Gateway::start_in(&relvec, "home", &environment);
    let mut runs = Vec::new();
    for _ in 0..2 {
        runs.push(gateway.accepted("slow", &job()).await);
    }
    slow.begun(2).await;
    let deadline = Instant::now() + PATIENCE;
    let full = loop {
        let request = gateway.client.post(format!("{}/jobs", gateway.address));
        let request = request.json(&json!({"graph": "slow", "input": job()}));
        let answer = request.send().await.expect("an answer");
        if answer.status() != 202 {
            break answer;
        }
        let run: serde_json::Value = answer.json().await.expect("a run");
        runs.push(run["run_id"].as_str().expect("a run").to_owned());
        assert!(Instant::now() < deadline, "it is never full");
    };
    assert_eq!(full.status(), 429);
    let after = full.headers()["retry-after"].to_str().expect("a number");
    assert!(
        after.parse::<u32>().is_ok_and(|seconds| seconds > 0),
        "{after}"
    );
    assert_eq!(runs.len(), 7);
    assert_eq!(slow.told("begun").len(), 2, "two at once");
    slow.go();
    for run in &runs {
        assert_eq!(gateway.over(run).await["status"], "succeeded");
    }
    let run = gateway.accepted("slow", &job()).await;
    assert_eq!(gateway.over(&run).await["status"], "succeeded");
}

#[tokio::test]
async fn a_graph_has_a_limit_of_its_own_and_the_others_pass_it_by() {
    let relvec = Relvec::new();
    let slow = Slow::new(&relvec, "");
    graph(&relvec, "quick", "cat > /dev/null; echo '{}'");
    let gateway = Gateway::start_in(&relvec, "home", &[("RELVEC_RUNS_PER_GRAPH", "1")]);
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(gateway.accepted("slow", &job()).await);
    }
    slow.begun(1).await;
    let quick = gateway.accepted("quick", &job()).await;
    assert_eq!(gateway.over(&quick).await["status"], "succeeded");
    assert_eq!(slow.told("begun").len(), 1);
    slow.go();
    for run in &runs {
        assert_eq!(gateway.over(run).await["status"], "succeeded");
    }
    assert_eq!(slow.told("begun").len(), 3);
}

#[tokio::test]
async fn an_execution_mode_that_is_not_offered_is_refused_by_name() {
    let relvec = Relvec::new();
    graph(&relvec, "quick", "cat > /dev/null; echo '{}'");
    let modes = [("RELVEC_EXECUTION_MODES", "container, simulate")];
    let gateway = Gateway::start_in(&relvec, "home", &modes);
    let mut input = job();
    for (mode, expected) in [("process", 422), ("simulate", 202)] {
        input["execution"] = json!({"mode": mode});
        let (status, answer) = gateway.submit("quick", &input, None).await;
        assert_eq!(status, expected, "{answer:#}");
        if status == 422 {
            assert!(
                answer["detail"].to_string().contains("`process`"),
                "{answer:#}"
            );
        }
    }
    let output = Gateway::command(&relvec, "other")
        .env("RELVEC_EXECUTION_MODES", "everything")
        .output()
        .expect("relvec starts");
    assert_eq!(output.status.code(), Some(78));
}

#[tokio::test]
async fn runs_that_are_kept_no_longer_go_with_their_files() {
    let relvec = Relvec::new();
    let slow = Slow::new(&relvec, "");
    slow.go();
    let gateway = Gateway::start_in(&relvec, "home", &[]);
    let mut runs = Vec::new();
    for _ in 0..4 {
        let run = gateway.accepted("slow", &job()).await;
        gateway.over(&run).await;
        runs.push(run);
    }
    drop(gateway);
    let folder = |run: &str| relvec.path("home").join("runs").join(run);
    assert!(runs.iter().all(|run| folder(run).exists()));
    let gateway = Gateway::start_in(&relvec, "home", &[("RELVEC_KEEP_RUNS", "1")]);
    let deadline = Instant::now() + PATIENCE;
    while runs[..3].iter().any(|run| folder(run).exists()) {
        assert!(Instant::now() < deadline, "their files are still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let page = gateway.get("/jobs").await;
    let left = page["runs"].as_array().expect("a list");
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["run_id"], *runs[3]);
    assert!(folder(&runs[3]).exists());
}

#[tokio::test]
async fn a_killed_gateways_run_is_taken_over_by_the_next_without_a_wait() {
    let relvec = Relvec::new();
    let slow = Slow::new(&relvec, "");
    let gateway = Gateway::start_in(&relvec, "home", &[("RELVEC_LEASE_SECONDS", "3600")]);
    let run = gateway.accepted("slow", &job()).await;
    slow.begun(1).await;
    drop(gateway);
    let gateway = Gateway::start_in(&relvec, "home", &[("RELVEC_LEASE_SECONDS", "3600")]);
    slow.begun(2).await;
    slow.go();
    let ended = gateway.over(&run).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    let ends = gateway
        .client
        .get(format!("{}/jobs/{run}/events", gateway.address));
    let events = ends
        .send()
        .await
        .expect("an answer")
        .text()
        .await
        .expect("events");
    assert_eq!(
        events.matches("\"event\":\"stage_finished\"").count(),
        1,
        "{events}"
    );
}

#[tokio::test]
async fn a_killed_gateways_programs_end_with_it() {
    let relvec = Relvec::new();
    // Neither the program nor what it started listens to anything but SIGKILL.
    let told = relvec.path("told");
    let first = format!(
        "trap '' TERM HUP; sleep 3600 >/dev/null 2>&1 & echo child $! >> {};",
        told.display()
    );
    let slow = Slow::new(&relvec, &first);
    let gateway = Gateway::start_in(&relvec, "home", &[]);
    gateway.accepted("slow", &job()).await;
    let mut programs = slow.begun(1).await;
    programs.extend(slow.told("child"));
    assert_eq!(programs.len(), 2);
    assert!(programs.iter().all(|program| is_there(*program)));
    // SIGKILL.
    drop(gateway);
    for program in programs {
        gone(program).await;
    }
    assert_eq!(slow.told("ended"), [0; 0], "it ended before it came so far");
}

/// How many runs wait when the gateway is killed.
const MANY: usize = 10_000;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_queued_runs_survive_a_kill_and_all_of_them_end() {
    let relvec = Relvec::new();
    let slow = Slow::new(&relvec, "");
    // Nothing to do: what is measured is the queue.
    let folder = relvec.path("graphs");
    let text = "name = \"nothing\"\ninput = \"job\"\n[stages.nothing]\nhandler = \"collect_metadata\"\ndisabled = true\n";
    std::fs::write(folder.join("nothing.toml"), text).expect("a graph file");
    let environment = [("RELVEC_RUNS_AT_ONCE", "1")];
    let gateway = Gateway::start_in(&relvec, "home", &environment);
    let first = gateway.accepted("slow", &job()).await;
    slow.begun(1).await;
    let input = job();
    let submitted = futures::stream::iter(0..MANY)
        .map(|_| gateway.submit("nothing", &input, None))
        .buffer_unordered(64)
        .map(|(status, run)| assert_eq!(status, 202, "{run:#}"))
        .count()
        .await;
    assert_eq!(submitted, MANY);
    drop(gateway);
    let home = relvec.path("home");
    let wanted = i64::try_from(MANY).expect("a number");
    assert_eq!(count(&home, "queued").await, wanted, "202 is durable");
    slow.go();
    let gateway = Gateway::start_in(&relvec, "home", &[("RELVEC_RUNS_AT_ONCE", "8")]);
    let deadline = Instant::now() + Duration::from_mins(10);
    loop {
        let done = count(&home, "succeeded").await;
        if done == wanted + 1 {
            break;
        }
        assert!(Instant::now() < deadline, "only {done} ended");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(gateway.over(&first).await["status"], "succeeded");
    let again: i64 =
        sqlx::query_scalar("SELECT count(*) FROM runs WHERE epoch <> 1 AND graph = 'nothing'")
            .fetch_one(&mut raw(&home).await)
            .await
            .expect("a count");
    assert_eq!(again, 0, "each was executed once");
}

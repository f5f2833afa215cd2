//! What a container meets: no memory, a signal, a daemon that stops, a relvec that is killed.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::docker::{Daemon, OwnDaemon, Waiting, container_job, until};
use crate::relvec::{Relvec, postgres, shop_sql, stage};
use crate::services::postgres_url;

async fn shop() -> (String, String) {
    let (source, target) = (postgres_url().await, postgres_url().await);
    postgres(&source, &shop_sql()).await;
    (source, target)
}

fn assert_fails_with(run: &Value, text: &str) {
    let executor = stage(run, "executor");
    assert_eq!(executor["status"], "failed", "{run:#}");
    assert!(executor.to_string().contains(text), "{text} in {executor}");
}

#[tokio::test]
async fn a_container_out_of_memory_says_so_and_with_more_it_ends_whole() {
    let (relvec, daemon) = (Relvec::alone(), Daemon::shared());
    let (source, target) = shop().await;
    let mut job = container_job(&source, &target);
    job["execution"]["memory_mib"] = json!(16);
    let (code, run) = relvec.run_with(&job, &daemon.environment());
    assert_eq!(code, 3, "{run:#}");
    assert_fails_with(
        &run,
        "out of memory: the container's limit is 16 MiB; raise `execution.memory_mib`",
    );
    assert_eq!(run["execution_report"]["exit_code"], 137);
    assert_eq!(
        daemon.containers_of(run["run_id"].as_str().unwrap()),
        [""; 0]
    );

    job["execution"]["memory_mib"] = json!(512);
    let (code, run) = relvec.run_with(&job, &daemon.environment());
    assert_eq!(code, 0, "{run:#}");
}

#[tokio::test]
async fn a_container_that_is_killed_from_outside_says_so() {
    let (relvec, daemon) = (Relvec::alone(), Daemon::shared());
    let (source, target) = shop().await;
    let mut waiting =
        Waiting::start(&relvec, &daemon, container_job(&source, &target), "killed").await;
    daemon.say(&["kill", &waiting.container]);
    let run = waiting.end(&relvec, "killed");
    assert_fails_with(&run, "exit code 137, killed by SIGKILL from outside");
    assert_eq!(run["execution_report"]["exit_code"], 137);
    assert_eq!(daemon.containers_of(&waiting.run), [""; 0]);
}

#[tokio::test]
async fn a_daemon_that_stops_in_the_middle_is_named_and_the_next_run_goes_on() {
    let relvec = Relvec::alone();
    let mut own = OwnDaemon::start();
    let daemon = own.daemon.clone();
    let (source, target) = shop().await;
    let job = container_job(&source, &target);
    let mut waiting = Waiting::start(&relvec, &daemon, job.clone(), "gone").await;
    own.stop("-KILL");
    let run = waiting.end(&relvec, "gone");
    assert_fails_with(&run, "does not answer any more");

    own.start_again();
    let mut waiting = Waiting::start(&relvec, &daemon, job.clone(), "stopped").await;
    own.stop("-TERM");
    let run = waiting.end(&relvec, "stopped");
    let reason = stage(&run, "executor").to_string();
    assert!(
        reason.contains("does not answer any more") || reason.contains("because its daemon stops"),
        "{reason}"
    );

    own.start_again();
    let (code, run) = relvec.run_with(&job, &daemon.environment());
    assert_eq!(code, 0, "{run:#}");
    assert_eq!(
        daemon.say(&["ps", "--all", "--quiet", "--filter", "label=relvec.run"]),
        "",
        "orphans are gone"
    );
}

#[tokio::test]
async fn the_container_of_a_killed_relvec_ends_and_is_reaped_and_a_living_one_is_not() {
    let (relvec, daemon) = (Relvec::alone(), Daemon::shared());
    let (source, target) = shop().await;
    let job = container_job(&source, &target);
    let mut dead = Waiting::start(&relvec, &daemon, job.clone(), "dead").await;
    dead.child.kill().unwrap();
    dead.child.wait().unwrap();
    // Its standard input has ended, and with it the script: the target's lock is free.
    until("the script ends by itself", || {
        daemon
            .say(&["ps", "--quiet", "--no-trunc"])
            .lines()
            .all(|id| id != dead.container)
    });
    let other = postgres_url().await;
    let mut living =
        Waiting::start(&relvec, &daemon, container_job(&source, &other), "living").await;
    assert_eq!(
        daemon.containers_of(&dead.run),
        [""; 0],
        "the orphan is reaped"
    );

    let (code, run) = relvec.run_with(&job, &daemon.environment());
    assert_eq!(code, 0, "{run:#}");
    assert_eq!(
        daemon.containers_of(&living.run).len(),
        1,
        "a living one is left alone"
    );
    let mut connection = PgConnection::connect(&target).await.unwrap();
    let documents: i64 = sqlx::query_scalar("SELECT count(*) FROM relvec_documents")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!(documents > 200);
    living.interrupt();
    assert_eq!(living.end(&relvec, "living")["status"], "cancelled");
}

#[tokio::test]
async fn a_gateway_removes_what_one_before_it_left_behind() {
    let (relvec, daemon) = (Relvec::alone(), Daemon::shared());
    let (source, target) = shop().await;
    let job = container_job(&source, &target);
    let mut dead = Waiting::start(&relvec, &daemon, job, "dead").await;
    dead.child.kill().unwrap();
    dead.child.wait().unwrap();
    assert_eq!(daemon.containers_of(&dead.run).len(), 1);
    let mut gateway = relvec
        .command(&["serve", "--listen", "127.0.0.1:0"])
        .envs(daemon.environment())
        .spawn()
        .unwrap();
    until("the orphan is gone", || {
        daemon.containers_of(&dead.run).is_empty()
    });
    gateway.kill().unwrap();
    gateway.wait().unwrap();
}

#[tokio::test]
async fn cancelling_a_build_stops_it() {
    let (relvec, daemon) = (Relvec::alone(), Daemon::shared());
    let (source, target) = shop().await;
    // A base image of its own: nothing of the build is known yet. It never ends by itself.
    let base = format!("relvec-slow:{}", std::process::id());
    let folder = relvec.path("slow");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(
        folder.join("Dockerfile"),
        "FROM python:3.11-slim\nONBUILD RUN echo begun && sleep 600\n",
    )
    .unwrap();
    daemon.say(&["build", "--tag", &base, folder.to_str().unwrap()]);
    let mut job = container_job(&source, &target);
    job["execution"]["base_image"] = json!(base);
    let file = relvec.path("slow.json");
    std::fs::write(&file, job.to_string()).unwrap();
    let building = |daemon: &Daemon| {
        let filter = ["ps", "--no-trunc", "--format", "{{.Command}}"];
        daemon.say(&filter).contains("echo begun && sleep 600")
    };
    let mut child = relvec
        .command(&["run", "default", "--format", "json", "--input"])
        .arg(&file)
        .envs(daemon.environment())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    until("the build runs", || building(&daemon));
    let asked = std::time::Instant::now();
    let id = child.id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-INT", &id])
        .status();
    assert!(sent.unwrap().success());
    let code = child.wait().unwrap();
    assert!(asked.elapsed() < std::time::Duration::from_secs(5));
    assert!(!code.success());
    until("the build is gone", || !building(&daemon));
}

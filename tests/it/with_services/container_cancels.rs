//! Runs that are cancelled over HTTP at every stage of the default graph, with the script in a container: the run is `cancelled`, the
//! container is gone, and the same job comes to its end afterwards.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::docker::{Daemon, container_job};
use crate::gateway::Gateway;
use crate::relvec::{Relvec, STAGES, postgres, shop_sql};
use crate::services::postgres_url;

async fn cancel(gateway: &Gateway, run: &str) -> u16 {
    let request = gateway
        .client
        .post(format!("{}/jobs/{run}/cancel", gateway.address));
    let answer = request.send().await.expect("an answer");
    answer.status().as_u16()
}

fn has_begun(run: &Value, id: &str) -> bool {
    let mut stages = run["stages"].as_array().into_iter().flatten();
    stages.any(|stage| stage["id"] == id && stage["status"] != "pending")
}

#[tokio::test]
async fn a_run_is_cancelled_at_every_stage_and_its_container_is_gone() {
    let (relvec, daemon) = (Relvec::new(), Daemon::shared());
    let (source, target) = (postgres_url().await, postgres_url().await);
    postgres(&source, &shop_sql()).await;
    let mut job = container_job(&source, &target);
    let gateway = Gateway::start_in(&relvec, "cancels", &daemon.environment());
    // Those that a run comes to, up to the one that starts the container.
    for id in STAGES.into_iter().take(7) {
        let run = gateway.accepted("default", &job).await;
        gateway.until(&run, |run| has_begun(run, id)).await;
        if id == "executor" {
            let deadline = Instant::now() + crate::gateway::PATIENCE;
            while daemon.containers_of(&run).is_empty() {
                assert!(Instant::now() < deadline, "no container");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        assert_eq!(cancel(&gateway, &run).await, 200, "at {id}");
        let run = gateway.over(&run).await;
        assert_eq!(run["status"], "cancelled", "at {id}: {run:#}");
        let name = run["run_id"].as_str().expect("a run");
        assert_eq!(daemon.containers_of(name), [""; 0], "at {id}");
        assert_eq!(cancel(&gateway, name).await, 200, "again, at {id}");
    }

    job["require_review"] = json!(true);
    let run = gateway.accepted("default", &job).await;
    gateway.until(&run, |run| run["status"] == "waiting").await;
    assert_eq!(cancel(&gateway, &run).await, 200);
    assert_eq!(gateway.over(&run).await["status"], "cancelled");

    job["require_review"] = json!(false);
    let run = gateway.accepted("default", &job).await;
    let run = gateway.over(&run).await;
    assert_eq!(run["status"], "succeeded", "{run:#}");
    assert_eq!(run["validation_report"]["verdict"], "validated");
    assert_eq!(
        cancel(&gateway, run["run_id"].as_str().expect("a run")).await,
        409
    );
}

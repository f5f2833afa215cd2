//! Each branch of the default graph: the model off and down, the executor failing, a review, a simulation.

use serde_json::json;

use crate::relvec::{Relvec, job, shop_sql, sqlite, stage};
use crate::services::postgres_url;

#[tokio::test]
async fn without_a_model_the_advisor_is_skipped_and_says_why() {
    let relvec = Relvec::new();
    let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    let (code, run) = relvec.run(&job(&source, &postgres_url().await));
    assert_eq!(code, 0, "{run:#}");
    let advisor = stage(&run, "llm_advisor");
    assert_eq!(advisor["status"], "skipped");
    assert_eq!(advisor["reason"]["code"], "condition_false");
    assert_eq!(advisor["reason"]["expression"], "job.llm.enabled");
    assert_eq!(advisor["reason"]["values"]["job.llm.enabled"], false);
    assert_eq!(stage(&run, "gate_review")["status"], "not_taken");
}

#[tokio::test]
async fn a_model_that_is_down_leaves_the_plan_as_it_is() {
    let relvec = Relvec::new();
    let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    let mut job = job(&source, &postgres_url().await);
    // Port 9 (discard) is closed on the machines that run tests.
    job["llm"] = json!({"model": "gemini-2.5-flash", "base_url": "http://127.0.0.1:9/v1beta", "api_key_env": "GOOGLE_API_KEY"});
    let (code, run) = relvec.run_with(&job, &[("GOOGLE_API_KEY", "c4n4ry-llm-key")]);
    assert_eq!(code, 0, "{run:#}");
    assert_eq!(stage(&run, "llm_advisor")["status"], "succeeded");
    assert_eq!(run["validation_report"]["verdict"], "validated");
    let request = std::fs::read_to_string(relvec.artifacts(&run).join("llm_request.json")).unwrap();
    assert!(request.contains("order_notes"), "the model is told names");
    for value in ["c4n4ry", "Customer Number", "neighbour", "sturdy"] {
        assert!(!request.contains(value), "the request holds {value}");
    }
}

#[tokio::test]
async fn an_executor_that_fails_leads_to_the_gate() {
    let relvec = Relvec::new();
    let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    let (code, run) = relvec.run(&job(
        &source,
        "postgres://nobody:c4n4ry@127.0.0.1:9/nothing",
    ));
    assert_eq!(code, 3, "{run:#}");
    assert_eq!(run["status"], "waiting");
    assert_eq!(stage(&run, "executor")["status"], "failed");
    assert_eq!(stage(&run, "gate_review")["status"], "waiting");
    assert_eq!(stage(&run, "run_validation")["status"], "not_taken");
    assert!(!run.to_string().contains("c4n4ry"));
    let error = stage(&run, "executor")["reason"]["error"].as_str().unwrap();
    assert!(
        error.contains("127.0.0.1:9"),
        "the error names the place: {error}"
    );
}

#[tokio::test]
async fn a_run_that_failed_at_the_executor_is_mended_and_retried() {
    let relvec = Relvec::new();
    let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    let mut job = job(&source, "embedded");
    job["target"] = json!({"url_env": "SHOP_TARGET"});
    let nowhere = [("SHOP_TARGET", "postgres://nobody@127.0.0.1:9/nothing")];
    let (code, run) = relvec.run_with(&job, &nowhere);
    assert_eq!(code, 3, "{run:#}");
    let id = run["run_id"].as_str().unwrap();
    let early = relvec.call(&["runs", "retry", id]);
    assert_eq!(early.code, 1, "{early:?}");
    assert!(early.stderr.contains("waits for answers"), "{early:?}");
    let cancelled = relvec.call(&["runs", "cancel", id]);
    assert_eq!(cancelled.code, 0, "{cancelled:?}");

    let target = postgres_url().await;
    let mended = [("SHOP_TARGET", target.as_str())];
    let ended = relvec.call_with(&["runs", "retry", id, "--format", "json"], &mended);
    assert_eq!(ended.code, 0, "{ended:?}");
    let again: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(again["status"], "succeeded", "{again:#}");
    assert_eq!(again["retry_of"], run["run_id"]);
    assert_eq!(again["validation_report"]["verdict"], "validated");
    for (id, code) in [
        ("collect_metadata", "reused"),
        ("analyzer", "reused"),
        ("code_generator", "reused"),
        ("infra_generator", "reused"),
        ("executor", "ran"),
        ("run_validation", "ran"),
        ("gate_review", "no_edge_taken"),
    ] {
        assert_eq!(stage(&again, id)["reason"]["code"], code, "{again:#}");
    }
    let script = |run: &serde_json::Value| std::fs::read(relvec.artifacts(run).join("migrate.py"));
    assert_eq!(script(&again).unwrap(), script(&run).unwrap());
}

#[tokio::test]
async fn a_review_waits_and_an_answer_ends_it() {
    let relvec = Relvec::new();
    let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    for (choice, code, status) in [("approve", 0, "succeeded"), ("reject", 1, "failed")] {
        let mut job = job(&source, &postgres_url().await);
        job["require_review"] = json!(true);
        let (waiting, run) = relvec.run(&job);
        assert_eq!(waiting, 3, "{run:#}");
        assert_eq!(run["open_questions"][0]["id"], "accept", "{run:#}");
        let id = run["run_id"].as_str().unwrap();
        let ended = relvec.call(&["runs", "answer", id, "accept", choice, "--format", "json"]);
        assert_eq!(ended.code, code, "{ended:?}");
        let run: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(run["status"], status);
        assert_eq!(stage(&run, "executor")["attempts"], 1, "nothing ran twice");
    }
}

#[tokio::test]
async fn a_simulation_is_unverified_and_writes_nothing() {
    let relvec = Relvec::new();
    let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    let target = postgres_url().await;
    let mut job = job(&source, &target);
    job["execution"]["mode"] = json!("simulate");
    let (code, run) = relvec.run(&job);
    assert_eq!(code, 3, "{run:#}");
    assert_eq!(run["execution_report"]["simulated"], true);
    assert_eq!(run["validation_report"]["verdict"], "unverified");
    assert!(run["validation_report"]["loss_percentage"].is_null());
    let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&target)
        .await
        .unwrap();
    let table: Option<String> = sqlx::query_scalar("SELECT to_regclass('relvec_documents')::text")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(table, None);
}

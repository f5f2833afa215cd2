//! The shipped graphs beside the default one, from the binary to the database.

use serde_json::{Value, json};

use crate::relvec::{Relvec, job, shop_sql, sqlite, stage};
use crate::services::postgres_url;
use crate::team::answer_one;

#[tokio::test]
async fn no_llm_asks_no_model_whatever_the_job_says() {
    let relvec = Relvec::new();
    let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    let mut job = job(&source, &postgres_url().await);
    job["llm"] = json!({"enabled": true});
    let (code, run) = relvec.run_graph("no-llm", &job, &[]);
    assert_eq!(code, 0, "{run:#}");
    let advisor = stage(&run, "llm_advisor");
    assert_eq!(
        advisor["reason"],
        json!({"code": "disabled", "by": "graph"})
    );
    assert_eq!(run["validation_report"]["verdict"], "validated");
}

#[tokio::test]
async fn review_first_executes_nothing_before_a_person_agrees() {
    let relvec = Relvec::new();
    let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    for (choice, code, status) in [("approve", 0, "succeeded"), ("reject", 1, "cancelled")] {
        // A password in the job would be gone by the time of the answer.
        let target = postgres_url().await;
        let environment = [("SHOP_TARGET", target.as_str())];
        let mut job = job(&source, "not-used");
        job["target"] = json!({"url_env": "SHOP_TARGET"});
        let (waiting, run) = relvec.run_graph("review-first", &job, &environment);
        assert_eq!(waiting, 3, "{run:#}");
        assert_eq!(stage(&run, "executor")["status"], "pending");
        let question = &run["open_questions"][0];
        assert_eq!(question["id"], "plan_review");
        let text = question["text"].as_str().expect("a text");
        assert!(
            text.ends_with("Execute migrate.py on the target?"),
            "{text}"
        );
        let id = run["run_id"].as_str().expect("an id");
        let arguments = [
            "runs",
            "answer",
            id,
            "plan_review",
            choice,
            "--format",
            "json",
        ];
        let ended = relvec.call_with(&arguments, &environment);
        assert_eq!(ended.code, code, "{ended:?}");
        let run: Value = serde_json::from_str(&ended.stdout).expect("a run");
        assert_eq!(stage(&run, "executor")["status"], status, "{run:#}");
    }
}

#[tokio::test]
async fn notify_tells_a_web_service_and_survives_its_absence() {
    let relvec = Relvec::new();
    let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    let target = postgres_url().await;
    let (url, serving) = answer_one("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
    let (code, run) = relvec.run_graph(
        "notify",
        &job(&source, &target),
        &[("RELVEC_WEBHOOK_URL", &url)],
    );
    assert_eq!(code, 0, "{run:#}");
    assert_eq!(stage(&run, "notify")["status"], "succeeded");
    let request = serving.join().expect("a request");
    let (_, body) = request.split_once("\r\n\r\n").expect("a body");
    let body: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(body["inputs"]["validation_report"]["verdict"], "validated");
    assert_eq!(body["run_id"], run["run_id"]);
    // Now nobody listens there.
    let (code, run) = relvec.run_graph(
        "notify",
        &job(&source, &target),
        &[("RELVEC_WEBHOOK_URL", &url)],
    );
    assert_eq!(code, 0, "{run:#}");
    assert_eq!(stage(&run, "notify")["status"], "skipped");
    assert_eq!(stage(&run, "notify")["reason"]["code"], "error_skipped");
}

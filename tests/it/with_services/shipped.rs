//! The shipped graphs beside the default one, from the binary to the database.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::relvec::{Relvec, job, shop_sql, sqlite, stage};
use crate::services::postgres_url;

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
        let job = job(&source, &postgres_url().await);
        let (waiting, run) = relvec.run_graph("review-first", &job, &[]);
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
        let ended = relvec.call(&arguments);
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
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let serving = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("a request");
        let mut request = String::new();
        let mut piece = [0; 65_536];
        while !request.ends_with("\"}") {
            let read = connection.read(&mut piece).expect("its bytes");
            assert_ne!(read, 0, "it ended early: {request}");
            request.push_str(&String::from_utf8_lossy(&piece[..read]));
        }
        let answer = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
        connection.write_all(answer.as_bytes()).expect("an answer");
        request
    });
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

//! A validation alone, later: `relvec runs validate` and the graph `revalidate`.

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::relvec::{Ended, Relvec, job, postgres, shop_sql, sqlite, stage};
use crate::services::postgres_url;

fn document(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|error| panic!("no run document ({error}): {ended:?}"))
}

/// A shop that was migrated: its job, with the target's URL in the environment variable `TARGET`, and its run.
async fn migrated(relvec: &Relvec, target: &str, embedding: Value) -> (Value, Value) {
    let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    let mut job = job(&source, "unused");
    job["target"] = json!({"url_env": "TARGET"});
    job["embedding"] = embedding;
    let (code, run) = relvec.run_with(&job, &[("TARGET", target)]);
    assert_eq!(code, 0, "{run:#}");
    (job, run)
}

fn validate(relvec: &Relvec, run: &Value, target: &str) -> (i32, Value) {
    let id = run["run_id"].as_str().expect("a run id");
    let arguments = ["runs", "validate", id, "--format", "json"];
    let ended = relvec.call_with(&arguments, &[("TARGET", target)]);
    (ended.code, document(&ended))
}

#[tokio::test]
async fn a_run_is_validated_again_and_what_changed_since_is_found() {
    let relvec = Relvec::new();
    let target = postgres_url().await;
    let (job, run) = migrated(&relvec, &target, json!({})).await;

    let (code, again) = validate(&relvec, &run, &target);
    assert_eq!(code, 0, "{again:#}");
    assert_eq!(again["graph"], "revalidate");
    assert_eq!(again["retry_of"], run["run_id"]);
    assert_eq!(again["validation_report"]["verdict"], "validated");
    assert_eq!(
        again["validation_report"]["entities"],
        run["validation_report"]["entities"]
    );
    let generator = stage(&again, "code_generator");
    assert_eq!(generator["status"], "succeeded");
    assert_eq!(
        generator["reason"]["run_id"], run["run_id"],
        "{generator:#}"
    );

    postgres(
        &target,
        "DELETE FROM relvec_documents WHERE id = (SELECT min(id::text)::uuid FROM relvec_documents)",
    )
    .await;
    let (code, again) = validate(&relvec, &run, &target);
    assert_eq!(code, 4, "{again:#}");
    let report = &again["validation_report"];
    assert_eq!(report["verdict"], "mismatched");
    assert!(report["loss_percentage"].as_f64().expect("a loss") > 0.0);

    // Planned anew from the job, it is found as well.
    let environment = [("TARGET", target.as_str())];
    let (code, planned) = relvec.run_graph("revalidate", &job, &environment);
    assert_eq!(code, 4, "{planned:#}");
    let (code, repaired) = relvec.run_with(&job, &environment);
    assert_eq!(code, 0, "{repaired:#}");
    let (code, planned) = relvec.run_graph("revalidate", &job, &environment);
    assert_eq!(code, 0, "{planned:#}");
    // The validation of a validation is one too.
    let (code, again) = validate(&relvec, &again, &target);
    assert_eq!(code, 0, "{again:#}");
}

#[tokio::test]
async fn files_that_changed_leave_it_unverified_and_a_person_decides() {
    let relvec = Relvec::new();
    let target = postgres_url().await;
    let (_, run) = migrated(&relvec, &target, json!({})).await;
    let script = relvec.artifacts(&run).join("migrate.py");
    std::fs::write(&script, "print('another')").expect("a changed file");
    let (code, again) = validate(&relvec, &run, &target);
    assert_eq!(code, 3, "{again:#}");
    let report = &again["validation_report"];
    assert_eq!(report["verdict"], "unverified");
    assert!(
        report["reason"]
            .as_str()
            .expect("a reason")
            .contains("migrate.py"),
        "{report:#}"
    );
    assert_eq!(again["open_questions"][0]["stage"], "gate_review");
    let id = again["run_id"].as_str().expect("a run id");
    let answered = relvec.call_with(
        &["runs", "answer", id, "accept", "approve"],
        &[("TARGET", &target)],
    );
    assert_eq!(answered.code, 0, "{answered:?}");
}

#[tokio::test]
async fn passwords_that_no_run_keeps_come_with_a_job() {
    let relvec = Relvec::new();
    let target = postgres_url().await;
    let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    let job = job(&source, &target);
    let (code, run) = relvec.run(&job);
    assert_eq!(code, 0, "{run:#}");
    let (code, without) = validate(&relvec, &run, "");
    assert_eq!(code, 1, "{without:#}");
    let error = stage(&without, "run_validation")["reason"]["error"].as_str();
    assert!(error.expect("an error").contains("target"), "{without:#}");

    let id = run["run_id"].as_str().expect("a run id");
    let file = relvec.path("job.json");
    let file = file.to_str().expect("a path in UTF-8");
    let arguments = ["runs", "validate", id, "--input", file, "--format", "json"];
    let ended = relvec.call(&arguments);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(
        document(&ended)["validation_report"]["verdict"],
        "validated"
    );

    let mut other = job;
    other["target"]["url"] = json!(postgres_url().await);
    std::fs::write(file, other.to_string()).expect("a job file");
    let ended = relvec.call(&arguments);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("the job's target is"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn a_gateway_validates_as_the_store_does() {
    let relvec = Relvec::new();
    let target = postgres_url().await;
    let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    let gateway = Gateway::start_in(&relvec, "home", &[]);
    let job = job(&source, &target);
    let run = gateway.accepted("default", &job).await;
    let ended = gateway.over(&run).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");

    // The password stood in the job itself, and nobody keeps it.
    let call = |more: &[&str]| {
        let arguments = [
            "runs",
            "validate",
            &run,
            "--format",
            "json",
            "--server",
            &gateway.address,
        ];
        relvec.call(&[&arguments, more].concat())
    };
    let without = call(&[]);
    assert_eq!(without.code, 1, "{without:?}");
    let error = stage(&document(&without), "run_validation")["reason"]["error"].to_string();
    assert!(error.contains("target"), "{error}");

    let file = relvec.path("job.json");
    let file = file.to_str().expect("a path in UTF-8");
    std::fs::write(file, job.to_string()).expect("a job file");
    let ended = call(&["--input", file]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let again = document(&ended);
    assert_eq!(
        (&again["graph"], &again["retry_of"]),
        (&json!("revalidate"), &json!(run))
    );
    assert_eq!(again["validation_report"]["verdict"], "validated");

    postgres(&target, "DELETE FROM relvec_documents WHERE id = (SELECT min(id::text)::uuid FROM relvec_documents)").await;
    let ended = call(&["--input", file]);
    assert_eq!(ended.code, 4, "{ended:?}");
    assert_eq!(
        document(&ended)["validation_report"]["verdict"],
        "mismatched"
    );

    let mut other = job;
    other["target"]["url"] = json!(postgres_url().await);
    std::fs::write(file, other.to_string()).expect("a job file");
    let ended = call(&["--input", file]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("the job's target is"), "{ended:?}");

    // Asked again with the same key, it is the same validation.
    let ask = async |body: Value| {
        let request = gateway
            .client
            .post(format!("{}/jobs/{run}/validate", gateway.address));
        let request = request.header("Idempotency-Key", "once").json(&body);
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        (
            status,
            answer.json::<Value>().await.expect("JSON")["run_id"].clone(),
        )
    };
    let (status, first) = ask(json!({})).await;
    assert_eq!(status, 202);
    assert_eq!(ask(json!({})).await, (202, first));
    assert_eq!(ask(json!({"input": other})).await.0, 409, "another request");
}

#[tokio::test]
async fn a_run_without_code_cannot_be_validated() {
    let relvec = Relvec::new();
    let job = job("sqlite:/nowhere/at/all.db", &postgres_url().await);
    let (_, run) = relvec.run(&job);
    let id = run["run_id"].as_str().expect("a run id");
    let ended = relvec.call(&["runs", "validate", id]);
    assert_ne!(ended.code, 0, "{ended:?}");
    assert!(
        ended.stderr.contains("generated no code"),
        "{}",
        ended.stderr
    );
}

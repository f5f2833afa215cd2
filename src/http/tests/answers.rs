//! What a run recorded, asked over HTTP, and retries.

use super::*;
use crate::launch::tests::mend;

async fn failed(served: &Served) -> String {
    let run_id = id(&served.submit("fragile", &referring_job()).await).to_owned();
    served.until(&run_id, "failed").await;
    run_id
}

#[tokio::test]
async fn a_stage_says_why() {
    let served = Served::new().await;
    let run_id = failed(&served).await;
    let why = async |stage: &str| served.get(&format!("/jobs/{run_id}/stages/{stage}")).await;
    let fragile: Value = why("fragile").await.json().await.unwrap();
    assert_eq!(fragile["status"], "failed");
    assert_eq!(fragile["attempts"][0]["error"], "it is broken");
    assert_eq!(fragile["attempts"][0]["class"], "permanent");
    assert_eq!(fragile["in_edges"][0]["decision"]["taken"], true);
    assert_eq!(fragile["artifacts"][0]["name"], "fragile.txt");
    let schema =
        serde_json::to_value(schemars::schema_for!(crate::graph::explain::Explanation)).unwrap();
    assert!(jsonschema::is_valid(&schema, &fragile));
    let unknown = problem(why("fragil").await, 404).await;
    assert_eq!(unknown["hints"][0], "did you mean `fragile`?");
    let missing = format!("/jobs/{}/stages/look", uuid::Uuid::nil());
    problem(served.get(&missing).await, 404).await;
}

#[tokio::test]
async fn the_log_comes_by_pages_and_by_stages() {
    let served = Served::new().await;
    let run_id = failed(&served).await;
    let log = async |query: &str| -> Value {
        let path = format!("/jobs/{run_id}/logs?{query}");
        served.get(&path).await.json().await.unwrap()
    };
    let all = log("").await;
    assert_eq!(all["lines"][0]["stage"], "look");
    assert_eq!(all["lines"][0]["level"], "info");
    assert_eq!(all["next"], Value::Null);
    let seq = all["lines"][0]["seq"].as_i64().unwrap();
    assert_eq!(log(&format!("after={seq}")).await["lines"], json!([]));
    assert_eq!(log("stage=fragile").await["lines"], json!([]));
    for wrong in ["limit=0", "limit=x", "other=1"] {
        let path = format!("/jobs/{run_id}/logs?{wrong}");
        problem(served.get(&path).await, 400).await;
    }
}

#[tokio::test]
async fn a_retry_is_a_new_run_and_safe_to_repeat() {
    let served = Served::new().await;
    let run_id = failed(&served).await;
    mend(&launch(served.home.path()).await);
    let retry = async |body: Value| {
        let request = served
            .client
            .post(served.url(&format!("/jobs/{run_id}/retry")))
            .header("Idempotency-Key", "again");
        request.json(&body).send().await.unwrap()
    };
    let first = retry(json!({})).await;
    assert_eq!(first.status(), StatusCode::ACCEPTED);
    let location = first.headers()["location"].to_str().unwrap().to_owned();
    let run: Value = first.json().await.unwrap();
    assert_eq!(location, format!("/jobs/{}", id(&run)));
    assert_eq!(run["retry_of"], *run_id);
    assert_ne!(id(&run), run_id);
    let again: Value = retry(json!({})).await.json().await.unwrap();
    assert_eq!(id(&again), id(&run));
    problem(retry(json!({"from": ["look"]})).await, 409).await;
    let run = served.until(id(&run), "succeeded").await;
    assert_eq!(run["stages"][0]["reason"]["code"], "reused");
    assert_eq!(run["stages"][1]["reason"]["code"], "ran");
    let file = served
        .get(&format!("/artifacts/{}/note.txt", id(&run)))
        .await;
    assert_eq!(file.text().await.unwrap(), "a note");
}

#[tokio::test]
async fn what_cannot_be_retried_is_told() {
    let served = Served::new().await;
    let waiting = id(&served.submit("gated", &referring_job()).await).to_owned();
    served.until(&waiting, "waiting").await;
    let retry = async |run: &str, body: Value| {
        let path = format!("/jobs/{run}/retry");
        served.post(&path, &body).await
    };
    let early = problem(retry(&waiting, json!({})).await, 409).await;
    assert!(early["hints"].to_string().contains("cancel"), "{early}");
    let run_id = failed(&served).await;
    let both = json!({"from": ["look"], "only": ["look"]});
    problem(retry(&run_id, both).await, 422).await;
    problem(retry(&run_id, json!({"form": ["look"]})).await, 422).await;
    problem(retry(&run_id, json!({"from": ["lok"]})).await, 404).await;
    problem(retry(&uuid::Uuid::nil().to_string(), json!({})).await, 404).await;

    let graph = chain("fragile", &["look", "fragile", "gate"]);
    let path = served.home.path().join("graphs/fragile.toml");
    std::fs::write(path, graph.bytes).unwrap();
    let drift = problem(retry(&run_id, json!({})).await, 409).await;
    assert_eq!(
        drift["diff"]["stages"],
        json!([{"stage": "gate", "change": "added", "differences": []}])
    );
    assert_eq!(drift["diff"]["edges"][0]["to"], "gate");
    mend(&launch(served.home.path()).await);
    let accepted = retry(&run_id, json!({"accept_drift": true})).await;
    let run: Value = accepted.json().await.unwrap();
    let run = served.until(id(&run), "waiting").await;
    assert_eq!(run["stages"][0]["reason"]["code"], "reused");
}

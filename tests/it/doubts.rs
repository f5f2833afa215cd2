//! What only a person can say stops a run before anything is generated, and an answer goes on with it. No service is needed.

use serde_json::{Value, json};

use crate::mock_api::{DIMENSIONS, Mock};
use crate::relvec::{Relvec, job, sqlite, stage};

/// A log whose lines can be equal, beside a table with a key.
const TABLES: &str = "
CREATE TABLE notes(id INTEGER PRIMARY KEY, body TEXT NOT NULL);
INSERT INTO notes VALUES (1, 'The heating in the second office does not work at all.');
CREATE TABLE log(line TEXT NOT NULL);
INSERT INTO log VALUES ('The door of the archive was found open this morning.'),
                       ('The door of the archive was found open this morning.');";

async fn planned(relvec: &Relvec, more: &Value) -> (i32, Value) {
    let source = sqlite(&relvec.path("office.db"), TABLES).await;
    let mut job = job(&source, "embedded");
    for (name, value) in more.as_object().expect("an object") {
        job[name] = value.clone();
    }
    relvec.run_graph("plan-only", &job, &[])
}

fn question<'a>(run: &'a Value, id: &str) -> Option<&'a Value> {
    let questions = run["open_questions"].as_array().expect("questions");
    questions.iter().find(|question| question["id"] == id)
}

fn has_script(run: &Value) -> bool {
    let artifacts = run["generated_artifacts"].as_array().expect("artifacts");
    artifacts.iter().any(|file| file["name"] == "migrate.py")
}

/// Answers the question that a run waits for; gives the run after that.
fn answered(relvec: &Relvec, run: &Value, id: &str, choice: &str) -> Value {
    let run = run["run_id"].as_str().expect("an id");
    let ended = relvec.call(&["runs", "answer", run, id, choice, "--format", "json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    serde_json::from_str(&ended.stdout).expect("a run document")
}

fn entities(relvec: &Relvec, run: &Value) -> Vec<String> {
    let code = std::fs::read_to_string(relvec.artifacts(run).join("migrate.py")).expect("code");
    let (_, rest) = code.split_once("PLAN_JSON = r'''").expect("a plan");
    let (plan, _) = rest.split_once("'''").expect("the plan's end");
    let plan: Value = serde_json::from_str(plan).expect("JSON");
    let entities = plan["entities"].as_array().expect("entities").iter();
    entities
        .map(|entity| entity["name"].as_str().expect("a name").to_owned())
        .collect()
}

#[tokio::test]
async fn equal_rows_without_a_key_wait_for_a_person() {
    let relvec = Relvec::new();
    for (choice, expected) in [
        ("keep them all", vec!["log", "notes"]),
        ("leave out", vec!["notes"]),
    ] {
        let (code, run) = planned(&relvec, &json!({})).await;
        assert_eq!((code, &run["status"]), (3, &json!("waiting")), "{run}");
        assert!(!has_script(&run), "{run}");
        let asked = question(&run, "no_key:log").expect("the question");
        assert_eq!(asked["blocking"], true, "{asked}");
        assert_eq!(asked["default"], Value::Null, "{asked}");
        let run = answered(&relvec, &run, "no_key:log", choice);
        assert_eq!(run["status"], "succeeded", "{run}");
        assert_eq!(entities(&relvec, &run), expected);
        std::fs::remove_file(relvec.path("office.db")).expect("the source");
    }
}

#[tokio::test]
async fn a_job_that_says_it_is_not_asked() {
    let relvec = Relvec::new();
    let said = json!({"analysis": {"roots": ["log"]}});
    let (code, run) = planned(&relvec, &said).await;
    assert_eq!(code, 0, "{run}");
    assert_eq!(question(&run, "no_key:log"), None);
    assert!(has_script(&run));
}

/// A model of which relvec knows nothing, behind an API of the caller's.
fn model(base_url: &str) -> Value {
    json!({"analysis": {"exclude_tables": ["log"]},
           "embedding": {"provider": "openai", "base_url": base_url, "model": "of-my-own"}})
}

#[tokio::test]
async fn a_dimension_that_nobody_knows_waits_for_a_person() {
    let relvec = Relvec::new();
    // Nobody listens on port 1.
    let (code, run) = planned(&relvec, &model("http://127.0.0.1:1/v1")).await;
    assert_eq!((code, &run["status"]), (3, &json!("waiting")), "{run}");
    assert_eq!(stage(&run, "analyzer")["status"], "waiting", "{run}");
    assert!(!has_script(&run), "{run}");
    let asked = question(&run, "model:of-my-own").expect("the question");
    let text = asked["text"].as_str().expect("a text");
    assert_eq!(asked["blocking"], true, "{asked}");
    assert!(text.contains("does not answer"), "{text}");
    let run = answered(&relvec, &run, "model:of-my-own", "go on");
    assert_eq!(run["status"], "succeeded", "{run}");
    assert!(has_script(&run));
}

#[tokio::test]
async fn a_dimension_that_the_api_shows_stops_nobody() {
    let relvec = Relvec::new();
    let api = Mock::start();
    let (code, run) = planned(&relvec, &model(&api.base_url())).await;
    assert_eq!(code, 0, "{run}");
    assert_eq!(api.requests(), 1);
    let asked = question(&run, "model:of-my-own").expect("the question");
    let text = asked["text"].as_str().expect("a text");
    assert_eq!(asked["blocking"], false, "{asked}");
    assert!(text.contains(&format!("{DIMENSIONS} numbers")), "{text}");
    // The API is not asked to shorten what it gives by itself.
    let code = std::fs::read_to_string(relvec.artifacts(&run).join("migrate.py")).expect("code");
    assert!(code.contains("\"dimensions\": null"));
}

//! A refused key through relvec itself: the run waits for a person, and goes on where it was.

use serde_json::{Value, json};

use super::{IN_FLIGHT, ITEMS, Script};
use crate::mock_api::Reply;
use crate::relvec::stage;

/// Gives the job of a script, for the whole graph.
fn job(script: &Script) -> Value {
    json!({
        // A run that waits outlives this process, so its secrets have to stand elsewhere.
        "source": {"url_env": "SHOP_URL"},
        "target": {"url_env": "VECTORS_URL"},
        "embedding": {
            "provider": "openai", "base_url": script.mock.base_url(), "model": "mock", "dimensions": 8,
            "api_key_env": "OPENAI_API_KEY",
        },
        "execution": {"mode": "process", "runtime": "script"},
    })
}

#[tokio::test]
async fn a_key_that_is_refused_in_the_middle_is_an_open_question() {
    // More rows than a few of relvec's own batches hold.
    let script = Script::of_rows(5_000).await;
    let key = script.key.clone();
    script.mock.behave(move |asked| {
        if asked.key == key && asked.number <= 6 {
            Reply::Good
        } else {
            Reply::Status(401, None)
        }
    });
    let job = job(&script);
    let environment = [
        ("OPENAI_API_KEY", script.key.as_str()),
        ("SHOP_URL", &script.source),
        ("VECTORS_URL", &script.target),
    ];
    let (code, run) = script.relvec.run_graph("default", &job, &environment);
    assert_eq!((code, &run["status"]), (3, &json!("waiting")), "{run:#}");
    assert_eq!(stage(&run, "executor")["status"], "waiting", "{run:#}");
    let asked = run["open_questions"].as_array().expect("questions");
    assert_eq!(asked.len(), 1, "{run:#}");
    assert_eq!(
        (&asked[0]["id"], &asked[0]["blocking"]),
        (&json!("key_refused"), &json!(true))
    );
    script.assert_no_secret(&run.to_string());
    let stored = script.stored().await;
    assert!(stored > 0 && stored < 5_000, "{stored} are there");
    let embedded = script.mock.embedded();

    script.mock.behave(|_| Reply::Good);
    let id = run["run_id"].as_str().expect("an id");
    let answer = [
        "runs",
        "answer",
        id,
        "key_refused",
        "retry",
        "--format",
        "json",
    ];
    let ended = script.relvec.call_with(&answer, &environment);
    assert_eq!(ended.code, 0, "{ended:?}");
    script.assert_no_secret(&format!("{ended:?}"));
    let run: Value = serde_json::from_str(&ended.stdout).expect("a run");
    assert_eq!(run["status"], "succeeded", "{run:#}");
    assert_eq!(run["validation_report"]["verdict"], "validated");
    let entity = &run["execution_report"]["migration"]["entities"][0];
    assert_eq!(entity["unchanged"], stored, "{entity}");
    // The validator asks for a sample of its own, so the script's report says what is embedded again.
    assert_eq!(entity["embedded"], 5_000 - stored, "only the rest");
    assert!(embedded - stored <= IN_FLIGHT * ITEMS.max(256));
    script.assert_whole().await;

    let events = script.relvec.call(&["runs", "events", id]);
    script.assert_no_secret(&events.stdout);
    let before = script.fingerprint().await;
    let (code, again) = script.relvec.run_graph("default", &job, &environment);
    assert_eq!(
        (code, &again["status"]),
        (0, &json!("succeeded")),
        "{again:#}"
    );
    let migration = &again["execution_report"]["migration"];
    assert_eq!(migration["requests"], 0, "again is a no-op");
    assert_eq!(script.fingerprint().await, before);
}

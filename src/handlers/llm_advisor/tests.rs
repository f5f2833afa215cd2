use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::graph::context::{RunEnvironment, Secrets};
use crate::graph::event::Event;

const KEY: &str = "key-hunter2";

/// A server with an answer for each request, that keeps what it was sent.
#[derive(Clone, Default)]
struct Mock {
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Mock {
    async fn start(answers: &[(u16, String)]) -> (Self, String) {
        let mock = Self::default();
        mock.answers
            .lock()
            .expect("a lock")
            .extend(answers.iter().cloned());
        let app = Router::new()
            .route("/models/{call}", post(answer))
            .with_state(mock.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, app).await });
        (mock, format!("http://{address}"))
    }

    fn requests(&self) -> usize {
        self.seen.lock().expect("a lock").len()
    }
}

async fn answer(
    State(mock): State<Mock>,
    headers: HeaderMap,
    body: axum::Json<Value>,
) -> (StatusCode, String) {
    let key = headers
        .get("x-goog-api-key")
        .and_then(|key| key.to_str().ok());
    let key = key.unwrap_or_default().to_owned();
    mock.seen.lock().expect("a lock").push((key, body.0));
    let next = mock.answers.lock().expect("a lock").pop_front();
    let (status, text) = next.unwrap_or((500, String::new()));
    (StatusCode::from_u16(status).expect("a status"), text)
}

fn candidate(text: &str) -> String {
    json!({"candidates": [{"content": {"parts": [{"text": text}]}}]}).to_string()
}

fn plan() -> MigrationPlan {
    let field = |label: &str| {
        json!({"section": "field", "label": label, "score": 0.9, "reasons": ["ROW VALUE"],
               "source": {"alias": "r", "column": label, "data_type": "text"}})
    };
    let entity = |name: &str| {
        json!({"name": name, "root": {"schema": null, "name": name}, "row_count": 3,
               "key": [{"name": "id", "data_type": "integer"}], "parents": [], "metadata": [], "reasons": [],
               "sections": [field("title"), field("body")]})
    };
    serde_json::from_value(json!({
        "version": 1, "dialect": "sqlite", "database": "shop.db", "runtime": "script",
        "target": {"schema": "public", "table": "t"},
        "embedding": {"provider": "relvec", "base_url": "", "model": "m", "dimensions": null, "api_key_env": null,
                      "batch_items": 1, "batch_tokens": 1, "concurrency": 1, "chunk_tokens": 1},
        "entities": [entity("orders"), entity("products")], "left_out": [], "ranking": [],
        "estimate": {"documents": 1, "chunks": 1, "tokens": 1, "requests": 1},
    }))
    .expect("a plan")
}

struct Outcome {
    advice: LlmAdvice,
    folder: TempDir,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Outcome {
    fn artifact(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.path().join(name)).ok()
    }
}

async fn advise(base_url: &str, model: &str) -> Outcome {
    let folder = tempfile::tempdir().expect("a folder");
    let mut secrets = Secrets::default();
    secrets.insert(secret::LLM_API_KEY, SecretString::from(KEY));
    let run = RunEnvironment {
        run_id: uuid::Uuid::nil(),
        secrets,
        answers: std::collections::BTreeMap::new(),
        artifacts: folder.path().to_owned(),
        cache: folder.path().to_owned(),
        cancel: CancellationToken::new(),
    };
    let (sender, events) = mpsc::unbounded_channel();
    let ctx = Context::new(
        "llm_advisor".into(),
        1,
        None,
        run.cancel.clone(),
        Arc::new(run),
        Arc::default(),
        sender,
    );
    let job: JobInput = serde_json::from_value(json!({
        "source": {"url": "sqlite:shop.db"},
        "llm": {"enabled": true, "model": model, "base_url": base_url},
    }))
    .expect("a job");
    let handler = LlmAdvisor::new(NoParams {}).expect("no parameters");
    let advice = NodeHandler::run(&handler, (job, plan()), &ctx).await;
    Outcome {
        advice: advice.expect("the stage never fails"),
        folder,
        events,
    }
}

#[tokio::test]
async fn takes_what_is_valid_and_says_why_it_drops_the_rest() {
    let reply = json!({"entities": [
        {"entity": "products", "sections": [1, 0]},
        {"entity": "products", "sections": [0]},
        {"entity": "users", "sections": [0]},
        {"entity": "orders", "sections": [2]},
        {"entity": "orders", "sections": []},
        {"entity": "orders", "sections": [0], "sql": "DROP TABLE x"},
        {"entity": "orders", "sections": [1, 1]},
    ]});
    let (mock, url) = Mock::start(&[(200, candidate(&reply.to_string()))]).await;
    let outcome = advise(&url, "gemini-test").await;
    assert_eq!(outcome.advice.origin, AdviceOrigin::Model);
    assert_eq!(
        outcome.advice.entities,
        [EntityAdvice {
            entity: "products".to_owned(),
            sections: vec![1, 0]
        }]
    );
    assert_eq!(outcome.advice.dropped.len(), 6);
    let seen = mock.seen.lock().expect("a lock").clone();
    assert_eq!(seen[0].0, KEY);
    let request = outcome.artifact("llm_request.json").expect("kept");
    let kept: Value = serde_json::from_str(&request).expect("JSON");
    assert_eq!(kept["body"], seen[0].1, "the artifact is what was sent");
    assert!(!request.contains(KEY));
    assert!(
        !request.contains("ROW VALUE"),
        "reasons may tell about values"
    );
    assert!(
        outcome
            .artifact("llm_reply.json")
            .expect("kept")
            .contains("DROP TABLE")
    );
}

#[tokio::test]
async fn tries_again_where_that_may_help() {
    let valid = candidate(r#"{"entities": []}"#);
    let (mock, url) =
        Mock::start(&[(429, String::new()), (503, String::new()), (200, valid)]).await;
    let outcome = advise(&url, "m").await;
    assert_eq!(outcome.advice.origin, AdviceOrigin::Model);
    assert_eq!(mock.requests(), 3);
}

#[tokio::test]
async fn whatever_goes_wrong_the_deterministic_plan_stands() {
    let cases = [
        (vec![(500, String::new()); 3], 3),
        (vec![(401, format!("bad key {KEY}"))], 1),
        (vec![(200, "not JSON".to_owned())], 1),
        (vec![(200, "{}".to_owned())], 1),
        (vec![(200, candidate("Sure! Here it is:"))], 1),
        (vec![(200, candidate("[]"))], 1),
        (
            vec![(200, candidate(r#"{"entities": [], "run": "id"}"#))],
            1,
        ),
        (vec![(200, "x".repeat(2 << 20))], 1),
        (vec![(302, String::new())], 1),
    ];
    for (answers, requests) in cases {
        let (mock, url) = Mock::start(&answers).await;
        let mut outcome = advise(&url, "m").await;
        assert_eq!(outcome.advice.origin, AdviceOrigin::Fallback);
        assert!(outcome.advice.entities.is_empty());
        let reason = outcome.advice.reason.clone().expect("a reason");
        assert!(!reason.contains(KEY), "{reason}");
        assert_eq!(mock.requests(), requests, "{reason}");
        let mut logged = false;
        while let Ok(event) = outcome.events.try_recv() {
            logged |= matches!(
                event,
                Event::StageLog {
                    level: LogLevel::Warn,
                    ..
                }
            );
        }
        assert!(logged, "a fallback is logged");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_fallback() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    assert_eq!(
        advise(&url, "m").await.advice.origin,
        AdviceOrigin::Fallback
    );
    let malformed = advise("file:///etc/passwd", "m").await;
    assert_eq!(malformed.advice.origin, AdviceOrigin::Fallback);
    assert!(malformed.artifact("llm_request.json").is_none());
}

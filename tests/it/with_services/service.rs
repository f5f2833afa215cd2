//! The generated service after a migration: uvicorn runs it, and it is asked over HTTP.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use relvec::service::endpoint::Endpoint;
use relvec::service::http;
use serde_json::{Value, json};

use crate::relvec::{Relvec, job, sqlite};
use crate::services::postgres_url;

const TOKEN: &str = "a-token-of-this-test";

/// 300 things of three categories; every tenth has no stock.
fn catalogue_sql() -> String {
    use std::fmt::Write as _;
    let mut sql = String::from(
        "CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, description TEXT NOT NULL, \
         category TEXT NOT NULL, price REAL NOT NULL, stock INTEGER, active BOOLEAN NOT NULL);\n",
    );
    let words = ["garden", "kitchen", "music"];
    for id in 1..=300 {
        let word = words[id % 3];
        let stock = if id % 10 == 0 {
            "NULL".to_owned()
        } else {
            (id % 7).to_string()
        };
        let _ = writeln!(
            sql,
            "INSERT INTO products VALUES ({id}, 'The {word} helper {id}', 'A sturdy thing for every {word} day, model {id}.', '{word}', {id}.5, {stock}, {});",
            id % 2
        );
    }
    sql
}

/// The service on a port of its own; ends with the test.
struct Service {
    process: Child,
    address: String,
    client: reqwest::Client,
    _endpoint: Endpoint,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Service {
    /// Starts the service of a run, in the virtual environment that ran the run's script.
    async fn start(relvec: &Relvec, run: &Value, source: &str, target: &str) -> Self {
        let endpoint = Endpoint::start_program(env!("CARGO_BIN_EXE_relvec").as_ref())
            .await
            .expect("an embedding endpoint");
        let folder = relvec.artifacts(run);
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let process = Command::new(relvec.python(run))
            .args(["-m", "uvicorn", "service:app", "--port", &port.to_string()])
            .current_dir(&folder)
            .env("SOURCE_URL", source)
            .env("TARGET_URL", target)
            .env("EMBEDDING_BASE_URL", &endpoint.base_url)
            .env("SERVICE_TOKEN", TOKEN)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("uvicorn starts");
        let mut service = Self {
            process,
            address: format!("http://127.0.0.1:{port}"),
            client: http::client(Duration::from_secs(30), true).expect("a client"),
            _endpoint: endpoint,
        };
        service.wait().await;
        service
    }

    async fn wait(&mut self) {
        let until = Instant::now() + Duration::from_mins(2);
        loop {
            let answer = self.client.get(format!("{}/health", self.address)).send();
            if let Ok(answer) = answer.await {
                assert_eq!(answer.status(), 200, "the target answers");
                return;
            }
            let ended = self.process.try_wait().expect("a process");
            assert!(ended.is_none(), "uvicorn ended with {ended:?}");
            assert!(Instant::now() < until, "uvicorn does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let request = self.client.get(format!("{}{path}", self.address));
        let answer = request.bearer_auth(TOKEN).send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.text().await.expect("a text"))
    }

    async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let request = self.client.post(format!("{}{path}", self.address));
        let request = request.header("content-type", "application/json");
        let request = request.bearer_auth(TOKEN).body(body.to_owned());
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.expect("JSON"))
    }

    /// Gives the hits of a search that has to work.
    async fn hits(&self, search: Value) -> Vec<Value> {
        let (status, found) = self.post("/search", &search.to_string()).await;
        assert_eq!(status, 200, "{search}: {found}");
        assert_eq!(found["complete"], true, "{search}: {found}");
        assert!(
            found["seconds"].as_f64().is_some_and(|taken| taken > 0.0),
            "{found}"
        );
        found["hits"].as_array().expect("hits").clone()
    }

    /// Gives the ids of all that fit a filter, in their order.
    async fn ids(&self, filter: Value) -> Vec<u32> {
        let search = json!({"query": "garden helper", "top_k": 100, "filter": filter});
        let hits = self.hits(search).await;
        let id = |hit: &Value| hit["source_key"]["id"].as_str()?.parse().ok();
        let mut ids: Vec<u32> = hits.iter().map(|hit| id(hit).expect("a key")).collect();
        ids.sort_unstable();
        ids
    }
}

async fn served(relvec: &Relvec) -> Service {
    let source = sqlite(&relvec.path("catalogue.db"), &catalogue_sql()).await;
    let target = postgres_url().await;
    let mut job = job(&source, &target);
    job["execution"]["runtime"] = "fastapi".into();
    let (code, run) = relvec.run(&job);
    assert_eq!(code, 0, "{run:#}");
    Service::start(relvec, &run, &source, &target).await
}

#[tokio::test]
async fn a_search_finds_what_was_migrated_and_filters_it() {
    let relvec = Relvec::new();
    let service = served(&relvec).await;

    let hits = service
        .hits(json!({"query": "The garden helper 42", "top_k": 5}))
        .await;
    assert_eq!(hits.len(), 5);
    assert_eq!(hits[0]["source_key"], json!({"id": "42"}), "{hits:?}");
    assert_eq!(hits[0]["entity"], "products");
    let scores: Vec<f64> = hits.iter().map(|h| h["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    let least = scores[1];
    let near = json!({"query": "The garden helper 42", "top_k": 5, "min_score": least});
    assert_eq!(service.hits(near).await.len(), 2);
    let elsewhere = json!({"query": "garden", "entity": "orders"});
    assert_eq!(service.hits(elsewhere).await, [Value::Null; 0]);

    let all = |fits: &dyn Fn(u32) -> bool| (1..=300).filter(|id| fits(*id)).collect::<Vec<u32>>();
    let stock = |id: u32| (!id.is_multiple_of(10)).then_some(id % 7);
    for (filter, expected) in [
        // A REAL is kept as a text, and is a number all the same.
        (
            json!({"price": {"gte": 10, "lt": 20}}),
            all(&|id| (10..20).contains(&id)),
        ),
        (json!({"price": 10.5}), vec![10]),
        (
            json!({"stock": {"gt": 4}, "category": "music"}),
            all(&|id| id % 3 == 2 && stock(id).is_some_and(|s| s > 4)),
        ),
        (
            json!({"stock": {"in": [1, null]}, "active": true}),
            all(&|id| id % 2 == 1 && stock(id).is_none_or(|s| s == 1)),
        ),
        (json!({"stock": null}), all(&|id| id.is_multiple_of(10))),
        (
            json!({"category": {"not_in": ["garden", "music"]}}),
            all(&|id| id % 3 == 1),
        ),
        (
            json!({"category": {"gt": "garden", "lte": "kitchen"}}),
            all(&|id| id % 3 == 1),
        ),
        (json!({"none": "x"}), vec![]),
        (json!({"price": {"in": []}}), vec![]),
        (
            json!({"x') OR true --": "1' OR '1'='1", "%(v0)s": {"lt": "%s"}}),
            vec![],
        ),
    ] {
        assert_eq!(service.ids(filter.clone()).await, expected, "{filter}");
    }
}

#[tokio::test]
async fn the_service_refuses_what_it_cannot_do_and_describes_what_it_can() {
    let relvec = Relvec::new();
    let service = served(&relvec).await;
    for body in [
        "{}",
        r#"{"query": ""}"#,
        r#"{"query": "x", "top_k": 0}"#,
        r#"{"query": "x", "offset": 3}"#,
        r#"{"query": "x", "filter": {"price": {}}}"#,
        r#"{"query": "x", "filter": {"price": {"gte": null}}}"#,
        r#"{"query": "x", "filter": {"price": {"between": [1, 2]}}}"#,
        r#"{"query": "x", "filter": {"price": [1, 2]}}"#,
        r#"{"query": "x", "filter": {"price": 1e400}}"#,
        r#"{"query": "x", "filter": {"a\u0000": "b"}}"#,
        r#"{"query": "\ud800"}"#,
    ] {
        let (status, answer) = service.post("/search", body).await;
        assert_eq!(status, 422, "{body}: {answer}");
        assert!(answer["detail"].is_array(), "{body}: {answer}");
    }

    let search = service.client.post(format!("{}/search", service.address));
    let answer = search.json(&json!({"query": "x"})).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let (status, page) = service.get("/docs").await;
    assert_eq!(status, 200);
    assert!(
        !page.contains("//") && page.contains("openapi.json"),
        "the page needs nothing from elsewhere"
    );
    let (_, api) = service.get("/openapi.json").await;
    let api: Value = serde_json::from_str(&api).expect("JSON");
    for path in ["/search", "/migrate", "/progress", "/report", "/health"] {
        assert!(api["paths"][path].is_object(), "{path}");
    }

    let (status, started) = service.post("/migrate", "").await;
    assert_eq!((status, &started["state"]), (202, &json!("running")));
    let until = Instant::now() + Duration::from_mins(2);
    loop {
        let (_, progress) = service.get("/progress").await;
        let progress: Value = serde_json::from_str(&progress).expect("JSON");
        if progress["state"] != "running" {
            assert_eq!(progress["state"], "finished", "{progress}");
            break;
        }
        assert!(Instant::now() < until, "{progress}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (_, report) = service.get("/report").await;
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["entities"][0]["unchanged"], 300, "{report}");
}

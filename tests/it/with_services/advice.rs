//! A language model's advice, from the question to the rows in pgvector: what it chose is migrated and proved like the plan's own.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::corpora::CORPORA;
use crate::corpora::sql::{self, Keys, Sql};
use crate::relvec::{Relvec, job, postgres, sqlite, stage};
use crate::services::{postgres_source_url, postgres_url};

/// The questions that were asked.
pub type Asked = Arc<Mutex<Vec<Value>>>;

/// Starts a server that speaks OpenAI's chat completions and turns every document upside down: its last section first, under the last of
/// its labels, and two parts that the plan does not have at the end.
pub async fn contrary_model() -> (String, Asked) {
    let asked = Asked::default();
    let app = Router::new()
        .route("/v1/chat/completions", post(advise))
        .with_state(Arc::clone(&asked));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}/v1"), asked)
}

async fn advise(State(asked): State<Asked>, Json(body): Json<Value>) -> Json<Value> {
    let question = body["messages"][1]["content"].as_str().expect("a text");
    let question: Value = serde_json::from_str(question).expect("JSON");
    let entities: Vec<Value> = question["entities"]
        .as_array()
        .expect("a list")
        .iter()
        .map(contrary)
        .collect();
    asked.lock().expect("a lock").push(body);
    let answer = json!({ "entities": entities }).to_string();
    Json(
        json!({"choices": [{"message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}]}),
    )
}

fn contrary(entity: &Value) -> Value {
    let parts = entity["parts"].as_array().expect("a list");
    let (kept, others): (Vec<&Value>, Vec<&Value>) =
        parts.iter().partition(|part| part["in_plan"] == true);
    let mut chosen: Vec<Value> = kept
        .iter()
        .rev()
        .chain(others.iter().take(2))
        .map(|part| json!({"part": part["part"], "label": part["labels"][0]}))
        .collect();
    let labels = kept.last().expect("a section")["labels"]
        .as_array()
        .expect("a list");
    chosen[0]["label"] = labels.last().expect("a label").clone();
    let filters = entity["filters"].as_array().cloned().unwrap_or_default();
    let filters: Vec<Value> = filters
        .iter()
        .map(|filter| json!({"column": filter["column"], "op": "in", "values": [filter["values"][0]]}))
        .collect();
    json!({"entity": entity["entity"], "parts": chosen, "filters": filters})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_model_chose_is_migrated_and_proved() {
    let relvec = Relvec::new();
    let corpus = CORPORA
        .iter()
        .find(|corpus| corpus.name == "helpdesk")
        .expect("it");
    let script = sql::script(&(corpus.build)(), Sql::Sqlite, Keys::Declared);
    let source = sqlite(&relvec.path("helpdesk.db"), &script).await;
    let target = postgres_url().await;
    let (url, asked) = contrary_model().await;
    let mut job = job(&source, &target);
    job["source"]["include"] = json!(["hd_ticket", "hd_queue", "hd_status", "hd_contact"]);
    job["llm"] = json!({"provider": "openai", "model": "contrary", "base_url": url});
    let (code, run) = tokio::task::block_in_place(|| relvec.run(&job));
    assert_eq!(code, 0, "{run:#}");
    assert_eq!(run["validation_report"]["verdict"], "validated");
    assert_eq!(stage(&run, "llm_advisor")["status"], "succeeded");
    assert_eq!(asked.lock().expect("a lock").len(), 1);

    let file = |name: &str| std::fs::read_to_string(relvec.artifacts(&run).join(name)).expect(name);
    let request: Value = serde_json::from_str(&file("llm_request.json")).expect("JSON");
    assert_eq!(
        request["body"],
        asked.lock().expect("a lock")[0],
        "the artifact is what was sent"
    );
    let diff = file("llm_plan.diff");
    let line = |sign: char| {
        let marked = diff
            .lines()
            .filter(|line| !line.starts_with("+++") && !line.starts_with("---"));
        marked
            .filter_map(|line| line.strip_prefix(sign))
            .collect::<Vec<_>>()
    };
    let (removed, added) = (line('-'), line('+'));
    assert!(!removed.is_empty() && added.len() > removed.len(), "{diff}");
    // Every section that was added or has another label stands in some document.
    let mut connection = PgConnection::connect(&target)
        .await
        .expect("PostgreSQL answers");
    for line in added {
        let (label, _) = line.split_once(": ").expect("a label");
        let documents: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM relvec_documents WHERE position($1 in content) > 0",
        )
        .bind(format!("{label}:"))
        .fetch_one(&mut connection)
        .await
        .expect("a number");
        assert!(documents > 0, "{label}: {diff}");
    }
}

/// A label and a truth value, and rows that have none.
const TICKETS: &str = "
CREATE TYPE state AS ENUM ('still ''open''', 'closed');
CREATE TABLE tickets (id int PRIMARY KEY, subject text NOT NULL, body text NOT NULL, state state, urgent boolean NOT NULL);
INSERT INTO tickets SELECT i, 'The printer on floor ' || i || ' is broken',
  'Since the update of last week nothing comes out of the printer, and the light blinks ' || i || ' times.',
  (ARRAY['still ''open''', 'closed', NULL])[1 + i % 3]::state, i % 2 = 0 FROM generate_series(1, 120) AS i;
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_the_model_filters_out_have_no_document_and_the_rest_is_proved() {
    let relvec = Relvec::new();
    let source = postgres_source_url().await;
    postgres(&source, TICKETS).await;
    let target = postgres_url().await;
    let (url, _) = contrary_model().await;
    let mut job = job(&source, &target);
    job["llm"] = json!({"provider": "openai", "model": "contrary", "base_url": url, "prompt": "only what is open and urgent"});
    let (code, run) = tokio::task::block_in_place(|| relvec.run(&job));
    assert_eq!(code, 0, "{run:#}");
    assert_eq!(run["validation_report"]["verdict"], "validated");
    let diff =
        std::fs::read_to_string(relvec.artifacts(&run).join("llm_plan.diff")).expect("a diff");
    assert!(
        diff.contains(
            "+only rows with state in (still 'open')\n+only rows with urgent in (true)\n"
        ),
        "{diff}"
    );
    let mut connection = PgConnection::connect(&target)
        .await
        .expect("PostgreSQL answers");
    let documents: i64 =
        sqlx::query_scalar("SELECT count(DISTINCT source_key) FROM relvec_documents")
            .fetch_one(&mut connection)
            .await
            .expect("a number");
    assert_eq!(
        documents, 20,
        "every third is open, and every second of those is urgent"
    );
}

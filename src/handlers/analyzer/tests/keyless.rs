//! Tables without a key: their rows are known by what they hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::graph::context::{Answer, RunEnvironment, Secrets};

fn row(entity: &EntityPlan) -> Vec<&str> {
    let columns = entity.row.iter();
    columns.map(|column| column.name.as_str()).collect()
}

fn with(analysis: &serde_json::Value) -> JobInput {
    let job = json!({"source": {"url": "sqlite:shop.db"}, "analysis": analysis});
    serde_json::from_value(job).expect("a job")
}

const NOTES: &str = "
CREATE TABLE authors(id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE notes(body TEXT, author_id INT REFERENCES authors(id), at TIMESTAMP, email TEXT, password TEXT, photo BLOB, code TEXT UNIQUE);
CREATE TABLE note_comments(id INTEGER PRIMARY KEY, note_code TEXT NOT NULL REFERENCES notes(code), body TEXT);
CREATE VIEW told AS SELECT body, name FROM notes JOIN authors ON author_id = id;
INSERT INTO authors VALUES(1, 'Ada Stone'), (2, 'Bo Field');
INSERT INTO notes VALUES
  ('The same words were written down twice on that day.', 1, '2024-01-01', 'ada@example.org', 'x1y2', x'00', NULL),
  ('The same words were written down twice on that day.', 1, '2024-01-01', 'ada@example.org', 'x1y2', x'00', NULL),
  ('Other words were written down by somebody else then.', 2, '2024-01-02', 'bo@example.org', 'z3', x'01', 'c');
INSERT INTO note_comments VALUES(1, 'c', 'I have read this note and cannot agree with it at all.');";

#[tokio::test]
async fn a_table_without_a_key_is_an_entity_of_a_multiset() {
    let context = context(NOTES, 50).await;
    let analysis = analyze(&job(), &context).expect("a plan");
    let notes = entity(&analysis.plan, "notes");
    assert!(notes.is_keyless());
    assert_eq!(notes.key_names(), ["row", "occurrence"]);
    assert_eq!(notes.row_count, 3);
    // Neither what is secret or personal nor bytes without a text, but every column that a join may need.
    assert_eq!(row(notes), ["body", "author_id", "at", "code"]);
    assert_eq!(shape(notes), ["Author: p1.name", "Body: r.body"]);
    assert!(notes.reasons.iter().any(|reason| reason.contains("no key")));
    // Its rows can be equal, so that no row of another table belongs to one of them.
    let comments = entity(&analysis.plan, "note_comments");
    assert!(!comments.is_keyless() && comments.row.is_empty());
    let question = analysis
        .questions
        .iter()
        .find(|question| question.id == "no_key:notes")
        .expect("a question");
    assert!(question.blocking && question.text.contains("some rows are equal"));
    assert_eq!(question.default, None, "only a person knows");
}

#[tokio::test]
async fn what_the_job_leaves_out_tells_no_rows_apart() {
    let context = context(NOTES, 50).await;
    let job = with(&json!({"exclude_columns": ["notes.at", "notes.author_id"]}));
    let plan = analyze(&job, &context).expect("a plan").plan;
    // The join still needs its column: rows that differ there have different documents.
    assert_eq!(row(entity(&plan, "notes")), ["body", "author_id", "code"]);
}

#[tokio::test]
async fn a_view_is_an_entity_only_where_the_job_says_so() {
    let context = context(NOTES, 50).await;
    let plan = analyze(&job(), &context).expect("a plan").plan;
    assert!(plan.entities.iter().all(|entity| entity.name != "told"));
    let analysis = analyze(&with(&json!({"roots": ["told"]})), &context).expect("a plan");
    let told = entity(&analysis.plan, "told");
    assert!(told.is_keyless());
    assert_eq!(row(told), ["body", "name"]);
    let asked = |question: &Question| question.id == "no_key:told";
    assert!(!analysis.questions.iter().any(asked), "the job has said it");
}

#[tokio::test]
async fn a_key_that_the_job_names_is_a_key() {
    let context = context(SHOP, 50).await;
    let plan = analyze(&with(&json!({"keys": {"log": ["message"]}})), &context)
        .expect("a plan")
        .plan;
    let log = entity(&plan, "log");
    assert_eq!(log.key_names(), ["message"]);
    assert!(log.row.is_empty());
}

/// What the handler makes of an answer to the question about `notes`.
async fn answered(choice: &str) -> MigrationPlan {
    let answer = Answer {
        choice: choice.to_owned(),
        by: "ada".to_owned(),
        at: "2026-01-01T00:00:00Z".to_owned(),
    };
    let folder = tempfile::tempdir().expect("a folder");
    let environment = RunEnvironment {
        run_id: uuid::Uuid::nil(),
        secrets: Secrets::default(),
        answers: BTreeMap::from([("no_key:notes".to_owned(), answer)]),
        artifacts: folder.path().to_owned(),
        cache: folder.path().to_owned(),
        allowed: crate::allowed::Allowed::everything(),
        cancel: CancellationToken::new(),
    };
    let (events, _received) = tokio::sync::mpsc::unbounded_channel();
    let ctx = Context::new(
        "analyzer".into(),
        1,
        None,
        CancellationToken::new(),
        Arc::new(environment),
        Arc::default(),
        events,
    );
    let given = (job(), context(NOTES, 50).await);
    Analyzer.run(given, &ctx).await.expect("a plan")
}

#[tokio::test]
async fn an_answer_leaves_a_table_without_a_key_out() {
    let names = |plan: &MigrationPlan| -> Vec<String> {
        plan.entities
            .iter()
            .map(|entity| entity.name.clone())
            .collect()
    };
    let plan = answered("keep them all").await;
    assert_eq!(names(&plan), ["note_comments", "notes"]);
    let plan = answered("leave out").await;
    assert_eq!(names(&plan), ["note_comments"]);
    let reason = plan.left_out.iter().find(|left| left.table.name == "notes");
    assert!(reason.is_some_and(|left| left.reason.contains("no key")));
}

//! The validator itself, on each source and a real target: whatever is changed behind its back, it has to say so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::routing::post;
use axum::{Json, Router};
use relvec::model::execution::ExecutionReport;
use relvec::model::job::{EmbeddingProvider, ExecutionMode};
use relvec::model::plan::MigrationPlan;
use relvec::model::validation::{EntityValidation, ValidationReport, Verdict};
use relvec::reconcile::{self, Vectors, verdict};
use relvec::service::embedding::EmbeddingApi;
use relvec::source::canonical::{chunk_id, content_hash};
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};
use tokio::net::TcpListener;

use crate::services::{Source, postgres_url};

const DIMENSIONS: usize = 8;

/// What is in source and target before something is changed: row 11 has no text, row 12 is in quarantine.
const ROWS: i64 = 12;
const DOCUMENTS: u64 = 10;

/// A vector made from the text, as relvec's own model makes one.
fn embed(text: &str, dimensions: usize) -> Vec<f32> {
    let hash = Sha256::digest(text.as_bytes());
    let bytes = hash.iter().cycle().take(dimensions);
    bytes.map(|byte| f32::from(*byte) - 127.5).collect()
}

const DIALECTS: [&str; 3] = ["sqlite", "postgres", "mysql"];

fn plan(dialect: &str, schema: Option<&str>) -> MigrationPlan {
    let field = |column: &str| {
        json!({"section": "field", "label": column, "score": 1.0, "reasons": [],
               "source": {"alias": "r", "column": column, "data_type": "text"}})
    };
    serde_json::from_value(json!({
        "version": 1,
        "dialect": dialect,
        "database": "notes",
        "target": {"schema": "public", "table": "documents"},
        "embedding": {"provider": "relvec", "base_url": "http://127.0.0.1:1/v1", "model": "m",
                      "dimensions": DIMENSIONS, "api_key_env": null, "batch_items": 8,
                      "batch_tokens": 1000, "concurrency": 1, "chunk_tokens": 100},
        "runtime": "script",
        "entities": [{
            "name": "notes",
            "root": {"schema": schema, "name": "notes"},
            "key": [{"name": "id", "data_type": "integer"}],
            "row_count": ROWS,
            "parents": [],
            "sections": [field("title"), field("body")],
            "metadata": [
                {"name": "stars", "source": {"alias": "r", "column": "stars", "data_type": "integer"}},
                {"name": "status", "source": {"alias": "r", "column": "status", "data_type": "text"}}
            ],
            "reasons": []
        }],
        "left_out": [],
        "ranking": [],
        "estimate": {"documents": ROWS, "chunks": ROWS, "tokens": 1, "requests": 1}
    }))
    .expect("a plan")
}

struct Subject {
    // Removed with everything in it when the test ends.
    _folder: tempfile::TempDir,
    source_url: SecretString,
    target_url: SecretString,
    source: Source,
    target: PgConnection,
    plan: MigrationPlan,
}

impl Subject {
    async fn new(dialect: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (source, source_url, schema) = Source::new(dialect, folder.path()).await;
        let url = postgres_url().await;
        let mut target = PgConnection::connect(&url).await.expect("a target");
        target
            .execute("CREATE EXTENSION vector")
            .await
            .expect("pgvector");
        Self {
            source_url: source_url.into(),
            target_url: url.into(),
            _folder: folder,
            source,
            target,
            plan: plan(dialect, schema.as_deref()),
        }
    }

    /// Makes both sides anew, equal to each other.
    async fn reset(&mut self) {
        self.source
            .run(
                "DROP TABLE IF EXISTS notes;
                 CREATE TABLE notes (id INTEGER PRIMARY KEY, title TEXT, body TEXT, stars INTEGER, status TEXT)",
            )
            .await;
        self.target
            .execute(
                "DROP TABLE IF EXISTS documents, documents_quarantine;
                 CREATE TABLE documents (id uuid PRIMARY KEY, entity text NOT NULL, source_key jsonb NOT NULL,
                   chunk integer NOT NULL, content text NOT NULL, content_hash bytea NOT NULL, embedding vector(8) NOT NULL,
                   metadata jsonb NOT NULL, model text NOT NULL, migrated_at timestamptz NOT NULL DEFAULT now());
                 CREATE INDEX ON documents USING hnsw (embedding vector_cosine_ops);
                 CREATE TABLE documents_quarantine (id uuid PRIMARY KEY, entity text NOT NULL, source_key jsonb NOT NULL,
                   reason text NOT NULL, epoch bigint NOT NULL);",
            )
            .await
            .expect("an empty target");
        for id in 1..=ROWS {
            self.add_row(id).await;
        }
        sqlx::query("INSERT INTO documents_quarantine VALUES ($1, 'notes', '{\"id\": \"12\"}', 'refused', 1)")
            .bind(chunk_id("notes", [b"12".as_slice()], 0))
            .execute(&mut self.target)
            .await
            .expect("a row in quarantine");
    }

    async fn add_row(&mut self, id: i64) {
        let has_text = id != 11;
        let title = has_text.then(|| format!("note {id}"));
        let body = has_text.then(|| format!("words about matter {id}"));
        let status = (id % 2 == 0).then_some("open");
        let literal =
            |text: Option<&str>| text.map_or("NULL".to_owned(), |text| format!("'{text}'"));
        let row = format!(
            "INSERT INTO notes VALUES ({id}, {}, {}, {}, {})",
            literal(title.as_deref()),
            literal(body.as_deref()),
            id % 5,
            literal(status)
        );
        self.source.run(&row).await;
        let (Some(title), Some(body)) = (title, body) else {
            return;
        };
        if id == 12 {
            return;
        }
        let document = format!("title: {title}\nbody: {body}");
        // Document 3 has two chunks.
        let cut = if id == 3 { 10 } else { document.len() };
        let metadata = [Some((id % 5).to_string()), status.map(str::to_owned)];
        let chunks = [&document[..cut], &document[cut..]];
        let chunks = chunks.iter().filter(|chunk| !chunk.is_empty());
        for (chunk, number) in chunks.zip(0_i32..) {
            let vector = json!(embed(chunk, DIMENSIONS)).to_string();
            sqlx::query(
                "INSERT INTO documents VALUES ($1, 'notes', $2, $3, $4, $5, $6::vector, $7, 'm')",
            )
            .bind(chunk_id(
                "notes",
                [id.to_string().as_bytes()],
                u64::from(number.unsigned_abs()),
            ))
            .bind(json!({"id": id.to_string()}))
            .bind(number)
            .bind(*chunk)
            .bind(
                content_hash(
                    chunk,
                    metadata
                        .iter()
                        .map(|value| value.as_deref().map(str::as_bytes)),
                )
                .as_slice(),
            )
            .bind(vector)
            .bind(json!({"stars": id % 5, "status": status}))
            .execute(&mut self.target)
            .await
            .expect("a target row");
        }
    }

    async fn validate(&self) -> ValidationReport {
        self.validate_with(Vectors {
            own: Some(embed),
            recall: 20,
            ..Vectors::default()
        })
        .await
    }

    /// Validates with vectors of which an API is asked for a sample.
    async fn validate_sample(&self, base_url: &str) -> ValidationReport {
        let mut plan = self.plan.embedding.clone();
        plan.provider = EmbeddingProvider::Openai;
        base_url.clone_into(&mut plan.base_url);
        let api = EmbeddingApi::new(&plan, None, &relvec::allowed::Allowed::everything())
            .expect("an address");
        self.validate_with(Vectors {
            api: api.as_ref(),
            embedded_again: 20,
            ..Vectors::default()
        })
        .await
    }

    async fn validate_with(&self, vectors: Vectors<'_>) -> ValidationReport {
        let compared = reconcile::compare(
            &self.plan,
            &self.source_url,
            &self.target_url,
            vectors,
            &|_| (),
        );
        let comparison = compared.await.expect("both sides can be read");
        verdict::conclude(Vec::new(), comparison, None)
    }
}

/// What the report says of the table itself.
fn table(report: &ValidationReport) -> &str {
    let mut checks = report.checks.iter();
    let check = checks.find(|check| check.name == "table");
    &check.expect("a check of the table").detail
}

/// Counts of documents that are missing, extra, changed and with a bad vector.
type Found = [u64; 4];

fn found(entity: &EntityValidation) -> Found {
    [
        entity.missing,
        entity.extra,
        entity.changed,
        entity.bad_vectors,
    ]
}

/// Statements on the target, each with what must be found after it.
const TARGET: &[(&str, Found)] = &[
    // Content, hash, metadata.
    ("UPDATE documents SET content = content || ' ' WHERE source_key ->> 'id' = '5'", [0, 0, 1, 1]),
    ("UPDATE documents SET content_hash = sha256('x') WHERE source_key ->> 'id' = '5'", [0, 0, 1, 0]),
    ("UPDATE documents SET metadata = metadata || '{\"stars\": 1}' WHERE source_key ->> 'id' = '5'", [0, 0, 1, 0]),
    ("UPDATE documents SET metadata = metadata || '{\"status\": \"\"}' WHERE source_key ->> 'id' = '5'", [0, 0, 1, 0]),
    ("UPDATE documents SET metadata = metadata || '{\"more\": null}' WHERE source_key ->> 'id' = '5'", [0, 0, 1, 0]),
    ("UPDATE documents SET metadata = metadata - 'status' WHERE source_key ->> 'id' = '5'", [0, 0, 1, 0]),
    ("UPDATE documents SET metadata = '[]' WHERE source_key ->> 'id' = '5'", [0, 0, 1, 0]),
    ("UPDATE documents d SET content_hash = o.content_hash
      FROM documents o WHERE (d.source_key ->> 'id', o.source_key ->> 'id') IN (('4', '5'), ('5', '4'))", [0, 0, 2, 0]),
    ("UPDATE documents d SET metadata = o.metadata
      FROM documents o WHERE (d.source_key ->> 'id', o.source_key ->> 'id') IN (('4', '5'), ('5', '4'))", [0, 0, 2, 0]),
    // Rows dropped, added, duplicated, swapped.
    ("DELETE FROM documents WHERE source_key ->> 'id' = '5'", [1, 0, 0, 0]),
    ("DELETE FROM documents WHERE source_key ->> 'id' = '3' AND chunk = 0", [0, 0, 1, 0]),
    ("DELETE FROM documents WHERE source_key ->> 'id' = '3' AND chunk = 1", [0, 0, 1, 0]),
    ("UPDATE documents SET entity = 'other' WHERE source_key ->> 'id' = '5'", [1, 0, 0, 0]),
    ("INSERT INTO documents SELECT gen_random_uuid(), entity, '{\"id\": \"99\"}', chunk, content, content_hash, embedding, metadata, model
      FROM documents WHERE source_key ->> 'id' = '5'", [0, 1, 0, 0]),
    ("INSERT INTO documents SELECT gen_random_uuid(), entity, '{\"id\": \"11\"}', chunk, content, content_hash, embedding, metadata, model
      FROM documents WHERE source_key ->> 'id' = '5'", [0, 1, 0, 0]),
    ("INSERT INTO documents SELECT gen_random_uuid(), entity, source_key, chunk, content, content_hash, embedding, metadata, model
      FROM documents WHERE source_key ->> 'id' = '5'", [0, 0, 1, 0]),
    ("INSERT INTO documents SELECT gen_random_uuid(), entity, source_key, chunk + 1, '', content_hash, embedding, metadata, model
      FROM documents WHERE source_key ->> 'id' = '5'", [0, 0, 1, 1]),
    ("UPDATE documents d SET content = o.content, content_hash = o.content_hash, embedding = o.embedding, metadata = o.metadata
      FROM documents o WHERE (d.source_key ->> 'id', o.source_key ->> 'id') IN (('4', '5'), ('5', '4'))", [0, 0, 2, 0]),
    ("UPDATE documents SET chunk = 1 - chunk WHERE source_key ->> 'id' = '3'", [0, 0, 1, 0]),
    ("UPDATE documents SET chunk = 1 WHERE source_key ->> 'id' = '5'", [0, 0, 1, 0]),
    // Keys and ids.
    ("UPDATE documents SET source_key = '{\"id\": \"99\"}' WHERE source_key ->> 'id' = '5'", [1, 1, 0, 0]),
    ("UPDATE documents SET source_key = '{\"id\": 5}' WHERE source_key ->> 'id' = '5'", [1, 1, 0, 0]),
    ("UPDATE documents SET source_key = '{\"id\": null}' WHERE source_key ->> 'id' = '5'", [1, 1, 0, 0]),
    ("UPDATE documents SET source_key = '\"5\"' WHERE source_key ->> 'id' = '5'", [1, 1, 0, 0]),
    ("UPDATE documents SET source_key = source_key || '{\"x\": \"y\"}' WHERE source_key ->> 'id' = '5'", [1, 1, 0, 0]),
    ("UPDATE documents SET source_key = jsonb_build_object('id', (9 - (source_key ->> 'id')::int)::text)
      WHERE source_key ->> 'id' IN ('4', '5')", [0, 0, 2, 0]),
    ("UPDATE documents SET id = gen_random_uuid() WHERE source_key ->> 'id' = '5'", [0, 0, 1, 0]),
    // Vectors.
    ("UPDATE documents d SET embedding = o.embedding
      FROM documents o WHERE (d.source_key ->> 'id', o.source_key ->> 'id') IN (('4', '5'), ('5', '4'))", [0, 0, 0, 2]),
    ("UPDATE documents SET embedding = '[0,0,0,0,0,0,0,0]' WHERE source_key ->> 'id' = '5'", [0, 0, 0, 1]),
    ("UPDATE documents SET embedding = embedding + '[9,0,0,0,0,0,0,0]' WHERE source_key ->> 'id' = '5'", [0, 0, 0, 1]),
    ("UPDATE documents SET model = 'another' WHERE source_key ->> 'id' = '5'", [0, 0, 0, 1]),
    ("ALTER TABLE documents ALTER embedding DROP NOT NULL; UPDATE documents SET embedding = NULL WHERE source_key ->> 'id' = '5'", [0, 0, 0, 1]),
    ("ALTER TABLE documents ALTER embedding TYPE vector(4) USING subvector(embedding, 1, 4)", [0, 0, 0, DOCUMENTS]),
    ("UPDATE documents SET embedding = (SELECT o.embedding FROM documents o WHERE o.source_key ->> 'id' = '4') WHERE source_key ->> 'id' = '5'", [0, 0, 0, 1]),
    // Quarantine.
    ("DELETE FROM documents_quarantine", [1, 0, 0, 0]),
    ("DROP TABLE documents_quarantine", [1, 0, 0, 0]),
    ("UPDATE documents_quarantine SET source_key = '{\"id\": \"5\"}'", [1, 0, 1, 0]),
    ("UPDATE documents_quarantine SET source_key = '{\"id\": \"99\"}'", [1, 1, 0, 0]),
    // The table.
    ("DROP INDEX documents_embedding_idx", [0, 0, 0, 0]),
    ("TRUNCATE documents", [DOCUMENTS, 0, 0, 0]),
    ("DROP TABLE documents", [DOCUMENTS, 0, 0, 0]),
];

/// Statements on the source, each with what must be found after it.
const SOURCE: &[(&str, Found)] = &[
    (
        "UPDATE notes SET body = 'other words' WHERE id = 5",
        [0, 0, 1, 0],
    ),
    (
        "UPDATE notes SET title = CASE id WHEN 4 THEN 'note 5' ELSE 'note 4' END WHERE id IN (4, 5)",
        [0, 0, 2, 0],
    ),
    (
        "UPDATE notes SET stars = stars + 1 WHERE id = 5",
        [0, 0, 1, 0],
    ),
    ("UPDATE notes SET status = '' WHERE id = 5", [0, 0, 1, 0]),
    (
        "INSERT INTO notes VALUES (13, 'new', 'row', 1, NULL)",
        [1, 0, 0, 0],
    ),
    ("DELETE FROM notes WHERE id = 5", [0, 1, 0, 0]),
    ("DELETE FROM notes WHERE id = 12", [0, 1, 0, 0]),
    ("UPDATE notes SET id = 99 WHERE id = 5", [1, 1, 0, 0]),
    (
        "UPDATE notes SET title = NULL, body = ' ' WHERE id = 5",
        [0, 1, 0, 0],
    ),
    (
        "UPDATE notes SET body = 'text now' WHERE id = 11",
        [1, 0, 0, 0],
    ),
];

#[tokio::test]
async fn equal_sides_are_validated() {
    for dialect in DIALECTS {
        let mut subject = Subject::new(dialect).await;
        subject.reset().await;
        let report = subject.validate().await;
        assert_eq!(report.verdict, Verdict::Validated, "{}", report.reason);
        assert_eq!(report.loss_percentage, Some(0.0));
        let entity = &report.entities[0];
        assert_eq!(entity.source_rows, ROWS.unsigned_abs());
        assert_eq!(entity.documents, DOCUMENTS);
        assert_eq!((entity.empty, entity.quarantined), (1, 1));
        assert_eq!(found(entity), [0; 4]);
        assert!(
            report.checks.iter().all(|check| check.passed),
            "{:?}",
            report.checks
        );
        let vectors = report.vectors.expect("a sample");
        // Document 3 has two chunks. The index of so small a table misses nothing.
        assert_eq!(vectors.recall_queries, DOCUMENTS + 1);
        assert_eq!(vectors.recall, Some(1.0));
    }
}

#[tokio::test]
async fn entities_of_other_plans_are_named() {
    let mut subject = Subject::new("postgres").await;
    subject.reset().await;
    let report = subject.validate().await;
    assert_eq!(
        table(&report),
        "public.documents holds planned entities only"
    );
    subject
        .target
        .execute(
            "INSERT INTO documents SELECT gen_random_uuid(), e, source_key, chunk, content, content_hash, embedding, metadata, model
             FROM documents, unnest(ARRAY['b', 'a']) AS e",
        )
        .await
        .expect("other entities");
    let report = subject.validate().await;
    assert_eq!(report.verdict, Verdict::Validated, "{}", report.reason);
    assert_eq!(
        table(&report),
        "public.documents also holds entities that this plan does not have: a, b"
    );
}

#[tokio::test]
async fn every_change_of_the_target_is_found_on_sqlite() {
    target_changes_are_found("sqlite").await;
}

#[tokio::test]
async fn every_change_of_the_target_is_found_on_postgres() {
    target_changes_are_found("postgres").await;
}

#[tokio::test]
async fn every_change_of_the_target_is_found_on_mysql() {
    target_changes_are_found("mysql").await;
}

async fn target_changes_are_found(dialect: &str) {
    let mut subject = Subject::new(dialect).await;
    for (statement, expected) in TARGET {
        subject.reset().await;
        let changed = subject.target.execute(AssertSqlSafe(*statement)).await;
        changed.expect(statement);
        assert_found(&subject.validate().await, statement, *expected);
    }
}

#[tokio::test]
async fn every_change_of_the_source_is_found() {
    for dialect in DIALECTS {
        let mut subject = Subject::new(dialect).await;
        for (statement, expected) in SOURCE {
            subject.reset().await;
            subject.source.run(statement).await;
            assert_found(&subject.validate().await, statement, *expected);
        }
    }
}

/// An embedding API that gives the vectors of [`embed`], or, if it is fickle, others each time. Gives its base URL.
async fn embedding_api(fickle: bool) -> String {
    let asked = Arc::new(AtomicU32::new(0));
    let answer = move |Json(request): Json<Value>| async move {
        let texts = request["input"].as_array().expect("texts").iter();
        let turn = asked.fetch_add(1, Ordering::Relaxed);
        let vectors = texts.zip(0..).map(|(text, index)| {
            let text = text.as_str().expect("a text");
            let text = if fickle {
                format!("{turn} {text}")
            } else {
                text.to_owned()
            };
            json!({"index": index, "embedding": embed(&text, DIMENSIONS)})
        });
        Json(json!({"data": vectors.collect::<Vec<_>>()}))
    };
    let router = Router::new().route("/v1/embeddings", post(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/v1")
}

const SWAPPED_VECTORS: &str = "UPDATE documents d SET embedding = o.embedding
    FROM documents o WHERE (d.source_key ->> 'id', o.source_key ->> 'id') IN (('4', '5'), ('5', '4'))";

#[tokio::test]
async fn a_sample_is_embedded_again_where_the_model_is_anothers() {
    let mut subject = Subject::new("sqlite").await;
    subject.reset().await;
    let url = embedding_api(false).await;
    let report = subject.validate_sample(&url).await;
    assert_eq!(report.verdict, Verdict::Validated, "{}", report.reason);
    let vectors = report.vectors.expect("a sample");
    assert_eq!((vectors.embedded_again, vectors.far), (DOCUMENTS + 1, 0));
    assert_eq!(vectors.not_embedded, None);

    let swapped = subject.target.execute(SWAPPED_VECTORS).await;
    assert_eq!(swapped.expect("swapped").rows_affected(), 2);
    let report = subject.validate_sample(&url).await;
    assert_eq!(report.verdict, Verdict::Mismatched, "{}", report.reason);
    assert_eq!(report.vectors.expect("a sample").far, 2);
    assert!(
        report.reason.contains("`notes` {\"id\": \"4\"}")
            && report.reason.contains("`notes` {\"id\": \"5\"}"),
        "{}",
        report.reason
    );
}

#[tokio::test]
async fn an_api_that_tells_nothing_leaves_the_sample_unjudged() {
    let mut subject = Subject::new("sqlite").await;
    subject.reset().await;
    for (url, why) in [
        (embedding_api(true).await, "another vector each time"),
        ("http://127.0.0.1:1/v1".to_owned(), "does not answer"),
    ] {
        let report = subject.validate_sample(&url).await;
        assert_eq!(report.verdict, Verdict::Validated, "{}", report.reason);
        let vectors = report.vectors.expect("a sample");
        assert_eq!((vectors.embedded_again, vectors.far), (0, 0));
        assert!(
            vectors
                .not_embedded
                .as_ref()
                .is_some_and(|reason| reason.contains(why)),
            "{vectors:?}"
        );
    }
}

fn assert_found(report: &ValidationReport, statement: &str, expected: Found) {
    let entity = &report.entities[0];
    assert_eq!(report.verdict, Verdict::Mismatched, "{statement}");
    assert_eq!(
        found(entity),
        expected,
        "{statement}: {:?}",
        entity.differences
    );
    let loss = report.loss_percentage.expect("a loss");
    assert_eq!(loss > 0.0, entity.missing > 0, "{statement}");
    let all = entity.source_rows - entity.empty;
    assert_eq!(loss >= 100.0, entity.missing == all, "{statement}");
}

#[tokio::test]
async fn a_column_that_is_gone_leaves_it_unverified() {
    let mut subject = Subject::new("sqlite").await;
    subject.reset().await;
    subject
        .source
        .run("ALTER TABLE notes DROP COLUMN body")
        .await;
    let report = subject.validate().await;
    assert_eq!(report.verdict, Verdict::Unverified);
    assert_eq!(report.loss_percentage, None);
    assert!(
        report
            .checks
            .iter()
            .any(|check| !check.passed && check.name.contains("notes"))
    );
}

#[tokio::test]
async fn nothing_on_both_sides_is_not_validated() {
    let mut subject = Subject::new("sqlite").await;
    subject.reset().await;
    subject.source.run("DELETE FROM notes").await;
    subject
        .target
        .execute("TRUNCATE documents, documents_quarantine")
        .await
        .expect("no documents");
    let report = subject.validate().await;
    assert_eq!(report.verdict, Verdict::Unverified, "{}", report.reason);
    assert_eq!(report.loss_percentage, None);
}

#[tokio::test]
async fn a_source_that_moved_is_named_in_the_reason() {
    let mut subject = Subject::new("sqlite").await;
    subject.reset().await;
    let row = "INSERT INTO notes VALUES (13, 'new', 'row', 1, NULL)";
    subject.source.run(row).await;
    let comparison = reconcile::compare(
        &subject.plan,
        &subject.source_url,
        &subject.target_url,
        Vectors::default(),
        &|_| (),
    )
    .await
    .expect("both sides can be read");
    let entity: Value = json!({"entity": "notes", "source_rows": ROWS, "documents": 10, "chunks": 11, "embedded": 11,
        "unchanged": 0, "empty": 1, "quarantined": 1, "removed": 0, "kept": 0, "lost": 0});
    let migration = json!({"snapshot_at": "2026-01-01T00:00:00Z", "dimensions": DIMENSIONS, "entities": [entity], "shard": "1/1", "open_shards": [], "passes": 1,
        "tokens": 1, "requests": 1, "retries": 0, "seconds": 1.0});
    let execution = ExecutionReport {
        mode: ExecutionMode::Process,
        simulated: false,
        exit_code: Some(3),
        migration: serde_json::from_value(migration).expect("a report"),
        error_lines: Vec::new(),
        seconds: 1.0,
    };
    let report = verdict::conclude(Vec::new(), comparison, Some(&execution));
    assert_eq!(report.verdict, Verdict::Mismatched);
    assert!(
        report.reason.contains("`notes` had 12 rows and has 13"),
        "{}",
        report.reason
    );
}

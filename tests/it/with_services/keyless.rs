//! Rows without a key, in each source: the validator counts equal rows on both sides. The target is filled by this test's own code.

use std::fmt::Write as _;

use relvec::model::job::OnDelete;
use relvec::model::plan::MigrationPlan;
use relvec::model::validation::{Identity, ValidationReport, Verdict};
use relvec::reconcile::{self, Vectors, verdict};
use relvec::source::canonical::{chunk_id, content_hash};
use relvec::source::{self, fan_out};
use secrecy::SecretString;
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::services::{Source, postgres_url};

const TABLES: &str = "
CREATE TABLE authors(id int PRIMARY KEY, name varchar(50));
CREATE TABLE log(body varchar(200), stars int, author_id int, note varchar(50));
INSERT INTO authors VALUES (1, 'Ada'), (2, 'Bo');
INSERT INTO log VALUES ('twice', 5, 1, NULL), ('once', 1, 2, 'n'), ('twice', 5, 1, NULL), ('twice', 6, 1, NULL),
  (NULL, 1, NULL, NULL), (NULL, 1, NULL, NULL), ('twice ', 5, 1, NULL), ('Twice', 5, 1, NULL);";

/// The rows of `log` that have a document: the texts of their values, and how often each is there.
const ROWS: [([Option<&str>; 4], u32); 5] = [
    ([Some("twice"), Some("5"), Some("1"), None], 2),
    ([Some("twice"), Some("6"), Some("1"), None], 1),
    ([Some("once"), Some("1"), Some("2"), Some("n")], 1),
    ([Some("twice "), Some("5"), Some("1"), None], 1),
    ([Some("Twice"), Some("5"), Some("1"), None], 1),
];

struct Subject {
    // Removed with everything in it when the test ends.
    _folder: tempfile::TempDir,
    source: Source,
    source_url: SecretString,
    target: PgConnection,
    target_url: SecretString,
    plan: MigrationPlan,
}

/// The row hash, by this test's own code.
fn row_hash(row: &[Option<&str>]) -> String {
    let mut bytes = Vec::new();
    for value in row {
        match value {
            Some(text) => {
                bytes.push(b'T');
                bytes.extend((text.len() as u64).to_be_bytes());
                bytes.extend(text.as_bytes());
            }
            None => bytes.push(b'N'),
        }
    }
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a text grows");
        hex
    })
}

fn plan(dialect: &str, schema: Option<&str>) -> MigrationPlan {
    let field = |label: &str, alias: &str, column: &str| {
        json!({"section": "field", "label": label, "score": 1.0, "reasons": [],
               "source": {"alias": alias, "column": column, "data_type": "text"}})
    };
    let column = |name: &str, kind: &str| json!({"name": name, "data_type": kind});
    serde_json::from_value(json!({
        "version": 1, "dialect": dialect, "database": "d", "runtime": "script",
        "target": {"schema": "public", "table": "documents"},
        "embedding": {"provider": "relvec", "base_url": "http://127.0.0.1:1/v1", "model": "m", "dimensions": 3, "api_key_env": null,
                      "batch_items": 8, "batch_tokens": 1000, "concurrency": 1, "chunk_tokens": 100},
        "entities": [{
            "name": "log", "root": {"schema": schema, "name": "log"}, "row_count": 8, "reasons": [], "key": [],
            "row": [column("body", "text"), column("stars", "integer"), column("author_id", "integer"), column("note", "text")],
            "parents": [{"alias": "p1", "left": "r", "table": {"schema": schema, "name": "authors"},
                         "on": [{"from": "author_id", "to": "id"}], "unique_key": ["id"]}],
            "sections": [field("Author", "p1", "name"), field("Body", "r", "body")],
            "metadata": [{"name": "stars", "source": {"alias": "r", "column": "stars", "data_type": "integer"}}]
        }],
        "left_out": [], "ranking": [], "estimate": {"documents": 8, "chunks": 8, "tokens": 1, "requests": 1}
    }))
    .expect("a plan")
}

impl Subject {
    async fn new(dialect: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut source, url, schema) = Source::new(dialect, folder.path()).await;
        source.run(TABLES).await;
        let target_url = postgres_url().await;
        let mut target = PgConnection::connect(&target_url).await.expect("a target");
        sqlx::raw_sql(
            "CREATE EXTENSION vector;
             CREATE TABLE documents (id uuid PRIMARY KEY, entity text NOT NULL, source_key jsonb NOT NULL,
               chunk integer NOT NULL, content text NOT NULL, content_hash bytea NOT NULL, embedding vector(3) NOT NULL,
               metadata jsonb NOT NULL, model text NOT NULL, migrated_at timestamptz NOT NULL DEFAULT now());
             CREATE INDEX ON documents USING hnsw (embedding vector_cosine_ops)",
        )
        .execute(&mut target)
        .await
        .expect("an empty target");
        Self {
            _folder: folder,
            source,
            source_url: url.into(),
            target,
            target_url: target_url.into(),
            plan: plan(dialect, schema.as_deref()),
        }
    }

    /// Fills the target anew.
    async fn fill(&mut self) {
        self.target
            .execute("TRUNCATE documents")
            .await
            .expect("an empty target");
        for (row, times) in ROWS {
            for occurrence in 1..=times {
                self.add(row, occurrence).await;
            }
        }
    }

    async fn add(&mut self, row: [Option<&str>; 4], occurrence: u32) {
        let key = [row_hash(&row), occurrence.to_string()];
        let author = if row[2] == Some("1") { "Ada" } else { "Bo" };
        let content = format!("Author: {author}\nBody: {}", row[0].expect("a text").trim());
        let stars = row[1].map(str::to_owned);
        sqlx::query("INSERT INTO documents VALUES ($1, 'log', $2, 0, $3, $4, '[1,2,3]', $5, 'm')")
            .bind(chunk_id("log", key.iter().map(String::as_bytes), 0))
            .bind(json!({"row": key[0], "occurrence": key[1]}))
            .bind(&content)
            .bind(content_hash(&content, [stars.as_deref().map(str::as_bytes)]).as_slice())
            .bind(json!({"stars": stars.map(|stars| stars.parse::<u32>().expect("a number"))}))
            .execute(&mut self.target)
            .await
            .expect("a target row");
    }

    async fn validate(&self) -> ValidationReport {
        let comparison = reconcile::compare(
            &self.plan,
            &self.source_url,
            &self.target_url,
            Vectors::default(),
            &|_| (),
        )
        .await
        .expect("both sides can be read");
        verdict::conclude(Vec::new(), comparison, None)
    }
}

/// Counts of documents that are missing, extra, kept and changed.
fn found(report: &ValidationReport) -> [u64; 4] {
    let entity = &report.entities[0];
    [entity.missing, entity.extra, entity.kept, entity.changed]
}

const OF_TWICE: &str = "source_key ->> 'occurrence' = '2'";

/// Statements on the target, each with what must be found after it.
const TARGET: &[(&str, [u64; 4])] = &[
    ("DELETE FROM documents WHERE source_key ->> 'occurrence' = '2'", [1, 0, 0, 0]),
    ("DELETE FROM documents WHERE metadata ->> 'stars' = '5'", [4, 0, 0, 0]),
    ("UPDATE documents SET source_key = source_key || '{\"occurrence\": \"3\"}' WHERE source_key ->> 'occurrence' = '2'", [1, 1, 0, 0]),
    ("UPDATE documents SET source_key = source_key || '{\"occurrence\": 2}' WHERE source_key ->> 'occurrence' = '2'", [1, 1, 0, 0]),
    ("UPDATE documents SET source_key = source_key - 'occurrence' WHERE source_key ->> 'occurrence' = '2'", [1, 1, 0, 0]),
    ("UPDATE documents SET content = 'Author: Ada' WHERE source_key ->> 'occurrence' = '2'", [0, 0, 0, 1]),
    ("UPDATE documents SET id = gen_random_uuid() WHERE source_key ->> 'occurrence' = '2'", [0, 0, 0, 1]),
    ("INSERT INTO documents SELECT gen_random_uuid(), entity, source_key || '{\"occurrence\": \"3\"}', chunk, content, content_hash, embedding,
      metadata, model FROM documents WHERE source_key ->> 'occurrence' = '2'", [0, 1, 0, 0]),
];

/// Statements on the source, one after the other, each with what must be found after it.
const SOURCE: &[(&str, [u64; 4])] = &[
    ("INSERT INTO log VALUES ('twice', 5, 1, NULL)", [1, 0, 0, 0]),
    (
        "INSERT INTO log VALUES ('twice', 5, 1, 'twice')",
        [2, 0, 0, 0],
    ),
    ("DELETE FROM log WHERE note = 'twice'", [1, 0, 0, 0]),
    ("DELETE FROM log WHERE stars = 5", [0, 4, 0, 0]),
    (
        "UPDATE log SET body = 'changed' WHERE stars = 6",
        [1, 5, 0, 0],
    ),
    // A parent's name is no part of the row.
    ("UPDATE authors SET name = 'Zoe' WHERE id = 2", [1, 5, 0, 1]),
];

async fn every_change_is_found(dialect: &str) {
    let mut subject = Subject::new(dialect).await;
    subject.fill().await;
    let report = subject.validate().await;
    assert_eq!(
        report.verdict,
        Verdict::Validated,
        "{dialect}: {}",
        report.reason
    );
    assert!(
        report
            .reason
            .contains("without a key, so that equal rows were counted: `log`"),
        "{}",
        report.reason
    );
    let entity = &report.entities[0];
    assert_eq!(
        (
            entity.identity,
            entity.source_rows,
            entity.documents,
            entity.empty
        ),
        (Identity::Row, 8, 6, 2)
    );
    for (statement, expected) in TARGET {
        subject.fill().await;
        let changed = subject.target.execute(AssertSqlSafe(*statement)).await;
        assert!(changed.expect(statement).rows_affected() > 0, "{statement}");
        let report = subject.validate().await;
        assert_eq!(
            report.verdict,
            Verdict::Mismatched,
            "{dialect}: {statement}"
        );
        assert_eq!(
            found(&report),
            *expected,
            "{dialect}: {statement}: {:?}",
            report.entities[0].differences
        );
    }
    subject.fill().await;
    for (statement, expected) in SOURCE {
        subject.source.run(statement).await;
        let report = subject.validate().await;
        assert_eq!(
            report.verdict,
            Verdict::Mismatched,
            "{dialect}: {statement}"
        );
        assert_eq!(
            found(&report),
            *expected,
            "{dialect}: {statement}: {:?}",
            report.entities[0].differences
        );
    }
}

#[tokio::test]
async fn a_multiset_in_sqlite_is_compared_row_by_row() {
    every_change_is_found("sqlite").await;
}

#[tokio::test]
async fn a_multiset_in_postgres_is_compared_row_by_row() {
    every_change_is_found("postgres").await;
}

#[tokio::test]
async fn a_multiset_in_mariadb_is_compared_row_by_row() {
    every_change_is_found("mysql").await;
}

#[tokio::test]
async fn documents_of_deleted_rows_are_kept_where_the_job_says_so() {
    let mut subject = Subject::new("sqlite").await;
    subject.fill().await;
    subject.source.run("DELETE FROM log WHERE stars = 5").await;
    let report = subject.validate().await;
    assert_eq!(
        (report.verdict, found(&report)),
        (Verdict::Mismatched, [0, 4, 0, 0])
    );
    subject.plan.target.on_delete = OnDelete::Keep;
    let report = subject.validate().await;
    assert_eq!(
        (report.verdict, found(&report)),
        (Verdict::Validated, [0, 0, 4, 0]),
        "{}",
        report.reason
    );
    assert!(
        report
            .reason
            .contains("4 documents of rows that are gone are kept"),
        "{}",
        report.reason
    );
    assert_eq!(report.loss_percentage, Some(0.0));
    // What has not the id of its key is no document of a row that was there once.
    let forged = format!("UPDATE documents SET id = gen_random_uuid() WHERE {OF_TWICE}");
    subject
        .target
        .execute(AssertSqlSafe(forged))
        .await
        .expect("forged");
    let report = subject.validate().await;
    assert_eq!(
        (report.verdict, found(&report)),
        (Verdict::Mismatched, [0, 1, 3, 0])
    );
    // Kept documents alone prove nothing.
    subject.fill().await;
    subject.source.run("DELETE FROM log").await;
    let report = subject.validate().await;
    assert_eq!(
        (report.verdict, found(&report)),
        (Verdict::Unverified, [0, 0, 6, 0])
    );
}

#[tokio::test]
async fn a_join_that_would_multiply_rows_is_refused_in_each_source() {
    for (dialect, doubled) in [
        (
            "sqlite",
            "ALTER TABLE authors RENAME TO old; CREATE TABLE authors(id int, name varchar(50)); INSERT INTO authors SELECT * FROM old;
             INSERT INTO authors VALUES (1, 'Ada again')",
        ),
        (
            "postgres",
            "ALTER TABLE authors DROP CONSTRAINT authors_pkey; INSERT INTO authors VALUES (1, 'Ada again')",
        ),
        (
            "mysql",
            "ALTER TABLE authors DROP PRIMARY KEY; INSERT INTO authors VALUES (1, 'Ada again')",
        ),
    ] {
        let mut subject = Subject::new(dialect).await;
        subject.fill().await;
        let driver = source::open(&subject.source_url).expect("opens");
        fan_out::refuse(driver.as_ref(), &subject.plan)
            .await
            .expect("the key is there");
        subject.source.run(doubled).await;
        let error = fan_out::refuse(driver.as_ref(), &subject.plan)
            .await
            .expect_err("the key is gone");
        let text = error.to_string();
        assert!(text.contains("`log` joins") && text.contains("(id)"), "{text}");
        assert!(!error.hints().is_empty());
        let report = subject.validate().await;
        assert_eq!(report.verdict, Verdict::Unverified, "{}", report.reason);
        assert!(report.reason.contains("could be multiplied"), "{}", report.reason);
        assert!(report.entities.is_empty());
    }
}

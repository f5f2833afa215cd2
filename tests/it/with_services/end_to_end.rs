//! The default graph from a source to pgvector: every row arrives, and running it again changes nothing.

use serde_json::Value;
use sqlx::{Connection, PgConnection};

use crate::relvec::{Relvec, job, mariadb, postgres, shop_sql, sqlite, stage};
use crate::services::{mariadb_url, postgres_source_url, postgres_url};

/// Asserts that a run moved the shop whole, and gives the number of chunks in the target.
async fn assert_whole(run: &Value, code: i32, target: &str) -> i64 {
    assert_eq!(code, 0, "{run:#}");
    assert_eq!(run["status"], "succeeded");
    let validation = &run["validation_report"];
    assert_eq!(validation["verdict"], "validated", "{validation:#}");
    assert_eq!(validation["loss_percentage"], 0.0);
    let mut connection = PgConnection::connect(target).await.unwrap();
    let entities = validation["entities"].as_array().unwrap();
    let names: Vec<&str> = entities
        .iter()
        .filter_map(|entity| entity["entity"].as_str())
        .collect();
    assert_eq!(names, ["orders", "products"]);
    for (entity, rows) in entities.iter().zip([240, 60]) {
        assert_eq!(entity["source_rows"], rows);
        let documents = entity["documents"].as_i64().unwrap();
        assert_eq!(
            documents + entity["empty"].as_i64().unwrap(),
            rows,
            "one document a root row"
        );
        for kind in ["missing", "extra", "changed", "bad_vectors", "quarantined"] {
            assert_eq!(entity[kind], 0, "{kind} in {entity}");
        }
        let stored: i64 = sqlx::query_scalar(
            "SELECT count(DISTINCT source_key) FROM relvec_documents WHERE entity = $1",
        )
        .bind(entity["entity"].as_str())
        .fetch_one(&mut connection)
        .await
        .unwrap();
        assert_eq!(stored, documents);
    }
    sqlx::query_scalar("SELECT count(*) FROM relvec_documents")
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

/// Gives everything that a second run must not touch.
async fn fingerprint(target: &str) -> String {
    let mut connection = PgConnection::connect(target).await.unwrap();
    sqlx::query_scalar(
        "SELECT md5(string_agg(id::text || migrated_at::text || content || embedding::text, ',' ORDER BY id)) \
         FROM relvec_documents",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap()
}

async fn twice(source: &str) {
    let relvec = Relvec::new();
    let target = postgres_url().await;
    let (code, first) = relvec.run(&job(source, &target));
    let chunks = assert_whole(&first, code, &target).await;
    let before = fingerprint(&target).await;

    let (code, second) = relvec.run(&job(source, &target));
    assert_eq!(assert_whole(&second, code, &target).await, chunks);
    let migration = &second["execution_report"]["migration"];
    for entity in migration["entities"].as_array().unwrap() {
        assert_eq!(entity["embedded"], 0, "{entity}");
    }
    assert_eq!(fingerprint(&target).await, before);

    let script = |run: &Value| std::fs::read(relvec.artifacts(run).join("migrate.py")).unwrap();
    assert_eq!(
        script(&first),
        script(&second),
        "the same job gives the same script"
    );
}

#[tokio::test]
async fn sqlite_arrives_whole_and_again_is_a_no_op() {
    let relvec = Relvec::new();
    let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    twice(&source).await;
}

#[tokio::test]
async fn postgres_arrives_whole_and_again_is_a_no_op() {
    let source = postgres_source_url().await;
    postgres(&source, &shop_sql()).await;
    twice(&source).await;
}

#[tokio::test]
async fn mariadb_arrives_whole_and_again_is_a_no_op() {
    let source = mariadb_url().await;
    mariadb(&source, &shop_sql()).await;
    twice(&source).await;
}

/// A key of a text, a label, a number beyond 64 bits with a sign, bytes and a day that is none; more rows than a page holds, and
/// every third with children.
fn parts_sql() -> String {
    use std::fmt::Write as _;
    let key = "shelf VARCHAR(20) NOT NULL, size ENUM('small', 'large', 'huge') NOT NULL, no BIGINT UNSIGNED NOT NULL, \
               tag BINARY(4) NOT NULL, day DATE NOT NULL";
    let mut sql = format!(
        "CREATE TABLE parts ({key}, description TEXT, price DECIMAL(12, 3), weight FLOAT, flag BIT(3), code INT(6) ZEROFILL, \
         PRIMARY KEY (shelf, size, no, tag, day)) DEFAULT CHARSET = utf8mb4;\n\
         CREATE TABLE part_notes (id INT AUTO_INCREMENT PRIMARY KEY, {key}, note TEXT NOT NULL, \
         FOREIGN KEY (shelf, size, no, tag, day) REFERENCES parts (shelf, size, no, tag, day));\n"
    );
    let shelves = ["a", "A b", "ä", "it''s", "100%", "back\\slash"];
    let (mut parts, mut notes) = (Vec::new(), Vec::new());
    for n in 0..5_000_u64 {
        let part = usize::try_from(n).expect("a small number");
        let no = [u64::MAX - n, n, 9_007_199_254_740_993 + n][part % 3];
        let key = format!(
            "'{}', '{}', {no}, 0x{:08x}, '{}'",
            shelves[part % shelves.len()],
            ["small", "large", "huge"][part % 3],
            n * 2_654_435_761 % (1 << 32),
            ["0000-00-00", "2024-02-29", "1999-12-31"][part % 3],
        );
        parts.push(format!(
            "({key}, 'A sturdy bracket number {n} that holds a heavy shelf on a brick wall.', {n}.250, {n} / 7, b'101', {})",
            n % 1000
        ));
        if n % 3 == 0 {
            notes.extend((0..=n % 4).map(|k| {
                format!("({key}, 'Note {k} of {n}: the screws were missing and came later.')")
            }));
        }
    }
    for rows in parts.chunks(1000) {
        let _ = writeln!(sql, "INSERT INTO parts VALUES {};", rows.join(", "));
    }
    for rows in notes.chunks(1000) {
        let columns = "shelf, size, no, tag, day, note";
        let _ = writeln!(
            sql,
            "INSERT INTO part_notes ({columns}) VALUES {};",
            rows.join(", ")
        );
    }
    sql
}

#[tokio::test]
async fn every_sort_of_key_of_mariadb_arrives() {
    let relvec = Relvec::new();
    let (source, target) = (mariadb_url().await, postgres_url().await);
    mariadb(&source, &parts_sql()).await;
    let (code, run) = relvec.run(&job(&source, &target));
    assert_eq!(code, 0, "{run:#}");
    let entities = &run["validation_report"]["entities"];
    assert_eq!(entities[0]["entity"], "parts");
    assert_eq!(entities[0]["documents"], 5000);
    let mut connection = PgConnection::connect(&target).await.unwrap();
    let notes: i64 = sqlx::query_scalar(
        "SELECT sum(regexp_count(content, 'Note [0-9] of')) FROM relvec_documents",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(notes, (0..5000).step_by(3).map(|n| n % 4 + 1).sum::<i64>());
    let zero: String = sqlx::query_scalar(
        "SELECT source_key ->> 'day' FROM relvec_documents WHERE source_key ->> 'no' = '18446744073709551615'",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(zero, "0000-00-00");
}

#[tokio::test]
async fn a_number_that_two_versions_of_sqlite_write_differently_is_no_mismatch() {
    use std::fmt::Write as _;
    let relvec = Relvec::new();
    let mut sql = String::from(
        "CREATE TABLE places (id INTEGER PRIMARY KEY, notes TEXT NOT NULL, latitude REAL NOT NULL);\n",
    );
    for (id, latitude) in ["98.6104751489408", "0.1", "1e300", "-4.35e-7", "100.0"]
        .iter()
        .enumerate()
    {
        let _ = writeln!(
            sql,
            "INSERT INTO places VALUES ({id}, 'A quiet place by the river with benches in the shade.', {latitude});"
        );
    }
    // 2,000 numbers with all their digits.
    let _ = writeln!(
        sql,
        "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) \
         INSERT INTO places SELECT i, 'Another place, up the hill, where the wind is strong.', 180.0 * i / 7919.0 FROM n;"
    );
    let source = sqlite(&relvec.path("places.db"), &sql).await;
    let (code, run) = relvec.run(&job(&source, &postgres_url().await));
    assert_eq!(code, 0, "{:#}", run["validation_report"]);
    let plan = std::fs::read_to_string(relvec.artifacts(&run).join("plan.json")).unwrap();
    assert!(plan.contains("latitude"), "the number is in the metadata");
}

#[tokio::test]
async fn a_change_in_the_source_is_embedded_again_and_a_deletion_is_removed() {
    let relvec = Relvec::new();
    let source = postgres_source_url().await;
    postgres(&source, &shop_sql()).await;
    let target = postgres_url().await;
    let (code, first) = relvec.run(&job(&source, &target));
    assert_whole(&first, code, &target).await;
    postgres(
        &source,
        "UPDATE products SET description = 'Something else entirely, for a picnic by the sea.' WHERE id = 7;
         DELETE FROM order_lines WHERE order_id = 5; DELETE FROM orders WHERE id = 5",
    )
    .await;
    let (code, second) = relvec.run(&job(&source, &target));
    assert_eq!(code, 0, "{second:#}");
    let entities = second["validation_report"]["entities"].as_array().unwrap();
    assert_eq!(entities[0]["source_rows"], 239);
    let report = second["execution_report"]["migration"]["entities"]
        .as_array()
        .unwrap();
    assert_eq!(report[0]["removed"], 1, "{report:?}");
    assert_eq!(report[1]["embedded"], 1, "{report:?}");
}

#[tokio::test]
async fn no_secret_and_no_password_column_is_shown_or_kept() {
    let relvec = Relvec::new();
    let source = postgres_source_url().await;
    postgres(&source, &shop_sql()).await;
    let target = postgres_url().await;
    let (code, run) = relvec.run(&job(&source, &target));
    assert_eq!(code, 0, "{run:#}");
    let password = source.split([':', '@']).nth(2).unwrap();
    assert!(!run.to_string().contains(password));
    let kept = relvec.call(&["runs", "events", run["run_id"].as_str().unwrap()]);
    assert!(!kept.stdout.contains(password));
    for entry in std::fs::read_dir(relvec.artifacts(&run)).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains(password));
    }
    let mut connection = PgConnection::connect(&target).await.unwrap();
    let hashes: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM relvec_documents WHERE content || metadata::text LIKE '%c4n4ry%'",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(hashes, 0, "password hashes are never in text or metadata");
    assert_eq!(stage(&run, "run_validation")["status"], "succeeded");
}

use futures::TryStreamExt;
use secrecy::SecretString;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;

use crate::error::ErrorKind;
use crate::model::metadata::{DataType, RawMetadata, TableKind};
use crate::source::{Selection, open};

/// Makes a SQLite file from a script.
pub(crate) async fn database(script: &'static str) -> (TempDir, SecretString) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop.db");
    let mut connection = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .foreign_keys(false)
        .connect()
        .await
        .expect("a new file");
    sqlx::raw_sql(script)
        .execute(&mut connection)
        .await
        .expect("the script is valid");
    sqlx::Connection::close(connection).await.expect("closed");
    let url = SecretString::from(format!("sqlite:{}", path.display()));
    (folder, url)
}

fn all(sample_rows: u32) -> Selection {
    Selection {
        sample_rows,
        ..Selection::default()
    }
}

async fn collect(script: &'static str, sample_rows: u32) -> (RawMetadata, Vec<String>) {
    let (_folder, url) = database(script).await;
    let driver = open(&url).expect("opens");
    let collected = driver.collect(&all(sample_rows)).await.expect("collects");
    (collected.metadata, collected.notes)
}

fn table<'a>(metadata: &'a RawMetadata, name: &str) -> &'a crate::model::metadata::TableMetadata {
    let found = metadata
        .tables
        .iter()
        .find(|table| table.table.name == name);
    found.unwrap_or_else(|| panic!("no table {name}"))
}

#[tokio::test]
async fn reads_keys_types_and_counts() {
    let (metadata, notes) = collect(
        "CREATE TABLE parent(b INT NOT NULL, a TEXT NOT NULL, PRIMARY KEY(a, b)) WITHOUT ROWID;
         CREATE TABLE \"Child;--\"(id INTEGER PRIMARY KEY, pa TEXT, pb INT, code VARCHAR(9) UNIQUE, at DATETIME,
           low INT, half INT GENERATED ALWAYS AS (low / 2),
           FOREIGN KEY(pa, pb) REFERENCES PARENT);
         CREATE UNIQUE INDEX partial ON \"Child;--\"(low) WHERE low > 1;
         CREATE UNIQUE INDEX expression ON \"Child;--\"(lower(code));
         CREATE VIEW fine AS SELECT id, 'x' || id AS label FROM \"Child;--\";
         CREATE VIEW broken AS SELECT * FROM gone;
         INSERT INTO parent VALUES(1, 'x'), (2, 'x');
         INSERT INTO \"Child;--\"(pa, pb, code) VALUES('x', 1, 'A'), ('x', 2, 'B'), (NULL, NULL, NULL);",
        10,
    )
    .await;
    let names: Vec<&str> = metadata
        .tables
        .iter()
        .map(|t| t.table.name.as_str())
        .collect();
    assert_eq!(names, ["Child;--", "fine", "parent"]);
    assert!(
        notes.iter().any(|note| note.contains("`broken`")),
        "{notes:?}"
    );
    let parent = table(&metadata, "parent");
    assert_eq!(parent.primary_key, ["a", "b"]);
    assert_eq!(parent.row_count, 2);
    assert_eq!(parent.sample_rows.len(), 2);
    let child = table(&metadata, "Child;--");
    assert_eq!(child.primary_key, ["id"]);
    assert_eq!(child.unique_keys, [["code"]]);
    let [key] = child.foreign_keys.as_slice() else {
        panic!("one foreign key, not {:?}", child.foreign_keys);
    };
    assert_eq!(key.columns, ["pa", "pb"]);
    assert_eq!(key.to.name, "parent");
    assert_eq!(key.to_columns, ["a", "b"]);
    let types: Vec<DataType> = child
        .columns
        .iter()
        .map(|column| column.data_type)
        .collect();
    assert_eq!(
        types[..5],
        [
            DataType::Integer,
            DataType::Text,
            DataType::Integer,
            DataType::Text,
            DataType::Timestamp
        ]
    );
    assert!(child.columns[6].generated);
    assert!(!child.columns[0].nullable);
    let view = table(&metadata, "fine");
    assert_eq!(view.kind, TableKind::View);
    assert_eq!(view.columns[1].data_type, DataType::Text);
}

#[tokio::test]
async fn odd_values_arrive_tagged() {
    let (metadata, _) = collect(
        "CREATE TABLE odd(v);
         INSERT INTO odd VALUES(NULL), (7), (9e999), (x'00ff'), (CAST(x'61ff' AS TEXT)), ('it''s'), (1.5);",
        10,
    )
    .await;
    let values: Vec<String> = metadata.tables[0]
        .sample_rows
        .iter()
        .map(|row| row[0].to_string())
        .collect();
    assert_eq!(
        values,
        [
            "null",
            "7",
            "{\"$type\":\"float\",\"value\":\"Inf\"}",
            "{\"$type\":\"bytes\",\"length\":2}",
            "{\"$type\":\"invalid_utf8\",\"value\":\"a\u{fffd}\"}",
            "\"it's\"",
            "1.5",
        ]
    );
}

#[tokio::test]
async fn a_sample_is_spread_over_a_large_table() {
    let (metadata, _) = collect(
        "CREATE TABLE many(id INTEGER PRIMARY KEY, rowid TEXT);
         INSERT INTO many(id) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
           SELECT i FROM n;",
        10,
    )
    .await;
    let ids: Vec<i64> = metadata.tables[0]
        .sample_rows
        .iter()
        .filter_map(|row| row[0].as_i64())
        .collect();
    assert_eq!(metadata.tables[0].row_count, 5000);
    assert_eq!(ids.len(), 10);
    assert!(ids[0] == 1 && ids[9] > 4000, "{ids:?}");
}

#[tokio::test]
async fn a_key_with_null_is_no_key() {
    let (metadata, notes) = collect(
        "CREATE TABLE loose(id TEXT PRIMARY KEY, body TEXT);
         INSERT INTO loose VALUES('a', 'x'), (NULL, 'y');",
        10,
    )
    .await;
    assert!(metadata.tables[0].primary_key.is_empty());
    assert!(notes[0].contains("NULL"), "{notes:?}");
}

#[tokio::test]
async fn what_is_not_a_readable_database_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("text.db");
    std::fs::write(&text, "this is a text file, not a database").expect("written");
    let at = |path: &std::path::Path| SecretString::from(format!("sqlite:{}", path.display()));
    for (path, kind, words) in [
        (
            folder.path().join("gone.db"),
            ErrorKind::NotFound,
            "there is no file",
        ),
        (folder.path().to_path_buf(), ErrorKind::Invalid, "a folder"),
        (text, ErrorKind::Invalid, "is not a SQLite database"),
        ("/dev/null".into(), ErrorKind::Invalid, "a pipe or a device"),
    ] {
        let error = open(&at(&path)).err().expect("refused");
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.hints().is_empty());
    }
}

#[tokio::test]
async fn the_source_cannot_be_written() {
    let (_folder, url) = database("CREATE TABLE t(a); INSERT INTO t VALUES(1);").await;
    let url = super::super::ConnectionUrl::parse(secrecy::ExposeSecret::expose_secret(&url));
    let url = url.expect("valid");
    let path = url.sqlite_path().expect("SQLite");
    let mut session = super::Session::open(path).await.expect("connects");
    let written = sqlx::query("DELETE FROM t")
        .execute(&mut session.connection)
        .await;
    assert!(written.is_err());
}

#[tokio::test]
async fn documents_have_parents_children_and_metadata() {
    let (_folder, url) = database(
        "CREATE TABLE customers(id INTEGER PRIMARY KEY, name TEXT);
         CREATE TABLE products(id INTEGER PRIMARY KEY, name TEXT);
         CREATE TABLE orders(id INTEGER PRIMARY KEY, customer_id INT, notes TEXT, total NUMERIC);
         CREATE TABLE lines(order_id INT, no INT, product_id INT, quantity INT, PRIMARY KEY(order_id, no));
         INSERT INTO customers VALUES(1, ' Ada ');
         INSERT INTO products VALUES(1, 'Tea'), (2, ' ');
         INSERT INTO orders VALUES(2, 1, 'Ring twice', 1.5), (10, NULL, '  ', NULL), (9, 77, NULL, 2);
         INSERT INTO lines VALUES(2, 2, 1, 3), (2, 1, 2, NULL), (2, 10, 1, 4), (9, 1, 2, 5), (99, 1, 1, 1);",
    )
    .await;
    let entity = serde_json::from_value(serde_json::json!({
        "name": "orders", "root": {"schema": null, "name": "orders"},
        "key": [{"name": "id", "data_type": "integer"}], "row_count": 3, "reasons": [],
        "parents": [{"alias": "p1", "left": "r", "table": {"schema": null, "name": "customers"},
                     "on": [{"from": "customer_id", "to": "id"}]}],
        "sections": [
            {"section": "field", "label": "Customer", "score": 1.0, "reasons": [],
             "source": {"alias": "p1", "column": "name", "data_type": "text"}},
            {"section": "children", "label": "Lines", "table": {"schema": null, "name": "lines"},
             "on": [{"from": "order_id", "to": "id"}],
             "parents": [{"alias": "p2", "left": "c", "table": {"schema": null, "name": "products"},
                          "on": [{"from": "product_id", "to": "id"}]}],
             "columns": [{"alias": "p2", "column": "name", "data_type": "text"},
                         {"alias": "c", "column": "quantity", "data_type": "integer"}],
             "order_by": [{"name": "order_id", "data_type": "integer"}, {"name": "no", "data_type": "integer"}],
             "reasons": []},
            {"section": "field", "label": "Notes", "score": 1.0, "reasons": [],
             "source": {"alias": "r", "column": "notes", "data_type": "text"}}],
        "metadata": [{"name": "total", "source": {"alias": "r", "column": "total", "data_type": "decimal"}}],
    }))
    .expect("a plan");
    let mut snapshot = open(&url)
        .expect("opens")
        .snapshot()
        .await
        .expect("a snapshot");
    let documents: Vec<_> = snapshot
        .documents(&entity)
        .try_collect()
        .await
        .expect("documents");
    let seen: Vec<(&str, &str, Option<&str>)> = documents
        .iter()
        .map(|d| {
            (
                d.key[0].as_str(),
                d.content.as_str(),
                d.metadata[0].as_deref(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("10", "", None),
            (
                "2",
                "Customer: Ada\nLines:\n- Tea | 3\n- Tea | 4\nNotes: Ring twice",
                Some("1.5")
            ),
            ("9", "Lines:\n- 5", Some("2")),
        ]
    );
    assert!(snapshot.read_at().ends_with('Z'));
}

#[tokio::test]
async fn child_rows_are_in_the_order_of_their_key_s_bytes() {
    let (_folder, url) = database(
        "CREATE TABLE orders(id INTEGER PRIMARY KEY);
         CREATE TABLE lines(order_id INT, code TEXT COLLATE NOCASE PRIMARY KEY);
         INSERT INTO orders VALUES(1);
         INSERT INTO lines VALUES(1, 'a'), (1, 'B'), (1, 'c');",
    )
    .await;
    let entity = serde_json::from_value(serde_json::json!({
        "name": "orders", "root": {"schema": null, "name": "orders"}, "row_count": 1, "reasons": [],
        "key": [{"name": "id", "data_type": "integer"}], "parents": [], "metadata": [],
        "sections": [{"section": "children", "label": "Lines", "table": {"schema": null, "name": "lines"},
                      "on": [{"from": "order_id", "to": "id"}], "parents": [],
                      "columns": [{"alias": "c", "column": "code", "data_type": "text"}],
                      "order_by": [{"name": "code", "data_type": "text"}], "reasons": []}],
    }))
    .expect("a plan");
    let opened = open(&url).expect("opens");
    let mut snapshot = opened.snapshot().await.expect("a snapshot");
    let documents: Vec<_> = snapshot
        .documents(&entity)
        .try_collect()
        .await
        .expect("documents");
    assert_eq!(documents[0].content, "Lines:\n- B\n- a\n- c");
}

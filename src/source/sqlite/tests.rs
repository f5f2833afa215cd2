use futures::TryStreamExt;
use secrecy::SecretString;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;

use crate::error::ErrorKind;
use crate::model::metadata::{
    ColumnMetadata, DataType, Deferrability, Identity, IndexPart, RawMetadata, ReferentialAction,
    TableKind, TableMetadata,
};
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

fn table<'a>(metadata: &'a RawMetadata, name: &str) -> &'a TableMetadata {
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

fn column<'a>(table: &'a TableMetadata, name: &str) -> &'a ColumnMetadata {
    let found = table.columns.iter().find(|column| column.name == name);
    found.unwrap_or_else(|| panic!("no column {name}"))
}

#[tokio::test]
async fn keys_collations_and_indexes_are_told_in_full() {
    let (metadata, notes) = collect(
        "CREATE TABLE Parent(id INTEGER PRIMARY KEY AUTOINCREMENT, code TEXT COLLATE NOCASE NOT NULL UNIQUE, a INT, b INT, UNIQUE(a, b));
         CREATE TABLE child(id INTEGER PRIMARY KEY DESC, p INT CONSTRAINT \"to p\" REFERENCES PARENT ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
           p2 INT REFERENCES parent(ID) ON UPDATE SET NULL, code TEXT REFERENCES parent(CODE), self INT REFERENCES child(id),
           gone INT REFERENCES missing(x), gone2 INT REFERENCES missing, x INT DEFAULT (1 + 1), y INT,
           CONSTRAINT \"both\" FOREIGN KEY(y, x) REFERENCES Parent(b, a) DEFERRABLE);
         CREATE INDEX odd ON child(lower(code) DESC, x) WHERE y > 1;
         CREATE TABLE plain(a TEXT PRIMARY KEY, b INT) WITHOUT ROWID;
         ALTER TABLE child ADD COLUMN late INT CONSTRAINT latest REFERENCES child(id);",
        10,
    )
    .await;
    let child = table(&metadata, "child");
    let keys: Vec<_> = child
        .foreign_keys
        .iter()
        .map(|key| {
            let name = key.name.as_deref();
            (
                name,
                key.columns.join(","),
                key.to.name.as_str(),
                key.to_columns.join(","),
            )
        })
        .collect();
    let key = |name, from: &str, to, columns: &str| (name, from.to_owned(), to, columns.to_owned());
    assert_eq!(
        keys,
        [
            key(Some("to p"), "p", "Parent", "id"),
            key(None, "p2", "Parent", "id"),
            key(None, "code", "Parent", "code"),
            key(None, "self", "child", "id"),
            key(None, "gone", "missing", "x"),
            // An added column stands before the table's constraints.
            key(Some("latest"), "late", "child", "id"),
            key(Some("both"), "y,x", "Parent", "b,a"),
        ]
    );
    let first = &child.foreign_keys[0];
    assert_eq!(
        (first.on_delete, first.on_update, first.deferrable),
        (
            ReferentialAction::Cascade,
            ReferentialAction::NoAction,
            Deferrability::InitiallyDeferred
        )
    );
    assert_eq!(child.foreign_keys[1].on_update, ReferentialAction::SetNull);
    assert_eq!(
        child.foreign_keys[6].deferrable,
        Deferrability::InitiallyImmediate
    );
    assert_eq!(
        notes
            .iter()
            .filter(|note| note.contains("`missing`"))
            .count(),
        2,
        "{notes:?}"
    );
    check_columns_and_indexes(&metadata);
}

fn check_columns_and_indexes(metadata: &RawMetadata) {
    let (parent, child) = (table(metadata, "Parent"), table(metadata, "child"));
    assert_eq!(column(parent, "id").identity, Some(Identity::ByDefault));
    assert_eq!(column(parent, "code").collation.as_deref(), Some("NOCASE"));
    assert_eq!(parent.unique_keys, [vec!["code"], vec!["a", "b"]]);
    // The quirk of DESC: a key of its own, not the row id.
    assert_eq!(column(child, "id").identity, None);
    assert_eq!(column(child, "x").default.as_deref(), Some("1 + 1"));
    let odd = child
        .indexes
        .iter()
        .find(|index| index.name == "odd")
        .expect("an index");
    let parts = [
        IndexPart::Expression("lower(code)".to_owned()),
        IndexPart::Column("x".to_owned()),
    ];
    assert_eq!(
        (odd.unique, odd.parts.as_slice(), odd.predicate.as_deref()),
        (false, &parts[..], Some("y > 1"))
    );
    assert!(!column(table(metadata, "plain"), "a").nullable);
}

#[tokio::test]
async fn virtual_tables_and_what_they_are_made_of_are_left_out() {
    let (metadata, notes) = collect(
        "CREATE VIRTUAL TABLE search USING fts5(body);
         CREATE TABLE search_notes(id INTEGER PRIMARY KEY);
         CREATE TABLE vectors_chunks(id INTEGER PRIMARY KEY);
         CREATE TABLE vectorstore(id INTEGER PRIMARY KEY);
         PRAGMA writable_schema = ON;
         INSERT INTO sqlite_schema(type, name, tbl_name, rootpage, sql)
           VALUES('table', 'vectors', 'vectors', 0, 'CREATE VIRTUAL TABLE vectors USING vec0(v float[3])');
         PRAGMA writable_schema = OFF;",
        10,
    )
    .await;
    let names: Vec<&str> = metadata
        .tables
        .iter()
        .map(|table| table.table.name.as_str())
        .collect();
    assert_eq!(names, ["search_notes", "vectorstore"]);
    for name in ["search", "vectors", "vectors_chunks"] {
        assert!(
            notes.iter().any(|note| note.contains(&format!("`{name}`"))),
            "{name}: {notes:?}"
        );
    }
}

#[tokio::test]
async fn texts_of_every_sort_are_tagged_or_cut() {
    let (metadata, _) = collect(
        "CREATE TABLE t(v TEXT);
         INSERT INTO t VALUES('a' || char(0) || 'b'), (''), (' '), ('NULL'),
           (replace(hex(zeroblob(3000)), '00', 'é')), (CAST(x'ff' AS TEXT) || replace(hex(zeroblob(3000)), '00', 'y'));
         CREATE TABLE n(v INT);
         INSERT INTO n VALUES('text in a number'), (9223372036854775807);",
        10,
    )
    .await;
    let values: Vec<&serde_json::Value> = table(&metadata, "t")
        .sample_rows
        .iter()
        .map(|row| &row[0])
        .collect();
    assert_eq!(
        values[0],
        &serde_json::json!({"$type": "text_with_nul", "value": "a\0b"})
    );
    assert_eq!(values[1..4], ["", " ", "NULL"]);
    assert_eq!(values[4], &serde_json::json!("é".repeat(2000)));
    assert_eq!(values[5]["$type"], "invalid_utf8");
    assert_eq!(
        values[5]["value"].as_str().map(|text| text.chars().count()),
        Some(2000)
    );
    let numbers = &table(&metadata, "n").sample_rows;
    assert_eq!(numbers[0][0], "text in a number");
    assert_eq!(numbers[1][0], i64::MAX);
}

#[tokio::test]
async fn a_large_table_is_estimated_unless_its_number_is_asked_for() {
    let script = "CREATE TABLE even(id INTEGER PRIMARY KEY, body TEXT);
         INSERT INTO even WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150000) SELECT i * 3, 'x' FROM n;
         CREATE TABLE gaps(id INTEGER PRIMARY KEY);
         INSERT INTO gaps WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120000) SELECT i FROM n;
         INSERT INTO gaps VALUES(1000000000);
         CREATE TABLE plain(k TEXT PRIMARY KEY) WITHOUT ROWID;
         INSERT INTO plain SELECT 'k' || id FROM gaps;
         CREATE TABLE small(id INTEGER PRIMARY KEY); INSERT INTO small VALUES(1), (2);";
    let (_folder, url) = database(script).await;
    let driver = open(&url).expect("opens");
    let metadata = driver.collect(&all(100)).await.expect("collects").metadata;
    let counts = |metadata: &RawMetadata, name: &str| {
        let table = table(metadata, name);
        (table.row_count, table.row_count_exact)
    };
    let (even, exact) = counts(&metadata, "even");
    assert!(!exact && (148_000..152_000).contains(&even), "{even}");
    let (gaps, exact) = counts(&metadata, "gaps");
    assert!(!exact && gaps >= 100_001, "{gaps}");
    assert_eq!(counts(&metadata, "plain"), (120_001, true));
    assert_eq!(counts(&metadata, "small"), (2, true));
    let counted = Selection {
        counts: crate::source::Counts::Exact,
        ..all(0)
    };
    let metadata = driver.collect(&counted).await.expect("collects").metadata;
    assert_eq!(counts(&metadata, "gaps"), (120_001, true));
    assert!(
        metadata
            .tables
            .iter()
            .all(|table| table.sample_rows.is_empty())
    );
}

#[tokio::test]
async fn statistics_alone_open_no_table() {
    let (_folder, url) = database(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a INT); CREATE INDEX i ON t(a);
         INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT i, i FROM n;
         ANALYZE; INSERT INTO t VALUES(501, 1);",
    )
    .await;
    let selection = Selection {
        counts: crate::source::Counts::Statistics,
        ..all(0)
    };
    let collected = open(&url)
        .expect("opens")
        .collect(&selection)
        .await
        .expect("collects");
    let t = table(&collected.metadata, "t");
    assert_eq!((t.row_count, t.row_count_exact), (500, false));
}

#[tokio::test]
async fn the_number_of_catalogue_queries_does_not_depend_on_that_of_tables() {
    let mut counts = Vec::new();
    for tables in [2, 60] {
        let script: Vec<String> = (0..tables)
            .map(|number| {
                format!(
                    "CREATE TABLE t{number}(id INTEGER PRIMARY KEY, n INT UNIQUE REFERENCES t{number}(id));
                     CREATE VIEW v{number} AS SELECT n FROM t{number};"
                )
            })
            .collect();
        let (_folder, url) = database(script.concat().leak()).await;
        let collected = open(&url)
            .expect("opens")
            .collect(&all(1))
            .await
            .expect("collects");
        assert_eq!(collected.metadata.tables.len(), 2 * tables);
        counts.push(collected.catalogue_queries);
    }
    assert!(counts[0] == counts[1] && counts[0] < 10, "{counts:?}");
}

#[tokio::test]
async fn hostile_names_arrive_exactly() {
    let names = [
        "x\"; import os #",
        "'''",
        "a\rb\nc",
        "-- c",
        "/* (",
        "{{7*7}}",
        "100%s",
        "right \u{202e}tfel",
        "snow man ü",
        "select",
        "a.b",
        "[x]",
        "`",
        ",",
    ];
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let script: Vec<String> = names
        .iter()
        .map(|name| {
            let name = quoted(name);
            format!(
                "CREATE TABLE {name}({name} INTEGER PRIMARY KEY, up INT CONSTRAINT {name} REFERENCES {name}({name}) DEFERRABLE);
                 CREATE INDEX {} ON {name}(up, abs({name}));
                 INSERT INTO {name} VALUES(1, 1);",
                quoted(&format!("i {}", name.trim_matches('"')))
            )
        })
        .collect();
    let (metadata, _) = collect(script.concat().leak(), 5).await;
    assert_eq!(metadata.tables.len(), names.len());
    for name in names {
        let table = table(&metadata, name);
        assert_eq!(table.columns[0].name, name);
        let key = &table.foreign_keys[0];
        assert_eq!(
            (key.name.as_deref(), &key.to, key.to_columns[0].as_str()),
            (Some(name), &table.table, name)
        );
        assert_eq!(key.deferrable, Deferrability::InitiallyImmediate);
        assert_eq!(table.indexes[0].parts.len(), 2);
        assert_eq!(table.sample_rows.len(), 1);
    }
}

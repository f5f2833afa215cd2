//! The MySQL driver against a real MariaDB or MySQL.

use std::fmt::Write as _;

use futures::TryStreamExt;
use relvec::error::ErrorKind;
use relvec::model::metadata::{ColumnMetadata, Dialect, Identity, IndexPart, TableMetadata};
use relvec::model::plan::EntityPlan;
use relvec::source::{self, Counts, Selection};
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};

use crate::services::{MysqlVersion, mariadb_url, numbers, user_of};
use crate::sources::{HOSTILE, all, collect, keys, kinds, table};

async fn run(url: &str, script: String) {
    let mut connection = MySqlConnection::connect(url).await.expect("connects");
    sqlx::raw_sql(AssertSqlSafe(script))
        .execute(&mut connection)
        .await
        .expect("the script is valid");
}

/// Makes a database from a script and gives its URL.
async fn database(script: &str) -> String {
    let url = mariadb_url().await;
    run(&url, script.to_owned()).await;
    url
}

fn column<'a>(table: &'a TableMetadata, name: &str) -> &'a ColumnMetadata {
    let found = table.columns.iter().find(|column| column.name == name);
    found.unwrap_or_else(|| panic!("no column {name}"))
}

const TYPES: &str = r#"
SET sql_mode = '';
CREATE TABLE types(
  id bigint unsigned AUTO_INCREMENT PRIMARY KEY, flag tinyint(1), bits bit(64), small tinyint, year year,
  f float, d double, dec1 decimal(10, 3) DEFAULT 1.5, z int(6) zerofill, day date, at datetime(3), span time, ts timestamp NULL,
  short varchar(20) DEFAULT 'it''s' COMMENT 'a ''short'' text', long1 longtext, doc json, bin varbinary(9), img blob, spot point,
  mood enum('sad', 'it''s', 'a\\b'), tags set('x', 'y'), net inet6, uid uuid,
  twice int AS (small * 2) STORED, half int AS (small / 2) VIRTUAL, latin varchar(9) CHARACTER SET latin1,
  bin_order varchar(9) COLLATE utf8mb4_bin NOT NULL
) COMMENT 'every type' COLLATE utf8mb4_general_ci;
INSERT INTO types(flag, bits, small, year, f, d, z, day, at, span, ts, short, long1, doc, bin, img, spot, mood, tags, net, uid, latin, bin_order)
VALUES (1, 0xffffffffffffffff, -5, 2024, 0.1, 0.1e0 + 0.2e0, 42, '2024-05-00', '0000-00-00', '-838:59:59', '2024-01-01 12:00:00',
  'NULL', CONCAT('a', CHAR(0), 'b'), '{"a": "\\u0000"}', 'a\0', x'ff00ff', POINT(1, 2), 'a\\b', 'x,y', '::1',
  '123e4567-e89b-12d3-a456-426655440000', _latin1 x'e9', ' '),
  (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '', REPEAT('é', 4000), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '');
UPDATE types SET id = 18446744073709551615 WHERE id = 2;"#;

#[tokio::test]
async fn types_and_values_of_every_sort_arrive() {
    let url = mariadb_url().await;
    let version = MysqlVersion::of(&url).await;
    let is_mysql = version.is_mysql;
    let (script, own) = if version.is_mariadb_from(&[10, 7]) {
        (TYPES.to_owned(), "net other, uid uuid")
    } else {
        let script = TYPES.replace("net inet6, uid uuid", "net varchar(39), uid char(36)");
        (script, "net text, uid text")
    };
    run(&url, script).await;
    let collected = collect(&url, &all(10)).await.expect("collects");
    let metadata = &collected.metadata;
    assert_eq!(metadata.dialect, Dialect::Mysql);
    assert_eq!(metadata.server_version.contains("MariaDB"), !is_mysql);
    let types = table(metadata, "types");
    assert_eq!(types.comment.as_deref(), Some("every type"));
    assert_eq!(
        crate::sources::types(types),
        format!(
            "id integer, flag boolean, bits integer, small integer, year integer, f float, d float, dec1 decimal, z integer, \
             day date, at timestamp, span time, ts timestamp, short text, long1 text, doc json, bin bytes, img bytes, spot bytes, \
             mood enum, tags array, {own}, twice integer, half integer, latin text, bin_order text"
        )
    );
    check_columns(types, is_mysql);
    check_values(types);
}

fn check_columns(types: &TableMetadata, is_mysql: bool) {
    let id = column(types, "id");
    assert_eq!(
        (id.identity, id.nullable),
        (Some(Identity::ByDefault), false)
    );
    let declared = if is_mysql {
        "bigint unsigned"
    } else {
        "bigint(20) unsigned"
    };
    assert_eq!(id.declared_type, declared);
    let short = column(types, "short");
    assert_eq!(short.default.as_deref(), Some("'it''s'"));
    assert_eq!(short.comment.as_deref(), Some("a 'short' text"));
    assert_eq!((short.nullable, &short.collation), (true, &None));
    assert_eq!(column(types, "flag").default, None);
    assert_eq!(column(types, "mood").labels, ["sad", "it's", "a\\b"]);
    assert_eq!(column(types, "tags").labels, ["x", "y"]);
    let twice = column(types, "twice");
    assert!(
        twice.generated
            && twice
                .default
                .as_deref()
                .is_some_and(|sql| sql.contains("* 2"))
    );
    assert!(column(types, "half").generated);
    assert_eq!(
        column(types, "bin_order").collation.as_deref(),
        Some("utf8mb4_bin")
    );
    assert_eq!(
        column(types, "latin").collation.as_deref(),
        Some("latin1_swedish_ci")
    );
}

fn check_values(types: &TableMetadata) {
    let row = Value::Array(types.sample_rows[0].clone());
    assert_eq!(
        row,
        json!([
            1, true, "18446744073709551615", -5, 2024, 0.100_000_001_490_116_12, 0.300_000_000_000_000_04, 1.5, 42,
            {"$type": "date", "value": "2024-05-00"}, {"$type": "timestamp", "value": "0000-00-00 00:00:00.000"},
            "-838:59:59", "2024-01-01 12:00:00", "NULL", {"$type": "text_with_nul", "value": "a\0b"},
            "{\"a\": \"\\u0000\"}", {"$type": "bytes", "length": 2}, {"$type": "bytes", "length": 3},
            {"$type": "bytes", "length": 25}, "a\\b", "x,y", "::1", "123e4567-e89b-12d3-a456-426655440000", -10, -3, "é", " "
        ])
    );
    let odd = &types.sample_rows[1];
    assert_eq!(odd[0], json!("18446744073709551615"));
    assert_eq!(
        (&odd[1], &odd[13], &odd[14]),
        (&Value::Null, &json!(""), &json!("é".repeat(2000)))
    );
}

const KEYS: &str = "
CREATE TABLE pair(a int, b int, c int NOT NULL UNIQUE, PRIMARY KEY (b, a));
CREATE TABLE refers(id int PRIMARY KEY, x int, y int, z int, self int, again int,
  CONSTRAINT to_pair FOREIGN KEY (x, y) REFERENCES pair(b, a) ON DELETE CASCADE ON UPDATE SET NULL,
  CONSTRAINT to_pair_2 FOREIGN KEY (y, z) REFERENCES pair(b, a),
  CONSTRAINT to_unique FOREIGN KEY (z) REFERENCES pair(c) ON DELETE RESTRICT,
  CONSTRAINT to_self FOREIGN KEY (self) REFERENCES refers(id) ON DELETE SET NULL);
ALTER TABLE pair ADD COLUMN back int, ADD CONSTRAINT cycle FOREIGN KEY (back) REFERENCES refers(id);
CREATE INDEX by_z ON refers(z, again DESC);
CREATE TABLE parts(id int PRIMARY KEY, body text) PARTITION BY HASH (id) PARTITIONS 4;
INSERT INTO parts VALUES (1, 'x'), (2, 'y'), (3, 'z');
CREATE TABLE keyless(body text) ENGINE = MyISAM;
INSERT INTO keyless VALUES ('x'), ('x');
CREATE VIEW fine AS SELECT id, body FROM parts;
CREATE VIEW broken AS SELECT id FROM pair JOIN refers ON refers.id = pair.a;
ALTER TABLE refers RENAME COLUMN id TO renamed;";

#[tokio::test]
async fn keys_indexes_and_sorts_of_tables_arrive() {
    let url = database(KEYS).await;
    let is_mysql = MysqlVersion::of(&url).await.is_mysql;
    if !is_mysql {
        run(&url, "CREATE SEQUENCE counter".to_owned()).await;
    }
    // What a key does where nothing is said is the same, and has another name.
    let nothing_said = if is_mysql { "no_action" } else { "restrict" };
    let (_, name) = url.rsplit_once('/').expect("a database");
    run(
        &url,
        format!(
            "CREATE DATABASE {name}_2; CREATE TABLE {name}_2.far(id int PRIMARY KEY);
             CREATE TABLE near(id int PRIMARY KEY, far int, CONSTRAINT across FOREIGN KEY (far) REFERENCES {name}_2.far(id))"
        ),
    )
    .await;
    let collected = collect(&url, &all(10)).await.expect("collects");
    let metadata = &collected.metadata;
    assert_eq!(
        kinds(metadata),
        "broken view, fine view, keyless table, near table, pair table, parts partitioned_table, refers table"
    );
    let broken = collected.notes.iter().any(|note| note.contains("broken`"));
    assert!(broken, "{:?}", collected.notes);
    let pair = table(metadata, "pair");
    assert_eq!(pair.primary_key, ["b", "a"]);
    assert_eq!(pair.unique_keys, [["c"]]);
    assert_eq!(pair.foreign_keys[0].to.name, "refers");
    assert_eq!(pair.table.schema.as_deref(), Some(name));
    let refers = table(metadata, "refers");
    assert_eq!(
        keys(refers),
        [
            "to_pair: x,y -> pair(b,a) cascade set_null not_deferrable".to_owned(),
            format!("to_pair_2: y,z -> pair(b,a) {nothing_said} {nothing_said} not_deferrable"),
            format!("to_self: self -> refers(renamed) set_null {nothing_said} not_deferrable"),
            format!("to_unique: z -> pair(c) restrict {nothing_said} not_deferrable"),
        ]
    );
    let by_z = refers.indexes.iter().find(|index| index.name == "by_z");
    let by_z = by_z.expect("an index");
    let parts = ["z", "again"].map(|name| IndexPart::Column(name.to_owned()));
    assert_eq!((by_z.unique, by_z.parts.as_slice()), (false, &parts[..]));
    assert!(refers.size_bytes.is_some_and(|size| size >= 16_384));
    let across = &table(metadata, "near").foreign_keys[0].to;
    assert_eq!(across.schema.as_deref(), Some(format!("{name}_2").as_str()));
    assert!(
        collected.notes.iter().any(|note| note.contains("_2.far`")),
        "{:?}",
        collected.notes
    );
    for (name, rows) in [("parts", 3), ("keyless", 2), ("fine", 3)] {
        let table = table(metadata, name);
        assert_eq!(
            (table.row_count, table.row_count_exact),
            (rows, true),
            "{name}"
        );
        assert_eq!(table.sample_rows.len() as u64, rows);
    }
}

/// A name as MySQL takes it: 64 characters at most, no blank at the end.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[tokio::test]
async fn hostile_names_and_comments_arrive_exactly() {
    let long = "ü".repeat(64);
    let names: Vec<&str> = HOSTILE
        .iter()
        .copied()
        .chain([long.as_str(), "a`b", "t"])
        .collect();
    let mut script = String::new();
    for (number, name) in names.iter().enumerate() {
        let (table, comment) = (quoted(name), literal(name));
        let label = literal(name.trim_end());
        let _ = writeln!(
            script,
            "CREATE TABLE {table}({table} int PRIMARY KEY COMMENT {comment}, label enum({label}, 'z{number}'), up int,
               CONSTRAINT {} FOREIGN KEY (up) REFERENCES {table}({table})) COMMENT {comment};
             INSERT INTO {table} VALUES (1, {label}, 1);",
            quoted(&format!("{}{number}", name.chars().take(50).collect::<String>()))
        );
    }
    let url = database(&script).await;
    let metadata = collect(&url, &all(5)).await.expect("collects").metadata;
    assert_eq!(metadata.tables.len(), names.len());
    for name in names {
        let table = table(&metadata, name);
        assert_eq!(table.comment.as_deref(), Some(name));
        assert_eq!(table.columns[0].name, name);
        assert_eq!(table.columns[0].comment.as_deref(), Some(name));
        assert_eq!(table.columns[1].labels[0], name.trim_end());
        assert_eq!(table.foreign_keys[0].to, table.table);
        assert_eq!(table.foreign_keys[0].to_columns, [name]);
        assert_eq!(
            table.sample_rows,
            [[json!(1), json!(name.trim_end()), json!(1)]]
        );
    }
}

#[tokio::test]
async fn what_the_user_may_not_read_is_left_out_and_the_others_go_on() {
    let url = database(
        "CREATE TABLE open1(id int PRIMARY KEY); INSERT INTO open1 VALUES (1);
         CREATE TABLE closed(id int PRIMARY KEY); CREATE TABLE half(id int PRIMARY KEY, secret int);",
    )
    .await;
    let (_, name) = url.rsplit_once('/').expect("a database");
    let user = user_of(name);
    run(
        &url,
        format!(
            "CREATE USER {user}@'127.0.0.1' IDENTIFIED BY 'r'; GRANT SELECT ON {name}.open1 TO {user}@'127.0.0.1';
             GRANT INSERT ON {name}.closed TO {user}@'127.0.0.1'; GRANT SELECT (id), UPDATE (secret) ON {name}.half TO {user}@'127.0.0.1'"
        ),
    )
    .await;
    let (_, place) = url.rsplit_once('@').expect("a user");
    let reader = format!("mysql://{user}:r@{place}");
    let collected = collect(&reader, &all(1)).await.expect("collects");
    assert_eq!(collected.metadata.tables.len(), 1);
    let denied: Vec<&str> = collected
        .denied
        .iter()
        .map(|table| table.name.as_str())
        .collect();
    assert_eq!(denied, ["closed", "half"]);
}

#[tokio::test]
async fn the_number_of_catalogue_queries_does_not_depend_on_that_of_tables() {
    let mut counts = Vec::new();
    for tables in [2, 40] {
        let script: Vec<String> = (0..tables)
            .map(|number| format!("CREATE TABLE t{number}(id int PRIMARY KEY, n int UNIQUE, FOREIGN KEY (n) REFERENCES t{number}(id));"))
            .collect();
        let collected = collect(&database(&script.concat()).await, &all(1))
            .await
            .expect("collects");
        assert_eq!(collected.metadata.tables.len(), tables);
        assert!(
            collected
                .metadata
                .tables
                .iter()
                .all(|table| table.foreign_keys.len() == 1)
        );
        counts.push(collected.catalogue_queries);
    }
    assert!(counts[0] == counts[1] && counts[0] < 10, "{counts:?}");
}

#[tokio::test]
async fn a_large_table_is_estimated_and_sampled_all_over() {
    let url = database(&format!(
        "CREATE TABLE many(id int PRIMARY KEY, body varchar(40)) STATS_PERSISTENT = 1;
         INSERT INTO many SELECT i * 3, CONCAT('row ', i) FROM ({}) AS n;
         CREATE TABLE words(word varchar(40) PRIMARY KEY); INSERT INTO words SELECT CONCAT('w', i) FROM ({}) AS n;
         CREATE TABLE some1(id int PRIMARY KEY); INSERT INTO some1 {};
         ANALYZE TABLE many, words;",
        numbers(150_000),
        numbers(120_000),
        numbers(50_000),
    ))
    .await;
    let metadata = collect(&url, &all(100)).await.expect("collects").metadata;
    let many = table(&metadata, "many");
    assert!(
        !many.row_count_exact && (100_001..300_000).contains(&many.row_count),
        "{}",
        many.row_count
    );
    let ids: Vec<i64> = many
        .sample_rows
        .iter()
        .filter_map(|row| row[0].as_i64())
        .collect();
    assert!((90..=100).contains(&ids.len()), "{} rows", ids.len());
    assert!(ids.contains(&3) && ids.contains(&450_000));
    assert!(
        ids.iter()
            .filter(|id| (150_000..300_000).contains(*id))
            .count()
            > 20
    );
    assert_eq!(table(&metadata, "words").sample_rows.len(), 100);
    let some = table(&metadata, "some1");
    assert_eq!((some.row_count, some.row_count_exact), (50_000, true));
    assert!((20..=200).contains(&some.sample_rows.len()));
    let exact = Selection {
        counts: Counts::Exact,
        ..all(0)
    };
    let counted = collect(&url, &exact).await.expect("collects").metadata;
    let many = table(&counted, "many");
    assert_eq!((many.row_count, many.row_count_exact), (150_000, true));
    assert!(many.sample_rows.is_empty());
}

#[tokio::test]
async fn each_way_of_not_getting_in_has_its_message() {
    let url = mariadb_url().await;
    let (server, _) = url.rsplit_once('/').expect("a database");
    let (_, place) = url.rsplit_once('@').expect("a user");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let closed = listener.local_addr().expect("an address");
    drop(listener);
    for (url, kind, words) in [
        (
            format!("{server}/nope_nope"),
            ErrorKind::NotFound,
            "there is no database `nope_nope`",
        ),
        (
            format!("mysql://nobody_here:hunter2@{place}"),
            ErrorKind::Invalid,
            "refuses the login",
        ),
        (
            format!("mysql://relvec@{place}"),
            ErrorKind::Invalid,
            "refuses the login",
        ),
        (
            format!("mariadb://u:hunter2@{closed}/d"),
            ErrorKind::Unavailable,
            "no MySQL or MariaDB server answers",
        ),
    ] {
        let error = collect(&url, &all(1)).await.expect_err("refused");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!format!("{error} {:?}", error.hints()).contains("hunter2"));
        assert!(!error.hints().is_empty());
    }
}

const SHOP: &str = "
CREATE TABLE customers(id int PRIMARY KEY, name varchar(99));
CREATE TABLE orders(id int(6) zerofill PRIMARY KEY, customer_id int REFERENCES customers(id), notes text, total decimal(8, 2),
  weight float, at timestamp NULL, gift bit(1));
CREATE TABLE order_lines(order_id int(6) zerofill, code varchar(9), item varchar(99), size double, PRIMARY KEY (order_id, code),
  FOREIGN KEY (order_id) REFERENCES orders(id));
INSERT INTO customers VALUES (1, 'Ada Stone'), (2, 'Bo Reed');
INSERT INTO orders VALUES
  (2, 1, 'Please ring the bell twice at the door.', 1.50, 0.1, '2024-01-01 12:00:00', 1),
  (10, 2, 'Please leave it with the neighbour if nobody is home.', NULL, 16777216, NULL, 0),
  (9, NULL, NULL, 3, NULL, NULL, NULL);
INSERT INTO order_lines VALUES (2, 'b', 'Green tea', 0.1e0 + 0.2e0), (2, 'B2', 'Blue mug', NULL), (2, 'a', 'Red pot', 1e22);";

/// Gives the plan of the shop's orders.
fn orders(url: &str) -> EntityPlan {
    let field = |label: &str, alias: &str, column: &str| {
        json!({"section": "field", "label": label, "score": 1.0, "reasons": [],
               "source": {"alias": alias, "column": column, "data_type": "text"}})
    };
    let (_, name) = url.rsplit_once('/').expect("a database");
    let of = |table: &str| json!({"schema": name, "name": table});
    let kept = |name: &str, kind: &str| json!({"name": name, "source": {"alias": "r", "column": name, "data_type": kind}});
    serde_json::from_value(json!({
        "name": "orders", "root": of("orders"), "row_count": 3, "reasons": [],
        "key": [{"name": "id", "data_type": "integer"}],
        "parents": [{"alias": "p1", "left": "r", "table": of("customers"), "on": [{"from": "customer_id", "to": "id"}]}],
        "sections": [
            field("Customer", "p1", "name"), field("Notes", "r", "notes"),
            {"section": "children", "label": "Lines", "table": of("order_lines"), "parents": [], "reasons": [],
             "on": [{"from": "order_id", "to": "id"}],
             "columns": [{"alias": "c", "column": "item", "data_type": "text"}, {"alias": "c", "column": "size", "data_type": "float"}],
             "order_by": [{"name": "order_id", "data_type": "integer"}, {"name": "code", "data_type": "text"}]}],
        "metadata": [kept("total", "decimal"), kept("weight", "float"), kept("at", "timestamp"), kept("gift", "boolean")],
    }))
    .expect("a plan")
}

#[tokio::test]
async fn documents_are_those_of_one_instant() {
    let url = database(SHOP).await;
    let entity = orders(&url);
    let driver = source::open(&SecretString::from(url.clone())).expect("opens");
    let mut snapshot = driver.snapshot().await.expect("a snapshot");
    run(
        &url,
        "DELETE FROM order_lines; UPDATE orders SET notes = 'changed'; INSERT INTO orders(id) VALUES (11)".to_owned(),
    )
    .await;
    let documents: Vec<_> = snapshot
        .documents(&entity)
        .try_collect()
        .await
        .expect("documents");
    let seen: Vec<(&str, &str)> = documents
        .iter()
        .map(|document| (document.key[0].as_str(), document.content.as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            (
                "10",
                "Customer: Bo Reed\nNotes: Please leave it with the neighbour if nobody is home."
            ),
            (
                "2",
                "Customer: Ada Stone\nNotes: Please ring the bell twice at the door.\n\
                 Lines:\n- Blue mug\n- Red pot | 1e22\n- Green tea | 0.30000000000000004"
            ),
            ("9", ""),
        ]
    );
    let metadata: Vec<Vec<Option<&str>>> = documents
        .iter()
        .map(|document| document.metadata.iter().map(Option::as_deref).collect())
        .collect();
    assert_eq!(metadata[0], [None, Some("16777216"), None, Some("0")]);
    assert_eq!(
        metadata[1],
        [
            Some("1.50"),
            Some("0.10000000149011612"),
            Some("2024-01-01 12:00:00"),
            Some("1")
        ]
    );
    assert!(snapshot.read_at().ends_with('Z'));
    drop(snapshot);
    run(&url, "ALTER TABLE orders DROP COLUMN notes".to_owned()).await;
    let mut snapshot = driver.snapshot().await.expect("a snapshot");
    let drifted: Result<Vec<_>, _> = snapshot.documents(&entity).try_collect().await;
    let error = drifted.expect_err("the column is gone");
    assert!(error.to_string().contains("notes"), "{error}");
}

#[tokio::test]
async fn keys_are_in_the_order_of_their_bytes_blanks_and_all() {
    let long = "k".repeat(700);
    let url = mariadb_url().await;
    let collation = if MysqlVersion::of(&url).await.is_mysql {
        "utf8mb4_0900_bin"
    } else {
        "utf8mb4_nopad_bin"
    };
    let script = format!(
        "CREATE TABLE notes(k varbinary(800) PRIMARY KEY); CREATE TABLE words(k varchar(750) COLLATE {collation} PRIMARY KEY, v text);
         INSERT INTO words VALUES ('a ', 'one'), ('a', 'two'), ('a\\t', 'three'), ('B', 'four'), ('b', 'five'),
           ('{long}2', 'six'), ('{long}1', 'seven'), ('é', 'eight');
         INSERT INTO notes VALUES (x'ff'), (x'00'), ('a')"
    );
    run(&url, script).await;
    let (_, name) = url.rsplit_once('/').expect("a database");
    let entity = |table: &str, kind: &str| {
        serde_json::from_value(json!({
            "name": table, "root": {"schema": name, "name": table}, "row_count": 3, "reasons": [], "parents": [],
            "key": [{"name": "k", "data_type": kind}], "sections": [], "metadata": []}))
        .expect("a plan")
    };
    let driver = source::open(&SecretString::from(url.clone())).expect("opens");
    let mut snapshot = driver.snapshot().await.expect("a snapshot");
    let keys = |documents: Vec<source::SourceDocument>| -> Vec<String> {
        documents
            .into_iter()
            .flat_map(|document| document.key)
            .collect()
    };
    let plan = entity("words", "text");
    let words = snapshot
        .documents(&plan)
        .try_collect()
        .await
        .expect("documents");
    let expected = [
        "B",
        "a",
        "a\t",
        "a ",
        "b",
        &format!("{long}1"),
        &format!("{long}2"),
        "é",
    ];
    assert_eq!(keys(words), expected);
    let plan = entity("notes", "bytes");
    let notes = snapshot
        .documents(&plan)
        .try_collect()
        .await
        .expect("documents");
    assert_eq!(keys(notes), ["00", "61", "ff"]);
}

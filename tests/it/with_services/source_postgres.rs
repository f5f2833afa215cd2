//! The PostgreSQL driver against a real server.

use std::fmt::Write as _;

use futures::TryStreamExt;
use relvec::error::ErrorKind;
use relvec::model::metadata::{DataType, Identity, IndexPart, TableKind, TableMetadata};
use relvec::model::plan::EntityPlan;
use relvec::source::{self, Counts, Selection};
use secrecy::SecretString;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::services::postgres_source_url;
use crate::sources::{HOSTILE, all, collect, keys, kinds, table};

/// Makes a database from a script and gives its URL.
async fn database(script: &str) -> String {
    let url = postgres_source_url().await;
    let mut connection = PgConnection::connect(&url).await.expect("connects");
    sqlx::raw_sql(AssertSqlSafe(script.to_owned()))
        .execute(&mut connection)
        .await
        .expect("the script is valid");
    url
}

const ODD: &str = r#"
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN words AS text NOT NULL;
CREATE SCHEMA "s 2";
CREATE TABLE "s 2"."T""x;--"(
  "k%s" int, body words, m mood, f float8, n numeric(10, 3), ts timestamptz, d date, iv interval, b bytea,
  j jsonb, list text[], ok boolean, ip inet, code varchar(3) UNIQUE, twice int GENERATED ALWAYS AS ("k%s" * 2) STORED,
  PRIMARY KEY ("k%s"));
COMMENT ON TABLE "s 2"."T""x;--" IS 'odd';
COMMENT ON COLUMN "s 2"."T""x;--".body IS 'what was said';
CREATE UNIQUE INDEX ON "s 2"."T""x;--"(n) WHERE n > 1;
CREATE UNIQUE INDEX ON "s 2"."T""x;--"(lower(code));
CREATE UNIQUE INDEX ON "s 2"."T""x;--"(d) INCLUDE (n);
INSERT INTO "s 2"."T""x;--"("k%s", body, m, f, n, ts, d, iv, b, j, list, ok, ip) VALUES
  (1, 'one', 'happy', 'NaN', 'NaN', 'infinity', '0044-03-15 BC', '1 mon 1 day', '\x00ff', '{"a": 1}', '{a,b}', true, '10.0.0.1'),
  (2, 'two', NULL, '-Infinity', 1.5, '2024-01-01 12:00+02', '2024-01-01', NULL, NULL, NULL, NULL, false, NULL);
CREATE TABLE pair(a int, b int, PRIMARY KEY (b, a));
CREATE TABLE refers(id int PRIMARY KEY, x int, y int, CONSTRAINT to_pair FOREIGN KEY (x, y) REFERENCES pair(a, b));
CREATE TABLE parts(id int PRIMARY KEY, body text) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
INSERT INTO parts VALUES (1, 'x');
CREATE VIEW broken AS SELECT 1 / (id - 1) AS v FROM parts;
"#;

#[tokio::test]
async fn the_catalogue_is_read_with_odd_names_types_and_values() {
    let url = database(ODD).await;
    let collected = collect(&url, &all(10)).await.expect("collects");
    let metadata = &collected.metadata;
    let names: Vec<String> = metadata
        .tables
        .iter()
        .map(|t| t.table.to_string())
        .collect();
    assert_eq!(
        names,
        [
            "public.broken",
            "public.pair",
            "public.parts",
            "public.refers",
            "s 2.T\"x;--"
        ]
    );
    assert!(
        collected
            .notes
            .iter()
            .any(|note| note.contains("`public.broken`")),
        "{:?}",
        collected.notes
    );
    assert_eq!(table(metadata, "broken").kind, TableKind::View);
    assert_eq!(table(metadata, "parts").row_count, 1);
    assert_eq!(table(metadata, "pair").primary_key, ["b", "a"]);
    let [key] = table(metadata, "refers").foreign_keys.as_slice() else {
        panic!("one foreign key");
    };
    assert_eq!(key.name.as_deref(), Some("to_pair"));
    assert_eq!(
        (key.columns.join(","), key.to_columns.join(",")),
        ("x,y".into(), "a,b".into())
    );
    let odd = table(metadata, "T\"x;--");
    assert_eq!(odd.comment.as_deref(), Some("odd"));
    assert_eq!(odd.columns[1].comment.as_deref(), Some("what was said"));
    assert_eq!(odd.unique_keys, [vec!["code"], vec!["d"]]);
    assert!(!odd.columns[1].nullable && odd.columns[2].nullable && odd.columns[14].generated);
    assert_eq!(odd.columns[2].labels, ["sad", "happy"]);
    let types: Vec<DataType> = odd.columns[..13]
        .iter()
        .map(|column| column.data_type)
        .collect();
    assert_eq!(
        types,
        [
            DataType::Integer,
            DataType::Text,
            DataType::Enum,
            DataType::Float,
            DataType::Decimal,
            DataType::Timestamp,
            DataType::Date,
            DataType::Interval,
            DataType::Bytes,
            DataType::Json,
            DataType::Array,
            DataType::Boolean,
            DataType::Other,
        ]
    );
    assert_eq!(
        serde_json::to_string(&odd.sample_rows[0][..13]).expect("JSON"),
        r#"[1,"one","happy",{"$type":"float","value":"NaN"},{"$type":"float","value":"NaN"},{"$type":"timestamp","value":"infinity"},"0044-03-15 BC","P1M1D",{"$type":"bytes","length":2},"{\"a\": 1}","{a,b}",true,"10.0.0.1/32"]"#
    );
}

#[tokio::test]
async fn a_large_table_is_sampled_all_over() {
    let url = database(
        "CREATE TABLE many AS SELECT i AS id FROM generate_series(1, 50000) AS i;
         CREATE TABLE none(id int);",
    )
    .await;
    let metadata = collect(&url, &all(100)).await.expect("collects").metadata;
    let many = table(&metadata, "many");
    let ids: Vec<i64> = many
        .sample_rows
        .iter()
        .filter_map(|row| row[0].as_i64())
        .collect();
    assert_eq!(many.row_count, 50_000);
    assert!((20..=200).contains(&ids.len()), "{} rows", ids.len());
    assert!(ids.iter().any(|id| *id < 15_000) && ids.iter().any(|id| *id > 35_000));
    let again = collect(&url, &all(100)).await.expect("collects").metadata;
    assert_eq!(table(&again, "many").sample_rows, many.sample_rows);
    assert!(table(&metadata, "none").sample_rows.is_empty());
}

#[tokio::test]
async fn what_the_user_may_not_read_is_passed_over_with_a_note() {
    let url = database(
        "CREATE TABLE open(id int); CREATE TABLE closed(id int);
         DO $$ BEGIN CREATE ROLE relvec_reader LOGIN PASSWORD 'r'; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
         GRANT SELECT ON open TO relvec_reader;",
    )
    .await;
    let (_, place) = url.rsplit_once('@').expect("a user");
    let reader = format!("postgres://relvec_reader:r@{place}");
    let collected = collect(&reader, &all(1)).await.expect("collects");
    assert_eq!(collected.metadata.tables.len(), 1);
    let denied: Vec<String> = collected.denied.iter().map(ToString::to_string).collect();
    assert_eq!(denied, ["public.closed"]);
}

const KEYS: &str = r#"
CREATE SCHEMA other;
CREATE TYPE state AS ENUM ('new', 'it''s');
CREATE DOMAIN inner_words AS varchar(40) CHECK (value <> '');
CREATE DOMAIN words AS inner_words NOT NULL;
CREATE DOMAIN states AS state;
CREATE TABLE other.pair(a int, b int, c int NOT NULL UNIQUE, PRIMARY KEY (b, a));
CREATE TABLE refers(
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int GENERATED BY DEFAULT AS IDENTITY, x int, y int, z int, self int,
  w words, s states DEFAULT 'new', name text COLLATE "C", twice int GENERATED ALWAYS AS (z * 2) STORED,
  CONSTRAINT to_pair FOREIGN KEY (x, y) REFERENCES other.pair(b, a) ON DELETE CASCADE ON UPDATE SET NULL,
  CONSTRAINT to_pair_2 FOREIGN KEY (y, z) REFERENCES other.pair(b, a) ON DELETE SET DEFAULT DEFERRABLE,
  CONSTRAINT to_self FOREIGN KEY (self) REFERENCES refers DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT to_unique FOREIGN KEY (z) REFERENCES other.pair(c) ON DELETE RESTRICT);
ALTER TABLE refers DROP COLUMN n;
ALTER TABLE other.pair ADD COLUMN back int CONSTRAINT cycle REFERENCES refers;
CREATE UNIQUE INDEX odd_index ON refers(lower(name) DESC, z, (x + 1)) INCLUDE (y) WHERE z > 1;
CREATE TABLE parts(id int, body text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (30) PARTITION BY RANGE (id);
CREATE TABLE parts_2_1 PARTITION OF parts_2 FOR VALUES FROM (10) TO (20);
CREATE TABLE to_parts(id int PRIMARY KEY, part int CONSTRAINT to_parts REFERENCES parts);
INSERT INTO parts SELECT i, 'x' FROM generate_series(1, 19) AS i;
CREATE MATERIALIZED VIEW kept AS SELECT id FROM parts;
CREATE MATERIALIZED VIEW empty_yet AS SELECT id FROM parts WITH NO DATA;
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
CREATE FOREIGN TABLE elsewhere(id int) SERVER nowhere;
CREATE TEMP TABLE passing(id int);
CREATE UNLOGGED TABLE keyless(body text);
ANALYZE parts_1; ANALYZE parts_2_1;
"#;

#[tokio::test]
async fn keys_domains_and_sorts_of_tables_arrive() {
    let url = database(KEYS).await;
    let collected = collect(&url, &all(10)).await.expect("collects");
    let metadata = &collected.metadata;
    assert_eq!(
        kinds(metadata),
        "pair table, elsewhere foreign_table, empty_yet materialized_view, kept materialized_view, keyless table, \
         parts partitioned_table, refers table, to_parts table"
    );
    for name in ["elsewhere", "empty_yet"] {
        let noted = collected
            .notes
            .iter()
            .any(|note| note.contains(&format!("public.{name}`")));
        assert!(noted, "{name}: {:?}", collected.notes);
    }
    let parts = table(metadata, "parts");
    assert_eq!((parts.row_count, parts.row_count_exact), (19, true));
    assert!(parts.size_bytes.is_some_and(|size| size > 0));
    assert_eq!(table(metadata, "kept").row_count, 19);
    let refers = table(metadata, "refers");
    assert_eq!(
        keys(refers),
        [
            "to_pair: x,y -> pair(b,a) cascade set_null not_deferrable",
            "to_pair_2: y,z -> pair(b,a) set_default no_action initially_immediate",
            "to_self: self -> refers(id) no_action no_action initially_deferred",
            "to_unique: z -> pair(c) restrict no_action not_deferrable",
        ]
    );
    assert_eq!(refers.foreign_keys[0].to.to_string(), "other.pair");
    assert_eq!(table(metadata, "to_parts").foreign_keys.len(), 1);
    assert_eq!(table(metadata, "pair").primary_key, ["b", "a"]);
    check_columns(refers);
    // Without the parent, its columns still have their names.
    let alone = Selection {
        include: vec!["refers".to_owned()],
        ..all(0)
    };
    let alone = collect(&url, &alone).await.expect("collects");
    assert_eq!(alone.metadata.tables[0].foreign_keys, refers.foreign_keys);
    assert!(
        alone.notes.iter().any(|note| note.contains("`other.pair`")),
        "{:?}",
        alone.notes
    );
}

fn check_columns(refers: &TableMetadata) {
    let column = |name: &str| {
        let found = refers.columns.iter().find(|column| column.name == name);
        found.unwrap_or_else(|| panic!("no column {name}"))
    };
    assert_eq!(column("id").identity, Some(Identity::Always));
    let words = column("w");
    assert_eq!(
        (words.declared_type.as_str(), words.nullable),
        ("words", false)
    );
    assert_eq!(words.domain_base.as_deref(), Some("character varying(40)"));
    assert_eq!(words.data_type, DataType::Text);
    let state = column("s");
    assert_eq!(
        (state.data_type, state.labels.as_slice()),
        (DataType::Enum, &["new".to_owned(), "it's".to_owned()][..])
    );
    assert!(
        state
            .default
            .as_deref()
            .is_some_and(|sql| sql.contains("'new'"))
    );
    assert_eq!(column("name").collation.as_deref(), Some("C"));
    assert!(column("twice").generated && column("x").collation.is_none());
    let odd = refers
        .indexes
        .iter()
        .find(|index| index.name == "odd_index");
    let odd = odd.expect("an index");
    let parts = [
        IndexPart::Expression("lower(name)".to_owned()),
        IndexPart::Column("z".to_owned()),
        IndexPart::Expression("(x + 1)".to_owned()),
    ];
    assert_eq!((odd.unique, odd.parts.as_slice()), (true, &parts[..]));
    assert_eq!(odd.predicate.as_deref(), Some("(z > 1)"));
    assert!(refers.unique_keys.is_empty());
}

#[tokio::test]
async fn hostile_names_and_comments_arrive_exactly() {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let long = "é".repeat(31) + "x";
    let names: Vec<&str> = HOSTILE
        .iter()
        .copied()
        .chain([long.as_str(), "t", " "])
        .collect();
    let mut script = "CREATE SCHEMA labels_of;".to_owned();
    for (number, name) in names.iter().enumerate() {
        let (table, comment) = (quoted(name), literal(name));
        let _ = writeln!(
            script,
            "CREATE SCHEMA {table}; CREATE TYPE labels_of.{table} AS ENUM ({comment}, 'z{number}');
             CREATE TABLE {table}.{table}({table} int PRIMARY KEY, label labels_of.{table}, up int,
               CONSTRAINT {table} FOREIGN KEY (up) REFERENCES {table}.{table}({table}));
             COMMENT ON TABLE {table}.{table} IS {comment}; COMMENT ON COLUMN {table}.{table}.{table} IS {comment};
             INSERT INTO {table}.{table} VALUES (1, {comment}, 1);"
        );
    }
    script.push_str("CREATE TABLE public.wordy(id int); COMMENT ON TABLE public.wordy IS '");
    script.push_str(&"word ".repeat(200_000));
    script.push_str("';");
    let url = database(&script).await;
    let metadata = collect(&url, &all(5)).await.expect("collects").metadata;
    assert_eq!(metadata.tables.len(), names.len() + 1);
    for name in names {
        let table = table(&metadata, name);
        assert_eq!(table.table.schema.as_deref(), Some(name));
        assert_eq!(table.comment.as_deref(), Some(name));
        assert_eq!(table.columns[0].name, name);
        assert_eq!(table.columns[0].comment.as_deref(), Some(name));
        assert_eq!(table.columns[1].labels[0], name);
        assert_eq!(table.foreign_keys[0].name.as_deref(), Some(name));
        assert_eq!(table.foreign_keys[0].to, table.table);
        assert_eq!(table.foreign_keys[0].to_columns, [name]);
        assert_eq!(table.sample_rows, [[json!(1), json!(name), json!(1)]]);
    }
    let wordy = table(&metadata, "wordy").comment.as_ref().map(String::len);
    assert_eq!(wordy, Some(2000), "a long comment is cut");
}

#[tokio::test]
async fn the_number_of_catalogue_queries_does_not_depend_on_that_of_tables() {
    let mut counts = Vec::new();
    for tables in [2, 60] {
        let script: Vec<String> = (0..tables)
            .map(|number| format!("CREATE TABLE t{number}(id int PRIMARY KEY, n int UNIQUE REFERENCES t{number}(id));"))
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
async fn a_table_of_1600_columns_and_values_of_10_mib_are_read() {
    let columns: Vec<String> = (0..1600).map(|number| format!("c{number} int")).collect();
    let url = database(&format!(
        "CREATE TABLE wide({}); INSERT INTO wide(c0, c1599) VALUES (1, 2);
         CREATE TABLE deep(body text, raw bytea); INSERT INTO deep VALUES (repeat('é', 5242880), decode(repeat('00', 10485760), 'hex'));",
        columns.join(", ")
    ))
    .await;
    let metadata = collect(&url, &all(5)).await.expect("collects").metadata;
    let wide = table(&metadata, "wide");
    assert_eq!(wide.columns.len(), 1600);
    assert_eq!(
        (&wide.sample_rows[0][0], &wide.sample_rows[0][1599]),
        (&json!(1), &json!(2))
    );
    let deep = &table(&metadata, "deep").sample_rows[0];
    assert_eq!(deep[0], json!("é".repeat(2000)));
    assert_eq!(deep[1], json!({"$type": "bytes", "length": 10_485_760}));
}

#[tokio::test]
async fn a_larger_table_is_estimated_unless_its_number_is_asked_for() {
    let url = database("CREATE TABLE many AS SELECT i AS id, 'row ' || i AS body FROM generate_series(1, 150000) AS i").await;
    let metadata = collect(&url, &all(100)).await.expect("collects").metadata;
    let many = table(&metadata, "many");
    assert!(
        !many.row_count_exact && (100_001..400_000).contains(&many.row_count),
        "{}",
        many.row_count
    );
    let ids: Vec<i64> = many
        .sample_rows
        .iter()
        .filter_map(|row| row[0].as_i64())
        .collect();
    assert!((20..=200).contains(&ids.len()), "{} rows", ids.len());
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
    let url = postgres_source_url().await;
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
            format!("postgres://nobody_here:hunter2@{place}"),
            ErrorKind::Invalid,
            "refuses the login",
        ),
        (
            format!("postgres://u:hunter2@{closed}/d"),
            ErrorKind::Unavailable,
            "no PostgreSQL server answers",
        ),
    ] {
        let error = collect(&url, &all(1)).await.expect_err("refused");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!format!("{error} {:?}", error.hints()).contains("hunter2"));
        assert!(!error.hints().is_empty());
    }
}

#[tokio::test]
async fn a_pattern_without_a_table_is_an_error() {
    let url = database("CREATE TABLE orders(id int)").await;
    let selection = Selection {
        include: vec!["public.ordrs".to_owned()],
        ..all(1)
    };
    let error = collect(&url, &selection).await.expect_err("no match");
    assert_eq!(error.hints(), ["did you mean `public.orders`?"]);
}

const SHOP: &str = "
CREATE TABLE customers(id int PRIMARY KEY, name text);
CREATE TABLE orders(id int PRIMARY KEY, customer_id int REFERENCES customers, notes text, total numeric(8, 2), at timestamptz);
CREATE TABLE order_lines(order_id int REFERENCES orders, no int, item text, quantity int, PRIMARY KEY (order_id, no));
INSERT INTO customers VALUES (1, 'Ada Stone'), (2, 'Bo Reed');
INSERT INTO orders VALUES
  (2, 1, 'Please ring the bell twice at the door.', 1.50, '2024-01-01 12:00+02'),
  (10, 2, 'Please leave it with the neighbour if nobody is home.', NULL, 'infinity'),
  (9, NULL, NULL, 3, NULL);
INSERT INTO order_lines VALUES (2, 2, 'Green tea', 3), (2, 1, 'Blue mug', NULL), (2, 10, 'Red pot', 4);";

/// Gives the plan of the shop's orders.
fn orders() -> EntityPlan {
    let of = |table: &str| json!({"schema": "public", "name": table});
    let source = |alias: &str, column: &str, kind: &str| json!({"alias": alias, "column": column, "data_type": kind});
    let field = |label: &str, alias: &str, column: &str| json!({"section": "field", "label": label, "score": 1.0, "reasons": [], "source": source(alias, column, "text")});
    let kept = |name: &str, kind: &str| json!({"name": name, "source": source("r", name, kind)});
    serde_json::from_value(json!({
        "name": "orders", "root": of("orders"), "row_count": 3, "reasons": [],
        "key": [{"name": "id", "data_type": "integer"}],
        "parents": [{"alias": "p1", "left": "r", "table": of("customers"), "on": [{"from": "customer_id", "to": "id"}]}],
        "sections": [
            field("Customer", "p1", "name"), field("Notes", "r", "notes"),
            {"section": "children", "label": "Order lines", "table": of("order_lines"), "parents": [], "reasons": [],
             "on": [{"from": "order_id", "to": "id"}],
             "columns": [source("c", "item", "text"), source("c", "quantity", "integer")],
             "order_by": [{"name": "order_id", "data_type": "integer"}, {"name": "no", "data_type": "integer"}]}],
        "metadata": [kept("customer_id", "integer"), kept("total", "decimal"), kept("at", "timestamp")],
    }))
    .expect("a plan")
}

#[tokio::test]
async fn documents_are_those_of_one_instant() {
    let url = database(SHOP).await;
    let secret = SecretString::from(url.clone());
    let entity = orders();
    let driver = source::open(&secret).expect("opens");
    let mut snapshot = driver.snapshot().await.expect("a snapshot");
    let mut writer = PgConnection::connect(&url).await.expect("connects");
    sqlx::raw_sql("DELETE FROM order_lines; UPDATE orders SET notes = 'changed'; INSERT INTO orders VALUES (11);")
        .execute(&mut writer)
        .await
        .expect("writes");
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
                "Customer: Ada Stone\nNotes: Please ring the bell twice at the door.\nOrder lines:\n- Blue mug\n- Green tea | 3\n- Red pot | 4"
            ),
            ("9", ""),
        ]
    );
    let metadata: Vec<Option<&str>> = documents[1].metadata.iter().map(Option::as_deref).collect();
    assert_eq!(
        metadata,
        [Some("1"), Some("1.50"), Some("2024-01-01 10:00:00+00")]
    );
    drop(snapshot);
    sqlx::raw_sql("ALTER TABLE orders DROP COLUMN notes")
        .execute(&mut writer)
        .await
        .expect("alters");
    let mut snapshot = driver.snapshot().await.expect("a snapshot");
    let drifted: Result<Vec<_>, _> = snapshot.documents(&entity).try_collect().await;
    let error = drifted.expect_err("the column is gone");
    assert!(error.to_string().contains("notes"), "{error}");
}

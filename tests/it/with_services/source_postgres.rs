//! The PostgreSQL driver against a real server.

use futures::TryStreamExt;
use relvec::error::ErrorKind;
use relvec::model::metadata::{DataType, RawMetadata, TableKind, TableMetadata};
use relvec::source::{self, Selection};
use secrecy::SecretString;
use sqlx::{Connection, PgConnection};

use crate::services::postgres_url;

/// Makes a database from a script and gives its URL.
async fn database(script: &'static str) -> String {
    let url = postgres_url().await;
    let mut connection = PgConnection::connect(&url).await.expect("connects");
    sqlx::raw_sql(script)
        .execute(&mut connection)
        .await
        .expect("the script is valid");
    url
}

async fn collect(url: &str, selection: &Selection) -> relvec::error::Result<source::Collected> {
    source::open(&SecretString::from(url.to_owned()))?
        .collect(selection)
        .await
}

fn all(sample_rows: u32) -> Selection {
    Selection {
        sample_rows,
        ..Selection::default()
    }
}

fn table<'a>(metadata: &'a RawMetadata, name: &str) -> &'a TableMetadata {
    let found = metadata
        .tables
        .iter()
        .find(|table| table.table.name == name);
    found.unwrap_or_else(|| panic!("no table {name}"))
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
        r#"[1,"one","happy",{"$type":"float","value":"NaN"},{"$type":"float","value":"NaN"},"infinity","0044-03-15 BC","P1M1D",{"$type":"bytes","length":2},"{\"a\": 1}","{a,b}",true,"10.0.0.1/32"]"#
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
    assert!(
        collected.notes[0].contains("`public.closed`"),
        "{:?}",
        collected.notes
    );
}

#[tokio::test]
async fn each_way_of_not_getting_in_has_its_message() {
    let url = postgres_url().await;
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

#[tokio::test]
async fn documents_are_those_of_one_instant() {
    let url = database(SHOP).await;
    let secret = SecretString::from(url.clone());
    let (_, context) = source::inspect(&secret, &[], &[], 50)
        .await
        .expect("inspects");
    let job = serde_json::from_str(r#"{"source": {"url": "x"}}"#).expect("a job");
    let plan = relvec::handlers::analyzer::analyze(&job, &context)
        .expect("a plan")
        .plan;
    let driver = source::open(&secret).expect("opens");
    let mut snapshot = driver.snapshot().await.expect("a snapshot");
    let mut writer = PgConnection::connect(&url).await.expect("connects");
    sqlx::raw_sql("DELETE FROM order_lines; UPDATE orders SET notes = 'changed'; INSERT INTO orders VALUES (11);")
        .execute(&mut writer)
        .await
        .expect("writes");
    let documents: Vec<_> = snapshot
        .documents(&plan.entities[0])
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
    let names: Vec<&str> = plan.entities[0]
        .metadata
        .iter()
        .map(|m| m.name.as_str())
        .collect();
    assert_eq!(names, ["customer_id", "total", "at"]);
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
    let drifted: Result<Vec<_>, _> = snapshot.documents(&plan.entities[0]).try_collect().await;
    let error = drifted.expect_err("the column is gone");
    assert!(error.to_string().contains("notes"), "{error}");
}

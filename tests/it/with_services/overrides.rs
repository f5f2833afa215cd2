//! What a job says about the source, from the job to the proof: filters on every database, roots and templates.

use serde_json::{Value, json};
use sqlx::mysql::MySqlConnection;
use sqlx::{Connection, Executor as _, PgConnection};

use crate::relvec::{Relvec, job, postgres, shop_sql, sqlite};
use crate::services::{mariadb_url, postgres_source_url, postgres_url};

/// What the shop has beside: values that a filter has to compare as what they are, and texts that would end a literal.
const TICKETS: &str = r"
CREATE TABLE tickets (id INTEGER PRIMARY KEY, state VARCHAR(20), body VARCHAR(200) NOT NULL, hours DECIMAL(6,2), is_open BOOLEAN NOT NULL,
  opened DATE NOT NULL);
CREATE TABLE ticket_comments (id INTEGER PRIMARY KEY, ticket_id INTEGER NOT NULL REFERENCES tickets (id), body VARCHAR(200) NOT NULL);
INSERT INTO tickets VALUES
  (1, 'open', 'The pump in the cellar makes a loud noise at night.', 1.50, TRUE, '2024-01-31'),
  (2, 'open', 'The window on the second floor does not close any more.', 10.00, TRUE, '2024-02-29'),
  (3, 'closed', 'Water comes through the roof when the wind is strong.', 2.25, FALSE, '2023-12-24'),
  (4, NULL, 'Somebody has to look after the lamp at the front door.', NULL, TRUE, '2024-05-01'),
  (5, 'o''clock; --', 'The bell of the tower rings three times at every hour.', 9.00, FALSE, '2024-06-30'),
  (6, 'Open', 'A door of the kitchen cupboard has come off its hinges.', 0.10, TRUE, '2022-07-04');
INSERT INTO ticket_comments VALUES (1, 1, 'It stopped when the valve was closed.'), (2, 3, 'Seen again on Monday after the storm.'),
  (3, 5, 'The neighbours have complained about it twice.');
";

fn rows(rows: &[i64]) -> Vec<String> {
    rows.iter().map(ToString::to_string).collect()
}

/// Runs a job with a filter on tickets, and asserts that the documents are those of these rows, validated.
async fn filtered(relvec: &Relvec, source: &str, target: &str, filter: &Value, expected: &[i64]) {
    let mut job = job(source, target);
    job["analysis"] = json!({"filters": {"tickets": filter}});
    let (code, run) = relvec.run(&job);
    assert_eq!(code, 0, "{filter}: {run:#}");
    let validation = &run["validation_report"];
    assert_eq!(validation["verdict"], "validated", "{filter}");
    let entity = &validation["entities"][0];
    assert_eq!(entity["source_rows"], expected.len(), "{filter}: {entity}");
    for kind in ["missing", "extra", "changed", "bad_vectors", "quarantined"] {
        assert_eq!(entity[kind], 0, "{filter}: {kind} in {entity}");
    }
    let mut connection = PgConnection::connect(target).await.unwrap();
    let mut stored: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT source_key ->> 'id' FROM relvec_documents WHERE entity = 'tickets' ORDER BY 1",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    stored.sort();
    assert_eq!(stored, rows(expected), "{filter}");
    let comments: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM relvec_documents WHERE content LIKE '%Ticket comments:%'",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    let with_comments = expected
        .iter()
        .filter(|row| [1, 3, 5].contains(row))
        .count();
    assert_eq!(comments, i64::try_from(with_comments).unwrap(), "{filter}");
}

/// Every filter on the same target, so that each run has to take away what the one before it left.
async fn every_filter(source: &str) {
    let relvec = Relvec::new();
    let target = postgres_url().await;
    let one = |column: &str, op: &str, value: Value| json!([{"column": column, "op": op, "value": value}]);
    for (filter, expected) in [
        (one("state", "eq", json!("closed")), &[3][..]),
        (one("state", "eq", json!("o'clock; --")), &[5]),
        (json!([{"column": "state", "op": "is_null"}]), &[4]),
        (one("hours", "ge", json!(2.25)), &[2, 3, 5]),
        (one("hours", "lt", json!("9")), &[1, 3, 6]),
        (one("is_open", "eq", json!(true)), &[1, 2, 4, 6]),
        (one("opened", "gt", json!("2024-01-31")), &[2, 4, 5]),
        (one("state", "like", json!("o'c%")), &[5]),
        (
            json!([{"column": "id", "op": "not_in", "values": [1, 2, "3"]}]),
            &[4, 5, 6],
        ),
        (
            json!([{"column": "id", "op": "in", "values": [1, 2, 3]}, {"column": "state", "op": "ne", "value": "closed"}]),
            &[1, 2],
        ),
    ] {
        filtered(&relvec, source, &target, &filter, expected).await;
    }
}

#[tokio::test]
async fn filters_on_sqlite() {
    let relvec = Relvec::new();
    let source = sqlite(&relvec.path("tickets.db"), TICKETS).await;
    every_filter(&source).await;
}

#[tokio::test]
async fn filters_on_postgresql() {
    let source = postgres_source_url().await;
    postgres(&source, TICKETS).await;
    every_filter(&source).await;
}

#[tokio::test]
async fn filters_on_mariadb() {
    let source = mariadb_url().await;
    let mut connection = MySqlConnection::connect(&source).await.unwrap();
    // There the default collation holds `open` and `Open` equal; no filter here tells them apart.
    connection.execute(TICKETS).await.unwrap();
    every_filter(&source).await;
}

#[tokio::test]
async fn a_root_a_template_and_a_forced_join_make_the_documents() {
    let relvec = Relvec::new();
    // Nothing says that a line is of a product but the job.
    let sql = shop_sql()
        .replace(
            "product_id INTEGER NOT NULL REFERENCES products (id)",
            "thing INTEGER NOT NULL",
        )
        .replace(" REFERENCES customers (id)", "");
    let source = sqlite(&relvec.path("shop.db"), &sql).await;
    let target = postgres_url().await;
    let mut job = job(&source, &target);
    job["analysis"] = json!({
        "roots": ["orders", "customers"],
        "exclude_tables": ["products_*", "prod*"],
        "exclude_columns": ["orders.status"],
    });
    let (code, run) = relvec.run(&job);
    assert_eq!(code, 1, "a pattern that matches nothing: {run:#}");
    let said = run.to_string();
    assert!(
        said.contains("the pattern `products_*` matches no table"),
        "{said}"
    );

    job["analysis"] = json!({
        "roots": ["orders"],
        "exclude_columns": ["orders.status"],
        "joins": [{"from": "order_lines", "columns": ["thing"], "to": "products", "to_columns": ["id"]}],
        "templates": {"orders": [
            {"label": "Note", "column": "order_notes"},
            {"column": "customers.name", "via": "customer_id"},
            {"label": "Things", "children": "order_lines", "columns": ["products.name", "quantity"]},
        ]},
        "filters": {"orders": [{"column": "id", "op": "le", "value": 50}]},
    });
    let (code, run) = relvec.run(&job);
    assert_eq!(code, 0, "{run:#}");
    assert_eq!(run["validation_report"]["verdict"], "validated");
    let mut connection = PgConnection::connect(&target).await.unwrap();
    let text: String = sqlx::query_scalar(
        "SELECT content FROM relvec_documents WHERE entity = 'orders' AND source_key ->> 'id' = '2' AND chunk = 0",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert!(text.starts_with("Note: Please deliver the "), "{text}");
    assert!(
        text.contains("\nCustomer: Customer Number 3\nThings:\n- The "),
        "{text}"
    );
    let (orders, with_status): (i64, i64) = sqlx::query_as(
        "SELECT count(DISTINCT source_key), count(*) FILTER (WHERE metadata ? 'status') FROM relvec_documents WHERE entity = 'orders'",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!((orders, with_status), (50, 0));
}

#[tokio::test]
async fn a_source_of_names_only_waits_for_a_table_and_goes_on_with_the_answer() {
    let relvec = Relvec::new();
    let mut sql = String::from(
        "CREATE TABLE towns (id INTEGER PRIMARY KEY, code TEXT NOT NULL, name TEXT NOT NULL);\n",
    );
    let names = [
        "Oberau",
        "Unterau",
        "Steinbach",
        "Lindenau",
        "Altdorf",
        "Neudorf",
    ];
    for id in 1..=30 {
        use std::fmt::Write as _;
        let name = names[id % names.len()];
        let _ = writeln!(
            sql,
            "INSERT INTO towns VALUES ({id}, 'T-{id:03}', '{name}');"
        );
    }
    let source = sqlite(&relvec.path("towns.db"), &sql).await;
    let target = postgres_url().await;
    // The process that the answer starts has to find the password again.
    let file = relvec.path("target.url");
    std::fs::write(&file, &target).unwrap();
    let mut job = job(&source, &target);
    job["target"] = json!({"url_file": file});
    let (code, run) = relvec.run(&job);
    assert_eq!((code, &run["status"]), (3, &json!("waiting")), "{run:#}");
    let question = run["open_questions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|question| question["id"] == "no_text");
    let question = question.expect("the question");
    assert_eq!(
        (&question["blocking"], &question["choices"]),
        (&json!(true), &json!(["towns"]))
    );
    let id = run["run_id"].as_str().unwrap();
    let ended = relvec.call(&["runs", "answer", id, "no_text", "towns", "--format", "json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let run: Value =
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    assert_eq!(
        run["validation_report"]["entities"][0]["source_rows"], 30,
        "{run:#}"
    );
    assert_eq!(run["validation_report"]["verdict"], "validated");
}

//! Sources that fail while they are read, on both servers: what is wrong with a table is said of that table, and what is wrong
//! with the server is an error of the run, soon.

use std::time::Duration;

use relvec::error::ErrorKind;
use relvec::source::{Limits, Selection};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection};

use crate::relvec::{Relvec, postgres, shop_sql};
use crate::services::{mariadb_url, postgres_source_url};
use crate::sources::{Fault, Proxy, all, collect, table};

const TABLES: &str = "
CREATE TABLE one(id int PRIMARY KEY, body varchar(90));
CREATE TABLE two(id int PRIMARY KEY, body varchar(90));
CREATE TABLE zebra(id int PRIMARY KEY, body varchar(90));
INSERT INTO one VALUES (1, 'a'), (2, 'b');
INSERT INTO two VALUES (1, 'c');
INSERT INTO zebra VALUES (1, 'd');";

fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres")
}

async fn run(url: &str, script: &'static str) {
    let script = AssertSqlSafe(script);
    if is_postgres(url) {
        let mut connection = PgConnection::connect(url).await.expect("connects");
        let ran = sqlx::raw_sql(script).execute(&mut connection).await;
        ran.expect("runs");
    } else {
        let mut connection = MySqlConnection::connect(url).await.expect("connects");
        let ran = sqlx::raw_sql(script).execute(&mut connection).await;
        ran.expect("runs");
    }
}

/// The servers, each with three tables.
async fn servers() -> [String; 2] {
    let servers = [postgres_source_url().await, mariadb_url().await];
    for url in &servers {
        run(url, TABLES).await;
    }
    servers
}

fn impatient() -> Selection {
    Selection {
        limits: Limits {
            statement: Duration::from_millis(800),
            view: Duration::from_millis(300),
            silence: Duration::from_millis(500),
            connections: 2,
        },
        ..all(5)
    }
}

/// One table after the other.
fn in_order() -> Selection {
    Selection {
        limits: Limits {
            connections: 1,
            ..Limits::default()
        },
        ..all(5)
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_an_error_of_the_server() {
    for url in servers().await {
        let catalogue = if is_postgres(&url) {
            "pg_attrdef"
        } else {
            "information_schema.COLUMNS"
        };
        for statement in [catalogue, "SAVEPOINT relation"] {
            let proxy = Proxy::start(&url, statement, Fault::Drop).await;
            let error = collect(proxy.url(), &all(5))
                .await
                .expect_err("the connection is gone");
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{statement}: {error}");
            assert!(!error.hints().is_empty());
        }
    }
}

#[tokio::test]
async fn a_server_that_stands_still_is_given_up() {
    for url in servers().await {
        let count = if is_postgres(&url) {
            "count(*)"
        } else {
            "COUNT(*)"
        };
        for statement in ["SAVEPOINT relation", "FROM", count] {
            let proxy = Proxy::start(&url, statement, Fault::Stall).await;
            let error = collect(proxy.url(), &impatient())
                .await
                .expect_err("nothing answers");
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{statement}: {error}");
        }
    }
}

#[tokio::test]
async fn a_table_that_is_dropped_while_the_catalogue_is_read_is_passed_over() {
    for url in servers().await {
        let proxy = Proxy::start(&url, "SAVEPOINT relation", Fault::Hold).await;
        let selection = in_order();
        let reading = collect(proxy.url(), &selection);
        let dropping = async {
            proxy.seen().await;
            run(&url, "DROP TABLE two").await;
            proxy.let_go();
        };
        let (collected, ()) = tokio::join!(reading, dropping);
        let collected = collected.expect("the others are read");
        let names: Vec<&str> = collected
            .metadata
            .tables
            .iter()
            .map(|table| table.table.name.as_str())
            .collect();
        assert_eq!(names, ["one", "zebra"]);
        assert_eq!(table(&collected.metadata, "zebra").row_count, 1);
        let note = collected.notes.iter().find(|note| note.contains("two`"));
        assert!(
            note.is_some_and(|note| note.contains("dropped or changed")),
            "{:?}",
            collected.notes
        );
    }
}

#[tokio::test]
async fn a_table_that_takes_too_long_does_not_keep_the_others_away() {
    for url in servers().await {
        let slow = if is_postgres(&url) {
            "CREATE VIEW slow AS SELECT one.id, pg_sleep(20)::text AS nap FROM one ORDER BY nap"
        } else {
            "CREATE VIEW slow AS SELECT one.id, SLEEP(20) AS nap FROM one GROUP BY id, nap"
        };
        run(&url, slow).await;
        let collected = collect(&url, &impatient())
            .await
            .expect("the others are read");
        assert_eq!(table(&collected.metadata, "zebra").sample_rows.len(), 1);
        assert!(table(&collected.metadata, "slow").sample_rows.is_empty());
        let note = collected.notes.iter().find(|note| note.contains("slow`"));
        assert!(
            note.is_some_and(|note| note.contains("longer than it may")),
            "{:?}",
            collected.notes
        );
    }
}

#[tokio::test]
async fn no_lock_is_kept_on_a_table_that_was_read() {
    for url in servers().await {
        // The second table is held, so that the first one was read and its session still lives.
        let (_, database) = url.rsplit_once('/').expect("a database");
        let second = if is_postgres(&url) {
            "\"public\".\"two\"".to_owned()
        } else {
            format!("`{database}`.`two`")
        };
        let proxy = Proxy::start(&url, &second, Fault::Hold).await;
        let selection = in_order();
        let reading = collect(proxy.url(), &selection);
        let altering = async {
            proxy.seen().await;
            run(&url, "ALTER TABLE one ADD COLUMN late int").await;
            proxy.let_go();
        };
        let (collected, ()) = tokio::join!(reading, altering);
        assert_eq!(collected.expect("all are read").metadata.tables.len(), 3);
    }
}

#[tokio::test]
async fn a_table_that_is_denied_is_an_open_question_and_the_run_goes_on() {
    let relvec = Relvec::new();
    let url = postgres_source_url().await;
    postgres(&url, &shop_sql()).await;
    let (_, name) = url.rsplit_once('/').expect("a database");
    let rights = format!(
        "CREATE TABLE salaries(id int PRIMARY KEY); CREATE ROLE {name}_r LOGIN PASSWORD 'r';
         GRANT SELECT ON customers, products, orders, order_lines TO {name}_r;"
    );
    postgres(&url, &rights).await;
    let (_, place) = url.rsplit_once('@').expect("a user");
    let job = json!({"source": {"url": format!("postgres://{name}_r:r@{place}")}, "execution": {"runtime": "script"}});
    let (code, run) = relvec.run_graph("plan-only", &job, &[]);
    assert_eq!(code, 0, "{run:#}");
    let asked = run["open_questions"].as_array().expect("questions");
    let question = asked
        .iter()
        .find(|question| question["id"] == "denied:public.salaries")
        .unwrap_or_else(|| panic!("no question in {run:#}"));
    assert_eq!(question["default"], "continue");
    assert_eq!(question["blocking"], false);
}

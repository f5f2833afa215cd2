//! Child rows in each source: many of them under few parents, in the order of their key.

use futures::TryStreamExt;
use relvec::model::plan::EntityPlan;
use relvec::source::{self, SourceDocument};
use secrecy::SecretString;
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection};

use crate::services::{self, mariadb_url, postgres_source_url};

const CHILDREN: usize = 20_000;
const PARENTS: usize = 3;

/// The tables; `numbers` is a query of the numbers from 1 to so many, `text` makes a text of two.
fn script(numbers: &str, text: &str) -> String {
    format!(
        "CREATE TABLE parents(id int PRIMARY KEY, name varchar(20));
         CREATE TABLE kinds(id int PRIMARY KEY, name varchar(20));
         CREATE TABLE children(id int PRIMARY KEY, parent_id int, kind_id int, name varchar(50));
         INSERT INTO parents VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, 'none');
         INSERT INTO kinds VALUES (0, 'even'), (1, 'odd');
         INSERT INTO children SELECT {CHILDREN} + 1 - i, 1 + i % {PARENTS}, i % 2, {text} FROM ({numbers}) AS n;"
    )
}

fn plan(schema: Option<&str>) -> EntityPlan {
    let of = |name: &str| json!({"schema": schema, "name": name});
    serde_json::from_value(json!({
        "name": "parents", "root": of("parents"), "row_count": 4, "reasons": [], "parents": [], "metadata": [],
        "key": [{"name": "id", "data_type": "integer"}],
        "sections": [
            {"section": "field", "label": "Name", "score": 1.0, "reasons": [],
             "source": {"alias": "r", "column": "name", "data_type": "text"}},
            {"section": "children", "label": "Children", "table": of("children"), "reasons": [],
             "on": [{"from": "parent_id", "to": "id"}],
             "parents": [{"alias": "p1", "left": "c", "table": of("kinds"), "on": [{"from": "kind_id", "to": "id"}], "unique_key": ["id"]}],
             "columns": [{"alias": "c", "column": "name", "data_type": "text"}, {"alias": "p1", "column": "name", "data_type": "text"}],
             "order_by": [{"name": "id", "data_type": "integer"}]}]
    }))
    .expect("a plan")
}

async fn documents(url: &str, schema: Option<&str>) -> Vec<SourceDocument> {
    let driver = source::open(&SecretString::from(url.to_owned())).expect("opens");
    let mut snapshot = driver.snapshot().await.expect("a snapshot");
    let entity = plan(schema);
    let documents = snapshot.documents(&entity).try_collect().await;
    documents.expect("documents")
}

/// The document of a parent, by this test's own code: child `i` has the id `CHILDREN + 1 - i`.
fn expected(parent: usize, name: &str) -> String {
    let mut lines = vec![format!("Name: {name}"), "Children:".to_owned()];
    let of_parent = (1..=CHILDREN).rev().filter(|i| 1 + i % PARENTS == parent);
    lines.extend(of_parent.map(|i| format!("- child {i} | {}", ["even", "odd"][i % 2])));
    lines.join("\n")
}

#[tokio::test]
async fn twenty_thousand_children_of_three_parents_all_arrive_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("children.db");
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true);
    let mut sqlite = SqliteConnection::connect_with(&options)
        .await
        .expect("a file");
    let numbers = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {CHILDREN}) SELECT i FROM n"
    );
    let made = script(&numbers, "'child ' || i");
    sqlx::raw_sql(AssertSqlSafe(made))
        .execute(&mut sqlite)
        .await
        .expect("tables");
    let postgres = postgres_source_url().await;
    let mut connection = PgConnection::connect(&postgres).await.expect("connects");
    let made = script(
        &format!("SELECT generate_series(1, {CHILDREN}) AS i"),
        "'child ' || i",
    );
    sqlx::raw_sql(AssertSqlSafe(made))
        .execute(&mut connection)
        .await
        .expect("tables");
    let mariadb = mariadb_url().await;
    let mut connection = MySqlConnection::connect(&mariadb).await.expect("connects");
    let made = script(&services::numbers(CHILDREN), "CONCAT('child ', i)");
    sqlx::raw_sql(AssertSqlSafe(made))
        .execute(&mut connection)
        .await
        .expect("tables");
    let (_, database) = mariadb.rsplit_once('/').expect("a database");
    let sqlite = format!("sqlite:{}", path.display());
    for (url, schema) in [
        (&sqlite, None),
        (&postgres, Some("public")),
        (&mariadb, Some(database)),
    ] {
        let documents = documents(url, schema).await;
        assert_eq!(documents.len(), 4);
        for (parent, name) in [(1, "one"), (2, "two"), (3, "three")] {
            let document = documents
                .iter()
                .find(|d| d.key == [parent.to_string()])
                .expect("its document");
            assert!(
                document.content == expected(parent, name),
                "{schema:?}: parent {parent}"
            );
        }
        let lines: usize = documents
            .iter()
            .map(|d| d.content.matches("\n- ").count())
            .sum();
        assert_eq!(lines, CHILDREN);
        let childless = documents
            .iter()
            .find(|d| d.key == ["4"])
            .expect("its document");
        assert_eq!(childless.content, "Name: none");
    }
}

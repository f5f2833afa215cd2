//! What one version of a server has and another has not. `tests/versions` runs this on each of them; a test asks the server which it
//! is, and has an expectation for either.

use futures::TryStreamExt;
use relvec::error::ErrorKind;
use relvec::model::metadata::{DataType, IndexPart};
use relvec::model::plan::EntityPlan;
use relvec::source::{self, Counts, Selection};
use secrecy::SecretString;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection};

use crate::services::{
    MysqlVersion, mariadb_url, numbers, postgres_source_url, postgres_version, user_of,
};
use crate::sources::{all, collect, table, types};

/// A database of a server that speaks MySQL's language.
struct Server {
    url: String,
    version: MysqlVersion,
}

impl Server {
    async fn new() -> Self {
        let url = mariadb_url().await;
        let version = MysqlVersion::of(&url).await;
        Self { url, version }
    }

    fn database(&self) -> &str {
        self.url.rsplit_once('/').expect("a database").1
    }

    async fn run(&self, script: &str) {
        let mut connection = MySqlConnection::connect(&self.url).await.expect("connects");
        sqlx::raw_sql(AssertSqlSafe(script.to_owned()))
            .execute(&mut connection)
            .await
            .expect(script);
    }

    /// Makes a user, and gives the URL that it comes by.
    async fn user(&self, rights: &str) -> String {
        let user = user_of(self.database());
        let made = format!("CREATE USER {user}@'127.0.0.1' IDENTIFIED BY 'r'; {rights}");
        self.run(
            &made
                .replace("{user}", &format!("{user}@'127.0.0.1'"))
                .replace("{user_name}", &user[1..])
                .replace("{database}", self.database()),
        )
        .await;
        let (_, place) = self.url.rsplit_once('@').expect("a user");
        format!("mysql://{user}:r@{place}")
    }
}

#[tokio::test]
async fn hidden_columns_keys_and_expressions_arrive() {
    let server = Server::new().await;
    // Each server runs what is written for it and passes the rest over.
    server
        .run(
            "SET SESSION sql_mode = '' /*!80030 , sql_generate_invisible_primary_key = ON */;
             CREATE TABLE keyless(body varchar(50));
             CREATE TABLE hidden(id int PRIMARY KEY, name varchar(50), low varchar(50) AS (lower(name)) VIRTUAL,
               own int /*!80023 INVISIBLE */ /*M! INVISIBLE */ DEFAULT 7 /*!80013 , UNIQUE KEY by_lower ((lower(name))) */
               /*!80017 , doc json, KEY by_tag ((CAST(doc -> '$.tags' AS UNSIGNED ARRAY))) */);
             INSERT INTO keyless VALUES ('x'), ('x'); INSERT INTO hidden(id, name) VALUES (1, 'Ada');",
        )
        .await;
    let metadata = collect(&server.url, &all(5))
        .await
        .expect("collects")
        .metadata;
    let hidden = table(&metadata, "hidden");
    let own = hidden
        .columns
        .iter()
        .position(|column| column.name == "own");
    let own = own.expect("a column that SELECT * does not show");
    assert_eq!(hidden.sample_rows[0][own], json!(7));
    let low = hidden.columns.iter().find(|column| column.name == "low");
    assert!(low.is_some_and(|low| low.generated));
    let by_lower = hidden.indexes.iter().find(|index| index.name == "by_lower");
    assert_eq!(
        by_lower.is_some(),
        server.version.is_mysql_from(&[8, 0, 13])
    );
    let expressions = hidden.indexes.iter().filter(
        |index| matches!(&index.parts[..], [IndexPart::Expression(sql)] if !sql.is_empty()),
    );
    assert_eq!(
        expressions.count(),
        if server.version.is_mysql_from(&[8, 0, 17]) {
            2
        } else {
            0
        }
    );
    assert!(
        hidden.unique_keys.is_empty(),
        "an expression is no column's key"
    );
    let keyless = table(&metadata, "keyless");
    if server.version.is_mysql_from(&[8, 0, 30]) {
        assert_eq!(keyless.primary_key, ["my_row_id"]);
        assert_eq!(types(keyless), "my_row_id integer, body text");
    } else {
        assert!(keyless.primary_key.is_empty());
        assert_eq!(types(keyless), "body text");
    }
    assert_eq!(keyless.sample_rows.len(), 2);
}

#[tokio::test]
async fn statistics_are_those_of_now() {
    let server = Server::new().await;
    let rows = "SELECT CAST(TABLE_ROWS AS SIGNED) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()";
    server.run("CREATE TABLE grows(id int PRIMARY KEY)").await;
    let mut connection = MySqlConnection::connect(&server.url)
        .await
        .expect("connects");
    let before: i64 = sqlx::query_scalar(rows)
        .fetch_one(&mut connection)
        .await
        .expect("a number");
    server
        .run(&format!("INSERT INTO grows {}", numbers(2_000)))
        .await;
    let cached: i64 = sqlx::query_scalar(rows)
        .fetch_one(&mut connection)
        .await
        .expect("a number");
    assert_eq!(before, 0);
    assert_eq!(
        cached == 0,
        server.version.is_mysql,
        "MySQL says what it said before"
    );
    let selection = Selection {
        counts: Counts::Statistics,
        ..all(0)
    };
    let metadata = collect(&server.url, &selection)
        .await
        .expect("collects")
        .metadata;
    let grows = table(&metadata, "grows");
    assert!(
        (500..8_000).contains(&grows.row_count),
        "{}",
        grows.row_count
    );
}

#[tokio::test]
async fn rights_that_come_by_a_role_count() {
    let server = Server::new().await;
    server
        .run("CREATE TABLE open1(id int PRIMARY KEY); INSERT INTO open1 VALUES (1); CREATE TABLE closed(id int PRIMARY KEY)")
        .await;
    let whose = if server.version.is_mysql { "TO" } else { "FOR" };
    let rights = format!(
        "CREATE ROLE o{{user_name}}; GRANT SELECT ON {{database}}.open1 TO o{{user_name}}; GRANT o{{user_name}} TO {{user}};
         SET DEFAULT ROLE o{{user_name}} {whose} {{user}}"
    );
    let url = server.user(&rights).await;
    let metadata = collect(&url, &all(1)).await.expect("collects").metadata;
    assert_eq!(crate::sources::kinds(&metadata), "open1 table");
    assert_eq!(table(&metadata, "open1").sample_rows.len(), 1);
}

#[tokio::test]
async fn a_login_that_wants_encryption_says_so() {
    let server = Server::new().await;
    server.run("CREATE TABLE open1(id int PRIMARY KEY)").await;
    let url = server.user("GRANT SELECT ON {database}.* TO {user}").await;
    let plain = format!("{url}?ssl-mode=DISABLED");
    if server.version.is_mysql {
        let error = collect(&plain, &all(1))
            .await
            .expect_err("caching_sha2_password");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(
            error.to_string().contains("encrypted connection"),
            "{error}"
        );
        assert!(error.hints().iter().any(|hint| hint.contains("ssl-mode")));
    } else {
        collect(&plain, &all(1)).await.expect("a login by digest");
    }
    collect(&url, &all(1))
        .await
        .expect("encrypted where the server can");
    if server.version.is_mysql {
        // The server knows the digest now, and the password is not sent again.
        collect(&plain, &all(1)).await.expect("a login by digest");
    }
}

#[tokio::test]
async fn long_texts_are_put_in_order_by_whoever_may_only_read() {
    const LONG: usize = 2 * 1024 * 1024;
    let server = Server::new().await;
    // MySQL 8 sorts rows with their texts in the memory that a session may use for it.
    server
        .run(&format!(
            "CREATE TABLE books(code varchar(30) PRIMARY KEY, body longtext);
             CREATE TABLE pages(id int PRIMARY KEY, book varchar(30), body longtext, FOREIGN KEY (book) REFERENCES books(code));
             INSERT INTO books SELECT CONCAT('book ', i), REPEAT('b', {LONG}) FROM ({}) AS n;
             INSERT INTO pages SELECT i, CONCAT('book ', 1 + i % 3), REPEAT('p', {LONG}) FROM ({}) AS n;",
            numbers(3),
            numbers(9),
        ))
        .await;
    let url = server.user("GRANT SELECT ON {database}.* TO {user}").await;
    let of = |name: &str| json!({"schema": server.database(), "name": name});
    let text = |alias: &str| json!({"alias": alias, "column": "body", "data_type": "text"});
    let entity: EntityPlan = serde_json::from_value(json!({
        "name": "books", "root": of("books"), "row_count": 3, "reasons": [], "parents": [], "metadata": [],
        "key": [{"name": "code", "data_type": "text"}],
        "sections": [
            {"section": "field", "label": "Body", "score": 1.0, "reasons": [], "source": text("r")},
            {"section": "children", "label": "Pages", "table": of("pages"), "reasons": [], "parents": [],
             "on": [{"from": "book", "to": "code"}], "columns": [text("c")], "order_by": [{"name": "id", "data_type": "integer"}]}]
    }))
    .expect("a plan");
    let driver = source::open(&SecretString::from(url)).expect("opens");
    let mut snapshot = driver.snapshot().await.expect("a snapshot");
    let documents: Vec<_> = snapshot
        .documents(&entity)
        .try_collect()
        .await
        .expect("documents");
    let keys: Vec<&str> = documents
        .iter()
        .map(|document| document.key[0].as_str())
        .collect();
    assert_eq!(keys, ["book 1", "book 2", "book 3"]);
    for document in documents {
        let texts = document.content.matches(&"p".repeat(LONG)).count();
        assert_eq!((texts, document.content.len() > 4 * LONG), (3, true));
    }
}

#[tokio::test]
async fn keys_of_periods_join_nothing() {
    let url = postgres_source_url().await;
    let script = if postgres_version(&url).await >= 180_000 {
        "CREATE TABLE rooms(id int4range, at tstzrange, PRIMARY KEY (id, at WITHOUT OVERLAPS));
         CREATE TABLE stays(room int4range, at tstzrange, guest int, note text, tripled int GENERATED ALWAYS AS (guest * 3) VIRTUAL,
           FOREIGN KEY (room, PERIOD at) REFERENCES rooms (id, PERIOD at));
         INSERT INTO rooms VALUES ('[1,1]', '[2024-01-01,2025-01-01)');
         INSERT INTO stays VALUES ('[1,1]', '[2024-02-01,2024-02-05)', 4, 'A quiet room please.');"
    } else {
        "CREATE TABLE rooms(id int4range, at tstzrange, PRIMARY KEY (id, at));
         CREATE TABLE stays(room int4range, at tstzrange, guest int, note text, tripled int GENERATED ALWAYS AS (guest * 3) STORED,
           FOREIGN KEY (room, at) REFERENCES rooms (id, at));
         INSERT INTO rooms VALUES ('[1,1]', '[2024-01-01,2025-01-01)');
         INSERT INTO stays VALUES ('[1,1]', '[2024-01-01,2025-01-01)', 4, 'A quiet room please.');"
    };
    let mut connection = PgConnection::connect(&url).await.expect("connects");
    sqlx::raw_sql(script)
        .execute(&mut connection)
        .await
        .expect("tables");
    let metadata = collect(&url, &all(5)).await.expect("collects").metadata;
    let (rooms, stays) = (table(&metadata, "rooms"), table(&metadata, "stays"));
    assert_eq!(rooms.primary_key, ["id", "at"]);
    // The period of a stay is within a room's, and not equal to it.
    let joins = usize::from(postgres_version(&url).await < 180_000);
    assert_eq!(stays.foreign_keys.len(), joins);
    let tripled = stays.columns.iter().find(|column| column.name == "tripled");
    assert!(
        tripled.is_some_and(|column| column.generated && column.data_type == DataType::Integer)
    );
    assert_eq!(stays.sample_rows[0][4], json!(12));
}

#[tokio::test]
async fn a_limit_of_transactions_ends_no_reading() {
    let url = postgres_source_url().await;
    let mut connection = PgConnection::connect(&url).await.expect("connects");
    let slow = "CREATE VIEW slow AS SELECT 1 AS id, pg_sleep(1)::text AS nap";
    sqlx::raw_sql(slow)
        .execute(&mut connection)
        .await
        .expect("a view");
    let (_, name) = url.rsplit_once('/').expect("a database");
    let limit = format!("ALTER DATABASE {name} SET transaction_timeout = '500ms'");
    let limited = sqlx::raw_sql(AssertSqlSafe(limit))
        .execute(&mut connection)
        .await;
    assert_eq!(limited.is_ok(), postgres_version(&url).await >= 170_000);
    let collected = collect(&url, &all(1)).await.expect("collects");
    assert_eq!(
        table(&collected.metadata, "slow").sample_rows.len(),
        1,
        "{:?}",
        collected.notes
    );
}

//! The services that `tests/run` starts.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, MySqlConnection, PgConnection};

/// An empty source database of any kind.
pub enum Source {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
    Mysql(MySqlConnection),
}

impl Source {
    /// Makes one of a dialect; SQLite's file stands in the folder. Gives its URL too, and the schema that its tables are in.
    pub async fn new(dialect: &str, folder: &Path) -> (Self, String, Option<String>) {
        match dialect {
            "postgres" => {
                let url = postgres_url().await;
                let source = PgConnection::connect(&url).await.expect("a source");
                (Self::Postgres(source), url, Some("public".to_owned()))
            }
            "mysql" => {
                let url = mariadb_url().await;
                let source = MySqlConnection::connect(&url).await.expect("a source");
                let schema = url.rsplit_once('/').expect("a database").1.to_owned();
                (Self::Mysql(source), url, Some(schema))
            }
            _ => {
                let path = folder.join("source.db");
                let options = SqliteConnectOptions::new()
                    .filename(&path)
                    .create_if_missing(true);
                let source = SqliteConnection::connect_with(&options)
                    .await
                    .expect("a source");
                let url = format!("sqlite:{}", path.display());
                (Self::Sqlite(source), url, None)
            }
        }
    }

    /// Runs statements.
    pub async fn run(&mut self, sql: &str) {
        let statements = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()));
        let done = match self {
            Self::Sqlite(source) => statements.execute(source).await.map(drop),
            Self::Postgres(source) => statements.execute(source).await.map(drop),
            Self::Mysql(source) => statements.execute(source).await.map(drop),
        };
        done.expect(sql);
    }
}

/// Makes an empty database in PostgreSQL and gives its URL. Panics where `tests/run` did not start the server: no test is skipped.
pub async fn postgres_url() -> String {
    let administrator = administrator("RELVEC_TEST_POSTGRES");
    let name = new_name();
    let mut connection = PgConnection::connect(&administrator)
        .await
        .expect("the PostgreSQL of tests/run answers");
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await
        .expect("a database can be made");
    with_database(&administrator, &name)
}

/// Makes an empty database in MariaDB and gives its URL.
pub async fn mariadb_url() -> String {
    let administrator = administrator("RELVEC_TEST_MARIADB");
    let name = new_name();
    let mut connection = MySqlConnection::connect(&administrator)
        .await
        .expect("the MariaDB of tests/run answers");
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await
        .expect("a database can be made");
    with_database(&administrator, &name)
}

fn administrator(variable: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "tests are told by tests/run")]
    let administrator = std::env::var(variable);
    administrator
        .unwrap_or_else(|_| panic!("{variable} is not set: start the tests with tests/run"))
}

fn new_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!(
        "t{}_{}_{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed),
        uuid::Uuid::new_v4().simple()
    )
}

fn with_database(administrator: &str, name: &str) -> String {
    let (server, _) = administrator
        .rsplit_once('/')
        .expect("a URL with a database");
    format!("{server}/{name}")
}

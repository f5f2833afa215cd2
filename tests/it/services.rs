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
                let url = postgres_source_url().await;
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

/// Makes an empty database in the PostgreSQL that has pgvector, and gives its URL. Panics where `tests/run` did not start the server:
/// no test is skipped.
pub async fn postgres_url() -> String {
    new_postgres(administrator("RELVEC_TEST_POSTGRES")).await
}

/// Makes an empty database for a source in PostgreSQL and gives its URL. `tests/versions` has another version of the server for it,
/// without pgvector.
pub async fn postgres_source_url() -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "tests are told by tests/versions"
    )]
    let of_version = std::env::var("RELVEC_TEST_SOURCE_POSTGRES");
    new_postgres(of_version.unwrap_or_else(|_| administrator("RELVEC_TEST_POSTGRES"))).await
}

async fn new_postgres(administrator: String) -> String {
    let name = new_name();
    let mut connection = PgConnection::connect(&administrator)
        .await
        .expect("PostgreSQL answers");
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await
        .expect("a database can be made");
    with_database(&administrator, &name)
}

/// Makes an empty database in MariaDB and gives its URL. `tests/versions` has other versions in its place, and MySQL.
pub async fn mariadb_url() -> String {
    let administrator = administrator("RELVEC_TEST_MARIADB");
    let name = new_name();
    let mut connection = MySqlConnection::connect(&administrator)
        .await
        .expect("MariaDB answers");
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await
        .expect("a database can be made");
    with_database(&administrator, &name)
}

/// Which server speaks MySQL's language: where they differ, a test has an expectation for each.
pub struct MysqlVersion {
    /// Whether it is MySQL and not MariaDB.
    pub is_mysql: bool,
    /// Its version, as 8.0.36.
    pub numbers: Vec<u32>,
}

impl MysqlVersion {
    /// Asks the server.
    pub async fn of(url: &str) -> Self {
        let mut connection = MySqlConnection::connect(url).await.expect("a server");
        let version: String = sqlx::query_scalar("SELECT VERSION()")
            .fetch_one(&mut connection)
            .await
            .expect("a version");
        let numbers = version
            .split(['.', '-'])
            .map_while(|part| part.parse().ok());
        Self {
            is_mysql: !version.contains("MariaDB"),
            numbers: numbers.collect(),
        }
    }

    /// Whether it is MySQL of at least this version.
    pub fn is_mysql_from(&self, least: &[u32]) -> bool {
        self.is_mysql && self.numbers.as_slice() >= least
    }

    /// Whether it is MariaDB of at least this version.
    pub fn is_mariadb_from(&self, least: &[u32]) -> bool {
        !self.is_mysql && self.numbers.as_slice() >= least
    }
}

/// Gives the version of a PostgreSQL, as 140002.
pub async fn postgres_version(url: &str) -> i32 {
    let mut connection = PgConnection::connect(url)
        .await
        .expect("PostgreSQL answers");
    sqlx::query_scalar("SELECT current_setting('server_version_num')::int")
        .fetch_one(&mut connection)
        .await
        .expect("a version")
}

/// Gives a name for a user of a database: MySQL takes 32 characters.
pub fn user_of(database: &str) -> String {
    format!("r_{}", &database[database.len() - 28..])
}

/// Gives a query of the numbers `i` from 1 to so many that MySQL and MariaDB both know.
pub fn numbers(count: usize) -> String {
    let digits: Vec<String> = (0..10)
        .map(|digit| format!("SELECT {digit} AS n"))
        .collect();
    let digits = digits.join(" UNION ALL ");
    let places = (count.max(2) - 1).ilog10() + 1;
    let tables: Vec<String> = (0..places)
        .map(|place| format!("({digits}) AS d{place}"))
        .collect();
    let terms: Vec<String> = (0..places)
        .map(|place| format!("{} * d{place}.n", 10_usize.pow(place)))
        .collect();
    let number = format!("1 + {}", terms.join(" + "));
    format!(
        "SELECT {number} AS i FROM {} WHERE {number} <= {count}",
        tables.join(", ")
    )
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

//! The services that `tests/run` starts.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{Connection, PgConnection};

/// Makes an empty database and gives its URL. Panics where `tests/run` did not start PostgreSQL: no test is skipped.
pub async fn postgres_url() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    #[expect(clippy::disallowed_methods, reason = "tests are told by tests/run")]
    let administrator = std::env::var("RELVEC_TEST_POSTGRES")
        .expect("RELVEC_TEST_POSTGRES is not set: start the tests with tests/run");
    let name = format!(
        "t{}_{}_{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed),
        uuid::Uuid::new_v4().simple()
    );
    let mut connection = PgConnection::connect(&administrator)
        .await
        .expect("the PostgreSQL of tests/run answers");
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await
        .expect("a database can be made");
    let (server, _) = administrator
        .rsplit_once('/')
        .expect("a URL with a database");
    format!("{server}/{name}")
}

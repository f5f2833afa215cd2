//! The corpora in servers: their catalogues tell the same joins, and what is understood is as good as in SQLite.

use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, PgConnection};

use crate::corpora::sql::{self, Keys, Sql};
use crate::corpora::{CORPORA, Corpus, Half};
use crate::discovery;
use crate::services::{mariadb_url, postgres_source_url};

async fn postgres(corpus: &Corpus, keys: Keys) -> String {
    let url = postgres_source_url().await;
    let script = sql::script(&(corpus.build)(), Sql::Postgres, keys);
    let connection = PgConnection::connect(&url).await.expect("connects");
    fill(connection, corpus, script).await;
    url
}

async fn mariadb(corpus: &Corpus, keys: Keys) -> String {
    let url = mariadb_url().await;
    let script = sql::script(&(corpus.build)(), Sql::Mysql, keys);
    let connection = MySqlConnection::connect(&url).await.expect("connects");
    fill(connection, corpus, script).await;
    url
}

async fn fill<C>(mut connection: C, corpus: &Corpus, script: String)
where
    C: Connection,
    for<'c> &'c mut C: Executor<'c, Database = C::Database>,
{
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(script)))
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", corpus.name));
    connection.close().await.expect("closes");
}

/// Gives the databases of a corpus, with its keys and without; of the held-out half only that they can be made.
macro_rules! measured {
    ($make:ident) => {{
        let mut measured = Vec::new();
        for corpus in CORPORA {
            let declared = $make(corpus, Keys::Declared).await;
            if corpus.half == Half::Development {
                let stripped = $make(corpus, Keys::Stripped).await;
                let declared = discovery::understand(&declared).await;
                measured.push((corpus, declared, discovery::understand(&stripped).await));
            }
        }
        measured
    }};
}

#[tokio::test]
async fn postgresql_takes_every_corpus_and_the_development_half_is_understood() {
    discovery::assert_bar(&discovery::summarize("PostgreSQL", measured!(postgres)));
}

#[tokio::test]
async fn mariadb_takes_every_corpus_and_the_development_half_is_understood() {
    discovery::assert_bar(&discovery::summarize("MariaDB", measured!(mariadb)));
}

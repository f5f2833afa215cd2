//! The corpora in PostgreSQL: its catalogue tells the same joins, and what is inferred is as good as in SQLite.

use sqlx::{Connection, PgConnection};

use crate::corpora::sql::{self, Keys, Sql};
use crate::corpora::{CORPORA, Corpus, Half};
use crate::discovery;
use crate::services::postgres_url;

async fn postgres(corpus: &Corpus, keys: Keys) -> String {
    let url = postgres_url().await;
    let script = sql::script(&(corpus.build)(), Sql::Postgres, keys);
    let mut connection = PgConnection::connect(&url).await.expect("connects");
    sqlx::raw_sql(sqlx::AssertSqlSafe(script))
        .execute(&mut connection)
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", corpus.name));
    connection.close().await.expect("closes");
    url
}

#[tokio::test]
async fn postgresql_takes_every_corpus_and_the_development_half_is_understood() {
    let mut measured = Vec::new();
    for corpus in CORPORA {
        let declared = postgres(corpus, Keys::Declared).await;
        let stripped = postgres(corpus, Keys::Stripped).await;
        if corpus.half == Half::Development {
            let declared = discovery::understand(&declared).await;
            measured.push((corpus, declared, discovery::understand(&stripped).await));
        }
    }
    discovery::assert_bar(&discovery::summarize("PostgreSQL", measured));
}

//! PostgreSQL: [`session`] is read-only and sees one instant, [`catalogue`] reads it in a few queries, and [`rows`] counts and
//! samples the tables over several sessions that see the same instant.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::documents::{self, SourceDocument};
use super::lookup::{self, Lookup};
use super::sharing::share_out;
use super::{Collected, ConnectionUrl, Limits, Selection, Snapshot, SourceDriver, sample};
use crate::error::Result;
use crate::model::metadata::{Dialect, RawMetadata};
use crate::model::plan::EntityPlan;
use crate::model::schema_context::Join;

mod catalogue;
mod errors;
mod rows;
mod session;

use errors::failed;
use rows::Sampler;
use session::Session;

/// Longest statement that makes an entity's documents.
const DOCUMENTS_TIMEOUT: Duration = Duration::from_hours(1);

/// A PostgreSQL database.
struct Postgres {
    url: ConnectionUrl,
}

/// Gives the driver of a PostgreSQL database; connects only when it is used.
///
/// # Errors
/// The URL is not one of PostgreSQL.
pub fn open(url: &ConnectionUrl) -> Result<Box<dyn SourceDriver>> {
    url.pg_options()?;
    Ok(Box::new(Postgres { url: url.clone() }))
}

impl Postgres {
    async fn collect(&self, selection: &Selection) -> Result<Collected> {
        let mut session = Session::open(&self.url, selection.limits).await?;
        let read_at = session.scalar(include_str!("postgres/instant.sql")).await?;
        let server_version = session.scalar("SHOW server_version").await?;
        let mut catalogue = catalogue::read(&mut session, selection).await?;
        let catalogue_queries = session.queries;
        if selection.opens_tables() && !catalogue.relations.is_empty() {
            read_rows(session, selection, &mut catalogue.relations).await?;
        }
        let mut collected = Collected {
            metadata: RawMetadata {
                dialect: Dialect::Postgres,
                database: self.url.database(),
                server_version,
                read_at,
                tables: Vec::with_capacity(catalogue.relations.len()),
            },
            notes: catalogue.notes,
            denied: catalogue.denied,
            catalogue_queries,
        };
        for relation in catalogue.relations {
            collected.add(relation.meta, relation.outcome);
        }
        Ok(collected)
    }
}

/// Reads counts and samples over as many connections as there may be, all of which see the same instant. Where the server
/// has no more of them, those that there are do the work.
async fn read_rows(
    mut session: Session<'_>,
    selection: &Selection,
    relations: &mut [catalogue::Relation],
) -> Result<()> {
    let snapshot = session.scalar("SELECT pg_export_snapshot()").await?;
    let wanted = selection.limits.connections.min(relations.len());
    let joining = (1..wanted).map(|_| session.join(&snapshot));
    let joined = futures::future::join_all(joining).await;
    let mut sessions: Vec<Session<'_>> = joined.into_iter().filter_map(Result::ok).collect();
    sessions.push(session);
    let budget = sample::budget(relations.len());
    let samplers = sessions.into_iter().map(|session| Sampler {
        session,
        selection,
        budget,
    });
    share_out(&mut samplers.collect::<Vec<_>>(), relations).await
}

impl SourceDriver for Postgres {
    fn collect<'a>(&'a self, selection: &'a Selection) -> BoxFuture<'a, Result<Collected>> {
        Box::pin(self.collect(selection))
    }

    fn lookup<'a>(&'a self, joins: &'a [Join]) -> BoxFuture<'a, Result<Vec<Lookup>>> {
        Box::pin(async move {
            let budget = lookup::Budget::new();
            let mut session = Session::open(&self.url, lookup::limits()).await?;
            let mut found = Vec::new();
            for join in joins {
                let sql = lookup::statement(Dialect::Postgres, join);
                // After an error the transaction is of no more use, and the rest stays as it was guessed.
                let Some(answer) = session.lookup(sql).await else {
                    break;
                };
                found.push(answer);
                if budget.is_spent() {
                    break;
                }
            }
            Ok(found)
        })
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Box<dyn Snapshot>>> {
        Box::pin(async {
            let limits = Limits {
                statement: DOCUMENTS_TIMEOUT,
                ..Limits::default()
            };
            let mut session = Session::open(&self.url, limits).await?;
            let read_at = session.scalar(include_str!("postgres/instant.sql")).await?;
            Ok(Box::new(PostgresSnapshot {
                connection: session.connection,
                url: self.url.clone(),
                read_at,
            }) as Box<dyn Snapshot>)
        })
    }
}

struct PostgresSnapshot {
    connection: PgConnection,
    url: ConnectionUrl,
    read_at: String,
}

impl Snapshot for PostgresSnapshot {
    fn read_at(&self) -> &str {
        &self.read_at
    }

    fn documents<'a>(
        &'a mut self,
        entity: &'a EntityPlan,
    ) -> BoxStream<'a, Result<SourceDocument>> {
        let url = &self.url;
        let sql = documents::statement(Dialect::Postgres, entity);
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch(&mut self.connection);
        documents::read(entity, rows, bytes, move |error| failed(url, error))
    }
}

/// Reads a text cell as bytes, because a `SQL_ASCII` database does not promise UTF-8.
fn bytes(row: &PgRow, index: usize) -> Result<Option<Vec<u8>>, sqlx::Error> {
    use sqlx::ValueRef as _;

    let value = row.try_get_raw(index)?;
    if value.is_null() {
        return Ok(None);
    }
    value
        .as_bytes()
        .map(|bytes| Some(bytes.to_vec()))
        .map_err(sqlx::Error::Decode)
}

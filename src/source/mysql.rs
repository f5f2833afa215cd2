//! MySQL and MariaDB: [`session`] is read-only, [`catalogue`] reads one database's catalogue in a few queries, and [`rows`] counts
//! and samples the tables over several sessions.
//!
//! A server has no snapshot that sessions could share, and its catalogue is of no snapshot at all. So the catalogue says what is
//! when it is asked, and counts and samples of different tables are of instants that lie as far apart as the sessions'
//! connecting. The documents of a [`Snapshot`] are of one session and one instant, where the storage engine has
//! transactions (`InnoDB`); `MyISAM` and Aria tables are read as they are.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::AssertSqlSafe;
use sqlx::mysql::MySqlConnection;

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
mod types;

use errors::failed;
use rows::Sampler;
use session::Session;

/// Longest statement that makes an entity's documents.
const DOCUMENTS_TIMEOUT: Duration = Duration::from_hours(1);
/// The catalogue's queries are not many more.
const CATALOGUE_SESSIONS: usize = 3;
const INSTANT: &str = include_str!("mysql/instant.sql");

/// A MySQL or MariaDB database.
struct Mysql {
    url: ConnectionUrl,
}

/// Gives the driver of a MySQL or MariaDB database; connects only when it is used.
///
/// # Errors
/// The URL is not one of MySQL or MariaDB.
pub fn open(url: &ConnectionUrl) -> Result<Box<dyn SourceDriver>> {
    url.mysql_options()?;
    Ok(Box::new(Mysql { url: url.clone() }))
}

impl Mysql {
    /// Opens sessions. Where the server has no more of them, those that there are do the work.
    async fn sessions(&self, count: usize, limits: Limits) -> Result<Vec<Session<'_>>> {
        let mut sessions = vec![Session::open(&self.url, limits).await?];
        let joining = (1..count).map(|_| Session::open(&self.url, limits));
        let joined = futures::future::join_all(joining).await;
        sessions.extend(joined.into_iter().filter_map(Result::ok));
        Ok(sessions)
    }

    async fn collect(&self, selection: &Selection) -> Result<Collected> {
        let limits = selection.limits;
        let count = if selection.opens_tables() {
            limits.connections
        } else {
            limits.connections.min(CATALOGUE_SESSIONS)
        };
        let mut sessions = self.sessions(count, limits).await?;
        let read_at = sessions[0].scalar(INSTANT).await?;
        let server_version = sessions[0].server.version.clone();
        let mut catalogue = catalogue::read(&mut sessions, selection).await?;
        let catalogue_queries = sessions.iter().map(|session| session.queries).sum();
        if selection.opens_tables() {
            let budget = sample::budget(catalogue.relations.len());
            let samplers = sessions.into_iter().map(|session| Sampler {
                session,
                selection,
                budget,
            });
            share_out(&mut samplers.collect::<Vec<_>>(), &mut catalogue.relations).await?;
        }
        let mut collected = Collected {
            metadata: RawMetadata {
                dialect: Dialect::Mysql,
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

impl SourceDriver for Mysql {
    fn collect<'a>(&'a self, selection: &'a Selection) -> BoxFuture<'a, Result<Collected>> {
        Box::pin(self.collect(selection))
    }

    fn lookup<'a>(&'a self, joins: &'a [Join]) -> BoxFuture<'a, Result<Vec<Lookup>>> {
        Box::pin(async move {
            let budget = lookup::Budget::new();
            let mut session = Session::open(&self.url, lookup::limits()).await?;
            let mut found = Vec::new();
            for join in joins {
                let sql = lookup::statement(Dialect::Mysql, join);
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
            let read_at = session.scalar(INSTANT).await?;
            Ok(Box::new(MysqlSnapshot {
                connection: session.connection,
                url: self.url.clone(),
                read_at,
            }) as Box<dyn Snapshot>)
        })
    }
}

struct MysqlSnapshot {
    connection: MySqlConnection,
    url: ConnectionUrl,
    read_at: String,
}

impl Snapshot for MysqlSnapshot {
    fn read_at(&self) -> &str {
        &self.read_at
    }

    fn documents<'a>(
        &'a mut self,
        entity: &'a EntityPlan,
    ) -> BoxStream<'a, Result<SourceDocument>> {
        let url = &self.url;
        let sql = documents::statement(Dialect::Mysql, entity);
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch(&mut self.connection);
        documents::read(entity, rows, session::bytes, move |error| {
            failed(url, error)
        })
    }
}

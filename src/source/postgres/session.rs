//! A read-only session of one transaction, whose statements all see the same instant.

use std::time::Duration;

use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor as _};

use super::errors::{failed, unreachable};
use crate::error::Result;
use crate::source::lookup::{self, Lookup};
use crate::source::{ConnectionUrl, Limits, patient};

/// PostgreSQL limits transactions from 17 on; earlier versions do not know the setting. A query, so it comes after the snapshot.
const WITHOUT_LIMIT: &str = "SELECT set_config('transaction_timeout', '0', true) WHERE current_setting('transaction_timeout', true) IS NOT NULL;";

/// A connection in its transaction.
pub(super) struct Session<'a> {
    pub(super) connection: PgConnection,
    pub(super) url: &'a ConnectionUrl,
    pub(super) limits: Limits,
    /// Statements that [`Session::rows`] ran.
    pub(super) queries: u32,
}

impl<'a> Session<'a> {
    /// Connects, and sees the source as it is now.
    pub(super) async fn open(url: &'a ConnectionUrl, limits: Limits) -> Result<Self> {
        let options = url.pg_route().await?.disable_statement_logging();
        let connecting = tokio::time::timeout(url.connect_timeout(), options.connect());
        let connection = match connecting.await {
            Ok(connected) => connected.map_err(|error| failed(url, error))?,
            Err(_) => return Err(unreachable(url)),
        };
        let mut session = Self {
            connection,
            url,
            limits,
            queries: 0,
        };
        let begin = format!(
            "{} {} {WITHOUT_LIMIT}",
            include_str!("session.sql"),
            set_timeout(limits.statement)
        );
        session.run(begin).await?;
        Ok(session)
    }

    /// Connects once more, and sees what a session sees that exported its snapshot.
    pub(super) async fn join(&self, snapshot: &str) -> Result<Self> {
        let mut session = Self::open(self.url, self.limits).await?;
        // A snapshot's name has hexadecimal digits and dashes, and the statement takes no parameters.
        let import = format!(
            "ROLLBACK; {} SET TRANSACTION SNAPSHOT '{}'; {} {WITHOUT_LIMIT}",
            include_str!("session.sql"),
            snapshot.replace('\'', "''"),
            set_timeout(self.limits.statement)
        );
        session.run(import).await?;
        Ok(session)
    }

    /// Runs a catalogue query, which may have the tables' numbers as its one parameter.
    pub(super) async fn rows(
        &mut self,
        sql: &'static str,
        oids: Option<&[Oid]>,
    ) -> Result<Vec<PgRow>> {
        self.queries += 1;
        let query = sqlx::query(sql).persistent(false);
        let query = match oids {
            Some(oids) => query.bind(oids),
            None => query,
        };
        let patience = self.limits.patience();
        let running = query.fetch_all(&mut self.connection);
        patient(patience, running)
            .await
            .map_err(|error| failed(self.url, error))
    }

    /// Runs a query without parameters.
    pub(super) async fn fetch(&mut self, sql: String) -> Result<Vec<PgRow>, sqlx::Error> {
        let patience = self.limits.patience();
        let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        patient(patience, query.fetch_all(&mut self.connection)).await
    }

    /// Runs the statement of a lookup.
    pub(super) async fn lookup(&mut self, sql: String) -> Option<Lookup> {
        let rows = self.fetch(sql).await.ok()?;
        lookup::read(sqlx::Row::try_get(rows.first()?, 0).ok()?)
    }

    pub(super) async fn scalar(&mut self, sql: &'static str) -> Result<String> {
        self.queries += 1;
        let patience = self.limits.patience();
        let running = sqlx::query_scalar(sql).fetch_one(&mut self.connection);
        patient(patience, running)
            .await
            .map_err(|error| failed(self.url, error))
    }

    /// Runs statements that give no rows.
    pub(super) async fn run(&mut self, sql: String) -> Result<()> {
        let patience = self.limits.patience();
        let running = self.connection.execute(sqlx::raw_sql(AssertSqlSafe(sql)));
        patient(patience, running)
            .await
            .map(drop)
            .map_err(|error| failed(self.url, error))
    }

    pub(super) fn failed(&self, error: sqlx::Error) -> crate::error::Error {
        failed(self.url, error)
    }
}

/// Gives the statement that limits those after it.
pub(super) fn set_timeout(timeout: Duration) -> String {
    format!("SET LOCAL statement_timeout = {};", timeout.as_millis())
}

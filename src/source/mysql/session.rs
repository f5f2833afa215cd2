//! A read-only session of one transaction. The catalogue itself is of no transaction in MySQL: it says what is now.

use std::time::Duration;

use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor as _, Row as _};

use super::errors::{failed, unreachable};
use crate::error::{Error, Result};
use crate::source::lookup::{self, Lookup};
use crate::source::sharing::Worker;
use crate::source::{ConnectionUrl, Limits, patient};

const BEGIN: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// A connection in its transaction.
pub(super) struct Session<'a> {
    pub(super) connection: MySqlConnection,
    pub(super) url: &'a ConnectionUrl,
    pub(super) limits: Limits,
    pub(super) server: Server,
    /// Statements that asked the catalogue.
    pub(super) queries: u32,
}

/// Which server it is.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) version: String,
    pub(super) is_mariadb: bool,
}

impl Server {
    /// Gives the statement that limits those after it.
    pub(super) fn set_timeout(&self, timeout: Duration) -> String {
        if self.is_mariadb {
            format!(
                "SET SESSION max_statement_time = {}.{:03}",
                timeout.as_secs(),
                timeout.subsec_millis()
            )
        } else {
            format!("SET SESSION max_execution_time = {}", timeout.as_millis())
        }
    }
}

impl<'a> Session<'a> {
    /// Connects, and sees the rows as they are now.
    pub(super) async fn open(url: &'a ConnectionUrl, limits: Limits) -> Result<Self> {
        let options = url.mysql_route().await?.disable_statement_logging();
        let connecting = tokio::time::timeout(url.connect_timeout(), options.connect());
        let connection = match connecting.await {
            Ok(connected) => connected.map_err(|error| failed(url, error))?,
            Err(_) => return Err(unreachable(url)),
        };
        let mut session = Self {
            connection,
            url,
            limits,
            server: Server {
                version: String::new(),
                is_mariadb: false,
            },
            queries: 0,
        };
        let version = session.scalar("SELECT VERSION()").await?;
        session.server = Server {
            is_mariadb: version.to_lowercase().contains("mariadb"),
            version,
        };
        let limit = session.server.set_timeout(limits.statement);
        let begin = format!("{} {limit}; {BEGIN};", include_str!("session.sql"));
        session.run(begin).await?;
        session.queries = 0;
        Ok(session)
    }

    /// Runs a query. Its cells come as text.
    pub(super) async fn fetch(&mut self, sql: String) -> Result<Vec<MySqlRow>, sqlx::Error> {
        let patience = self.limits.patience();
        let running = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut self.connection);
        patient(patience, running).await
    }

    /// Runs the statement of a lookup.
    pub(super) async fn lookup(&mut self, sql: String) -> Option<Lookup> {
        let rows = self.fetch(sql).await.ok()?;
        lookup::read(&text(rows.first()?, 0).ok()??)
    }

    pub(super) async fn scalar(&mut self, sql: &str) -> Result<String> {
        self.queries += 1;
        let rows = self.fetch(sql.to_owned()).await;
        let rows = rows.map_err(|error| self.failed(error))?;
        let value = rows.first().map(|row| text(row, 0)).transpose();
        let value = value.map_err(|error| self.failed(error))?;
        Ok(value.flatten().unwrap_or_default())
    }

    /// Runs statements that give no rows.
    pub(super) async fn run(&mut self, sql: String) -> Result<()> {
        let patience = self.limits.patience();
        let running = self.connection.execute(sqlx::raw_sql(AssertSqlSafe(sql)));
        let ran = patient(patience, running).await.map(drop);
        ran.map_err(|error| self.failed(error))
    }

    pub(super) fn failed(&self, error: sqlx::Error) -> Error {
        failed(self.url, error)
    }
}

/// A catalogue query and what it gave.
pub(super) struct Asked {
    pub(super) sql: &'static str,
    pub(super) rows: Vec<MySqlRow>,
}

impl Worker for Session<'_> {
    type Item = Asked;

    async fn work(&mut self, asked: &mut Asked) -> Result<()> {
        self.queries += 1;
        let rows = self.fetch(asked.sql.to_owned()).await;
        asked.rows = rows.map_err(|error| self.failed(error))?;
        Ok(())
    }
}

/// Reads a cell as bytes, because a column's character set does not have to be what it says.
pub(super) fn bytes(row: &MySqlRow, index: usize) -> Result<Option<Vec<u8>>, sqlx::Error> {
    row.try_get_unchecked::<Option<Vec<u8>>, _>(index)
}

/// Reads a cell as text.
pub(super) fn text(row: &MySqlRow, index: usize) -> Result<Option<String>, sqlx::Error> {
    let lossy =
        |error: std::string::FromUtf8Error| String::from_utf8_lossy(error.as_bytes()).into_owned();
    let bytes = bytes(row, index)?;
    Ok(bytes.map(|bytes| String::from_utf8(bytes).unwrap_or_else(lossy)))
}

//! A read-only connection in one transaction, with a time limit for each statement.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Row as _};

use super::failed;
use crate::error::{Error, Result};
use crate::source::lookup::{self, Lookup};

/// A connection in its transaction.
pub(super) struct Session {
    pub(super) connection: SqliteConnection,
    pub(super) path: PathBuf,
    deadline: Arc<Mutex<Option<Instant>>>,
    limit: Duration,
    /// Statements that asked the catalogue.
    pub(super) queries: u32,
}

impl Session {
    /// Opens the file, and sees it as it is now.
    pub(super) async fn open(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .busy_timeout(Duration::from_secs(10))
            .disable_statement_logging();
        let connecting = options.connect().await;
        let mut connection = connecting.map_err(|error| failed(path, error))?;
        // The first read takes the snapshot; `BEGIN` alone does not.
        for sql in [
            "PRAGMA query_only = ON",
            "PRAGMA trusted_schema = OFF",
            "BEGIN",
            "SELECT count(*) FROM sqlite_schema",
        ] {
            sqlx::query(sql)
                .execute(&mut connection)
                .await
                .map_err(|error| failed(path, error))?;
        }
        Ok(Self {
            connection,
            path: path.to_owned(),
            deadline: Arc::default(),
            limit: Duration::MAX,
            queries: 0,
        })
    }

    /// Limits each statement from now on.
    pub(super) async fn limit(&mut self, limit: Duration) -> Result<()> {
        self.limit = limit;
        let deadline = Arc::clone(&self.deadline);
        let locked = self.connection.lock_handle().await;
        let mut handle = locked.map_err(|error| failed(&self.path, error))?;
        handle.set_progress_handler(10_000, move || {
            let deadline = *deadline.lock().unwrap_or_else(PoisonError::into_inner);
            deadline.is_none_or(|deadline| Instant::now() < deadline)
        });
        Ok(())
    }

    /// Runs a catalogue query, which may have a text as its one parameter.
    pub(super) async fn rows(
        &mut self,
        sql: &'static str,
        parameter: Option<&str>,
    ) -> Result<Vec<SqliteRow>> {
        let rows = self.try_rows(sql, parameter).await;
        rows.map_err(|error| self.failed(error))
    }

    pub(super) async fn try_rows(
        &mut self,
        sql: &'static str,
        parameter: Option<&str>,
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        self.queries += 1;
        self.begin(self.limit);
        let query = sqlx::query(sql);
        let query = match parameter {
            Some(parameter) => query.bind(parameter),
            None => query,
        };
        query.fetch_all(&mut self.connection).await
    }

    /// Runs a query without parameters, for no longer than `limit`.
    pub(super) async fn fetch(
        &mut self,
        sql: String,
        limit: Duration,
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        self.begin(limit.min(self.limit));
        sqlx::query(AssertSqlSafe(sql))
            .persistent(false)
            .fetch_all(&mut self.connection)
            .await
    }

    /// Runs the statement of a lookup.
    pub(super) async fn lookup(&mut self, sql: String) -> Option<Lookup> {
        let rows = self.fetch(sql, lookup::limits().statement).await.ok()?;
        let cell = self.text(rows.first()?, 0).ok()??;
        lookup::read(&cell)
    }

    pub(super) async fn scalar(&mut self, sql: &'static str) -> Result<String> {
        let rows = self.rows(sql, None).await?;
        let value = rows.first().map(|row| self.text(row, 0)).transpose()?;
        Ok(value.flatten().unwrap_or_default())
    }

    fn begin(&self, limit: Duration) {
        let mut deadline = self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        *deadline = Instant::now().checked_add(limit);
    }

    /// Reads a cell as text; SQLite does not promise UTF-8.
    pub(super) fn text(&self, row: &SqliteRow, place: usize) -> Result<Option<String>> {
        let bytes = row.try_get_unchecked::<Option<Vec<u8>>, _>(place);
        let bytes = bytes.map_err(|error| self.failed(error))?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    pub(super) fn failed(&self, error: sqlx::Error) -> Error {
        failed(&self.path, error)
    }
}

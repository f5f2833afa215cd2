//! PostgreSQL: a read-only session at one instant. [`reader`] reads the catalogue and the samples.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Row as _};

use super::documents::{self, SourceDocument};
use super::{Collected, ConnectionUrl, Selection, Snapshot, SourceDriver};
use crate::error::{Error, ErrorKind, Result};
use crate::model::metadata::{Dialect, RawMetadata};
use crate::model::plan::EntityPlan;

mod reader;

use reader::Reader;

/// Longest statement while the catalogue is read.
const STATEMENT_TIMEOUT: Duration = Duration::from_mins(2);
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
    async fn connect(&self, timeout: Duration) -> Result<PgConnection> {
        let options = self.url.pg_options()?.disable_statement_logging();
        let connecting = tokio::time::timeout(self.url.connect_timeout(), options.connect());
        let mut connection = match connecting.await {
            Ok(connected) => connected.map_err(|error| failed(&self.url, error))?,
            Err(_) => return Err(unreachable(&self.url)),
        };
        let settings = format!(
            "{} SET LOCAL statement_timeout = {};",
            include_str!("postgres/session.sql"),
            timeout.as_millis()
        );
        execute(&mut connection, &self.url, settings).await?;
        Ok(connection)
    }

    async fn collect(&self, selection: &Selection) -> Result<Collected> {
        let mut reader = Reader {
            connection: self.connect(STATEMENT_TIMEOUT).await?,
            url: &self.url,
            notes: Vec::new(),
        };
        let read_at = reader.scalar(include_str!("postgres/instant.sql")).await?;
        let server_version = reader.scalar("SHOW server_version").await?;
        let mut relations = reader.catalogue(selection).await?;
        for relation in &mut relations {
            reader.fill(relation, selection.sample_rows).await?;
        }
        Ok(Collected {
            metadata: RawMetadata {
                dialect: Dialect::Postgres,
                database: self.url.database(),
                server_version,
                read_at,
                tables: relations
                    .into_iter()
                    .map(|relation| relation.meta)
                    .collect(),
            },
            notes: reader.notes,
        })
    }
}

impl SourceDriver for Postgres {
    fn collect<'a>(&'a self, selection: &'a Selection) -> BoxFuture<'a, Result<Collected>> {
        Box::pin(self.collect(selection))
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Box<dyn Snapshot>>> {
        Box::pin(async {
            let mut connection = self.connect(DOCUMENTS_TIMEOUT).await?;
            let read_at = sqlx::query_scalar(include_str!("postgres/instant.sql"))
                .fetch_one(&mut connection)
                .await
                .map_err(|error| failed(&self.url, error))?;
            Ok(Box::new(PostgresSnapshot {
                connection,
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
        documents::read(entity, rows, cell, move |error| failed(url, error))
    }
}

async fn execute(connection: &mut PgConnection, url: &ConnectionUrl, sql: String) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .map(drop)
        .map_err(|error| failed(url, error))
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

fn cell(row: &PgRow, index: usize) -> Result<Option<String>, sqlx::Error> {
    Ok(bytes(row, index)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

fn server(url: &ConnectionUrl) -> String {
    url.server().unwrap_or_default()
}

fn unreachable(url: &ConnectionUrl) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("no PostgreSQL server answers at {}", server(url)),
    )
    .hint("check host and port of the URL, and that the server runs and accepts connections from here")
}

/// Says what failed. A server's text is shown only where it cannot quote a row's value.
fn failed(url: &ConnectionUrl, error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default().into_owned();
            refused(url, &code, database.message())
        }
        sqlx::Error::Io(cause) => unreachable(url).because(cause),
        sqlx::Error::Tls(cause) => Error::new(
            ErrorKind::Invalid,
            format!("no encrypted connection to {} as sslmode asks", server(url)),
        )
        .because(cause)
        .hint("check the server's certificate, or choose another sslmode"),
        // Its text has words of whatever answered, which is no PostgreSQL.
        sqlx::Error::Protocol(_) => Error::new(
            ErrorKind::Invalid,
            format!("what answers at {} is not PostgreSQL", server(url)),
        )
        .hint("check host and port of the URL, and what stands between here and the server"),
        // sqlx's own text names its causes already: as a source they would be named twice.
        other => Error::new(ErrorKind::Unavailable, format!("reading {url} failed"))
            .because(other.to_string()),
    }
}

fn refused(url: &ConnectionUrl, code: &str, message: &str) -> Error {
    let of = |kind, text: String| Error::new(kind, text);
    match code {
        "28P01" | "28000" => {
            let error = of(
                ErrorKind::Invalid,
                format!("the server at {} refuses the login: {message}", server(url)),
            );
            if url.password().is_some() {
                error.hint("check user and password in the URL, and the server's pg_hba.conf")
            } else {
                error
                    .hint("the URL has no password: add it, or give the URL by url_env or url_file")
            }
        }
        "3D000" => of(
            ErrorKind::NotFound,
            format!(
                "there is no database `{}` at {}",
                url.database(),
                server(url)
            ),
        )
        .hint("check the database name in the URL; `psql -l` lists those that exist"),
        "42501" => of(ErrorKind::Invalid, format!("{url}: {message}"))
            .hint("grant SELECT to the user, or leave the table out with source.exclude"),
        "57014" => of(
            ErrorKind::Unavailable,
            format!("a statement on {url} took longer than it may, or was cancelled"),
        )
        .hint(
            "leave very large tables out with source.exclude, or try again when the server is idle",
        ),
        "55P03" => of(
            ErrorKind::Unavailable,
            format!("a table of {url} is locked by another session"),
        )
        .hint("wait until the other session is done, and try again"),
        _ if code.starts_with("42") => of(
            ErrorKind::Invalid,
            format!("the source {url} does not have what was planned: {message}"),
        )
        .hint("the schema may have changed since the plan was made: run again from the start"),
        _ if ["08", "53", "57", "58", "40"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            of(
                ErrorKind::Unavailable,
                format!("the server at {} gave up: {message}", server(url)),
            )
            .hint("try again; if it stays so, look at the server's log")
        }
        _ => of(
            ErrorKind::Invalid,
            format!("{url} cannot be read (SQLSTATE {code})"),
        )
        .hint("look at the server's log for the whole message"),
    }
}

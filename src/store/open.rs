//! Opening a store: bringing its tables to this program's version, or refusing.

use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::backend::{Backend, query};
use super::fault::DAMAGED;
use super::make_private_folder;
use super::writer::Writer;
use crate::error::{Error, ErrorKind, Result};
use crate::service::lock;
use crate::source::url::ConnectionUrl;

/// The schema of the tables in PostgreSQL: a database of the user's may hold tables called `runs` too.
pub(super) const SCHEMA: &str = "relvec_runs";

/// How long a write waits for another program that writes to the same file.
const BUSY: Duration = Duration::from_secs(10);

/// How much of the file the writer keeps in memory, in KiB and with SQLite's minus: the ends of the tables and of their indexes.
const CACHE: &str = "-32768";

/// How long the server waits in the middle of a transaction for a process that says nothing: one that is stopped there would keep others
/// from its run for as long as it is stopped.
const IDLE: &str = "5s";

/// How long a statement waits for a connection of the pool.
const ACQUIRE: Duration = Duration::from_secs(10);

/// Opens the file, makes it if there is none, and brings it to this program's version.
///
/// # Errors
/// The file cannot be opened, is no run store, or was made by a newer relvec.
pub(super) async fn file(path: &Path) -> Result<Backend> {
    if let Some(folder) = path.parent() {
        make_private_folder(folder)?;
    }
    // Two programs that bring the same file up to date would each find what the other has half done.
    let lock = lock::acquire(&path.with_extension("lock"), || ()).await?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY);
    let place = path.display().to_string();
    let cannot = |error: &sqlx::Error| cannot_open(&place, error);
    // A table that others refer to cannot be made anew while they are held to it.
    let mut old = options
        .clone()
        .foreign_keys(false)
        .connect()
        .await
        .map_err(|error| cannot(&error))?;
    sqlx::migrate!("src/store/migrations/sqlite")
        .run_direct(None, &mut old, false)
        .await
        .map_err(|error| cannot_migrate(&place, error))?;
    old.close().await.map_err(|error| cannot(&error))?;
    drop(lock);
    let options = options.foreign_keys(true);
    let writer = options.clone().pragma("cache_size", CACHE);
    let writer: SqliteConnection = writer.connect().await.map_err(|error| cannot(&error))?;
    let readers = SqlitePoolOptions::new()
        .max_connections(8)
        .acquire_timeout(ACQUIRE)
        .connect_with(options.pragma("query_only", "ON"))
        .await
        .map_err(|error| cannot(&error))?;
    Ok(Backend::Sqlite {
        readers,
        writer: Writer::start(writer),
    })
}

/// Refuses a file that is damaged. It reads all of it, so only what goes on for long asks.
///
/// # Errors
/// The file is damaged.
pub(super) async fn check(backend: &Backend, place: &str) -> Result<()> {
    let Backend::Sqlite { .. } = backend else {
        // The server answers for its own files.
        return Ok(());
    };
    let damage: Option<(String,)> = backend
        .optional(query("PRAGMA integrity_check(1)"))
        .await
        .map_err(|fault| fault.told("check the run store", place))?;
    match damage {
        Some((text,)) if text != "ok" => Err(Error::new(
            ErrorKind::Configuration,
            format!("the run store {place} is damaged"),
        )
        .because(text)
        .hint(DAMAGED)),
        Some(_) | None => Ok(()),
    }
}

/// Opens the tables in a PostgreSQL database, makes them if there are none, and brings them to this program's version.
///
/// # Errors
/// The URL is not one, the server does not answer, or the tables were made by a newer relvec.
pub(super) async fn server(url: &SecretString) -> Result<(Backend, String)> {
    let url = ConnectionUrl::parse(url.expose_secret())
        .and_then(|url| url.pg_options().map(|options| (url, options)))
        .map_err(|error| {
            Error::new(
                ErrorKind::Configuration,
                "RELVEC_STORE does not name a run store",
            )
            .because(error)
            .hint("set it to postgres://USER:PASSWORD@HOST:PORT/DATABASE, or not at all: then the store is a file in RELVEC_HOME")
        })?;
    let (url, options) = url;
    let place = url.redacted();
    let options = options.options([("search_path", SCHEMA)]);
    migrate(&options, &place, url.connect_timeout()).await?;
    let options = options.options([("idle_in_transaction_session_timeout", IDLE)]);
    let pool = PgPoolOptions::new()
        .max_connections(16)
        .acquire_timeout(ACQUIRE)
        .connect_with(options)
        .await
        .map_err(|error| cannot_open(&place, &error))?;
    Ok((Backend::Postgres(pool), place))
}

async fn migrate(options: &PgConnectOptions, place: &str, patience: Duration) -> Result<()> {
    let connecting = PgConnection::connect_with(options);
    let mut connection = tokio::time::timeout(patience, connecting)
        .await
        .unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut))
        .map_err(|error| cannot_open(place, &error))?;
    let mut migrations = sqlx::migrate!("src/store/migrations/postgres");
    migrations.create_schema(SCHEMA);
    migrations
        .run_direct(None, &mut connection, false)
        .await
        .map_err(|error| cannot_migrate(place, error))?;
    connection
        .close()
        .await
        .map_err(|error| cannot_open(place, &error))
}

fn cannot_open(place: &str, error: &sqlx::Error) -> Error {
    Error::new(
        ErrorKind::Configuration,
        format!("cannot open the run store {place}"),
    )
    .because(error.to_string())
    .hint("if it is a file that is damaged, move it away: a new store is made at the next start")
}

fn cannot_migrate(place: &str, error: MigrateError) -> Error {
    match error {
        MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => Error::new(
            ErrorKind::Configuration,
            format!("the run store {place} was made by a newer relvec (version {version} of its tables)"),
        )
        .hint("use that relvec, or another store: RELVEC_HOME, RELVEC_STORE"),
        other => Error::new(
            ErrorKind::Configuration,
            format!("cannot bring the run store {place} up to date"),
        )
        .because(other)
        .hint("if it is a file that is damaged, move it away: a new store is made at the next start"),
    }
}

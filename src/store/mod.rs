//! The run store: what was asked, what happened and what came out of it, in one SQLite file.
//!
//! 1. [`Store::open`] migrates the file, and refuses one that a newer relvec made.
//! 2. [`Store::create`] makes a run durable before anyone is told of it.
//! 3. `record` takes a run's events in; each batch is one transaction.
//! 4. `read` gives documents, events and what a run needs to go on.
//! 5. `change` holds what people do to a run: answer it, cancel it.
//! 6. `adopt` begins a retry with what the run before it finished.
//!
//! Sample rows are user data: an output is kept so that a run can go on, and is never part of an event or a document. No
//! secret ever comes here: `launch` takes them out of the job first.

mod adopt;
mod change;
mod read;
mod record;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool, Transaction};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

pub use self::adopt::Adopted;
pub use self::change::Cancelled;
pub use self::read::{StoredEvent, StoredRun, StoredStage};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::event::RunStatus;
use crate::service::lock;

static MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations");

/// Who accepted a run, and so who goes on with it after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A process of the command line, which ends with its run.
    Command,
    /// The gateway, which answers for its runs after a restart.
    Gateway,
}

/// A run to accept.
#[derive(Debug, Clone)]
pub struct NewRun<'a> {
    /// Its id.
    pub id: Uuid,
    /// Who accepts it.
    pub origin: Origin,
    /// The graph's name.
    pub graph: &'a str,
    /// The graph file's text, so that a later edit does not change a run.
    pub graph_text: &'a str,
    /// Where the graph file is, if the run was started from a path and not by the graph's name.
    pub graph_path: Option<&'a str>,
    /// The job without secrets.
    pub job: &'a Value,
    /// Names of the secrets that stood in the job itself, and so cannot be had again.
    pub inline_secrets: &'a [String],
    /// Tells two requests apart; made of the graph's name and the job without secrets.
    pub fingerprint: &'a str,
    /// The caller's key that makes a request safe to repeat.
    pub idempotency_key: Option<&'a str>,
    /// What it takes over, if it is a retry.
    pub adopted: Option<&'a Adopted>,
}

/// What became of a run to accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It is durable.
    New,
    /// The same request was accepted before, as this run.
    Before(Uuid),
}

/// The run store; clones share its connections.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
    path: PathBuf,
}

impl Store {
    /// Opens the store, makes it if there is none, and brings it to this program's version.
    ///
    /// # Errors
    /// The file cannot be opened, is no run store, or was made by a newer relvec.
    pub async fn open(path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent() {
            make_private_folder(folder)?;
        }
        // Two programs that bring the same file up to date would each find what the other has half done.
        let _lock = lock::acquire(&path.with_extension("lock"), || ()).await?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new()
            .max_connections(8)
            .connect_with(options)
            .await
            .map_err(|error| cannot_open(path, &error))?;
        MIGRATIONS
            .run(&pool)
            .await
            .map_err(|error| cannot_migrate(path, error))?;
        Ok(Self {
            pool,
            path: path.to_owned(),
        })
    }

    /// Says whether the store answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1 FROM runs LIMIT 1")
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| self.failed("read the run store", &error))?;
        Ok(())
    }

    /// Makes a run durable as `queued`.
    ///
    /// # Errors
    /// The idempotency key was used with another request, or the store cannot be written.
    pub async fn create(&self, run: &NewRun<'_>) -> Result<Created> {
        let mut transaction = self.begin().await?;
        let inserted = sqlx::query(
            "INSERT INTO runs (id, origin, graph, graph_text, graph_sha256, job, inline_secrets, status, created_at,
                               idempotency_key, fingerprint, graph_path, retry_of)
             VALUES (?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?)
             ON CONFLICT (idempotency_key) DO NOTHING",
        )
        .bind(run.id.to_string())
        .bind(word(&run.origin)?)
        .bind(run.graph)
        .bind(run.graph_text)
        .bind(sha256(run.graph_text.as_bytes()))
        .bind(run.job.to_string())
        .bind(json(run.inline_secrets)?)
        .bind(now())
        .bind(run.idempotency_key)
        .bind(run.fingerprint)
        .bind(run.graph_path)
        .bind(run.adopted.map(|adopted| adopted.from.to_string()))
        .execute(&mut *transaction)
        .await
        .map_err(|error| self.failed("record the run", &error))?
        .rows_affected();
        if inserted == 1 {
            if let Some(adopted) = run.adopted {
                self.adopt(&mut transaction, run.id, adopted).await?;
            }
            self.commit(transaction).await?;
            return Ok(Created::New);
        }
        drop(transaction);
        let before = self.before(run.idempotency_key, run.fingerprint).await?;
        before
            .map(Created::Before)
            .ok_or_else(|| damaged("no run of an idempotency key that was taken"))
    }

    /// Gives the run that a request with a key made before.
    ///
    /// # Errors
    /// The key was used with another request, or the store cannot be read.
    pub async fn before(&self, key: Option<&str>, fingerprint: &str) -> Result<Option<Uuid>> {
        let Some(key) = key else {
            return Ok(None);
        };
        let found: Option<(String, String)> =
            sqlx::query_as("SELECT id, fingerprint FROM runs WHERE idempotency_key = ?")
                .bind(key)
                .fetch_optional(&self.pool)
                .await
                .map_err(|error| self.failed("read the run of an idempotency key", &error))?;
        match found {
            None => Ok(None),
            Some((id, used)) if used == fingerprint => Ok(Some(parse_id(&id)?)),
            Some((id, _)) => Err(Error::new(
                ErrorKind::Conflict,
                format!("the idempotency key was used before, for another request (run {id})"),
            )
            .hint("use a new key for a new request")),
        }
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>> {
        // IMMEDIATE, so that two writers wait for each other instead of one failing when it upgrades.
        self.pool
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(|error| self.failed("write to the run store", &error))
    }

    async fn commit(&self, transaction: Transaction<'static, Sqlite>) -> Result<()> {
        transaction
            .commit()
            .await
            .map_err(|error| self.failed("write to the run store", &error))
    }

    fn failed(&self, what: &str, error: &sqlx::Error) -> Error {
        Error::new(
            ErrorKind::Unavailable,
            format!("cannot {what} in {}", self.path.display()),
        )
        // sqlx's own text names its causes already: as a source they would be named twice.
        .because(error.to_string())
        .hint("see that the disk has room and that no other program holds the file")
    }
}

/// Makes a folder that only its owner may look into, because runs hold rows of the user's data.
///
/// # Errors
/// The folder cannot be made.
pub fn make_private_folder(folder: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| {
        Error::new(
            ErrorKind::Configuration,
            format!("cannot make the folder {}", folder.display()),
        )
        .because(error)
        .hint("set RELVEC_HOME to a folder that relvec may write to")
    })
}

fn cannot_open(path: &Path, error: &sqlx::Error) -> Error {
    Error::new(
        ErrorKind::Configuration,
        format!("cannot open the run store {}", path.display()),
    )
    .because(error.to_string())
    .hint("if the file is damaged, move it away: a new store is made at the next start")
}

fn cannot_migrate(path: &Path, error: MigrateError) -> Error {
    let store = path.display();
    match error {
        MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => Error::new(
            ErrorKind::Configuration,
            format!("the run store {store} was made by a newer relvec (version {version} of its tables)"),
        )
        .hint("use that relvec, or set RELVEC_HOME to another folder"),
        other => Error::new(
            ErrorKind::Configuration,
            format!("cannot bring the run store {store} up to date"),
        )
        .because(other)
        .hint("if the file is damaged, move it away: a new store is made at the next start"),
    }
}

/// Gives the time now, in RFC 3339, UTC, to the millisecond.
pub(crate) fn now() -> String {
    let now = OffsetDateTime::now_utc();
    let whole = now.replace_millisecond(now.millisecond()).unwrap_or(now);
    whole.format(&Rfc3339).unwrap_or_default()
}

/// Gives SHA-256 in lower-case hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn word<T: Serialize>(value: &T) -> Result<String> {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => Ok(word),
        Ok(_) | Err(_) => Err(damaged("a value that is not one word")),
    }
}

fn from_word<T: DeserializeOwned>(text: &str) -> Result<T> {
    T::deserialize(Value::String(text.to_owned()))
        .map_err(|error| damaged("a word that this relvec does not know").because(error))
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| damaged("a value that is not JSON").because(error))
}

fn from_json<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| damaged("a value with another shape").because(error))
}

fn parse_id(text: &str) -> Result<Uuid> {
    Uuid::parse_str(text).map_err(|error| damaged("an id that is no UUID").because(error))
}

/// Reads a time as [`now`] gives it.
pub(crate) fn parse_time(text: &str) -> Result<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|error| damaged("a time that is not one").because(error))
}

fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("the run store holds {what}"))
}

fn unknown_run(run_id: Uuid) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no run {run_id}"))
        .hint("`relvec runs list` and GET /jobs show the runs that there are")
}

fn over(run_id: Uuid, status: RunStatus) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!(
            "run {run_id} is over: {}",
            word(&status).unwrap_or_default()
        ),
    )
    .hint("submit a new job, or retry the run: `relvec runs retry`, POST /jobs/{id}/retry")
}

#[cfg(test)]
mod tests;

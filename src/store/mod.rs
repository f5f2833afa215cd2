//! The run store: what was asked, what happened and what came out of it, in a SQLite file or a PostgreSQL database.
//!
//! 1. [`Store::open`] brings the tables to this program's version, and refuses those that a newer relvec made (`open`).
//! 2. `create` makes a run durable before anyone is told of it.
//! 3. `claim` gives an execution of a run its owner; `record` takes in what happens in it, as long as it owns the run.
//! 4. `document` gives what is shown of a run, `read` its events and what a run needs to go on; `files` the bytes of files, where gateways share the store.
//! 5. `change` holds what people do to a run: answer it, cancel it.
//! 6. `adopt` begins a retry with what the run before it finished.
//! 7. `figures` counts runs, and gives the end of what one recorded.
//! 8. `changes` and `listen` wake who waits for something to happen.
//! 9. `retention` removes what is to be kept no longer.
//!
//! `backend` is the only place that knows the two databases; in a file, `writer` does all that is written.
//!
//! Sample rows are user data: an output is kept so that a run can go on, and is never part of an event or a document. No
//! secret ever comes here: `launch` takes them out of the job first.

mod adopt;
mod backend;
mod change;
mod changes;
mod claim;
mod create;
mod document;
mod fault;
mod figures;
mod files;
mod listen;
mod open;
mod read;
mod record;
mod retention;
mod writer;
mod tokens;

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

pub use self::adopt::Adopted;
use self::backend::{Backend, Query, Row, Work, query};
pub use self::change::Cancelled;
use self::changes::Changes;
pub use self::changes::Follower;
pub use self::claim::{Among, Claim, Claimed, Held};
pub use self::create::{Created, NewRun};
pub use self::figures::{OpenRuns, RunFilter};
pub use self::read::{StoredEvent, StoredRun, StoredStage};
pub use self::record::FileContent;
#[cfg(debug_assertions)]
pub(crate) use self::record::kind_and_stage;
pub use self::tokens::{StoredToken, TokenToKeep};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::event::RunStatus;
use crate::settings::StorePlace;

pub use crate::access::LOCAL;

/// Who accepted a run, and so who goes on with it after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A process of the command line, which ends with its run.
    Command,
    /// The gateway, which answers for its runs after a restart.
    Gateway,
}

/// The run store; clones share its connections.
#[derive(Debug, Clone)]
pub struct Store {
    backend: Backend,
    /// Where it is, for messages.
    place: String,
    /// This process, as the owner of executions.
    me: Uuid,
    /// How long a run stays with an owner that is not heard of, in milliseconds.
    lease: i64,
    changes: Changes,
}

impl Store {
    /// Opens the store, makes it if there is none, and brings it to this program's version.
    ///
    /// # Errors
    /// It cannot be opened, is no run store, or was made by a newer relvec.
    pub async fn open(place: &StorePlace) -> Result<Self> {
        let (backend, place, lease) = match place {
            StorePlace::File(path) => (open::file(path).await?, path.display().to_string(), 0),
            StorePlace::Postgres { url, lease } => {
                let (backend, place) = open::server(url).await?;
                let lease = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
                (backend, place, lease)
            }
        };
        Ok(Self {
            backend,
            place,
            me: Uuid::new_v4(),
            lease,
            changes: Changes::default(),
        })
    }

    /// Says whether the gateways of several machines share the store: it is in a server.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self.backend, Backend::Postgres(_))
    }

    /// Refuses a store that is damaged. It reads all of it, so only what goes on for long asks.
    ///
    /// # Errors
    /// It is damaged.
    pub async fn check(&self) -> Result<()> {
        open::check(&self.backend, &self.place).await
    }

    /// Says whether the store answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<()> {
        let asked = query("SELECT id FROM runs LIMIT 1");
        self.optional::<(String,)>("read the run store", asked)
            .await?;
        Ok(())
    }

    /// Gives what waits for changes of a run.
    #[must_use]
    pub fn follow(&self, run_id: Uuid) -> Follower {
        self.changes.follow(run_id)
    }

    /// Waits until a run may have been queued since the last call. What another process queues in a file wakes nobody here.
    pub async fn until_queued(&self) {
        self.changes.until_queued().await;
    }

    /// Wakes whoever waits in [`Self::until_queued`].
    pub fn look_again(&self) {
        self.changes.queued();
    }

    /// Runs a statement that changes nothing and gives its rows.
    async fn all<T: Row>(&self, what: &str, query: Query) -> Result<Vec<T>> {
        // Boxed, because the drivers' futures are large, and every caller's would hold one.
        let rows = Box::pin(self.backend.all(query)).await;
        rows.map_err(|fault| fault.told(what, &self.place))
    }

    /// Runs a statement that changes nothing and gives its first row, if it has one.
    async fn optional<T: Row>(&self, what: &str, query: Query) -> Result<Option<T>> {
        let row = Box::pin(self.backend.optional(query)).await;
        row.map_err(|fault| fault.told(what, &self.place))
    }

    /// Runs a statement that changes something and gives its first row, if it has one.
    async fn write_one<T: Row>(&self, what: &str, query: Query) -> Result<Option<T>> {
        let done = Box::pin(self.backend.write_one(query)).await;
        done.map_err(|fault| fault.told(what, &self.place))
    }

    /// Does a piece of work: all of its statements count once this returns, or none does.
    async fn write<T: Send + 'static>(&self, what: &str, work: impl Work<T>) -> Result<T> {
        let done = Box::pin(self.backend.write(work)).await;
        done.map_err(|fault| fault.told(what, &self.place))
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

/// Gives the time now, in RFC 3339, UTC, to the millisecond.
pub(crate) fn now() -> String {
    let now = OffsetDateTime::now_utc();
    let whole = now.replace_millisecond(now.millisecond()).unwrap_or(now);
    whole.format(&Rfc3339).unwrap_or_default()
}

/// Gives SHA-256 in lower-case hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
    Sha256::digest(bytes)
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
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

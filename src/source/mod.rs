//! Source databases: one driver each, chosen by the URL's scheme, and the one parser of connection URLs.
//!
//! 1. [`url`] reads the connection URL; [`open`] chooses the driver.
//! 2. [`SourceDriver::collect`] reads the catalogue in a few statements, then the tables one by one for counts and samples
//!    ([`selection`] says of which tables and how much; `sharing` spreads them over connections).
//! 3. [`SourceDriver::lookup`] asks whether an inferred join's values are there.
//! 4. [`fan_out`] looks whether the joins of a plan still multiply no rows.
//! 5. [`SourceDriver::snapshot`] makes documents at one instant, for the validator ([`documents`], [`multiset`], [`filter`], [`canonical`]).

use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use secrecy::{ExposeSecret, SecretString};

use crate::allowed::{Allowed, Role};
use crate::error::{Error, ErrorKind, Result};
use crate::model::metadata::{Dialect, RawMetadata, TableMetadata, TableRef};
use crate::model::plan::EntityPlan;
use crate::model::schema_context::{Join, SchemaContext};

pub mod canonical;
mod documents;
pub mod fan_out;
pub(crate) mod filter;
mod lookup;
mod multiset;
pub mod mysql;
pub mod postgres;
mod sample;
pub mod selection;
mod sharing;
pub mod sqlite;
pub mod url;

pub use documents::SourceDocument;
pub(crate) use documents::mixed_up;
pub use lookup::Lookup;
pub use selection::{Counts, Limits, Selection};
pub use url::ConnectionUrl;

/// What a catalogue says, and what could not be read of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Collected {
    /// The catalogue with samples.
    pub metadata: RawMetadata,
    /// What was passed over, one sentence each: names only, never a value.
    pub notes: Vec<String>,
    /// Tables that the user may not read, sorted; they are not in the metadata.
    pub denied: Vec<TableRef>,
    /// Statements that read the catalogue; their number does not depend on that of the tables.
    pub catalogue_queries: u32,
}

/// What became of reading a table's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// They were read, or nobody asked for them.
    Read,
    /// The user may not read them.
    Denied,
    /// The table was dropped or changed while the catalogue was read.
    Gone,
    /// They could not be read, for this reason.
    Failed(String),
}

impl Collected {
    /// Adds a table, or says why it is not there or not whole. A table that could not be read does not keep the others away.
    fn add(&mut self, table: TableMetadata, outcome: Outcome) {
        match outcome {
            Outcome::Read => self.metadata.tables.push(table),
            Outcome::Denied => self.denied.push(table.table),
            Outcome::Gone => self.notes.push(format!(
                "`{}` is passed over: it was dropped or changed while the catalogue was read",
                table.table
            )),
            Outcome::Failed(why) => {
                self.notes
                    .push(format!("`{}` cannot be read: {why}", table.table));
                self.metadata.tables.push(table);
            }
        }
    }
}

/// The server ends what takes too long; this ends what a server that stands still does not.
async fn patient<T>(
    patience: Duration,
    running: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(patience, running)
        .await
        .unwrap_or_else(|_| {
            Err(sqlx::Error::Io(std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                "it stopped answering in the middle of a statement",
            )))
        })
}

/// A source database. It is only ever read.
pub trait SourceDriver: Send + Sync {
    /// Reads the catalogue, row counts and sample rows at one instant.
    ///
    /// # Errors
    /// The database cannot be reached or read, or a pattern matches no table.
    fn collect<'a>(&'a self, selection: &'a Selection) -> BoxFuture<'a, Result<Collected>>;

    /// Looks up whether the values of joins are there on their other side; as many answers as there was time for, in the order of
    /// the joins.
    ///
    /// # Errors
    /// The database cannot be reached.
    fn lookup<'a>(&'a self, joins: &'a [Join]) -> BoxFuture<'a, Result<Vec<Lookup>>>;

    /// Opens a view of the source at one instant.
    ///
    /// # Errors
    /// The database cannot be reached or read.
    fn snapshot(&self) -> BoxFuture<'_, Result<Box<dyn Snapshot>>>;
}

/// A source at one instant.
pub trait Snapshot: Send {
    /// Gives the instant in RFC 3339, by the source's clock.
    fn read_at(&self) -> &str;

    /// Makes the documents of an entity, one a root row, by the rules of [`crate::model::plan`], in any order. An item is an error if a table or column of the plan is gone or a key is NULL.
    fn documents<'a>(&'a mut self, entity: &'a EntityPlan)
    -> BoxStream<'a, Result<SourceDocument>>;
}

/// An entry of the table of drivers.
struct DriverType {
    dialect: Dialect,
    open: fn(&ConnectionUrl) -> Result<Box<dyn SourceDriver>>,
}

/// Every driver. A new source is its file and two lines here.
static DRIVERS: &[DriverType] = &[
    DriverType {
        dialect: Dialect::Sqlite,
        open: sqlite::open,
    },
    DriverType {
        dialect: Dialect::Postgres,
        open: postgres::open,
    },
    DriverType {
        dialect: Dialect::Mysql,
        open: mysql::open,
    },
];

/// A database's URL, and what may be reached with it.
#[derive(Debug, Clone)]
pub struct Place {
    url: SecretString,
    allowed: Allowed,
}

impl Place {
    /// Gives a database that is reached within what is allowed.
    #[must_use]
    pub fn within(url: &SecretString, allowed: &Allowed) -> Self {
        Self {
            url: url.clone(),
            allowed: allowed.clone(),
        }
    }

    /// Reads the URL, for connections in a role.
    ///
    /// # Errors
    /// It is malformed.
    pub fn read(&self, role: Role) -> Result<ConnectionUrl> {
        ConnectionUrl::parse(self.url.expose_secret()).map(|url| url.within(role, &self.allowed))
    }
}

/// A database that the machine's owner names: it may be anywhere.
impl From<&SecretString> for Place {
    fn from(url: &SecretString) -> Self {
        Self::within(url, &Allowed::everything())
    }
}

/// Gives the driver for a connection URL; connects only when it is used.
///
/// # Errors
/// The URL is malformed or of a database that is not supported, or names a file that is not there.
pub fn open(place: impl Into<Place>) -> Result<Box<dyn SourceDriver>> {
    let url = place.into().read(Role::Source)?;
    let driver = DRIVERS
        .iter()
        .find(|driver| driver.dialect == url.dialect())
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Internal,
                format!("no driver for {url}: its line in source/mod.rs is missing"),
            )
        })?;
    (driver.open)(&url)
}

/// Gives what `collect_metadata` and `normalize_schema` see, for `relvec inspect`.
///
/// # Errors
/// As [`open`] and [`SourceDriver::collect`]; and the database has no tables.
pub async fn inspect(
    url: &SecretString,
    include: &[String],
    exclude: &[String],
    sample_rows: u32,
) -> Result<(RawMetadata, SchemaContext)> {
    let selection = Selection {
        include: include.to_vec(),
        exclude: exclude.to_vec(),
        sample_rows,
        ..Selection::default()
    };
    let driver = open(url)?;
    let metadata = driver.collect(&selection).await?.metadata;
    if metadata.tables.is_empty() {
        return Err(without_tables(&metadata));
    }
    let (context, _) =
        crate::handlers::normalize_schema::understand(&metadata, driver.as_ref()).await;
    Ok((metadata, context))
}

/// Gives the error of a source in which no table can be seen.
#[must_use]
pub fn without_tables(metadata: &RawMetadata) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!("the source `{}` has no tables", metadata.database),
    )
    .hint("check that the source's URL names the right database, and that its user may read the tables")
}

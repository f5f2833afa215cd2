//! Source databases: one driver each, chosen by the URL's scheme, and the one parser of connection URLs.
//!
//! 1. [`url`] reads the connection URL; [`open`] chooses the driver.
//! 2. [`SourceDriver::collect`] reads the catalogue and samples ([`selection`] says of which tables).
//! 3. [`SourceDriver::snapshot`] makes documents at one instant, for the validator ([`documents`], [`filter`], [`canonical`]).

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use secrecy::{ExposeSecret, SecretString};

use crate::error::{Error, ErrorKind, Result};
use crate::model::metadata::{Dialect, RawMetadata};
use crate::model::plan::EntityPlan;
use crate::model::schema_context::SchemaContext;

pub mod canonical;
mod documents;
pub(crate) mod filter;
pub mod postgres;
mod sample;
pub mod selection;
pub mod sqlite;
pub mod url;

pub use documents::SourceDocument;
pub use selection::Selection;
pub use url::ConnectionUrl;

/// What a catalogue says, and what could not be read of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Collected {
    /// The catalogue with samples.
    pub metadata: RawMetadata,
    /// What was passed over, one sentence each: names only, never a value.
    pub notes: Vec<String>,
}

/// A source database. It is only ever read.
pub trait SourceDriver: Send + Sync {
    /// Reads the catalogue, row counts and sample rows at one instant.
    ///
    /// # Errors
    /// The database cannot be reached or read, or a pattern matches no table.
    fn collect<'a>(&'a self, selection: &'a Selection) -> BoxFuture<'a, Result<Collected>>;

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

    /// Makes the documents of an entity, one a root row, by the rules of [`crate::model::plan`]; sorted by the keys' texts,
    /// byte by byte. An item is an error if a table or column of the plan is gone or a key is NULL.
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
];

/// Gives the driver for a connection URL; connects only when it is used.
///
/// # Errors
/// The URL is malformed or of a database that is not supported, or names a file that is not there.
pub fn open(url: &SecretString) -> Result<Box<dyn SourceDriver>> {
    let url = ConnectionUrl::parse(url.expose_secret())?;
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
    };
    let metadata = open(url)?.collect(&selection).await?.metadata;
    if metadata.tables.is_empty() {
        return Err(without_tables(&metadata));
    }
    let context = crate::handlers::normalize_schema::normalize(&metadata);
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

//! SQLite: a file opened read-only, seen at one instant by one [`session`]. [`catalogue`] reads what pragmas and the kept statements
//! ([`ddl`]) say; [`rows`] counts and samples, one table after the other, because another connection would see another instant.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _, TypeInfo as _, ValueRef as _};

use super::canonical;
use super::documents::{self, SourceDocument};
use super::lookup::{self, Lookup};
use super::sharing::share_out;
use super::{Collected, ConnectionUrl, Selection, Snapshot, SourceDriver, sample};
use crate::error::{Error, ErrorKind, Result};
use crate::model::metadata::{Dialect, RawMetadata};
use crate::model::plan::EntityPlan;
use crate::model::schema_context::Join;

mod catalogue;
mod ddl;
mod rows;
mod session;
mod types;

use rows::Sampler;
use session::Session;

const INSTANT: &str = "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";

/// A SQLite file.
struct Sqlite {
    path: PathBuf,
    database: String,
}

/// Gives the driver of a SQLite file.
///
/// # Errors
/// The file is missing, is no regular file, or is not a SQLite database.
pub fn open(url: &ConnectionUrl) -> Result<Box<dyn SourceDriver>> {
    let path = url.sqlite_file()?;
    check_file(&path)?;
    let path = std::path::absolute(&path).map_err(|error| unreadable(&path).because(error))?;
    Ok(Box::new(Sqlite {
        path,
        database: url.database(),
    }))
}

fn check_file(path: &Path) -> Result<()> {
    let shown = path.display();
    let metadata = std::fs::symlink_metadata(path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            Error::new(ErrorKind::NotFound, format!("there is no file {shown}"))
                .hint("check the path after `sqlite:`; a relative one starts at the current folder")
        } else {
            unreadable(path).because(error)
        }
    })?;
    // Whoever may change a link would choose the file that is read.
    let what = if metadata.is_symlink() {
        Some("a symbolic link")
    } else if metadata.is_dir() {
        Some("a folder")
    } else if !metadata.is_file() {
        Some("a pipe or a device")
    } else if is_of_the_kernel(path) {
        Some("a view of the kernel")
    } else {
        None
    };
    if let Some(what) = what {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("{shown} is {what}, not a SQLite file"),
        )
        .hint("give the path of a regular file itself after `sqlite:`"));
    }
    let mut head = Vec::with_capacity(16);
    std::fs::File::open(path)
        .and_then(|file| file.take(16).read_to_end(&mut head))
        .map_err(|error| unreadable(path).because(error))?;
    if head.is_empty() || head == b"SQLite format 3\0" {
        Ok(())
    } else {
        Err(not_a_database(path))
    }
}

/// Says whether a path leads to where files are not files.
fn is_of_the_kernel(path: &Path) -> bool {
    let found = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    ["/proc", "/sys", "/dev"]
        .iter()
        .any(|folder| found.starts_with(folder))
}

fn unreadable(path: &Path) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!("cannot read {}", path.display()),
    )
    .hint("check the file's permissions")
}

fn not_a_database(path: &Path) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!("{} is not a SQLite database", path.display()),
    )
    .hint("give the path of a SQLite 3 file; an encrypted one cannot be read")
}

impl Sqlite {
    async fn collect(&self, selection: &Selection) -> Result<Collected> {
        let mut session = Session::open(&self.path).await?;
        session.limit(selection.limits.statement).await?;
        let read_at = session.scalar(INSTANT).await?;
        let server_version = session.scalar("SELECT sqlite_version()").await?;
        let mut catalogue = catalogue::read(&mut session, selection).await?;
        let catalogue_queries = session.queries;
        let mut notes = catalogue.notes;
        if selection.opens_tables() {
            let mut samplers = [Sampler {
                session,
                selection,
                notes: Vec::new(),
                budget: sample::budget(catalogue.relations.len()),
            }];
            share_out(&mut samplers, &mut catalogue.relations).await?;
            let [sampler] = samplers;
            notes.extend(sampler.notes);
        }
        let mut collected = Collected {
            metadata: RawMetadata {
                dialect: Dialect::Sqlite,
                database: self.database.clone(),
                server_version,
                read_at,
                tables: Vec::with_capacity(catalogue.relations.len()),
            },
            notes,
            denied: Vec::new(),
            catalogue_queries,
        };
        for relation in catalogue.relations {
            collected.add(relation.meta, relation.outcome);
        }
        Ok(collected)
    }
}

/// SQLite's own primary code of an error.
fn code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<i32>().ok().map(|code| code & 0xff)
}

fn failed(path: &Path, error: sqlx::Error) -> Error {
    let shown = path.display();
    match code(&error) {
        Some(5 | 6) => Error::new(
            ErrorKind::Unavailable,
            format!("{shown} is locked by another program"),
        )
        .hint("wait until its writer is done, and try again"),
        Some(9) => Error::new(
            ErrorKind::Unavailable,
            format!("reading {shown} took longer than it may"),
        )
        .hint("lower source.sample_rows, or leave large views out with source.exclude"),
        Some(11) => Error::new(ErrorKind::Invalid, format!("{shown} is damaged"))
            .because(error)
            .hint("run `PRAGMA integrity_check` on it, and restore it from a copy"),
        Some(14) => unreadable(path).because(error),
        Some(26) => not_a_database(path),
        _ => Error::new(ErrorKind::Invalid, format!("cannot read {shown}")).because(error),
    }
}

impl SourceDriver for Sqlite {
    fn collect<'a>(&'a self, selection: &'a Selection) -> BoxFuture<'a, Result<Collected>> {
        Box::pin(self.collect(selection))
    }

    fn lookup<'a>(&'a self, joins: &'a [Join]) -> BoxFuture<'a, Result<Vec<Lookup>>> {
        Box::pin(async move {
            let budget = lookup::Budget::new();
            let mut session = Session::open(&self.path).await?;
            let mut found = Vec::new();
            for join in joins {
                let sql = lookup::statement(Dialect::Sqlite, join);
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
            let mut session = Session::open(&self.path).await?;
            let read_at = session.scalar(INSTANT).await?;
            Ok(Box::new(SqliteSnapshot {
                connection: session.connection,
                path: self.path.clone(),
                read_at,
            }) as Box<dyn Snapshot>)
        })
    }
}

struct SqliteSnapshot {
    connection: SqliteConnection,
    path: PathBuf,
    read_at: String,
}

impl Snapshot for SqliteSnapshot {
    fn read_at(&self) -> &str {
        &self.read_at
    }

    fn documents<'a>(
        &'a mut self,
        entity: &'a EntityPlan,
    ) -> BoxStream<'a, Result<SourceDocument>> {
        let path = &self.path;
        let sql = documents::statement(Dialect::Sqlite, entity);
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch(&mut self.connection);
        documents::read(entity, rows, cell, move |error| failed(path, error))
    }
}

/// Reads a text cell as bytes, because SQLite does not promise UTF-8.
fn bytes(row: &SqliteRow, index: usize) -> Result<Option<Vec<u8>>, sqlx::Error> {
    row.try_get_unchecked::<Option<Vec<u8>>, _>(index)
}

/// Reads a text cell as bytes, and a REAL as its canonical text.
fn cell(row: &SqliteRow, index: usize) -> Result<Option<Vec<u8>>, sqlx::Error> {
    if row.try_get_raw(index)?.type_info().name() == "REAL" {
        return Ok(Some(
            canonical::real(row.try_get_unchecked(index)?).into_bytes(),
        ));
    }
    bytes(row, index)
}

#[cfg(test)]
pub(crate) mod tests;

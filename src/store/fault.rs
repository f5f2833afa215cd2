//! What goes wrong inside the store, until it is told what was being done.

use std::borrow::Cow;

use crate::error::{Error, ErrorKind};

/// SQLite's primary result codes that are about the whole transaction, not about one statement's values.
mod sqlite {
    pub const CONSTRAINT: u32 = 19;
    pub const FULL: u32 = 13;
    pub const CORRUPT: u32 = 11;
    pub const NO_DATABASE: u32 = 26;
    /// The file that processes share beside the write-ahead log cannot grow.
    pub const SHARED_MEMORY: u32 = 4_874;
}

/// PostgreSQL's `disk_full` and `53xxx` neighbours.
const POSTGRES_FULL: &str = "53100";

/// Why a piece of work was not done.
#[derive(Debug)]
pub(super) enum Fault {
    /// The database refused or failed.
    Sql(sqlx::Error),
    /// What is recorded says no.
    Refused(Error),
    /// The transaction that the work was part of came to nothing.
    Transaction(String, ErrorKind),
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl Fault {
    /// Says whether the other work of the same transaction can go on: values were refused, and nothing else.
    pub(super) fn is_of_one(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Sql(sqlx::Error::Database(error)) => {
                error.code().and_then(|code| primary(&code)) == Some(sqlite::CONSTRAINT)
            }
            // A value that cannot be bound or read says nothing about the transaction.
            Self::Sql(error) => matches!(
                error,
                sqlx::Error::Encode(_) | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. }
            ),
            Self::Transaction(..) => false,
        }
    }

    /// Gives the same fault to one more piece of work of the transaction.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::Sql(error) => Self::Transaction(error.to_string(), kind(error)),
            Self::Refused(error) => Self::Transaction(error.to_string(), error.kind()),
            Self::Transaction(text, kind) => Self::Transaction(text.clone(), *kind),
        }
    }

    /// Tells what was being done, and where.
    pub(super) fn told(self, what: &str, place: &str) -> Error {
        let (text, kind) = match self {
            Self::Refused(error) => return error,
            // sqlx's own text names its causes already: as a source they would be named twice.
            Self::Sql(error) => (error.to_string(), kind(&error)),
            Self::Transaction(text, kind) => (text, kind),
        };
        let error = Error::new(kind, format!("cannot {what} in {place}")).because(text);
        if kind == ErrorKind::Full {
            error.hint("make room on the disk of the run store, then try again")
        } else if kind == ErrorKind::Configuration {
            error.hint(DAMAGED)
        } else {
            error.hint("see that the run store can be reached, and that no other program holds it")
        }
    }
}

/// What to do about a file that is damaged.
pub(super) const DAMAGED: &str = "the file is damaged: stop relvec, put a copy back or move the file away (a new store is made at the next start)";

fn kind(error: &sqlx::Error) -> ErrorKind {
    let sqlx::Error::Database(error) = error else {
        return ErrorKind::Unavailable;
    };
    let code = error.code().unwrap_or(Cow::Borrowed(""));
    if code == POSTGRES_FULL {
        return ErrorKind::Full;
    }
    let extended = code.parse().unwrap_or(0_u32);
    match primary(&code).unwrap_or(0) {
        sqlite::FULL => ErrorKind::Full,
        sqlite::CORRUPT | sqlite::NO_DATABASE => ErrorKind::Configuration,
        _ if extended == sqlite::SHARED_MEMORY => ErrorKind::Full,
        _ => ErrorKind::Unavailable,
    }
}

/// SQLite's codes are numbers, the lowest byte of which is the sort; PostgreSQL's are five characters.
fn primary(code: &str) -> Option<u32> {
    (code.len() < 5)
        .then(|| code.parse::<u32>().ok().map(|code| code & 0xff))
        .flatten()
}

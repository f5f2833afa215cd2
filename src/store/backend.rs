//! The two databases that a run store can be in. Everything else in the store is written once, against this.
//!
//! A statement numbers its parameters (`$1`), which both understand. Texts are TEXT, numbers BIGINT, truth is 0 or 1, and a time that is
//! shown is RFC 3339 text. A time that owners are held to is milliseconds of the database's own clock: [`at_now`] writes it.

use std::sync::Arc;

use sqlx::encode::Encode;
use sqlx::postgres::{PgArguments, PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::types::Type;
use sqlx::{Arguments, Database, FromRow, PgPool, SqlitePool, Transaction};
use uuid::Uuid;

use super::create::{self, Created, Creation};
use super::fault::Fault;
use super::writer::Writer;

/// A statement in the words of each database.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sql {
    pub(super) sqlite: &'static str,
    pub(super) postgres: &'static str,
}

impl From<&'static str> for Sql {
    fn from(both: &'static str) -> Self {
        Self {
            sqlite: both,
            postgres: both,
        }
    }
}

/// Writes a statement with the database's time, in milliseconds, between its parts.
macro_rules! at_now {
    ($before:literal $(, $after:literal)+) => {
        $crate::store::backend::Sql {
            sqlite: concat!($before $(, "CAST(unixepoch('subsec') * 1000 AS INTEGER)", $after)+),
            postgres: concat!($before $(, "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)", $after)+),
        }
    };
}
pub(super) use at_now;

/// A parameter of a statement.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(Option<String>),
    Number(Option<i64>),
    Real(Option<f64>),
    Bytes(Option<Vec<u8>>),
}

macro_rules! value_from {
    ($($from:ty => |$value:ident| $to:expr;)+) => {
        $(impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $to
            }
        })+
    };
}

value_from! {
    &str => |text| Self::Text(Some(text.to_owned()));
    &String => |text| Self::Text(Some(text.clone()));
    String => |text| Self::Text(Some(text));
    Option<&str> => |text| Self::Text(text.map(str::to_owned));
    Option<String> => |text| Self::Text(text);
    &Arc<str> => |text| Self::Text(Some(text.to_string()));
    Uuid => |id| Self::Text(Some(id.to_string()));
    Option<Uuid> => |id| Self::Text(id.map(|id| id.to_string()));
    u32 => |number| Self::Number(Some(i64::from(number)));
    i64 => |number| Self::Number(Some(number));
    Option<i64> => |number| Self::Number(number);
    f64 => |number| Self::Real(Some(number));
    Option<f64> => |number| Self::Real(number);
    Option<Vec<u8>> => |bytes| Self::Bytes(bytes);
}

/// What a statement can give: rows that both databases' drivers can read.
pub(super) trait Row:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin + 'static
{
}

impl<T> Row for T where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin + 'static
{
}

/// Parameters of a statement.
#[derive(Debug, Clone, Default)]
pub(super) struct Values(Vec<Value>);

impl Values {
    /// Adds the next parameter.
    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.0.push(value.into());
        self
    }
}

/// A statement with its parameters.
#[derive(Debug, Clone)]
pub(super) struct Query {
    sql: Sql,
    values: Vec<Value>,
}

/// Begins a statement.
pub(super) fn query(sql: impl Into<Sql>) -> Query {
    Query {
        sql: sql.into(),
        values: Vec::new(),
    }
}

impl Query {
    /// Adds the next parameter.
    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Adds a row of parameters.
    pub(super) fn and(mut self, row: &Values) -> Self {
        self.values.extend_from_slice(&row.0);
        self
    }

    /// Runs the statement and gives how many rows it changed.
    pub(super) async fn execute(self, connection: &mut Connection) -> Result<u64, Fault> {
        Ok(match connection {
            Connection::Sqlite(connection) => {
                let (sql, arguments) = self.sqlite()?;
                let query = sqlx::query_with::<Sqlite, _>(sql, arguments);
                query.execute(&mut *connection).await?.rows_affected()
            }
            Connection::Postgres(transaction) => {
                let (sql, arguments) = self.postgres()?;
                let query = sqlx::query_with::<Postgres, _>(sql, arguments);
                query.execute(&mut **transaction).await?.rows_affected()
            }
        })
    }

    /// Runs the statement and gives its rows.
    pub(super) async fn all<T: Row>(self, connection: &mut Connection) -> Result<Vec<T>, Fault> {
        Ok(match connection {
            Connection::Sqlite(connection) => {
                let (sql, arguments) = self.sqlite()?;
                let query = sqlx::query_as_with::<Sqlite, T, _>(sql, arguments);
                query.fetch_all(&mut *connection).await?
            }
            Connection::Postgres(transaction) => {
                let (sql, arguments) = self.postgres()?;
                let query = sqlx::query_as_with::<Postgres, T, _>(sql, arguments);
                query.fetch_all(&mut **transaction).await?
            }
        })
    }

    /// Runs the statement and gives its first row, if it has one.
    pub(super) async fn optional<T: Row>(
        self,
        connection: &mut Connection,
    ) -> Result<Option<T>, Fault> {
        // All rows are fetched, so that a statement which changes something is run to its end.
        Ok(self.all(connection).await?.into_iter().next())
    }

    fn sqlite(self) -> Result<(&'static str, SqliteArguments), sqlx::Error> {
        Ok((self.sql.sqlite, arguments::<Sqlite>(self.values)?))
    }

    fn postgres(mut self) -> Result<(&'static str, PgArguments), sqlx::Error> {
        for value in &mut self.values {
            // The one character that PostgreSQL's texts cannot hold.
            if let Value::Text(Some(text)) = value
                && text.contains('\0')
            {
                *text = text.replace('\0', "\u{fffd}");
            }
        }
        Ok((self.sql.postgres, arguments::<Postgres>(self.values)?))
    }
}

fn arguments<DB>(values: Vec<Value>) -> Result<DB::Arguments, sqlx::Error>
where
    DB: Database,
    Option<String>: Encode<'static, DB> + Type<DB>,
    Option<i64>: Encode<'static, DB> + Type<DB>,
    Option<f64>: Encode<'static, DB> + Type<DB>,
    Option<Vec<u8>>: Encode<'static, DB> + Type<DB>,
{
    let mut arguments = DB::Arguments::default();
    for value in values {
        match value {
            Value::Text(text) => arguments.add(text),
            Value::Number(number) => arguments.add(number),
            Value::Real(number) => arguments.add(number),
            Value::Bytes(bytes) => arguments.add(bytes),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

/// Where the statements of one piece of work run: all of them count, or none.
pub(super) enum Connection {
    /// The writer's, inside a savepoint of the transaction that it is in.
    Sqlite(SqliteConnection),
    /// A transaction of its own.
    Postgres(Transaction<'static, Postgres>),
}

impl Connection {
    /// Says whether gateways of several machines share the store.
    pub(super) const fn is_shared(&self) -> bool {
        match self {
            Self::Sqlite(_) => false,
            Self::Postgres(_) => true,
        }
    }
}

/// The database that a store is in.
#[derive(Debug, Clone)]
pub(super) enum Backend {
    /// A file: many readers, one writer.
    Sqlite { readers: SqlitePool, writer: Writer },
    /// A server.
    Postgres(PgPool),
}

impl Backend {
    /// Runs a statement that changes nothing and gives its rows.
    pub(super) async fn all<T: Row>(&self, query: Query) -> Result<Vec<T>, Fault> {
        Ok(match self {
            Self::Sqlite { readers, .. } => {
                let (sql, arguments) = query.sqlite()?;
                let query = sqlx::query_as_with::<Sqlite, T, _>(sql, arguments);
                query.fetch_all(readers).await?
            }
            Self::Postgres(pool) => {
                let (sql, arguments) = query.postgres()?;
                let query = sqlx::query_as_with::<Postgres, T, _>(sql, arguments);
                query.fetch_all(pool).await?
            }
        })
    }

    /// Runs a statement that changes nothing and gives its first row, if it has one.
    pub(super) async fn optional<T: Row>(&self, query: Query) -> Result<Option<T>, Fault> {
        Ok(self.all(query).await?.into_iter().next())
    }

    /// Makes a run durable.
    pub(super) async fn create(&self, run: Creation) -> Result<Created, Fault> {
        match self {
            Self::Sqlite { writer, .. } => writer.create(run).await,
            Self::Postgres(_) => {
                let work = self.write(move |c| Box::pin(async move { create::one(c, &run).await }));
                work.await
            }
        }
    }

    /// Runs a statement that changes something and gives its first row, if it has one.
    pub(super) async fn write_one<T: Row>(&self, query: Query) -> Result<Option<T>, Fault> {
        match self {
            Self::Sqlite { writer, .. } => {
                let work = writer.write_one(move |c| Box::pin(query.optional(c)));
                work.await
            }
            Self::Postgres(_) => self.write(move |c| Box::pin(query.optional(c))).await,
        }
    }

    /// Does a piece of work: all of its statements count once this returns, or none does.
    pub(super) async fn write<T, W>(&self, work: W) -> Result<T, Fault>
    where
        T: Send + 'static,
        W: Work<T>,
    {
        match self {
            Self::Sqlite { writer, .. } => writer.write(work).await,
            Self::Postgres(pool) => {
                let mut connection = Connection::Postgres(pool.begin().await?);
                let done = work(&mut connection).await?;
                if let Connection::Postgres(transaction) = connection {
                    transaction.commit().await?;
                }
                Ok(done)
            }
        }
    }
}

/// What a piece of work gives, in time.
pub(super) type Working<'c, T> =
    std::pin::Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'c>>;

/// A piece of work: statements that count together. It owns what it needs, because a writer does it.
pub(super) trait Work<T>:
    for<'c> FnOnce(&'c mut Connection) -> Working<'c, T> + Send + 'static
{
}

impl<T, W> Work<T> for W where
    W: for<'c> FnOnce(&'c mut Connection) -> Working<'c, T> + Send + 'static
{
}

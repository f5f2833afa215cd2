//! What a target holds: PostgreSQL with pgvector, read for the validator and for searches. Nothing here writes.
//!
//! 1. [`resolve`] finds the target's address; [`check`] says early what would stop the migration.
//! 2. [`Target::open`] reads at one instant: [`Target::facts`], [`Target::chunks`], [`Target::quarantined`].
//! 3. `sample` draws a few chunks and asks the index.

use std::collections::BTreeSet;

use futures::stream::{BoxStream, StreamExt as _};
use secrecy::SecretString;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, Row as _};
use uuid::Uuid;

use super::embedded::Embedded;
use crate::allowed::Role;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::context::Context;
use crate::graph::event::LogLevel;
use crate::graph::handler::HandlerError;
use crate::model::job::{JobInput, secret};
use crate::model::plan::{EntityPlan, TargetPlan};
use crate::settings;
use crate::source::{ConnectionUrl, Place};

mod sample;

pub use sample::SampledChunk;

/// Gives the target; starts the embedded one where the job uses it.
///
/// # Errors
/// The run has no target URL, or the embedded target may not be used or cannot be started.
pub async fn place(job: &JobInput, ctx: &Context) -> Result<Place, HandlerError> {
    let url = resolve(job, ctx).await?;
    // relvec's own is on this machine's loopback, where nothing else of a job may be.
    Ok(if job.target.is_embedded() {
        Place::from(&url)
    } else {
        Place::within(&url, ctx.allowed())
    })
}

/// Gives the target's connection string; starts the embedded target where the job uses it.
///
/// # Errors
/// As [`place`].
pub async fn resolve(job: &JobInput, ctx: &Context) -> Result<SecretString, HandlerError> {
    if job.target.is_embedded() {
        ctx.allowed().check_embedded()?;
        let log = |line: &str| ctx.log(LogLevel::Info, line);
        let target = Embedded::ensure(ctx.cache(), &settings::python(), &log).await?;
        return Ok(target.url);
    }
    ctx.need_secret(secret::TARGET_URL).cloned()
}

/// Checks that the target can be reached and has pgvector.
///
/// # Errors
/// Unreachable, a refused user or password, an unknown database, or no pgvector: each with the next step.
pub async fn check(place: impl Into<Place>) -> Result<()> {
    let url = place.into().read(Role::Target)?;
    let mut connection = connect(&url).await?;
    let available: Option<i32> =
        sqlx::query_scalar("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'")
            .fetch_optional(&mut connection)
            .await
            .map_err(|error| unreadable(&url, &error))?;
    available.map(|_| ()).ok_or_else(|| without_pgvector(&url))
}

/// What the target's catalogue says about the planned table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFacts {
    /// The type of its column `embedding`, as `vector` or `halfvec`.
    pub vector_type: String,
    /// The numbers a vector that the type asks for; negative where it takes any.
    pub dimensions: i32,
    /// The name of a valid HNSW index on `embedding` for the cosine distance.
    pub index: Option<String>,
}

/// A row of the target table.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetChunk {
    /// Its id.
    pub id: Uuid,
    /// Its number in the document, counted from 0.
    pub chunk: i32,
    /// Its text.
    pub content: String,
    /// Its content hash: 32 bytes in a table that migrate.py made.
    pub content_hash: Vec<u8>,
    /// The metadata values as text, in plan order.
    pub metadata: Vec<Option<String>>,
    /// Whether the metadata has exactly the planned names.
    pub metadata_names: bool,
    /// The model that made its vector.
    pub model: String,
    /// Numbers of its vector; absent without a vector.
    pub dimensions: Option<i32>,
    /// The norm of its vector; not finite where a number is not.
    pub norm: Option<f64>,
    /// The vector itself, where it was asked for.
    pub vector: Option<Vec<f32>>,
    /// The cosine distances to the vectors that were asked for.
    pub distances: Vec<Option<f64>>,
}

/// What is read of vectors.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// Whether the vectors themselves are.
    pub vectors: bool,
    /// The table's facts and vectors of its dimension: the distances to these are.
    pub distances: Option<(&'a TableFacts, &'a [Vec<f32>])>,
}

/// A target at one instant.
pub struct Target {
    url: ConnectionUrl,
    connection: PgConnection,
    table: String,
    quarantine: String,
    plan: TargetPlan,
    /// The quoted schema of pgvector.
    vector: String,
}

impl Target {
    /// Opens a view of the target at one instant.
    ///
    /// # Errors
    /// As [`check`]; and pgvector is there but not enabled.
    pub async fn open(place: impl Into<Place>, plan: &TargetPlan) -> Result<Self> {
        let url = place.into().read(Role::Target)?;
        let mut connection = connect(&url).await?;
        let wrong = |error| unreadable(&url, &error);
        connection
            .execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = pg_catalog; SET LOCAL statement_timeout = 0")
            .await
            .map_err(wrong)?;
        let schema: Option<String> = sqlx::query_scalar(
            "SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'",
        )
        .fetch_optional(&mut connection)
        .await
        .map_err(wrong)?;
        let schema = schema.ok_or_else(|| without_pgvector(&url))?;
        Ok(Self {
            table: qualified(plan, ""),
            quarantine: qualified(plan, "_quarantine"),
            plan: plan.clone(),
            vector: quoted(&schema),
            url,
            connection,
        })
    }

    /// Gives what the catalogue says about the planned table, nothing if there is none.
    ///
    /// # Errors
    /// The target cannot be read.
    pub async fn facts(&mut self) -> Result<Option<TableFacts>> {
        let row = sqlx::query(include_str!("target/table.sql"))
            .bind(&self.plan.schema)
            .bind(&self.plan.table)
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|error| unreadable(&self.url, &error))?;
        let Some(row) = row else {
            return Ok(None);
        };
        let wrong = |error| unreadable(&self.url, &error);
        Ok(Some(TableFacts {
            vector_type: row.try_get(0).map_err(wrong)?,
            dimensions: row.try_get(1).map_err(wrong)?,
            index: row.try_get(2).map_err(wrong)?,
        }))
    }

    /// Gives the entities in the table beside the planned ones, of which it has so many rows, sorted.
    ///
    /// # Errors
    /// The target cannot be read.
    pub async fn others(&mut self, planned: &[String], rows: u64) -> Result<Vec<String>> {
        let failed = |error| unreadable(&self.url, &error);
        // The primary key is enough to count, and only where the sum is another one is the table itself read.
        let sql = format!("SELECT count(*) FROM {}", self.table);
        let all: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&mut self.connection)
            .await
            .map_err(failed)?;
        if u64::try_from(all) == Ok(rows) {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT DISTINCT entity FROM {} WHERE entity <> ALL($1) ORDER BY 1",
            self.table
        );
        sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(planned)
            .fetch_all(&mut self.connection)
            .await
            .map_err(failed)
    }

    /// Gives the quoted name of the table.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Gives the quoted schema of pgvector.
    #[must_use]
    pub fn vector_schema(&self) -> &str {
        &self.vector
    }

    /// Gives the connection, inside its read-only transaction.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Gives the keys of an entity in the quarantine table; none if there is no such table.
    ///
    /// # Errors
    /// The target cannot be read.
    pub async fn quarantined(&mut self, entity: &EntityPlan) -> Result<BTreeSet<Vec<String>>> {
        let exists: Option<i32> =
            sqlx::query_scalar("SELECT 1 FROM pg_tables WHERE schemaname = $1 AND tablename = $2")
                .bind(&self.plan.schema)
                .bind(format!("{}_quarantine", self.plan.table))
                .fetch_optional(&mut self.connection)
                .await
                .map_err(|error| unreadable(&self.url, &error))?;
        if exists.is_none() {
            return Ok(BTreeSet::new());
        }
        let sql = format!(
            "SELECT ARRAY[{}] FROM {} WHERE entity = $1",
            key_terms(entity).join(", "),
            self.quarantine
        );
        let rows = bind_keys(sqlx::query(AssertSqlSafe(sql)).bind(&entity.name), entity)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| unreadable(&self.url, &error))?;
        let keys = rows.iter().map(|row| {
            let key: Vec<Option<String>> = row.try_get(0)?;
            Ok(key.into_iter().collect::<Option<Vec<String>>>())
        });
        let keys: Result<BTreeSet<Option<Vec<String>>>, sqlx::Error> = keys.collect();
        let keys = keys.map_err(|error| unreadable(&self.url, &error))?;
        Ok(keys.into_iter().flatten().collect())
    }

    /// Gives the rows of an entity in any order, each with its key's values in key order. The key is absent where `source_key`
    /// does not have exactly the key's columns as texts.
    pub fn chunks<'a>(
        &'a mut self,
        entity: &'a EntityPlan,
        wanted: Wanted<'a>,
    ) -> BoxStream<'a, Result<(Option<Vec<String>>, TargetChunk)>> {
        let names: Vec<String> = entity
            .metadata
            .iter()
            .map(|field| field.name.clone())
            .collect();
        let sql = chunks_sql(entity, &self.table, &self.vector, wanted);
        let query = sqlx::query(AssertSqlSafe(sql)).bind(&entity.name);
        let mut query = bind_keys(query, entity).bind(names);
        for field in &entity.metadata {
            query = query.bind(&field.name);
        }
        let near = wanted.distances.map_or(&[][..], |(_, near)| near);
        let query = near.iter().fold(query, sqlx::query::Query::bind);
        let url = &self.url;
        query
            .fetch(&mut self.connection)
            .map(move |row| {
                row.and_then(|row| read(entity, &row))
                    .map_err(|error| unreadable(url, &error))
            })
            .boxed()
    }
}

/// The key's values as texts; `$1` is the entity, the key columns' names follow.
fn key_terms(entity: &EntityPlan) -> Vec<String> {
    (0..entity.key_names().len())
        .map(|index| format!("source_key ->> ${}::text", index + 2))
        .collect()
}

fn chunks_sql(entity: &EntityPlan, table: &str, vector: &str, wanted: Wanted<'_>) -> String {
    let keys = key_terms(entity);
    let names = keys.len() + 2;
    let fields: Vec<String> = (1..=entity.metadata.len())
        .map(|index| format!("metadata ->> ${}::text", names + index))
        .collect();
    let rebuilt: Vec<String> = keys
        .iter()
        .enumerate()
        .map(|(index, term)| format!("${}::text, {term}", index + 2))
        .collect();
    let filled: Vec<String> = keys
        .iter()
        .map(|term| format!("{term} IS NOT NULL"))
        .collect();
    let first = names + fields.len() + 1;
    let distances: Vec<String> = wanted.distances.map_or_else(Vec::new, |(facts, near)| {
        let parameters = first..first + near.len();
        parameters
            .map(|parameter| sample::distance(vector, facts, parameter))
            .collect()
    });
    let numbers = if wanted.vectors {
        format!("embedding::{vector}.vector::real[]")
    } else {
        "NULL::real[]".to_owned()
    };
    // Without subqueries and arrays of texts: they would take longer than the rest of the statement.
    let texts: Vec<&str> = [""]
        .into_iter()
        .chain(keys.iter().chain(&fields).map(String::as_str))
        .collect();
    format!(
        "SELECT source_key = jsonb_build_object({rebuilt}) AND {filled} AS sound, \
         id, chunk, content, content_hash, \
         CASE jsonb_typeof(metadata) WHEN 'object' \
         THEN metadata ?& ${names}::text[] AND metadata - ${names}::text[] = '{{}}'::jsonb ELSE false END AS names, \
         model, {vector}.vector_dims(embedding) AS dimensions, \
         {vector}.vector_norm(embedding::{vector}.vector) AS norm, {numbers} AS numbers, \
         ARRAY[{distances}]::double precision[] AS distances{texts} \
         FROM {table} WHERE entity = $1",
        rebuilt = rebuilt.join(", "),
        filled = filled.join(" AND "),
        distances = distances.join(", "),
        texts = texts.join(", "),
    )
}

/// Columns of [`chunks_sql`] before the texts of the key and of the metadata.
const BEFORE_TEXTS: usize = 11;

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn bind_keys<'q>(query: Query<'q>, entity: &'q EntityPlan) -> Query<'q> {
    let names = entity.key_names().into_iter();
    names.fold(query, sqlx::query::Query::bind)
}

fn read(
    entity: &EntityPlan,
    row: &PgRow,
) -> Result<(Option<Vec<String>>, TargetChunk), sqlx::Error> {
    // By their places: names would be looked up in every row.
    let sound: Option<bool> = row.try_get(0)?;
    let names: Option<bool> = row.try_get(5)?;
    let first = BEFORE_TEXTS + entity.key_names().len();
    let key = (BEFORE_TEXTS..first).map(|place| row.try_get(place));
    let key = key.collect::<Result<Option<Vec<String>>, _>>()?;
    let metadata = (first..first + entity.metadata.len()).map(|place| row.try_get(place));
    let chunk = TargetChunk {
        id: row.try_get(1)?,
        chunk: row.try_get(2)?,
        content: row.try_get(3)?,
        content_hash: row.try_get(4)?,
        metadata: metadata.collect::<Result<_, _>>()?,
        metadata_names: names.unwrap_or(false),
        model: row.try_get(6)?,
        dimensions: row.try_get(7)?,
        norm: row.try_get(8)?,
        vector: row.try_get(9)?,
        distances: row.try_get(10)?,
    };
    Ok((key.filter(|_| sound == Some(true)), chunk))
}

async fn connect(url: &ConnectionUrl) -> Result<PgConnection> {
    // sqlx would log statements that take long, and the validator's read everything.
    let options = url.pg_route().await?.disable_statement_logging();
    match tokio::time::timeout(url.connect_timeout(), options.connect()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(unreachable(url, &error)),
        Err(_) => Err(Error::new(
            ErrorKind::Unavailable,
            format!(
                "the target {url} did not answer within {} s",
                url.connect_timeout().as_secs()
            ),
        )
        .hint("check host, port and firewall in `target.url`")),
    }
}

/// sqlx's own text names its causes already, so it is kept as text: as a source they would be named twice.
fn unreachable(url: &ConnectionUrl, error: &sqlx::Error) -> Error {
    let code = error
        .as_database_error()
        .and_then(|error| error.code().map(std::borrow::Cow::into_owned));
    match code.as_deref() {
        Some("28P01" | "28000") => Error::new(
            ErrorKind::Invalid,
            format!("the target {url} refuses the user or the password"),
        )
        .hint("correct the user or the password in the job's target URL"),
        Some("3D000") => Error::new(
            ErrorKind::Invalid,
            format!("the target {url} has no such database"),
        )
        .hint("create the database, or correct its name in the job's target URL"),
        Some(_) | None => Error::new(
            ErrorKind::Unavailable,
            format!("the target {url} cannot be reached"),
        )
        .hint("check that PostgreSQL runs there, and host and port in the job's target URL")
        .because(error.to_string()),
    }
}

fn without_pgvector(url: &ConnectionUrl) -> Error {
    Error::new(ErrorKind::Invalid, format!("the target {url} has no pgvector"))
        .hint("install it on that server (Debian: apt-get install postgresql-NN-pgvector) and run CREATE EXTENSION vector")
        .hint("or leave the target out of the job: relvec then starts its embedded one")
}

fn unreadable(url: &ConnectionUrl, error: &sqlx::Error) -> Error {
    let code = error
        .as_database_error()
        .and_then(|error| error.code().map(std::borrow::Cow::into_owned));
    match code.as_deref() {
        Some("42P01" | "42703") => Error::new(
            ErrorKind::Invalid,
            format!("the table in the target {url} is not one that migrate.py made"),
        )
        .hint("choose another `target.table` in the job")
        .because(error.to_string()),
        Some("42501") => Error::new(
            ErrorKind::Invalid,
            format!("the user of the target {url} may not read the table"),
        )
        .hint("grant SELECT on the table and its `_quarantine` to that user")
        .because(error.to_string()),
        Some(_) | None => Error::new(
            ErrorKind::Unavailable,
            format!("the target {url} cannot be read"),
        )
        .because(error.to_string()),
    }
}

fn qualified(plan: &TargetPlan, suffix: &str) -> String {
    format!(
        "{}.{}",
        quoted(&plan.schema),
        quoted(&format!("{}{suffix}", plan.table))
    )
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

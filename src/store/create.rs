//! New runs. Those that wait for the writer of a file together are inserted together, each with an answer of its own.

use std::fmt::Write as _;
use std::sync::LazyLock;

use uuid::Uuid;

use super::adopt::{self, Adopted};
use super::backend::{Backend, Connection, Query, Sql, Values, query};
use super::fault::Fault;
use super::{Origin, Store, damaged, json, parse_id, sha256, word};
use crate::error::{Error, ErrorKind, Result};

/// A run to accept.
#[derive(Debug, Clone)]
pub struct NewRun<'a> {
    /// Its id.
    pub id: Uuid,
    /// When it is accepted, as [`now`](super::now) gives it.
    pub created_at: &'a str,
    /// Whose it is.
    pub tenant: &'a str,
    /// Who accepts it.
    pub origin: Origin,
    /// The graph's name.
    pub graph: &'a str,
    /// The graph file's text, so that a later edit does not change a run.
    pub graph_text: &'a str,
    /// Where the graph file is, if the run was started from a path and not by the graph's name.
    pub graph_path: Option<&'a str>,
    /// The job without secrets, as JSON.
    pub job: &'a str,
    /// Names of the secrets that stood in the job itself, and so cannot be had again.
    pub inline_secrets: &'a [String],
    /// Whether this process keeps those secrets in memory: as long as it lives, no other executes the run.
    pub held: bool,
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

/// A run to insert.
#[derive(Debug)]
pub(super) struct Creation {
    id: Uuid,
    tenant: String,
    key: Option<String>,
    fingerprint: String,
    /// The values of [`COLUMNS`].
    row: Values,
}

impl Creation {
    /// Says whether there may be an earlier run of the same key.
    pub(super) fn has_key(&self) -> bool {
        self.key.is_some()
    }
}

/// The columns of a new run beside its status, which is `queued`.
const COLUMNS: &str =
    "id, tenant, origin, graph, graph_text, graph_sha256, job, inline_secrets, created_at,
                       idempotency_key, fingerprint, graph_path, retry_of, holder, last_seq";

/// How many there are.
const WIDTH: usize = 15;

/// The most runs in one statement is two to this power.
const MOST: usize = 6;

/// The statements that insert 1, 2, 4 … runs: a database prepares few statements, whatever the number of runs that wait.
static INSERTS: LazyLock<[[String; 2]; MOST + 1]> = LazyLock::new(|| {
    std::array::from_fn(|power| [false, true].map(|numbered| sql(power, numbered)))
});

/// Writes the statement that inserts two to a power of runs. SQLite looks a numbered parameter up by its name, and the more there are the
/// longer it takes; PostgreSQL knows no others.
fn sql(power: usize, numbered: bool) -> String {
    let mut sql = format!("INSERT INTO runs ({COLUMNS}, status) VALUES ");
    for row in 0..1 << power {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=WIDTH {
            if numbered {
                let _ = write!(sql, "${}, ", row * WIDTH + column);
            } else {
                sql.push_str("?, ");
            }
        }
        sql.push_str("'queued')");
    }
    sql.push_str(" ON CONFLICT (tenant, idempotency_key) DO NOTHING");
    sql
}

fn insert(power: usize) -> Query {
    let [sqlite, postgres] = &INSERTS[power];
    query(Sql { sqlite, postgres })
}

impl Store {
    /// Makes a run durable as `queued`.
    ///
    /// # Errors
    /// The idempotency key was used with another request, or the store cannot be written.
    pub async fn create(&self, run: &NewRun<'_>) -> Result<Created> {
        let creation = self.creation(run)?;
        let created = match run.adopted.cloned() {
            None => Box::pin(self.backend.create(creation)).await,
            Some(adopted) => {
                let work = self.backend.write(move |c| {
                    Box::pin(async move {
                        let created = one(c, &creation).await?;
                        if created == Created::New {
                            adopt::adopt(c, creation.id, &adopted).await?;
                        }
                        Ok(created)
                    })
                });
                Box::pin(work).await
            }
        };
        let created = created.map_err(|fault| fault.told("record the run", &self.place))?;
        if created == Created::New && run.origin == Origin::Gateway {
            self.changes.queued();
        }
        Ok(created)
    }

    fn creation(&self, run: &NewRun<'_>) -> Result<Creation> {
        let events = run.adopted.map_or(0, |adopted| adopted.events.len());
        let holder = run.held.then_some(self.me);
        let row = Values::default()
            .bind(run.id)
            .bind(run.tenant)
            .bind(word(&run.origin)?)
            .bind(run.graph)
            .bind(run.graph_text)
            .bind(sha256(run.graph_text.as_bytes()))
            .bind(run.job)
            .bind(json(run.inline_secrets)?)
            .bind(run.created_at)
            .bind(run.idempotency_key)
            .bind(run.fingerprint)
            .bind(run.graph_path)
            .bind(run.adopted.map(|adopted| adopted.from))
            .bind(holder)
            .bind(i64::try_from(events).unwrap_or(i64::MAX));
        Ok(Creation {
            id: run.id,
            tenant: run.tenant.to_owned(),
            key: run.idempotency_key.map(str::to_owned),
            fingerprint: run.fingerprint.to_owned(),
            row,
        })
    }

    /// Gives how many new runs wait for this process to make them durable. A server makes each durable by itself.
    #[must_use]
    pub fn creations(&self) -> usize {
        match &self.backend {
            Backend::Sqlite { writer, .. } => writer.creations(),
            Backend::Postgres(_) => 0,
        }
    }

    /// Gives the run that a tenant's request with a key made before.
    ///
    /// # Errors
    /// The key was used with another request, or the store cannot be read.
    pub async fn before(
        &self,
        tenant: &str,
        key: Option<&str>,
        fingerprint: &str,
    ) -> Result<Option<Uuid>> {
        let Some(key) = key else {
            return Ok(None);
        };
        let found = self
            .optional("read the run of an idempotency key", same_key(tenant, key))
            .await?;
        found
            .map(|found| same_request(found, fingerprint))
            .transpose()
    }
}

/// Gives how many of so many runs one statement inserts.
pub(super) fn in_one(runs: usize) -> usize {
    runs.checked_ilog2()
        .map_or(0, |power| 1 << (power as usize).min(MOST))
}

/// Inserts runs, each with its own answer: one that cannot be inserted leaves the others alone.
///
/// # Errors
/// The transaction came to nothing.
pub(super) async fn together(
    connection: &mut Connection,
    runs: &[Creation],
) -> Result<Vec<Result<Created, Fault>>, Fault> {
    let mut answers = Vec::with_capacity(runs.len());
    let mut rest = runs;
    while !rest.is_empty() {
        let (these, behind) = rest.split_at(in_one(rest.len()));
        rest = behind;
        let inserted = match all(connection, these).await {
            Ok(inserted) if inserted == these.len() as u64 => Inserted::All,
            Ok(_) => Inserted::NewKeys,
            Err(fault) if fault.is_of_one() => Inserted::None,
            Err(fault) => return Err(fault),
        };
        for run in these {
            let answer = match inserted {
                Inserted::All => Ok(Created::New),
                Inserted::NewKeys => of_key(connection, run).await,
                Inserted::None => one(connection, run).await,
            };
            match answer {
                Err(fault) if !fault.is_of_one() => return Err(fault),
                answer => answers.push(answer),
            }
        }
    }
    Ok(answers)
}

/// Inserts as many runs as one statement does, but those whose keys were used before, and gives how many.
pub(super) async fn all(connection: &mut Connection, runs: &[Creation]) -> Result<u64, Fault> {
    let power = runs.len().ilog2() as usize;
    let statement = runs
        .iter()
        .fold(insert(power), |all, run| all.and(&run.row));
    statement.execute(connection).await
}

/// What a statement inserted of its runs.
#[derive(Debug, Clone, Copy)]
enum Inserted {
    All,
    /// All but those whose key was used before.
    NewKeys,
    /// One of them cannot be inserted.
    None,
}

/// Inserts a run, unless its key was used before.
pub(super) async fn one(connection: &mut Connection, run: &Creation) -> Result<Created, Fault> {
    if insert(0).and(&run.row).execute(connection).await? == 1 {
        return Ok(Created::New);
    }
    of_key(connection, run).await
}

/// Gives what became of a run after the statement that inserts it: whether its key is its own or an earlier one's.
async fn of_key(connection: &mut Connection, run: &Creation) -> Result<Created, Fault> {
    // Without a key, nothing can have been before it.
    let Some(key) = &run.key else {
        return Ok(Created::New);
    };
    let found: Option<(String, String)> = same_key(&run.tenant, key).optional(connection).await?;
    let found = found.ok_or_else(|| damaged("no run of an idempotency key that was taken"))?;
    let before = same_request(found, &run.fingerprint)?;
    Ok(if before == run.id {
        Created::New
    } else {
        Created::Before(before)
    })
}

fn same_key(tenant: &str, key: &str) -> Query {
    query("SELECT id, fingerprint FROM runs WHERE tenant = $1 AND idempotency_key = $2")
        .bind(tenant)
        .bind(key)
}

/// The run of a key, if it was the same request.
fn same_request((id, used): (String, String), fingerprint: &str) -> Result<Uuid> {
    if used == fingerprint {
        return parse_id(&id);
    }
    Err(Error::new(
        ErrorKind::Conflict,
        format!("the idempotency key was used before, for another request (run {id})"),
    )
    .hint("use a new key for a new request"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{new_run, store};
    use super::*;

    #[tokio::test]
    async fn each_of_many_runs_that_are_made_together_has_its_own_answer() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path()).await;
        let [first, taken] = [Uuid::now_v7(), Uuid::now_v7()];
        let before = [new_run(first, Some("old"), "f"), new_run(taken, None, "")];
        for run in &before {
            assert_eq!(store.create(run).await.unwrap(), Created::New);
        }
        let ids: Vec<Uuid> = (0..100).map(|_| Uuid::now_v7()).collect();
        let run = |number: usize| match number {
            10 => new_run(ids[10], Some("old"), "f"),
            20 => new_run(ids[20], Some("old"), "g"),
            30 | 70 => new_run(ids[number], Some("new"), "f"),
            80 => new_run(ids[80], Some("new"), "g"),
            // No key leads to it, and its id is another run's.
            90 => new_run(taken, None, ""),
            _ => new_run(ids[number], None, ""),
        };
        let runs: Vec<NewRun<'_>> = (0..100).map(run).collect();
        let answers = futures::future::join_all(runs.iter().map(|run| store.create(run))).await;
        for (number, answer) in answers.into_iter().enumerate() {
            match number {
                10 => assert_eq!(answer.unwrap(), Created::Before(first)),
                70 => assert_eq!(answer.unwrap(), Created::Before(ids[30])),
                20 | 80 => assert_eq!(answer.unwrap_err().kind(), ErrorKind::Conflict),
                90 => assert!(answer.unwrap_err().to_string().contains("record the run")),
                _ => assert_eq!(answer.unwrap(), Created::New, "{number}"),
            }
        }
        let listed = store.list(None, 200, None).await.unwrap();
        let mut there: Vec<Uuid> = listed.into_iter().map(|run| run.run_id).collect();
        there.sort();
        let not_new = [10, 20, 70, 80, 90].map(|number| ids[number]);
        let mut wanted: Vec<Uuid> = ids.into_iter().filter(|id| !not_new.contains(id)).collect();
        wanted.extend([first, taken]);
        wanted.sort();
        assert_eq!(there, wanted);
    }

    #[tokio::test]
    async fn a_run_that_cannot_be_inserted_leaves_those_of_its_statement_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path()).await;
        let ids: Vec<Uuid> = (0..8).map(|_| Uuid::now_v7()).collect();
        let taken = new_run(ids[5], None, "");
        assert_eq!(store.create(&taken).await.unwrap(), Created::New);
        let runs: Vec<NewRun<'_>> = ids.iter().map(|id| new_run(*id, None, "")).collect();
        let answers = futures::future::join_all(runs.iter().map(|run| store.create(run))).await;
        for (number, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.is_ok(), number != 5, "{number}");
        }
        assert_eq!(store.list(None, 200, None).await.unwrap().len(), ids.len());
    }
}

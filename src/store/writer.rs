//! The one writer of a SQLite store. Whatever waits is written together: a savepoint each, and one commit, so that a burst of work costs
//! one wait for the disk.
//!
//! Work that is refused is rolled back to its savepoint and leaves the others alone. A transaction that cannot be committed took none
//! of its work with it: every one of them is told.

use std::any::Any;

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Executor as _};
use tokio::sync::{mpsc, oneshot};

use super::backend::{Connection, Work, Working};
use super::fault::Fault;

/// The most work in one transaction: a bound on how long the first of it waits for the last.
const TOGETHER: usize = 256;

/// The most work that waits for its turn; whoever brings more waits before.
const WAITING: usize = 4_096;

type Done = Box<dyn Any + Send>;
type Erased = Box<dyn for<'c> FnOnce(&'c mut Connection) -> Working<'c, Done> + Send>;

struct Job {
    work: Erased,
    done: oneshot::Sender<Result<Done, Fault>>,
}

/// Brings work to the writer; clones bring it to the same one.
#[derive(Debug, Clone)]
pub(super) struct Writer(mpsc::Sender<Job>);

impl Writer {
    /// Starts the writer on a connection of its own. It ends when nobody is left to bring it work.
    pub(super) fn start(connection: SqliteConnection) -> Self {
        let (sender, jobs) = mpsc::channel(WAITING);
        // The store's own task: transactions of several callers cannot be made in any of theirs.
        tokio::spawn(serve(connection, jobs));
        Self(sender)
    }

    /// Has a piece of work done. Once it is brought it is done, whether or not anybody waits for it.
    pub(super) async fn write<T: Send + 'static>(&self, work: impl Work<T>) -> Result<T, Fault> {
        let (done, waiting) = oneshot::channel();
        let work: Erased = Box::new(move |connection| {
            Box::pin(async move {
                let given: Done = Box::new(work(connection).await?);
                Ok(given)
            })
        });
        let job = Job { work, done };
        self.0.send(job).await.map_err(|_| ended())?;
        let given = waiting.await.map_err(|_| ended())??;
        given.downcast().map(|given| *given).map_err(|_| ended())
    }
}

fn ended() -> Fault {
    Fault::Sql(sqlx::Error::WorkerCrashed)
}

async fn serve(connection: SqliteConnection, mut jobs: mpsc::Receiver<Job>) {
    let mut connection = Connection::Sqlite(connection);
    let mut together = Vec::new();
    while jobs.recv_many(&mut together, TOGETHER).await > 0 {
        transaction(&mut connection, &mut together).await;
    }
    if let Connection::Sqlite(connection) = connection {
        // Nobody is left to be told.
        let _ = connection.close().await;
    }
}

async fn transaction(connection: &mut Connection, together: &mut Vec<Job>) {
    // IMMEDIATE, so that two programs wait for each other instead of one failing when it begins to write.
    if let Err(fault) = run(connection, "BEGIN IMMEDIATE").await {
        return tell(together.drain(..).map(|job| job.done), &fault);
    }
    let mut kept = Vec::with_capacity(together.len());
    let mut jobs = together.drain(..);
    let mut broken = None;
    for job in jobs.by_ref() {
        match in_savepoint(connection, job.work).await {
            Ok(given) => kept.push((job.done, given)),
            Err(fault) => {
                let of_one = fault.is_of_one();
                if !of_one {
                    broken = Some(fault.again());
                }
                let _ = job.done.send(Err(fault));
                if !of_one {
                    break;
                }
            }
        }
    }
    if broken.is_none() {
        broken = run(connection, "COMMIT").await.err();
    }
    let Some(fault) = broken else {
        for (done, given) in kept {
            // Whoever brought it may be gone; the work is done all the same.
            let _ = done.send(Ok(given));
        }
        return;
    };
    // Where SQLite has rolled back by itself there is nothing left to roll back.
    let _ = run(connection, "ROLLBACK").await;
    let kept = kept.into_iter().map(|(done, _)| done);
    tell(kept.chain(jobs.map(|job| job.done)), &fault);
}

async fn in_savepoint(connection: &mut Connection, work: Erased) -> Result<Done, Fault> {
    run(connection, "SAVEPOINT work").await?;
    let done = work(connection).await;
    if let Err(fault) = &done
        && fault.is_of_one()
    {
        run(connection, "ROLLBACK TO work").await?;
    }
    if done.as_ref().err().is_none_or(Fault::is_of_one) {
        run(connection, "RELEASE work").await?;
    }
    done
}

async fn run(connection: &mut Connection, sql: &'static str) -> Result<(), Fault> {
    if let Connection::Sqlite(connection) = connection {
        connection.execute(sqlx::query(sql)).await?;
    }
    Ok(())
}

fn tell(waiting: impl Iterator<Item = oneshot::Sender<Result<Done, Fault>>>, fault: &Fault) {
    for done in waiting {
        let _ = done.send(Err(fault.again()));
    }
}

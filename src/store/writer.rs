//! The one writer of a SQLite store. Whatever waits is written together, with one commit, so that a burst of work costs one wait for the
//! disk. New runs are inserted together as well (`create`); other work of more than a statement has a savepoint each.
//!
//! Work that is refused is rolled back to its savepoint and leaves the others alone. A transaction that cannot be committed took none
//! of its work with it: every one of them is told.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Executor as _};
use tokio::sync::{mpsc, oneshot};

use super::backend::{Connection, Work, Working};
use super::create::{self, Created, Creation};
use super::fault::Fault;

/// The most work in one transaction: a bound on how long the first of it waits for the last.
const TOGETHER: usize = 256;

/// The most work that waits for its turn; whoever brings more waits before.
const WAITING: usize = 4_096;

type Done = Box<dyn Any + Send>;
type Erased = Box<dyn for<'c> FnOnce(&'c mut Connection) -> Working<'c, Done> + Send>;

type Told<T> = oneshot::Sender<Result<T, Fault>>;

/// What is brought to the writer.
enum Job {
    Work(Erased, Size, Told<Done>),
    Creation(Creation, Told<Created>),
}

/// How much there is to take back where work is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    /// Nothing: a statement that fails changes nothing.
    OneStatement,
    Any,
}

/// Brings work to the writer; clones bring it to the same one.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    /// How many new runs wait to be durable.
    creations: Arc<AtomicUsize>,
}

impl Writer {
    /// Starts the writer on a connection of its own. It ends when nobody is left to bring it work.
    pub(super) fn start(connection: SqliteConnection) -> Self {
        let (sender, jobs) = mpsc::channel(WAITING);
        // The store's own task: transactions of several callers cannot be made in any of theirs.
        tokio::spawn(serve(connection, jobs));
        Self {
            jobs: sender,
            creations: Arc::default(),
        }
    }

    /// Has a piece of work done. Once it is brought it is done, whether or not anybody waits for it.
    pub(super) async fn write<T: Send + 'static>(&self, work: impl Work<T>) -> Result<T, Fault> {
        self.bring(work, Size::Any).await
    }

    /// Has a piece of work done that is one statement.
    pub(super) async fn write_one<T: Send + 'static>(
        &self,
        work: impl Work<T>,
    ) -> Result<T, Fault> {
        self.bring(work, Size::OneStatement).await
    }

    async fn bring<T: Send + 'static>(&self, work: impl Work<T>, size: Size) -> Result<T, Fault> {
        let (told, waiting) = oneshot::channel();
        let work: Erased = Box::new(move |connection| {
            Box::pin(async move {
                let given: Done = Box::new(work(connection).await?);
                Ok(given)
            })
        });
        let job = Job::Work(work, size, told);
        self.jobs.send(job).await.map_err(|_| ended())?;
        let given = waiting.await.map_err(|_| ended())??;
        given.downcast().map(|given| *given).map_err(|_| ended())
    }

    /// Has a run made durable.
    pub(super) async fn create(&self, run: Creation) -> Result<Created, Fault> {
        let (told, waiting) = oneshot::channel();
        let job = Job::Creation(run, told);
        let _waits = Waits::new(&self.creations);
        self.jobs.send(job).await.map_err(|_| ended())?;
        waiting.await.map_err(|_| ended())?
    }

    /// Gives how many new runs wait to be durable.
    pub(super) fn creations(&self) -> usize {
        self.creations.load(Ordering::Relaxed)
    }
}

/// Counts somebody who waits, until that one waits no more.
struct Waits<'c>(&'c AtomicUsize);

impl<'c> Waits<'c> {
    fn new(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn ended() -> Fault {
    Fault::Sql(sqlx::Error::WorkerCrashed)
}

async fn serve(connection: SqliteConnection, mut jobs: mpsc::Receiver<Job>) {
    let mut connection = Connection::Sqlite(connection);
    let mut waiting = Vec::new();
    loop {
        while waiting.len() < TOGETHER
            && let Ok(job) = jobs.try_recv()
        {
            waiting.push(job);
        }
        if waiting.is_empty() && jobs.recv_many(&mut waiting, TOGETHER).await == 0 {
            break;
        }
        transaction(&mut connection, &mut waiting).await;
    }
    if let Connection::Sqlite(connection) = connection {
        // Nobody is left to be told.
        let _ = connection.close().await;
    }
}

/// Writes what waits together, and tells everybody who waits for it. New runs that wait alone may be left for the next time.
async fn transaction(connection: &mut Connection, jobs: &mut Vec<Job>) {
    let mut together = Together::default();
    for job in jobs.drain(..) {
        match job {
            Job::Work(work, size, told) => together.works.push_back((work, size, told)),
            Job::Creation(run, told) => {
                together.runs.push(run);
                together.of_runs.push(told);
            }
        }
    }
    if together.works.is_empty() {
        let (behind, told) = together.leave(create::in_one(together.runs.len()));
        jobs.extend(
            behind
                .into_iter()
                .zip(told)
                .map(|(run, told)| Job::Creation(run, told)),
        );
    }
    let mut answers = Answers::default();
    let written = together.write(connection, &mut answers).await;
    let Err(fault) = written else {
        return answers.tell();
    };
    // Where SQLite has rolled back by itself there is nothing left to roll back.
    let _ = run(connection, "ROLLBACK").await;
    answers.fail(&fault);
    together.fail(&fault);
}

/// The work of one transaction, until it is done.
#[derive(Default)]
struct Together {
    runs: Vec<Creation>,
    /// Who waits for each of the runs.
    of_runs: Vec<Told<Created>>,
    works: VecDeque<(Erased, Size, Told<Done>)>,
}

impl Together {
    /// Takes the runs behind so many away.
    fn leave(&mut self, most: usize) -> (Vec<Creation>, Vec<Told<Created>>) {
        (self.runs.split_off(most), self.of_runs.split_off(most))
    }

    /// Says whether one statement does it all: it is a transaction by itself. Keys that were used before want another one.
    fn is_one_statement(&self) -> bool {
        self.works.is_empty()
            && create::in_one(self.runs.len()) == self.runs.len()
            && !self.runs.iter().any(Creation::has_key)
    }

    /// Does all of the work that can be done, and commits it.
    async fn write(
        &mut self,
        connection: &mut Connection,
        answers: &mut Answers,
    ) -> Result<(), Fault> {
        if self.is_one_statement() {
            match create::all(connection, &self.runs).await {
                Ok(_) => {
                    let told = self.of_runs.drain(..);
                    answers
                        .runs
                        .extend(told.map(|told| (told, Ok(Created::New))));
                    return Ok(());
                }
                // It changed nothing: each is inserted by itself.
                Err(fault) if fault.is_of_one() => {}
                Err(fault) => return Err(fault),
            }
        }
        // IMMEDIATE, so that two programs wait for each other instead of one failing when it begins to write.
        run(connection, "BEGIN IMMEDIATE").await?;
        let created = create::together(connection, &self.runs).await?;
        answers.runs.extend(self.of_runs.drain(..).zip(created));
        while let Some((work, size, told)) = self.works.pop_front() {
            let answer = match size {
                Size::OneStatement => work(connection).await,
                Size::Any => in_savepoint(connection, work).await,
            };
            match answer {
                Err(fault) if !fault.is_of_one() => {
                    let again = fault.again();
                    let _ = told.send(Err(fault));
                    return Err(again);
                }
                answer => answers.works.push((told, answer)),
            }
        }
        run(connection, "COMMIT").await
    }

    /// Tells whoever still waits that nothing was done.
    fn fail(self, fault: &Fault) {
        tell(self.of_runs, fault);
        tell(self.works.into_iter().map(|(_, _, told)| told), fault);
    }
}

/// What became of the work of one transaction, to be told once it is committed.
#[derive(Default)]
struct Answers {
    runs: Vec<(Told<Created>, Result<Created, Fault>)>,
    works: Vec<(Told<Done>, Result<Done, Fault>)>,
}

impl Answers {
    // Whoever brought it may be gone; the work is done all the same.
    fn tell(self) {
        for (told, answer) in self.runs {
            let _ = told.send(answer);
        }
        for (told, answer) in self.works {
            let _ = told.send(answer);
        }
    }

    /// Tells everybody that nothing was done. What was refused may have been so because of what was not done.
    fn fail(self, fault: &Fault) {
        tell(self.runs.into_iter().map(|(told, _)| told), fault);
        tell(self.works.into_iter().map(|(told, _)| told), fault);
    }
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

fn tell<T>(waiting: impl IntoIterator<Item = Told<T>>, fault: &Fault) {
    for told in waiting {
        let _ = told.send(Err(fault.again()));
    }
}

//! What happens to a run from outside its execution: answers and cancellation.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::backend::{Connection, Sql, at_now, query};
use super::fault::Fault;
use super::record::append;
use super::{Store, from_json, from_word, now, over, unknown_run, word};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::event::{EndCause, Event, Question, Reason, RunStatus, StageStatus};

/// What a wish to cancel met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The run did not execute and is cancelled now, or was before.
    Done,
    /// The run executes; whoever executes it has to stop it.
    Running,
}

/// Whose running run may be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Abandoned {
    /// Nobody's.
    No,
    /// The caller has its lock file, or its lease is over.
    Yes,
}

/// An answer as it is given.
struct Given {
    run_id: Uuid,
    question: String,
    choice: String,
    by: String,
}

/// The run's row is held until the end, so that of two answers one sees the other.
const STATUS: Sql = Sql {
    sqlite: "SELECT status FROM runs WHERE id = $1",
    postgres: "SELECT status FROM runs WHERE id = $1 FOR UPDATE",
};

impl Store {
    /// Records an answer of a waiting run. Where no blocking question is left, the run is queued again.
    ///
    /// Gives whether it was queued. The same answer given twice changes nothing.
    ///
    /// # Errors
    /// There is no such run or question, the choice is not offered, the question has another answer, the run does not
    /// wait, or the store cannot be written.
    pub async fn answer(
        &self,
        run_id: Uuid,
        question: &str,
        choice: &str,
        by: &str,
    ) -> Result<bool> {
        let given = Given {
            run_id,
            question: question.to_owned(),
            choice: choice.to_owned(),
            by: by.to_owned(),
        };
        let queued = self
            .write("record the answer", move |c| {
                Box::pin(async move { record_answer(c, given).await })
            })
            .await?;
        self.changes.changed(run_id);
        if queued {
            self.changes.queued();
        }
        Ok(queued)
    }

    /// Makes a waiting run of the command line the gateway's, which goes on with it.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn hand_to_gateway(&self, run_id: Uuid) -> Result<()> {
        let hand = query("UPDATE runs SET origin = 'gateway' WHERE id = $1 AND status = 'waiting'")
            .bind(run_id);
        self.write("hand the run to the gateway", move |c| {
            Box::pin(async move { hand.execute(c).await.map(drop) })
        })
        .await
    }

    /// Cancels a run that waits or is queued.
    ///
    /// # Errors
    /// There is no such run, it ended otherwise, or the store cannot be written.
    pub async fn cancel(&self, run_id: Uuid) -> Result<Cancelled> {
        self.cancel_if(run_id, Abandoned::No).await
    }

    /// Cancels a run whose process left it running. In a file, the caller has its lock: nobody executes it. In a server its lease is
    /// over, or else it is left alone.
    ///
    /// # Errors
    /// There is no such run, it ended otherwise, or the store cannot be written.
    pub async fn cancel_abandoned(&self, run_id: Uuid) -> Result<Cancelled> {
        self.cancel_if(run_id, Abandoned::Yes).await
    }

    /// Leaves word for whoever executes a run that it is to be cancelled.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn wish_cancelled(&self, run_id: Uuid) -> Result<()> {
        let wish = query("UPDATE runs SET cancel_wanted = 1 WHERE id = $1 AND status = 'running'")
            .bind(run_id);
        self.write("leave word to cancel the run", move |c| {
            Box::pin(async move { wish.execute(c).await })
        })
        .await?;
        self.changes.changed(run_id);
        Ok(())
    }

    /// Ends a run with its stages unless somebody executes it or it is over.
    async fn cancel_if(&self, run_id: Uuid, abandoned: Abandoned) -> Result<Cancelled> {
        let cancelled = self
            .write("cancel the run", move |c| {
                Box::pin(async move { cancel_open(c, run_id, abandoned).await })
            })
            .await?;
        self.changes.changed(run_id);
        Ok(cancelled)
    }
}

async fn record_answer(connection: &mut Connection, given: Given) -> Result<bool, Fault> {
    const QUESTIONS: Sql = at_now!(
        "SELECT question, CAST(CASE WHEN expires_at <= ",
        " THEN 1 ELSE 0 END AS BIGINT) FROM questions WHERE run_id = $1 ORDER BY position"
    );
    let run_id = given.run_id;
    let status = locked_status(connection, run_id).await?;
    let rows: Vec<(String, i64)> = query(QUESTIONS).bind(run_id).all(connection).await?;
    let mut questions = Vec::new();
    let mut overdue = false;
    for (text, late) in rows {
        let question: Question = from_json(&text)?;
        overdue |= late != 0 && question.id == given.question;
        questions.push(question);
    }
    let answers: Vec<(String, String)> =
        query("SELECT question, choice FROM answers WHERE run_id = $1")
            .bind(run_id)
            .all(connection)
            .await?;
    let before = answers.iter().find(|(id, _)| *id == given.question);
    let before = before.map(|(_, choice)| choice.as_str());
    if !check(&given, status, &questions, before, overdue)? {
        return Ok(false);
    }
    query("INSERT INTO answers (run_id, question, choice, by, at) VALUES ($1, $2, $3, $4, $5)")
        .bind(run_id)
        .bind(&given.question)
        .bind(given.choice)
        .bind(given.by)
        .bind(now())
        .execute(connection)
        .await?;
    let answered: BTreeSet<&str> = answers.iter().map(|(id, _)| id.as_str()).collect();
    let last_blocking = questions
        .iter()
        .filter(|open| open.blocking && open.id != given.question)
        .all(|open| answered.contains(open.id.as_str()));
    if last_blocking {
        query(
            "UPDATE runs SET status = 'queued', error = NULL WHERE id = $1 AND status = 'waiting'",
        )
        .bind(run_id)
        .execute(connection)
        .await?;
    }
    Ok(last_blocking)
}

/// Says whether an answer is to be recorded; one that was given before is not.
fn check(
    given: &Given,
    status: RunStatus,
    questions: &[Question],
    before: Option<&str>,
    overdue: bool,
) -> Result<bool> {
    let Given {
        run_id,
        question,
        choice,
        ..
    } = given;
    let asked = questions
        .iter()
        .find(|asked| asked.id == *question)
        .ok_or_else(|| no_question(*run_id, question, questions))?;
    if !asked.choices.contains(choice) {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("`{choice}` is not a choice of question `{question}`"),
        )
        .hint(format!("choose one of: {}", asked.choices.join(", "))));
    }
    let conflict = |message: String| Error::new(ErrorKind::Conflict, message);
    match before {
        Some(before) if before == choice => return Ok(false),
        Some(before) => {
            return Err(conflict(format!(
                "question `{question}` was answered before: {before}"
            )));
        }
        None => {}
    }
    if status.is_terminal() {
        return Err(over(*run_id, status));
    }
    if status != RunStatus::Waiting {
        return Err(
            conflict(format!("run {run_id} is {}, not waiting", word(&status)?))
                .hint("answer when its status is `waiting`"),
        );
    }
    if overdue && asked.default.as_ref() != Some(choice) {
        let holds = asked.default.as_deref().unwrap_or_default();
        return Err(conflict(format!(
            "the time to answer question `{question}` is over: `{holds}` holds"
        ))
        .hint(format!("relvec runs answer {run_id} {question} {holds}")));
    }
    Ok(true)
}

async fn locked_status(connection: &mut Connection, run_id: Uuid) -> Result<RunStatus, Fault> {
    let row: Option<(String,)> = query(STATUS).bind(run_id).optional(connection).await?;
    let (status,) = row.ok_or_else(|| unknown_run(run_id))?;
    Ok(from_word(&status)?)
}

async fn cancel_open(
    connection: &mut Connection,
    run_id: Uuid,
    abandoned: Abandoned,
) -> Result<Cancelled, Fault> {
    match locked_status(connection, run_id).await? {
        RunStatus::Queued | RunStatus::Waiting => {}
        RunStatus::Running => {
            if abandoned == Abandoned::No || !is_free(connection, run_id).await? {
                return Ok(Cancelled::Running);
            }
        }
        RunStatus::Cancelled => return Ok(Cancelled::Done),
        status @ (RunStatus::Succeeded | RunStatus::Failed) => {
            return Err(over(run_id, status).into());
        }
    }
    let stages: Vec<(String, i64, Option<f64>)> = query(
        "SELECT id, attempts, seconds FROM stages
         WHERE run_id = $1 AND status IN ('pending', 'running', 'waiting') ORDER BY position",
    )
    .bind(run_id)
    .all(connection)
    .await?;
    let mut events: Vec<Event> = stages
        .into_iter()
        .map(|(stage, attempts, seconds)| Event::StageFinished {
            stage: stage.into(),
            status: StageStatus::Cancelled,
            reason: Reason::RunEnded {
                cause: EndCause::Cancelled,
                stage: None,
            },
            attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            seconds: seconds.unwrap_or_default(),
            kind: None,
            output: None,
        })
        .collect();
    events.push(Event::RunFinished {
        status: RunStatus::Cancelled,
        error: Some("the run was cancelled".to_owned()),
        seconds: 0.0,
    });
    let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
    // The epoch goes on, so that an owner that comes back after all writes nothing.
    let counted: Option<(i64,)> = query(
        "UPDATE runs SET last_seq = last_seq + $2, epoch = epoch + 1 WHERE id = $1 RETURNING last_seq",
    )
    .bind(run_id)
    .bind(count)
    .optional(connection)
    .await?;
    let (last,) = counted.ok_or_else(|| unknown_run(run_id))?;
    append(connection, run_id, last - count, &events).await?;
    Ok(Cancelled::Done)
}

/// Says whether the lease of a running run is over. In a file there is none: the caller has the run's lock.
async fn is_free(connection: &mut Connection, run_id: Uuid) -> Result<bool, Fault> {
    const FREE: Sql = at_now!(
        "SELECT epoch FROM runs WHERE id = $1 AND coalesce(lease_until, 0) < ",
        ""
    );
    if !connection.is_shared() {
        return Ok(true);
    }
    let free: Option<(i64,)> = query(FREE).bind(run_id).optional(connection).await?;
    Ok(free.is_some())
}

fn no_question(run_id: Uuid, question: &str, asked: &[Question]) -> Error {
    let asked: Vec<&str> = asked.iter().map(|asked| asked.id.as_str()).collect();
    let error = Error::new(
        ErrorKind::NotFound,
        format!("run {run_id} has no question `{question}`"),
    );
    if asked.is_empty() {
        error
    } else {
        error.hint(format!("its questions are: {}", asked.join(", ")))
    }
}

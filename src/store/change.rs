//! What happens to a run from outside its execution: answers, cancellation, being put back.

use uuid::Uuid;

use super::read::is_overdue;
use super::{Store, from_word, now, over, unknown_run, word};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::event::{EndCause, Event, Reason, RunStatus, StageStatus};

/// What a wish to cancel met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The run did not execute and is cancelled now, or was before.
    Done,
    /// The run executes; whoever executes it has to stop it.
    Running,
}

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
        let status = self.status(run_id).await?;
        let questions = self.questions(run_id).await?;
        let answers = self.answers(run_id).await?;
        let asked = questions
            .iter()
            .find(|asked| asked.id == question)
            .ok_or_else(|| {
                no_question(run_id, question, questions.iter().map(|q| q.id.as_str()))
            })?;
        if !asked.choices.iter().any(|offered| offered == choice) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("`{choice}` is not a choice of question `{question}`"),
            )
            .hint(format!("choose one of: {}", asked.choices.join(", "))));
        }
        if let Some(given) = answers.get(question) {
            if given.choice == choice {
                return Ok(false);
            }
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "question `{question}` was answered before: {}",
                    given.choice
                ),
            ));
        }
        if status.is_terminal() {
            return Err(over(run_id, status));
        }
        if status != RunStatus::Waiting {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("run {run_id} is {}, not waiting", word(&status)?),
            )
            .hint("answer when its status is `waiting`"));
        }
        if is_overdue(asked) && asked.default.as_deref() != Some(choice) {
            let holds = asked.default.as_deref().unwrap_or_default();
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("the time to answer question `{question}` is over: `{holds}` holds"),
            )
            .hint(format!("relvec runs answer {run_id} {question} {holds}")));
        }
        let last_blocking = questions
            .iter()
            .filter(|open| open.blocking && open.id != question)
            .all(|open| answers.contains_key(&open.id));
        self.write_answer(run_id, [question, choice, by], last_blocking)
            .await
    }

    async fn write_answer(
        &self,
        run_id: Uuid,
        [question, choice, by]: [&str; 3],
        queue: bool,
    ) -> Result<bool> {
        let mut transaction = self.begin().await?;
        let written = sqlx::query(
            "INSERT INTO answers (run_id, question, choice, by, at)
             SELECT id, ?2, ?3, ?4, ?5 FROM runs WHERE id = ?1 AND status = 'waiting'
             ON CONFLICT (run_id, question) DO NOTHING",
        )
        .bind(run_id.to_string())
        .bind(question)
        .bind(choice)
        .bind(by)
        .bind(now())
        .execute(&mut *transaction)
        .await
        .map_err(|error| self.failed("record the answer", &error))?
        .rows_affected();
        if written == 0 {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("question `{question}` of run {run_id} was answered by someone else"),
            ));
        }
        if queue {
            sqlx::query(
                "UPDATE runs SET status = 'queued', error = NULL WHERE id = ? AND status = 'waiting'",
            )
                .bind(run_id.to_string())
                .execute(&mut *transaction)
                .await
                .map_err(|error| self.failed("queue the run", &error))?;
        }
        self.commit(transaction).await?;
        Ok(queue)
    }

    /// Cancels a run that waits or is queued.
    ///
    /// # Errors
    /// There is no such run, it ended otherwise, or the store cannot be written.
    pub async fn cancel(&self, run_id: Uuid) -> Result<Cancelled> {
        let open = [RunStatus::Queued, RunStatus::Waiting];
        match self.cancel_if(run_id, &open).await? {
            RunStatus::Queued | RunStatus::Waiting | RunStatus::Cancelled => Ok(Cancelled::Done),
            RunStatus::Running => Ok(Cancelled::Running),
            status @ (RunStatus::Succeeded | RunStatus::Failed) => Err(over(run_id, status)),
        }
    }

    /// Cancels a run whose process left it running. The caller has its lock: nobody executes it.
    ///
    /// # Errors
    /// There is no such run, it ended otherwise, or the store cannot be written.
    pub async fn cancel_abandoned(&self, run_id: Uuid) -> Result<()> {
        let open = [RunStatus::Queued, RunStatus::Waiting, RunStatus::Running];
        let status = self.cancel_if(run_id, &open).await?;
        if status.is_terminal() && status != RunStatus::Cancelled {
            return Err(over(run_id, status));
        }
        Ok(())
    }

    /// Ends a run with its stages if its status is one of those that are given. Gives the status that it had.
    async fn cancel_if(&self, run_id: Uuid, open: &[RunStatus]) -> Result<RunStatus> {
        let mut transaction = self.begin().await?;
        let id = run_id.to_string();
        let row: Option<(String, i64)> = sqlx::query_as(
            "SELECT status, coalesce((SELECT max(seq) FROM events WHERE run_id = runs.id), 0) FROM runs WHERE id = ?",
        )
        .bind(&id)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(|error| self.failed("read the run", &error))?;
        let (status, last) = row.ok_or_else(|| unknown_run(run_id))?;
        let status = from_word(&status)?;
        if !open.contains(&status) {
            return Ok(status);
        }
        let stages: Vec<(String, u32, Option<f64>)> = sqlx::query_as(
            "SELECT id, attempts, seconds FROM stages
             WHERE run_id = ? AND status IN ('pending', 'running', 'waiting') ORDER BY position",
        )
        .bind(&id)
        .fetch_all(&mut *transaction)
        .await
        .map_err(|error| self.failed("read stages", &error))?;
        let mut events: Vec<Event> = stages
            .into_iter()
            .map(|(stage, attempts, seconds)| Event::StageFinished {
                stage: stage.into(),
                status: StageStatus::Cancelled,
                reason: Reason::RunEnded {
                    cause: EndCause::Cancelled,
                    stage: None,
                },
                attempts,
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
        self.append(&mut transaction, &id, last, &events).await?;
        self.commit(transaction).await?;
        Ok(status)
    }

    /// Takes a queued run, or one that its last owner left running, for execution.
    ///
    /// # Errors
    /// There is no such run, it waits or is over, or the store cannot be written.
    pub async fn claim(&self, run_id: Uuid) -> Result<()> {
        let changed = sqlx::query(
            "UPDATE runs SET status = 'running', started_at = coalesce(started_at, ?)
             WHERE id = ? AND status IN ('queued', 'running')",
        )
        .bind(now())
        .bind(run_id.to_string())
        .execute(&self.pool)
        .await
        .map_err(|error| self.failed("take the run", &error))?
        .rows_affected();
        if changed == 1 {
            return Ok(());
        }
        let status = self.status(run_id).await?;
        if status.is_terminal() {
            return Err(over(run_id, status));
        }
        Err(Error::new(
            ErrorKind::Waiting,
            format!("run {run_id} waits for answers to its open questions"),
        )
        .hint("answer them first"))
    }

    /// Ends a run that could not be executed at all.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn fail(&self, run_id: Uuid, error: &str) -> Result<()> {
        self.record(
            run_id,
            &[Event::RunFinished {
                status: RunStatus::Failed,
                error: Some(error.to_owned()),
                seconds: 0.0,
            }],
        )
        .await
    }

    /// Puts a run back that was interrupted, so that it goes on later from what is recorded.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn requeue(&self, run_id: Uuid) -> Result<()> {
        sqlx::query("UPDATE runs SET status = 'queued' WHERE id = ? AND status = 'running'")
            .bind(run_id.to_string())
            .execute(&self.pool)
            .await
            .map_err(|error| self.failed("put the run back", &error))?;
        Ok(())
    }
}

fn no_question<'a>(run_id: Uuid, question: &str, asked: impl Iterator<Item = &'a str>) -> Error {
    let asked: Vec<&str> = asked.collect();
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

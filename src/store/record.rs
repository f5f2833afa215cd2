//! Events of a run into the store.

use std::sync::Arc;

use sqlx::{Sqlite, Transaction};
use uuid::Uuid;

use super::{Store, json, now, word};
use crate::error::Result;
use crate::graph::event::{Artifact, Event, Question, Reason, RunStatus, StageStatus};

pub(super) type Row = sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments>;

impl Store {
    /// Records a batch of a run's events, all or none. Events of a run that is over are dropped.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn record(&self, run_id: Uuid, events: &[Event]) -> Result<()> {
        let mut transaction = self.begin().await?;
        let id = run_id.to_string();
        let last: Option<(i64,)> = sqlx::query_as(
            "SELECT coalesce((SELECT max(seq) FROM events WHERE run_id = runs.id), 0) FROM runs
             WHERE id = ? AND status NOT IN ('succeeded', 'failed', 'cancelled')",
        )
        .bind(&id)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(|error| self.failed("read the run's events", &error))?;
        let Some((last,)) = last else {
            return Ok(());
        };
        self.append(&mut transaction, &id, last, events).await?;
        self.commit(transaction).await
    }

    /// Appends events behind the one with the number `last`, and what they change.
    pub(super) async fn append(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        id: &str,
        last: i64,
        events: &[Event],
    ) -> Result<()> {
        let at = now();
        for (seq, event) in (last + 1..).zip(events) {
            let shown = json(&event.without_output())?;
            let line =
                sqlx::query("INSERT INTO events (run_id, seq, at, event) VALUES (?, ?, ?, ?)")
                    .bind(id.to_owned())
                    .bind(seq)
                    .bind(at.clone())
                    .bind(shown);
            self.execute(transaction, line).await?;
            for row in rows(id, event, &at)? {
                self.execute(transaction, row).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn execute(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        row: Row,
    ) -> Result<()> {
        row.execute(&mut **transaction)
            .await
            .map_err(|error| self.failed("record an event", &error))?;
        Ok(())
    }
}

/// What an event changes beside the list of events.
fn rows(id: &str, event: &Event, at: &str) -> Result<Vec<Row>> {
    Ok(match event {
        Event::RunStarted { stages, .. } => run_started(id, stages, at),
        Event::StageStarted { stage, attempt, .. } => vec![
            sqlx::query(
                "UPDATE stages SET status = 'running', attempts = ? WHERE run_id = ? AND id = ?",
            )
            .bind(*attempt)
            .bind(id.to_owned())
            .bind(stage.clone()),
        ],
        Event::QuestionAsked { question } => vec![question_asked(id, question)?],
        Event::ArtifactWritten { stage, artifact } => vec![artifact_written(id, stage, artifact)?],
        Event::EvidenceKept {
            stage, evidence, ..
        } => vec![
            sqlx::query("UPDATE stages SET evidence = ? WHERE run_id = ? AND id = ?")
                .bind(evidence.as_deref().map(json).transpose()?)
                .bind(id.to_owned())
                .bind(stage.clone()),
        ],
        Event::StageFinished { .. } => stage_finished(id, event)?.into_iter().collect(),
        Event::RunFinished { status, error, .. } => {
            vec![run_finished(id, *status, error.clone(), at)?]
        }
        Event::StageProgress { .. }
        | Event::StageLog { .. }
        | Event::StageRetrying { .. }
        | Event::ConditionEvaluated { .. }
        | Event::EdgeDecided { .. } => Vec::new(),
    })
}

fn run_started(id: &str, stages: &[Arc<str>], at: &str) -> Vec<Row> {
    let mut rows = vec![
        sqlx::query(
            "UPDATE runs SET status = 'running', error = NULL, started_at = coalesce(started_at, ?) WHERE id = ?",
        )
        .bind(at.to_owned())
        .bind(id.to_owned()),
        // What an earlier execution left unfinished is done again.
        sqlx::query(
            "UPDATE stages SET status = 'pending', reason = NULL, seconds = NULL
             WHERE run_id = ? AND status IN ('running', 'waiting', 'cancelled')",
        )
        .bind(id.to_owned()),
    ];
    rows.extend(pending(id, stages));
    rows
}

/// Makes the rows of the plan's stages, those aside that are there.
pub(super) fn pending(id: &str, stages: &[Arc<str>]) -> Vec<Row> {
    let rows = (0_i64..).zip(stages).map(|(position, stage)| {
        sqlx::query(
            "INSERT INTO stages (run_id, id, position, status) VALUES (?, ?, ?, 'pending')
             ON CONFLICT (run_id, id) DO NOTHING",
        )
        .bind(id.to_owned())
        .bind(stage.clone())
        .bind(position)
    });
    rows.collect()
}

fn question_asked(id: &str, question: &Question) -> Result<Row> {
    Ok(sqlx::query(
        "INSERT INTO questions (run_id, id, position, question)
         VALUES (?1, ?2, (SELECT count(*) FROM questions WHERE run_id = ?1), ?3)
         ON CONFLICT (run_id, id) DO UPDATE SET question = excluded.question",
    )
    .bind(id.to_owned())
    .bind(question.id.clone())
    .bind(json(question)?))
}

fn artifact_written(id: &str, stage: &str, artifact: &Artifact) -> Result<Row> {
    let bytes = i64::try_from(artifact.bytes).map_err(|_| super::damaged("a size beyond 2^63"))?;
    Ok(sqlx::query(
        "INSERT INTO artifacts (run_id, name, stage, bytes, sha256) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (run_id, name)
         DO UPDATE SET stage = excluded.stage, bytes = excluded.bytes, sha256 = excluded.sha256",
    )
    .bind(id.to_owned())
    .bind(artifact.name.clone())
    .bind(stage.to_owned())
    .bind(bytes)
    .bind(artifact.sha256.clone()))
}

fn stage_finished(id: &str, event: &Event) -> Result<Option<Row>> {
    let Event::StageFinished {
        stage,
        status,
        reason,
        attempts,
        seconds,
        kind,
        output,
    } = event
    else {
        return Ok(None);
    };
    // The row of an earlier execution already says more.
    if *reason == Reason::Recorded {
        return Ok(None);
    }
    let output = output.as_deref().map(json).transpose()?;
    Ok(Some(
        sqlx::query(
            "UPDATE stages SET status = ?, reason = ?, attempts = ?, seconds = ?, kind = ?, output = ?
             WHERE run_id = ? AND id = ?",
        )
        .bind(word::<StageStatus>(status)?)
        .bind(json(reason)?)
        .bind(*attempts)
        .bind(*seconds)
        .bind(kind.as_ref().map(|kind| kind.as_str().to_owned()))
        .bind(output)
        .bind(id.to_owned())
        .bind(stage.clone()),
    ))
}

fn run_finished(id: &str, status: RunStatus, error: Option<String>, at: &str) -> Result<Row> {
    Ok(
        sqlx::query("UPDATE runs SET status = ?, error = ?, finished_at = ? WHERE id = ?")
            .bind(word(&status)?)
            .bind(error)
            .bind(status.is_terminal().then(|| at.to_owned()))
            .bind(id.to_owned()),
    )
}

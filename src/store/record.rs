//! Events of a run into the store.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::backend::{Connection, Query, Sql, at_now, query};
use super::claim::{Claim, lost};
use super::fault::Fault;
use super::{Store, json, now, word};
use crate::error::Result;
use crate::graph::event::{Artifact, Event, Question, Reason, RunStatus, StageStatus};

/// The most events, or stages, in one statement.
const IN_ONE: usize = 64;

/// A file's bytes, for a store that several gateways share.
#[derive(Debug, Clone)]
pub struct FileContent {
    /// Its name.
    pub name: String,
    /// SHA-256 of the bytes, in lower-case hexadecimal.
    pub sha256: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Store {
    /// Records a batch of an execution's events, all or none, with the bytes of files that they name, and the seconds that the run
    /// worked so far.
    ///
    /// # Errors
    /// Another execution of the run began, the run is over, or the store cannot be written.
    pub async fn record(
        &self,
        claim: Claim,
        events: impl Into<Arc<[Event]>>,
        files: Vec<FileContent>,
        worked: Option<f64>,
    ) -> Result<()> {
        let events = events.into();
        if events.is_empty() {
            return Ok(());
        }
        let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
        let at = now();
        let fence = fence(claim, count, worked, &events, &at)?;
        self.write("record events", move |c| {
            Box::pin(async move {
                let Some((last,)) = fence.optional::<(i64,)>(c).await? else {
                    return Err(lost(claim).into());
                };
                let before = last - count;
                insert(c, claim.run_id, before, &events, &at).await?;
                // The end of a run is in the fence.
                let others = ending(&events).map_or(&*events, |(_, others)| others);
                change(c, claim.run_id, before, others, &at).await?;
                for file in files {
                    keep_content(claim.run_id, file).execute(c).await?;
                }
                Ok(())
            })
        })
        .await?;
        self.changes.changed(claim.run_id);
        Ok(())
    }
}

/// Counts events in the run's row, as long as the execution is the run's, and ends the run where they do. Who begins another execution
/// waits for this row, and then finds it changed; and the other way round.
fn fence(
    claim: Claim,
    count: i64,
    worked: Option<f64>,
    events: &[Event],
    at: &str,
) -> Result<Query> {
    const GOES_ON: &str = "UPDATE runs SET last_seq = last_seq + $3, worked = coalesce($4, worked)
                           WHERE id = $1 AND epoch = $2 AND status = 'running' RETURNING last_seq";
    const ENDS: &str =
        "UPDATE runs SET last_seq = last_seq + $3, worked = coalesce($4, worked), status = $5, error = $6, finished_at = $7,
                owner = NULL, lease_until = NULL
         WHERE id = $1 AND epoch = $2 AND status = 'running' RETURNING last_seq";
    let ending = ending(events);
    let fence = query(if ending.is_some() { ENDS } else { GOES_ON })
        .bind(claim.run_id)
        .bind(claim.epoch)
        .bind(count)
        .bind(worked);
    Ok(match ending {
        None => fence,
        Some(((status, error), _)) => fence
            .bind(word(&status)?)
            .bind(error)
            .bind(status.is_terminal().then_some(at)),
    })
}

/// How a run ends, and why.
type End<'e> = (RunStatus, Option<&'e str>);

/// The end of the run, with the events before it, where it is the last of them.
fn ending(events: &[Event]) -> Option<(End<'_>, &[Event])> {
    match events.split_last()? {
        (Event::RunFinished { status, error, .. }, others) => {
            Some(((*status, error.as_deref()), others))
        }
        _ => None,
    }
}

/// Appends events behind the one with the number `last`, and what they change. The caller has counted them in the run's row.
pub(super) async fn append(
    connection: &mut Connection,
    run_id: Uuid,
    last: i64,
    events: &[Event],
) -> Result<(), Fault> {
    let at = now();
    insert(connection, run_id, last, events, &at).await?;
    change(connection, run_id, last, events, &at).await
}

async fn insert(
    connection: &mut Connection,
    run_id: Uuid,
    last: i64,
    events: &[Event],
    at: &str,
) -> Result<(), Fault> {
    let mut seq = last;
    for together in events.chunks(IN_ONE) {
        let mut insert = query(Sql::from(INSERTS[together.len()].as_str()))
            .bind(run_id)
            .bind(at);
        for event in together {
            seq += 1;
            let (kind, stage) = kind_and_stage(event);
            insert = insert
                .bind(seq)
                .bind(json(&event.without_output())?)
                .bind(kind)
                .bind(stage);
        }
        insert.execute(connection).await?;
    }
    Ok(())
}

/// Does what events change beside the list of events.
async fn change(
    connection: &mut Connection,
    run_id: Uuid,
    last: i64,
    events: &[Event],
    at: &str,
) -> Result<(), Fault> {
    for event in events {
        if let (Event::RunStarted { .. }, 1..) = (event, last) {
            for row in again(run_id) {
                row.execute(connection).await?;
            }
        }
        for row in rows(run_id, event, at)? {
            row.execute(connection).await?;
        }
    }
    Ok(())
}

/// The statement that inserts so many events.
static INSERTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let insert = |count: usize| {
        let mut sql = "INSERT INTO events (run_id, at, seq, event, kind, stage) VALUES ".to_owned();
        for number in 0..count {
            let [seq, event, kind, stage] = [3, 4, 5, 6].map(|first| first + 4 * number);
            let comma = if number == 0 { "" } else { ", " };
            let _ = write!(sql, "{comma}($1, $2, ${seq}, ${event}, ${kind}, ${stage})");
        }
        sql
    };
    (0..=IN_ONE).map(insert).collect()
});

/// What statements ask about an event: its tag, and the stage that it is of.
pub(crate) fn kind_and_stage(event: &Event) -> (&'static str, Option<&str>) {
    match event {
        Event::RunStarted { .. } => ("run_started", None),
        Event::StageStarted { stage, .. } => ("stage_started", Some(stage)),
        Event::StageProgress { stage, .. } => ("stage_progress", Some(stage)),
        Event::StageLog { stage, .. } => ("stage_log", Some(stage)),
        Event::StageRetrying { stage, .. } => ("stage_retrying", Some(stage)),
        Event::QuestionAsked { question } => ("question_asked", Some(&question.stage)),
        Event::ArtifactWritten { stage, .. } => ("artifact_written", Some(stage)),
        Event::EdgeDecided { decision } => ("edge_decided", Some(&decision.from)),
        Event::ConditionEvaluated { stage, .. } => ("condition_evaluated", Some(stage)),
        Event::EvidenceKept { stage, .. } => ("evidence_kept", Some(stage)),
        Event::StageFinished { stage, .. } => ("stage_finished", Some(stage)),
        Event::RunFinished { .. } => ("run_finished", None),
    }
}

fn rows(run_id: Uuid, event: &Event, at: &str) -> Result<Vec<Query>> {
    Ok(match event {
        Event::RunStarted { stages, .. } => pending(run_id, stages),
        Event::StageStarted { stage, attempt, .. } => vec![
            query(
                "UPDATE stages SET status = 'running', attempts = $1 WHERE run_id = $2 AND id = $3",
            )
            .bind(*attempt)
            .bind(run_id)
            .bind(stage),
        ],
        Event::QuestionAsked { question } => vec![question_asked(run_id, question)?],
        Event::ArtifactWritten { stage, artifact } => {
            vec![artifact_written(run_id, stage, artifact)?]
        }
        Event::EvidenceKept {
            stage, evidence, ..
        } => vec![
            query("UPDATE stages SET evidence = $1 WHERE run_id = $2 AND id = $3")
                .bind(evidence.as_deref().map(json).transpose()?)
                .bind(run_id)
                .bind(stage),
        ],
        Event::StageFinished { .. } => stage_finished(run_id, event)?.into_iter().collect(),
        Event::RunFinished { status, error, .. } => {
            vec![run_finished(run_id, *status, error.clone(), at)?]
        }
        Event::StageProgress { .. }
        | Event::StageLog { .. }
        | Event::StageRetrying { .. }
        | Event::ConditionEvaluated { .. }
        | Event::EdgeDecided { .. } => Vec::new(),
    })
}

/// What changes when a run begins that recorded something before.
fn again(run_id: Uuid) -> [Query; 2] {
    [
        query("UPDATE runs SET error = NULL WHERE id = $1").bind(run_id),
        // What an earlier execution left unfinished is done again.
        query(
            "UPDATE stages SET status = 'pending', reason = NULL, seconds = NULL
             WHERE run_id = $1 AND status IN ('running', 'waiting', 'cancelled')",
        )
        .bind(run_id),
    ]
}

/// Makes the rows of the plan's stages, those aside that are there.
pub(super) fn pending(run_id: Uuid, stages: &[Arc<str>]) -> Vec<Query> {
    let numbered: Vec<_> = (0_i64..).zip(stages).collect();
    let row = |all: Query, (position, stage): &(i64, &Arc<str>)| all.bind(*stage).bind(*position);
    let rows = numbered.chunks(IN_ONE).map(|together| {
        let insert = query(Sql::from(PENDING[together.len()].as_str())).bind(run_id);
        together.iter().fold(insert, row)
    });
    rows.collect()
}

/// The statement that makes the rows of so many stages.
static PENDING: LazyLock<Vec<String>> = LazyLock::new(|| {
    let insert = |count: usize| {
        let mut sql = "INSERT INTO stages (run_id, id, position, status) VALUES ".to_owned();
        for number in 0..count {
            let [id, position] = [2, 3].map(|first| first + 2 * number);
            let comma = if number == 0 { "" } else { ", " };
            let _ = write!(sql, "{comma}($1, ${id}, ${position}, 'pending')");
        }
        sql + " ON CONFLICT (run_id, id) DO NOTHING"
    };
    (0..=IN_ONE).map(insert).collect()
});

fn question_asked(run_id: Uuid, question: &Question) -> Result<Query> {
    // How long from now, by this process's clock, and then in the database's time.
    const ASKED: Sql = at_now!(
        "INSERT INTO questions (run_id, id, position, question, expires_at)
         VALUES ($1, $2, (SELECT count(*) FROM questions WHERE run_id = $1), $3, ",
        " + $4)
         ON CONFLICT (run_id, id) DO UPDATE SET question = excluded.question, expires_at = excluded.expires_at"
    );
    Ok(query(ASKED)
        .bind(run_id)
        .bind(&question.id)
        .bind(json(question)?)
        .bind(question.expires_at.as_deref().and_then(milliseconds_until)))
}

fn milliseconds_until(time: &str) -> Option<i64> {
    let time = OffsetDateTime::parse(time, &Rfc3339).ok()?;
    i64::try_from((time - OffsetDateTime::now_utc()).whole_milliseconds()).ok()
}

fn artifact_written(run_id: Uuid, stage: &str, artifact: &Artifact) -> Result<Query> {
    let bytes = i64::try_from(artifact.bytes).map_err(|_| super::damaged("a size beyond 2^63"))?;
    Ok(query(
        "INSERT INTO artifacts (run_id, name, stage, bytes, sha256) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (run_id, name)
         DO UPDATE SET stage = excluded.stage, bytes = excluded.bytes, sha256 = excluded.sha256, content = NULL",
    )
    .bind(run_id)
    .bind(artifact.name.as_str())
    .bind(stage)
    .bind(bytes)
    .bind(artifact.sha256.as_str()))
}

fn keep_content(run_id: Uuid, file: FileContent) -> Query {
    query("UPDATE artifacts SET content = $1 WHERE run_id = $2 AND name = $3 AND sha256 = $4")
        .bind(Some(file.bytes))
        .bind(run_id)
        .bind(file.name)
        .bind(file.sha256)
}

fn stage_finished(run_id: Uuid, event: &Event) -> Result<Option<Query>> {
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
        query(
            "UPDATE stages SET status = $1, reason = $2, attempts = $3, seconds = $4, kind = $5, output = $6
             WHERE run_id = $7 AND id = $8",
        )
        .bind(word::<StageStatus>(status)?)
        .bind(json(reason)?)
        .bind(*attempts)
        .bind(*seconds)
        .bind(kind.as_ref().map(|kind| kind.as_str().to_owned()))
        .bind(output)
        .bind(run_id)
        .bind(stage),
    ))
}

fn run_finished(run_id: Uuid, status: RunStatus, error: Option<String>, at: &str) -> Result<Query> {
    let finished_at = status.is_terminal().then(|| at.to_owned());
    Ok(query(
        "UPDATE runs SET status = $1, error = $2, finished_at = $3, owner = NULL, lease_until = NULL WHERE id = $4",
    )
    .bind(word(&status)?)
    .bind(error)
    .bind(finished_at)
    .bind(run_id))
}

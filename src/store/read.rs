//! Lists, events, and what a run needs to go on.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use super::backend::{Sql, at_now, query};
use super::{Origin, Store, from_json, from_word, parse_id, parse_time, unknown_run, word};
use crate::error::Result;
use crate::graph::context::Answer;
use crate::graph::event::{
    Artifact, EdgeDecision, Event, Question, Reason, RunStatus, StageStatus,
};
use crate::graph::output::Kind;
use crate::model::run::{LogLine, RunSummary, StageDocument};

/// A stage as it was last recorded.
#[derive(Debug, Clone)]
pub struct StoredStage {
    /// What everybody may see.
    pub document: StageDocument,
    /// The kind of its output, if it wrote one.
    pub kind: Option<Kind>,
    /// Its output, if it wrote one.
    pub output: Option<Value>,
    /// Whether it was taken over from the run that this one is a retry of.
    pub reused: bool,
}

/// What a run needs to begin or to go on.
#[derive(Debug, Clone)]
pub struct StoredRun {
    /// The run.
    pub id: Uuid,
    /// Whose it is.
    pub tenant: String,
    /// Who accepted it.
    pub origin: Origin,
    /// Where it stands.
    pub status: RunStatus,
    /// The graph's name.
    pub graph: String,
    /// The graph file's text when the run was accepted.
    pub graph_text: String,
    /// Where the graph file was, if the run was started from a path and not by the graph's name.
    pub graph_path: Option<String>,
    /// The job without secrets.
    pub job: Value,
    /// Names of the secrets that stood in the job itself, and so cannot be had again.
    pub inline_secrets: Vec<String>,
    /// Its stages in the plan's order; empty if it never began.
    pub stages: Vec<StoredStage>,
    /// Edges decided so far; the last decision of an edge holds.
    pub edges: Vec<EdgeDecision>,
    /// Questions asked so far.
    pub questions: Vec<Question>,
    /// Answers given so far, by question id.
    pub answers: BTreeMap<String, Answer>,
    /// Files written so far, each with its stage.
    pub artifacts: Vec<(String, Artifact)>,
    /// How long its executions worked so far, by their own clocks that nobody sets: from each one's start to the last that it recorded.
    /// Waiting for people and for a process that goes on is no part of it.
    pub spent: Duration,
}

/// A recorded event; its output, if it had one, is left out.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Counted from 1 in its run.
    pub seq: i64,
    /// When it was recorded, in RFC 3339.
    pub at: String,
    /// The event as JSON.
    pub event: String,
}

#[derive(sqlx::FromRow)]
struct RunRow {
    tenant: String,
    origin: String,
    graph: String,
    graph_text: String,
    graph_path: Option<String>,
    job: String,
    inline_secrets: String,
    status: String,
    worked: f64,
    last_seq: i64,
    retry_of: Option<String>,
}

impl RunRow {
    /// Gives the run without what it recorded.
    fn run(self, id: Uuid) -> Result<StoredRun> {
        Ok(StoredRun {
            id,
            tenant: self.tenant,
            origin: from_word(&self.origin)?,
            status: from_word(&self.status)?,
            graph: self.graph,
            graph_text: self.graph_text,
            graph_path: self.graph_path,
            job: from_json(&self.job)?,
            inline_secrets: from_json(&self.inline_secrets)?,
            stages: Vec::new(),
            edges: Vec::new(),
            questions: Vec::new(),
            answers: BTreeMap::new(),
            artifacts: Vec::new(),
            spent: Duration::try_from_secs_f64(self.worked).unwrap_or_default(),
        })
    }
}

#[derive(sqlx::FromRow)]
struct StageRow {
    id: String,
    status: String,
    reason: Option<String>,
    attempts: i64,
    seconds: Option<f64>,
}

#[derive(sqlx::FromRow)]
pub(super) struct SummaryRow {
    id: String,
    graph: String,
    status: String,
    error: Option<String>,
    created_at: String,
    finished_at: Option<String>,
}

impl SummaryRow {
    pub(super) fn summary(self) -> Result<RunSummary> {
        Ok(RunSummary {
            run_id: parse_id(&self.id)?,
            graph: self.graph,
            status: from_word(&self.status)?,
            error: self.error,
            created_at: self.created_at,
            finished_at: self.finished_at,
        })
    }
}

impl StoredEvent {
    /// Reads the event as a line of the log; none if it is another event.
    ///
    /// # Errors
    /// It has another version's shape.
    pub fn log_line(&self) -> Result<Option<LogLine>> {
        // Most events are none, and to see that is cheaper than to read them.
        if !self.event.contains("\"stage_log\"") {
            return Ok(None);
        }
        log_line(self.seq, self.at.clone(), &self.event)
    }
}

impl Store {
    /// Says that a run is a tenant's. One of another looks like one that is not there.
    ///
    /// # Errors
    /// There is no such run of this tenant, or the store cannot be read.
    pub async fn run_of(&self, tenant: &str, run_id: Uuid) -> Result<()> {
        if self.tenant(run_id).await? == tenant {
            return Ok(());
        }
        Err(unknown_run(run_id))
    }

    /// Gives whose a run is. That never changes.
    ///
    /// # Errors
    /// There is no such run, or the store cannot be read.
    pub async fn tenant(&self, run_id: Uuid) -> Result<String> {
        let asked = query("SELECT tenant FROM runs WHERE id = $1").bind(run_id);
        let row: Option<(String,)> = self.optional("read the run", asked).await?;
        row.map(|(tenant,)| tenant)
            .ok_or_else(|| unknown_run(run_id))
    }

    /// Gives a run's status.
    ///
    /// # Errors
    /// There is no such run, or the store cannot be read.
    pub async fn status(&self, run_id: Uuid) -> Result<RunStatus> {
        let asked = query("SELECT status FROM runs WHERE id = $1").bind(run_id);
        let row: Option<(String,)> = self.optional("read the run", asked).await?;
        let (status,) = row.ok_or_else(|| unknown_run(run_id))?;
        from_word(&status)
    }

    /// Gives what a run needs to begin or to go on.
    ///
    /// # Errors
    /// There is no such run, or the store cannot be read.
    pub async fn load(&self, run_id: Uuid) -> Result<StoredRun> {
        let row = self.run_row(run_id).await?;
        let is_new = row.last_seq == 0 && row.retry_of.is_none();
        let mut run = row.run(run_id)?;
        // Of a run that never began nothing else is there.
        if is_new {
            return Ok(run);
        }
        for document in self.stage_documents(run_id).await? {
            let (kind, output, reused) = self.stage_output(run_id, &document.id).await?;
            run.stages.push(StoredStage {
                document,
                kind,
                output,
                reused,
            });
        }
        run.edges = self.edges(run_id).await?;
        run.questions = self.questions(run_id).await?;
        run.answers = self.answers(run_id).await?;
        run.artifacts = self.artifacts_by_stage(run_id).await?;
        Ok(run)
    }

    /// Lists runs, newest first, from the one after `before`: a tenant's, or all.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(
        &self,
        tenant: Option<&str>,
        limit: u32,
        before: Option<Uuid>,
    ) -> Result<Vec<RunSummary>> {
        // Ids are UUIDs of version 7, so their order is the order in which runs were accepted.
        const ALL: &str = "SELECT id, graph, status, error, created_at, finished_at FROM runs
                           WHERE ($1 IS NULL OR id < $1) ORDER BY id DESC LIMIT $2";
        const OF_TENANT: &str = "SELECT id, graph, status, error, created_at, finished_at FROM runs
                                 WHERE ($1 IS NULL OR id < $1) AND tenant = $3 ORDER BY id DESC LIMIT $2";
        let asked = query(if tenant.is_some() { OF_TENANT } else { ALL })
            .bind(before)
            .bind(limit);
        let asked = match tenant {
            Some(tenant) => asked.bind(tenant),
            None => asked,
        };
        let rows: Vec<SummaryRow> = self.all("list runs", asked).await?;
        rows.into_iter().map(SummaryRow::summary).collect()
    }

    /// Gives the questions of waiting runs whose time to answer is over, each with its run and the choice that holds now.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn overdue(&self, origin: Origin) -> Result<Vec<(Uuid, String, String)>> {
        const OVERDUE: Sql = at_now!(
            "SELECT r.id, q.question FROM questions q JOIN runs r ON r.id = q.run_id
             WHERE r.status = 'waiting' AND r.origin = $1 AND q.expires_at <= ",
            "
               AND NOT EXISTS (SELECT 1 FROM answers a WHERE a.run_id = q.run_id AND a.question = q.id)
             ORDER BY r.id, q.position"
        );
        let asked = query(OVERDUE).bind(word(&origin)?);
        let rows: Vec<(String, String)> = self.all("read questions", asked).await?;
        let mut overdue = Vec::new();
        for (id, text) in rows {
            let question: Question = from_json(&text)?;
            if let Some(default) = question.default {
                overdue.push((parse_id(&id)?, question.id, default));
            }
        }
        Ok(overdue)
    }

    /// Gives up to `limit` events of a run after the one with the number `after`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn events(&self, run_id: Uuid, after: i64, limit: u32) -> Result<Vec<StoredEvent>> {
        let asked = query(
            "SELECT seq, at, event FROM events WHERE run_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
        )
        .bind(run_id)
        .bind(after)
        .bind(limit);
        let rows: Vec<(i64, String, String)> = self.all("read events", asked).await?;
        Ok(rows
            .into_iter()
            .map(|(seq, at, event)| StoredEvent { seq, at, event })
            .collect())
    }

    /// Gives everything that a run recorded but progress and log lines, each event with its time.
    ///
    /// # Errors
    /// There is no such run, or the store cannot be read.
    pub async fn history(&self, run_id: Uuid) -> Result<Vec<(OffsetDateTime, Event)>> {
        self.status(run_id).await?;
        let asked = query(
            "SELECT at, event FROM events
             WHERE run_id = $1 AND kind NOT IN ('stage_progress', 'stage_log') ORDER BY seq",
        )
        .bind(run_id);
        let rows: Vec<(String, String)> = self.all("read events", asked).await?;
        let timed = |(at, event): &(String, String)| Ok((parse_time(at)?, from_json(event)?));
        rows.iter().map(timed).collect()
    }

    /// Gives up to `limit` lines of a run's log after the event with the number `after`, of one stage or of all.
    ///
    /// # Errors
    /// There is no such run, or the store cannot be read.
    pub async fn logs(
        &self,
        run_id: Uuid,
        stage: Option<&str>,
        after: i64,
        limit: u32,
    ) -> Result<Vec<LogLine>> {
        self.status(run_id).await?;
        let asked = query(
            "SELECT seq, at, event FROM events
             WHERE run_id = $1 AND seq > $2 AND kind = 'stage_log' AND ($3 IS NULL OR stage = $3)
             ORDER BY seq LIMIT $4",
        )
        .bind(run_id)
        .bind(after)
        .bind(stage)
        .bind(limit);
        let rows: Vec<(i64, String, String)> = self.all("read the log", asked).await?;
        rows.into_iter()
            .filter_map(|(seq, at, event)| log_line(seq, at, &event).transpose())
            .collect()
    }

    /// Gives a run's files by name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn artifacts(&self, run_id: Uuid) -> Result<Vec<Artifact>> {
        let artifacts = self.artifacts_by_stage(run_id).await?;
        Ok(artifacts
            .into_iter()
            .map(|(_, artifact)| artifact)
            .collect())
    }

    async fn artifacts_by_stage(&self, run_id: Uuid) -> Result<Vec<(String, Artifact)>> {
        let asked = query(
            "SELECT stage, name, bytes, sha256 FROM artifacts WHERE run_id = $1 ORDER BY name",
        )
        .bind(run_id);
        let rows: Vec<(String, String, i64, String)> = self.all("read artifacts", asked).await?;
        Ok(rows
            .into_iter()
            .map(|(stage, name, bytes, sha256)| {
                let bytes = bytes.unsigned_abs();
                (
                    stage,
                    Artifact {
                        name,
                        bytes,
                        sha256,
                    },
                )
            })
            .collect())
    }

    async fn run_row(&self, run_id: Uuid) -> Result<RunRow> {
        let asked = query(
            "SELECT tenant, origin, graph, graph_text, graph_path, job, inline_secrets, status, worked,
                    last_seq, retry_of
             FROM runs WHERE id = $1",
        )
        .bind(run_id);
        let row = self.optional("read the run", asked).await?;
        row.ok_or_else(|| unknown_run(run_id))
    }

    async fn stage_documents(&self, run_id: Uuid) -> Result<Vec<StageDocument>> {
        let asked = query(
            "SELECT id, status, reason, attempts, seconds FROM stages WHERE run_id = $1 ORDER BY position",
        )
        .bind(run_id);
        let rows: Vec<StageRow> = self.all("read stages", asked).await?;
        rows.into_iter()
            .map(|row| {
                Ok(StageDocument {
                    id: row.id,
                    status: from_word::<StageStatus>(&row.status)?,
                    reason: row.reason.as_deref().map(from_json::<Reason>).transpose()?,
                    attempts: u32::try_from(row.attempts).unwrap_or(u32::MAX),
                    seconds: row.seconds,
                })
            })
            .collect()
    }

    async fn stage_output(
        &self,
        run_id: Uuid,
        stage: &str,
    ) -> Result<(Option<Kind>, Option<Value>, bool)> {
        let asked = query("SELECT kind, output, reused FROM stages WHERE run_id = $1 AND id = $2")
            .bind(run_id)
            .bind(stage);
        let row: Option<(Option<String>, Option<String>, i64)> =
            self.optional("read an output", asked).await?;
        let (kind, output, reused) = row.ok_or_else(|| unknown_run(run_id))?;
        Ok((
            kind.map(Kind::named),
            output.as_deref().map(from_json).transpose()?,
            reused != 0,
        ))
    }

    async fn edges(&self, run_id: Uuid) -> Result<Vec<EdgeDecision>> {
        let asked = query(
            "SELECT event FROM events WHERE run_id = $1 AND kind = 'edge_decided' ORDER BY seq",
        )
        .bind(run_id);
        let rows: Vec<(String,)> = self.all("read edges", asked).await?;
        let mut edges = Vec::new();
        for (text,) in rows {
            if let Event::EdgeDecided { decision } = from_json(&text)? {
                edges.push(decision);
            }
        }
        Ok(edges)
    }

    async fn questions(&self, run_id: Uuid) -> Result<Vec<Question>> {
        let asked = query("SELECT question FROM questions WHERE run_id = $1 ORDER BY position")
            .bind(run_id);
        let rows: Vec<(String,)> = self.all("read questions", asked).await?;
        rows.iter().map(|(text,)| from_json(text)).collect()
    }

    async fn answers(&self, run_id: Uuid) -> Result<BTreeMap<String, Answer>> {
        let asked =
            query("SELECT question, choice, by, at FROM answers WHERE run_id = $1").bind(run_id);
        let rows: Vec<(String, String, String, String)> = self.all("read answers", asked).await?;
        Ok(rows
            .into_iter()
            .map(|(question, choice, by, at)| (question, Answer { choice, by, at }))
            .collect())
    }
}

/// Reads a recorded event as a line of the log; none if it is another event.
pub(super) fn log_line(seq: i64, at: String, event: &str) -> Result<Option<LogLine>> {
    Ok(match from_json(event)? {
        Event::StageLog { stage, level, line } => Some(LogLine {
            seq,
            at,
            stage: stage.to_string(),
            level,
            line,
        }),
        Event::RunStarted { .. }
        | Event::StageStarted { .. }
        | Event::StageProgress { .. }
        | Event::StageRetrying { .. }
        | Event::QuestionAsked { .. }
        | Event::ArtifactWritten { .. }
        | Event::EdgeDecided { .. }
        | Event::ConditionEvaluated { .. }
        | Event::EvidenceKept { .. }
        | Event::StageFinished { .. }
        | Event::RunFinished { .. } => None,
    })
}

//! What a retry takes over from the run before it, recorded in the transaction that makes the retry durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::backend::{Connection, query};
use super::fault::Fault;
use super::record::{append, pending};
use crate::graph::context::Answer;
use crate::graph::event::Event;

/// What a retry takes over.
#[derive(Debug, Clone)]
pub struct Adopted {
    /// The run that it is a retry of.
    pub from: Uuid,
    /// Every stage of the plan, in its order.
    pub stages: Vec<Arc<str>>,
    /// The end of each stage that is taken over, with its output, its edges, its questions and its files.
    pub events: Vec<Event>,
    /// Answers to those questions, by question id.
    pub answers: BTreeMap<String, Answer>,
}

/// Writes what a new run takes over. The caller has counted its events in the run's row.
pub(super) async fn adopt(
    connection: &mut Connection,
    run_id: Uuid,
    adopted: &Adopted,
) -> Result<(), Fault> {
    for row in pending(run_id, &adopted.stages) {
        row.execute(connection).await?;
    }
    append(connection, run_id, 0, &adopted.events).await?;
    for event in &adopted.events {
        if let Event::StageFinished { stage, .. } = event {
            query("UPDATE stages SET reused = 1 WHERE run_id = $1 AND id = $2")
                .bind(run_id)
                .bind(stage)
                .execute(connection)
                .await?;
        }
    }
    for (question, answer) in &adopted.answers {
        query("INSERT INTO answers (run_id, question, choice, by, at) VALUES ($1, $2, $3, $4, $5)")
            .bind(run_id)
            .bind(question)
            .bind(&answer.choice)
            .bind(&answer.by)
            .bind(&answer.at)
            .execute(connection)
            .await?;
    }
    if connection.is_shared() {
        query(
            "UPDATE artifacts SET content = (SELECT o.content FROM artifacts o
                 WHERE o.run_id = $2 AND o.name = artifacts.name AND o.sha256 = artifacts.sha256)
             WHERE run_id = $1",
        )
        .bind(run_id)
        .bind(adopted.from)
        .execute(connection)
        .await?;
    }
    Ok(())
}

//! What a retry takes over from the run before it, recorded in the transaction that makes the retry durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::{Sqlite, Transaction};
use uuid::Uuid;

use super::Store;
use super::record::pending;
use crate::error::Result;
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

impl Store {
    pub(super) async fn adopt(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        run_id: Uuid,
        adopted: &Adopted,
    ) -> Result<()> {
        let id = run_id.to_string();
        for row in pending(&id, &adopted.stages) {
            self.execute(transaction, row).await?;
        }
        self.append(transaction, &id, 0, &adopted.events).await?;
        for event in &adopted.events {
            if let Event::StageFinished { stage, .. } = event {
                let row = sqlx::query("UPDATE stages SET reused = 1 WHERE run_id = ? AND id = ?")
                    .bind(id.clone())
                    .bind(stage.clone());
                self.execute(transaction, row).await?;
            }
        }
        for (question, answer) in &adopted.answers {
            let row = sqlx::query(
                "INSERT INTO answers (run_id, question, choice, by, at) VALUES (?, ?, ?, ?, ?)",
            )
            .bind(id.clone())
            .bind(question.clone())
            .bind(answer.choice.clone())
            .bind(answer.by.clone())
            .bind(answer.at.clone());
            self.execute(transaction, row).await?;
        }
        Ok(())
    }
}

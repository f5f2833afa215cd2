//! Why a stage of a run has the status it has.

use uuid::Uuid;

use super::run::{Launch, selection};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::explain::{Explanation, Outline, UnknownStage, explain};
use crate::graph::file::GraphFile;
use crate::graph::plan::Plan;

impl Launch {
    /// Explains a stage of a run from what is recorded.
    ///
    /// # Errors
    /// There is no such run or stage, or the store cannot be read.
    pub async fn explain(&self, run_id: Uuid, stage: &str) -> Result<Explanation> {
        let history = self.store().history(run_id).await?;
        let stored = self.store().load(run_id).await?;
        let path = format!("{}.toml", stored.graph);
        let plan = GraphFile::parse(&path, stored.graph_text.as_bytes())
            .and_then(|file| Plan::select(&file, self.catalog(), &selection(&stored.job)));
        // A graph of an older relvec may be none for this one: then the events have to do.
        let outline = plan.as_ref().map(Outline::from).unwrap_or_default();
        explain(run_id, stage, &outline, history).map_err(|unknown| not_found(run_id, &unknown))
    }
}

fn not_found(run_id: Uuid, unknown: &UnknownStage) -> Error {
    let error = Error::new(
        ErrorKind::NotFound,
        format!("run {run_id} has no stage `{}`", unknown.stage),
    );
    let error = match &unknown.suggestion {
        Some(suggestion) => error.hint(suggestion.clone()),
        None => error,
    };
    error.hint(format!("its stages are: {}", unknown.known.join(", ")))
}

//! A run's document, in one question to the store: it is what is asked most often.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::backend::query;
use super::{Store, damaged, from_json, from_word, parse_id, unknown_run};
use crate::error::Result;
use crate::graph::event::{Artifact, Question};
use crate::graph::output::Output;
use crate::model::execution::ExecutionReport;
use crate::model::run::{RunDocument, StageDocument};
use crate::model::validation::ValidationReport;

/// The run itself, its stages, its open questions, its files, and the outputs that are shown: a row each, told apart by `sort`.
const PARTS: &str = "
    SELECT CAST(0 AS BIGINT) AS sort, CAST(0 AS BIGINT) AS place, CAST(0 AS BIGINT) AS n, graph AS a, status AS b, error AS c, created_at AS d, started_at AS e,
           finished_at AS f, retry_of AS g, CAST(NULL AS DOUBLE PRECISION) AS x
    FROM runs WHERE id = $1
    UNION ALL
    SELECT 1, position, attempts, id, status, reason, NULL, NULL, NULL, NULL, seconds FROM stages WHERE run_id = $1
    UNION ALL
    SELECT 2, position, 0, question, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM questions WHERE run_id = $1 AND NOT EXISTS
        (SELECT 1 FROM answers WHERE answers.run_id = questions.run_id AND answers.question = questions.id)
    UNION ALL
    SELECT 3, 0, bytes, name, sha256, NULL, NULL, NULL, NULL, NULL, NULL FROM artifacts WHERE run_id = $1
    UNION ALL
    SELECT 4, position, 0, kind, output, NULL, NULL, NULL, NULL, NULL, NULL
    FROM stages WHERE run_id = $1 AND kind IN ($2, $3) AND output IS NOT NULL
    ORDER BY sort, place";

#[derive(sqlx::FromRow)]
struct Part {
    sort: i64,
    n: i64,
    a: String,
    b: Option<String>,
    c: Option<String>,
    d: Option<String>,
    e: Option<String>,
    f: Option<String>,
    g: Option<String>,
    x: Option<f64>,
}

impl Store {
    /// Gives a run's document.
    ///
    /// # Errors
    /// There is no such run, or the store cannot be read.
    pub async fn document(&self, run_id: Uuid) -> Result<RunDocument> {
        let asked = query(PARTS)
            .bind(run_id)
            .bind(ExecutionReport::KIND.as_str())
            .bind(ValidationReport::KIND.as_str());
        let parts: Vec<Part> = self.all("read the run", asked).await?;
        let mut document = None;
        let mut outputs = BTreeMap::new();
        for part in parts {
            if part.sort == 0 {
                document = Some(part.run(run_id)?);
                continue;
            }
            // The run's own part is the first of the question.
            let document: &mut RunDocument =
                document.as_mut().ok_or_else(|| unknown_run(run_id))?;
            match part.sort {
                1 => document.stages.push(part.stage()?),
                2 => document
                    .open_questions
                    .push(from_json::<Question>(&part.a)?),
                3 => document.generated_artifacts.push(part.file()),
                // The last stage that wrote one counts.
                _ => {
                    outputs.insert(part.a, part.b.unwrap_or_default());
                }
            }
        }
        let mut document = document.ok_or_else(|| unknown_run(run_id))?;
        let by_name = |a: &Artifact, b: &Artifact| a.name.cmp(&b.name);
        document.generated_artifacts.sort_by(by_name);
        document.execution_report = output::<ExecutionReport>(&outputs)?;
        document.validation_report = output::<ValidationReport>(&outputs)?;
        Ok(document)
    }
}

fn output<O: Output + DeserializeOwned>(outputs: &BTreeMap<String, String>) -> Result<Option<O>> {
    let text = outputs.get(O::KIND.as_str());
    text.map(|text| from_json(text)).transpose()
}

impl Part {
    fn status(&self) -> Result<&str> {
        let status = self.b.as_deref();
        status.ok_or_else(|| damaged("a run or a stage without a status"))
    }

    fn run(self, run_id: Uuid) -> Result<RunDocument> {
        Ok(RunDocument {
            run_id,
            retry_of: self.g.as_deref().map(parse_id).transpose()?,
            status: from_word(self.status()?)?,
            graph: self.a,
            error: self.c,
            created_at: self.d.unwrap_or_default(),
            started_at: self.e,
            finished_at: self.f,
            stages: Vec::new(),
            open_questions: Vec::new(),
            generated_artifacts: Vec::new(),
            execution_report: None,
            validation_report: None,
        })
    }

    fn stage(self) -> Result<StageDocument> {
        Ok(StageDocument {
            status: from_word(self.status()?)?,
            id: self.a,
            reason: self.c.as_deref().map(from_json).transpose()?,
            attempts: u32::try_from(self.n).unwrap_or(u32::MAX),
            seconds: self.x,
        })
    }

    fn file(self) -> Artifact {
        Artifact {
            name: self.a,
            bytes: self.n.unsigned_abs(),
            sha256: self.b.unwrap_or_default(),
        }
    }
}

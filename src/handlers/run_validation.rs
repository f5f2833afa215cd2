//! `run_validation`: proves that nothing was lost, or says what was, or why it could not be found out.
//!
//! 1. Structural: every generated file is there with its recorded hash, and the Python compiles.
//! 2. A simulation wrote nothing, so it is `unverified`.
//! 3. Otherwise source and target are compared ([`crate::reconcile`]), and a sample of the vectors is looked at closer.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::graph::context::Context;
use crate::graph::event::Artifact;
use crate::graph::handler::{HandlerError, NodeHandler, ParamError};
use crate::model::execution::ExecutionReport;
use crate::model::generated::{GeneratedCode, GeneratedInfra};
use crate::model::job::{EmbeddingProvider, JobInput, secret};
use crate::model::validation::{Check, ValidationReport, Verdict};
use crate::reconcile::{self, Embed, Vectors, verdict};
use crate::service::embedding::EmbeddingApi;
use crate::service::hashed::{self, HashedEmbedder};
use crate::service::{python, target};
use crate::settings;
use crate::source::Place;

/// What `with = {…}` holds.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Chunks of a sample whose texts the embedding API is asked to embed again; 0 asks nothing.
    #[schemars(range(max = 1000))]
    embed_again: u32,
    /// Vectors of a sample whose ten nearest are looked up, exactly and by the index; 0 looks none up.
    #[schemars(range(max = 100))]
    recall: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            embed_again: 50,
            recall: 20,
        }
    }
}

/// Compares source and target.
#[derive(Debug)]
pub struct RunValidation(Params);

impl NodeHandler for RunValidation {
    const NAME: &'static str = "run_validation";
    const SUMMARY: &'static str = "reads source and target itself and proves that nothing was lost";
    const FOR_PEOPLE: bool = true;
    type Params = Params;
    type Input = (
        JobInput,
        GeneratedCode,
        Option<GeneratedInfra>,
        Option<ExecutionReport>,
    );
    type Output = ValidationReport;

    fn new(params: Params) -> Result<Self, ParamError> {
        for (key, value, most) in [
            ("embed_again", params.embed_again, 1000),
            ("recall", params.recall, 100),
        ] {
            if value > most {
                return Err(ParamError {
                    key: Some(key.to_owned()),
                    message: format!("at most {most}"),
                });
            }
        }
        Ok(Self(params))
    }

    async fn run(
        &self,
        (job, code, infra, execution): Self::Input,
        ctx: &Context,
    ) -> Result<ValidationReport, HandlerError> {
        let report = tokio::select! {
            report = validate(self.0, &job, &code, infra.as_ref(), execution.as_ref(), ctx) => report?,
            () = ctx.cancellation().cancelled() => {
                return Err(HandlerError::permanent("cancelled before the comparison was complete"));
            }
        };
        match report.verdict {
            Verdict::Validated | Verdict::Unverified => Ok(report),
            Verdict::Mismatched => {
                let message = format!(
                    "source and target differ: {}\n  next: run it again: migrate.py writes what is missing or changed, and nothing else\n  \
                     next: if the source is written to meanwhile, run it when it is quiet",
                    report.reason
                );
                Err(HandlerError::permanent(message).with_evidence(&report))
            }
        }
    }
}

async fn validate(
    params: Params,
    job: &JobInput,
    code: &GeneratedCode,
    infra: Option<&GeneratedInfra>,
    execution: Option<&ExecutionReport>,
    ctx: &Context,
) -> Result<ValidationReport, HandlerError> {
    let files = code.files.iter();
    let files = files.chain(infra.iter().flat_map(|infra| &infra.files));
    let checks = vec![artifacts(files, ctx.artifacts()), compiles(code, ctx).await];
    if execution.is_some_and(|execution| execution.simulated) {
        let reason = "the execution was simulated, so that nothing was written to the target";
        return Ok(verdict::unverified(reason, checks));
    }
    let source = ctx.need_secret(secret::SOURCE_URL)?;
    let source = Place::within(source, ctx.allowed());
    let target = target::place(job, ctx).await?;
    let total = code
        .plan
        .entities
        .iter()
        .map(|entity| entity.row_count)
        .sum();
    let progress = |done: u64| ctx.progress(done, Some(done.max(total)), "documents");
    let own = own_model(code);
    let key = ctx.secret(secret::EMBEDDING_API_KEY).cloned();
    let api = match own {
        None if params.embed_again > 0 => {
            EmbeddingApi::new(&code.plan.embedding, key, ctx.allowed())?
        }
        Some(_) | None => None,
    };
    let vectors = Vectors {
        own,
        api: api.as_ref(),
        embedded_again: params.embed_again,
        recall: params.recall,
    };
    let compared = reconcile::compare(&code.plan, source, target, vectors, &progress);
    let mut comparison = compared.await?;
    if api.is_none() && params.embed_again > 0 {
        comparison.vectors.not_embedded = Some(match own {
            Some(_) => "every vector was computed again, not a sample".to_owned(),
            None => "the model runs in the script's own process".to_owned(),
        });
    }
    Ok(verdict::conclude(checks, comparison, execution))
}

/// relvec's own model is computed here again, so that a vector which belongs to another text is always found. Of other models the
/// API is asked for a sample.
fn own_model(code: &GeneratedCode) -> Option<Embed> {
    let own = code.plan.embedding.provider == EmbeddingProvider::Relvec
        && code.plan.embedding.model == hashed::MODEL;
    own.then_some(|text, dimensions| {
        // A dimension that the model does not have gives no vector, which is near to none.
        HashedEmbedder::new(dimensions).map_or_else(|_| Vec::new(), |model| model.embed(text))
    })
}

fn artifacts<'a>(files: impl Iterator<Item = &'a Artifact>, folder: &Path) -> Check {
    let files: Vec<&Artifact> = files.collect();
    let wrong: Vec<&str> = files
        .iter()
        .filter(|file| !is_unchanged(file, folder))
        .map(|file| file.name.as_str())
        .collect();
    Check {
        name: "artifacts".to_owned(),
        passed: wrong.is_empty(),
        detail: if wrong.is_empty() {
            format!("{} files have their recorded hash", files.len())
        } else {
            format!(
                "missing or changed since they were generated: {}",
                wrong.join(", ")
            )
        },
    }
}

fn is_unchanged(file: &Artifact, folder: &Path) -> bool {
    use std::fmt::Write as _;
    let Ok(bytes) = std::fs::read(folder.join(&file.name)) else {
        return false;
    };
    let hash = Sha256::digest(&bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
    hash == file.sha256
}

async fn compiles(code: &GeneratedCode, ctx: &Context) -> Check {
    let names = code.files.iter().map(|file| file.name.as_str());
    let is_python = |name: &&str| Path::new(name).extension().is_some_and(|end| end == "py");
    let python: Vec<&str> = names.filter(is_python).collect();
    let paths: Vec<_> = python
        .iter()
        .map(|name| ctx.artifacts().join(name))
        .collect();
    let result = python::compiles(&settings::python(), &paths).await;
    Check {
        name: "python".to_owned(),
        passed: result.is_ok(),
        detail: match result {
            Ok(()) => format!("{} compile", python.join(" and ")),
            Err(error) => error.to_string(),
        },
    }
}

//! `llm_advisor`: a language model may choose a document's parts, their order and their labels among what relvec offers.
//!
//! 1. [`offer`]: what may be chosen, from the plan, its ranking and the join graph.
//! 2. [`question`]: names, types, keys and classes of statistics, as much as the token budget allows; never a row's value.
//! 3. [`answer`]: held against a closed schema; what does not fit is dropped with its reason.
//! 4. [`diff`]: what the accepted rest changes in the plan.
//!
//! Request and reply are artifacts. Whatever goes wrong, the deterministic plan stands, with the reason.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::graph::context::Context;
use crate::graph::event::LogLevel;
use crate::graph::handler::{HandlerError, NoParams, NodeHandler, ParamError};
use crate::handlers::analyzer;
use crate::model::advice::{self, AdviceOrigin, LlmAdvice};
use crate::model::job::{JobInput, LlmProvider, LlmSpec, secret};
use crate::model::metadata::TableRef;
use crate::model::plan::MigrationPlan;
use crate::model::schema_context::SchemaContext;
use crate::service::llm::{Attempt, Gemini, LanguageModel, OpenAi};
use crate::service::redact::Redactor;

mod answer;
mod diff;
mod offer;
mod question;

const USUAL_GEMINI: &str = "gemini-2.5-flash";
const USUAL_OPENAI: &str = "gpt-4.1-mini";
const USUAL_SECONDS: u32 = 60;

/// The handler.
pub struct LlmAdvisor;

impl NodeHandler for LlmAdvisor {
    const NAME: &'static str = "llm_advisor";
    const SUMMARY: &'static str = "lets a language model choose among what the plan offers";
    type Params = NoParams;
    type Input = (JobInput, MigrationPlan, Option<SchemaContext>);
    type Output = LlmAdvice;

    fn new(_: NoParams) -> Result<Self, ParamError> {
        Ok(Self)
    }

    async fn run(
        &self,
        (job, plan, context): Self::Input,
        ctx: &Context,
    ) -> Result<LlmAdvice, HandlerError> {
        let model = model_of(&job.llm);
        let result = tokio::select! {
            result = ask(&job, model, &plan, context, ctx) => result,
            () = ctx.cancellation().cancelled() => {
                return Err(HandlerError::transient("stopped while waiting for the language model"));
            }
        };
        Ok(result.unwrap_or_else(|error| {
            let reason = error.to_string();
            ctx.log(
                LogLevel::Warn,
                format!("the deterministic plan stands: {reason}"),
            );
            LlmAdvice {
                origin: AdviceOrigin::Fallback,
                reason: Some(reason),
                model: model.to_owned(),
                tokens: None,
                entities: Vec::new(),
                changes: Vec::new(),
                dropped: Vec::new(),
            }
        }))
    }
}

/// Gives every column that an answer can bring into a document or keep there.
#[must_use]
pub fn offered_columns(
    plan: &MigrationPlan,
    context: Option<&SchemaContext>,
) -> BTreeSet<(TableRef, String)> {
    offer::columns(&offer::offers(plan, context, &LlmSpec::default()), plan)
}

/// A server of one's own has no usual model.
fn model_of(spec: &LlmSpec) -> &str {
    spec.model
        .as_deref()
        .unwrap_or(match (spec.provider, &spec.base_url) {
            (LlmProvider::Gemini, _) => USUAL_GEMINI,
            (LlmProvider::Openai, None) => USUAL_OPENAI,
            (LlmProvider::Openai, Some(_)) => "",
        })
}

async fn ask(
    job: &JobInput,
    model: &str,
    plan: &MigrationPlan,
    context: Option<SchemaContext>,
    ctx: &Context,
) -> Result<LlmAdvice> {
    let spec = &job.llm;
    let service = service(spec, model, ctx)?;
    let context = context
        .map(|context| analyzer::as_told(job, context, ctx))
        .transpose()?;
    let mut offers = offer::offers(plan, context.as_ref(), spec);
    if let Some(context) = &context {
        // What a person wrote is not the model's to change.
        let described = analyzer::described(job, context)?;
        offers.retain(|offer| !described.contains(&offer.root));
    }
    let question = question::ask(service.as_ref(), spec, offers)?;
    write(ctx, "llm_request.json", &question.request)?;
    let seconds = spec.timeout_seconds.unwrap_or(USUAL_SECONDS);
    let within = Duration::from_secs(seconds.into());
    let exchange = service.send(&question.request, within).await;
    write(ctx, "llm_reply.json", &kept(&exchange.attempts, ctx))?;
    let answer = exchange.answer?;
    let mut choice = answer::choose(&question.offers, &answer.text)?;
    choice.dropped.extend(question.left_out);

    let mut advised = plan.clone();
    for ignored in advice::apply(&mut advised, &choice.entities) {
        ctx.log(LogLevel::Warn, ignored);
    }
    if let Some(context) = &context {
        let known = analyzer::join_questions(context, &plan.entities);
        let questions = analyzer::join_questions(context, &advised.entities);
        // What the model wants joined is asked about like what the analyzer joined.
        for question in questions
            .into_iter()
            .filter(|question| !known.contains(question))
        {
            ctx.ask(question);
        }
    }
    let changes = diff::changes(plan, &advised, &choice.entities);
    let text = diff::text(plan, &advised);
    ctx.write_artifact("llm_plan.diff", text.as_bytes())
        .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
    ctx.log(
        LogLevel::Info,
        format!(
            "{model} changes {} of {} entities; {} suggestions are dropped",
            choice.entities.len(),
            plan.entities.len(),
            choice.dropped.len()
        ),
    );
    Ok(LlmAdvice {
        origin: AdviceOrigin::Model,
        reason: None,
        model: model.to_owned(),
        tokens: answer.tokens,
        entities: choice.entities,
        changes,
        dropped: choice.dropped,
    })
}

fn service(spec: &LlmSpec, model: &str, ctx: &Context) -> Result<Box<dyn LanguageModel>> {
    let base_url = spec.base_url.as_deref();
    let key = ctx.secret(secret::LLM_API_KEY).cloned();
    match spec.provider {
        LlmProvider::Gemini => {
            let key = key.ok_or_else(|| without_key(spec, "GOOGLE_API_KEY"))?;
            Ok(Box::new(Gemini::new(base_url, model, key, ctx.allowed())?))
        }
        LlmProvider::Openai => {
            let needs_none = base_url.is_some() && spec.api_key_env.is_none();
            if key.is_none() && !needs_none {
                return Err(without_key(spec, "OPENAI_API_KEY"));
            }
            Ok(Box::new(OpenAi::new(base_url, model, key, ctx.allowed())?))
        }
    }
}

fn without_key(spec: &LlmSpec, usual: &str) -> Error {
    let why = match (&spec.api_key_env, &spec.base_url) {
        (Some(name), _) => format!("the variable {name} is not set"),
        (None, Some(_)) => {
            "with `llm.base_url`, the job names its variable in `llm.api_key_env`".to_owned()
        }
        (None, None) => format!("the variable {usual} is not set"),
    };
    Error::new(
        ErrorKind::Invalid,
        format!("there is no key for the language model: {why}"),
    )
}

/// The replies as they came, without the key if a server sends it back.
fn kept(attempts: &[Attempt], ctx: &Context) -> Value {
    let key = ctx.secret(secret::LLM_API_KEY);
    let redactor = key.map_or_else(Redactor::default, |key| Redactor::default().hide(key));
    let attempts = attempts.iter().map(|attempt| {
        let body = redactor.clean(&attempt.body);
        let body = serde_json::from_str(&body).unwrap_or(Value::String(body));
        json!({"status": attempt.status, "body": body})
    });
    json!({"attempts": attempts.collect::<Vec<_>>()})
}

fn write(ctx: &Context, name: &str, value: &Value) -> Result<()> {
    let mut text = format!("{value:#}");
    text.push('\n');
    ctx.write_artifact(name, text.as_bytes())
        .map(drop)
        .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))
}

#[cfg(test)]
mod tests;

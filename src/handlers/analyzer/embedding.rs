//! How texts become vectors by default, and what that is expected to cost.

use crate::model::job::{EmbeddingProvider, EmbeddingSpec};
use crate::model::plan::{EmbeddingPlan, EntityPlan, Estimate, FieldSource, Section};
use crate::model::schema_context::{SchemaContext, TableProfile};

/// What a provider usually takes.
struct Defaults {
    base_url: &'static str,
    model: &'static str,
    dimensions: Option<u32>,
    api_key_env: Option<&'static str>,
    batch_items: u32,
    batch_tokens: u32,
    chunk_tokens: u32,
}

/// `batch_items` and `batch_tokens` stay below the providers' limits; `chunk_tokens` stays below what the model reads,
/// because four bytes a token is an estimate that some languages exceed.
const fn defaults(provider: EmbeddingProvider) -> Defaults {
    match provider {
        EmbeddingProvider::Relvec => Defaults {
            base_url: "http://127.0.0.1:7171/v1",
            model: "relvec-hashed",
            dimensions: Some(384),
            api_key_env: None,
            batch_items: 256,
            batch_tokens: 100_000,
            chunk_tokens: 512,
        },
        EmbeddingProvider::Openai => Defaults {
            base_url: "https://api.openai.com/v1",
            model: "text-embedding-3-small",
            dimensions: None,
            api_key_env: Some("OPENAI_API_KEY"),
            batch_items: 256,
            batch_tokens: 100_000,
            chunk_tokens: 2000,
        },
        EmbeddingProvider::Gemini => Defaults {
            base_url: "https://generativelanguage.googleapis.com/v1beta",
            model: "gemini-embedding-001",
            dimensions: None,
            api_key_env: Some("GOOGLE_API_KEY"),
            batch_items: 100,
            batch_tokens: 20_000,
            chunk_tokens: 512,
        },
        EmbeddingProvider::Local => Defaults {
            base_url: "",
            model: "sentence-transformers/all-MiniLM-L6-v2",
            dimensions: Some(384),
            api_key_env: None,
            batch_items: 64,
            batch_tokens: 16_384,
            chunk_tokens: 200,
        },
    }
}

/// Gives the embedding part of the plan.
pub(super) fn plan(spec: &EmbeddingSpec) -> EmbeddingPlan {
    let defaults = defaults(spec.provider);
    let usual_model = spec
        .model
        .as_deref()
        .is_none_or(|model| model == defaults.model);
    // Somebody else's server behind the same API asks for a key only if the job names one.
    let wants_key = spec.base_url.is_none() || spec.api_key_file.is_some();
    let usual_key = defaults
        .api_key_env
        .or_else(|| spec.api_key_file.is_some().then_some("EMBEDDING_API_KEY"))
        .filter(|_| wants_key)
        .map(str::to_owned);
    EmbeddingPlan {
        provider: spec.provider,
        base_url: spec
            .base_url
            .as_deref()
            .unwrap_or(defaults.base_url)
            .trim_end_matches('/')
            .to_owned(),
        model: spec
            .model
            .clone()
            .unwrap_or_else(|| defaults.model.to_owned()),
        dimensions: spec
            .dimensions
            .or(defaults.dimensions.filter(|_| usual_model)),
        api_key_env: spec.api_key_env.clone().or(usual_key),
        batch_items: defaults.batch_items,
        batch_tokens: defaults.batch_tokens,
        concurrency: 8,
        chunk_tokens: defaults.chunk_tokens,
    }
}

/// Gives what a plan is expected to cost, from the mean lengths of the samples.
pub(super) fn estimate(
    entities: &[EntityPlan],
    context: &SchemaContext,
    embedding: &EmbeddingPlan,
) -> Estimate {
    let (mut documents, mut chunks, mut tokens) = (0, 0, 0);
    for entity in entities {
        // Four bytes a token, and a character is at least a byte.
        let per_document = whole((document_chars(entity, context) / 4.0).ceil()).max(1);
        documents += entity.row_count;
        tokens += entity.row_count * per_document;
        chunks += entity.row_count * per_document.div_ceil(u64::from(embedding.chunk_tokens));
    }
    let by_items = chunks.div_ceil(u64::from(embedding.batch_items));
    let by_tokens = tokens.div_ceil(u64::from(embedding.batch_tokens));
    Estimate {
        documents,
        chunks,
        tokens,
        requests: by_items.max(by_tokens),
    }
}

fn document_chars(entity: &EntityPlan, context: &SchemaContext) -> f64 {
    let root = context
        .tables
        .iter()
        .find(|table| table.table == entity.root);
    let chars = entity.sections.iter().map(|section| match section {
        Section::Field { label, source, .. } => {
            let parent = entity
                .parents
                .iter()
                .find(|parent| parent.alias == source.alias);
            let table = match parent {
                Some(parent) => context
                    .tables
                    .iter()
                    .find(|table| table.table == parent.table),
                None => root,
            };
            label_chars(label) + column_chars(table, source)
        }
        Section::Children {
            table,
            columns,
            parents,
            ..
        } => {
            let child = context
                .tables
                .iter()
                .find(|profile| profile.table == *table);
            let row: f64 = columns
                .iter()
                .map(|source| {
                    let parent = parents.iter().find(|parent| parent.alias == source.alias);
                    let table = match parent {
                        Some(parent) => context
                            .tables
                            .iter()
                            .find(|table| table.table == parent.table),
                        None => child,
                    };
                    3.0 + column_chars(table, source)
                })
                .sum();
            let rows = child.map_or(0, |child| child.row_count);
            row * float(rows) / float(entity.row_count.max(1))
        }
    });
    chars.sum()
}

fn label_chars(label: &str) -> f64 {
    float(label.chars().count() as u64 + 3)
}

fn column_chars(table: Option<&TableProfile>, source: &FieldSource) -> f64 {
    table
        .and_then(|table| {
            table
                .columns
                .iter()
                .find(|column| column.name == source.column)
        })
        .map_or(0.0, |column| column.mean_chars * (1.0 - column.null_ratio))
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn float(number: u64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a length is not negative, and the cast saturates"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_has_its_usual_address_model_and_key() {
        let of = |provider| {
            plan(&EmbeddingSpec {
                provider,
                ..EmbeddingSpec::default()
            })
        };
        let relvec = of(EmbeddingProvider::Relvec);
        assert_eq!(relvec.base_url, "http://127.0.0.1:7171/v1");
        assert_eq!((relvec.dimensions, relvec.api_key_env), (Some(384), None));
        let openai = of(EmbeddingProvider::Openai);
        assert_eq!(openai.model, "text-embedding-3-small");
        assert_eq!(openai.api_key_env.as_deref(), Some("OPENAI_API_KEY"));
        assert!(of(EmbeddingProvider::Gemini).batch_items <= 100);
        assert_eq!(of(EmbeddingProvider::Local).base_url, "");
    }

    #[test]
    fn the_job_overrides() {
        let plan = plan(&EmbeddingSpec {
            provider: EmbeddingProvider::Openai,
            base_url: Some("http://127.0.0.1:9/v1/".to_owned()),
            model: Some("mine".to_owned()),
            dimensions: Some(12),
            ..EmbeddingSpec::default()
        });
        assert_eq!(plan.base_url, "http://127.0.0.1:9/v1");
        assert_eq!((plan.model.as_str(), plan.dimensions), ("mine", Some(12)));
        assert_eq!(plan.api_key_env, None);
    }
}

//! How texts become vectors by default, and what that is expected to cost.

use crate::error::{Error, ErrorKind, Result};
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

/// A model by what its name contains, in small letters: the numbers of a vector, the tokens that it reads.
struct Known {
    name: &'static str,
    dimensions: u32,
    tokens: u32,
}

const fn known(name: &'static str, dimensions: u32, tokens: u32) -> Known {
    Known {
        name,
        dimensions,
        tokens,
    }
}

/// From the models' own cards. The longer of two names that fit stands first.
const MODELS: &[Known] = &[
    known("relvec-hashed", 384, 1_000_000),
    known("text-embedding-3-small", 1536, 8191),
    known("text-embedding-3-large", 3072, 8191),
    known("text-embedding-ada-002", 1536, 8191),
    known("gemini-embedding-001", 3072, 2048),
    known("text-embedding-004", 768, 2048),
    known("paraphrase-multilingual-minilm-l12-v2", 384, 128),
    known("all-minilm-l6-v2", 384, 256),
    known("all-minilm-l12-v2", 384, 128),
    known("all-mpnet-base-v2", 768, 384),
    known("multilingual-e5-small", 384, 512),
    known("multilingual-e5-base", 768, 512),
    known("multilingual-e5-large", 1024, 512),
    known("e5-small", 384, 512),
    known("e5-base", 768, 512),
    known("e5-large", 1024, 512),
    known("bge-m3", 1024, 8192),
    known("bge-small", 384, 512),
    known("bge-base", 768, 512),
    known("bge-large", 1024, 512),
    known("gte-small", 384, 512),
    known("gte-base", 768, 512),
    known("gte-large", 1024, 512),
    known("mxbai-embed-large", 1024, 512),
    known("nomic-embed-text", 768, 8192),
    known("jina-embeddings-v3", 1024, 8192),
    known("snowflake-arctic-embed-l", 1024, 512),
];
/// Chunks of more tokens say too many things at once.
const USUAL_TOKENS: u32 = 2000;
/// What nearly every model reads.
const CAREFUL_TOKENS: u32 = 400;

fn find(model: &str) -> Option<&'static Known> {
    let model = model.to_lowercase();
    MODELS.iter().find(|known| model.contains(known.name))
}

/// Whether the plan or the table of models here has the model's dimension.
pub(super) fn has_dimension(plan: &EmbeddingPlan) -> bool {
    plan.dimensions.is_some() || find(&plan.model).is_some()
}

/// The tokens of a chunk: what the job says; else four fifths of what the model reads, because four bytes a token is an estimate that
/// some languages exceed.
fn chunk_tokens(spec: &EmbeddingSpec, model: &str, usual: Option<u32>) -> Result<u32> {
    let limit = find(model).map(|known| known.tokens);
    let fitting = |limit: u32| (limit / 32 * 25).min(USUAL_TOKENS);
    match (spec.chunk_tokens, limit) {
        (Some(tokens), Some(limit)) if tokens > limit => Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "embedding.chunk_tokens is {tokens}, and the model `{model}` reads {limit} tokens"
            ),
        )
        .hint(format!(
            "leave it out ({}), or take a model that reads more",
            usual.unwrap_or_else(|| fitting(limit))
        ))),
        (Some(tokens), _) => Ok(tokens),
        (None, _) if usual.is_some() => Ok(usual.unwrap_or(CAREFUL_TOKENS)),
        (None, Some(limit)) => Ok(fitting(limit)),
        (None, None) => Ok(CAREFUL_TOKENS),
    }
}

/// Gives the embedding part of the plan.
///
/// # Errors
/// The job wants longer chunks than the model reads.
pub(super) fn plan(spec: &EmbeddingSpec) -> Result<EmbeddingPlan> {
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
    let model = spec.model.as_deref().unwrap_or(defaults.model);
    let usual_tokens = usual_model.then_some(defaults.chunk_tokens);
    Ok(EmbeddingPlan {
        chunk_tokens: chunk_tokens(spec, model, usual_tokens)?,
        model: model.to_owned(),
        provider: spec.provider,
        base_url: spec
            .base_url
            .as_deref()
            .unwrap_or(defaults.base_url)
            .trim_end_matches('/')
            .to_owned(),
        dimensions: spec
            .dimensions
            .or(defaults.dimensions.filter(|_| usual_model)),
        api_key_env: spec.api_key_env.clone().or(usual_key),
        batch_items: defaults.batch_items,
        batch_tokens: defaults.batch_tokens,
        concurrency: 8,
    })
}

/// Gives what a plan is expected to cost, from the mean lengths of the samples.
pub(super) fn estimate(
    entities: &[EntityPlan],
    context: &SchemaContext,
    embedding: &EmbeddingPlan,
    spec: &EmbeddingSpec,
) -> Estimate {
    let (mut documents, mut chunks, mut tokens) = (0, 0, 0);
    for entity in entities {
        // Four bytes a token, and a character is at least a byte.
        let per_document = whole((document_chars(entity, context) / 4.0).ceil()).max(1);
        documents += entity.row_count;
        tokens += entity.row_count * per_document;
        chunks += entity.row_count * per_document.div_ceil(u64::from(embedding.chunk_tokens));
    }
    let dimensions = embedding
        .dimensions
        .or_else(|| find(&embedding.model).map(|known| known.dimensions));
    let by_items = chunks.div_ceil(u64::from(embedding.batch_items));
    let by_tokens = tokens.div_ceil(u64::from(embedding.batch_tokens));
    let mut estimate = Estimate {
        documents,
        chunks,
        tokens,
        requests: by_items.max(by_tokens),
        cost: spec
            .price_per_million_tokens
            .map(|price| (float(tokens) / 1e6 * price * 100.0).round() / 100.0),
        table_bytes: None,
        index_bytes: None,
    };
    if let Some(dimensions) = dimensions {
        add_sizes(&mut estimate, entities, dimensions);
    }
    estimate
}

/// Adds what the target's table and index are expected to take.
pub(super) fn add_sizes(estimate: &mut Estimate, entities: &[EntityPlan], dimensions: u32) {
    let fields: usize = entities.iter().map(|entity| entity.metadata.len()).sum();
    let metadata = (fields as u64 * FIELD_BYTES)
        .checked_div(entities.len() as u64)
        .unwrap_or(0);
    let row = ROW_BYTES + vector_bytes(dimensions) + metadata;
    estimate.table_bytes = Some(estimate.chunks * row + estimate.tokens * 4);
    estimate.index_bytes =
        (dimensions <= INDEX_LIMIT).then(|| index_bytes(estimate.chunks, dimensions));
}

/// pgvector indexes `vector` up to this dimension; above it the column is a `halfvec`, up to the second one.
const VECTOR_LIMIT: u32 = 2000;
const INDEX_LIMIT: u32 = 4000;
/// A metadata field's name and value.
const FIELD_BYTES: u64 = 24;
/// A row's header, its ids, hash, source key, model and time, with the primary key's entry.
const ROW_BYTES: u64 = 260;
/// A page of PostgreSQL without its own header.
const PAGE_BYTES: u64 = 8192;
const PAGE_ROOM: u64 = 8152;
/// What an element of an HNSW index with `m = 16` has beside its vector: its header, and its neighbours' places on two levels.
const ELEMENT_BYTES: u64 = 80 + 6 * 16 * 3;

/// Eight bytes, and four a number, or two in a `halfvec`.
fn vector_bytes(dimensions: u32) -> u64 {
    let width = if dimensions > VECTOR_LIMIT { 2 } else { 4 };
    8 + u64::from(dimensions) * width
}

/// An element does not stand on two pages, so that large vectors leave a part of each page empty.
fn index_bytes(chunks: u64, dimensions: u32) -> u64 {
    let a_page = (PAGE_ROOM / (vector_bytes(dimensions) + ELEMENT_BYTES)).max(1);
    chunks.div_ceil(a_page) * PAGE_BYTES
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
            .expect("a plan")
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
        })
        .expect("a plan");
        assert_eq!(plan.base_url, "http://127.0.0.1:9/v1");
        assert_eq!((plan.model.as_str(), plan.dimensions), ("mine", Some(12)));
        assert_eq!(plan.api_key_env, None);
    }

    #[test]
    fn chunks_fit_the_model() {
        let of = |model: &str, chunk_tokens| {
            plan(&EmbeddingSpec {
                provider: EmbeddingProvider::Openai,
                model: Some(model.to_owned()),
                chunk_tokens,
                ..EmbeddingSpec::default()
            })
        };
        let tokens = |model: &str, wanted| of(model, wanted).expect("a plan").chunk_tokens;
        assert_eq!(tokens("text-embedding-3-large", None), 2000);
        assert_eq!(tokens("BAAI/bge-base-en-v1.5", None), 400);
        assert_eq!(tokens("all-MiniLM-L12-v2", None), 100);
        assert_eq!(tokens("mine", None), CAREFUL_TOKENS);
        assert_eq!(tokens("mine", Some(777)), 777);
        let error = of("BAAI/bge-base-en-v1.5", Some(600)).expect_err("too long");
        assert!(error.to_string().contains("reads 512 tokens"), "{error}");
    }

    #[test]
    fn a_million_vectors_of_1536_numbers_take_a_page_each() {
        assert_eq!(index_bytes(1_000_000, 1536), 8_192_000_000);
        assert!(index_bytes(1_000_000, 384) < 2_100_000_000);
        assert_eq!(vector_bytes(3072), 8 + 6144);
    }
}

//! `job`: what a caller submits. Unknown keys are refused; everything but the source has a default.
//!
//! A job as a caller writes it may hold secrets (a URL with a password). [`JobInput`] is what is kept: before a run starts,
//! `launch` moves every secret into [`Secrets`](crate::graph::context::Secrets) under the names in [`secret`], and what is
//! recorded, shown and generated never has them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::analysis::AnalysisSpec;
use crate::graph::output::{Kind, Output};
use crate::graph::plan::Selection;

/// Names of a job's secrets in [`Context::secret`](crate::graph::context::Context::secret).
pub mod secret {
    /// The whole source URL, password included. Always there.
    pub const SOURCE_URL: &str = "source_url";
    /// The whole target URL, password included. There unless the target is `embedded`.
    pub const TARGET_URL: &str = "target_url";
    /// The embedding API's key.
    pub const EMBEDDING_API_KEY: &str = "embedding_api_key";
    /// The language model API's key.
    pub const LLM_API_KEY: &str = "llm_api_key";
}

/// The target that relvec starts itself.
pub const EMBEDDED: &str = "embedded";

/// The job: source, target, and what to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobInput {
    /// Where rows come from.
    pub source: SourceSpec,
    /// Where vectors go.
    #[serde(default)]
    pub target: TargetSpec,
    /// How texts become vectors.
    #[serde(default)]
    pub embedding: EmbeddingSpec,
    /// What a person says about the source: roots, joins, columns, templates, filters.
    #[serde(default)]
    pub analysis: AnalysisSpec,
    /// How the generated script is run.
    #[serde(default)]
    pub execution: ExecutionSpec,
    /// The optional language model.
    #[serde(default)]
    pub llm: LlmSpec,
    /// Whether a person looks before the run counts as done.
    #[serde(default)]
    pub require_review: bool,
    /// Stages of the graph that are left out, as if their `when` were false.
    #[serde(default)]
    pub skip: Vec<String>,
    /// Stages of the graph that are not left out; where there are none, all of them.
    #[serde(default)]
    pub only: Vec<String>,
}

impl JobInput {
    /// Gives what the job leaves out of its graph.
    #[must_use]
    pub fn selection(&self) -> Selection {
        Selection {
            skip: self.skip.clone(),
            only: self.only.clone(),
        }
    }
}

impl Output for JobInput {
    const KIND: Kind = Kind::new("job");
}

/// Where rows come from: exactly one of `url`, `url_env` and `url_file`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceSpec {
    /// `postgres://user@host:port/database`, `mysql://user@host:port/database` (MariaDB too) or `sqlite:path`. A password in it is used and never shown again.
    #[serde(default)]
    pub url: Option<String>,
    /// The environment variable that holds the URL.
    #[serde(default)]
    pub url_env: Option<String>,
    /// The file that holds the URL.
    #[serde(default)]
    pub url_file: Option<String>,
    /// Tables to read, as `schema.table` or `table` patterns with `*`; all if empty.
    #[serde(default)]
    pub include: Vec<String>,
    /// Tables to leave out, as the same patterns.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Rows a table that are kept in `raw_metadata` as a sample, 0 to 1000; statistics are made from them.
    #[serde(default = "default_sample_rows")]
    #[schemars(range(max = 1000))]
    pub sample_rows: u32,
    /// Whether the rows of large tables are counted too, which reads them whole; their numbers are estimates otherwise.
    #[serde(default)]
    pub exact_counts: bool,
}

fn default_sample_rows() -> u32 {
    200
}

/// What becomes of documents whose source rows are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDelete {
    /// They are removed.
    #[default]
    Remove,
    /// They stay as they are.
    Keep,
}

/// Where vectors go: at most one of `url`, `url_env` and `url_file`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TargetSpec {
    /// `embedded`, or `postgres://user@host:port/database`.
    pub url: Option<String>,
    /// The environment variable that holds the URL.
    pub url_env: Option<String>,
    /// The file that holds the URL.
    pub url_file: Option<String>,
    /// The table, with its schema or without (`public`).
    #[schemars(regex(pattern = r"^([A-Za-z_][A-Za-z0-9_]{0,40}\.)?[A-Za-z_][A-Za-z0-9_]{0,40}$"))]
    pub table: String,
    /// What becomes of documents whose source rows are gone. Entities that are not in the plan are never touched.
    pub on_delete: OnDelete,
}

impl Default for TargetSpec {
    fn default() -> Self {
        Self {
            url: None,
            url_env: None,
            url_file: None,
            table: "relvec_documents".to_owned(),
            on_delete: OnDelete::Remove,
        }
    }
}

impl TargetSpec {
    /// Says whether relvec starts the target itself.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        match &self.url {
            Some(url) => url == EMBEDDED,
            None => self.url_env.is_none() && self.url_file.is_none(),
        }
    }
}

/// Which embedding API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EmbeddingProvider {
    /// relvec's own endpoint: hashed n-grams, for demos and tests.
    #[default]
    Relvec,
    /// OpenAI's `/v1/embeddings`, or anything that speaks it.
    Openai,
    /// Gemini's `batchEmbedContents`.
    Gemini,
    /// sentence-transformers in the script's own process.
    Local,
}

/// How texts become vectors.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EmbeddingSpec {
    /// Which API.
    pub provider: EmbeddingProvider,
    /// Where; the provider's own address if absent.
    pub base_url: Option<String>,
    /// The model; the provider's usual one if absent.
    pub model: Option<String>,
    /// Numbers a vector; the model's own if absent.
    #[schemars(range(min = 1, max = 16000))]
    pub dimensions: Option<u32>,
    /// The environment variable that holds the key.
    pub api_key_env: Option<String>,
    /// The file that holds the key.
    pub api_key_file: Option<String>,
    /// Most tokens a chunk; what suits the model if absent. A model that is known takes no more than it reads.
    #[schemars(range(min = 16, max = 32768))]
    pub chunk_tokens: Option<u32>,
    /// What a million tokens cost, in any currency; without it the plan has no cost.
    #[schemars(range(min = 0.0, max = 1_000_000.0))]
    pub price_per_million_tokens: Option<f64>,
}

/// How the generated script is run.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionMode {
    /// In a container.
    Container,
    /// In a virtual environment of this machine.
    #[default]
    Process,
    /// Not at all: checks and estimates.
    Simulate,
}

impl ExecutionMode {
    /// Gives the name that jobs and settings use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Process => "process",
            Self::Simulate => "simulate",
        }
    }
}

/// What is generated beside `migrate.py`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Runtime {
    /// A search service.
    #[default]
    Fastapi,
    /// Nothing.
    Script,
}

/// How the generated script is run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExecutionSpec {
    /// Container, process or simulation.
    pub mode: ExecutionMode,
    /// What is generated beside `migrate.py`.
    pub runtime: Runtime,
    /// The image that the generated one is built on, with Python 3.10 or later; `python:3.11-slim` if absent.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._/:-]{0,254}$"))]
    pub base_image: Option<String>,
    /// The digest of that image, which pins it: `sha256:` and 64 hexadecimal digits.
    #[schemars(regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub base_digest: Option<String>,
    /// The container's network: `host`, `bridge`, or the name of one; `bridge` if absent. In all but `host` this machine is
    /// `host.docker.internal`, and is reached only where it listens on more than its loopback.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"))]
    pub network: Option<String>,
    /// The network in which the image is built, where pip fetches the requirements; the daemon's default if absent.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"))]
    pub build_network: Option<String>,
    /// The container's memory in MiB, with no swap beside it; 1024 if absent.
    #[schemars(range(min = 8, max = 4_194_304))]
    pub memory_mib: Option<u32>,
    /// The container's processors; 2 if absent, and never more than there are.
    #[schemars(range(min = 0.1, max = 1024.0))]
    pub cpus: Option<f64>,
    /// The container's processes and threads; 256 if absent.
    #[schemars(range(min = 16, max = 65_536))]
    pub pids: Option<u32>,
}

/// Which language model API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LlmProvider {
    /// Gemini's `generateContent`.
    #[default]
    Gemini,
    /// OpenAI's chat completions, or anything that speaks them: Ollama, vLLM.
    Openai,
}

/// The optional language model. It sees names, types, keys and classes of statistics, never a row's value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LlmSpec {
    /// Whether it is asked. If absent: whether a model is named and its key is there. A recorded job always has it.
    pub enabled: Option<bool>,
    /// Which API.
    pub provider: LlmProvider,
    /// The model; the provider's usual one if absent. With `openai` at a `base_url` it has to be named.
    pub model: Option<String>,
    /// Where; the provider's own address if absent.
    pub base_url: Option<String>,
    /// The environment variable that holds the key; `GOOGLE_API_KEY` or `OPENAI_API_KEY` if this and `base_url` are absent.
    /// With `openai` at a `base_url`, no key is sent if this is absent.
    pub api_key_env: Option<String>,
    /// What the documents are for, in the words of whoever asks for them. Only with it may the model filter rows.
    #[schemars(length(max = 2000))]
    pub prompt: Option<String>,
    /// Whether comments on tables and columns are sent too. People write examples and names into comments.
    pub allow_comments: bool,
    /// The most tokens of question and answer, by the estimate of four bytes a token; 32,000 if absent.
    #[schemars(range(min = 1000, max = 1_000_000))]
    pub token_budget: Option<u32>,
    /// How long all attempts may take together, in seconds; 60 if absent.
    #[schemars(range(min = 1, max = 600))]
    pub timeout_seconds: Option<u32>,
}

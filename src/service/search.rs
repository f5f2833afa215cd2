//! Searches a target: embeds the query as the documents were, and gives the nearest chunks by cosine.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use super::http;
use super::target::Target;
use crate::error::{Error, ErrorKind, Result};
use crate::model::job::EmbeddingProvider;
use crate::model::plan::{EmbeddingPlan, MigrationPlan};

/// What is looked for.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    /// The words.
    pub text: &'a str,
    /// The only entity whose documents count.
    pub entity: Option<&'a str>,
    /// Most hits.
    pub limit: u32,
}

/// A chunk that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hit {
    /// Cosine similarity, -1 to 1, higher is nearer.
    pub score: f64,
    /// Its entity.
    pub entity: String,
    /// The key of its row, column by column.
    pub source_key: Value,
    /// Its text.
    pub content: String,
    /// The values kept beside it.
    pub metadata: Value,
}

/// Gives the chunks nearest to a query. `base_url` is where the embedding API listens now.
///
/// # Errors
/// The embedding API or the target does not answer, or their dimensions differ.
pub async fn search(
    target: &SecretString,
    plan: &MigrationPlan,
    base_url: &str,
    key: Option<&SecretString>,
    query: &Query<'_>,
) -> Result<Vec<Hit>> {
    let vector = embed(&plan.embedding, base_url, key, query.text).await?;
    let mut target = Target::open(target, &plan.target).await?;
    let Some(facts) = target.facts().await? else {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("the target has no table {}", target.table()),
        )
        .hint("run the migration first"));
    };
    let (schema, table) = (target.vector_schema().to_owned(), target.table().to_owned());
    let halves = facts.vector_type == "halfvec";
    let distance = format!(
        "embedding OPERATOR({schema}.<=>) $1::text::{schema}.{}",
        if halves { "halfvec" } else { "vector" }
    );
    let sql = format!(
        "SELECT 1 - ({distance}), entity, source_key, content, metadata FROM {table} \
         WHERE $2::text IS NULL OR entity = $2 ORDER BY {distance} LIMIT $3"
    );
    let failed = |error: sqlx::Error| {
        Error::new(
            ErrorKind::Unavailable,
            format!("the search in {table} failed"),
        )
        .because(error)
    };
    let connection = target.connection();
    // The index gives its nearest first and the filter drops some of them: look at all that a filter may leave.
    connection
        .execute("SET LOCAL hnsw.ef_search = 1000")
        .await
        .map_err(failed)?;
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(text_of(&vector))
        .bind(query.entity)
        .bind(i64::from(query.limit))
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.iter()
        .map(|row| {
            Ok(Hit {
                score: row.try_get(0)?,
                entity: row.try_get(1)?,
                source_key: row.try_get(2)?,
                content: row.try_get(3)?,
                metadata: row.try_get(4)?,
            })
        })
        .collect::<Result<_, sqlx::Error>>()
        .map_err(failed)
}

/// A vector as pgvector reads it.
fn text_of(vector: &[f32]) -> String {
    let numbers: Vec<String> = vector.iter().map(f32::to_string).collect();
    format!("[{}]", numbers.join(","))
}

#[derive(Deserialize)]
struct Reply {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    embedding: Vec<f32>,
}

async fn embed(
    plan: &EmbeddingPlan,
    base_url: &str,
    key: Option<&SecretString>,
    text: &str,
) -> Result<Vec<f32>> {
    match plan.provider {
        EmbeddingProvider::Relvec | EmbeddingProvider::Openai => {}
        EmbeddingProvider::Gemini | EmbeddingProvider::Local => {
            return Err(Error::new(
                ErrorKind::Invalid,
                "relvec itself searches only with providers that speak /v1/embeddings",
            )
            .hint("start the generated service.py and ask its /search"));
        }
    }
    let failed = || {
        Error::new(
            ErrorKind::Unavailable,
            format!("the embedding API at {base_url} did not embed the query"),
        )
        .hint("check that it runs there")
    };
    let mut body = json!({"model": plan.model, "input": [text], "encoding_format": "float"});
    if let Some(dimensions) = plan.dimensions {
        body["dimensions"] = dimensions.into();
    }
    let local = base_url.starts_with("http://127.0.0.1:");
    let mut request = http::client(Duration::from_secs(30), local)?
        .post(format!("{}/embeddings", base_url.trim_end_matches('/')))
        .json(&body);
    if let Some(key) = key {
        request = request.bearer_auth(key.expose_secret());
    }
    let reply = async {
        request
            .send()
            .await?
            .error_for_status()?
            .json::<Reply>()
            .await
    };
    let reply = reply.await.map_err(|error| failed().because(error))?;
    let item = reply.data.into_iter().next();
    item.map(|item| item.embedding).ok_or_else(failed)
}

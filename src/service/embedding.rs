//! An embedding API that relvec asks itself, for the few texts that the validator embeds again.
//!
//! It speaks what `migrate.py` speaks, and shares no code with it.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::http;
use crate::allowed::{Allowed, Role};
use crate::error::{Error, ErrorKind, Result};
use crate::model::job::EmbeddingProvider;
use crate::model::plan::EmbeddingPlan;

const ATTEMPTS: u32 = 3;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Grows with each attempt.
const PAUSE: Duration = Duration::from_millis(500);
/// Most texts a request.
const TEXTS: usize = 25;
/// More than this is no list of so few vectors.
const MOST_BYTES: usize = 16 << 20;

/// What a request and a reply look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Openai,
    Gemini,
}

/// An embedding API as a plan names it.
#[derive(Debug)]
pub struct EmbeddingApi {
    client: Client,
    url: Url,
    dialect: Dialect,
    model: String,
    dimensions: Option<u32>,
    key: Option<SecretString>,
}

/// A failed attempt, and whether another one may help.
struct Failure(Error, bool);

impl EmbeddingApi {
    /// Prepares the API of a plan; nothing where the model runs in the script's own process.
    ///
    /// # Errors
    /// The plan's address is no http or https URL, or is not allowed.
    pub fn new(
        plan: &EmbeddingPlan,
        key: Option<SecretString>,
        allowed: &Allowed,
    ) -> Result<Option<Self>> {
        let base = plan.base_url.trim_end_matches('/');
        let gemini_model = || plan.model.trim_start_matches("models/");
        let (dialect, address) = match plan.provider {
            EmbeddingProvider::Local => return Ok(None),
            EmbeddingProvider::Relvec | EmbeddingProvider::Openai => {
                (Dialect::Openai, format!("{base}/embeddings"))
            }
            EmbeddingProvider::Gemini => {
                let model = gemini_model();
                let address = format!("{base}/models/{model}:batchEmbedContents");
                (Dialect::Gemini, address)
            }
        };
        let url = Url::parse(&address)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| {
                let message = "the plan's embedding API has no http or https address";
                Error::new(ErrorKind::Invalid, message)
                    .hint("correct `embedding.base_url` in the job")
            })?;
        Ok(Some(Self {
            client: http::client_within(REQUEST_TIMEOUT, &url, Role::Embedding, allowed)?,
            url,
            dialect,
            model: match dialect {
                Dialect::Openai => plan.model.clone(),
                Dialect::Gemini => format!("models/{}", gemini_model()),
            },
            dimensions: plan.dimensions,
            key,
        }))
    }

    /// Gives the vectors of texts, in their order.
    ///
    /// # Errors
    /// The API does not answer after three attempts, refuses, or answers something else than a vector a text.
    pub async fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let mut vectors = Vec::with_capacity(texts.len());
        for some in texts.chunks(TEXTS) {
            let mut attempt = 1;
            vectors.extend(loop {
                match self.ask(some).await {
                    Ok(found) => break found,
                    Err(Failure(error, again)) if !again || attempt == ATTEMPTS => {
                        return Err(error);
                    }
                    Err(Failure(..)) => tokio::time::sleep(PAUSE * attempt).await,
                }
                attempt += 1;
            });
        }
        Ok(vectors)
    }

    async fn ask(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, Failure> {
        let headers = self.headers().map_err(|error| Failure(error, false))?;
        let request = self.client.post(self.url.clone()).headers(headers);
        let unanswered = |error: reqwest::Error| {
            // The address is shown already; a query never belongs into a message.
            let shown = Error::new(ErrorKind::Unavailable, self.says("does not answer"));
            Failure(shown.because(error.without_url()), true)
        };
        let sent = request.json(&self.body(texts)).send().await;
        let mut response = sent.map_err(unanswered)?;
        let status = response.status();
        if !status.is_success() {
            let again = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
            let error = Error::new(
                ErrorKind::Unavailable,
                self.says(&format!("answers {status}")),
            );
            return Err(Failure(error, again));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MOST_BYTES {
                return Err(self.unusable());
            }
        }
        let reply: Value = serde_json::from_slice(&bytes).map_err(|_| self.unusable())?;
        let vectors = match self.dialect {
            Dialect::Openai => openai(&reply),
            Dialect::Gemini => gemini(&reply),
        };
        vectors
            .filter(|vectors| vectors.len() == texts.len())
            .ok_or_else(|| self.unusable())
    }

    fn body(&self, texts: &[&str]) -> Value {
        match self.dialect {
            Dialect::Openai => {
                let mut body =
                    json!({"model": self.model, "input": texts, "encoding_format": "float"});
                if let Some(dimensions) = self.dimensions {
                    body["dimensions"] = json!(dimensions);
                }
                body
            }
            Dialect::Gemini => {
                let request = |text: &&str| {
                    let mut request = json!({"model": self.model, "taskType": "RETRIEVAL_DOCUMENT",
                                             "content": {"parts": [{"text": text}]}});
                    if let Some(dimensions) = self.dimensions {
                        request["outputDimensionality"] = json!(dimensions);
                    }
                    request
                };
                json!({"requests": texts.iter().map(request).collect::<Vec<_>>()})
            }
        }
    }

    fn headers(&self) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        let Some(key) = &self.key else {
            return Ok(headers);
        };
        let (name, text) = match self.dialect {
            Dialect::Openai => ("authorization", format!("Bearer {}", key.expose_secret())),
            Dialect::Gemini => ("x-goog-api-key", key.expose_secret().to_owned()),
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            let message = "the embedding API's key has characters that no key has";
            Error::new(ErrorKind::Invalid, message)
        })?;
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok(headers)
    }

    fn says(&self, what: &str) -> String {
        let server = self.url.host_str().unwrap_or_default();
        format!("the embedding API at {server} {what}")
    }

    fn unusable(&self) -> Failure {
        let message = self.says("answers something else than a vector a text");
        Failure(Error::new(ErrorKind::Invalid, message), false)
    }
}

/// The vectors in the order of their `index`.
fn openai(reply: &Value) -> Option<Vec<Vec<f32>>> {
    let items = reply["data"].as_array()?;
    let mut vectors = vec![None; items.len()];
    for item in items {
        let number = usize::try_from(item["index"].as_u64()?).ok()?;
        *vectors.get_mut(number)? = Some(numbers(&item["embedding"])?);
    }
    vectors.into_iter().collect()
}

fn gemini(reply: &Value) -> Option<Vec<Vec<f32>>> {
    let items = reply["embeddings"].as_array()?.iter();
    items.map(|item| numbers(&item["values"])).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the target keeps 32 bits a number too"
)]
fn numbers(value: &Value) -> Option<Vec<f32>> {
    let numbers = value.as_array()?.iter();
    numbers
        .map(|number| number.as_f64().map(|number| number as f32))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(provider: &str, model: &str) -> Option<EmbeddingApi> {
        let plan = json!({"provider": provider, "base_url": "http://127.0.0.1:1/v1/", "model": model, "dimensions": 2,
            "api_key_env": null, "batch_items": 1, "batch_tokens": 1, "concurrency": 1, "chunk_tokens": 1});
        let plan = serde_json::from_value(plan).expect("a plan");
        let everything = Allowed::everything();
        EmbeddingApi::new(&plan, Some("key".into()), &everything).expect("an address")
    }

    #[test]
    fn requests_are_those_of_the_providers() {
        let openai = api("openai", "m").expect("an API");
        assert_eq!(openai.url.as_str(), "http://127.0.0.1:1/v1/embeddings");
        assert_eq!(
            openai.body(&["a", "b"]),
            json!({"model": "m", "input": ["a", "b"], "encoding_format": "float", "dimensions": 2})
        );
        let gemini = api("gemini", "models/m").expect("an API");
        assert_eq!(gemini.url.path(), "/v1/models/m:batchEmbedContents");
        assert_eq!(
            gemini.body(&["a"])["requests"][0],
            json!({"model": "models/m", "taskType": "RETRIEVAL_DOCUMENT", "outputDimensionality": 2,
                   "content": {"parts": [{"text": "a"}]}})
        );
        assert!(api("local", "m").is_none());
    }

    #[test]
    fn replies_are_taken_in_the_order_of_the_texts_or_not_at_all() {
        let item = |index: u32, first: f64| json!({"index": index, "embedding": [first, 0.5]});
        let reply = json!({"data": [item(1, 2.0), item(0, 1.0)]});
        assert_eq!(openai(&reply), Some(vec![vec![1.0, 0.5], vec![2.0, 0.5]]));
        for bad in [
            json!({"data": [item(0, 1.0), item(0, 2.0)]}),
            json!({"data": [item(2, 1.0)]}),
            json!({"data": [{"index": 0, "embedding": ["1"]}]}),
            json!({"data": {}}),
            json!([]),
        ] {
            assert_eq!(openai(&bad), None, "{bad}");
        }
        let reply = json!({"embeddings": [{"values": [1.0]}, {"values": [2.0]}]});
        assert_eq!(gemini(&reply), Some(vec![vec![1.0], vec![2.0]]));
    }

    #[tokio::test]
    async fn an_api_that_nobody_serves_is_named_without_its_key() {
        let error = api("openai", "m").expect("an API").embed(&["a"]).await;
        let error = error.expect_err("nobody listens on port 1").to_string();
        assert!(
            error.contains("127.0.0.1") && !error.contains("key"),
            "{error}"
        );
    }
}

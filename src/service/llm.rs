//! Language models over HTTP: one question, one JSON answer.

use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::header::{HeaderValue, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::http::is_local;
use crate::error::{Error, ErrorKind, Result};

const GEMINI: &str = "https://generativelanguage.googleapis.com/v1beta";
const ATTEMPTS: u32 = 3;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// More than this is no answer to a closed question.
const MOST_BYTES: usize = 1 << 20;

/// What is asked: what to do, on what, and the shape of the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// What to do.
    pub instruction: String,
    /// What it is about.
    pub data: Value,
    /// The shape of the answer, in the API's own schema language.
    pub answer_schema: Value,
}

/// A language model.
pub trait LanguageModel: Send + Sync {
    /// Gives the request for a prompt as it will be sent: address and body, without the key.
    fn request(&self, prompt: &Prompt) -> Value;

    /// Sends a request made by [`LanguageModel::request`] and gives the text of the answer.
    fn send<'a>(&'a self, request: &'a Value) -> BoxFuture<'a, Result<String>>;
}

/// Gemini's `generateContent`: <https://ai.google.dev/api/generate-content>.
pub struct Gemini {
    client: Client,
    url: Url,
    key: SecretString,
    pause: Duration,
}

impl Gemini {
    /// Prepares requests to a model; connects only when one is sent.
    ///
    /// # Errors
    /// The model's name or the base URL is malformed, or no TLS certificates are found.
    pub fn new(base_url: Option<&str>, model: &str, key: SecretString) -> Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if model.is_empty() || model.len() > 100 || !model.chars().all(plain) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "llm.model is not the name of a model: letters, digits, `.`, `-` and `_` only",
            ));
        }
        let base = base_url.unwrap_or(GEMINI).trim_end_matches('/');
        let url = Url::parse(&format!("{base}/models/{model}:generateContent"))
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .filter(|url| url.username().is_empty() && url.password().is_none())
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Invalid,
                    "llm.base_url is not an http or https URL without user and password",
                )
                .hint(format!("leave it out for {GEMINI}"))
            })?;
        Ok(Self {
            client: client(&url)?,
            url,
            key,
            pause: Duration::from_millis(500),
        })
    }

    async fn answer(&self, request: &Value) -> Result<String> {
        let mut attempt = 1;
        loop {
            match self.attempt(&request["body"]).await {
                Ok(answer) => return Ok(answer),
                Err(Failure { error, retry: None }) => return Err(error),
                Err(Failure { error, .. }) if attempt >= ATTEMPTS => return Err(error),
                Err(Failure {
                    retry: Some(asked), ..
                }) => {
                    let pause = self.pause * attempt;
                    tokio::time::sleep(asked.max(pause).min(LONGEST_PAUSE)).await;
                    attempt += 1;
                }
            }
        }
    }

    async fn attempt(&self, body: &Value) -> Result<String, Failure> {
        let mut key = HeaderValue::from_str(self.key.expose_secret()).map_err(|_| {
            Failure::last(Error::new(
                ErrorKind::Invalid,
                "the language model's key has characters that no key has",
            ))
        })?;
        key.set_sensitive(true);
        let mut response = self
            .client
            .post(self.url.clone())
            .header("x-goog-api-key", key)
            .json(body)
            .send()
            .await
            .map_err(|error| Failure::again(self.unreachable(error)))?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.refused(status, response.headers().get(RETRY_AFTER)));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| Failure::again(self.unreachable(error)))?
        {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MOST_BYTES {
                return Err(Failure::last(self.unusable("is longer than 1 MiB")));
            }
        }
        let reply: Value = serde_json::from_slice(&bytes)
            .map_err(|_| Failure::last(self.unusable("is not JSON")))?;
        text_of(&reply).ok_or_else(|| Failure::last(self.unusable("has no text")))
    }

    fn server(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    fn unreachable(&self, error: reqwest::Error) -> Error {
        Error::new(
            ErrorKind::Unavailable,
            format!("the language model at {} does not answer", self.server()),
        )
        // The address is shown above; a query never belongs into a message.
        .because(error.without_url())
    }

    fn unusable(&self, what: &str) -> Error {
        Error::new(
            ErrorKind::Invalid,
            format!(
                "the answer of the language model at {} {what}",
                self.server()
            ),
        )
    }

    fn refused(&self, status: StatusCode, retry_after: Option<&HeaderValue>) -> Failure {
        let kind = match status.as_u16() {
            429 | 500..=599 => ErrorKind::Unavailable,
            _ => ErrorKind::Invalid,
        };
        let error = Error::new(
            kind,
            format!("the language model at {} answers {status}", self.server()),
        )
        .hint("check llm.model and the key in the variable that llm.api_key_env names");
        if kind == ErrorKind::Invalid {
            return Failure::last(error);
        }
        let asked = retry_after
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse().ok())
            .map_or(Duration::ZERO, Duration::from_secs);
        Failure {
            error,
            retry: Some(asked),
        }
    }
}

impl LanguageModel for Gemini {
    fn request(&self, prompt: &Prompt) -> Value {
        json!({
            "method": "POST",
            "url": self.url.as_str(),
            "body": {
                "systemInstruction": {"parts": [{"text": prompt.instruction}]},
                "contents": [{"role": "user", "parts": [{"text": prompt.data.to_string()}]}],
                "generationConfig": {
                    "temperature": 0,
                    "candidateCount": 1,
                    "responseMimeType": "application/json",
                    "responseSchema": prompt.answer_schema,
                },
            },
        })
    }

    fn send<'a>(&'a self, request: &'a Value) -> BoxFuture<'a, Result<String>> {
        Box::pin(self.answer(request))
    }
}

/// A failed attempt, and how long the server asks to wait if another one may help.
struct Failure {
    error: Error,
    retry: Option<Duration>,
}

impl Failure {
    const fn last(error: Error) -> Self {
        Self { error, retry: None }
    }

    const fn again(error: Error) -> Self {
        Self {
            error,
            retry: Some(Duration::ZERO),
        }
    }
}

fn client(url: &Url) -> Result<Client> {
    // Somebody else may have installed it; it is the same one then.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .timeout(REQUEST_TIMEOUT)
        .connect_timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none());
    // A proxy cannot reach this machine's own addresses.
    let builder = if is_local(url) {
        builder.no_proxy()
    } else {
        builder
    };
    builder.build().map_err(|error| {
        Error::new(ErrorKind::Unavailable, "no HTTPS client can be made")
            .because(error)
            .hint("install the system's certificates (Debian: ca-certificates)")
    })
}

fn text_of(reply: &Value) -> Option<String> {
    let parts = reply.pointer("/candidates/0/content/parts")?.as_array()?;
    let text: String = parts
        .iter()
        .filter_map(|part| part["text"].as_str())
        .collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gemini(base: Option<&str>, model: &str) -> Result<Gemini> {
        Gemini::new(base, model, SecretString::from("hunter2"))
    }

    #[test]
    fn the_request_never_has_the_key() {
        let prompt = Prompt {
            instruction: "Choose.".to_owned(),
            data: json!({"a": 1}),
            answer_schema: json!({"type": "OBJECT"}),
        };
        let request = gemini(None, "gemini-2.5-flash")
            .expect("valid")
            .request(&prompt);
        assert_eq!(
            request["url"],
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:generateContent"
        );
        assert!(!request.to_string().contains("hunter2"));
        assert_eq!(
            request["body"]["generationConfig"]["responseSchema"]["type"],
            "OBJECT"
        );
    }

    #[test]
    fn refuses_names_and_addresses_that_are_none() {
        assert!(gemini(None, "../../x").is_err());
        assert!(gemini(Some("file:///etc"), "m").is_err());
        let error = gemini(Some("https://u:hunter2@h/"), "m")
            .err()
            .expect("refused");
        assert!(!error.to_string().contains("hunter2"));
    }
}

//! OpenAI's chat completions, as Ollama, vLLM and others speak them too:
//! <https://platform.openai.com/docs/api-reference/chat/create>.

use std::time::Duration;

use futures::future::BoxFuture;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::endpoint::{Endpoint, Exchange};
use super::{Answer, KeyHeader, LanguageModel, Prompt, address};
use crate::allowed::Allowed;
use crate::error::{Error, ErrorKind, Result};

const USUAL: &str = "https://api.openai.com/v1";

/// OpenAI, or what speaks as it does.
pub struct OpenAi {
    endpoint: Endpoint,
    model: String,
    /// Somebody else's server.
    elsewhere: bool,
}

impl OpenAi {
    /// Prepares requests to a model; connects only when one is sent. A server of one's own may want no key.
    ///
    /// # Errors
    /// The model has no name, the base URL is malformed, or the system's TLS cannot be set up.
    pub fn new(
        base_url: Option<&str>,
        model: &str,
        key: Option<SecretString>,
        allowed: &Allowed,
    ) -> Result<Self> {
        if model.is_empty() || model.len() > 200 || model.chars().any(char::is_control) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "llm.model is not the name of a model: 1 to 200 characters",
            ));
        }
        let url = address(base_url.unwrap_or(USUAL), "chat/completions", USUAL)?;
        let key = key.map(|key| KeyHeader {
            name: "authorization",
            prefix: "Bearer ",
            key,
        });
        Ok(Self {
            endpoint: Endpoint::new(url, key, allowed)?,
            model: model.to_owned(),
            elsewhere: base_url.is_some(),
        })
    }
}

impl LanguageModel for OpenAi {
    fn request(&self, prompt: &Prompt) -> Value {
        let mut body = json!({
            "model": self.model,
            "messages": [
                {"role": "system", "content": prompt.instruction},
                {"role": "user", "content": prompt.data.to_string()},
            ],
            "stream": false,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "advice", "strict": true, "schema": prompt.answer_schema},
            },
        });
        // OpenAI's newer models refuse `max_tokens` and any temperature; Ollama knows no other name, and needs the 0.
        if self.elsewhere {
            body["max_tokens"] = prompt.answer_tokens.into();
            body["temperature"] = 0.into();
        } else {
            body["max_completion_tokens"] = prompt.answer_tokens.into();
        }
        json!({"method": "POST", "url": self.endpoint.url(), "body": body})
    }

    fn send<'a>(&'a self, request: &'a Value, within: Duration) -> BoxFuture<'a, Exchange> {
        Box::pin(self.endpoint.send(&request["body"], within, read))
    }
}

fn read(reply: &Value) -> Result<Answer, &'static str> {
    let choice = reply.pointer("/choices/0").ok_or("has no choice")?;
    if choice["finish_reason"] == "length" {
        return Err("is cut off: raise llm.token_budget");
    }
    if choice["message"]["refusal"].is_string() {
        return Err("is a refusal");
    }
    let text = choice["message"]["content"].as_str().unwrap_or_default();
    if text.is_empty() {
        return Err("has no text");
    }
    Ok(Answer {
        text: text.to_owned(),
        tokens: reply.pointer("/usage/total_tokens").and_then(Value::as_u64),
    })
}

//! Gemini's `generateContent`: <https://ai.google.dev/api/generate-content>.

use std::time::Duration;

use futures::future::BoxFuture;
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::endpoint::{Endpoint, Exchange};
use super::{Answer, KeyHeader, LanguageModel, Prompt, address};
use crate::allowed::Allowed;
use crate::error::{Error, ErrorKind, Result};

const USUAL: &str = "https://generativelanguage.googleapis.com/v1beta";

/// Gemini, or what speaks as it does.
pub struct Gemini(Endpoint);

impl Gemini {
    /// Prepares requests to a model; connects only when one is sent.
    ///
    /// # Errors
    /// The model's name or the base URL is malformed, or the system's TLS cannot be set up.
    pub fn new(
        base_url: Option<&str>,
        model: &str,
        key: SecretString,
        allowed: &Allowed,
    ) -> Result<Self> {
        // The name is part of the address.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if model.is_empty() || model.len() > 100 || !model.chars().all(plain) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "llm.model is not the name of a Gemini model: letters, digits, `.`, `-` and `_` only",
            ));
        }
        let path = format!("models/{model}:generateContent");
        let url = address(base_url.unwrap_or(USUAL), &path, USUAL)?;
        let key = KeyHeader {
            name: "x-goog-api-key",
            prefix: "",
            key,
        };
        Endpoint::new(url, Some(key), allowed).map(Self)
    }
}

impl LanguageModel for Gemini {
    fn request(&self, prompt: &Prompt) -> Value {
        json!({
            "method": "POST",
            "url": self.0.url(),
            "body": {
                "systemInstruction": {"parts": [{"text": prompt.instruction}]},
                "contents": [{"role": "user", "parts": [{"text": prompt.data.to_string()}]}],
                "generationConfig": {
                    "temperature": 0,
                    "candidateCount": 1,
                    "maxOutputTokens": prompt.answer_tokens,
                    "responseMimeType": "application/json",
                    "responseSchema": response_schema(&prompt.answer_schema),
                },
            },
        })
    }

    fn send<'a>(&'a self, request: &'a Value, within: Duration) -> BoxFuture<'a, Exchange> {
        Box::pin(self.0.send(&request["body"], within, read))
    }
}

/// Writes a JSON Schema as `responseSchema` has it: a part of OpenAPI 3.0, with types in capitals.
fn response_schema(schema: &Value) -> Value {
    let Value::Object(keywords) = schema else {
        return schema.clone();
    };
    let mut out = Map::new();
    for (keyword, value) in keywords {
        let value = match (keyword.as_str(), value) {
            ("additionalProperties", _) => continue,
            ("type", Value::String(name)) => Value::String(name.to_uppercase()),
            ("items", schema) => response_schema(schema),
            ("properties", Value::Object(properties)) => properties
                .iter()
                .map(|(name, schema)| (name.clone(), response_schema(schema)))
                .collect(),
            (_, value) => value.clone(),
        };
        out.insert(keyword.clone(), value);
    }
    Value::Object(out)
}

fn read(reply: &Value) -> Result<Answer, &'static str> {
    let candidate = reply.pointer("/candidates/0").ok_or("has no candidate")?;
    if candidate["finishReason"] == "MAX_TOKENS" {
        return Err("is cut off: raise llm.token_budget");
    }
    let parts = candidate
        .pointer("/content/parts")
        .and_then(Value::as_array);
    let text: String = parts
        .into_iter()
        .flatten()
        .filter(|part| part["thought"] != true)
        .filter_map(|part| part["text"].as_str())
        .collect();
    if text.is_empty() {
        return Err("has no text");
    }
    let tokens = reply.pointer("/usageMetadata/totalTokenCount");
    Ok(Answer {
        text,
        tokens: tokens.and_then(Value::as_u64),
    })
}

//! Language models over HTTP: one question, one JSON answer.
//!
//! 1. A [`LanguageModel`] writes the request of its API; [`gemini`] and [`openai`] are the two there are.
//! 2. [`endpoint`] sends it, waits as the server asks, and keeps every reply.
//! 3. The [`LanguageModel`] takes the text out of the reply.

use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::Url;
use secrecy::SecretString;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};

mod endpoint;
pub mod gemini;
pub mod openai;

pub use endpoint::{Attempt, Exchange};
pub use gemini::Gemini;
pub use openai::OpenAi;

/// What is asked: what to do, on what, and the shape of the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// What to do.
    pub instruction: String,
    /// What it is about.
    pub data: Value,
    /// The shape of the answer, a JSON Schema whose objects list every property as required.
    pub answer_schema: Value,
    /// The most tokens that the answer may have.
    pub answer_tokens: u32,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The text that was asked for.
    pub text: String,
    /// Tokens of question and answer, where the API counts them.
    pub tokens: Option<u64>,
}

/// A language model.
pub trait LanguageModel: Send + Sync {
    /// Gives the request for a prompt as it will be sent: address and body, without the key.
    fn request(&self, prompt: &Prompt) -> Value;

    /// Sends a request made by [`LanguageModel::request`], again where that may help, all within the time given.
    fn send<'a>(&'a self, request: &'a Value, within: Duration) -> BoxFuture<'a, Exchange>;
}

/// Reads the address of a method below a base URL.
///
/// # Errors
/// It is no http or https URL, or holds a user or a password.
fn address(base_url: &str, path: &str, usual: &str) -> Result<Url> {
    let base = base_url.trim_end_matches('/');
    Url::parse(&format!("{base}/{path}"))
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .filter(|url| url.username().is_empty() && url.password().is_none())
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Invalid,
                "llm.base_url is not an http or https URL without user and password",
            )
            .hint(format!("leave it out for {usual}"))
        })
}

/// Where and how a key goes.
struct KeyHeader {
    name: &'static str,
    prefix: &'static str,
    key: SecretString,
}

#[cfg(test)]
mod tests;

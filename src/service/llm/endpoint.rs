//! One HTTP address: sent to again where that may help, for as long as there is time.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url};
use secrecy::ExposeSecret;
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::time::Instant;

use super::{Answer, KeyHeader};
use crate::allowed::{Allowed, Role};
use crate::error::{Error, ErrorKind, Result};
use crate::service::http;

const ATTEMPTS: u32 = 3;
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);
/// Grows with each attempt, unless the server asks for more.
const PAUSE: Duration = Duration::from_millis(500);
/// More than this is no answer to a closed question.
const MOST_BYTES: usize = 1 << 20;

/// A request that was sent, and what came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The HTTP status; absent where nothing came back.
    pub status: Option<u16>,
    /// What came back, cut at 1 MiB.
    pub body: String,
}

/// Every reply, and what is made of the last one.
#[derive(Debug)]
pub struct Exchange {
    /// The attempts in order.
    pub attempts: Vec<Attempt>,
    /// The answer, or why there is none.
    pub answer: Result<Answer>,
}

/// An address with its client and key.
pub(super) struct Endpoint {
    client: Client,
    url: Url,
    key: Option<KeyHeader>,
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

/// Takes the answer out of a reply; the error completes "the answer of the language model …".
pub(super) type Reader = fn(&Value) -> Result<Answer, &'static str>;

impl Endpoint {
    /// Prepares an address; connects only when something is sent.
    pub(super) fn new(url: Url, key: Option<KeyHeader>, allowed: &Allowed) -> Result<Self> {
        Ok(Self {
            client: http::client_within(REQUEST_TIMEOUT, &url, Role::Llm, allowed)?,
            url,
            key,
        })
    }

    pub(super) fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Sends a body, and again where the server is busy or broken, until the time is over.
    pub(super) async fn send(&self, body: &Value, within: Duration, read: Reader) -> Exchange {
        let deadline = Instant::now() + within;
        let mut attempts = Vec::new();
        let answer = loop {
            let tried = tokio::time::timeout_at(deadline, self.attempt(body, &mut attempts, read));
            let failure = match tried.await {
                Ok(Ok(answer)) => break Ok(answer),
                Ok(Err(failure)) => failure,
                Err(_) => break Err(self.too_slow(within)),
            };
            let count = u32::try_from(attempts.len()).unwrap_or(ATTEMPTS);
            let Some(asked) = failure.retry.filter(|_| count < ATTEMPTS) else {
                break Err(failure.error);
            };
            let pause = asked.max(PAUSE * count);
            if Instant::now() + pause >= deadline {
                break Err(failure.error.hint(format!(
                    "it asks to wait longer than llm.timeout_seconds ({}) leaves: raise it, or try later",
                    within.as_secs()
                )));
            }
            tokio::time::sleep(pause).await;
        };
        Exchange { attempts, answer }
    }

    async fn attempt(
        &self,
        body: &Value,
        attempts: &mut Vec<Attempt>,
        read: Reader,
    ) -> Result<Answer, Failure> {
        attempts.push(Attempt {
            status: None,
            body: String::new(),
        });
        let headers = self.headers().map_err(Failure::last)?;
        let request = self.client.post(self.url.clone()).headers(headers);
        let sent = request.json(body).send().await;
        let mut response = sent.map_err(|error| Failure::again(self.unreachable(error)))?;
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).cloned();
        let mut bytes = Vec::new();
        let received = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
            if bytes.len() > MOST_BYTES {
                break Ok(());
            }
        };
        let too_long = bytes.len() > MOST_BYTES;
        bytes.truncate(MOST_BYTES);
        if let Some(attempt) = attempts.last_mut() {
            attempt.status = Some(status.as_u16());
            attempt.body = String::from_utf8_lossy(&bytes).into_owned();
        }
        received.map_err(|error| Failure::again(self.unreachable(error)))?;
        if !status.is_success() {
            return Err(self.refused(status, retry_after.as_ref()));
        }
        if too_long {
            return Err(Failure::last(self.unusable("is longer than 1 MiB")));
        }
        let reply: Value = serde_json::from_slice(&bytes)
            .map_err(|_| Failure::last(self.unusable("is not JSON")))?;
        read(&reply).map_err(|what| Failure::last(self.unusable(what)))
    }

    fn headers(&self) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        if let Some(header) = &self.key {
            let text = format!("{}{}", header.prefix, header.key.expose_secret());
            let mut value = HeaderValue::from_str(&text).map_err(|_| {
                Error::new(
                    ErrorKind::Invalid,
                    "the language model's key has characters that no key has",
                )
            })?;
            value.set_sensitive(true);
            headers.insert(header.name, value);
        }
        Ok(headers)
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

    fn too_slow(&self, within: Duration) -> Error {
        Error::new(
            ErrorKind::Unavailable,
            format!(
                "the language model at {} takes longer than llm.timeout_seconds ({}) allows",
                self.server(),
                within.as_secs()
            ),
        )
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
        let message = format!("the language model at {} answers {status}", self.server());
        match status.as_u16() {
            429 | 500..=599 => Failure {
                error: Error::new(ErrorKind::Unavailable, message)
                    .hint("it is busy or broken: try again later"),
                retry: Some(retry_after.map_or(Duration::ZERO, wait_of)),
            },
            _ => Failure::last(
                Error::new(ErrorKind::Invalid, message)
                    .hint("check llm.model, llm.base_url and the key in the variable that llm.api_key_env names"),
            ),
        }
    }
}

/// Reads `Retry-After` (RFC 9110, section 10.2.3): seconds, or an instant.
fn wait_of(value: &HeaderValue) -> Duration {
    let text = value.to_str().unwrap_or_default().trim();
    if let Ok(seconds) = text.parse() {
        return Duration::from_secs(seconds);
    }
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    time::PrimitiveDateTime::parse(text, format)
        .ok()
        .and_then(|instant| {
            (instant.assume_utc() - OffsetDateTime::now_utc())
                .try_into()
                .ok()
        })
        .unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_as_the_server_says() {
        let wait = |text: &'static str| wait_of(&HeaderValue::from_static(text));
        assert_eq!(wait("7"), Duration::from_secs(7));
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:00 GMT"), Duration::ZERO);
        assert!(wait("Fri, 31 Dec 9999 23:59:59 GMT") > Duration::from_secs(1_000_000));
        assert_eq!(wait("soon"), Duration::ZERO);
    }
}

//! `http`: a web service as a stage: one POST of JSON, and what it answered.
//!
//! A retried POST is safe to repeat where the service knows `Idempotency-Key`: it is the same for all attempts of a run's stage, and so
//! is the body.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName,
    HeaderValue, RETRY_AFTER, TRANSFER_ENCODING,
};
use reqwest::{Response, StatusCode, Url};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::graph::context::Context;
use crate::graph::handler::{DeclaredHandler, HandlerError, Interface, OutputSchema, ParamError};
use crate::graph::output::Outputs;
use crate::service::exchange::{Exchange, SchemaParam, check_variable, duration, refused};
use crate::service::http::{client, is_local};
use crate::service::redact::Redactor;
use crate::settings;

/// How long a request may take where the graph file does not say.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of an answer.
const MOST_BYTES: usize = 8 << 20;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Headers that the request has by itself.
const OWN_HEADERS: [HeaderName; 5] = [
    HOST,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    CONNECTION,
    IDEMPOTENCY_KEY,
];

/// What `with = {…}` holds.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Where the POST goes: an http or https URL. What is secret in it belongs into `url_env`.
    #[serde(default)]
    url: Option<String>,
    /// The environment variable that holds the URL, in place of `url`. It is in no log and no error, and an answer that holds it is refused.
    #[serde(default)]
    url_env: Option<String>,
    /// Headers by name.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Headers whose value an environment variable holds, by name: what is secret. It is in no log and no error, and an answer that holds
    /// it is refused.
    #[serde(default)]
    headers_env: BTreeMap<String, String>,
    /// Keys that the body has beside `run_id`, `stage` and `inputs`, such as the `text` that a chat shows.
    #[serde(default)]
    body: Map<String, Value>,
    /// The kinds that the body has in `inputs`; one that ends in `?` may be absent.
    #[serde(default)]
    reads: Vec<String>,
    /// The kind that it writes: `{"status": 200, "body": …}`. The body is null where the answer is not JSON.
    kind: String,
    /// The JSON Schema of the answer's body; anything if absent.
    #[serde(default)]
    schema: Option<SchemaParam>,
    /// How long the request may take: 30 s if absent; the stage's `timeout` holds as well.
    #[serde(default)]
    timeout: Option<String>,
}

/// Where a URL stands.
#[derive(Debug)]
enum Target {
    Literal(Url),
    Variable(String),
}

/// The handler.
#[derive(Debug)]
pub struct Http {
    target: Target,
    headers: HeaderMap,
    secret_headers: Vec<(HeaderName, String)>,
    body: Map<String, Value>,
    timeout: Duration,
    exchange: Exchange,
}

impl DeclaredHandler for Http {
    const NAME: &'static str = "http";
    const SUMMARY: &'static str = "posts JSON to a web service and keeps its answer";
    const SIDE_EFFECTS: bool = true;
    type Params = Params;

    fn new(params: Params) -> Result<Self, ParamError> {
        let target = target(params.url.as_deref(), params.url_env)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &params.headers {
            let name = header_name("headers", name)?;
            let value = HeaderValue::from_str(value).map_err(|_| {
                refused(
                    "headers",
                    format!("`{name}` has characters that no header has"),
                )
            })?;
            if name == AUTHORIZATION {
                let message = "what authorizes is secret: name its variable in `headers_env`";
                return Err(refused("headers", message));
            }
            headers.insert(name, value);
        }
        let mut secret_headers = Vec::with_capacity(params.headers_env.len());
        for (name, variable) in params.headers_env {
            check_variable("headers_env", &variable)?;
            secret_headers.push((header_name("headers_env", &name)?, variable));
        }
        for key in ["run_id", "stage", "inputs"] {
            if params.body.contains_key(key) {
                return Err(refused("body", format!("the body has a `{key}` by itself")));
            }
        }
        let schema = params.schema.map_or_else(Map::new, |schema| schema.0);
        let timeout = params.timeout.as_deref();
        let timeout = timeout.map(|text| duration("timeout", text)).transpose()?;
        Ok(Self {
            target,
            headers,
            secret_headers,
            body: params.body,
            timeout: timeout.unwrap_or(TIMEOUT),
            exchange: Exchange::new(&params.reads, &params.kind, Value::Object(schema))?,
        })
    }

    fn interface(&self) -> Interface {
        Interface {
            reads: self.exchange.reads(),
            writes: self.exchange.kind(),
            schema: OutputSchema::Declared(Arc::new(answer_schema(self.exchange.schema()))),
        }
    }

    async fn run(&self, inputs: &Outputs, ctx: &Context) -> Result<Value, HandlerError> {
        let (url, place) = self.url()?;
        let mut body = self.exchange.message(inputs, ctx);
        body.extend(self.body.clone());
        let headers = self.all_headers()?;
        let redactor = self.redactor(&url, &headers);
        let request = client(self.timeout, is_local(&url))?
            .post(url)
            .headers(headers)
            .header(IDEMPOTENCY_KEY, format!("{}/{}", ctx.run_id(), ctx.stage()))
            .json(&body);
        let posting = async {
            let response = request
                .send()
                .await
                .map_err(|error| self.unanswered(&place, error))?;
            self.read(&place, &redactor, response).await
        };
        tokio::select! {
            answer = posting => answer,
            () = ctx.cancellation().cancelled() => Err(HandlerError::transient(format!(
                "stopped while waiting for {place}"
            ))),
        }
    }
}

impl Http {
    /// Gives the URL, and what messages call it.
    fn url(&self) -> Result<(Url, String), HandlerError> {
        match &self.target {
            Target::Literal(url) => Ok((url.clone(), url.origin().ascii_serialization())),
            Target::Variable(name) => {
                let place = format!("the URL in {name}");
                let text = settings::variable(name).ok_or_else(|| {
                    HandlerError::permanent(format!(
                        "the environment variable {name} is not set\n  next: set it to the URL to post to, where relvec runs"
                    ))
                })?;
                let url = web_url(&text).ok_or_else(|| {
                    HandlerError::permanent(format!(
                        "{place} is not an http or https URL without user and password\n  next: correct the variable"
                    ))
                })?;
                Ok((url, place))
            }
        }
    }

    fn all_headers(&self) -> Result<HeaderMap, HandlerError> {
        let mut headers = self.headers.clone();
        for (name, variable) in &self.secret_headers {
            let value = settings::variable(variable).ok_or_else(|| {
                HandlerError::permanent(format!(
                    "the environment variable {variable}, which holds the header `{name}`, is not set\n  next: set it where relvec runs"
                ))
            })?;
            let mut value = HeaderValue::from_str(&value).map_err(|_| {
                HandlerError::permanent(format!(
                    "the environment variable {variable} has characters that no header has"
                ))
            })?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }

    /// Gives what finds the secrets of a request: the URL and the headers that come from variables.
    fn redactor(&self, url: &Url, headers: &HeaderMap) -> Redactor {
        let url = match self.target {
            Target::Literal(_) => None,
            Target::Variable(_) => Some(url.as_str()),
        };
        let headers = headers.values().filter(|value| value.is_sensitive());
        let headers = headers.filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
        url.into_iter()
            .chain(headers)
            .fold(Redactor::default(), |redactor, secret| {
                redactor.hide(&secret.into())
            })
    }

    fn unanswered(&self, place: &str, error: reqwest::Error) -> HandlerError {
        if error.is_timeout() && !error.is_connect() {
            let timeout = self.timeout;
            return HandlerError::timed_out(format!("{place} had no answer within {timeout:?}"));
        }
        // The URL may hold a secret.
        let error = crate::error::Error::new(
            crate::error::ErrorKind::Unavailable,
            format!("{place} does not answer"),
        )
        .because(error.without_url());
        HandlerError::transient(error.to_string())
    }

    async fn read(
        &self,
        place: &str,
        redactor: &Redactor,
        mut response: Response,
    ) -> Result<Value, HandlerError> {
        let status = response.status();
        if !status.is_success() {
            return Err(refusal(place, status, response.headers()));
        }
        let is_json = response.headers().get(CONTENT_TYPE).is_some_and(is_json);
        let mut bytes = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.unanswered(place, error))?
        {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MOST_BYTES {
                let message = format!("the answer of {place} has more than {MOST_BYTES} bytes");
                return Err(HandlerError::permanent(message));
            }
        }
        let body = if is_json && !bytes.is_empty() {
            serde_json::from_slice(&bytes).map_err(|_| {
                HandlerError::permanent(format!(
                    "the answer of {place} says that it is JSON and is not"
                ))
            })?
        } else {
            Value::Null
        };
        if redactor.finds(&body) {
            return Err(HandlerError::permanent(format!(
                "the answer of {place} holds the value of a variable of `url_env` or `headers_env`, and outputs are kept with the run\n  next: let the service leave it out, or post to another one"
            )));
        }
        self.exchange.check(&body).map_err(|error| {
            HandlerError::permanent(format!(
                "the answer of {place} does not fit the stage's `schema`: {error}"
            ))
        })?;
        Ok(json!({"status": status.as_u16(), "body": body}))
    }
}

fn refusal(place: &str, status: StatusCode, headers: &HeaderMap) -> HandlerError {
    let message = format!("{place} answers {status}");
    match status.as_u16() {
        408 | 425 | 429 | 500..=599 => {
            let mut error = HandlerError::transient(message);
            error.retry_after = headers.get(RETRY_AFTER).and_then(retry_after);
            error
        }
        300..=399 => HandlerError::permanent(format!(
            "{message}, and redirects are not followed\n  next: name the URL that it leads to"
        )),
        _ => HandlerError::permanent(format!(
            "{message}\n  next: check the URL and the headers that authorize"
        )),
    }
}

/// Reads `Retry-After` (RFC 9110, 10.2.3): seconds, or a date.
fn retry_after(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    (until - OffsetDateTime::now_utc()).try_into().ok()
}

fn is_json(content_type: &HeaderValue) -> bool {
    let text = content_type.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

/// The schema of the output: the parameters' `schema` is that of its body, and keeps its definitions where its references look for
/// them.
fn answer_schema(body: &Value) -> Value {
    let mut body = body.clone();
    let definitions = body.as_object_mut().and_then(|body| body.remove("$defs"));
    let mut schema = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["status", "body"],
        "properties": {
            "status": {"type": "integer", "minimum": 200, "maximum": 299},
            "body": body,
        },
    });
    if let Some(definitions) = definitions {
        schema["$defs"] = definitions;
    }
    schema
}

fn target(url: Option<&str>, url_env: Option<String>) -> Result<Target, ParamError> {
    match (url, url_env) {
        (Some(url), None) => web_url(url).map(Target::Literal).ok_or_else(|| {
            let message = "it has to be an http or https URL without user and password";
            refused("url", message)
        }),
        (None, Some(name)) => {
            check_variable("url_env", &name)?;
            Ok(Target::Variable(name))
        }
        (None, None) => Err(refused(
            "url",
            "name the `url`, or its variable in `url_env`",
        )),
        (Some(_), Some(_)) => Err(refused(
            "url_env",
            "`url` and `url_env` cannot both be there",
        )),
    }
}

fn web_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = url.username().is_empty() && url.password().is_none();
    (matches!(url.scheme(), "http" | "https") && plain).then_some(url)
}

fn header_name(key: &str, name: &str) -> Result<HeaderName, ParamError> {
    let header = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| refused(key, format!("`{name}` is no name of a header")))?;
    if OWN_HEADERS.contains(&header) {
        let message = format!("the request has its own `{header}`");
        return Err(refused(key, message));
    }
    Ok(header)
}

#[cfg(test)]
mod tests;

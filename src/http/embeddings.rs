//! The embedding endpoint: the part of OpenAI's API that turns texts into vectors, answered by [`HashedEmbedder`].
//!
//! `POST /v1/embeddings` takes a text or a list of texts, gives floats or base64, and counts four bytes as a token.

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::service::hashed::{DEFAULT_DIMENSIONS, HashedEmbedder, MODEL};

/// Most texts a request.
pub const MAX_INPUTS: usize = 2048;
/// Most bytes of a request's body.
pub const MAX_BODY: usize = 32 * 1024 * 1024;

/// Gives the routes `POST /v1/embeddings`, `GET /v1/models` and `GET /healthz`.
pub fn router() -> Router {
    routes(MAX_BODY)
}

fn routes(max_body: usize) -> Router {
    Router::new()
        .route("/v1/embeddings", post(embeddings))
        .route("/v1/models", get(models))
        .route("/healthz", get(|| async { Json(json!({"status": "ok"})) }))
        .fallback(|| async { Refusal::new(StatusCode::NOT_FOUND, None, "no such address") })
        .method_not_allowed_fallback(|| async {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, None, "not with this method")
        })
        .layer(DefaultBodyLimit::max(max_body))
}

async fn models() -> Json<Value> {
    let model = json!({"id": MODEL, "object": "model", "created": 0, "owned_by": "relvec"});
    Json(json!({"object": "list", "data": [model]}))
}

async fn embeddings(body: Result<Bytes, BytesRejection>) -> Result<Json<Reply>, Refusal> {
    let body = body.map_err(|rejection| {
        Refusal::new(
            rejection.status(),
            None,
            format!("the body cannot be read; it may have {MAX_BODY} bytes"),
        )
    })?;
    // A full request keeps a core busy for tens of milliseconds, too long for a thread that serves connections.
    tokio::task::spawn_blocking(move || reply(&body))
        .await
        .map_err(|_| {
            Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                None,
                "the vectors could not be made",
            )
        })?
        .map(Json)
}

/// A refused request, in OpenAI's shape.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    status: StatusCode,
    param: Option<&'static str>,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, param: Option<&'static str>, message: impl Into<String>) -> Self {
        Self {
            status,
            param,
            message: message.into(),
        }
    }

    fn invalid(param: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some(param), message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let kind = if self.status.is_server_error() {
            "server_error"
        } else {
            "invalid_request_error"
        };
        let error =
            json!({"message": self.message, "type": kind, "param": self.param, "code": null});
        (self.status, Json(json!({"error": error}))).into_response()
    }
}

#[derive(Debug, Serialize)]
struct Reply {
    object: &'static str,
    data: Vec<Item>,
    model: &'static str,
    usage: Usage,
}

#[derive(Debug, Serialize)]
struct Item {
    object: &'static str,
    index: usize,
    embedding: Embedding,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Embedding {
    Floats(Vec<f32>),
    Base64(String),
}

#[derive(Debug, Serialize)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

fn reply(body: &[u8]) -> Result<Reply, Refusal> {
    let request: Map<String, Value> = serde_json::from_slice(body).map_err(|error| {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            None,
            format!("the body is not a JSON object: {error}"),
        )
    })?;
    check_model(&request)?;
    let base64 = wants_base64(&request)?;
    let embedder = embedder(&request)?;
    let texts = texts(&request)?;
    let tokens = texts.iter().map(|text| text.len().div_ceil(4)).sum();
    let data = texts
        .iter()
        .enumerate()
        .map(|(index, text)| Item {
            object: "embedding",
            index,
            embedding: encoded(embedder.embed(text), base64),
        })
        .collect();
    Ok(Reply {
        object: "list",
        data,
        model: MODEL,
        usage: Usage {
            prompt_tokens: tokens,
            total_tokens: tokens,
        },
    })
}

fn check_model(request: &Map<String, Value>) -> Result<(), Refusal> {
    match request.get("model") {
        Some(Value::String(model)) if model == MODEL => Ok(()),
        Some(Value::String(_)) => Err(Refusal::new(
            StatusCode::NOT_FOUND,
            Some("model"),
            format!("there is no such model; the only one is `{MODEL}`"),
        )),
        Some(_) | None => Err(Refusal::invalid(
            "model",
            format!("`model` has to be the text `{MODEL}`"),
        )),
    }
}

fn wants_base64(request: &Map<String, Value>) -> Result<bool, Refusal> {
    match request.get("encoding_format").map(Value::as_str) {
        None | Some(Some("float")) => Ok(false),
        Some(Some("base64")) => Ok(true),
        Some(_) => Err(Refusal::invalid(
            "encoding_format",
            "`encoding_format` is `float` or `base64`",
        )),
    }
}

fn embedder(request: &Map<String, Value>) -> Result<HashedEmbedder, Refusal> {
    let dimensions = match request.get("dimensions") {
        None | Some(Value::Null) => Some(DEFAULT_DIMENSIONS),
        Some(value) => value.as_u64().and_then(|value| usize::try_from(value).ok()),
    };
    let dimensions = dimensions
        .ok_or_else(|| Refusal::invalid("dimensions", "`dimensions` has to be a whole number"))?;
    HashedEmbedder::new(dimensions).map_err(|error| {
        Refusal::invalid(
            "dimensions",
            format!("{error}; {}", error.hints().join("; ")),
        )
    })
}

fn texts(request: &Map<String, Value>) -> Result<Vec<&str>, Refusal> {
    let texts = match request.get("input") {
        Some(Value::String(text)) => Some(vec![text.as_str()]),
        Some(Value::Array(items)) => items.iter().map(Value::as_str).collect(),
        Some(_) | None => None,
    };
    let texts = texts
        .ok_or_else(|| Refusal::invalid("input", "`input` has to be a text or a list of texts"))?;
    if texts.is_empty() || texts.len() > MAX_INPUTS {
        return Err(Refusal::invalid(
            "input",
            format!(
                "`input` has {} texts; 1 to {MAX_INPUTS} are taken",
                texts.len()
            ),
        ));
    }
    match texts.iter().position(|text| text.is_empty()) {
        Some(index) => Err(Refusal::invalid(
            "input",
            format!("text {index} of `input` is empty"),
        )),
        None => Ok(texts),
    }
}

fn encoded(vector: Vec<f32>, base64: bool) -> Embedding {
    if base64 {
        let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
        Embedding::Base64(STANDARD.encode(bytes))
    } else {
        Embedding::Floats(vector)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    fn answer(request: &Value) -> Value {
        let reply = reply(request.to_string().as_bytes()).expect("a request that is taken");
        serde_json::to_value(reply).expect("the reply is JSON")
    }

    #[test]
    fn base64_and_floats_are_the_same_numbers() {
        let floats = answer(&json!({"model": MODEL, "input": ["tea", "mug"], "dimensions": 16}));
        let base64 = answer(
            &json!({"model": MODEL, "input": ["tea", "mug"], "dimensions": 16, "encoding_format": "base64"}),
        );
        for index in 0..2 {
            let text = base64["data"][index]["embedding"].as_str().expect("base64");
            let bytes = STANDARD.decode(text).expect("base64");
            let decoded: Vec<f32> = bytes
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect();
            assert_eq!(json!(decoded), floats["data"][index]["embedding"]);
            assert_eq!(decoded.len(), 16);
            assert_eq!(floats["data"][index]["index"], index);
        }
    }

    #[test]
    fn one_text_and_a_list_of_one_are_the_same() {
        let one = answer(&json!({"model": MODEL, "input": "tea for two"}));
        assert_eq!(
            one,
            answer(&json!({"model": MODEL, "input": ["tea for two"]}))
        );
        assert_eq!(
            one["data"][0]["embedding"].as_array().map(Vec::len),
            Some(DEFAULT_DIMENSIONS)
        );
        assert_eq!(one["usage"], json!({"prompt_tokens": 3, "total_tokens": 3}));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_parameter() {
        let cases = [
            (json!({"input": "x"}), 400, Some("model")),
            (
                json!({"model": "text-embedding-3-small", "input": "x"}),
                404,
                Some("model"),
            ),
            (json!({"model": MODEL}), 400, Some("input")),
            (json!({"model": MODEL, "input": []}), 400, Some("input")),
            (json!({"model": MODEL, "input": [1, 2]}), 400, Some("input")),
            (
                json!({"model": MODEL, "input": ["x", ""]}),
                400,
                Some("input"),
            ),
            (
                json!({"model": MODEL, "input": vec!["x"; MAX_INPUTS + 1]}),
                400,
                Some("input"),
            ),
            (
                json!({"model": MODEL, "input": "x", "dimensions": "384"}),
                400,
                Some("dimensions"),
            ),
            (
                json!({"model": MODEL, "input": "x", "dimensions": 7}),
                400,
                Some("dimensions"),
            ),
            (
                json!({"model": MODEL, "input": "x", "encoding_format": "hex"}),
                400,
                Some("encoding_format"),
            ),
            (json!([1]), 400, None),
        ];
        for (request, status, param) in cases {
            let refusal =
                reply(request.to_string().as_bytes()).expect_err("a request that is refused");
            assert_eq!(
                (refusal.status.as_u16(), refusal.param),
                (status, param),
                "{request}"
            );
        }
    }

    async fn ask(request: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let server = tokio::spawn(async move { axum::serve(listener, routes(100)).await });
        let mut stream = TcpStream::connect(address)
            .await
            .expect("the server listens");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("the server reads");
        let mut response = String::new();
        stream
            .read_to_string(&mut response)
            .await
            .expect("the server answers and closes");
        server.abort();
        response
    }

    #[tokio::test]
    async fn the_routes_answer() {
        let end = "HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
        assert!(
            ask(&format!("GET /healthz {end}\r\n"))
                .await
                .contains(r#"{"status":"ok"}"#)
        );
        assert!(
            ask(&format!("GET /v1/models {end}\r\n"))
                .await
                .contains(r#""id":"relvec-hashed""#)
        );
        let missing = ask(&format!("GET /v2 {end}\r\n")).await;
        assert!(
            missing.starts_with("HTTP/1.1 404") && missing.contains("invalid_request_error"),
            "{missing}"
        );
        assert!(
            ask(&format!("GET /v1/embeddings {end}\r\n"))
                .await
                .starts_with("HTTP/1.1 405")
        );
        let body = json!({"model": MODEL, "input": "tea", "dimensions": 8}).to_string();
        let posted = ask(&format!(
            "POST /v1/embeddings {end}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
        assert!(
            posted.starts_with("HTTP/1.1 200") && posted.contains(r#""object":"embedding""#),
            "{posted}"
        );
        let body = " ".repeat(101);
        let large = ask(&format!(
            "POST /v1/embeddings {end}Content-Length: 101\r\n\r\n{body}"
        ))
        .await;
        assert!(
            large.starts_with("HTTP/1.1 413") && large.contains("bytes"),
            "{large}"
        );
    }
}

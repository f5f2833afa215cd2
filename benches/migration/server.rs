//! OpenAI's `/v1/embeddings` as fast as the machine can give it, or as slow as is asked for.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use clap::{Args, ValueEnum};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::request::Request;
use crate::vectors::Vectors;

/// `migration serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The port; any free one if 0
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Numbers a vector, a multiple of twelve
    #[arg(long, default_value_t = 384)]
    dimensions: usize,
    /// What a request takes beside the making of its vectors
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Most requests at once; no limit if absent
    #[arg(long)]
    in_flight: Option<usize>,
    /// What happens to requests beyond `--in-flight`
    #[arg(long, value_enum, default_value_t)]
    beyond: Beyond,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Beyond {
    /// They wait for their turn.
    #[default]
    Queue,
    /// They are answered with 429 and `Retry-After: 1`.
    Refuse,
}

#[derive(Debug)]
struct Served {
    vectors: Vectors,
    latency: Duration,
    permits: Option<Semaphore>,
    beyond: Beyond,
    requests: AtomicU64,
    texts: AtomicU64,
    refused: AtomicU64,
}

/// Serves until it is killed.
pub fn serve(options: &ServeArgs) {
    let served = Arc::new(Served {
        vectors: Vectors::new(options.dimensions),
        latency: Duration::from_millis(options.latency_ms),
        permits: options.in_flight.map(Semaphore::new),
        beyond: options.beyond,
        requests: AtomicU64::new(0),
        texts: AtomicU64::new(0),
        refused: AtomicU64::new(0),
    });
    let router = Router::new()
        .route("/v1/embeddings", post(embeddings))
        .route("/stats", get(stats))
        .layer(DefaultBodyLimit::max(64 * 1024 * 1024))
        .with_state(served);
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    runtime.block_on(async {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .expect("the port is free");
        let port = listener.local_addr().expect("it is bound").port();
        println!("listening on http://127.0.0.1:{port}/v1");
        let listener = listener.tap_io(|connection| {
            connection
                .set_nodelay(true)
                .expect("a TCP connection takes it");
        });
        axum::serve(listener, router)
            .await
            .expect("it serves until it is killed");
    });
}

async fn stats(State(served): State<Arc<Served>>) -> Json<serde_json::Value> {
    Json(json!({
        "requests": served.requests.load(Ordering::Relaxed),
        "texts": served.texts.load(Ordering::Relaxed),
        "refused": served.refused.load(Ordering::Relaxed),
    }))
}

async fn embeddings(State(served): State<Arc<Served>>, body: Bytes) -> Response {
    let permit = match (&served.permits, served.beyond) {
        (None, _) => None,
        (Some(permits), Beyond::Queue) => permits.acquire().await.ok(),
        (Some(permits), Beyond::Refuse) => {
            let Ok(permit) = permits.try_acquire() else {
                served.refused.fetch_add(1, Ordering::Relaxed);
                return refusal(StatusCode::TOO_MANY_REQUESTS, "too many requests at once");
            };
            Some(permit)
        }
    };
    if !served.latency.is_zero() {
        tokio::time::sleep(served.latency).await;
    }
    let answer = answer(&served, &body);
    drop(permit);
    answer
}

fn answer(served: &Served, body: &[u8]) -> Response {
    let request: Request = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let vectors = &served.vectors;
    if request
        .dimensions
        .is_some_and(|asked| asked != vectors.dimensions)
    {
        let message = format!("vectors have {} numbers here", vectors.dimensions);
        return refusal(StatusCode::BAD_REQUEST, &message);
    }
    let base64 = match request.encoding_format.as_deref() {
        Some("base64") => true,
        None | Some("float") => false,
        Some(_) => {
            return refusal(
                StatusCode::BAD_REQUEST,
                "encoding_format is float or base64",
            );
        }
    };
    let texts = &request.input.0;
    served.requests.fetch_add(1, Ordering::Relaxed);
    served
        .texts
        .fetch_add(texts.len() as u64, Ordering::Relaxed);
    let bytes_a_number = if base64 { 6 } else { 14 };
    let mut reply =
        Vec::with_capacity(256 + texts.len() * (64 + vectors.dimensions * bytes_a_number));
    reply.extend_from_slice(br#"{"object":"list","data":["#);
    for (index, text) in texts.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let head = format!(r#"{comma}{{"object":"embedding","index":{index},"embedding":"#);
        reply.extend_from_slice(head.as_bytes());
        if base64 {
            vectors.write_base64(text.hash, &mut reply);
        } else {
            vectors.write_floats(text.hash, &mut reply);
        }
        reply.push(b'}');
    }
    let tokens: usize = texts.iter().map(|text| text.tokens).sum();
    let model = json!(request.model);
    let tail = format!(
        r#"],"model":{model},"usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}"#
    );
    reply.extend_from_slice(tail.as_bytes());
    ([(header::CONTENT_TYPE, "application/json")], reply).into_response()
}

fn refusal(status: StatusCode, message: &str) -> Response {
    let error = json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": null}});
    let mut response = (status, Json(error)).into_response();
    if status == StatusCode::TOO_MANY_REQUESTS {
        let soon = header::HeaderValue::from_static("1");
        response.headers_mut().insert(header::RETRY_AFTER, soon);
    }
    response
}

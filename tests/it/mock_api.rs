//! An embedding endpoint that fails as a test wants it to, and counts what it was asked. It has a thread of its own, so that a test
//! may wait for a process in the meantime.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

/// Numbers in a vector.
pub const DIMENSIONS: usize = 8;

/// What the script asks for before it makes a table.
const PROBE: &str = "relvec asks for the dimension";

/// What the endpoint does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Answers as it should.
    Good,
    /// Answers with a status, and perhaps with `Retry-After`.
    Status(u16, Option<String>),
    /// Closes the connection without an answer.
    Reset,
    /// Closes the connection in the middle of an answer.
    Cut,
    /// Never answers.
    Hang,
    /// Answers with a text that is no JSON.
    NotJson,
    /// Leaves the last vector out.
    Short,
    /// Gives the first vector another number of numbers.
    Dimension(usize),
    /// Gives each vector in this form: of the number of the vector and its right form.
    Items(fn(usize, Value) -> Value),
    /// Answers as it should, with the vectors in the other order.
    Backwards,
}

/// A request, as a behaviour sees it.
#[derive(Debug)]
pub struct Asked<'a> {
    /// 1 for the first one.
    pub number: u64,
    /// What is to be embedded.
    pub texts: &'a [String],
    /// Requests under way, this one among them.
    pub at_once: usize,
    /// The key that came.
    pub key: &'a str,
}

/// A request that was answered or is being answered.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When it came.
    pub at: Instant,
    /// How many texts it had.
    pub texts: usize,
    /// What was done with it.
    pub reply: Reply,
}

type Behaviour = dyn Fn(&Asked<'_>) -> Reply + Send + Sync;

struct State {
    behaviour: Arc<Behaviour>,
    delay: Duration,
    at_once: usize,
    most_at_once: usize,
    seen: Vec<Seen>,
    /// How often each text was given a vector.
    embedded: HashMap<String, u64>,
}

/// The endpoint; it ends with the test's process.
#[derive(Clone)]
pub struct Mock {
    address: String,
    state: Arc<Mutex<State>>,
}

/// Gives the vector of a text, of small whole numbers that every format keeps.
pub fn vector_of(text: &str) -> Vec<f32> {
    let digest = Sha256::digest(text.as_bytes());
    let numbers = digest.iter().take(DIMENSIONS);
    numbers.map(|byte| f32::from(*byte) + 1.0).collect()
}

/// Gives numbers as the endpoint sends them.
pub fn packed(numbers: &[f32]) -> Value {
    let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    json!(BASE64_STANDARD.encode(bytes))
}

impl Mock {
    /// Starts an endpoint that behaves.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("an address").to_string();
        let state = Arc::new(Mutex::new(State {
            behaviour: Arc::new(|_| Reply::Good),
            delay: Duration::ZERO,
            at_once: 0,
            most_at_once: 0,
            seen: Vec::new(),
            embedded: HashMap::new(),
        }));
        let mock = Self { address, state };
        let serving = mock.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime
                .expect("a runtime")
                .block_on(serving.serve(listener));
        });
        mock
    }

    /// Gives the base URL.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Says what is done with each request from now on.
    pub fn behave(&self, behaviour: impl Fn(&Asked<'_>) -> Reply + Send + Sync + 'static) {
        self.state().behaviour = Arc::new(behaviour);
    }

    /// Makes every answer take so long.
    pub fn delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// Gives the requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// Gives how many requests there were.
    pub fn requests(&self) -> usize {
        self.state().seen.len()
    }

    /// Gives how many texts were given a vector, each as often as it was.
    pub fn embedded(&self) -> u64 {
        self.state().embedded.values().sum()
    }

    /// Gives how often a text was given a vector, beyond the first time, all texts together.
    pub fn embedded_again(&self) -> u64 {
        self.state().embedded.values().map(|times| times - 1).sum()
    }

    /// Gives the most requests that were under way at once.
    pub fn most_at_once(&self) -> usize {
        self.state().most_at_once
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self, listener: std::net::TcpListener) {
        let listener = TcpListener::from_std(listener).expect("a socket of the runtime");
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(self.clone().connection(stream));
        }
    }

    async fn connection(self, stream: TcpStream) {
        let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| {
            let mock = self.clone();
            async move {
                let key = request.headers().get("authorization").cloned();
                let key = key.as_ref().and_then(|key| key.to_str().ok());
                let key = key.unwrap_or("").trim_start_matches("Bearer ").to_owned();
                let body = axum::body::to_bytes(Body::new(request.into_body()), usize::MAX).await;
                let body = body.map_err(|_| std::io::ErrorKind::UnexpectedEof)?;
                mock.answer(&key, &body).await
            }
        });
        // How a connection ends is the client's to judge.
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(&self, key: &str, body: &Bytes) -> std::io::Result<Response<Body>> {
        let body: Value = serde_json::from_slice(body).expect("a request in JSON");
        let texts: Vec<String> =
            serde_json::from_value(body["input"].clone()).expect("a list of texts");
        let under_way = UnderWay::begin(self);
        let (reply, delay) = under_way.decide(key, &texts);
        tokio::time::sleep(delay).await;
        let response = match &reply {
            Reply::Reset => return Err(std::io::ErrorKind::ConnectionReset.into()),
            Reply::Hang => std::future::pending().await,
            Reply::Status(status, retry_after) => {
                let head = Response::builder().status(*status);
                let head = retry_after
                    .iter()
                    .fold(head, |head, wait| head.header("retry-after", wait));
                // What came is said again, as some services do: a key in it must not get any further.
                let said = json!({"error": {"message": format!("refused, with the key {key}")}});
                head.body(Body::from(said.to_string()))
            }
            Reply::Cut => {
                let parts = [
                    Ok(Bytes::from_static(b"{\"data\": [")),
                    Err(std::io::Error::other("cut")),
                ];
                let parts = futures::stream::iter(parts);
                Response::builder().body(Body::from_stream(parts))
            }
            Reply::NotJson => Response::builder().body(Body::from("<html>busy</html>")),
            Reply::Good
            | Reply::Backwards
            | Reply::Short
            | Reply::Dimension(_)
            | Reply::Items(_) => {
                let form = match body["encoding_format"].as_str() {
                    Some("base64") => packed,
                    Some(_) | None => |numbers: &[f32]| json!(numbers),
                };
                let data = shaped(&reply, &texts, form);
                if matches!(reply, Reply::Good | Reply::Backwards) {
                    let mut state = self.state();
                    for text in texts.into_iter().filter(|text| text != PROBE) {
                        *state.embedded.entry(text).or_default() += 1;
                    }
                }
                let reply = json!({"object": "list", "data": data, "usage": {"total_tokens": 1}});
                Response::builder().body(Body::from(reply.to_string()))
            }
        };
        Ok(response.expect("a response"))
    }
}

/// Gives the vectors of texts in the form that was asked for, as a reply wants them.
fn shaped(reply: &Reply, texts: &[String], form: fn(&[f32]) -> Value) -> Vec<Value> {
    let item = |(index, text): (usize, &String)| {
        let mut numbers = vector_of(text);
        if let Reply::Dimension(dimensions) = reply
            && index == 0
        {
            numbers.resize(*dimensions, 1.0);
        }
        let item = json!({"object": "embedding", "index": index, "embedding": form(&numbers)});
        if let Reply::Items(change) = reply {
            change(index, item)
        } else {
            item
        }
    };
    let mut data: Vec<Value> = texts.iter().enumerate().map(item).collect();
    if matches!(reply, Reply::Short) {
        data.pop();
    }
    if matches!(reply, Reply::Backwards) {
        data.reverse();
    }
    data
}

/// Counts a request as under way until it is dropped, also where its client goes away.
struct UnderWay<'a>(&'a Mock);

impl<'a> UnderWay<'a> {
    fn begin(mock: &'a Mock) -> Self {
        let mut state = mock.state();
        state.at_once += 1;
        state.most_at_once = state.most_at_once.max(state.at_once);
        Self(mock)
    }

    fn decide(&self, key: &str, texts: &[String]) -> (Reply, Duration) {
        let mut state = self.0.state();
        let asked = Asked {
            number: state.seen.len() as u64 + 1,
            texts,
            at_once: state.at_once,
            key,
        };
        let reply = (state.behaviour)(&asked);
        state.seen.push(Seen {
            at: Instant::now(),
            texts: texts.len(),
            reply: reply.clone(),
        });
        (reply, state.delay)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.state().at_once -= 1;
    }
}

/// Gives a key for the endpoint that no other text contains.
pub fn new_key() -> String {
    format!("c4n4ry-key-{}", Uuid::new_v4().simple())
}

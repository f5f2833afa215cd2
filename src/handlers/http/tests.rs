use std::path::PathBuf;
use std::sync::Mutex;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap as Headers;
use axum::response::IntoResponse;
use axum::routing::any;
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::*;
use crate::graph::context::{RunEnvironment, Secrets};
use crate::graph::handler::FailureKind;
use crate::graph::output::Kind;

/// What a [`Served`] answers: a status, headers and a body. It never answers where the status is [`NEVER`].
type Answer = (u16, Vec<(&'static str, String)>, &'static str);
const NEVER: u16 = 0;
/// Method and path, headers, body.
type Seen = (String, Headers, String);

#[derive(Clone)]
struct Served {
    answer: Arc<Answer>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Served {
    async fn start(answer: Answer) -> (Self, String) {
        let served = Self {
            answer: Arc::new(answer),
            seen: Arc::default(),
        };
        let app = Router::new()
            .fallback(any(reply))
            .with_state(served.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, app).await });
        (served, format!("http://{address}/hook?token=hunter2"))
    }
}

async fn reply(
    State(served): State<Served>,
    method: axum::http::Method,
    uri: axum::http::Uri,
    headers: Headers,
    body: Bytes,
) -> impl IntoResponse {
    let body = String::from_utf8(body.to_vec()).expect("UTF-8");
    let seen = (format!("{method} {}", uri.path()), headers, body);
    served.seen.lock().expect("a lock").push(seen);
    let (status, own, text) = served.answer.as_ref();
    if *status == NEVER {
        return std::future::pending().await;
    }
    let mut headers = Headers::new();
    for (name, value) in own {
        headers.insert(*name, value.parse().expect("a header"));
    }
    (
        StatusCode::from_u16(*status).expect("a status"),
        headers,
        *text,
    )
}

fn http(with: &Value) -> Result<Http, ParamError> {
    Http::new(Params::deserialize(with).expect("parameters"))
}

fn context() -> Context {
    let run = RunEnvironment {
        run_id: Uuid::nil(),
        secrets: Secrets::default(),
        answers: BTreeMap::new(),
        artifacts: PathBuf::from("not-used"),
        cache: PathBuf::from("not-used"),
        allowed: crate::allowed::Allowed::everything(),
        cancel: CancellationToken::new(),
    };
    // Nobody reads what the stage says here.
    let (events, _) = unbounded_channel();
    let questions = Arc::new(Mutex::new(Vec::new()));
    let cancel = CancellationToken::new();
    Context::new(
        "tell".into(),
        1,
        None,
        cancel,
        Arc::new(run),
        questions,
        events,
    )
}

async fn post(answer: Answer, more: &Value) -> (Result<Value, HandlerError>, Vec<Seen>) {
    let (served, url) = Served::start(answer).await;
    let mut with = json!({"url": url, "reads": ["report", "advice?"], "kind": "told"});
    for (key, value) in more.as_object().into_iter().flatten() {
        with[key] = value.clone();
    }
    let handler = http(&with).expect("a handler");
    let mut inputs = Outputs::default();
    inputs.insert(
        Kind::new("report"),
        Arc::new(json!({"verdict": "validated"})),
    );
    inputs.insert(Kind::new("job"), Arc::new(json!("not read")));
    let answer = handler.run(&inputs, &context()).await;
    let seen = served.seen.lock().expect("a lock").clone();
    (answer, seen)
}

fn json_answer(status: u16, text: &'static str) -> Answer {
    let content_type = ("content-type", "application/json; charset=utf-8".to_owned());
    (status, vec![content_type], text)
}

#[tokio::test]
async fn posts_what_it_reads_and_keeps_the_answer() {
    let more = json!({
        "body": {"text": "a run ended"},
        "headers": {"x-team": "search"},
        // Cargo sets it for tests.
        "headers_env": {"authorization": "CARGO_PKG_NAME"},
        "schema": {"type": "object", "required": ["id"]},
    });
    let (answer, seen) = post(json_answer(201, r#"{"id": 7}"#), &more).await;
    assert_eq!(
        answer.expect("an answer"),
        json!({"status": 201, "body": {"id": 7}})
    );
    let [(request, headers, body)] = seen.as_slice() else {
        panic!("one request: {seen:?}");
    };
    assert_eq!(request, "POST /hook");
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    assert_eq!(header("x-team"), Some("search"));
    assert_eq!(header("authorization"), Some("relvec"));
    assert_eq!(header("content-type"), Some("application/json"));
    let key = format!("{}/tell", Uuid::nil());
    assert_eq!(header("idempotency-key"), Some(key.as_str()));
    let expected = json!({
        "run_id": Uuid::nil(),
        "stage": "tell",
        "inputs": {"report": {"verdict": "validated"}},
        "text": "a run ended",
    });
    assert_eq!(serde_json::from_str::<Value>(body).expect("JSON"), expected);
}

#[tokio::test]
async fn an_answer_that_holds_a_secret_of_the_request_is_refused() {
    // Cargo sets it for tests: `relvec`.
    let more = json!({"headers_env": {"x-token": "CARGO_PKG_NAME"}});
    for (text, is_kept) in [
        (r#"{"headers": {"x-token": "a relvec"}}"#, false),
        ("{}", true),
    ] {
        let (answer, _) = post(json_answer(200, text), &more).await;
        assert_eq!(answer.is_ok(), is_kept, "{text}");
        if let Err(error) = answer {
            assert_eq!(error.kind, FailureKind::Permanent);
            assert!(error.message.contains("headers_env"), "{}", error.message);
            assert!(!error.message.contains("a relvec"), "{}", error.message);
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_no_json_has_no_body() {
    let plain = (200, vec![("content-type", "text/plain".to_owned())], "ok");
    for answer in [plain, json_answer(204, "")] {
        let (answer, _) = post(answer, &json!({})).await;
        assert_eq!(answer.expect("an answer")["body"], Value::Null);
    }
}

#[tokio::test]
async fn failures_say_whether_another_attempt_could_help() {
    for (answer, kind, says) in [
        (json_answer(503, ""), FailureKind::Transient, "answers 503"),
        (json_answer(429, ""), FailureKind::Transient, "answers 429"),
        (
            json_answer(401, ""),
            FailureKind::Permanent,
            "headers that authorize",
        ),
        (
            (
                302,
                vec![("location", "http://example.org/".to_owned())],
                "",
            ),
            FailureKind::Permanent,
            "redirects are not followed",
        ),
        (
            json_answer(200, "{"),
            FailureKind::Permanent,
            "says that it is JSON",
        ),
        (json_answer(200, "[\"x\"]"), FailureKind::Permanent, "/0: "),
        (
            (NEVER, Vec::new(), ""),
            FailureKind::TimedOut,
            "no answer within 200ms",
        ),
    ] {
        let more = json!({"timeout": "200ms", "schema": {"items": {"type": "integer"}}});
        let (result, _) = post(answer, &more).await;
        let error = result.expect_err(says);
        assert_eq!(error.kind, kind, "{says}");
        assert!(error.message.contains(says), "{}", error.message);
        assert!(!error.message.contains("hunter2"), "{}", error.message);
    }
}

#[tokio::test]
async fn retry_after_is_passed_on() {
    let headers = |text: &str| vec![("retry-after", text.to_owned())];
    let (result, _) = post((429, headers("7"), ""), &json!({})).await;
    let error = result.expect_err("busy");
    assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
    let (result, _) = post(
        (503, headers("Fri, 31 Dec 2100 23:59:59 GMT"), ""),
        &json!({}),
    )
    .await;
    let asked = result.expect_err("busy").retry_after;
    assert!(
        asked.is_some_and(|asked| asked > Duration::from_hours(24)),
        "{asked:?}"
    );
    let (result, _) = post((503, headers("soon"), ""), &json!({})).await;
    assert_eq!(result.expect_err("busy").retry_after, None);
}

#[tokio::test]
async fn what_cannot_be_reached_may_be_tried_again_and_its_url_is_not_told() {
    let with = json!({"url": "http://127.0.0.1:1/hook?token=hunter2", "kind": "told"});
    let handler = http(&with).expect("a handler");
    let error = handler.run(&Outputs::default(), &context()).await;
    let error = error.expect_err("nobody listens");
    assert_eq!(error.kind, FailureKind::Transient);
    assert!(
        error
            .message
            .starts_with("http://127.0.0.1:1 does not answer"),
        "{}",
        error.message
    );
    assert!(!error.message.contains("hunter2"), "{}", error.message);
}

#[tokio::test]
async fn a_variable_that_is_not_set_or_holds_no_url_is_named() {
    for (with, says) in [
        (
            json!({"url_env": "RELVEC_TEST_NOT_SET", "kind": "told"}),
            "RELVEC_TEST_NOT_SET is not set",
        ),
        (
            json!({"url_env": "CARGO_PKG_NAME", "kind": "told"}),
            "the URL in CARGO_PKG_NAME is not an http or https URL",
        ),
        (
            json!({"url": "http://127.0.0.1:1", "kind": "told",
                   "headers_env": {"authorization": "RELVEC_TEST_NOT_SET"}}),
            "RELVEC_TEST_NOT_SET, which holds the header `authorization`",
        ),
    ] {
        let handler = http(&with).expect("a handler");
        let error = handler.run(&Outputs::default(), &context()).await;
        let error = error.expect_err(says);
        assert_eq!(error.kind, FailureKind::Permanent);
        assert!(error.message.contains(says), "{}", error.message);
    }
}

#[test]
fn parameters_are_checked_before_anything_runs() {
    for (with, key) in [
        (json!({}), "url"),
        (json!({"url": "http://h", "url_env": "X"}), "url_env"),
        (json!({"url": "file:///etc/passwd"}), "url"),
        (json!({"url": "http://u:p@h"}), "url"),
        (json!({"url_env": "a b"}), "url_env"),
        (
            json!({"url": "http://h", "headers": {"a b": "c"}}),
            "headers",
        ),
        (
            json!({"url": "http://h", "headers": {"a": "b\nc"}}),
            "headers",
        ),
        (
            json!({"url": "http://h", "headers": {"Authorization": "x"}}),
            "headers",
        ),
        (
            json!({"url": "http://h", "headers": {"Host": "x"}}),
            "headers",
        ),
        (
            json!({"url": "http://h", "headers_env": {"a": "1X"}}),
            "headers_env",
        ),
        (json!({"url": "http://h", "body": {"inputs": 1}}), "body"),
        (json!({"url": "http://h", "timeout": "0s"}), "timeout"),
        (json!({"url": "http://h", "schema": {"type": 3}}), "schema"),
    ] {
        let mut with = with;
        with["kind"] = json!("told");
        let error = http(&with).expect_err(key);
        assert_eq!(error.key.as_deref(), Some(key), "{error}");
    }
}

#[test]
fn the_output_keeps_the_definitions_of_its_body() {
    let schema = json!({"$ref": "#/$defs/id", "$defs": {"id": {"type": "integer"}}});
    let schema = answer_schema(&schema);
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    assert!(validator.is_valid(&json!({"status": 200, "body": 7})));
    assert!(!validator.is_valid(&json!({"status": 200, "body": "x"})));
}

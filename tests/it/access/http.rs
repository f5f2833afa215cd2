//! Requests that no client library would send.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::served::{failing, problem};
use crate::gateway::{Gateway, PATIENCE, status_of};
use crate::relvec::{Relvec, shop_sql, sqlite};

const JSON: &str = "Content-Type: application/json";

/// Sends a body to `POST /jobs` as bytes.
fn post(gateway: &Gateway, headers: &str, body: &[u8]) -> u16 {
    let head = format!(
        "POST /jobs HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n\r\n",
        gateway.host()
    );
    status_of(&gateway.raw(&[head.as_bytes(), body].concat()))
}

fn post_json(gateway: &Gateway, body: &[u8]) -> u16 {
    let headers = format!("{JSON}\r\nContent-Length: {}", body.len());
    post(gateway, &headers, body)
}

/// Resident memory in MiB.
fn memory(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.process.id()));
    let status = status.expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.expect("its memory") / 1024
}

async fn still_serves(gateway: &Gateway) {
    assert_eq!(gateway.ask("/readyz", None).await.status(), 200);
    let log = gateway.log();
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test]
async fn bodies_that_are_no_job_are_refused_in_bounded_memory() {
    let relvec = Relvec::alone();
    let gateway = Gateway::start(&relvec, &[]);
    let before = memory(&gateway);
    let deep = "[".repeat(10_000);
    let in_job = format!("{{\"input\": {deep}");
    let many_keys = format!(
        "{{\"input\": {{\"source\": {{}}, {}}}}}",
        vec!["\"a\": 1"; 1_000].join(",")
    );
    for (body, status) in [
        ("", 400),
        ("{", 400),
        (deep.as_str(), 400),
        (in_job.as_str(), 400),
        (many_keys.as_str(), 400),
        ("{\"input\": {}, \"input\": {}}", 400),
        (
            "{\"input\": {\"embedding\": {\"price_per_million_tokens\": 1e400}}}",
            400,
        ),
        ("{\"input\": \"\\ud800\"}", 400),
        ("{\"input\": \"\u{0}\"}", 400),
        ("null", 422),
        ("[]", 422),
        ("{}", 422),
        ("{\"input\": []}", 422),
        ("{\"input\": {}, \"tenant\": \"b\"}", 422),
        ("{\"graph\": \"../../etc/passwd\", \"input\": {}}", 404),
    ] {
        assert_eq!(post_json(&gateway, body.as_bytes()), status, "{body:.60}");
    }
    let not_utf8 = [b"{\"input\": \"".as_slice(), &[0xff, 0xfe], b"\"}"].concat();
    assert_eq!(post_json(&gateway, &not_utf8), 400);
    let large = vec![b' '; 11 << 20];
    let status = post_json(&gateway, &large);
    // The answer may be lost with a connection that is closed while bytes still come.
    assert!(status == 413 || status == 0, "{status}");
    let bomb = gzip_bomb();
    let headers = format!(
        "{JSON}\r\nContent-Encoding: gzip\r\nContent-Length: {}",
        bomb.len()
    );
    assert_eq!(post(&gateway, &headers, &bomb), 415);
    let grown = memory(&gateway).saturating_sub(before);
    assert!(grown < 64, "{grown} MiB more than before");
    still_serves(&gateway).await;
    let page: Value = gateway.ask("/jobs", None).await.json().await.expect("JSON");
    assert_eq!(page["runs"], json!([]), "nothing became a run");
}

/// The head of a gzip stream; nobody is to read on.
fn gzip_bomb() -> Vec<u8> {
    [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &[0; 4096]].concat()
}

#[tokio::test]
async fn requests_that_two_readers_would_read_differently_are_refused() {
    let relvec = Relvec::alone();
    let gateway = Gateway::start(&relvec, &[]);
    let smuggled = "0\r\n\r\nGET /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    for headers in [
        format!("{JSON}\r\nContent-Length: 5\r\nContent-Length: 6"),
        format!("{JSON}\r\nTransfer-Encoding: chunked, gzip"),
        format!("{JSON}\r\nContent-Length: -1"),
        format!("{JSON}\r\nContent-Length: 1e3"),
    ] {
        let status = post(&gateway, &headers, smuggled.as_bytes());
        assert!(matches!(status, 400 | 0), "{status} for {headers}");
    }
    // RFC 9112 lets a server take the encoding and drop the length; then the connection has to end with the answer.
    for both in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
    ] {
        let request = format!(
            "POST /jobs HTTP/1.1\r\nHost: {}\r\n{JSON}\r\n{both}\r\n\r\n{smuggled}",
            gateway.host()
        );
        let answer = gateway.raw(request.as_bytes());
        assert_eq!(status_of(&answer), 400, "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
    for wrong in [
        "GET /jobs HTTP/1.1\r\n\r\n",
        "GET /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: 127.0.0.1\r\n\r\n",
        "GET /jobs HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n",
        "GET  /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "GET /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\0b\r\n\r\n",
        "GET /jobs HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
        "\u{16}\u{3}\u{1}hello\r\n\r\n",
    ] {
        let status = status_of(&gateway.raw(wrong.as_bytes()));
        assert!(matches!(status, 400 | 505 | 0), "{status} for {wrong:?}");
    }
    still_serves(&gateway).await;
}

#[tokio::test]
async fn headers_are_limited_in_number_size_and_time() {
    let relvec = Relvec::alone();
    let gateway = Gateway::start(&relvec, &[]);
    let many = "X-A: b\r\n".repeat(200);
    let long = format!("X-A: {}\r\n", "b".repeat(128 * 1024));
    for (headers, path) in [(many, "/jobs".to_owned()), (long, "/jobs".to_owned())] {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n",
            gateway.host()
        );
        let status = status_of(&gateway.raw(request.as_bytes()));
        assert!(matches!(status, 431 | 0), "{status}");
    }
    let path = format!("/jobs/{}", "a".repeat(128 * 1024));
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.host());
    let status = status_of(&gateway.raw(request.as_bytes()));
    assert!(matches!(status, 414 | 431 | 0), "{status}");
    // A byte now and then keeps nobody's connection open.
    let mut slow = TcpStream::connect(gateway.host()).expect("a connection");
    slow.set_read_timeout(Some(Duration::from_millis(500)))
        .expect("a timeout");
    let begun = Instant::now();
    let mut rest = [0; 64];
    slow.write_all(b"GET /jobs HTTP/1.1\r\n").expect("written");
    loop {
        assert!(begun.elapsed() < PATIENCE, "the connection stays");
        if slow.write_all(b"X").is_err() {
            break;
        }
        match slow.read(&mut rest) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Ok(_) | Err(_) => break,
        }
    }
    still_serves(&gateway).await;
}

#[tokio::test]
async fn a_slow_body_is_given_up() {
    let relvec = Relvec::alone();
    let gateway = Gateway::start(&relvec, &[]);
    let head = format!(
        "POST /jobs HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{JSON}\r\nContent-Length: 100\r\n\r\n{{",
        gateway.host()
    );
    let begun = Instant::now();
    let answer = gateway.raw(head.as_bytes());
    assert!(matches!(status_of(&answer), 408 | 0), "{answer}");
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    still_serves(&gateway).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_turned_away_and_the_others_go_on() {
    let relvec = Relvec::alone();
    let gateway = Gateway::start(&relvec, &[("RELVEC_CONNECTIONS", "4")]);
    let mut open: Vec<TcpStream> = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(gateway.host()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.host());
        stream.write_all(request.as_bytes()).expect("written");
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        open.push(stream);
    }
    let answer = gateway.raw(b"");
    assert_eq!(status_of(&answer), 503, "{answer}");
    assert!(answer.to_lowercase().contains("retry-after: 1"), "{answer}");
    open.clear();
    let begun = Instant::now();
    while gateway.raw_status("GET /healthz HTTP/1.1", "") != 200 {
        assert!(begun.elapsed() < PATIENCE, "there is never room again");
    }
}

#[tokio::test]
async fn no_id_and_no_name_leads_out_of_a_runs_folder() {
    let relvec = Relvec::alone();
    let gateway = Gateway::start(&relvec, &[]);
    let run = gateway
        .submit_as(None, "plan-only", &failing(&relvec))
        .await;
    gateway.until_ended(&run, None).await;
    for path in [
        format!("/artifacts/{run}/../../runs.db"),
        format!("/artifacts/{run}/..%2f..%2fruns.db"),
        format!("/artifacts/{run}/%2e%2e%2f%2e%2e%2fruns.db"),
        format!("/artifacts/{run}/%252e%252e%252fruns.db"),
        format!("/artifacts/{run}/%c0%ae%c0%ae%c0%afruns.db"),
        format!("/artifacts/{run}/.run.lock"),
        format!("/artifacts/{run}/%00"),
        format!("/artifacts/{run}/..;/runs.db"),
        "/artifacts/..%2f../runs.db".to_owned(),
        "/artifacts/%252e%252e/runs.db".to_owned(),
        "/artifacts/..%2f..%2fetc%2fpasswd".to_owned(),
        "/jobs/..%2f..%2fgraphs".to_owned(),
        "/jobs/%2e%2e/%2e%2e/etc/passwd".to_owned(),
        "/graphs/..%2f..%2fCargo".to_owned(),
        "/graphs/..%5c..%5cCargo".to_owned(),
        "/graphs/%252e%252e%252fCargo".to_owned(),
        "//etc/passwd".to_owned(),
    ] {
        let status = gateway.raw_status(&format!("GET {path} HTTP/1.1"), "");
        assert!(matches!(status, 400 | 404), "{status} for {path}");
    }
    still_serves(&gateway).await;
}

#[tokio::test]
async fn a_run_that_is_over_takes_no_answer_and_cancelling_twice_changes_nothing() {
    let relvec = Relvec::alone();
    let gateway = Gateway::start(&relvec, &[("DOCKER_HOST", "unix:///nowhere/docker.sock")]);
    let over = gateway
        .submit_as(None, "plan-only", &failing(&relvec))
        .await;
    gateway.until_ended(&over, None).await;
    let answer = json!({"question": "accept", "choice": "approve", "by": "ann"});
    let answered = gateway
        .post(&format!("/jobs/{over}/answers"), None, &answer)
        .await;
    problem(answered, 404).await;
    let cancelled = gateway
        .post(&format!("/jobs/{over}/cancel"), None, &json!({}))
        .await;
    problem(cancelled, 409).await;
    // What waits for a person is cancelled once; the second wish finds it so.
    let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    let mut input = failing(&relvec);
    input["source"] = json!({"url": source});
    input["execution"] = json!({"mode": "container"});
    let waiting = gateway.submit_as(None, "default", &input).await;
    let document = gateway.until_ended(&waiting, None).await;
    assert_eq!(document["status"], "waiting", "{document:#}");
    let mut ended = Vec::new();
    for _ in 0..2 {
        let answer = gateway
            .post(&format!("/jobs/{waiting}/cancel"), None, &json!({}))
            .await;
        ended.push((answer.status().as_u16(), answer.text().await.expect("text")));
    }
    assert_eq!(ended[0].0, 200, "{ended:?}");
    assert_eq!(ended[0], ended[1]);
    let late = json!({"question": "no_container_daemon", "choice": "simulate", "by": "ann"});
    let late = gateway
        .post(&format!("/jobs/{waiting}/answers"), None, &late)
        .await;
    problem(late, 409).await;
}

#[tokio::test]
async fn a_bad_range_is_refused_or_left_out() {
    let relvec = Relvec::alone();
    let gateway = Gateway::start(&relvec, &[]);
    let run = gateway
        .submit_as(None, "plan-only", &failing(&relvec))
        .await;
    gateway.until_ended(&run, None).await;
    for range in [
        "bytes=9-1",
        "bytes=a-b",
        "bytes=99999999999999999999-",
        "lines=1-2",
        "bytes=0-0,0-0,0-0",
    ] {
        for path in [
            format!("/artifacts/{run}/none"),
            "/graphs/default".to_owned(),
        ] {
            let request = gateway
                .request(&Method::GET, &path, None)
                .header("range", range);
            let status = request.send().await.expect("an answer").status().as_u16();
            assert!(
                matches!(status, 200 | 206 | 404 | 416),
                "{status} for {range} of {path}"
            );
        }
    }
    for last in ["-1", "x", "1e3", "99999999999999999999"] {
        let path = format!("/jobs/{run}/events");
        let request = gateway
            .request(&Method::GET, &path, None)
            .header("last-event-id", last);
        problem(request.send().await.expect("an answer"), 400).await;
    }
    still_serves(&gateway).await;
}

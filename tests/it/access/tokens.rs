//! `relvec token`, and what becomes of a gateway's requests with it.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::served::{problem, token};
use crate::gateway::{Gateway, PATIENCE};
use crate::relvec::Relvec;

/// Asks until the answer has a status.
async fn until(gateway: &Gateway, token: Option<&str>, status: u16) -> Duration {
    let begun = Instant::now();
    while gateway.ask("/jobs", token).await.status() != status {
        assert!(begun.elapsed() < PATIENCE, "never {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    begun.elapsed()
}

#[tokio::test]
async fn a_token_works_until_it_is_revoked_and_the_gateway_stays_closed() {
    let relvec = Relvec::alone();
    let gateway = Gateway::start(&relvec, &[("RELVEC_RATE", "0")]);
    assert_eq!(gateway.ask("/jobs", None).await.status(), 200);
    let made = token(&relvec, "local", "read");
    // From the first token on, loopback has to show one too.
    until(&gateway, None, 401).await;
    until(&gateway, Some(&made), 200).await;
    let listed = relvec.call(&["token", "list", "--format", "json"]);
    assert!(!listed.stdout.contains(&made[20..]), "{listed:?}");
    let listed: Value = serde_json::from_str(&listed.stdout).expect("JSON");
    let id = listed[0]["id"].as_str().expect("an id");
    assert!(made.contains(id));
    assert_eq!(listed[0]["tenant"], "local");
    let revoked = relvec.call(&["token", "revoke", id]);
    assert_eq!(revoked.code, 0, "{revoked:?}");
    let took = until(&gateway, Some(&made), 401).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    problem(gateway.ask("/jobs", None).await, 401).await;
    let again = relvec.call(&["token", "revoke", "0123456789ab"]);
    assert_ne!(again.code, 0);
    assert!(again.stderr.contains("relvec token list"), "{again:?}");
}

#[tokio::test]
async fn a_token_that_ends_stops_working() {
    let relvec = Relvec::alone();
    let soon = time::OffsetDateTime::now_utc() + time::Duration::seconds(4);
    let soon = soon
        .format(&time::format_description::well_known::Rfc3339)
        .expect("a time");
    let made = relvec.call(&[
        "token",
        "create",
        "--tenant",
        "a",
        "--scope",
        "read",
        "--expires",
        &soon,
        "--name",
        "short",
        "--format",
        "json",
    ]);
    let made: Value = serde_json::from_str(&made.stdout).expect("JSON");
    let made = made["token"].as_str().expect("a token");
    let gateway = Gateway::start(&relvec, &[("RELVEC_RATE", "0")]);
    until(&gateway, Some(made), 200).await;
    until(&gateway, Some(made), 401).await;
    let listed = relvec.call(&["token", "list"]);
    assert!(
        listed.stdout.contains("expired") && listed.stdout.contains("short"),
        "{listed:?}"
    );
}

#[test]
fn arguments_that_make_no_token_are_refused() {
    let relvec = Relvec::alone();
    for (tenant, scope, more) in [
        ("A", "read", &[][..]),
        ("a", "root", &[]),
        ("a", "", &[]),
        ("a", "read", &["--expires", "yesterday"]),
        ("a", "read", &["--name", "two\nlines"]),
    ] {
        let arguments = [
            &["token", "create", "--tenant", tenant, "--scope", scope][..],
            more,
        ]
        .concat();
        let ended = relvec.call(&arguments);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stdout.is_empty(), "{ended:?}");
    }
    let listed = relvec.call(&["token", "list"]);
    assert!(listed.stdout.contains("there is no token"), "{listed:?}");
}

#[test]
fn beyond_loopback_a_gateway_needs_a_token() {
    let relvec = Relvec::alone();
    let ended = relvec.call(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(ended.code, 78, "{ended:?}");
    assert!(ended.stderr.contains("relvec token create"), "{ended:?}");
    let made = relvec.call(&["token", "create", "--tenant", "a", "--scope", "read"]);
    assert_eq!(made.code, 0, "{made:?}");
    let listed = relvec.call(&["token", "list", "--format", "json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).expect("JSON");
    let revoked = relvec.call(&["token", "revoke", listed[0]["id"].as_str().expect("an id")]);
    assert_eq!(revoked.code, 0);
    let ended = relvec.call(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(ended.code, 78, "a revoked token is none: {ended:?}");
}

#[tokio::test]
async fn who_asks_too_often_waits() {
    let relvec = Relvec::alone();
    let (a, b) = (token(&relvec, "a", "read"), token(&relvec, "b", "read"));
    let gateway = Gateway::start(&relvec, &[("RELVEC_RATE", "1")]);
    // A burst of two, then one a second: the fourth within a second is one too many.
    let mut refused = None;
    for _ in 0..20 {
        let answer = gateway.ask("/jobs", Some(&a)).await;
        if answer.status() == 429 {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status(), 200);
    }
    let refused = refused.expect("one too many");
    let wait = refused.headers()["retry-after"].to_str().expect("text");
    let wait: u64 = wait.parse().expect("seconds");
    assert!((1..=2).contains(&wait), "{wait}");
    problem(refused, 429).await;
    assert_eq!(
        gateway.ask("/jobs", Some(&b)).await.status(),
        200,
        "a token's rate is its own"
    );
    assert_eq!(gateway.ask("/healthz", None).await.status(), 200);
    until(&gateway, Some(&a), 200).await;
}

#[tokio::test]
async fn an_address_that_shows_wrong_tokens_is_slowed_and_a_known_one_passes() {
    let relvec = Relvec::alone();
    let made = token(&relvec, "a", "read");
    let gateway = Gateway::start(&relvec, &[("RELVEC_RATE", "0")]);
    let mut statuses = Vec::new();
    for _ in 0..60 {
        let answer = gateway.ask("/jobs", Some("wrong")).await;
        if answer.status() == 429 {
            assert!(answer.headers().contains_key("retry-after"));
        }
        statuses.push(answer.status().as_u16());
    }
    assert_eq!(statuses[0], 401);
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    assert_eq!(gateway.ask("/jobs", Some(&made)).await.status(), 200);
}

#[tokio::test]
async fn two_authorization_headers_are_refused_everywhere() {
    let relvec = Relvec::alone();
    let made = token(&relvec, "a", "admin");
    let gateway = Gateway::start(&relvec, &[]);
    for path in ["/jobs", "/healthz", "/nowhere"] {
        let request = gateway.request(&Method::GET, path, Some(&made));
        let request = request.header("authorization", format!("Bearer {made}"));
        problem(request.send().await.expect("an answer"), 400).await;
    }
    let answer = gateway
        .post("/graphs/validate", Some(&made), &json!({"text": ""}))
        .await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn pages_of_other_origins_are_answered_only_where_the_operator_says_so() {
    let relvec = Relvec::alone();
    let made = token(&relvec, "a", "read");
    let origin = "https://app.example";
    for (environment, allowed) in [
        (&[][..], false),
        (&[("RELVEC_ALLOW_ORIGINS", origin)], true),
    ] {
        let gateway = Gateway::start(&relvec, environment);
        let preflight = gateway
            .request(&Method::OPTIONS, "/jobs", None)
            .header("origin", origin)
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "authorization");
        let preflight = preflight.send().await.expect("an answer");
        let given = preflight.headers().get("access-control-allow-origin");
        assert_eq!(
            given.is_some_and(|given| given == origin),
            allowed,
            "{preflight:?}"
        );
        let request = gateway.request(&Method::GET, "/jobs", Some(&made));
        let answer = request
            .header("origin", origin)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status() == 200, allowed);
        let other = gateway.request(&Method::GET, "/jobs", Some(&made));
        let other = other.header("origin", "https://evil.example").send().await;
        problem(other.expect("an answer"), 403).await;
    }
}

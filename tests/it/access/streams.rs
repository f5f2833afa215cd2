//! Streams that are open when the right to them ends.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinHandle;

use super::served::{token, waiting_graph};
use crate::gateway::{Gateway, PATIENCE};
use crate::relvec::Relvec;

/// Opens a stream, and gives all of it when it has ended.
async fn open(gateway: &Gateway, path: &str, token: Option<&str>) -> JoinHandle<String> {
    let answer = gateway.ask(path, token).await;
    assert_eq!(answer.status(), 200, "{path}");
    tokio::spawn(async move { answer.text().await.expect("a stream that ends in order") })
}

async fn ended(stream: JoinHandle<String>) -> String {
    let text = tokio::time::timeout(PATIENCE, stream).await;
    text.expect("the stream ends").expect("its text")
}

#[tokio::test]
async fn a_revoked_token_ends_its_streams_and_no_others() {
    let relvec = Relvec::alone();
    waiting_graph(&relvec);
    let (kept, gone) = (token(&relvec, "a", "admin"), token(&relvec, "a", "read"));
    let gateway = Gateway::start(&relvec, &[("RELVEC_RATE", "0")]);
    let run = gateway
        .submit_as(Some(&kept), "waiting", &Gateway::allowed_input())
        .await;
    let waiting = gateway.until_ended(&run, Some(&kept)).await;
    assert_eq!(waiting["status"], "waiting", "{waiting:#}");
    let (events, logs) = (
        format!("/jobs/{run}/events"),
        format!("/jobs/{run}/logs?follow=true"),
    );
    let ending = [
        open(&gateway, &events, Some(&gone)).await,
        open(&gateway, &logs, Some(&gone)).await,
    ];
    let lasting = [
        open(&gateway, &events, Some(&kept)).await,
        open(&gateway, &logs, Some(&kept)).await,
    ];
    let id = gone.split('_').nth(1).expect("an id");
    let revoked = relvec.call(&["token", "revoke", id]);
    assert_eq!(revoked.code, 0, "{revoked:?}");
    let begun = Instant::now();
    let [events, logs] = ending;
    let events = ended(events).await;
    assert!(events.contains("\"run_started\""), "{events}");
    assert!(!events.contains("\"cancelled\""), "{events}");
    ended(logs).await;
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    assert!(lasting.iter().all(|stream| !stream.is_finished()));
    // The others see the run's end.
    let cancelled = gateway
        .post(&format!("/jobs/{run}/cancel"), Some(&kept), &json!({}))
        .await;
    assert_eq!(cancelled.status(), 200);
    let [events, logs] = lasting;
    assert!(ended(events).await.contains("\"run_finished\""));
    ended(logs).await;
}

#[tokio::test]
async fn the_first_token_ends_the_streams_of_those_who_show_none() {
    let relvec = Relvec::alone();
    waiting_graph(&relvec);
    let gateway = Gateway::start(&relvec, &[]);
    let run = gateway
        .submit_as(None, "waiting", &Gateway::allowed_input())
        .await;
    gateway.until_ended(&run, None).await;
    let stream = open(&gateway, &format!("/jobs/{run}/events"), None).await;
    token(&relvec, "a", "read");
    let events = ended(stream).await;
    assert!(
        events.contains("\"run_started\"") && !events.contains("\"cancelled\""),
        "{events}"
    );
}

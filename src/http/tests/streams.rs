//! Streams of events and of lines: cut off, taken up again, followed by many, and ended.

use tokio::task::JoinSet;

use super::*;
use crate::service::sse::{Parser, Sent};

/// A client that is cut off: it reads this many bytes of a stream, then lets go. Gives the whole events of what it read, and whether
/// the stream ended before. HTTP/1.0, so that the body is sent as it is.
async fn read_some(address: SocketAddr, path: &str, last: &str, most: usize) -> (Vec<Sent>, bool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nLast-Event-ID: {last}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let mut piece = [0; 512];
    let mut has_ended = false;
    while bytes.len() < most {
        let wanted = piece.len().min(most - bytes.len());
        let count = stream.read(&mut piece[..wanted]).await.unwrap();
        if count == 0 {
            has_ended = true;
            break;
        }
        bytes.extend_from_slice(&piece[..count]);
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    if text.starts_with("HTTP/1.0 204") {
        return (Vec::new(), true);
    }
    (
        Parser::default().push(body.as_bytes()),
        has_ended && body.is_empty(),
    )
}

/// Follows a run to its end, cut off again and again. The numbers decide where.
async fn follow_in_pieces(
    address: SocketAddr,
    path: String,
    mut number: u64,
) -> (Vec<Sent>, usize) {
    let (mut seen, mut last, mut cuts) = (Vec::new(), "0".to_owned(), 0);
    loop {
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let most = 200 + usize::try_from(number >> 51).unwrap();
        let (events, is_over) = read_some(address, &path, &last, most).await;
        last = events.last().map_or(last, |event: &Sent| event.id.clone());
        seen.extend(events);
        if is_over {
            return (seen, cuts);
        }
        cuts += 1;
    }
}

async fn recorded(served: &Served, run_id: &str) -> Vec<Sent> {
    let path = format!("/jobs/{run_id}/events?follow=false");
    let text = served.get(&path).await.text().await.unwrap();
    Parser::default().push(text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_cut_off_misses_nothing_and_sees_nothing_twice() {
    let served = Served::new().await;
    let run_id = id(&served.submit("chatty", &referring_job()).await).to_owned();
    let path = format!("/jobs/{run_id}/events");
    let mut clients = JoinSet::new();
    for number in 0..8 {
        clients.spawn(follow_in_pieces(served.address, path.clone(), number));
    }
    let followed = tokio::time::timeout(PATIENCE, clients.join_all()).await;
    let followed = followed.expect("every client sees the end");
    let log = recorded(&served, &run_id).await;
    assert!(log.len() > 600, "{}", log.len());
    assert!(log.last().unwrap().data.contains("\"run_finished\""));
    for (seen, cuts) in followed {
        assert!(cuts > 5, "it was cut off {cuts} times");
        let ids = |events: &[Sent]| {
            events
                .iter()
                .map(|event| event.id.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(&seen), ids(&log));
        assert_eq!(seen, log);
    }
}

#[tokio::test]
async fn there_is_nothing_to_come_back_for_after_the_last_event() {
    let served = Served::new().await;
    let run_id = id(&served.submit("look", &referring_job()).await).to_owned();
    served.until(&run_id, "succeeded").await;
    let last = recorded(&served, &run_id).await.pop().unwrap().id;
    let stream = async |last: &str| {
        let request = served
            .client
            .get(served.url(&format!("/jobs/{run_id}/events")));
        request.header("Last-Event-ID", last).send().await.unwrap()
    };
    assert_eq!(stream(&last).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(stream("99999").await.status(), StatusCode::NO_CONTENT);
    let one_before = (last.parse::<i64>().unwrap() - 1).to_string();
    let rest = stream(&one_before).await.text().await.unwrap();
    assert_eq!(Parser::default().push(rest.as_bytes()).len(), 1);
    for wrong in ["x", "-1", "1.5", "", "99999999999999999999"] {
        problem(stream(wrong).await, 400).await;
    }
    problem(
        served
            .get(&format!("/jobs/{run_id}/events?follow=perhaps"))
            .await,
        400,
    )
    .await;
    problem(
        served
            .get(&format!("/jobs/{}/events", uuid::Uuid::nil()))
            .await,
        404,
    )
    .await;
}

#[tokio::test]
async fn a_waiting_run_is_followed_until_somebody_decides() {
    let served = Served::new().await;
    let run_id = id(&served.submit("gated", &referring_job()).await).to_owned();
    let path = format!("/jobs/{run_id}/events");
    let mut follower = served.get(&path).await;
    let (mut parser, mut seen) = (Parser::default(), Vec::new());
    while !seen
        .iter()
        .any(|event: &Sent| event.data.contains("\"waiting\""))
    {
        let piece = follower.chunk().await.unwrap().expect("it goes on");
        seen.extend(parser.push(&piece));
    }
    let answer = json!({"question": "accept", "choice": "approve", "by": "ann"});
    let answers = format!("/jobs/{run_id}/answers");
    // An answer can come before the gateway has let go of the run: it is given until it is taken.
    let answered = served.post(&answers, &answer).await;
    assert_eq!(answered.status(), StatusCode::OK);
    while let Some(piece) = follower.chunk().await.unwrap() {
        seen.extend(parser.push(&piece));
    }
    assert_eq!(seen, recorded(&served, &run_id).await);
    assert!(seen.last().unwrap().data.contains("\"succeeded\""));
}

#[tokio::test]
async fn a_log_is_read_from_its_end_and_followed() {
    let served = Served::new().await;
    let run_id = id(&served.submit("chatty", &referring_job()).await).to_owned();
    let logs = format!("/jobs/{run_id}/logs");
    let followed = served
        .get(&format!("{logs}?follow=true&stage=chatty"))
        .await;
    assert_eq!(followed.headers()["content-type"], "text/event-stream");
    let followed = followed.text().await.unwrap();
    let followed = Parser::default().push(followed.as_bytes());
    let numbers: Vec<u64> = followed
        .iter()
        .map(|event| {
            let line: Value = serde_json::from_str(&event.data).unwrap();
            assert_eq!(line["seq"].to_string(), event.id);
            line["line"]
                .as_str()
                .unwrap()
                .trim_start_matches("line ")
                .parse()
                .unwrap()
        })
        .collect();
    assert_eq!(numbers, (0..600).collect::<Vec<u64>>());
    let over = served
        .client
        .get(served.url(&format!("{logs}?follow=true")));
    let last = &followed.last().unwrap().id;
    let over = over.header("Last-Event-ID", last).send().await.unwrap();
    assert_eq!(over.status(), StatusCode::NO_CONTENT);
    let tail: Value = served
        .get(&format!("{logs}?tail=2"))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(tail["lines"][0]["line"], "line 598");
    assert_eq!(tail["lines"][1]["line"], "line 599");
    assert_eq!(tail["lines"].as_array().unwrap().len(), 2);
    let both = served
        .get(&format!("{logs}?tail=3&follow=true"))
        .await
        .text()
        .await
        .unwrap();
    assert_eq!(Parser::default().push(both.as_bytes()).len(), 3);
    let seen = &followed[597].id;
    let again = served
        .client
        .get(served.url(&format!("{logs}?follow=true&tail=3")));
    let again = again.header("Last-Event-ID", seen).send().await.unwrap();
    let again = again.text().await.unwrap();
    assert_eq!(Parser::default().push(again.as_bytes()), followed[598..]);
    for wrong in ["tail=0", "after=-1", "follow=x"] {
        problem(served.get(&format!("{logs}?{wrong}")).await, 400).await;
    }
}

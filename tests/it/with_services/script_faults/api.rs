//! The embedding API fails: what may pass is asked again within a budget, what cannot pass is refused whole or set aside.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;

use super::{AT_ONCE, IN_FLIGHT, ITEMS, ROWS, Script, code, note, report};
use crate::mock_api::{Asked, Reply, packed};

/// Gives a status without `Retry-After`.
fn status(number: u16) -> Reply {
    Reply::Status(number, None)
}

/// Gives a behaviour that fails the first time that it sees a batch, with every third one.
fn every_third(fault: Reply) -> impl Fn(&Asked<'_>) -> Reply {
    let known = Mutex::new(HashSet::new());
    move |asked| {
        let mut known = known.lock().expect("no test panics here");
        if known.insert(asked.texts[0].clone()) && known.len() % 3 == 0 {
            fault.clone()
        } else {
            Reply::Good
        }
    }
}

/// Runs the script while every third batch fails once: it ends complete all the same.
async fn passes(reply: Reply) {
    let script = Script::of_postgres().await;
    script.mock.behave(every_third(reply.clone()));
    let ended = script.migrate();
    assert_eq!(ended.code, 0, "{reply:?}: {ended:?}");
    // The question for the dimension and the batches.
    let (batches, failed) = (ROWS / ITEMS, (1 + ROWS / ITEMS) / 3);
    let requests = script.mock.requests() as u64;
    assert_eq!(requests, 1 + batches + failed, "{reply:?}");
    let counted = report(&ended);
    assert_eq!(counted["retries"], failed, "{reply:?}");
    assert_eq!(script.mock.embedded(), ROWS, "no text twice");
    script.assert_completes().await;
}

#[tokio::test]
async fn a_server_error_is_asked_again() {
    passes(status(500)).await;
}

#[tokio::test]
async fn a_reset_connection_is_asked_again() {
    passes(Reply::Reset).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_again() {
    passes(Reply::Cut).await;
}

#[tokio::test]
async fn a_reply_of_another_shape_is_refused_whole_and_asked_again() {
    let shapes = [
        Reply::NotJson,
        Reply::Short,
        // The number of the first vector is doubled.
        Reply::Items(|index, mut item| {
            item["index"] = index.saturating_sub(1).into();
            item
        }),
        Reply::Items(|index, mut item| {
            if index == 1 {
                item["index"] = Value::Null;
            }
            item
        }),
        Reply::Items(|_, mut item| {
            item["embedding"] = "no base64!".into();
            item
        }),
    ];
    for shape in shapes {
        passes(shape).await;
    }
}

#[tokio::test]
async fn vectors_in_another_order_find_their_texts() {
    let script = Script::of_postgres().await;
    script.mock.behave(|_| Reply::Backwards);
    assert_eq!(script.migrate().code, 0);
    script.assert_completes().await;
}

/// Runs the script while an API always fails from the fifth request on: nothing of it is stored, and it ends with a code.
async fn fails(reply: Reply, wanted: &str) -> usize {
    let script = Script::of_postgres().await;
    let fault = reply.clone();
    script.mock.behave(move |asked| {
        if asked.number < 5 {
            Reply::Good
        } else {
            fault.clone()
        }
    });
    let ended = script.run(&mut script.changed(IMPATIENT));
    assert_eq!(ended.code, 1, "{reply:?}: {ended:?}");
    assert_eq!(code(&ended), wanted, "{reply:?}: {ended:?}");
    assert!(ended.stdout.is_empty(), "no report of a part: {ended:?}");
    let stored = script.stored().await;
    assert!(stored <= script.mock.embedded(), "nothing bad is stored");
    let requests = script.mock.requests();
    let report = script.assert_completes().await;
    assert_eq!(report["entities"][0]["unchanged"], stored);
    requests
}

/// The pauses between attempts, cut short.
const IMPATIENT: &str = "migrate.PAUSE_BASE = 0.01";

#[tokio::test]
async fn an_api_that_stays_away_is_given_up_within_a_budget() {
    for reply in [status(500), status(503), Reply::Reset, Reply::Cut] {
        let requests = fails(reply, "embedding_unreachable").await;
        let most = 4 + 8 * usize::try_from(IN_FLIGHT).expect("few");
        assert!(requests <= most, "{requests} requests");
    }
}

#[tokio::test]
async fn a_reply_that_stays_of_another_shape_is_given_up() {
    for reply in [Reply::NotJson, Reply::Short] {
        let requests = fails(reply, "bad_reply").await;
        assert!(requests <= 4 + 3 * usize::try_from(IN_FLIGHT).expect("few"));
    }
}

#[tokio::test]
async fn a_vector_of_another_dimension_ends_the_run() {
    fails(Reply::Dimension(9), "dimension").await;
}

#[tokio::test]
async fn a_key_that_is_refused_in_the_middle_ends_the_run_at_once() {
    for number in [401, 403] {
        let requests = fails(status(number), "key_refused").await;
        // What was already in the queue is asked once each.
        let most = 4 + usize::try_from(IN_FLIGHT).expect("few");
        assert!(requests <= most, "no second attempt: {requests}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_a_time_out_and_asked_again() {
    let script = Script::of_postgres().await;
    script.mock.behave(|asked| {
        if asked.number == 6 {
            Reply::Hang
        } else {
            Reply::Good
        }
    });
    // The script waits a minute; that is said here, and made shorter.
    let ended = script.run(&mut script.changed(
        "
real = migrate.urllib3.Timeout
def timeout(connect, read):
    assert (connect, read) == (10.0, 60.0), (connect, read)
    return real(connect=connect, read=1.0)
migrate.urllib3.Timeout = timeout",
    ));
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("ReadTimeoutError"), "{ended:?}");
    assert_eq!(report(&ended)["retries"], 1);
    script.assert_completes().await;
}

#[tokio::test]
async fn retry_after_is_waited_for_by_all_and_capped() {
    let script = Script::of_postgres().await;
    script.mock.behave(|asked| {
        if asked.number == 10 {
            Reply::Status(429, Some("2".to_owned()))
        } else {
            Reply::Good
        }
    });
    let ended = script.migrate();
    assert_eq!(ended.code, 0, "{ended:?}");
    let seen = script.mock.seen();
    // What was already on its way still comes; then all are silent.
    let silence = seen[9..]
        .windows(2)
        .map(|two| two[1].at.duration_since(two[0].at))
        .max();
    assert!(silence >= Some(Duration::from_millis(1_950)), "{silence:?}");
    script.assert_completes().await;

    let script = Script::of_postgres().await;
    script.mock.behave(|asked| {
        if asked.number == 10 {
            Reply::Status(429, Some("86400".to_owned()))
        } else {
            Reply::Good
        }
    });
    // A minute is the most; here a second.
    let ended = script
        .run(&mut script.changed("assert migrate.PAUSE_CAP == 60.0; migrate.PAUSE_CAP = 1.0"));
    assert_eq!(ended.code, 0, "{ended:?}");
    script.assert_completes().await;
}

#[tokio::test]
async fn a_run_has_a_budget_of_attempts() {
    let script = Script::of_postgres().await;
    // Each request fails twice, which is fewer than it may be sent; only the sum is too much.
    let attempts = Mutex::new(HashMap::new());
    script.mock.behave(move |asked| {
        let mut attempts = attempts.lock().expect("no test panics here");
        let attempt = attempts.entry(asked.texts[0].clone()).or_insert(0);
        *attempt += 1;
        if *attempt > 2 {
            Reply::Good
        } else {
            status(500)
        }
    });
    let code_of_budget =
        "assert migrate.RETRY_BUDGET == 100; migrate.RETRY_BUDGET = 5; migrate.PAUSE_BASE = 0.001";
    let ended = script.run(&mut script.changed(code_of_budget));
    assert_eq!(ended.code, 1, "{ended:?}");
    assert_eq!(code(&ended), "embedding_unreachable");
    let stored = script.stored().await;
    let requests = script.mock.requests() as u64;
    assert!(requests < 3 * ROWS / ITEMS, "{requests} requests");
    let report = script.assert_completes().await;
    assert_eq!(report["entities"][0]["unchanged"], stored);
}

#[tokio::test]
async fn more_at_once_than_the_api_takes_is_found_out() {
    const TAKES: usize = 2;
    let script = Script::of_postgres().await;
    script.mock.delay(Duration::from_millis(10));
    script.mock.behave(|asked: &Asked<'_>| {
        if asked.at_once > TAKES {
            Reply::Status(429, Some("0.05".to_owned()))
        } else {
            Reply::Good
        }
    });
    let ended = script.migrate();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(script.mock.most_at_once() > TAKES, "it tried more");
    let refused = script
        .mock
        .seen()
        .iter()
        .filter(|seen| matches!(seen.reply, Reply::Status(..)))
        .count();
    assert!(
        refused <= 2 * usize::try_from(AT_ONCE).expect("few"),
        "{refused} were refused"
    );
    script.assert_completes().await;
}

/// Runs the script while the API refuses each request with one of three texts in it: these are found and set aside, the rest arrives.
async fn bisected(refuse: impl Fn(&Asked<'_>) -> Reply + Send + Sync + 'static, reason: &str) {
    let script = Script::of_postgres().await;
    script.mock.behave(refuse);
    let ended = script.migrate();
    assert_eq!(ended.code, 3, "{ended:?}");
    assert_eq!(report(&ended)["entities"][0]["quarantined"], 3);
    for says in [
        "3 documents are in quarantine",
        "run the same command again",
    ] {
        assert!(ended.stderr.contains(says), "{ended:?}");
    }
    assert_eq!(script.stored().await, ROWS - 3);
    let listed = "SELECT string_agg(source_key ->> 'id', ',' ORDER BY (source_key ->> 'id')::int) FROM relvec_documents_quarantine";
    assert_eq!(script.text(listed).await, "7,400,1200");
    let said = script
        .text("SELECT string_agg(DISTINCT reason, ';') FROM relvec_documents_quarantine")
        .await;
    assert!(said.contains(reason), "{said}");
    script.assert_no_secret(&said);
    // About twice the logarithm of the batch for each.
    let requests = script.mock.requests() as u64;
    assert!(requests <= 1 + ROWS / ITEMS + 3 * 12, "{requests} requests");
    assert_eq!(script.mock.embedded(), ROWS - 3, "no text twice");

    // The same command takes them up.
    script.mock.behave(|_| Reply::Good);
    let ended = script.migrate();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(report(&ended)["entities"][0]["embedded"], 3);
    let left = script
        .number("SELECT count(*) FROM relvec_documents_quarantine")
        .await;
    assert_eq!(left, 0);
    script.assert_completes().await;
}

fn is_poison(text: &str) -> bool {
    [7, 400, ROWS].iter().any(|id| text.ends_with(&note(*id)))
}

#[tokio::test]
async fn a_text_that_the_api_refuses_is_found_and_set_aside() {
    let refuse = |asked: &Asked<'_>| {
        if asked.texts.iter().any(|text| is_poison(text)) {
            status(400)
        } else {
            Reply::Good
        }
    };
    bisected(refuse, "HTTP 400").await;
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_halved() {
    let script = Script::of_postgres().await;
    script.mock.behave(|asked| {
        if asked.texts.len() > 7 {
            status(413)
        } else {
            Reply::Good
        }
    });
    let ended = script.migrate();
    assert_eq!(ended.code, 0, "{ended:?}");
    let sizes = script.mock.seen();
    assert!(sizes.iter().any(|seen| seen.texts == 5), "20, 10, 5");
    script.assert_completes().await;
}

#[tokio::test]
async fn a_vector_that_cannot_be_compared_is_never_stored() {
    let broken: [fn(usize, Value) -> Value; 3] = [
        |index, item| with_numbers(index, item, &[0.0; 8]),
        |index, item| with_numbers(index, item, &[f32::NAN; 8]),
        |index, item| with_numbers(index, item, &[f32::INFINITY; 8]),
    ];
    for broken in broken {
        // One text's vector, also where it is asked for alone.
        let refuse = move |asked: &Asked<'_>| {
            if asked.texts.iter().any(|text| is_poison(text)) {
                Reply::Items(broken)
            } else {
                Reply::Good
            }
        };
        bisected(refuse, "not finite").await;
    }
}

fn with_numbers(index: usize, mut item: Value, numbers: &[f32]) -> Value {
    if index == 0 {
        item["embedding"] = packed(numbers);
    }
    item
}

#[tokio::test]
async fn an_api_that_refuses_every_text_is_at_fault_itself() {
    let requests = fails(status(422), "texts_refused").await;
    assert!(requests < 600, "{requests} requests");
}

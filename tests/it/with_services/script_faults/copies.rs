//! Two copies of the script at once: one waits or stops, and one that was thought dead writes nothing any more.

use std::process::Child;
use std::time::Duration;

use sqlx::{Connection, PgConnection};

use super::databases::end_sessions;
use super::kills::send;
use super::{ITEMS, ROWS, Script, code, report};

#[tokio::test]
async fn the_second_copy_waits_and_then_has_nothing_to_do() {
    let script = Script::of_postgres().await;
    script.mock.delay(Duration::from_millis(40));
    let first = script.start(&mut script.command());
    script.until_stored(ITEMS).await;
    let second = script.start(&mut script.command());
    let (first, second) = (script.end(first), script.end(second));
    assert_eq!((first.code, second.code), (0, 0), "{first:?} {second:?}");
    assert_eq!(report(&first)["entities"][0]["embedded"], ROWS);
    assert_eq!(report(&second)["entities"][0]["embedded"], 0);
    assert_eq!(script.mock.embedded_again(), 0);
    script.assert_completes().await;
}

#[tokio::test]
async fn the_second_copy_stops_where_the_first_one_takes_long() {
    let script = Script::of_postgres().await;
    script.mock.delay(Duration::from_millis(800));
    let first = script.start(&mut script.command());
    script.until_stored(ITEMS).await;
    let ended = script.run(&mut script.changed("migrate.LOCK_SECONDS = 0.5"));
    assert_eq!((ended.code, &*code(&ended)), (1, "locked"), "{ended:?}");
    assert!(ended.stderr.contains("wait for it or stop it"), "{ended:?}");
    assert!(ended.stdout.is_empty());
    script.mock.delay(Duration::ZERO);
    let ended = script.end(first);
    assert_eq!(ended.code, 0, "the first one goes on: {ended:?}");
    assert_eq!(script.mock.embedded_again(), 0);
    script.assert_completes().await;
}

#[tokio::test]
async fn two_copies_that_start_at_once_do_the_work_once() {
    let script = Script::of_postgres().await;
    script.mock.delay(Duration::from_millis(5));
    let copies: Vec<Child> = (0..3)
        .map(|_| script.start(&mut script.command()))
        .collect();
    let mut embedded = 0;
    for copy in copies {
        let ended = script.end(copy);
        assert_eq!(ended.code, 0, "{ended:?}");
        embedded += report(&ended)["entities"][0]["embedded"]
            .as_u64()
            .expect("a count");
    }
    assert_eq!((embedded, script.mock.embedded_again()), (ROWS, 0));
    script.assert_completes().await;
}

/// Stops a copy in the middle with SIGSTOP, has another one do all the work, and lets the first one go on: it changes nothing.
async fn a_stopped_copy(script: &Script, code_of_first: &str, frees_the_lock: bool) {
    script.mock.delay(Duration::from_millis(150));
    let first = script.start(&mut script.changed(code_of_first));
    script.until_stored(2 * ITEMS).await;
    stop_between_transactions(&first, &script.target).await;
    if frees_the_lock {
        end_sessions(&script.target).await;
    }
    let stored = script.stored().await;
    assert!(stored < ROWS, "it was stopped in the middle");
    script.mock.delay(Duration::ZERO);
    let second = script.migrate();
    assert_eq!(second.code, 0, "{second:?}");
    assert_eq!(report(&second)["entities"][0]["unchanged"], stored);
    script.assert_whole().await;
    let before = script.fingerprint().await;
    send("CONT", first.id());
    let ended = script.end(first);
    assert_eq!((ended.code, &*code(&ended)), (1, "fenced"), "{ended:?}");
    assert!(
        ended.stderr.contains("a newer migration has taken over"),
        "{ended:?}"
    );
    assert!(ended.stdout.is_empty(), "no report: {ended:?}");
    assert_eq!(script.fingerprint().await, before, "its writes hit nothing");
    script.assert_completes().await;
}

/// Stops a copy where it is in no transaction: in one, it would keep the other from beginning.
async fn stop_between_transactions(copy: &Child, url: &str) {
    let mut connection = PgConnection::connect(url).await.expect("it answers");
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
               AND application_name = 'relvec-migrate' AND state <> 'idle'";
    loop {
        send("STOP", copy.id());
        // What was sent already comes to its end.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let busy: i64 = sqlx::query_scalar(sql)
            .fetch_one(&mut connection)
            .await
            .expect("a count");
        if busy == 0 {
            return;
        }
        send("CONT", copy.id());
    }
}

#[tokio::test]
async fn a_copy_whose_connection_was_ended_finds_that_another_took_over() {
    let script = Script::of_postgres().await;
    a_stopped_copy(&script, "", true).await;
}

#[tokio::test]
async fn a_copy_that_can_still_write_is_fenced_by_its_epoch() {
    let script = Script::of_postgres().await;
    // Without its lock only the epoch keeps it from writing.
    a_stopped_copy(&script, "migrate.Target._lock = lambda *_: None", false).await;
}

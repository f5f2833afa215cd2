//! Databases that say nothing: for a while they are waited for, then they are given up, and a signal does not wait for them.

use std::io::{BufRead as _, BufReader};
use std::time::Duration;

use super::databases::{SLOW, SMALL_PAGES};
use super::kills::send;
use super::wire::Wire;
use super::{ITEMS, ROWS, Script, code, notes, report};
use crate::relvec::mariadb;
use crate::services::mariadb_url;

#[tokio::test]
async fn databases_that_stand_still_for_a_while_are_waited_for() {
    let mut script = Script::of_postgres().await;
    script.mock.delay(Duration::from_millis(20));
    let direct = (script.source.clone(), script.target.clone());
    let (source, target) = (
        Wire::start(&direct.0, "no statement", |_| None),
        Wire::start(&direct.1, "no statement", |_| None),
    );
    (script.source, script.target) = (source.url.clone(), target.url.clone());
    let child = script.start(&mut script.changed(SMALL_PAGES));
    (script.source, script.target) = direct;
    for wire in [&source, &target] {
        let stored = script.stored().await;
        script.until_stored(stored + ITEMS).await;
        wire.hold();
        tokio::time::sleep(Duration::from_secs(2)).await;
        wire.let_go();
    }
    let ended = script.end(child);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(report(&ended)["passes"], 1);
    script.assert_completes().await;
}

#[tokio::test]
async fn a_source_that_never_answers_is_left_by_the_second_signal() {
    let mut script = Script::of_postgres().await;
    let wire = Wire::start(&script.source, "no statement", |_| None);
    let direct = std::mem::replace(&mut script.source, wire.url.clone());
    script.mock.delay(SLOW);
    let child = script.start(&mut script.changed(SMALL_PAGES));
    script.until_stored(ITEMS).await;
    wire.hold();
    script.mock.delay(Duration::ZERO);
    send("TERM", child.id());
    // What was read is still embedded and written; then the script waits for the source.
    let mut stored = 0;
    while stored < script.stored().await {
        stored = script.stored().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    send("TERM", child.id());
    let ended = script.end(child);
    assert_ne!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.is_empty(), "no report: {ended:?}");
    script.source = direct;
    let stored = script.stored().await;
    assert!((ITEMS..ROWS).contains(&stored), "{stored} are there");
    let report = script.assert_completes().await;
    assert_eq!(report["entities"][0]["unchanged"], stored);
}

#[tokio::test]
async fn a_database_that_is_silent_is_given_up() {
    for side in ["source", "target"] {
        let mut script = Script::of_postgres().await;
        let direct = (script.source.clone(), script.target.clone());
        let url = if side == "source" {
            &mut script.source
        } else {
            &mut script.target
        };
        let wire = Wire::start(url, "no statement", |_| None);
        url.clone_from(&wire.url);
        script.mock.delay(SLOW);
        let impatient = format!("{SMALL_PAGES}\nmigrate.Connection.patience = 3.0");
        let child = script.start(&mut script.changed(&impatient));
        (script.source, script.target) = direct;
        script.until_stored(ITEMS).await;
        wire.hold();
        let ended = script.end(child);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert_eq!(code(&ended), format!("{side}_unreachable"));
        assert!(
            ended.stderr.contains("does not answer any more"),
            "{ended:?}"
        );
        assert!(ended.stdout.is_empty(), "no report: {ended:?}");
        wire.let_go();
        script.assert_completes().await;
    }
}

#[tokio::test]
async fn a_mariadb_that_is_silent_is_read_anew() {
    let source = mariadb_url().await;
    mariadb(&source, &notes(ROWS)).await;
    let mut script = Script::new(&source).await;
    let wire = Wire::start(&source, "no statement", |_| None);
    script.source.clone_from(&wire.url);
    script.mock.delay(SLOW);
    let impatient = format!("{SMALL_PAGES}\nmigrate.SILENCE_SECONDS = 3.0");
    let mut child = script.start(&mut script.changed(&impatient));
    script.source = source;
    script.until_stored(ITEMS).await;
    wire.hold();
    let said = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut lines = said.lines().map_while(Result::ok);
    let lost = lines.find(|line| line.contains("a connection is lost"));
    assert!(lost.is_some(), "it gave the connection up");
    wire.let_go();
    script.mock.delay(Duration::ZERO);
    let rest: Vec<String> = lines.collect();
    let ended = script.end(child);
    assert_eq!(ended.code, 0, "{ended:?} {rest:?}");
    assert!(report(&ended)["passes"].as_u64() > Some(1), "{ended:?}");
    script.assert_completes().await;
}

#[tokio::test]
async fn a_signal_does_not_wait_for_a_silent_database() {
    let mut script = Script::of_postgres().await;
    let wire = Wire::start(&script.source, "no statement", |_| None);
    let direct = std::mem::replace(&mut script.source, wire.url.clone());
    script.mock.delay(SLOW);
    let hurried = format!("{SMALL_PAGES}\nmigrate.STOP_SECONDS = 3");
    let child = script.start(&mut script.changed(&hurried));
    script.until_stored(ITEMS).await;
    wire.hold();
    script.mock.delay(Duration::ZERO);
    wire.until_something_is_held().await;
    send("TERM", child.id());
    let ended = script.end(child);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("stopped at once"), "{ended:?}");
    script.source = direct;
    let stored = script.stored().await;
    assert!((ITEMS..ROWS).contains(&stored), "{stored} are there");
    let report = script.assert_completes().await;
    assert_eq!(report["entities"][0]["unchanged"], stored);
}

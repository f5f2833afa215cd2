//! Shards of one run, side by side and one after the other: together they are the whole, and the last one's report says so.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ITEMS, ROWS, Script, notes, report};
use crate::relvec::{mariadb, sqlite};
use crate::services::mariadb_url;

const SHARDS: usize = 3;

/// Starts a shard.
fn started(script: &Script, number: usize) -> std::process::Child {
    script.start(
        script
            .command()
            .args(["--shard", &format!("{number}/{SHARDS}")]),
    )
}

/// Runs the shards at once; gives their reports.
fn side_by_side(script: &Script) -> Vec<Value> {
    let shards: Vec<_> = (1..=SHARDS).map(|number| started(script, number)).collect();
    let ended = shards.into_iter().map(|shard| {
        let ended = script.end(shard);
        assert_eq!(ended.code, 0, "{ended:?}");
        report(&ended)
    });
    ended.collect()
}

/// Runs the shards one after the other; gives their reports.
fn one_by_one(script: &Script) -> Vec<Value> {
    let reports = (1..=SHARDS).map(|number| {
        let ended = script.end(started(script, number));
        assert_eq!(ended.code, 0, "shard {number}: {ended:?}");
        report(&ended)
    });
    reports.collect()
}

/// Asserts that the last report, and only it, holds everything.
fn assert_one_report(reports: &[Value], embedded: u64) {
    let last: Vec<&Value> = reports
        .iter()
        .filter(|report| report["open_shards"] == json!([]))
        .collect();
    assert_eq!(last.len(), 1, "one compares both sides: {reports:#?}");
    let entity = &last[0]["entities"][0];
    assert_eq!(entity["source_rows"], ROWS, "{entity}");
    assert_eq!(entity["documents"], ROWS, "{entity}");
    assert_eq!(entity["embedded"], embedded, "{entity}");
    for nothing in ["quarantined", "lost", "removed"] {
        assert_eq!(entity[nothing], 0, "{nothing} in {entity}");
    }
}

async fn in_every_order(script: Script) {
    script.mock.delay(Duration::from_millis(5));
    let reports = side_by_side(&script);
    assert_one_report(&reports, ROWS);
    assert_eq!(script.mock.embedded_again(), 0, "no row is in two shards");
    script.assert_whole().await;
    let requests = script.mock.requests();
    assert_one_report(&side_by_side(&script), 0);
    assert_one_report(&one_by_one(&script), 0);
    assert_eq!(script.mock.requests(), requests, "again is a no-op");

    let sql = "DELETE FROM relvec_documents";
    crate::relvec::postgres(&script.target, sql).await;
    let reports = one_by_one(&script);
    assert_one_report(&reports, ROWS);
    for (number, report) in reports.iter().enumerate() {
        let open: Vec<usize> = (number + 2..=SHARDS).collect();
        assert_eq!(report["open_shards"], json!(open));
    }
    script.assert_whole().await;
    script.assert_completes().await;
}

#[tokio::test]
async fn shards_of_postgres_are_the_whole() {
    in_every_order(Script::of_postgres().await).await;
}

#[tokio::test]
async fn shards_of_mariadb_are_the_whole() {
    let source = mariadb_url().await;
    mariadb(&source, &notes(ROWS)).await;
    in_every_order(Script::new(&source).await).await;
}

#[tokio::test]
async fn shards_of_sqlite_are_the_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = sqlite(&folder.path().join("notes.db"), &notes(ROWS)).await;
    in_every_order(Script::new(&source).await).await;
}

#[tokio::test]
async fn shards_of_postgres_that_run_at_once_read_one_instant() {
    let script = Script::of_postgres().await;
    script.mock.delay(Duration::from_millis(1_500));
    let first = started(&script, 1);
    script.until_stored(ITEMS).await;
    let change = "UPDATE notes SET body = 'A note that was changed too late.' WHERE id > 600; DELETE FROM notes WHERE id = 1200";
    crate::relvec::postgres(&script.source, change).await;
    let others = [started(&script, 2), started(&script, 3)];
    let joined = "SELECT count(DISTINCT shard) FROM relvec_documents_seen";
    while script.number(joined).await < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    script.mock.delay(Duration::ZERO);
    let mut reports = vec![];
    for shard in others.into_iter().chain([first]) {
        let ended = script.end(shard);
        assert_eq!(ended.code, 0, "{ended:?}");
        reports.push(report(&ended));
    }
    assert_one_report(&reports, ROWS);
    let changed = "SELECT count(*) FROM relvec_documents WHERE content LIKE '%too late%'";
    assert_eq!(script.number(changed).await, 0);
    script.mock.delay(Duration::ZERO);
    let report = script.assert_completes().await;
    let entity = &report["entities"][0];
    assert_eq!(
        (&entity["embedded"], &entity["removed"]),
        (&json!(599), &json!(1)),
        "{entity}"
    );
}

#[tokio::test]
async fn a_shard_that_was_killed_is_started_again() {
    let script = Script::of_postgres().await;
    script.mock.delay(Duration::from_millis(300));
    let mut shards: Vec<_> = (1..=SHARDS)
        .map(|number| started(&script, number))
        .collect();
    script.until_stored(4 * ITEMS).await;
    let mut killed = shards.remove(1);
    killed.kill().expect("it runs");
    script.end(killed);
    script.mock.delay(Duration::ZERO);
    let ended: Vec<_> = shards.into_iter().map(|shard| script.end(shard)).collect();
    for ended in &ended {
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_ne!(
            report(ended)["open_shards"],
            json!([]),
            "the killed one is open"
        );
    }
    let again = script.end(started(&script, 2));
    assert_eq!(again.code, 0, "{again:?}");
    let report = report(&again);
    assert_eq!(report["open_shards"], json!([]));
    assert_eq!(report["entities"][0]["source_rows"], ROWS, "{report:#}");
    assert_eq!(report["entities"][0]["documents"], ROWS, "{report:#}");
    script.mock.delay(Duration::ZERO);
    script.assert_whole().await;
    script.assert_completes().await;
}

#[tokio::test]
async fn shards_whose_source_breaks_off_join_again() {
    let script = Script::of_postgres().await;
    script.mock.delay(Duration::from_millis(1_500));
    // Small pages, so that the source is still read.
    let shards = ["1/3", "2/3", "3/3"].map(|shard| {
        let mut command = script.changed("migrate.PAGE = 20");
        script.start(command.args(["--shard", shard]))
    });
    let joined = "SELECT count(DISTINCT shard) FROM relvec_documents_seen";
    script.until_stored(ITEMS).await;
    while script.number(joined).await < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    super::databases::end_sessions(&script.source).await;
    script.mock.delay(Duration::ZERO);
    let reports = shards.map(|shard| {
        let ended = script.end(shard);
        assert_eq!(ended.code, 0, "{ended:?}");
        report(&ended)
    });
    assert!(
        reports.iter().any(|report| report["passes"] == 2),
        "{reports:#?}"
    );
    let last = reports
        .iter()
        .filter(|report| report["open_shards"] == json!([]));
    let last: Vec<&Value> = last.collect();
    assert_eq!(last.len(), 1, "{reports:#?}");
    assert_eq!(last[0]["entities"][0]["documents"], ROWS, "{last:#?}");
    script.assert_whole().await;
    script.assert_completes().await;
}

#[tokio::test]
async fn another_migration_does_not_run_beside_shards() {
    let script = Script::of_postgres().await;
    script.mock.delay(Duration::from_millis(1_500));
    let shard = started(&script, 1);
    script.until_stored(ITEMS).await;
    let whole = script.run(&mut script.changed("migrate.LOCK_SECONDS = 0.5"));
    assert_eq!(
        (whole.code, &*super::code(&whole)),
        (1, "locked"),
        "{whole:?}"
    );
    let mut same = script.changed("migrate.LOCK_SECONDS = 0.5");
    let same = script.run(same.args(["--shard", "1/3"]));
    assert_eq!((same.code, &*super::code(&same)), (1, "locked"), "{same:?}");
    script.mock.delay(Duration::ZERO);
    assert_eq!(script.end(shard).code, 0);
    for number in 2..=SHARDS {
        assert_eq!(script.end(started(&script, number)).code, 0);
    }
    script.assert_completes().await;
}

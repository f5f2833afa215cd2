//! The run store in PostgreSQL: the same tables as in SQLite, one owner a run, and nothing of anybody else counts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use relvec::error::{ErrorKind, Result};
use relvec::graph::event::{Artifact, Event, Question, Reason, RunStatus, StageStatus};
use relvec::settings::{Keep, Kept, StorePlace};
use relvec::store::{
    Among, Cancelled, Claim, Created, FileContent, Held, LOCAL, NewRun, Origin, Store,
};
use secrecy::SecretString;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, PgConnection, SqliteConnection};
use uuid::Uuid;

use crate::services::postgres_url;

/// A lease that no test outlives, and one that is over at once.
const LONG: Duration = Duration::from_hours(1);
const SHORT: Duration = Duration::from_millis(300);

async fn open(url: &str, lease: Duration) -> Store {
    let url = SecretString::from(url.to_owned());
    Store::open(&StorePlace::Postgres { url, lease })
        .await
        .expect("a store")
}

fn new_run(id: Uuid, key: Option<&str>) -> NewRun<'_> {
    NewRun {
        id,
        created_at: "2026-01-31T12:00:00.000Z",
        tenant: LOCAL,
        origin: Origin::Gateway,
        graph: "small",
        graph_text: "name = \"small\"",
        graph_path: None,
        job: "null",
        inline_secrets: &[],
        held: false,
        fingerprint: "f",
        idempotency_key: key,
        adopted: None,
    }
}

async fn queued(store: &Store) -> Uuid {
    let id = Uuid::now_v7();
    let created = store.create(&new_run(id, None)).await.expect("a run");
    assert_eq!(created, Created::New);
    id
}

fn started(run_id: Uuid) -> Event {
    Event::RunStarted {
        run_id,
        graph: "small".to_owned(),
        stages: vec!["a".into(), "b".into()],
    }
}

fn finished(stage: &str, status: StageStatus, reason: Reason) -> Event {
    Event::StageFinished {
        stage: stage.into(),
        status,
        reason,
        attempts: 1,
        seconds: 0.5,
        kind: None,
        output: None,
    }
}

fn ended(status: RunStatus) -> Event {
    Event::RunFinished {
        status,
        error: None,
        seconds: 1.0,
    }
}

async fn record(store: &Store, claim: Claim, events: Vec<Event>) -> Result<()> {
    store.record(claim, events, Vec::new(), Some(1.0)).await
}

/// Waits until what is asked for is there; panics after half a minute.
async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(there) = ask().await {
            return there;
        }
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn both_databases_have_the_same_tables() {
    let url = postgres_url().await;
    drop(open(&url, LONG).await);
    let mut postgres = PgConnection::connect(&url).await.expect("a connection");
    let theirs: Vec<(String, String, String, bool)> = sqlx::query_as(
        "SELECT c.table_name::text, c.column_name::text,
                CASE c.data_type WHEN 'bigint' THEN 'INTEGER' WHEN 'double precision' THEN 'REAL' WHEN 'bytea' THEN 'BLOB'
                                 ELSE upper(c.data_type) END, c.is_nullable = 'NO'
         FROM information_schema.columns c
         WHERE c.table_schema = 'relvec_runs' AND c.table_name <> '_sqlx_migrations'
         ORDER BY c.table_name, c.ordinal_position",
    )
    .fetch_all(&mut postgres)
    .await
    .expect("columns");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("runs.db");
    drop(
        Store::open(&StorePlace::File(path.clone()))
            .await
            .expect("a store"),
    );
    let options = SqliteConnectOptions::new().filename(path);
    let mut sqlite = SqliteConnection::connect_with(&options)
        .await
        .expect("a connection");
    let ours: Vec<(String, String, String, bool)> = sqlx::query_as(
        "SELECT t.name, c.name, c.type, c.\"notnull\" FROM sqlite_schema t, pragma_table_info(t.name) c
         WHERE t.type = 'table' AND t.name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
         ORDER BY t.name, c.cid",
    )
    .fetch_all(&mut sqlite)
    .await
    .expect("columns");
    assert!(ours.len() > 40, "{ours:?}");
    assert_eq!(ours, theirs);
}

#[tokio::test]
async fn a_newer_store_is_refused() {
    let url = postgres_url().await;
    drop(open(&url, LONG).await);
    let mut raw = PgConnection::connect(&url).await.expect("a connection");
    sqlx::query(
        "INSERT INTO relvec_runs._sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'later', TRUE, '\\x00', 0)",
    )
    .execute(&mut raw)
    .await
    .expect("a migration");
    let place = StorePlace::Postgres {
        url: SecretString::from(url.clone()),
        lease: LONG,
    };
    let error = Store::open(&place).await.expect_err("it is newer");
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("newer relvec"), "{error}");
    let password = url.split(['/', ':', '@']).nth(4).expect("a password");
    assert!(!error.to_string().contains(password), "{error}");
}

#[tokio::test]
async fn a_run_goes_its_way_as_in_a_file() {
    let store = open(&postgres_url().await, LONG).await;
    let id = queued(&store).await;
    assert_eq!(store.count_queued().await.expect("a count"), 1);
    let claimed = store.claim_next(Among::Queued, &[]).await.expect("a claim");
    let claim = claimed.expect("a run").claim;
    let question = Question {
        id: "q".to_owned(),
        stage: "b".to_owned(),
        text: "?".to_owned(),
        choices: vec!["yes".to_owned()],
        default: Some("yes".to_owned()),
        expires_at: Some("2026-01-01T00:00:00Z".to_owned()),
        blocking: true,
    };
    let parked = Reason::Parked {
        message: "a NUL \0 in it".to_owned(),
    };
    let events = vec![
        started(id),
        finished("a", StageStatus::Succeeded, Reason::Ran),
        Event::QuestionAsked { question },
        finished("b", StageStatus::Waiting, parked),
        Event::RunFinished {
            status: RunStatus::Waiting,
            error: Some("a NUL \0 in it".to_owned()),
            seconds: 1.0,
        },
    ];
    record(&store, claim, events).await.expect("recorded");
    let document = store.document(id).await.expect("a document");
    assert_eq!(document.status, RunStatus::Waiting);
    assert_eq!(document.open_questions.len(), 1);
    let overdue = store.overdue(Origin::Gateway).await.expect("questions");
    assert_eq!(overdue, [(id, "q".to_owned(), "yes".to_owned())]);
    let answered = store.answer(id, "q", "yes", "ann").await;
    assert!(answered.expect("an answer"), "it goes on");
    let claim = store.claim(id).await.expect("a claim");
    let events = vec![started(id), ended(RunStatus::Succeeded)];
    record(&store, claim, events).await.expect("recorded");
    assert_eq!(store.events(id, 0, 100).await.expect("events").len(), 7);
    let run = store.load(id).await.expect("a run");
    assert_eq!(run.status, RunStatus::Succeeded);
    assert_eq!(run.answers["q"].by, "ann");
    assert_eq!(store.history(id).await.expect("a history").len(), 7);
    let url_of_it = store.claim(id).await.expect_err("it is over");
    assert_eq!(url_of_it.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_terminal_state_never_changes_whoever_writes() {
    let url = postgres_url().await;
    let store = open(&url, LONG).await;
    let id = queued(&store).await;
    let claim = store.claim(id).await.expect("a claim");
    record(
        &store,
        claim,
        vec![started(id), ended(RunStatus::Succeeded)],
    )
    .await
    .expect("recorded");
    let mut raw = PgConnection::connect(&url).await.expect("a connection");
    let forced = sqlx::query("UPDATE relvec_runs.runs SET status = 'running'")
        .execute(&mut raw)
        .await;
    let error = forced.expect_err("the trigger refuses").to_string();
    assert!(error.contains("the run is over"), "{error}");
    assert_eq!(
        store.status(id).await.expect("a status"),
        RunStatus::Succeeded
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_run_is_claimed_once_however_many_ask() {
    let url = postgres_url().await;
    let (first, second) = (open(&url, LONG).await, open(&url, LONG).await);
    let mut all = BTreeSet::new();
    for _ in 0..60 {
        all.insert(queued(&first).await);
    }
    let claimers = (0..8).map(|number| {
        let store = if number % 2 == 0 { &first } else { &second }.clone();
        tokio::spawn(async move {
            let mut mine = Vec::new();
            while let Some(claimed) = store.claim_next(Among::Queued, &[]).await.expect("a claim") {
                assert_eq!(claimed.claim.epoch, 1);
                mine.push(claimed.claim.run_id);
            }
            mine
        })
    });
    let claimed = futures::future::join_all(claimers).await;
    let claimed: Vec<Uuid> = claimed
        .into_iter()
        .flat_map(|mine| mine.expect("runs"))
        .collect();
    // SKIP LOCKED: who finds every row locked goes away, so that some are left for the next look.
    let mut left = Vec::new();
    while let Some(claimed) = first.claim_next(Among::Queued, &[]).await.expect("a claim") {
        left.push(claimed.claim.run_id);
    }
    assert_eq!(claimed.len() + left.len(), all.len());
    let once: BTreeSet<Uuid> = claimed.into_iter().chain(left).collect();
    assert_eq!(once, all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_equal_requests_at_once_make_one_run() {
    let url = postgres_url().await;
    let stores = [open(&url, LONG).await, open(&url, LONG).await];
    let requests = (0..50).map(|number| {
        let store = stores[number % 2].clone();
        tokio::spawn(async move { store.create(&new_run(Uuid::now_v7(), Some("k"))).await })
    });
    let mut new = 0;
    let mut before = BTreeSet::new();
    for created in futures::future::join_all(requests).await {
        match created.expect("a task").expect("a run") {
            Created::New => new += 1,
            Created::Before(id) => {
                before.insert(id);
            }
        }
    }
    assert_eq!((new, before.len()), (1, 1));
    let runs = stores[0].list(None, 10, None).await.expect("a list");
    assert_eq!(runs.len(), 1);
    assert!(before.contains(&runs[0].run_id));
}

#[tokio::test]
async fn a_lease_that_is_over_lets_another_take_the_run_and_the_zombie_writes_nothing() {
    let url = postgres_url().await;
    let (zombie, other) = (open(&url, SHORT).await, open(&url, LONG).await);
    let id = queued(&zombie).await;
    let late = zombie.claim(id).await.expect("a claim");
    record(&zombie, late, vec![started(id)])
        .await
        .expect("recorded");
    assert!(zombie.is_leased(id).await.expect("a lease"));
    let busy = other.claim(id).await.expect_err("it has an owner");
    assert_eq!(busy.kind(), ErrorKind::Conflict);
    let claimed = until("nobody took the run", async || {
        other
            .claim_next(Among::Abandoned, &[])
            .await
            .expect("a claim")
    })
    .await;
    assert_eq!(claimed.claim.epoch, late.epoch + 1);
    let before = other.document(id).await.expect("a document");
    let events = other.events(id, 0, 100).await.expect("events").len();
    // It comes back, and does not know.
    let ran = finished("a", StageStatus::Succeeded, Reason::Ran);
    let error = record(&zombie, late, vec![ran.clone(), ended(RunStatus::Failed)])
        .await
        .expect_err("it is not the owner");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    zombie
        .fail(late, "late")
        .await
        .expect_err("it is not the owner");
    zombie.requeue(late).await.expect("hits no row");
    assert_eq!(zombie.extend(late).await.expect("an answer"), Held::Lost);
    zombie.say_gone().await.expect("hits no row of others");
    assert_eq!(other.document(id).await.expect("a document"), before);
    assert_eq!(
        other.events(id, 0, 100).await.expect("events").len(),
        events
    );
    assert_eq!(
        other.extend(claimed.claim).await.expect("an answer"),
        Held::Yes
    );
    record(
        &other,
        claimed.claim,
        vec![ran, ended(RunStatus::Succeeded)],
    )
    .await
    .expect("the owner gets on");
    assert_eq!(
        other.status(id).await.expect("a status"),
        RunStatus::Succeeded
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_search_for_leases_that_are_over_races_a_completion_and_only_one_wins() {
    let url = postgres_url().await;
    let (slow, searching) = (
        open(&url, Duration::from_millis(1)).await,
        open(&url, LONG).await,
    );
    let (mut completed, mut taken) = (0, 0);
    for _ in 0..60 {
        let id = queued(&slow).await;
        let claim = slow.claim(id).await.expect("a claim");
        record(&slow, claim, vec![started(id)])
            .await
            .expect("recorded");
        tokio::time::sleep(Duration::from_millis(3)).await;
        let barrier = Arc::new(tokio::sync::Barrier::new(2));
        let completing = {
            let (slow, barrier) = (slow.clone(), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                record(&slow, claim, vec![ended(RunStatus::Succeeded)]).await
            })
        };
        let search = {
            let (searching, barrier) = (searching.clone(), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                searching.claim_next(Among::Abandoned, &[]).await
            })
        };
        let done = completing.await.expect("a task");
        let found = search.await.expect("a task").expect("a search");
        match (done, found) {
            (Ok(()), None) => completed += 1,
            (Err(error), Some(found)) => {
                assert_eq!(error.kind(), ErrorKind::Conflict);
                assert_eq!(found.claim.run_id, id);
                record(&searching, found.claim, vec![ended(RunStatus::Succeeded)])
                    .await
                    .expect("the owner gets on");
                taken += 1;
            }
            (done, found) => panic!("both or neither: {done:?}, {found:?}"),
        }
        // Completed stays completed.
        assert_eq!(
            slow.status(id).await.expect("a status"),
            RunStatus::Succeeded
        );
        let again = searching.claim_next(Among::Abandoned, &[]).await;
        assert!(again.expect("a search").is_none());
        let events = slow.events(id, 0, 10).await.expect("events");
        let ends = events
            .iter()
            .filter(|event| event.event.contains("run_finished"));
        assert_eq!(ends.count(), 1);
    }
    assert_eq!(completed + taken, 60);
}

#[tokio::test]
async fn a_run_whose_secrets_only_its_gateway_has_is_left_to_it_while_it_lives() {
    let url = postgres_url().await;
    let (holder, other) = (
        open(&url, Duration::from_secs(2)).await,
        open(&url, LONG).await,
    );
    holder.say_alive().await.expect("told");
    let id = Uuid::now_v7();
    let held = NewRun {
        held: true,
        ..new_run(id, None)
    };
    holder.create(&held).await.expect("a run");
    let next = queued(&other).await;
    let claimed = other.claim_next(Among::Queued, &[]).await.expect("a claim");
    assert_eq!(claimed.expect("the other run").claim.run_id, next);
    let nothing = other
        .claim_next(Among::Queued, &[])
        .await
        .expect("an answer");
    assert!(nothing.is_none(), "it is the holder's");
    let claimed = until("nobody took it", async || {
        other.claim_next(Among::Queued, &[]).await.expect("a claim")
    })
    .await;
    assert_eq!(
        claimed.claim.run_id, id,
        "its holder is not heard of any more"
    );
}

#[tokio::test]
async fn what_one_process_records_wakes_another() {
    let url = postgres_url().await;
    let (here, there) = (open(&url, LONG).await, open(&url, LONG).await);
    let listening = {
        let here = here.clone();
        tokio::spawn(async move { here.listen().await })
    };
    let patience = Duration::from_secs(30);
    // Once it listens, everybody looks.
    tokio::time::timeout(patience, here.until_queued())
        .await
        .expect("it listens");
    let id = queued(&there).await;
    tokio::time::timeout(patience, here.until_queued())
        .await
        .expect("a run was queued");
    let claim = there.claim(id).await.expect("a claim");
    let mut follower = here.follow(id);
    record(&there, claim, vec![started(id)])
        .await
        .expect("recorded");
    tokio::time::timeout(patience, follower.changed())
        .await
        .expect("events were recorded");
    here.wish_cancelled(id).await.expect("a wish");
    assert_eq!(
        there.extend(claim).await.expect("an answer"),
        Held::CancelWanted
    );
    let cancelled = here.cancel(id).await.expect("an answer");
    assert_eq!(cancelled, Cancelled::Running, "its owner lives");
    there.requeue(claim).await.expect("put back");
    assert_eq!(here.cancel(id).await.expect("cancelled"), Cancelled::Done);
    listening.abort();
}

#[tokio::test]
async fn a_run_is_cancelled_once_its_owner_is_gone() {
    let url = postgres_url().await;
    let (gone, here) = (open(&url, SHORT).await, open(&url, LONG).await);
    let id = queued(&gone).await;
    let claim = gone.claim(id).await.expect("a claim");
    record(&gone, claim, vec![started(id)])
        .await
        .expect("recorded");
    assert_eq!(
        here.cancel_abandoned(id).await.expect("an answer"),
        Cancelled::Running
    );
    until("it was never cancelled", async || {
        let done = here.cancel_abandoned(id).await.expect("an answer") == Cancelled::Done;
        done.then_some(())
    })
    .await;
    let error = record(&gone, claim, vec![ended(RunStatus::Succeeded)]).await;
    error.expect_err("the run is over");
    let document = here.document(id).await.expect("a document");
    assert_eq!(document.status, RunStatus::Cancelled);
    assert!(
        document
            .stages
            .iter()
            .all(|stage| stage.status == StageStatus::Cancelled)
    );
}

#[tokio::test]
async fn files_are_kept_with_the_run_until_they_are_kept_no_longer() {
    let store = open(&postgres_url().await, LONG).await;
    let id = queued(&store).await;
    let claim = store.claim(id).await.expect("a claim");
    let bytes = b"a file\0 of bytes".to_vec();
    let written = |sha256: &str| Event::ArtifactWritten {
        stage: "a".into(),
        artifact: Artifact {
            name: "note.txt".to_owned(),
            bytes: 16,
            sha256: sha256.to_owned(),
        },
    };
    let file = |sha256: &str| FileContent {
        name: "note.txt".to_owned(),
        sha256: sha256.to_owned(),
        bytes: bytes.clone(),
    };
    let record = async |events, files| store.record(claim, events, files, None).await;
    record(vec![started(id), written("1")], vec![file("1")])
        .await
        .expect("recorded");
    assert_eq!(
        store.content(id, "note.txt").await.expect("a file"),
        Some(bytes.clone())
    );
    // It is written again, and these are not its bytes.
    record(vec![written("2")], vec![file("1")])
        .await
        .expect("recorded");
    assert_eq!(store.content(id, "note.txt").await.expect("no file"), None);
    record(
        vec![written("3"), ended(RunStatus::Succeeded)],
        vec![file("3")],
    )
    .await
    .expect("recorded");
    assert_eq!(
        store.content(id, "note.txt").await.expect("a file"),
        Some(bytes)
    );
    let none = Kept {
        runs: Some(0),
        age: None,
    };
    let keep = Keep {
        artifacts: none,
        ..Keep::default()
    };
    assert_eq!(store.prune(&keep).await.expect("pruned"), 1);
    assert_eq!(store.content(id, "note.txt").await.expect("no file"), None);
    assert_eq!(store.removed().await.expect("a list"), [id]);
    assert_eq!(store.artifacts(id).await.expect("a list").len(), 1);
    let keep = Keep {
        runs: none,
        ..Keep::default()
    };
    assert_eq!(store.prune(&keep).await.expect("pruned"), 1);
    assert_eq!(
        store.status(id).await.expect_err("it is gone").kind(),
        ErrorKind::NotFound
    );
    store.forget_removed().await.expect("nothing is old enough");
    assert_eq!(
        store.removed().await.expect("a list"),
        [id],
        "other gateways have to know"
    );
}
